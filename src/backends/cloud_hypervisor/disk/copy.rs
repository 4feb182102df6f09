//! Copies of images: shared blocks where the file system can, else the data without the holes.
//!
//! Whether the source may be copied now (a running VM writes to it) is the caller's to know.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::Path,
};

use rustix::{
    fs::{Mode, OFlags, SeekFrom, copy_file_range, ioctl_ficlone, seek, statvfs},
    io::Errno,
};
use serde::{Deserialize, Serialize};

use super::{Watch, cancelled, directory_of, failed, kept, making::Making, require_space};
use crate::{
    backends::cloud_hypervisor::failpoint::{Point, reach},
    model::{Error, Result},
};

/// How much is copied between two looks at whether to go on.
pub(super) const STEP: u64 = 16 << 20;

/// How a copy was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Both share their blocks until one writes.
    Reflink,
    /// The data was copied.
    Data,
}

/// A copy that was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copied {
    /// How.
    pub method: Method,
    /// How many bytes were copied: nothing by a reflink, and no holes.
    pub bytes: u64,
}

/// What the file system of a directory can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Abilities {
    /// Copies that share blocks.
    pub reflink: bool,
    /// Files with holes that can be found again.
    pub holes: bool,
    /// Reading and writing past the page cache (`cache=none`).
    pub direct: bool,
    /// Bytes in all.
    pub total: u64,
    /// Bytes that are free for us.
    pub free: u64,
}

/// Copies an image. The copy is there whole or not at all, readable by its owner only.
///
/// # Errors
/// [`Class::Conflict`](crate::model::Class::Conflict) if it is there already,
/// [`Class::Interrupted`](crate::model::Class::Interrupted) if the watcher wished so; a full disk is noticed before
/// anything is written as far as the file system tells.
pub fn copy(from: &Path, to: &Path, watch: &dyn Watch) -> Result<Copied> {
    copy_by(from, to, watch, true)
}

/// The same, perhaps without trying a reflink.
fn copy_by(from: &Path, to: &Path, watch: &dyn Watch, reflink: bool) -> Result<Copied> {
    let source = open_source(from)?;
    let making = Making::begin(to, false)?;
    let copied = fill(&source, from, &making.file, to, watch, reflink)?;
    making.finish(0o600, false)?;
    Ok(copied)
}

/// Opens a file to copy from. Looks before it opens: a pipe would keep us waiting.
pub(super) fn open_source(from: &Path) -> Result<File> {
    let told = |error| failed("open", from, error);
    if !fs::metadata(from).map_err(told)?.is_file() {
        return Err(Error::usage(format!("`{}` is no file", from.display())));
    }
    File::open(from).map_err(told)
}

/// Fills an empty file with what another has.
pub(super) fn fill(
    source: &File,
    from: &Path,
    target: &File,
    to: &Path,
    watch: &dyn Watch,
    reflink: bool,
) -> Result<Copied> {
    if reflink && ioctl_ficlone(target, source).is_ok() {
        return Ok(Copied { method: Method::Reflink, bytes: 0 });
    }
    let metadata = source.metadata().map_err(|error| failed("look at", from, error))?;
    let (length, data) = (metadata.len(), kept(&metadata).min(metadata.len()));
    require_space(directory_of(to), data)?;
    target.set_len(length).map_err(|error| failed("write", to, error))?;
    let (mut at, mut done, mut in_kernel) = (0, 0, true);
    watch.moved(0, Some(data));
    while let Some((begin, end)) = next_data(source, at, length).map_err(|error| failed("read", from, error))? {
        at = begin;
        while at < end {
            if watch.cancelled() {
                return Err(cancelled());
            }
            let moved = some(source, target, at, end.min(at + STEP), &mut in_kernel);
            match moved.map_err(|error| failed("write", to, error))? {
                0 => return Err(Error::conflict(format!("`{}` became shorter while it was copied", from.display()))),
                moved => {
                    at += moved;
                    done += moved;
                    reach(Point::PieceWritten);
                }
            }
            watch.moved(done.min(data), Some(data));
        }
    }
    watch.moved(data, Some(data));
    Ok(Copied { method: Method::Data, bytes: done })
}

