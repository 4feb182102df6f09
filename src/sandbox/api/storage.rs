//! Storages: definitions, their state on a node, and what is in them.
//!
//! Disks of guests are made with the guests' configuration.

use serde_json::{Map, Value, json};

use super::{Context, Reply, Route, figures, index};
use crate::{
    model::Method::{Delete, Get},
    sandbox::world::{
        effect::Effect,
        node::{Storage, Volume},
        seconds,
        task::Order,
    },
    server::Fault,
};

pub(super) const TABLE: &[Route] = &[
    (Get, "/storage", definitions),
    (Get, "/storage/{storage}", definition),
    (Get, "/nodes/{node}/storage", on_node),
    (Get, "/nodes/{node}/storage/{storage}", |_| Ok(index("subdir", &["content", "status"]))),
    (Get, "/nodes/{node}/storage/{storage}/status", status),
    (Get, "/nodes/{node}/storage/{storage}/content", content),
    (Get, "/nodes/{node}/storage/{storage}/content/{volume}", volume),
    (Delete, "/nodes/{node}/storage/{storage}/content/{volume}", remove),
];

/// What lets somebody see a storage.
const SEE: &[&str] = &["Datastore.Audit", "Datastore.AllocateSpace"];

fn visible<'c>(context: &'c Context<'_>) -> impl Iterator<Item = &'c Storage> {
    let all = context.world.storages.values();
    all.filter(|storage| context.may(&format!("/storage/{}", storage.name), SEE))
}

fn defined(storage: &Storage, digest: &str) -> Value {
    let mut row = Map::new();
    row.insert("storage".into(), storage.name.as_str().into());
    row.insert("type".into(), storage.kind.as_str().into());
    row.insert("content".into(), storage.content.join(",").into());
    row.insert("digest".into(), digest.into());
    for (key, value) in &storage.keys {
        let flag = ["disable", "shared"].contains(&key.as_str()).then(|| u8::from(value == "1"));
        row.insert(key.clone(), flag.map_or_else(|| value.as_str().into(), Value::from));
    }
    row.into()
}

fn definitions(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let rows = visible(context).filter(|storage| context.param("type").is_none_or(|kind| kind == storage.kind));
    let digest = context.world.storage_digest();
    Ok(Reply::data(rows.map(|storage| defined(storage, &digest)).collect::<Vec<_>>()))
}

fn definition(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let name = context.need("storage")?;
    let storage = context.world.storages.get(name);
    let storage = storage.ok_or_else(|| Fault::die(format!("storage '{name}' does not exist")))?;
    Ok(Reply::data(defined(storage, &context.world.storage_digest())))
}

/// The storage in the path.
fn find<'c>(context: &'c Context<'_>) -> Result<&'c Storage, Fault> {
    let node = context.node()?;
    let found = context.world.storages.get(context.need("storage")?).filter(|storage| storage.is_on(&node));
    found.ok_or_else(|| Fault::parameter("storage", "No such storage."))
}

fn on_node(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let node = context.node()?;
    let wanted = |storage: &&Storage| {
        storage.is_on(&node)
            && context.param("storage").is_none_or(|name| name == storage.name)
            && context.param("content").is_none_or(|list| list.split(',').any(|content| storage.holds(content)))
    };
    let rows = visible(context).filter(wanted).map(|storage| {
        let mut row = figures::storage_status(context.world, &node, storage);
        let fill = context.world.fill(&node, storage);
        row.insert("storage".into(), storage.name.as_str().into());
        row.insert("used_fraction".into(), (fill.used as f64 / fill.total.max(1) as f64).into());
        Value::from(row)
    });
    Ok(Reply::data(rows.collect::<Vec<_>>()))
}

fn status(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let storage = find(context)?;
    Ok(Reply::data(Value::from(figures::storage_status(context.world, &context.node()?, storage))))
}

fn row(context: &Context<'_>, volume: &Volume) -> Value {
    let mut row = Map::new();
    row.insert("volid".into(), volume.volid.as_str().into());
    row.insert("content".into(), volume.content.as_str().into());
    row.insert("format".into(), volume.format.as_str().into());
    row.insert("size".into(), volume.size.into());
    row.insert("ctime".into(), seconds(volume.created).into());
    if let Some(vmid) = volume.vmid {
        row.insert("vmid".into(), vmid.into());
    }
    if let Some(archive) = context.world.archives.get(volume.key().as_str()) {
        row.insert("subtype".into(), archive.kind.api().into());
        row.extend(archive.notes.as_ref().map(|notes| ("notes".to_owned(), notes.as_str().into())));
        row.extend(archive.protected.then(|| ("protected".to_owned(), 1.into())));
    } else if volume.vmid.is_some() {
        row.insert("used".into(), (volume.size / 4).into());
        row.insert("parent".into(), volume.parent.as_deref().map_or(Value::Null, Value::from));
    }
    row.into()
}

