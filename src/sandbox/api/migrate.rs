//! Guests that go to another node: what is said of it beforehand, and the call.
//!
//! What stands in the way and what comes of it is in [`world::moving`](crate::sandbox::world::moving).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::{Context, Reply, Route};
use crate::{
    model::{
        GuestKind,
        Method::{Get, Post},
    },
    sandbox::world::{World, effect::Effect, guest::Guest, ha::sid, moving::Way, task::Order},
    server::Fault,
};

pub(super) const TABLE: &[Route] = &[
    (Get, "/nodes/{node}/qemu/{vmid}/migrate", vm_beforehand),
    (Get, "/nodes/{node}/lxc/{vmid}/migrate", container_beforehand),
    (Post, "/nodes/{node}/qemu/{vmid}/migrate", migrate),
    (Post, "/nodes/{node}/lxc/{vmid}/migrate", migrate),
];

/// How long it takes to tell HA something.
const TOLD: i64 = 100;

/// What only root itself may say.
const ROOT_ONLY: [&str; 3] = ["force", "migration_type", "migration_network"];

fn free(context: &Context<'_>) -> Result<Guest, Fault> {
    let guest = context.guest()?;
    match guest.lock() {
        Some(lock) => Err(Fault::die(format!("{} is locked ({lock})", guest.word()))),
        None => Ok(guest.clone()),
    }
}

/// The other nodes, and what each of them lacks.
fn nodes(context: &Context<'_>, guest: &Guest) -> (Vec<String>, Map<String, Value>) {
    let (mut allowed, mut not) = (Vec::new(), Map::new());
    for name in context.world.nodes.keys().filter(|name| **name != guest.node) {
        let missing: BTreeSet<String> = context.world.storages_missing(guest, name);
        match missing.is_empty() {
            true => allowed.push(name.clone()),
            false => drop(not.insert(name.clone(), json!({"unavailable_storages": missing}))),
        }
    }
    (allowed, not)
}

fn vm_beforehand(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let guest = free(context)?;
    let (allowed, not) = nodes(context, &guest);
    let disks = context.world.locals(&guest).into_iter().map(|(volid, local)| {
        let flag = u8::from;
        let mut row = Map::new();
        row.insert("is_cloudinit".into(), flag(local.is_cloudinit(&volid)).into());
        row.insert("volid".into(), volid.into());
        row.insert("cdrom".into(), flag(local.cdrom).into());
        row.insert("is_attached".into(), flag(local.attached).into());
        row.insert("is_tpmstate".into(), flag(local.key.as_deref() == Some("tpmstate0")).into());
        row.insert("is_unused".into(), flag(local.unused).into());
        row.insert("is_vmstate".into(), flag(local.state).into());
        row.insert("replicate".into(), 1.into());
        row.insert("shared".into(), 0.into());
        row.extend(local.key.map(|key| ("drivename".to_owned(), key.into())));
        row.extend(local.size.map(|size| ("size".to_owned(), size.into())));
        if !local.snapshots.is_empty() {
            let names: Map<String, Value> = local.snapshots.into_iter().map(|name| (name, 1.into())).collect();
            row.insert("referenced_in_snapshot".into(), names.into());
        }
        Value::from(row)
    });
    let disks: Vec<Value> = disks.collect();
    let (local, mapped) = World::devices(&guest);
    let info: Map<String, Value> = mapped.iter().map(|(key, name)| (key.clone(), json!({"name": name}))).collect();
    let mut said = json!({
        "running": u8::from(guest.is_running()),
        "allowed_nodes": allowed,
        "not_allowed_nodes": not,
        "local_disks": disks,
        "local_resources": local,
        "mapped-resources": mapped.keys().collect::<Vec<_>>(),
        "mapped-resource-info": info,
        "has-dbus-vmstate": 1,
    });
    if context.world.service(guest.kind, guest.vmid).is_some() {
        said["dependent-ha-resources"] = json!([]);
    }
    Ok(Reply::data(said))
}

