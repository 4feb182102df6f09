//! The table of single changes a backend can be asked for, and of what each backend can do.
//!
//! An action is one API call in Proxmox's terms; a verb (in `ops`) may need several.

use crate::model::{Class, Error, GuestKind, Hint, Method, Result};

/// One change of a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Make a guest.
    Create,
    /// Make a guest as a copy of another.
    Clone,
    /// Change the configuration, at once.
    Configure,
    /// Change the configuration in a task: for changes that make or copy disks.
    ConfigureInTask,
    /// Remove a guest and its disks.
    Destroy,
    /// Power on.
    Start,
    /// Cut the power.
    Stop,
    /// Ask the guest to shut down.
    Shutdown,
    /// Shut down and start again, which applies pending changes.
    Reboot,
    /// Press the reset button.
    Reset,
    /// Freeze the processors.
    Pause,
    /// Save memory to disk and power off.
    Suspend,
    /// Go on after a pause or a suspend.
    Resume,
    /// Make a template of a guest.
    Template,
    /// Make a disk larger.
    ResizeDisk,
    /// Take a snapshot.
    Snapshot,
    /// Change what a snapshot is described as.
    SnapshotUpdate,
    /// Go back to a snapshot; what came after it is lost.
    Rollback,
    /// Remove a snapshot; the guest stays as it is.
    SnapshotDelete,
    /// Make a backup of a guest.
    Backup,
    /// Make a guest of a backup.
    Restore,
    /// Move a guest to another node.
    Migrate,
    /// Put a VM's disk into another storage, or give it to another VM.
    MoveDisk,
    /// The same with a container's volume.
    MoveVolume,
    /// Run a program in a guest, by its agent.
    AgentExec,
    /// Write a file in a guest, by its agent.
    AgentWrite,
    /// Hold the file systems of a guest still.
    AgentFreeze,
    /// Let them go on.
    AgentThaw,
    /// Give back what the file systems of a guest do not use.
    AgentTrim,
    /// Set a user's password in a guest.
    AgentPassword,
    /// Press keys.
    SendKey,
    /// Make the cloud-init drive anew.
    CloudInit,
}

/// How an action is spelt in the API: one row of [`ACTIONS`].
#[derive(Debug, Clone, Copy)]
pub struct ActionSpec {
    /// The action.
    pub action: Action,
    /// The method.
    pub method: Method,
    /// What follows `/nodes/{node}/{qemu|lxc}` in the path, or `/nodes/{node}` after `..`; `{vmid}` stands for the guest,
    /// another word in braces for the parameter of that name. Where it has no guest, that is a parameter.
    pub path: &'static str,
    /// Parameters that make the call this action.
    pub fixed: &'static [(&'static str, &'static str)],
}

const fn power(action: Action, path: &'static str) -> ActionSpec {
    plain(action, Method::Post, path)
}

const fn plain(action: Action, method: Method, path: &'static str) -> ActionSpec {
    ActionSpec { action, method, path, fixed: &[] }
}

/// The spelling of every action.
pub const ACTIONS: &[ActionSpec] = &[
    power(Action::Create, ""),
    power(Action::Clone, "/{vmid}/clone"),
    plain(Action::Configure, Method::Put, "/{vmid}/config"),
    power(Action::ConfigureInTask, "/{vmid}/config"),
    plain(Action::Destroy, Method::Delete, "/{vmid}"),
    power(Action::Start, "/{vmid}/status/start"),
    power(Action::Stop, "/{vmid}/status/stop"),
    power(Action::Shutdown, "/{vmid}/status/shutdown"),
    power(Action::Reboot, "/{vmid}/status/reboot"),
    power(Action::Reset, "/{vmid}/status/reset"),
    power(Action::Pause, "/{vmid}/status/suspend"),
    ActionSpec {
        action: Action::Suspend,
        method: Method::Post,
        path: "/{vmid}/status/suspend",
        fixed: &[("todisk", "1")],
    },
    power(Action::Resume, "/{vmid}/status/resume"),
    power(Action::Template, "/{vmid}/template"),
    plain(Action::ResizeDisk, Method::Put, "/{vmid}/resize"),
    power(Action::Snapshot, "/{vmid}/snapshot"),
    plain(Action::SnapshotUpdate, Method::Put, "/{vmid}/snapshot/{snapname}/config"),
    power(Action::Rollback, "/{vmid}/snapshot/{snapname}/rollback"),
    plain(Action::SnapshotDelete, Method::Delete, "/{vmid}/snapshot/{snapname}"),
    power(Action::Backup, "../vzdump"),
    power(Action::Restore, ""),
    power(Action::Migrate, "/{vmid}/migrate"),
    power(Action::MoveDisk, "/{vmid}/move_disk"),
    power(Action::MoveVolume, "/{vmid}/move_volume"),
    power(Action::AgentExec, "/{vmid}/agent/exec"),
    power(Action::AgentWrite, "/{vmid}/agent/file-write"),
    power(Action::AgentFreeze, "/{vmid}/agent/fsfreeze-freeze"),
    power(Action::AgentThaw, "/{vmid}/agent/fsfreeze-thaw"),
    power(Action::AgentTrim, "/{vmid}/agent/fstrim"),
    power(Action::AgentPassword, "/{vmid}/agent/set-user-password"),
    plain(Action::SendKey, Method::Put, "/{vmid}/sendkey"),
    plain(Action::CloudInit, Method::Put, "/{vmid}/cloudinit"),
];

