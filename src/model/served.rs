//! What a host that pvectl serves tells beside the API of Proxmox VE, in the words of its plain routes.
//!
//! Plain data for both sides of the wire.

use std::{borrow::Cow, collections::BTreeMap};

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use super::{Fact, Params, Upid, Vmid};

/// How a program of a host ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ran {
    /// How it ended by itself.
    pub exit_code: Option<i32>,
    /// Or the signal that ended it.
    #[serde(default)]
    pub signal: Option<i32>,
    /// Whether it was killed because it took too long.
    pub timed_out: bool,
    /// What it said; bytes that are no UTF-8 are replaced.
    pub stdout: String,
    /// What it complained of, in the same way.
    pub stderr: String,
    /// Whether there was more of either.
    pub truncated: bool,
    /// How long it ran, in milliseconds.
    pub duration_ms: u64,
}

/// A heartbeat that was sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Where to.
    pub to: String,
    /// When, in RFC 3339.
    pub time: String,
    /// `ok`, or `failed`.
    pub status: String,
    /// What was answered.
    pub http_status: Option<u16>,
    /// Why it failed.
    pub error: Option<String>,
}

impl Heartbeat {
    /// Whether it was taken.
    pub fn is_ok(&self) -> bool {
        self.status == "ok"
    }
}

/// What a served host tells of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServedHost {
    /// Its name as a node.
    pub node: String,
    /// The version of pvectl that serves it.
    pub version: String,
    /// How many VMs are in which state.
    #[serde(default)]
    pub vms: BTreeMap<String, u64>,
    /// The programs that may be run on it by name.
    #[serde(default)]
    pub commands: Vec<String>,
    /// Where it sends heartbeats, if anywhere.
    #[serde(default)]
    pub reports_to: Option<String>,
    /// The last one.
    #[serde(default)]
    pub heartbeat: Option<Heartbeat>,
    /// What it is and has, as far as VMs need it.
    #[serde(default)]
    pub facts: Vec<Fact>,
    /// Everything else it tells: processors, memory in bytes, storages.
    #[serde(flatten)]
    pub other: serde_json::Map<String, Value>,
}

/// A change that waits in a guest's queue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QueuedStep {
    /// Its number.
    pub id: i64,
    /// The guest.
    pub vmid: Vmid,
    /// What is to be set.
    #[serde(serialize_with = "as_object", deserialize_with = "of_object")]
    pub params: Params,
    /// For whom.
    pub user: String,
    /// Since when.
    pub added: Timestamp,
    /// `waiting`, `applying`, or `failed`: then it stands in the way of those behind it.
    pub status: Cow<'static, str>,
    /// Why it failed.
    pub error: Option<String>,
    /// The task that ends when it was applied or cancelled.
    pub upid: Upid,
}

fn as_object<S: Serializer>(params: &Params, to: S) -> Result<S::Ok, S::Error> {
    to.collect_map(params.redacted().iter())
}

fn of_object<'d, D: Deserializer<'d>>(from: D) -> Result<Params, D::Error> {
    Ok(serde_json::Map::deserialize(from)?.into_iter().filter_map(|(key, value)| Some((key, text(value)?))).collect())
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text),
        Value::Null => None,
        other => Some(other.to_string()),
    }
}
