//! Snapshots: list, read, take, remove, go back.
//!
//! What they do to the guest is in [`world::effect`](crate::sandbox::world::effect).

use serde_json::{Map, Value, json};

use super::{Context, Reply, Route, index};
use crate::{
    model::{
        GuestKind,
        Method::{Delete, Get, Post, Put},
    },
    sandbox::world::{config::as_json, effect::Act, guest::Snapshot, seconds},
    server::Fault,
};

pub(super) const TABLE: &[Route] = &[
    (Get, "/nodes/{node}/qemu/{vmid}/snapshot", list),
    (Get, "/nodes/{node}/lxc/{vmid}/snapshot", list),
    (Post, "/nodes/{node}/qemu/{vmid}/snapshot", take),
    (Post, "/nodes/{node}/lxc/{vmid}/snapshot", take),
    (Get, "/nodes/{node}/qemu/{vmid}/snapshot/{snapname}", |_| Ok(index("cmd", &["rollback", "config"]))),
    (Get, "/nodes/{node}/lxc/{vmid}/snapshot/{snapname}", |_| Ok(index("cmd", &["rollback", "config"]))),
    (Delete, "/nodes/{node}/qemu/{vmid}/snapshot/{snapname}", remove),
    (Delete, "/nodes/{node}/lxc/{vmid}/snapshot/{snapname}", remove),
    (Get, "/nodes/{node}/qemu/{vmid}/snapshot/{snapname}/config", config),
    (Get, "/nodes/{node}/lxc/{vmid}/snapshot/{snapname}/config", config),
    (Put, "/nodes/{node}/qemu/{vmid}/snapshot/{snapname}/config", describe),
    (Put, "/nodes/{node}/lxc/{vmid}/snapshot/{snapname}/config", describe),
    (Post, "/nodes/{node}/qemu/{vmid}/snapshot/{snapname}/rollback", rollback),
    (Post, "/nodes/{node}/lxc/{vmid}/snapshot/{snapname}/rollback", rollback),
];

/// The task's type for a VM or a container.
fn task(context: &Context<'_>, vm: &'static str, container: &'static str) -> &'static str {
    if context.kind() == GuestKind::Qemu { vm } else { container }
}

fn list(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let guest = context.guest()?;
    let is_vm = guest.kind == GuestKind::Qemu;
    let mut rows: Vec<Value> = Vec::new();
    for (name, snapshot) in &guest.snapshots {
        let mut row = Map::from_iter([
            ("name".to_owned(), name.as_str().into()),
            ("description".to_owned(), snapshot.description.as_str().into()),
            ("snaptime".to_owned(), seconds(snapshot.taken).into()),
        ]);
        if is_vm {
            row.insert("vmstate".into(), u8::from(snapshot.vmstate.is_some()).into());
        }
        if let Some(parent) = &snapshot.parent {
            row.insert("parent".into(), parent.as_str().into());
        }
        rows.push(row.into());
    }
    let mut here = Map::from_iter([
        ("name".to_owned(), "current".into()),
        ("description".to_owned(), "You are here!".into()),
        ("digest".to_owned(), guest.digest().into()),
        ("running".to_owned(), u8::from(guest.is_running()).into()),
    ]);
    if let Some(parent) = guest.get("parent") {
        here.insert("parent".into(), parent.into());
    }
    rows.push(here.into());
    Ok(Reply::data(rows))
}

fn find<'c>(context: &'c Context<'_>) -> Result<&'c Snapshot, Fault> {
    let name = context.need("snapname")?;
    let found = context.guest()?.snapshots.get(name);
    found.ok_or_else(|| Fault::die(format!("snapshot '{name}' does not exist")))
}

fn config(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let snapshot = find(context)?;
    let mut config = as_json(context.kind(), &snapshot.config);
    config.insert("snaptime".into(), seconds(snapshot.taken).into());
    config.insert("description".into(), snapshot.description.as_str().into());
    for (key, value) in [("parent", &snapshot.parent), ("vmstate", &snapshot.vmstate)] {
        if let Some(value) = value {
            config.insert(key.into(), json!(value));
        }
    }
    Ok(Reply::data(Value::from(config)))
}

fn describe(context: &mut Context<'_>) -> Result<Reply, Fault> {
    find(context)?;
    let (vmid, name) = (context.vmid()?, context.need("snapname")?.to_owned());
    let Some(description) = context.param("description").map(str::to_owned) else {
        return Ok(Reply::data(Value::Null));
    };
    let guest = context.world.guests.edit(&vmid);
    if let Some(snapshot) = guest.and_then(|guest| guest.snapshots.get_mut(&name)) {
        snapshot.description = description;
    }
    Ok(Reply::data(Value::Null))
}

fn take(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let name = context.need("snapname")?.to_owned();
    let reserved = match context.kind() {
        GuestKind::Qemu if name.eq_ignore_ascii_case("pending") => Some("pending"),
        GuestKind::Lxc if name == "vzdump" => Some("vzdump"),
        _ => Some("current").filter(|word| name == *word),
    };
    if let Some(name) = reserved {
        return Err(Fault::die(format!("unable to use snapshot name '{name}' (reserved name)")));
    }
    let description = context.param("description").unwrap_or_default().to_owned();
    let act = Act::Snapshot { name, description, memory: context.flag("vmstate") };
    let order = context.order(task(context, "qmsnapshot", "vzsnapshot"), 300, act)?;
    Ok(context.begin(order))
}

fn remove(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let act = Act::DeleteSnapshot(context.need("snapname")?.to_owned());
    let order = context.order(task(context, "qmdelsnapshot", "vzdelsnapshot"), 300, act)?;
    Ok(context.begin(order))
}

fn rollback(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let act = Act::Rollback { name: context.need("snapname")?.to_owned(), start: context.flag("start") };
    let order = context.order(task(context, "qmrollback", "vzrollback"), 400, act)?;
    Ok(context.begin(order))
}
