//! What a mapping has to know of the host and of what was made for a machine.
//!
//! Plain data; whoever calls finds it out.

use std::{collections::BTreeMap, path::PathBuf};

use super::super::vmm::config::{ImageType, LandlockConfig};

/// The host, and what was made on it for one machine.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Facts {
    /// The host's architecture as Proxmox writes it: `x86_64` or `aarch64`.
    pub arch: String,
    /// Processors of the host.
    pub host_cpus: u64,
    /// Bytes of memory that a machine may have at most once it has grown: the host's, as a rule.
    pub memory_limit: u64,
    /// The machine's own uuid, where `smbios1` gives none.
    pub uuid: String,
    /// The firmware to boot, `CLOUDHV.fd`; not needed with a kernel.
    pub firmware: Option<PathBuf>,
    /// Disks by their key (`scsi0`, `ide2`); each one that has a volume is needed.
    pub volumes: BTreeMap<String, Volume>,
    /// Taps by the number of their `net[n]`; each one is needed.
    pub taps: BTreeMap<u16, Tap>,
    /// Where the serial port listens; needed with `serial0`. Without, there is no serial port.
    pub serial_socket: PathBuf,
    /// The vsock; needed with `agent`.
    pub vsock: Option<Vsock>,
    /// virtiofsd's sockets by the number of their `virtiofs[n]`.
    pub virtiofs: BTreeMap<u16, PathBuf>,
    /// swtpm's socket; needed with `tpmstate0`.
    pub tpm_socket: Option<PathBuf>,
    /// Addresses on the PCI bus by the name of their resource mapping.
    pub pci_mappings: BTreeMap<String, Vec<String>>,
    /// Why the machine cannot run in a control group of its own, which `cpulimit` and `cpuunits` need; `None` if it can.
    pub no_cgroup: Option<String>,
    /// What the VMM needs beside the paths it is given, once it has locked itself in; `None` where the kernel cannot.
    pub landlock: Option<Vec<LandlockConfig>>,
    /// Whether an emulated network card is given as a virtio one, with a warning, and not refused.
    pub lenient: bool,
}

/// A disk's volume.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Volume {
    /// The image or block device.
    pub path: PathBuf,
    /// What was found in it.
    pub format: ImageType,
    /// Bytes that the guest sees.
    pub size: u64,
    /// Whether it stands on another image.
    pub backing: bool,
}

/// A tap.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tap {
    /// Its name, `tap100i0`.
    pub name: String,
    /// The bridge's MTU, for `mtu=1`.
    pub bridge_mtu: Option<u16>,
}

/// A vsock.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Vsock {
    /// The guest's address, at least 3.
    pub cid: u32,
    /// Where the VMM listens.
    pub socket: PathBuf,
}

/// What a seed needs beside the configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SeedFacts {
    /// The machine's own uuid: instance id and salts come from it, so that a copy is somebody else.
    pub uuid: String,
    /// Nameservers of the host, used where the configuration names none.
    pub nameservers: Vec<String>,
    /// Search domains of the host, used where the configuration names none.
    pub searchdomains: Vec<String>,
    /// Texts of the volumes that `cicustom` names, by its parts: `user`, `network`, `meta`, `vendor`.
    pub custom: BTreeMap<String, String>,
}
