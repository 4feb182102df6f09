//! The table of all keys that `POST /nodes/{node}/qemu` takes: what each is under Cloud Hypervisor, and how a change of
//! it reaches a machine that runs.
//!
//! A table; what a row leads to is in `check`, `build` and `changes`. The parts of property strings are in `parts`.

mod parts;

pub(super) use parts::PROPERTIES;

/// What a key is under Cloud Hypervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Way {
    /// Cloud Hypervisor has it.
    Native,
    /// Done by pvectl: data of its own, the host's network, files.
    Manager,
    /// Needs something in the guest to answer.
    Agent,
    /// Some of its values, or some of its effect.
    Partial,
    /// Refused.
    Unsupported,
    /// Accepted without effect, which a warning says.
    Ignored,
}

/// What is done with a value that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// Nothing here: it has its effect, or `build` looks at it.
    Taken,
    /// A warning, unless it is one of these values.
    Ignored { unless: &'static [&'static str], why: &'static str },
    /// A refusal, unless it is one of these values.
    Refused { unless: &'static [&'static str], why: &'static str, instead: &'static str },
}

/// How a change of a key reaches a machine that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Apply {
    /// It is data of pvectl's own and counts at once.
    Now,
    /// It waits for the next start.
    Pending,
    /// By a resize of the processors.
    Vcpus,
    /// By a resize of the memory.
    Memory,
    /// By a resize of the balloon.
    Balloon,
    /// By adding, removing or growing a disk.
    Disk,
    /// By adding or removing an interface, or by its link.
    Net,
    /// By adding or removing a host device.
    Device,
    /// By adding or removing a shared directory.
    Fs,
    /// By the control group that the VMM runs in.
    Cgroup,
    /// Not a key of a configuration: a parameter of the call that creates.
    Create,
}

/// One row: a key as the API's description writes it (`net[n]`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// What it is here.
    pub way: Way,
    /// How a change of it reaches a machine that runs.
    pub apply: Apply,
    pub(super) rule: Rule,
}

impl Key {
    /// Whether this row is about such a key: `net[n]` is about `net0`.
    pub fn is(&self, key: &str) -> bool {
        let Some(base) = self.name.strip_suffix("[n]") else { return self.name == key };
        number(key, base).is_some()
    }
}

/// The number of a numbered key.
pub(super) fn number(key: &str, base: &str) -> Option<u16> {
    let digits = key.strip_prefix(base)?;
    let plain = digits.bytes().all(|b| b.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'));
    if plain { digits.parse().ok() } else { None }
}

/// The row of a key, Proxmox's or our own.
pub fn key(name: &str) -> Option<&'static Key> {
    KEYS.iter().chain(OWN).find(|row| row.is(name))
}

const fn taken(name: &'static str, way: Way, apply: Apply) -> Key {
    Key { name, way, apply, rule: Rule::Taken }
}

const fn ignored(name: &'static str, unless: &'static [&'static str], why: &'static str) -> Key {
    Key { name, way: Way::Ignored, apply: Apply::Now, rule: Rule::Ignored { unless, why } }
}

const fn refused(name: &'static str, why: &'static str, instead: &'static str) -> Key {
    only(name, Way::Unsupported, &[], why, instead)
}

const fn only(
    name: &'static str,
    way: Way,
    unless: &'static [&'static str],
    why: &'static str,
    instead: &'static str,
) -> Key {
    Key { name, way, apply: Apply::Pending, rule: Rule::Refused { unless, why, instead } }
}

/// Keys of our own, which Proxmox does not have and, with their `x-`, will not have: direct boot, what the first disk
/// was made from, whether the VMM is confined, and a merge patch over the finished VmConfig.
pub const OWN: &[Key] = &[
    taken(KERNEL, Way::Native, Apply::Pending),
    taken(INITRD, Way::Native, Apply::Pending),
    taken(CMDLINE, Way::Native, Apply::Pending),
    taken(IMAGE, Way::Manager, Apply::Now),
    taken(LANDLOCK, Way::Native, Apply::Pending),
    taken(PATCH, Way::Native, Apply::Pending),
    taken("x-hostpci[n]", Way::Manager, Apply::Now),
    taken("x-net[n]", Way::Manager, Apply::Now),
    taken("x-scsi[n]", Way::Manager, Apply::Now),
    taken("x-virtio[n]", Way::Manager, Apply::Now),
    taken("x-virtiofs[n]", Way::Manager, Apply::Now),
    taken(SERIAL_LOG, Way::Manager, Apply::Pending),
];

