//! Storages' definitions made, changed and taken away; what is in a storage stays.
//!
//! Reading them is in [`storage`](super::storage).

use serde_json::json;

use super::{Context, Reply, Route};
use crate::{
    model::{
        List,
        Method::{Delete, Post, Put},
    },
    sandbox::world::node::{GIB, Storage},
    server::Fault,
};

pub(super) const TABLE: &[Route] =
    &[(Post, "/storage", create), (Put, "/storage/{storage}", update), (Delete, "/storage/{storage}", remove)];

/// What a new storage has room for.
const ROOM: u64 = 200 * GIB;

/// Parameters that are no keys of a definition, and secrets, which are kept elsewhere.
const OTHER: &[&str] = &["storage", "type", "content", "delete", "digest", "password", "encryption-key", "keyring"];

/// What a definition of a type cannot be without.
const REQUIRED: &[(&str, &[&str])] = &[
    ("dir", &["path"]),
    ("btrfs", &["path"]),
    ("nfs", &["server", "export"]),
    ("cifs", &["server", "share"]),
    ("pbs", &["server", "datastore"]),
    ("lvm", &["vgname"]),
    ("lvmthin", &["vgname", "thinpool"]),
    ("zfspool", &["pool"]),
    ("iscsi", &["portal", "target"]),
];

/// How a request says what may be in a storage.
fn content_of(context: &Context<'_>) -> Option<Vec<String>> {
    let list = List::members(context.param("content")?);
    Some(list.filter(|content| *content != "none").map(str::to_owned).collect())
}

/// Takes over what a request says.
fn take_over(context: &Context<'_>, storage: &mut Storage) {
    if let Some(content) = content_of(context) {
        storage.content = content;
    }
    for (key, value) in context.request.params.iter().filter(|(key, _)| !OTHER.contains(key)) {
        storage.keys.retain(|(have, _)| have != key);
        storage.keys.push((key.to_owned(), value.to_owned()));
    }
    for gone in context.list("delete") {
        storage.keys.retain(|(have, _)| have != gone);
    }
}

fn create(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let (name, kind) = (context.need("storage")?, context.need("type")?);
    if context.world.storages.has(name) {
        return Err(Fault::die(format!("create storage failed: storage ID '{name}' already defined")));
    }
    let needed = REQUIRED.iter().filter(|(of, _)| *of == kind).flat_map(|(_, keys)| keys.iter());
    if let Some(missing) = needed.into_iter().find(|key| context.param(key).is_none()) {
        return Err(Fault::die(format!("missing value for required option '{missing}'")));
    }
    let content =
        if kind == "pbs" { vec!["backup".to_owned()] } else { vec!["images".to_owned(), "rootdir".to_owned()] };
    let (keys, base) = (Vec::new(), 0);
    let mut storage = Storage { name: name.to_owned(), kind: kind.to_owned(), content, keys, total: ROOM, base };
    take_over(context, &mut storage);
    context.world.storages.insert(name.to_owned(), storage);
    Ok(Reply::data(json!({"storage": name, "type": kind})))
}

fn update(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let name = context.need("storage")?;
    let storage = context.world.storages.get(name);
    let mut storage =
        storage.ok_or_else(|| Fault::die(format!("update storage failed: storage '{name}' does not exist")))?.clone();
    if context.param("digest").is_some_and(|digest| digest != context.world.storage_digest()) {
        return Err(Fault::die(
            "update storage failed: detected modified configuration - file changed by other user? Try again.",
        ));
    }
    take_over(context, &mut storage);
    let kind = storage.kind.clone();
    context.world.storages.insert(name.to_owned(), storage);
    Ok(Reply::data(json!({"storage": name, "type": kind})))
}

fn remove(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let name = context.need("storage")?;
    let is_on = |(key, value): &(String, String)| key == "base" && value.split(':').next() == Some(name);
    if context.world.storages.values().any(|storage| storage.keys.iter().any(is_on)) {
        return Err(Fault::die(
            "delete storage failed: can't remove storage - storage is used as base of another storage",
        ));
    }
    if context.world.storages.remove(name).is_none() {
        return Err(Fault::die(format!("delete storage failed: storage '{name}' does not exist")));
    }
    Ok(Reply::null())
}
