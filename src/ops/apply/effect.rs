//! When a change of a guest counts: at once, at the next start, or not at all without something else.
//!
//! A forecast for people. What really waits is asked of the guest once the change was made.

use serde::Serialize;

use crate::model::{GuestKind, is_disk_key, is_listed, is_numbered};

/// When a change counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// At once.
    Live,
    /// At the next start.
    Restart,
    /// It cannot be made where the guest is.
    Never,
}

/// Keys of a VM that count at once, beside those that it plugs in; `#` stands for a number.
const VM_LIVE: &[&str] = &[
    "balloon",
    "cpulimit",
    "cpuunits",
    "description",
    "hookscript",
    "labels",
    "migrate_downtime",
    "migrate_speed",
    "name",
    "onboot",
    "pool",
    "protection",
    "shares",
    "startup",
    "state",
    "tags",
    "secret",
];
/// The same of a container.
const CONTAINER_LIVE: &[&str] = &[
    "cores",
    "cpulimit",
    "cpuunits",
    "description",
    "hookscript",
    "hostname",
    "labels",
    "memory",
    "net#",
    "onboot",
    "pool",
    "protection",
    "startup",
    "state",
    "swap",
    "tags",
];
/// Keys that only the call takes that makes a guest.
const MADE_WITH: &[&str] = &["unprivileged", "arch", "ostype"];
/// What a VM plugs in unless `hotplug` says otherwise.
const PLUGS: &str = "network,disk,usb";

/// When a change of a field counts, for a guest that runs. `hotplug` is what its configuration says of that.
pub(super) fn effect(kind: GuestKind, field: &str, hotplug: Option<&str>) -> Effect {
    let key = field.split('.').next().unwrap_or(field);
    let plugs = |what: &str| {
        let said = hotplug.unwrap_or(PLUGS);
        let said = if said == "1" { PLUGS } else { said };
        said.split(',').any(|word| word == what)
    };
    let live = match kind {
        GuestKind::Lxc if MADE_WITH.contains(&key) => return Effect::Never,
        // It grows while it runs, and takes nothing else.
        GuestKind::Lxc => is_listed(CONTAINER_LIVE, key) || field.ends_with(".size"),
        GuestKind::Qemu if is_disk_key(key) => field.ends_with(".size") || plugs("disk"),
        GuestKind::Qemu if is_numbered(key, "net") => plugs("network"),
        GuestKind::Qemu if key == "memory" => plugs("memory"),
        GuestKind::Qemu if key.starts_with("usb") => plugs("usb"),
        GuestKind::Qemu => is_listed(VM_LIVE, key),
    };
    if live { Effect::Live } else { Effect::Restart }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_counts_when() {
        use GuestKind::{Lxc, Qemu};
        for (kind, field, hotplug, want) in [
            (Qemu, "cores", None, Effect::Restart),
            (Qemu, "labels.app", None, Effect::Live),
            (Qemu, "net0.tag", None, Effect::Live),
            (Qemu, "net0.tag", Some("disk"), Effect::Restart),
            (Qemu, "memory", Some("memory,disk"), Effect::Live),
            (Qemu, "scsi0.size", Some("0"), Effect::Live),
            (Lxc, "cores", None, Effect::Live),
            (Lxc, "mp0.mp", None, Effect::Restart),
            (Lxc, "unprivileged", None, Effect::Never),
        ] {
            assert_eq!(effect(kind, field, hotplug), want, "{field}");
        }
    }
}
