//! Definitions that are kept as they were given, and do nothing here: realms, rules of HA, mappings of devices.
//!
//! Each area is an entry of a table; the words for what is missing are the server's as far as they are recorded.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{Context, Reply, Route};
use crate::{
    model::{
        List,
        Method::{Delete, Get, Post, Put},
    },
    sandbox::world::{Thing, hash},
    server::{Fault, access::REALMS},
};

pub(super) const TABLE: &[Route] = &[
    (Get, "/access/domains", list),
    (Post, "/access/domains", create),
    (Get, "/access/domains/{realm}", |context| one(context).map(Reply::data)),
    (Put, "/access/domains/{realm}", update),
    (Delete, "/access/domains/{realm}", remove),
    (Get, "/cluster/ha/rules", list),
    (Post, "/cluster/ha/rules", create),
    (Get, "/cluster/ha/rules/{rule}", |context| one(context).map(Reply::data)),
    (Put, "/cluster/ha/rules/{rule}", update),
    (Delete, "/cluster/ha/rules/{rule}", remove),
    (Get, "/cluster/metrics/server", list),
    (Post, "/cluster/metrics/server/{id}", create),
    (Get, "/cluster/metrics/server/{id}", |context| one(context).map(Reply::data)),
    (Put, "/cluster/metrics/server/{id}", update),
    (Delete, "/cluster/metrics/server/{id}", remove),
    (Get, "/cluster/mapping/pci", list),
    (Post, "/cluster/mapping/pci", create),
    (Get, "/cluster/mapping/pci/{id}", |context| one(context).map(Reply::data)),
    (Put, "/cluster/mapping/pci/{id}", update),
    (Delete, "/cluster/mapping/pci/{id}", remove),
    (Get, "/cluster/mapping/usb", list),
    (Post, "/cluster/mapping/usb", create),
    (Get, "/cluster/mapping/usb/{id}", |context| one(context).map(Reply::data)),
    (Put, "/cluster/mapping/usb/{id}", update),
    (Delete, "/cluster/mapping/usb/{id}", remove),
    (Get, "/cluster/mapping/dir", list),
    (Post, "/cluster/mapping/dir", create),
    (Get, "/cluster/mapping/dir/{id}", |context| one(context).map(Reply::data)),
    (Put, "/cluster/mapping/dir/{id}", update),
    (Delete, "/cluster/mapping/dir/{id}", remove),
];

/// What one area has.
struct Area {
    /// Where its list is.
    path: &'static str,
    /// The parameter that names one.
    key: &'static str,
    /// What stands before the name where there is no such one.
    noun: &'static str,
    /// Keys of a list's rows; none for all.
    listed: &'static [&'static str],
    /// A key that every row has, and its value.
    fixed: Option<(&'static str, &'static str)>,
}

const AREAS: &[Area] = &[
    Area {
        path: "/access/domains",
        key: "realm",
        noun: "domain",
        listed: &["realm", "type", "comment", "tfa", "default"],
        fixed: None,
    },
    Area { path: "/cluster/ha/rules", key: "rule", noun: "HA rule", listed: &[], fixed: None },
    Area {
        path: "/cluster/metrics/server",
        key: "id",
        noun: "Metric server",
        listed: &["id", "type", "server", "port", "disable"],
        fixed: None,
    },
    Area { path: "/cluster/mapping/pci", key: "id", noun: "mapping", listed: &[], fixed: Some(("type", "pci")) },
    Area { path: "/cluster/mapping/usb", key: "id", noun: "mapping", listed: &[], fixed: Some(("type", "usb")) },
    Area { path: "/cluster/mapping/dir", key: "id", noun: "mapping", listed: &[], fixed: Some(("type", "dir")) },
];

/// Keys that are numbers on the wire.
const NUMBERS: [&str; 8] =
    ["port", "default", "disable", "strict", "mdev", "live-migration-capable", "autocreate", "verify"];
/// Keys that are lists on the wire.
const LISTS: [&str; 1] = ["map"];
/// Parameters that are nothing a thing has.
const OTHER: [&str; 7] = ["delete", "digest", "password", "client-key", "token", "otel-headers", "check-connection"];

