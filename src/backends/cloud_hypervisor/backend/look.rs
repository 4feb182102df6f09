//! Looking at a VM, and bringing it in line: the observation that `state` concludes from, and the hands for what it
//! concludes.

use std::{
    collections::BTreeMap,
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{Job, Local, template::seal};
use crate::{
    backends::cloud_hypervisor::{
        ProcessId, disk,
        failpoint::{Point, reach},
        host,
        state::{
            Holder, Intent, LOCK_FILE, Phase, Process, Vm,
            reconcile::{Action, Conclusion, LastEvent, Lock, Machine, Observation, Recorded, Sight, Socket, conclude},
        },
        vmm::{self, Vmm, Why, config::VmConfig, events::EventFile},
    },
    model::{Class, Error, Result, Vmid},
};

/// How long a VMM may take to say how it is before a list calls it one that does not answer, and before its power is cut.
pub(super) const GLANCE: Duration = Duration::from_secs(1);
/// The same for whoever wants something of it: on a busy host a second is nothing.
pub(super) const ASK: Duration = Duration::from_secs(10);
/// How long a process on whose socket nobody listens may take to be gone: one that ends closes its files first.
const ENDING: Duration = Duration::from_millis(250);
/// How long a VMM may take over what it does: the time that a large memory needs.
pub(super) const SLOW: Duration = Duration::from_secs(120);
/// How long a VMM may take to end in order.
const ORDERLY: Duration = Duration::from_secs(2);
/// How long a killed process may take to be gone.
const KILLED: Duration = Duration::from_secs(10);
/// What a VMM can be resized in, as intents name it.
pub(super) const VCPUS: &str = "vcpus";
/// Bytes of memory.
pub(super) const MEMORY: &str = "memory";
/// Bytes in the balloon.
pub(super) const BALLOON: &str = "balloon";
/// How often what was concluded is looked at again; the second look has nothing left to do.
const LOOKS: usize = 4;

impl Local {
    /// How a VM is, for whoever only wants to know, and its row, with the settings that it came up with. Takes no lock and
    /// does nothing.
    pub(super) async fn glance(&self, vm: Vm, intent: Option<Intent>) -> Result<(Vm, Conclusion)> {
        let lock = match Holder::of(&self.places(&vm).state) {
            Some(holder) => Lock::Held(Some(holder)),
            None => Lock::Free,
        };
        let mut seen = self.observe(vm, intent, lock, GLANCE).await?;
        let conclusion = conclude(&seen);
        if let Some(settings) = conclusion.came_up_with(seen.intent.as_ref()) {
            seen.vm.settings = settings.clone();
        }
        Ok((seen.vm, conclusion))
    }

    /// Finishes or rolls back what an earlier command left, and says so in the log. The VM's lock is held.
    pub(super) async fn mend(&self, vmid: Vmid, job: &Job) -> Result<(Vm, Sight)> {
        self.mend_within(vmid, ASK, job).await
    }

    /// The same, and so long its VMM may take to say how it is.
    pub(super) async fn mend_within(&self, vmid: Vmid, patience: Duration, job: &Job) -> Result<(Vm, Sight)> {
        for _ in 0..LOOKS {
            let vm = self.state().vm(vmid)?;
            let intent = self.state().intent(vmid)?;
            // One that is to end ends, whatever it says.
            let ends = matches!(vm.phase, Phase::Stopping | Phase::Deleting);
            let patience = if ends { GLANCE } else { patience };
            let conclusion = conclude(&self.observe(vm.clone(), intent, Lock::Ours, patience).await?);
            for finding in &conclusion.findings {
                job.line(&format!("found: {finding}"))?;
            }
            if conclusion.actions.is_empty() {
                return match conclusion.sight {
                    Sight::Foreign => Err(Error::conflict(format!(
                        "VM {vmid} cannot be worked with: a process that is not ours is in its place"
                    ))),
                    sight => Ok((vm, sight)),
                };
            }
            for action in &conclusion.actions {
                self.carry_out(&vm, action).await?;
                if matches!(action, Action::ReturnDevices(_)) {
                    self.tell_kept(&vm, job)?;
                }
                reach(Point::Acted);
            }
        }
        Err(Error::conflict(format!("VM {vmid} does not come to rest")))
    }

    async fn observe(&self, vm: Vm, intent: Option<Intent>, lock: Lock, patience: Duration) -> Result<Observation> {
        let places = self.places(&vm);
        let mut alive = host::probe(&places.alive())? == host::Lock::Held;
        let recorded = match &vm.process {
            None => Recorded::None,
            Some(process) => match ProcessId::of(process.pid)? {
                None => Recorded::Gone,
                Some(there) if there == *process => Recorded::Lives,
                Some(_) => Recorded::Reused,
            },
        };
        let marked = match recorded {
            Recorded::Lives => None,
            _ if alive => host::holders(&places.alive())?.into_iter().next(),
            _ => None,
        };
        if alive && recorded != Recorded::Lives && marked.is_none() {
            // One that dies between the looks would be taken for somebody unknown.
            alive = host::probe(&places.alive())? == host::Lock::Held;
        }
        // Who only looks takes the recorded process for the one that answers in its place, if it holds the lock as well.
        let known = vm.process.as_ref().filter(|_| alive && recorded == Recorded::Lives && lock != Lock::Ours);
        let known = known.map(|process| process.pid);
        let seen = match alive || recorded == Recorded::Lives {
            true => ask(&Vmm::connect(places.api_socket())?, patience, known).await,
            // Nobody of ours is there to ask; what else may listen there is looked at when it is in the way.
            false => Seen::of(Socket::Closed),
        };
        if seen.socket == Socket::Closed && recorded == Recorded::Lives {
            let ending = vm.process.as_ref().map(host::Process::find).transpose()?.flatten();
            if let Some(process) = ending
                && process.ended(Some(ENDING)).await?
            {
                return Box::pin(self.observe(vm, intent, lock, patience)).await;
            }
        }
        let Seen { socket, files, devices, sizes } = seen;
        let grows = intent.as_ref().and_then(|intent| intent.work.grows.as_ref());
        let grown = grows.is_some_and(|grows| self.has_grown(grows));
        let last_event = last_event(&places.events(u64::from(vm.generation)))?;
        let boot_id = host::boot_id()?;
        let lent = match lock {
            Lock::Ours => self.state().lent()?,
            // Who only looks gives nothing back.
            Lock::Free | Lock::Held(_) => Vec::new(),
        };
        let lent = lent.into_iter().filter(|lent| lent.uuid == vm.uuid && lent.error.is_none());
        let lent = lent.map(|lent| lent.id).collect();
        let shares = places.shares();
        Ok(Observation {
            vm,
            intent,
            lock,
            boot_id,
            alive,
            recorded,
            marked,
            socket,
            files,
            devices,
            lent,
            sizes,
            shares,
            grown,
            last_event,
        })
    }

    pub(super) async fn carry_out(&self, vm: &Vm, action: &Action) -> Result<()> {
        let places = self.places(vm);
        match action {
            Action::EndVmm(process) => self.end_vmm(vm, process).await,
            Action::Resume(_) => self.resume_paused(vm).await,
            Action::EndShares(keys) => self.end_shares(vm, keys).await,
            Action::RemoveSockets => {
                let mut all = places.sockets().into_iter().chain([places.pulse()]);
                all.try_for_each(|socket| gone(fs::remove_file(&socket), &socket))
            }
            Action::RemoveTaps => self.release(vm).await,
            Action::RemoveOtherTaps(devices) => self.unplug_others(vm, devices).await,
            Action::ReturnDevices(ids) => self.return_devices(vm.uuid, Some(ids)).await,
            Action::MoveFiles(moves) => moves.iter().try_for_each(|(from, to)| {
                gone(fs::rename(from, to), from)?;
                gone(seal(to), to)?;
                disk::sync_entries(to.parent().unwrap_or(Path::new("/")))?;
                reach(Point::FileMoved);
                Ok(())
            }),
            Action::RemoveFiles(files) => files.iter().try_for_each(|file| {
                gone(removed(file), file)?;
                // And what there is of it, if it never became whole.
                let half = disk::unfinished(file);
                gone(removed(&half), &half)?;
                // The folder of a VM's disks goes with the last of them; one that is not empty stays.
                let _ = file.parent().map(fs::remove_dir);
                reach(Point::FileGone);
                Ok(())
            }),
            Action::RemoveDirectory => {
                // One that is not empty holds what is not this VM's.
                let _ = fs::remove_dir(self.disk_folder(vm.vmid));
                gone(fs::remove_dir_all(&places.run), &places.run)?;
                emptied(&places.state)
            }
            Action::Settle(settle) => self.state().settle(vm.vmid, settle),
            Action::RemoveRow => {
                self.state().remove(vm.vmid)?;
                // Whoever waits for the lock in it may have made it anew by now, and sees that there is no VM; what is
                // left of it, the next command removes.
                let _ = fs::remove_dir_all(&places.state);
                Ok(())
            }
        }
    }

    /// Lets a VM stand still.
    pub(super) async fn pause_running(&self, vm: &Vm) -> Result<()> {
        Vmm::connect(self.places(vm).api_socket())?.pause(SLOW).await?;
        reach(Point::Paused);
        Ok(())
    }

    /// Lets it go on.
    pub(super) async fn resume_paused(&self, vm: &Vm) -> Result<()> {
        Vmm::connect(self.places(vm).api_socket())?.resume(SLOW).await?;
        reach(Point::Resumed);
        Ok(())
    }

    /// Ends a VMM: as it wants first, with a signal if it is not gone in time. On return it is dead.
    pub(super) async fn end_vmm(&self, vm: &Vm, process: &Process) -> Result<()> {
        let Some(held) = host::Process::find(process)? else { return Ok(()) };
        // Whether it answers or not, what counts is that it goes.
        let _ = Vmm::connect(self.places(vm).api_socket())?.shutdown_vmm(ORDERLY).await;
        reach(Point::EndAsked);
        if held.ended(Some(ORDERLY)).await? {
            reach(Point::VmmEnded);
            return Ok(());
        }
        held.kill()?;
        match held.ended(Some(KILLED)).await? {
            true => Ok(()),
            false => Err(Error::conflict(format!("process {} of VM {} does not end", process.pid, vm.vmid))),
        }
    }
}

/// What a VMM said.
struct Seen {
    socket: Socket,
    files: Vec<PathBuf>,
    devices: Vec<String>,
    sizes: BTreeMap<String, u64>,
}

impl Seen {
    /// Nothing but this.
    fn of(socket: Socket) -> Self {
        Self { socket, files: Vec::new(), devices: Vec::new(), sizes: BTreeMap::new() }
    }
}

/// Asks a VMM who it is, unless that is known, how its VM is and what that has.
async fn ask(vmm: &Vmm, patience: Duration, known: Option<u32>) -> Seen {
    let answer = async {
        let (pid, info) = match known {
            Some(pid) => (pid, vmm.info(patience).await),
            None => vmm.look(patience).await.map(|(ping, info)| (ping.pid, info))?,
        };
        let mut seen = Seen::of(Socket::Closed);
        let machine = match info {
            Ok(info) => {
                seen.sizes = sizes(&info.config);
                let VmConfig { disks, net, fs, devices, .. } = info.config;
                seen.files = disks.iter().filter_map(|disk| disk.path.clone()).collect();
                let ids = disks.into_iter().map(|disk| disk.id).chain(net.into_iter().map(|net| net.id));
                let ids = ids.chain(fs.into_iter().map(|fs| fs.id)).chain(devices.into_iter().map(|device| device.id));
                seen.devices = ids.flatten().collect();
                // One that the guest was asked to let go of and still has is in the tree alone.
                seen.devices.extend(info.device_tree.unwrap_or_default().into_keys());
                match info.state {
                    vmm::State::Created | vmm::State::Shutdown => Machine::Created,
                    vmm::State::Running => Machine::Running,
                    _ => Machine::Paused,
                }
            }
            Err(vmm::Error { why: Why::Undefined, .. }) => Machine::None,
            Err(error) => return Err(error),
        };
        Ok(Seen { socket: Socket::Answers { pid, machine }, ..seen })
    };
    match answer.await {
        Ok(seen) => seen,
        Err(vmm::Error { why: Why::Nobody, .. }) => Seen::of(Socket::Closed),
        Err(_) => Seen::of(Socket::Silent),
    }
}

/// What of a machine can be resized, by the names that intents use.
fn sizes(config: &VmConfig) -> BTreeMap<String, u64> {
    let vcpus = config.cpus.as_ref().map(|cpus| u64::from(cpus.boot_vcpus));
    let memory = config.memory.as_ref().map(|memory| memory.size + memory.hotplugged_size.unwrap_or(0));
    let balloon = config.balloon.as_ref().map(|balloon| balloon.size);
    let sizes = [(VCPUS, vcpus), (MEMORY, memory), (BALLOON, balloon)];
    sizes.into_iter().filter_map(|(name, size)| Some((name.to_owned(), size?))).collect()
}

fn last_event(path: &Path) -> Result<LastEvent> {
    let events = match EventFile::all(path) {
        Ok(events) => events,
        Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
        Err(error) => {
            let what = format!("cannot read {}", path.display());
            return Err(Error::new(Class::Failed, what).with_source(error));
        }
    };
    Ok(match (events.last(), vmm::events::last(&events)) {
        (None, _) => LastEvent::None,
        (_, vmm::events::Last::Down) => LastEvent::Shutdown,
        (Some(event), _) => LastEvent::Other(format!("{} {}", event.source, event.event)),
    })
}

/// Removes a file, or a folder with all that is in it.
fn removed(path: &Path) -> std::io::Result<()> {
    match fs::symlink_metadata(path)?.is_dir() {
        true => fs::remove_dir_all(path),
        false => fs::remove_file(path),
    }
}

/// Removes what is in the directory of a VM, but not the lock that we hold in it.
fn emptied(directory: &Path) -> Result<()> {
    let failed = |error| Error::new(Class::Failed, format!("cannot read {}", directory.display())).with_source(error);
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(failed)?,
    };
    for entry in entries {
        let entry = entry.map_err(failed)?;
        if entry.file_name() != LOCK_FILE {
            gone(removed(&entry.path()), &entry.path())?;
        }
    }
    Ok(())
}

/// What is gone already need not go.
fn gone(result: std::io::Result<()>, path: &Path) -> Result<()> {
    match result {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(Error::new(Class::Failed, format!("cannot remove {}", path.display())).with_source(error))
        }
        _ => Ok(()),
    }
}
