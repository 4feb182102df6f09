//! Configuration keys of guests and their values, from the contract: booleans, fixed values, the keys of property
//! strings, and live ones where a format says what they are.
//!
//! Serves parameters of raw calls as well: a parameter is a parameter.

use std::collections::BTreeMap;

use super::{Candidate, Request, sources};
use crate::{
    contract::{Format, Kind as Type, Schema, embedded},
    model::{GuestKind, Method},
};

/// The guest kind of a command that has configuration flags.
fn guest_kind(path: &[String]) -> Option<GuestKind> {
    let verb = path.last()?;
    let kind = GuestKind::ALL.into_iter().find(|kind| path.iter().any(|word| word == kind.noun()))?;
    ["create", "update"].contains(&verb.as_str()).then_some(kind)
}

/// The declared parameters of a change of configuration.
fn declared(kind: GuestKind) -> impl Iterator<Item = (&'static str, &'static Schema)> {
    let path = format!("/nodes/{{node}}/{}/{{vmid}}/config", kind.api());
    let endpoint = embedded().endpoint(Method::Put, &path);
    let all = endpoint.into_iter().flat_map(|endpoint| &endpoint.parameters.properties);
    all.filter(|(name, _)| !OURS.contains(&name.as_str())).map(|(name, schema)| (name.as_str(), schema))
}

/// Parameters of the call that are no configuration.
const OURS: &[&str] = &["node", "vmid", "digest", "delete", "revert", "skiplock", "force", "background_delay"];

/// The schema of a key, also of a numbered one: `net0`.
fn schema(kind: GuestKind, key: &str) -> Option<&'static Schema> {
    let stem = key.trim_end_matches(|c: char| c.is_ascii_digit());
    let is_it = |name: &str| name == key || name.strip_suffix("[n]") == Some(stem);
    declared(kind).find(|(name, _)| is_it(name)).map(|(_, schema)| schema)
}

/// Whether an argument of a command is a configuration key.
pub(super) fn is_key(path: &[String], id: &str) -> bool {
    guest_kind(path)
        .is_some_and(|kind| schema(kind, id.trim_end_matches("[n]")).is_some() || schema(kind, id).is_some())
}

/// Every key, a numbered one with the number that stands in the word, else its first.
fn names<'a>(all: impl Iterator<Item = (&'a str, &'a Schema)>, word: &str) -> Vec<(String, &'a Schema)> {
    let name = |(name, schema): (&'a str, &'a Schema)| match name.strip_suffix("[n]") {
        Some(stem) => {
            let number: String =
                word.strip_prefix(stem).into_iter().flat_map(str::chars).take_while(char::is_ascii_digit).collect();
            (format!("{stem}{}", if number.is_empty() { "0" } else { &number }), schema)
        }
        None => (name.to_owned(), schema),
    };
    all.map(name).collect()
}

/// What a value is, in a few words.
fn about(schema: &Schema) -> String {
    if !schema.values.is_empty() {
        return schema.values.join(", ");
    }
    match (&schema.format, schema.kind) {
        (Some(Format::Inline(_)), _) => "property string".to_owned(),
        (Some(Format::Named(name)), _) => name.clone(),
        (None, kind) => kind.as_str().to_owned(),
    }
}

/// Keys, for `--unset`; several with commas.
pub(super) fn keys(request: &Request) -> Vec<Candidate> {
    let (before, last) = sources::last_of(&request.word, &[',']);
    let Some(kind) = guest_kind(&request.path) else { return Vec::new() };
    let keys = names(declared(kind), last).into_iter();
    keys.map(|(name, schema)| Candidate::new(name, about(schema)).behind(before)).collect()
}

/// `KEY=VALUE`, for `--set`.
pub(super) async fn pairs(request: &Request) -> Vec<Candidate> {
    let Some(kind) = guest_kind(&request.path) else { return Vec::new() };
    pairs_of(request, declared(kind)).await
}

/// `KEY=VALUE` of declared parameters.
pub(super) async fn pairs_of<'a>(
    request: &Request,
    all: impl Iterator<Item = (&'a str, &'a Schema)>,
) -> Vec<Candidate> {
    let names = names(all, &request.word);
    match request.word.split_once('=') {
        None => names.into_iter().map(|(name, schema)| Candidate::open(format!("{name}="), about(schema))).collect(),
        Some((key, word)) => {
            let Some((_, schema)) = names.iter().find(|(name, _)| name == key) else { return Vec::new() };
            let values = values(request, key, schema, word).await;
            values.into_iter().map(|value| value.behind(&format!("{key}="))).collect()
        }
    }
}

