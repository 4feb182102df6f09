//! Copies that stand alone: what a guest sees of a disk, through all images below it, in one raw or qcow2 file.
//!
//! For disks without an image below, in the format that they have already, [`copy`](super::copy()) is quicker.

use std::{io, os::unix::fs::FileExt, path::Path};

use super::{
    Copied, Format, Layer, Method, Watch, cancelled,
    copy::STEP,
    directory_of,
    making::{Making, sectors},
    overlay::{CLUSTER, Image, L1_TABLE, PER_L1_ENTRY, PER_REFCOUNT_BLOCK, REFCOUNT_BLOCK, REFCOUNT_TABLE},
    require_space,
    seen::Seen,
};
use crate::{
    backends::cloud_hypervisor::failpoint::{Point, reach},
    model::{Error, Result},
};

/// Of an entry of either table: nobody else uses the cluster.
const ALONE: u64 = 1 << 63;

/// Writes what the guest of the first of these images sees into a file of this format. The copy is there whole or not at
/// all; what is nothing but zeros takes no space in it.
///
/// # Errors
/// As [`copy`](super::copy()); [`Class::Usage`](crate::model::Class::Usage) for images or formats that are not known
/// well enough.
pub fn flatten(layers: &[Layer], to: &Path, format: Format, watch: &dyn Watch) -> Result<Copied> {
    let mut seen = Seen::open(layers)?;
    let total = amount(&mut seen)?;
    require_space(directory_of(to), total)?;
    let size = sectors(seen.size())?;
    let qcow2 = match format {
        Format::Raw => None,
        Format::Qcow2 => Some(Image::new(size, None)?),
        Format::Vhd | Format::Vhdx => {
            return Err(Error::usage(format!("a copy cannot be {format}: raw and qcow2 are possible")));
        }
    };
    let making = Making::begin(to, false)?;
    let mut filling = qcow2.map(|image| Filling::new(&making, image));
    let (mut buffer, mut at, mut done, mut told) = (vec![0; CLUSTER as usize], 0, 0, 0);
    watch.moved(0, Some(total));
    while let Some((begin, end)) = seen.next(at)? {
        // Whole clusters of what is made, whatever those of its sources are.
        let here = begin - begin % CLUSTER;
        let piece = &mut buffer[..CLUSTER.min(size - here) as usize];
        seen.read(here, piece)?;
        if piece.iter().any(|byte| *byte != 0) {
            let written = match &mut filling {
                Some(filling) => filling.put(here, piece),
                None => making.file.write_all_at(piece, here),
            };
            written.map_err(|error| making.failed(error))?;
            reach(Point::PieceWritten);
        }
        at = here + CLUSTER;
        done += end.min(at) - begin;
        if done >= told + STEP {
            told = done;
            watch.moved(done.min(total), Some(total));
            if watch.cancelled() {
                return Err(cancelled());
            }
        }
    }
    let ended = match filling {
        Some(filling) => filling.end(),
        None => making.file.set_len(size),
    };
    ended.map_err(|error| making.failed(error))?;
    making.finish(0o600, false)?;
    watch.moved(total, Some(total));
    Ok(Copied { method: Method::Data, bytes: done })
}

/// How many bytes are to be looked at: all that are not known to be zeros.
fn amount(seen: &mut Seen) -> Result<u64> {
    let (mut at, mut amount) = (0, 0);
    while let Some((begin, end)) = seen.next(at)? {
        amount += end - begin;
        at = end;
    }
    Ok(amount)
}

/// A qcow2 image that is filled from its beginning to its end: each cluster is used once, and the next one is always free.
struct Filling<'m> {
    making: &'m Making,
    image: Image,
    /// The second table under way, and which entry of the first one it belongs to.
    second: Option<(u64, Vec<u8>)>,
    /// The cluster that is used next.
    next: u64,
}

impl<'m> Filling<'m> {
    fn new(making: &'m Making, image: Image) -> Self {
        Self { making, next: image.clusters, image, second: None }
    }

    /// Writes a cluster of the disk; each is behind the one before.
    fn put(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let index = at / PER_L1_ENTRY;
        if self.second.as_ref().is_none_or(|(first, _)| *first != index) {
            self.close()?;
        }
        let entry = self.append(bytes)?;
        let (_, table) = self.second.get_or_insert_with(|| (index, vec![0; CLUSTER as usize]));
        let place = (at % PER_L1_ENTRY / CLUSTER * 8) as usize;
        table[place..place + 8].copy_from_slice(&entry.to_be_bytes());
        Ok(())
    }

    /// Writes the second table under way, and names it in the first one.
    fn close(&mut self) -> io::Result<()> {
        let Some((index, table)) = self.second.take() else { return Ok(()) };
        let entry = self.append(&table)?;
        self.making.file.write_all_at(&entry.to_be_bytes(), L1_TABLE * CLUSTER + index * 8)
    }

    /// Writes into the next cluster. Gives its entry.
    fn append(&mut self, bytes: &[u8]) -> io::Result<u64> {
        let offset = self.next * CLUSTER;
        self.making.file.write_all_at(bytes, offset)?;
        self.next += 1;
        Ok(offset | ALONE)
    }

