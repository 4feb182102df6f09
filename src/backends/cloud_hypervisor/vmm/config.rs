//! The configuration of one virtual machine as Cloud Hypervisor's API knows it (v53), to write and to read.
//!
//! Only shapes and units: which Proxmox VE key becomes what is in `mapping`. The VMM checks almost nothing of this when
//! it is given (`vm.create` takes unknown fields and a missing payload alike); what is wrong shows when it boots.
//!
//! Every struct reads what newer VMMs write: a missing or `null` field is the default, an unknown one lands in `other`
//! and is written back as it was. What is `None` or empty is not written, so that the VMM's own default holds.

use std::{fmt, path::PathBuf};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
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

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(self.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                Ok(Self::from(String::deserialize(from)?.as_str()))
            }
        }
    };
}

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

section! {
    /// Processors.
    CpusConfig {
        /// How many the guest starts with, at least 1.
        boot_vcpus: u32,
        /// How many it can have, at least `boot_vcpus`.
        max_vcpus: u32,
        /// How they are arranged. The product must be `max_vcpus`.
        topology: Option<CpuTopology>,
        /// Hyper-V enlightenments, for Windows. Default: no.
        kvm_hyperv: Option<bool>,
        /// Bits of a physical address. Default: 46.
        max_phys_bits: Option<u8>,
        /// Which processors of the host each may run on.
        affinity: Vec<CpuAffinity>,
        /// Features beyond the usual.
        features: Option<CpuFeatures>,
        /// Whether the guest can run virtual machines. Default: yes.
        nested: Option<bool>,
        /// Who may share a core. Default: [`CoreScheduling::Vm`].
        core_scheduling: Option<CoreScheduling>,
        /// What processor the guest sees. Default: [`CpuProfile::Host`].
        profile: Option<CpuProfile>,
    }
}

section! {
    /// How processors are arranged.
    CpuTopology {
        /// Threads of a core.
        threads_per_core: u16,
        /// Cores of a die.
        cores_per_die: u16,
        /// Dies of a package.
        dies_per_package: u16,
        /// Packages: sockets.
        packages: u16,
    }
}

section! {
    /// Where one processor may run.
    CpuAffinity {
        /// The guest's processor, from 0.
        vcpu: u32,
        /// Processors of the host, from 0.
        host_cpus: Vec<u64>,
    }
}

section! {
    /// Features of processors beyond the usual.
    CpuFeatures {
        /// Matrix extensions of Intel's. Default: no.
        amx: Option<bool>,
    }
}

words! {
    /// Who may share a core of the host, against leaks between threads.
    CoreScheduling {
        /// Processors of the same machine.
        #[default]
        Vm = "Vm",
        /// Nobody.
        Vcpu = "Vcpu",
        /// Everybody.
        Off = "Off",
    }
}

words! {
    /// What processor a guest sees.
    CpuProfile {
        /// The host's.
        #[default]
        Host = "Host",
    }
}

section! {
    /// Memory.
    MemoryConfig {
        /// Bytes at boot.
        size: u64,
        /// Whether equal pages may be merged (KSM). Default: no.
        mergeable: Option<bool>,
        /// How it grows. Default: [`HotplugMethod::Acpi`].
        hotplug_method: Option<HotplugMethod>,
        /// Bytes by which it may grow; without it never. Costs address space only.
        hotplug_size: Option<u64>,
        /// Bytes by which it has grown.
        hotplugged_size: Option<u64>,
        /// Whether other processes can map it, as vhost-user devices must. Default: no.
        shared: Option<bool>,
        /// From the host's pool of huge pages. Default: no.
        hugepages: Option<bool>,
        /// Bytes of a huge page. Default: the host's.
        hugepage_size: Option<u64>,
        /// Whether all is taken at boot, which takes time by its size. Default: no.
        prefault: Option<bool>,
        /// Whether swap is set aside. Default: no. Since v53.
        reserve: Option<bool>,
        /// Transparent huge pages. Default: yes.
        thp: Option<bool>,
        /// Parts of their own; then `size` is 0.
        zones: Vec<MemoryZoneConfig>,
    }
}

