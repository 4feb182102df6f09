//! What is the case with a VM, and what is to be done: from what was seen to a conclusion, without looking and without
//! doing.
//!
//! The observation is plain data that whoever can look fills in; the actions are carried out by whoever holds the VM's
//! operation lock, in their order, each of them "make sure that": doing it again does no harm. After the last of them a
//! new observation concludes in nothing to do.
//!
//! # The laws
//! - Nothing is done to a process that is not certainly the VM's own: it holds the `alive` file or is the recorded one
//!   with its start time in this boot, and it is who answers on the socket.
//! - A VM that somebody else holds is only described.
//! - A VMM that does not answer is not dead. It is ended where the user wants that, and only described else.
//! - A delete is finished, and the row goes last; it waits only for a living holder of the `alive` file that is nobody we
//!   know, since its disks would go away under it.
//! - A VM whose memory was read back from disk is finished once its intent is committed: the guest may have run, and what
//!   is on disk is used up. Before, it is as suspended as it was.
//! - Files go only where an intent names them, and never while the VMM has them. One that was made for the VM and is in
//!   the VMM by now proves that its intent was done, only not written down. So does a device that has come or gone, and a
//!   size that is what was asked for.
//! - A tap goes with its card: of a VMM that answers and has not got it, or has let go of it.
//! - A device of the host is given back once no VMM of the VM has it.
//! - A shared directory is served for as long as a VMM has its device, and no longer. One that does not say what it has
//!   keeps all.

mod decide;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, path::PathBuf};

pub use decide::conclude;

use super::{End, Holder, Intent, Outcome, Phase, Process, Settings, Settle, Vm};

/// What was seen of a VM, at about one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// Its row.
    pub vm: Vm,
    /// What is being done to it, or was left.
    pub intent: Option<Intent>,
    /// Who holds its operation lock.
    pub lock: Lock,
    /// The present boot.
    pub boot_id: String,
    /// Whether somebody holds a lock on its `alive` file.
    pub alive: bool,
    /// What has become of the process that the row names.
    pub recorded: Recorded,
    /// A process whose arguments name this VM's log, as a search through `/proc` finds it. Needed only where the recorded
    /// process is not there though `alive` is held.
    pub marked: Option<Process>,
    /// What its socket says.
    pub socket: Socket,
    /// The files that its VMM has open, as `vm.info` names them; none if that does not answer.
    pub files: Vec<PathBuf>,
    /// The ids of the devices that its VMM has, likewise.
    pub devices: Vec<String>,
    /// The devices that the host has lent it, by their ids, without those that could not be given back; none unless the
    /// operation lock is ours.
    pub lent: Vec<String>,
    /// What it can be resized in, likewise: `vcpus`, and the bytes of `memory` and `balloon`.
    pub sizes: BTreeMap<String, u64>,
    /// The shared directories for which something was started, by the keys of their devices.
    pub shares: Vec<String>,
    /// Whether the disk that was to grow is that large.
    pub grown: bool,
    /// The last event of its present generation.
    pub last_event: LastEvent,
}

/// Who holds the operation lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lock {
    /// This command.
    Ours,
    /// Nobody: what is concluded is to be done by whoever takes it, after another look.
    Free,
    /// Somebody else, with what he says of himself.
    Held(Option<Holder>),
}

/// What has become of the process that the row names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    /// The row names none.
    None,
    /// It is gone, or is a zombie.
    Gone,
    /// It lives: same number, same start.
    Lives,
    /// Its number was given to another.
    Reused,
}

/// What a VM's socket says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Socket {
    /// Nobody listens, or there is none.
    Closed,
    /// Somebody listens and does not answer in time.
    Silent,
    /// A VMM answers.
    Answers {
        /// Who it is, by its own account.
        pid: u32,
        /// What it has.
        machine: Machine,
    },
}

/// What a VMM says of its VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Machine {
    /// It has none (`vm.info` is 404).
    None,
    /// `Created`: never booted, or shut down.
    Created,
    /// `Running`.
    Running,
    /// `Paused`, or stopped by a debugger.
    Paused,
}

/// The last event that a VMM wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LastEvent {
    /// There is no file, or nothing in it.
    None,
    /// The VM was shut down or deleted, or the VMM ended in order.
    Shutdown,
    /// Any other, by its name.
    Other(String),
}

/// Something to be done, by the holder of the VM's lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// End this VMM: `vmm.shutdown`, and a signal through a pidfd if it is not gone in time. On return it is dead.
    EndVmm(Process),
    /// Let the paused VM of this VMM go on.
    Resume(Process),
    /// End what serves these shared directories, and remove its sockets.
    EndShares(Vec<String>),
    /// Remove the sockets that a dead VMM left, and the pipe that told of its end.
    RemoveSockets,
    /// Remove the VM's taps, those that carry our mark, and the control group of its VMM.
    RemoveTaps,
    /// Remove the VM's taps but those of these devices, which its VMM has.
    RemoveOtherTaps(Vec<String>),
    /// Give the host these devices back.
    ReturnDevices(Vec<String>),
    /// Put files in their place, from where to where; one that is not there any more is there already.
    MoveFiles(Vec<(PathBuf, PathBuf)>),
    /// Remove these files.
    RemoveFiles(Vec<PathBuf>),
    /// Remove what is in the VM's directory, configuration, logs and seed: all but the lock, which is still held.
    RemoveDirectory,
    /// [`State::settle`](super::State::settle).
    Settle(Settle),
    /// [`State::remove`](super::State::remove), and the directory with the lock after it.
    RemoveRow,
}

