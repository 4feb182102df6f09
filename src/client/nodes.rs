//! The nodes and how they are.

use serde_json::{Map, Value};

use super::{Client, path::segments};
use crate::model::{Call, Method, Node, NodeName, Result};

impl Client {
    /// All nodes, those that are offline too.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn nodes(&self) -> Result<Vec<Node>> {
        self.read(&Call::new(Method::Get, "/nodes")).await
    }

    /// One node's status, in the server's own keys.
    ///
    /// # Errors
    /// As [`Client::send`]; a node that is down is [`Class::Unreachable`](crate::model::Class::Unreachable).
    pub async fn node_status(&self, node: &NodeName) -> Result<Map<String, Value>> {
        self.read(&Call::new(Method::Get, segments(&["nodes", node.as_str(), "status"]))).await
    }
}
