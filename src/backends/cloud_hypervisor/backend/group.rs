//! The control groups of VMMs: entered at a start, changed while the VM runs, left with its end.

use tokio::task::JoinHandle;

use super::{
    Job, Local,
    aside::{aside, joined},
};
use crate::{
    backends::cloud_hypervisor::{
        host::{GroupName, Limits, ProcessId},
        state::Vm,
    },
    model::{Result, config::QemuConfig},
};

/// A VMM on its way into its group, which may take as long as the start of its VM.
pub(super) struct Entering {
    limited: bool,
    work: JoinHandle<Result<bool>>,
}

impl Entering {
    /// Waits until it is there. Without limits a VM is as good without a group.
    ///
    /// # Errors
    /// Where it is limited and cannot be.
    pub(super) async fn done(self, job: &Job) -> Result<()> {
        match joined(LOST, self.work).await {
            Err(error) if self.limited => Err(error.context("cpulimit, cpuunits")),
            Err(error) => job.line(&format!("no control group of its own: {error}")),
            Ok(_) => Ok(()),
        }
    }
}

/// What is said where that panicked.
const LOST: &str = "a control group was not dealt with";

/// The group of a VM. Its directory of sockets is called after the same.
fn name(local: &Local, vm: &Vm) -> GroupName {
    let run = local.places(vm).run;
    GroupName { vm: run.file_name().unwrap_or_default().to_string_lossy().into_owned(), generation: vm.generation }
}

impl Local {
    /// Has a VMM that was just started go into a group of its own.
    pub(super) fn enter_group(&self, vm: &Vm, config: &QemuConfig, vmm: &ProcessId) -> Result<Entering> {
        // Nought is no limit.
        let processors = config.cpulimit()?.filter(|limit| *limit > 0.0);
        let limits = Limits { processors, weight: config.cpuunits()? };
        let (groups, name, pid) = (self.options().groups.clone(), name(self, vm), vmm.pid);
        let work = tokio::task::spawn_blocking(move || groups.enter(&name, &limits, pid));
        Ok(Entering { limited: limits.are_some(), work })
    }

    /// Changes what the group of a VM that runs may have.
    ///
    /// # Errors
    /// [`Class::Conflict`](crate::model::Class::Conflict) where it has none.
    pub(super) async fn limit_group(&self, vm: &Vm, limits: Limits) -> Result<()> {
        let (groups, name) = (self.options().groups.clone(), name(self, vm));
        aside(LOST, move || groups.limit(&name, &limits)).await
    }

    /// Takes away all that a VMM which is gone had of the host, its shares and devices too. What the host does not take
    /// back is said.
    pub(super) async fn release_all(&self, vm: &Vm, job: &Job) -> Result<()> {
        self.end_shares(vm, &self.places(vm).shares()).await?;
        self.release(vm).await?;
        self.return_devices(vm.uuid, None).await?;
        self.tell_kept(vm, job)
    }

    /// Takes away what the host made for a VMM that is gone: taps, and its group.
    pub(super) async fn release(&self, vm: &Vm) -> Result<()> {
        self.options().groups.leave(&name(self, vm).vm);
        self.unplug_all(vm).await
    }
}
