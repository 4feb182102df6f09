//! What the host itself does with a device: disks that are in use, network cards that are up, functions that it lends.
//!
//! An administrator must not lose his host over a slip of a finger, so what cannot be found out counts as needed.

use std::{
    collections::BTreeSet,
    fs::{self, OpenOptions},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use rustix::io::Errno;

use crate::{
    backends::cloud_hypervisor::host::{
        hint,
        mounts::{Mount, mounts},
    },
    model::{Error, Result},
};

/// Looks at all that hangs on a device.
///
/// # Errors
/// [`Class::Conflict`](crate::model::Class::Conflict) with the first thing that the host uses, and how to do without.
pub(super) fn by_host(root: &Path, device: &Path) -> Result<()> {
    let device = fs::canonicalize(device).unwrap_or_else(|_| device.to_owned());
    let lent = text(&device.join("sriov_numvfs")).parse::<u32>().unwrap_or(0);
    if lent > 0 {
        return Err(Error::conflict(format!("its {lent} virtual functions go with it"))
            .with_hint(hint(format!("take them away first: `echo 0 | sudo tee {}/sriov_numvfs`", device.display()))));
    }
    cards(root, &device)?;
    disks(root, &device)
}

/// The entries of a class (`net`, `block`) that hang on a device.
fn of_class(root: &Path, class: &str, device: &Path) -> Vec<String> {
    let mine = |path: &PathBuf| fs::canonicalize(path).is_ok_and(|path| path.starts_with(device));
    entries(&root.join("sys/class").join(class)).into_iter().filter(mine).filter_map(|path| name(&path)).collect()
}

fn cards(root: &Path, device: &Path) -> Result<()> {
    const UP: u32 = 1;
    let carriers = carriers(root);
    for card in of_class(root, "net", device) {
        if carriers.contains(&card) {
            return Err(Error::conflict(format!("its network card {card} carries the default route"))
                .with_hint(hint("let the host reach the world by another card first")));
        }
        let flags = text(&root.join("sys/class/net").join(&card).join("flags"));
        let down = u32::from_str_radix(flags.trim_start_matches("0x"), 16).is_ok_and(|flags| flags & UP == 0);
        if !down {
            return Err(Error::conflict(format!("its network card {card} is up"))
                .with_hint(hint(format!("if nobody comes in by it: `sudo ip link set {card} down`"))));
        }
    }
    Ok(())
}

/// The network devices by which a default route goes, and those that these stand on: ports of a bridge, cards of a bond.
fn carriers(root: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let v4 = text(&root.join("proc/net/route"));
    for line in v4.lines().skip(1) {
        let columns: Vec<&str> = line.split_whitespace().collect();
        if let [card, "00000000", ..] = columns[..]
            && columns.get(7) == Some(&"00000000")
        {
            found.insert(card.to_owned());
        }
    }
    let v6 = text(&root.join("proc/net/ipv6_route"));
    for line in v6.lines() {
        let columns: Vec<&str> = line.split_whitespace().collect();
        if columns.first().is_some_and(|to| to.bytes().all(|b| b == b'0')) && columns.get(1) == Some(&"00") {
            found.extend(columns.last().map(|card| (*card).to_owned()));
        }
    }
    let mut new: Vec<String> = found.iter().cloned().collect();
    while let Some(card) = new.pop() {
        let below = entries(&root.join("sys/class/net").join(card));
        let below = below.iter().filter_map(|path| Some(name(path)?.strip_prefix("lower_")?.to_owned()));
        new.extend(below.filter(|below| found.insert(below.clone())));
    }
    found
}

fn disks(root: &Path, device: &Path) -> Result<()> {
    let block = root.join("sys/class/block");
    let mut all: BTreeSet<String> = of_class(root, "block", device).into_iter().collect();
    let mut new: Vec<String> = all.iter().cloned().collect();
    // A path of several to one NVMe disk is hidden behind that: `nvme0c1n1` behind `nvme0n1`.
    new.extend(all.iter().filter_map(|path| behind(path)).collect::<Vec<_>>());
    all.extend(new.iter().cloned());
    while let Some(disk) = new.pop() {
        let inside = entries(&block.join(&disk)).into_iter().filter(|path| path.join("partition").exists());
        let above = inside.chain(entries(&block.join(&disk).join("holders")));
        new.extend(above.filter_map(|path| name(&path)).filter(|above| all.insert(above.clone())));
    }
    if let Some((disk, place)) = mounted(root, &all) {
        return Err(Error::conflict(format!("the file system on {disk} is mounted on {place}"))
            .with_hint(hint("a VM can have a disk of its own beside it: `pvectl vm add disk`")));
    }
    let swaps = text(&root.join("proc/swaps"));
    if let Some(disk) = swaps
        .lines()
        .skip(1)
        .filter_map(|line| disk_of(root, line.split_whitespace().next()?))
        .find(|disk| all.contains(disk))
    {
        return Err(
            Error::conflict(format!("the host swaps to {disk}")).with_hint(hint(format!("`sudo swapoff /dev/{disk}`")))
        );
    }
    all.iter().filter(|disk| text(&block.join(disk).join("hidden")) != "1").try_for_each(|disk| idle(root, disk))
}

fn behind(path: &str) -> Option<String> {
    let (subsystem, rest) = path.strip_prefix("nvme")?.split_once('c')?;
    Some(format!("nvme{subsystem}n{}", rest.split_once('n')?.1))
}

/// The first of these disks with a file system that is mounted, and where.
fn mounted(root: &Path, disks: &BTreeSet<String>) -> Option<(String, String)> {
    let block = root.join("sys/class/block");
    let numbers: Vec<(String, &String)> =
        disks.iter().map(|disk| (text(&block.join(disk).join("dev")), disk)).collect();
    mounts(root).into_iter().find_map(|Mount { number, place, source, .. }| {
        let by_number = numbers.iter().find(|(own, _)| *own == number).map(|(_, disk)| (*disk).clone());
        // Some file systems have a number of their own, and name their disk as the source.
        let by_source = || source.and_then(|source| disk_of(root, &source)).filter(|disk| disks.contains(disk));
        Some((by_number.or_else(by_source)?, place))
    })
}

/// The disk that a path below `/dev` leads to.
fn disk_of(root: &Path, path: &str) -> Option<String> {
    name(&fs::canonicalize(root.join(path.strip_prefix("/dev/").map(|rest| format!("dev/{rest}"))?)).ok()?)
}

/// Whether nobody holds a disk: not a file system, nor a volume manager, nor another VM. The kernel lets only one have it
/// for himself.
fn idle(root: &Path, disk: &str) -> Result<()> {
    let node = root.join("dev").join(disk);
    let exclusive = rustix::fs::OFlags::EXCL.bits().cast_signed();
    match OpenOptions::new().read(true).custom_flags(exclusive).open(&node) {
        Ok(_) => Ok(()),
        Err(error) => match Errno::from_io_error(&error) {
            // A drive without a disc.
            Some(Errno::NOMEDIUM) => Ok(()),
            Some(Errno::BUSY) => Err(Error::conflict(format!("its disk {disk} is in use"))
                .with_hint(hint(format!("`lsblk /dev/{disk}` shows by what")))),
            _ => Err(Error::conflict(format!("whether its disk {disk} is in use cannot be seen: {error}"))),
        },
    }
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

fn name(path: &Path) -> Option<String> {
    Some(path.file_name()?.to_string_lossy().into_owned())
}

fn text(file: &Path) -> String {
    fs::read_to_string(file).map(|text| text.trim().to_owned()).unwrap_or_default()
}