impl ActionSpec {
    /// The contract's name of the call.
    pub fn template(&self, kind: GuestKind) -> String {
        match self.path.strip_prefix("..") {
            Some(path) => format!("/nodes/{{node}}{path}"),
            None => format!("/nodes/{{node}}/{}{}", kind.api(), self.path),
        }
    }
}

impl Action {
    /// How it is spelt.
    pub fn spec(self) -> &'static ActionSpec {
        // The test below walks all actions: each has its row.
        ACTIONS.iter().find(|spec| spec.action == self).unwrap_or(&ACTIONS[0])
    }
}

/// Whether a backend can do something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Support {
    /// It can.
    Yes,
    /// It cannot.
    No {
        /// Why not.
        reason: &'static str,
        /// What to do instead.
        instead: &'static str,
    },
}

/// What a backend can do: everything that is not in its list of exceptions.
#[derive(Debug, Clone, Copy)]
pub struct Capabilities {
    /// The backend's name, for messages.
    pub backend: &'static str,
    /// Whether its guests are on the very host that this runs on: paths of this host mean something to them, they have
    /// keys of pvectl's own (`x-…`), and changes can be queued.
    pub here: bool,
    /// Kinds of guests that it has none of: it can do nothing to them.
    pub without: &'static [(GuestKind, Support)],
    /// What it cannot do to others.
    pub exceptions: &'static [(GuestKind, Action, Support)],
    /// Verbs that change nothing and that it does not have, each with the reason.
    pub absent: &'static [(&'static str, &'static str)],
}

impl Capabilities {
    /// Whether an action on this kind of guest can be done.
    pub fn support(&self, kind: GuestKind, action: Action) -> Support {
        let without = self.without.iter().find(|(k, _)| *k == kind).map(|(_, support)| *support);
        let exception = || self.exceptions.iter().find(|(k, a, _)| *k == kind && *a == action);
        without.or_else(|| exception().map(|(.., support)| *support)).unwrap_or(Support::Yes)
    }

    /// Why a verb that changes nothing is not there, if it is not.
    pub fn absent(&self, verb: &str) -> Option<&'static str> {
        self.absent.iter().find(|(absent, _)| *absent == verb).map(|(_, reason)| *reason)
    }

    /// The same as a check.
    ///
    /// # Errors
    /// [`Class::Usage`] with the reason and the way out.
    pub fn require(&self, kind: GuestKind, action: Action) -> Result<()> {
        match self.support(kind, action) {
            Support::Yes => Ok(()),
            Support::No { reason, instead } => {
                Err(Error::new(Class::Usage, reason).with_hint(Hint::Text(instead.to_owned())))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_action_has_its_row_in_order() {
        use Action::*;
        for action in [
            Create,
            Clone,
            Configure,
            ConfigureInTask,
            Destroy,
            Start,
            Stop,
            Shutdown,
            Reboot,
            Reset,
            Pause,
            Suspend,
            Resume,
            Template,
            ResizeDisk,
            Snapshot,
            SnapshotUpdate,
            Rollback,
            SnapshotDelete,
            Backup,
            Restore,
            Migrate,
            MoveDisk,
            MoveVolume,
            AgentExec,
            AgentWrite,
            AgentFreeze,
            AgentThaw,
            AgentTrim,
            AgentPassword,
            SendKey,
            CloudInit,
        ] {
            assert_eq!(action.spec().action, action);
        }
    }
}