/// The value of a flag that is a configuration key.
pub(super) async fn value(request: &Request, key: &str, word: &str) -> Vec<Candidate> {
    let found = guest_kind(&request.path)
        .and_then(|kind| schema(kind, key.trim_end_matches("[n]")).or_else(|| schema(kind, key)));
    match found {
        Some(schema) => values(request, key, schema, word).await,
        None => Vec::new(),
    }
}

/// The values of a parameter, as far as the word is typed.
async fn values(request: &Request, key: &str, schema: &Schema, word: &str) -> Vec<Candidate> {
    if key == "tags" {
        return sources::tag_list(request, word).await;
    }
    match embedded_keys(schema) {
        Some(keys) => property(request, keys, word).await,
        None => single(request, key, schema).await,
    }
}

/// The keys of a property string that a schema declares.
fn embedded_keys(schema: &Schema) -> Option<&BTreeMap<String, Schema>> {
    match schema.format.as_ref()? {
        Format::Inline(keys) => Some(keys),
        Format::Named(name) => embedded().format(name),
    }
}

/// The next part of a property string: `bridge=`, a value after it, or a value that may stand without its key.
async fn property(request: &Request, keys: &BTreeMap<String, Schema>, word: &str) -> Vec<Candidate> {
    let (before, part) = sources::last_of(word, &[',']);
    if let Some((key, _)) = part.split_once('=') {
        let Some(schema) = keys.get(key) else { return Vec::new() };
        let start = format!("{before}{key}=");
        return single(request, key, schema).await.into_iter().map(|value| value.behind(&start)).collect();
    }
    let have: Vec<&str> = before.split(',').filter_map(|pair| pair.split('=').next()).collect();
    let mut found = Vec::new();
    if let Some((key, schema)) = keys.iter().find(|(_, schema)| schema.default_key).filter(|_| before.is_empty()) {
        found.extend(single(request, key, schema).await);
    }
    for (key, schema) in keys.iter().filter(|(key, schema)| schema.alias.is_none() && !have.contains(&key.as_str())) {
        found.push(Candidate::open(format!("{key}="), about(schema)));
    }
    found.into_iter().map(|candidate| candidate.behind(before)).collect()
}

/// A single value: one of a few, or live by what it is.
async fn single(request: &Request, key: &str, schema: &Schema) -> Vec<Candidate> {
    if !schema.values.is_empty() {
        let usual =
            schema.default.as_ref().map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned));
        let about = |value: &String| if usual.as_ref() == Some(value) { "default" } else { "" };
        return schema.values.iter().map(|value| Candidate::new(value, about(value))).collect();
    }
    if schema.kind == Type::Boolean {
        return vec![Candidate::new("1", "yes"), Candidate::new("0", "no")];
    }
    let format = match &schema.format {
        Some(Format::Named(name)) => name.as_str(),
        _ => "",
    };
    match (format, key) {
        ("pve-node", _) | (_, "node" | "target") => sources::nodes(request).await,
        ("pve-storage-id", _) | (_, "storage") => sources::storages(request, "").await,
        ("pve-vmid", _) => sources::vmids(request).await,
        ("pve-poolid", _) | (_, "pool") => sources::pools(request).await,
        ("pve-volume-id" | "pve-volume-id-or-qm-path" | "pve-lxc-mp-string", _) => {
            let content = if key == "volume" { "rootdir" } else { "images" };
            sources::volumes(request, content).await
        }
        (_, "bridge") => bridges(request).await,
        _ => Vec::new(),
    }
}

/// The bridges of the node that is named, else of the first one: they are alike where guests move.
async fn bridges(request: &Request) -> Vec<Candidate> {
    let first = async || sources::nodes(request).await.into_iter().next().map(|node| node.value);
    let node = match request.flag("node") {
        Some(node) => Some(node.to_owned()),
        None => first().await,
    };
    let Some(node) = node else { return Vec::new() };
    let path = crate::client::path::segments(&["nodes", &node, "network"]);
    let rows = request.live.list(&path, &[("type", "any_bridge")], &["iface", "comments"]).await;
    rows.iter().map(|row| Candidate::new(sources::text(row, "iface"), sources::text(row, "comments"))).collect()
}

/// `net0`, or behind a key the keys of its property string: `net0.bridge`.
pub(super) fn explained(kind: GuestKind, word: &str) -> Vec<Candidate> {
    let Some((key, _)) = word.split_once('.') else {
        let keys = names(declared(kind), word).into_iter();
        return keys.map(|(name, schema)| Candidate::new(name, about(schema))).collect();
    };
    let keys = schema(kind, key).and_then(embedded_keys).into_iter().flatten();
    keys.map(|(name, schema)| Candidate::new(format!("{key}.{name}"), about(schema))).collect()
}
