//! What is asked for, held against what this host has and can: before a task begins, so that nothing is half done.
//!
//! Reads the state and the names of files; changes nothing. The words are the mapping's.

use std::path::Path;

use uuid::Uuid;

use super::{
    Local,
    create::asked_disks,
    volumes::{STORAGE, drives, format_of, volume_of},
};
use crate::{
    backends::{
        Action, Step,
        cloud_hypervisor::{
            disk::Image,
            mapping::{self, is_seed},
            state::{Change, Config, Settings, Vm},
            vmm::config::ImageType,
        },
    },
    model::{ConfigView, Error, Result, config::QemuConfig},
};

/// Parameters of a create that are no keys of the configuration.
const OF_CREATE: [&str; 10] =
    ["vmid", "node", "pool", "storage", "start", "unique", "force", "archive", "bwlimit", "ha-managed"];
/// Parameters of a change that say how.
const OF_CHANGE: [&str; 6] = ["delete", "revert", "digest", "force", "skiplock", "background_delay"];

/// The configuration that a create asks for, with what it has where nothing is said: what Proxmox takes for granted is a
/// BIOS that does not exist here, and a display.
///
/// # Errors
/// [`Class::Usage`](crate::model::Class::Usage) for an empty password.
pub(super) fn config_of(step: &Step) -> Result<Config> {
    let mut config = keys(step, &OF_CREATE)?;
    if !config.contains_key(mapping::KERNEL) {
        config.entry("bios".to_owned()).or_insert_with(|| "ovmf".to_owned());
    }
    let has_serial = config.keys().any(|key| key.strip_prefix("serial").is_some_and(|n| n.parse::<u8>().is_ok()));
    if !has_serial {
        config.insert("serial0".to_owned(), "socket".to_owned());
    }
    Ok(config)
}

/// The change that a step asks for.
///
/// # Errors
/// As [`config_of`], and for a key that there is not.
pub(super) fn change_of(step: &Step) -> Result<Change> {
    let list = |name: &str| -> Vec<String> {
        let text = step.params.get(name).unwrap_or_default();
        text.split([',', ';', ' ']).filter(|key| !key.is_empty()).map(str::to_owned).collect()
    };
    let change = Change { set: keys(step, &OF_CHANGE)?, delete: list("delete"), revert: list("revert") };
    match change.set.keys().chain(&change.delete).find(|key| mapping::key(key).is_none()) {
        Some(key) => Err(Error::usage(format!("this host has no configuration key `{key}`"))),
        None => Ok(change),
    }
}

/// The keys of a step, a password only as its hash: it is not kept anywhere else.
fn keys(step: &Step, how: &[&str]) -> Result<Config> {
    let keys = step.params.iter().filter(|(key, _)| !how.contains(key));
    let mut config: Config = keys.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    if let Some(password) = config.get_mut("cipassword") {
        *password = mapping::hash_password(password, &Uuid::new_v4().to_string())?;
    }
    Ok(config)
}

/// A configuration for the mapping, with the password's hash in it, which others are not shown.
pub(super) fn typed(config: &Config) -> QemuConfig {
    let mut typed = QemuConfig::from(Settings::new(config.clone()).guest_config(ConfigView::Current));
    if let Some(hash) = config.get("cipassword") {
        typed.set_cipassword(hash.as_str());
    }
    typed
}

impl Local {
    /// Refuses a configuration that a start would refuse.
    ///
    /// # Errors
    /// [`Class::NotFound`](crate::model::Class::NotFound) for an image, a file or a volume that is not there,
    /// [`Class::Usage`](crate::model::Class::Usage) for what this host cannot have.
    pub(super) fn refuse_impossible(&self, step: &Step) -> Result<()> {
        match step.action {
            Action::Create => {
                let config = config_of(step)?;
                named_files(&config)?;
                let image = config.get(mapping::IMAGE).map(|name| self.image(name)).transpose()?;
                self.possible(&config, image, |_| true)
            }
            Action::Configure | Action::ConfigureInTask => {
                // One that the same plan makes is not there yet, and is looked at when it is.
                let Ok(vm) = self.state().vm(step.guest.vmid) else { return Ok(()) };
                let change = change_of(step)?;
                named_files(&change.set)?;
                let mut settings = vm.settings.clone();
                settings.change(&change, |_| false);
                let new = |key: &str| change.set.contains_key(key);
                let Err(refused) = self.possible(&settings.to_come(), None, new) else { return Ok(()) };
                // What is wrong already is not this change's fault, which may be one step of mending it.
                match self.possible(&vm.settings.to_come(), None, new) {
                    Err(before) if before.message() == refused.message() => Ok(()),
                    _ => Err(refused),
                }
            }
            Action::Start => self.about_shares(step, false, Self::refuse_start_of_shares),
            Action::Suspend => self.about_shares(step, true, Self::refuse_memory_of_shares),
            Action::Snapshot if step.params.get("vmstate") == Some("1") => {
                self.about_shares(step, true, Self::refuse_memory_of_shares)
            }
            Action::Clone => self.refuse_clone(step),
            Action::ResizeDisk => self.refuse_growth(step),
            Action::Template if step.params.get("disk").is_some() => {
                Err(Error::usage("disk: on this host a whole VM becomes a template, not one disk of it"))
            }
            Action::Destroy => match self.state().vm(step.guest.vmid) {
                Ok(vm) => self.refuse_used_bases(&vm),
                Err(_) => Ok(()),
            },
            _ => Ok(()),
        }
    }

    /// Asks about the shares of a VM that runs, or does not.
    fn about_shares(&self, step: &Step, runs: bool, ask: fn(&Self, &Vm) -> Result<()>) -> Result<()> {
        match self.state().vm(step.guest.vmid) {
            Ok(vm) if vm.process.is_some() == runs => ask(self, &vm),
            _ => Ok(()),
        }
    }

    /// Asks the mapping, with what is there and what would be made. Of the drives that are not `new` the volumes may be
    /// gone: that is for the next start to say.
    fn possible(&self, config: &Config, image: Option<Image>, new: impl Fn(&str) -> bool) -> Result<()> {
        if new("cicustom") {
            self.custom_texts(&typed(config))?;
        }
        self.refuse_shares(config, &new)?;
        let (mut config, mut facts) = (config.clone(), self.host_facts());
        let supposed = |key: &str, format| mapping::Volume { path: key.into(), format, ..mapping::Volume::default() };
        for disk in asked_disks(&config, image)? {
            facts.volumes.insert(disk.key.clone(), supposed(&disk.key, disk.format.into()));
            config.entry(disk.key).or_insert_with(|| format!("{STORAGE}:1"));
        }
        for (key, drive) in drives(&config) {
            if facts.volumes.contains_key(&key) {
                continue;
            }
            let volume = match self.look_at(&drive) {
                _ if is_seed(volume_of(&drive)) => supposed(&key, ImageType::Raw),
                Err(error) if new(&key) => return Err(error.context(&key)),
                Err(_) => supposed(&key, format_of(&drive)?.into()),
                Ok(volume) => volume,
            };
            facts.volumes.insert(key, volume);
        }
        mapping::possible(&typed(&config), &facts)
    }
}

/// Refuses a kernel and an initial ram disk that are not there.
fn named_files(config: &Config) -> Result<()> {
    for key in [mapping::KERNEL, mapping::INITRD] {
        if let Some(file) = config.get(key).filter(|file| !Path::new(file).is_file()) {
            return Err(Error::not_found(format!("{key}: there is no file {file}")));
        }
    }
    Ok(())
}
