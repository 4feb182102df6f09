//! The table of verbs that need nothing but a guest: what they do in which power state, and what they are called.
//!
//! What those are called that have plans of their own is in `words`.

use std::fmt;

use serde_json::{Map, Value};

use super::inside::words as inside;
pub use super::words::{
    ADD, BACKUP, CLONE, CONFIG_ROLLBACK, COPY, CREATE, DELETE, DELETE_SNAPSHOT, DETACH, IMPORT_DISK, LOCK, MIGRATE,
    MOVE_DISK, REASSIGN, REMOVE, RENAME, RESIZE_DISK, RESTORE, ROLLBACK, SNAPSHOT, TAG, TEMPLATE, UNLOCK, UPDATE,
    UPDATE_SNAPSHOT, Words,
};
use crate::{backends::Action, model::GuestKind};

/// A guest's power as far as verbs care.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Power {
    /// Off.
    Stopped,
    /// On.
    Running,
    /// On, with frozen processors.
    Paused,
    /// Off, with its memory saved on disk.
    Suspended,
}

impl Power {
    /// Reads it from `GET …/status/current`.
    pub fn of(status: &Map<String, Value>) -> Self {
        let text = |key: &str| status.get(key).and_then(Value::as_str).unwrap_or_default();
        match (text("status"), text("qmpstatus"), text("lock")) {
            ("running", "paused" | "prelaunch", _) | ("paused", ..) => Self::Paused,
            ("running", ..) => Self::Running,
            (_, _, "suspended") | ("suspended", ..) => Self::Suspended,
            _ => Self::Stopped,
        }
    }
}

impl fmt::Display for Power {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stopped => "stopped",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Suspended => "suspended to disk",
        })
    }
}

/// What a verb does in a power state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Its work.
    Do,
    /// Nothing: the guest is there already.
    Already,
    /// It refuses and names the verb that fits.
    Instead(&'static str),
}

use When::{Already, Do, Instead};

/// A flag of a verb that becomes a parameter of its call.
#[derive(Debug, Clone, Copy)]
pub struct VerbOption {
    /// The flag, without dashes.
    pub flag: &'static str,
    /// PVE's parameter.
    pub param: &'static str,
    /// The name of its value; `None` for a switch.
    pub value: Option<&'static str>,
    /// One line of help.
    pub about: &'static str,
    /// Which kinds of guest have it.
    pub kinds: &'static [GuestKind],
}

/// A power verb.
#[derive(Debug, Clone, Copy)]
pub struct PowerVerb {
    /// What it is called.
    pub words: Words,
    /// One line of help.
    pub about: &'static str,
    /// The kinds of guest it is for.
    pub kinds: &'static [GuestKind],
    /// The single step.
    pub action: Action,
    /// What it does when the guest is stopped, running, paused, suspended.
    pub when: [When; 4],
    /// Its flags.
    pub options: &'static [VerbOption],
}

impl PowerVerb {
    /// What it does in this state.
    pub fn when(&self, power: Power) -> When {
        self.when[power as usize]
    }
}

const BOTH: &[GuestKind] = &GuestKind::ALL;
const VM: &[GuestKind] = &[GuestKind::Qemu];
const CONTAINER: &[GuestKind] = &[GuestKind::Lxc];

const fn seconds(about: &'static str, kinds: &'static [GuestKind]) -> VerbOption {
    VerbOption { flag: "shutdown-timeout", param: "timeout", value: Some("SECONDS"), about, kinds }
}

/// Every power verb. Two rows with one name differ by kind.
pub const POWER_VERBS: &[PowerVerb] = &[
    PowerVerb {
        words: Words::new("start", "starting", "started"),
        about: "Power on",
        kinds: BOTH,
        action: Action::Start,
        when: [Do, Already, Instead("resume"), Do],
        options: &[],
    },
    PowerVerb {
        words: Words::new("stop", "stopping", "stopped"),
        about: "Cut the power, at once and without asking the guest",
        kinds: BOTH,
        action: Action::Stop,
        when: [Already, Do, Do, Already],
        options: &[VerbOption {
            flag: "overrule-shutdown",
            param: "overrule-shutdown",
            value: None,
            about: "Abort a shutdown that is under way instead of waiting for it",
            kinds: BOTH,
        }],
    },
    PowerVerb {
        words: Words::new("shutdown", "shutting down", "shut down"),
        about: "Ask the guest to shut down",
        kinds: BOTH,
        action: Action::Shutdown,
        when: [Already, Do, Instead("resume"), Already],
        options: &[
            seconds("How long the server waits for the guest", BOTH),
            VerbOption {
                flag: "force",
                param: "forceStop",
                value: None,
                about: "Cut the power if the guest has not shut down in time",
                kinds: BOTH,
            },
        ],
    },
    PowerVerb {
        words: Words::new("restart", "restarting", "restarted"),
        about: "Shut down and start again, which applies pending changes",
        kinds: BOTH,
        action: Action::Reboot,
        when: [Instead("start"), Do, Instead("resume"), Instead("start")],
        options: &[seconds("How long the server waits for the guest to shut down", BOTH)],
    },
    PowerVerb {
        words: Words::new("reset", "resetting", "reset"),
        about: "Press the reset button",
        kinds: BOTH,
        action: Action::Reset,
        when: [Instead("start"), Do, Do, Instead("start")],
        options: &[],
    },
    PowerVerb {
        words: Words::new("pause", "pausing", "paused"),
        about: "Freeze the processors; memory stays in use",
        kinds: BOTH,
        action: Action::Pause,
        when: [Instead("start"), Do, Already, Instead("start")],
        options: &[],
    },
    PowerVerb {
        words: Words::new("resume", "resuming", "resumed"),
        about: "Go on after `pause` or `suspend`",
        kinds: VM,
        action: Action::Resume,
        when: [Instead("start"), Already, Do, Do],
        options: &[],
    },
    PowerVerb {
        words: Words::new("resume", "resuming", "resumed"),
        about: "Go on after `pause`",
        kinds: CONTAINER,
        action: Action::Resume,
        // The server calls a frozen container running, so nobody can tell that it is not frozen.
        when: [Instead("start"), Do, Do, Instead("start")],
        options: &[],
    },
    PowerVerb {
        words: Words::new("suspend", "suspending", "suspended"),
        about: "Save memory to disk and power off; `start` or `resume` goes on",
        kinds: BOTH,
        action: Action::Suspend,
        when: [Instead("start"), Do, Do, Already],
        options: &[VerbOption {
            flag: "statestorage",
            param: "statestorage",
            value: Some("STORAGE"),
            about: "Where the memory is saved",
            kinds: VM,
        }],
    },
];