section! {
    /// A part of memory.
    MemoryZoneConfig {
        /// Its name.
        id: String,
        /// Bytes at boot.
        size: u64,
        /// A file that backs it.
        file: Option<PathBuf>,
        /// Whether other processes can map it. Default: no.
        shared: Option<bool>,
        /// From the host's pool of huge pages. Default: no.
        hugepages: Option<bool>,
        /// Bytes of a huge page. Default: the host's.
        hugepage_size: Option<u64>,
        /// On which NUMA node of the host.
        host_numa_node: Option<u32>,
        /// Bytes by which it may grow.
        hotplug_size: Option<u64>,
        /// Bytes by which it has grown.
        hotplugged_size: Option<u64>,
        /// Whether all is taken at boot. Default: no.
        prefault: Option<bool>,
        /// Whether swap is set aside. Default: no.
        reserve: Option<bool>,
        /// Whether equal pages may be merged. Default: no.
        mergeable: Option<bool>,
    }
}

words! {
    /// How memory grows.
    HotplugMethod {
        /// In steps of 128 MiB, eight times; it shrinks at the next reboot only.
        #[default]
        Acpi = "Acpi",
        /// Both ways while it runs, with a driver in the guest.
        VirtioMem = "VirtioMem",
    }
}

section! {
    /// What is booted: firmware, or a kernel.
    PayloadConfig {
        /// Firmware, `CLOUDHV.fd`; excludes the kernel.
        firmware: Option<PathBuf>,
        /// A kernel with a PVH entry, or a bzImage.
        kernel: Option<PathBuf>,
        /// The kernel's command line.
        cmdline: Option<String>,
        /// The kernel's initial file system.
        initramfs: Option<PathBuf>,
        /// An IGVM file; in builds that have it.
        igvm: Option<PathBuf>,
        /// Data for attestation; in builds that have it.
        host_data: Option<String>,
    }
}

section! {
    /// A disk.
    DiskConfig pci {
        /// The image or block device.
        path: Option<PathBuf>,
        /// Whether the guest can only read. Default: no.
        readonly: Option<bool>,
        /// Past the host's page cache. Default: no.
        direct: Option<bool>,
        /// Default: 1.
        num_queues: Option<u32>,
        /// Default: 128.
        queue_size: Option<u16>,
        /// Whether another process serves it, on `vhost_socket`. Default: no.
        vhost_user: Option<bool>,
        /// That process's socket.
        vhost_socket: Option<PathBuf>,
        /// A shared budget's name; excludes an own one.
        rate_limit_group: Option<String>,
        /// An own budget.
        rate_limiter_config: Option<RateLimiterConfig>,
        /// The serial number the guest reads, at most 20 bytes.
        serial: Option<String>,
        /// Which processors of the host serve a queue.
        queue_affinity: Vec<VirtQueueAffinity>,
        /// Whether a qcow2 image may name another one behind it. Default: no; then such an image fails at boot.
        backing_files: Option<bool>,
        /// Whether discarded space is given back. Default: yes.
        sparse: Option<bool>,
        /// The format. Always say it: without, the VMM looks, and a raw disk whose first sector it has to guess about
        /// cannot be written there.
        image_type: Option<ImageType>,
        /// How the image is locked against others. Default: [`LockGranularity::ByteRange`].
        lock_granularity: Option<LockGranularity>,
    }
}

words! {
    /// The format of an image. Case counts here, in lower case on the VMM's command line.
    ImageType {
        /// VHD of fixed size.
        FixedVhd = "FixedVhd",
        /// QEMU's.
        Qcow2 = "Qcow2",
        /// The bytes as they are.
        Raw = "Raw",
        /// Hyper-V's.
        Vhdx = "Vhdx",
        /// To be found out.
        #[default]
        Unknown = "Unknown",
    }
}

words! {
    /// How an image is locked.
    LockGranularity {
        /// Its bytes.
        #[default]
        ByteRange = "ByteRange",
        /// Whatever its size becomes.
        Full = "Full",
    }
}

section! {
    /// Which processors of the host serve a queue.
    VirtQueueAffinity {
        /// The queue, from 0.
        queue_index: u16,
        /// Processors of the host, from 0.
        host_cpus: Vec<u64>,
    }
}

section! {
    /// Limits on bytes and operations.
    RateLimiterConfig {
        /// Bytes.
        bandwidth: Option<TokenBucket>,
        /// Operations.
        ops: Option<TokenBucket>,
    }
}

