//! A guest's configuration as fields, and fields as values of a configuration.
//!
//! Disks, cards and addresses are taken apart always, other property strings where a document takes them apart.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    super::{friendly_value, params::schema},
    diff::Fields,
};
use crate::{
    backends::Action,
    model::{Guest, GuestConfig, GuestKind, PropertyString, Result, Size, is_disk_key, is_numbered},
};

/// Parts that only say how a disk is made.
pub(super) const ONCE: [&str; 2] = ["format", "import-from"];
/// What is told of a disk and is no part of its value.
pub(super) const TOLD_ONLY: [&str; 2] = ["storage", "cloudInit"];

/// Whether a key is always seen in its parts.
pub(super) fn has_parts(key: &str) -> bool {
    is_disk_key(key) || is_numbered(key, "net") || is_numbered(key, "ipconfig")
}

/// The parts of a value.
pub(super) fn parts(kind: GuestKind, key: &str, text: &str) -> BTreeMap<String, String> {
    let value = PropertyString::lenient(text);
    let mut parts = BTreeMap::new();
    if is_disk_key(key) {
        let volume = value.volume().unwrap_or_default().to_owned();
        parts.extend(
            value
                .iter()
                .filter_map(|(part, text)| Some((part?.to_owned(), text.to_owned())))
                .filter(|(part, _)| part != "file" && part != "volume"),
        );
        if let Some(size) = parts.get("size").and_then(|size| size.parse::<Size>().ok()) {
            parts.insert("size".to_owned(), size.to_config());
        }
        if let Some((storage, name)) = volume.split_once(':') {
            parts.insert("storage".to_owned(), storage.to_owned());
            if name.contains("cloudinit") {
                parts.insert("cloudInit".to_owned(), "1".to_owned());
            }
        }
        parts.insert("volume".to_owned(), volume);
        return parts;
    }
    let keys = schema(kind, Action::Configure, key).and_then(|schema| schema.keys());
    let default = keys.and_then(|keys| keys.iter().find(|(_, schema)| schema.default_key)).map(|(key, _)| key.as_str());
    for (part, text) in value.iter() {
        let declared = part.and_then(|part| keys?.get(part));
        match (part, declared.and_then(|schema| Some((schema.key_alias.as_ref()?, schema.alias.as_ref()?)))) {
            // `virtio=MAC` is model and address in one.
            (Some(part), Some((model, address))) => {
                parts.insert(model.clone(), part.to_owned());
                parts.insert(address.clone(), text.to_owned());
            }
            (Some(part), None) => drop(parts.insert(part.to_owned(), text.to_owned())),
            (None, _) => drop(parts.insert(default.unwrap_or_default().to_owned(), text.to_owned())),
        }
    }
    parts
}

/// Parts as a value. Of what is missing and a new one cannot be without, the usual is taken.
pub(super) fn joined(kind: GuestKind, key: &str, parts: &BTreeMap<String, String>) -> String {
    let mut rest = parts.clone();
    let mut first = Vec::new();
    if is_disk_key(key) {
        let told = TOLD_ONLY.map(|part| rest.remove(part));
        let volume = rest.remove("volume");
        first.push(match (volume, &told) {
            (Some(volume), _) => volume,
            (None, [Some(storage), Some(_)]) => format!("{storage}:cloudinit"),
            (None, [storage, _]) => {
                let size = rest.remove("size").unwrap_or_default();
                format!("{}:{size}", storage.clone().unwrap_or_default())
            }
        });
    } else if is_numbered(key, "net") && kind == GuestKind::Qemu {
        let model = rest.remove("model").unwrap_or_else(|| "virtio".to_owned());
        first.push(rest.remove("macaddr").map_or_else(|| model.clone(), |address| format!("{model}={address}")));
    } else if is_numbered(key, "net") && !rest.contains_key("name") {
        first.push(format!("name=eth{}", key.trim_start_matches("net")));
    }
    first.into_iter().chain(rest.iter().map(|(part, value)| format!("{part}={value}"))).collect::<Vec<_>>().join(",")
}

/// What fields say of keys: a value, or parts.
pub(super) fn by_key(fields: &Fields) -> BTreeMap<&str, BTreeMap<String, String>> {
    let mut keys: BTreeMap<&str, BTreeMap<String, String>> = BTreeMap::new();
    for (field, value) in fields {
        let (key, part) = field.split_once('.').unwrap_or((field, ""));
        keys.entry(key).or_default().insert(part.to_owned(), value.clone());
    }
    keys
}

/// A key's value, of what [`by_key`] says of it, as the API takes it.
pub(super) fn value(kind: GuestKind, key: &str, said: &BTreeMap<String, String>) -> String {
    match said.get("") {
        Some(whole) if key == "sshkeys" => encoded(whole),
        Some(whole) => whole.clone(),
        None => joined(kind, key, said),
    }
}

/// Public keys as the API takes them: encoded like a part of a URL.
fn encoded(keys: &str) -> String {
    percent_encoding::utf8_percent_encode(keys, percent_encoding::NON_ALPHANUMERIC).to_string()
}

