//! What all changes have in common: show the plan, ask, run it, print the rows, tell what went wrong.

use clap::ArgMatches;
use futures_util::future::join_all;
use tokio::sync::Semaphore;

use super::before::{agrees, show_plans};
use crate::{
    cli::{
        cx::{Cx, texts},
        error::{ErrorFormat, report},
        print::{self, Column, Row, table::status_colour},
        progress::{Show, resume_lines},
        rules,
        session::{Access, Session},
        ui::{style, styled},
        verb::{Exit, Kind},
    },
    model::{Class, Error, Hint, OperationId, Result},
    ops::{Outcome, Plan, Resolved, RunOptions, Status, Target, Together, Turn, Words, out_of_reach},
};

/// How many guests are looked at at once while plans are made.
const PLANNING: usize = 8;

impl Row for Outcome {
    fn columns() -> &'static [Column<Self>] {
        const COLUMNS: &[Column<Outcome>] = &[
            Column::new("VMID", "vmid", |row: &Outcome| row.vmid.to_string()).right(),
            Column::new("NAME", "name", |row: &Outcome| row.name.clone().unwrap_or_default()),
            Column::new("NODE", "node", |row: &Outcome| row.node.to_string()),
            Column::new("VERB", "verb", |row: &Outcome| row.verb.name.to_owned()),
            Column::new("STATUS", "status", |row: &Outcome| word(row.status).to_owned()).coloured(status_colour),
            Column::new("CHANGED", "changed", |row: &Outcome| if row.changed { "yes" } else { "no" }.to_owned()),
            Column::new("EXIT STATUS", "exit_status", |row: &Outcome| row.exit_status.clone().unwrap_or_default()),
            Column::new("UPID", "upid", |row: &Outcome| row.upid.as_ref().map_or(String::new(), ToString::to_string))
                .wide(),
            Column::new("CONTEXT", "context", |row: &Outcome| row.context.clone()).wide(),
        ];
        COLUMNS
    }

    fn name(&self) -> String {
        format!("{}/{}", self.kind, self.vmid)
    }
}

pub(crate) fn word(status: Status) -> &'static str {
    match status {
        Status::Ok => "ok",
        Status::Warning => "warning",
        Status::Failed => "failed",
        Status::Running => "running",
        Status::Unknown => "unknown",
        Status::Cancelled => "cancelled",
    }
}

/// Finds the guests, plans for each, and carries it out.
pub(super) async fn change(
    cx: &Cx,
    kind: &Kind,
    matches: &ArgMatches,
    words: Words,
    plan: impl AsyncFn(&Session, &Resolved) -> Result<Plan>,
) -> Result<Exit> {
    // Verbs with more words behind the guests name these by one.
    let named = matches.try_contains_id("target").is_ok();
    let targets = Target::parse_all(&texts(matches, if named { "target" } else { "targets" }))?;
    let session = cx.session(Access::Write).await?;
    let found = session.ops.find(&targets, kind.guest()).await?;
    let plan = async |found: &_| plan(&session, found).await;
    mutate(cx, &session, words, &found, plan).await
}

/// Plans a change for each guest and carries it out.
pub(crate) async fn mutate(
    cx: &Cx,
    session: &Session,
    words: Words,
    found: &[Resolved],
    plan: impl AsyncFn(&Resolved) -> Result<Plan>,
) -> Result<Exit> {
    mutate_and(cx, session, words, found, plan, async |_| ()).await
}

/// The same; `tell` says more about what became of it, before the rows are printed.
pub(super) async fn mutate_and(
    cx: &Cx,
    session: &Session,
    words: Words,
    found: &[Resolved],
    plan: impl AsyncFn(&Resolved) -> Result<Plan>,
    tell: impl AsyncFn(&[Outcome]),
) -> Result<Exit> {
    let away = session.ops.away_for(found).await;
    // Some may wait for a lock, and must not keep others from being looked at.
    let looking = Semaphore::new(PLANNING);
    let plans = found.iter().map(async |found| {
        let plan = async || {
            let _turn = looking.acquire().await;
            match out_of_reach(&away, words, &found.guest) {
                Some(error) => Err(error),
                None => plan(found).await,
            }
        };
        unlocked(cx, session, found, plan).await
    });
    let planned = join_all(plans).await;
    let mut plans = Vec::new();
    // The row of a guest for which there is no plan, in the place of its plan.
    let mut refused = Vec::new();
    for (found, planned) in found.iter().zip(planned) {
        refused.push(match planned {
            Ok(plan) => {
                plans.push(plan);
                None
            }
            // A request that makes no sense for one guest makes none at all: nothing is sent.
            Err(error) if error.class() == Class::Usage => return Err(error),
            Err(error) => Some(Outcome::refused(words, found, session.ops.context(), error)),
        });
    }
    let lost: Vec<&Outcome> = refused.iter().flatten().collect();
    let mut together = session.together.clone();
    if together.target.is_empty() {
        together.target = typed(found);
    }
    let ran = run_plans(cx, session, plans, &lost, Some(&together)).await?;
    let Some((outcomes, whole)) = ran else { return Ok(Class::Failed.exit_code()) };
    tell(&outcomes).await;
    // Rows come in the order in which the guests were named.
    let mut ran = outcomes.into_iter();
    let rows = refused.into_iter().filter_map(|refused| refused.or_else(|| ran.next()));
    finish(cx, session, rows.collect(), whole)
}

