//! PCI devices: their way to the driver that hands them to VMMs, and back to the one that they had before.
//!
//! Whether the host can do without a device is asked in [`check`](Pci::check). Who has which device is remembered
//! elsewhere; each step here looks first at what is the case, so that it may be done again, from wherever it was cut short.

mod check;
#[cfg(test)]
pub(in crate::backends::cloud_hypervisor) mod tests;
mod used;

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::{at, hint};
use crate::model::{Error, Result};

/// The driver that hands devices to VMMs.
const VFIO: &str = "vfio-pci";
/// How the kernel writes that no driver is prescribed.
const NO_OVERRIDE: &str = "(null)";

/// The PCI devices of a host.
#[derive(Debug, Clone)]
pub struct Pci {
    root: PathBuf,
    /// Writes to a file of the kernel's, which does something thereupon.
    write: fn(&Path, &str) -> io::Result<()>,
}

impl Default for Pci {
    fn default() -> Self {
        Self { root: "/".into(), write: tell }
    }
}

/// What a device was to the host before a VM got it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Former {
    /// The driver that had it.
    pub driver: Option<String>,
    /// The driver that it was prescribed.
    pub prescribed: Option<String>,
}

impl Pci {
    fn devices(&self) -> PathBuf {
        self.root.join("sys/bus/pci/devices")
    }

    fn device(&self, address: &str) -> PathBuf {
        self.devices().join(address)
    }

    fn driver_folder(&self, driver: &str) -> PathBuf {
        self.root.join("sys/bus/pci/drivers").join(driver)
    }

    fn driver(&self, address: &str) -> Option<String> {
        let link = fs::read_link(self.device(address).join("driver")).ok()?;
        Some(link.file_name()?.to_string_lossy().into_owned())
    }

    fn prescribed(&self, address: &str) -> Option<String> {
        let text = fs::read_to_string(self.device(address).join("driver_override")).ok()?;
        Some(text.trim().to_owned()).filter(|driver| !driver.is_empty() && driver != NO_OVERRIDE)
    }

    /// Whether it is where a VMM can take it.
    pub fn is_ready(&self, address: &str) -> bool {
        self.driver(address).as_deref() == Some(VFIO)
    }

    /// What it is to the host now: to be written down before it is [taken](Self::take).
    pub fn former(&self, address: &str) -> Former {
        Former { driver: self.driver(address), prescribed: self.prescribed(address) }
    }

    /// Has the kernel know the driver for VMMs.
    ///
    /// # Errors
    /// [`Class::Conflict`](crate::model::Class::Conflict) where it does not.
    pub fn load_driver(&self) -> Result<()> {
        if self.driver_folder(VFIO).exists() {
            return Ok(());
        }
        let mut command = Command::new("modprobe");
        let output = command.arg(VFIO).stdin(Stdio::null()).output();
        let said = match output {
            Ok(output) if output.status.success() && self.driver_folder(VFIO).exists() => return Ok(()),
            Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            Err(error) => format!("modprobe: {error}"),
        };
        let text = format!("this host's kernel has no driver {VFIO}");
        let text = if said.is_empty() { text } else { format!("{text}: {said}") };
        Err(Error::conflict(text).with_hint(hint(format!("load it: `sudo modprobe {VFIO}`"))))
    }

    /// Takes a device from the host. One that is taken already stays.
    ///
    /// # Errors
    /// [`Class::Forbidden`](crate::model::Class::Forbidden) without the right to,
    /// [`Class::Conflict`](crate::model::Class::Conflict) when the driver does not take it; what was done until then is
    /// to be [taken back](Self::give_back).
    pub fn take(&self, address: &str) -> Result<()> {
        if self.is_ready(address) {
            return Ok(());
        }
        self.prescribe(address, Some(VFIO))?;
        if self.driver(address).is_some() {
            self.say(&self.device(address).join("driver/unbind"), address)?;
        }
        self.say(&self.root.join("sys/bus/pci/drivers_probe"), address)?;
        match self.is_ready(address) {
            true => Ok(()),
            false => Err(Error::conflict(format!("{VFIO} does not take {address}"))
                .with_hint(hint("the kernel says why: `sudo dmesg | tail`"))),
        }
    }

    /// Gives a device back to the host. One that somebody else has given a driver meanwhile keeps it, and one that was
    /// pulled out is no matter.
    ///
    /// A VMM that has it still is waited for: the kernel does.
    ///
    /// # Errors
    /// [`Class::Forbidden`](crate::model::Class::Forbidden) without the right to,
    /// [`Class::Conflict`](crate::model::Class::Conflict) when its driver does not take it again.
    pub fn give_back(&self, address: &str, former: &Former) -> Result<()> {
        let device = self.device(address);
        if !device.exists() {
            return Ok(());
        }
        if self.prescribed(address).as_deref() == Some(VFIO) {
            self.prescribe(address, former.prescribed.as_deref())?;
        }
        match self.driver(address).as_deref() {
            Some(VFIO) if former.driver.as_deref() != Some(VFIO) => self.say(&device.join("driver/unbind"), address)?,
            Some(_) => return Ok(()),
            None => {}
        }
        let Some(driver) = &former.driver else { return Ok(()) };
        // A driver that was unloaded meanwhile is found anew if the device is looked at again.
        let bound = self.say(&self.driver_folder(driver).join("bind"), address);
        let bound = bound.or_else(|_| self.say(&self.root.join("sys/bus/pci/drivers_probe"), address));
        match self.driver(address) {
            Some(_) => Ok(()),
            None => Err(bound
                .err()
                .unwrap_or_else(|| Error::conflict(format!("{driver} does not take {address} again")))
                .with_hint(hint(format!(
                    "try it by hand: `modprobe {driver}`, `echo {address} > /sys/bus/pci/drivers_probe`"
                )))),
        }
    }

    fn prescribe(&self, address: &str, driver: Option<&str>) -> Result<()> {
        // A line without a word prescribes none.
        self.say(&self.device(address).join("driver_override"), driver.unwrap_or("\n"))
    }

    fn say(&self, file: &Path, text: &str) -> Result<()> {
        (self.write)(file, text).map_err(|error| at("write to", file, error))
    }
}

/// Writes to a file of the kernel's that is there.
fn tell(file: &Path, text: &str) -> io::Result<()> {
    OpenOptions::new().write(true).open(file)?.write_all(text.as_bytes())
}