/// A guest as fields. `like` are other fields of it: what these take apart is taken apart here too.
pub(super) fn live(kind: GuestKind, config: &GuestConfig, guest: &Guest, like: &[&Fields]) -> Fields {
    let mut fields = Fields::new();
    for key in config.0.keys().filter(|key| key.as_str() != "digest") {
        let Some(text) = config.text(key) else { continue };
        let prefix = format!("{key}.");
        let taken_apart = || {
            like.iter()
                .any(|like| like.range(prefix.clone()..).next().is_some_and(|(field, _)| field.starts_with(&prefix)))
        };
        match key.as_str() {
            "tags" => fields.extend(labels(&text)),
            "sshkeys" => {
                let keys = percent_encoding::percent_decode_str(&text).decode_utf8_lossy().into_owned();
                let lines: Vec<&str> = keys.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
                fields.insert(key.clone(), lines.join("\n"));
            }
            _ if has_parts(key) || taken_apart() => {
                let parts = parts(kind, key, &text).into_iter();
                fields.extend(parts.map(|(part, value)| (format!("{prefix}{part}"), value)));
            }
            _ => drop(fields.insert(key.clone(), text)),
        }
    }
    fields.extend(guest.pool.clone().filter(|pool| !pool.is_empty()).map(|pool| ("pool".to_owned(), pool)));
    fields
}

/// Takes apart in all of them what one of them takes apart.
pub(super) fn align(kind: GuestKind, all: &mut [&mut Fields]) {
    let apart = |fields: &&mut Fields| {
        fields.keys().filter_map(|field| Some(field.split_once('.')?.0.to_owned())).collect::<Vec<_>>()
    };
    let keys: BTreeSet<String> = all.iter().flat_map(apart).collect();
    for fields in all.iter_mut() {
        for key in &keys {
            let Some(whole) = fields.remove(key) else { continue };
            let parts = parts(kind, key, &whole).into_iter();
            fields.extend(parts.map(|(part, value)| (format!("{key}.{part}"), value)));
        }
    }
}

/// Tags as labels: `app.web` is `app=web`.
fn labels(tags: &str) -> impl Iterator<Item = (String, String)> {
    let tags = crate::model::Tags::parse(tags);
    let one = |tag: &str| {
        let (label, value) = tag.split_once('.').unwrap_or((tag, ""));
        (format!("labels.{label}"), value.to_owned())
    };
    tags.iter().map(one).collect::<Vec<_>>().into_iter()
}

/// What a document wants, in the spelling in which it is compared.
///
/// # Errors
/// For sizes that are none.
pub(super) fn spelt(kind: GuestKind, fields: &Fields) -> Result<Fields> {
    let one = |(field, value): (&String, &String)| {
        let declared = (!field.contains('.')).then(|| schema(kind, Action::Configure, field)).flatten();
        let value = declared.map_or_else(|| Ok(value.clone()), |schema| friendly_value(field, value, schema))?;
        Ok((field.clone(), value))
    };
    fields.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_apart_and_together() {
        for (kind, key, text, want) in [
            (
                GuestKind::Qemu,
                "net0",
                "virtio=AA:BB,bridge=vmbr0,tag=2",
                "bridge=vmbr0 macaddr=AA:BB model=virtio tag=2",
            ),
            (GuestKind::Lxc, "net0", "name=eth0,bridge=vmbr0", "bridge=vmbr0 name=eth0"),
            (GuestKind::Qemu, "agent", "1,fstrim_cloned_disks=1", "enabled=1 fstrim_cloned_disks=1"),
            (
                GuestKind::Qemu,
                "scsi0",
                "lvm:vm-1-disk-0,size=32G,ssd=1",
                "size=32G ssd=1 storage=lvm volume=lvm:vm-1-disk-0",
            ),
            (GuestKind::Qemu, "ide2", "none,media=cdrom", "media=cdrom volume=none"),
            (
                GuestKind::Lxc,
                "mp0",
                "lvm:vm-1-disk-1,mp=/data,size=1024M",
                "mp=/data size=1G storage=lvm volume=lvm:vm-1-disk-1",
            ),
        ] {
            let found = parts(kind, key, text);
            let shown: Vec<String> = found.iter().map(|(part, value)| format!("{part}={value}")).collect();
            assert_eq!(shown.join(" "), want);
            assert_eq!(parts(kind, key, &joined(kind, key, &found)), found, "{key} {text}");
        }
    }

    #[test]
    fn new_ones_get_what_they_cannot_be_without() {
        let parts = |text: &str| -> BTreeMap<String, String> {
            text.split(' ').filter_map(|pair| pair.split_once('=')).map(|(k, v)| (k.into(), v.into())).collect()
        };
        for (kind, key, given, want) in [
            (GuestKind::Qemu, "scsi0", "size=32G storage=lvm ssd=1", "lvm:32G,ssd=1"),
            (GuestKind::Qemu, "ide2", "storage=lvm cloudInit=1", "lvm:cloudinit"),
            (GuestKind::Qemu, "net1", "bridge=vmbr0", "virtio,bridge=vmbr0"),
            (GuestKind::Lxc, "net1", "bridge=vmbr0", "name=eth1,bridge=vmbr0"),
        ] {
            assert_eq!(joined(kind, key, &parts(given)), want);
        }
    }
}
