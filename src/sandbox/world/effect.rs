//! What the end of a task brings about: may it happen, let it happen, and what its interruption leaves.
//!
//! When a task ends is decided in [`task`](super::task).

use serde::{Deserialize, Serialize};

pub(crate) use super::act::Act;
use super::{
    World,
    act::check_act,
    backup::{Backup, Restored},
    config::Change,
    disk::growth,
    guest::{Guest, Power, missing, volid_in},
    node::{Volume, volume_key},
    task::Task,
};
use crate::model::{GuestKind, PropertyString, Size};

/// In a guest's description: it never reacts to a shutdown.
pub(crate) const IGNORES_SHUTDOWN: &str = "sandbox: ignores shutdown";

/// What the end of a task brings about.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Effect {
    /// Nothing.
    Nothing,
    /// The task ends with this error.
    Fail(String),
    /// Something is done to a guest that is there.
    Guest { kind: GuestKind, vmid: u32, act: Act, skiplock: bool },
    /// A guest whose number was taken beforehand becomes what it shall be.
    Make { guest: Box<Guest>, volumes: Vec<Volume>, start: bool },
    /// A configuration changes.
    Config { kind: GuestKind, vmid: u32, change: Change },
    /// A volume goes.
    DeleteVolume(String),
    /// Guests are backed up.
    Backup(Backup),
    /// A guest is made of an archive.
    Restore(Restored),
    /// A volume is there.
    Keep(Volume),
    /// Archives go, by key.
    DropArchives(Vec<String>),
    /// HA is told how a guest is to be.
    TellHa { name: String, request: String, hard: bool },
    /// HA is told where a guest is to be.
    SendByHa { name: String, to: String },
}

impl World {
    /// The guest of this kind and number on this node, or the server's words for a missing one.
    pub(crate) fn guest(&self, kind: GuestKind, node: &str, vmid: u32) -> Result<&Guest, String> {
        let found = self.guests.get(&vmid).filter(|guest| guest.kind == kind && guest.node == node);
        found.ok_or_else(|| missing(kind, node, vmid))
    }

    /// Whether an effect could happen now; otherwise the error the task would end with.
    pub(crate) fn check(&self, effect: &Effect, node: &str) -> Result<(), String> {
        match effect {
            Effect::Nothing
            | Effect::Fail(_)
            | Effect::DeleteVolume(_)
            | Effect::Backup(_)
            | Effect::DropArchives(_)
            | Effect::Keep(_)
            | Effect::TellHa { .. }
            | Effect::SendByHa { .. } => Ok(()),
            Effect::Restore(restored) => self.check_restore(restored, node),
            Effect::Config { kind, vmid, .. } => self.guest(*kind, node, *vmid).map(drop),
            Effect::Make { guest, volumes, .. } => self.check_room(node, volumes).map_err(|error| {
                let word = guest.word();
                format!("unable to create {word} {} - {error}", guest.vmid)
            }),
            Effect::Guest { kind, vmid, act, skiplock } => {
                let guest = self.guest(*kind, node, *vmid)?;
                match guest.lock() {
                    None => {}
                    Some("suspended") if matches!(act, Act::Start | Act::Resume | Act::Destroy { .. }) => {}
                    Some("migrate") if matches!(act, Act::Migrate { .. }) => {}
                    Some(lock) if !skiplock => return Err(format!("{} is locked ({lock})", guest.word())),
                    Some(_) => {}
                }
                check_act(guest, act)?;
                self.check_rollback(guest, act)
            }
        }
    }

    /// Whether the volumes that do not exist yet fit into their storages.
    pub(crate) fn check_room(&self, node: &str, volumes: &[Volume]) -> Result<(), String> {
        for storage in self.storages.values() {
            let wanted: u64 = volumes.iter().filter(|v| v.storage() == storage.name).map(|v| v.size).sum();
            let free = self.fill(node, storage).free();
            let Some(first) = volumes.iter().find(|v| v.storage() == storage.name && wanted > free) else { continue };
            return Err(if storage.is_dir() {
                format!("unable to create image: not enough space on storage '{}'", storage.name)
            } else {
                format!(
                    "lvcreate 'pve/{}' error:   Volume group \"pve\" has insufficient free space ({} extents): {} required.",
                    first.name(),
                    free >> 22,
                    wanted >> 22
                )
            });
        }
        Ok(())
    }

