//! Copies of VMs: full ones share blocks with their source where the file system can and are copies of the data where not;
//! linked ones hold only what differs from a template.
//!
//! A source that runs stands still while its disks are copied, so a copy is as after a power cut and never of two moments
//! at once. Who the copy is (uuid, address on vsock, MAC addresses, instance id) is fresh.

use std::path::{Path, PathBuf};

use super::{
    Job, Local,
    aside::{DISK, aside},
    create::Told,
    grow::unchanged,
    look::SLOW,
    volumes::{STORAGE, format_of, volume_of, volumes_in},
};
use crate::{
    backends::{
        Step,
        cloud_hypervisor::{
            disk::{self, Format, Method},
            mapping::is_seed,
            state::{Config, Draft, End, Log, NewVm, Outcome, Settings, Settle, Verb, Vm, Work, reconcile::Sight},
            vmm::Vmm,
        },
    },
    model::{Error, Hint, Params, PropertyString, Result, Vmid},
};

/// Keys that a copy does not take over: they are about the source, and not about what it is.
const NOT_COPIED: [&str; 9] =
    ["digest", "lock", "meta", "parent", "pool", "snaptime", "template", "vmgenid", "vmstate"];

/// A disk that is to be copied.
struct Copying {
    key: String,
    /// What it is called in the log.
    volume: String,
    from: PathBuf,
    to: PathBuf,
    format: Format,
    linked: bool,
}

/// A copy, thought through.
struct Planned {
    config: Config,
    copies: Vec<Copying>,
}

impl Local {
    /// Refuses a copy that cannot be made, before anything happens.
    ///
    /// # Errors
    /// In Proxmox's words where it has some.
    pub(super) fn refuse_clone(&self, step: &Step) -> Result<()> {
        let source = self.state().vm(step.guest.vmid)?;
        self.plan_clone(&source, &step.params).map(drop)
    }

    /// Makes a copy. The lock of the source is held.
    pub(super) async fn clone_vm(&self, source: &Vm, sight: Sight, params: &Params, job: &Job) -> Result<()> {
        source.check_lock()?;
        let Planned { mut config, copies } = self.plan_clone(source, params)?;
        let alone = self.complete(&mut config, true)?;
        let newid = new_id(params)?;
        let reads_live = sight != Sight::Stopped && params.get("snapname").is_none();
        if reads_live && !matches!(sight, Sight::Running | Sight::Paused) {
            return Err(Error::conflict(format!("VM {} is {}", source.vmid, sight.qmpstatus())));
        }
        let made = copies.iter().flat_map(Copying::made).collect();
        let work = Work { made, settings: Some(Settings::new(config.clone())), ..Work::default() };
        let mut begun = config;
        begun.insert("lock".to_owned(), "clone".to_owned());
        let new = NewVm { vmid: Some(newid), settings: Settings::new(begun) };
        let draft = Draft::new(Verb::Clone).task(&job.upid).work(work);
        let (copy, intent, _lock) = self.create_held(new, draft, "clone")?;
        drop(alone);
        let copied = match reads_live && sight == Sight::Running {
            true => self.copy_paused(source, copies, job).await,
            false => self.copy_all(copies, job).await,
        };
        match copied {
            Ok(()) => {
                let settle = Settle::stopped(End::Stopped).ending(intent.id, Outcome::Finished);
                self.state().settle(copy.vmid, &settle)
            }
            Err(error) => {
                // What was made goes, and the row with it; what cannot be removed now is left to the next command.
                let _ = self.mend(copy.vmid, job).await;
                Err(error)
            }
        }
    }

    /// Copies while the source stands still; it goes on whatever comes of it.
    async fn copy_paused(&self, source: &Vm, copies: Vec<Copying>, job: &Job) -> Result<()> {
        let work = Work { resumes: true, ..Work::default() };
        let intent = self.state().begin(source.vmid, Draft::new(Verb::Clone).task(&job.upid).work(work))?;
        job.line(&format!("VM {} stands still while its disks are copied", source.vmid))?;
        let vmm = Vmm::connect(self.places(source).api_socket())?;
        let copied = match vmm.pause(SLOW).await {
            Ok(()) => self.copy_all(copies, job).await,
            Err(error) => Err(error.into()),
        };
        match vmm.resume(SLOW).await {
            Ok(()) => self.state().settle(source.vmid, &unchanged(source).ending(intent.id, Outcome::Finished))?,
            // The next look says how it is, and lets it go on if it can.
            Err(_) => drop(self.mend(source.vmid, job).await?),
        }
        copied
    }

    async fn copy_all(&self, copies: Vec<Copying>, job: &Job) -> Result<()> {
        let (log, managed) = (job.log.clone(), self.managed());
        let work = move || copies.iter().try_for_each(|copy| copy.make(&log, &managed));
        aside(DISK, work).await
    }

