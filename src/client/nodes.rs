//! The nodes and how they are.

use super::{Client, path::segments};
use crate::model::{Call, GuestKind, GuestStatus, Method, Node, NodeName, NodeStatus, Result};

impl Client {
    /// All nodes, those that are offline too.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn nodes(&self) -> Result<Vec<Node>> {
        self.read(&Call::new(Method::Get, "/nodes")).await
    }

    /// One node's status.
    ///
    /// # Errors
    /// As [`Client::send`]; a node that is down is [`Class::Unreachable`](crate::model::Class::Unreachable).
    pub async fn node_status(&self, node: &NodeName) -> Result<NodeStatus> {
        self.read(&Call::new(Method::Get, segments(&["nodes", node.as_str(), "status"]))).await
    }

    /// The guests of one kind on a node, fresher than [`guests`](Self::guests) has them.
    ///
    /// # Errors
    /// As [`node_status`](Self::node_status).
    pub async fn node_guests(&self, node: &NodeName, kind: GuestKind) -> Result<Vec<GuestStatus>> {
        self.read(&Call::new(Method::Get, segments(&["nodes", node.as_str(), kind.api()]))).await
    }
}
