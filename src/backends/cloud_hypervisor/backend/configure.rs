//! Changes of a VM's settings: at once while it is off or where it is only data of ours, at the next start otherwise.

use super::{Local, asked::change_of};
use crate::{
    backends::{
        Step,
        cloud_hypervisor::mapping::{self, Apply},
    },
    model::{Digest, Result},
};

impl Local {
    /// Changes settings, and gives the keys that wait for the next start.
    pub(super) fn configure(&self, step: &Step) -> Result<Vec<String>> {
        let change = change_of(step)?;
        let digest = step.params.get("digest").map(|text| Digest(text.to_owned()));
        self.state().configure(step.guest.vmid, digest.as_ref(), |vm| {
            vm.check_lock_for(&change)?;
            // A process that is gone meanwhile is noticed by the next start, which applies what waits.
            let off = vm.process.is_none();
            let now = |key: &str| off || mapping::key(key).is_some_and(|row| row.apply == Apply::Now);
            Ok(vm.settings.change(&change, now))
        })
    }
}
