//! Paths of the API, segment by segment: fixed ones from the contract's templates, names from the server's own lists.
//!
//! A list is asked for only where the template has a name in braces and the path above it can be read.

use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;

use super::{Candidate, Request, config, sources};
use crate::{
    cli::kinds::KINDS,
    client::path::segments,
    contract::embedded,
    model::{GuestKind, Method},
};

/// The methods and the commands that call them.
const METHODS: &[(&str, Method)] =
    &[("get", Method::Get), ("post", Method::Post), ("put", Method::Put), ("delete", Method::Delete)];

/// The fields by which a list names its members, beside one that is called as the name in the path.
const NAMES: &[&str] = &["name", "id", "volid", "iface"];

/// What a list's fields are read for: names, then what each is.
const FIELDS: &[&str] = &[
    "node",
    "vmid",
    "storage",
    "upid",
    "poolid",
    "userid",
    "groupid",
    "roleid",
    "realm",
    "tokenid",
    "volid",
    "iface",
    "name",
    "id",
    "status",
    "comment",
    "description",
    "type",
];

fn split(path: &str) -> Vec<&str> {
    path.split('/').filter(|segment| !segment.is_empty()).collect()
}

fn braced(segment: &str) -> Option<&str> {
    segment.strip_prefix('{')?.strip_suffix('}')
}

/// Whether a template begins with these segments: a name in braces stands for any.
fn begins(template: &[&str], typed: &[&str]) -> bool {
    template.len() >= typed.len() && template.iter().zip(typed).all(|(t, s)| t == s || braced(t).is_some())
}

/// The next segments after those typed: each with whether more can follow.
fn next_segments(typed: &[&str], method: Option<Method>) -> BTreeMap<&'static str, bool> {
    let mut found = BTreeMap::new();
    for (_, template) in embedded().templates().filter(|(have, _)| method.is_none_or(|wanted| wanted == *have)) {
        let template = split(template);
        if !begins(&template, typed) {
            continue;
        }
        // A fixed segment that was typed is that and no name: `/nodes/pve1/qemu` and not `/nodes/{node}/{x}`.
        if let Some(next) = template.get(typed.len()) {
            *found.entry(*next).or_insert(false) |= template.len() > typed.len() + 1;
        }
    }
    found
}

/// The method that is meant: the command's, if it is one.
fn method(request: &Request) -> Option<Method> {
    METHODS.iter().find(|(name, _)| *name == request.verb()).map(|(_, method)| *method)
}

/// `/nodes/pve1/qe…`: what the next segment can be.
pub(super) async fn paths(request: &Request) -> Vec<Candidate> {
    let (before, _) = sources::last_of(&request.word, &['/']);
    let before = if before.is_empty() { "/" } else { before };
    let typed = split(before);
    let mut found = Vec::new();
    for (segment, more) in next_segments(&typed, method(request)) {
        let candidate = |value: &str, about: String| match more {
            true => Candidate::open(format!("{before}{value}/"), about),
            false => Candidate::new(format!("{before}{value}"), about),
        };
        match braced(segment) {
            None => found.push(candidate(segment, String::new())),
            Some(name) => {
                let names = members(request, &typed, name).await;
                found.extend(names.into_iter().map(|member| candidate(&member.value, member.about)));
            }
        }
    }
    found
}

/// The members of the list at a path, by the name that the template gives them.
async fn members(request: &Request, typed: &[&str], name: &str) -> Vec<Candidate> {
    let decoded: Vec<String> =
        typed.iter().map(|segment| percent_decode_str(segment).decode_utf8_lossy().into_owned()).collect();
    // Guests are known by name elsewhere too; one list of them is enough.
    if let ("vmid", Some(kind)) = (name, GuestKind::ALL.iter().find(|kind| typed.last() == Some(&kind.api()))) {
        let guests = sources::guests(request, Some(*kind)).await;
        let here = guests.iter().filter(|guest| Some(&guest.node) == decoded.get(1));
        return here.map(sources::Guest::as_vmid).collect();
    }
    let path = segments(&decoded);
    // Where the list wants parameters of its own, nobody can ask for it like this.
    let can_ask = embedded().find(Method::Get, &path).is_some_and(|found| {
        let needed = found.endpoint.parameters.properties.iter().filter(|(_, schema)| !schema.optional);
        needed.map(|(key, _)| key).all(|key| found.path_params.get(key).is_some())
    });
    if !can_ask {
        return Vec::new();
    }
    let rows = request.live.list(&path, &[], FIELDS).await;
    let member = |row: &super::live::Row| {
        let field = std::iter::once(&name).chain(NAMES).find(|field| row.contains_key(**field))?;
        let about = ["status", "comment", "description", "type"].into_iter().find(|field| row.contains_key(*field));
        let about = about.map_or_else(String::new, |field| sources::text(row, field).into_owned());
        let shown = row.get("name").filter(|_| *field != "name").and_then(|name| name.as_str()).map(str::to_owned);
        let about = [shown.unwrap_or_default(), about].into_iter().filter(|part| !part.is_empty());
        Some(Candidate::new(sources::text(row, field), about.collect::<Vec<_>>().join(", ")))
    };
    // The server's word for "now" stands among the snapshots.
    rows.iter().filter_map(member).filter(|member| !member.value.is_empty() && member.value != "current").collect()
}

/// `-p name=`: the parameters of the method that was typed before.
pub(super) async fn params(request: &Request) -> Vec<Candidate> {
    let Some(path) = request.positionals().find(|word| word.starts_with('/')) else { return Vec::new() };
    let method = method(request).unwrap_or(Method::Get);
    let Some(found) = embedded().find(method, path) else { return Vec::new() };
    let properties = found.endpoint.parameters.properties.iter();
    let own = properties.filter(|(name, _)| found.path_params.get(name).is_none());
    config::pairs_of(request, own.map(|(name, schema)| (name.as_str(), schema))).await
}

/// `vm.net0.bridge`, or a path as the contract spells it and then a method.
pub(super) fn explain(request: &Request) -> Vec<Candidate> {
    if let Some(path) = request.positionals().find(|word| word.starts_with('/')) {
        let has = |method: Method| embedded().find(method, path).is_some();
        let methods = METHODS.iter().filter(|(_, method)| has(*method));
        return methods.map(|(name, _)| Candidate::new(*name, "")).collect();
    }
    if request.word.starts_with('/') {
        let (before, _) = sources::last_of(&request.word, &['/']);
        let next = next_segments(&split(before), None).into_iter();
        return next
            .map(|(segment, more)| Candidate { open: more, ..Candidate::new(format!("{before}{segment}"), "") })
            .collect();
    }
    match request.word.split_once('.') {
        None => {
            let guests = KINDS.iter().filter(|kind| kind.guest.is_some());
            let kinds = guests.map(|kind| Candidate::open(format!("{}.", kind.noun), kind.about));
            kinds.chain([Candidate::open("/", "a path of the API")]).collect()
        }
        Some((noun, word)) => {
            let kind = KINDS.iter().find(|kind| kind.is_called(noun)).and_then(|kind| kind.guest);
            kind.map(|kind| config::explained(kind, word))
                .unwrap_or_default()
                .into_iter()
                .map(|c| c.behind(&format!("{noun}.")))
                .collect()
        }
    }
}
