//! A guest: a virtual machine or a container, its place, its status, its configuration.

mod row;

use std::{collections::BTreeMap, fmt};

pub(crate) use row::Survey;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Digest, NodeName, PropertyString, Tags, Vmid, is_secret_key, tolerant};

/// The two kinds of guest, by Proxmox's own names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GuestKind {
    /// A virtual machine.
    Qemu,
    /// A container.
    Lxc,
}

impl GuestKind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Qemu, Self::Lxc];

    /// The word in API paths: `qemu`, `lxc`.
    pub const fn api(self) -> &'static str {
        match self {
            Self::Qemu => "qemu",
            Self::Lxc => "lxc",
        }
    }

    /// The word people use: `vm`, `container`.
    pub const fn noun(self) -> &'static str {
        match self {
            Self::Qemu => "vm",
            Self::Lxc => "container",
        }
    }

    /// The word in the configuration of HA: `vm`, `ct`.
    pub const fn ha(self) -> &'static str {
        match self {
            Self::Qemu => "vm",
            Self::Lxc => "ct",
        }
    }

    /// The configuration key that holds the guest's name.
    pub const fn name_key(self) -> &'static str {
        match self {
            Self::Qemu => "name",
            Self::Lxc => "hostname",
        }
    }
}

impl fmt::Display for GuestKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.noun())
    }
}

/// Where a guest is: enough to build its API paths.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct GuestRef {
    /// VM or container.
    pub kind: GuestKind,
    /// Its number.
    pub vmid: Vmid,
    /// The node it is on.
    pub node: NodeName,
}

impl GuestRef {
    /// Its name in the configuration of HA: `vm:150`, `ct:150`.
    pub fn ha_sid(&self) -> String {
        format!("{}:{}", self.kind.ha(), self.vmid)
    }
}

impl fmt::Display for GuestRef {
    /// `vm/150`, the form of `-o name`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.vmid)
    }
}

/// A guest as `GET /cluster/resources?type=vm` lists it. Only the first four fields are always there.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Guest {
    /// Its number.
    pub vmid: Vmid,
    /// Its name; a nameless VM is listed as `VM 100`, a guest on an offline node without any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// VM or container.
    #[serde(rename = "type")]
    pub kind: GuestKind,
    /// The node it is on.
    pub node: NodeName,
    /// `running`, `stopped`, `paused`, `suspended`, `prelaunch`, or `unknown` before the node reported.
    pub status: String,
    /// Share of its processors in use, 0 to 1.
    #[serde(serialize_with = "tolerant::number", skip_serializing_if = "Option::is_none")]
    pub cpu: Option<f64>,
    /// How many processors it has.
    #[serde(serialize_with = "tolerant::number", skip_serializing_if = "Option::is_none")]
    pub maxcpu: Option<f64>,
    /// Memory in use, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mem: Option<u64>,
    /// Memory it may use, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maxmem: Option<u64>,
    /// Disk in use, bytes; always 0 for VMs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk: Option<u64>,
    /// Size of its first disk, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maxdisk: Option<u64>,
    /// Seconds since it started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uptime: Option<u64>,
    /// Memory that its processes hold on the node, bytes; 0 for containers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memhost: Option<u64>,
    /// Received from the network since it started, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub netin: Option<u64>,
    /// Sent to the network since it started, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub netout: Option<u64>,
    /// Read from its disks since it started, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub diskread: Option<u64>,
    /// Written to its disks since it started, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub diskwrite: Option<u64>,
    /// Whether it is a template.
    #[serde(serialize_with = "zero_or_one")]
    pub template: bool,
    /// Its tags.
    #[serde(skip_serializing_if = "Tags::is_empty")]
    pub tags: Tags,
    /// The pool it is in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// What holds it: `backup`, `migrate`, `snapshot`, …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lock: Option<String>,
    /// The row's name among all resources: `qemu/100`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Everything else the server says: nothing, of the servers of today. Fields are cheaper, and lists are long.
    #[serde(flatten, serialize_with = "tolerant::in_order")]
    pub other: Map<String, Value>,
}