    /// Lets an effect happen that was checked.
    pub(crate) fn apply(&mut self, effect: Effect, task: &Task) -> Result<(), String> {
        match effect {
            Effect::Nothing => Ok(()),
            Effect::Fail(error) => Err(error),
            Effect::DeleteVolume(key) => {
                self.drop_archives(&[key]);
                Ok(())
            }
            Effect::DropArchives(keys) => {
                self.drop_archives(&keys);
                Ok(())
            }
            Effect::Keep(volume) => {
                self.volumes.insert(volume.key(), volume);
                Ok(())
            }
            Effect::Backup(backup) => self.finish_backup(backup),
            Effect::Restore(restored) => {
                self.finish_restore(restored, task);
                Ok(())
            }
            Effect::TellHa { name, request, hard } => {
                self.tell_ha(&name, &request, hard, task.end);
                Ok(())
            }
            Effect::SendByHa { name, to } => {
                self.send_by_ha(&name, &to, task.end);
                Ok(())
            }
            Effect::Config { vmid, change, .. } => {
                self.change_config(vmid, &change, task.end).map(drop).map_err(|refusal| refusal.text())
            }
            Effect::Make { mut guest, volumes, start } => {
                for volume in volumes {
                    self.volumes.insert(volume.key(), volume);
                }
                if start {
                    guest.power_on(task.end, task.pid + 1);
                }
                self.guests.insert(guest.vmid, *guest);
                Ok(())
            }
            Effect::Guest { vmid, act, .. } => {
                self.act(vmid, act, task);
                Ok(())
            }
        }
    }

    /// Takes back what was done when a task began: the number that was taken for a guest.
    pub(crate) fn undo(&mut self, effect: &Effect) {
        match effect {
            Effect::Make { guest, .. } | Effect::Restore(Restored { guest, replaces: false, .. }) => {
                self.guests.remove(&guest.vmid);
            }
            Effect::Backup(backup) => self.unlock_after_backup(&backup.guests),
            Effect::Guest { vmid, act: Act::Migrate { .. }, .. } => self.stay(*vmid),
            _ => {}
        }
    }

    fn act(&mut self, vmid: u32, act: Act, task: &Task) {
        match act {
            Act::Destroy { unreferenced, purge, .. } => self.destroy(vmid, unreferenced, purge),
            Act::Template => self.make_template(vmid),
            Act::Resize { disk, size } => self.resize(vmid, &disk, &size),
            Act::Suspend(storage) => {
                let name = format!("vm-{vmid}-state-suspend-{}", super::seconds(task.end));
                let volid = self.add_state(vmid, &storage, &name, task);
                self.with(vmid, |guest| {
                    guest.power_off();
                    guest.config.insert("lock".into(), "suspended".into());
                    guest.config.insert("vmstate".into(), volid);
                });
            }
            Act::Snapshot { name, description, memory } => {
                let running = self.guests.get(&vmid).is_some_and(Guest::is_running);
                let storage = self.state_storage(vmid);
                let vmstate = (memory && running)
                    .then(|| self.add_state(vmid, &storage, &format!("vm-{vmid}-state-{name}"), task));
                self.with(vmid, |guest| guest.take_snapshot(name, description, vmstate, task.end));
            }
            Act::DeleteSnapshot(name) => {
                let gone = self.guests.edit(&vmid).and_then(|guest| guest.drop_snapshot(&name));
                let state = gone.and_then(|snapshot| snapshot.vmstate);
                if let Some(volid) = state {
                    self.volumes.remove(volume_key(&task.node, &volid).as_str());
                }
            }
            Act::MoveDisk { disk, new, delete } => self.moved(vmid, &disk, *new, delete),
            Act::Reassign { disk, to, key } => self.reassign(vmid, &disk, to, &key, task),
            Act::Migrate { to, renamed } => self.arrive(vmid, &to, &renamed, task),
            Act::Stop => self.with(vmid, Guest::power_off),
            Act::Restart => self.with(vmid, |guest| {
                guest.power_off();
                guest.power_on(task.end, task.pid + 1);
            }),
            Act::Reset => self.with(vmid, |guest| guest.started = task.end),
            Act::Pause => self.with(vmid, |guest| guest.power = Power::Paused),
            Act::Start | Act::Resume => {
                let state = self.guests.get(&vmid).and_then(|guest| guest.volid("vmstate"));
                if let Some(volid) = state {
                    self.volumes.remove(volume_key(&task.node, &volid).as_str());
                }
                self.with(vmid, |guest| match guest.power {
                    Power::Stopped => guest.power_on(task.end, task.pid + 1),
                    Power::Running | Power::Paused => guest.power = Power::Running,
                });
            }
            Act::Rollback { name, start } => self.with(vmid, |guest| {
                let Some(snapshot) = guest.snapshots.get(&name).cloned() else { return };
                let start = start || snapshot.vmstate.is_some();
                guest.power_off();
                guest.config = snapshot.config;
                guest.config.insert("parent".into(), name);
                if start {
                    guest.power_on(task.end, task.pid + 1);
                }
            }),
        }
    }

