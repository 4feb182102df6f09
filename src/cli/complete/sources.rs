//! The sources: what exists on the server, in the configuration, in the journal and in the program's own tables.
//!
//! Each gives everything that could be typed at the place; what fits the word is sorted out by who asks.

use std::collections::{BTreeMap, BTreeSet};

use super::{Candidate, Request, here, live::Row, things::things, volumes};
use crate::{
    backends::BACKENDS,
    cli::{app, commands::help, kinds::KINDS, print::FORMATS, verb::Kind},
    config::{File, RESERVED},
    journal::{Filter, Journal},
    model::{GuestKind, Tags, Upid},
    ops::{Power, RESOURCES, When, power_verb},
};

/// A field as text.
pub(super) fn text<'a>(row: &'a Row, field: &str) -> std::borrow::Cow<'a, str> {
    match row.get(field) {
        Some(serde_json::Value::String(text)) => text.into(),
        None | Some(serde_json::Value::Null) => "".into(),
        Some(other) => other.to_string().into(),
    }
}

/// The part of a list that is typed last, and all before it.
pub(super) fn last_of<'a>(word: &'a str, separators: &[char]) -> (&'a str, &'a str) {
    word.split_at(word.rfind(separators).map_or(0, |at| at + 1))
}

/// A guest as completion needs it.
pub(super) struct Guest {
    pub(super) vmid: String,
    pub(super) name: String,
    pub(super) kind: Option<GuestKind>,
    pub(super) node: String,
    status: String,
    template: bool,
    tags: Tags,
}

impl Guest {
    fn read(row: &Row) -> Self {
        Self {
            vmid: text(row, "vmid").into_owned(),
            name: text(row, "name").into_owned(),
            kind: GuestKind::ALL.into_iter().find(|kind| kind.api() == text(row, "type")),
            node: text(row, "node").into_owned(),
            status: text(row, "status").into_owned(),
            template: text(row, "template") == "1",
            tags: Tags::parse(&text(row, "tags")),
        }
    }

    fn state(&self) -> &str {
        if self.template { "template" } else { &self.status }
    }

    pub(super) fn as_vmid(&self) -> Candidate {
        let name = if self.name.is_empty() { String::new() } else { format!("{}, ", self.name) };
        Candidate::new(&self.vmid, format!("{name}{}, {}", self.state(), self.node))
    }

    fn as_name(&self) -> Candidate {
        Candidate::new(&self.name, format!("{}, {}, {}", self.vmid, self.state(), self.node))
    }
}

/// The guests of a kind, or all, by VMID.
pub(super) async fn guests(request: &Request, kind: Option<GuestKind>) -> Vec<Guest> {
    const FIELDS: &[&str] = &["vmid", "name", "type", "node", "status", "template", "tags"];
    let rows = request.live.list("/cluster/resources", &[("type", "vm")], FIELDS).await;
    let mut guests: Vec<Guest> = rows.iter().map(Guest::read).filter(|guest| !guest.vmid.is_empty()).collect();
    guests.retain(|guest| kind.is_none() || guest.kind == kind);
    guests.sort_by_key(|guest| (guest.vmid.len(), guest.vmid.clone()));
    guests
}

/// Names, unless two guests share one, then VMIDs.
pub(super) fn by_name_and_vmid(guests: &[Guest]) -> Vec<Candidate> {
    let mut names: BTreeMap<&str, usize> = BTreeMap::new();
    guests.iter().for_each(|guest| *names.entry(&guest.name).or_default() += 1);
    let named = guests.iter().filter(|guest| !guest.name.is_empty() && names.get(guest.name.as_str()) == Some(&1));
    named.map(Guest::as_name).chain(guests.iter().map(Guest::as_vmid)).collect()
}