/// Whether the caller may see a volume: everybody sees installation media, a guest's disks need its or the storage's
/// privileges.
fn may_see(context: &Context<'_>, volume: &Volume) -> bool {
    match volume.vmid {
        None => true,
        Some(_) if volume.content == "backup" => super::backup::may_use(context, volume),
        Some(vmid) => {
            context.may(&format!("/storage/{}", volume.storage()), &["Datastore.Audit", "Datastore.Allocate"])
                || context.may(&format!("/vms/{vmid}"), &["VM.Audit", "VM.Config.Disk"])
        }
    }
}

fn content(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let (node, storage) = (context.node()?, find(context)?);
    let wanted = |volume: &&Volume| {
        context.param("content").is_none_or(|content| content == volume.content)
            && context.number("vmid").is_none_or(|vmid| volume.vmid.map(i64::from) == Some(vmid))
            && may_see(context, volume)
    };
    let rows = context.world.volumes_in(&node, &storage.name).filter(wanted).map(|volume| row(context, volume));
    Ok(Reply::data(rows.collect::<Vec<_>>()))
}

/// The volume in the path: its full id, or the name within the storage.
fn find_volume<'c>(context: &'c Context<'_>) -> Result<&'c Volume, Fault> {
    let (node, storage, name) = (context.node()?, find(context)?, context.need("volume")?);
    let volid = match name.split_once(':') {
        Some(_) => name.to_owned(),
        None => format!("{}:{name}", storage.name),
    };
    let found = context.world.volumes.get(context.world.key_of(&node, &volid).as_str());
    found.ok_or_else(|| Fault::die(format!("volume '{volid}' does not exist")))
}

fn volume(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let volume = find_volume(context)?;
    if !may_see(context, volume) {
        return Err(Fault::forbidden(&format!("/storage/{}", volume.storage()), "Datastore.Audit"));
    }
    Ok(Reply::data(json!({
        "path": format!("/dev/pve/{}", volume.name()),
        "format": volume.format,
        "size": volume.size,
        "used": volume.size / 4,
    })))
}

fn remove(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let volume = find_volume(context)?.clone();
    let path = format!("/storage/{}", volume.storage());
    match volume.vmid {
        Some(_) if volume.content == "backup" => {
            if !super::backup::may_use(context, &volume) {
                return Err(Fault::forbidden(&path, "Datastore.Allocate"));
            }
            if context.world.archives.get(volume.key().as_str()).is_some_and(|archive| archive.protected) {
                let (name, storage) = (volume.name(), volume.storage());
                return Err(Fault::die(format!("cannot remove protected volume '{name}' on '{storage}'")));
            }
        }
        Some(vmid) => {
            if !context.may(&path, &["Datastore.Allocate"]) {
                context.require(&path, &["Datastore.AllocateSpace"])?;
                context.require(&format!("/vms/{vmid}"), &["VM.Config.Disk"])?;
            }
            let owner = context.world.guests.get(&vmid);
            if let Some(owner) =
                owner.filter(|owner| owner.node == volume.node && owner.volids().contains(&volume.volid))
            {
                let word = owner.word();
                return Err(Fault::die(format!(
                    "Cannot remove image, a guest with VMID '{vmid}' exists!\n\
                     You can delete the image from the guest's hardware pane ({word} {vmid})"
                )));
            }
        }
        None => context.require(&path, &["Datastore.Allocate", "Datastore.AllocateTemplate"])?,
    }
    let owner = volume.vmid.map(|vmid| vmid.to_string()).unwrap_or_default();
    let order = Order {
        node: context.node()?,
        kind: "imgdel",
        id: format!("{owner}@{}", volume.storage()),
        authid: context.authid(),
        takes: 100,
        holds: Vec::new(),
        script: vec![(0.5, format!("Removed volume '{}'", volume.volid))],
        effect: Effect::DeleteVolume(volume.key()),
    };
    Ok(context.begin(order))
}
