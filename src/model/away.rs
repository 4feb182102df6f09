//! Which nodes of a cluster cannot be asked.

use std::collections::BTreeMap;

use super::{Error, Hint, Node, NodeName, node::OFFLINE};

/// The node is online, and its API does not answer.
const SILENT: &str = "silent";

/// The nodes that cannot be asked, and how each is: `offline` where the cluster has lost it, `silent` where the cluster
/// counts it as online and its API does not answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Away(BTreeMap<NodeName, String>);

impl Away {
    /// Those of a list of nodes that the cluster has lost.
    pub fn of(nodes: &[Node]) -> Self {
        nodes.iter().map(|node| (node.node.clone(), node.status.clone())).collect()
    }

    /// Adds the node over which a call failed.
    pub fn add(&mut self, node: &NodeName, error: &Error) {
        self.0.insert(node.clone(), node_status(error).unwrap_or(SILENT).to_owned());
    }

    /// Leaves this one alone, if it is among them.
    pub fn narrow(&mut self, node: &str) {
        self.0.retain(|name, _| name.as_str() == node);
    }

    /// Whether all can be asked.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How a node is, if it cannot be asked.
    pub fn status(&self, node: &NodeName) -> Option<&str> {
        self.0.get(node).map(String::as_str)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&NodeName, &str)> {
        self.0.iter().map(|(node, status)| (node, status.as_str()))
    }
}

impl FromIterator<(NodeName, String)> for Away {
    /// Those of all nodes, each with how it is, that the cluster has lost.
    fn from_iter<I: IntoIterator<Item = (NodeName, String)>>(nodes: I) -> Self {
        Self(nodes.into_iter().filter(|(_, status)| status == OFFLINE).collect())
    }
}

/// How the node is over which a call failed; `None` where no node is to blame.
pub fn node_status(error: &Error) -> Option<&'static str> {
    error.hints().iter().find_map(|hint| match hint {
        Hint::NodeAway(_) => Some(OFFLINE),
        Hint::NodeSilent(_) => Some(SILENT),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Class;

    #[test]
    fn only_what_is_lost_is_away_until_a_call_fails() {
        let node = |json: &str| serde_json::from_str::<Node>(json).unwrap();
        let nodes = [
            node(r#"{"node":"pve1","status":"online"}"#),
            node(r#"{"node":"pve2","status":"offline"}"#),
            node(r#"{"node":"pve3","status":"unknown"}"#),
        ];
        let mut away = Away::of(&nodes);
        assert_eq!(
            away.iter().map(|(node, status)| (node.as_str(), status)).collect::<Vec<_>>(),
            [("pve2", "offline")]
        );
        let silent = Error::new(Class::Unreachable, "no answer").with_hint(Hint::NodeSilent("pve3".into()));
        away.add(&nodes[2].node, &silent);
        assert_eq!(away.status(&nodes[2].node), Some("silent"));
        assert_eq!((node_status(&Error::conflict("locked")), away.status(&nodes[0].node)), (None, None));
    }
}