/// What verbs work on: guests of the kind, or the things of another kind.
pub(super) async fn targets(request: &Request) -> Vec<Candidate> {
    let Some(kind) = request.kind() else { return Vec::new() };
    match kind.guest {
        Some(guest) => guest_targets(request, guest).await,
        None => match kind.noun {
            "node" => nodes(request).await,
            "task" => upids(request).await,
            "operation" => operations(request).await,
            "image" => [here::images(request).await, volumes::images(request).await].concat(),
            "network" if request.flag("node").is_none() => here::networks(request).await,
            "backup" if request.verb() == "create" => vmids(request).await,
            "backup" => volumes::backups(request).await,
            // `ha resource get`, `pool get`.
            noun => {
                let below = request.path.get(1).map(|word| format!("{noun}-{word}"));
                match below.filter(|noun| RESOURCES.iter().any(|of| of.noun == noun)) {
                    Some(noun) => things(request, &noun).await,
                    None => things(request, noun).await,
                }
            }
        },
    }
}

async fn guest_targets(request: &Request, kind: GuestKind) -> Vec<Candidate> {
    let mut guests = guests(request, Some(kind)).await;
    let (before, last) = last_of(&request.word, &[',']);
    // Nobody means the same guest twice.
    let typed: BTreeSet<&str> =
        request.positionals().flat_map(|word| word.split(',')).chain(before.split(',')).collect();
    guests.retain(|guest| !typed.contains(guest.vmid.as_str()) && !typed.contains(guest.name.as_str()));
    if let Some(verb) = power_verb(request.verb(), kind) {
        let power = |guest: &Guest| if guest.status == "running" { Power::Running } else { Power::Stopped };
        // What there is something to do for stands first; a template has no power.
        guests.sort_by_key(|guest| (guest.template, verb.when(power(guest)) != When::Do));
    }
    let candidates = match last.split_once('/') {
        None => by_name_and_vmid(&guests),
        Some((node, _)) => {
            let there = guests.iter().filter(|guest| guest.node == node);
            there.map(|guest| guest.as_vmid().behind(&format!("{node}/"))).collect()
        }
    };
    candidates.into_iter().map(|candidate| candidate.behind(before)).collect()
}

pub(super) async fn vmids(request: &Request) -> Vec<Candidate> {
    guests(request, request.kind().and_then(|kind| kind.guest)).await.iter().map(Guest::as_vmid).collect()
}

pub(super) async fn vm_templates(request: &Request) -> Vec<Candidate> {
    let mut guests = guests(request, Some(GuestKind::Qemu)).await;
    guests.retain(|guest| guest.template);
    by_name_and_vmid(&guests)
}

pub(super) async fn nodes(request: &Request) -> Vec<Candidate> {
    let mut rows = request.live.list("/nodes", &[], &["node", "status"]).await;
    rows.sort_by_key(|row| text(row, "node").into_owned());
    rows.iter().map(|row| Candidate::new(text(row, "node"), text(row, "status"))).collect()
}

pub(super) async fn pools(request: &Request) -> Vec<Candidate> {
    let rows = request.live.list("/pools", &[], &["poolid", "comment"]).await;
    rows.iter().map(|row| Candidate::new(text(row, "poolid"), text(row, "comment"))).collect()
}

/// The statuses of the guests that there are.
pub(super) async fn statuses(request: &Request) -> Vec<Candidate> {
    let guests = guests(request, request.kind().and_then(|kind| kind.guest)).await;
    let found: BTreeSet<String> = guests.into_iter().map(|guest| guest.status).collect();
    found.into_iter().map(|status| Candidate::new(status, "")).collect()
}

/// The tags in use, with how many guests have each.
async fn used_tags(request: &Request) -> Vec<(String, String)> {
    let mut found: BTreeMap<String, usize> = BTreeMap::new();
    for guest in guests(request, request.kind().and_then(|kind| kind.guest)).await {
        guest.tags.iter().for_each(|tag| *found.entry(tag.to_owned()).or_default() += 1);
    }
    let about = |count| format!("{count} guest{}", if count == 1 { "" } else { "s" });
    found.into_iter().map(|(tag, count)| (tag, about(count))).collect()
}

