//! Configuration keys of guests and their values, from the contract: booleans, fixed values, the keys of property
//! strings, and live ones where a format says what they are.
//!
//! Serves parameters of raw calls as well: a parameter is a parameter.

use super::{Candidate, Request, files, sources, volumes};
use crate::{
    contract::{Endpoint, Format, Keys, Kind as Type, Schema, embedded},
    model::{GuestKind, Method},
};

/// The guest kind of a command that has configuration flags.
fn guest_kind(path: &[String]) -> Option<GuestKind> {
    let verb = path.last()?;
    let kind = GuestKind::ALL.into_iter().find(|kind| path.iter().any(|word| word == kind.noun()))?;
    ["create", "update"].contains(&verb.as_str()).then_some(kind)
}

/// The method that makes or changes a guest of the kind.
fn method(path: &[String], kind: GuestKind) -> Option<&'static Endpoint> {
    let creates = path.last().is_some_and(|verb| verb == "create");
    embedded().configuring(kind).find(|endpoint| (endpoint.method == Method::Put) != creates)
}

/// Its parameters that are configuration.
fn declared(path: &[String]) -> impl Iterator<Item = (&'static str, &'static Schema)> {
    let method = guest_kind(path).and_then(|kind| method(path, kind));
    let all = method.into_iter().flat_map(|method| &method.parameters.properties);
    all.filter(|(name, _)| !NO_KEYS.contains(&name.as_str())).map(|(name, schema)| (name.as_str(), schema))
}

/// Parameters of these methods that are no configuration.
const NO_KEYS: &[&str] = &["node", "vmid", "digest", "delete", "revert", "skiplock", "force", "background_delay"];

/// The schema of a key, also of a numbered one: `net0`, and `net` for any of them.
fn schema(path: &[String], key: &str) -> Option<&'static Schema> {
    let key = key.trim_end_matches("[n]");
    let parameters = &method(path, guest_kind(path)?)?.parameters;
    parameters.get(key).or_else(|| parameters.get(&format!("{key}0"))).filter(|_| !NO_KEYS.contains(&key))
}

/// Whether an argument of a command is a configuration key.
pub(super) fn is_key(path: &[String], id: &str) -> bool {
    schema(path, id).is_some()
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
        (Some(Format::Keys(_)), _) => "property string".to_owned(),
        (Some(Format::Named(name)), _) => name.clone(),
        (None, kind) => kind.as_str().to_owned(),
    }
}

/// Keys, for `--unset`; several with commas.
pub(super) fn keys(request: &Request) -> Vec<Candidate> {
    let (before, last) = sources::last_of(&request.word, &[',']);
    let keys = names(declared(&request.path), last).into_iter();
    keys.map(|(name, schema)| Candidate::new(name, about(schema)).behind(before)).collect()
}

/// `KEY=VALUE`, for `--set`.
pub(super) async fn pairs(request: &Request) -> Vec<Candidate> {
    pairs_of(request, declared(&request.path)).await
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
            let values = match files::behind_at(request, word).await {
                Some(files) => files,
                None => values(request, key, schema, word).await,
            };
            values.into_iter().map(|value| value.behind(&format!("{key}="))).collect()
        }
    }
}

/// The value of a flag that is a configuration key.
pub(super) async fn value(request: &Request, key: &str, word: &str) -> Vec<Candidate> {
    match (schema(&request.path, key), files::behind_at(request, word).await) {
        (Some(_), Some(files)) => files,
        (Some(schema), None) => values(request, key, schema, word).await,
        (None, _) => Vec::new(),
    }
}

/// The values of a parameter, as far as the word is typed.
async fn values(request: &Request, key: &str, schema: &Schema, word: &str) -> Vec<Candidate> {
    if key == "tags" {
        return sources::tag_list(request, word).await;
    }
    match schema.keys() {
        Some(keys) => property(request, keys, word).await,
        None => single(request, key, schema).await,
    }
}

/// The next part of a property string: `bridge=`, a value after it, or a value that may stand without its key.
async fn property(request: &Request, keys: &Keys, word: &str) -> Vec<Candidate> {
    let (before, part) = sources::last_of(word, &[',']);
    if let Some((key, _)) = part.split_once('=') {
        let Some(schema) = keys.get(key) else { return Vec::new() };
        let start = format!("{before}{key}=");
        return single(request, key, schema).await.into_iter().map(|value| value.behind(&start)).collect();
    }
    // The one part there is needs no name: `--memory 4096`.
    if let [(key, schema)] = keys.iter().collect::<Vec<_>>().as_slice()
        && schema.default_key
    {
        return single(request, key, schema).await;
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
        let usual = schema.default_text();
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
        ("pve-storage-id", _) | (_, "storage") => volumes::storages(request, "").await,
        ("pve-vmid", _) => sources::vmids(request).await,
        ("pve-poolid", _) | (_, "pool") => sources::pools(request).await,
        ("pve-volume-id" | "pve-volume-id-or-qm-path" | "pve-lxc-mp-string", _) => {
            let content = if key == "volume" { "rootdir" } else { "images" };
            volumes::volumes(request, content).await
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
    let method = embedded().configuring(kind).next();
    let Some((key, _)) = word.split_once('.') else {
        let all = method.into_iter().flat_map(|method| &method.parameters.properties);
        let keys = names(all.map(|(name, schema)| (name.as_str(), schema)), word).into_iter();
        let keys = keys.filter(|(name, _)| !NO_KEYS.contains(&name.as_str()));
        return keys.map(|(name, schema)| Candidate::new(name, about(schema))).collect();
    };
    let schema =
        method.and_then(|method| method.parameters.get(key).or_else(|| method.parameters.get(&format!("{key}0"))));
    let keys = schema.and_then(Schema::keys).into_iter().flatten();
    keys.map(|(name, schema)| Candidate::new(format!("{key}.{name}"), about(schema))).collect()
}
