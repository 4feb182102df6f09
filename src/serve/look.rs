//! The reads: what the backend knows, in the rows that a node has.

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{
    Host, Picture,
    scope::{SEE_STORAGE, node_outline},
};
use crate::{
    backends::TaskQuery,
    model::{Class, ConfigView, Guest, GuestKind, GuestRef, Node, NodeName, Storage, TaskEntry, Upid, Vmid, Volume},
    server::{Fault, Reply, Request, access::Caller},
};

/// How many rows or lines come when nobody says: a node's own number.
const LIMIT: u64 = 50;

/// What a volume may be looked at with, on its guest and on its storage.
const SEE_DISK: &[&str] = &["VM.Audit", "VM.Config.Disk"];
const SEE_VOLUME: &[&str] = &["Datastore.Audit", "Datastore.Allocate"];

type Answer = Result<Reply, Fault>;

/// A value in the API's shape.
fn value(of: impl Serialize) -> Result<Value, Fault> {
    serde_json::to_value(of).map_err(|error| Fault::die(error.to_string()))
}

fn rows<T: Serialize>(of: impl IntoIterator<Item = T>) -> Answer {
    Ok(Reply::data(of.into_iter().map(value).collect::<Result<Vec<_>, _>>()?))
}

fn number(request: &Request, key: &str) -> Option<u64> {
    request.params.get(key)?.parse().ok()
}

/// The word for an answer to those who see these guests and storages of a picture.
fn audience(answer: String, picture: &Picture, guests: &[&Guest], storages: &[&Storage]) -> String {
    let mut word = answer;
    if (guests.len(), storages.len()) != (picture.guests.len(), picture.storages.len()) {
        // Whoever sees nothing is not whoever sees all.
        word += " only";
        guests.iter().for_each(|guest| word += &format!(" guest/{}", guest.vmid));
        storages.iter().for_each(|storage| word += &format!(" storage/{}", storage.storage));
    }
    word
}

impl Host {
    /// The guest in the path.
    pub(super) fn guest(&self, request: &Request) -> Result<GuestRef, Fault> {
        let vmid: Vmid = request.need("vmid")?.parse().map_err(|_| Fault::parameter("vmid", "invalid format"))?;
        Ok(GuestRef { kind: GuestKind::Qemu, node: self.node.clone(), vmid })
    }

