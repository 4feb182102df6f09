//! Nodes, storages and volumes as the cluster lists them.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Error, NodeName, Result, Size, Vmid, closest, rows::rows, tolerant};

/// How a node is that the cluster has lost.
pub(super) const OFFLINE: &str = "offline";

/// A row of `GET /nodes`. Figures are missing where the caller lacks `Sys.Audit`, or the node is offline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// Its name.
    pub node: NodeName,
    /// `online`, `offline` or `unknown`.
    #[serde(default)]
    pub status: String,
    /// Share of all its processors in use, 0 to 1.
    #[serde(
        default,
        deserialize_with = "tolerant::f64::option",
        serialize_with = "tolerant::number",
        skip_serializing_if = "Option::is_none"
    )]
    pub cpu: Option<f64>,
    /// How many processors it has.
    #[serde(default, deserialize_with = "tolerant::u64::option", skip_serializing_if = "Option::is_none")]
    pub maxcpu: Option<u64>,
    /// Memory in use, bytes.
    #[serde(default, deserialize_with = "tolerant::u64::option", skip_serializing_if = "Option::is_none")]
    pub mem: Option<u64>,
    /// Memory it has, bytes.
    #[serde(default, deserialize_with = "tolerant::u64::option", skip_serializing_if = "Option::is_none")]
    pub maxmem: Option<u64>,
    /// Seconds since it came up.
    #[serde(default, deserialize_with = "tolerant::u64::option", skip_serializing_if = "Option::is_none")]
    pub uptime: Option<u64>,
    /// Everything else the server says.
    #[serde(flatten, serialize_with = "tolerant::in_order")]
    pub other: Map<String, Value>,
}

impl Node {
    /// The one of this name.
    ///
    /// # Errors
    /// [`Class::NotFound`](super::Class::NotFound) if there is none, with names that are like it.
    pub fn named<'n>(nodes: &'n [Self], name: &str) -> Result<&'n Self> {
        let found = nodes.iter().find(|node| node.node.as_str() == name);
        found.ok_or_else(|| {
            let close = closest(name, nodes.iter().map(|node| node.node.to_string()));
            Error::not_found(format!("no such node: `{name}`")).did_you_mean(close)
        })
    }

    /// Whether it can be worked with.
    pub fn is_online(&self) -> bool {
        self.status == "online"
    }

    /// Whether the cluster has lost it. One that is `unknown` has only not reported yet.
    pub fn is_away(&self) -> bool {
        self.status == OFFLINE
    }
}

/// A row of `GET /nodes/{node}/storage`: a storage as one node sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Storage {
    /// Its name.
    pub storage: String,
    /// `dir`, `lvmthin`, `zfspool`, …
    #[serde(default, rename = "type")]
    pub kind: String,
    /// What may be stored there, comma separated: `images,rootdir,vztmpl,iso,…`.
    #[serde(default)]
    pub content: String,
    /// Whether all nodes see the same.
    #[serde(default, deserialize_with = "tolerant::bool::deserialize")]
    pub shared: bool,
    /// Whether it answers.
    #[serde(default, deserialize_with = "tolerant::bool::deserialize")]
    pub active: bool,
    /// Free bytes.
    #[serde(default, deserialize_with = "tolerant::u64::option", skip_serializing_if = "Option::is_none")]
    pub avail: Option<u64>,
    /// All bytes.
    #[serde(default, deserialize_with = "tolerant::u64::option", skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// Everything else the server says.
    #[serde(flatten, serialize_with = "tolerant::in_order")]
    pub other: Map<String, Value>,
}

impl Storage {
    /// Bytes that are taken; 0 where nothing is told.
    pub fn used(&self) -> u64 {
        self.total.unwrap_or_default().saturating_sub(self.avail.unwrap_or_default())
    }

    /// Whether it takes this kind of content.
    pub fn holds(&self, content: &str) -> bool {
        self.content.split(',').any(|have| have == content)
    }
}