fn area(context: &Context<'_>) -> Result<&'static Area, Fault> {
    let template: &str = context.request.template;
    AREAS.iter().find(|area| template.starts_with(area.path)).ok_or_else(|| Fault::die("no such area"))
}

/// The key under which one is kept.
fn kept(area: &Area, name: &str) -> String {
    format!("{} {name}", area.path)
}

fn row(context: &Context<'_>, area: &Area, name: &str, thing: &Thing) -> Map<String, Value> {
    let mut row = Map::from_iter([(area.key.to_owned(), name.into())]);
    row.extend(area.fixed.map(|(key, value)| (key.to_owned(), value.into())));
    for (key, values) in thing {
        let first = values.first().map(String::as_str).unwrap_or_default();
        let value = match first.parse::<u64>() {
            _ if LISTS.contains(&key.as_str()) => values.clone().into(),
            Ok(number) if NUMBERS.contains(&key.as_str()) => number.into(),
            _ => first.into(),
        };
        row.insert(key.clone(), value);
    }
    row.insert("digest".into(), digest(context, area).into());
    row
}

/// All of an area, by name; two realms are there from the beginning.
fn things(context: &Context<'_>, area: &Area) -> BTreeMap<String, Thing> {
    let prefix = kept(area, "");
    let own = context.world.things.iter();
    let own = own.filter_map(|(key, thing)| Some((key.strip_prefix(&prefix)?.to_owned(), thing.clone())));
    let built_in = REALMS.iter().filter(|_| area.key == "realm").map(|(name, kind, comment)| {
        let keys = [("type", kind), ("comment", comment)];
        ((*name).to_owned(), keys.map(|(key, value)| (key.to_owned(), vec![(*value).to_owned()])).into())
    });
    built_in.chain(own).collect()
}

fn digest(context: &Context<'_>, area: &Area) -> String {
    hash(&things(context, area).iter().map(|(name, thing)| format!("{name} {thing:?}\n")).collect::<String>())[..40]
        .to_owned()
}

fn list(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let area = area(context)?;
    let wanted =
        |thing: &Thing| context.param("type").is_none_or(|kind| thing.get("type").is_some_and(|have| have[0] == kind));
    let all = things(context, area);
    let rows = all.iter().filter(|(_, thing)| wanted(thing)).map(|(name, thing)| {
        let mut row = row(context, area, name, thing);
        row.retain(|key, _| area.listed.is_empty() || area.listed.contains(&key.as_str()));
        Value::from(row)
    });
    Ok(Reply::data(rows.collect::<Vec<_>>()))
}

/// The one in the request, with its area and name.
fn find(context: &Context<'_>) -> Result<(&'static Area, String, Thing), Fault> {
    let area = area(context)?;
    let name = context.need(area.key)?;
    let thing = things(context, area).remove(name);
    let thing = thing.ok_or_else(|| Fault::die(format!("{} '{name}' does not exist", area.noun)))?;
    Ok((area, name.to_owned(), thing))
}

fn one(context: &mut Context<'_>) -> Result<Value, Fault> {
    let (area, name, thing) = find(context)?;
    let mut row = row(context, area, &name, &thing);
    // What stands in the path is not repeated where the recorded server does not.
    if area.key == "realm" {
        row.remove(area.key);
    }
    Ok(row.into())
}

/// Takes over what a request says.
fn take_over(context: &Context<'_>, area: &Area, thing: &mut Thing) {
    let mut given = Thing::new();
    for (key, value) in context.request.params.iter() {
        // A rule that is off is turned on by unsetting that, and by nothing else.
        let is_deaf = area.key == "rule" && (key, value) == ("disable", "0");
        if key != area.key && !OTHER.contains(&key) && !is_deaf {
            given.entry(key.to_owned()).or_default().push(value.to_owned());
        }
    }
    thing.extend(given);
    for gone in context.list("delete") {
        thing.remove(gone);
    }
}

fn create(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let area = area(context)?;
    let name = context.need(area.key)?;
    let key = kept(area, name);
    if things(context, area).contains_key(name) {
        return Err(Fault::die(format!("{} '{name}' already exists", area.noun)));
    }
    let mut thing = Thing::new();
    take_over(context, area, &mut thing);
    check_rule(context, area, &thing)?;
    context.world.things.insert(key, thing);
    Ok(Reply::null())
}

fn update(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let (area, name, mut thing) = find(context)?;
    context.unchanged(&digest(context, area))?;
    take_over(context, area, &mut thing);
    check_rule(context, area, &thing)?;
    context.world.things.insert(kept(area, &name), thing);
    Ok(Reply::null())
}

fn remove(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let (area, name, _) = find(context)?;
    if area.key == "realm" && REALMS.iter().any(|(have, ..)| *have == name) {
        return Err(Fault::die(format!("cannot remove built-in realm '{name}'")));
    }
    context.world.things.remove(kept(area, &name).as_str());
    Ok(Reply::null())
}

/// Refuses a rule of HA about what is not under HA, or for nodes that there are not.
fn check_rule(context: &Context<'_>, area: &Area, thing: &Thing) -> Result<(), Fault> {
    if area.key != "rule" {
        return Ok(());
    }
    let list =
        |key: &str| thing.get(key).into_iter().flatten().flat_map(|list| List::members(list)).collect::<Vec<_>>();
    let resources = list("resources");
    let unmanaged: Vec<&str> = resources.iter().copied().filter(|name| !context.world.ha.has(*name)).collect();
    if !unmanaged.is_empty() {
        return Err(Fault::die(format!("cannot use unmanaged resource(s) {}.", unmanaged.join(", "))));
    }
    let name = |node: &'_ str| node.split(':').next().unwrap_or_default().to_owned();
    let missing: Vec<String> =
        list("nodes").into_iter().map(name).filter(|node| !context.world.nodes.has(node.as_str())).collect();
    if !missing.is_empty() {
        return Err(Fault::die(format!("cannot use non-existent node(s) {}.", missing.join(", "))));
    }
    Ok(())
}

/// Takes a resource out of HA's rules; one that was about it alone goes.
pub(super) fn forget_resource(context: &mut Context<'_>, name: &str) {
    let prefix = "/cluster/ha/rules ";
    let rules: Vec<(String, Thing)> = context
        .world
        .things
        .iter()
        .filter(|(key, _)| key.starts_with(prefix))
        .map(|(key, thing)| (key.clone(), thing.clone()))
        .collect();
    for (key, mut thing) in rules {
        let named = thing.get("resources").and_then(|list| list.first()).cloned().unwrap_or_default();
        let left: Vec<&str> = List::members(&named).filter(|one| *one != name).collect();
        match left.join(",") {
            left if left.is_empty() => drop(context.world.things.remove(key.as_str())),
            left => {
                thing.insert("resources".into(), vec![left]);
                context.world.things.insert(key, thing);
            }
        }
    }
}
