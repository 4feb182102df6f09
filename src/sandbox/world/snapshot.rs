//! Snapshots of a guest: taken from its configuration, and out of their chain again.
//!
//! Whether that may be done is asked in [`effect`](super::effect).

use super::{
    Millis, World,
    act::Act,
    guest::{Guest, Snapshot, volid_in},
};

impl World {
    /// How a rollback would be refused by a storage that goes back only to the newest snapshot.
    pub(super) fn check_rollback(&self, guest: &Guest, act: &Act) -> Result<(), String> {
        let Act::Rollback { name, .. } = act else { return Ok(()) };
        let Some(snapshot) = guest.snapshots.get(name) else { return Ok(()) };
        if guest.snapshots.values().all(|other| other.taken <= snapshot.taken) {
            return Ok(());
        }
        let is_zfs = |storage: &str| self.storages.get(storage).is_some_and(|storage| storage.kind == "zfspool");
        let disks = guest.disk_keys().filter(|key| !guest.is_cdrom(key));
        let volids = disks.filter_map(|key| volid_in(snapshot.config.get(key)?));
        let mut on_zfs = volids.filter(|volid| volid.split_once(':').is_some_and(|(storage, _)| is_zfs(storage)));
        match on_zfs.next() {
            Some(volid) => Err(format!("can't rollback, '{name}' is not most recent snapshot on '{volid}'")),
            None => Ok(()),
        }
    }
}

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
