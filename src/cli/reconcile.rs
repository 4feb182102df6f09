//! Bringing the journal up to date with the server: ends of tasks that an earlier command left, and the tasks of
//! requests whose answers nobody took.

use std::{path::Path, sync::Arc};

use jiff::SignedDuration;

use super::{
    cx::Cx,
    session::{Session, open_journal},
};
#[cfg(target_os = "linux")]
use crate::backends::cloud_hypervisor::Stat;
use crate::{
    journal::{Details, Filter, Journal, Status, Step, tally},
    model::{Event, ExitStatus, OperationId, StepId, Upid, Verdict, Vmid},
    ops::{Found, Lost, Ops, Traits},
};

/// An operation whose end is not known.
pub(super) enum Left {
    /// Its task may have ended without anybody noting it.
    Task {
        /// The operation.
        operation: OperationId,
        /// Its step.
        step: StepId,
        /// Whether that is the last one.
        last: bool,
        /// The step's task.
        upid: Upid,
    },
    /// Its request went out, and nobody was there to take the answer.
    Sent(Lost),
    /// All that was begun is over, and only that was not noted any more. With what the last one said.
    Over {
        /// The operation.
        operation: OperationId,
        /// How it went.
        verdict: Verdict,
        /// In the server's words.
        exit_status: Option<String>,
    },
    /// Its next request never went out.
    Unsent(OperationId),
    /// It has parts, which are what was left.
    Whole(OperationId),
}

impl Left {
    pub(super) fn new(details: &Details) -> Self {
        let operation = details.operation.id;
        if details.bulk.is_some() {
            return Self::Whole(operation);
        }
        let open = |step: &&Step| step.sent.is_some() && step.verdict.is_none();
        match details.steps.iter().rev().find(open) {
            Some(Step { step, upid: Some(upid), .. }) => {
                Self::Task { operation, step: *step, last: is_last(details, *step), upid: upid.clone() }
            }
            Some(step) => lost(details, step).map_or(Self::Unsent(operation), Self::Sent),
            None => over(details).unwrap_or(Self::Unsent(operation)),
        }
    }
}

/// An operation of which nothing is open: over if its last step is, or if one went wrong.
fn over(details: &Details) -> Option<Left> {
    let failed = details.steps.iter().find(|step| step.verdict == Some(Verdict::Failed));
    let last = failed.or(details.steps.last())?;
    let warned = details.steps.iter().any(|step| step.verdict == Some(Verdict::Warning));
    let verdict = if warned && failed.is_none() { Verdict::Warning } else { last.verdict? };
    Some(Left::Over { operation: details.operation.id, verdict, exit_status: last.exit_status.clone() })
}

fn is_last(details: &Details, step: StepId) -> bool {
    details.steps.iter().all(|other| other.step <= step)
}

/// A step's request, as one whose answer is missing; `None` for a step that was not sent.
fn lost(details: &Details, step: &Step) -> Option<Lost> {
    let vmid = details.operation.vmid.and_then(|vmid| Vmid::new(vmid).ok());
    let traits = step.call.as_ref().and_then(|call| Traits::of_kept(call, vmid, &details.operation.user));
    Some(Lost {
        operation: details.operation.id,
        step: step.step,
        last: is_last(details, step.step),
        sent: step.sent?,
        traits,
        rival: false,
    })
}

/// What was left of this context. Work of a process that still lives is its own.
fn left(journal: &Journal, context: &str) -> Vec<Left> {
    let details = journal.in_flight().unwrap_or_default();
    let ours = details.iter().filter(|details| details.operation.context == context && !lives(details));
    ours.map(Left::new).collect()
}

/// Whether the process that planned it is still there. On another host nobody can tell, and its rows are left alone.
pub(super) fn lives(details: &Details) -> bool {
    if !is_here(details) {
        return true;
    }
    let process = Path::new("/proc").join(details.pid.to_string());
    // A number is given again, after a boot at the latest: who began later did not plan this.
    let began = began(details.pid).is_none_or(|began| began <= details.operation.started.as_second() + BOOT_CLOCK);
    details.pid != std::process::id() && process.exists() && began
}

/// Whether it was planned on this host.
pub(super) fn is_here(details: &Details) -> bool {
    hostname::get().is_ok_and(|name| name.to_string_lossy() == details.operation.host)
}

/// By how many seconds the time of a process's beginning may be wrong: the clock may have been set since the boot.
const BOOT_CLOCK: i64 = 60;

/// How long before its request went out an operation may have been planned: steps before it take their time.
const LONG: SignedDuration = SignedDuration::from_hours(24);

/// When a process began, in seconds since 1970, where the system tells.
#[cfg(target_os = "linux")]
fn began(pid: u32) -> Option<i64> {
    let ticks = i64::try_from(Stat::of(pid).ok()??.starttime).ok()?;
    let system = std::fs::read_to_string("/proc/stat").ok()?;
    let boot: i64 = system.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(boot + ticks / i64::try_from(rustix::param::clock_ticks_per_second()).ok()?.max(1))
}

#[cfg(not(target_os = "linux"))]
fn began(_: u32) -> Option<i64> {
    None
}

/// Operations of this context that may have the same task as one of these: whose answer somebody still waits for, or
/// of which nobody knows what became.
fn rivals(journal: &Journal, context: &str, ours: &[Lost]) -> Vec<Lost> {
    let is_ours = |details: &Details| ours.iter().any(|lost| lost.operation == details.operation.id);
    let waiting = journal.in_flight().unwrap_or_default();
    let waiting = waiting.into_iter().filter(|details| details.operation.status == Status::Sent);
    let since = ours.iter().map(|lost| lost.sent).min().map(|sent| sent - LONG);
    let filter =
        Filter { status: Some(Status::Unknown), context: Some(context.to_owned()), since, ..Filter::default() };
    let mut unknown = Vec::new();
    // What cannot be read hides a rival, but then nothing can be written either.
    let _ = journal.walk(&filter, |details| {
        unknown.push(details);
        true
    });
    let others = waiting.chain(unknown).filter(|details| details.operation.context == context && !is_ours(details));
    let open = |details: Details| {
        let step = details.steps.iter().rev().find(|step| step.sent.is_some() && step.upid.is_none())?;
        Some(Lost { rival: true, ..lost(&details, step)? })
    };
    others.filter_map(open).collect()
}

