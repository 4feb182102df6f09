//! `/version` and `/cluster`: resources, the next free VMID, membership, options.
//!
//! The cluster's task list is in [`task`](super::task).

use serde_json::{Value, json};

use super::{Context, Reply, Route, figures, index, vmid};
use crate::{
    model::Method::Get,
    sandbox::world::{guest::Guest, seconds},
    server::Fault,
};

pub(super) const TABLE: &[Route] = &[
    (Get, "/version", |_| Ok(version())),
    (Get, "/nodes/{node}/version", |context| context.node().map(|_| version())),
    (Get, "/cluster/resources", resources),
    (Get, "/cluster/nextid", nextid),
    (Get, "/cluster/status", status),
    (Get, "/cluster/log", log),
    (Get, "/cluster", |_| {
        Ok(index(
            "name",
            &["backup", "ha", "log", "mapping", "nextid", "options", "replication", "resources", "status", "tasks"],
        ))
    }),
];

fn version() -> Reply {
    Reply::data(json!({"version": "9.2.11", "release": "9.2", "repoid": "14a22df35955d97d"}))
}

fn resources(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let wanted = context.param("type");
    let wants = |kind: &str| wanted.is_none_or(|wanted| wanted == kind);
    let mut rows: Vec<Value> = Vec::new();
    if wants("pool") {
        pools(context, &mut rows);
    }
    if wants("vm") {
        let seen = visible(context).map(|guest| figures::resource(context.world, guest, context.now));
        rows.extend(seen);
    }
    if wants("node") {
        for node in context.world.nodes.values() {
            let audit = context.may(&format!("/nodes/{}", node.name), &["Sys.Audit"]);
            rows.push(figures::node_resource(context.world, node, audit, context.now).into());
        }
    }
    if wants("storage") {
        storages(context, &mut rows);
    }
    if wants("sdn") {
        let nodes = context.world.nodes.keys();
        rows.extend(nodes.filter(|_| context.may("/sdn/zones/localnetwork", &["SDN.Audit", "SDN.Use"])).map(|node| {
            json!({"id": format!("network/{node}/zone/localnetwork"), "type": "network", "network": "localnetwork",
                   "network-type": "zone", "node": node, "status": "ok"})
        }));
    }
    Ok(Reply::data(rows))
}

/// The guests that the caller may see.
pub(super) fn visible<'c>(context: &'c Context<'_>) -> impl Iterator<Item = &'c Guest> {
    let caller = context.caller();
    let everything = caller.is_almighty();
    let all = context.world.guests.values();
    all.filter(move |guest| everything || caller.may(&format!("/vms/{}", guest.vmid), &["VM.Audit"]))
}

fn pools(context: &Context<'_>, rows: &mut Vec<Value>) {
    for name in context.world.pools.keys().filter(|name| context.may(&format!("/pool/{name}"), &["Pool.Audit"])) {
        let members = || visible(context).filter(|guest| guest.pool.as_ref() == Some(name));
        rows.push(json!({
            "id": format!("/pool/{name}"),
            "type": "pool",
            "pool": name,
            "cpu": members().map(|guest| guest.cpu_used(context.now)).sum::<f64>(),
            "maxcpu": members().map(Guest::cpus).sum::<u64>(),
            "mem": members().map(Guest::memory_used).sum::<u64>(),
            "maxmem": members().map(Guest::memory).sum::<u64>(),
            "uptime": members().map(|guest| guest.uptime(context.now)).max().unwrap_or(0),
        }));
    }
}

/// The storages as the nodes have them.
pub(super) fn storages(context: &Context<'_>, rows: &mut Vec<Value>) {
    for node in context.world.nodes.keys() {
        for storage in context.world.storages.values().filter(|storage| storage.is_on(node)) {
            let name = &storage.name;
            if !context.may(&format!("/storage/{name}"), &["Datastore.Audit", "Datastore.AllocateSpace"]) {
                continue;
            }
            let online = context.world.is_online(node);
            let mut row = json!({
                "id": format!("storage/{node}/{name}"),
                "type": "storage",
                "storage": name,
                "node": node,
                "status": if online { "available" } else { "unknown" },
                "shared": u8::from(storage.is_shared()),
                "plugintype": storage.kind,
                "content": storage.content.join(","),
            });
            if online {
                let fill = context.world.fill(node, storage);
                row["disk"] = fill.used.into();
                row["maxdisk"] = fill.total.into();
            }
            rows.push(row);
        }
    }
}

fn nextid(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let Some(wanted) = context.param("vmid") else {
        return Ok(Reply::data(context.world.next_vmid().to_string()));
    };
    let number = vmid("vmid", wanted)?;
    match context.world.guests.get(&number) {
        Some(guest) => Err(Fault::parameter("vmid", format!("{} {number} already exists", guest.word()))),
        None => Ok(Reply::data(number.to_string())),
    }
}

fn status(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let nodes = &context.world.nodes;
    let count = nodes.len();
    let mut rows = Vec::new();
    if count > 1 {
        rows.push(json!({"id": "cluster", "type": "cluster", "name": "sandbox", "nodes": count, "quorate": 1, "version": count}));
    }
    rows.extend(nodes.values().map(|node| {
        json!({
            "id": format!("node/{}", node.name),
            "type": "node",
            "name": node.name,
            "nodeid": if count > 1 { node.id } else { 0 },
            "ip": node.ip,
            "local": u8::from(node.id == 1),
            "online": u8::from(node.online),
            "level": "",
        })
    }));
    Ok(Reply::data(rows))
}

/// The lines that tasks leave in the cluster's log, the newest first. Of what is no task nothing is kept.
fn log(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let everything = context.may("/", &["Sys.Syslog"]);
    let own = context.authid();
    let mut lines: Vec<(i64, String, &str, &str, u32)> = Vec::new();
    let world = &*context.world;
    let tasks = world.running.values().chain(world.finished.values());
    for task in tasks.filter(|task| everything || task.authid == own) {
        let (upid, who, node) = (&task.upid, task.authid.as_str(), task.node.as_str());
        lines.push((task.start, format!("starting task {upid}"), who, node, task.pid));
        if let Some(exit) = &task.exit {
            lines.push((task.end, format!("end task {upid} {exit}"), who, node, task.pid));
        }
    }
    // What happened in the same moment stays in its order, too.
    lines.reverse();
    lines.sort_by_key(|(at, ..)| std::cmp::Reverse(*at));
    let most = context.number("max").and_then(|most| usize::try_from(most).ok()).unwrap_or(lines.len());
    let count = lines.len();
    let rows = lines.into_iter().take(most).enumerate().map(|(at, (time, msg, user, node, pid))| {
        let uid = (count - at).to_string();
        json!({
            "id": format!("{uid}:{node}"), "uid": uid, "time": seconds(time), "node": node, "user": user,
            "tag": "pvedaemon", "pri": 6, "pid": pid, "msg": msg,
        })
    });
    Ok(Reply::data(rows.collect::<Vec<_>>()))
}
