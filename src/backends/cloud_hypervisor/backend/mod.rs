//! The backend of this host: Proxmox's steps carried out on Cloud Hypervisor processes, without a daemon.
//!
//! A step that takes time is a task of this process: it goes on while its log is read, and [`Backend::leave`] waits for
//! it. What is written down, looked at and decided is in the rooms beside this one.

mod addresses;
mod asked;
mod attached;
mod clone;
mod configure;
mod confine;
mod console;
mod create;
mod describe;
mod gc;
mod grow;
mod left;
mod live;
mod logs;
mod look;
mod metrics;
mod network;
mod networks;
mod power;
mod queued;
mod snapshot;
mod suspend;
mod template;
mod volumes;

pub use gc::{Orphan, OrphanKind};

use std::{
    fmt, fs,
    ops::Deref,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

pub use networks::{Attached, HostNetwork, NetworkKind, NetworkRequest};

use async_trait::async_trait;
use serde_json::{Map, Value};
use tokio::task::JoinHandle;

use self::{configure::Asked, create::asked_disks};
use super::{
    host::{self, Places, Units},
    mapping,
    state::{Holder, Log, OperationLock, Phase, State, Vm, reconcile::Sight},
};
use crate::{
    backends::{Action, Backend, Capabilities, Console, LogReader, LogRequest, QueuedStep, Step, TaskQuery},
    client::Reply,
    model::{
        Call, Class, Clock, ConfigView, Error, Guest, GuestConfig, GuestKind, GuestRef, Hint, LogPage, Node, NodeName,
        Pending, Result, Snapshot, Storage, Submitted, TaskEntry, TaskStatus, Upid, Vmid, Volume,
    },
    tasks::TaskSource,
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
    /// The short name of this host.
    pub node: NodeName,
    /// Who works, `root@pam`: stands in UPIDs.
    pub user: String,
    /// The systemd that starts VMs with the host; `None` where it does not run.
    pub units: Option<Units>,
    /// How long a command waits for another one on the same VM; `None` for as long as it takes.
    pub patience: Option<Duration>,
}

/// Virtual machines on this host. Cheap to clone.
#[derive(Clone)]
pub struct Local(Arc<Inner>);

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
}

impl Local {
    /// Opens the state; looks at no VM.
    ///
    /// # Errors
    /// [`Class::Failed`], naming file and way out, when the database cannot be used.
    pub fn open(options: Options, clock: Arc<dyn Clock>) -> Result<Self> {
        let state = State::open(&options.state.join("local.db"), options.node.clone(), clock)?;
        Ok(Self(Arc::new(Inner { options, state, works: Mutex::default() })))
    }

    fn options(&self) -> &Options {
        &self.0.options
    }

    fn state(&self) -> &State {
        &self.0.state
    }

    /// Work that [`Backend::leave`] waits for.
    fn add_work(&self, work: JoinHandle<()>) {
        self.0.works.lock().unwrap_or_else(PoisonError::into_inner).push(work);
    }

    /// The files of a VM.
    fn places(&self, vm: &Vm) -> Places {
        let uuid = vm.uuid.simple().to_string();
        Places {
            state: self.options().state.join("vms").join(vm.uuid.to_string()),
            // Eight signs of a random number and the VMID are short, and nobody else's.
            run: self.options().run.join(format!("{}-{}", vm.vmid, &uuid[..8])),
        }
    }

    /// Takes the lock of a VM, brings it in line with what runs before anything else is done to it, and does what waits
    /// in its queue.
    async fn hold(&self, vm: &Vm, what: &str, job: &Job) -> Result<(OperationLock, Vm, Sight)> {
        let lock = self.lock(vm, what, self.options().patience).await?;
        let (mut vm, sight) = self.mend(vm.vmid, job).await?;
        // What goes away needs nothing added to it any more.
        if what != "destroy" {
            self.apply_queue(&vm, sight, job).await?;
            vm = self.state().vm(vm.vmid)?;
        }
        Ok((lock, vm, sight))
    }

    /// Takes the lock of a VM, waiting so long for whoever holds it.
    async fn lock(&self, vm: &Vm, what: &str, patience: Option<Duration>) -> Result<OperationLock> {
        let holder = Holder::new(vm.vmid, what, &*self.options().user)?;
        let directory = self.places(vm).state;
        left::make_directory(&directory)?;
        let lock = OperationLock::take(&directory, &holder, patience).await?;
        let there = self.state().vm(vm.vmid);
        if there.as_ref().is_ok_and(|there| there.uuid == vm.uuid) {
            return Ok(lock);
        }
        // It was removed while we waited, and its directory is there because we did.
        let _ = fs::remove_dir_all(&directory);
        Err(match there {
            Ok(_) => Error::conflict(format!("VM {} was replaced by another one meanwhile", vm.vmid)),
            Err(error) => error,
        })
    }

