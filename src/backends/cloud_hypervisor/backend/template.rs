//! Templates: VMs that never start again, whose disks others are made from.
//!
//! As on Proxmox, the disks get names that begin with `base-`, and nobody may write to them any more. Linked clones are
//! found by what the headers of their disks say.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{
    Job, Local,
    volumes::{STORAGE, drives, format_of, volume_of, volumes_in},
};
use crate::{
    backends::cloud_hypervisor::{
        disk::{self, Format},
        state::{Config, Draft, Verb, Vm, Work, reconcile::Sight},
    },
    model::{Error, PropertyString, Result, Vmid},
};

impl Local {
    /// Makes a template of a VM. Its lock is held.
    ///
    /// # Errors
    /// In Proxmox's words.
    pub(super) async fn make_template(&self, vm: &Vm, sight: Sight, job: &Job) -> Result<()> {
        vm.check_lock()?;
        if vm.settings.is_on("template") {
            return Err(Error::conflict("you can't convert a template to a template"));
        }
        if !vm.settings.snapshots.is_empty() {
            return Err(Error::conflict("unable to create template, because VM contains snapshots"));
        }
        if sight != Sight::Stopped {
            return Err(Error::conflict("you can't convert a VM to template if VM is running"));
        }
        let mut settings = vm.settings.clone();
        settings.apply_pending();
        let mut moves = Vec::new();
        for (key, drive) in drives(&settings.config) {
            let Some((volume, base)) = self.base_of(vm.vmid, &drive) else { continue };
            let (from, to) = (self.file(&volume)?, self.file(&base)?);
            if to.exists() {
                return Err(Error::conflict(format!("`{}` already exists", to.display())));
            }
            self.measure(&from, format_of(&drive)?).map_err(|error| error.context(&key))?;
            if let Some(text) = settings.config.get_mut(&key) {
                *text = text.replacen(&volume, &base, 1);
            }
            job.line(&format!("{key}: {volume} becomes {base}"))?;
            moves.push((from, to));
        }
        settings.config.insert("template".to_owned(), "1".to_owned());
        let work = Work { moves, settings: Some(settings), ..Work::default() };
        let mut intent = self.state().begin(vm.vmid, Draft::new(Verb::Template).task(&job.upid).work(work))?;
        // Nothing has happened yet, and all that is needed is known: from here on it is finished, by whomever.
        intent.committed = true;
        self.state().revise(&intent)?;
        self.mend(vm.vmid, job).await.map(drop)
    }

    /// A VM's own volume, and what it is called as a template's; `None` for what is not its own or is read only anyway.
    fn base_of(&self, vmid: Vmid, drive: &PropertyString) -> Option<(String, String)> {
        let volume = volume_of(drive);
        let name = volume.strip_prefix(&format!("{STORAGE}:{vmid}/"))?.strip_prefix(&format!("vm-{vmid}-disk-"))?;
        let fixed = drive.get("media") == Some("cdrom");
        (!fixed).then(|| (volume.to_owned(), format!("{STORAGE}:{vmid}/base-{vmid}-disk-{name}")))
    }

    /// Refuses to take away a template's disks while others stand on them.
    ///
    /// # Errors
    /// [`Class::Conflict`](crate::model::Class::Conflict), in Proxmox's words.
    pub(super) fn refuse_used_bases(&self, vm: &Vm) -> Result<()> {
        if !vm.settings.is_on("template") {
            return Ok(());
        }
        let standing = self.standing_on()?;
        for (_, drive) in volumes_in(&vm.settings.config) {
            let volume = volume_of(&drive);
            let Ok(file) = self.file(volume).and_then(|file| canonical(&file)) else { continue };
            let mut users = standing.iter().filter(|(_, below)| *below == file).map(|(vmid, _)| vmid.to_string());
            if let Some(first) = users.next() {
                let users = users.fold(first, |list, vmid| format!("{list}, {vmid}"));
                let text = format!("base volume '{volume}' is still in use by linked cloned VMs");
                return Err(Error::conflict(text).with_hint(crate::model::Hint::Text(format!(
                    "VMs that stand on it: {users}; delete them first, or keep the template"
                ))));
            }
        }
        Ok(())
    }

    /// The VMs with a disk that lies over a file, by names for people.
    ///
    /// # Errors
    /// If the state cannot be read.
    pub fn standing_on_file(&self, file: &Path) -> Result<Vec<String>> {
        let Ok(file) = canonical(file) else { return Ok(Vec::new()) };
        let users = self.standing_on()?.into_iter().filter(|(_, below)| *below == file);
        Ok(users.map(|(vmid, _)| format!("vm/{vmid}")).collect())
    }

    /// Which VM stands on which file: what the headers of all disks that are noted as qcow2 name.
    pub(super) fn standing_on(&self) -> Result<Vec<(Vmid, PathBuf)>> {
        let mut standing = Vec::new();
        for (vm, _) in self.state().vms()? {
            let configs = [vm.settings.config.clone(), vm.settings.to_come()].into_iter();
            for config in configs {
                standing.extend(self.below(&config).into_iter().map(|below| (vm.vmid, below)));
            }
            // What a snapshot keeps outlives the disk that it was taken of.
            for kept in self.snapshot_files(&vm)?.iter().filter(|file| file.extension().is_some_and(|e| e == "qcow2")) {
                let below = self.layers_below(kept).unwrap_or_default();
                standing.extend(below.into_iter().map(|below| (vm.vmid, below)));
            }
        }
        standing.sort();
        standing.dedup();
        Ok(standing)
    }

    /// The files that a qcow2 disk lies over, the nearest first; all are in folders of ours.
    ///
    /// # Errors
    /// As [`disk::chain`].
    pub(super) fn layers_below(&self, path: &Path) -> Result<Vec<PathBuf>> {
        let layers = disk::chain(path, Format::Qcow2, &self.managed())?;
        Ok(layers.into_iter().skip(1).map(|layer| layer.path).collect())
    }

    /// The files on which a configuration's disks stand. A disk that cannot be read stands on nothing that it could use.
    fn below(&self, config: &Config) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for (_, drive) in volumes_in(config) {
            if !matches!(format_of(&drive), Ok(Format::Qcow2)) {
                continue;
            }
            let Ok(path) = self.file(volume_of(&drive)) else { continue };
            found.extend(self.layers_below(&path).unwrap_or_default());
        }
        found
    }
}

/// Nobody writes to the disk of a template any more.
pub(super) fn seal(file: &Path) -> std::io::Result<()> {
    let is_base = file.file_name().is_some_and(|name| name.to_string_lossy().starts_with("base-"));
    if !is_base || !file.exists() {
        return Ok(());
    }
    let mut mode = fs::metadata(file)?.permissions();
    mode.set_readonly(true);
    fs::set_permissions(file, mode)
}

fn canonical(file: &Path) -> Result<PathBuf> {
    fs::canonicalize(file).map_err(|error| Error::not_found(error.to_string()))
}
