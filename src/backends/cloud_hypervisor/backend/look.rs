//! Looking at a VM, and bringing it in line: the observation that `state` concludes from, and the hands for what it
//! concludes.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{Job, Local, template::seal};
use crate::{
    backends::cloud_hypervisor::{
        disk,
        host::{self, ProcessId},
        state::{
            Holder, Intent, Process, Vm,
            reconcile::{Action, Conclusion, LastEvent, Lock, Machine, Observation, Recorded, Sight, Socket, conclude},
        },
        vmm::{self, Vmm, Why, config::VmConfig, events::EventFile},
    },
    model::{Error, Result, Vmid},
};

/// How long a VMM may take to say how it is before it counts as one that does not answer.
const GLANCE: Duration = Duration::from_millis(250);
/// How long a VMM may take over what it does: the time that a large memory needs.
pub(super) const SLOW: Duration = Duration::from_secs(120);
/// How long a VMM may take to end in order.
const ORDERLY: Duration = Duration::from_secs(2);
/// How long a killed process may take to be gone.
const KILLED: Duration = Duration::from_secs(10);
/// How often what was concluded is looked at again; the second look has nothing left to do.
const LOOKS: usize = 4;

impl Local {
    /// How a VM is, for whoever only wants to know. Takes no lock and does nothing.
    pub(super) async fn glance(&self, vm: Vm, intent: Option<Intent>) -> Result<Conclusion> {
        let lock = match Holder::of(&self.places(&vm).state) {
            Some(holder) => Lock::Held(Some(holder)),
            None => Lock::Free,
        };
        Ok(conclude(&self.observe(vm, intent, lock).await?))
    }

    /// Finishes or rolls back what an earlier command left, and says so in the log. The VM's lock is held.
    pub(super) async fn mend(&self, vmid: Vmid, job: &Job) -> Result<(Vm, Sight)> {
        for _ in 0..LOOKS {
            let vm = self.state().vm(vmid)?;
            let intent = self.state().intent(vmid)?;
            let conclusion = conclude(&self.observe(vm.clone(), intent, Lock::Ours).await?);
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
            }
        }
        Err(Error::conflict(format!("VM {vmid} does not come to rest")))
    }

    async fn observe(&self, vm: Vm, intent: Option<Intent>, lock: Lock) -> Result<Observation> {
        let places = self.places(&vm);
        let alive = host::probe(&places.alive())? == host::Lock::Held;
        let recorded = match &vm.process {
            None => Recorded::None,
            Some(process) => match ProcessId::of(process.pid)? {
                None => Recorded::Gone,
                Some(there) if there == identity(process) => Recorded::Lives,
                Some(_) => Recorded::Reused,
            },
        };
        let marked = match recorded {
            Recorded::Lives => None,
            _ if alive => host::holders(&places.alive())?.into_iter().next().map(|id| process(&id)),
            _ => None,
        };
        let seen = match alive || recorded == Recorded::Lives {
            true => ask(&Vmm::connect(places.api_socket())?).await,
            // Nobody of ours is there to ask; what else may listen there is looked at when it is in the way.
            false => Seen::of(Socket::Closed),
        };
        let Seen { socket, files, devices } = seen;
        let grows = intent.as_ref().and_then(|intent| intent.work.grows.as_ref());
        let grown = grows.is_some_and(|grows| self.has_grown(grows));
        let last_event = last_event(&places.events(u64::from(vm.generation)))?;
        let boot_id = host::boot_id()?;
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
            grown,
            last_event,
        })
    }

    pub(super) async fn carry_out(&self, vm: &Vm, action: &Action) -> Result<()> {
        let places = self.places(vm);
        match action {
            Action::EndVmm(process) => self.end_vmm(vm, process).await,
            Action::Resume(_) => Vmm::connect(places.api_socket())?.resume(SLOW).await.map_err(Error::from),
            Action::RemoveSockets => {
                places.sockets().iter().try_for_each(|socket| gone(fs::remove_file(socket), socket))
            }
            // Taps are made with the network of this host, which is not there yet.
            Action::RemoveTaps => Ok(()),
            Action::MoveFiles(moves) => moves.iter().try_for_each(|(from, to)| {
                gone(fs::rename(from, to), from)?;
                gone(seal(to), to)?;
                disk::sync_entries(to.parent().unwrap_or(Path::new("/")))
            }),
            Action::RemoveFiles(files) => files.iter().try_for_each(|file| {
                gone(removed(file), file)?;
                // The folder of a VM's disks goes with the last of them; one that is not empty stays.
                let _ = file.parent().map(fs::remove_dir);
                Ok(())
            }),
            Action::RemoveDirectory => {
                gone(fs::remove_dir_all(&places.run), &places.run)?;
                gone(fs::remove_dir_all(&places.state), &places.state)
            }
            Action::Settle(settle) => self.state().settle(vm.vmid, settle),
            Action::RemoveRow => self.state().remove(vm.vmid),
        }
    }

    /// Ends a VMM: as it wants first, with a signal if it is not gone in time. On return it is dead.
    pub(super) async fn end_vmm(&self, vm: &Vm, process: &Process) -> Result<()> {
        let Some(held) = host::Process::find(&identity(process))? else { return Ok(()) };
        // Whether it answers or not, what counts is that it goes.
        let _ = Vmm::connect(self.places(vm).api_socket())?.shutdown_vmm(ORDERLY).await;
        if held.ended(Some(ORDERLY)).await? {
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
}

impl Seen {
    /// Nothing but this.
    fn of(socket: Socket) -> Self {
        Self { socket, files: Vec::new(), devices: Vec::new() }
    }
}

/// Asks a VMM who it is, how its VM is and what that has.
async fn ask(vmm: &Vmm) -> Seen {
    let answer = async {
        let ping = vmm.ping(GLANCE).await?;
        let (pid, mut seen) = (ping.pid, Seen::of(Socket::Closed));
        let machine = match vmm.info(GLANCE).await {
            Ok(info) => {
                let VmConfig { disks, net, fs, devices, .. } = info.config;
                seen.files = disks.iter().filter_map(|disk| disk.path.clone()).collect();
                let ids = disks.into_iter().map(|disk| disk.id).chain(net.into_iter().map(|net| net.id));
                let ids = ids.chain(fs.into_iter().map(|fs| fs.id)).chain(devices.into_iter().map(|device| device.id));
                seen.devices = ids.flatten().collect();
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

fn last_event(path: &Path) -> Result<LastEvent> {
    let events = match EventFile::all(path) {
        Ok(events) => events,
        Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
        Err(error) => {
            let what = format!("cannot read {}", path.display());
            return Err(Error::new(crate::model::Class::Failed, what).with_source(error));
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

/// What is gone already need not go.
fn gone(result: std::io::Result<()>, path: &Path) -> Result<()> {
    match result {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(Error::new(crate::model::Class::Failed, format!("cannot remove {}", path.display())).with_source(error))
        }
        _ => Ok(()),
    }
}

/// The same process, as the room of processes knows it.
pub(super) fn identity(process: &Process) -> ProcessId {
    ProcessId { pid: process.pid, starttime: process.starttime, boot_id: process.boot_id.clone() }
}

/// The same process, as it stands in a row.
pub(super) fn process(id: &ProcessId) -> Process {
    Process { pid: id.pid, starttime: id.starttime, boot_id: id.boot_id.clone() }
}