    /// The type of the task that an action is on Proxmox; `None` for what is answered at once.
    fn task_type(action: Action) -> Option<&'static str> {
        Some(match action {
            Action::SnapshotUpdate => return None,
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
        })
    }

    /// Refuses what cannot be done here, before anything happens.
    fn refuse(&self, step: &Step) -> Result<()> {
        self.capabilities().require(step.guest.kind, step.action)?;
        self.refuse_cards(step)?;
        attached::check_host_devices(&asked::typed(&asked::set_of(step)))?;
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
        let vm = self.state().vm(step.guest.vmid)?;
        let (_lock, vm, sight) = self.hold(&vm, &format!("{:?}", step.action).to_lowercase(), job).await?;
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
            Action::Template => self.make_template(&vm, sight, job).await,
            Action::ResizeDisk => self.resize_disk(&vm, sight, &step.params, job).await,
            other => Err(Error::new(Class::Usage, format!("this host cannot do that yet ({other:?})"))),
        }
    }
}

impl fmt::Debug for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Local").field(&self.0.options).finish()
    }
}

#[async_trait]
impl Backend for Local {
    fn capabilities(&self) -> &Capabilities {
        &mapping::CAPABILITIES
    }

    fn user(&self) -> String {
        self.options().user.clone()
    }

    fn call(&self, step: &Step) -> Result<Call> {
        self.refuse(step)?;
        Ok(step.call())
    }

    async fn submit(&self, step: &Step) -> Result<Submitted> {
        self.refuse(step)?;
        if step.action == Action::SnapshotUpdate {
            self.describe_snapshot(&self.state().vm(step.guest.vmid)?, &step.params).await?;
            return Ok(Submitted::Done(Value::Null));
        }
        let Some(kind) = Self::task_type(step.action) else {
            return Err(Error::usage(format!("this host cannot do that yet ({:?})", step.action)));
        };
        if step.action != Action::Create {
            // As on a server: what is not there, or was changed in between, is no task's business.
            let vm = self.state().vm(step.guest.vmid)?;
            if matches!(step.action, Action::Configure | Action::ConfigureInTask) {
                let asked = Asked::of(self, step)?;
                asked.check(&vm)?;
                // A disk that is to be made is not there yet.
                if vm.process.is_some() && asked_disks(&asked.change.set, None)?.is_empty() {
                    self.plan_running(&vm, &asked).await?;
                }
            }
        }
        let task = self.state().begin_task(kind, &step.guest.vmid.to_string(), &self.options().user)?;
        let upid = task.upid().clone();
        let (me, step) = (self.clone(), step.clone());
        let work = tokio::spawn(async move {
            let job = Job { log: task.log().clone(), upid: task.upid().clone() };
            let result = me.work(&step, &job).await.and_then(|()| me.keep_unit(&step, &job));
            // A task's end is one line of text, and the way out is no part of it.
            for hint in result.as_ref().err().map(Error::hints).unwrap_or_default() {
                if let Hint::Text(text) = hint {
                    let _ = job.line(&format!("hint: {text}"));
                }
            }
            // What cannot be written down is noticed by whoever asks for the task's end.
            let _ = task.end(result.as_ref().copied());
        });
        self.add_work(work);
        Ok(Submitted::Task(upid))
    }

    async fn enqueue(&self, step: &Step) -> Result<Submitted> {
        self.refuse(step)?;
        self.put_into_queue(step)
    }

    async fn queue(&self, vmid: Option<Vmid>) -> Result<Vec<QueuedStep>> {
        self.queue_of(vmid)
    }

    async fn cancel_queued(&self, id: i64) -> Result<()> {
        self.cancel(id)
    }

    async fn leave(&self) {
        let works = std::mem::take(&mut *self.0.works.lock().unwrap_or_else(PoisonError::into_inner));
        for work in works {
            // A work that panicked has left its task to whoever looks next.
            let _ = work.await;
        }
    }

    async fn send(&self, call: &Call) -> Result<Reply> {
        let message = format!("this host has no API to send {} {} to", call.method, call.path);
        Err(Error::usage(message).with_hint(Hint::Text("use the verbs: pvectl vm …".to_owned())))
    }

    async fn version(&self) -> Result<Map<String, Value>> {
        let mut map = Map::new();
        map.insert("version".to_owned(), env!("CARGO_PKG_VERSION").into());
        map.insert("release".to_owned(), "9.2".into());
        map.insert("repoid".to_owned(), "local".into());
        Ok(map)
    }

