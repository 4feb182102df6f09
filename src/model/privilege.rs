//! What a change of a configuration key needs: knowledge that the API's description does not have.
//!
//! The table only; who has which privilege is for whoever keeps the access control list.

use super::{is_disk_key, is_numbered};

/// Which privilege a key's change needs. The first match counts; without one it is `VM.Config.Options`.
const PRIVILEGES: &[(&str, &[&str])] = &[
    (
        "VM.Config.CPU",
        &["affinity", "cores", "cpu", "cpulimit", "cpuunits", "numa", "numa#", "smp", "sockets", "vcpus"],
    ),
    ("VM.Config.Memory", &["balloon", "hugepages", "keephugepages", "memory", "shares", "swap"]),
    ("VM.Config.Network", &["hostname", "nameserver", "net#", "searchdomain"]),
    (
        "VM.Config.HWType",
        &[
            "acpi", "arch", "audio0", "bios", "hotplug", "hostpci#", "kvm", "machine", "rng0", "scsihw", "serial#",
            "smbios1", "tablet", "usb#", "vga", "watchdog",
        ],
    ),
    (
        "VM.Config.Disk",
        &["efidisk#", "ide#", "mp#", "rootfs", "sata#", "scsi#", "tpmstate#", "unused#", "virtio#", "vmstatestorage"],
    ),
    ("VM.Config.Cloudinit", &["cicustom", "cipassword", "citype", "ciupgrade", "ciuser", "ipconfig#", "sshkeys"]),
];

/// Keys that only `root@pam` itself, never a token, may change.
const ROOT_ONLY: &[&str] = &["args", "lock"];

/// The privilege on `/vms/{vmid}` that a change of a configuration key needs; a value that makes a disk a CD drive asks
/// for less.
pub fn config_privilege(key: &str, value: &str) -> &'static str {
    if is_disk_key(key) && value.contains("media=cdrom") && !value.contains("cloudinit") {
        return "VM.Config.CDROM";
    }
    let found = PRIVILEGES.iter().find(|(_, patterns)| is_listed(patterns, key));
    found.map_or("VM.Config.Options", |(privilege, _)| privilege)
}

/// Whether only `root@pam` itself, and none of its tokens, may change a configuration key.
pub fn is_root_only_key(key: &str) -> bool {
    ROOT_ONLY.contains(&key)
}

/// Whether a pattern such as `net#` names a key.
fn is_named(pattern: &str, key: &str) -> bool {
    match pattern.strip_suffix('#') {
        None => pattern == key,
        Some(stem) => is_numbered(key, stem),
    }
}

/// Whether one of several such patterns does.
pub(crate) fn is_listed(patterns: &[&str], key: &str) -> bool {
    patterns.iter().any(|pattern| is_named(pattern, key))
}

/// Whether a key is a network device.
#[cfg(feature = "server")]
pub(crate) fn is_net(key: &str) -> bool {
    is_numbered(key, "net")
}

/// Whether a key is a drive or mount point that may need a volume.
#[cfg(feature = "server")]
pub(crate) fn is_drive(key: &str) -> bool {
    is_disk_key(key) && !key.starts_with("unused") && key != "vmstate"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_needs_the_privilege_of_its_sort() {
        for (key, value, want) in [
            ("memory", "256", "VM.Config.Memory"),
            ("net0", "virtio,bridge=vmbr0", "VM.Config.Network"),
            ("scsi1", "local-lvm:1", "VM.Config.Disk"),
            ("ide2", "local:iso/debian.iso,media=cdrom", "VM.Config.CDROM"),
            ("tags", "a", "VM.Config.Options"),
            ("ipconfig0", "ip=dhcp", "VM.Config.Cloudinit"),
        ] {
            assert_eq!(config_privilege(key, value), want, "{key}");
        }
    }
}
