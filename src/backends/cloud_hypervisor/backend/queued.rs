//! The queue of a VM: changes that were asked for and are done by the next command that finds the VM in a state that
//! allows it.
//!
//! Each has a task that runs until it was done, or called off. It leaves the queue in the transaction that writes its
//! change down, so it is done once whatever happens; what the change means for a VM that runs goes the way of all
//! changes.

use serde_json::{Map, Value};

use super::{Job, Local, configure::Asked};
use crate::{
    backends::{
        Action, Step,
        cloud_hypervisor::{
            failpoint::{Point, reach},
            state::{Draft, QueueId, Queued, Verb, Vm, reconcile::Sight},
        },
    },
    model::{Class, Error, GuestKind, GuestRef, Params, QueuedStep, Result, Submitted, Upid, Vmid, is_secret_key},
};

/// What waits in the queue: a change of the configuration.
const UPDATE: &str = "update";

impl Local {
    /// Puts a change at the end of its VM's queue. Takes no lock.
    pub(super) fn put_into_queue(&self, step: &Step) -> Result<Submitted> {
        if !matches!(step.action, Action::Configure | Action::ConfigureInTask) {
            return Err(Error::usage("only changes of a configuration can be queued"));
        }
        Asked::of(self, step)?;
        if let Some((key, _)) = step.params.iter().find(|(key, _)| is_secret_key(key)) {
            return Err(Error::usage(format!("{key} is not kept in the queue: set it with an update")));
        }
        let vmid = step.guest.vmid;
        self.state().vm(vmid)?;
        let user = self.worker();
        let task = self.state().begin_task("qmconfig", &vmid.to_string(), user)?;
        let mut row = Map::new();
        row.insert("upid".to_owned(), task.upid().to_string().into());
        let set = step.params.iter().map(|(key, value)| (key.to_owned(), Value::from(value)));
        row.insert("params".to_owned(), Value::Object(set.collect()));
        let id = self.state().enqueue(vmid, UPDATE, &row, user)?;
        let upid = task.upid().clone();
        task.log().line(&format!("number {} of the queue: waits for the next command on VM {vmid}", id.0))?;
        task.leave();
        Ok(Submitted::Task(upid))
    }

    /// What waits.
    pub(super) fn queue_of(&self, vmid: Option<Vmid>) -> Result<Vec<QueuedStep>> {
        let row = |item: Queued| {
            let (upid, params) = read(&item)?;
            let status = match (&item.error, item.applying) {
                (Some(_), _) => "failed",
                (None, true) => "applying",
                (None, false) => "waiting",
            };
            let Queued { id, vmid, user, added, error, .. } = item;
            Ok(QueuedStep { id: id.0, vmid, params, user, added, status: status.into(), error, upid })
        };
        self.state().queue(vmid)?.into_iter().map(row).collect()
    }

    /// Calls something off.
    pub(super) fn cancel(&self, id: i64) -> Result<()> {
        let item = self.state().queue(None)?.into_iter().find(|item| item.id.0 == id);
        self.state().cancel_queued(QueueId(id))?;
        if let Some(item) = item.filter(|item| item.error.is_none()) {
            let (upid, _) = read(&item)?;
            let task = self.state().take_up_task(&upid)?;
            task.end(Err(&Error::from_exit_status("taken out of the queue")))?;
        }
        Ok(())
    }

    /// Lets something that failed wait again, with a task of its own: the one it had is over.
    pub(super) fn retry(&self, id: i64) -> Result<()> {
        let item = self.state().queue(None)?.into_iter().find(|item| item.id.0 == id);
        let item = item.ok_or_else(|| Error::not_found(format!("nothing with number {id} is in the queue")))?;
        let Some(error) = &item.error else { return Ok(()) };
        let task = self.state().begin_task("qmconfig", &item.vmid.to_string(), &item.user)?;
        let mut row = item.params.clone();
        row.insert("upid".to_owned(), task.upid().to_string().into());
        task.log().line(&format!("number {id} of the queue: tried again, it failed before ({error})"))?;
        self.state().requeue(item.id, &row)?;
        task.leave();
        Ok(())
    }

    /// Does what waits, in order, until something fails. The VM's lock is held, and the VM is in order.
    pub(super) async fn apply_queue(&self, vm: &Vm, sight: Sight, job: &Job) -> Result<()> {
        loop {
            let waiting = self.state().queue(Some(vm.vmid))?;
            let Some(first) = waiting.first() else { return Ok(()) };
            let number = first.id.0;
            if let Some(error) = &first.error {
                let behind = waiting.len() - 1;
                return job.line(&format!(
                    "queue: number {number} failed ({error}), and {behind} wait behind it: `pvectl queue cancel {number}` \
                     lets them go on"
                ));
            }
            let vm = self.state().vm(vm.vmid)?;
            if let Some(lock) = vm.lock() {
                return job.line(&format!("queue: {} wait until the VM is no longer locked ({lock})", waiting.len()));
            }
            if !matches!(sight, Sight::Stopped | Sight::Running | Sight::Paused) {
                return job.line(&format!("queue: {} wait until its VMM answers", waiting.len()));
            }
            match self.apply(&vm, sight, first).await {
                Ok(upid) => job.line(&format!("queue: number {number} is done, see {upid}"))?,
                Err(error) => {
                    let text = error.to_string();
                    job.warn(&format!("queue: number {number} failed, those behind it wait: {text}"))?;
                    return Ok(());
                }
            }
        }
    }

    /// Does the first that waits.
    async fn apply(&self, vm: &Vm, sight: Sight, first: &Queued) -> Result<Upid> {
        let (upid, params) = read(first)?;
        let task = self.state().take_up_task(&upid)?;
        reach(Point::TaskTaken);
        let mine = Job { log: task.log().clone(), upid: upid.clone() };
        let node = self.options().node.clone();
        let guest = GuestRef { node, kind: GuestKind::Qemu, vmid: vm.vmid };
        let step = Step::new(Action::Configure, guest).with_params(params);
        let possible = self.refuse(&step).and_then(|()| Asked::of(self, &step));
        let begin = |work| {
            let draft = |_: &Queued| Ok(Draft::new(Verb::Update).task(&upid).work(work));
            let begun = self.state().begin_queued(vm.vmid, draft)?;
            begun.map(|(_, intent)| intent).ok_or_else(|| Error::conflict("somebody took it out of the queue"))
        };
        let result = match possible {
            Ok(asked) => self.make_and_change(vm, sight, asked, begin, &mine).await,
            Err(error) => Err(error),
        };
        if let Err(error) = &result
            && self.state().queue(Some(vm.vmid))?.iter().any(|item| item.id == first.id && !item.applying)
        {
            self.state().mark_queued(first.id, &error.to_string())?;
        }
        task.end(result.as_ref().copied())?;
        result.map(|()| upid)
    }
}

/// The task and the parameters of something that waits.
fn read(item: &Queued) -> Result<(Upid, Params)> {
    let damaged = || Error::new(Class::Failed, format!("number {} of the queue cannot be read", item.id.0));
    let upid = item.params.get("upid").and_then(Value::as_str).and_then(|upid| upid.parse().ok());
    let params = item.params.get("params").and_then(Value::as_object).ok_or_else(damaged)?;
    let params = params.iter().filter_map(|(key, value)| Some((key.as_str(), value.as_str()?))).collect();
    Ok((upid.ok_or_else(damaged)?, params))
}
