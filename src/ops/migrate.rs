//! Guests that move to another node: what the server says of it beforehand, and the one call.
//!
//! What stands in the way is judged with the other checks; what HA does when it was told is followed in `ha`.

use serde_json::Value;

use super::{
    MemoryClaim, Ops, Resolved,
    params::{Beyond, check_params},
    plan::{Change, Plan},
    verbs::MIGRATE,
};
use crate::{
    backends::{Action, Step},
    client::path,
    model::{
        Call, Class, ConfigView, Error, GuestConfig, GuestKind, GuestRef, Hint, Method, NodeName, Params,
        PropertyString, Result, Size, is_numbered,
    },
};

/// A move to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MigrateRequest {
    /// The node that it goes to.
    pub to: NodeName,
    /// Where its disks go, if not into storages of the same names.
    pub storages: StorageMap,
    /// Disks that only its node has are copied while it runs.
    pub with_local_disks: bool,
    /// A container that runs is shut down, moved and started.
    pub restart: bool,
    /// Further parameters of the call.
    pub more: Params,
}

impl MigrateRequest {
    /// Reads it from the call that stands in the journal.
    pub(super) fn of_call(kind: GuestKind, mut params: Params) -> Result<Self> {
        let to = params.remove("target").unwrap_or_default();
        let mut is = |key| params.remove(key).as_deref() == Some("1");
        let (_, with_local_disks, restart) = (is("online"), is("with-local-disks"), is("restart"));
        let storages = params.remove(storage_param(kind)).map(|text| StorageMap::parse(&text)).transpose()?;
        let to = NodeName::new(&to).map_err(|error| Error::conflict(error.to_string()))?;
        Ok(Self { to, storages: storages.unwrap_or_default(), with_local_disks, restart, more: params })
    }
}

/// From which storage into which.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StorageMap {
    pairs: Vec<(String, String)>,
    others: Option<String>,
}

impl StorageMap {
    /// Reads `A=B,C=D`, where a storage alone is for all that are not named. `:` does as well as `=`.
    ///
    /// # Errors
    /// [`Class::Usage`] for what is no such list.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = |why: &str| {
            Error::usage(format!("`{text}` does not say where disks go: {why}")).with_hint(Hint::Text(
                "FROM=TO for each storage, such as local-lvm=fast, or one for all of them".into(),
            ))
        };
        let mut map = Self::default();
        for part in text.split(',') {
            match part.split_once(['=', ':']) {
                Some((from, to)) if from.is_empty() || to.is_empty() => return Err(wrong("a storage is missing")),
                Some((from, _)) if map.pairs.iter().any(|(have, _)| have == from) => {
                    return Err(wrong(&format!("`{from}` is there twice")));
                }
                Some((from, to)) => map.pairs.push((from.to_owned(), to.to_owned())),
                None if part.is_empty() => return Err(wrong("a storage is missing")),
                // Proxmox's word for storages of the same names, which is what is done anyway.
                None if part == "1" => {}
                None if map.others.is_some() => return Err(wrong("two are for all others")),
                None => map.others = Some(part.to_owned()),
            }
        }
        Ok(map)
    }

    /// Where the disks of a storage go.
    pub fn of<'a>(&'a self, storage: &'a str) -> &'a str {
        let named = self.pairs.iter().find(|(from, _)| from == storage).map(|(_, to)| to.as_str());
        named.or(self.others.as_deref()).unwrap_or(storage)
    }

    /// Whether all stay in storages of the same names.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty() && self.others.is_none()
    }

    /// As the API takes it.
    fn to_param(&self) -> String {
        let pairs = self.pairs.iter().map(|(from, to)| format!("{from}:{to}"));
        pairs.chain(self.others.clone()).collect::<Vec<_>>().join(",")
    }
}

/// A guest that leaves its node: what is known of its way.
#[derive(Debug, Clone)]
pub struct Moving {
    /// Where it goes.
    pub to: NodeName,
    /// Whether it is on.
    pub running: bool,
    pub(super) with_local_disks: bool,
    pub(super) restart: bool,
    /// The call has more to say than HA would be told.
    pub(super) particular: bool,
    /// Its volumes that are only on its node, as far as the server says; of a container all that are not marked as shared.
    pub(super) volumes: Vec<Held>,
    /// Keys of cards, and their bridges.
    pub(super) bridges: Vec<(String, String)>,
    /// What the server says of the way: `GET …/migrate`.
    pub(super) said: Value,
}

/// A volume that goes along.
#[derive(Debug, Clone)]
pub(super) struct Held {
    /// The key, or what it is.
    pub(super) key: String,
    pub(super) volume: String,
    pub(super) size: Option<u64>,
    /// The storage that it comes into.
    pub(super) into: Option<String>,
    /// An image in a CD-ROM drive, which is not copied.
    pub(super) image: bool,
    /// The guest reads and writes it while it runs.
    pub(super) attached: bool,
    pub(super) snapshots: Vec<String>,
}

impl Held {
    pub(super) fn storage(&self) -> Option<&str> {
        self.volume.split_once(':').filter(|_| !self.volume.starts_with('/')).map(|(storage, _)| storage)
    }
}

