//! One generic implementation per verb; the kinds say which of them they have.

mod add;
mod away;
mod before;
mod carry;
mod choose;
mod clone;
mod config;
mod console;
mod create;
mod delete;
mod describe;
mod disks;
mod get;
mod history;
mod host;
mod inside;
mod list;
mod metrics;
mod migrate;
mod mutate;
mod plots;
mod power;
mod rename;
mod row;
mod snapshot;
mod tags;
mod touched;
mod update;
mod wait;
mod watch;

pub(crate) use away::Notice;
pub(crate) use before::confirms;
pub(crate) use choose::{Meant, chosen_args, pace_args, paced};
pub(crate) use config::{UnknownFlag, typed, value_of_secret};
pub(crate) use console::{escape_arg, seat, sit_at};
pub(crate) use delete::{delete_args, delete_from_file};
pub(crate) use get::targets_arg;
pub(crate) use inside::{NOT_FOUND, OURS, Sight, listen, show_spice, show_vnc, spice_args, vnc_args};
pub(crate) use list::{filter_args, selector_arg};
pub(crate) use migrate::PARALLEL as MOVES_AT_ONCE;
pub(crate) use mutate::{carry_out, exit_code, in_turn, mutate, require_somebody_to_confirm, word};
pub(crate) use watch::{Watched, watch, watch_arg};

use super::{
    print::{Heading, headings},
    verb::Verb,
};
use crate::{model::GuestKind, ops::POWER_VERBS};

/// The columns of guests.
pub(crate) fn guest_headings() -> Vec<Heading> {
    headings::<row::GuestRow>()
}

/// The verbs of guests.
pub(crate) fn guest_verbs(kind: GuestKind) -> Vec<Box<dyn Verb>> {
    let mut verbs: Vec<Box<dyn Verb>> =
        vec![Box::new(list::List), Box::new(get::Get), Box::new(describe::Describe), Box::new(create::Create)];
    let powers = POWER_VERBS.iter().filter(|verb| verb.kinds.contains(&kind));
    verbs.extend(powers.map(|verb| Box::new(power::Power(verb)) as Box<dyn Verb>));
    verbs.push(Box::new(update::Update));
    verbs.push(Box::new(rename::Rename));
    verbs.push(Box::new(add::Add));
    verbs.push(Box::new(add::Remove));
    verbs.push(Box::new(delete::Delete));
    verbs.push(Box::new(snapshot::GROUP));
    verbs.push(Box::new(crate::cli::backup::GROUP));
    verbs.push(Box::new(history::GROUP));
    verbs.push(Box::new(clone::Clone { starts: false }));
    verbs.push(Box::new(clone::Clone { starts: true }));
    verbs.push(Box::new(migrate::Migrate));
    verbs.push(Box::new(disks::Template));
    verbs.push(Box::new(disks::ResizeDisk));
    verbs.push(Box::new(carry::MoveDisk));
    verbs.push(Box::new(carry::Detach));
    verbs.push(Box::new(carry::Reassign));
    if kind == GuestKind::Qemu {
        verbs.push(Box::new(carry::ImportDisk));
    }
    verbs.push(Box::new(tags::GROUP));
    verbs.push(Box::new(tags::Lock));
    verbs.push(Box::new(tags::Unlock));
    verbs.push(Box::new(metrics::Metrics));
    verbs.push(Box::new(wait::Wait));
    verbs.extend(inside::verbs(kind));
    verbs.push(Box::new(console::Console));
    if kind == GuestKind::Qemu {
        verbs.push(Box::new(console::Logs));
    }
    verbs
}
