//! The backend of this host: Proxmox's steps carried out on Cloud Hypervisor processes, without a daemon.
//!
//! A step that takes time is a task of this process: it goes on while its log is read, and [`Backend::leave`] waits for
//! it. What is written down, looked at and decided is in the rooms beside this one.

mod asked;
mod clone;
mod configure;
mod create;
mod grow;
mod look;
mod power;
mod snapshot;
mod suspend;
mod template;
mod volumes;

use std::{
    fmt,
    fs::DirBuilder,
    ops::Deref,
    os::unix::fs::DirBuilderExt as _,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use serde_json::{Map, Value};
use tokio::task::JoinHandle;

use super::{
    host::Places,
    mapping,
    state::{Holder, Log, OperationLock, State, Vm, reconcile::Sight},
};
use crate::{
    backends::{Action, Backend, Capabilities, Step, TaskQuery},
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
    /// The short name of this host.
    pub node: NodeName,
    /// Who works, `root@pam`: stands in UPIDs.
    pub user: String,
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

    /// The files of a VM.
    fn places(&self, vm: &Vm) -> Places {
        let uuid = vm.uuid.simple().to_string();
        Places {
            state: self.options().state.join("vms").join(vm.uuid.to_string()),
            // Eight signs of a random number and the VMID are short, and nobody else's.
            run: self.options().run.join(format!("{}-{}", vm.vmid, &uuid[..8])),
        }
    }

    /// Takes the lock of a VM, and brings it in line with what runs before anything else is done to it.
    async fn hold(&self, vm: &Vm, what: &str, job: &Job) -> Result<(OperationLock, Vm, Sight)> {
        let holder = Holder::new(vm.vmid, what, &*self.options().user)?;
        let directory = self.directory(vm)?;
        let lock = OperationLock::take(&directory, &holder, self.options().patience).await?;
        let (vm, sight) = self.mend(vm.vmid, job).await?;
        Ok((lock, vm, sight))
    }

    /// The directory of a VM, made if it is not there.
    fn directory(&self, vm: &Vm) -> Result<PathBuf> {
        let directory = self.places(vm).state;
        DirBuilder::new().recursive(true).mode(0o700).create(&directory).map_err(|error| {
            Error::new(Class::Failed, format!("cannot make {}", directory.display())).with_source(error)
        })?;
        Ok(directory)
    }

    /// The type of the task that an action is on Proxmox; `None` for what is answered at once.
    fn task_type(action: Action) -> Option<&'static str> {
        Some(match action {
            Action::Configure | Action::SnapshotUpdate => return None,
            Action::Create => "qmcreate",
            Action::Clone => "qmclone",
            Action::ConfigureInTask => "qmconfig",
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
        let card = |key: &str| key.strip_prefix("net").is_some_and(|n| n.parse::<u8>().is_ok());
        match step.params.iter().find(|(key, _)| card(key)) {
            Some((key, _)) => Err(Error::usage(format!("{key}: VMs of this host have no network cards yet"))),
            None => self.refuse_impossible(step),
        }
    }

    /// What a task does.
    async fn work(&self, step: &Step, job: &Job) -> Result<()> {
        match step.action {
            Action::Create => return self.create(step, job).await,
            Action::Configure | Action::ConfigureInTask if !self.destroys(step) => {
                return self.configure(step).map(drop);
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
        let destroys = || self.destroys(step).then_some("qmconfig");
        let Some(kind) = Self::task_type(step.action).or_else(destroys) else {
            self.configure(step)?;
            return Ok(Submitted::Done(Value::Null));
        };
        if step.action != Action::Create {
            // As on a server: what is not there is no task's business.
            self.state().vm(step.guest.vmid)?;
        }
        let task = self.state().begin_task(kind, &step.guest.vmid.to_string(), &self.options().user)?;
        let upid = task.upid().clone();
        let (me, step) = (self.clone(), step.clone());
        let work = tokio::spawn(async move {
            let job = Job { log: task.log().clone(), upid: task.upid().clone() };
            let result = me.work(&step, &job).await;
            // What cannot be written down is noticed by whoever asks for the task's end.
            let _ = task.end(result.as_ref().copied());
        });
        self.0.works.lock().unwrap_or_else(PoisonError::into_inner).push(work);
        Ok(Submitted::Task(upid))
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
        let looks = rows.into_iter().map(async |(vm, intent)| {
            let sight = self.glance(vm.clone(), intent).await?.sight;
            Ok(vm.guest(self.state(), sight, &Default::default()))
        });
        futures_util::future::try_join_all(looks).await
    }

    async fn guest_status(&self, guest: &GuestRef) -> Result<Map<String, Value>> {
        let vm = self.find(guest)?;
        let seen = self.glance(vm.clone(), self.state().intent(vm.vmid)?).await?;
        Ok(vm.status(seen.sight, &Default::default()))
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
