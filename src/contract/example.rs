//! Calls that would pass: for every method the least that it takes, made up from what is declared.
//!
//! The values have the right form; that there is such a guest or storage is not claimed.

use super::{Endpoint, Format, Keys, Kind, Schema};
use crate::model::Params;

/// Good values of formats that mean something.
const BY_FORMAT: &[(&str, &str)] = &[
    ("pve-node", "pve1"),
    ("pve-vmid", "100"),
    ("pve-storage-id", "local"),
    ("pve-storage-content", "images"),
    ("pve-userid", "joe@pve"),
    ("pve-realm", "pve"),
    ("pve-iface", "vmbr0"),
    ("pve-ha-resource-id", "vm:100"),
    ("pve-ha-resource-or-vm-id", "vm:100"),
    ("pve-volume-id", "local:iso/debian.iso"),
    ("pve-sdn-subnet-id", "zone1-192.0.2.0-24"),
    ("pve-day-of-week", "mon"),
    ("pve-calendar-event", "*/15"),
    ("pve-command-batch", "[]"),
    ("bridge-pair", "vmbr0"),
    ("storage-pair", "local"),
    ("email", "joe@example.org"),
    ("dns-name", "web"),
];

/// Texts of many forms. The first that a declaration takes is as good as any.
const TEXTS: &[&str] = &[
    "abc",
    "1",
    "100",
    "100-1",
    "8G",
    "joe@pve",
    "joe@pve!ci",
    "192.0.2.1",
    "192.0.2.0/24",
    "2001:db8::1",
    "2001:db8::/64",
    "255.255.255.0",
    "BC:24:11:00:00:01",
    "BC:24:11",
    "/srv/data",
    "/dev/sda",
    "/dev/usb/lp0",
    "0000:01:00.0",
    "http://example.org/",
    "https://example.org/",
    "local:100",
    "local:iso/debian.iso",
    "registry.example.org/debian:13",
    "scsi0",
    "net0=1500",
    "+aes",
    "name=value",
    "client.admin:key",
    "2026-11-20",
    "12:30",
    "0..3",
    "mds",
    "acl",
    "49.0001.0000.0000.0001.00",
    "Sys.Audit",
    "ab:cd",
    "pve1c-0123456789",
    "AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA",
    "3f2c7a34-6b1a-4c58-9a8b-0d6c3e2f1a90",
    "/var/tmp/pveupload-0a1b2c",
    "8086:1234",
    "0x1234",
    "0x5000c50012345678",
    "0755",
    "passthrough",
    "noatime",
    "cdn",
    "q35",
    "1/second",
    "app:ff0000",
];

impl Schema {
    /// A value that passes; `None` when none comes to mind.
    pub fn example(&self) -> Option<String> {
        if let Some(first) = self.values.first() {
            return Some(first.clone());
        }
        match (&self.format, self.kind) {
            (Some(Format::Keys(keys)), _) => property_string(keys),
            (_, Kind::Boolean) => Some("1".to_owned()),
            (_, Kind::Integer | Kind::Number) => Some(self.minimum.unwrap_or(1.0).max(1.0).to_string()),
            (_, Kind::Array) => self.items.as_deref().map_or_else(|| self.text(), Self::example),
            (Some(Format::Named(name)), _) => {
                let member = name.trim_end_matches("-list");
                let known = BY_FORMAT.iter().find(|(format, _)| *format == member).map(|(_, value)| *value);
                known.filter(|value| self.takes(value)).map(str::to_owned).or_else(|| self.text())
            }
            (None, _) => self.text(),
        }
    }

    fn text(&self) -> Option<String> {
        let fits = TEXTS.iter().find(|text| self.takes(text)).map(|text| (*text).to_owned());
        fits.or_else(|| {
            let long = "a".repeat(usize::try_from(self.min_length?).ok()?);
            self.takes(&long).then_some(long)
        })
    }
}

/// The parts that must be there, or one that may.
fn property_string(keys: &Keys) -> Option<String> {
    let part = |(key, schema): (&String, &Schema)| Some(format!("{key}={}", schema.example()?));
    let real = || keys.iter().filter(|(_, schema)| schema.alias.is_none());
    let required: Option<Vec<String>> = real().filter(|(_, schema)| !schema.optional).map(part).collect();
    match required?.join(",") {
        none if none.is_empty() => real().filter(|(_, schema)| schema.requires.is_none()).find_map(part),
        some => Some(some),
    }
}

impl Endpoint {
    /// The least that the method takes: a value for each parameter that must be there, those of the path among them.
    /// Where a method has variants it is the first. `None` when a value does not come to mind.
    pub fn example(&self) -> Option<Params> {
        let properties = &self.parameters.properties;
        let in_variant = |schema: &Schema| {
            let property = schema.type_property.as_ref().and_then(|property| properties.get(property));
            let chosen = property.and_then(|property| property.values.first());
            schema.instance_types.is_empty() || chosen.is_none_or(|chosen| schema.instance_types.contains(chosen))
        };
        let mut params = Params::new();
        for (name, schema) in properties.iter().filter(|(_, schema)| !schema.optional && in_variant(schema)) {
            params.push(name, schema.example()?);
        }
        for name in self.path_params().filter(|name| !properties.contains_key(*name)) {
            params.push(name, "abc");
        }
        Some(params)
    }
}
