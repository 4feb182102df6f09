//! The tables against the description of the API.

use super::{
    super::keys::{PROPERTIES, Rule},
    *,
};
use crate::{
    contract::embedded,
    model::{Method, config::qemu},
};

fn contract_keys() -> Vec<String> {
    let create = embedded().endpoint(Method::Post, "/nodes/{node}/qemu").unwrap();
    create.parameters.properties.keys().map(|key| key.to_string()).collect()
}

#[test]
fn every_key_of_the_contract_has_its_row() {
    let keys = contract_keys();
    assert_eq!(keys.len(), 93);
    let missing: Vec<_> = keys.iter().filter(|key| !KEYS.iter().any(|row| row.name == *key)).collect();
    assert!(missing.is_empty(), "no row for {missing:?}");
    let stray: Vec<_> = KEYS.iter().filter(|row| !keys.iter().any(|key| key == row.name)).collect();
    assert!(stray.is_empty(), "not in the contract: {stray:?}");
    assert!(KEYS.is_sorted_by_key(|row| row.name.replace("[n]", "")), "in the order of the alphabet, each once");
}

#[test]
fn our_own_keys_cannot_be_proxmoxs() {
    for row in OWN {
        assert!(row.name.starts_with("x-") && !KEYS.iter().any(|key| key.is(row.name)));
    }
}

#[test]
fn a_way_says_what_the_rule_does() {
    for row in KEYS {
        match row.way {
            Way::Unsupported if row.name == "vga" => {}
            Way::Unsupported => assert!(matches!(row.rule, Rule::Refused { .. }), "{}", row.name),
            Way::Ignored => assert!(matches!(row.rule, Rule::Ignored { .. }), "{}", row.name),
            Way::Native | Way::Manager | Way::Agent => assert_eq!(row.rule, Rule::Taken, "{}", row.name),
            Way::Partial => {}
        }
    }
}

#[test]
fn every_part_of_a_property_string_has_its_row() {
    let shapes: [(&str, &[&str]); 18] = [
        ("scsi0", qemu::Disk::KEYS),
        ("net0", qemu::Net::KEYS),
        ("agent", qemu::Agent::KEYS),
        ("boot", qemu::Boot::KEYS),
        ("cicustom", qemu::CiCustom::KEYS),
        ("cpu", qemu::Cpu::KEYS),
        ("efidisk0", qemu::EfiDisk::KEYS),
        ("hostpci0", qemu::HostPci::KEYS),
        ("ipconfig0", qemu::IpConfig::KEYS),
        ("machine", qemu::Machine::KEYS),
        ("numa0", qemu::NumaNode::KEYS),
        ("rng0", qemu::Rng::KEYS),
        ("smbios1", qemu::Smbios::KEYS),
        ("tpmstate0", qemu::TpmState::KEYS),
        ("unused0", qemu::Unused::KEYS),
        ("vga", qemu::Vga::KEYS),
        ("virtiofs0", qemu::VirtioFs::KEYS),
        ("watchdog", qemu::Watchdog::KEYS),
    ];
    for (name, parts) in shapes {
        let row = key(name).unwrap();
        let property = PROPERTIES.iter().find(|property| property.keys.contains(&row.name)).unwrap();
        for part in parts {
            assert!(property.parts.iter().any(|have| have.name == *part), "{name} has no row for {part}");
        }
    }
    // What has no table has no parts, is refused whole, or is data that nobody here reads.
    for property in PROPERTIES {
        for name in property.keys {
            assert!(KEYS.iter().any(|row| row.name == *name), "{name}");
        }
    }
}

#[test]
fn numbered_keys_are_told_from_others() {
    assert_eq!(key("net0").unwrap().name, "net[n]");
    assert_eq!(key("numa").unwrap().name, "numa");
    assert_eq!(key("numa7").unwrap().name, "numa[n]");
    for none in ["net", "net01", "net[n]", "netx", "virtio", "scsihw0"] {
        assert!(key(none).is_none(), "{none}");
    }
}
