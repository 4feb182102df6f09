//! Storages as a node sees them, and what is on them.

use super::{Client, path::segments};
use crate::model::{Call, Method, NodeName, Params, Result, Storage, StorageConfig, StorageStatus, Volume};

impl Client {
    /// The storages of a node.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn storages(&self, node: &NodeName) -> Result<Vec<Storage>> {
        self.read(&Call::new(Method::Get, segments(&["nodes", node.as_str(), "storage"]))).await
    }

    /// How full a storage is, as a node sees it.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn storage_status(&self, node: &NodeName, storage: &str) -> Result<StorageStatus> {
        self.read(&Call::new(Method::Get, segments(&["nodes", node.as_str(), "storage", storage, "status"]))).await
    }

    /// How the storages are configured, for the whole cluster.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn storage_configs(&self) -> Result<Vec<StorageConfig>> {
        self.read(&Call::new(Method::Get, "/storage")).await
    }

    /// The volumes on a storage, all or those of one kind of content: `iso`, `vztmpl`, `backup`, `images`, …
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn volumes(&self, node: &NodeName, storage: &str, content: Option<&str>) -> Result<Vec<Volume>> {
        let path = segments(&["nodes", node.as_str(), "storage", storage, "content"]);
        self.read(&Call::new(Method::Get, path).with_params(Params::new().with_some("content", content))).await
    }
}
