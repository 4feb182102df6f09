//! `explain`: what a configuration key or a method of the API takes, with prose from the server where it can be asked.
//!
//! What is declared is found by `contract`; here it is laid out.

use std::{
    collections::BTreeSet,
    io::{self, Write},
};

use clap::{Arg, ArgMatches};
use serde_json::{Value, json};

use crate::{
    cli::{
        cx::{Cx, flag, text},
        description::{self, Described},
        kinds::KINDS,
        print::{self, Column, Row, Style, human::wrapped},
        ui::{style, styled},
        verb::{Entry, Exit, Kind, switch},
    },
    contract::{
        Change, Contract, Explained, ExplainedKey, ExplainedMethod, MethodDifference, ParameterDifference, embedded,
    },
    model::{Error, GuestKind, Hint, Method, Result},
};

pub(super) const ENTRY: Entry = Entry {
    name: "explain",
    about: "Explain a configuration key or a method of the API: type, limits, values, privileges",
    examples: &[
        "pvectl explain vm",
        "pvectl explain vm.net0",
        "pvectl explain container.rootfs.size",
        "pvectl explain /nodes/{node}/qemu post",
        "pvectl explain --differences",
    ],
    args: |command| {
        command
            .arg(
                Arg::new("what")
                    .value_name("KIND.KEY|PATH")
                    .required_unless_present("differences")
                    .help("vm.net0, container.rootfs, a part of it (vm.net0.bridge), or a path of the API"),
            )
            .arg(
                Arg::new("method")
                    .value_name("METHOD")
                    .help("Of a path: get, post, put or delete; all if none is given"),
            )
            .arg(switch("embedded", "Do not ask the server: only what is built in, of Proxmox VE 9.2"))
            .arg(
                switch("refresh", "Read the server's own description again, even if it is at hand")
                    .conflicts_with("embedded"),
            )
            .arg(
                switch("differences", "List what the server's API has, lacks or wants otherwise than 9.2")
                    .conflicts_with_all(["what", "method", "embedded"]),
            )
    },
    run: |cx, matches| Box::pin(run(cx, matches)),
};

/// Words for the methods; `create` and `set` are what `pvesh` calls them.
const METHODS: &[(&str, Method)] = &[
    ("get", Method::Get),
    ("post", Method::Post),
    ("create", Method::Post),
    ("put", Method::Put),
    ("set", Method::Put),
    ("delete", Method::Delete),
];

async fn run(cx: &Cx, matches: &ArgMatches) -> Result<Exit> {
    let style = cx.plain_style()?;
    if flag(matches, "differences") {
        let server = description::of_context(cx, flag(matches, "refresh")).await?;
        return differences(cx, &style, server.as_ref());
    }
    let what = text(matches, "what").unwrap_or_default();
    let subject = Subject::parse(what, text(matches, "method"))?;
    let server = if flag(matches, "embedded") { None } else { server(cx, flag(matches, "refresh")).await };
    let contract = server.as_ref().map_or(embedded(), |server| &server.contract);
    let found = match subject.explain(contract) {
        Ok(Some(found)) => found,
        // What the server no longer has is still explained.
        Ok(None) | Err(_) => subject.explain(embedded())?.ok_or_else(|| subject.unknown())?,
    };
    let notes = server.as_ref().map(|server| subject.notes(server)).unwrap_or_default();
    let mut data = found.data();
    if let (Some(server), Value::Object(data)) = (&server, &mut data) {
        data.insert("server".to_owned(), json!({"version": server.version, "differences": notes}));
    }
    let names = found.names();
    print::data_or(&cx.ui, style.format, &data, &names, |out| {
        found.write(out, &style, cx.width())?;
        if let Some(server) = server.as_ref().filter(|_| !notes.is_empty()) {
            heading(out, &format!("Otherwise than in 9.2, on this server ({})", server.version))?;
            notes.iter().try_for_each(|note| writeln!(out, "  {}", difference(note)))?;
        }
        Ok(())
    })?;
    Ok(0)
}

/// The server's own description, if it is to be had.
async fn server(cx: &Cx, refresh: bool) -> Option<Described> {
    match description::of_context(cx, refresh).await {
        Ok(server) => server,
        Err(error) => {
            cx.ui.say(format_args!(
                "this is the description of 9.2 that is built in; the server's own was not to be had: {error}"
            ));
            None
        }
    }
}

