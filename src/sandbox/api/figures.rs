//! The figures that lists and status pages give for guests, nodes and storages.
//!
//! Which of them somebody may see is for the caller to ask.

use serde_json::{Map, Value, json};

use crate::{
    model::GuestKind,
    sandbox::world::{
        Millis, World,
        guest::{Guest, Power},
        node::{Node, Storage},
    },
};

/// Bytes that a guest moved: made up, and growing while it runs.
struct Traffic {
    netin: u64,
    netout: u64,
    diskread: u64,
    diskwrite: u64,
}

fn traffic(guest: &Guest, now: Millis) -> Traffic {
    let uptime = guest.uptime(now);
    let rate = 1 + u64::from(guest.vmid % 7);
    Traffic {
        netin: uptime * 220 * rate,
        netout: uptime * 110 * rate,
        diskread: uptime * 512 * rate,
        diskwrite: uptime * 256 * rate,
    }
}

/// Bytes of a container's disk that are in use; a VM's nobody knows.
fn disk_used(guest: &Guest) -> u64 {
    if guest.kind == GuestKind::Lxc && guest.is_running() { guest.maxdisk() / 8 } else { 0 }
}

/// A guest's row in `GET /cluster/resources`. Of a node that is away there are no figures; for five minutes a real server
/// goes on with the last ones.
pub(super) fn resource(world: &World, guest: &Guest, now: Millis) -> Value {
    let ha = world.service(guest.kind, guest.vmid).and_then(|service| service.state.as_deref());
    let tags = guest.get("tags");
    let known = [("tags", tags), ("pool", guest.pool.as_deref()), ("lock", guest.lock()), ("hastate", ha)];
    let known = known.into_iter().filter_map(|(key, value)| Some((key.to_owned(), Value::from(value?))));
    if !world.is_online(&guest.node) {
        let id = format!("{}/{}", guest.kind.api(), guest.vmid);
        let bare = [
            ("id", id.into()),
            ("type", guest.kind.api().into()),
            ("vmid", guest.vmid.into()),
            ("node", guest.node.as_str().into()),
            ("status", "unknown".into()),
        ];
        return bare.map(|(key, value): (_, Value)| (key.to_owned(), value)).into_iter().chain(known).collect();
    }
    let Traffic { netin, netout, diskread, diskwrite } = traffic(guest, now);
    let mut row = Map::with_capacity(24);
    let mut set = |key: &str, value: Value| drop(row.insert(key.to_owned(), value));
    set("id", format!("{}/{}", guest.kind.api(), guest.vmid).into());
    set("type", guest.kind.api().into());
    set("vmid", guest.vmid.into());
    set("node", guest.node.as_str().into());
    set("name", guest.name().into());
    set("status", guest.resource_status().into());
    set("template", u8::from(guest.is_template()).into());
    set("cpu", guest.cpu_used(now).into());
    set("maxcpu", guest.cpus().into());
    set("mem", guest.memory_used().into());
    set("maxmem", guest.memory().into());
    set("memhost", 0.into());
    set("disk", disk_used(guest).into());
    set("maxdisk", guest.maxdisk().into());
    set("uptime", guest.uptime(now).into());
    set("netin", netin.into());
    set("netout", netout.into());
    set("diskread", diskread.into());
    set("diskwrite", diskwrite.into());
    row.extend(known);
    row.into()
}

/// A guest's row in its node's list.
pub(super) fn listed(guest: &Guest, now: Millis) -> Map<String, Value> {
    let Traffic { netin, netout, diskread, diskwrite } = traffic(guest, now);
    let mut row = Map::new();
    let mut set = |key: &str, value: Value| drop(row.insert(key.to_owned(), value));
    set("vmid", guest.vmid.into());
    set("name", guest.name().into());
    set("status", guest.status().into());
    set("cpus", guest.cpus().into());
    // A processor that does nothing is a whole 0 to the server.
    set("cpu", if guest.is_running() { guest.cpu_used(now).into() } else { 0.into() });
    set("mem", guest.memory_used().into());
    set("maxmem", guest.memory().into());
    set("disk", disk_used(guest).into());
    set("maxdisk", guest.maxdisk().into());
    set("uptime", guest.uptime(now).into());
    set("netin", netin.into());
    set("netout", netout.into());
    if guest.is_running() {
        set("pid", guest.pid.into());
    }
    if guest.kind == GuestKind::Lxc {
        set("type", "lxc".into());
        set("swap", 0.into());
        set("maxswap", guest.swap().into());
    } else {
        set("memhost", 0.into());
    }
    if guest.is_running() || guest.kind == GuestKind::Lxc {
        set("diskread", diskread.into());
        set("diskwrite", diskwrite.into());
    }
    if guest.is_running() {
        for what in ["cpusome", "cpufull", "iosome", "iofull", "memorysome", "memoryfull"] {
            // Numbers for VMs, text for containers: so it is.
            let nothing = if guest.kind == GuestKind::Lxc { "0.00".into() } else { 0.into() };
            set(&format!("pressure{what}"), nothing);
        }
    }
    if guest.is_template() {
        set("template", 1.into());
    }
    for key in ["tags", "lock"] {
        if let Some(value) = guest.get(key) {
            set(key, value.into());
        }
    }
    row
}

/// What HA makes of a guest.
fn managed(world: &World, guest: &Guest) -> Value {
    let Some(service) = world.service(guest.kind, guest.vmid) else { return json!({"managed": 0}) };
    let mut managed = json!({"managed": 1});
    if let Some(state) = &service.state {
        managed["state"] = state.as_str().into();
    }
    managed
}

