//! Changes of a VM's settings: at once while it is off or where it is only data of ours, at the next start otherwise.

use super::Local;
use crate::{
    backends::{
        Step,
        cloud_hypervisor::{
            mapping::{self, Apply},
            state::{Change, Config},
        },
    },
    model::{Digest, Error, Result},
};

/// Parameters of a change that say how.
const HOW: [&str; 6] = ["delete", "revert", "digest", "force", "skiplock", "background_delay"];

impl Local {
    /// Changes settings, and gives the keys that wait for the next start.
    pub(super) fn configure(&self, step: &Step) -> Result<Vec<String>> {
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
        let digest = step.params.get("digest").map(|text| Digest(text.to_owned()));
        self.state().configure(step.guest.vmid, digest.as_ref(), |vm| {
            // As `qm unlock`: memory on disk is given up, and the next start boots.
            let unlocks = vm.lock() == Some("suspended") && change.set.is_empty() && change.delete == ["lock"];
            if !unlocks {
                vm.check_lock()?;
            }
            if let Some(key) = change.set.keys().chain(&change.delete).find(|key| mapping::key(key).is_none()) {
                return Err(Error::usage(format!("this host has no configuration key `{key}`")));
            }
            // A process that is gone meanwhile is noticed by the next start, which applies what waits.
            let off = vm.process.is_none();
            let now = |key: &str| off || mapping::key(key).is_some_and(|row| row.apply == Apply::Now);
            Ok(vm.settings.change(&change, now))
        })
    }
}
