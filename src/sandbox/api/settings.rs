//! What is set once for the cluster or for a node, and what else a node is told: kept as it was given, without effect.

use serde_json::{Map, Value, json};

use super::{Context, Reply, Route, machine::order};
use crate::{
    model::Method::{Delete, Get, Post, Put},
    sandbox::world::{Thing, hash, seconds, task::Order},
    server::{Fault, fingerprint},
};

pub(super) const TABLE: &[Route] = &[
    (Get, "/cluster/options", options),
    (Put, "/cluster/options", set_options),
    (Get, "/nodes/{node}/config", config),
    (Put, "/nodes/{node}/config", set_config),
    (Get, "/nodes/{node}/dns", dns),
    (Put, "/nodes/{node}/dns", set_dns),
    (Get, "/nodes/{node}/time", time),
    (Put, "/nodes/{node}/time", set_time),
    (Post, "/nodes/{node}/apt/update", look_for_updates),
    (Get, "/nodes/{node}/disks/smart", smart),
    (Post, "/nodes/{node}/certificates/custom", set_certificate),
    (Delete, "/nodes/{node}/certificates/custom", remove_certificate),
    (Post, "/nodes/{node}/certificates/acme/certificate", |context| acme(context, "acmenewcert")),
    (Put, "/nodes/{node}/certificates/acme/certificate", |context| acme(context, "acmerenew")),
    (Delete, "/nodes/{node}/certificates/acme/certificate", |context| acme(context, "acmerevoke")),
];

/// Options that the server takes apart before it tells them.
const PARTS: [&str; 8] = ["bwlimit", "crs", "ha", "migration", "next-id", "notify", "replication", "webauthn"];
/// Keys that are numbers on the wire.
const NUMBERS: [&str; 4] = ["max_workers", "ballooning-target", "startall-onboot-delay", "migration_unsecure"];

/// The key under which something of the cluster, or of the node in the path, is kept.
fn place(context: &Context<'_>, what: &str) -> Result<String, Fault> {
    let node = if context.request.template.contains("{node}") { context.node()? } else { String::new() };
    Ok(format!("settings {what} {node}"))
}

fn kept(context: &Context<'_>, what: &str) -> Result<Thing, Fault> {
    Ok(context.world.things.get(place(context, what)?.as_str()).cloned().unwrap_or_default())
}

/// Takes over what a request says.
fn change(context: &mut Context<'_>, what: &str, mut thing: Thing) -> Result<Reply, Fault> {
    let given = context.request.params.iter().filter(|(key, _)| !["node", "delete", "digest"].contains(key));
    thing.extend(given.map(|(key, value)| (key.to_owned(), vec![value.to_owned()])));
    for gone in context.list("delete") {
        thing.remove(gone);
    }
    let place = place(context, what)?;
    context.world.things.insert(place, thing);
    Ok(Reply::null())
}

fn wire(thing: &Thing) -> Map<String, Value> {
    let value = |key: &str, text: &str| match text.parse::<u64>() {
        Ok(number) if NUMBERS.contains(&key) => number.into(),
        _ if PARTS.contains(&key) => {
            let parts = text.split(',').filter_map(|part| part.split_once('='));
            Value::Object(parts.map(|(key, value)| (key.to_owned(), value.into())).collect())
        }
        _ => text.into(),
    };
    let first = |values: &Vec<String>| values.first().cloned().unwrap_or_default();
    thing.iter().map(|(key, values)| (key.clone(), value(key, &first(values)))).collect()
}

fn options(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let mut data = json!({"mac_prefix": "BC:24:11", "description": "", "allowed-tags": []});
    if let Some(map) = data.as_object_mut() {
        map.extend(wire(&kept(context, "cluster")?));
    }
    Ok(Reply::data(data))
}

fn set_options(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let thing = kept(context, "cluster")?;
    change(context, "cluster", thing)
}