pub(super) async fn tags(request: &Request) -> Vec<Candidate> {
    used_tags(request).await.into_iter().map(|(tag, about)| Candidate::new(tag, about)).collect()
}

/// One more tag of a list of them.
pub(super) async fn tag_list(request: &Request, word: &str) -> Vec<Candidate> {
    let (before, _) = last_of(word, &[',', ';', ' ']);
    let have = Tags::parse(before);
    let more = tags(request).await.into_iter().filter(|tag| !have.contains(&tag.value));
    more.map(|tag| tag.behind(before)).collect()
}

/// Tags as labels: `app.web` is `app=web`.
pub(super) async fn labels(request: &Request) -> Vec<Candidate> {
    let label = |(tag, about): (String, String)| Candidate::new(tag.replacen('.', "=", 1), about);
    used_tags(request).await.into_iter().map(label).collect()
}

/// One more requirement of a selector: a label, or only its key; after `!=` too.
pub(super) async fn selector(request: &Request) -> Vec<Candidate> {
    let (before, last) = last_of(&request.word, &[',']);
    // In `app in (web,…` the comma is of another kind.
    if request.word.rfind('(') > request.word.rfind(')') {
        return Vec::new();
    }
    let operator = ["!=", "==", "="].into_iter().find(|operator| last.contains(operator)).unwrap_or("=");
    let mut found = Vec::new();
    for (tag, about) in used_tags(request).await {
        match tag.split_once('.') {
            Some((key, value)) => found.push(Candidate::new(format!("{key}{operator}{value}"), about)),
            None => found.push(Candidate::new(tag, about)),
        }
    }
    found.into_iter().map(|candidate| candidate.behind(before)).collect()
}

/// Tasks, those at work first, then the newest.
pub(super) async fn upids(request: &Request) -> Vec<Candidate> {
    let rows = request.live.list("/cluster/tasks", &[], &["upid", "status", "endtime"]).await;
    let mut tasks: Vec<(bool, Upid, String)> = Vec::new();
    for row in &rows {
        let Ok(upid) = text(row, "upid").parse::<Upid>() else { continue };
        let ended = row.contains_key("endtime");
        let state = if ended { text(row, "status") } else { "running".into() };
        let about = format!("{} {}, {state}", upid.kind, upid.id);
        tasks.push((ended, upid, about));
    }
    tasks.sort_by_key(|(ended, upid, _)| (*ended, std::cmp::Reverse(upid.started())));
    tasks.into_iter().map(|(_, upid, about)| Candidate::new(upid.to_string(), about)).collect()
}

/// The newest operations of the journal.
pub(super) async fn operations(request: &Request) -> Vec<Candidate> {
    let path = request.live.paths().journal();
    let read = move || {
        let filter = Filter { limit: Some(50), ..Filter::default() };
        Journal::open_read_only(&path).ok().flatten()?.operations(&filter).ok()
    };
    let found = request.live.blocking(read).await.flatten().unwrap_or_default();
    let about = |operation: &crate::journal::Operation| {
        format!("{} {}, {}", operation.verb, operation.target, operation.status)
    };
    found.iter().map(|operation| Candidate::new(operation.id.0.to_string(), about(operation))).collect()
}

pub(super) fn contexts(request: &Request) -> Vec<Candidate> {
    let file = File::load(request.live.paths()).ok().flatten();
    let own = file.iter().flat_map(File::contexts).map(|context| {
        let urls: Vec<&str> = context.endpoints.iter().map(crate::config::Endpoint::url).collect();
        Candidate::new(&context.name, urls.join(", "))
    });
    // Only what is in the file can be removed.
    let built_in = RESERVED.iter().filter(|name| **name == "sandbox" && request.verb() != "remove-context");
    own.chain(built_in.map(|name| Candidate::new(*name, "built-in"))).collect()
}

