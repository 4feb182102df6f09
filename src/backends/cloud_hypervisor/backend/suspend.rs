//! Memory on disk: a VM that is suspended to it and goes on from it, and the memory of a snapshot.
//!
//! A folder of memory is whole or not there: the VMM writes it under another name, everything in it is brought to the
//! disk, and only then it gets its own. It is read by the very build that wrote it.

use std::{
    fs::{self, DirBuilder, File},
    io::ErrorKind,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::Value;

use super::{
    Job, Local,
    aside::aside,
    look::SLOW,
    power::{Launched, explained},
};
use crate::{
    backends::cloud_hypervisor::{
        disk,
        failpoint::{Point, reach},
        host::{self, Places},
        state::{
            Draft, End, Intent, Outcome, Process, Settle, Verb, Vm, Work,
            reconcile::{Action, Sight},
        },
        vmm::{self, State, Vmm},
    },
    model::{Class, Error, Result},
};

/// The file in a folder of memory that names the build that wrote it.
const BUILD: &str = "build";
/// Files of the VM's own that it was started with, which go with the memory.
const WITH_IT: [&str; 2] = ["config.json", "seed.img"];
/// Under which name they are there, since the VMM writes a `config.json` of its own.
const PREFIX: &str = "vm-";
/// How fast memory is written and read at least: what takes longer counts as hung.
const SLOWEST: u64 = 16 << 20;

/// Where memory is kept.
pub(super) struct Memory {
    pub(super) folder: PathBuf,
}

impl Memory {
    /// What it is called while it is not whole.
    fn unfinished(&self) -> PathBuf {
        self.folder.with_extension("tmp")
    }

    /// What is made for it.
    pub(super) fn made(&self) -> [PathBuf; 2] {
        [self.folder.clone(), self.unfinished()]
    }
}

impl Local {
    /// Where a VM's memory is kept: `suspend`, or that of a snapshot. It goes with the VM's directory.
    pub(super) fn memory_of(&self, vm: &Vm, what: &str) -> Memory {
        Memory { folder: self.places(vm).state.join(format!("memory-{what}")) }
    }

    /// Saves the memory and powers off.
    pub(super) async fn suspend(&self, vm: &Vm, sight: Sight, job: &Job) -> Result<()> {
        let not_running = || Error::from_exit_status(&format!("VM {} not running", vm.vmid));
        let vmm = self.standing(vm, sight)?.ok_or_else(not_running)?;
        vm.check_lock()?;
        let process = vm.process.clone().ok_or_else(not_running)?;
        self.require_memory_room(vm, &vmm).await?;
        let memory = self.memory_of(vm, "suspend");
        let resumes = sight == Sight::Running;
        let work = Work { made: memory.made().into(), resumes, ..Work::default() };
        let mut intent = self.state().begin(vm.vmid, Draft::new(Verb::Suspend).task(&job.upid).work(work))?;
        let saved = async {
            if resumes {
                self.pause_running(vm).await?;
            }
            job.line("saving memory and the state of devices")?;
            self.keep_memory(vm, &vmm, &memory, job).await?;
            job.log.check()?;
            // The memory is safe: from here on it is switched off, whatever happens.
            self.commit(&mut intent, |settings| {
                settings.config.insert("lock".to_owned(), "suspended".to_owned());
                settings.config.insert("vmstate".to_owned(), memory.folder.display().to_string());
            })?;
            self.keep_said(vm).await;
            self.end_vmm(vm, &process).await?;
            self.carry_out(vm, &Action::RemoveSockets).await?;
            self.release_all(vm, job).await?;
            self.state().settle(vm.vmid, &Settle::stopped(End::Suspended).ending(intent.id, Outcome::Finished))
        };
        let saved: Result<()> = saved.await;
        self.or_mended(vm, saved, job).await
    }

    /// Lets a VM that was suspended go on from its memory.
    pub(super) async fn wake(&self, vm: &Vm, job: &Job) -> Result<()> {
        let folder = vm.settings.get("vmstate").map(PathBuf::from).unwrap_or_default();
        self.wrote(vm, &folder)?;
        // That of a snapshot stays.
        let mine = folder == self.memory_of(vm, "suspend").folder;
        let drops = if mine { vec![folder.clone()] } else { Vec::new() };
        let work = Work { drops: drops.clone(), resumes: true, ..Work::default() };
        let mut intent = self.state().begin(vm.vmid, Draft::new(Verb::Start).task(&job.upid).work(work))?;
        let vm = self.state().vm(vm.vmid)?;
        let error = match self.restore(&vm, &folder, &mut intent, job).await {
            Ok(process) => {
                self.carry_out(&vm, &Action::RemoveFiles(drops)).await?;
                let settle = Settle::running(process).ending(intent.id, Outcome::Finished);
                return self.state().settle(vm.vmid, &settle);
            }
            Err(error) => error,
        };
        if intent.committed {
            // It may have run already, so there is no way back; perhaps it only did not say that it goes on.
            return match self.mend(vm.vmid, job).await? {
                (_, Sight::Running) => Ok(()),
                _ => Err(error),
            };
        }
        // The guest has not run: it is as suspended as before.
        if let Some(process) = self.state().vm(vm.vmid)?.process {
            self.end_vmm(&vm, &process).await?;
        }
        self.carry_out(&vm, &Action::RemoveSockets).await?;
        self.release_all(&vm, job).await?;
        let end = End::FailedStart { error: Some(error.to_string()) };
        self.state().settle(vm.vmid, &Settle::stopped(end).ending(intent.id, Outcome::RolledBack))?;
        Err(explained(error))
    }

    /// Starts a VMM and reads the memory back. From the commit on the guest may have run, and the memory is used up.
    async fn restore(&self, vm: &Vm, folder: &Path, intent: &mut Intent, job: &Job) -> Result<Process> {
        let Launched { process, vmm, ping, group } = self.launch(vm).await?;
        same_build(vm, &build_of(folder)?, &ping.build_version)?;
        put_back(folder, &self.places(vm))?;
        job.line("resuming from the saved memory")?;
        let bytes = length(&folder.join("memory-ranges"))?;
        let restore = vmm::Restore { source_url: vmm::file_url(folder), ..vmm::Restore::default() };
        vmm.restore(&restore, patience(bytes)).await?;
        group.done(job).await?;
        reach(Point::MemoryRead);
        self.commit(intent, |settings| {
            for key in ["lock", "vmstate"] {
                settings.config.remove(key);
            }
        })?;
        self.pull_cables(vm).await?;
        self.resume_paused(vm).await?;
        match vmm.info(SLOW).await?.state {
            State::Running => Ok(process),
            other => Err(Error::new(Class::Failed, format!("the VM is {other:?} after it was resumed"))),
        }
    }

    /// Writes the memory of a paused VM.
    ///
    /// # Errors
    /// Where KVM does not give away the state of its processors, with the way out; the VM is as it was.
    pub(super) async fn keep_memory(&self, vm: &Vm, vmm: &Vmm, memory: &Memory, job: &Job) -> Result<()> {
        let unfinished = memory.unfinished();
        for left in memory.made() {
            forget(&left)?;
        }
        DirBuilder::new().mode(0o700).create(&unfinished).map_err(|error| failed("make", &unfinished, error))?;
        let (info, ping) = (vmm.info(SLOW).await?, vmm.ping(SLOW).await?);
        if let Err(error) = vmm.snapshot(&unfinished, patience(info.memory_actual_size)).await {
            let cause = error.cause().map_or_else(|| error.to_string(), str::to_owned);
            let why = match cause.contains("NestedState") {
                true => format!("KVM on this host does not give away the state of its processors ({cause})"),
                false => cause,
            };
            job.line("the VM goes on as before; take a snapshot without --memory, or shut it down")?;
            let text = format!("the memory of VM {} cannot be saved: {why}", vm.vmid);
            return Err(Error::new(Class::Failed, text).with_source(error));
        }
        let (places, folder) = (self.places(vm), memory.folder.clone());
        let whole = move || -> Result<()> {
            for name in WITH_IT {
                let to = unfinished.join(format!("{PREFIX}{name}"));
                copied(&places.state.join(name), &to)?;
            }
            let build = unfinished.join(BUILD);
            fs::write(&build, &ping.build_version).map_err(|error| failed("write", &build, error))?;
            disk::sync_folder(&unfinished)?;
            fs::rename(&unfinished, &folder).map_err(|error| failed("put in place", &folder, error))?;
            disk::sync_entries(&places.state)?;
            reach(Point::MemoryKept);
            Ok(())
        };
        aside("the work on a VM's memory ended early", whole).await
    }

    /// Refuses where the memory has no room on the disk: asked before the VM stands still for it.
    pub(super) async fn require_memory_room(&self, vm: &Vm, vmm: &Vmm) -> Result<()> {
        // What is in the balloon is written too, as zeros.
        let bytes = vmm.info(SLOW).await?.memory_actual_size.max(vm.memory());
        disk::require_space(&self.places(vm).state, bytes)
            .map_err(|error| error.context(format_args!("the memory of VM {} cannot be saved", vm.vmid)))
    }

    /// The build that wrote a folder of memory.
    fn wrote(&self, vm: &Vm, folder: &Path) -> Result<String> {
        build_of(folder).map_err(|error| {
            let out = match vm.lock() {
                Some(_) => format!("; give it up with `pvectl vm update {} --unset lock`", vm.vmid),
                None => String::new(),
            };
            Error::new(error.class(), format!("the memory of VM {} cannot be used: {error}{out}", vm.vmid))
        })
    }

    /// Refuses memory that is not there, or that the VMM here could not read: asked before anything is stopped or
    /// replaced for it.
    pub(super) async fn check_memory(&self, vm: &Vm, folder: &Path) -> Result<()> {
        let wrote = self.wrote(vm, folder)?;
        let missing = || Error::not_found("there is no `cloud-hypervisor` to read the memory with");
        let binary = self.options().binary.clone().ok_or_else(missing)?;
        let says = tokio::task::spawn_blocking(move || host::facts::build(&binary)).await;
        match says {
            Ok(Ok(reads)) => same_build(vm, &wrote, &reads),
            // Who does not say is asked again once it runs.
            _ => Ok(()),
        }
    }
}

/// Refuses memory of another build.
fn same_build(vm: &Vm, wrote: &str, reads: &str) -> Result<()> {
    if wrote == reads {
        return Ok(());
    }
    let vmid = vm.vmid;
    let text = format!(
        "the memory of VM {vmid} was saved by Cloud Hypervisor {wrote}, and {reads} cannot read it: use that one \
         (--cloud-hypervisor FILE)"
    );
    Err(Error::conflict(match vm.lock() {
        Some(_) => format!("{text}, or give the memory up with `pvectl vm update {vmid} --unset lock`"),
        None => text,
    }))
}

fn build_of(folder: &Path) -> Result<String> {
    let path = folder.join(BUILD);
    fs::read_to_string(&path).map_err(|error| failed("read", &path, error))
}

/// Puts back what the VM was started with, and the sockets to where they are to be now.
fn put_back(folder: &Path, places: &Places) -> Result<()> {
    for name in WITH_IT {
        copied(&folder.join(format!("{PREFIX}{name}")), &places.state.join(name))?;
    }
    let path = folder.join("config.json");
    let text = fs::read(&path).map_err(|error| failed("read", &path, error))?;
    let mut config: Value = serde_json::from_slice(&text)
        .map_err(|error| Error::new(Class::Failed, format!("{} is damaged: {error}", path.display())))?;
    let before = config.clone();
    for (device, socket) in [("serial", places.serial_socket()), ("vsock", places.vsock_socket())] {
        move_socket(config.get_mut(device), &socket);
    }
    for share in config.get_mut("fs").and_then(Value::as_array_mut).into_iter().flatten() {
        let key = share["id"].as_str().unwrap_or_default().to_owned();
        let own = share["socket"].as_str().map(Path::new).and_then(Path::parent).and_then(Path::file_name);
        if own == places.run.file_name() {
            move_socket(Some(share), &places.share_socket(&key));
        }
    }
    if config == before {
        return Ok(());
    }
    let next = folder.join("config.json.tmp");
    fs::write(&next, config.to_string()).map_err(|error| failed("write", &next, error))?;
    fs::rename(&next, &path).map_err(|error| failed("write", &path, error))
}

/// Puts a device's socket elsewhere, if it has one.
fn move_socket(device: Option<&mut Value>, socket: &Path) {
    if let Some(there) = device.and_then(|device| device.get_mut("socket")).filter(|there| there.is_string()) {
        *there = Value::from(socket.display().to_string());
    }
}

/// Copies a small file; one that is not there need not be there.
fn copied(from: &Path, to: &Path) -> Result<()> {
    match fs::copy(from, to) {
        Err(error) if error.kind() == ErrorKind::NotFound && !from.exists() => Ok(()),
        other => other.map(drop).map_err(|error| failed("write", to, error)),
    }
}

fn forget(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(failed("remove", folder, error)),
        _ => Ok(()),
    }
}

fn length(path: &Path) -> Result<u64> {
    File::open(path)
        .and_then(|file| file.metadata())
        .map(|found| found.len())
        .map_err(|error| failed("read", path, error))
}

/// How long the VMM may take over so much memory.
fn patience(bytes: u64) -> Duration {
    SLOW + Duration::from_secs(bytes / SLOWEST)
}

fn failed(what: &str, path: &Path, error: std::io::Error) -> Error {
    Error::new(Class::Failed, format!("cannot {what} {}: {error}", path.display())).with_source(error)
}
