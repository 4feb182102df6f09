//! The calls that change a machine while it runs, and what each leaves behind.
//!
//! Which of them a change needs is in `changes`; making them is the backend's.

use super::super::vmm::config::{DeviceConfig, DiskConfig, FsConfig, NetConfig, VmConfig};

/// A call, or an act on the host, that makes a change in a machine that runs.
#[derive(Debug, Clone, PartialEq)]
pub enum LiveCall {
    /// `vm.resize` to so many processors.
    Vcpus(u32),
    /// `vm.resize` to so many bytes of memory in all.
    Memory(u64),
    /// `vm.resize` of the balloon: so many bytes are taken from the guest.
    Balloon(u64),
    /// `vm.remove-device`; done when the guest has let it go.
    Remove(String),
    /// `vm.add-disk`.
    AddDisk(DiskConfig),
    /// `vm.resize-disk` to so many bytes.
    GrowDisk {
        /// The disk's id.
        id: String,
        /// Bytes.
        size: u64,
    },
    /// `vm.add-net`.
    AddNet(NetConfig),
    /// `vm.add-fs`.
    AddFs(FsConfig),
    /// `vm.add-device`.
    AddDevice(DeviceConfig),
    /// The host's side of an interface anew: bridge, tag, trunks, link.
    Tap {
        /// The number of the `net[n]`.
        n: u16,
        /// Whether its link is down.
        link_down: bool,
    },
    /// The control group's limits; `None` for the default.
    Cgroup {
        /// Processors.
        cpulimit: Option<f64>,
        /// Weight.
        cpuunits: Option<u64>,
    },
}

impl LiveCall {
    /// Its place among others. What is taken away goes first, for what is added may use its name, its file or its
    /// address.
    pub(super) fn order(&self) -> u8 {
        match self {
            Self::Remove(_) => 0,
            Self::Tap { .. } | Self::Cgroup { .. } => 1,
            Self::Vcpus(_) | Self::Memory(_) => 2,
            Self::Balloon(_) => 3,
            Self::GrowDisk { .. } => 4,
            Self::AddDisk(_) | Self::AddNet(_) | Self::AddFs(_) | Self::AddDevice(_) => 5,
        }
    }

    /// Notes a call that was done in what the VMM has, so that the next change is planned from there.
    pub fn record(&self, running: &mut VmConfig) {
        match self {
            Self::Vcpus(vcpus) => {
                if let Some(cpus) = &mut running.cpus {
                    cpus.boot_vcpus = *vcpus;
                }
            }
            Self::Memory(size) => {
                if let Some(memory) = &mut running.memory {
                    memory.hotplugged_size = Some(size.saturating_sub(memory.size));
                }
            }
            Self::Balloon(size) => {
                if let Some(balloon) = &mut running.balloon {
                    balloon.size = *size;
                }
            }
            Self::Remove(id) => {
                running.disks.retain(|disk| disk.id.as_ref() != Some(id));
                running.net.retain(|net| net.id.as_ref() != Some(id));
                running.fs.retain(|fs| fs.id.as_ref() != Some(id));
                running.devices.retain(|device| device.id.as_ref() != Some(id));
            }
            Self::AddDisk(disk) => running.disks.push(disk.clone()),
            Self::AddNet(net) => running.net.push(net.clone()),
            Self::AddFs(fs) => running.fs.push(fs.clone()),
            Self::AddDevice(device) => running.devices.push(device.clone()),
            Self::GrowDisk { .. } | Self::Tap { .. } | Self::Cgroup { .. } => {}
        }
    }
}

/// A call, and the keys whose change it makes. Several calls may be one key's: a disk that is exchanged.
#[derive(Debug, Clone, PartialEq)]
pub struct Live {
    /// The keys.
    pub keys: Vec<String>,
    /// The call.
    pub call: LiveCall,
}
