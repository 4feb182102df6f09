//! What a kind and a verb are to the command line: entries of tables, from which parser, help and both word orders
//! (`vm list`, `get vms`) come.

use async_trait::async_trait;
use clap::{ArgMatches, Command};

use super::cx::Cx;
use crate::model::{GuestKind, Result};

/// What a command leaves as exit code.
pub(crate) type Exit = u8;

/// A resource kind.
pub(crate) struct Kind {
    /// `vm`.
    pub(crate) noun: &'static str,
    /// `vms`.
    pub(crate) plural: &'static str,
    /// Other words for it.
    pub(crate) aliases: &'static [&'static str],
    /// One line of help.
    pub(crate) about: &'static str,
    /// For the two kinds of guest, which.
    pub(crate) guest: Option<GuestKind>,
    /// What can be done with it.
    pub(crate) verbs: fn() -> Vec<Box<dyn Verb>>,
}

impl Kind {
    /// Whether a word means this kind.
    pub(crate) fn is_called(&self, word: &str) -> bool {
        self.noun == word || self.plural == word || self.aliases.contains(&word)
    }

    /// The verb of this name.
    pub(crate) fn verb(&self, name: &str) -> Option<Box<dyn Verb>> {
        (self.verbs)().into_iter().find(|verb| verb.name() == name)
    }

    /// The guest kind of a kind whose verbs are only for guests.
    pub(crate) fn guest(&self) -> GuestKind {
        // A kind file that lists a guest verb without being one is caught by the table test.
        self.guest.unwrap_or(GuestKind::Qemu)
    }
}

/// A verb on a kind.
#[async_trait(?Send)]
pub(crate) trait Verb {
    /// `start`.
    fn name(&self) -> &'static str;

    /// One line of help.
    fn about(&self, kind: &Kind) -> String;

    /// What stands below the options in help: whole commands that work.
    fn examples(&self, kind: &Kind) -> Vec<String>;

    /// Adds arguments.
    fn args(&self, command: Command, kind: &Kind) -> Command;

    /// Does it.
    async fn run(&self, cx: &Cx, kind: &Kind, matches: &ArgMatches) -> Result<Exit>;
}
