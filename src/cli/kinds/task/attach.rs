//! `task attach`: everything that is in flight here is followed at once, whoever began it and from wherever.
//!
//! It sends nothing and stops nothing. What a process that still lives began is that process's to record.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use clap::ArgMatches;
use futures_util::future::join_all;
use tokio::sync::Semaphore;

use crate::{
    cli::{
        cx::Cx,
        error::report,
        print,
        progress::{TaskLine, bar},
        reconcile::{Left, is_here, lives, settle_lost, settle_wholes},
        session::{Access, Session, open_journal},
        ui::{style, styled},
        verb::{Entry, Exit},
    },
    journal::{Details, Journal, Operation, Status},
    model::{Class, Error, ExitStatus, Hint, OperationId, Result, Upid, Verdict},
    ops::Ops,
};

/// So many bars are on the screen at once; the others are followed without.
const BARS: usize = 12;
/// How often the journal is looked at for what another process notes there.
const GLANCE: Duration = Duration::from_millis(200);
/// How long that process may take to note the end of a task.
const NOTING: Duration = Duration::from_secs(10);

pub(super) const ATTACH: Entry = Entry {
    name: "attach",
    about: "Follow everything that is in flight in this context, from any terminal",
    examples: &["pvectl task attach", "pvectl task attach --timeout 5m -o json"],
    args: |command| command,
    run: |cx, matches| Box::pin(attach(cx, matches)),
};

async fn attach(cx: &Cx, _: &ArgMatches) -> Result<Exit> {
    if cx.switches.no_journal {
        return Err(Error::usage("what is in flight is in the journal, and --no-journal does without"));
    }
    let session = cx.session(Access::Read).await?;
    let context = session.ops.context();
    let mut flying = match Journal::open_read_only(&cx.paths()?.journal())? {
        Some(journal) => journal.in_flight()?,
        None => Vec::new(),
    };
    // What has parts is followed in these.
    flying.retain(|details| details.bulk.is_none());
    let (ours, others): (Vec<Details>, Vec<Details>) =
        flying.into_iter().partition(|details| details.operation.context == context);
    tell_others(cx, &others);
    let mut rows = Vec::new();
    let mut troubles = Vec::new();
    if ours.is_empty() {
        cx.ui.say("nothing is in flight");
    } else {
        let journal = Arc::new(open_journal(cx)?);
        let ops = session.ops.recorded_in(journal.clone());
        settle_lost(&ops, &journal).await;
        let follow = Follow { cx, session: &session, ops, journal, bars: Semaphore::new(BARS) };
        let ids = ours.iter().map(|details| details.operation.id);
        // As long as this lives, an interrupt is minded.
        let _minding = cx.interrupt.mind();
        for (row, trouble) in
            join_all(ids.map(|id| follow.to_its_end(id))).await.into_iter().collect::<Result<Vec<_>>>()?
        {
            rows.push(row);
            troubles.extend(trouble);
        }
        settle_wholes(&follow.ops, &follow.journal);
    }
    print::list(&cx.ui, &session.style, &mut rows)?;
    Ok(tell_ends(cx, &rows, &troubles))
}

fn label(row: &Operation) -> String {
    let name = row.name.as_ref().map_or_else(String::new, |name| format!(" ({name})"));
    let guest = row.vmid.map_or_else(|| row.target.clone(), |vmid| format!("{vmid}{name}"));
    format!("operation {}: {} {guest}", row.id.0, row.verb)
}

/// What is in flight elsewhere is counted, and how to come to it.
fn tell_others(cx: &Cx, others: &[Details]) {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    others.iter().for_each(|details| *counts.entry(&details.operation.context).or_default() += 1);
    for (context, count) in counts {
        cx.ui.say(format_args!("{count} more in flight in context {context}: pvectl task attach --context {context}"));
    }
}

/// Tells what went wrong, and gives the exit code.
fn tell_ends(cx: &Cx, rows: &[Operation], troubles: &[Error]) -> Exit {
    let mut failed = false;
    for row in rows {
        let why = row.error.as_ref().or(row.exit_status.as_ref()).cloned().unwrap_or_default();
        match row.status {
            Status::Ok => {}
            Status::Warning => {
                failed |= cx.switches.fail_on_warnings;
                cx.ui.warn(format_args!(
                    "{} ended with {}",
                    label(row),
                    row.exit_status.as_deref().unwrap_or_default()
                ));
            }
            Status::Failed | Status::Cancelled | Status::Unknown => {
                failed = true;
                let error = Error::new(Class::Failed, format!("{} {}", label(row), told(row.status)));
                let error = if why.is_empty() { error } else { error.with_source(why) };
                let error = match row.status {
                    Status::Cancelled => {
                        error.with_hint(Hint::Text(format!("go on with it: pvectl operation resume {}", row.id.0)))
                    }
                    _ => error,
                };
                report(&cx.ui, cx.error_format(), &error);
            }
            // Why it was not followed any further is among the troubles.
            Status::Planned | Status::Sent | Status::Running => {}
        }
    }
    troubles.iter().for_each(|error| report(&cx.ui, cx.error_format(), error));
    match (cx.interrupt.is_raised(), failed, troubles) {
        (true, ..) => Class::Interrupted.exit_code(),
        (_, true, _) => Class::Failed.exit_code(),
        (_, _, []) => 0,
        (_, _, [first, ..]) => first.class().exit_code(),
    }
}

