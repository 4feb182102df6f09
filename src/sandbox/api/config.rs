//! Reading and changing a guest's configuration.
//!
//! Whether a change takes effect at once is decided in [`world::config`](crate::sandbox::world::config).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::{Context, Reply, Route};
use crate::{
    model::{
        GuestKind, List,
        Method::{Get, Post, Put},
        config_value, is_drive,
    },
    sandbox::world::{
        config::{Change, Refusal, as_json},
        effect::Effect,
        task::Order,
    },
    server::Fault,
};

pub(super) const TABLE: &[Route] = &[
    (Get, "/nodes/{node}/qemu/{vmid}/config", get),
    (Get, "/nodes/{node}/lxc/{vmid}/config", get),
    (Put, "/nodes/{node}/qemu/{vmid}/config", put),
    (Put, "/nodes/{node}/lxc/{vmid}/config", put),
    (Post, "/nodes/{node}/qemu/{vmid}/config", post),
    (Get, "/nodes/{node}/qemu/{vmid}/pending", pending),
    (Get, "/nodes/{node}/lxc/{vmid}/pending", pending),
];

/// Parameters of the change that are no configuration keys.
const NOT_KEYS: &[&str] =
    &["background_delay", "delete", "digest", "force", "import-working-storage", "node", "revert", "skiplock", "vmid"];

/// How long a change in the background takes.
const TAKES: i64 = 150;

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Die(text) => Self::die(text),
            Refusal::Parameter(name, text) => Self::parameter(name, text),
        }
    }
}

fn get(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let guest = context.guest()?;
    let mut config = match context.param("snapshot") {
        Some(name) => {
            let snapshot = guest.snapshots.get(name);
            let snapshot = snapshot.ok_or_else(|| Fault::die(format!("snapshot '{name}' does not exist")))?;
            as_json(guest.kind, &snapshot.config)
        }
        None if context.flag("current") => as_json(guest.kind, &guest.config),
        None => as_json(guest.kind, &guest.config_to_come()),
    };
    config.insert("digest".into(), guest.digest().into());
    Ok(Reply::data(Value::from(config)))
}

fn pending(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let guest = context.guest()?;
    let keys: BTreeSet<&String> = guest.config.keys().chain(guest.pending.keys()).collect();
    let mut rows: Vec<Value> = Vec::new();
    for key in keys {
        let mut row = Map::from_iter([("key".to_owned(), key.as_str().into())]);
        if let Some(value) = guest.get(key) {
            row.insert("value".into(), config_value(guest.kind, key, value));
        }
        match guest.pending.get(key) {
            Some(Some(value)) => drop(row.insert("pending".into(), config_value(guest.kind, key, value))),
            Some(None) => drop(row.insert("delete".into(), 1.into())),
            None => {}
        }
        rows.push(row.into());
    }
    rows.push(json!({"key": "digest", "value": guest.digest()}));
    Ok(Reply::data(rows))
}

fn put(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let change = change(context)?;
    let vmid = context.guest()?.vmid;
    context.wait_for_lock(vmid)?;
    context.world.change_config(vmid, &change, context.now)?;
    Ok(Reply::null())
}

fn post(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let change = change(context)?;
    let (kind, vmid, node) = (context.kind(), context.guest()?.vmid, context.node()?);
    let disks = change.set.iter().filter(|(key, _)| is_drive(key));
    let script = disks.map(|(key, value)| (0.5, format!("update VM {vmid}: -{key} {value}"))).collect();
    let order = context.order_of("qmconfig", TAKES, vmid, node, Effect::Config { kind, vmid, change });
    Ok(context.begin(Order { script, ..order }))
}

/// Every word of the list parameters of this name.
fn words(context: &Context<'_>, name: &str) -> BTreeSet<String> {
    let values = context.request.params.iter().filter(|(key, _)| *key == name).map(|(_, value)| value);
    values.flat_map(List::members).map(str::to_owned).collect()
}

