//! What the checks look at: read once for all plans of a command, and only what some check of these plans wants.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde_json::Value;

use super::super::{Ops, Plan, place::content_of, plain};
use crate::{
    backends::Action,
    model::{Guest, GuestRef, Node, NodeName, Params, PropertyString, Result, Storage, Vmid, Volume},
};

/// Something that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fact {
    /// All guests, as the cluster lists them: what the command has read to find its targets will do.
    Guests,
    /// The nodes and their memory: one request.
    Nodes,
    /// The storages of every node on which something is to be allocated: one request each.
    Storages,
    /// The volumes beside those of a template that goes: one request for each storage and node.
    Volumes,
    /// Replication jobs: one request.
    Replication,
    /// Backup jobs: one request.
    Backups,
    /// The bridges of every node that a guest moves to: one request each.
    Bridges,
}

/// What was read. What could not be read is empty.
#[derive(Default)]
pub(super) struct Facts {
    guests: Arc<Vec<Guest>>,
    nodes: Arc<Vec<Node>>,
    storages: BTreeMap<NodeName, Vec<Storage>>,
    volumes: Vec<Volume>,
    replication: Vec<Value>,
    backups: Vec<Value>,
    bridges: BTreeMap<NodeName, BTreeSet<String>>,
    /// The memory that all plans together want more of a node, and the place of the first plan that does.
    memory: BTreeMap<NodeName, (u64, usize)>,
    /// The same of the storages of nodes.
    room: BTreeMap<(NodeName, String), (u64, usize)>,
}

impl Facts {
    pub(super) async fn read(ops: &Ops, plans: &[Plan], reads: BTreeSet<Fact>) -> Self {
        let mut facts = Self::default();
        for (index, plan) in plans.iter().enumerate() {
            let node = plan.place();
            if let Some(memory) = plan.claims.memory {
                facts.memory.entry(node.clone()).or_insert((0, index)).0 += memory.more;
            }
            for (storage, size) in &plan.claims.room {
                facts.room.entry((node.clone(), storage.clone())).or_insert((0, index)).0 += size;
            }
        }
        for fact in reads {
            if let Err(error) = facts.add(ops, plans, fact).await {
                tracing::info!(target: "pvectl::checks", %error, "not checked, as {fact:?} cannot be read");
            }
        }
        facts
    }

    async fn add(&mut self, ops: &Ops, plans: &[Plan], fact: Fact) -> Result<()> {
        let backend = ops.backend();
        // What belongs to a cluster alone.
        let jobs = !backend.capabilities().here;
        match fact {
            Fact::Guests => self.guests = ops.recent_guests().await?,
            Fact::Nodes if self.memory.is_empty() => {}
            Fact::Nodes => self.nodes = ops.recent_nodes().await?,
            Fact::Storages => {
                let room = self.room.keys().map(|(node, _)| node.clone());
                for node in room.chain(aims(plans)).collect::<BTreeSet<_>>() {
                    let storages = backend.storages(&node).await?;
                    self.storages.insert(node, storages);
                }
            }
            Fact::Volumes => {
                let goes = |plan: &&Plan| plan.steps.iter().any(|step| step.action == Action::Destroy);
                let places: BTreeSet<_> = plans.iter().filter(goes).flat_map(|plan| self.bases(plan)).collect();
                for (node, storage, content) in places {
                    self.volumes.extend(backend.volumes(&node, &storage, Some(content)).await?);
                }
            }
            Fact::Replication if jobs => self.replication = ops.rows_at("/cluster/replication", Params::new()).await?,
            Fact::Backups if jobs => self.backups = ops.rows_at("/cluster/backup", Params::new()).await?,
            Fact::Bridges => {
                for node in aims(plans).collect::<BTreeSet<_>>() {
                    let params = Params::new().with("node", &node).with("type", "any_bridge");
                    let rows = ops.rows_at("/nodes/{node}/network", params).await?;
                    let names = rows.iter().filter_map(|row| row["iface"].as_str()).map(str::to_owned);
                    self.bridges.insert(node, names.collect());
                }
            }
            Fact::Replication | Fact::Backups => {}
        }
        Ok(())
    }

    /// Where the disks of a template are, on which others may stand.
    fn bases(&self, plan: &Plan) -> Vec<(NodeName, String, &'static str)> {
        if !self.guest(&plan.guest).is_some_and(|guest| guest.template) {
            return Vec::new();
        }
        let disks = plan.config_before.as_ref().map(|config| config.disks()).unwrap_or_default();
        let storage = |disk: &PropertyString| {
            let volume = disk.volume()?;
            Some(volume.split_once(':')?.0.to_owned())
        };
        let (node, content) = (&plan.guest.node, content_of(plan.guest.kind));
        disks.values().filter_map(storage).map(|storage| (node.clone(), storage, content)).collect()
    }

