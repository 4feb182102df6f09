//! The configuration of one virtual machine as Cloud Hypervisor's API knows it (v53), to write and to read.
//!
//! Only shapes and units: which Proxmox VE key becomes what is in `mapping`. The VMM checks almost nothing of this when
//! it is given (`vm.create` takes unknown fields and a missing payload alike); what is wrong shows when it boots.
//!
//! Every struct reads what newer VMMs write: a missing or `null` field is the default, an unknown one lands in `other`
//! and is written back as it was. What is `None` or empty is not written, so that the VMM's own default holds.

use std::path::PathBuf;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

/// Whether a field is left out when written.
trait Absent {
    fn absent(&self) -> bool {
        false
    }
}

impl<T> Absent for Option<T> {
    fn absent(&self) -> bool {
        self.is_none()
    }
}

impl<T> Absent for Vec<T> {
    fn absent(&self) -> bool {
        self.is_empty()
    }
}

macro_rules! always_present {
    ($($type:ty),* $(,)?) => { $(impl Absent for $type {})* };
}

always_present!(String, PathBuf, u8, u16, u32, u64, ConsoleMode, RateLimiterConfig);

/// Reads `null` as the default.
fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// A section of the configuration; `pci` adds what every PCI device has.
macro_rules! section {
    ($(#[$doc:meta])* $name:ident pci { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* }) => {
        section! {
            $(#[$doc])* $name {
                $($(#[$field_doc])* $field: $type,)*
                /// Its name; `_disk0`, `_net1` and so on if none is given. Give one: a name outlives restarts and copies.
                id: Option<String>,
                /// Behind the virtual IOMMU. Default: no.
                iommu: Option<bool>,
                /// On which PCI segment. Default: 0.
                pci_segment: Option<u16>,
                /// In which slot, so that the guest sees it under the same name next time. Default: the next free one.
                pci_device_id: Option<u8>,
            }
        }
    };
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
        #[serde(default)]
        pub struct $name {
            $(
                $(#[$field_doc])*
                #[serde(deserialize_with = "or_default", skip_serializing_if = "Absent::absent")]
                pub $field: $type,
            )*
            /// What this version does not know, as it was read.
            #[serde(flatten)]
            pub other: Map<String, Value>,
        }
    };
}

/// An enumeration that the VMM writes as a word; a word that this version does not know is kept.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Default, PartialEq, Eq)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
            /// A word that only other versions know.
            Other(String),
        }

        impl $name {
            /// The word as the API has it; case counts.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $word,)*
                    Self::Other(word) => word,
                }
            }
        }

        impl From<&str> for $name {
            fn from(word: &str) -> Self {
                match word {
                    $($word => Self::$variant,)*
                    other => Self::Other(other.to_owned()),
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                Ok(Self::from(<String as serde::Deserialize>::deserialize(from)?.as_str()))
            }
        }
    };
}

pub(super) use words;

mod devices;
mod machine;

pub use devices::*;
pub use machine::*;

