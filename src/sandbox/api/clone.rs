//! Cloning a guest: a full copy with progress in the log, or one that stands on its template.
//!
//! The new VMID is taken when the task begins.

use super::{Context, Reply, Route, create, vmid};
use crate::{
    model::{
        GuestKind::{Lxc, Qemu},
        Method::Post,
        is_drive, is_net,
    },
    sandbox::world::{
        copying::transferred,
        disk::Copy,
        effect::Effect,
        guest::{Config, Guest},
        node::Volume,
        seconds,
        task::Order,
    },
    server::Fault,
};

pub(super) const TABLE: &[Route] =
    &[(Post, "/nodes/{node}/qemu/{vmid}/clone", clone), (Post, "/nodes/{node}/lxc/{vmid}/clone", clone)];

/// Keys that a clone does not take over.
const NOT_COPIED: &[&str] = &["lock", "parent", "template", "vmstate", "snaptime"];

/// How many progress lines a full copy writes for each disk.
const STEPS: u64 = 10;

fn clone(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let source = context.guest()?.clone();
    let newid = vmid("newid", context.need("newid")?)?;
    let (kind, node) = (source.kind, context.node()?);
    let full = context.param("full").map_or(!source.is_template(), |full| full == "1");
    let storage = context.param("storage");
    check(context, &source, newid, full)?;

    let original = match context.param("snapname") {
        Some(name) => match source.snapshots.get(name) {
            Some(snapshot) => snapshot.config.clone(),
            None => return Err(Fault::die(format!("snapshot '{name}' does not exist"))),
        },
        None => source.config.clone(),
    };
    let mut guest = Guest::new(kind, newid, &node, Config::new());
    guest.pool = context.param("pool").map(str::to_owned);
    let (mut volumes, mut script) = (Vec::<Volume>::new(), Vec::new());
    for (key, value) in &original {
        if NOT_COPIED.contains(&key.as_str()) || key.starts_with("unused") {
            continue;
        }
        let mut copied = value.clone();
        if is_drive(key) {
            let drive_full = full || value.contains("cloudinit");
            let copy = Copy { guest: &guest, node: &node, storage, full: drive_full, now: context.now };
            let foreign = value.contains("media=cdrom") && !value.contains("cloudinit");
            if let Some(drive) = context.world.copy_drive(&copy, value, &volumes).filter(|_| !foreign) {
                log(&mut script, key, &source, drive_full, drive.volume.as_ref());
                volumes.extend(drive.volume);
                copied = drive.value;
            }
        } else if is_net(key) {
            copied = with_new_mac(context, value);
        }
        guest.config.insert(key.clone(), copied);
    }
    identity(context, &mut guest, &source);
    let task = if kind == Qemu { "qmclone" } else { "vzclone" };
    let gib: u64 = volumes.iter().map(|volume| volume.size >> 30).sum();
    let takes = if full { 600 + i64::try_from(gib * 10).unwrap_or(600).min(600) } else { 300 };
    create::reserve(context, &guest, if kind == Qemu { "clone" } else { "create" });
    let mut holds = vec![newid];
    if !source.is_template() {
        holds.push(source.vmid);
    }
    let effect = Effect::Make { guest: Box::new(guest), volumes, start: false };
    let order = context.order_of(task, takes, source.vmid, node, effect);
    Ok(context.begin(Order { script, holds, ..order }))
}

