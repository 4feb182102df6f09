//! Devices of the host that VMs have: looked at before anything happens, taken from the host for as long as a VMM has
//! them, and given back.
//!
//! A device that somebody has bound to the driver for VMMs himself is used as it is, and stays so. Each that is taken is
//! written down first, with the driver that it had.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::{
    Job, Local,
    aside::aside,
    asked::{change_of, typed},
};
use crate::{
    backends::{
        Action, Step,
        cloud_hypervisor::{
            failpoint::{Point, reach},
            host::{Former, Pci},
            mapping,
            state::{Config, Lent, Vm},
        },
    },
    model::{Error, Hint, Result, config::QemuConfig},
};

/// The devices of a configuration: what each is called in the VMM, and its address.
fn devices(config: &QemuConfig) -> Result<Vec<(String, String)>> {
    mapping::host_devices(config, &BTreeMap::new())
}

/// Whether an id is that of a device of the host.
pub(super) fn is_lent(id: &str) -> bool {
    id.starts_with("hostpci")
}

/// The key that a device stands under: `hostpci0` of `hostpci0.1`.
fn key(id: &str) -> &str {
    id.split('.').next().unwrap_or(id)
}

impl Local {
    /// Refuses devices that cannot be had, before anything happens: those that a step asks for, and all of a VM that is to
    /// start.
    pub(super) fn refuse_devices(&self, step: &Step) -> Result<()> {
        if !matches!(step.action, Action::Start | Action::Create | Action::Configure | Action::ConfigureInTask) {
            return Ok(());
        }
        let vm = self.state().vm(step.guest.vmid).ok();
        let (set, all): (Config, Config) = match (step.action, &vm) {
            (Action::Start, Some(vm)) if vm.process.is_none() => {
                let all = vm.settings.to_come();
                (all.clone(), all)
            }
            (Action::Create, _) | (Action::Configure | Action::ConfigureInTask, None) => {
                let set: Config = step.params.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
                (set.clone(), set)
            }
            (Action::Configure | Action::ConfigureInTask, Some(vm)) => {
                let change = change_of(step)?;
                let mut settings = vm.settings.clone();
                settings.change(&change, |_| false);
                (change.set, settings.to_come())
            }
            _ => return Ok(()),
        };
        let mine = |config: Config| -> Config { config.into_iter().filter(|(key, _)| is_lent(key)).collect() };
        let (set, all) = (mine(set), mine(all));
        if set.is_empty() {
            return Ok(());
        }
        let (set, all) = (devices(&typed(&set))?, devices(&typed(&all))?);
        self.look_at_devices(&set, &all)?;
        // One that is off may share a device with others, as long as they do not run at the same time.
        match vm.filter(|vm| step.action == Action::Start || vm.process.is_some()) {
            Some(vm) => self.refuse_lent(&vm, &set),
            None => Ok(()),
        }
    }

    /// The same for all devices of a VM that is to have them now.
    pub(super) fn check_devices(&self, vm: &Vm, config: &QemuConfig) -> Result<()> {
        let devices = devices(config)?;
        self.look_at_devices(&devices, &devices)?;
        self.refuse_lent(vm, &devices)
    }

    fn look_at_devices(&self, wanted: &[(String, String)], all: &[(String, String)]) -> Result<()> {
        let all: Vec<&str> = all.iter().map(|(_, address)| address.as_str()).collect();
        let look = |(id, address): &(String, String)| {
            self.options().pci.check(address, &all).map_err(|error| error.context(key(id)))
        };
        wanted.iter().try_for_each(look)
    }

    /// Refuses devices that another VM has that runs, or that go with one of its.
    fn refuse_lent(&self, vm: &Vm, wanted: &[(String, String)]) -> Result<()> {
        if wanted.is_empty() {
            return Ok(());
        }
        let lent = self.state().lent()?;
        for (other, _) in self.state().vms()?.iter().filter(|(other, _)| other.uuid != vm.uuid) {
            let mut theirs: Vec<String> =
                lent.iter().filter(|lent| lent.uuid == other.uuid).map(|lent| lent.address.clone()).collect();
            if other.process.is_some() {
                // What its configuration says by now need not be an address.
                let said = devices(&typed(&other.settings.config)).unwrap_or_default();
                theirs.extend(said.into_iter().map(|(_, address)| address));
            }
            for (id, address) in wanted {
                let group = self.options().pci.together_with(address);
                if let Some(taken) = theirs.iter().find(|theirs| *theirs == address || group.contains(*theirs)) {
                    let whose = format!("vm/{} ({})", other.vmid, other.name());
                    let text = match taken == address {
                        true => format!("{}: {whose} has {address}", key(id)),
                        false => format!("{}: {whose} has {taken}, which is in the IOMMU group of {address}", key(id)),
                    };
                    let hint = format!("stop that one first: `pvectl --context local vm stop {}`", other.vmid);
                    return Err(Error::conflict(text).with_hint(Hint::Text(hint)));
                }
            }
        }
        Ok(())
    }

