//! The devices of a machine. All but the ports have a name and a place on the PCI bus.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Absent, or_default};

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
