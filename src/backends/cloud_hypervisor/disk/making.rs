//! A file in the making: under another name until it is whole and on the disk, and gone if it never becomes so.
//!
//! The other name is always the same, so what a killed command left is taken over by the next one that tries.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use rustix::fs::{CWD, FlockOperation, RenameFlags, flock, renameat_with};

use super::{directory_of, failed};
use crate::{
    backends::cloud_hypervisor::failpoint::{Point, reach},
    model::{Error, Hint, Result},
};

/// A disk has no size that is not a multiple of this.
pub(super) const SECTOR: u64 = 512;

/// A file that is not there yet.
pub(super) struct Making {
    pub(super) file: File,
    temporary: PathBuf,
    path: PathBuf,
    kept: bool,
}

impl Making {
    /// Begins an empty file that only its owner can read.
    pub(super) fn begin(path: &Path, replace: bool) -> Result<Self> {
        if !replace && fs::symlink_metadata(path).is_ok() {
            return Err(exists(path));
        }
        let temporary = unfinished(path);
        let file = exclusive(&temporary)?;
        let making = Self { file, temporary, path: path.to_owned(), kept: false };
        making.file.set_len(0).map_err(|error| making.failed(error))?;
        reach(Point::FileBegun);
        Ok(making)
    }

    /// The failure to write it.
    pub(super) fn failed(&self, error: impl Into<io::Error>) -> Error {
        failed("write", &self.path, error.into())
    }

    /// Puts it in its place, on the disk for good.
    pub(super) fn finish(mut self, mode: u32, replace: bool) -> Result<()> {
        let placed = self
            .file
            .set_permissions(fs::Permissions::from_mode(mode))
            .and_then(|()| self.file.sync_all())
            .and_then(|()| place(&self.temporary, &self.path, replace))
            .and_then(|()| sync_directory(directory_of(&self.path)));
        match placed {
            Ok(()) => {
                self.kept = true;
                reach(Point::FilePlaced);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(exists(&self.path)),
            Err(error) => Err(self.failed(error)),
        }
    }
}

impl Drop for Making {
    fn drop(&mut self) {
        if !self.kept {
            // What made it fail is the thing to tell.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

/// Where a file is while it is in the making: what a killed command leaves of it.
pub fn unfinished(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".tmp");
    path.with_file_name(name)
}

fn exists(path: &Path) -> Error {
    Error::conflict(format!("`{}` already exists", path.display()))
}

/// Opens a file, made if it is not there, that no other command has open this way.
pub(super) fn exclusive(path: &Path) -> Result<File> {
    loop {
        let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
        let file = opened.map_err(|error| failed("make", path, error))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(Error::conflict(format!("another command is writing `{}`", path.display()))
                    .with_hint(Hint::Text("wait for it to end".to_owned())));
            }
            Err(error) => return Err(failed("lock", path, error.into())),
        }
        // Whoever held the lock may have put the file in its place or removed it.
        let ours = file.metadata().map_err(|error| failed("look at", path, error))?;
        if fs::symlink_metadata(path).is_ok_and(|there| there.ino() == ours.ino() && there.dev() == ours.dev()) {
            return Ok(file);
        }
    }
}

/// Renames, over what is there only if that is wanted.
fn place(from: &Path, to: &Path, replace: bool) -> io::Result<()> {
    if replace {
        return fs::rename(from, to);
    }
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Some file systems cannot; it was looked at before.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => fs::rename(from, to),
        renamed => Ok(renamed?),
    }
}

/// Waits until a directory's entries are on the disk.
///
/// # Errors
/// What the file system says.
pub fn sync_entries(directory: &Path) -> Result<()> {
    sync_directory(directory).map_err(|error| failed("write", directory, error))
}

/// Waits until the files of a directory, and its entries, are on the disk.
///
/// # Errors
/// What the file system says.
pub fn sync_folder(directory: &Path) -> Result<()> {
    let files = || -> io::Result<()> {
        for entry in fs::read_dir(directory)? {
            File::open(entry?.path())?.sync_all()?;
        }
        Ok(())
    };
    files().map_err(|error| failed("write", directory, error))?;
    sync_entries(directory)
}

/// The same as the file system says it.
pub(super) fn sync_directory(directory: &Path) -> io::Result<()> {
    match File::open(directory)?.sync_all() {
        // Some network file systems cannot, and need not.
        Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => Ok(()),
        synced => synced,
    }
}

/// Makes an empty raw disk of at least `size` bytes, rounded up to whole sectors, which takes no space yet. Gives its
/// exact size.
///
/// # Errors
/// [`Class::Conflict`](crate::model::Class::Conflict) if it is there already; what the file system says.
pub fn create_raw(path: &Path, size: u64) -> Result<u64> {
    let size = sectors(size)?;
    let making = Making::begin(path, false)?;
    making.file.set_len(size).map_err(|error| making.failed(error))?;
    making.finish(0o600, false)?;
    Ok(size)
}

/// A size in whole sectors.
pub(super) fn sectors(size: u64) -> Result<u64> {
    match size.checked_next_multiple_of(SECTOR) {
        Some(size) if size > 0 && i64::try_from(size).is_ok() => Ok(size),
        _ => Err(Error::usage(format!("a disk cannot have {size} bytes"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Class;

    #[test]
    fn a_new_disk_is_whole_and_takes_no_space() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("disk.raw");
        assert_eq!(create_raw(&path, (20 << 30) - 1).unwrap(), 20 << 30);
        let made = fs::metadata(&path).unwrap();
        assert_eq!((made.len(), made.blocks(), made.mode() & 0o777), (20 << 30, 0, 0o600));
        assert_eq!(create_raw(&path, 1 << 20).unwrap_err().class(), Class::Conflict);
        assert_eq!(fs::metadata(&path).unwrap().len(), 20 << 30, "left as it was");
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1);
        assert_eq!(create_raw(&home.path().join("none"), 0).unwrap_err().class(), Class::Usage);
        assert_eq!(create_raw(&home.path().join("none"), u64::MAX - 5).unwrap_err().class(), Class::Usage);
    }

    #[test]
    fn what_a_killed_command_left_is_taken_over_and_what_a_living_one_writes_is_not() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("disk");
        fs::write(home.path().join("disk.tmp"), "half of something").unwrap();
        let first = Making::begin(&path, false).unwrap();
        assert_eq!(first.file.metadata().unwrap().len(), 0);
        assert_eq!(Making::begin(&path, false).err().unwrap().class(), Class::Conflict);
        drop(first);
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0, "given up, so gone");
    }
}
