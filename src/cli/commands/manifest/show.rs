//! How plans of documents and what became of them look to people.

use std::io::{self, Write};

use serde_json::Value;

use crate::{
    cli::{
        base::word,
        cx::Cx,
        print::{self, Column, Row, Shape, table::status_colour},
        session::Session,
        ui::{style, styled},
    },
    model::{Class, Error, Result},
    ops::{ApplyPlan, Deed, Effect, FieldChange, Made, Work},
};

impl Row for Made {
    fn columns() -> &'static [Column<Self>] {
        const COLUMNS: &[Column<Made>] = &[
            Column::new("KIND", "kind", |row: &Made| row.kind.to_owned()),
            Column::new("NAME", "name", |row: &Made| row.name.clone()),
            Column::new("VMID", "vmid", |row: &Made| row.vmid.map_or_else(String::new, |vmid| vmid.to_string()))
                .right(),
            Column::new("NODE", "node", |row: &Made| row.node.as_ref().map_or_else(String::new, ToString::to_string)),
            Column::new("VERB", "verb", |row: &Made| row.verb.word().to_owned()),
            Column::new("STATUS", "status", |row: &Made| word(row.status).to_owned()).coloured(status_colour),
            Column::new("CHANGED", "changed", |row: &Made| if row.changed { "yes" } else { "no" }.to_owned()),
            Column::new("EXIT STATUS", "exit_status", |row: &Made| row.exit_status.clone().unwrap_or_default()),
            Column::new("UPID", "upid", |row: &Made| row.upid.as_ref().map_or(String::new(), ToString::to_string))
                .wide(),
            Column::new("CONTEXT", "context", |row: &Made| row.context.clone()).wide(),
        ];
        COLUMNS
    }

    fn name(&self) -> String {
        format!("{}/{}", self.kind, self.vmid.map_or_else(|| self.name.clone(), |vmid| vmid.to_string()))
    }
}

/// Whether a work is told of: what is as it should be is not, unless something is to be known about it.
fn is_told(work: &Work) -> bool {
    work.deed != Deed::Nothing || !work.refusals.is_empty() || !work.waiting.is_empty() || !work.changes.is_empty()
}

/// Prints what would be done; with the calls where these are asked for.
pub(super) fn works(cx: &Cx, session: &Session, plan: &ApplyPlan, with_calls: bool) -> Result<()> {
    let backend = session.ops.backend();
    let told: Vec<&Work> = plan.works.iter().filter(|work| is_told(work)).collect();
    let data = told.iter().map(|work| work.to_json(backend)).collect::<Result<Vec<Value>>>()?;
    let listed = told.iter().filter(|_| with_calls).map(|work| work.calls(backend));
    let calls = listed.collect::<Result<Vec<_>>>()?;
    let names: Vec<String> = told.iter().map(|work| work.label()).collect();
    let people = |out: &mut dyn Write, places: &[usize]| {
        for place in places {
            write_work(out, told[*place])?;
            calls.get(*place).into_iter().flatten().try_for_each(|call| writeln!(out, "  {call}"))?;
        }
        Ok(())
    };
    print::each(&cx.ui, &session.style, Shape::Several, &data, &names, people)
}

/// Writes a work for people.
pub(super) fn write_work(out: &mut dyn Write, work: &Work) -> io::Result<()> {
    let node = work.node.as_ref().map_or_else(String::new, |node| format!(" on {node}"));
    let line = format!("{}{node}", work.label());
    match work.deed {
        Deed::Create => writeln!(out, "{}", styled(style::GOOD, format_args!("+ {line}")))?,
        Deed::Delete => writeln!(out, "{}", styled(style::BAD, format_args!("- {line}")))?,
        Deed::Update => writeln!(out, "{}", styled(style::HALF, format_args!("~ {line}")))?,
        Deed::Nothing => writeln!(out, "  {line}")?,
    }
    for change in &work.changes {
        write_change(out, work.deed, change)?;
    }
    if !work.waiting.is_empty() {
        writeln!(out, "    waits for the next start: {}", work.waiting.join(", "))?;
    }
    for volume in &work.doomed {
        writeln!(out, "    {}", styled(style::BAD, format_args!("{volume} is destroyed")))?;
    }
    work.notes.iter().filter(|note| !note.ends_with("is destroyed")).try_for_each(|note| writeln!(out, "    {note}"))
}

fn write_change(out: &mut dyn Write, deed: Deed, change: &FieldChange) -> io::Result<()> {
    // More than a line is shown as one.
    let shown = |value: &str| if value.contains(char::is_control) { format!("{value:?}") } else { value.to_owned() };
    let (before, after) = (change.what.before.as_deref().map(shown), change.what.after.as_deref().map(shown));
    let field = &change.what.field;
    if deed == Deed::Create {
        return writeln!(out, "    {field}: {}", styled(style::GOOD, after.unwrap_or_default()));
    }
    let before = before.unwrap_or_else(|| "not set".to_owned());
    let after = after.unwrap_or_else(|| "not set".to_owned());
    write!(out, "    {field}: {} → {}", styled(style::BAD, before), styled(style::GOOD, after))?;
    match change.effect {
        Effect::Live => {}
        Effect::Restart => write!(out, " {}", styled(style::HALF, "(at the next start)"))?,
        Effect::Never => write!(out, " {}", styled(style::BAD, "(cannot be changed)"))?,
    }
    if let Some(applied) = &change.what.applied {
        write!(out, " {}", styled(style::HALF, format_args!("(somebody changed it: {} was applied)", shown(applied))))?;
    }
    writeln!(out)
}

/// The exit code of several errors: theirs, if it is the same for all.
pub(super) fn class_of<'e>(errors: impl Iterator<Item = &'e Error>) -> Class {
    let mut classes: Vec<Class> = errors.map(Error::class).collect();
    classes.dedup();
    match classes.as_slice() {
        [one] => *one,
        _ => Class::Failed,
    }
}
