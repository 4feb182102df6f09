//! Entries of the table of which there is one alone, of the cluster or of each node, and the servers that get figures.

use super::{Naming, Reach, Resource};
use crate::model::Method;

/// What is set for the whole cluster.
pub(super) const CLUSTER: Resource = Resource {
    naming: Naming::Single,
    ..Resource::new("cluster", "options of the cluster", "/cluster/options", "/cluster/options", &[])
};

/// What is set for a node beside its networks.
pub(super) const NODE_CONFIG: Resource = Resource {
    naming: Naming::Single,
    home: Reach::Node,
    ..Resource::new("node-config", "settings of a node", "/nodes/{node}/config", "/nodes/{node}/config", &[])
};

pub(super) const NODE_DNS: Resource = Resource {
    naming: Naming::Single,
    home: Reach::Node,
    // The file is written anew.
    kept: &[&["dns1"], &["dns2"], &["dns3"]],
    ..Resource::new("node-dns", "servers of names of a node", "/nodes/{node}/dns", "/nodes/{node}/dns", &[])
};

pub(super) const NODE_TIME: Resource = Resource {
    naming: Naming::Single,
    home: Reach::Node,
    ..Resource::new("node-time", "time of a node", "/nodes/{node}/time", "/nodes/{node}/time", &[])
};

/// Where figures of nodes, guests and storages go.
pub(super) const METRIC: Resource = Resource {
    made: METRIC_ONE,
    more: &[(Method::Get, "/cluster/metrics/server")],
    ..Resource::new("metric-server", "metric servers", "/cluster/metrics/server", METRIC_ONE, &["id"])
};
const METRIC_ONE: &str = "/cluster/metrics/server/{id}";