fn container_beforehand(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let guest = free(context)?;
    let (allowed, not) = nodes(context, &guest);
    Ok(Reply::data(json!({
        "running": u8::from(guest.is_running()), "allowed-nodes": allowed, "not-allowed-nodes": not,
    })))
}

fn migrate(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let (kind, node, to) = (context.kind(), context.node()?, context.need("target")?.to_owned());
    if to == node {
        return Err(Fault::parameter("target", "target is local node."));
    }
    if !context.world.nodes.has(&to) {
        return Err(Fault::die(format!("no such cluster node '{to}'")));
    }
    if let Some(key) = ROOT_ONLY.into_iter().find(|key| context.param(key).is_some_and(|value| value != "0"))
        && !context.is_root()
    {
        return Err(Fault::parameter(key, "Only root may use this option."));
    }
    let guest = free(context)?;
    let (is_vm, running) = (kind == GuestKind::Qemu, guest.is_running());
    match (is_vm, running) {
        (true, true) if !context.flag("online") => {
            return Err(Fault::die("can't migrate running VM without --online"));
        }
        (false, true) if !context.flag("restart") => {
            return Err(Fault::die("can't migrate running container without --online or --restart"));
        }
        (true, true) => replicated(context, guest.vmid, &to)?,
        _ => {}
    }
    let storages = storages(context, &guest, &to)?;
    if context.world.is_managed(kind, guest.vmid) {
        let effect = Effect::SendByHa { name: sid(kind, guest.vmid), to: to.clone() };
        let order = context.order_of("hamigrate", TOLD, guest.vmid, node, effect);
        let script = vec![(0.1, format!("Requesting HA migration for {} {} to node {to}", guest.word(), guest.vmid))];
        return Ok(context.begin(Order { holds: Vec::new(), script, ..order }));
    }
    let way = Way { storages, copies: context.flag("with-local-disks"), ..Way::new(&to) };
    let order = context.world.migration(&guest, &way, &context.authid(), context.now);
    let upid = context.world.begin_migration(order, guest.vmid, context.now);
    if let Some(text) = &context.request.task_ends {
        context.world.end_with(&upid, text);
    }
    Ok(Reply::data(upid))
}

/// One that is replicated goes live only where its replica is.
fn replicated(context: &Context<'_>, vmid: u32, to: &str) -> Result<(), Fault> {
    let number = vmid.to_string();
    let mut jobs = context
        .world
        .replications
        .iter()
        .filter(|(id, _)| id.split('-').next() == Some(number.as_str()))
        .map(|(_, keys)| keys.get("target").map(String::as_str))
        .peekable();
    if jobs.peek().is_none() || jobs.any(|target| target == Some(to)) || context.flag("force") {
        return Ok(());
    }
    Err(Fault::die(format!(
        "Cannot live-migrate replicated VM to node '{to}' - not a replication target. Use 'force' to override."
    )))
}

/// From which storage into which. Those that are named have to be there, and without a word the guest's own.
fn storages(context: &Context<'_>, guest: &Guest, to: &str) -> Result<BTreeMap<String, String>, Fault> {
    let named = context.param("targetstorage").or_else(|| context.param("target-storage"));
    let mut map = BTreeMap::new();
    for part in named.into_iter().flat_map(|text| text.split(',')).filter(|part| *part != "1") {
        let (from, into) = part.split_once(':').unwrap_or(("", part));
        map.insert(from.to_owned(), into.to_owned());
    }
    let own = context.world.storages_missing(guest, to);
    let wanted = if map.is_empty() { own } else { map.values().cloned().collect() };
    for name in wanted {
        let Some(storage) = context.world.storages.get(name.as_str()) else {
            return Err(Fault::die(format!("storage '{name}' does not exist")));
        };
        if !storage.is_on(to) {
            return Err(Fault::die(format!("storage '{name}' is not available on node '{to}'")));
        }
        let content = if guest.kind == GuestKind::Qemu { "images" } else { "rootdir" };
        if !storage.holds(content) {
            return Err(Fault::die(format!("storage '{name}' does not support content-type '{content}'")));
        }
    }
    Ok(map)
}