    /// A guest's row in the cluster's list.
    pub(super) fn guest(&self, guest: &GuestRef) -> Option<&Guest> {
        self.by_number(guest.vmid)
    }

    fn by_number(&self, vmid: Vmid) -> Option<&Guest> {
        self.guests.iter().find(|row| row.vmid == vmid)
    }

    /// What HA says of a guest that it looks after.
    pub(super) fn ha(&self, guest: &GuestRef) -> Option<&str> {
        self.guest(guest)?.ha_state()
    }

    /// A node's memory.
    pub(super) fn memory_of(&self, node: &NodeName) -> Option<u64> {
        self.nodes.iter().find(|row| row.node == *node)?.maxmem
    }

    /// The memory that the guests of a node may use which are on.
    pub(super) fn claimed(&self, node: &NodeName) -> u64 {
        Guest::claimed(&self.guests, node)
    }

    /// What all plans together want more of a node's memory, if this plan is the first of them.
    pub(super) fn wanted(&self, index: usize, node: &NodeName) -> Option<u64> {
        self.memory.get(node).filter(|(_, first)| *first == index).map(|(wanted, _)| *wanted)
    }

    /// A storage as a node sees it.
    pub(super) fn storage(&self, node: &NodeName, name: &str) -> Option<&Storage> {
        self.storages.get(node)?.iter().find(|row| row.storage == name)
    }

    /// Whether a node lacks a bridge. Who sees none of its bridges knows nothing about it.
    pub(super) fn lacks_bridge(&self, node: &NodeName, name: &str) -> bool {
        self.bridges.get(node).is_some_and(|names| !names.is_empty() && !names.contains(name))
    }

    /// Whether the storages of a node could be read.
    pub(super) fn knows_storages(&self, node: &NodeName) -> bool {
        self.storages.contains_key(node)
    }

    /// What all plans together want to put into a storage, if this plan is the first of them.
    pub(super) fn put(&self, index: usize, node: &NodeName, storage: &str) -> Option<u64> {
        let (put, first) = self.room.get(&(node.clone(), storage.to_owned()))?;
        (*first == index).then_some(*put)
    }

    /// The guests whose disks stand on those of a template.
    pub(super) fn clones(&self, template: &GuestRef) -> Vec<String> {
        let base = format!("base-{}-", template.vmid);
        // The parent is told by name, or stands before the name of the volume: `base-100-disk-0/vm-101-disk-0`.
        let on_it = |volume: &&Volume| {
            let parent = volume.other.get("parent").and_then(Value::as_str).unwrap_or_default();
            let name = volume.volid.split_once(':').map_or("", |(_, name)| name);
            let stands = name.rsplit_once('/').map_or("", |(before, _)| before);
            volume.vmid != Some(template.vmid) && (parent.contains(&base) || stands.contains(&base))
        };
        let owners: BTreeSet<Vmid> = self.volumes.iter().filter(on_it).filter_map(|volume| volume.vmid).collect();
        let named = |vmid: Vmid| match self.by_number(vmid) {
            Some(row) => format!("{} ({})", row.reference(), row.label()),
            None => vmid.to_string(),
        };
        owners.into_iter().map(named).collect()
    }

    /// The ids of the replication jobs of a guest.
    pub(super) fn replications(&self, guest: &GuestRef) -> Vec<&str> {
        self.replicas(guest).into_iter().map(|(id, _)| id).collect()
    }

    /// Where a guest is replicated to: the job's id and the node.
    pub(super) fn replicas(&self, guest: &GuestRef) -> Vec<(&str, &str)> {
        let of_it = |row: &&Value| plain(&row["guest"]).is_some_and(|number| number == guest.vmid.to_string());
        self.replication.iter().filter(of_it).filter_map(|row| Some((id(row)?, row["target"].as_str()?))).collect()
    }

    /// The ids of the backup jobs that name a guest; one over all guests, or over a pool, names none.
    pub(super) fn backups(&self, guest: &GuestRef) -> Vec<&str> {
        let number = guest.vmid.to_string();
        let names =
            |row: &&Value| plain(&row["vmid"]).is_some_and(|list| list.split(',').any(|named| named.trim() == number));
        self.backups.iter().filter(names).filter_map(id).collect()
    }
}

fn id(row: &Value) -> Option<&str> {
    row.get("id").and_then(Value::as_str)
}

/// The nodes that guests move to.
fn aims(plans: &[Plan]) -> impl Iterator<Item = NodeName> {
    plans.iter().filter_map(|plan| plan.moving.as_ref()).map(|moving| moving.to.clone())
}
