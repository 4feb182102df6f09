//! Disks on this host: one directory, laid out as Proxmox lays out a storage of that kind.
//!
//! The format of a disk is what was noted when it was made, in its name, and never what is found in it: a guest writes
//! whatever it likes into its raw disk, the header of an image that lies over another VM's disk too.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{Seek as _, SeekFrom},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use super::Local;
use crate::{
    backends::cloud_hypervisor::{
        disk::{self, Format},
        host::facts::memory_bytes,
        mapping::{self, is_seed},
        state::{Config, Vm},
        vmm::config::ImageType,
    },
    model::{Class, ConfigView, Error, Node, PropertyString, Result, Storage, Vmid, Volume, is_disk_key},
};

/// The name of the one storage.
pub(super) const STORAGE: &str = "local";

impl Local {
    /// Where the storage is.
    pub(super) fn storage_folder(&self) -> PathBuf {
        self.options().state.join("storage").join(STORAGE)
    }

    /// Where its disks are.
    pub(super) fn images(&self) -> PathBuf {
        self.storage_folder().join("images")
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

    /// The folders in which an image may lie that another one lies over.
    pub(super) fn managed(&self) -> [PathBuf; 2] {
        [self.images(), self.store()]
    }

    /// Where the images are that disks are made from.
    pub(super) fn store(&self) -> PathBuf {
        self.options().state.join("images")
    }

    /// A new volume of a VM: its id and its file, whose name notes the format. It is not made. `taken` are files that are
    /// to be made beside it. A number is given once, whatever the format.
    pub(super) fn new_volume(&self, vmid: Vmid, format: Format, taken: &[PathBuf]) -> (String, PathBuf) {
        let folder = self.images().join(vmid.to_string());
        let there = fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path());
        let used: Vec<u32> = there.chain(taken.iter().cloned()).filter_map(|path| disk_number(vmid, &path)).collect();
        let number = (0..).find(|number| !used.contains(number)).unwrap_or_default();
        let name = format!("vm-{vmid}-disk-{number}.{format}");
        (format!("{STORAGE}:{vmid}/{name}"), folder.join(name))
    }

    /// The drives of a VM and what is known of them.
    pub(super) fn attached(&self, vm: &Vm) -> Result<BTreeMap<String, mapping::Volume>> {
        let mut volumes = BTreeMap::new();
        for (key, drive) in drives(&vm.settings.config) {
            if !is_seed(volume_of(&drive)) {
                volumes.insert(key, self.look_at(&drive)?);
            }
        }
        Ok(volumes)
    }

    /// What is known of a drive's volume: only what was noted as an image with a header is read as one.
    ///
    /// # Errors
    /// [`Class::NotFound`] for a volume that is not there, [`Class::Usage`] for one that must not be used.
    pub(super) fn look_at(&self, drive: &PropertyString) -> Result<mapping::Volume> {
        let path = self.file(volume_of(drive))?;
        let format = format_of(drive)?;
        let (size, backing) = self.measure(&path, format)?;
        Ok(mapping::Volume { path, format: format.into(), size, backing })
    }

    /// How large a disk of this format is for the guest, and whether it lies over another image.
    pub(super) fn measure(&self, path: &Path, format: Format) -> Result<(u64, bool)> {
        if format == Format::Raw {
            return Ok((length(path)?, false));
        }
        let layers = self.layers(path, format)?;
        let size = layers.first().map_or(0, |top| top.virtual_size);
        if size == 0 {
            return Err(Error::usage(format!("nothing is known of the size of the disk in {}", path.display())));
        }
        Ok((size, layers.len() > 1))
    }

    /// A disk and the images below it.
    pub(super) fn layers(&self, path: &Path, format: Format) -> Result<Vec<disk::Layer>> {
        // Somebody else's image may lie over an image of the store, but not over the disk of a VM.
        let managed = self.managed();
        let managed = if path.starts_with(self.images()) { &managed[..] } else { &managed[1..] };
        disk::chain(path, format, managed)
    }

