//! The door of this backend: what is asked of it, handed to the room that does it or knows it.

use std::{
    collections::HashMap,
    sync::{Arc, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use serde_json::{Map, Value};

use super::{Job, Local, configure::Asked, create::asked_disks};
use crate::{
    backends::{
        Action, Backend, Capabilities, Console, GuestWatch, LogReader, LogRequest, Step, TaskQuery,
        cloud_hypervisor::{
            host, mapping,
            state::{Phase, Vm, reconcile::Conclusion},
        },
    },
    client::Reply,
    model::{
        Call, ConfigView, Error, ExitStatus, Guest, GuestConfig, GuestKind, GuestRef, Hint, LogPage, Node, NodeName,
        Pending, QueuedStep, Result, Snapshot, Storage, Submitted, TaskEntry, TaskStatus, Upid, Vmid, Volume,
    },
    tasks::TaskSource,
};

#[async_trait]
impl Backend for Local {
    fn capabilities(&self) -> &Capabilities {
        &mapping::CAPABILITIES
    }

    fn user(&self) -> String {
        self.worker().to_owned()
    }

    fn acting_for(&self, user: &str) -> Option<Arc<dyn Backend>> {
        Some(Arc::new(Self(Arc::clone(&self.0), user.into())))
    }

    fn call(&self, step: &Step) -> Result<Call> {
        self.refuse(step)?;
        Ok(step.call())
    }

    async fn submit(&self, step: &Step) -> Result<Submitted> {
        self.refuse(step)?;
        let Some(kind) = Self::task_type(step.action) else {
            self.describe_snapshot(&self.find(&step.guest).await?, &step.params).await?;
            return Ok(Submitted::Done(Value::Null));
        };
        if step.action != Action::Create {
            // As on a server: what is not there, or was changed in between, is no task's business.
            let vm = self.find(&step.guest).await?;
            if matches!(step.action, Action::Configure | Action::ConfigureInTask) {
                let asked = Asked::of(self, step)?;
                asked.check(&vm)?;
                // A disk that is to be made is not there yet.
                if vm.process.is_some() && asked_disks(&asked.change.set, None)?.is_empty() {
                    self.plan_running(&vm, &asked).await?;
                }
            }
        }
        let task = self.state().begin_task(kind, &step.guest.vmid.to_string(), self.worker())?;
        let (me, step) = (self.clone(), step.clone());
        Ok(Submitted::Task(self.carry(task, |job| async move {
            me.work(&step, &job).await?;
            me.keep_unit(&step, &job)
        })))
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

    async fn retry_queued(&self, id: i64) -> Result<()> {
        self.retry(id)
    }

    async fn tidy(&self, guest: &GuestRef) -> Result<Submitted> {
        self.begin_tidy(guest)
    }

    fn watch(&self) -> Result<Option<Arc<dyn GuestWatch>>> {
        Ok(Some(Arc::new(self.keep_in_sight()?)))
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
            let (vm, seen) = self.glance(vm, intent).await?;
            // What a killed command half made is no VM: the next command that changes something takes it away.
            let left = vm.phase == Phase::Creating && !seen.actions.is_empty();
            let usage = self.usage(&vm, seen.sight, now)?;
            Ok::<_, Error>((!left).then(|| vm.guest(self.state(), seen.sight, &usage)))
        });
        Ok(futures_util::future::try_join_all(looks).await?.into_iter().flatten().collect())
    }

    async fn guest_status(&self, guest: &GuestRef) -> Result<Map<String, Value>> {
        let (vm, seen) = self.look(guest).await?;
        self.measured(&vm, seen.sight).await
    }

    async fn guest_config(&self, guest: &GuestRef, view: ConfigView) -> Result<GuestConfig> {
        Ok(self.find(guest).await?.settings.guest_config(view))
    }

    async fn guest_pending(&self, guest: &GuestRef) -> Result<Vec<Pending>> {
        Ok(self.find(guest).await?.settings.pending_rows())
    }

    async fn snapshots(&self, guest: &GuestRef) -> Result<Vec<Snapshot>> {
        let mut snapshots = self.find(guest).await?.settings.snapshot_rows();
        snapshots.retain(|snapshot| !snapshot.is_current());
        Ok(snapshots)
    }

    async fn guest_here(&self, guest: &GuestRef) -> Result<Map<String, Value>> {
        self.describe(&self.find(guest).await?)
    }

    async fn console(&self, guest: &GuestRef) -> Result<Console> {
        self.open_console(guest).await
    }

    async fn guest_log(&self, guest: &GuestRef, request: &LogRequest) -> Result<LogReader> {
        self.open_log(guest, request).await
    }

    async fn snapshot_config(&self, guest: &GuestRef, snapshot: &str) -> Result<GuestConfig> {
        self.find(guest).await?.settings.snapshot_config(snapshot)
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
                Some("1") => job.warn("onboot: systemd does not run this host: only `pvectl serve` starts its VMs"),
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

    /// The tasks that this process works on.
    pub(super) fn tasks(&self) -> MutexGuard<'_, HashMap<String, Option<ExitStatus>>> {
        self.0.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The VM of a guest, with the settings that it came up with.
    async fn find(&self, guest: &GuestRef) -> Result<Vm> {
        let vm = self.row(guest)?;
        match self.state().intent(vm.vmid)? {
            None => Ok(vm),
            intent => Ok(self.glance(vm, intent).await?.0),
        }
    }

    /// The same, with how it is.
    pub(super) async fn look(&self, guest: &GuestRef) -> Result<(Vm, Conclusion)> {
        let vm = self.row(guest)?;
        let intent = self.state().intent(vm.vmid)?;
        self.glance(vm, intent).await
    }

    /// The row of a guest's VM.
    pub(super) fn row(&self, guest: &GuestRef) -> Result<Vm> {
        match guest.kind {
            GuestKind::Qemu => self.state().vm(guest.vmid),
            GuestKind::Lxc => Err(Error::not_found(format!("there are no containers on this host: {}", guest.vmid))),
        }
    }
}

#[async_trait]
impl TaskSource for Local {
    async fn task_status(&self, upid: &Upid) -> Result<TaskStatus> {
        let status = self.state().task_status(upid).await?;
        Ok(match self.tasks().get(&upid.to_string()) {
            Some(Some(end)) => TaskStatus { status: "stopped".to_owned(), exitstatus: Some(end.clone()), ..status },
            _ => status,
        })
    }

    async fn task_log(&self, upid: &Upid, start: u64, limit: u64) -> Result<LogPage> {
        self.state().task_log(upid, start, limit).await
    }

    async fn tasks_since(&self, node: &NodeName, since: u32, limit: u64) -> Result<Vec<TaskEntry>> {
        self.state().tasks_since(node, since, limit).await
    }

    async fn noticed_end(&self, upid: &Upid) {
        loop {
            let mut ended = std::pin::pin!(self.0.ended.notified());
            // From here on no end is missed.
            ended.as_mut().enable();
            if !matches!(self.tasks().get(&upid.to_string()), Some(None)) {
                return;
            }
            ended.await;
        }
    }

    async fn stop_task(&self, upid: &Upid) -> Result<()> {
        self.state().stop_task(upid).await
    }
}