    /// Writes the rest: reference counts, and the header.
    fn end(mut self) -> io::Result<()> {
        self.close()?;
        let used = self.next;
        // The blocks of counts behind the first are counted themselves.
        let blocks = (1..).find(|blocks| used + blocks - 1 <= blocks * PER_REFCOUNT_BLOCK).unwrap_or(1);
        let all = used + blocks - 1;
        if blocks * 8 > CLUSTER {
            return Err(io::Error::other("it has become too large for a qcow2 image"));
        }
        let file = &self.making.file;
        for block in 0..blocks {
            let place = if block == 0 { REFCOUNT_BLOCK } else { used + block - 1 } * CLUSTER;
            let many = PER_REFCOUNT_BLOCK.min(all - block * PER_REFCOUNT_BLOCK);
            let counts: Vec<u8> = (0..many).flat_map(|_| 1_u16.to_be_bytes()).collect();
            file.write_all_at(&counts, place)?;
            file.write_all_at(&place.to_be_bytes(), REFCOUNT_TABLE * CLUSTER + block * 8)?;
        }
        file.write_all_at(&self.image.header, 0)?;
        file.set_len(all * CLUSTER)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::MetadataExt, path::PathBuf, process::Command};

    use super::*;
    use crate::{
        backends::cloud_hypervisor::disk::{Unwatched, chain, inspect, overlay},
        model::Class,
    };