/// What was typed for these, each once.
fn typed(found: &[Resolved]) -> String {
    let mut typed: Vec<&str> = found.iter().map(|found| found.target.as_str()).collect();
    typed.dedup();
    typed.join(",")
}

/// Plans a change of a guest, and waits for its lock where that is asked for.
pub(super) async fn unlocked(
    cx: &Cx,
    session: &Session,
    found: &Resolved,
    plan: impl AsyncFn() -> Result<Plan>,
) -> Result<Plan> {
    let show = Show::new(cx.ui.clone(), 1);
    // Nothing is sent yet: a wish to stop ends the command.
    session.ops.plan_unlocked(found, &session.options, &show, &cx.interrupt, plan).await
}

/// Carries out plans that stand on their own.
pub(crate) async fn carry_out(cx: &Cx, session: &Session, plans: Vec<Plan>) -> Result<Exit> {
    match run_plans(cx, session, plans, &[], None).await? {
        Some((outcomes, _)) => finish(cx, session, outcomes, None),
        None => Ok(Class::Failed.exit_code()),
    }
}

/// Carries out plans turn by turn: one begins when the one before and its pause are over. All rows come at the end.
pub(crate) async fn in_turn(cx: &Cx, session: &Session, turns: Vec<Turn>) -> Result<Exit> {
    if cx.switches.dry_run {
        return carry_out(cx, session, turns.into_iter().flat_map(|turn| turn.plans).collect()).await;
    }
    let mut rows = Vec::new();
    for turn in turns {
        if cx.interrupt.is_raised() {
            break;
        }
        let ran = run_plans(cx, session, turn.plans, &[], None).await?;
        rows.extend(ran.into_iter().flat_map(|(outcomes, _)| outcomes));
        tokio::select! {
            () = tokio::time::sleep(turn.pause) => {}
            () = cx.interrupt.raised() => {}
        }
    }
    finish(cx, session, rows, None)
}

/// Looks what stands in the way of plans, shows, asks and runs; nothing if a person said no. `refused`: those for which there is
/// no plan; `together`: how it was asked for, where the plans are one change. Its operation comes with the outcomes, which are
/// in the order of the plans.
async fn run_plans(
    cx: &Cx,
    session: &Session,
    plans: Vec<Plan>,
    refused: &[&Outcome],
    together: Option<&Together>,
) -> Result<Option<(Vec<Outcome>, Option<OperationId>)>> {
    let (mut good, mut held) = (Vec::new(), Vec::new());
    for (plan, verdict) in checked(cx, session, plans).await {
        held.push(verdict.map_err(|error| Outcome::not_run(&plan, session.ops.context(), error)).err());
        if held.last().is_some_and(Option::is_none) {
            good.push(plan);
        }
    }
    let lost: Vec<&Outcome> = refused.iter().copied().chain(held.iter().flatten()).collect();
    if good.is_empty() && !lost.is_empty() {
        return Ok(Some((held.into_iter().flatten().collect(), None)));
    }
    let Some((outcomes, whole)) = run_good(cx, session, good, &lost, together).await? else { return Ok(None) };
    let mut ran = outcomes.into_iter();
    Ok(Some((held.into_iter().filter_map(|held| held.or_else(|| ran.next())).collect(), whole)))
}

/// What the checks make of plans.
async fn checked(cx: &Cx, session: &Session, plans: Vec<Plan>) -> Vec<(Plan, Result<()>)> {
    match cx.switches.no_checks {
        true => plans.into_iter().map(|plan| (plan, Ok(()))).collect(),
        false => session.ops.check(plans).await,
    }
}

