//! Copies of VMs: full ones stand alone, share blocks with their source where the file system can and are copies of the
//! data where not; linked ones hold only what differs from a template.
//!
//! A source that runs stands still while its disks are copied, so a copy is as after a power cut and never of two moments
//! at once. Who the copy is (uuid, address on vsock, MAC addresses, instance id) is fresh.

use std::path::{Path, PathBuf};

use super::{
    Job, Local,
    aside::{DISK, aside},
    create::Told,
    volumes::{STORAGE, format_of, volume_of, volumes_in},
};
use crate::{
    backends::{
        Step,
        cloud_hypervisor::{
            disk::{self, Format, Layer, Method},
            mapping::is_seed,
            state::{
                Config, Draft, End, Log, NewVm, Outcome, Phase, Settings, Settle, Verb, Vm, Work, reconcile::Sight,
            },
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
    how: How,
}

/// How a disk is copied.
enum How {
    /// As it is.
    Same,
    /// What its guest sees of it, through these images, into another form.
    Whole(Vec<Layer>, Format),
    /// Only what differs from it.
    Linked,
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
        let copied = match self.pause_running(source).await {
            Ok(()) => self.copy_all(copies, job).await,
            Err(error) => Err(error),
        };
        match self.resume_paused(source).await {
            Ok(()) => {
                self.state().settle(source.vmid, &Settle::unchanged(source).ending(intent.id, Outcome::Finished))?;
            }
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
        if self.is_taken(newid)? {
            let text = format!("VM {newid} already exists on node '{}'", self.options().node);
            return Err(Error::conflict(text.clone()).with_hint(Hint::VmidTaken(text)));
        }
        let template = source.settings.is_on("template");
        let linked = params.get("full").map_or(template, |full| full != "1");
        let wanted = self.check_place(params, linked)?;
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
            let (_, backing) = self.measure(&file, format).map_err(|error| error.context(&key))?;
            let is_base = volume.starts_with(&format!("{STORAGE}:{0}/base-{0}-", source.vmid));
            if linked && !(template && is_base && snapshot.is_none()) {
                let text = format!("Linked clone feature is not supported for '{volume}' ({key})");
                return Err(Error::usage(text).with_hint(Hint::Text("make a full clone".to_owned())));
            }
            let taken: Vec<PathBuf> = copies.iter().map(|copy| copy.to.clone()).collect();
            let new_format = if linked { Format::Qcow2 } else { wanted.unwrap_or(format) };
            let how = match linked {
                true => How::Linked,
                // A copy stands alone, whatever its source stands on.
                false if backing || new_format != format => How::Whole(self.layers(&file, format)?, new_format),
                false => How::Same,
            };
            let (id, to) = self.new_volume(newid, new_format, &taken);
            let mut parts = PropertyString::lenient(&drive.to_string());
            parts.remove("format");
            config.insert(key.clone(), parts.to_string().replacen(&volume, &id, 1));
            copies.push(Copying { key, volume, from: file, to, format, how });
        }
        Ok(Planned { config, copies })
    }

    /// Whether a VM has the number. One that was half made by a command that is gone has not: it goes before the copy is
    /// made.
    fn is_taken(&self, vmid: Vmid) -> Result<bool> {
        let Ok(vm) = self.state().vm(vmid) else { return Ok(false) };
        Ok(vm.phase != Phase::Creating || !self.is_left(vmid)?)
    }

    /// Refuses places and forms that are not here. Gives the form that is asked for.
    fn check_place(&self, params: &Params, linked: bool) -> Result<Option<Format>> {
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
        let Some(text) = params.get("format") else { return Ok(None) };
        if linked {
            return Err(Error::usage("parameter 'format' not allowed for linked clones"));
        }
        match text.parse() {
            Ok(format @ (Format::Raw | Format::Qcow2)) => Ok(Some(format)),
            _ => Err(Error::usage(format!("format={text}: disks of a copy are raw or qcow2 on this host"))),
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
        let kind = if matches!(self.how, How::Linked) { "linked" } else { "full" };
        log.line(&format!("create {kind} clone of drive {key} ({volume})"))?;
        match &self.how {
            How::Linked => disk::overlay(&self.to, &self.from, self.format, None, managed).map(drop),
            How::Whole(layers, format) => disk::flatten(layers, &self.to, *format, &Told { log, key }).map(drop),
            How::Same => match disk::copy(&self.from, &self.to, &Told { log, key })?.method {
                Method::Reflink => {
                    log.line(&format!("{key}: shares its blocks with {volume} until one of them writes"))
                }
                Method::Data => Ok(()),
            },
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
