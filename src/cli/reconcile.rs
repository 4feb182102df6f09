//! Bringing the journal up to date with the server: ends of tasks that an earlier command left.

use super::{
    cx::Cx,
    session::{Session, open_journal},
};
use crate::{
    journal::{Details, Journal},
    model::{ExitStatus, OperationId, StepId, Upid},
    ops::Ops,
};
use std::sync::Arc;

/// An operation's task that may have ended without anybody noting it.
struct Open {
    operation: OperationId,
    step: StepId,
    last: bool,
    upid: Upid,
}

/// The open ends of this context. Work of a process that still lives is its own.
fn open_ends(journal: &Journal, context: &str) -> Vec<Open> {
    let details = journal.in_flight().unwrap_or_default();
    let ours = details.into_iter().filter(|details| details.operation.context == context && !lives(details));
    ours.filter_map(|details| {
        let step = details.steps.iter().rev().find(|step| step.upid.is_some() && step.verdict.is_none())?;
        let last = details.steps.iter().all(|other| other.step <= step.step);
        Some(Open { operation: details.operation.id, step: step.step, last, upid: step.upid.clone()? })
    })
    .collect()
}

/// Whether the process that planned it is still there. On another host nobody can tell, and its rows are left alone.
fn lives(details: &Details) -> bool {
    let here = hostname::get().is_ok_and(|name| name.to_string_lossy() == details.operation.host);
    !here || (details.pid != std::process::id() && std::path::Path::new(&format!("/proc/{}", details.pid)).exists())
}

/// Asks the server about every open end and notes what has ended. A server that cannot be asked changes nothing.
pub(super) async fn settle(ops: &Ops, journal: &Journal) {
    for open in open_ends(journal, ops.context()) {
        ops.reconcile(open.operation, open.step, open.last, &open.upid).await;
    }
}

/// Notes the end of a task that was followed by its name, if the journal has it open.
pub(super) fn record_followed(cx: &Cx, session: &Session, upid: &Upid, end: &ExitStatus) {
    // A task may be followed by somebody who has no journal at all.
    let Ok(path) = cx.paths().map(|paths| paths.journal()) else { return };
    if cx.switches.no_journal || !path.exists() {
        return;
    }
    let Ok(journal) = open_journal(cx) else { return };
    let journal = Arc::new(journal);
    let found = open_ends(&journal, session.ops.context()).into_iter().find(|open| open.upid == *upid);
    if let Some(open) = found {
        session.ops.recorded_in(journal).record_end(open.operation, open.step, open.last, end);
    }
}
