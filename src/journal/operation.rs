//! Operations as the journal tells them: rows, details, configuration backups.
//!
//! Plain data; how they are found is in `query`.

use std::{fmt, str::FromStr};

use jiff::Timestamp;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ValueRef};
use serde::{Serialize, Serializer, ser::SerializeStruct};
use serde_json::Value;

use crate::model::{Bulk, Error, OperationId, StepId, Upid, Verdict};

macro_rules! statuses {
    ($($(#[$doc:meta])* $variant:ident = $word:literal,)*) => {
        /// How an operation is doing.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Status { $($(#[$doc])* $variant,)* }

        impl Status {
            /// Every status, in the order of an operation's life.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The word in data and in filters.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }
        }
    };
}

statuses! {
    /// Written down; nothing was sent.
    Planned = "planned",
    /// A request went out, and what became of it is not known yet.
    Sent = "sent",
    /// The server named a task for the latest request.
    Running = "running",
    /// Done.
    Ok = "ok",
    /// Done, with warnings.
    Warning = "warning",
    /// Not done.
    Failed = "failed",
    /// Called off before anything was sent.
    Cancelled = "cancelled",
    /// Nobody can say whether it was done.
    Unknown = "unknown",
}

impl Status {
    /// Whether the end is still to come.
    pub fn is_in_flight(self) -> bool {
        matches!(self, Self::Planned | Self::Sent | Self::Running)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Status {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::ALL.iter().copied().find(|status| status.as_str() == text).ok_or_else(|| {
            let known: Vec<&str> = Self::ALL.iter().map(|status| status.as_str()).collect();
            Error::usage(format!("`{text}` is no status of an operation; there are {}", known.join(", ")))
        })
    }
}

impl Serialize for Status {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl FromSql for Status {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value.as_str()?.parse().map_err(|error| FromSqlError::Other(Box::new(error)))
    }
}

/// One row of the list of operations. As JSON every key is there always, in this order, times are RFC 3339 in UTC.
#[derive(Debug, Clone, PartialEq)]
pub struct Operation {
    /// Its number.
    pub id: OperationId,
    /// The verb: `start`, `create`, …
    pub verb: String,
    /// What was typed as target.
    pub target: String,
    /// The guest's number.
    pub vmid: Option<u32>,
    /// The guest's name.
    pub name: Option<String>,
    /// The node.
    pub node: Option<String>,
    /// The context's name.
    pub context: String,
    /// The user on the server, as far as known.
    pub user: String,
    /// The machine it was asked for on.
    pub host: String,
    /// The latest task.
    pub upid: Option<Upid>,
    /// How it is doing.
    pub status: Status,
    /// The last task's exit status, in the server's words.
    pub exit_status: Option<String>,
    /// When it was planned.
    pub started: Timestamp,
    /// When it was over.
    pub ended: Option<Timestamp>,
    /// What went wrong.
    pub error: Option<String>,
    /// The operation over several guests that it is a part of.
    pub parent: Option<OperationId>,
}

impl Operation {
    /// How long it took, in seconds; `None` while it is in flight. Zero where the clock was set back in between.
    pub fn duration(&self) -> Option<f64> {
        self.ended.map(|ended| ended.duration_since(self.started).as_secs_f64().max(0.0))
    }
}

impl Serialize for Operation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut row = serializer.serialize_struct("Operation", 17)?;
        row.serialize_field("id", &self.id)?;
        row.serialize_field("verb", &self.verb)?;
        row.serialize_field("target", &self.target)?;
        row.serialize_field("vmid", &self.vmid)?;
        row.serialize_field("name", &self.name)?;
        row.serialize_field("node", &self.node)?;
        row.serialize_field("context", &self.context)?;
        row.serialize_field("user", &self.user)?;
        row.serialize_field("host", &self.host)?;
        row.serialize_field("upid", &self.upid)?;
        row.serialize_field("status", &self.status)?;
        row.serialize_field("exit_status", &self.exit_status)?;
        row.serialize_field("started", &self.started)?;
        row.serialize_field("ended", &self.ended)?;
        row.serialize_field("duration", &self.duration())?;
        row.serialize_field("error", &self.error)?;
        row.serialize_field("parent", &self.parent)?;
        row.end()
    }
}

/// Everything about one operation. As JSON the row's keys come first, then these.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Details {
    /// The row.
    #[serde(flatten)]
    pub operation: Operation,
    /// `qemu`, `lxc`, or what else the verb works on.
    pub kind: String,
    /// The process that planned it, on [`Operation::host`]: whether it still lives tells work in progress from work
    /// that was left.
    pub pid: u32,
    /// The steps, planned or not, by number.
    pub steps: Vec<Step>,
    /// The guest's configuration before the change, secrets removed.
    pub config_before: Option<Value>,
    /// The request that asked for it, where it was asked for over a served host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// Of an operation over several guests: which, and at what pace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bulk: Option<Bulk>,
    /// The events as they were written.
    pub events: Vec<EventRow>,
}

/// One step of an operation.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Step {
    /// Its number, counted from one.
    pub step: StepId,
    /// The call as planned, `{method, path, params}`, secrets removed; `None` for one that was not planned.
    pub call: Option<Value>,
    /// When its request last went out. If there is a time, it may have been processed.
    pub sent: Option<Timestamp>,
    /// The task the server named for the latest request.
    pub upid: Option<Upid>,
    /// When it was over.
    pub ended: Option<Timestamp>,
    /// How it ended.
    pub verdict: Option<Verdict>,
    /// The task's exit status or the error's message.
    pub exit_status: Option<String>,
}

impl Step {
    /// A step that did not begin.
    pub(super) fn planned(step: StepId, call: Option<Value>) -> Self {
        Self { step, call, sent: None, upid: None, ended: None, verdict: None, exit_status: None }
    }
}

/// One event as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EventRow {
    /// Its number in the whole journal.
    pub id: i64,
    /// When it was written.
    pub time: Timestamp,
    /// What was written; its key `event` says which kind.
    pub payload: Value,
    /// Its hash, 64 hex digits.
    pub hash: String,
}

/// A guest's configuration as it was before an operation.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ConfigBackup {
    /// The operation.
    pub operation: OperationId,
    /// When it was planned.
    pub time: Timestamp,
    /// The operation's verb.
    pub verb: String,
    /// The guest's name then.
    pub name: Option<String>,
    /// The configuration, secrets removed.
    pub config: Value,
}
