//! Rules of configurations: which keys are numbers, which privilege changes them, which changes wait for a start.
//!
//! Drives and network devices are filled in by [`disk`](super::disk); the contract has checked names and formats.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    Millis, World,
    guest::{Config, Guest, volid_in},
    node::{Volume, volume_key},
};
use crate::model::{GuestKind, config_value, is_drive, is_listed, is_net};

/// Keys that change at once even in a running guest; a name that ends in `#` stands for all numbers.
const QEMU_AT_ONCE: &[&str] = &[
    "balloon",
    "cpulimit",
    "cpuunits",
    "description",
    "hookscript",
    "ide#",
    "lock",
    "migrate_downtime",
    "migrate_speed",
    "name",
    "net#",
    "onboot",
    "parent",
    "protection",
    "sata#",
    "scsi#",
    "shares",
    "startup",
    "tags",
    "unused#",
    "usb#",
    "virtio#",
    "vmstate",
];

/// The same for containers.
const LXC_AT_ONCE: &[&str] = &[
    "cores",
    "cpulimit",
    "cpuunits",
    "description",
    "hookscript",
    "hostname",
    "lock",
    "memory",
    "net#",
    "onboot",
    "parent",
    "protection",
    "startup",
    "swap",
    "tags",
    "unused#",
];

/// What can be asked of a guest's configuration.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Change {
    pub(crate) set: BTreeMap<String, String>,
    pub(crate) delete: BTreeSet<String>,
    pub(crate) revert: BTreeSet<String>,
    pub(crate) digest: Option<String>,
    pub(crate) skiplock: bool,
}

/// Why a configuration was not changed.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The server dies with these words.
    Die(String),
    /// A parameter is to blame.
    Parameter(String, String),
}

impl Refusal {
    /// As a task's exit status.
    pub(crate) fn text(self) -> String {
        match self {
            Self::Die(text) => text,
            Self::Parameter(name, text) => format!("Parameter verification failed. ({name}: {})", text.trim()),
        }
    }
}

impl From<String> for Refusal {
    fn from(text: String) -> Self {
        Self::Die(text)
    }
}

/// A configuration as JSON, without its digest.
pub(crate) fn as_json(kind: GuestKind, config: &Config) -> Map<String, Value> {
    config.iter().map(|(key, value)| (key.clone(), config_value(kind, key, value))).collect()
}

fn changes_at_once(guest: &Guest, key: &str, comes: bool) -> bool {
    match guest.kind {
        GuestKind::Qemu => is_listed(QEMU_AT_ONCE, key),
        // What a container has in its file system comes while it runs; it neither goes nor becomes another.
        GuestKind::Lxc if is_listed(&["mp#", "dev#"], key) => comes && guest.get(key).is_none(),
        GuestKind::Lxc => is_listed(LXC_AT_ONCE, key),
    }
}

impl World {
    /// Fills in the values of a change: makes the volumes that drives ask for, draws MAC addresses.
    pub(crate) fn fill_in(
        &mut self,
        guest: &Guest,
        set: &BTreeMap<String, String>,
        now: Millis,
    ) -> Result<(Config, Vec<Volume>), String> {
        let (mut config, mut volumes) = (Config::new(), Vec::new());
        // The root disk of a container is its first.
        let in_order =
            set.iter().filter(|(key, _)| *key == "rootfs").chain(set.iter().filter(|(key, _)| *key != "rootfs"));
        for (key, value) in in_order {
            let value = if is_net(key) {
                self.net(guest.kind, value)?
            } else if is_drive(key) {
                let drive = self.drive(guest, key, value, &volumes, now)?;
                volumes.extend(drive.volume);
                drive.value
            } else if key == "cipassword" {
                // As on a real server, what is kept is not the password.
                format!("$5${}", self.salted(value))
            } else {
                value.clone()
            };
            config.insert(key.clone(), value);
        }
        Ok((config, volumes))
    }

