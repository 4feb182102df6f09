//! What is told to the journal, and the trait by which it is told.
//!
//! The journal itself is in [`crate::journal`]; whoever works without one uses [`NullRecorder`].

use std::{fmt, slice};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Error, ExitStatus, Upid};

/// The number of an operation in the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OperationId(pub i64);

/// The number of a step within its operation, counted from one.
pub type StepId = u32;

/// What is about to be done: written before the first request goes out.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Intent {
    /// The verb: `start`, `create`, `delete`, …
    pub verb: String,
    /// What the person typed as target.
    pub target: String,
    /// `qemu`, `lxc`, or what else the verb works on.
    pub kind: String,
    /// The guest's number, if it is about one.
    pub vmid: Option<u32>,
    /// The guest's name.
    pub name: Option<String>,
    /// The node.
    pub node: Option<String>,
    /// The context's name.
    pub context: String,
    /// The user on the server, as far as known.
    pub user: String,
    /// The steps as planned: one JSON value each, secrets removed (`{method, path, params}`).
    pub steps: Vec<Value>,
    /// The guest's configuration before the change, secrets removed.
    pub config_before: Option<Value>,
    /// The request that asked for it, where it was asked for over a served host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// The operation over several guests that this one is a part of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<OperationId>,
    /// If it is one over several guests: which, and at what pace. It has no steps of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bulk: Option<Bulk>,
}

/// What is about to be done to several guests at once: each gets an operation of its own when it is begun.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Bulk {
    /// The guests, in the order in which they are begun.
    pub guests: Vec<BulkGuest>,
    /// How many at a time.
    pub parallel: usize,
    /// So many, and the next ones when these have ended.
    pub batch: Option<usize>,
    /// Seconds between two batches.
    pub pause: f64,
    /// When more than so many failed, nothing more is begun.
    pub max_failures: Option<usize>,
    /// Seconds for which the lock of a guest is waited for.
    pub wait_lock: Option<f64>,
    /// Whether somebody was asked before.
    pub asks: bool,
}

/// One guest among several.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct BulkGuest {
    /// `qemu` or `lxc`.
    pub kind: String,
    /// Its number.
    pub vmid: u32,
    /// Its name.
    pub name: Option<String>,
    /// Its node.
    pub node: String,
    /// Its steps as planned, as in [`Intent::steps`]; none where there was nothing to do.
    pub steps: Vec<Value>,
    /// Why it was left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

/// How many of several guests are how far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Done.
    pub ok: usize,
    /// Done, with warnings.
    pub warning: usize,
    /// Not done.
    pub failed: usize,
    /// Nobody can say whether it was done.
    pub unknown: usize,
    /// Under way.
    pub running: usize,
    /// Not begun, or called off before it was sent.
    pub left: usize,
}

impl Tally {
    /// How all of it ended; `None` while something is under way. What can be gone on with comes first.
    pub fn verdict(&self) -> Option<Verdict> {
        match self {
            Self { running: 1.., .. } => None,
            Self { left: 1.., .. } => Some(Verdict::Cancelled),
            Self { failed: 1.., .. } => Some(Verdict::Failed),
            Self { unknown: 1.., .. } => Some(Verdict::Unknown),
            Self { warning: 1.., .. } => Some(Verdict::Warning),
            _ => Some(Verdict::Ok),
        }
    }

    /// The end of all of it as an event; `None` while something is under way.
    pub fn ended(&self) -> Option<Event> {
        Some(Event::Ended { verdict: self.verdict()?, exit_status: Some(self.to_string()), error: None })
    }
}

impl fmt::Display for Tally {
    /// `5 ok, 1 failed, 2 not begun`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ok, warning, failed, unknown, running, left } = *self;
        let counts = [
            (ok, "ok"),
            (warning, "with warnings"),
            (failed, "failed"),
            (unknown, "unknown"),
            (running, "running"),
            (left, "not begun"),
        ];
        let told: Vec<String> =
            counts.iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!("{count} {word}")).collect();
        f.write_str(&told.join(", "))
    }
}

/// How an operation, or one step of it, ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Done.
    Ok,
    /// Done, with warnings.
    Warning,
    /// Not done.
    Failed,
    /// Called off before it was sent.
    Cancelled,
    /// Nobody can say whether it was done.
    Unknown,
}

