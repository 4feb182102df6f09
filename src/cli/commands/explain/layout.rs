//! How an explanation looks to people.
//!
//! Layout only; what is said is decided before.

use std::{
    collections::BTreeSet,
    io::{self, Write},
};

use super::Found;
use crate::{
    cli::{
        print::{self, Column, Row, Style, human::wrapped},
        ui::{style, styled},
    },
    contract::{Change, Explained, ExplainedKey, ExplainedMethod, MethodDifference, ParameterDifference, embedded},
};

impl Found {
    pub(super) fn write(&self, out: &mut dyn Write, style: &Style, width: usize) -> io::Result<()> {
        match self {
            Self::Guest(guest, keys) => {
                heading(out, &format!("Configuration keys of a {}", guest.noun()))?;
                write_rows(out, style, keys)?;
                writeln!(out, "\nMore about one: pvectl explain {}.KEY", guest.noun())
            }
            Self::Key(key) => write_key(out, style, width, key),
            Self::Methods(methods) => {
                for (at, method) in methods.iter().enumerate() {
                    if at > 0 {
                        writeln!(out)?;
                    }
                    write_method(out, style, width, method)?;
                }
                Ok(())
            }
        }
    }
}

impl Row for Explained {
    fn columns() -> &'static [Column<Self>] {
        const COLUMNS: &[Column<Explained>] = &[
            Column::new("NAME", "name", |row: &Explained| {
                let open = if row.required { "*" } else { "" };
                if row.default_key { format!("[{}=]{open}", row.name) } else { format!("{}{open}", row.name) }
            }),
            Column::new("TYPE", "type", |row: &Explained| row.kind.to_owned()),
            Column::new("DEFAULT", "default", |row: &Explained| row.default.clone().unwrap_or_default()),
            Column::new("TAKES", "enum", takes),
            Column::new("WHAT", "description", |row: &Explained| first_sentence(row.description.as_deref())),
        ];
        COLUMNS
    }

    fn name(&self) -> String {
        self.name.clone()
    }
}

/// What fits into a line of a text.
fn first_sentence(text: Option<&str>) -> String {
    const LONG: usize = 70;
    let sentence = text.unwrap_or_default().split(". ").next().unwrap_or_default();
    let words = sentence.split_whitespace().collect::<Vec<_>>().join(" ");
    match wrapped(&words, LONG).as_slice() {
        [first, _, ..] => format!("{first} …"),
        _ => words.trim_end_matches('.').to_owned(),
    }
}

/// The limits of a value in a few words.
fn takes(row: &Explained) -> String {
    const SHOWN: usize = 8;
    let number = |number: f64| number.to_string();
    let mut words = Vec::new();
    if !row.values.is_empty() {
        let more = row.values.len().saturating_sub(SHOWN);
        let shown = row.values.iter().take(SHOWN).cloned().collect::<Vec<_>>().join("|");
        words.push(if more > 0 { format!("{shown}|… ({more} more)") } else { shown });
    }
    words.extend(range(row.minimum.map(number), row.maximum.map(number), ""));
    words.extend(range(row.min_length.map(|n| n.to_string()), row.max_length.map(|n| n.to_string()), " characters"));
    words.extend(row.last_index.map(|last| format!("n from 0 to {last}")));
    if row.kind == "property string" {
        words.extend(row.keys.iter().find(|key| key.default_key).map(|key| format!("[{}=]…", key.name)));
    }
    words.extend(row.format.clone());
    words.extend(row.requires.as_ref().map(|wanted| format!("with {wanted}")));
    words.extend((!row.only_for.is_empty()).then(|| format!("only for {}", row.only_for.join(", "))));
    words.join("; ")
}

fn range(low: Option<String>, high: Option<String>, unit: &str) -> Option<String> {
    match (low, high) {
        (Some(low), Some(high)) => Some(format!("{low} to {high}{unit}")),
        (Some(low), None) => Some(format!("at least {low}{unit}")),
        (None, Some(high)) => Some(format!("at most {high}{unit}")),
        (None, None) => None,
    }
}

pub(super) fn heading(out: &mut dyn Write, text: &str) -> io::Result<()> {
    writeln!(out, "{}", styled(style::HEADER, text))
}

fn write_rows(out: &mut dyn Write, style: &Style, rows: &[Explained]) -> io::Result<()> {
    let columns = Explained::columns();
    // Only a server's own description has prose.
    let shown = if rows.iter().any(|row| row.description.is_some()) { columns.len() } else { columns.len() - 1 };
    print::table::write(out, &columns[..shown], rows, style)
}

fn write_facts(out: &mut dyn Write, facts: &[(&str, Option<String>)]) -> io::Result<()> {
    for (name, value) in facts {
        if let Some(value) = value.as_ref().filter(|value| !value.is_empty()) {
            writeln!(out, "  {name:9}  {value}")?;
        }
    }
    Ok(())
}

fn write_prose(out: &mut dyn Write, width: usize, text: Option<&str>) -> io::Result<()> {
    let Some(text) = text else { return Ok(()) };
    wrapped(text, width.saturating_sub(2))
        .iter()
        .try_for_each(|line| writeln!(out, "{}", format!("  {line}").trim_end()))
}

