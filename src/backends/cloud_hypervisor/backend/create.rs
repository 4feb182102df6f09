//! A new VM: its row, its disks from nothing or from an image.

use std::path::{Path, PathBuf};

use super::{
    Job, Local,
    aside::{DISK, aside},
    asked::config_of,
    volumes::{STORAGE, drives, volume_of},
};
use crate::{
    backends::{
        Step,
        cloud_hypervisor::{
            disk::{self, Format, Image, Images, Watch},
            mapping,
            state::{Config, Draft, End, Log, NewVm, Outcome, Settings, Settle, Verb, Work},
        },
    },
    model::{Class, Error, Hint, PropertyString, Result, Size, Vmid, is_disk_key},
};

/// A disk that a configuration asks for and that is not there yet.
pub(super) struct Asked {
    pub(super) key: String,
    /// Bytes; of an image at least its own size.
    size: u64,
    pub(super) format: Format,
    /// From this image; empty otherwise.
    image: Option<Image>,
    parts: PropertyString,
}

/// The disks that a configuration asks for: `local:32` is a new one of 32 GiB. The image becomes the first of those that
/// can be booted, one of its own if there is none, and keeps its format.
///
/// # Errors
/// [`Class::Usage`] for a format or a size that a disk cannot have.
pub(super) fn asked_disks(config: &Config, mut image: Option<Image>) -> Result<Vec<Asked>> {
    let bootable = drives(config);
    let mut wanted = Vec::new();
    for (key, value) in config.iter().filter(|(key, _)| is_disk_key(key)) {
        let drive = PropertyString::lenient(value);
        let size = volume_of(&drive).strip_prefix(STORAGE).and_then(|rest| rest.strip_prefix(':'));
        let Some(gib) = size.and_then(|size| size.parse::<f64>().ok()) else { continue };
        if !(gib > 0.0 && gib < 16384.0) {
            return Err(Error::usage(format!("{key}: a disk cannot have {gib} GiB")));
        }
        wanted.push((key.clone(), (gib * (1_u64 << 30) as f64) as u64, drive));
    }
    if image.is_some() && !wanted.iter().any(|(key, ..)| bootable.contains_key(key)) {
        let free = |n: &u32| !config.contains_key(&format!("scsi{n}"));
        let key = format!("scsi{}", (0..).find(free).unwrap_or_default());
        wanted.push((key, 0, PropertyString::lenient("")));
    }
    let mut asked = Vec::new();
    for (key, size, parts) in wanted {
        let is_bootable = bootable.contains_key(&key) || size == 0;
        let image = if is_bootable { image.take() } else { None };
        let said = parts.get("format").map(str::parse::<Format>).transpose()?;
        let format = image.as_ref().map(|image| image.format).or(said).unwrap_or(Format::Raw);
        if let (Some(image), Some(said)) = (&image, said.filter(|said| *said != format)) {
            let text = format!("{key}: the image `{}` is {format}, and a disk of it is not {said}", image.name);
            return Err(Error::usage(text).with_hint(Hint::Text(format!(
                "leave format out, or convert the image first: `qemu-img convert -O {said}`"
            ))));
        }
        let size = size.max(image.as_ref().map_or(0, |image| image.virtual_size));
        asked.push(Asked { key, size, format, image, parts });
    }
    Ok(asked)
}

/// A disk that is to be made.
pub(super) struct Making {
    pub(super) key: String,
    volume: String,
    pub(super) path: PathBuf,
    /// What it is; its name notes it.
    format: Format,
    /// From this image; empty otherwise.
    from: Option<PathBuf>,
    /// Bytes; of an image at least its own size.
    size: u64,
    /// The rest of the drive's parts.
    parts: PropertyString,
}

