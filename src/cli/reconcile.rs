//! Bringing the journal up to date with the server: ends of tasks that an earlier command left.

use std::sync::Arc;

use super::{
    cx::Cx,
    session::{Session, open_journal},
};
use crate::{
    journal::{Details, Journal, Step},
    model::{ExitStatus, OperationId, StepId, Upid, Verdict},
    ops::Ops,
};

/// An operation that somebody left.
enum Left {
    /// Its task may have ended without anybody noting it.
    Task { operation: OperationId, step: StepId, last: bool, upid: Upid },
    /// Its request went out, and nobody was there to take the answer.
    Sent(OperationId),
    /// Its next request never went out.
    Unsent(OperationId),
}

impl Left {
    fn new(details: &Details) -> Self {
        let operation = details.operation.id;
        let open = |step: &&Step| step.sent.is_some() && step.verdict.is_none();
        match details.steps.iter().rev().find(open) {
            Some(Step { step, upid: Some(upid), .. }) => {
                let last = details.steps.iter().all(|other| other.step <= *step);
                Self::Task { operation, step: *step, last, upid: upid.clone() }
            }
            Some(_) => Self::Sent(operation),
            None => Self::Unsent(operation),
        }
    }
}

/// What was left of this context. Work of a process that still lives is its own.
fn left(journal: &Journal, context: &str) -> Vec<Left> {
    let details = journal.in_flight().unwrap_or_default();
    let ours = details.iter().filter(|details| details.operation.context == context && !lives(details));
    ours.map(Left::new).collect()
}

/// Whether the process that planned it is still there. On another host nobody can tell, and its rows are left alone.
fn lives(details: &Details) -> bool {
    let here = hostname::get().is_ok_and(|name| name.to_string_lossy() == details.operation.host);
    !here || (details.pid != std::process::id() && std::path::Path::new(&format!("/proc/{}", details.pid)).exists())
}

/// Asks the server about every task that was left and notes what has ended; what was left without a task is closed as
/// what it is. A server that cannot be asked changes nothing.
pub(super) async fn settle(ops: &Ops, journal: &Journal) {
    for left in left(journal, ops.context()) {
        match left {
            Left::Task { operation, step, last, upid } => drop(ops.reconcile(operation, step, last, &upid).await),
            Left::Sent(operation) => ops.close(operation, Verdict::Unknown, "pvectl ended before the answer came"),
            Left::Unsent(operation) => ops.close(operation, Verdict::Cancelled, "pvectl ended before this was sent"),
        }
    }
}

/// Notes the end of a task that was followed by its name, if the journal has it open.
pub(super) fn record_followed(cx: &Cx, session: &Session, followed: &Upid, end: &ExitStatus) {
    // A task may be followed by somebody who has no journal at all.
    let Ok(path) = cx.paths().map(|paths| paths.journal()) else { return };
    if cx.switches.no_journal || !path.exists() {
        return;
    }
    let Ok(journal) = open_journal(cx) else { return };
    let journal = Arc::new(journal);
    for left in left(&journal, session.ops.context()) {
        if let Left::Task { operation, step, last, upid } = left
            && upid == *followed
        {
            session.ops.recorded_in(journal.clone()).record_end(operation, step, last, end);
        }
    }
}
