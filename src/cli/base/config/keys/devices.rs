//! What is plugged in.

use super::{Key, both, ct, vm};

pub(super) const DISKS: &[Key] = &[
    vm("scsi[n]", "SCSI disk: STORAGE:SIZE or STORAGE:VOLUME").value("VOLUME").common(),
    vm("virtio[n]", "VirtIO disk").value("VOLUME"),
    vm("sata[n]", "SATA disk").value("VOLUME"),
    vm("ide[n]", "IDE drive: STORAGE:iso/X,media=cdrom, …").value("VOLUME"),
    ct("rootfs", "Root disk: STORAGE:SIZE, such as local-lvm:8").value("VOLUME").common(),
    ct("mp[n]", "Mount point: STORAGE:SIZE,mp=/path").value("VOLUME").common(),
    vm("cdrom", "Old name of --ide2").value("VOLUME"),
    vm("scsihw", "SCSI controller").value("TYPE"),
    vm("efidisk0", "Disk for the settings of OVMF").value("VOLUME"),
    vm("tpmstate0", "Disk for the state of a TPM").value("VOLUME"),
    both("unused[n]", "A disk that is kept and not attached").value("VOLUME"),
    vm("virtiofs[n]", "Directory of the node, by its mapping's id").value("DIR"),
];

pub(super) const NETWORK: &[Key] = &[
    vm("net[n]", "Network card: virtio,bridge=vmbr0,tag=20").value("NET").common(),
    ct("net[n]", "Network card: name=eth0,bridge=vmbr0,ip=dhcp").value("NET").common(),
    both("nameserver", "DNS servers, with commas between").value("IP").common(),
    both("searchdomain", "DNS search domain").value("DOMAIN"),
];

pub(super) const DEVICES: &[Key] = &[
    vm("usb[n]", "USB device of the node: host=1234:5678, spice").value("DEVICE"),
    vm("hostpci[n]", "PCI device of the node: 0000:01:00.0,pcie=1").value("DEVICE"),
    vm("serial[n]", "Serial port: socket, or a device of the node").value("DEVICE"),
    vm("parallel[n]", "Parallel port: a device of the node").value("DEVICE"),
    ct("dev[n]", "Device of the node: /dev/dri/renderD128,gid=44").value("DEVICE"),
    vm("audio0", "Sound card: device=ich9-intel-hda").value("PARTS"),
    vm("rng0", "Random numbers: source=/dev/urandom").value("PARTS"),
    vm("watchdog", "Watchdog: i6300esb,action=reset").value("PARTS"),
    vm("ivshmem", "Memory shared with the node: size=32").value("PARTS"),
];

pub(super) const DISPLAY: &[Key] = &[
    vm("vga", "Graphics card: std, qxl, serial0, none, …").value("TYPE"),
    vm("keyboard", "Keyboard of the VNC console").value("LAYOUT"),
    vm("tablet", "A pointer that knows where it is"),
    vm("spice_enhancements", "More of SPICE: foldersharing=1").value("PARTS"),
    ct("console", "Have a console at /dev/console"),
    ct("cmode", "What the console is"),
    ct("tty", "How many terminals it has"),
];
