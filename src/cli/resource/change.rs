//! What all changes of things have in common: show the plan, ask, carry it out, print the rows.

use std::io::Write;

use serde_json::Value;

use super::{Exit, read::fate};
use crate::{
    cli::{
        base::{exit_code, require_somebody_to_confirm, word},
        cx::Cx,
        error::report,
        print::{self, Column, Row, Shape, table::status_colour},
        progress::{Show, ending},
        session::Session,
        ui::{style, styled},
    },
    model::{Class, Hint, Result},
    ops::{ResourceOutcome, ResourcePlan, Tie},
};

impl Row for ResourceOutcome {
    fn columns() -> &'static [Column<Self>] {
        const COLUMNS: &[Column<ResourceOutcome>] = &[
            Column::new("KIND", "kind", |row: &ResourceOutcome| row.kind.to_owned()),
            Column::new("NAME", "name", |row: &ResourceOutcome| row.name.clone()),
            Column::new("NODE", "node", |row: &ResourceOutcome| {
                row.node.as_ref().map_or(String::new(), ToString::to_string)
            })
            .wide(),
            Column::new("VERB", "verb", |row: &ResourceOutcome| row.verb.to_owned()),
            Column::new("STATUS", "status", |row: &ResourceOutcome| word(row.status).to_owned())
                .coloured(status_colour),
            Column::new("CHANGED", "changed", |row: &ResourceOutcome| {
                if row.changed { "yes" } else { "no" }.to_owned()
            }),
            Column::new("EXIT STATUS", "exit_status", |row: &ResourceOutcome| {
                row.exit_status.clone().unwrap_or_default()
            }),
            Column::new("UPID", "upid", |row: &ResourceOutcome| {
                row.upid.as_ref().map_or(String::new(), ToString::to_string)
            })
            .wide(),
            Column::new("CONTEXT", "context", |row: &ResourceOutcome| row.context.clone()).wide(),
        ];
        COLUMNS
    }

    fn name(&self) -> String {
        format!("{}/{}", self.kind, self.name)
    }
}

/// Carries plans out, one after the other, and prints their rows. With `--dry-run` they are shown.
pub(crate) async fn carry_out(cx: &Cx, session: &Session, plans: Vec<ResourcePlan>) -> Result<Exit> {
    if cx.switches.dry_run {
        return show(cx, session, &plans);
    }
    if plans.iter().any(|plan| !plan.risks.is_empty()) && !agreed(cx, "Go on?", &plans)? {
        return Ok(Class::Failed.exit_code());
    }
    let outcomes = run(cx, session, plans).await;
    report_outcomes(cx, session, outcomes)
}

/// The same for what is asked about before, with what goes.
pub(crate) async fn carry_out_asking(
    cx: &Cx,
    session: &Session,
    question: &str,
    plans: Vec<ResourcePlan>,
) -> Result<Exit> {
    if cx.switches.dry_run {
        return show(cx, session, &plans);
    }
    if !agreed(cx, question, &plans)? {
        return Ok(Class::Failed.exit_code());
    }
    let outcomes = run(cx, session, plans).await;
    report_outcomes(cx, session, outcomes)
}

/// Shows what goes and what may cut people off, and asks.
fn agreed(cx: &Cx, question: &str, plans: &[ResourcePlan]) -> Result<bool> {
    if cx.switches.confirm {
        let risks = plans.iter().flat_map(|plan| &plan.risks);
        risks.for_each(|risk| cx.ui.warn(risk));
        return Ok(true);
    }
    require_somebody_to_confirm(cx).map_err(|error| {
        let risks = plans.iter().flat_map(|plan| plan.risks.iter().cloned());
        risks.fold(error, |error, risk| error.with_hint(Hint::Text(risk)))
    })?;
    for plan in plans {
        let mut text = Vec::new();
        // Writing into memory does not fail.
        let _ = writeln!(text, "{}", plan.label());
        let _ = write_uses(&mut text, plan);
        cx.ui.err_line(String::from_utf8_lossy(&text).trim_end());
    }
    let agrees = cx.ui.ask_yes(question)?;
    if !agrees {
        cx.ui.say("nothing was done");
    }
    Ok(agrees)
}