impl From<&ExitStatus> for Verdict {
    /// What the end of a task is to an operation.
    fn from(end: &ExitStatus) -> Self {
        match end {
            ExitStatus::Ok => Self::Ok,
            ExitStatus::Warnings(_) => Self::Warning,
            ExitStatus::Failed(_) => Self::Failed,
        }
    }
}

/// What happened to an operation, in the order it happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "event")]
pub enum Event {
    /// The request of a step is about to go out. After this one, and no other event, it may have been processed.
    Sent {
        /// Which step.
        step: StepId,
    },
    /// The server took it and named a task.
    Upid {
        /// Which step.
        step: StepId,
        /// The task.
        upid: Upid,
    },
    /// A step is over.
    Step {
        /// Which step.
        step: StepId,
        /// How.
        verdict: Verdict,
        /// The task's exit status or the error's message.
        exit_status: Option<String>,
    },
    /// The operation is over.
    Ended {
        /// How.
        verdict: Verdict,
        /// The last task's exit status, in the server's words.
        exit_status: Option<String>,
        /// What went wrong.
        error: Option<String>,
    },
    /// The VMID or node became known only now (chosen by the server, or taken by somebody else in between).
    Target {
        /// The guest's number.
        vmid: u32,
        /// Its node.
        node: String,
    },
}

/// What was made of a document: what `apply` remembers to tell later what others changed, and what left the file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Applied {
    /// The context.
    pub context: String,
    /// `vm`, `container`, `pool`, …
    pub kind: String,
    /// What it is called in the document.
    pub name: String,
    /// The guest's number, once there is one.
    pub vmid: Option<u32>,
    /// What was said by the document that was made so last, secrets by the names of their files; `None` if none was yet.
    pub done: Option<Value>,
    /// The same of one that is being made so, or was when it failed.
    pub trying: Option<Value>,
}

/// Keeps the record of operations. Every method returns only when what it was told is safe where it is kept.
pub trait Recorder: Send + Sync {
    /// Writes an intent, and what has happened with it: all of it or nothing. Nothing may be sent if this fails.
    ///
    /// # Errors
    /// When it cannot be written, or another operation of the same [`parent`](Intent::parent) has begun the guest.
    fn begin(&self, intent: &Intent, events: &[Event]) -> Result<OperationId, Error>;

    /// Writes events, in this order: all of them or none.
    ///
    /// # Errors
    /// When they cannot be written.
    fn events(&self, operation: OperationId, events: &[Event]) -> Result<(), Error>;

    /// Writes an intent with which nothing has happened yet.
    ///
    /// # Errors
    /// As [`begin`](Self::begin).
    fn plan(&self, intent: &Intent) -> Result<OperationId, Error> {
        self.begin(intent, &[])
    }

    /// Writes an event.
    ///
    /// # Errors
    /// As [`events`](Self::events).
    fn event(&self, operation: OperationId, event: &Event) -> Result<(), Error> {
        self.events(operation, slice::from_ref(event))
    }

    /// The numbers of the guests that were called so in a context when something was last done to them.
    ///
    /// # Errors
    /// When what is kept cannot be read.
    fn guests_named(&self, _context: &str, _name: &str) -> Result<Vec<u32>, Error> {
        Ok(Vec::new())
    }

    /// What was made of documents in a context, as `apply` left it.
    ///
    /// # Errors
    /// When what is kept cannot be read.
    fn applied(&self, _context: &str) -> Result<Vec<Applied>, Error> {
        Ok(Vec::new())
    }

    /// Remembers what is made of a document, in place of what was known of it.
    ///
    /// # Errors
    /// When it cannot be written.
    fn remember(&self, _applied: &Applied) -> Result<(), Error> {
        Ok(())
    }

    /// Forgets a document: what it described is gone.
    ///
    /// # Errors
    /// When it cannot be written.
    fn forget(&self, _context: &str, _kind: &str, _name: &str) -> Result<(), Error> {
        Ok(())
    }

    /// Whether a task is known as that of an operation.
    ///
    /// # Errors
    /// When what is kept cannot be read.
    fn has_task(&self, _upid: &Upid) -> Result<bool, Error> {
        Ok(false)
    }
}

/// Keeps nothing: for readers, for tests, and for `--no-journal`.
#[derive(Debug, Clone, Copy, Default)]
pub struct NullRecorder;

impl Recorder for NullRecorder {
    fn begin(&self, _: &Intent, _: &[Event]) -> Result<OperationId, Error> {
        Ok(OperationId(0))
    }

    fn events(&self, _: OperationId, _: &[Event]) -> Result<(), Error> {
        Ok(())
    }
}