fn check(context: &Context<'_>, source: &Guest, newid: u32, full: bool) -> Result<(), Fault> {
    let (word, is_vm) = (source.word(), source.kind == Qemu);
    if let Some(lock) = source.lock() {
        return Err(Fault::die(format!("{word} is locked ({lock})")));
    }
    if let Some(there) = context.world.guests.get(&newid) {
        return Err(Fault::die(format!("{} {newid} already exists on node '{}'", there.word(), there.node)));
    }
    if let Some(pool) = context.param("pool").filter(|pool| !context.world.pools.has(*pool)) {
        return Err(Fault::die(format!("pool '{pool}' does not exist")));
    }
    if let Some(target) = context.param("target")
        && target != source.node
    {
        if !context.world.nodes.has(target) {
            return Err(Fault::parameter("target", "no such cluster node"));
        }
        return Err(Fault::die(format!("can't clone {word} to node '{target}' ({word} uses local storage)")));
    }
    let linked = ["storage", "format"].into_iter().find(|key| !full && context.param(key).is_some());
    if let Some(key) = linked {
        return Err(Fault::die(format!("parameter '{key}' not allowed for linked clones")));
    }
    if !full && !source.is_template() {
        let key = source.disk_keys().find(|key| !source.is_cdrom(key)).unwrap_or_default();
        let volid = source.volid(key).unwrap_or_default();
        return Err(Fault::die(match is_vm {
            true => format!("Linked clone feature is not supported for '{volid}' ({key})"),
            false => format!("Linked clone feature for '{volid}' is not available"),
        }));
    }
    if !is_vm && full && source.is_running() && context.param("snapname").is_none() {
        return Err(Fault::die("Full clone of a running container is only possible from a snapshot"));
    }
    for storage in storages(context, source) {
        if !context.world.storages.has(storage.as_str()) {
            return Err(Fault::die(format!("storage '{storage}' does not exist")));
        }
        context.require(&format!("/storage/{storage}"), &["Datastore.AllocateSpace"])?;
    }
    Ok(())
}

/// The storages that the clone's disks come into.
fn storages(context: &Context<'_>, source: &Guest) -> Vec<String> {
    if let Some(storage) = context.param("storage") {
        return vec![storage.to_owned()];
    }
    let volids = source.disk_keys().filter(|key| !source.is_cdrom(key)).filter_map(|key| source.volid(key));
    volids.filter_map(|volid| Some(volid.split_once(':')?.0.to_owned())).collect()
}

pub(super) fn with_new_mac(context: &mut Context<'_>, value: &str) -> String {
    let mac = context.world.draw_mac();
    let is_mac = |text: &str| text.len() == 17 && text.matches(':').count() == 5;
    let parts = value.split(',').map(|part| match part.split_once('=') {
        Some((key, old)) if is_mac(old) => format!("{key}={mac}"),
        _ => part.to_owned(),
    });
    parts.collect::<Vec<_>>().join(",")
}

/// What is the clone's own: name, description, and for a VM its identities.
fn identity(context: &mut Context<'_>, guest: &mut Guest, source: &Guest) {
    let key = guest.kind.name_key();
    let prefix = if guest.kind == Lxc { "Copy-of-CT" } else { "Copy-of-VM" };
    let old = source.get(key).map_or_else(|| source.vmid.to_string(), str::to_owned);
    let name = context.param(key).map_or_else(|| format!("{prefix}-{old}"), str::to_owned);
    guest.config.insert(key.into(), name);
    if let Some(description) = context.param("description") {
        guest.config.insert("description".into(), description.into());
    }
    if guest.kind == Qemu {
        let (uuid, genid) = (context.world.draw_uuid(), context.world.draw_uuid());
        guest.config.insert("smbios1".into(), format!("uuid={uuid}"));
        guest.config.insert("vmgenid".into(), genid);
        let meta = format!("creation-qemu=10.2.2,ctime={}", seconds(context.now));
        guest.config.insert("meta".into(), meta);
    }
}

fn log(script: &mut Vec<(f64, String)>, key: &str, source: &Guest, full: bool, volume: Option<&Volume>) {
    let Some(volume) = volume else { return };
    let volid = source.volid(key).unwrap_or_default();
    let (how, what) = match source.kind {
        Qemu => (if full { "full" } else { "linked" }, "drive"),
        Lxc => (if full { "full" } else { "linked" }, "mountpoint"),
    };
    script.push((0.02, format!("create {how} clone of {what} {key} ({volid})")));
    script.push((0.04, format!("  Logical volume \"{}\" created.", volume.name())));
    if !full || volid.contains("cloudinit") {
        return;
    }
    let total = volume.size;
    for step in 0..=STEPS {
        let done = total / STEPS * step;
        script.push((0.05 + 0.9 * step as f64 / STEPS as f64, transferred(done, total)));
    }
}
