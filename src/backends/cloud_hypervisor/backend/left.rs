//! VMs in the making, and what killed commands left of VMs that nobody asks for any more.
//!
//! What was left of the VM that a command is about is taken up by [`Local::hold`]; this is about the others.

use std::{
    collections::BTreeSet,
    fs::{self, DirBuilder},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{Job, Local};
use crate::{
    backends::cloud_hypervisor::state::{Draft, Holder, Intent, NewVm, OperationLock, Vm},
    model::{Class, Error, Result, Vmid},
};

impl Local {
    /// Makes a VM's row, held from before anybody can see it: to others an unfinished VM that nobody holds was left.
    pub(super) fn create_held(&self, new: NewVm, draft: Draft, what: &str) -> Result<(Vm, Intent, OperationLock)> {
        self.state().create_held(new, draft, |vm| {
            let directory = self.places(vm).state;
            make_directory(&directory)?;
            OperationLock::try_take(&directory, &Holder::new(vm.vmid, what, self.worker())?)
        })
    }

    /// Whether something that was begun of a VM was left by a command that is gone.
    pub(super) fn is_left(&self, vmid: Vmid) -> Result<bool> {
        Ok(self.state().intent(vmid)?.is_some_and(|intent| !intent.worker.is_alive()))
    }

    /// Finishes or rolls back what killed commands left of all VMs but this one. A VM that somebody holds is his, and one
    /// that cannot be brought to rest is told of and no reason to stop.
    pub(super) async fn take_up(&self, but: Option<Vmid>, job: &Job) -> Result<()> {
        for intent in self.state().intents()? {
            if Some(intent.vmid) == but || intent.worker.is_alive() {
                continue;
            }
            let vmid = intent.vmid;
            let Ok(vm) = self.state().vm(vmid) else { continue };
            if self.glance(vm.clone(), Some(intent)).await?.1.actions.is_empty() {
                continue;
            }
            job.line(&format!("VM {vmid} was left by a command that ended early"))?;
            let mended = async {
                let _lock = self.lock(&vm, "mend", Some(Duration::ZERO)).await?;
                self.mend(vmid, job).await
            };
            match mended.await {
                Ok(_) => {}
                // It was half made or half removed, and is gone now; or somebody else was faster.
                Err(error) if matches!(error.class(), Class::NotFound | Class::Conflict) => {}
                Err(error) => job.line(&format!("VM {vmid} stays as it is: {error}"))?,
            }
        }
        self.sweep()
    }

    /// Removes directories of VMs that have no row: a VM's directory is there a moment before its row is.
    fn sweep(&self) -> Result<()> {
        let vms = self.vms();
        let strays = |uuids: &BTreeSet<String>| -> Vec<PathBuf> {
            let entries = fs::read_dir(&vms).into_iter().flatten().flatten();
            let strange = entries.filter(|entry| entry.file_name().to_str().is_some_and(|name| !uuids.contains(name)));
            strange.map(|entry| entry.path()).collect()
        };
        if strays(&self.state().uuids()?).is_empty() {
            return Ok(());
        }
        self.state().exclusively(|uuids| {
            // What cannot be removed is in nobody's way.
            strays(uuids).iter().for_each(|stray| drop(fs::remove_dir_all(stray)));
            Ok(())
        })
    }
}

/// Makes a directory for VMs or of one, for its owner alone.
pub(super) fn make_directory(directory: &Path) -> Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(|error| Error::new(Class::Failed, format!("cannot make {}", directory.display())).with_source(error))
}
