//! What a VMM may touch once it has locked itself in: the folders of its own VM, and what its disks stand on.
//!
//! The paths that stand in its configuration it allows itself; nothing of another VM is among these.

use std::{collections::BTreeMap, fs};

use super::Local;
use crate::{
    backends::cloud_hypervisor::{
        host::facts::can_confine,
        mapping::{self, Volume},
        state::Vm,
        vmm::config::LandlockConfig,
    },
    model::{Class, Error, Result},
};

impl Local {
    /// The rules for a VM with these disks; `None` where nobody asks for them or the kernel cannot.
    pub(super) fn confined_to(
        &self,
        vm: &Vm,
        volumes: &BTreeMap<String, Volume>,
    ) -> Result<Option<Vec<LandlockConfig>>> {
        if !vm.settings.is_on(mapping::LANDLOCK) || !can_confine() {
            return Ok(None);
        }
        let (places, disks) = (self.places(vm), self.disk_folder(vm.vmid));
        // A rule for a folder that is not there is none, and disks may be added later.
        fs::create_dir_all(&disks).map_err(|error| {
            Error::new(Class::Failed, format!("cannot make {}", disks.display())).with_source(error)
        })?;
        let mut rules: Vec<_> = [disks, places.state, places.run].map(|own| LandlockConfig::new(own, "rw")).into();
        for volume in volumes.values().filter(|volume| volume.backing) {
            let below = self.layers_below(&volume.path)?;
            rules.extend(below.into_iter().map(|layer| LandlockConfig::new(layer, "r")));
        }
        Ok(Some(rules))
    }
}