/// `GET …/status/current`.
pub(super) fn current(world: &World, guest: &Guest, now: Millis) -> Value {
    let mut status = listed(guest, now);
    let mut set = |key: &str, value: Value| drop(status.insert(key.to_owned(), value));
    set("ha", managed(world, guest));
    if guest.kind == GuestKind::Lxc {
        return status.into();
    }
    set(
        "qmpstatus",
        match guest.power {
            Power::Stopped => "stopped".into(),
            Power::Running => "running".into(),
            Power::Paused => "paused".into(),
        },
    );
    if guest.get("agent").is_some_and(|agent| agent.starts_with('1') || agent.contains("enabled=1")) {
        set("agent", 1.into());
    }
    if !guest.is_running() {
        return status.into();
    }
    let Traffic { netin, netout, diskread, diskwrite } = traffic(guest, now);
    let memory = guest.memory();
    set("running-qemu", "10.2.2".into());
    set("running-machine", "pc-i440fx-10.2+pve0".into());
    set("balloon", memory.into());
    set("ballooninfo", json!({"actual": memory, "max_mem": memory}));
    let disks = guest.disk_keys().filter(|key| !guest.is_cdrom(key));
    let block = json!({"rd_bytes": diskread, "wr_bytes": diskwrite, "rd_operations": diskread / 512, "wr_operations": diskwrite / 512});
    set("blockstat", disks.map(|key| (key.to_owned(), block.clone())).collect::<Map<_, _>>().into());
    let nets = guest.config.keys().filter_map(|key| key.strip_prefix("net")?.parse::<u32>().ok());
    let nic = |number| (format!("tap{}i{number}", guest.vmid), json!({"netin": netin, "netout": netout}));
    set("nics", nets.map(nic).collect::<Map<_, _>>().into());
    set("proxmox-support", json!({"backup-fleecing": true, "pbs-dirty-bitmap": true, "pbs-masterkey": true}));
    status.into()
}

/// Seconds between two rows of a guest's history, and how many rows there are.
fn rows_of(frame: &str) -> (i64, i64) {
    match frame {
        "hour" => (60, 60),
        "day" => (60, 1440),
        "week" => (1800, 336),
        "month" => (1800, 1440),
        _ => (21_600, 1460),
    }
}

/// `GET …/rrddata`: made up, as all figures are. Of the time in which a guest was off there is only the time.
pub(super) fn history(guest: &Guest, frame: &str, now: Millis) -> Vec<Value> {
    let (step, count) = rows_of(frame);
    let last = now / 1000 / step * step;
    let row = |time: i64| {
        if !guest.is_running() || time * 1000 < guest.started {
            return json!({"time": time});
        }
        // More by day than by night.
        let day = 1.0 + (time as f64 / 86_400.0 * std::f64::consts::TAU).sin() / 2.0;
        let rate = (1 + guest.vmid % 7) as f64 * day;
        json!({
            "time": time,
            "cpu": guest.cpu_used(time * 1000) * day,
            "maxcpu": guest.cpus(),
            "mem": guest.memory_used() as f64 * (0.9 + day / 10.0),
            "maxmem": guest.memory(),
            "memhost": 0,
            "disk": disk_used(guest),
            "maxdisk": guest.maxdisk(),
            "netin": 220.0 * rate,
            "netout": 110.0 * rate,
            "diskread": 512.0 * rate,
            "diskwrite": 256.0 * rate,
        })
    };
    (1 - count..=0).map(|ago| row(last + ago * step)).collect()
}

/// A node's row in `GET /cluster/resources`; without `Sys.Audit` only what it is.
pub(super) fn node_resource(world: &World, node: &Node, audit: bool, now: Millis) -> Map<String, Value> {
    let mut row = Map::new();
    let mut set = |key: &str, value: Value| drop(row.insert(key.to_owned(), value));
    set("id", format!("node/{}", node.name).into());
    set("type", "node".into());
    set("node", node.name.as_str().into());
    set("status", if node.online { "online" } else { "offline" }.into());
    if node.online {
        set("level", "".into());
        set("cgroup-mode", 2.into());
    }
    if audit && node.online {
        let root = root_fs(world, node);
        set("cpu", world.cpu_used(node, now).into());
        set("maxcpu", node.cpus.into());
        set("mem", world.memory_used(node).into());
        set("maxmem", node.memory.into());
        set("disk", root.used.into());
        set("maxdisk", root.total.into());
        set("uptime", ((now - world.meta().booted) / 1000).into());
    }
    row
}

/// The node's root file system: the one that `local` is on.
pub(super) fn root_fs(world: &World, node: &Node) -> crate::sandbox::world::node::Fill {
    match world.storages.get("local") {
        Some(local) => world.fill(&node.name, local),
        None => crate::sandbox::world::node::Fill { total: 0, used: 0 },
    }
}

/// A storage as one node sees it.
pub(super) fn storage_status(world: &World, node: &str, storage: &Storage) -> Map<String, Value> {
    let fill = world.fill(node, storage);
    let status = json!({
        "type": storage.kind,
        "content": storage.content.join(","),
        "active": 1,
        "enabled": 1,
        "shared": u8::from(storage.is_shared()),
        "total": fill.total,
        "used": fill.used,
        "avail": fill.free(),
    });
    match status {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}