/// How a VM is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// It is not there yet.
    Creating,
    /// It is off.
    Stopped,
    /// A VMM is there, its VM is not running yet.
    Prelaunch,
    /// It runs.
    Running,
    /// It stands still and holds its memory.
    Paused,
    /// Its VMM lives and does not answer.
    Unresponsive,
    /// Somebody we do not know is in its place.
    Foreign,
}

impl Sight {
    /// `status` in Proxmox's words.
    pub const fn status(self) -> &'static str {
        match self {
            Self::Creating | Self::Stopped => "stopped",
            Self::Prelaunch | Self::Running | Self::Paused | Self::Unresponsive | Self::Foreign => "running",
        }
    }

    /// `qmpstatus` in Proxmox's words, with one of our own for what QEMU cannot be.
    pub const fn qmpstatus(self) -> &'static str {
        match self {
            Self::Creating | Self::Stopped => "stopped",
            Self::Prelaunch => "prelaunch",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Unresponsive | Self::Foreign => "unresponsive",
        }
    }
}

/// Something worth telling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// Somebody else works on it.
    Busy(Option<Holder>),
    /// It was thought to run and does not.
    Ended(End),
    /// What an earlier command left was finished or rolled back.
    Left(super::Verb, Outcome),
    /// It runs though that was not known.
    Adopted(Process),
    /// Its VMM does not answer.
    Unresponsive(Process),
    /// Its VM was shut down behind our back; the VMM is there still.
    ShutDownOutside(Process),
    /// A process in its place is not ours, by what was seen; nothing is done.
    Foreign {
        /// Its number, if that is known.
        pid: Option<u32>,
    },
    /// What an earlier command left cannot be finished while the VM runs.
    NeedsRest(super::Verb),
    /// It is deleted although nothing says which disks were its own: they stay.
    DisksStay,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Busy(Some(Holder { what, user, process, .. })) => {
                write!(f, "busy: {what} by {user}, process {}", process.pid)
            }
            Self::Busy(None) => f.write_str("busy: another process works on it"),
            Self::Ended(End::Stopped) => f.write_str("a stop that was cut short is finished"),
            Self::Ended(End::Suspended) => f.write_str("a suspend that was cut short is finished"),
            Self::Ended(End::PoweredOff) => f.write_str("the guest has powered off"),
            Self::Ended(End::Crashed { last_event: Some(event) }) => {
                write!(f, "its VMM died; its last event was `{event}`")
            }
            Self::Ended(End::Crashed { last_event: None }) => f.write_str("its VMM died before its first event"),
            Self::Ended(End::HostRebooted) => f.write_str("the host has rebooted since it was started"),
            Self::Ended(End::FailedStart { error: Some(error) }) => write!(f, "its start failed: {error}"),
            Self::Ended(End::FailedStart { error: None }) => f.write_str("its start was cut short"),
            Self::Left(verb, Outcome::Finished) => {
                write!(f, "{} {verb} that was cut short is finished", article(*verb))
            }
            Self::Left(verb, Outcome::RolledBack) => {
                write!(f, "{} {verb} that was cut short is rolled back", article(*verb))
            }
            Self::Adopted(process) => write!(f, "it runs already, in process {}", process.pid),
            Self::Unresponsive(process) => write!(f, "its VMM, process {}, does not answer", process.pid),
            Self::ShutDownOutside(process) => {
                write!(f, "its VM was shut down by somebody else; its VMM, process {}, is there still", process.pid)
            }
            Self::Foreign { pid: Some(pid) } => write!(f, "process {pid} is in its place and not ours; left alone"),
            Self::Foreign { pid: None } => f.write_str("a process that is not known holds it; left alone"),
            Self::NeedsRest(verb) => {
                write!(f, "{} {verb} that was cut short goes on once the VM is stopped", article(*verb))
            }
            Self::DisksStay => f.write_str("nothing says which disks were its own: they stay"),
        }
    }
}

fn article(verb: super::Verb) -> &'static str {
    if verb.word().starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" }
}

/// What is the case, and what is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conclusion {
    /// How it is.
    pub sight: Sight,
    /// What is to be done, in this order; the row last.
    pub actions: Vec<Action>,
    /// What is worth telling.
    pub findings: Vec<Finding>,
}

impl Conclusion {
    /// The settings that a VM came up with, where the start was cut short and only that is not written down: its row has
    /// those of before, and may say that it is suspended.
    ///
    /// What another verb left is shown as it was before it, so that the same command is tried again and mends it.
    pub fn came_up_with<'i>(&self, intent: Option<&'i Intent>) -> Option<&'i Settings> {
        let ends = self.actions.iter().find_map(|action| match action {
            Action::Settle(settle) => settle.intent,
            _ => None,
        });
        let start = intent.filter(|intent| intent.verb == super::Verb::Start);
        start.filter(|intent| ends == Some((intent.id, Outcome::Finished)))?.work.settings.as_ref()
    }

    /// Whether a verb may go on: nothing is in the way.
    pub fn is_settled(&self) -> bool {
        self.actions.is_empty() && !matches!(self.sight, Sight::Creating | Sight::Foreign)
    }
}