impl Moving {
    /// What the server says about the node in question, by key.
    pub(super) fn refused(&self, key: &str) -> &[Value] {
        let nodes = self.said.get("not_allowed_nodes").or_else(|| self.said.get("not-allowed-nodes"));
        self.list(nodes.and_then(|nodes| nodes.get(self.to.as_str())).and_then(|node| node.get(key)))
    }

    /// A list of what the server says.
    pub(super) fn told(&self, key: &str) -> &[Value] {
        self.list(self.said.get(key))
    }

    fn list<'a>(&self, value: Option<&'a Value>) -> &'a [Value] {
        value.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
    }
}

impl Plan {
    /// The node that it takes memory and room of.
    pub fn place(&self) -> &NodeName {
        self.moving.as_ref().map_or(&self.guest.node, |moving| &moving.to)
    }
}

impl Ops {
    /// A node that guests can go to.
    ///
    /// # Errors
    /// [`Class::NotFound`] for one that there is not, [`Class::Unreachable`] for one that is not online.
    pub async fn require_aim(&self, node: &NodeName) -> Result<()> {
        let there = self.require_node(node.as_str()).await?;
        match there.is_online() {
            true => Ok(()),
            false => Err(Error::new(Class::Unreachable, format!("node {node} is {}", there.status))
                .with_hint(Hint::NodeAway(node.to_string()))),
        }
    }

    /// Plans a move to another node. A guest that is there already needs nothing.
    ///
    /// # Errors
    /// [`Class::Conflict`] for a locked guest, [`Class::Usage`] for parameters that the server would refuse; whatever the
    /// server says when it is asked about the way. What it finds in the way is for the checks to judge.
    pub async fn plan_migrate(&self, found: &Resolved, request: &MigrateRequest) -> Result<Plan> {
        let guest = found.guest.reference();
        let kind = guest.kind;
        self.backend().capabilities().require(kind, Action::Migrate)?;
        let mut plan = Plan::new(MIGRATE, found.target.clone(), guest.clone(), found.guest.name.clone());
        if guest.node == request.to {
            plan.notes.push(format!("already on {}", request.to));
            return Ok(plan);
        }
        let config = self.backend().guest_config(&guest, ConfigView::Current).await?;
        // What is suspended to disk is refused too: its memory stays where it is.
        if let Some(lock) = config.lock() {
            return Err(plan.locked(lock));
        }
        let base = path::segments(&["nodes", guest.node.as_str(), kind.api(), &guest.vmid.to_string(), "migrate"]);
        let ask = Call::new(Method::Get, base).with_params(Params::new().with("target", &request.to));
        let said = self.backend().send(&ask).await?.data;
        let running = matches!(&said["running"], Value::Bool(true)) || said["running"] == 1;
        let volumes = match kind {
            GuestKind::Qemu => told_volumes(&said, request),
            GuestKind::Lxc => self.mounted(&guest, &config, request).await?,
        };
        // Who says where disks go wants them to go.
        let with_local_disks = request.with_local_disks || !request.storages.is_empty();
        plan.changes.push(change("node", guest.node.as_str(), request.to.as_str()));
        for held in volumes.iter().filter(|held| !held.image) {
            let (Some(storage), Some(into)) = (held.storage(), &held.into) else { continue };
            if storage != into {
                plan.changes.push(change(&held.key, storage, into));
            }
            plan.claims.room.extend(held.size.map(|size| (into.clone(), size)));
        }
        let mut params = Params::new().with("target", &request.to);
        match kind {
            GuestKind::Qemu if running => {
                params.push("online", 1);
                params = params.with_flag("with-local-disks", with_local_disks);
            }
            GuestKind::Lxc if running => params = params.with_flag("restart", request.restart),
            _ => {}
        }
        if running {
            plan.claims.memory = found.guest.maxmem.map(MemoryClaim::starting);
        }
        if !request.storages.is_empty() {
            params.push(storage_param(kind), request.storages.to_param());
        }
        params.extend(request.more.iter());
        let params = check_params(kind, Action::Migrate, params, &Beyond::default())?;
        plan.moving = Some(Box::new(Moving {
            to: request.to.clone(),
            running,
            with_local_disks,
            restart: request.restart,
            particular: !request.more.is_empty() || !request.storages.is_empty(),
            volumes,
            bridges: bridges(&config),
            said,
        }));
        plan.steps.push(Step::new(Action::Migrate, guest).with_params(params));
        Ok(plan)
    }

    /// The volumes of a container, of which the server says nothing.
    async fn mounted(&self, guest: &GuestRef, config: &GuestConfig, request: &MigrateRequest) -> Result<Vec<Held>> {
        let snapshots: Vec<String> =
            self.backend().snapshots(guest).await?.into_iter().map(|snapshot| snapshot.name).collect();
        let held = config.disks().into_iter().filter_map(|(key, disk)| {
            let volume = disk.get_or_bare("volume")?.to_owned();
            let size = disk.get("size").and_then(|size| size.parse::<Size>().ok()).map(|size| size.0);
            let snapshots = if key.starts_with("unused") { Vec::new() } else { snapshots.clone() };
            let held = Held { key, volume, size, into: None, image: false, attached: true, snapshots };
            (disk.get("shared") != Some("1")).then(|| goes(held, &request.storages))
        });
        Ok(held.collect())
    }
}

