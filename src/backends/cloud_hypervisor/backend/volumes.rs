//! Disks on this host: one directory, laid out as Proxmox lays out a storage of that kind.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde_json::Map;

use super::Local;
use crate::{
    backends::cloud_hypervisor::{
        disk::{self, Format, Inspected},
        host::facts::memory_bytes,
        mapping::{self, is_seed},
        state::Vm,
        vmm::config::ImageType,
    },
    model::{Class, ConfigView, Error, Node, PropertyString, Result, Storage, Vmid, Volume},
};

/// The name of the one storage.
pub(super) const STORAGE: &str = "local";

impl Local {
    /// Where the storage's disks are.
    pub(super) fn images(&self) -> PathBuf {
        self.options().state.join("storage").join(STORAGE).join("images")
    }

    /// Where a VM's own disks are.
    pub(super) fn disk_folder(&self, vmid: Vmid) -> PathBuf {
        self.images().join(vmid.to_string())
    }

    /// The file of a volume: `local:100/vm-100-disk-0.raw`, or an absolute path.
    pub(super) fn file(&self, volume: &str) -> Result<PathBuf> {
        if volume.starts_with('/') {
            return Ok(PathBuf::from(volume));
        }
        let unknown = || Error::not_found(format!("no such volume on this host: {volume}"));
        let (storage, name) = volume.split_once(':').ok_or_else(unknown)?;
        let plain = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.contains('\0');
        if storage != STORAGE || !name.split('/').all(plain) {
            return Err(unknown());
        }
        Ok(self.images().join(name))
    }

    /// A new volume of a VM: its id and its file. It is not made.
    pub(super) fn new_volume(&self, vmid: Vmid, taken: &[PathBuf]) -> (String, PathBuf) {
        let name = |number: u32| format!("{vmid}/vm-{vmid}-disk-{number}.raw");
        let free = |number: &u32| {
            let path = self.images().join(name(*number));
            !path.exists() && !taken.contains(&path)
        };
        let number = (0..).find(free).unwrap_or_default();
        (format!("{STORAGE}:{}", name(number)), self.images().join(name(number)))
    }

    /// The drives of a VM and what was found in them.
    pub(super) fn attached(&self, vm: &Vm) -> Result<BTreeMap<String, mapping::Volume>> {
        let mut volumes = BTreeMap::new();
        for (key, drive) in vm.settings.guest_config(ConfigView::Current).disks() {
            let volume = volume_of(&drive);
            if volume.is_empty() || volume == "none" || is_seed(volume) || key.starts_with("unused") {
                continue;
            }
            let path = self.file(volume)?;
            let seen = disk::inspect(&path)?;
            let backing = seen.format == Format::Qcow2 && disk::chain(&path, seen.format, &[self.images()])?.len() > 1;
            let format = serde_json::from_value::<ImageType>(seen.format.image_type().into()).unwrap_or_default();
            let size = size(&seen, &path)?;
            volumes.insert(key, mapping::Volume { path, format, size, backing });
        }
        Ok(volumes)
    }

    /// Puts the seed in the place of the drive that is for it.
    pub(super) fn attach_seed(
        &self,
        vm: &Vm,
        path: &Path,
        volumes: &mut BTreeMap<String, mapping::Volume>,
    ) -> Result<()> {
        for (key, drive) in vm.settings.guest_config(ConfigView::Current).disks() {
            if is_seed(volume_of(&drive)) {
                let size = size_of(path)?;
                let format = serde_json::from_value::<ImageType>("Raw".into()).unwrap_or_default();
                volumes.insert(key, mapping::Volume { path: path.to_owned(), format, size, backing: false });
            }
        }
        Ok(())
    }

    /// The files that are the VM's own: they go with it.
    pub(super) fn owned_files(&self, vm: &Vm) -> Result<Vec<PathBuf>> {
        let own = format!("{STORAGE}:{}/", vm.vmid);
        let drives = vm.settings.guest_config(ConfigView::Pending).disks();
        let volumes = drives.values().map(volume_of).filter(|volume| volume.starts_with(&own));
        volumes.map(|volume| self.file(volume)).collect()
    }

    /// This host's memory: all of it, and what is in use.
    pub(super) fn memory(&self) -> (u64, u64) {
        let (all, available) = memory_bytes();
        (all.unwrap_or(0), all.unwrap_or(0).saturating_sub(available.unwrap_or(0)))
    }

    pub(super) fn node(&self) -> Result<Node> {
        let (all, used) = self.memory();
        let uptime = fs::read_to_string("/proc/uptime").unwrap_or_default();
        Ok(Node {
            node: self.options().node.clone(),
            status: "online".to_owned(),
            cpu: None,
            maxcpu: std::thread::available_parallelism().ok().map(|count| count.get() as u64),
            mem: Some(used),
            maxmem: Some(all),
            uptime: uptime.split('.').next().and_then(|seconds| seconds.parse().ok()),
            other: Map::new(),
        })
    }

    pub(super) fn storage(&self) -> Result<Storage> {
        let at = &self.options().state;
        let space = rustix::fs::statvfs(at).map_err(|error| {
            Error::new(Class::Failed, format!("cannot look at {}", at.display())).with_source(error)
        })?;
        let (all, free) = (space.f_blocks * space.f_frsize, space.f_bavail * space.f_frsize);
        let row = serde_json::json!({
            "storage": STORAGE, "type": "dir", "content": "images,iso,snippets", "active": 1, "enabled": 1, "shared": 0,
            "total": all, "avail": free, "used": all.saturating_sub(free),
        });
        serde_json::from_value(row)
            .map_err(|error| Error::new(Class::Bug, "a storage has another form").with_source(error))
    }

    pub(super) fn list_volumes(&self, storage: &str, content: Option<&str>) -> Result<Vec<Volume>> {
        if storage != STORAGE {
            return Err(Error::not_found(format!("storage '{storage}' does not exist")));
        }
        if content.is_some_and(|content| content != "images") {
            return Ok(Vec::new());
        }
        let mut volumes = Vec::new();
        for (vm, _) in self.state().vms()? {
            for drive in vm.settings.guest_config(ConfigView::Pending).disks().values() {
                let volid = volume_of(drive);
                let Ok(path) = self.file(volid) else { continue };
                let Ok(seen) = disk::inspect(&path) else { continue };
                let row = serde_json::json!({
                    "volid": volid, "content": "images", "format": seen.format.as_str(), "size": seen.virtual_size, "vmid": vm.vmid,
                });
                volumes.extend(serde_json::from_value::<Volume>(row));
            }
        }
        Ok(volumes)
    }
}

/// How large the disk in a file is.
pub(super) fn size_of(path: &Path) -> Result<u64> {
    size(&disk::inspect(path)?, path)
}

fn size(seen: &Inspected, path: &Path) -> Result<u64> {
    let unknown = || Error::usage(format!("nothing is known of the size of the disk in {}", path.display()));
    seen.virtual_size.ok_or_else(unknown)
}

/// The volume of a drive.
pub(super) fn volume_of(drive: &PropertyString) -> &str {
    drive.get_or_bare("file").or_else(|| drive.get("volume")).unwrap_or_default()
}