/// What is to be explained.
enum Subject {
    /// All keys of a kind of guest.
    Guest(GuestKind),
    /// A key, or a part of one.
    Key(GuestKind, String),
    /// The methods of a path, or one of them.
    Path(String, Option<Method>),
}

/// The same with what was found.
enum Found {
    Guest(GuestKind, Vec<Explained>),
    Key(Box<ExplainedKey>),
    Methods(Vec<ExplainedMethod>),
}

impl Subject {
    fn parse(what: &str, method: Option<&str>) -> Result<Self> {
        let method = method.map(method_of).transpose()?;
        let root = what.split('/').next().unwrap_or_default();
        let is_path = what.contains('/') || embedded().knows_path(root);
        if is_path {
            return Ok(Self::Path(format!("/{}", what.trim_start_matches('/')), method));
        }
        if method.is_some() {
            return Err(Error::usage(format!("`{what}` is no path, and only paths have methods")));
        }
        let (word, key) = what.split_once('.').map_or((what, None), |(word, key)| (word, Some(key)));
        match (KINDS.iter().find(|kind| kind.is_called(word)).and_then(|kind| kind.guest), key) {
            (Some(guest), None) => Ok(Self::Guest(guest)),
            (Some(guest), Some(key)) => Ok(Self::Key(guest, key.to_owned())),
            (None, _) => Err(no_subject(what, word)),
        }
    }

    /// Looks it up; `None` for a path that is not there.
    fn explain(&self, contract: &Contract) -> Result<Option<Found>> {
        Ok(match self {
            Self::Guest(guest) => {
                let keys = contract.guest_keys(*guest);
                let keys = keys.into_iter().map(|key| Ok(contract.explain_key(*guest, key)?.parameter));
                Some(Found::Guest(*guest, keys.collect::<Result<_>>()?))
            }
            Self::Key(guest, key) => Some(Found::Key(Box::new(contract.explain_key(*guest, key)?))),
            Self::Path(path, method) => {
                let wanted =
                    METHODS.iter().map(|(_, method)| *method).filter(|m| method.is_none_or(|method| method == *m));
                let mut methods: Vec<ExplainedMethod> = Vec::new();
                for found in wanted.filter_map(|method| contract.find(method, path)) {
                    if !methods.iter().any(|have| have.method == found.endpoint.method) {
                        methods.push(found.endpoint.explain());
                    }
                }
                Some(Found::Methods(methods)).filter(|found| !matches!(found, Found::Methods(none) if none.is_empty()))
            }
        })
    }

    /// What differs on the server, as far as it is about this.
    fn notes(&self, server: &Described) -> Vec<ParameterDifference> {
        let endpoints = |contract: &'_ Contract| -> Vec<(Method, String)> {
            match self {
                Self::Guest(guest) | Self::Key(guest, _) => {
                    contract.configuring(*guest).map(|endpoint| (endpoint.method, endpoint.path.clone())).collect()
                }
                Self::Path(path, method) => {
                    let methods = METHODS.iter().map(|(_, method)| *method).filter(|m| method.is_none_or(|w| w == *m));
                    let found = methods.filter_map(|method| contract.find(method, path));
                    found.map(|found| (found.endpoint.method, found.endpoint.path.clone())).collect()
                }
            }
        };
        let mut notes: Vec<ParameterDifference> = Vec::new();
        for (method, path) in endpoints(embedded()) {
            let (Some(here), Some(there)) =
                (embedded().endpoint(method, &path), server.contract.endpoint(method, &path))
            else {
                continue;
            };
            for difference in here.differences(there) {
                let about = match self {
                    Self::Key(_, key) => is_about(&difference.name, key),
                    Self::Guest(_) | Self::Path(..) => true,
                };
                if about && !notes.contains(&difference) {
                    notes.push(difference);
                }
            }
        }
        notes
    }

    fn unknown(&self) -> Error {
        match self {
            Self::Path(path, Some(method)) => {
                let has = METHODS.iter().filter(|(_, method)| embedded().find(*method, path).is_some());
                let mut has: Vec<&str> = has.map(|(_, method)| method.as_str()).collect();
                has.dedup();
                let error = Error::usage(format!("the API has no {method} {path}"));
                if has.is_empty() {
                    error.with_hint(look())
                } else {
                    error.with_hint(Hint::Text(format!("it has {}", has.join(", "))))
                }
            }
            Self::Path(path, None) => Error::usage(format!("the API has no path {path}")).with_hint(look()),
            Self::Guest(_) | Self::Key(..) => Error::usage("there is nothing to explain"),
        }
    }
}

