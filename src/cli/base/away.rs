//! Telling people that a part of the cluster does not answer: once, and again when that changes.
//!
//! What is known of the guests there is in `ops`; here are only the words.

use std::cell::RefCell;

use crate::{
    cli::{cx::Cx, error::report, verb::Exit},
    model::{Away, Class, Error},
};

/// What people were told so far.
pub(crate) struct Notice {
    /// What is missing because of it.
    missing: &'static str,
    told: RefCell<Away>,
}

impl Notice {
    pub(crate) fn new(missing: &'static str) -> Self {
        Self { missing, told: RefCell::default() }
    }

    /// Warns of nodes that cannot be asked now, and tells which can again.
    pub(crate) fn tell(&self, cx: &Cx, away: &Away) {
        let before = self.told.replace(away.clone());
        for (node, status) in away.iter().filter(|(node, status)| before.status(node) != Some(status)) {
            cx.ui.warn(format_args!("node {node} is {status}: {}", self.missing));
        }
        for (node, _) in before.iter().filter(|(node, _)| away.status(node).is_none()) {
            cx.ui.say(format_args!("node {node} is back"));
        }
    }
}

/// Tells why some of so many things could not be read, and gives the exit code.
pub(crate) fn incomplete(cx: &Cx, lost: &[Error], of: usize) -> Exit {
    lost.iter().for_each(|error| report(&cx.ui, cx.error_format(), error));
    match lost {
        [] => 0,
        [one] if of == 1 => one.class().exit_code(),
        _ => Class::Failed.exit_code(),
    }
}
