//! Changes of a VM's settings: at once while it is off or where it is only data of ours, at the next start otherwise.

use super::{Job, Local, asked::change_of, volumes::STORAGE};
use crate::{
    backends::{
        Action, Step,
        cloud_hypervisor::{
            mapping::{self, Apply},
            state::{Draft, Verb, Vm, Work},
        },
    },
    model::{Digest, Result},
};

/// Which keys count at once: all of a VM that is off, of one that runs those that are only data of ours.
fn at_once(vm: &Vm) -> impl Fn(&str) -> bool + use<> {
    // A process that is gone meanwhile is noticed by the next start, which applies what waits.
    let off = vm.process.is_none();
    move |key| off || mapping::key(key).is_some_and(|row| row.apply == Apply::Now)
}

impl Local {
    /// Changes settings, and gives the keys that wait for the next start.
    pub(super) fn configure(&self, step: &Step) -> Result<Vec<String>> {
        let change = change_of(step)?;
        let digest = step.params.get("digest").map(|text| Digest(text.to_owned()));
        self.state().configure(step.guest.vmid, digest.as_ref(), |vm| {
            vm.check_lock_for(&change)?;
            let at_once = at_once(vm);
            Ok(vm.settings.change(&change, at_once))
        })
    }

    /// Whether a change takes an unused disk out of the configuration, which destroys it.
    pub(super) fn destroys(&self, step: &Step) -> bool {
        let is_change = matches!(step.action, Action::Configure | Action::ConfigureInTask);
        is_change && change_of(step).is_ok_and(|change| change.delete.iter().any(|key| key.starts_with("unused")))
    }

    /// Changes settings of which unused disks go, and destroys those of the VM's own that nothing names any more. The VM's
    /// lock is held.
    ///
    /// # Errors
    /// [`Class::Conflict`](crate::model::Class::Conflict) for a protected VM, in Proxmox's words.
    pub(super) async fn destroy_unused(&self, vm: &Vm, step: &Step, job: &Job) -> Result<()> {
        let change = change_of(step)?;
        vm.check_lock()?;
        vm.settings.check_digest(step.params.get("digest").map(|text| Digest(text.to_owned())).as_ref())?;
        for key in change.delete.iter().filter(|key| key.starts_with("unused")) {
            vm.check_protection(&format!("can't remove unused disk '{key}'"))?;
        }
        let mut settings = vm.settings.clone();
        settings.change(&change, at_once(vm));
        let (left, own) = (settings.volumes(), format!("{STORAGE}:{}/", vm.vmid));
        let gone =
            vm.settings.volumes().into_iter().filter(|volume| !left.contains(volume) && volume.starts_with(&own));
        let drops = gone.map(|volume| self.file(&volume)).collect::<Result<Vec<_>>>()?;
        drops.iter().try_for_each(|file| job.line(&format!("removing {}", file.display())))?;
        let work = Work { drops, settings: Some(settings), ..Work::default() };
        let mut intent = self.state().begin(vm.vmid, Draft::new(Verb::Update).task(&job.upid).work(work))?;
        intent.committed = true;
        self.state().revise(&intent)?;
        // It is carried out like one that was left.
        self.mend(vm.vmid, job).await.map(drop)
    }
}
