//! What goes with a delete or a rollback, for a person to see before. Reading it is the planner's.

use serde::Serialize;

use crate::model::{GuestConfig, PropertyString, Size};

/// What a delete or a rollback takes with it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Loss {
    /// Whether the guest is on.
    pub status: String,
    /// Its disks.
    pub disks: Vec<DiskLoss>,
    /// The names of its snapshots.
    pub snapshots: Vec<String>,
    /// Of the disks only what was written since; all of them otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Since>,
}

/// What is gone back to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Since {
    /// The snapshot.
    pub snapshot: String,
    /// When it was taken, seconds since 1970.
    pub taken: Option<u64>,
    /// Whether it has the memory, so that the guest goes on from there.
    pub memory: bool,
}

/// A disk that goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DiskLoss {
    /// The configuration key.
    pub key: String,
    /// The volume.
    pub volume: String,
    /// Its size, if the configuration says.
    pub size: Option<Size>,
}

pub(super) fn disk_losses(config: &GuestConfig) -> Vec<DiskLoss> {
    let loss = |(key, disk): (String, PropertyString)| DiskLoss {
        key,
        volume: disk.volume().unwrap_or_default().to_owned(),
        size: disk.get("size").and_then(|size| size.parse().ok()),
    };
    config.disks().into_iter().map(loss).collect()
}
