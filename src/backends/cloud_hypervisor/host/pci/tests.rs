//! Over a made-up tree, whose kernel is a function: it moves the links that a driver's coming and going moves.

use std::{cell::Cell, fs, io, os::unix::fs::symlink, path::Path};

use tempfile::TempDir;

use super::*;
use crate::model::Class;

pub(in crate::backends::cloud_hypervisor) const CARD: &str = "0000:01:00.0";

thread_local! {
    /// How many writes are still done before the writer is gone.
    static LEFT: Cell<u32> = const { Cell::new(u32::MAX) };
}

/// What the kernel does when it is told something.
fn kernel(file: &Path, text: &str) -> io::Result<()> {
    let left = LEFT.get();
    if left == 0 {
        return Err(io::ErrorKind::Interrupted.into());
    }
    LEFT.set(left - 1);
    let name = file.file_name().unwrap().to_str().unwrap();
    let bus = file.ancestors().find(|path| path.ends_with("sys/bus/pci")).unwrap();
    let bind = |address: &str, driver: &str| {
        let device = bus.join("devices").join(address);
        let wanted = fs::read_to_string(device.join("driver_override")).unwrap();
        let fits = wanted.trim() == driver || wanted.trim() == NO_OVERRIDE;
        if !fits || bus.join("drivers").join(driver).join("sulks").exists() {
            return Err(io::Error::from_raw_os_error(rustix::io::Errno::NODEV.raw_os_error()));
        }
        symlink(bus.join("drivers").join(driver), device.join("driver"))
    };
    match name {
        "driver_override" => fs::write(file, if text == "\n" { NO_OVERRIDE } else { text }),
        "unbind" => fs::remove_file(bus.join("devices").join(text).join("driver")),
        "bind" => bind(text, file.parent().unwrap().file_name().unwrap().to_str().unwrap()),
        "drivers_probe" => {
            let device = bus.join("devices").join(text);
            let prescribed = fs::read_to_string(device.join("driver_override")).unwrap();
            let natural = fs::read_to_string(device.join("natural")).unwrap_or_default();
            let driver = if prescribed.trim() == NO_OVERRIDE { natural } else { prescribed };
            // One that no driver takes is no failure of the write.
            let _ = bind(text, driver.trim());
            Ok(())
        }
        other => panic!("nobody listens at {other}"),
    }
}

/// A made-up host.
pub(in crate::backends::cloud_hypervisor) struct Tree {
    folder: TempDir,
    pub(in crate::backends::cloud_hypervisor) pci: Pci,
}

impl Tree {
    fn new() -> Self {
        LEFT.set(u32::MAX);
        let folder = tempfile::tempdir().unwrap();
        let pci = Pci { root: folder.path().to_owned(), write: kernel };
        let tree = Self { folder, pci };
        ["vfio-pci", "nvme", "e1000e", "pcieport"]
            .iter()
            .for_each(|driver| tree.folder(&format!("sys/bus/pci/drivers/{driver}")));
        tree.folder("sys/bus/pci/devices");
        tree.folder("dev/vfio");
        tree
    }

    fn folder(&self, path: &str) {
        fs::create_dir_all(self.folder.path().join(path)).unwrap();
    }