    /// Whether there is a guest of this number.
    pub(super) async fn is_taken(&self, guest: &GuestRef) -> Result<bool, Fault> {
        match self.backend.guest_config(guest, ConfigView::Current).await {
            Ok(_) => Ok(true),
            Err(error) if error.class() == Class::NotFound => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// The guests and storages of a picture that whoever asks may see.
    fn seen<'p>(&self, request: &Request, picture: &'p Picture) -> (Vec<&'p Guest>, Vec<&'p Storage>) {
        self.caller(request, |caller| {
            let sees = |guest: &&Guest| caller.may(&format!("/vms/{}", guest.vmid), &["VM.Audit"]);
            match caller.is_almighty() {
                true => (picture.guests.iter().collect(), picture.storages.iter().collect()),
                false => (
                    picture.guests.iter().filter(sees).collect(),
                    picture.storages.iter().filter(|storage| sees_storage(caller, storage)).collect(),
                ),
            }
        })
    }

    pub(super) async fn version(&self, _: &Request) -> Answer {
        Ok(Reply::data(Value::from(self.backend.version().await?)))
    }

    /// From the view: the same bytes for all who see the same.
    pub(super) async fn resources(&self, request: &Request) -> Answer {
        let picture = self.view.picture().await?;
        let (guests, storages) = self.seen(request, &picture);
        let kind = request.params.get("type");
        let audits = self.audits(request);
        let answer = format!("resources {} {audits}", kind.unwrap_or_default());
        let audience = audience(answer, &picture, &guests, &storages);
        let made = self.view.prepared(&picture, &audience, || {
            let wants = |wanted: &str| kind.is_none_or(|kind| wanted == kind);
            let mut all = Vec::new();
            if wants("vm") {
                for guest in guests {
                    let api = guest.kind.api();
                    all.push(with_id(value(guest)?, format!("{api}/{}", guest.vmid), api));
                }
            }
            if wants("node") {
                all.extend(node_rows(&picture, audits)?);
            }
            if wants("storage") {
                all.extend(storages.into_iter().map(|storage| self.storage_row(storage)));
            }
            Ok(all.into())
        })?;
        Ok(Reply::prepared(made))
    }

    fn storage_row(&self, storage: &Storage) -> Value {
        let (node, name) = (&self.node, &storage.storage);
        let room = |key: &str, bytes: Option<u64>| (key.to_owned(), json!(bytes.unwrap_or_default()));
        let mut row = Map::from_iter([room("maxdisk", storage.total), room("disk", Some(storage.used()))]);
        row.extend([
            ("storage".to_owned(), json!(name)),
            ("node".to_owned(), json!(node)),
            ("plugintype".to_owned(), json!(storage.kind)),
            ("content".to_owned(), json!(storage.content)),
            ("shared".to_owned(), json!(u8::from(storage.shared))),
            ("status".to_owned(), json!(if storage.active { "available" } else { "unknown" })),
        ]);
        with_id(row.into(), format!("storage/{node}/{name}"), "storage")
    }

    /// Whether whoever asks may see how the node is.
    fn audits(&self, request: &Request) -> bool {
        self.caller(request, |caller| caller.may(&format!("/nodes/{}", self.node), &["Sys.Audit"]))
    }

    pub(super) async fn nodes(&self, request: &Request) -> Answer {
        let picture = self.view.picture().await?;
        Ok(Reply::data(node_rows(&picture, self.audits(request))?))
    }

    pub(super) async fn cluster_status(&self, _: &Request) -> Answer {
        let node = &self.node;
        Ok(Reply::data(json!([{
            "id": format!("node/{node}"), "type": "node", "name": node, "nodeid": 0, "local": 1, "online": 1, "level": "",
        }])))
    }

    pub(super) async fn next_id(&self, request: &Request) -> Answer {
        let Some(wanted) = request.params.get("vmid") else {
            let free = self.backend.next_vmid().await?;
            return Ok(Reply::data(free.to_string()));
        };
        match self.is_taken(&self.guest(request)?).await? {
            true => Err(Fault::parameter("vmid", format!("VM {wanted} already exists"))),
            false => Ok(Reply::data(wanted)),
        }
    }

    pub(super) async fn time(&self, _: &Request) -> Answer {
        let now = jiff::Zoned::now();
        let seconds = now.timestamp().as_second();
        let zone = now.time_zone().iana_name().unwrap_or("UTC").to_owned();
        let local = seconds + i64::from(now.offset().seconds());
        Ok(Reply::data(json!({"time": seconds, "localtime": local, "timezone": zone})))
    }

    pub(super) async fn no_containers(&self, _: &Request) -> Answer {
        Ok(Reply::data(Vec::<Value>::new()))
    }

    /// From the view, as [`resources`](Self::resources).
    pub(super) async fn guests(&self, request: &Request) -> Answer {
        let row = |guest: &Guest| {
            let mut row = value(guest)?;
            if let Some(row) = row.as_object_mut() {
                ["node", "type", "id"].into_iter().for_each(|key| drop(row.remove(key)));
                if let Some(cpus) = row.remove("maxcpu") {
                    row.insert("cpus".to_owned(), cpus);
                }
            }
            Ok(row)
        };
        let picture = self.view.picture().await?;
        let (guests, storages) = self.seen(request, &picture);
        let audience = audience("guests".to_owned(), &picture, &guests, &storages);
        let make = || Ok(guests.into_iter().map(row).collect::<Result<Vec<Value>, Fault>>()?.into());
        Ok(Reply::prepared(self.view.prepared(&picture, &audience, make)?))
    }

    pub(super) async fn guest_status(&self, request: &Request) -> Answer {
        let status = self.view.status(&self.guest(request)?).await?;
        Ok(Reply::data(Value::from(status)))
    }

    pub(super) async fn guest_config(&self, request: &Request) -> Answer {
        let guest = self.guest(request)?;
        let config = match request.params.get("snapshot") {
            Some(snapshot) => self.backend.snapshot_config(&guest, snapshot).await,
            None => {
                let current = request.params.get("current") == Some("1");
                let view = if current { ConfigView::Current } else { ConfigView::Pending };
                self.backend.guest_config(&guest, view).await
            }
        };
        Ok(Reply::data(value(config?)?))
    }

    pub(super) async fn guest_pending(&self, request: &Request) -> Answer {
        rows(self.backend.guest_pending(&self.guest(request)?).await?)
    }

    /// With the entry that stands for the present, as a node lists it.
    pub(super) async fn snapshots(&self, request: &Request) -> Answer {
        let guest = self.guest(request)?;
        let snapshots = self.backend.snapshots(&guest).await?;
        let config = self.backend.guest_config(&guest, ConfigView::Current).await?;
        let status = self.backend.guest_status(&guest).await?;
        let running = u8::from(status.get("status").is_some_and(|status| status == "running"));
        let mut present = json!({"name": "current", "description": "You are here!", "running": running});
        for key in ["parent", "digest"] {
            if let Some(have) = config.0.get(key) {
                present[key] = have.clone();
            }
        }
        let mut all = snapshots.iter().map(value).collect::<Result<Vec<_>, _>>()?;
        all.push(present);
        Ok(Reply::data(all))
    }

    pub(super) async fn snapshot_config(&self, request: &Request) -> Answer {
        let name = request.need("snapname")?;
        let config = self.backend.snapshot_config(&self.guest(request)?, name).await;
        Ok(Reply::data(value(config?)?))
    }

    pub(super) async fn storages(&self, request: &Request) -> Answer {
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

    pub(super) async fn storage_status(&self, request: &Request) -> Answer {
        let storage = self.storage(request).await?;
        let storage = storage.ok_or_else(|| Fault::parameter("storage", "No such storage."))?;
        let mut row = storage_of_node(&storage)?;
        if let Some(row) = row.as_object_mut() {
            // What was asked for is not told again.
            ["storage", "used_fraction"].into_iter().for_each(|key| drop(row.remove(key)));
        }
        Ok(Reply::data(row))
    }

    pub(super) async fn defined_storages(&self, request: &Request) -> Answer {
        let mut storages = self.backend.storages(&self.node).await?;
        let kind = request.params.get("type");
        self.caller(request, |caller| {
            storages.retain(|storage| kind.is_none_or(|kind| kind == storage.kind) && sees_storage(caller, storage));
        });
        Ok(Reply::data(storages.iter().map(defined).collect::<Vec<_>>()))
    }

    pub(super) async fn defined_storage(&self, request: &Request) -> Answer {
        let storage = self.storage(request).await?;
        let missing =
            || Fault::die(format!("storage '{}' does not exist", request.params.get("storage").unwrap_or_default()));
        Ok(Reply::data(defined(&storage.ok_or_else(missing)?)))
    }

    pub(super) async fn volumes(&self, request: &Request) -> Answer {
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
    pub(super) async fn volume(&self, request: &Request) -> Answer {
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

    /// The task in the path.
    fn upid(&self, request: &Request) -> Result<Upid, Fault> {
        request.need("upid")?.parse().map_err(|_| Fault::parameter("upid", "unable to parse worker upid"))
    }

    pub(super) async fn cluster_tasks(&self, request: &Request) -> Answer {
        // All where some are not shown.
        let limit = if self.caller(request, |caller| caller.is_almighty()) { LIMIT } else { 0 };
        let mut found = self.backend.tasks(&TaskQuery { limit, ..TaskQuery::default() }).await?;
        self.retain_seen(request, &mut found);
        found.truncate(LIMIT as usize);
        rows(found.into_iter().map(|mut row| {
            // Which one is at work is told by what is missing.
            row.status = row.status.filter(|status| status != "RUNNING");
            row.other.remove("pstart");
            if row.status.is_some() {
                row.other.remove("pid");
                row.other.insert("saved".to_owned(), "1".into());
            }
            row
        }))
    }

    pub(super) async fn tasks(&self, request: &Request) -> Answer {
        let node: NodeName = self.node.clone();
        let source = request.params.get("source").unwrap_or("archive");
        let (start, limit) = (number(request, "start").unwrap_or(0), number(request, "limit").unwrap_or(LIMIT));
        let since = number(request, "since").unwrap_or(0);
        let kind = request.params.get("typefilter");
        let query = TaskQuery {
            node: Some(node),
            vmid: request.params.get("vmid").and_then(|vmid| vmid.parse().ok()),
            running: source == "active",
            errors: request.params.get("errors") == Some("1"),
            limit: match self.caller(request, |caller| caller.is_almighty()) {
                true => start.saturating_add(limit).saturating_add(LIMIT),
                false => 0,
            },
        };
        let mut found = self.backend.tasks(&query).await?;
        found.retain(|row| {
            (source != "archive" || row.ended().is_some())
                && row.starttime >= since
                && kind.is_none_or(|kind| row.upid.kind == kind)
        });
        self.retain_seen(request, &mut found);
        let total = found.len() as u64;
        let page = found.into_iter().skip(start as usize).take(limit as usize).map(in_list);
        Ok(Reply { total: Some(total), ..rows(page)? })
    }

    pub(super) async fn task_status(&self, request: &Request) -> Answer {
        let upid = self.upid(request)?;
        self.may_see(request, &upid)?;
        let status = self.backend.task_status(&upid).await;
        Ok(Reply::data(value(status.map_err(|_| Fault::parameter("upid", "no such task"))?)?))
    }

    pub(super) async fn task_log(&self, request: &Request) -> Answer {
        let (start, limit) = (number(request, "start").unwrap_or(0), number(request, "limit").unwrap_or(LIMIT));
        let limit = if limit == 0 { u64::MAX } else { limit };
        let upid = self.upid(request)?;
        self.may_see(request, &upid)?;
        let page = self.backend.task_log(&upid, start, limit).await?;
        Ok(Reply { total: Some(page.total), ..rows(page.lines)? })
    }

    pub(super) async fn stop_task(&self, request: &Request) -> Answer {
        let upid = self.upid(request)?;
        self.caller(request, |caller| caller.may_stop_task(&upid.user, self.node.as_str()))?;
        self.backend.stop_task(&upid).await?;
        Ok(Reply::null())
    }
}

/// A row of a node's list: a task at work is told by another hand, with the token in the user's name.
fn in_list(mut row: TaskEntry) -> TaskEntry {
    if row.ended().is_none() {
        row.other.remove("tokenid");
        row.other.insert("user".to_owned(), row.upid.user.as_str().into());
        row.other.insert("saved".to_owned(), "0".into());
    }
    row
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

fn sees_storage(caller: &Caller<'_>, storage: &Storage) -> bool {
    caller.may(&format!("/storage/{}", storage.storage), SEE_STORAGE)
}

/// The nodes; whoever may not see how they are learns that they are there.
fn node_rows(picture: &Picture, audits: bool) -> Result<Vec<Value>, Fault> {
    let row = |node: &Node| {
        let mut row = with_id(value(node)?, format!("node/{}", node.node), "node");
        // Nobody pays for it.
        row["level"] = "".into();
        Ok::<_, Fault>(row)
    };
    picture.nodes.iter().map(|node| row(node).map(|row| if audits { row } else { node_outline(&row) })).collect()
}

/// A row of the cluster's list.
fn with_id(mut row: Value, id: String, kind: &str) -> Value {
    row["id"] = id.into();
    row["type"] = kind.into();
    row
}