    /// Puts the seed in the place of the drive that is for it.
    pub(super) fn attach_seed(
        &self,
        vm: &Vm,
        path: &Path,
        volumes: &mut BTreeMap<String, mapping::Volume>,
    ) -> Result<()> {
        for (key, drive) in drives(&vm.settings.config) {
            if is_seed(volume_of(&drive)) {
                let (format, size) = (ImageType::Raw, length(path)?);
                volumes.insert(key, mapping::Volume { path: path.to_owned(), format, size, backing: false });
            }
        }
        Ok(())
    }

    /// The files that are the VM's own, now, at its next start and unused: they go with it.
    pub(super) fn owned_files(&self, vm: &Vm) -> Result<Vec<PathBuf>> {
        let own = format!("{STORAGE}:{}/", vm.vmid);
        let mut files = Vec::new();
        for config in [&vm.settings.config, &vm.settings.to_come()] {
            for (_, drive) in volumes_in(config) {
                if volume_of(&drive).starts_with(&own) {
                    files.push(self.file(volume_of(&drive))?);
                }
            }
        }
        files.extend(self.snapshot_files(vm)?);
        files.sort();
        files.dedup();
        Ok(files)
    }

    /// The files of a VM's folder that are disks of its, whether its configuration names them or not.
    pub(super) fn unreferenced(&self, vmid: Vmid) -> Vec<PathBuf> {
        let folder = self.images().join(vmid.to_string());
        let files = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
        files.filter(|file| disk_number(vmid, file).is_some()).collect()
    }

    /// This host's memory: all of it, and what is in use.
    pub(super) fn memory(&self) -> (u64, u64) {
        let (all, available) = memory_bytes();
        (all.unwrap_or(0), all.unwrap_or(0).saturating_sub(available.unwrap_or(0)))
    }

    pub(super) fn node(&self) -> Result<Node> {
        let (all, used) = self.memory();
        let uptime = fs::read_to_string("/proc/uptime").unwrap_or_default();
        let (all_disk, free_disk) = disk::space(Path::new("/"))?;
        let disk = [("disk", all_disk.saturating_sub(free_disk)), ("maxdisk", all_disk)];
        Ok(Node {
            node: self.options().node.clone(),
            status: "online".to_owned(),
            cpu: None,
            maxcpu: std::thread::available_parallelism().ok().map(|count| count.get() as u64),
            mem: Some(used),
            maxmem: Some(all),
            uptime: uptime.split('.').next().and_then(|seconds| seconds.parse().ok()),
            other: disk.into_iter().map(|(key, bytes)| (key.to_owned(), bytes.into())).collect(),
        })
    }

    pub(super) fn storage(&self) -> Result<Storage> {
        let (all, free) = disk::space(&self.options().state)?;
        let used = all.saturating_sub(free);
        let row = serde_json::json!({
            "storage": STORAGE, "type": "dir", "content": "images,iso,snippets", "active": 1, "enabled": 1, "shared": 0,
            "total": all, "avail": free, "used": used, "used_fraction": used as f64 / all.max(1) as f64,
        });
        serde_json::from_value(row)
            .map_err(|error| Error::new(Class::Bug, "a storage has another form").with_source(error))
    }

    pub(super) fn list_volumes(&self, storage: &str, content: Option<&str>) -> Result<Vec<Volume>> {
        if storage != STORAGE {
            return Err(Error::not_found(format!("storage '{storage}' does not exist")));
        }
        let wanted = |kind| content.is_none_or(|content| content == kind);
        let mut volumes = if wanted("snippets") { self.list_snippets() } else { Vec::new() };
        if !wanted("images") {
            return Ok(volumes);
        }
        for (vm, _) in self.state().vms()? {
            for drive in vm.settings.guest_config(ConfigView::Pending).disks().values() {
                let volid = volume_of(drive);
                let Ok(path) = self.file(volid) else { continue };
                let Ok(format) = format_of(drive) else { continue };
                let Ok((size, _)) = self.measure(&path, format) else { continue };
                let Ok(file) = fs::metadata(&path) else { continue };
                let row = serde_json::json!({
                    "volid": volid, "content": "images", "format": format.as_str(), "size": size, "vmid": vm.vmid,
                    "used": disk::kept(&file), "ctime": file.mtime(), "path": path,
                });
                volumes.extend(serde_json::from_value::<Volume>(row));
            }
        }
        Ok(volumes)
    }
}

