//! Whether a VM may have devices of the host: all that is to be said against it, before anything is done.

use std::{fs, path::Path};

use rustix::fs::{Access, AtFlags, CWD, accessat};

use super::{Pci, VFIO, used};
use crate::{
    backends::cloud_hypervisor::host::hint,
    model::{Class, Error, Result},
};

/// Drivers beside which a device of the same group can be with a VM.
const HARMLESS: [&str; 2] = [VFIO, "pci-stub"];

/// The devices that the host's memory protection cannot tell apart.
struct Group {
    /// The number, by which it is in `/dev/vfio` too.
    number: String,
    /// The addresses.
    members: Vec<String>,
}

impl Pci {
    /// Looks at a device that a VM is to have, together with these.
    ///
    /// # Errors
    /// [`Class::NotFound`] for one that is not there, [`Class::Usage`] for what no VM can have, [`Class::Conflict`] for
    /// one that the host needs, [`Class::Forbidden`] without the right to take it.
    pub fn check(&self, address: &str, together: &[&str]) -> Result<()> {
        let device = self.device(address);
        if !device.exists() {
            return Err(Error::not_found(format!("this host has no PCI device {address}"))
                .with_hint(hint("`ls /sys/bus/pci/devices` lists them")));
        }
        if self.is_bridge(address) {
            return Err(Error::usage(format!("{address} is a bridge to other devices, which no VM can have"))
                .with_hint(hint("name the device behind it: `lspci -t` shows which that is")));
        }
        let Some(group) = self.group(address) else {
            return Err(Error::conflict(format!(
                "{address} has no IOMMU group: nothing would keep it to its VM's memory"
            ))
            .with_hint(hint(
                "switch the IOMMU on, in the firmware (VT-d, AMD-Vi) and on the kernel's command line \
                     (`intel_iommu=on`); a host that is a VM itself needs one from its own host",
            )));
        };
        match self.is_ready(address) {
            true => self.check_access(address, &group)?,
            false => self.check_spare(address, &group)?,
        }
        let others = group.members.iter().filter(|other| !together.contains(&other.as_str()));
        let in_the_way: Vec<String> = others.filter_map(|other| self.in_the_way(other)).collect();
        if !in_the_way.is_empty() {
            return Err(Error::conflict(format!(
                "{address} cannot go without what else is in its IOMMU group {}: {}",
                group.number,
                in_the_way.join(", ")
            ))
            .with_hint(hint(format!(
                "give the VM these as well, in the same key separated by `;`; or, if the host can do without, bind them to {VFIO}: \
                 `sudo driverctl set-override ADDRESS {VFIO}`"
            ))));
        }
        Ok(())
    }

    /// The addresses that go to a VM together or not at all.
    pub fn together_with(&self, address: &str) -> Vec<String> {
        self.group(address).map_or_else(Vec::new, |group| group.members)
    }

    /// One that is bound already: whether it opens.
    fn check_access(&self, address: &str, group: &Group) -> Result<()> {
        let node = self.root.join("dev/vfio").join(&group.number);
        match may_write(&node) {
            true => Ok(()),
            false if !node.exists() => {
                Err(Error::conflict(format!("there is no {} to open {address} by", node.display()))
                    .with_hint(hint("load its driver anew: `sudo modprobe vfio-pci`")))
            }
            false => {
                let text = format!("this user may not open {address}, which is {}", node.display());
                Err(Error::new(Class::Forbidden, text)
                    .with_hint(hint(format!("have it given to you: `sudo chown \"$USER\" {}`", node.display()))))
            }
        }
    }

    /// One that the host has: whether it may be taken from it.
    fn check_spare(&self, address: &str, group: &Group) -> Result<()> {
        if !may_write(&self.device(address).join("driver_override")) {
            let text = format!("this user may not take {address} from the host");
            return Err(Error::new(Class::Forbidden, text).with_hint(hint("run it as root")).with_hint(hint(format!(
                "or have it prepared: `sudo driverctl set-override {address} {VFIO}`, `sudo chown \"$USER\" /dev/vfio/{}`; \
                 `ulimit -l` has to be as large as the VM's memory",
                group.number
            ))));
        }
        used::by_host(&self.root, &self.device(address))
            .map_err(|error| error.context(format!("the host needs {address}")))
    }

    /// What keeps another device of the group from being with a VM; `None` if nothing does.
    fn in_the_way(&self, address: &str) -> Option<String> {
        let driver = self.driver(address).filter(|driver| !HARMLESS.contains(&&**driver))?;
        (!self.is_bridge(address)).then(|| format!("{address} ({driver})"))
    }

    fn is_bridge(&self, address: &str) -> bool {
        let class = fs::read_to_string(self.device(address).join("class")).unwrap_or_default();
        class.starts_with("0x06")
    }

    fn group(&self, address: &str) -> Option<Group> {
        let link = self.device(address).join("iommu_group");
        let number = fs::read_link(&link).ok()?.file_name()?.to_string_lossy().into_owned();
        let entries = fs::read_dir(link.join("devices")).ok()?.flatten();
        let mut members: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        members.sort();
        Some(Group { number, members })
    }
}

/// Whether a file is there and this process may write to it.
fn may_write(path: &Path) -> bool {
    accessat(CWD, path, Access::WRITE_OK, AtFlags::EACCESS).is_ok()
}
