//! Named formats of plain texts: VMIDs, node names, addresses, sizes.
//!
//! A table of how each looks and of the server's words when it does not. Formats that are not in the table let
//! everything pass: the server has the last word. Property strings are in `check`.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::OnceLock,
};

use regex_lite::Regex;

use super::pattern;
use crate::model::List;

/// How a text must look.
enum Look {
    /// Like this pattern, as a whole.
    Pattern(&'static str, OnceLock<Option<Regex>>),
    /// As this says.
    Test(fn(&str) -> bool),
}

struct Rule {
    name: &'static str,
    look: Look,
    /// The server's words; `{}` stands for the value.
    complaint: &'static str,
}

const fn like(name: &'static str, pattern: &'static str, complaint: &'static str) -> Rule {
    Rule { name, look: Look::Pattern(pattern, OnceLock::new()), complaint }
}

const fn test(name: &'static str, test: fn(&str) -> bool, complaint: &'static str) -> Rule {
    Rule { name, look: Look::Test(test), complaint }
}

/// Source of the words: a real 9.2 server's answers where `pve/recordings` has them, else its documentation and
/// source (`PVE::JSONSchema` and the modules that register formats).
static RULES: [Rule; 41] = [
    test("CIDR", is_cidr, "value does not look like a valid CIDR network"),
    test("CIDRv4", is_cidr4, "value does not look like a valid IPv4 network"),
    test("CIDRv6", is_cidr6, "value does not look like a valid IPv6 network"),
    test("IPorCIDR", |v| is_ip(v) || is_cidr(v), "value does not look like a valid IP address or CIDR network"),
    test("address", |v| is_ip(v) || is_dns_name(v), "value does not look like a valid address: {}"),
    like("disk-size", r"\d+(\.\d+)?[KMGT]?", "value does not look like a valid disk size: {}"),
    test("dns-name", is_dns_name, "value does not look like a valid DNS name"),
    like(
        "email",
        r"[\w+\-~]+(\.[\w+\-~]+)*@[a-zA-Z0-9\-]+(\.[a-zA-Z0-9\-]+)*",
        "value does not look like a valid email address",
    ),
    test("ip", is_ip, "value does not look like a valid IP address"),
    test("ipv4", |v| v.parse::<Ipv4Addr>().is_ok(), "value does not look like a valid IPv4 address"),
    test("ipv4mask", is_mask4, "value does not look like a valid IP netmask"),
    test("ipv6", |v| v.parse::<Ipv6Addr>().is_ok(), "value does not look like a valid IPv6 address"),
    like(
        "mac-addr",
        "(?i:[a-f0-9][02468ace](:[a-f0-9]{2}){5})",
        "value does not look like a valid unicast MAC address",
    ),
    like(
        "mac-prefix",
        "(?i:[a-f0-9][02468ace](:[a-f0-9]{2}){0,2}:?)",
        "value is not a valid unicast MAC address prefix",
    ),
    like("pve-bridge-id", r"[-_.\w]+", "invalid bridge ID '{}'"),
    like("pve-configid", "[A-Za-z][A-Za-z0-9_-]+", "invalid configuration ID '{}'"),
    like("pve-cpuset", r"\s*\d+(-\d+)?(\s*,\s*\d+(-\d+)?)*\s*", "unable to parse cpu-set '{}'"),
    like("pve-day-of-week", "(mon|tue|wed|thu|fri|sat|sun)", "invalid day of week '{}'"),
    like("pve-groupid", r"[A-Za-z0-9.\-_]+", "group name '{}' contains invalid characters"),
    like("pve-ha-resource-id", "(vm|ct):[1-9][0-9]{2,8}", "value does not look like a valid ha resource id"),
    like(
        "pve-ha-resource-or-vm-id",
        "((vm|ct):)?[1-9][0-9]{2,8}",
        "value does not look like a valid ha resource id or VM ID",
    ),
    like("pve-iface", r"[A-Za-z][A-Za-z0-9_]{1,20}([:.]\d+)?", "invalid network interface name '{}'"),
    test(
        "pve-ipv4-config",
        |v| v == "dhcp" || v == "manual" || is_cidr4(v),
        "value does not look like a valid ipv4 network configuration",
    ),
    test(
        "pve-ipv6-config",
        |v| matches!(v, "auto" | "dhcp" | "manual") || is_cidr6(v),
        "value does not look like a valid ipv6 network configuration",
    ),
    test("pve-node", is_dns_label, "value does not look like a valid node name"),
    like("pve-poolid", r"[A-Za-z0-9.\-_]+(/[A-Za-z0-9.\-_]+){0,2}", "pool name '{}' contains invalid characters"),
    like("pve-priv", "[A-Z][A-Za-z]*(\\.[A-Za-z]+)+", "invalid privilege '{}'"),
    like("pve-realm", r"[A-Za-z][A-Za-z0-9.\-_]+", "value does not look like a valid realm"),
    like("pve-roleid", r"[A-Za-z0-9.\-_]+", "role name '{}' contains invalid characters"),
    like(
        "pve-startup-order",
        r"((order=)?\d+|up=\d+|down=\d+)(,((order=)?\d+|up=\d+|down=\d+))*",
        "unable to parse startup options",
    ),
    like("pve-storage-content", "(images|rootdir|vztmpl|iso|backup|snippets|import|none)", "invalid content type '{}'"),
    like("pve-storage-id", r"[A-Za-z][A-Za-z0-9\-_.]*[A-Za-z0-9]", "storage ID '{}' contains illegal characters"),
    like("pve-tag", r"[A-Za-z0-9_][A-Za-z0-9_\-+.]*", "invalid characters in tag"),
    like(
        "pve-tokenid",
        r"[^\s:/]+@[A-Za-z][A-Za-z0-9.\-_]+![A-Za-z][A-Za-z0-9.\-_]+",
        "value '{}' does not look like a valid token ID",
    ),
    like("pve-userid", r"[^\s:/]+@[A-Za-z][A-Za-z0-9.\-_]+", "value '{}' does not look like a valid user name"),
    like("pve-vlan-id-or-range", r"\d+(-\d+)?", "value '{}' is no VLAN ID or range of them"),
    like("pve-vmid", "[1-9][0-9]{2,8}", "value does not look like a valid VM ID"),
    like("pve-volume-id", VOLUME_ID, "unable to parse volume ID '{}'"),
    like(
        "pve-volume-id-or-absolute-path",
        "(/.*|[A-Za-z][A-Za-z0-9\\-_.]*[A-Za-z0-9]:.+)",
        "unable to parse volume ID '{}'",
    ),
    like(
        "pve-volume-id-or-qm-path",
        "(none|cdrom|/.*|[A-Za-z][A-Za-z0-9\\-_.]*[A-Za-z0-9]:.+)",
        "unable to parse volume ID '{}'",
    ),
    like("urlencoded", r"[-%a-zA-Z0-9_.!~*'()]*", "invalid urlencoded string: {}"),
];

const VOLUME_ID: &str = r"[A-Za-z][A-Za-z0-9\-_.]*[A-Za-z0-9]:.+";

/// Checks a text, or the members of a list, against a named format. The complaint ends with a line end, as the
/// server's do.
pub(super) fn check(format: &str, value: &str) -> Result<(), String> {
    if let Some(member) = format.strip_suffix("-list").or_else(|| format.strip_suffix("-alist")) {
        return List::members(value).try_for_each(|part| check(member, part));
    }
    if let Some(inner) = format.strip_suffix("-opt") {
        return if value.is_empty() { Ok(()) } else { check(inner, value) };
    }
    let Some(rule) = RULES.iter().find(|rule| rule.name == format) else { return Ok(()) };
    let fits = match &rule.look {
        Look::Test(test) => test(value),
        Look::Pattern(text, regex) => {
            regex.get_or_init(|| pattern::compiled(text)).as_ref().is_none_or(|regex| regex.is_match(value))
        }
    };
    if fits { Ok(()) } else { Err(format!("{}\n", rule.complaint.replace("{}", value))) }
}

fn is_ip(value: &str) -> bool {
    value.parse::<IpAddr>().is_ok()
}

/// Networks wider than /8 are refused by the server too.
fn prefix_fits(prefix: &str, longest: u8) -> bool {
    prefix.parse::<u8>().is_ok_and(|bits| bits > 7 && bits <= longest)
}

fn is_cidr4(value: &str) -> bool {
    value.split_once('/').is_some_and(|(ip, prefix)| ip.parse::<Ipv4Addr>().is_ok() && prefix_fits(prefix, 32))
}

fn is_cidr6(value: &str) -> bool {
    value.split_once('/').is_some_and(|(ip, prefix)| ip.parse::<Ipv6Addr>().is_ok() && prefix_fits(prefix, 128))
}

fn is_cidr(value: &str) -> bool {
    is_cidr4(value) || is_cidr6(value)
}

fn is_mask4(value: &str) -> bool {
    value.parse::<Ipv4Addr>().is_ok_and(|mask| u32::from(mask).leading_ones() + u32::from(mask).trailing_zeros() == 32)
}

fn is_dns_label(value: &str) -> bool {
    let inside = |c: char| c.is_ascii_alphanumeric() || c == '-';
    !value.is_empty() && value.chars().all(inside) && !value.starts_with('-') && !value.ends_with('-')
}

fn is_dns_name(value: &str) -> bool {
    value.split('.').all(is_dns_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_its_patterns_can_be_used() {
        assert!(RULES.is_sorted_by_key(|rule| rule.name));
        for rule in &RULES {
            if let Look::Pattern(text, _) = &rule.look {
                assert!(pattern::compiled(text).is_some(), "{text}");
            }
        }
    }

    #[test]
    fn takes_what_the_server_takes() {
        for (format, good, bad) in [
            ("pve-vmid", "100", "0100"),
            ("pve-vmid", "999999999", "99"),
            ("pve-node", "pve1", "-pve"),
            ("dns-name", "web-1.example.org", "web_1"),
            ("pve-storage-id", "local-lvm", "1local"),
            ("pve-volume-id", "local:iso/debian.iso", "debian.iso"),
            ("pve-volume-id-or-qm-path", "none", "nothing"),
            ("pve-volume-id-or-qm-path", "local-lvm:32", "32"),
            ("disk-size", "1.5T", "1.5X"),
            ("mac-addr", "BC:24:11:00:00:01", "BD:24:11:00:00:01"),
            ("CIDR", "10.0.0.0/8", "10.0.0.0/7"),
            ("CIDRv6", "fe80::/64", "10.0.0.0/8"),
            ("ipv4mask", "255.255.240.0", "255.0.255.0"),
            ("pve-ipv4-config", "dhcp", "auto"),
            ("pve-tag-list", "app.web;b", "a!"),
            ("pve-vmid-list", "100, 101 102", "100,5"),
            ("pve-vmid-list", "", "x"),
            ("pve-userid", "root@pam", "root"),
            ("pve-startup-order", "order=1,up=30", "first"),
            ("pve-cpuset", "0-3, 5", "all"),
            ("pve-ha-resource-or-vm-id", "100", "vm:5"),
            ("pve-storage-content-list", "iso,vztmpl", "movies"),
            ("urlencoded", "ssh-ed25519%20AAAA", "ssh-ed25519 AAAA"),
            ("pve-day-of-week-list", "mon,fri", "monday"),
        ] {
            assert_eq!(check(format, good), Ok(()), "{format} {good}");
            assert!(check(format, bad).is_err(), "{format} {bad}");
        }
        assert_eq!(check("pve-unheard-of", "anything"), Ok(()));
        assert_eq!(check("pve-storage-id", "a b").unwrap_err(), "storage ID 'a b' contains illegal characters\n");
    }
}