/// The kernel to boot without a firmware, a path.
pub const KERNEL: &str = "x-kernel";
/// The kernel's initial ram disk, a path.
pub const INITRD: &str = "x-initrd";
/// The kernel's command line.
pub const CMDLINE: &str = "x-cmdline";
/// The image that the first disk was made from, a name in the store of images.
pub const IMAGE: &str = "x-image";
/// Whether the VMM locks itself into its VM's files, `0` or `1`. Not where nothing is said: what lies elsewhere could
/// then not be added while it runs.
pub const LANDLOCK: &str = "x-landlock";
/// A JSON merge patch (RFC 7396) over the VmConfig, for what Proxmox has no key for.
pub const PATCH: &str = "x-ch-config";

/// What is noted of a device beside Proxmox's key for it, `x-virtio1: id=data1,iommu=1`: `id`, the name by which it is
/// taken away; of a disk `iommu`, whether it is behind the guest's IOMMU; of a shared directory `source`, which
/// directory of this host it is, `readonly` and `sandbox`, how it is served, and `socket`, where its virtiofsd listens, ours
/// if there is a `source`.
pub fn note(device: &str) -> String {
    format!("{NOTE}{device}")
}

/// The device that a note is about: `virtio1` of `x-virtio1`.
pub fn noted(key: &str) -> Option<&str> {
    let is_note = |row: &&Key| row.name.ends_with("[n]") && row.is(key);
    key.strip_prefix(NOTE).filter(|_| OWN.iter().any(|row| is_note(&row)))
}

const NOTE: &str = "x-";
/// Whether all that the guest says on its serial port goes into a log, instead of to a console: `1` or `0`.
pub const SERIAL_LOG: &str = "x-serial-log";

const NO_GUEST_CLOCK: &str = "the guest's clock is the host's, in UTC";
const SEE_DISPLAY: &str = "leave it out; the console is `pvectl vm console`";
const NO_BURIED_DEVICE: &str = "leave it out, or pass a host device through with hostpci0";

