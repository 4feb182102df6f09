//! Growing a disk that no VM uses; never shrinking one.
//!
//! A running VM's disk is grown by the VMM, which can do that for disks without an image below.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use super::{
    Format, Header, chain, failed, held, inspect,
    making::sectors,
    qcow2::{CORRUPT, DIRTY, EXTENDED_L2, EXTERNAL_DATA},
};
use crate::{
    backends::cloud_hypervisor::failpoint::{Point, reach},
    model::{Error, Hint, Result, Size},
};

/// Makes a disk larger, to whole sectors; gives its exact size. A disk that has the size already is left alone. What lies
/// below it must be in the `managed` folders, and is left alone too: the guest sees zeros behind its end.
///
/// # Errors
/// [`Class::Usage`](crate::model::Class::Usage) for a smaller size, in Proxmox's words, and for images that cannot be
/// grown, with the way out; [`Class::Conflict`](crate::model::Class::Conflict) for one in use.
pub fn grow(path: &Path, format: Format, size: u64, managed: &[PathBuf]) -> Result<u64> {
    let size = sectors(size)?;
    if let Some(held) = held(path)? {
        return Err(held.conflict(path));
    }
    let told = |error| failed("grow", path, error);
    let file = OpenOptions::new().read(true).write(true).open(path).map_err(told)?;
    match format {
        Format::Raw => {
            if larger(file.metadata().map_err(told)?.len(), size)? {
                file.set_len(size).and_then(|()| file.sync_all()).map_err(told)?;
                reach(Point::Grown);
            }
        }
        Format::Qcow2 => {
            let header = inspect(path)?
                .qcow2
                .ok_or_else(|| Error::usage(format!("`{}` should be qcow2 and is raw", path.display())))?;
            if larger(header.virtual_size, size)? {
                refuse(path, &header, size)?;
                refuse_hidden(path, header.virtual_size, managed)?;
                grow_qcow2(&file, &header, size).map_err(told)?;
            }
        }
        Format::Vhd | Format::Vhdx => {
            return Err(ungrown(
                path,
                &format!("it is {format}"),
                &format!("qemu-img convert -O raw {} …", path.display()),
            ));
        }
    }
    Ok(size)
}

/// Whether there is anything to do.
fn larger(now: u64, size: u64) -> Result<bool> {
    if size < now {
        return Err(Error::usage(format!(
            "shrinking disks is not supported: the disk has {}, and {} were asked for",
            Size(now),
            Size(size)
        )));
    }
    Ok(size > now)
}

fn ungrown(path: &Path, why: &str, instead: &str) -> Error {
    Error::usage(format!("`{}` cannot be grown here: {why}", path.display())).with_hint(Hint::Text(instead.to_owned()))
}

/// Refuses what is not understood well enough to be changed.
fn refuse(path: &Path, header: &Header, size: u64) -> Result<()> {
    let resize = format!("`qemu-img resize {} {size}` may", path.display());
    let why = if header.incompatible & (CORRUPT | EXTERNAL_DATA | EXTENDED_L2) == 0 && header.incompatible & DIRTY != 0
    {
        let instead = "start the VM and shut it down once: that puts it in order";
        return Err(ungrown(path, "its VMM did not end in order, and its reference counts may be wrong", instead));
    } else if header.incompatible & (CORRUPT | EXTERNAL_DATA | EXTENDED_L2) != 0 {
        format!("it has features that are not known well enough ({})", header.features().join(", "))
    } else if header.snapshots > 0 {
        "it has snapshots inside".to_owned()
    } else if header.bitmaps {
        "it has bitmaps inside".to_owned()
    } else if header.refcount_order != 4 {
        format!("its reference counts have {} bits", 1 << header.refcount_order)
    } else if header.encrypted {
        "it is encrypted".to_owned()
    } else if size > 1 << 44 {
        return Err(ungrown(path, "16 TiB are the most that a qcow2 disk can have", "use a raw disk"));
    } else {
        return Ok(());
    };
    Err(ungrown(path, &why, &resize))
}