/// The parameter that says where disks go.
pub(super) fn storage_param(kind: GuestKind) -> &'static str {
    if kind == GuestKind::Qemu { "targetstorage" } else { "target-storage" }
}

fn goes(held: Held, storages: &StorageMap) -> Held {
    Held { into: held.storage().map(|storage| storages.of(storage).to_owned()), ..held }
}

/// The volumes of a VM that only its node has, as the server lists them.
fn told_volumes(said: &Value, request: &MigrateRequest) -> Vec<Held> {
    let rows = said["local_disks"].as_array().map(Vec::as_slice).unwrap_or_default();
    let held = rows.iter().filter_map(|row| {
        let is = |key: &str| row.get(key).is_some_and(|value| *value == 1 || *value == true);
        let volume = row["volid"].as_str()?.to_owned();
        let key = match row["drivename"].as_str() {
            Some(key) => key.to_owned(),
            None if is("is_vmstate") => "the memory of a snapshot".to_owned(),
            None => "a disk that is not in use".to_owned(),
        };
        let snapshots = row["referenced_in_snapshot"].as_object();
        let snapshots = snapshots.filter(|_| !is("is_vmstate")).map(|names| names.keys().cloned().collect());
        Some(Held {
            key,
            volume,
            size: row["size"].as_u64(),
            into: None,
            image: is("cdrom") && !is("is_cloudinit"),
            attached: is("is_attached") && !is("cdrom"),
            snapshots: snapshots.unwrap_or_default(),
        })
    });
    let mut held: Vec<Held> = held.map(|held| goes(held, &request.storages)).collect();
    held.sort_by(|a, b| (&a.key, &a.volume).cmp(&(&b.key, &b.volume)));
    held
}

fn change(key: &str, before: &str, after: &str) -> Change {
    Change { key: key.to_owned(), before: Some(before.to_owned()), after: Some(after.to_owned()) }
}

fn bridges(config: &GuestConfig) -> Vec<(String, String)> {
    let cards = config.0.keys().filter(|key| is_numbered(key, "net"));
    let bridge = |key: &String| {
        let card = PropertyString::lenient(&config.text(key)?);
        Some((key.clone(), card.get("bridge")?.to_owned()))
    };
    cards.filter_map(bridge).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_disks_go_is_read_and_written() {
        for (text, local, other, sent) in [
            ("local-lvm=fast", "fast", "slow", "local-lvm:fast"),
            ("local-lvm:fast,slow=big", "fast", "big", "local-lvm:fast,slow:big"),
            ("fast", "fast", "fast", "fast"),
            ("slow=big,fast", "fast", "big", "slow:big,fast"),
            ("1", "local-lvm", "slow", ""),
        ] {
            let map = StorageMap::parse(text).unwrap();
            assert_eq!(
                (map.of("local-lvm"), map.of("slow"), map.to_param()),
                (local, other, sent.to_owned()),
                "{text}"
            );
            assert_eq!(map.is_empty(), sent.is_empty());
            if !sent.is_empty() {
                assert_eq!(StorageMap::parse(sent).unwrap(), map);
            }
        }
        for text in ["", "=", "a=", "=b", "a=b,", "a=b,a=c", "a,b"] {
            assert_eq!(StorageMap::parse(text).unwrap_err().class(), Class::Usage, "{text}");
        }
    }

    /// What a real 9.2 says, with a disk that a snapshot has too, the memory of that snapshot, and a cloud-init drive.
    #[test]
    fn what_the_server_says_of_disks_is_read() {
        let recorded = include_str!("../../fixtures/pve/recordings/get.json");
        let recorded: Vec<Value> = serde_json::from_str(recorded).unwrap();
        let of = |path: &str| {
            let row = recorded.iter().find(|row| row["path"] == path).unwrap();
            let request = MigrateRequest {
                to: NodeName::new("pve2").unwrap(),
                storages: StorageMap::parse("dir1=fast").unwrap(),
                with_local_disks: false,
                restart: false,
                more: Params::new(),
            };
            told_volumes(&row["body"]["data"], &request)
        };
        let held = of("/nodes/pve1/qemu/100/migrate");
        let [disk, memory] = held.as_slice() else { panic!("{held:?}") };
        assert_eq!((disk.key.as_str(), disk.size, disk.attached, disk.image), ("scsi0", Some(1 << 30), true, false));
        assert_eq!((disk.snapshots.as_slice(), disk.into.as_deref()), (["before".to_owned()].as_slice(), Some("fast")));
        assert_eq!((memory.key.as_str(), memory.attached), ("the memory of a snapshot", false));
        assert!(memory.snapshots.is_empty());
        let held = of("/nodes/pve1/qemu/101/migrate");
        assert!(held.iter().all(|held| !held.image), "a cloud-init drive goes along: {held:?}");
    }
}
