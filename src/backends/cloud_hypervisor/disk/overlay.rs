//! Empty disks, and overlays: qcow2 images that hold only what differs from the image below, written here and not by a
//! child process.
//!
//! An overlay is empty when it is made; the VMM fills it.

use std::{
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use super::{
    Format, chain,
    chain::top_size,
    making::{Making, create_raw, sectors},
    qcow2::{EXTENSION_FORMAT, MAGIC},
};
use crate::model::{Error, Result, Size};

/// Clusters of 64 KiB, as everybody's.
const CLUSTER_BITS: u32 = 16;
pub(super) const CLUSTER: u64 = 1 << CLUSTER_BITS;
/// What an entry of the first table stands for.
pub(super) const PER_L1_ENTRY: u64 = CLUSTER / 8 * CLUSTER;
/// How many clusters a block of reference counts is for.
pub(super) const PER_REFCOUNT_BLOCK: u64 = CLUSTER / 2;
/// The table of reference counts, its first block, and the first table, by cluster.
pub(super) const REFCOUNT_TABLE: u64 = 1;
pub(super) const REFCOUNT_BLOCK: u64 = 2;
pub(super) const L1_TABLE: u64 = 3;
const HEADER: usize = 104;

/// Makes an empty overlay over an image in one of the `managed` folders, as large as that image or of a larger `size`.
/// Gives its exact size.
///
/// # Errors
/// [`Class::Usage`](crate::model::Class::Usage) for a size below the image's, or an image that must not be used;
/// [`Class::Conflict`](crate::model::Class::Conflict) if the overlay is there already.
pub fn overlay(
    path: &Path,
    backing: &Path,
    backing_format: Format,
    size: Option<u64>,
    managed: &[PathBuf],
) -> Result<u64> {
    let layers = chain(backing, backing_format, managed)?;
    let below = top_size(&layers);
    let size = sectors(size.unwrap_or(below.0))?;
    if size < below.0 {
        let text = format!("the disk cannot be smaller than its image: {} is below {below}", Size(size));
        return Err(Error::usage(text));
    }
    let base = layers.first().map(|layer| layer.path.as_path()).unwrap_or(backing);
    let Some(name) = base.to_str().filter(|name| name.len() < 1024) else {
        return Err(Error::usage(format!("`{}` cannot stand in the header of an overlay", base.display())));
    };
    write(path, &Image::new(size, Some((name, backing_format)))?)?;
    Ok(size)
}

/// Makes an empty disk of at least `size` bytes, rounded up to whole sectors, that takes no space yet. Gives its exact
/// size.
///
/// # Errors
/// [`Class::Usage`](crate::model::Class::Usage) for a format that is only read here, or a size that a disk cannot have;
/// [`Class::Conflict`](crate::model::Class::Conflict) if it is there already.
pub fn create(path: &Path, format: Format, size: u64) -> Result<u64> {
    match format {
        Format::Raw => create_raw(path, size),
        Format::Qcow2 => {
            let size = sectors(size)?;
            write(path, &Image::new(size, None)?)?;
            Ok(size)
        }
        Format::Vhd | Format::Vhdx => {
            Err(Error::usage(format!("a disk of the format {format} cannot be made here: raw and qcow2 can")))
        }
    }
}

/// Writes an image that is not there yet.
fn write(path: &Path, image: &Image) -> Result<()> {
    let making = Making::begin(path, false)?;
    let write = |bytes: &[u8], at: u64| making.file.write_all_at(bytes, at * CLUSTER);
    write(&image.header, 0)
        .and_then(|()| write(&(REFCOUNT_BLOCK * CLUSTER).to_be_bytes(), REFCOUNT_TABLE))
        .and_then(|()| write(&image.refcounts, REFCOUNT_BLOCK))
        // The first table is a hole: nothing but zeros.
        .and_then(|()| making.file.set_len(image.clusters * CLUSTER))
        .map_err(|error| making.failed(error))?;
    making.finish(0o600, false)
}

/// The parts of an empty image that are not zeros.
pub(super) struct Image {
    pub(super) header: Vec<u8>,
    refcounts: Vec<u8>,
    pub(super) clusters: u64,
}

impl Image {
    pub(super) fn new(size: u64, backing: Option<(&str, Format)>) -> Result<Self> {
        let l1_entries = size.div_ceil(PER_L1_ENTRY);
        let clusters = L1_TABLE + (l1_entries * 8).div_ceil(CLUSTER);
        let Some(l1_size) = u32::try_from(l1_entries).ok().filter(|_| size <= 1 << 44) else {
            return Err(Error::usage(format!("a qcow2 disk of {} is too large; 16 TiB are possible", Size(size))));
        };
        let mut extensions = Vec::new();
        if let Some((_, format)) = backing {
            let name = format.as_str().as_bytes();
            extensions.extend(EXTENSION_FORMAT.to_be_bytes());
            extensions.extend((name.len() as u32).to_be_bytes());
            extensions.extend(name);
            extensions.resize(extensions.len().next_multiple_of(8), 0);
        }
        extensions.extend([0; 8]);
        let backing = backing.map_or("", |(name, _)| name);
        let backing_at = if backing.is_empty() { 0 } else { HEADER + extensions.len() };
        let mut header = Vec::with_capacity(HEADER + extensions.len() + backing.len());
        header.extend(MAGIC);
        header.extend(3_u32.to_be_bytes());
        header.extend((backing_at as u64).to_be_bytes());
        header.extend((backing.len() as u32).to_be_bytes());
        header.extend(CLUSTER_BITS.to_be_bytes());
        header.extend(size.to_be_bytes());
        header.extend(0_u32.to_be_bytes()); // not encrypted
        header.extend(l1_size.to_be_bytes());
        header.extend((L1_TABLE * CLUSTER).to_be_bytes());
        header.extend((REFCOUNT_TABLE * CLUSTER).to_be_bytes());
        header.extend(1_u32.to_be_bytes()); // clusters of the table of reference counts
        header.extend([0; 4 + 8]); // snapshots
        header.extend([0; 3 * 8]); // features
        header.extend(4_u32.to_be_bytes()); // reference counts of 16 bits
        header.extend((HEADER as u32).to_be_bytes());
        debug_assert_eq!(header.len(), HEADER);
        header.extend(extensions);
        header.extend(backing.as_bytes());
        let refcounts = (0..clusters).flat_map(|_| 1_u16.to_be_bytes()).collect();
        Ok(Self { header, refcounts, clusters })
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, process::Command};

    use super::*;
    use crate::{
        backends::cloud_hypervisor::disk::{Backing, create_raw, grow, inspect},
        model::Class,
    };

    #[test]
    fn an_overlay_reads_back() {
        let home = tempfile::tempdir().unwrap();
        let folders = [home.path().to_owned()];
        let (base, over, top) = (home.path().join("base"), home.path().join("over"), home.path().join("top"));
        create_raw(&base, 3 << 30).unwrap();
        assert_eq!(overlay(&over, &base, Format::Raw, None, &folders).unwrap(), 3 << 30);
        assert_eq!(overlay(&top, &over, Format::Qcow2, Some(20 << 40 >> 2), &folders).unwrap(), 5 << 40);
        let seen = inspect(&top).unwrap();
        assert_eq!((seen.format, seen.virtual_size), (Format::Qcow2, Some(5 << 40)));
        let name = fs::canonicalize(&over).unwrap().to_str().unwrap().to_owned();
        let header = seen.qcow2.unwrap();
        assert_eq!(header.backing, Some(Backing { name, format: Some("qcow2".into()) }));
        assert!(header.features().is_empty());
        let formats = |path| chain(path, Format::Qcow2, &folders).unwrap().iter().map(|l| l.format).collect::<Vec<_>>();
        assert_eq!(formats(&top), [Format::Qcow2, Format::Qcow2, Format::Raw]);
        let again = overlay(&top, &over, Format::Qcow2, None, &folders).unwrap_err();
        assert_eq!(again.class(), Class::Conflict);
        let small = overlay(&home.path().join("x"), &base, Format::Raw, Some(1 << 30), &folders).unwrap_err();
        assert_eq!(small.message(), "the disk cannot be smaller than its image: 1.00 GiB is below 3.00 GiB");
        let Ok(checked) = Command::new("qemu-img").arg("check").arg(&top).output() else {
            eprintln!("SKIPPED: no qemu-img to judge the overlay");
            return;
        };
        assert!(checked.status.success(), "{checked:?}");
    }

    #[test]
    fn an_empty_disk_has_nothing_below_it_and_grows() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("disk.qcow2");
        assert_eq!(create(&path, Format::Qcow2, (3 << 30) - 1).unwrap(), 3 << 30);
        let header = inspect(&path).unwrap().qcow2.unwrap();
        assert_eq!((header.virtual_size, header.backing), (3 << 30, None));
        assert_eq!(grow(&path, Format::Qcow2, 4 << 40, &[]).unwrap(), 4 << 40);
        assert_eq!(inspect(&path).unwrap().virtual_size, Some(4 << 40));
        assert_eq!(create(&path, Format::Vhdx, 1).unwrap_err().class(), Class::Usage);
        match Command::new("qemu-img").arg("check").arg(&path).output() {
            Ok(checked) => assert!(checked.status.success(), "{checked:?}"),
            Err(_) => eprintln!("SKIPPED: no qemu-img to judge the disk"),
        }
    }

    #[test]
    fn a_header_leads_nowhere_outside() {
        let home = tempfile::tempdir().unwrap();
        let (managed, outside) = (home.path().join("managed"), home.path().join("secret"));
        fs::create_dir(&managed).unwrap();
        fs::write(&outside, [7; 512]).unwrap();
        std::os::unix::fs::symlink(&outside, managed.join("link")).unwrap();
        fs::write(managed.join("fine"), [0; 512]).unwrap();
        let evil = managed.join("evil");
        let names = |name: &str, format: &str| {
            let mut image = Image::new(1 << 20, Some((name, Format::Raw))).unwrap();
            let at = image.header.windows(3).position(|part| part == b"raw").unwrap();
            image.header[at..at + 3].copy_from_slice(format.as_bytes());
            if format == "no\0" {
                image.header[HEADER..HEADER + 4].copy_from_slice(&[1; 4]);
            }
            let mut bytes = image.header;
            bytes.resize((image.clusters * CLUSTER) as usize, 0);
            fs::write(&evil, bytes).unwrap();
            chain(&evil, Format::Qcow2, std::slice::from_ref(&managed))
        };
        let outside = outside.to_str().unwrap();
        assert_eq!(names("fine", "raw").unwrap().len(), 2);
        for (name, why) in [
            (outside, "outside of pvectl's folders"),
            ("../secret", "outside of pvectl's folders"),
            ("link", "outside of pvectl's folders"),
            ("/dev/null", "outside of pvectl's folders"),
            (".", "outside of pvectl's folders"),
            ("json:{\"driver\":\"file\",\"filename\":\"/etc/shadow\"}", "is no path"),
            ("nbd://127.0.0.1/x", "is no path"),
            ("file:fine", "is no path"),
            ("gone", "No such file"),
        ] {
            let error = names(name, "raw").unwrap_err();
            assert_eq!(error.class(), Class::Usage);
            assert!(error.message().contains(why), "{error}");
        }
        assert!(names("fine", "vdi").unwrap_err().message().contains("`vdi` is not known"));
        assert!(names("fine", "no\0").unwrap_err().message().contains("nothing about its format"));
        assert!(names("/etc/shadow", "raw").is_err());
        let as_raw = chain(&evil, Format::Raw, std::slice::from_ref(&managed)).unwrap();
        assert_eq!(as_raw.len(), 1, "what a guest wrote into its raw disk leads nowhere");
    }

    #[test]
    fn an_image_below_itself_ends() {
        let home = tempfile::tempdir().unwrap();
        let folders = [home.path().to_owned()];
        let path = home.path().join("loop");
        let mut image = Image::new(1 << 20, Some(("loop", Format::Qcow2))).unwrap();
        image.header.resize((image.clusters * CLUSTER) as usize, 0);
        fs::write(&path, &image.header).unwrap();
        assert!(chain(&path, Format::Qcow2, &folders).unwrap_err().message().contains("lies over itself"));
    }
}
