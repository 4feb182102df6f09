//! What can be done to one guest, and when it may not be. What it brings about is in [`effect`](super::effect).

use serde::{Deserialize, Serialize};

use super::{disk::growth, guest::Guest, node::Volume};
use crate::model::GuestKind;

/// In a guest's description: it cannot be started.
const START_FAILS: &str = "sandbox: start fails";

/// What can be done to a guest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Act {
    Start,
    Stop,
    Restart,
    Reset,
    Pause,
    Resume,
    /// To disk, into this storage.
    Suspend(String),
    Destroy {
        unreferenced: bool,
        force: bool,
        #[serde(default)]
        purge: bool,
    },
    Template,
    /// A disk grows to a size, or by one with a plus.
    Resize {
        disk: String,
        size: String,
    },
    Snapshot {
        name: String,
        description: String,
        memory: bool,
    },
    DeleteSnapshot(String),
    Rollback {
        name: String,
        start: bool,
    },
    /// To another node, with the volumes that are renamed on the way.
    Migrate {
        to: String,
        renamed: Vec<(String, String)>,
    },
    /// A disk into another storage.
    MoveDisk {
        disk: String,
        new: Box<Volume>,
        delete: bool,
    },
    /// A disk to another guest.
    Reassign {
        disk: String,
        to: u32,
        key: String,
    },
}

/// Whether something may be done to a guest in the state that it is in.
pub(super) fn check_act(guest: &Guest, act: &Act) -> Result<(), String> {
    let (word, vmid) = (guest.word(), guest.vmid);
    let described = |marker: &str| guest.get("description").is_some_and(|text| text.contains(marker));
    match act {
        Act::Start if guest.is_template() && guest.kind == GuestKind::Qemu => {
            Err("you can't start a vm if it's a template".into())
        }
        Act::Start if guest.is_template() => Err("you can't start a CT if it's a template".into()),
        Act::Start if guest.is_running() => Err(format!("{word} {vmid} already running")),
        Act::Start if described(START_FAILS) => Err(match guest.kind {
            GuestKind::Qemu => "start failed: QEMU exited with code 1".into(),
            GuestKind::Lxc => format!("startup for container '{vmid}' failed"),
        }),
        Act::Resume if guest.lock() == Some("suspended") => Ok(()),
        Act::Restart | Act::Reset | Act::Pause | Act::Suspend(_) | Act::Resume if !guest.is_running() => {
            Err(format!("{word} {vmid} not running"))
        }
        Act::Destroy { force, .. } => {
            if guest.get("protection") == Some("1") {
                return Err(format!("can't remove {word} {vmid} - protection mode enabled"));
            }
            match guest.kind {
                _ if *force || !guest.is_running() => Ok(()),
                GuestKind::Qemu => Err(format!("VM {vmid} is running - destroy failed")),
                GuestKind::Lxc => Err(format!("unable to destroy CT {vmid} - container is running")),
            }
        }
        Act::Template if !guest.snapshots.is_empty() => {
            Err(format!("unable to create template, because {word} contains snapshots"))
        }
        Act::Template if guest.is_template() => Err("you can't convert a template to a template".into()),
        Act::Template if guest.is_running() => {
            Err(format!("you can't convert a {word} to template if {word} is running"))
        }
        Act::Resize { disk, size } => {
            let (now, then) = growth(guest, disk, size)?;
            match guest.kind {
                _ if then > now => Ok(()),
                GuestKind::Qemu if then < now => Err("shrinking disks is not supported".into()),
                GuestKind::Qemu => Ok(()),
                GuestKind::Lxc if then < now => Err("unable to shrink disk size".into()),
                GuestKind::Lxc => Err("disk is already at specified size".into()),
            }
        }
        Act::Snapshot { .. } if guest.is_template() => Err("you can't take a snapshot if it's a template".into()),
        Act::Snapshot { name, .. } if guest.snapshots.contains_key(name) => {
            Err(format!("snapshot name '{name}' already used"))
        }
        Act::DeleteSnapshot(_) if guest.is_template() => Err("you can't delete a snapshot if vm is a template".into()),
        Act::Rollback { .. } if guest.is_template() => Err("you can't rollback if vm is a template".into()),
        Act::DeleteSnapshot(name) | Act::Rollback { name, .. } if !guest.snapshots.contains_key(name) => {
            Err(format!("snapshot '{name}' does not exist"))
        }
        _ => Ok(()),
    }
}
