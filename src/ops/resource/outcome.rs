//! What became of the change of a thing. How it came about is in `change`.

use serde::Serialize;
use serde_json::Value;

use crate::{
    model::{Error, NodeName, Upid},
    ops::Status,
};

/// What became of one: a row of the output of every change.
#[derive(Debug, Serialize)]
pub struct ResourceOutcome {
    /// `pool`.
    pub kind: &'static str,
    /// What it is called.
    pub name: String,
    /// The node that does it, where there is one.
    pub node: Option<NodeName>,
    /// The verb.
    pub verb: &'static str,
    /// How it went.
    pub status: Status,
    /// The task.
    pub upid: Option<Upid>,
    /// How that ended, in the server's words.
    pub exit_status: Option<String>,
    /// Whether anything was sent and taken.
    pub changed: bool,
    /// The context.
    pub context: String,
    /// What the server answered.
    #[serde(skip)]
    pub data: Option<Value>,
    /// Why it failed, or was not waited for.
    #[serde(skip)]
    pub error: Option<Error>,
    /// The end of a failed task's log.
    #[serde(skip)]
    pub log: Vec<String>,
}