    /// Changes a guest's configuration, all of it or nothing. Gives what was made on the way, as log lines.
    pub(crate) fn change_config(&mut self, vmid: u32, change: &Change, now: Millis) -> Result<Vec<String>, Refusal> {
        let Some(mut guest) = self.guests.get(&vmid).cloned() else {
            return Err(Refusal::Die(format!("no such VM ('{vmid}')")));
        };
        if change.digest.as_ref().is_some_and(|digest| *digest != guest.digest()) {
            return Err(Refusal::Die(match guest.kind {
                GuestKind::Qemu => "checksum mismatch (file change by other user?)".into(),
                GuestKind::Lxc => "detected modified configuration - file changed by other user? Try again.".into(),
            }));
        }
        if let Some(lock) = guest.lock().filter(|_| !change.skiplock) {
            return Err(Refusal::Die(format!("{} is locked ({lock})", guest.word())));
        }
        self.check_hotplug(&guest, &change.set)?;
        let (set, volumes) = self.fill_in(&guest, &change.set, now)?;
        self.check_room(&guest.node, &volumes)?;
        let mut log = Vec::new();
        for key in &change.revert {
            guest.pending.remove(key);
        }
        let mut gone = Vec::new();
        for key in &change.delete {
            if guest.is_running() && !changes_at_once(&guest, key, false) {
                if guest.config.contains_key(key) {
                    guest.pending.insert(key.clone(), None);
                } else {
                    guest.pending.remove(key);
                }
                continue;
            }
            guest.pending.remove(key);
            if let Some(old) = guest.config.remove(key) {
                let protected = guest.get("protection") == Some("1");
                if is_drive(key) && protected && !old.contains("media=cdrom") {
                    let word = guest.word();
                    return Err(Refusal::Die(format!("can't remove {word} {vmid} - protection mode enabled")));
                }
                gone.extend(guest.let_go(key, &old));
            }
        }
        for (key, value) in set {
            if guest.is_running() && !changes_at_once(&guest, &key, true) {
                if guest.get(&key) == Some(value.as_str()) {
                    guest.pending.remove(&key);
                } else {
                    guest.pending.insert(key, Some(value));
                }
                continue;
            }
            guest.pending.remove(&key);
            if is_drive(&key) && volumes.iter().any(|volume| value.contains(&volume.volid)) {
                log.push(format!("{key}: successfully created disk '{value}'"));
            }
            let kept = volid_in(&value);
            // A disk that is attached again is no longer unused.
            guest.config.retain(|other, old| !other.starts_with("unused") || kept.is_none() || volid_in(old) != kept);
            if let Some(old) = guest.config.insert(key.clone(), value)
                && volid_in(&old) != kept
            {
                gone.extend(guest.let_go(&key, &old));
            }
        }
        for volume in volumes {
            self.volumes.insert(volume.key(), volume);
        }
        for volid in gone {
            self.volumes.remove(volume_key(&guest.node, &volid).as_str());
        }
        self.guests.insert(vmid, guest);
        Ok(log)
    }

    /// A running guest's network device needs its bridge.
    fn check_hotplug(&self, guest: &Guest, set: &BTreeMap<String, String>) -> Result<(), Refusal> {
        if !guest.is_running() {
            return Ok(());
        }
        for (key, value) in set.iter().filter(|(key, _)| is_net(key)) {
            let parts = value.parse::<crate::model::PropertyString>().unwrap_or_default();
            if parts.get("bridge").is_some_and(|bridge| bridge != super::fresh::BRIDGE) {
                let text = format!(
                    "hotplug problem - VM {} qmp command 'netdev_add' failed - network script \
                     /usr/libexec/qemu-server/pve-bridge-hotplug failed with status 512\n",
                    guest.vmid
                );
                return Err(Refusal::Parameter(key.clone(), text));
            }
        }
        Ok(())
    }
}

impl Guest {
    /// After a drive left the configuration: a disk of its own becomes unused, an unused one goes, and so does the
    /// cloud-init drive. Gives the volumes to be removed.
    fn let_go(&mut self, key: &str, old: &str) -> Option<String> {
        let volid = volid_in(old)?;
        let own = volid.contains(&format!("-{}-", self.vmid));
        if key.starts_with("unused") || volid.contains("cloudinit") {
            return own.then_some(volid);
        }
        if own && is_drive(key) {
            let free = (0..).map(|n| format!("unused{n}")).find(|key| !self.config.contains_key(key));
            self.config.insert(free?, volid);
        }
        None
    }
}
