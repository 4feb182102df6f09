//! Drives, mount points and network devices as the caller writes them and as they are kept: `local-lvm:32` becomes
//! a volume of 32 GiB, a device without a MAC address gets one.
//!
//! It names volumes and fills in; whether there is room is asked elsewhere.

use super::{
    Millis, World,
    guest::{Guest, volid_in},
    node::{GIB, Volume, volume_key},
};
use crate::model::{GuestKind, PropertyString, Size};

/// Size of a cloud-init drive and of an EFI or TPM state disk, bytes.
const SMALL: u64 = 4 << 20;

/// A drive's value as it is kept, and the volume that has to be made for it.
#[derive(Debug)]
pub(crate) struct Drive {
    pub(crate) value: String,
    pub(crate) volume: Option<Volume>,
}

impl World {
    /// Works out a drive or mount point of a guest. `taken` are volumes that are about to be made.
    pub(crate) fn drive(
        &self,
        guest: &Guest,
        key: &str,
        value: &str,
        taken: &[Volume],
        now: Millis,
    ) -> Result<Drive, String> {
        let unparsable = || format!("unable to parse drive options '{value}'");
        let mut parts: PropertyString = value.parse().map_err(|_| unparsable())?;
        let named = ["file", "volume"].into_iter().find(|name| parts.get(name).is_some());
        let source = match named {
            Some(name) => parts.remove(name),
            None => parts.bare().map(str::to_owned),
        };
        let source = source.ok_or_else(unparsable)?;
        let Some((storage, rest)) = source.split_once(':') else {
            // `none` and `cdrom` are drives without a medium, a path is a bind mount.
            return Ok(Drive { value: canonical(&source, &parts), volume: None });
        };
        let storage = self.storages.get(storage).ok_or_else(|| format!("storage '{storage}' does not exist"))?;
        let content = match guest.kind {
            GuestKind::Qemu => "images",
            GuestKind::Lxc => "rootdir",
        };
        let import = parts.remove("import-from");
        let wanted = match (rest, rest.parse::<f64>()) {
            ("cloudinit", _) => Some(SMALL),
            _ if import.is_some() => Some(self.size_of(&guest.node, import.as_deref().unwrap_or_default())?),
            (_, Ok(_)) if key.starts_with("efidisk") || key.starts_with("tpmstate") => Some(SMALL),
            (_, Ok(gib)) if gib > 0.0 => Some((gib * GIB as f64) as u64),
            _ => None,
        };
        let Some(size) = wanted else {
            let volume = self.volumes.get(volume_key(&guest.node, &source).as_str());
            let volume = volume.ok_or_else(|| match rest.contains(['-', '/', '.']) {
                true => format!("no such volume '{source}'"),
                false => format!("unable to parse volume ID '{source}'"),
            })?;
            // A CD-ROM shows its image's size, a disk the one it has.
            parts.set("size", Size(volume.size).to_config());
            return Ok(Drive { value: canonical(&source, &parts), volume: None });
        };
        if !storage.holds(content) {
            return Err(format!("storage '{}' does not support content-type '{content}'", storage.name));
        }
        let cloudinit = rest == "cloudinit";
        let format = parts.remove("format").unwrap_or_else(|| "raw".into());
        let name = if cloudinit { "cloudinit".into() } else { self.free_disk_name(guest, &storage.name, taken) };
        let volid = volume_id(storage.is_dir(), &storage.name, guest.vmid, &format!("vm-{}-{name}", guest.vmid));
        if cloudinit {
            parts.set("media", "cdrom");
        } else {
            parts.set("size", Size(size).to_config());
        }
        let volume = Volume {
            node: guest.node.clone(),
            volid: volid.clone(),
            content: content.into(),
            format: if storage.is_dir() { format } else { "raw".into() },
            size,
            vmid: Some(guest.vmid),
            created: now,
            parent: None,
        };
        Ok(Drive { value: canonical(&volid, &parts), volume: Some(volume) })
    }

    /// `disk-N` with the smallest number that no volume of the guest has, here or planned.
    fn free_disk_name(&self, guest: &Guest, storage: &str, taken: &[Volume]) -> String {
        let have: Vec<&str> = self
            .volumes_in(&guest.node, storage)
            .chain(taken.iter().filter(|volume| volume.storage() == storage))
            .filter(|volume| volume.vmid == Some(guest.vmid))
            .map(Volume::name)
            .collect();
        let free = (0..).map(|number| format!("disk-{number}"));
        let is_free = |name: &String| !have.iter().any(|have| have.split('.').next().unwrap_or(have).ends_with(name));
        free.into_iter().find(is_free).unwrap_or_default()
    }

