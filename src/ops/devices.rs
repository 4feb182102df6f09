//! Devices that are asked for without a number: each gets the lowest of its family that is free.
//!
//! Numbers and the one part that a network card cannot do without; everything else is the value as it was given.

use std::collections::BTreeSet;

use super::params::schema;
use crate::{
    backends::Action,
    contract::{Schema, last_index},
    model::{Error, GuestKind, Params, PropertyString, Result, Size, is_disk_key},
};

/// A device without a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// The key without its number: `net`, `scsi`, `mp`.
    pub family: String,
    /// Its value.
    pub value: String,
}

impl Device {
    /// Whether it is a disk of which only the size is said: `20G`, `20G,ssd=1`.
    fn is_bare_size(&self) -> bool {
        let size = self.value.split(',').next().unwrap_or_default();
        let has_unit = size.ends_with(|c: char| c.is_ascii_alphabetic());
        is_disk_key(&format!("{}0", self.family)) && has_unit && size.parse::<Size>().is_ok()
    }

    fn in_storage(&self, storage: &str) -> Self {
        Self { family: self.family.clone(), value: format!("{storage}:{}", self.value) }
    }
}

/// Whether a storage has to be found for some of these.
pub(super) fn want_storage(devices: &[Device]) -> bool {
    devices.iter().any(Device::is_bare_size)
}

/// Puts disks of which only the size is said into this storage.
pub(super) fn stored(devices: &[Device], storage: &str) -> Vec<Device> {
    let put = |device: &Device| if device.is_bare_size() { device.in_storage(storage) } else { device.clone() };
    devices.iter().map(put).collect()
}

/// Numbers devices beside the keys that are set, and those that count as taken for other reasons.
///
/// # Errors
/// [`Class::Conflict`](crate::model::Class::Conflict) when a family has no number left.
pub(super) fn number(
    kind: GuestKind,
    devices: &[Device],
    set: &Params,
    taken: impl Fn(&str) -> Option<String>,
) -> Result<Params> {
    let mut numbered = Params::new();
    for Device { family, value } in devices {
        let last = last_index(family);
        let is_free = |key: &String| set.get(key).is_none() && numbered.get(key).is_none() && taken(key).is_none();
        let key = (0..=last).map(|index| format!("{family}{index}")).find(is_free).ok_or_else(|| {
            Error::conflict(format!("there is no free number for another `{family}`: 0 to {last} are taken"))
        })?;
        let value = match (family.as_str(), kind) {
            ("net", GuestKind::Qemu) => with_model(value),
            ("net", GuestKind::Lxc) => with_name(value, &names(set, &numbered, &taken)),
            _ => value.clone(),
        };
        numbered.push(key, value);
    }
    Ok(numbered)
}

/// A VM's network card without a model is a virtio one.
fn with_model(value: &str) -> String {
    let parts = schema(GuestKind::Qemu, Action::Create, "net0").and_then(Schema::keys);
    let has_model = |part: &str| match part.split_once('=') {
        None => true,
        // `virtio=MAC` is model and address in one.
        Some((key, _)) => {
            key == "model" || parts.and_then(|parts| parts.get(key)).is_some_and(|part| part.key_alias.is_some())
        }
    };
    if value.split(',').any(has_model) { value.to_owned() } else { format!("virtio,{value}") }
}

/// A container's network card without a name is the next `ethN`.
fn with_name(value: &str, names: &BTreeSet<String>) -> String {
    if value.split(',').any(|part| part.trim_start().starts_with("name=")) {
        return value.to_owned();
    }
    let name = (0..).map(|n| format!("eth{n}")).find(|name| !names.contains(name)).unwrap_or_default();
    format!("name={name},{value}")
}

/// The names of all cards there are and will be.
fn names(set: &Params, numbered: &Params, taken: impl Fn(&str) -> Option<String>) -> BTreeSet<String> {
    let keys = (0..=last_index("net")).map(|index| format!("net{index}"));
    let cards =
        keys.filter_map(|key| set.get(&key).or_else(|| numbered.get(&key)).map(str::to_owned).or_else(|| taken(&key)));
    cards.filter_map(|card| card.parse::<PropertyString>().ok()?.get("name").map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_alone_is_a_disk_somewhere() {
        let device = |family: &str, value: &str| Device { family: family.into(), value: value.into() };
        for (family, value, want) in [
            ("scsi", "20G", "fast:20G"),
            ("virtio", "512M,ssd=1", "fast:512M,ssd=1"),
            ("scsi", "local-lvm:20G", "local-lvm:20G"),
            ("scsi", "20", "20"),
            ("scsi", "/srv/20G", "/srv/20G"),
            ("net", "20G", "20G"),
        ] {
            let devices = [device(family, value)];
            assert_eq!(stored(&devices, "fast"), [device(family, want)]);
            assert_eq!(want_storage(&devices), value != want);
        }
    }

    fn numbered(
        kind: GuestKind,
        devices: &[(&str, &str)],
        set: Params,
        there: &[(&str, &str)],
    ) -> Vec<(String, String)> {
        let devices: Vec<Device> = devices
            .iter()
            .map(|(family, value)| Device { family: (*family).to_owned(), value: (*value).to_owned() })
            .collect();
        let taken = |key: &str| there.iter().find(|(have, _)| *have == key).map(|(_, value)| (*value).to_owned());
        let params = number(kind, &devices, &set, taken).unwrap();
        params.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn the_lowest_number_that_nobody_has_is_taken() {
        let set = Params::new().with("scsi1", "x");
        let devices = [("scsi", "a:1"), ("scsi", "a:2"), ("net", "bridge=vmbr0")];
        let got = numbered(GuestKind::Qemu, &devices, set, &[("scsi0", "x"), ("scsi3", "x"), ("net1", "x")]);
        let want = [("scsi2", "a:1"), ("scsi4", "a:2"), ("net0", "virtio,bridge=vmbr0")];
        assert_eq!(got, want.map(|(key, value)| (key.to_owned(), value.to_owned())));
        let full: Vec<Device> = vec![Device { family: "ide".into(), value: "none".into() }; 5];
        assert!(number(GuestKind::Qemu, &full, &Params::new(), |_| None).is_err());
    }

    #[test]
    fn cards_get_what_they_cannot_do_without() {
        for (given, want) in [
            ("bridge=vmbr0,tag=20", "virtio,bridge=vmbr0,tag=20"),
            ("e1000,bridge=vmbr0", "e1000,bridge=vmbr0"),
            ("bridge=vmbr0,model=e1000", "bridge=vmbr0,model=e1000"),
            ("virtio=BC:24:11:00:00:01,bridge=vmbr0", "virtio=BC:24:11:00:00:01,bridge=vmbr0"),
            ("macaddr=BC:24:11:00:00:01,bridge=vmbr0", "virtio,macaddr=BC:24:11:00:00:01,bridge=vmbr0"),
            ("brigde=vmbr0", "virtio,brigde=vmbr0"),
        ] {
            assert_eq!(with_model(given), want);
        }
        let set = Params::new().with("net5", "name=eth0,bridge=vmbr0");
        let devices = [("net", "bridge=vmbr0"), ("net", "name=wan,bridge=vmbr0"), ("net", "bridge=vmbr1")];
        let got = numbered(GuestKind::Lxc, &devices, set, &[("net0", "name=eth2,bridge=vmbr0")]);
        let want =
            [("net1", "name=eth1,bridge=vmbr0"), ("net2", "name=wan,bridge=vmbr0"), ("net3", "name=eth3,bridge=vmbr1")];
        assert_eq!(got, want.map(|(key, value)| (key.to_owned(), value.to_owned())));
    }
}