/// The next stretch of data from a place on.
pub(super) fn next_data(file: &File, at: u64, length: u64) -> io::Result<Option<(u64, u64)>> {
    if at >= length {
        return Ok(None);
    }
    let begin = match seek(file, SeekFrom::Data(at)) {
        Ok(begin) if begin < length => begin,
        Ok(_) | Err(Errno::NXIO) => return Ok(None),
        // Where nobody knows of holes all is data.
        Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(Some((at, length))),
        Err(error) => return Err(error.into()),
    };
    Ok(Some((begin, seek(file, SeekFrom::Hole(begin))?.min(length))))
}

/// Copies at least something of a stretch: in the kernel, which may share blocks too, as long as that works.
fn some(from: &File, to: &File, begin: u64, end: u64, in_kernel: &mut bool) -> io::Result<u64> {
    if *in_kernel {
        let (mut at, mut there) = (begin, begin);
        match copy_file_range(from, Some(&mut at), to, Some(&mut there), (end - begin) as usize) {
            Ok(moved) if moved > 0 => return Ok(moved as u64),
            Err(Errno::NOSPC) => return Err(Errno::NOSPC.into()),
            // Another file system, an old kernel, or one of those that cannot; reading and writing always can.
            _ => *in_kernel = false,
        }
    }
    let mut buffer = vec![0; (end - begin).min(1 << 20) as usize];
    let read = from.read_at(&mut buffer, begin)?;
    to.write_all_at(&buffer[..read], begin)?;
    Ok(read as u64)
}

/// How many bytes of a file take space: what a copy of it by data has to move.
///
/// # Errors
/// If nothing can be said of it.
pub fn allocated(path: &Path) -> Result<u64> {
    let metadata = fs::metadata(path).map_err(|error| failed("look at", path, error))?;
    Ok(kept(&metadata).min(metadata.len()))
}

/// Whether copies in a directory share blocks: tried with two files that never have a name, so that nothing of them stays
/// whatever happens. Where there are no such files the answer is no.
pub fn shares_blocks(directory: &Path) -> bool {
    let nameless =
        || rustix::fs::open(directory, OFlags::TMPFILE | OFlags::RDWR, Mode::RUSR | Mode::WUSR).map(File::from);
    let tried = || -> io::Result<()> {
        let (first, second) = (nameless()?, nameless()?);
        first.write_all_at(&[1; 65536], 0)?;
        Ok(ioctl_ficlone(&second, &first)?)
    };
    tried().is_ok()
}

/// Finds out what the file system of a directory can do, with two small files that are gone afterwards.
///
/// # Errors
/// What the file system says to making a file there at all.
pub fn probe(directory: &Path) -> Result<Abilities> {
    let told = |error| failed("write in", directory, error);
    let [one, two] = ["1", "2"].map(|which| directory.join(format!(".pvectl-probe-{}-{which}", std::process::id())));
    let probed = (|| {
        let make = |path: &Path| {
            fs::OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(path)
        };
        let (first, second) = (make(&one)?, make(&two)?);
        first.write_all_at(&[1; 65536], 0)?;
        let reflink = ioctl_ficlone(&second, &first).is_ok();
        second.set_len(0)?;
        second.set_len(1 << 20)?;
        let holes = matches!(seek(&second, SeekFrom::Data(0)), Err(Errno::NXIO));
        let direct = fs::OpenOptions::new().read(true).custom_flags(OFlags::DIRECT.bits() as i32).open(&one).is_ok();
        let stat = statvfs(directory)?;
        let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
        Ok(Abilities { reflink, holes, direct, total: bytes(stat.f_blocks), free: bytes(stat.f_bavail) })
    })();
    for file in [&one, &two] {
        // Gone or never made.
        let _ = fs::remove_file(file);
    }
    probed.map_err(told)
}

#[cfg(test)]
mod tests {
    use std::{
        process::Command,
        sync::atomic::{AtomicU64, Ordering},
    };

    use std::os::unix::fs::MetadataExt as _;

    use super::*;
    use crate::{
        backends::cloud_hypervisor::disk::{Unwatched, create_raw},
        model::Class,
    };

    /// A file of 64 MiB with data in three places.
    fn holey(path: &Path) -> Vec<u8> {
        let file = File::create(path).unwrap();
        file.set_len(64 << 20).unwrap();
        for (at, byte) in [(0, 1), (20 << 20, 2), ((64 << 20) - 4096, 3)] {
            file.write_all_at(&[byte; 4096], at).unwrap();
        }
        fs::read(path).unwrap()
    }

