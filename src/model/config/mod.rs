//! Typed access to the configurations of virtual machines and containers: every key, every part of a property string.
//!
//! Views over [`GuestConfig`](super::GuestConfig), which stays what the server said; whether a value is allowed is the
//! contract's business. The tables of keys are generated, see `examples/generate_models.rs`.
//!
//! ```
//! use pvectl::model::config::{QemuConfig, qemu::{Bios, Net, NetModel}};
//!
//! # fn main() -> pvectl::Result<()> {
//! // As `Client::qemu_config` gives it.
//! let before: QemuConfig = serde_json::from_str(
//!     r#"{"memory":"2048","cores":2,"net0":"virtio=BC:24:11:F8:34:48,bridge=vmbr0,tag=20","digest":"a86b"}"#,
//! ).expect("a configuration");
//! assert_eq!(before.memory()?, Some(2048));
//!
//! let mut config = before.clone();
//! let mut net = config.net(0)?.unwrap_or_default();
//! assert_eq!((net.model()?, net.tag()?), (Some(NetModel::Virtio), Some(20)));
//! net.set_tag(30)?.set_firewall(true)?;
//! config.set_cores(4).set_bios(Bios::Ovmf).set_net(0, net);
//!
//! let params = config.changes_since(&before);
//! assert_eq!(params.get("net0"), Some("virtio=BC:24:11:F8:34:48,bridge=vmbr0,tag=30,firewall=1"));
//! assert_eq!(params.get("memory"), None);
//! assert_eq!(params.get("digest"), Some("a86b"));
//!
//! // A new one, for a create.
//! let mut net = Net::new();
//! net.set_model(NetModel::Virtio)?.set_bridge("vmbr0")?;
//! let mut config = QemuConfig::new();
//! config.set_name("web-1").set_memory(4096).set_net(0, net);
//! assert_eq!(config.to_params().get("net0"), Some("virtio,bridge=vmbr0"));
//! # Ok(())
//! # }
//! ```

pub mod lxc;
mod map;
pub mod qemu;
mod scalar;
mod shape;
mod tables;
#[cfg(test)]
mod tests;

use serde::Deserialize;

pub use self::{lxc::LxcConfig, qemu::QemuConfig, scalar::Encoded};
use super::{Class, Error, Result};

tables::properties! {
    /// The property string of `startup`, which the API description knows only as a text: when a guest is started and
    /// stopped among others.
    Startup "order" { } { } {
        /// `order`: a whole number, at least 0; those with the lowest are started first and stopped last.
        order set_order "order": u64;
        /// `up`: a whole number, at least 0: seconds before the next guest is started.
        up set_up "up": u64;
        /// `down`: a whole number, at least 0: seconds that it has to shut down.
        down set_down "down": u64;
    }
}

impl QemuConfig {
    /// The drives on all buses with their keys: `ide0`…, `sata0`…, `scsi0`…, `virtio0`…, in this order.
    ///
    /// # Errors
    /// When one is there that is no text.
    pub fn disks(&self) -> Result<Vec<(String, qemu::Disk)>> {
        let bus = |name: &'static str| {
            move |disk: Result<(u16, qemu::Disk)>| disk.map(|(n, disk)| (format!("{name}{n}"), disk))
        };
        let (ide, sata) = (self.ides().map(bus("ide")), self.satas().map(bus("sata")));
        ide.chain(sata).chain(self.scsis().map(bus("scsi"))).chain(self.virtios().map(bus("virtio"))).collect()
    }
}

impl LxcConfig {
    /// `lxc`: raw lines for the container's runtime, key and value, in order.
    ///
    /// # Errors
    /// When it is there and of another form.
    pub fn lxc(&self) -> Result<Option<Vec<(String, String)>>> {
        let read = |lines| {
            Vec::deserialize(lines).map_err(|error| Error::new(Class::Failed, "lxc cannot be read").with_source(error))
        };
        self.as_ref().0.get("lxc").filter(|lines| !lines.is_null()).map(read).transpose()
    }
}