/// Shows, asks and runs plans that nothing stands in the way of.
async fn run_good(
    cx: &Cx,
    session: &Session,
    plans: Vec<Plan>,
    refused: &[&Outcome],
    together: Option<&Together>,
) -> Result<Option<(Vec<Outcome>, Option<OperationId>)>> {
    for plan in &plans {
        for warning in &plan.warnings {
            cx.ui.warn(format_args!("{}: {warning}", plan.label()));
        }
        for note in &plan.notes {
            cx.ui.say(format_args!("{}: {note}", plan.label()));
        }
    }
    let wants = rules::wants_names(cx, &session.ops, &session.rules, &plans).await?;
    if cx.switches.dry_run {
        show_plans(cx, session, &plans)?;
        return Ok(Some((Vec::new(), None)));
    }
    if cx.switches.no_wait && plans.iter().any(|plan| plan.steps.len() > 1) {
        return Err(Error::usage(
            "--no-wait is for what is one call; this takes several, of which each waits for the one before",
        )
        .with_hint(Hint::Text("see the calls with --dry-run".into())));
    }
    if !agrees(cx, &plans, &wants)? {
        cx.ui.say("nothing was done");
        return Ok(None);
    }
    let show = Show::new(cx.ui.clone(), plans.len());
    let queued = plans.iter().any(|plan| plan.queue);
    // Who queues something does not want to wait for whoever does it.
    let options = RunOptions { wait: session.options.wait && !queued, failed: refused.len(), ..session.options };
    Ok(Some(match together {
        Some(together) => session.ops.run_together(plans, refused, together, &options, &show, &cx.interrupt).await?,
        None => (session.ops.run(plans, &options, &show, &cx.interrupt).await, None),
    }))
}

/// Refuses a change that asks where nobody can answer, before anything is looked at.
pub(crate) fn require_somebody_to_confirm(cx: &Cx) -> Result<()> {
    if cx.switches.confirm || cx.switches.dry_run || cx.ui.can_ask() {
        return Ok(());
    }
    Err(Error::usage("this asks for confirmation, and there is no terminal to ask on")
        .with_hint(Hint::Text("give --confirm to go ahead, or --dry-run to see what would be done".into())))
}

/// Prints the rows, reports what went wrong, and gives the exit code.
fn finish(cx: &Cx, session: &Session, mut outcomes: Vec<Outcome>, whole: Option<OperationId>) -> Result<Exit> {
    if outcomes.is_empty() {
        return Ok(0);
    }
    let went: Vec<_> = outcomes.iter().map(|outcome| (outcome.status, outcome.error.as_ref())).collect();
    let mut code = exit_code(cx, &went);
    let upids: Vec<String> = outcomes.iter().filter_map(|o| o.upid.as_ref().map(ToString::to_string)).collect();
    let printed = if cx.switches.no_wait && session.style.format.is_table() && upids.len() == outcomes.len() {
        cx.ui.data(|out| upids.iter().try_for_each(|upid| writeln!(out, "{upid}")))
    } else if let [one] = outcomes.as_slice() {
        print::one(&cx.ui, &session.style, one)
    } else {
        print::list(&cx.ui, &session.style, &mut outcomes)
    };
    if let Err(error) = printed {
        // The changes are made, and what went wrong with them is still to be told: whatever is wrong with how they
        // should be printed, it must not look as if nothing had been sent.
        report(&cx.ui, cx.error_format(), &error);
        code = if code == 0 { Class::Failed.exit_code() } else { code };
    }
    for outcome in &outcomes {
        if !outcome.log.is_empty() && !cx.switches.quiet {
            if outcome.status == Status::Failed {
                let whose = format_args!("the last lines of {}/{}'s task:", outcome.kind, outcome.vmid);
                cx.ui.err_line(styled(style::DIM, whose));
            }
            outcome.log.iter().for_each(|line| cx.ui.err_line(format_args!("  {line}")));
        }
        // That several go on is told to people below, in a line for each.
        let told_below = |error: &&Error| {
            outcomes.len() > 1 && error.class() == Class::Interrupted && cx.error_format() == ErrorFormat::Text
        };
        if let Some(error) = outcome.error.as_ref().filter(|error| !told_below(error)) {
            report(&cx.ui, cx.error_format(), error);
        }
    }
    if outcomes.iter().any(|outcome| outcome.status == Status::Cancelled) {
        let cancelled: Vec<String> =
            outcomes.iter().filter(|o| o.status == Status::Cancelled).map(|o| o.vmid.to_string()).collect();
        cx.ui.err_line(format_args!("not sent: {}", cancelled.join(", ")));
        if let Some(whole) = whole {
            cx.ui.err_line(format_args!("go on with the rest: pvectl operation resume {}", whole.0));
        }
    }
    if outcomes.len() > 1 {
        resume_lines(&outcomes).iter().for_each(|line| cx.ui.err_line(line));
    }
    Ok(code)
}

/// The exit code of changes, by how each went and why it failed.
pub(crate) fn exit_code(cx: &Cx, outcomes: &[(Status, Option<&Error>)]) -> Exit {
    if cx.interrupt.is_raised() {
        return Class::Interrupted.exit_code();
    }
    let class = |(status, error): &(Status, Option<&Error>)| match (error, status) {
        (Some(error), _) => Some(error.class()),
        (None, Status::Warning) if cx.switches.fail_on_warnings => Some(Class::TaskFailed),
        _ => None,
    };
    match outcomes {
        [one] => class(one).map_or(0, Class::exit_code),
        several if several.iter().any(|outcome| class(outcome).is_some()) => Class::Failed.exit_code(),
        _ => 0,
    }
}