/// What following takes.
struct Follow<'a> {
    cx: &'a Cx,
    session: &'a Session,
    ops: Ops,
    journal: Arc<Journal>,
    bars: Semaphore,
}

impl Follow<'_> {
    /// Follows an operation until it is over, and gives its row; with an error if it is not.
    async fn to_its_end(&self, id: OperationId) -> Result<(Operation, Option<Error>)> {
        let followed = tokio::select! {
            followed = self.steps(id) => followed,
            () = self.cx.interrupt.raised() => {
                let error = Error::new(Class::Interrupted, format!("interrupted: operation {} goes on", id.0));
                Err(error.with_hint(Hint::Text("come back to it with `pvectl task attach`".into())))
            }
        };
        let trouble = match followed {
            Ok(Some(unnoted)) => {
                // Whoever lives may be slow to write, but the task has ended.
                let mut row = self.details(id)?.operation;
                (row.status, row.exit_status) = (status(&unnoted), Some(unnoted.to_string()));
                return Ok((row, None));
            }
            Ok(None) => None,
            Err(error) => Some(error),
        };
        Ok((self.details(id)?.operation, trouble))
    }

    fn details(&self, id: OperationId) -> Result<Details> {
        let gone = || Error::not_found(format!("operation {} is gone from the journal", id.0));
        self.journal.operation(id)?.ok_or_else(gone)
    }

    /// Follows each of its tasks. Gives the end of one that nobody noted although its process lives.
    async fn steps(&self, id: OperationId) -> Result<Option<ExitStatus>> {
        let began = Instant::now();
        let mut ended: Option<(Upid, ExitStatus, Instant)> = None;
        loop {
            let details = self.details(id)?;
            if !details.operation.status.is_in_flight() {
                return Ok(None);
            }
            let alive = lives(&details);
            match (Left::new(&details), ended.take()) {
                // Followed already: now it is for whoever began it to go on, or for us if that died.
                (Left::Task { operation, step, last, upid }, Some((known, end, when))) if upid == known => {
                    if !alive {
                        self.ops.record_end(operation, step, last, &end);
                    } else if when.elapsed() > NOTING {
                        return Ok(Some(end));
                    } else {
                        ended = Some((known, end, when));
                        tokio::time::sleep(GLANCE).await;
                    }
                }
                (Left::Task { upid, .. }, _) => {
                    let end = self.task(&details.operation, &upid).await;
                    match end {
                        Ok(end) => ended = Some((upid, end, Instant::now())),
                        Err(error) if error.class() == Class::NotFound && !alive => {
                            self.ops.close(id, Verdict::Unknown, "the server no longer knows the task");
                        }
                        Err(error) => return Err(error),
                    }
                }
                _ if !is_here(&details) => {
                    let why = format!("only {} can tell whether its process lives", details.operation.host);
                    return Err(unfinished(&details.operation, &why));
                }
                _ if alive => {
                    if self.session.options.limits.timeout.is_some_and(|limit| began.elapsed() >= limit) {
                        return Err(unfinished(&details.operation, "the process that began it is still at it"));
                    }
                    tokio::time::sleep(GLANCE).await;
                }
                _ => return Err(unfinished(&details.operation, "its task may still begin: ask again in a minute")),
            }
        }
    }

    /// Follows one task, on a bar while there is room.
    async fn task(&self, operation: &Operation, upid: &Upid) -> Result<ExitStatus> {
        let ui = &self.cx.ui;
        let label = label(operation);
        let room = if ui.draws() { self.bars.try_acquire().ok() } else { None };
        let bar = room.is_some().then(|| bar(ui));
        match &bar {
            Some(bar) => bar.set_message(label.clone()),
            None => ui.say(format_args!("{label}: task {upid}")),
        }
        let mut line = TaskLine::new(ui.clone(), label.clone(), bar.clone(), bar.is_some(), false);
        let end = self.ops.follow(upid, &self.session.options.limits, &mut line, &mut |_| {}).await;
        if let Some(bar) = line.bar {
            bar.finish_and_clear();
        }
        if let Ok(end) = &end {
            let (colour, mark) = match end {
                ExitStatus::Ok => (style::GOOD, "✓"),
                ExitStatus::Warnings(_) => (style::HALF, "!"),
                ExitStatus::Failed(_) => (style::BAD, "✗"),
            };
            ui.say(format_args!("{} {label}: {end}", styled(colour, mark)));
        }
        end
    }
}

/// How it ended, after the name of an operation.
fn told(status: Status) -> &'static str {
    match status {
        Status::Cancelled => "was not done to its end",
        Status::Unknown => "may have been done, or not",
        _ => "failed",
    }
}

fn status(end: &ExitStatus) -> Status {
    match end {
        ExitStatus::Ok => Status::Ok,
        ExitStatus::Warnings(_) => Status::Warning,
        ExitStatus::Failed(_) => Status::Failed,
    }
}

fn unfinished(operation: &Operation, why: &str) -> Error {
    Error::new(Class::Unfinished, format!("{} is {}: {why}", label(operation), operation.status))
        .with_hint(Hint::Text("come back to it with `pvectl task attach`".into()))
}