section! {
    /// A virtual machine.
    VmConfig {
        /// Processors. Default: one.
        cpus: Option<CpusConfig>,
        /// Memory. Default: 512 MiB that cannot grow.
        memory: Option<MemoryConfig>,
        /// What is booted. Without it `vm.create` succeeds and `vm.boot` fails.
        payload: Option<PayloadConfig>,
        /// Budgets that disks may share, by [`DiskConfig::rate_limit_group`].
        rate_limit_groups: Vec<RateLimitGroupConfig>,
        /// Disks, in the order of their slots.
        disks: Vec<DiskConfig>,
        /// Network interfaces. One whose tap is handed over as a file descriptor cannot stand here: add it before boot.
        net: Vec<NetConfig>,
        /// The source of randomness. Default: `/dev/urandom`.
        rng: Option<RngConfig>,
        /// The balloon. Default: no such device.
        balloon: Option<BalloonConfig>,
        /// Shared folders; they need [`MemoryConfig::shared`].
        fs: Vec<FsConfig>,
        /// Other vhost-user devices. (The OpenAPI file spells it `generic-vhost-user`; the VMM does not.)
        generic_vhost_user: Vec<GenericVhostUserConfig>,
        /// Persistent memory.
        pmem: Vec<PmemConfig>,
        /// The serial port. Default: [`ConsoleMode::Null`].
        serial: Option<SerialConfig>,
        /// The virtio console. Default: [`ConsoleMode::Tty`], the VMM's own terminal; say [`ConsoleMode::Off`].
        console: Option<ConsoleConfig>,
        /// The debug port. Default: [`ConsoleMode::Off`].
        debug_console: Option<DebugConsoleConfig>,
        /// Devices of the host that are passed through.
        devices: Vec<DeviceConfig>,
        /// Devices in other processes (vfio-user).
        user_devices: Vec<UserDeviceConfig>,
        /// vDPA devices.
        vdpa: Vec<VdpaConfig>,
        /// The socket between guest and host. At most one.
        vsock: Option<VsockConfig>,
        /// Whether a guest's panic becomes an event. Default: no.
        pvpanic: Option<bool>,
        /// Whether there is a virtual IOMMU. Default: no.
        iommu: Option<bool>,
        /// NUMA nodes.
        numa: Vec<NumaConfig>,
        /// Whether there is a watchdog, which resets a guest that fell silent. Default: no.
        watchdog: Option<bool>,
        /// The virtio clock. Default: none.
        rtc: Option<RtcConfig>,
        /// Weights of PCI segments.
        pci_segments: Vec<PciSegmentConfig>,
        /// What the guest reads of its machine (SMBIOS), and the layout of its PCI.
        platform: Option<PlatformConfig>,
        /// The trusted platform module.
        tpm: Option<TpmConfig>,
        /// Whether the VMM locks itself into the paths it was given. Default: no.
        landlock_enable: Option<bool>,
        /// Paths beyond those, for what is added later.
        landlock_rules: Vec<LandlockConfig>,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nothing_set_is_nothing_written() {
        assert_eq!(serde_json::to_value(VmConfig::default()).unwrap(), json!({}));
        let disk = DiskConfig { path: Some("/a.raw".into()), image_type: Some(ImageType::Raw), ..Default::default() };
        assert_eq!(serde_json::to_value(disk).unwrap(), json!({"path": "/a.raw", "image_type": "Raw"}));
    }

    #[test]
    fn what_newer_ones_write_comes_back_as_it_was() {
        let newer = json!({
            "cpus": {"boot_vcpus": 1, "max_vcpus": 2, "profile": "Skylake", "shiny": {"a": 1}},
            "disks": [{"path": "/d", "image_type": "Zip", "cache": "none", "id": "d0"}],
            "net": [{"mac": "aa:bb:cc:dd:ee:ff", "offload_tso": false}],
            "turbo": true,
        });
        let read: VmConfig = serde_json::from_value(newer.clone()).unwrap();
        assert_eq!(read.disks[0].image_type, Some(ImageType::Other("Zip".to_owned())));
        assert_eq!(read.cpus.as_ref().unwrap().profile, Some(CpuProfile::Other("Skylake".to_owned())));
        assert_eq!(serde_json::to_value(read).unwrap(), newer);
    }

    #[test]
    fn null_and_older_names_are_understood() {
        let read: VmConfig = serde_json::from_value(
            json!({"disks": null, "vsock": null, "platform": {"uuid": "u", "serial_number": "s"}}),
        )
        .unwrap();
        assert!(read.disks.is_empty());
        assert_eq!(read.vsock, None);
        let platform = read.platform.unwrap();
        assert_eq!((platform.system_uuid.as_deref(), platform.system_serial_number.as_deref()), (Some("u"), Some("s")));
    }
}