    #[test]
    fn holes_stay_holes() {
        let home = tempfile::tempdir().unwrap();
        let from = home.path().join("from");
        let content = holey(&from);
        let abilities = probe(home.path()).unwrap();
        if !abilities.reflink {
            eprintln!("SKIPPED: this file system shares no blocks, so both copies are by data");
        }
        assert_eq!(shares_blocks(home.path()), abilities.reflink);
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1, "nothing is left of it");
        if !abilities.holes {
            eprintln!("SKIPPED: this file system has no holes");
            return;
        }
        for (name, reflink) in [("with", true), ("without", false)] {
            let to = home.path().join(name);
            let copied = copy_by(&from, &to, &Unwatched, reflink).unwrap();
            assert!(fs::read(&to).unwrap() == content);
            let made = fs::metadata(&to).unwrap();
            assert!(kept(&made) < 1 << 20, "{} blocks", made.blocks());
            assert_eq!(made.mode() & 0o777, 0o600);
            assert!(copied.bytes < 1 << 20, "{copied:?}");
            let shared = reflink && abilities.reflink;
            assert_eq!(copied.method, if shared { Method::Reflink } else { Method::Data });
        }
        assert_eq!(copy(&from, &home.path().join("with"), &Unwatched).unwrap_err().class(), Class::Conflict);
        assert_eq!(
            copy(&home.path().join("none"), &home.path().join("x"), &Unwatched).unwrap_err().class(),
            Class::NotFound
        );
        assert_eq!(copy(home.path(), &home.path().join("x"), &Unwatched).unwrap_err().class(), Class::Usage);
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 3, "nothing half made");
    }

    #[test]
    fn a_copy_by_reading_is_the_same() {
        let home = tempfile::tempdir().unwrap();
        let (from, to) = (home.path().join("from"), home.path().join("to"));
        let content = holey(&from);
        let (source, target) = (File::open(&from).unwrap(), File::create(&to).unwrap());
        let mut at = 0;
        while at < content.len() as u64 {
            at += some(&source, &target, at, content.len() as u64, &mut false).unwrap();
        }
        assert!(fs::read(&to).unwrap() == content);
    }

    #[test]
    fn a_copy_tells_how_far_it_is_and_can_be_ended() {
        struct Ending(AtomicU64);
        impl Watch for Ending {
            fn moved(&self, done: u64, total: Option<u64>) {
                assert!(done <= total.unwrap());
                self.0.store(done, Ordering::Relaxed);
            }
            fn cancelled(&self) -> bool {
                self.0.load(Ordering::Relaxed) > 0
            }
        }
        let home = tempfile::tempdir().unwrap();
        let (from, to) = (home.path().join("from"), home.path().join("to"));
        fs::write(&from, vec![1; 40 << 20]).unwrap();
        let watch = Ending(AtomicU64::new(0));
        assert_eq!(copy_by(&from, &to, &watch, false).unwrap_err().class(), Class::Interrupted);
        assert!(watch.0.load(Ordering::Relaxed) >= 4096);
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1, "nothing half made");
    }

    #[test]
    fn a_full_disk_leaves_nothing_half_made() {
        let home = tempfile::tempdir().unwrap();
        let (from, small) = (home.path().join("from"), home.path().join("small"));
        fs::write(&from, vec![1; 4 << 20]).unwrap();
        fs::create_dir(&small).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "none"]).arg(&small).output();
        if !mounted.is_ok_and(|mounted| mounted.status.success()) {
            eprintln!("SKIPPED: a file system of one megabyte cannot be mounted here");
            return;
        }
        let before = copy(&from, &small.join("to"), &Unwatched);
        // Behind the check before: the same bytes, from a file that claims to have none.
        let making = Making::begin(&small.join("late"), false).unwrap();
        let late = some(&File::open(&from).unwrap(), &making.file, 0, 4 << 20, &mut false)
            .and_then(|_| some(&File::open(&from).unwrap(), &making.file, 1 << 20, 4 << 20, &mut false))
            .map_err(|error| making.failed(error));
        drop(making);
        let left = fs::read_dir(&small).unwrap().count();
        let sparse = create_raw(&small.join("sparse"), 1 << 30);
        assert!(Command::new("umount").arg(&small).status().unwrap().success());
        let before = before.unwrap_err();
        assert!(before.message().starts_with("not enough space in"), "{before}");
        let late = late.unwrap_err();
        assert!(late.message().contains("No space left"), "{late}");
        assert_eq!(late.hints().len(), 1);
        assert_eq!(left, 0);
        assert!(sparse.is_ok(), "what takes no space fits");
    }
}
