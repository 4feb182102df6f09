//! Tasks as work of this process, and the one that nobody asked for: putting a VM in order that was left, and doing what
//! waits in its queue.
//!
//! For a process that goes on and keeps VMs in sight. Elsewhere the next command on the VM does the same.

use std::{sync::Arc, time::Duration};

use super::{Job, Local};
use crate::{
    backends::cloud_hypervisor::state::{Task, Vm},
    model::{Class, Error, GuestRef, Hint, Result, Submitted, Upid},
};

/// As Proxmox calls what is done after a VM has ended (`qm cleanup`).
const TIDY: &str = "qmcleanup";

impl Local {
    /// Carries a task out, whose work this is, while others are attended to. Its end is written down whatever happens.
    pub(super) fn carry<F>(&self, task: Task, work: impl FnOnce(Arc<Job>) -> F) -> Upid
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let job = Arc::new(Job { log: task.log().clone(), upid: task.upid().clone() });
        let upid = job.upid.clone();
        let (me, work) = (self.clone(), work(Arc::clone(&job)));
        self.tasks().insert(upid.to_string(), None);
        let carried = tokio::spawn(async move {
            let result = work.await;
            // A task's end is one line of text, and the way out is no part of it.
            for hint in result.as_ref().err().map(Error::hints).unwrap_or_default() {
                if let Hint::Text(text) = hint {
                    let _ = job.line(&format!("hint: {text}"));
                }
            }
            let unwritten = task.end(result.as_ref().copied()).err();
            let name = job.upid.to_string();
            match unwritten {
                None => drop(me.tasks().remove(&name)),
                // Whoever asks this process is told all the same; the next one settles it.
                Some(error) => {
                    let end = Task::failure(&result.err().unwrap_or(error));
                    me.tasks().insert(name, Some(end));
                }
            }
            me.0.ended.notify_waiters();
        });
        self.add_work(carried);
        upid
    }

    /// Begins the task.
    pub(super) fn begin_tidy(&self, guest: &GuestRef) -> Result<Submitted> {
        let vm = self.row(guest)?;
        let task = self.state().begin_task(TIDY, &vm.vmid.to_string(), &self.options().user)?;
        let me = self.clone();
        Ok(Submitted::Task(self.carry(task, |job| async move { me.tidy_now(&vm, &job).await })))
    }

    async fn tidy_now(&self, vm: &Vm, job: &Job) -> Result<()> {
        let held = match self.lock(vm, "mend", Some(Duration::ZERO)).await {
            Err(error) if error.class() == Class::Conflict => return job.line(&format!("left alone: {error}")),
            held => held,
        };
        let mended = async {
            let _lock = held?;
            let (vm, sight) = self.mend(vm.vmid, job).await?;
            self.apply_queue(&vm, sight, job).await
        };
        match mended.await {
            // It was half made or half removed, and is gone now.
            Err(error) if error.class() == Class::NotFound => job.line(&format!("VM {} is gone", vm.vmid)),
            mended => mended,
        }
    }
}