/// Refuses to show what an image below has behind the disk's old end: nobody meant its guest to see that.
fn refuse_hidden(path: &Path, size: u64, managed: &[PathBuf]) -> Result<()> {
    let layers = chain(path, Format::Qcow2, managed)?;
    match layers.get(1).filter(|below| below.virtual_size > size) {
        Some(below) => {
            let why = format!("the image below it, `{}`, is larger than it is", below.path.display());
            Err(ungrown(path, &why, "make a full clone of the VM and grow its disk"))
        }
        None => Ok(()),
    }
}

/// Grows in an order in which a loss of power leaves the old disk or the new one, and at worst clusters that nobody
/// uses: everything new first, then the header, then what was left behind.
fn grow_qcow2(file: &File, header: &Header, size: u64) -> io::Result<()> {
    let cluster = header.cluster();
    let entries = size.div_ceil(header.per_l1_entry());
    let table = |entries: u64| (entries * 8).div_ceil(cluster);
    let l1_size = u32::try_from(entries).map_err(io::Error::other)?.max(header.l1_size);
    let (had, need) = (table(u64::from(header.l1_size)), table(u64::from(l1_size)));
    let mut old = vec![0; header.l1_size as usize * 8];
    file.read_exact_at(&mut old, header.l1_offset)?;
    let mut l1_offset = header.l1_offset;
    if need > had {
        let first = file.metadata()?.len().div_ceil(cluster);
        let first = refer(file, header, first, need, 1)?;
        l1_offset = first * cluster;
        reach(Point::CountsSet);
    }
    // What stands behind the old end may be anything.
    old.resize((need * cluster) as usize, 0);
    file.write_all_at(&old, l1_offset)?;
    file.sync_all()?;
    reach(Point::GrowthReady);
    // Size, encryption (none), entries and place of the first table stand side by side, in one sector.
    let mut fields = Vec::with_capacity(24);
    fields.extend(size.to_be_bytes());
    fields.extend(0_u32.to_be_bytes());
    fields.extend(l1_size.to_be_bytes());
    fields.extend(l1_offset.to_be_bytes());
    file.write_all_at(&fields, 24)?;
    file.sync_all()?;
    reach(Point::Grown);
    if l1_offset != header.l1_offset && had > 0 {
        refer(file, header, header.l1_offset / cluster, had, 0)?;
        file.sync_all()?;
    }
    Ok(())
}

/// Sets the reference counts of clusters, and makes the blocks of counts that are missing: those come first, so the
/// clusters may move behind them. Gives the first of the clusters.
fn refer(file: &File, header: &Header, first: u64, many: u64, count: u16) -> io::Result<u64> {
    let cluster = header.cluster();
    let per_block = cluster / 2;
    let mut table = vec![0; header.refcount_clusters as usize * cluster as usize];
    file.read_exact_at(&mut table, header.refcount_offset)?;
    let block_of = |table: &[u8], index: u64| -> io::Result<u64> {
        let at = usize::try_from(index / per_block * 8).map_err(io::Error::other)?;
        let entry = table.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).map(u64::from_be_bytes);
        entry.ok_or_else(|| io::Error::other("the table of reference counts is full; `qemu-img resize` can grow it"))
    };
    let (mut first, mut blocks) = (first, Vec::new());
    if count > 0 {
        // Each new block is itself a cluster before those that it counts; few are ever needed.
        let mut index = first;
        while index < first + blocks.len() as u64 + many {
            let known = blocks.iter().any(|(covers, _)| *covers == index / per_block);
            if !known && block_of(&table, index)? == 0 {
                blocks.push((index / per_block, first + blocks.len() as u64));
            }
            index += 1;
        }
        // What is counted is inside of the file: were it not, who tries again after a kill would take it for free.
        file.set_len((first + blocks.len() as u64 + many) * cluster)?;
        file.sync_all()?;
        for (covers, place) in &blocks {
            file.write_all_at(&vec![0; cluster as usize], place * cluster)?;
            let at = *covers as usize * 8;
            table[at..at + 8].copy_from_slice(&(place * cluster).to_be_bytes());
        }
    }
    for index in first..first + blocks.len() as u64 + many {
        let block = block_of(&table, index)?;
        if block == 0 || block % cluster != 0 {
            return Err(damaged());
        }
        let place = block + index % per_block * 2;
        let mut before = [0; 2];
        file.read_exact_at(&mut before, place)?;
        // New clusters are nobody's so far, and old ones are used once.
        if u16::from_be_bytes(before) != 1 - count {
            return Err(damaged());
        }
        file.write_all_at(&count.to_be_bytes(), place)?;
    }
    if !blocks.is_empty() {
        file.sync_all()?;
        file.write_all_at(&table, header.refcount_offset)?;
        first += blocks.len() as u64;
    }
    Ok(first)
}