/// A row of `GET /nodes/{node}/storage/{storage}/content`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Volume {
    /// `storage:name`, the volume's name everywhere.
    pub volid: String,
    /// `images`, `rootdir`, `vztmpl`, `iso`, `backup`, …
    #[serde(default)]
    pub content: String,
    /// Bytes.
    #[serde(default)]
    pub size: Size,
    /// The guest it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vmid: Option<Vmid>,
    /// When it was made, seconds since 1970.
    #[serde(default, deserialize_with = "tolerant::u64::option", skip_serializing_if = "Option::is_none")]
    pub ctime: Option<u64>,
    /// Everything else the server says.
    #[serde(flatten, serialize_with = "tolerant::in_order")]
    pub other: Map<String, Value>,
}

rows! {
    /// The answer of `GET /nodes/{node}/status`.
    NodeStatus {
        /// Share of all its processors in use, 0 to 1.
        cpu: real,
        /// Share of the time that its processors waited for input and output, 0 to 1.
        wait: real,
        /// The processors.
        cpuinfo: some CpuInfo,
        /// The mean number of tasks that run or wait, over 1, 5 and 15 minutes; texts on the wire.
        #[serde(default, deserialize_with = "tolerant::f64::list", skip_serializing_if = "Vec::is_empty")]
        loadavg: need Vec<f64>,
        /// Its memory.
        memory: some Space,
        /// Its swap.
        swap: some Space,
        /// The file system that it runs from.
        rootfs: some Space,
        /// Seconds since it came up.
        uptime: whole,
        /// `pve-manager/9.2.11/…`.
        pveversion: text,
        /// The kernel in one line.
        kversion: text,
    }

    /// A node's processors.
    CpuInfo {
        /// As the maker calls it.
        model: text,
        /// How many can work at once.
        cpus: whole,
        /// How many cores there are in a socket.
        cores: whole,
        /// How many sockets.
        sockets: whole,
        /// How fast, in MHz; a text on the wire.
        mhz: real,
        /// What it can do, separated by spaces.
        flags: text,
    }

    /// Memory, swap or a file system, in bytes.
    Space {
        /// All of it.
        total: whole,
        /// In use.
        used: whole,
        /// Not in use.
        free: whole,
        /// Of a file system: what may be written.
        avail: whole,
        /// Of memory: what could be had without swapping.
        available: whole,
    }

    /// The answer of `GET /nodes/{node}/storage/{storage}/status`.
    StorageStatus {
        /// `dir`, `lvmthin`, `zfspool`, …
        #[serde(rename = "type")]
        kind: need String,
        /// What may be stored there, comma separated.
        content: text,
        /// Whether it answers.
        active: flag,
        /// Whether it may be used.
        enabled: flag,
        /// Whether all nodes see the same.
        shared: flag,
        /// All bytes.
        total: whole,
        /// Bytes in use.
        used: whole,
        /// Free bytes.
        avail: whole,
    }

    /// A row of `GET /storage`: how a storage is configured, for all nodes.
    StorageConfig {
        /// Its name.
        storage: need String,
        /// `dir`, `lvmthin`, `zfspool`, …; what else is configured depends on it and is in [`other`](Self::other).
        #[serde(rename = "type")]
        kind: need String,
        /// What may be stored there, comma separated.
        content: text,
        /// The nodes that have it, comma separated; absent for all.
        nodes: text,
        /// Whether all nodes see the same.
        shared: flag,
        /// Whether it is switched off.
        disable: flag,
        /// Of a directory: where it is.
        path: text,
        /// The digest of the file that all storages stand in.
        digest: text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_tells_its_load_in_texts() {
        let json =
            r#"{"loadavg":["0.60",0.37,"3"],"cpuinfo":{"mhz":"2596.122","hvm":"","cpus":2},"memory":{"total":"8"}}"#;
        let status: NodeStatus = serde_json::from_str(json).unwrap();
        assert_eq!(status.loadavg, [0.6, 0.37, 3.0]);
        let cpu = status.cpuinfo.unwrap();
        assert_eq!((cpu.mhz, cpu.cpus, cpu.other["hvm"].as_str()), (Some(2596.122), Some(2), Some("")));
        assert_eq!(status.memory.unwrap().total, Some(8));
    }
}
