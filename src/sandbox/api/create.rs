//! Creating virtual machines and containers.
//!
//! The VMID is taken when the task begins; volumes and configuration come at its end. Restoring is in
//! [`restore`](super::restore).

use super::{Context, Reply, Route, config};
use crate::{
    model::{
        GuestKind::{Lxc, Qemu},
        Method::Post,
        is_drive,
    },
    sandbox::world::{
        effect::Effect,
        guest::{Config, Guest, word},
        node::{Volume, volume_key},
        seconds,
        task::Order,
    },
    server::Fault,
};

pub(super) const TABLE: &[Route] = &[(Post, "/nodes/{node}/qemu", create), (Post, "/nodes/{node}/lxc", create)];

/// Parameters that are no configuration keys.
const NOT_KEYS: &[&str] = &[
    "archive",
    "bwlimit",
    "force",
    "ha-managed",
    "ignore-unpack-errors",
    "import-working-storage",
    "live-restore",
    "node",
    "ostemplate",
    "password",
    "pool",
    "restore",
    "ssh-public-keys",
    "start",
    "storage",
    "unique",
    "vmid",
];

/// What a container has when nobody says otherwise.
const LXC_DEFAULTS: [(&str, &str); 3] = [("arch", "amd64"), ("memory", "512"), ("swap", "512")];

fn create(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let (kind, node, vmid) = (context.kind(), context.node()?, context.vmid()?);
    let pool = context.param("pool");
    context.caller().may_create(vmid, pool)?;
    if context.param("archive").is_some() || context.flag("restore") {
        return super::restore::restore(context, NOT_KEYS);
    }
    if let Some(there) = context.world.guests.get(&vmid) {
        return Err(Fault::die(format!(
            "unable to create {} {vmid} - {} {vmid} already exists on node '{}'",
            word(kind),
            there.word(),
            there.node
        )));
    }
    if let Some(pool) = pool
        && !context.world.pools.has(pool)
    {
        return Err(Fault::die(format!("pool '{pool}' does not exist")));
    }
    let mut set = config::keys(context, NOT_KEYS);
    if kind == Lxc {
        container_defaults(context, vmid, &mut set)?;
    }
    let values = set.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    config::may_set(context, &format!("/vms/{vmid}"), values)?;

    let mut guest = Guest::new(kind, vmid, &node, Config::new());
    guest.pool = pool.map(str::to_owned);
    let failure = |error: String| Fault::die(format!("unable to create {} {vmid} - {error}", word(kind)));
    let (filled, volumes) = context.world.fill_in(&guest, &set, context.now).map_err(failure)?;
    guest.config = filled;
    if kind == Qemu {
        vm_identity(context, &mut guest);
    }
    let script = create_log(context, &guest, &volumes);
    let start = context.flag("start") && !guest.is_template();
    let task = if kind == Qemu { "qmcreate" } else { "vzcreate" };
    let gib: u64 = volumes.iter().map(|volume| volume.size >> 30).sum();
    let takes = 300 + i64::try_from(gib.min(200)).unwrap_or(200) + if kind == Lxc { 300 } else { 0 };
    reserve(context, &guest, "create");
    let effect = Effect::Make { guest: Box::new(guest), volumes, start };
    let order = context.order_of(task, takes, vmid, node, effect);
    Ok(context.begin(Order { script, ..order }))
}

/// Takes the number: the guest is there from now on, empty and locked.
pub(super) fn reserve(context: &mut Context<'_>, guest: &Guest, lock: &str) {
    let config = Config::from([("lock".to_owned(), lock.to_owned())]);
    let mut shell = Guest::new(guest.kind, guest.vmid, &guest.node, config);
    if let Some(name) = guest.get(guest.kind.name_key()) {
        shell.config.insert(guest.kind.name_key().into(), name.to_owned());
    }
    shell.pool.clone_from(&guest.pool);
    context.world.guests.insert(guest.vmid, shell);
}