fn digest(thing: &Thing) -> String {
    hash(&format!("{thing:?}"))[..40].to_owned()
}

fn config(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let thing = kept(context, "config")?;
    let mut data = wire(&thing);
    data.insert("digest".into(), digest(&thing).into());
    Ok(Reply::data(Value::from(data)))
}

fn set_config(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let thing = kept(context, "config")?;
    context.unchanged(&digest(&thing))?;
    change(context, "config", thing)
}

fn dns(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let thing = kept(context, "dns")?;
    let data =
        if thing.is_empty() { json!({"dns1": "10.99.0.53", "search": "example.org"}) } else { wire(&thing).into() };
    Ok(Reply::data(data))
}

/// The file is written anew, with what the request says.
fn set_dns(context: &mut Context<'_>) -> Result<Reply, Fault> {
    change(context, "dns", Thing::new())
}

fn time(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let thing = kept(context, "time")?;
    let now = seconds(context.now);
    let zone = thing.get("timezone").and_then(|zones| zones.first()).map_or("UTC", String::as_str);
    Ok(Reply::data(json!({"time": now, "localtime": now, "timezone": zone})))
}

fn set_time(context: &mut Context<'_>) -> Result<Reply, Fault> {
    change(context, "time", Thing::new())
}

/// Begins a task of the node that says one line and has no effect.
fn begin(context: &mut Context<'_>, kind: &'static str, line: &str) -> Result<Reply, Fault> {
    let node = context.node()?;
    let order = order(context, &node, kind, String::new(), 400);
    Ok(context.begin(Order { script: vec![(0.5, line.to_owned())], ..order }))
}

fn look_for_updates(context: &mut Context<'_>) -> Result<Reply, Fault> {
    begin(context, "aptupdate", "starting apt-get update")
}

fn smart(context: &mut Context<'_>) -> Result<Reply, Fault> {
    context.node()?;
    let disk = context.need("disk")?;
    if !disk.starts_with("/dev/nvme") {
        return Err(Fault::die("not a valid block device"));
    }
    let text = "\nSMART/Health Information (NVMe Log 0x02)\nCritical Warning:                   0x00\n\
                Temperature:                        38 Celsius\nPercentage Used:                    2%\n";
    Ok(Reply::data(json!({"health": "PASSED", "type": "text", "text": text})))
}

/// The certificate of its own that a node's web server has: never looked into.
pub(super) fn certificate(context: &Context<'_>) -> Result<Option<Value>, Fault> {
    let thing = kept(context, "certificate")?;
    Ok(thing
        .get("certificates")
        .and_then(|texts| texts.first())
        .map(|text| json!({"filename": "pveproxy-ssl.pem", "fingerprint": fingerprint(text.as_bytes()), "pem": text})))
}

const EXISTS: &str = "Custom certificate exists but 'force' is not set.";

fn set_certificate(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let thing = kept(context, "certificate")?;
    if !thing.is_empty() && !context.flag("force") {
        return Err(Fault::parameter("force", EXISTS));
    }
    let text = context.need("certificates")?.to_owned();
    let place = place(context, "certificate")?;
    context.world.things.insert(place, Thing::from([("certificates".to_owned(), vec![text])]));
    Ok(Reply::data(certificate(context)?.unwrap_or_default()))
}

fn remove_certificate(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let place = place(context, "certificate")?;
    context.world.things.remove(place.as_str());
    Ok(Reply::null())
}

/// Nobody is asked; what a node must have before is looked for.
fn acme(context: &mut Context<'_>, kind: &'static str) -> Result<Reply, Fault> {
    if kind == "acmenewcert" && certificate(context)?.is_some() && !context.flag("force") {
        return Err(Fault::parameter("force", EXISTS));
    }
    if !kept(context, "config")?.keys().any(|key| key.starts_with("acme")) {
        return Err(Fault::parameter("node", "ACME domain list in node configuration is missing!"));
    }
    begin(context, kind, "Loading ACME account details")
}