    fn size_of(&self, node: &str, volid: &str) -> Result<u64, String> {
        let volume = self.volumes.get(volume_key(node, volid).as_str());
        volume.map(|volume| volume.size).ok_or_else(|| format!("volume '{volid}' does not exist"))
    }

    /// A network device with everything filled in that the caller left out.
    pub(crate) fn net(&mut self, kind: GuestKind, value: &str) -> Result<String, String> {
        const MODELS: [&str; 5] = ["virtio", "e1000", "rtl8139", "vmxnet3", "e1000e"];
        let mut parts: PropertyString = value.parse().map_err(|_| format!("unable to parse net '{value}'"))?;
        match kind {
            GuestKind::Qemu => {
                let with_mac = MODELS.into_iter().find_map(|model| Some((model.to_owned(), parts.remove(model)?)));
                let (model, mac) = match with_mac {
                    Some((model, mac)) => (model, mac),
                    None => {
                        let named = parts.remove("model").or_else(|| parts.bare().map(str::to_owned));
                        let mac = parts.remove("macaddr").unwrap_or_else(|| self.draw_mac());
                        (named.unwrap_or_else(|| "virtio".into()), mac)
                    }
                };
                Ok(canonical(&format!("{model}={mac}"), &parts))
            }
            GuestKind::Lxc => {
                let name = parts.remove("name").unwrap_or_else(|| "eth0".into());
                if parts.get("hwaddr").is_none() {
                    parts.set("hwaddr", self.draw_mac());
                }
                if parts.get("type").is_none() {
                    parts.set("type", "veth");
                }
                Ok(canonical(&format!("name={name}"), &parts))
            }
        }
    }

    /// The volume and the drive's value for a copy of a drive in another guest.
    pub(crate) fn copy_drive(&self, copy: &Copy<'_>, value: &str, taken: &[Volume]) -> Option<Drive> {
        let volid = volid_in(value)?;
        let original = self.volumes.get(volume_key(copy.node, &volid).as_str())?;
        let storage = copy.storage.unwrap_or_else(|| original.storage());
        let is_dir = self.storages.get(storage).is_some_and(super::node::Storage::is_dir);
        let guest = copy.guest;
        let name = match volid.contains("cloudinit") {
            true => "cloudinit".to_owned(),
            false => self.free_disk_name(guest, storage, taken),
        };
        let new = volume_id(is_dir, storage, guest.vmid, &format!("vm-{}-{name}", guest.vmid));
        let volume = Volume {
            node: copy.node.to_owned(),
            volid: new.clone(),
            vmid: Some(guest.vmid),
            created: copy.now,
            parent: (!copy.full).then(|| original.name().to_owned()),
            ..original.clone()
        };
        Some(Drive { value: value.replace(&volid, &new), volume: Some(volume) })
    }
}

/// How drives are copied.
#[derive(Debug)]
pub(crate) struct Copy<'a> {
    /// The guest they are for.
    pub(crate) guest: &'a Guest,
    /// The node of both.
    pub(crate) node: &'a str,
    /// Where to, if not beside the original.
    pub(crate) storage: Option<&'a str>,
    /// All of it, or on top of the original.
    pub(crate) full: bool,
    pub(crate) now: Millis,
}

/// What comes first, then the other parts by key: the order in which the server writes.
fn canonical(first: &str, parts: &PropertyString) -> String {
    let mut rest: Vec<String> = parts.iter().filter_map(|(key, value)| Some(format!("{}={value}", key?))).collect();
    rest.sort();
    rest.insert(0, first.to_owned());
    rest.join(",")
}

pub(crate) fn volume_id(is_dir: bool, storage: &str, vmid: u32, name: &str) -> String {
    if is_dir { format!("{storage}:{vmid}/{name}.raw") } else { format!("{storage}:{name}") }
}

/// How large a disk is, and how large it is to be.
pub(crate) fn growth(guest: &Guest, disk: &str, size: &str) -> Result<(u64, u64), String> {
    let drive = guest.get(disk).ok_or_else(|| format!("disk '{disk}' does not exist"))?;
    let drive = PropertyString::lenient(drive);
    if drive.get("media") == Some("cdrom") {
        return Err("you can't resize a cdrom".into());
    }
    let bytes = |text: &str| text.parse::<Size>().map(|size| size.0).ok();
    let now = drive.get("size").and_then(bytes).ok_or_else(|| format!("disk '{disk}' has no associated volume"))?;
    let more = size.strip_prefix('+');
    let size = bytes(more.unwrap_or(size)).ok_or_else(|| format!("unable to parse size '{size}'"))?;
    Ok((now, if more.is_some() { now.saturating_add(size) } else { size }))
}