/// Booleans go out as they came in, so that a row printed is the row received.
fn zero_or_one<S: serde::Serializer>(value: &bool, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u8(u8::from(*value))
}

impl Guest {
    /// One of which nothing is known but where it is.
    pub fn new(GuestRef { kind, vmid, node }: GuestRef) -> Self {
        Self {
            vmid,
            name: None,
            kind,
            node,
            status: "unknown".to_owned(),
            cpu: None,
            maxcpu: None,
            mem: None,
            maxmem: None,
            disk: None,
            maxdisk: None,
            uptime: None,
            memhost: None,
            netin: None,
            netout: None,
            diskread: None,
            diskwrite: None,
            template: false,
            tags: Tags::default(),
            pool: None,
            lock: None,
            id: None,
            other: Map::new(),
        }
    }

    /// Where it is.
    pub fn reference(&self) -> GuestRef {
        GuestRef { kind: self.kind, vmid: self.vmid, node: self.node.clone() }
    }

    /// Whether its processor is powered: paused counts, for it holds memory and must be stopped before it is deleted.
    pub fn is_powered(&self) -> bool {
        !matches!(self.status.as_str(), "stopped" | "unknown" | "suspended")
    }

    /// What HA says of it, if HA knows it.
    pub fn ha_state(&self) -> Option<&str> {
        self.other.get("hastate")?.as_str()
    }

    /// Whether HA does with it what it is asked for, in its own way.
    pub fn is_under_ha(&self) -> bool {
        self.ha_state().is_some_and(|state| state != "ignored")
    }

    /// The memory in bytes that those of them may use which are on and on this node.
    pub fn claimed(guests: &[Self], node: &NodeName) -> u64 {
        guests.iter().filter(|guest| guest.node == *node && guest.is_powered()).filter_map(|guest| guest.maxmem).sum()
    }

    /// Leaves only what is so whether or not its node can be asked. For minutes after a node was lost, the cluster
    /// repeats how its guests were, as if it still knew.
    pub fn lose_sight(&mut self) {
        "unknown".clone_into(&mut self.status);
        self.cpu = None;
        for moving in [
            &mut self.mem,
            &mut self.disk,
            &mut self.uptime,
            &mut self.memhost,
            &mut self.netin,
            &mut self.netout,
            &mut self.diskread,
            &mut self.diskwrite,
        ] {
            *moving = None;
        }
    }

    /// Its name, or its number where it has none.
    pub fn label(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.vmid.to_string())
    }
}

/// Which values of a configuration are meant when a change waits for the next start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigView {
    /// With the waiting changes: what the next start will use. The server's default.
    Pending,
    /// What runs now.
    Current,
}

/// A guest's configuration: PVE's keys and values as the server gives them. Typed access to all keys is in
/// [`config`](super::config).
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GuestConfig(pub Map<String, Value>);

impl fmt::Debug for GuestConfig {
    /// Without secrets: one that is about to be sent may have them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hidden = Value::from("***");
        let mut map = f.debug_map();
        for (key, value) in &self.0 {
            map.entry(key, if is_secret_key(key) { &hidden } else { value });
        }
        map.finish()
    }
}

