//! A guest: its configuration, what waits for its next start, its snapshots, and the figures that follow from these.
//!
//! What may be done to it and when is in [`effect`](super::effect).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Millis, hash};
use crate::model::{ConfigTexts, GuestKind, PendingChanges, PropertyString, Size, apply_pending, config_to_come};

/// Keys and values as they stand in the configuration file.
pub(crate) type Config = ConfigTexts;

/// Whether it has power.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Power {
    Stopped,
    Running,
    Paused,
}

/// The state of a guest at some moment.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Snapshot {
    pub(crate) config: Config,
    pub(crate) description: String,
    pub(crate) parent: Option<String>,
    pub(crate) taken: Millis,
    /// The volume with the memory, when that was kept too.
    pub(crate) vmstate: Option<String>,
}

/// A virtual machine or a container.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Guest {
    pub(crate) kind: GuestKind,
    pub(crate) vmid: u32,
    pub(crate) node: String,
    pub(crate) config: Config,
    /// Changes that wait for the next start; `None` deletes the key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) pending: PendingChanges,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) snapshots: BTreeMap<String, Snapshot>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pool: Option<String>,
    pub(crate) power: Power,
    /// When it was started.
    #[serde(default)]
    pub(crate) started: Millis,
    #[serde(default)]
    pub(crate) pid: u32,
    /// What its cloud-init drive says, once it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cloudinit: Option<Config>,
}

impl Guest {
    /// A stopped one with this configuration.
    pub(crate) fn new(kind: GuestKind, vmid: u32, node: &str, config: Config) -> Self {
        Self {
            kind,
            vmid,
            node: node.to_owned(),
            config,
            pending: BTreeMap::new(),
            snapshots: BTreeMap::new(),
            pool: None,
            power: Power::Stopped,
            started: 0,
            pid: 0,
            cloudinit: None,
        }
    }

