//! Snapshots among a VM's settings: what is kept of each, and how the server would list them.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Config, Settings, settings::values};
use crate::model::{Error, GuestConfig, Result, Snapshot};

/// A snapshot as it is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotRow {
    /// The configuration it was taken of.
    pub config: Config,
    /// When, seconds since 1970.
    pub snaptime: u64,
    /// What its maker wrote.
    #[serde(default)]
    pub description: Option<String>,
    /// The one it stands on.
    #[serde(default)]
    pub parent: Option<String>,
    /// Where the memory is, if it was kept.
    #[serde(default)]
    pub vmstate: Option<String>,
    /// The build of the VMM that wrote the memory: no other can read it.
    #[serde(default)]
    pub build: Option<String>,
}

impl Settings {
    /// As `GET …/snapshot/{name}/config` answers.
    ///
    /// # Errors
    /// [`Class::NotFound`](crate::model::Class::NotFound), in the server's words.
    pub fn snapshot_config(&self, name: &str) -> Result<GuestConfig> {
        let mut map = values(&self.snapshot(name)?.config);
        let row = self.snapshot(name)?;
        map.insert("snaptime".to_owned(), row.snaptime.into());
        let own = [("description", &row.description), ("parent", &row.parent), ("vmstate", &row.vmstate)];
        map.extend(own.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value.clone()?.into()))));
        Ok(GuestConfig(map))
    }

    /// A snapshot.
    ///
    /// # Errors
    /// [`Class::NotFound`](crate::model::Class::NotFound), in the server's words.
    pub fn snapshot(&self, name: &str) -> Result<&SnapshotRow> {
        self.snapshots.get(name).ok_or_else(|| Error::not_found(format!("snapshot '{name}' does not exist")))
    }

    /// As `GET …/snapshot` answers, the server's pseudo-entry `current` left out.
    pub fn snapshot_rows(&self) -> Vec<Snapshot> {
        let rows = self.snapshots.iter().map(|(name, row)| Snapshot {
            name: name.clone(),
            description: Some(row.description.clone().unwrap_or_default()),
            parent: row.parent.clone(),
            snaptime: Some(row.snaptime),
            other: [("vmstate".to_owned(), Value::from(u8::from(row.vmstate.is_some())))].into_iter().collect(),
        });
        let mut rows: Vec<Snapshot> = rows.collect();
        rows.sort_by_key(|row| row.snaptime);
        rows
    }
}
