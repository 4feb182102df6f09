//! `list`, `get`, `describe` of things.

use std::io::{self, Write};

use async_trait::async_trait;
use clap::{ArgMatches, Command};
use futures_util::future::try_join_all;
use serde_json::{Map, Value, json};

use super::{Describe, Get, List, View, names_arg, spaced};
use crate::{
    cli::{
        cx::Cx,
        print::{
            self, Shape, Style,
            fields::{Field, How, fields, section, write_pairs, write_rows},
            human::capital,
        },
        session::{Access, Session},
        ui::{style, styled},
        verb::{Exit, Kind, Verb},
    },
    model::{Result, is_secret_at},
    ops::{FoundUse, Naming, Sort, Tie, plain},
};

#[async_trait(?Send)]
impl Verb for List {
    fn name(&self) -> &'static str {
        "list"
    }

    fn about(&self, _: &Kind) -> String {
        format!("List {}", self.0.resource.plural)
    }

    fn examples(&self, kind: &Kind) -> Vec<String> {
        vec![format!("pvectl {} list", self.0.words(kind)), format!("pvectl {} list -o json", self.0.words(kind))]
    }

    fn args(&self, command: Command, kind: &Kind) -> Command {
        self.0.owner_args(command, kind)
    }

    async fn run(&self, cx: &Cx, _: &Kind, matches: &ArgMatches) -> Result<Exit> {
        let session = cx.session(Access::Read).await?;
        let sort = self.0.sort(&session, matches).await?;
        let rows = session.ops.resources(&sort).await?;
        self.0.print(cx, &session, &sort, (Shape::Several, rows))
    }
}

#[async_trait(?Send)]
impl Verb for Get {
    fn name(&self) -> &'static str {
        "get"
    }

    fn about(&self, _: &Kind) -> String {
        match self.0.resource.naming {
            Naming::Single => format!("Show {}", self.0.resource.plural),
            _ => format!("Show single {}", self.0.resource.plural),
        }
    }

    fn examples(&self, kind: &Kind) -> Vec<String> {
        vec![spaced(&["pvectl", &self.0.words(kind), "get", self.0.example, "-o json"])]
    }

    fn args(&self, command: Command, kind: &Kind) -> Command {
        self.0.owner_args(command, kind).args(names_arg(self.0, false))
    }

    async fn run(&self, cx: &Cx, kind: &Kind, matches: &ArgMatches) -> Result<Exit> {
        if self.0.resource.naming == Naming::Single {
            return Describe(self.0).run(cx, kind, matches).await;
        }
        let session = cx.session(Access::Read).await?;
        let sort = self.0.sort(&session, matches).await?;
        let names = self.0.names(matches, &sort);
        if names.is_empty() {
            let rows = session.ops.resources(&sort).await?;
            return self.0.print(cx, &session, &sort, (Shape::Several, rows));
        }
        let found = try_join_all(names.iter().map(|name| session.ops.resource(&sort, name))).await?;
        let rows = found.into_iter().map(Value::Object).collect();
        self.0.print(cx, &session, &sort, (Shape::of(names.len()), rows))
    }
}

#[async_trait(?Send)]
impl Verb for Describe {
    fn name(&self) -> &'static str {
        "describe"
    }

    fn about(&self, _: &Kind) -> String {
        format!("Describe {} for people: what they are, and who uses them", self.0.resource.plural)
    }

    fn examples(&self, kind: &Kind) -> Vec<String> {
        vec![format!("pvectl {} describe {}", self.0.words(kind), self.0.example)]
    }

    fn args(&self, command: Command, kind: &Kind) -> Command {
        self.0.owner_args(command, kind).args(names_arg(self.0, true))
    }

    async fn run(&self, cx: &Cx, _: &Kind, matches: &ArgMatches) -> Result<Exit> {
        let session = cx.session(Access::Read).await?;
        let sort = self.0.sort(&session, matches).await?;
        let names = self.0.names(matches, &sort);
        let read = async |name: &String| {
            let thing = session.ops.resource(&sort, name).await?;
            let name = self.0.resource.name_in(&thing);
            let (uses, notes) = session.ops.uses_of(&sort, &name, &thing).await;
            Ok::<_, crate::model::Error>((thing, uses, notes))
        };
        let found = try_join_all(names.iter().map(read)).await?;
        for note in found.iter().flat_map(|(_, _, notes)| notes) {
            cx.ui.warn(note);
        }
        let data: Vec<Value> = found.iter().map(|(thing, uses, _)| self.0.described(&session, thing, uses)).collect();
        let paths: Vec<String> = names.iter().map(|name| self.0.path_of(&sort.full_name(name))).collect();
        let people = |out: &mut dyn Write, places: &[usize]| {
            for (at, place) in places.iter().enumerate() {
                if at > 0 {
                    writeln!(out)?;
                }
                page_of(out, &session.style, &sort.label(&names[*place]), self.0, &data[*place])?;
            }
            Ok(())
        };
        print::each(&cx.ui, &session.style, Shape::of(data.len()), &data, &paths, people)?;
        Ok(0)
    }
}

impl View {
    /// The words that stand before the verb: a kind's, or with those of a group below it.
    pub(super) fn words(&self, kind: &Kind) -> String {
        match self.resource.noun.strip_prefix(kind.noun).map(|rest| rest.trim_start_matches('-')) {
            Some(rest) if !rest.is_empty() => format!("{} {}", kind.noun, rest.replace('-', " ")),
            _ => kind.noun.to_owned(),
        }
    }