    /// A configuration value.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.config.get(key).map(String::as_str)
    }

    fn number(&self, key: &str) -> Option<u64> {
        self.get(key)?.parse().ok()
    }

    /// Whether it has power, paused or not.
    pub(crate) fn is_running(&self) -> bool {
        self.power != Power::Stopped
    }

    /// Whether it is a template.
    pub(crate) fn is_template(&self) -> bool {
        self.get("template") == Some("1")
    }

    /// What holds it.
    pub(crate) fn lock(&self) -> Option<&str> {
        self.get("lock")
    }

    /// `VM` or `CT`, the word in the server's messages.
    pub(crate) fn word(&self) -> &'static str {
        word(self.kind)
    }

    /// Its name as lists show it.
    pub(crate) fn name(&self) -> String {
        let prefix = self.word();
        self.get(self.kind.name_key()).map_or_else(|| format!("{prefix} {}", self.vmid), str::to_owned)
    }

    /// The word for its state in lists: a paused VM counts as running there.
    pub(crate) fn status(&self) -> &'static str {
        if self.is_running() { "running" } else { "stopped" }
    }

    /// The word for its state in the cluster's list.
    pub(crate) fn resource_status(&self) -> &'static str {
        if self.power == Power::Paused { "paused" } else { self.status() }
    }

    /// How many processors it has.
    pub(crate) fn cpus(&self) -> u64 {
        let cores = self.number("cores").unwrap_or(1) * self.number("sockets").unwrap_or(1);
        self.number("vcpus").unwrap_or(cores)
    }

    /// Memory it may use, bytes.
    pub(crate) fn memory(&self) -> u64 {
        // A VM's `memory` is a property string whose default key is `current`.
        let text = self.get("memory").unwrap_or("512");
        let number = text.split(',').next().unwrap_or(text).trim_start_matches("current=");
        number.parse::<u64>().unwrap_or(512) << 20
    }

    /// Swap it may use, bytes.
    pub(crate) fn swap(&self) -> u64 {
        self.number("swap").unwrap_or(512) << 20
    }

    /// Memory it uses, bytes: a little less than half while it runs.
    pub(crate) fn memory_used(&self) -> u64 {
        if self.is_running() { self.memory() / 16 * (5 + u64::from(self.vmid % 3)) } else { 0 }
    }

    /// The share of its processors in use: made up, but steady for ten seconds.
    pub(crate) fn cpu_used(&self, now: Millis) -> f64 {
        if self.power != Power::Running {
            return 0.0;
        }
        let wave = (now.div_euclid(10_000) + i64::from(self.vmid) * 7).rem_euclid(50);
        0.01 + wave as f64 / 500.0
    }

    /// Seconds since it was started.
    pub(crate) fn uptime(&self, now: Millis) -> u64 {
        if self.is_running() { u64::try_from((now - self.started) / 1000).unwrap_or(0) } else { 0 }
    }

    /// Size of its first disk, bytes. Asked for every guest of every list, so it parses no more than it must.
    pub(crate) fn maxdisk(&self) -> u64 {
        const BUSES: [&str; 4] = ["ide", "sata", "scsi", "virtio"];
        let value = match self.kind {
            GuestKind::Lxc => self.get("rootfs"),
            GuestKind::Qemu => {
                let first_on = |bus: &str| {
                    let from = self.config.range(format!("{bus}0")..);
                    let mut drives =
                        from.take_while(|(key, _)| key.starts_with(bus)).filter(|(key, _)| *key != "scsihw");
                    drives.find(|(_, value)| !value.contains("media=cdrom")).map(|(_, value)| value.as_str())
                };
                BUSES.into_iter().find_map(first_on)
            }
        };
        let size = value.and_then(|value| value.split(',').find_map(|part| part.strip_prefix("size=")));
        size.and_then(|size| size.parse::<Size>().ok()).map_or(0, |size| size.0)
    }

    /// The keys of its drives and mount points, `unusedN` not among them.
    pub(crate) fn disk_keys(&self) -> impl Iterator<Item = &str> {
        let keys = self.config.keys().map(String::as_str);
        keys.filter(|key| crate::model::is_disk_key(key) && !key.starts_with("unused") && *key != "vmstate")
    }

    /// Whether a drive is a CD-ROM; the cloud-init drive is one.
    pub(crate) fn is_cdrom(&self, key: &str) -> bool {
        self.get(key).is_some_and(|value| value.contains("media=cdrom"))
    }

    /// The volume behind a drive or mount point, if there is one.
    pub(crate) fn volid(&self, key: &str) -> Option<String> {
        volid_in(self.get(key)?)
    }

    /// All volumes its configuration names, those of unused disks among them.
    pub(crate) fn volids(&self) -> Vec<String> {
        let keys = self.config.keys().filter(|key| crate::model::is_disk_key(key));
        keys.filter_map(|key| self.volid(key)).collect()
    }

    /// The configuration as the next start will see it.
    pub(crate) fn config_to_come(&self) -> Config {
        config_to_come(&self.config, &self.pending)
    }

    /// Makes the waiting changes real.
    pub(crate) fn apply_pending(&mut self) {
        apply_pending(&mut self.config, &mut self.pending);
    }

    /// The digest of its configuration file, waiting changes and snapshots included.
    pub(crate) fn digest(&self) -> String {
        let file = format!("{:?}{:?}{:?}", self.config, self.pending, self.snapshots.keys());
        hash(&file)[..40].to_owned()
    }

    /// Powers it on.
    pub(crate) fn power_on(&mut self, now: Millis, pid: u32) {
        self.apply_pending();
        self.config.remove("vmstate");
        if self.lock() == Some("suspended") {
            self.config.remove("lock");
        }
        self.power = Power::Running;
        self.started = now;
        self.pid = pid;
        if self.disk_keys().any(|key| self.get(key).is_some_and(|value| value.contains("cloudinit"))) {
            self.write_cloudinit();
        }
    }

    /// Makes its cloud-init drive anew.
    pub(crate) fn write_cloudinit(&mut self) {
        let config = self.config_to_come();
        self.cloudinit = Some(config.into_iter().filter(|(key, _)| is_cloudinit_key(key)).collect());
    }

    /// Powers it off.
    pub(crate) fn power_off(&mut self) {
        self.apply_pending();
        self.power = Power::Stopped;
        self.started = 0;
        self.pid = 0;
    }
}

/// Whether a key goes onto a cloud-init drive.
pub(crate) fn is_cloudinit_key(key: &str) -> bool {
    let named = ["cicustom", "cipassword", "citype", "ciupgrade", "ciuser", "nameserver", "searchdomain", "sshkeys"];
    named.contains(&key) || key.starts_with("ipconfig")
}

/// `VM` or `CT`, the word in the server's messages.
pub(crate) fn word(kind: GuestKind) -> &'static str {
    match kind {
        GuestKind::Qemu => "VM",
        GuestKind::Lxc => "CT",
    }
}

/// The volume in a drive's or mount point's value.
pub(crate) fn volid_in(value: &str) -> Option<String> {
    let parts: PropertyString = value.parse().ok()?;
    let volume = parts.volume()?;
    volume.contains(':').then(|| volume.to_owned())
}

/// The server's words for a guest that is not there.
pub(crate) fn missing(kind: GuestKind, node: &str, vmid: u32) -> String {
    let dir = match kind {
        GuestKind::Qemu => "qemu-server",
        GuestKind::Lxc => "lxc",
    };
    format!("Configuration file 'nodes/{node}/{dir}/{vmid}.conf' does not exist")
}
