//! This host: processes and their lives, devices of the network, what is there and what is not.
//!
//! Nothing here knows what a VM is made of, speaks to a VMM's socket or remembers anything: it acts and observes, and
//! takes every path as a value.

mod alive;
pub mod facts;
mod groups;
mod happenings;
mod life;
mod measure;
mod mounts;
pub mod network;
mod pci;
mod process;
mod resolver;
mod share;
mod spawn;
pub mod units;
mod watch;

pub use alive::{Alive, Lock, holders, probe, running_below};
pub use groups::{GroupName, Groups, Limits, Surroundings};
pub use happenings::{FileNumber, Happened, Happenings};
pub use life::{Answer, Life, Observed, decide, observe};
pub use measure::{Used, host_uptime, proportional, used};
#[cfg(test)]
pub(in crate::backends::cloud_hypervisor) use pci::tests as made_up_pci;
pub use pci::{Former, Pci};
pub use process::Process;
pub use resolver::Resolver;
pub use share::{Served, Serving, end_holders, end_share, listens, serve, served, shares_below, taken};
pub use spawn::{Launch, OWNER, Places, SUN_PATH, short_socket, spawn};
pub use units::Units;
pub use watch::FileWatch;

use std::{io, path::Path};

use super::process_id::is_gone;
pub use super::process_id::{ProcessId, Stat, boot_id};

use crate::model::{Class, Error, Hint};

/// What the system said about a file, with the file's name; denied access is [`Class::Forbidden`].
fn at(what: &str, path: &Path, error: io::Error) -> Error {
    let class = if error.kind() == io::ErrorKind::PermissionDenied { Class::Forbidden } else { Class::Failed };
    Error::new(class, format!("cannot {what} `{}`: {error}", path.display())).with_source(error)
}

/// A way out in words.
fn hint(text: impl Into<String>) -> Hint {
    Hint::Text(text.into())
}