    fn with(&mut self, vmid: u32, change: impl FnOnce(&mut Guest)) {
        if let Some(guest) = self.guests.edit(&vmid) {
            change(guest);
        }
    }

    /// Where a guest's memory goes when nothing else is said: beside its first disk.
    pub(crate) fn state_storage(&self, vmid: u32) -> String {
        let volids = self.guests.get(&vmid).map(Guest::volids).unwrap_or_default();
        let storage = volids.first().and_then(|volid| volid.split(':').next());
        storage.unwrap_or("local-lvm").to_owned()
    }

    fn add_state(&mut self, vmid: u32, storage: &str, name: &str, task: &Task) -> String {
        let memory = self.guests.get(&vmid).map_or(0, Guest::memory);
        let volid = format!("{storage}:{name}");
        let volume = Volume {
            node: task.node.clone(),
            volid: volid.clone(),
            content: "images".into(),
            format: "raw".into(),
            size: 2 * memory + (500 << 20),
            vmid: Some(vmid),
            created: task.end,
            parent: None,
        };
        self.volumes.insert(volume.key(), volume);
        volid
    }

    fn destroy(&mut self, vmid: u32, unreferenced: bool, purge: bool) {
        let Some(guest) = self.guests.remove(&vmid) else { return };
        self.firewalls.remove(format!("guest {vmid}").as_str());
        self.agents.remove(&vmid);
        if purge {
            self.purge(guest.kind, vmid);
        }
        let states = guest.snapshots.values().filter_map(|snapshot| snapshot.vmstate.clone());
        let mut gone: Vec<String> =
            guest.volids().into_iter().chain(states).map(|volid| volume_key(&guest.node, &volid)).collect();
        if unreferenced {
            gone.extend(self.volumes_of(&guest.node, vmid).into_iter().map(Volume::key));
        }
        for key in gone {
            if self.volumes.get(key.as_str()).is_some_and(|volume| volume.vmid == Some(vmid)) {
                self.volumes.remove(key.as_str());
            }
        }
        let path = format!("/vms/{vmid}");
        self.people.forget_grants(|grant| grant.path == path);
    }

    fn resize(&mut self, vmid: u32, disk: &str, size: &str) {
        let Some(guest) = self.guests.edit(&vmid) else { return };
        let Ok((_, then)) = growth(guest, disk, size) else { return };
        let Some(value) = guest.config.get_mut(disk) else { return };
        let mut drive = PropertyString::lenient(value);
        drive.set("size", Size(then).to_config());
        *value = drive.to_string();
        let key = volid_in(value).map(|volid| volume_key(&guest.node, &volid));
        if let Some(volume) = key.and_then(|key| self.volumes.edit(&key)) {
            volume.size = then;
        }
    }

    fn make_template(&mut self, vmid: u32) {
        let Some(guest) = self.guests.edit(&vmid) else { return };
        guest.config.insert("template".into(), "1".into());
        let node = guest.node.clone();
        let (plain, base) = (format!(":vm-{vmid}-"), format!(":base-{vmid}-"));
        let mut renamed = Vec::new();
        for (key, value) in &mut guest.config {
            let disk = crate::model::is_disk_key(key) && !value.contains("cloudinit");
            if let Some(volid) = volid_in(value).filter(|volid| disk && volid.contains(&plain)) {
                let new = volid.replace(&plain, &base);
                *value = value.replace(&volid, &new);
                renamed.push((volid, new));
            }
        }
        for (old, new) in renamed {
            if let Some(mut volume) = self.volumes.remove(volume_key(&node, &old).as_str()) {
                volume.volid = new;
                self.volumes.insert(volume.key(), volume);
            }
        }
    }
}
