//! What whoever asks may see and do beyond what the contract says: the kit's rules, over what is here.
//!
//! Rows are made, and steps done, by others.

use serde_json::{Value, json};

use super::{Access, Host};
use crate::{
    backends::{Action, Step},
    model::{Class, ConfigView, List, Method, TaskEntry, Upid, is_disk_key},
    server::{
        Fault, Reply, Request,
        access::{Caller, Handler, REALMS, ROOT},
    },
};

/// Parameters of changes that are no keys of a guest.
pub(super) const NOT_KEYS: &[&str] = &[
    "archive",
    "background_delay",
    "bwlimit",
    "delete",
    "digest",
    "force",
    "import-working-storage",
    "live-restore",
    "pool",
    "revert",
    "skiplock",
    "start",
    "storage",
    "unique",
    "vmid",
];

/// What a disk or a storage may be looked at with.
pub(super) const SEE_STORAGE: &[&str] = &["Datastore.Audit", "Datastore.AllocateSpace"];

/// Where Proxmox asks for space, in the words of the request.
fn storage_path(storage: &str) -> String {
    format!("/storage/{storage}")
}

impl Host {
    /// Looks at what whoever asks may do.
    pub(super) fn caller<T>(&self, request: &Request, look: impl FnOnce(&Caller<'_>) -> T) -> T {
        self.access.ask(request.identity.as_ref(), look)
    }

    /// Work that takes its time, where nothing else waits for it.
    pub(super) async fn slowly(&self, work: impl FnOnce(&Access) -> bool + Send + 'static) -> bool {
        let access = self.access.clone();
        // What panics has let nobody in.
        tokio::task::spawn_blocking(move || work(&access)).await.unwrap_or(false)
    }

    /// Answers a request about people: to hash takes its time.
    pub(super) async fn people(&self, handler: Handler, request: &Request) -> Result<Reply, Fault> {
        self.guard_root(request)?;
        if request.method == Method::Get {
            return self.access.answer(handler, request);
        }
        let (access, request) = (self.access.clone(), request.clone());
        let done = tokio::task::spawn_blocking(move || access.answer(handler, &request)).await;
        done.unwrap_or_else(|_| Err(Fault::die("the change of people broke off")))
    }

    /// Nobody but root changes root, its password and its tokens, and it stays.
    fn guard_root(&self, request: &Request) -> Result<(), Fault> {
        if request.method == Method::Get || request.params.get("userid") != Some(ROOT) {
            return Ok(());
        }
        if !self.caller(request, |caller| caller.is_almighty()) {
            return Err(Fault::denied());
        }
        let ends = request.params.get("enable") == Some("0") || request.number("expire").is_some_and(|end| end > 0);
        match request.template == "/access/users/{userid}" && (request.method == Method::Delete || ends) {
            true => Err(Fault::die(format!("{ROOT} owns this host, and stays"))),
            false => Ok(()),
        }
    }

    pub(super) async fn domains(&self, _: &Request) -> Result<Reply, Fault> {
        let rows = REALMS.iter().map(|(name, kind, comment)| json!({"realm": name, "type": kind, "comment": comment}));
        Ok(Reply::data(rows.collect::<Vec<Value>>()))
    }

    pub(super) async fn access_index(&self, _: &Request) -> Result<Reply, Fault> {
        let below = ["users", "groups", "roles", "acl", "permissions", "domains", "ticket", "password"];
        Ok(Reply::data(below.map(|name| json!({"subdir": name})).to_vec()))
    }

    /// Refuses a step on a guest that the contract's permissions let through and a node does not.
    pub(super) async fn may_do(&self, step: &Step, request: &Request) -> Result<(), Fault> {
        if request.flag("skiplock") {
            self.caller(request, |caller| caller.may_skip_lock())?;
        }
        let path = format!("/vms/{}", step.guest.vmid);
        let given = step.params.iter().filter(|(key, _)| !NOT_KEYS.contains(key));
        let named = ["delete", "revert"].into_iter().filter_map(|list| step.params.get(list));
        let keys: Vec<_> = given.chain(named.flat_map(List::members).map(|key| (key, ""))).collect();
        match step.action {
            Action::Create | Action::Configure | Action::ConfigureInTask => {
                let storages = self.storage_names().await?;
                self.caller(request, |caller| {
                    if step.action == Action::Create {
                        caller.may_create(step.guest.vmid.get(), request.params.get("pool"))?;
                    }
                    caller.may_set(&path, keys.into_iter(), &|name| storages.iter().any(|have| have == name))
                })
            }
            Action::Clone | Action::ResizeDisk => {
                let storages = match request.params.get("storage") {
                    Some(storage) => vec![storage.to_owned()],
                    None => self.storages_of(step, request.params.get("disk")).await?,
                };
                self.caller(request, |caller| {
                    let mut named = storages.iter();
                    named.try_for_each(|name| caller.require(&storage_path(name), &["Datastore.AllocateSpace"]))
                })
            }
            _ => Ok(()),
        }
    }

    async fn storage_names(&self) -> Result<Vec<String>, Fault> {
        Ok(self.backend.storages(&self.node).await?.into_iter().map(|storage| storage.storage).collect())
    }

    /// The storages that a guest's disks are on, or one of them is.
    async fn storages_of(&self, step: &Step, disk: Option<&str>) -> Result<Vec<String>, Fault> {
        let config = match self.backend.guest_config(&step.guest, ConfigView::Current).await {
            Ok(config) => config,
            // The step itself says it better.
            Err(error) if error.class() == Class::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        let is_meant = |key: &str| is_disk_key(key) && disk.is_none_or(|disk| disk == key);
        let values = config.0.iter().filter(|(key, _)| is_meant(key)).filter_map(|(_, value)| value.as_str());
        let disks = values.filter(|value| !value.contains("media=cdrom"));
        Ok(disks.filter_map(|value| Some(value.split_once(':')?.0.to_owned())).collect())
    }

    /// Leaves out the tasks that whoever asks may not see.
    pub(super) fn retain_seen(&self, request: &Request, tasks: &mut Vec<TaskEntry>) {
        self.caller(request, |caller| {
            let sees = caller.sees_tasks(self.node.as_str());
            tasks.retain(|row| sees(&row.upid.user));
        });
    }

    /// Refuses to tell of a task of somebody else.
    pub(super) fn may_see(&self, request: &Request, upid: &Upid) -> Result<(), Fault> {
        let node = self.node.as_str();
        match self.caller(request, |caller| caller.may_see_task(&upid.user, node)) {
            true => Ok(()),
            false => Err(Fault::forbidden(&format!("/nodes/{node}"), "Sys.Audit")),
        }
    }
}

/// A node's row for somebody who may not look at the node: that it is there.
pub(super) fn node_outline(row: &Value) -> Value {
    let keys = ["id", "node", "type", "status", "level"];
    keys.iter()
        .filter_map(|key| Some(((*key).to_owned(), row.get(*key)?.clone())))
        .collect::<serde_json::Map<_, _>>()
        .into()
}
