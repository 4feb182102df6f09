//! The backend of this host: Proxmox's steps carried out on Cloud Hypervisor processes, without a daemon.
//!
//! A step that takes time is a task of this process: it goes on while its log is read, and [`Backend::leave`] waits for
//! it. What is written down, looked at and decided is in the rooms beside this one.

mod addresses;
mod aside;
mod asked;
mod clone;
mod configure;
mod confine;
mod console;
mod create;
mod describe;
mod door;
mod gc;
mod group;
mod grow;
mod left;
mod lending;
mod live;
mod logs;
mod look;
mod metrics;
mod network;
mod networks;
mod power;
mod queued;
mod shares;
mod snapshot;
mod snippets;
mod suspend;
mod template;
mod tidy;
mod volumes;
mod watching;

pub use gc::{Orphan, OrphanKind};

use std::{
    collections::HashMap,
    fmt, fs,
    ops::Deref,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

pub use networks::{Attached, HostNetwork, NetworkKind, NetworkRequest};

use tokio::{sync::Notify, task::JoinHandle};

use super::{
    host::{Groups, Pci, Places, Units},
    state::{Holder, Log, OperationLock, State, Vm, reconcile::Sight},
};
use crate::{
    backends::{Action, Backend, Step},
    model::{Class, Clock, Digest, Error, ExitStatus, NodeName, Result, Upid},
};

/// Where things are on this host, and who works on it.
#[derive(Debug, Clone)]
pub struct Options {
    /// What outlasts a boot: the database, a directory for each VM, disks and images.
    pub state: PathBuf,
    /// Sockets; a short path, since theirs have at most 107 bytes.
    pub run: PathBuf,
    /// The executable of Cloud Hypervisor; nothing starts without.
    pub binary: Option<PathBuf>,
    /// The firmware for VMs that boot from a disk, if there is one.
    pub firmware: Option<PathBuf>,
    /// `nft`, for networks with address translation.
    pub nft: Option<PathBuf>,
    /// `virtiofsd`, for directories that are shared with guests.
    pub virtiofsd: Option<PathBuf>,
    /// The short name of this host.
    pub node: NodeName,
    /// Who works, `root@pam`: stands in UPIDs.
    pub user: String,
    /// The systemd that starts VMs with the host; `None` where it does not run.
    pub units: Option<Units>,
    /// The PCI devices of this host.
    pub pci: Pci,
    /// Who makes control groups for VMMs.
    pub groups: Groups,
    /// How long a command waits for another one on the same VM; `None` for as long as it takes.
    pub patience: Option<Duration>,
}

/// Virtual machines on this host. Cheap to clone.
#[derive(Clone)]
pub struct Local(Arc<Inner>, Arc<str>);

/// A task under way: its log, and its name.
#[derive(Debug)]
struct Job {
    log: Log,
    upid: Upid,
}

impl Deref for Job {
    type Target = Log;

    fn deref(&self) -> &Log {
        &self.log
    }
}

struct Inner {
    options: Options,
    state: State,
    works: Mutex<Vec<JoinHandle<()>>>,
    /// The tasks that this process works on, those with an end whose end could not be written down, and who waits for them.
    tasks: Mutex<HashMap<String, Option<ExitStatus>>>,
    ended: Notify,
}

impl Local {
    /// Opens the state; looks at no VM.
    ///
    /// # Errors
    /// [`Class::Failed`], naming file and way out, when the database cannot be used.
    pub fn open(options: Options, clock: Arc<dyn Clock>) -> Result<Self> {
        let state = State::open(&options.state.join("local.db"), options.node.clone(), clock)?;
        let user = options.user.as_str().into();
        let inner = Inner { options, state, works: Mutex::default(), tasks: Mutex::default(), ended: Notify::new() };
        Ok(Self(Arc::new(inner), user))
    }

    /// One in an empty folder, with nothing that it could start, for tests.
    #[cfg(test)]
    fn bare(home: &std::path::Path) -> Self {
        Self::bare_with(home, Pci::default())
    }

    /// The same with these devices.
    #[cfg(test)]
    fn bare_with(home: &std::path::Path, pci: Pci) -> Self {
        let options = Options {
            state: home.join("state"),
            run: home.join("run"),
            binary: None,
            firmware: None,
            nft: None,
            virtiofsd: None,
            node: NodeName::new("here").unwrap(),
            user: "root@pam".to_owned(),
            units: None,
            pci,
            groups: Groups::None("a test".to_owned()),
            patience: None,
        };
        Self::open(options, Arc::new(crate::model::SystemClock)).unwrap()
    }

    /// Who is at work.
    fn worker(&self) -> &str {
        &self.1
    }

    fn options(&self) -> &Options {
        &self.0.options
    }

    fn state(&self) -> &State {
        &self.0.state
    }

    /// Work that [`Backend::leave`] waits for.
    fn add_work(&self, work: JoinHandle<()>) {
        let mut works = self.0.works.lock().unwrap_or_else(PoisonError::into_inner);
        // A server begins many in its life, and keeps none that are over.
        works.retain(|work| !work.is_finished());
        works.push(work);
    }

    /// Where the directories of VMs are.
    fn vms(&self) -> PathBuf {
        self.options().state.join("vms")
    }

    /// The files of a VM.
    fn places(&self, vm: &Vm) -> Places {
        let uuid = vm.uuid.simple().to_string();
        Places {
            state: self.vms().join(vm.uuid.to_string()),
            // Eight signs of a random number and the VMID are short, and nobody else's.
            run: self.options().run.join(format!("{}-{}", vm.vmid, &uuid[..8])),
        }
    }

    /// Takes the lock of a VM, brings it in line with what runs before anything else is done to it, and does what waits
    /// in its queue.
    async fn hold(&self, vm: &Vm, step: &Step, job: &Job) -> Result<(OperationLock, Vm, Sight)> {
        let what = &format!("{:?}", step.action).to_lowercase();
        let lock = self.lock(vm, what, self.options().patience).await?;
        let before = self.state().vm(vm.vmid)?;
        let patience = if step.action == Action::Stop { look::GLANCE } else { look::ASK };
        let (mut vm, sight) = self.mend_within(vm.vmid, patience, job).await?;
        check_read(digest_of(step).as_ref(), &before, &vm)?;
        // What goes away needs nothing added to it any more.
        if what != "destroy" {
            self.apply_queue(&vm, sight, job).await?;
            vm = self.state().vm(vm.vmid)?;
        }
        Ok((lock, vm, sight))
    }

    /// Takes the lock of a VM, waiting so long for whoever holds it.
    async fn lock(&self, vm: &Vm, what: &str, patience: Option<Duration>) -> Result<OperationLock> {
        let lock = self.lock_whatever(vm, what, patience).await?;
        let there = self.state().vm(vm.vmid);
        if there.as_ref().is_ok_and(|there| there.uuid == vm.uuid) {
            return Ok(lock);
        }
        // It was removed while we waited, and its directory is there because we did.
        let _ = fs::remove_dir_all(self.places(vm).state);
        Err(match there {
            Ok(_) => Error::conflict(format!("VM {} was replaced by another one meanwhile", vm.vmid)),
            Err(error) => error,
        })
    }

    /// The same, whatever became of the VM meanwhile. Its directory is made if it is missing.
    async fn lock_whatever(&self, vm: &Vm, what: &str, patience: Option<Duration>) -> Result<OperationLock> {
        let holder = Holder::new(vm.vmid, what, self.worker())?;
        left::make_directory(&self.vms())?;
        OperationLock::take(&self.places(vm).state, &holder, patience).await
    }

    /// The type of the task that an action is on Proxmox; `None` for the one that is answered at once.
    fn task_type(action: Action) -> Option<&'static str> {
        Some(match action {
            Action::SnapshotUpdate
            | Action::Migrate
            | Action::MoveDisk
            | Action::MoveVolume
            | Action::AgentExec
            | Action::AgentWrite
            | Action::AgentFreeze
            | Action::AgentThaw
            | Action::AgentTrim
            | Action::AgentPassword
            | Action::SendKey
            | Action::CloudInit => return None,
            Action::Create => "qmcreate",
            Action::Clone => "qmclone",
            Action::Configure | Action::ConfigureInTask => "qmconfig",
            Action::Destroy => "qmdestroy",
            Action::Start => "qmstart",
            Action::Stop => "qmstop",
            Action::Shutdown => "qmshutdown",
            Action::Reboot => "qmreboot",
            Action::Reset => "qmreset",
            Action::Pause => "qmpause",
            Action::Suspend => "qmsuspend",
            Action::Resume => "qmresume",
            Action::Template => "qmtemplate",
            Action::ResizeDisk => "resize",
            Action::Snapshot => "qmsnapshot",
            Action::Rollback => "qmrollback",
            Action::SnapshotDelete => "qmdelsnapshot",
            Action::Backup => "vzdump",
            Action::Restore => "qmrestore",
        })
    }

    /// Refuses what cannot be done here, before anything happens.
    fn refuse(&self, step: &Step) -> Result<()> {
        self.capabilities().require(step.guest.kind, step.action)?;
        self.refuse_cards(step)?;
        self.refuse_devices(step)?;
        self.refuse_impossible(step)
    }

    /// What a task does.
    async fn work(&self, step: &Step, job: &Job) -> Result<()> {
        self.take_up(Some(step.guest.vmid).filter(|_| step.action != Action::Create), job).await?;
        match step.action {
            Action::Create => return self.create(step, job).await,
            Action::Configure | Action::ConfigureInTask if !self.destroys(step) => {
                return self.configure(step, job).await;
            }
            _ => {}
        }
        let found = self.state().vm(step.guest.vmid)?;
        let (_lock, vm, sight) = self.hold(&found, step, job).await?;
        let before = &found.settings;
        match step.action {
            Action::Start => self.start(&vm, sight, job).await,
            Action::Stop => self.stop(&vm, sight, job).await,
            Action::Shutdown => self.shutdown(&vm, sight, &step.params, job).await,
            Action::Reboot => self.reboot(&vm, sight, &step.params, job).await,
            Action::Reset => self.reset(&vm, sight).await,
            Action::Pause => self.pause(&vm, sight).await,
            Action::Resume => self.resume(&vm, sight, job).await,
            Action::Suspend => self.suspend(&vm, sight, job).await,
            Action::Snapshot => self.take_snapshot(&vm, sight, &step.params, job).await,
            Action::Rollback => self.roll_back(&vm, sight, &step.params, job).await,
            Action::SnapshotDelete => self.drop_snapshot(&vm, &step.params, job).await,
            Action::Destroy => self.destroy(&vm, sight, &step.params, job).await,
            Action::Configure | Action::ConfigureInTask => self.destroy_unused(&vm, step, job).await,
            Action::Clone => self.clone_vm(&vm, sight, &step.params, job).await,
            // An earlier command had got so far that it was finished just now.
            Action::Template if vm.settings.is_on("template") && !before.is_on("template") => Ok(()),
            Action::Template => self.make_template(&vm, sight, job).await,
            Action::ResizeDisk => self.resize_disk(&vm, before, sight, &step.params, job).await,
            Action::Create
            | Action::SnapshotUpdate
            | Action::Migrate
            | Action::MoveDisk
            | Action::MoveVolume
            | Action::Backup
            | Action::Restore
            | Action::AgentExec
            | Action::AgentWrite
            | Action::AgentFreeze
            | Action::AgentThaw
            | Action::AgentTrim
            | Action::AgentPassword
            | Action::SendKey
            | Action::CloudInit => Err(Error::new(Class::Bug, format!("{:?} needs no VM that is held", step.action))),
        }
    }
}

/// What was read of the settings before a step was asked for.
fn digest_of(step: &Step) -> Option<Digest> {
    step.params.get("digest").map(|text| Digest(text.to_owned()))
}

/// Refuses where the settings were changed since they were read. Who read them before what was left was mended has read
/// the same; what waits in the queue comes after.
fn check_read(digest: Option<&Digest>, before: &Vm, mended: &Vm) -> Result<()> {
    before.settings.check_digest(digest).or_else(|_| mended.settings.check_digest(digest))
}

impl fmt::Debug for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Local").field(&self.0.options).finish()
    }
}
