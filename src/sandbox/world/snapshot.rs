//! Snapshots of a guest: taken from its configuration, and out of their chain again.
//!
//! Whether that may be done is asked in [`effect`](super::effect).

use super::{
    Millis,
    guest::{Guest, Snapshot},
};

impl Guest {
    pub(super) fn take_snapshot(&mut self, name: String, description: String, vmstate: Option<String>, now: Millis) {
        let mut config = self.config.clone();
        let parent = config.remove("parent");
        let snapshot = Snapshot { config, description, parent, taken: now, vmstate };
        self.snapshots.insert(name.clone(), snapshot);
        self.config.insert("parent".into(), name);
    }

    /// Takes a snapshot out of the chain; what stood on it stands on its parent then.
    pub(super) fn drop_snapshot(&mut self, name: &str) -> Option<Snapshot> {
        let gone = self.snapshots.remove(name)?;
        for snapshot in self.snapshots.values_mut().filter(|snapshot| snapshot.parent.as_deref() == Some(name)) {
            snapshot.parent.clone_from(&gone.parent);
        }
        if self.get("parent") == Some(name) {
            match &gone.parent {
                Some(parent) => drop(self.config.insert("parent".into(), parent.clone())),
                None => drop(self.config.remove("parent")),
            }
        }
        Some(gone)
    }
}