impl From<Format> for ImageType {
    fn from(format: Format) -> Self {
        match format {
            Format::Raw => Self::Raw,
            Format::Qcow2 => Self::Qcow2,
            Format::Vhd => Self::FixedVhd,
            Format::Vhdx => Self::Vhdx,
        }
    }
}

/// The drives that have a volume, by their keys.
pub(super) fn drives(config: &Config) -> BTreeMap<String, PropertyString> {
    const BUSES: [&str; 4] = ["scsi", "virtio", "sata", "ide"];
    let is_drive = |key: &str| {
        let bus = key.trim_end_matches(|sign: char| sign.is_ascii_digit());
        bus.len() < key.len() && BUSES.contains(&bus)
    };
    let read = config.iter().filter_map(|(key, text)| match key.as_str() {
        // Proxmox's other name of the drive that discs lie in.
        "cdrom" => {
            let mut drive = PropertyString::lenient(text);
            drive.set("media", "cdrom");
            Some(("ide2".to_owned(), drive))
        }
        key => is_drive(key).then(|| (key.to_owned(), PropertyString::lenient(text))),
    });
    read.filter(|(_, drive)| !matches!(volume_of(drive), "" | "none" | "cdrom")).collect()
}

/// All volumes of a configuration by their keys: drives, firmware's and TPM's, and those that are unused.
pub(super) fn volumes_in(config: &Config) -> BTreeMap<String, PropertyString> {
    let mut volumes = drives(config);
    let others = config.iter().filter(|(key, _)| is_disk_key(key) && *key != "vmstate" && !volumes.contains_key(*key));
    let others: Vec<_> = others.map(|(key, text)| (key.clone(), PropertyString::lenient(text))).collect();
    volumes.extend(others.into_iter().filter(|(_, drive)| volume_of(drive).contains([':', '/'])));
    volumes
}

/// The format of a drive's volume as it was noted: the ending of its name; for a path of somebody else's what the drive
/// says first.
pub(super) fn format_of(drive: &PropertyString) -> Result<Format> {
    let volume = volume_of(drive);
    if let Some(said) = drive.get("format").filter(|_| volume.starts_with('/')) {
        return said.parse();
    }
    Ok(match Path::new(volume).extension().and_then(|ending| ending.to_str()) {
        Some("qcow2") => Format::Qcow2,
        Some("vhd" | "vpc") => Format::Vhd,
        Some("vhdx") => Format::Vhdx,
        _ => Format::Raw,
    })
}

/// The number of a VM's disk in the name of its file; `None` for any other file.
fn disk_number(vmid: Vmid, path: &Path) -> Option<u32> {
    let name = path.file_name()?.to_str()?;
    let rest = ["vm", "base"].iter().find_map(|prefix| name.strip_prefix(&format!("{prefix}-{vmid}-disk-")))?;
    rest.split('.').next()?.parse().ok()
}

/// How long a file or a block device is.
fn length(path: &Path) -> Result<u64> {
    let look = || File::open(path)?.seek(SeekFrom::End(0));
    look().map_err(|error| {
        let class = if error.kind() == std::io::ErrorKind::NotFound { Class::NotFound } else { Class::Failed };
        Error::new(class, format!("cannot open the disk {}: {error}", path.display())).with_source(error)
    })
}

/// The volume of a drive.
pub(super) fn volume_of(drive: &PropertyString) -> &str {
    drive.volume().unwrap_or_default()
}

#[cfg(test)]
mod tests;
