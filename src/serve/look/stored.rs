//! The reads of storages and what is on them.

use serde_json::{Map, Value, json};

use super::{Answer, number, rows, sees_storage, value};
use crate::{
    model::{Storage, Volume},
    serve::Host,
    server::{Fault, Reply, Request},
};

/// What a volume may be looked at with, on its guest and on its storage.
const SEE_DISK: &[&str] = &["VM.Audit", "VM.Config.Disk"];
const SEE_VOLUME: &[&str] = &["Datastore.Audit", "Datastore.Allocate"];

impl Host {
    pub(in crate::serve) async fn storages(&self, request: &Request) -> Answer {
        let mut storages = self.backend.storages(&self.node).await?;
        self.caller(request, |caller| storages.retain(|storage| sees_storage(caller, storage)));
        let params = &request.params;
        let wanted = storages.into_iter().filter(|storage| {
            params.get("storage").is_none_or(|name| name == storage.storage)
                && params.get("content").is_none_or(|list| list.split(',').any(|content| storage.holds(content)))
        });
        Ok(Reply::data(wanted.map(|storage| storage_of_node(&storage)).collect::<Result<Vec<Value>, Fault>>()?))
    }

    /// The storage in the path, if it is there.
    async fn storage(&self, request: &Request) -> Result<Option<Storage>, Fault> {
        let name = request.need("storage")?;
        Ok(self.backend.storages(&self.node).await?.into_iter().find(|storage| storage.storage == name))
    }

    pub(in crate::serve) async fn storage_status(&self, request: &Request) -> Answer {
        let storage = self.storage(request).await?;
        let storage = storage.ok_or_else(|| Fault::parameter("storage", "No such storage."))?;
        let mut row = storage_of_node(&storage)?;
        if let Some(row) = row.as_object_mut() {
            // What was asked for is not told again.
            ["storage", "used_fraction"].into_iter().for_each(|key| drop(row.remove(key)));
        }
        Ok(Reply::data(row))
    }

    pub(in crate::serve) async fn defined_storages(&self, request: &Request) -> Answer {
        let mut storages = self.backend.storages(&self.node).await?;
        let kind = request.params.get("type");
        self.caller(request, |caller| {
            storages.retain(|storage| kind.is_none_or(|kind| kind == storage.kind) && sees_storage(caller, storage));
        });
        Ok(Reply::data(storages.iter().map(defined).collect::<Vec<_>>()))
    }

    pub(in crate::serve) async fn defined_storage(&self, request: &Request) -> Answer {
        let storage = self.storage(request).await?;
        let missing =
            || Fault::die(format!("storage '{}' does not exist", request.params.get("storage").unwrap_or_default()));
        Ok(Reply::data(defined(&storage.ok_or_else(missing)?)))
    }

    pub(in crate::serve) async fn volumes(&self, request: &Request) -> Answer {
        let (storage, content) = (request.need("storage")?, request.params.get("content"));
        let volumes = self.backend.volumes(&self.node, storage, content).await?;
        let of = number(request, "vmid");
        let wanted = |volume: &Volume| of.is_none_or(|of| volume.vmid.map(|vmid| u64::from(vmid.get())) == Some(of));
        rows(volumes.into_iter().filter(wanted).map(|mut volume| {
            // Where it is stands in what is told of one alone.
            volume.other.remove("path");
            volume
        }))
    }

    /// One volume, by its whole name or by what follows the storage in it.
    pub(in crate::serve) async fn volume(&self, request: &Request) -> Answer {
        let (storage, name) = (request.need("storage")?, request.need("volume")?);
        let volid = if name.contains(':') { name.to_owned() } else { format!("{storage}:{name}") };
        let volumes = self.backend.volumes(&self.node, storage, None).await?;
        let found = volumes.into_iter().find(|volume| volume.volid == volid);
        // Whoever may not look is not told either that there is none.
        self.caller(request, |caller| {
            let of_guest = found.as_ref().and_then(|volume| volume.vmid).map(|vmid| format!("/vms/{vmid}"));
            match of_guest.is_some_and(|path| caller.may(&path, SEE_DISK)) {
                true => Ok(()),
                false => caller.require(&format!("/storage/{storage}"), SEE_VOLUME),
            }
        })?;
        let volume = found.ok_or_else(|| Fault::die(format!("volume '{volid}' does not exist")))?;
        let mut told = Map::from_iter([("size".to_owned(), value(volume.size)?)]);
        for key in ["path", "format", "used"] {
            told.extend(volume.other.get(key).map(|have| (key.to_owned(), have.clone())));
        }
        Ok(Reply::data(told))
    }
}

/// A storage as a node has it.
fn storage_of_node(storage: &Storage) -> Result<Value, Fault> {
    let mut row = value(storage)?;
    for flag in ["active", "shared", "enabled"] {
        if let Some(set) = row.get(flag).and_then(Value::as_bool) {
            row[flag] = u8::from(set).into();
        }
    }
    Ok(row)
}

/// A storage as it is defined: without what is in it.
fn defined(storage: &Storage) -> Value {
    json!({"storage": storage.storage, "type": storage.kind, "content": storage.content})
}