/// What makes a VM this one and no other, and what it boots from.
fn vm_identity(context: &mut Context<'_>, guest: &mut Guest) {
    let (uuid, genid) = (context.world.draw_uuid(), context.world.draw_uuid());
    let meta = format!("creation-qemu=10.2.2,ctime={}", seconds(context.now));
    let boot = boot_order(guest);
    for (key, value) in [("smbios1", format!("uuid={uuid}")), ("vmgenid", genid), ("meta", meta), ("boot", boot)] {
        guest.config.entry(key.into()).or_insert(value);
    }
}

/// The first disk, the first CD-ROM, the first network device; a space for none, which the server really writes.
fn boot_order(guest: &Guest) -> String {
    let bootable = |key: &&str| !key.starts_with("efidisk") && !key.starts_with("tpmstate");
    let disk = guest.disk_keys().filter(bootable).find(|key| !guest.is_cdrom(key));
    let cdrom = guest.disk_keys().filter(bootable).find(|key| guest.is_cdrom(key));
    let net = guest.config.keys().map(String::as_str).find(|key| key.starts_with("net"));
    let devices: Vec<&str> = [disk, cdrom, net].into_iter().flatten().collect();
    if devices.is_empty() { " ".into() } else { format!("order={}", devices.join(";")) }
}

fn container_defaults(
    context: &Context<'_>,
    vmid: u32,
    set: &mut std::collections::BTreeMap<String, String>,
) -> Result<(), Fault> {
    let template = context.need("ostemplate")?;
    let node = context.node()?;
    if template.split_once(':').is_none_or(|(storage, _)| !context.world.storages.has(storage)) {
        let storage = template.split(':').next().unwrap_or(template);
        return Err(Fault::die(format!("storage '{storage}' does not exist")));
    }
    if !context.world.volumes.has(volume_key(&node, template).as_str()) {
        return Err(Fault::die(format!("unable to create CT {vmid} - volume '{template}' does not exist")));
    }
    let storage = context.param("storage").unwrap_or("local");
    let default_root = || {
        let known = context.world.storages.get(storage);
        let known = known.ok_or_else(|| Fault::die(format!("storage '{storage}' does not exist")))?;
        if known.holds("rootdir") {
            return Ok(format!("{storage}:4"));
        }
        Err(Fault::die(format!("storage '{storage}' does not support container directories")))
    };
    if !set.contains_key("rootfs") {
        set.insert("rootfs".into(), default_root()?);
    }
    let name = template.rsplit('/').next().unwrap_or(template);
    let system = name.split(['-', '_']).next().unwrap_or("unmanaged").to_owned();
    set.entry("ostype".into()).or_insert(system);
    set.entry("hostname".into()).or_insert(format!("CT{vmid}"));
    for (key, value) in LXC_DEFAULTS {
        set.entry(key.into()).or_insert_with(|| value.into());
    }
    Ok(())
}

fn create_log(context: &Context<'_>, guest: &Guest, volumes: &[Volume]) -> Vec<(f64, String)> {
    let mut script = Vec::new();
    for volume in volumes {
        let name = volume.name().to_owned();
        match context.world.storages.get(volume.storage()) {
            Some(storage) if storage.is_dir() => {
                script.push((0.1, format!("Formatting '{name}', fmt={} size={}", volume.format, volume.size)));
            }
            _ => script.push((0.1, format!("  Logical volume \"{name}\" created."))),
        }
    }
    let made = |key: &&String| is_drive(key) && guest.volid(key).is_some();
    if guest.kind == Qemu {
        for key in guest.config.keys().filter(made) {
            let value = guest.get(key).unwrap_or_default();
            script.push((0.5, format!("{key}: successfully created disk '{value}'")));
        }
    } else if let Some(template) = context.param("ostemplate") {
        let file = template.rsplit('/').next().unwrap_or(template);
        script.push((0.3, format!("extracting archive '/var/lib/vz/template/cache/{file}'")));
        script.push((0.8, "Total bytes read: 538101760 (514MiB, 314MiB/s)".into()));
        script.push((0.9, format!("Detected container architecture: {}", guest.get("arch").unwrap_or("amd64"))));
    }
    script
}