fn damaged() -> io::Error {
    io::Error::other("its reference counts are damaged; `qemu-img check` tells more")
}

#[cfg(test)]
mod tests {
    use std::{fs, process::Command};

    use super::*;
    use crate::{
        backends::cloud_hypervisor::disk::{create, create_raw, overlay, seen::Seen},
        model::Class,
    };

    fn qemu_img(args: &[&str], path: &Path) -> Option<String> {
        match Command::new("qemu-img").args(args).arg(path).output() {
            Ok(output) => {
                assert!(output.status.success(), "{args:?}: {output:?}");
                Some(String::from_utf8(output.stdout).unwrap())
            }
            Err(error) => {
                eprintln!("SKIPPED: no qemu-img to judge by ({error})");
                None
            }
        }
    }

    #[test]
    fn a_raw_disk_grows_and_never_shrinks() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("disk");
        create_raw(&path, 1 << 30).unwrap();
        let grow = |format, size| grow(&path, format, size, &[]);
        assert_eq!(grow(Format::Raw, 2 << 30).unwrap(), 2 << 30);
        assert_eq!(grow(Format::Raw, 2 << 30).unwrap(), 2 << 30, "it has the size already");
        let error = grow(Format::Raw, 1 << 30).unwrap_err();
        assert_eq!(error.class(), Class::Usage);
        assert!(error.message().starts_with("shrinking disks is not supported"), "{error}");
        assert_eq!(fs::metadata(&path).unwrap().len(), 2 << 30);
        assert_eq!(grow(Format::Qcow2, 3 << 30).unwrap_err().class(), Class::Usage);
        assert_eq!(super::grow(&home.path().join("none"), Format::Raw, 1, &[]).unwrap_err().class(), Class::NotFound);
    }

    #[test]
    fn an_overlay_grows_with_its_tables_and_zeros_behind_what_is_below() {
        let home = tempfile::tempdir().unwrap();
        let (base, over) = (home.path().join("base"), home.path().join("over"));
        let folders = [home.path().to_owned()];
        // Its first table has one cluster, which is for 4 TiB; and its end is within one of its clusters.
        let size = (1 << 30) + 512;
        create_raw(&base, size).unwrap();
        let file = OpenOptions::new().write(true).open(&base).unwrap();
        file.write_all_at(&[7; 512], size - 512).unwrap();
        overlay(&over, &base, Format::Raw, None, &folders).unwrap();
        for larger in [(1 << 30) + 1024, 2 << 30, 5 << 40, 9 << 40] {
            assert_eq!(grow(&over, Format::Qcow2, larger, &folders).unwrap(), larger);
            let layers = chain(&over, Format::Qcow2, &folders).unwrap();
            assert_eq!((layers.len(), layers[0].virtual_size), (2, larger), "it lies over its base still");
            let mut seen = Seen::open(&layers).unwrap();
            let mut end = [1; 1024];
            seen.read(size - 512, &mut end).unwrap();
            assert!(end[..512] == [7; 512] && end[512..] == [0; 512]);
            if let Some(told) = qemu_img(&["info", "--output=json"], &over) {
                assert!(told.contains(&format!("\"virtual-size\": {larger}")) && told.contains("/base\""), "{told}");
                qemu_img(&["check", "-q"], &over);
            }
        }
        assert_eq!(fs::metadata(&base).unwrap().len(), size);
        assert!(grow(&over, Format::Qcow2, 1 << 20, &folders).unwrap_err().message().starts_with("shrinking"));
        // What a guest has written stays where it was.
        let io = |what: &str| Command::new("qemu-io").args(["-f", "qcow2", "-c", what]).arg(&over).output();
        match io("write -P 5 8T 64k") {
            Ok(_) => {
                grow(&over, Format::Qcow2, 10 << 40, &folders).unwrap();
                qemu_img(&["check", "-q"], &over);
                let read = io("read -P 5 8T 64k").unwrap();
                assert!(!String::from_utf8_lossy(&read.stdout).contains("failed"), "{read:?}");
            }
            Err(error) => eprintln!("SKIPPED: no qemu-io to write with ({error})"),
        }
    }

    #[test]
    fn an_overlay_does_not_grow_over_what_was_hidden_below_it() {
        let home = tempfile::tempdir().unwrap();
        let (base, over) = (home.path().join("base"), home.path().join("over"));
        let folders = [home.path().to_owned()];
        create_raw(&base, 1 << 30).unwrap();
        overlay(&over, &base, Format::Raw, None, &folders).unwrap();
        OpenOptions::new().write(true).open(&base).unwrap().set_len(2 << 30).unwrap();
        let error = grow(&over, Format::Qcow2, 2 << 30, &folders).unwrap_err();
        assert!(error.message().contains("is larger than it is") && error.hints().len() == 1, "{error}");
        assert_eq!(inspect(&over).unwrap().virtual_size, Some(1 << 30));
    }

    #[test]
    fn a_disk_whose_vmm_died_says_the_way_out() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("disk");
        create(&path, Format::Qcow2, 1 << 30).unwrap();
        OpenOptions::new().write(true).open(&path).unwrap().write_all_at(&DIRTY.to_be_bytes(), 72).unwrap();
        let error = grow(&path, Format::Qcow2, 2 << 30, &[]).unwrap_err();
        assert!(error.message().contains("its VMM did not end") && error.hints().len() == 1, "{error}");
    }

    #[test]
    fn a_qcow2_disk_grows_with_its_tables() {
        let home = tempfile::tempdir().unwrap();
        for (name, cluster_size, sizes) in [
            ("in-place", 65536_u64, [1_u64 << 30, 20 << 30, 1 << 40]),
            // A first table of one cluster covers 32 MiB here, and a block of counts 256 clusters.
            ("new-table", 512, [16 << 20, 100 << 20, 1 << 30]),
            ("new-counts", 4096, [1 << 30, 4 << 40, 8 << 40]),
        ] {
            let path = home.path().join(name);
            let option = format!("cluster_size={cluster_size}");
            let path_text = path.to_str().unwrap();
            let args = ["create", "-q", "-f", "qcow2", "-o", option.as_str(), path_text];
            if qemu_img(&args, Path::new(&sizes[0].to_string())).is_none() {
                return;
            }
            if let Err(error) = Command::new("qemu-io").args(["-c", "write -P 7 1M 64k", path_text]).output() {
                eprintln!("SKIPPED: no qemu-io to write with ({error})");
            }
            for size in &sizes[1..] {
                assert_eq!(grow(&path, Format::Qcow2, *size, &[]).unwrap(), *size);
                assert_eq!(inspect(&path).unwrap().virtual_size, Some(*size));
                qemu_img(&["check", "-q"], &path);
                qemu_img(&["map"], &path);
                let read = Command::new("qemu-io").args(["-c", "read -P 7 1M 64k", path_text]).output();
                assert!(read.is_ok_and(|read| !String::from_utf8_lossy(&read.stdout).contains("failed")), "{name}");
            }
        }
    }
}