    fn file(&self, path: &str, text: &str) {
        let path = self.folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn link(&self, path: &str, to: &str) {
        let path = self.folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(self.folder.path().join(to), path).unwrap();
    }

    pub(in crate::backends::cloud_hypervisor) fn device(&self, address: &str, class: &str, driver: &str, group: &str) {
        let real = format!("sys/devices/pci0000:00/{address}");
        self.file(&format!("{real}/class"), class);
        self.file(&format!("{real}/driver_override"), NO_OVERRIDE);
        self.file(&format!("{real}/natural"), driver);
        self.link(&format!("sys/bus/pci/devices/{address}"), &real);
        if !driver.is_empty() {
            self.link(&format!("{real}/driver"), &format!("sys/bus/pci/drivers/{driver}"));
        }
        if !group.is_empty() {
            let whole = format!("sys/kernel/iommu_groups/{group}");
            self.link(&format!("{whole}/devices/{address}"), &real);
            self.link(&format!("{real}/iommu_group"), &whole);
            self.file(&format!("dev/vfio/{group}"), "");
        }
    }

    fn disk(&self, address: &str, name: &str, number: &str) {
        let real = format!("sys/devices/pci0000:00/{address}/nvme/{name}");
        self.file(&format!("{real}/dev"), number);
        self.link(&format!("sys/class/block/{name}"), &real);
        self.file(&format!("dev/{name}"), "");
    }

    fn card(&self, address: &str, name: &str, flags: &str) {
        let real = format!("sys/devices/pci0000:00/{address}/net/{name}");
        self.file(&format!("{real}/flags"), flags);
        self.link(&format!("sys/class/net/{name}"), &real);
    }

    /// Whether a driver takes no device.
    pub(in crate::backends::cloud_hypervisor) fn sulk(&self, driver: &str, sulks: bool) {
        let mark = format!("sys/bus/pci/drivers/{driver}/sulks");
        match sulks {
            true => self.file(&mark, ""),
            false => fs::remove_file(self.folder.path().join(mark)).unwrap(),
        }
    }

    fn refused(&self, address: &str) -> (Class, String) {
        let error = self.pci.check(address, &[address]).unwrap_err();
        (error.class(), error.message().to_owned())
    }
}

/// A host with one disk that nobody uses.
pub(in crate::backends::cloud_hypervisor) fn host() -> Tree {
    let tree = Tree::new();
    tree.device(CARD, "0x010802", "nvme", "7");
    tree.disk(CARD, "nvme0n1", "259:0");
    tree
}

#[test]
fn a_device_goes_and_comes_back() {
    let tree = host();
    let before = tree.pci.former(CARD);
    assert_eq!(before, Former { driver: Some("nvme".into()), prescribed: None });
    tree.pci.check(CARD, &[CARD]).unwrap();
    tree.pci.take(CARD).unwrap();
    tree.pci.take(CARD).unwrap();
    assert!(tree.pci.is_ready(CARD));
    tree.pci.check(CARD, &[CARD]).unwrap();
    tree.pci.give_back(CARD, &before).unwrap();
    assert_eq!(tree.pci.former(CARD), before);
    tree.pci.give_back(CARD, &before).unwrap();
    assert_eq!(tree.pci.former(CARD), before);

    // One without a driver has none again, and what was prescribed is so again.
    tree.device("0000:02:00.0", "0x030000", "", "8");
    tree.file("sys/devices/pci0000:00/0000:02:00.0/driver_override", "pci-stub");
    let before = tree.pci.former("0000:02:00.0");
    assert_eq!(before, Former { driver: None, prescribed: Some("pci-stub".into()) });
    tree.pci.take("0000:02:00.0").unwrap();
    tree.pci.give_back("0000:02:00.0", &before).unwrap();
    assert_eq!(tree.pci.former("0000:02:00.0"), before);
}

#[test]
fn whatever_step_it_was_cut_short_at_it_comes_back() {
    let tree = host();
    let before = tree.pci.former(CARD);
    for steps in 0..3 {
        LEFT.set(steps);
        let _ = tree.pci.take(CARD).unwrap_err();
        // And the way back is cut short, too.
        for back in 0..3 {
            LEFT.set(back);
            let _ = tree.pci.give_back(CARD, &before);
        }
        LEFT.set(u32::MAX);
        tree.pci.give_back(CARD, &before).unwrap();
        assert_eq!(tree.pci.former(CARD), before, "cut short after {steps}");
    }
}

#[test]
fn what_was_done_to_a_device_meanwhile_counts() {
    let tree = host();
    let before = tree.pci.former(CARD);
    let driver = tree.folder.path().join("sys/bus/pci/devices").join(CARD).join("driver");
    // Somebody gave it another driver.
    tree.pci.take(CARD).unwrap();
    fs::remove_file(&driver).unwrap();
    symlink("/drivers/e1000e", &driver).unwrap();
    tree.pci.give_back(CARD, &before).unwrap();
    assert_eq!(tree.pci.former(CARD), Former { driver: Some("e1000e".into()), prescribed: None });
    fs::remove_file(&driver).unwrap();
    // Its driver does not want it any more, then does.
    tree.pci.take(CARD).unwrap();
    tree.sulk("nvme", true);
    let error = tree.pci.give_back(CARD, &before).unwrap_err();
    assert!(error.hints().iter().any(|hint| format!("{hint:?}").contains("modprobe nvme")), "{error:?}");
    tree.sulk("nvme", false);
    tree.pci.give_back(CARD, &before).unwrap();
    assert_eq!(tree.pci.former(CARD), before);
    // The driver for VMMs does not take it.
    tree.sulk("vfio-pci", true);
    assert_eq!(tree.pci.take(CARD).unwrap_err().class(), Class::Conflict);
    tree.pci.give_back(CARD, &before).unwrap();
    assert_eq!(tree.pci.former(CARD), before);
    // It was pulled out.
    fs::remove_file(tree.folder.path().join("sys/bus/pci/devices").join(CARD)).unwrap();
    tree.pci.give_back(CARD, &before).unwrap();
}

#[test]
fn what_no_vm_can_have_is_refused() {
    let tree = host();
    assert_eq!(tree.refused("0000:09:00.0"), (Class::NotFound, "this host has no PCI device 0000:09:00.0".into()));
    tree.device("0000:00:1c.0", "0x060400", "pcieport", "7");
    assert_eq!(tree.refused("0000:00:1c.0").0, Class::Usage);
    tree.device("0000:03:00.0", "0x020000", "", "");
    assert!(tree.refused("0000:03:00.0").1.contains("no IOMMU group"));
    // A bridge in the group is no matter, nor is what has no driver; another device that is used is.
    tree.device("0000:01:00.2", "0x040300", "", "7");
    tree.pci.check(CARD, &[CARD]).unwrap();
    tree.device("0000:01:00.1", "0x040300", "e1000e", "7");
    let (class, text) = tree.refused(CARD);
    assert_eq!(class, Class::Conflict);
    assert!(text.ends_with("is in its IOMMU group 7: 0000:01:00.1 (e1000e)"), "{text}");
    tree.pci.check(CARD, &[CARD, "0000:01:00.1"]).unwrap();
    tree.pci.take("0000:01:00.1").unwrap();
    tree.pci.check(CARD, &[CARD]).unwrap();
    assert_eq!(tree.pci.together_with(CARD).len(), 4);
    // One that is ready needs its door.
    fs::remove_file(tree.folder.path().join("dev/vfio/7")).unwrap();
    assert!(tree.refused("0000:01:00.1").1.contains("dev/vfio/7"));
}

#[test]
fn a_disk_that_the_host_uses_stays() {
    const ROOT: &str = "22 1 259:1 / / rw - ext4 /dev/root rw\n";
    let partition = |tree: &Tree| {
        let real = format!("sys/devices/pci0000:00/{CARD}/nvme/nvme0n1/nvme0n1p1");
        tree.file(&format!("{real}/dev"), "259:1");
        tree.file(&format!("{real}/partition"), "1");
        tree.link("sys/class/block/nvme0n1p1", &real);
        tree.file("dev/nvme0n1p1", "");
    };
    let tree = host();
    partition(&tree);
    tree.pci.check(CARD, &[CARD]).unwrap();
    tree.file("proc/self/mountinfo", ROOT);
    let (class, text) = tree.refused(CARD);
    assert_eq!(class, Class::Conflict);
    assert_eq!(text, format!("the host needs {CARD}: the file system on nvme0n1p1 is mounted on /"));
    // What a VM has already is not looked at.
    tree.pci.take(CARD).unwrap();
    tree.pci.check(CARD, &[CARD]).unwrap();

    // Below a volume, whose file system has a number of its own.
    let tree = host();
    partition(&tree);
    let volume = "sys/devices/virtual/block/dm-0";
    tree.file(&format!("{volume}/dev"), "253:0");
    tree.link("sys/class/block/dm-0", volume);
    tree.link(&format!("sys/devices/pci0000:00/{CARD}/nvme/nvme0n1/nvme0n1p1/holders/dm-0"), volume);
    tree.file("dev/dm-0", "");
    tree.link("dev/mapper/vg-home", "dev/dm-0");
    tree.pci.check(CARD, &[CARD]).unwrap();
    tree.file("proc/self/mountinfo", "30 22 0:41 /sub /home rw shared:1 - btrfs /dev/mapper/vg-home rw\n");
    assert!(tree.refused(CARD).1.contains("dm-0 is mounted on /home"), "{}", tree.refused(CARD).1);
    tree.file("proc/self/mountinfo", "");
    tree.file("proc/swaps", "Filename Type Size Used Priority\n/dev/mapper/vg-home partition 1 0 -2\n");
    assert!(tree.refused(CARD).1.contains("swaps to dm-0"));

    // Behind several paths.
    let tree = Tree::new();
    tree.device(CARD, "0x010802", "nvme", "7");
    tree.disk(CARD, "nvme3c1n2", "0:0");
    tree.file(&format!("sys/devices/pci0000:00/{CARD}/nvme/nvme3c1n2/hidden"), "1");
    let head = "sys/devices/virtual/nvme-subsystem/nvme-subsys3/nvme3n2";
    tree.file(&format!("{head}/dev"), "259:5");
    tree.link("sys/class/block/nvme3n2", head);
    tree.file("dev/nvme3n2", "");
    tree.pci.check(CARD, &[CARD]).unwrap();
    tree.file("proc/self/mountinfo", "30 22 259:5 / /srv rw - xfs /dev/nvme3n2 rw\n");
    assert!(tree.refused(CARD).1.contains("nvme3n2 is mounted on /srv"));

    // What cannot be seen counts as used.
    let tree = host();
    fs::remove_file(tree.folder.path().join("dev/nvme0n1")).unwrap();
    assert!(tree.refused(CARD).1.contains("cannot be seen"));
}

#[test]
fn a_network_card_that_the_host_uses_stays() {
    const HEAD: &str = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\n";
    let tree = Tree::new();
    tree.device(CARD, "0x020000", "e1000e", "7");
    tree.card(CARD, "eth1", "0x1002");
    tree.pci.check(CARD, &[CARD]).unwrap();
    tree.file("sys/class/net/eth1/flags", "0x1003");
    assert!(tree.refused(CARD).1.ends_with("its network card eth1 is up"));
    // A port of the bridge by which the host reaches the world, whatever its own state.
    tree.file("sys/class/net/eth1/flags", "0x1002");
    tree.folder("sys/class/net/vmbr0/lower_eth1");
    tree.file("proc/net/route", &format!("{HEAD}vmbr0\t0002000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\n"));
    tree.pci.check(CARD, &[CARD]).unwrap();
    tree.file("proc/net/route", &format!("{HEAD}vmbr0\t00000000\t0102000A\t0003\t0\t0\t0\t00000000\n"));
    assert!(tree.refused(CARD).1.ends_with("eth1 carries the default route"));
    fs::remove_file(tree.folder.path().join("proc/net/route")).unwrap();
    let zero = "0".repeat(32);
    tree.file("proc/net/ipv6_route", &format!("{zero} 00 {zero} 00 fe80 00000400 1 0 00000003 eth1\n"));
    assert!(tree.refused(CARD).1.ends_with("eth1 carries the default route"));
    fs::remove_file(tree.folder.path().join("proc/net/ipv6_route")).unwrap();
    tree.file(&format!("sys/devices/pci0000:00/{CARD}/sriov_numvfs"), "4\n");
    assert!(tree.refused(CARD).1.contains("4 virtual functions"));
}

#[test]
fn this_host_is_looked_at_without_harm() {
    let pci = Pci::default();
    let entries = fs::read_dir("/sys/bus/pci/devices").into_iter().flatten().flatten();
    for entry in entries {
        let address = entry.file_name().to_string_lossy().into_owned();
        let before = pci.former(&address);
        // Whatever it says.
        let _ = pci.check(&address, &[&address]);
        assert_eq!(pci.former(&address), before);
    }
}
