//! How the server answers a configuration's values: which are numbers, and what is masked.
//!
//! Knowledge that the API's description does not have; typed reading is in [`config`](super::config).

use serde_json::Value;

use super::GuestKind;

/// Keys whose values are JSON numbers in a VM's configuration; all others are strings, `memory` and `cpulimit` too.
const QEMU_NUMBERS: &[&str] = &[
    "acpi",
    "allow-ksm",
    "autostart",
    "balloon",
    "ciupgrade",
    "cores",
    "cpuunits",
    "freeze",
    "keephugepages",
    "kvm",
    "localtime",
    "migrate_speed",
    "numa",
    "onboot",
    "protection",
    "reboot",
    "shares",
    "smp",
    "sockets",
    "tablet",
    "tdf",
    "template",
    "vcpus",
];

/// The same for a container's.
const LXC_NUMBERS: &[&str] = &[
    "console",
    "cores",
    "cpuunits",
    "debug",
    "memory",
    "onboot",
    "protection",
    "swap",
    "template",
    "tty",
    "unprivileged",
];

/// A stored text as the server answers it: a number where it gives one, a password masked.
pub fn config_value(kind: GuestKind, key: &str, value: &str) -> Value {
    let numbers = match kind {
        GuestKind::Qemu => QEMU_NUMBERS,
        GuestKind::Lxc => LXC_NUMBERS,
    };
    match value.parse::<i64>() {
        Ok(number) if numbers.contains(&key) => number.into(),
        _ if key == "cipassword" => "**********".into(),
        _ => value.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_numbers_where_the_server_says_so() {
        assert_eq!(config_value(GuestKind::Qemu, "memory", "256"), Value::from("256"));
        assert_eq!(config_value(GuestKind::Lxc, "memory", "256"), Value::from(256));
        assert_eq!(config_value(GuestKind::Qemu, "cpulimit", "1"), Value::from("1"));
        assert_eq!(config_value(GuestKind::Qemu, "onboot", "1"), Value::from(1));
    }
}