section! {
    /// A budget that fills itself again: `size` in each `refill_time`.
    TokenBucket {
        /// Tokens it holds.
        size: u64,
        /// Tokens on top, once.
        one_time_burst: Option<u64>,
        /// Milliseconds until it is full again; at least 100, the pause of the limiter.
        refill_time: u64,
    }
}

section! {
    /// A budget that several disks share.
    RateLimitGroupConfig {
        /// Its name.
        id: String,
        /// Its limits.
        rate_limiter_config: RateLimiterConfig,
    }
}

section! {
    /// A network interface.
    NetConfig pci {
        /// The host's tap. One that does not exist the VMM would make itself, outside any bridge.
        tap: Option<String>,
        /// The tap's address, set by the VMM. A tap of ours carries none: leave it out.
        ip: Option<String>,
        /// The mask to that.
        mask: Option<String>,
        /// The guest's MAC address. Default: a random one.
        mac: Option<String>,
        /// The tap's MAC address.
        host_mac: Option<String>,
        /// Bytes of a packet.
        mtu: Option<u16>,
        /// Twice the number of pairs. Default: 2.
        num_queues: Option<u32>,
        /// Default: 256.
        queue_size: Option<u16>,
        /// Whether another process serves it, on `vhost_socket`. Default: no.
        vhost_user: Option<bool>,
        /// That process's socket.
        vhost_socket: Option<PathBuf>,
        /// Who listens on it. Default: [`VhostMode::Client`].
        vhost_mode: Option<VhostMode>,
        /// Limits, for each direction by itself.
        rate_limiter_config: Option<RateLimiterConfig>,
        /// Default: yes.
        offload_tso: Option<bool>,
        /// Default: yes.
        offload_ufo: Option<bool>,
        /// Default: yes.
        offload_csum: Option<bool>,
    }
}

words! {
    /// Who listens on a vhost-user socket.
    VhostMode {
        /// The other process.
        #[default]
        Client = "Client",
        /// The VMM.
        Server = "Server",
    }
}

section! {
    /// The source of randomness.
    RngConfig pci {
        /// A file of the host, `/dev/urandom`.
        src: PathBuf,
    }
}

section! {
    /// The virtio clock.
    RtcConfig pci {}
}

section! {
    /// The balloon: memory the guest gives back.
    BalloonConfig pci {
        /// Bytes taken from the guest.
        size: u64,
        /// Whether the guest gets it back when it is short. Default: no.
        deflate_on_oom: Option<bool>,
        /// Whether idle pages go back to the host. Default: no.
        free_page_reporting: Option<bool>,
    }
}

section! {
    /// A shared folder, served by virtiofsd.
    FsConfig pci {
        /// The name the guest mounts.
        tag: String,
        /// virtiofsd's socket.
        socket: PathBuf,
        /// Default: 1.
        num_queues: Option<u32>,
        /// Default: 1024.
        queue_size: Option<u16>,
    }
}

section! {
    /// A vhost-user device of any kind.
    GenericVhostUserConfig pci {
        /// The serving process's socket.
        socket: PathBuf,
        /// One number per queue.
        queue_sizes: Vec<u16>,
        /// The virtio device type.
        device_type: u32,
    }
}

section! {
    /// Persistent memory.
    PmemConfig pci {
        /// The file behind it.
        file: PathBuf,
        /// Bytes, a multiple of 2 MiB. Default: the file's.
        size: Option<u64>,
        /// Whether writes are forgotten. Default: no.
        discard_writes: Option<bool>,
    }
}

words! {
    /// Where a console leads.
    ConsoleMode {
        /// There is none.
        Off = "Off",
        /// A pseudo-terminal; its path changes at each boot, see `vm.info`.
        Pty = "Pty",
        /// The VMM's own terminal.
        Tty = "Tty",
        /// A file, emptied at each boot, reboot and restore.
        File = "File",
        /// A socket on which the VMM listens; for the serial port only. One that was left over must be removed first.
        Socket = "Socket",
        /// Nowhere.
        #[default]
        Null = "Null",
    }
}

section! {
    /// The serial port.
    SerialConfig {
        /// Where it leads.
        mode: ConsoleMode,
        /// The file, or the pseudo-terminal in what is read.
        file: Option<PathBuf>,
        /// The socket.
        socket: Option<PathBuf>,
    }
}

