//! What a cluster consists of, as it lists it: all resources in one list, the members and their quorum, pools.
//!
//! Rows as they come; guests among them are the [`Guest`]s that other lists have too.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::{Guest, Node, NodeName, rows::rows};

/// Which resources are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ResourceKind {
    /// Virtual machines and containers.
    Vm,
    /// Storages, once for each node that has them.
    Storage,
    /// Nodes.
    Node,
    /// Networks that the cluster defines.
    Sdn,
}

impl ResourceKind {
    /// The server's word.
    pub const fn api(self) -> &'static str {
        match self {
            Self::Vm => "vm",
            Self::Storage => "storage",
            Self::Node => "node",
            Self::Sdn => "sdn",
        }
    }
}

/// A row of `GET /cluster/resources`, by its `type`.
///
/// ```
/// use pvectl::model::ClusterResource;
///
/// let row = r#"{"type":"storage","id":"storage/pve1/local","storage":"local","node":"pve1","disk":"5","maxdisk":10,"shared":0}"#;
/// let ClusterResource::Storage(storage) = serde_json::from_str(row).expect("a row") else { panic!("no storage") };
/// assert_eq!((storage.disk, storage.shared), (Some(5), Some(false)));
/// assert_eq!(storage.other["id"], "storage/pve1/local");
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum ClusterResource {
    /// `qemu` or `lxc`.
    Guest(Box<Guest>),
    /// `node`; few figures are there for those who may not audit it.
    Node(Box<Node>),
    /// `storage`.
    Storage(StorageResource),
    /// `pool`.
    Pool(PoolResource),
    /// `network` or `sdn`.
    Network(NetworkResource),
    /// Of a type that is not known, or not in the form that is known of its type.
    Other(Map<String, Value>),
}

impl ClusterResource {
    /// The server's word for the sort of thing: `qemu`, `node`, `storage`, …
    pub fn kind(&self) -> &str {
        let other = match self {
            Self::Guest(guest) => return guest.kind.api(),
            Self::Node(row) => &row.other,
            Self::Storage(row) => &row.other,
            Self::Pool(row) => &row.other,
            Self::Network(row) => &row.other,
            Self::Other(row) => row,
        };
        other.get("type").and_then(Value::as_str).unwrap_or_default()
    }
}

impl<'de> Deserialize<'de> for ClusterResource {
    /// One odd row must not hide all others, so what cannot be read as its type is kept as it is.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let row = Value::Object(Map::deserialize(deserializer)?);
        let read = match row["type"].as_str() {
            Some("qemu" | "lxc") => Guest::deserialize(&row).ok().map(|row| Self::Guest(Box::new(row))),
            Some("node") => Node::deserialize(&row).ok().map(|row| Self::Node(Box::new(row))),
            Some("storage") => StorageResource::deserialize(&row).ok().map(Self::Storage),
            Some("pool") => PoolResource::deserialize(&row).ok().map(Self::Pool),
            Some("network" | "sdn") => NetworkResource::deserialize(&row).ok().map(Self::Network),
            _ => None,
        };
        Ok(match (read, row) {
            (Some(read), _) => read,
            (None, Value::Object(row)) => Self::Other(row),
            (None, _) => Self::Other(Map::new()),
        })
    }
}

rows! {
    /// A storage among the resources: one row for each node that has it.
    StorageResource {
        /// Its name.
        storage: need String,
        /// The node.
        node: need NodeName,
        /// `available`, or `unknown` before the node reported.
        status: text,
        /// `dir`, `lvmthin`, `zfspool`, …
        plugintype: text,
        /// What may be stored there, comma separated.
        content: text,
        /// Whether all nodes see the same.
        shared: flag,
        /// Bytes in use.
        disk: whole,
        /// All bytes.
        maxdisk: whole,
    }

    /// A pool among the resources, with the sums of its guests.
    PoolResource {
        /// Its name.
        pool: need String,
        /// Processors in use, 1 for a whole one.
        cpu: real,
        /// How many processors its guests have.
        maxcpu: real,
        /// Memory in use, bytes.
        mem: whole,
        /// Memory that its guests may use, bytes.
        maxmem: whole,
        /// Disk in use, bytes.
        disk: whole,
        /// Size of the disks, bytes.
        maxdisk: whole,
        /// Seconds since the guest that runs for longest started.
        uptime: whole,
    }

    /// A network that the cluster defines, on one node.
    NetworkResource {
        /// Its name, in a row of type `network`.
        network: text,
        /// Its name, in a row of type `sdn`.
        sdn: text,
        /// `zone` or `fabric`.
        #[serde(rename = "network-type")]
        network_type: text,
        /// The node.
        node: some NodeName,
        /// `ok`, `error`, …
        status: text,
    }

    /// A row of `GET /cluster/status`: the cluster itself, if there is one, and each node.
    ClusterMember {
        /// `cluster` or `node`.
        #[serde(rename = "type")]
        kind: need String,
        /// The cluster's name or the node's.
        name: need String,
        /// `cluster` or `node/pve1`.
        id: text,
        /// Of the cluster: whether it has a majority.
        quorate: flag,
        /// Of the cluster: how many nodes there are.
        nodes: whole,
        /// Of the cluster: the version of its configuration.
        version: whole,
        /// Of a node: its number.
        nodeid: whole,
        /// Of a node: its address.
        ip: text,
        /// Of a node: whether it is there.
        online: flag,
        /// Of a node: whether it is the one that answers.
        local: flag,
        /// Of a node: its subscription's level.
        level: text,
    }

    /// A row of `GET /pools`.
    Pool {
        /// Its name.
        poolid: need String,
        /// What its maker wrote.
        comment: text,
        /// Its guests and storages; only where one pool was asked for.
        members: list ClusterResource,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_has_its_row_and_an_odd_one_is_kept() {
        let read = |json: &str| {
            let row: ClusterResource = serde_json::from_str(json).unwrap();
            let (back, before): (Value, Value) =
                (serde_json::to_value(&row).unwrap(), serde_json::from_str(json).unwrap());
            assert_eq!(back, before);
            row
        };
        let guest = read(r#"{"type":"lxc","vmid":200,"node":"pve1","status":"running","template":0}"#);
        assert!(matches!(&guest, ClusterResource::Guest(guest) if guest.vmid.get() == 200));
        assert_eq!(guest.kind(), "lxc");
        assert!(matches!(
            read(r#"{"type":"node","node":"pve1","status":"online","level":""}"#),
            ClusterResource::Node(_)
        ));
        assert!(matches!(read(r#"{"type":"sdn","sdn":"zone1","node":"pve1"}"#), ClusterResource::Network(_)));
        assert_eq!(read(r#"{"type":"pool","pool":"p","cpu":0.5}"#).kind(), "pool");
        assert_eq!(read(r#"{"type":"openvz","id":"x"}"#).kind(), "openvz");
        assert!(matches!(read(r#"{"type":"qemu","vmid":"none"}"#), ClusterResource::Other(_)));
        assert!(matches!(read("{}"), ClusterResource::Other(_)));
    }
}
