//! What is told to the journal, and the trait by which it is told.
//!
//! The journal itself is in [`crate::journal`]; whoever works without one uses [`NullRecorder`].

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Error, Upid};

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

/// Keeps the record of operations. Every method returns only when what it was told is safe where it is kept.
pub trait Recorder: Send + Sync {
    /// Writes an intent. Nothing may be sent if this fails.
    ///
    /// # Errors
    /// When it cannot be written.
    fn plan(&self, intent: &Intent) -> Result<OperationId, Error>;

    /// Writes an event.
    ///
    /// # Errors
    /// When it cannot be written.
    fn event(&self, operation: OperationId, event: &Event) -> Result<(), Error>;

    /// The numbers of the guests that were called so in a context when something was last done to them.
    ///
    /// # Errors
    /// When what is kept cannot be read.
    fn guests_named(&self, _context: &str, _name: &str) -> Result<Vec<u32>, Error> {
        Ok(Vec::new())
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
    fn plan(&self, _: &Intent) -> Result<OperationId, Error> {
        Ok(OperationId(0))
    }

    fn event(&self, _: OperationId, _: &Event) -> Result<(), Error> {
        Ok(())
    }
}
