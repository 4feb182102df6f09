//! What was left behind, removed: looked at once more, with the lock of its VM held if that is there.

use std::{fs, io::ErrorKind, path::Path, time::Duration};

use super::{Known, Local, Orphan, OrphanKind, called_after, failed, is_free, is_listened_to, resolved};
use crate::{
    backends::cloud_hypervisor::{
        host::{self, network::Mark, network::Network},
        state::Vm,
    },
    model::{Class, Error, Result},
};

impl Local {
    /// Removes one, if it is still there and still nobody's. Says whether it was.
    pub(super) async fn collect(&self, orphan: &Orphan) -> Result<bool> {
        let owner = match orphan.vmid {
            Some(vmid) => self.state().vm(vmid).ok(),
            None => None,
        };
        let _lock = match &owner {
            // One that is gone meanwhile is no matter: it is looked at what is there.
            Some(vm) => Some(self.lock_whatever(vm, "gc", self.options().patience).await?),
            None => None,
        };
        let known = self.known()?;
        let path = Path::new(&orphan.name);
        let again = match orphan.kind {
            OrphanKind::Vmm => return self.end_lost(orphan, &known).await,
            OrphanKind::Tap => {
                return self.remove_tap(orphan, owner.as_ref()).await.map_err(|error| match error.class() {
                    Class::Forbidden => {
                        Error::new(Class::Forbidden, format!("this takes root: `sudo ip link delete {}`", orphan.name))
                    }
                    _ => error,
                });
            }
            OrphanKind::Share if owner.as_ref().is_some_and(|vm| !self.is_off(vm)) => false,
            OrphanKind::Share => {
                let there = path.exists();
                host::end_holders(path, None).await?;
                return Ok(there);
            }
            OrphanKind::Device => {
                let lent = self.state().lent()?.into_iter().find(|lent| lent.address == orphan.name);
                let Some(lent) = lent else { return Ok(false) };
                let known = known.vms.iter().any(|(vm, _)| vm.uuid == lent.uuid);
                let free = owner.as_ref().map_or(!known, |vm| vm.uuid == lent.uuid && self.is_off(vm));
                if !free {
                    return Err(Error::conflict("it is in use again"));
                }
                return self.return_device(lent).await?.map(|()| true);
            }
            OrphanKind::Group => {
                // The kernel lets no group go that somebody is in, nor one with what is not its own.
                return match fs::remove_dir(path) {
                    Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
                    removed => removed.map(|()| true).map_err(|error| failed("remove", path, error)),
                };
            }
            OrphanKind::Sockets | OrphanKind::State => {
                let lives = owner.as_ref().is_some_and(|vm| !self.is_off(vm));
                let alive = path.join("alive");
                let known_state = known.vms.iter().any(|(vm, _)| self.places(vm).state == path);
                let anothers = called_after(path).is_some_and(|(_, short)| self.is_anothers(&short));
                !lives
                    && !known_state
                    && !anothers
                    && !is_listened_to(path)
                    && !matches!(host::probe(&alive), Ok(host::Lock::Held) | Err(_))
            }
            OrphanKind::Volume | OrphanKind::HalfMade => !known.named.contains(&resolved(path)) && is_free(path),
            OrphanKind::Log => true,
        };
        if !again {
            return Err(Error::conflict("it is in use again"));
        }
        let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
        match removed {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(failed("remove", path, error)),
            Ok(()) => {}
        }
        if matches!(orphan.kind, OrphanKind::Volume | OrphanKind::HalfMade) && orphan.vmid.is_some() {
            // The folder of a VM's disks goes with the last of them; one that is not empty stays.
            let _ = path.parent().map(fs::remove_dir);
        }
        Ok(true)
    }

    /// Whether no VMM lives, whoever holds the VM.
    fn is_off(&self, vm: &Vm) -> bool {
        matches!(host::probe(&self.places(vm).alive()), Ok(host::Lock::Free | host::Lock::Missing))
    }

    async fn end_lost(&self, orphan: &Orphan, known: &Known) -> Result<bool> {
        let again = self.lost_vmms(known)?.into_iter().find(|lost| lost.process.pid.to_string() == orphan.name);
        let Some(process) = again.map(|lost| host::Process::find(&lost.process)).transpose()?.flatten() else {
            return Ok(false);
        };
        process.kill()?;
        process.ended(Some(Duration::from_secs(10))).await
    }

    async fn remove_tap(&self, orphan: &Orphan, owner: Option<&Vm>) -> Result<bool> {
        if owner.is_some_and(|vm| !self.is_off(vm)) {
            return Err(Error::conflict("it is in use again"));
        }
        let network = Network::open()?;
        let Some(link) = network.link(&orphan.name).await? else { return Ok(false) };
        match &link.mark {
            Some(mark) => {
                let known = self.state().vms()?.iter().any(|(vm, _)| vm.uuid.to_string() == mark.owner());
                if owner.is_none() && link.in_use || known && owner.is_none_or(|vm| vm.uuid.to_string() != mark.owner())
                {
                    return Err(Error::conflict("it is in use again"));
                }
                network.remove(&orphan.name, &Mark::new(mark.owner())?).await
            }
            None => Ok(network.remove_unfinished().await?.contains(&orphan.name)),
        }
    }
}
