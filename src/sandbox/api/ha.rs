//! HA: which guests are under it, how they are to be, and how they are.
//!
//! What HA does is in the world; the tasks by which it is told are those of the power verbs.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{Context, Reply, Route, index};
use crate::{
    model::{
        GuestKind,
        Method::{Delete, Get, Post, Put},
    },
    sandbox::world::{
        guest::Guest,
        ha::{Service, sid},
    },
    server::Fault,
};

pub(super) const TABLE: &[Route] = &[
    (Get, "/cluster/ha", |_| Ok(index("id", &["status", "resources", "rules"]))),
    (Get, "/cluster/ha/resources", list),
    (Post, "/cluster/ha/resources", create),
    (Get, "/cluster/ha/resources/{sid}", |context| one(context).map(Reply::data)),
    (Put, "/cluster/ha/resources/{sid}", update),
    (Delete, "/cluster/ha/resources/{sid}", remove),
    (Get, "/cluster/ha/status", |_| Ok(index("name", &["current"]))),
    (Get, "/cluster/ha/status/current", current),
];

/// What a definition has beside its state.
const KEYS: [&str; 5] = ["comment", "failback", "group", "max_relocate", "max_restart"];

/// The name of the guest in the request: `vm:100`, or `100`.
fn named(context: &Context<'_>) -> Result<(String, Option<u32>), Fault> {
    let text = context.need("sid")?;
    let vmid = text.rsplit(':').next().and_then(|number| number.parse::<u32>().ok());
    let kind = vmid.and_then(|vmid| context.world.guests.get(&vmid)).map(|guest| guest.kind);
    Ok(match (text.contains(':'), kind, vmid) {
        (false, Some(kind), Some(vmid)) => (sid(kind, vmid), Some(vmid)),
        (false, None, Some(vmid)) => (sid(GuestKind::Qemu, vmid), Some(vmid)),
        _ => (text.to_owned(), vmid),
    })
}

fn guest<'c>(context: &'c Context<'_>, name: &str) -> Option<&'c Guest> {
    let (_, vmid) = name.split_once(':')?;
    context.world.guests.get(&vmid.parse().ok()?).filter(|guest| sid(guest.kind, guest.vmid) == name)
}

fn row(context: &Context<'_>, name: &str, service: &Service) -> Value {
    let mut row = Map::new();
    row.insert("sid".into(), name.into());
    row.insert("type".into(), name.split(':').next().unwrap_or_default().into());
    row.insert("state".into(), service.request.as_str().into());
    for (key, value) in &service.keys {
        row.insert(key.clone(), value.parse::<u64>().map_or_else(|_| value.as_str().into(), Value::from));
    }
    row.insert("digest".into(), digest(context).into());
    row.into()
}

/// The digest of the file that all definitions stand in.
fn digest(context: &Context<'_>) -> String {
    let all = context.world.ha.iter().map(|(name, service)| format!("{name} {} {:?}\n", service.request, service.keys));
    crate::sandbox::world::hash(&all.collect::<String>())[..40].to_owned()
}

fn list(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let wanted = |name: &&String| context.param("type").is_none_or(|kind| name.starts_with(&format!("{kind}:")));
    let services = context.world.ha.iter().filter(|(name, _)| wanted(name));
    Ok(Reply::data(services.map(|(name, service)| row(context, name, service)).collect::<Vec<_>>()))
}

fn one(context: &mut Context<'_>) -> Result<Value, Fault> {
    let (name, _) = named(context)?;
    let service = context.world.ha.get(&name);
    service.map(|service| row(context, &name, service)).ok_or_else(|| Fault::die(format!("no such resource '{name}'")))
}

/// `enabled` is an old word.
fn asked(state: &str) -> &str {
    if state == "enabled" { "started" } else { state }
}

fn create(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let (name, _) = named(context)?;
    if guest(context, &name).is_none() {
        return Err(Fault::die(format!("resource '{name}' does not exists in cluster")));
    }
    if context.world.ha.has(&name) {
        return Err(Fault::die(format!("create resource failed: resource ID '{name}' already defined")));
    }
    let keys = KEYS.iter().filter_map(|key| Some(((*key).to_owned(), context.param(key)?.to_owned())));
    let keys: BTreeMap<String, String> = keys.collect();
    let request = asked(context.param("state").unwrap_or("started")).to_owned();
    let service = Service { request: request.clone(), keys, state: None, failed: 0, work: None };
    context.world.ha.insert(name.clone(), service);
    context.world.tell_ha(&name, &request, false, context.now);
    Ok(Reply::null())
}

fn update(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let (name, _) = named(context)?;
    context.unchanged(&digest(context))?;
    let state = context.param("state").map(asked).map(str::to_owned);
    let gone: Vec<&str> = context.param("delete").into_iter().flat_map(|list| list.split(',')).collect();
    let set = KEYS.iter().filter_map(|key| Some((*key, context.param(key)?.to_owned()))).collect::<Vec<_>>();
    let service = context.world.ha.edit(&name).ok_or_else(|| Fault::die(format!("no such resource '{name}'")))?;
    service.keys.retain(|key, _| !gone.contains(&key.as_str()));
    service.keys.extend(set.into_iter().map(|(key, value)| (key.to_owned(), value)));
    if let Some(state) = state {
        context.world.tell_ha(&name, &state, false, context.now);
    }
    Ok(Reply::null())
}

fn remove(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let (name, _) = named(context)?;
    if context.world.ha.remove(&name).is_none() {
        return Err(Fault::die(format!("cannot delete service '{name}', not HA managed!")));
    }
    if context.param("purge") != Some("0") {
        super::thing::forget_resource(context, &name);
    }
    Ok(Reply::null())
}

fn current(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let first = super::FIRST_NODE;
    let mut rows = vec![
        json!({"id": "quorum", "type": "quorum", "node": first, "status": "OK", "quorate": 1}),
        json!({"id": "fencing", "type": "fencing", "node": first, "status": "armed (CRM watchdog active)", "armed-state": "armed"}),
    ];
    for (name, service) in context.world.ha.iter() {
        let Some(guest) = guest(context, name) else { continue };
        let word = service.word(guest.is_running());
        let mut row = json!({
            "id": format!("service:{name}"),
            "type": "service",
            "sid": name,
            "node": guest.node,
            "state": word,
            "status": format!("{name} ({}, {word})", guest.node),
            "request_state": service.request,
            "max_restart": service.number("max_restart"),
            "max_relocate": service.number("max_relocate"),
            "failback": service.number("failback"),
        });
        if let Some(state) = &service.state {
            row["crm_state"] = state.as_str().into();
        }
        rows.push(row);
    }
    Ok(Reply::data(rows))
}