impl GuestConfig {
    /// A value as text, numbers printed as the server would.
    pub fn text(&self, key: &str) -> Option<String> {
        self.0.get(key).map(|value| match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        })
    }

    /// The digest of what was read, to be sent back with a change.
    pub fn digest(&self) -> Option<Digest> {
        self.text("digest").map(Digest)
    }

    /// What holds the guest, if anything does.
    pub fn lock(&self) -> Option<String> {
        self.text("lock")
    }

    /// Whether `protection` forbids removing it or its disks.
    pub fn is_protected(&self) -> bool {
        self.text("protection").is_some_and(|value| value == "1")
    }

    /// The disks with their property strings, by key: `scsi0`, `rootfs`, `mp1`, `unused0`, …; drives without a
    /// volume and CD images of others are left out, the guest's own cloud-init drive is not.
    pub fn disks(&self) -> BTreeMap<String, PropertyString> {
        self.0
            .iter()
            .filter(|(key, _)| is_disk_key(key))
            .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.parse::<PropertyString>().ok()?)))
            .filter(|(_, disk)| {
                let volume = disk.volume().unwrap_or("none");
                let foreign = disk.get("media") == Some("cdrom") && !volume.contains("cloudinit");
                volume.contains(':') && !foreign
            })
            .collect()
    }
}

/// Whether a configuration key names a disk of a VM or a volume of a container.
pub fn is_disk_key(key: &str) -> bool {
    const BUSES: [&str; 10] =
        ["scsi", "virtio", "sata", "ide", "efidisk", "tpmstate", "mp", "unused", "rootfs", "vmstate"];
    let digits = key.trim_start_matches(|c: char| !c.is_ascii_digit());
    let bus = &key[..key.len() - digits.len()];
    BUSES.contains(&bus)
        && digits.bytes().all(|b| b.is_ascii_digit())
        && digits.is_empty() == matches!(bus, "rootfs" | "vmstate")
}

/// Whether a key is one of a family and its number: `net0` of `net`.
pub fn is_numbered(key: &str, family: &str) -> bool {
    key.strip_prefix(family).is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
}

/// A snapshot: `GET …/snapshot`; the server's pseudo-entry `current` is one of the rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Its name.
    pub name: String,
    /// What its maker wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The one it stands on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// When it was taken, seconds since 1970.
    #[serde(default, deserialize_with = "tolerant::u64::option", skip_serializing_if = "Option::is_none")]
    pub snaptime: Option<u64>,
    /// Everything else the server says.
    #[serde(flatten, serialize_with = "tolerant::in_order")]
    pub other: Map<String, Value>,
}

impl Snapshot {
    /// Whether this is the server's word for "now", not a snapshot.
    pub fn is_current(&self) -> bool {
        self.name == "current"
    }

    /// Whether the memory of the guest was kept, so that it goes on from there.
    pub fn has_memory(&self) -> bool {
        self.other.get("vmstate").is_some_and(|kept| *kept != 0 && *kept != "0" && *kept != false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_disks_from_other_keys() {
        for disk in ["scsi0", "virtio15", "rootfs", "mp0", "unused3", "efidisk0", "tpmstate0", "ide2"] {
            assert!(is_disk_key(disk), "{disk}");
        }
        for other in ["scsihw", "scsi", "net0", "rootfs0", "mp", "ide2x", "memory", "bootdisk"] {
            assert!(!is_disk_key(other), "{other}");
        }
    }

    #[test]
    fn lists_the_disks_that_a_delete_would_take() {
        let config: GuestConfig = serde_json::from_str(
            r#"{"scsi0":"local-lvm:vm-100-disk-0,size=32G","ide2":"local:iso/d.iso,media=cdrom","ide0":"none,media=cdrom",
                "ide1":"local-lvm:vm-100-cloudinit,media=cdrom","scsihw":"virtio-scsi-pci","unused0":"local-lvm:vm-100-disk-1"}"#,
        )
        .unwrap();
        let disks: Vec<String> = config.disks().into_keys().collect();
        assert_eq!(disks, ["ide1", "scsi0", "unused0"]);
    }

    #[test]
    fn a_row_keeps_what_it_does_not_know() {
        let json = r#"{"vmid":100,"name":"a","type":"qemu","node":"pve1","status":"running","memhost":7,"template":0,"new":[1]}"#;
        let guest: Guest = serde_json::from_str(json).unwrap();
        assert_eq!(serde_json::to_string(&guest).unwrap(), json);
    }
}