    /// A program of QEMU's, by which to make and to judge; `false` where it is not.
    fn judge(program: &str, args: &[&str]) -> bool {
        match Command::new(program).args(args).output() {
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stdout);
                assert!(output.status.success() && !said.contains("failed"), "{program} {args:?}: {output:?}");
                true
            }
            Err(error) => {
                eprintln!("SKIPPED: no {program} to judge by ({error})");
                false
            }
        }
    }

    fn text(path: &Path) -> &str {
        path.to_str().unwrap()
    }

    /// A disk with data in its first, in a middle and in its last sectors.
    fn base(path: &Path, size: u64) {
        let file = fs::File::create(path).unwrap();
        file.set_len(size).unwrap();
        for (at, byte) in [(0, 1), (size / 2 + 512, 2), (size - 512, 3)] {
            file.write_all_at(&[byte; 512], at).unwrap();
        }
    }

    /// Flattens into both formats, and gives what the guest sees of the copies.
    fn both(top: &Path, home: &Path) -> [Vec<u8>; 2] {
        let folders = [home.to_owned()];
        let layers = chain(top, Format::Qcow2, &folders).unwrap();
        let [raw, qcow2, again] = ["flat.raw", "flat.qcow2", "again.raw"].map(|name| home.join(name));
        flatten(&layers, &raw, Format::Raw, &Unwatched).unwrap();
        flatten(&layers, &qcow2, Format::Qcow2, &Unwatched).unwrap();
        let alone = chain(&qcow2, Format::Qcow2, &folders).unwrap();
        assert_eq!(alone.len(), 1, "it stands on nothing");
        assert_eq!(alone[0].virtual_size, layers[0].virtual_size);
        judge("qemu-img", &["check", "-q", text(&qcow2)]);
        judge("qemu-img", &["compare", "-q", text(&raw), text(&qcow2)]);
        flatten(&alone, &again, Format::Raw, &Unwatched).unwrap();
        let read = [&raw, &again].map(|path| fs::read(path).unwrap());
        for copy in [&raw, &qcow2, &again] {
            fs::remove_file(copy).unwrap();
        }
        read
    }

    #[test]
    fn a_copy_is_what_the_guest_sees_and_stands_alone() {
        let home = tempfile::tempdir().unwrap();
        let [bottom, middle, top] = ["bottom", "middle", "top"].map(|name| home.path().join(name));
        let folders = [home.path().to_owned()];
        // Neither size is one of whole clusters.
        let size = (20 << 20) + 512;
        base(&bottom, size);
        let mut want = fs::read(&bottom).unwrap();
        overlay(&middle, &bottom, Format::Raw, None, &folders).unwrap();
        overlay(&top, &middle, Format::Qcow2, Some(size + (3 << 20)), &folders).unwrap();
        want.resize(size as usize + (3 << 20), 0);
        assert!(both(&top, home.path()).iter().all(|copy| *copy == want));

        let write = |path: &Path, what: &str| judge("qemu-io", &["-f", "qcow2", "-c", what, text(path)]);
        if !write(&middle, "write -P 7 65k 3k") {
            return;
        }
        write(&middle, "write -P 8 10M 1M");
        write(&top, "write -P 9 10560k 64k");
        write(&top, "write -z -u 10752k 64k");
        write(&top, "write -P 5 22M 512");
        let judged = home.path().join("judged");
        judge("qemu-img", &["convert", "-O", "raw", text(&top), text(&judged)]);
        let want = fs::read(&judged).unwrap();
        assert_eq!((want[66 << 10], want[10 << 20], want[10560 << 10], want[10752 << 10]), (7, 8, 9, 0));
        assert!(both(&top, home.path()).iter().all(|copy| *copy == want));
    }

    #[test]
    fn clusters_of_other_sizes_and_packed_ones_are_read() {
        let home = tempfile::tempdir().unwrap();
        let raw = home.path().join("raw");
        base(&raw, 5 << 20);
        fs::File::options().write(true).open(&raw).unwrap().write_all_at(&[0x5A; 300_000], 1 << 20).unwrap();
        let want = fs::read(&raw).unwrap();
        for (at, options) in
            ["cluster_size=512", "cluster_size=4k", "cluster_size=2M", "compat=0.10"].iter().enumerate()
        {
            for packed in [&["-c"][..], &[]] {
                let image = home.path().join(format!("image-{at}-{}", packed.len()));
                let args =
                    [&["convert", "-f", "raw", "-O", "qcow2", "-o", options], packed, &[text(&raw), text(&image)]];
                if !judge("qemu-img", &args.concat()) {
                    return;
                }
                assert!(both(&image, home.path()).iter().all(|copy| *copy == want), "{options} {packed:?}");
            }
        }
        // What cannot be read is said before anything is made.
        let image = home.path().join("extended");
        judge("qemu-img", &["create", "-q", "-f", "qcow2", "-o", "extended_l2=on", text(&image), "1M"]);
        let layers = chain(&image, Format::Qcow2, &[]).unwrap();
        let error = flatten(&layers, &home.path().join("x"), Format::Raw, &Unwatched).unwrap_err();
        assert!(error.message().contains("extended L2") && error.hints().len() == 1, "{error}");
        assert!(!home.path().join("x").exists());
    }

    #[test]
    fn zeros_take_no_space_and_tables_go_as_far_as_they_must() {
        let home = tempfile::tempdir().unwrap();
        let folders = [home.path().to_owned()];
        let [bottom, top, flat] = ["bottom", "top", "flat"].map(|name| home.path().join(name));
        // Three entries of the first table, and one more by the length of the last.
        base(&bottom, 3 << 29);
        overlay(&top, &bottom, Format::Raw, None, &folders).unwrap();
        let layers = chain(&top, Format::Qcow2, &folders).unwrap();
        for format in [Format::Raw, Format::Qcow2] {
            let copied = flatten(&layers, &flat, format, &Unwatched).unwrap();
            assert!(copied.bytes < 1 << 20, "{copied:?}");
            assert!(fs::metadata(&flat).unwrap().blocks() * 512 < 2 << 20);
            assert_eq!(inspect(&flat).unwrap().virtual_size, Some(3 << 29));
            judge("qemu-img", &["compare", "-q", text(&bottom), text(&flat)]);
            if format == Format::Qcow2 {
                judge("qemu-img", &["check", "-q", text(&flat)]);
            }
            fs::remove_file(&flat).unwrap();
        }
        // A disk has whole sectors.
        fs::write(&flat, [7; 1000]).unwrap();
        let odd = home.path().join("odd");
        flatten(&chain(&flat, Format::Raw, &folders).unwrap(), &odd, Format::Qcow2, &Unwatched).unwrap();
        assert_eq!(inspect(&odd).unwrap().virtual_size, Some(1024));
        [&flat, &odd].into_iter().for_each(|path| fs::remove_file(path).unwrap());
        assert_eq!(flatten(&layers, &bottom, Format::Raw, &Unwatched).unwrap_err().class(), Class::Conflict);
        assert_eq!(flatten(&layers, &flat, Format::Vhdx, &Unwatched).unwrap_err().class(), Class::Usage);
        let left: Vec<PathBuf> = fs::read_dir(home.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(left.len(), 2, "nothing half made: {left:?}");
    }

    #[test]
    fn counts_go_into_as_many_blocks_as_they_need() {
        let home = tempfile::tempdir().unwrap();
        let flat = home.path().join("flat");
        // More clusters than a block has counts for would be 2 GiB of data: as many as need be are pretended.
        let making = Making::begin(&flat, false).unwrap();
        let mut filling = Filling::new(&making, Image::new(1 << 30, None).unwrap());
        filling.put(0, &[7; 512]).unwrap();
        let begun = filling.next;
        filling.next = PER_REFCOUNT_BLOCK - 1;
        filling.put(CLUSTER, &[8; 512]).unwrap();
        filling.end().unwrap();
        making.finish(0o600, false).unwrap();
        let output = Command::new("qemu-img").args(["check", "--output=json"]).arg(&flat).output();
        let Ok(output) = output else {
            eprintln!("SKIPPED: no qemu-img to judge by");
            return;
        };
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        // Nothing but the clusters that were left out: they are counted, and nobody's.
        let leaks = PER_REFCOUNT_BLOCK - 1 - begun;
        assert!(told.contains(&format!("\"leaks\": {leaks}")) && told.contains("\"check-errors\": 0"), "{told}");
        assert!(!told.contains("corruptions"), "{told}");
    }
}
