//! The world as a new sandbox finds it: three nodes, two storages, a few guests and templates, some users.
//!
//! VMIDs 150 to 199 and 250 are left free: the documentation's examples and tests use them.

use super::{
    Meta, Millis, World,
    guest::{Config, Guest, Power, Snapshot},
    node::{GIB, Node, Pool, Storage, Volume},
    seconds, uuid,
};
use crate::{
    model::{GuestKind, Size},
    sandbox::Shape,
    server::access::{Grant, Token, User},
};

/// The bridge of every node.
pub(crate) const BRIDGE: &str = "vmbr0";

/// The name of root's token.
pub(crate) const TOKEN: &str = "pvectl";

/// The password of everybody who has one.
const PASSWORD: &str = "sandbox";

/// How long the nodes have been up.
const UPTIME: Millis = 3 * 86_400_000;

/// Files that every node has: volume, content, format, bytes.
const FILES: &[(&str, &str, &str, u64)] = &[
    ("local:vztmpl/debian-12-standard_12.7-1_amd64.tar.zst", "vztmpl", "tzst", 126_515_062),
    ("local:vztmpl/ubuntu-22.04-standard_22.04-1_amd64.tar.zst", "vztmpl", "tzst", 129_824_858),
    ("local:iso/debian-12.7.0-amd64-netinst.iso", "iso", "iso", 661_651_456),
];

use GuestKind::{Lxc, Qemu};

struct Plan {
    kind: GuestKind,
    vmid: u32,
    node: u32,
    name: &'static str,
    power: Power,
    cores: u32,
    memory: u32,
    disk: u64,
    more: &'static [(&'static str, &'static str)],
}

const fn plan(kind: GuestKind, vmid: u32, node: u32, name: &'static str, power: Power) -> Plan {
    Plan { kind, vmid, node, name, power, cores: 2, memory: 2048, disk: 8, more: &[] }
}

/// The guests; the node counts from one.
const GUESTS: &[Plan] = &[
    Plan {
        disk: 16,
        more: &[("onboot", "1"), ("tags", "app.web;tier.front"), ("agent", "1")],
        ..plan(Qemu, 100, 1, "web-1", Power::Running)
    },
    Plan { more: &[("tags", "app.web;tier.front")], ..plan(Qemu, 101, 2, "web-2", Power::Stopped) },
    Plan {
        cores: 4,
        memory: 8192,
        disk: 32,
        more: &[("description", "the database"), ("protection", "1"), ("tags", "app.db")],
        ..plan(Qemu, 102, 2, "db-1", Power::Running)
    },
    Plan { memory: 1024, more: &[("tags", "build")], ..plan(Qemu, 103, 3, "build-1", Power::Stopped) },
    Plan {
        cores: 1,
        memory: 512,
        disk: 4,
        more: &[("onboot", "1"), ("tags", "app.web")],
        ..plan(Lxc, 110, 1, "proxy", Power::Running)
    },
    Plan { cores: 1, memory: 512, disk: 4, more: &[("tags", "app.dns")], ..plan(Lxc, 111, 3, "dns", Power::Stopped) },
    Plan { cores: 1, disk: 4, more: &[("agent", "1")], ..plan(Qemu, 9000, 1, "debian-12", Power::Stopped) },
];

/// A new world. `seed` is what all made-up values come from.
pub(crate) fn world(shape: &Shape, seed: &str, now: Millis) -> World {
    let mut world = World::new();
    *world.edit_meta() = Meta {
        seed: seed.to_owned(),
        drawn: 0,
        next_pid: 1000,
        booted: now - UPTIME,
        pace: shape.pace,
        secret: uuid(&super::hash(&format!("{seed} token"))),
    };
    let nodes = shape.nodes.max(1);
    for id in 1..=nodes {
        let name = format!("pve{id}");
        let ip = format!("10.99.{}.{}", id / 250, id % 250);
        let node = Node { name: name.clone(), id, ip, cpus: 16, memory: 64 * GIB, online: true };
        world.nodes.insert(name.clone(), node);
        for (volid, content, format, size) in FILES {
            let volume = Volume {
                node: name.clone(),
                volid: (*volid).to_owned(),
                content: (*content).to_owned(),
                format: (*format).to_owned(),
                size: *size,
                vmid: None,
                created: now - UPTIME,
                parent: None,
            };
            world.volumes.insert(volume.key(), volume);
        }
    }
    let extra = u64::from(shape.guests / nodes + 1);
    storage(&mut world, "local", "dir", "iso,vztmpl,backup,snippets,import", &[("path", "/var/lib/vz")], 100 * GIB);
    let lvm = [("thinpool", "data"), ("vgname", "pve")];
    storage(&mut world, "local-lvm", "lvmthin", "images,rootdir", &lvm, (400 + 4 * extra) * GIB);
    people(&mut world);
    for plan in GUESTS {
        guest(&mut world, plan, nodes, now);
    }
    for number in 0..shape.guests {
        let kind = if number % 4 == 3 { Lxc } else { Qemu };
        let power = if number % 3 == 0 { Power::Stopped } else { Power::Running };
        let plan =
            Plan { cores: 1, memory: 512, disk: 4, ..plan(kind, 10_000 + number, number % nodes + 1, "", power) };
        guest(&mut world, &plan, nodes, now);
    }
    finish(&mut world, now);
    world
}