/// The servers of all contexts.
pub(super) fn hosts(request: &Request) -> Vec<Candidate> {
    let file = File::load(request.live.paths()).ok().flatten();
    let urls = file
        .iter()
        .flat_map(File::contexts)
        .flat_map(|context| context.endpoints.iter().map(|endpoint| Candidate::new(endpoint.url(), &context.name)));
    urls.collect()
}

/// The kinds that have the verb; `get` has a list of every kind.
pub(super) fn kinds(request: &Request) -> Vec<Candidate> {
    let verb = request.verb().to_owned();
    let has = |kind: &&&Kind| kind.verb(&verb).is_some() || (verb == "get" && kind.verb("list").is_some());
    let found = KINDS.iter().filter(has).flat_map(|kind| {
        let words = if verb == "get" { [kind.plural, kind.noun] } else { [kind.noun, kind.plural] };
        // One word each is enough, until another is begun.
        let all = words.into_iter().chain(kind.aliases.iter().copied());
        let shown = all.filter(|word| !request.word.is_empty() && word.starts_with(&request.word)).take(1);
        let first = request.word.is_empty().then_some(words[0]);
        shown.chain(first).map(|word| Candidate::new(word, kind.about)).collect::<Vec<_>>()
    });
    found.collect()
}

/// The commands below the words that stand there; topics before any.
pub(super) fn help_words(request: &Request) -> Vec<Candidate> {
    let app = app::command();
    let mut words = request.positionals();
    let found = words.try_fold(&app, |command, word| command.find_subcommand(word));
    let below = found.into_iter().flat_map(clap::Command::get_subcommands).filter(|command| !command.is_hide_set());
    let about = |command: &clap::Command| command.get_about().map(ToString::to_string).unwrap_or_default();
    let commands = below.map(|command| Candidate::new(command.get_name(), about(command)));
    let topics = help::topics().filter(|_| request.positionals().next().is_none());
    commands.chain(topics.map(|(name, about)| Candidate::new(name, about))).collect()
}

/// The verbs of all kinds.
pub(super) fn verbs() -> Vec<Candidate> {
    let mut found: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for kind in KINDS {
        for verb in (kind.verbs)() {
            found.entry(verb.name()).or_default().push(kind.noun);
        }
    }
    found.into_iter().map(|(verb, kinds)| Candidate::new(verb, kinds.join(", "))).collect()
}

pub(super) fn backends() -> Vec<Candidate> {
    BACKENDS.iter().map(|backend| Candidate::new(backend.backend, "")).collect()
}

pub(super) fn formats() -> Vec<Candidate> {
    let format = FORMATS.iter().map(|format| match format.argument {
        Some((argument, _)) => Candidate::open(format!("{}=", format.name), argument),
        None => Candidate::new(format.name, ""),
    });
    format.collect()
}

/// The columns of the kind's list, by what is easier to type: the title, or the field where that has blanks.
pub(super) fn columns(request: &Request) -> Vec<Candidate> {
    let (before, last) = last_of(&request.word, &[',']);
    let before = format!("{before}{}", if last.starts_with('-') { "-" } else { "" });
    let column = |(title, field): (&str, &str)| {
        let name = if title.contains(' ') { field.to_owned() } else { title.to_lowercase() };
        Candidate::new(name, title).behind(&before)
    };
    request.kind().into_iter().flat_map(|kind| (kind.columns)()).map(column).collect()
}

/// The fields of the kind's data, for one more requirement of a selector.
pub(super) fn fields(request: &Request) -> Vec<Candidate> {
    let (before, _) = last_of(&request.word, &[',']);
    let columns = request.kind().into_iter().flat_map(|kind| (kind.columns)());
    columns.map(|(title, field)| Candidate::open(format!("{field}="), title).behind(before)).collect()
}
