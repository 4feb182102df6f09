//! Nodes: the list, the state of one.
//!
//! Its networks, guests, storages and tasks have files of their own.

use serde_json::{Value, json};

use super::{Context, Reply, Route, figures, index};
use crate::{
    model::Method::Get,
    sandbox::world::node::{GIB, Node},
    server::Fault,
};

pub(super) const TABLE: &[Route] = &[
    (Get, "/nodes", list),
    (Get, "/nodes/{node}", |context| context.node().map(|_| index("name", NODE))),
    (Get, "/nodes/{node}/status", status),
];

/// What there is below a node.
const NODE: &[&str] = &[
    "apt",
    "certificates",
    "config",
    "disks",
    "dns",
    "hardware",
    "lxc",
    "network",
    "qemu",
    "replication",
    "services",
    "startall",
    "status",
    "stopall",
    "storage",
    "suspendall",
    "syslog",
    "tasks",
    "time",
    "version",
    "vzdump",
    "wakeonlan",
];

fn list(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let rows = context.world.nodes.values().map(|node| {
        let audit = context.may(&format!("/nodes/{}", node.name), &["Sys.Audit"]);
        let mut row = figures::node_resource(context.world, node, audit, context.now);
        row.remove("cgroup-mode");
        row.insert("ssl_fingerprint".into(), node.fingerprint().into());
        Value::from(row)
    });
    Ok(Reply::data(rows.collect::<Vec<_>>()))
}

fn find<'c>(context: &'c Context<'_>) -> Result<&'c Node, Fault> {
    let name = context.node()?;
    context.world.nodes.get(name.as_str()).ok_or_else(|| Fault::die(format!("no such cluster node '{name}'")))
}

fn status(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let node = find(context)?;
    let (cpu, used) = (context.world.cpu_used(node, context.now), context.world.memory_used(node));
    let root = figures::root_fs(context.world, node);
    let load = |share: f64| format!("{:.2}", cpu * f64::from(node.cpus) * share);
    let kernel = "6.17.2-1-pve";
    let version = "#1 SMP PREEMPT_DYNAMIC PMX 6.17.2-1";
    Ok(Reply::data(json!({
        "cpu": cpu,
        "wait": 0,
        "idle": 0,
        "uptime": (context.now - context.world.meta().booted) / 1000,
        "loadavg": [load(1.0), load(0.9), load(0.8)],
        "memory": {"total": node.memory, "used": used, "free": node.memory - used, "available": node.memory - used},
        "swap": {"total": 8 * GIB, "used": 0, "free": 8 * GIB},
        "rootfs": {"total": root.total, "used": root.used, "avail": root.free(), "free": root.free()},
        "ksm": {"shared": 0},
        "cpuinfo": {
            "cpus": node.cpus, "cores": node.cpus / 2, "sockets": 1, "model": "AMD EPYC", "vendor": "AuthenticAMD",
            "family": "26", "mhz": "2596.122", "hvm": "1", "user_hz": 100,
            "flags": "fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 svm lm",
        },
        "boot-info": {"mode": "efi", "secureboot": 0},
        "current-kernel": {"sysname": "Linux", "release": kernel, "version": version, "machine": "x86_64"},
        "kversion": format!("Linux {kernel} {version}"),
        "pveversion": "pve-manager/9.2.11/14a22df35955d97d",
    })))
}