/// Every key of the call that creates a machine.
pub const KEYS: &[Key] = &[
    only("acpi", Way::Partial, &["1"], "its machine always has ACPI", "leave acpi out"),
    taken("affinity", Way::Native, Apply::Pending),
    taken("agent", Way::Agent, Apply::Pending),
    taken("allow-ksm", Way::Native, Apply::Pending),
    refused("amd-sev", "release builds of Cloud Hypervisor have no SEV", "leave amd-sev out"),
    taken("arch", Way::Partial, Apply::Pending),
    taken("archive", Way::Manager, Apply::Create),
    refused("args", "its arguments are QEMU's", "patch the machine's VmConfig with the key x-ch-config"),
    refused("audio0", "it emulates no sound card", NO_BURIED_DEVICE),
    taken("autostart", Way::Manager, Apply::Now),
    taken("balloon", Way::Partial, Apply::Balloon),
    taken("bios", Way::Partial, Apply::Pending),
    taken("boot", Way::Partial, Apply::Pending),
    taken("bootdisk", Way::Partial, Apply::Pending),
    taken("bwlimit", Way::Manager, Apply::Create),
    taken("cdrom", Way::Manager, Apply::Disk),
    taken("cicustom", Way::Manager, Apply::Pending),
    taken("cipassword", Way::Manager, Apply::Pending),
    only(
        "citype",
        Way::Partial,
        &["nocloud"],
        "the seed that pvectl writes is NoCloud's",
        "leave citype out; every current image reads NoCloud",
    ),
    taken("ciupgrade", Way::Manager, Apply::Pending),
    taken("ciuser", Way::Manager, Apply::Pending),
    taken("cores", Way::Native, Apply::Pending),
    taken("cpu", Way::Partial, Apply::Pending),
    taken("cpulimit", Way::Manager, Apply::Cgroup),
    taken("cpuunits", Way::Manager, Apply::Cgroup),
    taken("description", Way::Manager, Apply::Now),
    Key {
        name: "efidisk0",
        way: Way::Partial,
        apply: Apply::Pending,
        rule: Rule::Ignored { unless: &[], why: "the firmware keeps no variables between starts" },
    },
    taken("force", Way::Manager, Apply::Create),
    taken("freeze", Way::Partial, Apply::Pending),
    only(
        "ha-managed",
        Way::Unsupported,
        &["0"],
        "there is no cluster to move the machine to",
        "use `onboot` to have it started with the host",
    ),
    taken("hookscript", Way::Manager, Apply::Now),
    taken("hostpci[n]", Way::Native, Apply::Device),
    taken("hotplug", Way::Native, Apply::Now),
    taken("hugepages", Way::Native, Apply::Pending),
    taken("ide[n]", Way::Partial, Apply::Disk),
    taken("import-working-storage", Way::Manager, Apply::Create),
    refused("intel-tdx", "release builds of Cloud Hypervisor have no TDX", "leave intel-tdx out"),
    taken("ipconfig[n]", Way::Manager, Apply::Pending),
    refused("ivshmem", "its release builds share no memory between machines", "share a directory with virtiofs0"),
    ignored("keephugepages", &["0"], "huge pages go back to the host when the machine stops"),
    ignored("keyboard", &[], "there is no display to type at"),
    only("kvm", Way::Partial, &["1"], "it runs on KVM alone", "leave kvm out"),
    only(
        "live-restore",
        Way::Unsupported,
        &["0"],
        "a machine cannot run while its disks are restored",
        "leave live-restore out and start it afterwards",
    ),
    ignored("localtime", &["0"], NO_GUEST_CLOCK),
    taken("lock", Way::Manager, Apply::Now),
    taken("machine", Way::Partial, Apply::Pending),
    taken("memory", Way::Native, Apply::Memory),
    taken("migrate_downtime", Way::Native, Apply::Now),
    only("migrate_speed", Way::Unsupported, &["0"], "it cannot limit a migration's speed", "leave migrate_speed out"),
    taken("name", Way::Manager, Apply::Now),
    taken("nameserver", Way::Manager, Apply::Pending),
    taken("net[n]", Way::Partial, Apply::Net),
    taken("node", Way::Manager, Apply::Create),
    taken("numa", Way::Native, Apply::Pending),
    taken("numa[n]", Way::Partial, Apply::Pending),
    taken("onboot", Way::Manager, Apply::Now),
    taken("ostype", Way::Partial, Apply::Pending),
    refused("parallel[n]", "it has no parallel port", "use the serial port, serial0=socket"),
    taken("pool", Way::Manager, Apply::Now),
    taken("protection", Way::Manager, Apply::Now),
    only(
        "reboot",
        Way::Partial,
        &["1"],
        "it cannot end when the guest reboots",
        "leave reboot out; `pvectl vm restart` stops and starts",
    ),
    taken("rng0", Way::Native, Apply::Pending),
    taken("sata[n]", Way::Partial, Apply::Disk),
    taken("scsi[n]", Way::Native, Apply::Disk),
    ignored("scsihw", &["virtio-scsi-pci", "virtio-scsi-single"], "disks are always virtio block devices"),
    taken("searchdomain", Way::Manager, Apply::Pending),
    taken("serial[n]", Way::Partial, Apply::Pending),
    ignored("shares", &[], "nothing moves memory between machines by itself"),
    taken("smbios1", Way::Native, Apply::Pending),
    refused("smp", "it is Proxmox's old name of the number of processors", "use cores and sockets"),
    taken("sockets", Way::Native, Apply::Pending),
    refused("spice_enhancements", "there is no display", SEE_DISPLAY),
    taken("sshkeys", Way::Manager, Apply::Pending),
    taken("start", Way::Manager, Apply::Create),
    ignored("startdate", &["now"], NO_GUEST_CLOCK),
    taken("startup", Way::Manager, Apply::Now),
    taken("storage", Way::Manager, Apply::Create),
    ignored("tablet", &["0"], "there is no display to point at"),
    taken("tags", Way::Manager, Apply::Now),
    ignored("tdf", &["0"], "KVM keeps the guest's time"),
    taken("template", Way::Manager, Apply::Now),
    taken("tpmstate0", Way::Partial, Apply::Pending),
    taken("unique", Way::Manager, Apply::Create),
    taken("unused[n]", Way::Manager, Apply::Now),
    refused("usb[n]", "it emulates no USB", "pass the USB controller through with hostpci0"),
    taken("vcpus", Way::Native, Apply::Vcpus),
    taken("vga", Way::Unsupported, Apply::Pending),
    taken("virtio[n]", Way::Native, Apply::Disk),
    taken("virtiofs[n]", Way::Native, Apply::Fs),
    only(
        "vmgenid",
        Way::Unsupported,
        &["0"],
        "it tells the guest no generation",
        "leave vmgenid out; a clone gets an instance id of its own, by which cloud-init renews keys",
    ),
    taken("vmid", Way::Manager, Apply::Create),
    taken("vmstatestorage", Way::Manager, Apply::Now),
    taken("watchdog", Way::Partial, Apply::Pending),
];