impl Local {
    pub(super) async fn create(&self, step: &Step, job: &Job) -> Result<()> {
        let mut config = config_of(step)?;
        let alone = self.complete(&mut config, false)?;
        let image = config.get(mapping::IMAGE).map(|name| self.image(name)).transpose()?;
        let makings = self.makings(step.guest.vmid, asked_disks(&config, image)?);
        for making in &makings {
            config.insert(making.key.clone(), making.drive());
        }
        let made = makings.iter().flat_map(|making| [making.path.clone(), disk::unfinished(&making.path)]).collect();
        let work = Work { made, settings: Some(Settings::new(config.clone())), ..Work::default() };
        let new = NewVm { vmid: Some(step.guest.vmid), settings: Settings::new(config) };
        let draft = Draft::new(Verb::Create).task(&job.upid).work(work);
        let (vm, intent, _lock) = self.create_held(new, draft, "create")?;
        drop(alone);
        let made = self.make(makings, job).await;
        match made {
            Ok(()) => {
                let settle = Settle::stopped(End::Stopped).ending(intent.id, Outcome::Finished);
                self.state().settle(vm.vmid, &settle)
            }
            Err(error) => {
                // What was made goes, and the row with it; what cannot be removed now is left to the next command.
                let _ = self.mend(vm.vmid, job).await;
                Err(error)
            }
        }
    }

    /// An image of the store.
    pub(super) fn image(&self, name: &str) -> Result<Image> {
        Images::new(self.store()).get(name)
    }

    /// Gives disks that are asked for their volumes.
    pub(super) fn makings(&self, vmid: Vmid, asked: Vec<Asked>) -> Vec<Making> {
        let mut makings: Vec<Making> = Vec::new();
        for Asked { key, size, format, image, parts } in asked {
            let taken: Vec<PathBuf> = makings.iter().map(|making| making.path.clone()).collect();
            let (volume, path) = self.new_volume(vmid, format, &taken);
            let from = image.map(|image| Images::new(self.store()).path(&image));
            makings.push(Making { key, volume, path, format, from, size, parts });
        }
        makings
    }

    pub(super) async fn make(&self, makings: Vec<Making>, job: &Job) -> Result<()> {
        let (log, managed) = (job.log.clone(), self.managed());
        let work = move || makings.iter().try_for_each(|making| making.make(&log, &managed));
        aside(DISK, work).await
    }
}

impl Making {
    /// The drive as it stands in the configuration.
    pub(super) fn drive(&self) -> String {
        let rest =
            self.parts.iter().filter(|(key, _)| !matches!(*key, None | Some("file" | "volume" | "size" | "format")));
        let rest: String = rest.map(|(key, value)| format!(",{}={value}", key.unwrap_or_default())).collect();
        format!("{}{rest},size={}", self.volume, Size(self.size).to_config())
    }

    fn make(&self, log: &Log, managed: &[PathBuf]) -> Result<()> {
        folder_of(&self.path)?;
        match &self.from {
            None => disk::create(&self.path, self.format, self.size).map(drop),
            Some(image) => {
                disk::copy(image, &self.path, &Told { log, key: &self.key })?;
                disk::grow(&self.path, self.format, self.size, managed).map(drop)
            }
        }
    }
}

/// Makes the folder that a disk is to lie in.
pub(super) fn folder_of(disk: &Path) -> Result<()> {
    let folder = disk.parent().unwrap_or(Path::new("/"));
    std::fs::create_dir_all(folder)
        .map_err(|error| Error::new(Class::Failed, format!("cannot make {}", folder.display())).with_source(error))
}

/// Tells the task's log how far a copy is.
pub(super) struct Told<'a> {
    pub(super) log: &'a Log,
    pub(super) key: &'a str,
}

impl Watch for Told<'_> {
    fn moved(&self, done: u64, total: Option<u64>) {
        if let Some(total) = total {
            // A line that is not written changes nothing of the copy.
            let _ = self.log.progress(self.key, done, total);
        }
    }

    fn cancelled(&self) -> bool {
        self.log.is_interrupted().unwrap_or(false)
    }
}
