//! What people see of plans before they are carried out: the plans themselves, what will be lost, and the questions.
//!
//! Nothing here sends anything; what is asked because of a rule is in `cli::rules`.

use std::io::Write;

use jiff::Timestamp;
use serde_json::Value;

use crate::{
    cli::{
        cx::Cx,
        print::{
            self, Shape,
            human::{ago, capital},
        },
        rules,
        session::Session,
        ui::{style, styled},
    },
    model::Result,
    ops::{CREATE, DELETE_SNAPSHOT, Loss, Plan, RESTORE, Since},
};

/// Prints plans instead of carrying them out.
pub(super) fn show_plans(cx: &Cx, session: &Session, plans: &[Plan]) -> Result<()> {
    let backend = session.ops.backend();
    let data = plans.iter().map(|plan| plan.to_json(backend)).collect::<Result<Vec<Value>>>()?;
    let calls = plans
        .iter()
        .map(|plan| plan.steps.iter().map(|step| backend.call(step).map(|call| call.to_string())).collect())
        .collect::<Result<Vec<Vec<String>>>>()?;
    let names: Vec<String> = plans.iter().map(|plan| plan.guest.to_string()).collect();
    let people = |out: &mut dyn Write, places: &[usize]| {
        for (plan, calls) in places.iter().map(|place| (&plans[*place], &calls[*place])) {
            writeln!(out, "{} {} on {}", plan.words.name, plan.label(), plan.guest.node)?;
            for change in &plan.changes {
                let value = |value: &Option<String>| match value {
                    None => "not set".to_owned(),
                    Some(value) if value.contains(char::is_control) => format!("{value:?}"),
                    Some(value) => value.clone(),
                };
                let (before, after) = (value(&change.before), value(&change.after));
                writeln!(out, "  {}: {} → {}", change.key, styled(style::BAD, before), styled(style::GOOD, after))?;
            }
            if let Some(loss) = &plan.loss {
                write_loss(out, loss)?;
            }
            for call in calls {
                writeln!(out, "  {call}")?;
            }
        }
        Ok(())
    };
    print::each(&cx.ui, &session.style, Shape::of(data.len()), &data, &names, people)?;
    cx.ui.say("nothing was sent (--dry-run)");
    Ok(())
}

fn write_loss(out: &mut dyn Write, loss: &Loss) -> std::io::Result<()> {
    writeln!(out, "  status: {}", loss.status)?;
    for disk in &loss.disks {
        let size = disk.size.map_or_else(|| "size unknown".to_owned(), |size| size.to_string());
        writeln!(out, "  disk {}: {} ({size})", disk.key, disk.volume)?;
    }
    if loss.disks.is_empty() {
        writeln!(out, "  disks: none")?;
    }
    if let Some(Since { snapshot, taken, memory }) = &loss.since {
        let taken = taken.and_then(|seconds| Timestamp::from_second(seconds as i64).ok()).map(ago);
        let taken = taken.map_or_else(String::new, |ago| format!(", taken {ago}"));
        let memory = if *memory { ", with its memory" } else { "" };
        return writeln!(out, "  what came after snapshot {snapshot}{taken}{memory}");
    }
    match loss.snapshots.as_slice() {
        [] => writeln!(out, "  snapshots: none"),
        names => writeln!(out, "  snapshots: {}", names.join(", ")),
    }
}

/// Asks for names where rules want them; `false` where one is another.
pub(crate) fn confirms(cx: &Cx, plans: &[Plan], wants: &[bool]) -> Result<bool> {
    let named: Vec<&Plan> = plans.iter().zip(wants).filter(|(_, wants)| **wants).map(|(plan, _)| plan).collect();
    rules::require_names(cx, &named)?;
    rules::ask_names(cx, &named)
}

/// Asks before what has to be asked about: names where rules want them, a yes where something is lost.
pub(super) fn agrees(cx: &Cx, plans: &[Plan], wants: &[bool]) -> Result<bool> {
    let named: Vec<&Plan> = plans.iter().zip(wants).filter(|(_, wants)| **wants).map(|(plan, _)| plan).collect();
    rules::require_names(cx, &named)?;
    let lost = plans.iter().any(|plan| plan.loss.is_some());
    if lost && cx.ui.can_ask() && (!cx.switches.confirm || !named.is_empty()) {
        show_losses(cx, plans);
    }
    if !rules::ask_names(cx, &named)? {
        return Ok(false);
    }
    // Who has typed a name has said yes.
    let rest: Vec<&Plan> =
        plans.iter().zip(wants).filter(|(plan, wants)| !**wants && plan.loss.is_some()).map(|(plan, _)| plan).collect();
    if rest.is_empty() || cx.switches.confirm { Ok(true) } else { ask(cx, &rest) }
}

/// Shows what will be lost.
fn show_losses(cx: &Cx, plans: &[Plan]) {
    let mut text = Vec::new();
    for plan in plans {
        let Some(loss) = &plan.loss else { continue };
        // Writing into memory does not fail.
        let _ = writeln!(text, "{} on {}", plan.label(), plan.guest.node);
        let _ = write_loss(&mut text, loss);
    }
    cx.ui.err_line(String::from_utf8_lossy(&text).trim_end());
}

/// Asks whether that may be lost.
fn ask(cx: &Cx, plans: &[&Plan]) -> Result<bool> {
    let question = match plans {
        // A create loses something only where it takes a place that is taken.
        [one] if one.words == CREATE => format!("Overwrite {}? This cannot be undone", one.guest),
        [one] if one.words == RESTORE => format!("Overwrite {} with a backup? This cannot be undone", one.guest),
        [one] => match &one.loss {
            Some(Loss { since: Some(since), .. }) => {
                format!("Roll {} back to snapshot {}? This cannot be undone", one.label(), since.snapshot)
            }
            Some(loss) if one.words == DELETE_SNAPSHOT => {
                format!("Delete snapshot {} of {}? This cannot be undone", loss.snapshots.join(", "), one.label())
            }
            _ => format!("{} {}? This cannot be undone", capital(one.words.name), one.label()),
        },
        several => format!("{} these {}? This cannot be undone", capital(several[0].words.name), several.len()),
    };
    cx.ui.ask_yes(&question)
}