    /// Prints rows of this kind, with the context that they are of.
    pub(crate) fn print(
        &self,
        cx: &Cx,
        session: &Session,
        sort: &Sort,
        (shape, mut rows): (Shape, Vec<Value>),
    ) -> Result<Exit> {
        let context = session.ops.context();
        for row in &mut rows {
            self.hide_secrets(row);
            row["context"] = context.into();
        }
        fields(&cx.ui, &session.style, self.columns, (shape, rows), |row| self.path_of(&sort.full_name_of(row)))?;
        Ok(0)
    }

    fn hide_secrets(&self, row: &mut Value) {
        for (key, value) in row.as_object_mut().into_iter().flatten() {
            if is_secret_at(self.resource.one, key) && !value.is_null() && value.as_str() != Some("") {
                *value = "***".into();
            }
        }
    }

    fn described(&self, session: &Session, thing: &Map<String, Value>, uses: &[FoundUse]) -> Value {
        let mut data = Value::Object(thing.clone());
        self.hide_secrets(&mut data);
        if self.resource.naming != Naming::Single {
            data["used-by"] = json!(uses);
        }
        data["context"] = session.ops.context().into();
        data
    }
}

/// A page about one thing.
pub(crate) fn page_of(out: &mut dyn Write, style: &Style, title: &str, view: &View, thing: &Value) -> io::Result<()> {
    people_page(out, style, title, view.columns, thing)
}

/// A page about data: what is one value in pairs, what is a list of objects as a table, what uses it as a list.
pub(crate) fn people_page(
    out: &mut dyn Write,
    page_style: &Style,
    title: &str,
    columns: &[Field],
    thing: &Value,
) -> io::Result<()> {
    writeln!(out, "{}", styled(style::HEADER, title))?;
    let empty = Map::new();
    let map = thing.as_object().unwrap_or(&empty);
    let titled = |key: &str| columns.iter().find(|column| column.field == key);
    // In the order of the columns, then of the alphabet.
    let place = |key: &str| columns.iter().position(|column| column.field == key).unwrap_or(columns.len());
    let mut simple: Vec<(&String, &Value)> =
        map.iter().filter(|(_, value)| !is_table(value) && lines(value).is_none()).collect();
    simple.retain(|(key, value)| !["digest", "used-by"].contains(&key.as_str()) && !value.is_null());
    simple.sort_by_key(|(key, _)| (place(key), (*key).clone()));
    let pairs = simple.into_iter().map(|(key, value)| match (titled(key), value) {
        // Nobody wants to know only how many.
        (Some(column), _) if !matches!(column.how, How::Count) => {
            (sentence(column.title), column.how.show(Some(value)))
        }
        (_, value) if key == "context" => (sentence(key), plain(value).unwrap_or_default()),
        (_, Value::Object(map)) => (
            key.clone(),
            map.iter()
                .map(|(key, value)| format!("{key}={}", plain(value).unwrap_or_default()))
                .collect::<Vec<_>>()
                .join(", "),
        ),
        (_, value) => (key.clone(), plain(value).unwrap_or_default().replace('\n', " ⏎ ")),
    });
    let pairs = pairs.filter(|(_, text)| !text.is_empty());
    write_pairs(out, pairs)?;
    for (key, lines) in map.iter().filter_map(|(key, value)| Some((key, lines(value)?))) {
        section(out, &sentence(key), lines.map(|line| (line, String::new())))?;
    }
    for (key, value) in map.iter().filter(|(key, value)| is_table(value) && *key != "used-by") {
        let rows: Vec<Value> = value.as_array().cloned().unwrap_or_default();
        writeln!(out, "{}", styled(style::HEADER, sentence(key)))?;
        write_rows(out, page_style, &shown_of(&rows), &rows)?;
    }
    let uses = map.get("used-by").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    section(out, "Used by", uses.iter().map(|one| (one["what"].as_str().unwrap_or_default().to_owned(), String::new())))
}

/// Whether a value is a list of objects.
fn is_table(value: &Value) -> bool {
    value.as_array().is_some_and(|rows| rows.iter().any(Value::is_object))
}

/// Texts that are lists themselves, which each need a line: where a mapping is on each node.
fn lines(value: &Value) -> Option<impl Iterator<Item = String> + use<>> {
    let texts = value.as_array()?.iter().map(|one| one.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>()?;
    texts.iter().any(|text| text.contains(['=', ','])).then(|| texts.into_iter())
}

/// The fields of rows of which nothing more is known, those that people look for first.
fn shown_of(rows: &[Value]) -> Vec<Field> {
    const KNOWN: &[Field] = &[
        Field::text("ID", "id"),
        Field::text("TYPE", "type"),
        Field::text("NAME", "name"),
        Field::text("NODE", "node"),
        Field::text("STATUS", "status"),
        Field::text("ACTION", "action"),
        Field::text("MACRO", "macro"),
        Field::text("PROTO", "proto"),
        Field::text("SOURCE", "source"),
        Field::text("DEST", "dest"),
        Field::text("DPORT", "dport"),
        Field::text("ADDRESS", "cidr"),
        Field::text("COMMENT", "comment"),
    ];
    KNOWN.iter().copied().filter(|field| rows.iter().any(|row| row.get(field.field).is_some())).collect()
}

/// `MAX MEMORY` as the beginning of a line.
fn sentence(title: &str) -> String {
    capital(&title.to_lowercase())
}

/// What a removal does to a user of a thing, in words.
pub(super) fn fate(tie: Tie) -> &'static str {
    match tie {
        Tie::Holds => "keeps it",
        Tie::Goes => "goes with it",
        Tie::Stays => "stays without it",
    }
}