    /// The configuration of the copy, and what is to be copied for it.
    fn plan_clone(&self, source: &Vm, params: &Params) -> Result<Planned> {
        let newid = new_id(params)?;
        if self.state().vm(newid).is_ok() {
            let text = format!("VM {newid} already exists on node '{}'", self.options().node);
            return Err(Error::conflict(text.clone()).with_hint(Hint::VmidTaken(text)));
        }
        let template = source.settings.is_on("template");
        let linked = params.get("full").map_or(template, |full| full != "1");
        self.check_place(params, linked)?;
        let snapshot = params.get("snapname");
        let from = match snapshot {
            None => &source.settings.config,
            Some(name) => {
                let row = source.settings.snapshots.get(name);
                &row.ok_or_else(|| Error::not_found(format!("snapshot '{name}' does not exist")))?.config
            }
        };
        let mut config = self.identity(source, from, newid, params)?;
        let mut copies: Vec<Copying> = Vec::new();
        for (key, drive) in volumes_in(from) {
            let volume = volume_of(&drive).to_owned();
            if drive.get("media") == Some("cdrom") || is_seed(&volume) {
                continue;
            }
            let format = format_of(&drive)?;
            let mut file = self.file(&volume)?;
            if let Some(name) = snapshot.filter(|_| volume.starts_with(&format!("{STORAGE}:{}/", source.vmid))) {
                file = of_snapshot(&file, name);
            }
            self.measure(&file, format).map_err(|error| error.context(&key))?;
            let is_base = volume.starts_with(&format!("{STORAGE}:{0}/base-{0}-", source.vmid));
            if linked && !(template && is_base && snapshot.is_none()) {
                let text = format!("Linked clone feature is not supported for '{volume}' ({key})");
                return Err(Error::usage(text).with_hint(Hint::Text("make a full clone".to_owned())));
            }
            let taken: Vec<PathBuf> = copies.iter().map(|copy| copy.to.clone()).collect();
            let new_format = if linked { Format::Qcow2 } else { format };
            let (id, to) = self.new_volume(newid, new_format, &taken);
            let mut parts = PropertyString::lenient(&drive.to_string());
            parts.remove("format");
            config.insert(key.clone(), parts.to_string().replacen(&volume, &id, 1));
            copies.push(Copying { key, volume, from: file, to, format, linked });
        }
        Ok(Planned { config, copies })
    }

    /// Refuses places that are not here.
    fn check_place(&self, params: &Params, linked: bool) -> Result<()> {
        let here = &self.options().node;
        if let Some(node) = params.get("target").filter(|node| *node != here.as_str()) {
            return Err(Error::not_found(format!("no such node: `{node}`"))
                .with_hint(Hint::Text(format!("this host is one node, `{here}`"))));
        }
        match params.get("storage") {
            Some(_) if linked => return Err(Error::usage("parameter 'storage' not allowed for linked clones")),
            Some(storage) if storage != STORAGE => {
                return Err(Error::not_found(format!("storage '{storage}' does not exist")));
            }
            _ => {}
        }
        if let Some(pool) = params.get("pool") {
            return Err(Error::not_found(format!("pool '{pool}' does not exist")));
        }
        match params.get("format") {
            Some(format) => Err(Error::usage(format!("format={format}: a copy has the format of its source"))
                .with_hint(Hint::Text("leave format out".to_owned()))),
            None => Ok(()),
        }
    }

    /// The configuration of a copy but for its disks: as the source, and somebody else.
    fn identity(&self, source: &Vm, from: &Config, newid: Vmid, params: &Params) -> Result<Config> {
        let passes = |key: &String| !NOT_COPIED.contains(&key.as_str()) && !key.starts_with("unused");
        let mut config: Config = from.clone().into_iter().filter(|(key, _)| passes(key)).collect();
        let old = from.get("name").map_or_else(|| source.vmid.to_string(), Clone::clone);
        let name = params.get("name").map_or_else(|| format!("Copy-of-VM-{old}"), str::to_owned);
        config.insert("name".to_owned(), name);
        if let Some(description) = params.get("description") {
            config.insert("description".to_owned(), description.to_owned());
        }
        if let Some(text) = config.remove("smbios1") {
            // The machine's own uuid takes the place of the one that was given to the source.
            let mut smbios = PropertyString::lenient(&text);
            smbios.remove("uuid");
            let rest = smbios.to_string();
            if !rest.is_empty() && rest != "base64=1" {
                config.insert("smbios1".to_owned(), rest);
            }
        }
        tracing::debug!(vm = %newid, "copy of VM {}", source.vmid);
        Ok(config)
    }
}

impl Copying {
    /// What is made for it: the file, and what it is called while it is not whole.
    fn made(&self) -> [PathBuf; 2] {
        [self.to.clone(), disk::unfinished(&self.to)]
    }

    fn make(&self, log: &Log, managed: &[PathBuf]) -> Result<()> {
        log.check()?;
        super::create::folder_of(&self.to)?;
        let Self { key, volume, .. } = self;
        if self.linked {
            log.line(&format!("create linked clone of drive {key} ({volume})"))?;
            return disk::overlay(&self.to, &self.from, self.format, None, managed).map(drop);
        }
        log.line(&format!("create full clone of drive {key} ({volume})"))?;
        let copied = disk::copy(&self.from, &self.to, &Told { log, key })?;
        if copied.method == Method::Reflink {
            log.line(&format!("{key}: shares its blocks with {volume} until one of them writes"))?;
        }
        let layers = disk::chain(&self.to, self.format, managed)?;
        match layers.get(1) {
            Some(below) => log.line(&format!("{key}: stands on {}, as its source does", below.path.display())),
            None => Ok(()),
        }
    }
}

fn new_id(params: &Params) -> Result<Vmid> {
    let text = params.get("newid").ok_or_else(|| Error::usage("newid: the number of the copy is missing"))?;
    text.parse().map_err(|error: crate::model::ParseIdError| Error::usage(error.to_string()))
}

/// The file that a snapshot keeps of a disk: `vm-100-disk-0.snap-a.raw`. A name has no point in it, so that each has one
/// meaning; and the number stays taken while there is one of them.
pub(super) fn of_snapshot(disk: &Path, name: &str) -> PathBuf {
    let part = |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
    disk.with_file_name(format!("{}.snap-{name}.{}", part(disk.file_stem()), part(disk.extension())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_have_their_names() {
        let disk = Path::new("/s/100/vm-100-disk-0.qcow2");
        assert_eq!(of_snapshot(disk, "a"), Path::new("/s/100/vm-100-disk-0.snap-a.qcow2"));
    }
}
