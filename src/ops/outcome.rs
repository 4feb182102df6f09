//! What became of a plan: the row that every mutation prints.

use serde::{Serialize, Serializer};

use super::{Plan, Resolved, Words};
use crate::model::{Error, GuestKind, NodeName, OperationId, Upid, Vmid};

/// How a plan went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Done, or nothing was to be done.
    Ok,
    /// Done, and the task has warnings.
    Warning,
    /// Not done.
    Failed,
    /// Sent, and not waited for to the end.
    Running,
    /// The answer was lost: nobody knows.
    Unknown,
    /// Never sent.
    Cancelled,
}

/// What became of one plan: a row of every mutation's output.
#[derive(Debug, Serialize)]
pub struct Outcome {
    /// The guest's number.
    pub vmid: Vmid,
    /// Its name.
    pub name: Option<String>,
    /// Its node.
    pub node: NodeName,
    /// The verb.
    #[serde(serialize_with = "verb_name")]
    pub verb: Words,
    /// How it went.
    pub status: Status,
    /// The last task.
    pub upid: Option<Upid>,
    /// How the last task ended, in the server's words.
    pub exit_status: Option<String>,
    /// Whether anything was done, or is being done.
    pub changed: bool,
    /// The volume that a backup made, as far as the task's log tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume: Option<String>,
    /// The context.
    pub context: String,
    /// VM or container.
    #[serde(skip)]
    pub kind: GuestKind,
    /// Its place in the journal.
    #[serde(skip)]
    pub operation: Option<OperationId>,
    /// Why it failed, or was not waited for.
    #[serde(skip)]
    pub error: Option<Error>,
    /// The end of a failed task's log; of one with warnings, these.
    #[serde(skip)]
    pub log: Vec<String>,
}

fn verb_name<S: Serializer>(verb: &Words, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(verb.name)
}

impl Outcome {
    /// The row of a plan that is not run.
    pub fn not_run(plan: &Plan, context: &str, error: Error) -> Self {
        let guest = &plan.guest;
        Self {
            vmid: guest.vmid,
            name: plan.name.clone(),
            node: guest.node.clone(),
            verb: plan.words,
            status: Status::Failed,
            upid: None,
            exit_status: None,
            changed: false,
            volume: None,
            context: context.to_owned(),
            kind: guest.kind,
            operation: None,
            error: Some(error),
            log: Vec::new(),
        }
    }

    /// The row of a guest for which no plan could be made.
    pub fn refused(words: Words, found: &Resolved, context: &str, error: Error) -> Self {
        let guest = &found.guest;
        let plan = Plan::new(words, found.target.clone(), guest.reference(), guest.name.clone());
        Self::not_run(&plan, context, error)
    }
}