/// Carries plans out, one after the other; what an interrupt cuts off is not sent.
pub(crate) async fn run(cx: &Cx, session: &Session, plans: Vec<ResourcePlan>) -> Vec<ResourceOutcome> {
    let _minding = cx.interrupt.mind();
    let mut outcomes = Vec::new();
    for plan in plans {
        for note in &plan.notes {
            cx.ui.say(format_args!("{}: {note}", plan.label()));
        }
        let label = plan.label();
        let show = Show::new(cx.ui.clone(), 1);
        let outcome = session.ops.run_resource(plan, &session.options, &show, &cx.interrupt).await;
        show.clear(0);
        if outcome.changed || outcome.error.is_some() {
            let (mark, word) = ending(outcome.status, outcome.verb, past(outcome.verb), outcome.exit_status.as_deref());
            cx.ui.say(format_args!("{mark} {label} {word}"));
        }
        outcomes.push(outcome);
    }
    outcomes
}

/// What was done, after the name of a thing.
fn past(verb: &'static str) -> &'static str {
    match verb {
        "create" => "created",
        "update" => "updated",
        "delete" => "deleted",
        "add" | "remove" => "changed",
        "move" => "moved",
        "sync" => "synced",
        "password" => "has another password",
        "unlock-tfa" => "unlocked",
        "apply" => "applied",
        "revert" => "reverted",
        "enable" => "enabled",
        "disable" => "disabled",
        "start" => "started",
        "stop" => "stopped",
        "start-all" => "has its guests started",
        "stop-all" => "has its guests shut down",
        "refresh-updates" => "has looked for updates",
        "suspend-all" => "has its guests suspended",
        "shutdown" => "told to shut down",
        "restart" => "restarted",
        "reload" => "reloaded",
        "reboot" => "told to restart",
        "wake" => "called",
        "run" => "run",
        "prune" => "pruned",
        "order" => "ordered",
        "renew" => "renewed",
        "revoke" => "revoked",
        "pull" => "pulled",
        "upload" => "uploaded",
        _ => "done",
    }
}

fn show(cx: &Cx, session: &Session, plans: &[ResourcePlan]) -> Result<Exit> {
    for plan in plans {
        plan.notes.iter().for_each(|note| cx.ui.say(format_args!("{}: {note}", plan.label())));
    }
    let data: Vec<Value> = plans.iter().map(ResourcePlan::to_json).collect();
    let names: Vec<String> = plans.iter().map(|plan| format!("{}/{}", plan.noun, plan.name)).collect();
    let people = |out: &mut dyn Write, places: &[usize]| {
        for plan in places.iter().map(|place| &plans[*place]) {
            writeln!(out, "{} {}", plan.verb, plan.label())?;
            for change in &plan.changes {
                let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "not set".to_owned());
                let (before, after) = (value(&change.before), value(&change.after));
                writeln!(out, "  {}: {} → {}", change.key, styled(style::BAD, before), styled(style::GOOD, after))?;
            }
            write_uses(out, plan)?;
            if let Some(plan) = &plan.call {
                writeln!(out, "  {}", plan.call)?;
            }
        }
        Ok(())
    };
    print::each(&cx.ui, &session.style, Shape::of(data.len()), &data, &names, people)?;
    cx.ui.say("nothing was sent (--dry-run)");
    Ok(0)
}

fn write_uses(out: &mut dyn Write, plan: &ResourcePlan) -> std::io::Result<()> {
    for tie in [Tie::Goes, Tie::Stays] {
        for found in plan.uses.iter().filter(|found| found.tie == tie) {
            writeln!(out, "  {}: {}", fate(tie), found.what)?;
        }
    }
    plan.risks.iter().try_for_each(|risk| writeln!(out, "  {}: {risk}", styled(style::BAD, "careful")))
}

/// Prints the rows, tells what went wrong, and gives the exit code.
pub(crate) fn report_outcomes(cx: &Cx, session: &Session, mut outcomes: Vec<ResourceOutcome>) -> Result<Exit> {
    if outcomes.is_empty() {
        return Ok(0);
    }
    let printed = match outcomes.as_slice() {
        [ResourceOutcome { upid: Some(upid), .. }] if cx.switches.no_wait && session.style.format.is_table() => {
            cx.ui.data(|out| writeln!(out, "{upid}"))
        }
        [one] => print::one(&cx.ui, &session.style, one),
        _ => print::list(&cx.ui, &session.style, &mut outcomes),
    };
    if let Err(error) = &printed {
        // The changes are made, however wrong the way is in which they should be printed.
        report(&cx.ui, cx.error_format(), error);
    }
    for outcome in &outcomes {
        outcome.log.iter().for_each(|line| cx.ui.err_line(format_args!("  {line}")));
        if let Some(error) = &outcome.error {
            report(&cx.ui, cx.error_format(), error);
        }
    }
    let went: Vec<_> = outcomes.iter().map(|outcome| (outcome.status, outcome.error.as_ref())).collect();
    match exit_code(cx, &went) {
        0 if printed.is_err() => Ok(Class::Failed.exit_code()),
        code => Ok(code),
    }
}
