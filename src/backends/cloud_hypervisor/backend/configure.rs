//! Changes of a VM's settings, under its lock: at once while it is off or where they are only data of ours; what a VM
//! that runs takes at once is done in [`live`](super::live), and everything else waits for its next start.

use super::{Job, Local};
use crate::{
    backends::{
        Step,
        cloud_hypervisor::{
            mapping::{self, Apply, Key, OWN},
            state::{Change, Config, Settings, Vm, reconcile::Sight},
        },
    },
    model::{Digest, Error, Result},
};

/// Parameters of a change that say how.
const HOW: [&str; 6] = ["delete", "revert", "digest", "force", "skiplock", "background_delay"];

/// What is asked of a configuration.
pub(super) struct Asked {
    pub(super) change: Change,
    pub(super) digest: Option<Digest>,
}

impl Asked {
    /// Reads it from a step.
    ///
    /// # Errors
    /// [`Class::Usage`](crate::model::Class::Usage) for a key that there is not.
    pub(super) fn of(step: &Step) -> Result<Self> {
        let list = |name: &str| -> Vec<String> {
            let text = step.params.get(name).unwrap_or_default();
            text.split([',', ';', ' ']).filter(|key| !key.is_empty()).map(str::to_owned).collect()
        };
        let set: Config = step
            .params
            .iter()
            .filter(|(key, _)| !HOW.contains(key))
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        let change = Change { set, delete: list("delete"), revert: list("revert") };
        if let Some(key) = change.set.keys().chain(&change.delete).find(|key| row(key).is_none()) {
            return Err(Error::usage(format!("this host has no configuration key `{key}`")));
        }
        Ok(Self { change, digest: step.params.get("digest").map(|text| Digest(text.to_owned())) })
    }

    /// What can be said against it before anything is begun.
    ///
    /// # Errors
    /// [`Class::Conflict`](crate::model::Class::Conflict) for a VM that is locked, or was changed in between.
    pub(super) fn check(&self, vm: &Vm) -> Result<()> {
        vm.check_lock()?;
        vm.settings.check_digest(self.digest.as_ref())
    }
}

impl Local {
    /// Changes settings. What became of each key is in the task's log.
    pub(super) async fn configure(&self, step: &Step, job: &Job) -> Result<()> {
        let asked = Asked::of(step)?;
        let vm = self.state().vm(step.guest.vmid)?;
        let (_lock, vm, sight) = self.hold(&vm, "update", job).await?;
        asked.check(&vm)?;
        match sight {
            Sight::Running | Sight::Paused => self.change_running(&vm, sight, &asked, job).await,
            Sight::Stopped => self.state().configure(vm.vmid, None, |vm| {
                vm.settings.change(&asked.change, |_| true);
                prune(&mut vm.settings);
                Ok(())
            }),
            Sight::Unresponsive => self.change_later(&vm, &asked, "its VMM does not answer", job),
            _ => self.change_later(&vm, &asked, "its VMM has no machine that runs", job),
        }
    }

    /// Leaves all that is not only data of ours to the next start.
    pub(super) fn change_later(&self, vm: &Vm, asked: &Asked, why: &str, job: &Job) -> Result<()> {
        let waiting = self.state().configure(vm.vmid, None, |vm| {
            Ok(vm.settings.change(&asked.change, |key| row(key).is_some_and(|row| row.apply == Apply::Now)))
        })?;
        waiting.iter().try_for_each(|key| job.line(&waits(key, why)))
    }
}

/// The row of a key, ours too.
fn row(key: &str) -> Option<&'static Key> {
    mapping::key(key).or_else(|| OWN.iter().find(|row| row.is(key)))
}

/// The line that says that a key waits, and why: commands read it to tell people.
pub(super) fn waits(key: &str, why: &str) -> String {
    format!("{key}: waits for the next start: {why}")
}

/// Forgets what was noted about devices that are no longer there.
pub(super) fn prune(_: &mut Settings) {}
