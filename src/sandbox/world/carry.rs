//! Disks that go into another storage or to another guest: may they, how that is logged, and what comes of it.
//!
//! The words are a real server's; how fast it goes is made up.

use super::{
    World,
    copying::{STEPS, mirror, transferred},
    disk::volume_id,
    guest::{Guest, volid_in},
    node::{Storage, Volume, volume_key},
    task::Task,
};
use crate::model::{GuestKind, PropertyString, Size};

/// Lines of a log, each with its share of the time.
pub(crate) type Script = Vec<(f64, String)>;

/// A disk that goes into another storage.
#[derive(Debug, Clone)]
pub(crate) struct Move<'a> {
    pub(crate) disk: &'a str,
    pub(crate) storage: &'a str,
    pub(crate) format: Option<&'a str>,
    pub(crate) delete: bool,
}

/// Whether a snapshot of a guest has a disk, under whatever key.
fn is_in_snapshot(guest: &Guest, volid: &str) -> bool {
    let has = |value: &String| volid_in(value).as_deref() == Some(volid);
    guest.snapshots.values().any(|snapshot| snapshot.config.values().any(has))
}

impl World {
    /// The volume of a disk, and how the move would be refused.
    pub(crate) fn check_move(&self, guest: &Guest, go: &Move<'_>) -> Result<Volume, String> {
        let Move { disk, storage, format, delete } = go;
        if guest.kind == GuestKind::Lxc && disk.starts_with("unused") {
            return Err(format!(
                "cannot move volume '{disk}', only configured volumes can be moved to another storage"
            ));
        }
        let value = guest.get(disk).ok_or_else(|| match guest.kind {
            GuestKind::Qemu => format!("disk '{disk}' does not exist"),
            GuestKind::Lxc => format!("volume '{disk}' is not configured"),
        })?;
        if value.contains("media=cdrom") {
            return Err("you can't move a cdrom".into());
        }
        let volid = volid_in(value).ok_or_else(|| format!("disk '{disk}' has no associated volume"))?;
        let volume = self.volumes.get(volume_key(&guest.node, &volid).as_str());
        let volume = volume.ok_or_else(|| format!("no such volume '{volid}'"))?.clone();
        if volume.storage() == *storage && format.is_none_or(|format| format == volume.format) {
            return Err("you can't move to the same storage with same format".into());
        }
        let there = self.storages.get(*storage).ok_or_else(|| format!("storage '{storage}' does not exist"))?;
        if !there.is_on(&guest.node) {
            return Err(format!("storage '{storage}' is not available on node '{}'", guest.node));
        }
        let content = if guest.kind == GuestKind::Qemu { "images" } else { "rootdir" };
        if !there.holds(content) {
            return Err(match guest.kind {
                GuestKind::Qemu => format!("storage '{storage}' does not support vm images"),
                GuestKind::Lxc => format!("storage '{storage}' does not support container directories"),
            });
        }
        if *delete && is_in_snapshot(guest, &volid) {
            return Err("you can't move a disk with snapshots and delete the source".into());
        }
        Ok(volume)
    }

    /// The new volume of a disk that moves, and the log of it.
    pub(crate) fn copy_for_move(&self, guest: &Guest, go: &Move<'_>, old: &Volume) -> Result<(Volume, Script), String> {
        let dir = self.storages.get(go.storage).is_some_and(Storage::is_dir);
        let name = |number: u32| volume_id(dir, go.storage, guest.vmid, &format!("vm-{}-disk-{number}", guest.vmid));
        let is_free = |volid: &String| !self.volumes.has(volume_key(&guest.node, volid).as_str());
        let volid = (0..).map(name).find(is_free).unwrap_or_default();
        let format = if dir { go.format.unwrap_or("raw") } else { "raw" };
        let volid = if dir { volid.replace(".raw", &format!(".{format}")) } else { volid };
        let new = Volume { volid, format: format.to_owned(), parent: None, ..old.clone() };
        self.check_room(&guest.node, std::slice::from_ref(&new))?;
        let mut script = vec![(
            0.0,
            format!(
                "copying volume '{}' from current storage '{}' to target storage '{}'",
                old.volid,
                old.storage(),
                go.storage
            ),
        )];
        script.push((0.02, format!("create full clone of drive {} ({})", go.disk, old.volid)));
        if guest.is_running() {
            script.extend(mirror(go.disk, old.size).into_iter().map(|(share, line)| (0.05 + 0.85 * share, line)));
            script.push((0.93, format!("mirror-{}: Completing block job...", go.disk)));
            script.push((0.94, format!("mirror-{}: Completed successfully.", go.disk)));
        } else {
            let line =
                |step: u64| (0.05 + 0.85 * step as f64 / STEPS as f64, transferred(old.size / STEPS * step, old.size));
            script.extend((0..=STEPS).map(line));
        }
        script.push((
            0.97,
            match go.delete {
                true => format!("removing source volume '{}' after successful copy", old.volid),
                false => format!("adding source volume '{}' as '{}' to config", old.volid, free_unused(guest)),
            },
        ));
        Ok((new, script))
    }

