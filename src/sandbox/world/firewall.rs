//! The firewall's files: one of the cluster, one of each node and guest, with rules in their order.
//!
//! Nothing is filtered here; what is kept is what the API says back.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::hash;

/// Keys and values, as they were given.
pub(crate) type Keys = BTreeMap<String, String>;

/// What one owner has.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Firewall {
    pub(crate) options: Keys,
    pub(crate) rules: Vec<Keys>,
    /// By name: `cidr` and `comment`.
    pub(crate) aliases: BTreeMap<String, Keys>,
    pub(crate) ipsets: BTreeMap<String, IpSet>,
    /// Of the cluster alone.
    pub(crate) groups: BTreeMap<String, Group>,
}

/// A set of addresses.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct IpSet {
    pub(crate) comment: Option<String>,
    /// By address: `nomatch` and `comment`.
    pub(crate) entries: BTreeMap<String, Keys>,
}

/// A security group.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Group {
    pub(crate) comment: Option<String>,
    pub(crate) rules: Vec<Keys>,
}

/// The digest of a part of a file.
pub(crate) fn digest(part: &impl Serialize) -> String {
    hash(&serde_json::to_string(part).unwrap_or_default())[..40].to_owned()
}