fn storage(world: &mut World, name: &str, kind: &str, content: &str, keys: &[(&str, &str)], total: u64) {
    let storage = Storage {
        name: name.to_owned(),
        kind: kind.to_owned(),
        content: content.split(',').map(str::to_owned).collect(),
        keys: keys.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        total,
        base: if kind == "dir" { 12 * GIB } else { 0 },
    };
    world.storages.insert(name.to_owned(), storage);
}

fn people(world: &mut World) {
    let password = Some(world.salted(PASSWORD));
    let user = User { password, enable: true, ..User::default() };
    let second_factor = Some(world.salted("totp:123456"));
    world.people.users.insert("root@pam".into(), user.clone());
    world.people.users.insert("audit@pve".into(), user.clone());
    world.people.users.insert("totp@pve".into(), User { second_factor, ..user });
    let secret = world.salted(&world.meta().secret.clone());
    let token = |privsep| Token { secret: secret.clone(), privsep, expire: 0, comment: None };
    world.people.tokens.insert(format!("root@pam!{TOKEN}"), token(false));
    world.people.tokens.insert("audit@pve!readonly".into(), token(true));
    for (kind, who) in [("user", "audit@pve"), ("user", "totp@pve"), ("token", "audit@pve!readonly")] {
        let grant =
            Grant { path: "/".into(), kind: kind.into(), who: who.into(), role: "PVEAuditor".into(), propagate: true };
        world.people.grants.insert(grant.key(), grant);
    }
    world.pools.insert("prod".into(), Pool { comment: Some("what customers see".into()), storages: Vec::new() });
}

fn guest(world: &mut World, plan: &Plan, nodes: u32, now: Millis) {
    let (vmid, node) = (plan.vmid, format!("pve{}", (plan.node - 1) % nodes + 1));
    let template = plan.vmid == 9000;
    let prefix = if template { "base" } else { "vm" };
    let volid = format!("local-lvm:{prefix}-{vmid}-disk-0");
    let size = plan.disk * GIB;
    let disk = format!("{volid},size={}", Size(size).to_config());
    let name = if plan.name.is_empty() { format!("load-{vmid}") } else { plan.name.to_owned() };
    let mut config = Config::new();
    let mut set = |key: &str, value: String| drop(config.insert(key.to_owned(), value));
    set(plan.kind.name_key(), name);
    set("cores", plan.cores.to_string());
    set("memory", plan.memory.to_string());
    let mac = world.draw_mac();
    match plan.kind {
        Qemu => {
            set("scsi0", disk);
            set("scsihw", "virtio-scsi-single".into());
            set("net0", format!("virtio={mac},bridge={BRIDGE}"));
            set("boot", "order=scsi0;net0".into());
            set("ostype", "l26".into());
            set("meta", format!("creation-qemu=10.2.2,ctime={}", seconds(now - UPTIME)));
            set("smbios1", format!("uuid={}", world.draw_uuid()));
            set("vmgenid", world.draw_uuid());
        }
        Lxc => {
            set("rootfs", disk);
            set("net0", format!("name=eth0,bridge={BRIDGE},hwaddr={mac},ip=dhcp,type=veth"));
            set("arch", "amd64".into());
            set("ostype", "debian".into());
            set("swap", "512".into());
            set("unprivileged", "1".into());
        }
    }
    if template {
        set("template", "1".into());
    }
    for (key, value) in plan.more {
        set(key, (*value).to_owned());
    }
    let content = if plan.kind == Qemu { "images" } else { "rootdir" };
    let volume = Volume {
        node: node.clone(),
        volid,
        content: content.into(),
        format: "raw".into(),
        size,
        vmid: Some(vmid),
        created: now - UPTIME,
        parent: None,
    };
    world.volumes.insert(volume.key(), volume);
    let mut guest = Guest::new(plan.kind, vmid, &node, config);
    if plan.power == Power::Running {
        guest.power_on(now - UPTIME / 2, 1_000_000 + vmid);
    }
    world.guests.insert(vmid, guest);
}

/// What only single guests have: snapshots, a pool.
fn finish(world: &mut World, now: Millis) {
    if let Some(guest) = world.guests.edit(&101) {
        let mut parent = None;
        for (name, description, age) in [("installed", "after the installation", 48), ("before-upgrade", "", 24)] {
            let taken = now - age * 3_600_000;
            let snapshot = Snapshot {
                config: guest.config.clone(),
                description: description.into(),
                parent: parent.replace(name.to_owned()),
                taken,
                vmstate: None,
            };
            guest.snapshots.insert(name.to_owned(), snapshot);
        }
        guest.config.insert("parent".into(), "before-upgrade".into());
    }
    for vmid in [100, 102] {
        if let Some(guest) = world.guests.edit(&vmid) {
            guest.pool = Some("prod".into());
        }
    }
}