fn write_key(out: &mut dyn Write, style: &Style, width: usize, key: &ExplainedKey) -> io::Result<()> {
    let parameter = &key.parameter;
    heading(out, &format!("{}.{}", key.guest.noun(), key.key))?;
    write_prose(out, width, parameter.description.as_deref())?;
    let is_part = key.key.contains('.');
    let name = parameter.name.strip_suffix("[n]");
    let flags = match (is_part, name) {
        (true, _) => None,
        (false, _) if embedded().explain_key(key.guest, &key.key).is_err() => {
            Some(format!("--set {}=VALUE", parameter.name.replace("[n]", "0")))
        }
        (false, Some(stem)) => Some(format!("--{stem}0 to --{stem}{}", parameter.last_index.unwrap_or(0))),
        (false, None) => Some(format!("--{}", parameter.name)),
    };
    write_facts(
        out,
        &[
            ("Type", Some(parameter.kind.to_owned())),
            ("Flag", flags),
            ("Default", parameter.default.clone()),
            ("Needs", Some(needs(key.privilege))),
            ("Takes", Some(takes(&Explained { values: Vec::new(), ..parameter.clone() }))),
            ("Values", Some(wrapped(&parameter.values.join(", "), width.saturating_sub(13)).join("\n             "))),
            ("Pattern", parameter.pattern.clone()),
        ],
    )?;
    if !parameter.keys.is_empty() {
        heading(out, "Parts (* must be there; [name=] may be left out)")?;
        write_rows(out, style, &parameter.keys)?;
    }
    write_short_forms(out, parameter)?;
    heading(out, "Set by")?;
    for set_by in &key.set_by {
        writeln!(out, "  {} {}", set_by.method, set_by.path)?;
    }
    Ok(())
}

fn needs(privilege: &str) -> String {
    if privilege.contains('@') {
        format!("{privilege} itself, not a token")
    } else {
        format!("{privilege} on /vms/{{vmid}}")
    }
}

fn write_short_forms(out: &mut dyn Write, parameter: &Explained) -> io::Result<()> {
    if parameter.short_forms.is_empty() {
        return Ok(());
    }
    heading(out, "Short forms")?;
    parameter.short_forms.iter().try_for_each(|form| writeln!(out, "  {form}"))
}

fn write_method(out: &mut dyn Write, style: &Style, width: usize, method: &ExplainedMethod) -> io::Result<()> {
    heading(out, &format!("{} {}", method.method, method.path))?;
    write_prose(out, width, method.description.as_deref())?;
    let tasks = method.tasks.as_ref().map(|types| match types.as_slice() {
        [] => "starts a task".to_owned(),
        types => format!("starts a task ({})", types.join(" or ")),
    });
    write_facts(
        out,
        &[
            ("Name", Some(method.name.clone())),
            ("Needs", Some(method.permissions.clone())),
            (
                "",
                method
                    .permissions_description
                    .as_ref()
                    .map(|text| wrapped(text, width.saturating_sub(13)).join("\n             ")),
            ),
            ("Token", (!method.allowtoken).then(|| "not with an API token".to_owned())),
            ("Task", tasks),
            ("Answers", Some(method.returns.kind.to_owned())),
        ],
    )?;
    if method.parameters.is_empty() {
        writeln!(out, "  takes no parameters")?;
    } else {
        heading(out, "Parameters (* must be there)")?;
        write_rows(out, style, &method.parameters)?;
    }
    if method.additional {
        writeln!(out, "  and others, which are not declared")?;
    }
    if !method.returns.keys.is_empty() {
        heading(out, "Answer")?;
        write_rows(out, style, &method.returns.keys)?;
    }
    Ok(())
}

/// A difference in words.
pub(super) fn difference(found: &ParameterDifference) -> String {
    let name = &found.name;
    match &found.change {
        Change::Added => format!("{name}: only there"),
        Change::Removed => format!("{name}: not there"),
        Change::Changed { what: "enum", here: Some(here), there: Some(there) } => {
            let values = |text: &str| text.split(", ").map(str::to_owned).collect::<BTreeSet<_>>();
            let (here, there) = (values(here), values(there));
            let only = |some: &BTreeSet<String>, other: &BTreeSet<String>, word: &str| {
                let only: Vec<String> = some.difference(other).cloned().collect();
                (!only.is_empty()).then(|| format!("{word} {}", only.join(", ")))
            };
            let parts = [only(&there, &here, "also takes"), only(&here, &there, "does not take")];
            format!("{name}: {}", parts.into_iter().flatten().collect::<Vec<_>>().join("; "))
        }
        Change::Changed { what, here, there } => {
            let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "none".to_owned());
            format!("{name}: {what} {} → {}", or_none(here), or_none(there))
        }
    }
}

pub(super) fn write_difference(out: &mut dyn Write, found: &MethodDifference) -> io::Result<()> {
    let whole = match found.change {
        Some(Change::Added) => "  only there",
        Some(Change::Removed) => "  not there",
        _ => "",
    };
    writeln!(out, "{} {}{whole}", found.method, found.path)?;
    found.parameters.iter().try_for_each(|parameter| writeln!(out, "  {}", difference(parameter)))
}