/// The names of all verbs that change a guest, each once.
pub(super) fn names() -> Vec<&'static str> {
    let others = [
        CREATE,
        UPDATE,
        CONFIG_ROLLBACK,
        ADD,
        REMOVE,
        DELETE,
        RESIZE_DISK,
        TEMPLATE,
        CLONE,
        COPY,
        MIGRATE,
        MOVE_DISK,
        DETACH,
        REASSIGN,
        IMPORT_DISK,
        TAG,
        LOCK,
        UNLOCK,
        RENAME,
        SNAPSHOT,
        UPDATE_SNAPSHOT,
        ROLLBACK,
        DELETE_SNAPSHOT,
        BACKUP,
        RESTORE,
    ];
    let mut names: Vec<&str> = others
        .iter()
        .chain(inside::ALL)
        .chain(POWER_VERBS.iter().map(|verb| &verb.words))
        .map(|words| words.name)
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// What a verb that makes a plan is called, by its name.
pub fn words_of(name: &str, kind: GuestKind) -> Option<Words> {
    let others = [
        CREATE,
        UPDATE,
        CONFIG_ROLLBACK,
        ADD,
        REMOVE,
        DELETE,
        CLONE,
        COPY,
        MIGRATE,
        DETACH,
        TAG,
        RENAME,
        BACKUP,
        RESTORE,
    ];
    let other = others.into_iter().find(|words| words.name == name);
    other.or_else(|| power_verb(name, kind).map(|verb| verb.words))
}

/// The change that a verb on a kind of guest is, or begins with; `None` for one that only reads.
pub fn action_of(name: &str, kind: GuestKind) -> Option<Action> {
    let others = [
        (CREATE, Action::Create),
        (UPDATE, Action::Configure),
        (ADD, Action::Configure),
        (REMOVE, Action::Configure),
        (DELETE, Action::Destroy),
        (RENAME, Action::Configure),
        (SNAPSHOT, Action::Snapshot),
        (CLONE, Action::Clone),
        (COPY, Action::Clone),
        (MIGRATE, Action::Migrate),
        (MOVE_DISK, if kind == GuestKind::Qemu { Action::MoveDisk } else { Action::MoveVolume }),
        (REASSIGN, if kind == GuestKind::Qemu { Action::MoveDisk } else { Action::MoveVolume }),
        (DETACH, Action::Configure),
        (IMPORT_DISK, Action::Configure),
        (TAG, Action::Configure),
        (LOCK, Action::Configure),
        (UNLOCK, Action::Configure),
        (TEMPLATE, Action::Template),
        (RESIZE_DISK, Action::ResizeDisk),
        (BACKUP, Action::Backup),
    ];
    let other = others.iter().find(|(words, _)| words.name == name).map(|(_, action)| *action);
    other.or_else(|| power_verb(name, kind).map(|verb| verb.action))
}

/// The row of a power verb for a kind of guest.
pub fn power_verb(name: &str, kind: GuestKind) -> Option<&'static PowerVerb> {
    POWER_VERBS.iter().find(|verb| verb.words.name == name && verb.kinds.contains(&kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_names_a_verb_that_works_there() {
        for verb in POWER_VERBS {
            for (power, when) in [Power::Stopped, Power::Running, Power::Paused, Power::Suspended].iter().zip(verb.when)
            {
                if let Instead(other) = when {
                    for kind in verb.kinds {
                        let other = power_verb(other, *kind).expect("a verb");
                        assert_eq!(
                            other.when(*power),
                            Do,
                            "{} when {power} points to {}",
                            verb.words.name,
                            other.words.name
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn power_is_read_from_all_three_fields() {
        let power = |json: &str| Power::of(&serde_json::from_str(json).unwrap());
        assert_eq!(power(r#"{"status":"running","qmpstatus":"running"}"#), Power::Running);
        assert_eq!(power(r#"{"status":"running","qmpstatus":"paused"}"#), Power::Paused);
        assert_eq!(power(r#"{"status":"stopped","lock":"suspended"}"#), Power::Suspended);
        assert_eq!(power(r#"{"status":"stopped","lock":"backup"}"#), Power::Stopped);
    }
}
