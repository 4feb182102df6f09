//! Verbs on the inside of guests: programs, files, passwords, addresses.

mod agent;
mod cloudinit;
mod exec;
mod file;
mod ip;
mod keys;
mod screen;
mod ssh;

use clap::ArgMatches;

pub(crate) use exec::{NOT_FOUND, OURS};
pub(crate) use screen::{Sight, listen, show_spice, show_vnc, spice_args, vnc_args};

use super::mutate::change;
use crate::{
    cli::{
        cx::texts,
        session::Session,
        verb::{Kind, Verb},
    },
    model::{Error, GuestKind, Hint, Result},
    ops::{Resolved, Target},
};

/// The verbs on the inside of a kind of guest.
pub(super) fn verbs(kind: GuestKind) -> Vec<Box<dyn Verb>> {
    let mut verbs: Vec<Box<dyn Verb>> =
        vec![Box::new(ip::Ip), Box::new(ssh::Ssh), Box::new(screen::Vnc), Box::new(screen::Spice)];
    if kind == GuestKind::Qemu {
        verbs.push(Box::new(exec::Exec));
        verbs.push(Box::new(file::GROUP));
        verbs.push(Box::new(agent::GROUP));
        verbs.push(Box::new(cloudinit::GROUP));
        verbs.push(Box::new(keys::SendKey));
        verbs.push(Box::new(keys::Monitor));
    }
    verbs
}

/// The one guest that is meant.
async fn one(session: &Session, kind: &Kind, matches: &ArgMatches) -> Result<Resolved> {
    let mut found = session.ops.find(&Target::parse_all(&texts(matches, "target"))?, kind.guest()).await?;
    match (found.pop(), found.len()) {
        (Some(one), 0) => Ok(one),
        (_, more) => Err(Error::usage(format!("one {} is expected, and {} are named", kind.noun, more + 1))
            .with_hint(Hint::Text("give the command for each of them".into()))),
    }
}
