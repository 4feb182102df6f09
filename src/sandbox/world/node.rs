//! Nodes, storages, volumes and pools, and how full they are.
//!
//! What is put into a storage for a guest is decided in [`disk`](super::disk).

use serde::{Deserialize, Serialize};

use super::{Millis, World};
use crate::{
    model::{Error, Hint},
    server::fingerprint,
};

/// One gibibyte.
pub(crate) const GIB: u64 = 1 << 30;

/// A machine of the cluster.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Node {
    pub(crate) name: String,
    /// Its place in the membership list, from one.
    pub(crate) id: u32,
    pub(crate) ip: String,
    pub(crate) cpus: u32,
    /// Bytes.
    pub(crate) memory: u64,
    /// Whether the others can reach it. What runs on it goes on anyway.
    pub(crate) online: bool,
}

impl Node {
    /// The SHA-256 fingerprint of its made-up certificate.
    pub(crate) fn fingerprint(&self) -> String {
        fingerprint(format!("certificate of {}", self.name).as_bytes())
    }
}

/// A storage's definition; every node has its own one of that name.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Storage {
    pub(crate) name: String,
    /// `dir` or `lvmthin`.
    pub(crate) kind: String,
    /// What may be stored: `images`, `rootdir`, …
    pub(crate) content: Vec<String>,
    /// The further keys of its definition: `path`, or `vgname` and `thinpool`.
    pub(crate) keys: Vec<(String, String)>,
    /// Bytes on each node.
    pub(crate) total: u64,
    /// Bytes in use for other things.
    pub(crate) base: u64,
}

impl Storage {
    /// Whether it takes this sort of content.
    pub(crate) fn holds(&self, content: &str) -> bool {
        self.content.iter().any(|have| have == content)
    }

    /// A further key of its definition.
    pub(crate) fn key(&self, key: &str) -> Option<&str> {
        self.keys.iter().find(|(have, _)| have == key).map(|(_, value)| value.as_str())
    }

    /// Whether a node has it in use.
    pub(crate) fn is_on(&self, node: &str) -> bool {
        self.key("disable") != Some("1")
            && self.key("nodes").is_none_or(|nodes| nodes.split([',', ';', ' ']).any(|have| have == node))
    }

    /// Whether guests' disks are files here.
    pub(crate) fn is_dir(&self) -> bool {
        self.kind == "dir"
    }
}

/// A thing in a storage on a node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Volume {
    pub(crate) node: String,
    /// `local-lvm:vm-100-disk-0`.
    pub(crate) volid: String,
    /// `images`, `rootdir`, `vztmpl`, `iso`, …
    pub(crate) content: String,
    pub(crate) format: String,
    /// Bytes.
    pub(crate) size: u64,
    pub(crate) vmid: Option<u32>,
    pub(crate) created: Millis,
    /// The volume's name that this is a linked clone of.
    pub(crate) parent: Option<String>,
}

impl Volume {
    /// What it is found by: node and volume id.
    pub(crate) fn key(&self) -> String {
        volume_key(&self.node, &self.volid)
    }

    /// The storage's name.
    pub(crate) fn storage(&self) -> &str {
        self.volid.split(':').next().unwrap_or_default()
    }

    /// The name within the storage.
    pub(crate) fn name(&self) -> &str {
        self.volid.split_once(':').map_or("", |(_, name)| name)
    }
}

/// What a volume is found by.
pub(crate) fn volume_key(node: &str, volid: &str) -> String {
    format!("{node}/{volid}")
}

/// A named set of guests.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Pool {
    pub(crate) comment: Option<String>,
    #[serde(default)]
    pub(crate) storages: Vec<String>,
}

/// How much of a storage is in use on a node.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fill {
    pub(crate) total: u64,
    pub(crate) used: u64,
}

impl Fill {
    /// Bytes that are left.
    pub(crate) fn free(self) -> u64 {
        self.total.saturating_sub(self.used)
    }
}

impl World {
    /// Whether a node can be asked.
    pub(crate) fn is_online(&self, name: &str) -> bool {
        self.nodes.get(name).is_some_and(|node| node.online)
    }

    /// That there is no such node.
    pub(crate) fn no_node(&self, name: &str) -> Error {
        let known: Vec<&str> = self.nodes.keys().map(String::as_str).collect();
        let error = Error::not_found(format!("the sandbox has no node `{name}`"));
        error.with_hint(Hint::Text(format!("nodes here: {}", known.join(", "))))
    }

    /// What a change of a storage's definition must name to be sure that it knows them all.
    pub(crate) fn storage_digest(&self) -> String {
        let all: Vec<&Storage> = self.storages.values().collect();
        super::hash(&serde_json::to_string(&all).unwrap_or_default())[..40].to_owned()
    }

    /// The volumes of a storage on a node.
    pub(crate) fn volumes_in<'a>(&'a self, node: &str, storage: &str) -> impl Iterator<Item = &'a Volume> + use<'a> {
        let prefix = volume_key(self.home(node, storage), &format!("{storage}:"));
        self.volumes.from(prefix.clone(), move |key| key.starts_with(&prefix))
    }

    /// How full a storage is on a node.
    pub(crate) fn fill(&self, node: &str, storage: &Storage) -> Fill {
        let volumes: u64 = self.volumes_in(node, &storage.name).map(|volume| volume.size).sum();
        Fill { total: storage.total, used: storage.base + volumes }
    }

    /// The volumes that belong to a guest, wherever they are.
    pub(crate) fn volumes_of(&self, node: &str, vmid: u32) -> Vec<&Volume> {
        let guest_storages =
            self.storages.values().filter(|storage| storage.holds("images") || storage.holds("rootdir"));
        guest_storages
            .flat_map(|storage| self.volumes_in(node, &storage.name))
            .filter(|volume| volume.vmid == Some(vmid))
            .collect()
    }

    /// The guests on a node, by VMID.
    pub(crate) fn guests_on<'a>(&'a self, node: &'a str) -> impl Iterator<Item = &'a super::guest::Guest> {
        self.guests.values().filter(move |guest| guest.node == node)
    }

    /// Memory in use on a node, bytes: its own and what its running guests take.
    pub(crate) fn memory_used(&self, node: &Node) -> u64 {
        let own = 2 * GIB;
        let guests: u64 = self.guests_on(&node.name).map(super::guest::Guest::memory_used).sum();
        (own + guests).min(node.memory)
    }

    /// The share of a node's processors that is in use.
    pub(crate) fn cpu_used(&self, node: &Node, now: Millis) -> f64 {
        let guests: f64 = self.guests_on(&node.name).map(|guest| guest.cpu_used(now) * guest.cpus() as f64).sum();
        (0.01 + guests / f64::from(node.cpus)).min(1.0)
    }
}