/// What is asked for, checked as far as it can be without the guest's lock.
fn change(context: &Context<'_>) -> Result<Change, Fault> {
    let kind = context.kind();
    let path = format!("/vms/{}", context.vmid()?);
    let set: BTreeMap<String, String> = keys(context, NOT_KEYS);
    let (delete, revert) = (words(context, "delete"), words(context, "revert"));
    if set.is_empty() && delete.is_empty() && revert.is_empty() {
        return Err(Fault::die("no options specified"));
    }
    for key in &delete {
        if set.contains_key(key) {
            let text = format!("you can't use '-{key}' and -delete {key}' at the same time");
            return Err(Fault::parameter("delete", text));
        }
        if !is_known(kind, key) {
            return Err(Fault::parameter("delete", format!("unknown option '{key}'")));
        }
        if key == "rootfs" {
            return Err(Fault::die("unable to delete required option 'rootfs'"));
        }
    }
    for key in &revert {
        if !is_known(kind, key) {
            return Err(Fault::parameter("revert", format!("unknown option '{key}'")));
        }
    }
    let values = set.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    may_set(context, &path, values.chain(delete.iter().chain(&revert).map(|key| (key.as_str(), ""))))?;
    let (digest, skiplock) = (context.param("digest").map(str::to_owned), context.skiplock()?);
    Ok(Change { set, delete, revert, digest, skiplock })
}

/// The parameters that are configuration keys.
pub(super) fn keys(context: &Context<'_>, others: &[&str]) -> BTreeMap<String, String> {
    let given = context.request.params.iter().filter(|(key, _)| !others.contains(key));
    // `cdrom` is an old name.
    let named = given.map(|(key, value)| (if key == "cdrom" { "ide2" } else { key }, value));
    named.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// Whether the caller may set these keys to these values: the guest's privileges, and those of storages and bridges.
pub(super) fn may_set<'v>(
    context: &Context<'_>,
    path: &str,
    values: impl Iterator<Item = (&'v str, &'v str)>,
) -> Result<(), Fault> {
    context.caller().may_set(path, values, &|storage| context.world.storages.has(storage))
}

/// Whether a guest of this kind can have such a key at all. The contract says it of parameters, but `delete` is text.
fn is_known(kind: GuestKind, key: &str) -> bool {
    let stem = key.trim_end_matches(|c: char| c.is_ascii_digit());
    let (single, numbered): (&[&str], &[&str]) = match kind {
        GuestKind::Qemu => (QEMU_KEYS, QEMU_NUMBERED),
        GuestKind::Lxc => (LXC_KEYS, LXC_NUMBERED),
    };
    single.contains(&key) || (stem.len() < key.len() && numbered.contains(&stem))
}

const QEMU_KEYS: &[&str] = &[
    "acpi",
    "affinity",
    "agent",
    "allow-ksm",
    "amd-sev",
    "arch",
    "args",
    "audio0",
    "autostart",
    "balloon",
    "bios",
    "boot",
    "bootdisk",
    "cdrom",
    "cicustom",
    "cipassword",
    "citype",
    "ciupgrade",
    "ciuser",
    "cores",
    "cpu",
    "cpulimit",
    "cpuunits",
    "description",
    "efidisk0",
    "freeze",
    "hookscript",
    "hotplug",
    "hugepages",
    "intel-tdx",
    "ivshmem",
    "keephugepages",
    "keyboard",
    "kvm",
    "localtime",
    "lock",
    "machine",
    "memory",
    "migrate_downtime",
    "migrate_speed",
    "name",
    "nameserver",
    "numa",
    "onboot",
    "ostype",
    "protection",
    "reboot",
    "rng0",
    "scsihw",
    "searchdomain",
    "shares",
    "smbios1",
    "smp",
    "sockets",
    "spice_enhancements",
    "sshkeys",
    "startdate",
    "startup",
    "tablet",
    "tags",
    "tdf",
    "template",
    "tpmstate0",
    "vcpus",
    "vga",
    "vmgenid",
    "vmstatestorage",
    "watchdog",
];
const QEMU_NUMBERED: &[&str] = &[
    "hostpci", "ide", "ipconfig", "net", "numa", "parallel", "sata", "scsi", "serial", "unused", "usb", "virtio",
    "virtiofs",
];
const LXC_KEYS: &[&str] = &[
    "arch",
    "cmode",
    "console",
    "cores",
    "cpulimit",
    "cpuunits",
    "debug",
    "description",
    "entrypoint",
    "env",
    "features",
    "hookscript",
    "hostname",
    "lock",
    "memory",
    "nameserver",
    "onboot",
    "ostype",
    "protection",
    "rootfs",
    "searchdomain",
    "startup",
    "swap",
    "tags",
    "template",
    "timezone",
    "tty",
    "unprivileged",
];
const LXC_NUMBERED: &[&str] = &["dev", "mp", "net", "unused"];
