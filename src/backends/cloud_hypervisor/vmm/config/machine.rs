//! What a machine is made of besides its devices: processors, memory, what it boots, what it calls itself.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Absent, or_default};

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

impl LandlockConfig {
    /// A path, with `r`, `w` or `rw`.
    pub fn new(path: impl Into<PathBuf>, access: &str) -> Self {
        Self { path: path.into(), access: access.to_owned(), ..Self::default() }
    }
}