    /// The disk is in its new storage.
    pub(super) fn moved(&mut self, vmid: u32, disk: &str, new: Volume, delete: bool) {
        let Some(guest) = self.guests.edit(&vmid) else { return };
        let unused = free_unused(guest);
        let Some(old) = guest.volid(disk) else { return };
        if let Some(value) = guest.config.get_mut(disk) {
            *value = value.replace(&old, &new.volid);
        }
        if delete {
            self.volumes.remove(volume_key(&new.node, &old).as_str());
        } else {
            guest.config.insert(unused, old);
        }
        self.volumes.insert(new.key(), new);
    }

    /// How it would be refused to give a disk to another guest.
    pub(crate) fn check_reassign(&self, guest: &Guest, disk: &str, to: u32, key: &str) -> Result<(), String> {
        let word = guest.word();
        if guest.kind == GuestKind::Lxc && [disk, key].contains(&"rootfs") {
            return Err("Cannot move to/from 'rootfs'".into());
        }
        if guest.kind == GuestKind::Lxc && disk.starts_with("unused") && !key.starts_with("unused") {
            return Err("Moving an unused volume to a used one is not possible".into());
        }
        let other = self.guests.get(&to).ok_or_else(|| format!("could not find target {word} {to}"))?;
        if other.node != guest.node {
            return Err(format!("Both {word}s need to be on the same node ({} != {})", guest.node, other.node));
        }
        if let Some(locked) = [guest, other].into_iter().find_map(Guest::lock) {
            return Err(format!("{word} is locked ({locked})"));
        }
        if guest.is_template() || other.is_template() {
            return Err(format!("Can't move disks from or to template {word}s"));
        }
        let Some(value) = guest.get(disk) else {
            return Err(format!("Disk '{disk}' for {word} '{}' does not exist", guest.vmid));
        };
        if other.get(key).is_some() {
            return Err(format!("Target disk key '{key}' is already in use for {word} '{to}'"));
        }
        if value.contains("media=cdrom") {
            return Err(format!("CD drive contents can't be moved to another {word}"));
        }
        let volid = volid_in(value).ok_or_else(|| format!("disk '{disk}' has no associated volume"))?;
        if is_in_snapshot(guest, &volid) {
            return Err(format!("Can't move disk used by a snapshot to another {word}"));
        }
        if guest.is_running() && !disk.starts_with("unused") {
            return Err(format!(
                "Cannot move disk to another {word} while the source {word} is running - detach first"
            ));
        }
        Ok(())
    }

    /// The disk is another guest's.
    pub(super) fn reassign(&mut self, vmid: u32, disk: &str, to: u32, key: &str, task: &Task) {
        let Some(value) = self.guests.edit(&vmid).and_then(|guest| guest.config.remove(disk)) else { return };
        let Some(old) = volid_in(&value) else { return };
        let storage = old.split(':').next().unwrap_or_default().to_owned();
        let dir = self.storages.get(storage.as_str()).is_some_and(Storage::is_dir);
        let name = |number: u32| volume_id(dir, &storage, to, &format!("vm-{to}-disk-{number}"));
        let is_free = |volid: &String| !self.volumes.has(volume_key(&task.node, volid).as_str());
        let new = (0..).map(name).find(is_free).unwrap_or_default();
        let mut size = None;
        if let Some(volume) = self.volumes.remove(volume_key(&task.node, &old).as_str()) {
            size = Some(volume.size);
            let volume = Volume { volid: new.clone(), vmid: Some(to), ..volume };
            self.volumes.insert(volume.key(), volume);
        }
        let mut value = PropertyString::lenient(&value.replace(&old, &new));
        if key.starts_with("unused") {
            value = PropertyString::lenient(&new);
        } else if let Some(size) = size {
            value.set("size", Size(size).to_config());
        }
        if let Some(guest) = self.guests.edit(&to) {
            guest.config.insert(key.to_owned(), value.to_string());
        }
    }
}

fn free_unused(guest: &Guest) -> String {
    let mut free = (0..).map(|number| format!("unused{number}"));
    free.find(|key| !guest.config.contains_key(key)).unwrap_or_default()
}