    /// Takes all devices of a configuration from the host, after a last look whether it can do without.
    ///
    /// # Errors
    /// As [`take_device`](Self::take_device); what was taken until then is written down.
    pub(super) async fn take_devices(&self, vm: &Vm, config: &QemuConfig) -> Result<()> {
        self.check_devices(vm, config)?;
        for (id, address) in devices(config)? {
            self.take_device(vm, &id, &address).await?;
        }
        Ok(())
    }

    /// Takes a device from the host, or leaves it with the driver for VMMs where somebody has bound it to that.
    ///
    /// # Errors
    /// [`Class::Conflict`](crate::model::Class::Conflict) while another VM has it, or when the driver does not take it.
    pub(super) async fn take_device(&self, vm: &Vm, id: &str, address: &str) -> Result<()> {
        let (pci, state) = (&self.options().pci, self.state());
        let is_ours = state.lent()?.iter().any(|lent| lent.address == address);
        if pci.is_ready(address) && !is_ours {
            return Ok(());
        }
        pci.load_driver().map_err(|error| error.context(key(id)))?;
        let Former { driver, prescribed } = pci.former(address);
        let (address, id) = (address.to_owned(), id.to_owned());
        state.lend(&Lent {
            address: address.clone(),
            uuid: vm.uuid,
            id: id.clone(),
            driver,
            prescribed,
            error: None,
        })?;
        reach(Point::DeviceLent);
        asleep(pci, move |pci| pci.take(&address).map_err(|error| error.context(key(&id)))).await?;
        reach(Point::DeviceTaken);
        Ok(())
    }

    /// Gives devices of a VM back to the host: those of these ids, or all. What cannot be given back stays written down,
    /// with the reason.
    ///
    /// # Errors
    /// If the state cannot be read or written.
    pub(super) async fn return_devices(&self, uuid: Uuid, ids: Option<&[String]>) -> Result<()> {
        let mine = |lent: &Lent| lent.uuid == uuid && ids.is_none_or(|ids| ids.contains(&lent.id));
        for lent in self.state().lent()?.into_iter().filter(mine) {
            // Why not is written down.
            let _ = self.return_device(lent).await?;
        }
        Ok(())
    }

    /// Gives one back. The inner result says whether that went well, which is written down.
    pub(super) async fn return_device(&self, lent: Lent) -> Result<Result<()>> {
        let Lent { address, driver, prescribed, .. } = lent;
        let (at, former) = (address.clone(), Former { driver, prescribed });
        let given = asleep(&self.options().pci, move |pci| pci.give_back(&at, &former)).await;
        match &given {
            Ok(()) => self.state().returned(&address)?,
            Err(error) => self.state().not_returned(&address, &error.to_string())?,
        }
        Ok(given)
    }

    /// Says which devices of a VM could not be given back.
    pub(super) fn tell_kept(&self, vm: &Vm, job: &Job) -> Result<()> {
        for Lent { address, id, error, .. } in self.state().lent()?.into_iter().filter(|lent| lent.uuid == vm.uuid) {
            if let Some(error) = error {
                let id = key(&id);
                job.warn(&format!("{id}: {address} is not back with the host: {error}; `pvectl host gc` tries again"))?;
            }
        }
        Ok(())
    }
}

/// Does something with devices beside all that goes on: the kernel waits for whoever has one.
async fn asleep(pci: &Pci, work: impl FnOnce(&Pci) -> Result<()> + Send + 'static) -> Result<()> {
    let pci = pci.clone();
    aside("a device was not dealt with", move || work(&pci)).await
}

#[cfg(test)]
mod tests;