    async fn guests(&self) -> Result<Vec<Guest>> {
        let rows = self.state().vms()?;
        let now = host::host_uptime()?;
        let looks = rows.into_iter().map(async |(vm, intent)| {
            let seen = self.glance(vm.clone(), intent).await?;
            // What a killed command half made is no VM: the next command that changes something takes it away.
            let left = vm.phase == Phase::Creating && !seen.actions.is_empty();
            let usage = self.usage(&vm, seen.sight, now)?;
            Ok::<_, Error>((!left).then(|| vm.guest(self.state(), seen.sight, &usage)))
        });
        Ok(futures_util::future::try_join_all(looks).await?.into_iter().flatten().collect())
    }

    async fn guest_status(&self, guest: &GuestRef) -> Result<Map<String, Value>> {
        let vm = self.find(guest)?;
        let seen = self.glance(vm.clone(), self.state().intent(vm.vmid)?).await?;
        self.measured(&vm, seen.sight).await
    }

    async fn guest_config(&self, guest: &GuestRef, view: ConfigView) -> Result<GuestConfig> {
        Ok(self.find(guest)?.settings.guest_config(view))
    }

    async fn guest_pending(&self, guest: &GuestRef) -> Result<Vec<Pending>> {
        Ok(self.find(guest)?.settings.pending_rows())
    }

    async fn snapshots(&self, guest: &GuestRef) -> Result<Vec<Snapshot>> {
        let mut snapshots = self.find(guest)?.settings.snapshot_rows();
        snapshots.retain(|snapshot| !snapshot.is_current());
        Ok(snapshots)
    }

    async fn guest_here(&self, guest: &GuestRef) -> Result<Map<String, Value>> {
        self.describe(&self.find(guest)?)
    }

    async fn console(&self, guest: &GuestRef) -> Result<Console> {
        self.open_console(guest).await
    }

    async fn guest_log(&self, guest: &GuestRef, request: &LogRequest) -> Result<LogReader> {
        self.open_log(guest, request).await
    }

    async fn snapshot_config(&self, guest: &GuestRef, snapshot: &str) -> Result<GuestConfig> {
        self.find(guest)?.settings.snapshot_config(snapshot)
    }

    async fn nodes(&self) -> Result<Vec<Node>> {
        Ok(vec![self.node()?])
    }

    async fn storages(&self, _: &NodeName) -> Result<Vec<Storage>> {
        Ok(vec![self.storage()?])
    }

    async fn volumes(&self, _: &NodeName, storage: &str, content: Option<&str>) -> Result<Vec<Volume>> {
        self.list_volumes(storage, content)
    }

    async fn next_vmid(&self) -> Result<Vmid> {
        self.state().next_vmid()
    }

    async fn tasks(&self, query: &TaskQuery) -> Result<Vec<TaskEntry>> {
        self.state().tasks(query)
    }
}

impl Local {
    /// After a change: has the host start its VMs if there is one that wants it, and only then.
    fn keep_unit(&self, step: &Step, job: &Job) -> Result<()> {
        use Action::{Pause, Reboot, Reset, Resume, Shutdown, Start, Stop, Suspend};
        if matches!(step.action, Start | Stop | Shutdown | Reboot | Reset | Pause | Suspend | Resume) {
            return Ok(());
        }
        let Some(units) = &self.options().units else {
            return match step.params.get("onboot") {
                Some("1") => job.warn("onboot: systemd does not run this host, and nothing else starts its VMs"),
                _ => Ok(()),
            };
        };
        let wanted = self.state().vms()?.iter().any(|(vm, _)| vm.settings.is_on("onboot"));
        match if wanted { units.enable() } else { units.disable() } {
            // What was asked for is done, but for this.
            Err(error) => job.warn(&format!("onboot: {error}")),
            Ok(_) => Ok(()),
        }
    }

    fn find(&self, guest: &GuestRef) -> Result<Vm> {
        match guest.kind {
            GuestKind::Qemu => self.state().vm(guest.vmid),
            GuestKind::Lxc => Err(Error::not_found(format!("there are no containers on this host: {}", guest.vmid))),
        }
    }
}

#[async_trait]
impl TaskSource for Local {
    async fn task_status(&self, upid: &Upid) -> Result<TaskStatus> {
        self.state().task_status(upid).await
    }

    async fn task_log(&self, upid: &Upid, start: u64, limit: u64) -> Result<LogPage> {
        self.state().task_log(upid, start, limit).await
    }

    async fn tasks_since(&self, node: &NodeName, since: u32, limit: u64) -> Result<Vec<TaskEntry>> {
        self.state().tasks_since(node, since, limit).await
    }

    async fn stop_task(&self, upid: &Upid) -> Result<()> {
        self.state().stop_task(upid).await
    }
}