/// Asks the server about every task that was left and notes what has ended; what was left without a task is closed as
/// what it is. A server that cannot be asked changes nothing.
pub(super) async fn settle(ops: &Ops, journal: &Journal) {
    settle_lost(ops, journal).await;
    for left in left(journal, ops.context()) {
        if let Left::Task { operation, step, last, upid } = left {
            drop(ops.reconcile(operation, step, last, &upid).await);
        }
    }
    settle_wholes(ops, journal);
}

/// Notes the end of operations over several guests whose parts are over.
pub(super) fn settle_wholes(ops: &Ops, journal: &Journal) {
    for left in left(journal, ops.context()) {
        if let Left::Whole(operation) = left {
            settle_whole(ops, journal, operation);
        }
    }
}

/// Notes how an operation over several guests stands, if nothing of it is under way.
pub(super) fn settle_whole(ops: &Ops, journal: &Journal, operation: OperationId) {
    // What cannot be read now is looked at by the next command.
    let Ok(Some(details)) = journal.operation(operation) else { return };
    let Ok(parts) = journal.parts(&details) else { return };
    if let Some(ended) = tally(&parts).ended() {
        ops.claim(operation, &ended);
    }
}

/// Finds the tasks of requests whose answers were lost, as far as that can be told, and closes what has none.
pub(super) async fn settle_lost(ops: &Ops, journal: &Journal) {
    let mut sent = Vec::new();
    for left in left(journal, ops.context()) {
        match left {
            Left::Task { .. } | Left::Whole(_) => {}
            Left::Sent(lost) => sent.push(lost),
            Left::Over { operation, verdict, exit_status } => {
                let error = exit_status.clone().filter(|_| verdict == Verdict::Failed);
                ops.claim(operation, &Event::Ended { verdict, exit_status, error });
            }
            Left::Unsent(operation) => ops.close(operation, Verdict::Cancelled, "pvectl ended before this was sent"),
        }
    }
    if sent.is_empty() {
        return;
    }
    sent.extend(rivals(journal, ops.context(), &sent));
    let Ok(found) = ops.find_lost(&sent).await else { return };
    for (lost, found) in sent.into_iter().zip(found).filter(|(lost, _)| !lost.rival) {
        let unknown = |why: &str| ops.close(lost.operation, Verdict::Unknown, why);
        match found {
            Found::Task(upid) => ops.claim(lost.operation, &Event::Upid { step: lost.step, upid }),
            Found::NotYet => {}
            Found::Never => ops.close(lost.operation, Verdict::Cancelled, "pvectl ended before this was begun"),
            Found::Nothing => unknown("pvectl ended before the answer came"),
            Found::Several => unknown("pvectl ended before the answer came, and several tasks may be this one's"),
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        journal::Journal,
        model::{Intent, Recorder, SystemClock},
    };

    /// What is left of an operation of two steps after so many of its events.
    fn after(events: &[Event]) -> String {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("journal.db");
        let journal = Journal::open(&path, Arc::new(SystemClock), "here".into()).unwrap();
        let call = |what: &str| json!({"method": "POST", "path": format!("/nodes/a/qemu/150/{what}"), "params": {}});
        let steps = vec![call("config"), call("status/start")];
        let user = "root@pam".to_owned();
        let id = journal.plan(&Intent { verb: "create".into(), user, steps, ..Intent::default() }).unwrap();
        events.iter().for_each(|event| journal.event(id, event).unwrap());
        match Left::new(&journal.operation(id).unwrap().unwrap()) {
            Left::Task { step, last, .. } => format!("task of {step}{}", if last { ", the last" } else { "" }),
            Left::Sent(lost) => format!("sent {}{}", lost.step, if lost.last { ", the last" } else { "" }),
            Left::Over { verdict, .. } => format!("{verdict:?}").to_lowercase(),
            Left::Unsent(_) => "unsent".to_owned(),
            Left::Whole(_) => "whole".to_owned(),
        }
    }

    #[test]
    fn every_place_to_die_at_leaves_something_known() {
        let upid = |what: &str| format!("UPID:a:00000001:00000001:6B003243:{what}:150:root@pam:").parse().unwrap();
        let step = |step, verdict| Event::Step { step, verdict, exit_status: None };
        let events = |first: Verdict, second: Verdict| {
            vec![
                Event::Sent { step: 1 },
                Event::Upid { step: 1, upid: upid("qmconfig") },
                step(1, first),
                Event::Sent { step: 2 },
                Event::Upid { step: 2, upid: upid("qmstart") },
                step(2, second),
            ]
        };
        let good = events(Verdict::Ok, Verdict::Ok);
        let left: Vec<String> = (0..=good.len()).map(|count| after(&good[..count])).collect();
        assert_eq!(left, ["unsent", "sent 1", "task of 1", "unsent", "sent 2, the last", "task of 2, the last", "ok"]);
        assert_eq!(after(&events(Verdict::Warning, Verdict::Ok)), "warning");
        assert_eq!(after(&events(Verdict::Ok, Verdict::Failed)), "failed");
        assert_eq!(after(&events(Verdict::Failed, Verdict::Ok)[..3]), "failed", "the next step is not to come");
    }
}
