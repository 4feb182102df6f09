//! What the machine is and how it behaves.

use super::{Key, both, ct, vm};

pub(super) const IDENTITY: &[Key] = &[
    vm("name", "Name, a DNS name").value("NAME").common(),
    ct("hostname", "Host name, a DNS name").value("NAME").called("name").common(),
    both("description", "Notes; Markdown, several lines if you like").value("TEXT").common(),
    both("tags", "All tags at once, with commas between").value("TAGS").common(),
    vm("ostype", "The guest's operating system").value("TYPE").common(),
    ct("ostype", "The distribution inside, which says how it is set up").value("TYPE"),
    vm("smbios1", "What the firmware tells of the machine").value("PARTS"),
    vm("vmgenid", "Generation id; 1 draws a new one, 0 is none").value("UUID"),
];

pub(super) const PROCESSOR: &[Key] = &[
    vm("cores", "Processor cores, per socket").common(),
    ct("cores", "Processor cores; without it all of the node").common(),
    vm("sockets", "Processor sockets").common(),
    both("memory", "Memory: MiB, or with a unit (8G)").value("SIZE").common(),
    ct("swap", "Swap: MiB, or with a unit").value("SIZE").common(),
    vm("cpu", "Processor type and flags: host, x86-64-v2-AES, …").value("TYPE").common(),
    both("cpulimit", "Most processor time, in processors; 0: no limit"),
    both("cpuunits", "Weight against other guests"),
    vm("affinity", "The node's processors it may use: 0,5,8-11").value("CPUS"),
    vm("vcpus", "Processors that are there at the start"),
    vm("smp", "Old name of --sockets"),
    vm("numa", "Show NUMA nodes to the guest"),
    vm("numa[n]", "A NUMA node: cpus=0-1,memory=1024").value("PARTS"),
    vm("kvm", "Use the hardware's virtualization"),
    vm("balloon", "Memory it may be reduced to; 0: no ballooning").value("SIZE"),
    vm("shares", "Weight when memory is ballooned; 0: left out"),
    vm("hugepages", "Size of huge pages in MiB"),
    vm("keephugepages", "Keep huge pages after it stopped"),
    vm("allow-ksm", "Let the node share equal pages of memory"),
    vm("amd-sev", "Encrypt its memory with AMD SEV").value("PARTS"),
    vm("intel-tdx", "Encrypt its memory with Intel TDX").value("PARTS"),
];

pub(super) const BOOT: &[Key] = &[
    both("onboot", "Start it with its node").common(),
    both("startup", "Turn and pauses: order=1,up=30,down=60").value("PARTS"),
    vm("boot", "Boot order: order=scsi0;net0").value("ORDER").common(),
    vm("bootdisk", "Old: the disk to boot from").value("DISK"),
    vm("bios", "Firmware").common(),
    vm("machine", "Machine type: q35, pc, or a version of one").value("TYPE"),
    vm("arch", "Processor architecture"),
    vm("autostart", "Start it again after a crash (not used by PVE)"),
    vm("reboot", "Without it a reboot of the guest powers off"),
    vm("freeze", "Begin with a frozen processor"),
    vm("localtime", "The clock shows local time"),
    vm("startdate", "The clock at the start: now, or a date").value("DATE"),
    vm("tdf", "Make up for lost clock ticks"),
    vm("acpi", "Offer ACPI"),
];

pub(super) const BEHAVIOUR: &[Key] = &[
    both("protection", "Refuse to remove it or its disks"),
    vm("agent", "A guest agent runs in it: yes, or parts").value("BOOL|PARTS").common(),
    both("hookscript", "Script run on start and stop: STORAGE:snippets/X").value("VOLUME"),
    both("lock", "What holds it; only root may set it").value("LOCK"),
    vm("hotplug", "What may change while it runs").value("LIST"),
    vm("migrate_downtime", "Longest pause of a migration, seconds"),
    vm("migrate_speed", "Migration's speed, MB/s; 0: no limit"),
    vm("vmstatestorage", "Where its memory is saved to").value("STORAGE"),
    vm("import-working-storage", "Where disks are unpacked that are imported").value("STORAGE"),
    vm("args", "Further arguments of QEMU; only root").value("ARGS"),
];