section! {
    /// The virtio console.
    ConsoleConfig pci {
        /// Where it leads; [`ConsoleMode::Socket`] is refused.
        mode: ConsoleMode,
        /// The file, or the pseudo-terminal in what is read.
        file: Option<PathBuf>,
        /// Unused by v53.
        socket: Option<PathBuf>,
    }
}

section! {
    /// The debug port.
    DebugConsoleConfig {
        /// Where it leads.
        mode: ConsoleMode,
        /// The file.
        file: Option<PathBuf>,
        /// The I/O port. Default: 0xe9.
        iobase: Option<u16>,
    }
}

section! {
    /// A device of the host that is passed through (VFIO).
    DeviceConfig pci {
        /// Its path in sysfs, `/sys/bus/pci/devices/0000:01:00.0`.
        path: Option<PathBuf>,
        /// The group of devices that talk to each other directly.
        x_nv_gpudirect_clique: Option<u8>,
        /// Regions that are not mapped.
        x_exclude_mmap_bars: Vec<u64>,
    }
}

section! {
    /// A device in another process (vfio-user).
    UserDeviceConfig pci {
        /// That process's socket.
        socket: PathBuf,
    }
}

section! {
    /// A vDPA device.
    VdpaConfig pci {
        /// `/dev/vhost-vdpa-0`.
        path: PathBuf,
        /// Default: 1.
        num_queues: Option<u32>,
    }
}

section! {
    /// The socket between guest and host.
    VsockConfig pci {
        /// The guest's address, at least 3 and unique on the host.
        cid: u32,
        /// Where the VMM listens. One that was left over makes the boot fail.
        socket: PathBuf,
    }
}

section! {
    /// A NUMA node.
    NumaConfig {
        /// Its number, from 0.
        guest_numa_id: u32,
        /// Its processors.
        cpus: Vec<u32>,
        /// How far others are.
        distances: Vec<NumaDistance>,
        /// Its zones of memory, by name.
        memory_zones: Vec<String>,
        /// Its PCI segments.
        pci_segments: Vec<u16>,
        /// Its device, by name.
        device_id: Option<String>,
    }
}

section! {
    /// How far a NUMA node is.
    NumaDistance {
        /// Which.
        destination: u32,
        /// 10 is here.
        distance: u8,
    }
}

section! {
    /// Weights of a PCI segment.
    PciSegmentConfig {
        /// Which.
        pci_segment: u16,
        /// Default: 1.
        mmio32_aperture_weight: Option<u32>,
        /// Default: 1.
        mmio64_aperture_weight: Option<u32>,
    }
}

section! {
    /// What the guest reads of its machine, and the layout of its PCI.
    PlatformConfig {
        /// Default: 1.
        num_pci_segments: Option<u16>,
        /// Segments behind the virtual IOMMU.
        iommu_segments: Vec<u16>,
        /// Default: 64.
        iommu_address_width_bits: Option<u8>,
        /// SMBIOS type 1.
        #[serde(alias = "serial_number")]
        system_serial_number: Option<String>,
        /// SMBIOS type 1.
        #[serde(alias = "uuid")]
        system_uuid: Option<String>,
        /// SMBIOS type 11.
        oem_strings: Vec<String>,
        /// SMBIOS type 1.
        system_manufacturer: Option<String>,
        /// SMBIOS type 1.
        system_product_name: Option<String>,
        /// SMBIOS type 1.
        system_version: Option<String>,
        /// SMBIOS type 1.
        system_family: Option<String>,
        /// SMBIOS type 1.
        system_sku_number: Option<String>,
        /// SMBIOS type 3.
        chassis_asset_tag: Option<String>,
        /// Intel's confidential machines; in builds that have it.
        tdx: Option<bool>,
        /// AMD's confidential machines; in builds that have it.
        sev_snp: Option<bool>,
        /// Passing through by iommufd. Default: no.
        iommufd: Option<bool>,
        /// Whether devices reach each other directly. Default: yes.
        vfio_p2p_dma: Option<bool>,
    }
}

section! {
    /// The trusted platform module.
    TpmConfig {
        /// swtpm's socket.
        socket: PathBuf,
    }
}

section! {
    /// A path the VMM may use although it was not told of it before it locked itself in.
    LandlockConfig {
        /// A file or a folder with all below.
        path: PathBuf,
        /// `r`, `w` or `rw`.
        access: String,
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
