//! The reads: what the backend knows, in the rows that a node has.

mod stored;

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{
    Host, Picture,
    scope::{SEE_STORAGE, node_outline},
};
use crate::{
    backends::TaskQuery,
    model::{Class, ConfigView, Guest, GuestKind, GuestRef, Node, NodeName, Storage, TaskEntry, Upid, Vmid},
    server::{Fault, Reply, Request, access::Caller},
};

/// How many rows or lines come when nobody says: a node's own number.
const LIMIT: u64 = 50;

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
