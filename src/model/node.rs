//! Nodes, storages and volumes as the cluster lists them.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{NodeName, Size, Vmid, tolerant};

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
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl Node {
    /// Whether it can be worked with.
    pub fn is_online(&self) -> bool {
        self.status == "online"
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
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl Storage {
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
    #[serde(flatten)]
    pub other: Map<String, Value>,
}