fn look() -> Hint {
    Hint::Text("walk the paths with `pvectl api ls`".to_owned())
}

/// Whether a difference of `net[n].bridge` is about `net0`, or the other way round.
fn is_about(name: &str, key: &str) -> bool {
    let plain = |text: &str| {
        text.split('.')
            .map(|part| part.trim_end_matches("[n]").trim_end_matches(|c: char| c.is_ascii_digit()).to_owned())
            .collect::<Vec<_>>()
    };
    let (name, key) = (plain(name), plain(key));
    name.iter().zip(&key).all(|(a, b)| a == b)
}

fn method_of(word: &str) -> Result<Method> {
    let found = METHODS.iter().find(|(name, _)| word.eq_ignore_ascii_case(name)).map(|(_, method)| *method);
    found.ok_or_else(|| Error::usage(format!("`{word}` is no method: get, post, put or delete is expected")))
}

fn no_subject(what: &str, word: &str) -> Error {
    let with_key: Vec<String> = GuestKind::ALL
        .iter()
        .filter(|guest| embedded().explain_key(**guest, what).is_ok())
        .map(|guest| format!("{}.{what}", guest.noun()))
        .collect();
    let guests: Vec<&str> = KINDS.iter().filter(|kind: &&&Kind| kind.guest.is_some()).map(|kind| kind.noun).collect();
    let error = Error::usage(format!("there is nothing called `{word}` to explain")).with_hint(Hint::Text(format!(
        "a kind of guest is expected ({}), one of its keys, or a path of the API (/nodes)",
        guests.join(", ")
    )));
    error.did_you_mean(with_key)
}

impl Found {
    fn data(&self) -> Value {
        match self {
            Self::Guest(guest, keys) => json!({"guest": guest, "keys": keys}),
            Self::Key(key) => json!(key),
            Self::Methods(methods) => match methods.as_slice() {
                [one] => json!(one),
                several => json!({"methods": several}),
            },
        }
    }

    fn names(&self) -> Vec<String> {
        match self {
            Self::Guest(guest, keys) => keys.iter().map(|key| format!("{}.{}", guest.noun(), key.name)).collect(),
            Self::Key(key) => vec![format!("{}.{}", key.guest.noun(), key.key)],
            Self::Methods(methods) => methods.iter().map(|m| format!("{} {}", m.method, m.path)).collect(),
        }
    }

    fn write(&self, out: &mut dyn Write, style: &Style, width: usize) -> io::Result<()> {
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

fn heading(out: &mut dyn Write, text: &str) -> io::Result<()> {
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
fn difference(found: &ParameterDifference) -> String {
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

fn differences(cx: &Cx, style: &Style, server: Option<&Described>) -> Result<Exit> {
    let (version, found) = match server {
        Some(server) => (server.version.as_str(), embedded().differences(&server.contract)),
        // The sandbox is made of the embedded one.
        None => ("9.2", Vec::new()),
    };
    let names: Vec<String> = found.iter().map(|found| format!("{} {}", found.method, found.path)).collect();
    print::data_or(&cx.ui, style.format, &found, &names, |out| {
        found.iter().try_for_each(|found| write_difference(out, found))
    })?;
    if found.is_empty() {
        cx.ui.say(format_args!("the server's API ({version}) is the one that is built in (9.2)"));
    }
    Ok(0)
}

fn write_difference(out: &mut dyn Write, found: &MethodDifference) -> io::Result<()> {
    let whole = match found.change {
        Some(Change::Added) => "  only there",
        Some(Change::Removed) => "  not there",
        _ => "",
    };
    writeln!(out, "{} {}{whole}", found.method, found.path)?;
    found.parameters.iter().try_for_each(|parameter| writeln!(out, "  {}", difference(parameter)))
}
