//! Things of the table by name, those of the owner that was named on the line.

use std::collections::BTreeSet;

use super::{
    Candidate, Request,
    sources::{self, by_name_and_vmid},
};
use crate::{
    client::path::segments,
    model::GuestKind,
    ops::{RESOURCES, Reach, Resource},
};

/// Guests of either kind.
pub(super) async fn guests(request: &Request) -> Vec<Candidate> {
    by_name_and_vmid(&sources::guests(request, None).await)
}

/// The things of a kind that is on a server alone, by name.
pub(super) async fn things(request: &Request, noun: &str) -> Vec<Candidate> {
    let Some(of) = RESOURCES.iter().find(|of| of.noun == noun) else { return Vec::new() };
    let Some(path) = path(request, of).await else { return Vec::new() };
    let mut names: BTreeSet<String> = BTreeSet::new();
    // Tokens stand within their users.
    let fields = if noun == "token" { &["userid", "tokens"][..] } else { of.keys };
    let rows = request.live.list(&path, of.list.1, fields).await;
    for row in (of.rows)(rows.into_iter().map(serde_json::Value::Object).collect()) {
        names.insert(of.name_of(&row));
    }
    names.into_iter().map(|name| Candidate::new(name, "")).collect()
}

/// Where they are listed, for the owner on the line; nowhere when that is none.
async fn path(request: &Request, of: &Resource) -> Option<String> {
    let mut known: Vec<(&str, String)> = Vec::new();
    let reach = if let Some(guest) = request.flag("guest") {
        let all = sources::guests(request, None).await;
        let found = all.into_iter().find(|one| one.vmid == guest || one.name == guest)?;
        let reach = if found.kind == Some(GuestKind::Qemu) { Reach::Vm } else { Reach::Container };
        known.extend([("node", found.node), ("vmid", found.vmid)]);
        reach
    } else if let Some(node) = request.flag("node").or_else(|| first_node(request, of)) {
        known.push(("node", node.to_owned()));
        Reach::Node
    } else if let Some(group) = request.flag("group") {
        known.push(("group", group.to_owned()));
        Reach::Group
    } else {
        Reach::Cluster
    };
    if let Some((flag, key)) = of.inside {
        known.extend(request.flag(flag).map(|name| (key, name.to_owned())));
    }
    let paths = of.reached().find(|(have, _)| *have == reach).map(|(_, paths)| paths)?;
    let mut parts = Vec::new();
    for part in paths.list.split('/').filter(|part| !part.is_empty()) {
        match part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
            Some(key) => parts.push(known.iter().find(|(have, _)| *have == key)?.1.as_str()),
            None => parts.push(part),
        }
    }
    Some(segments(&parts))
}

/// The node that stands first below `node`.
fn first_node<'r>(request: &'r Request, of: &Resource) -> Option<&'r str> {
    let is_below = request.path.first().is_some_and(|word| word == "node") && of.home == Reach::Node;
    if is_below { request.positionals().next() } else { None }
}
