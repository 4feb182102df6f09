//! Files written whole or not at all, readable by their owner only.
//!
//! Knows nothing of what is in them.

use std::{
    fmt::Write as _,
    fs::{self, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use sha2::{Digest, Sha256};

use crate::model::{Class, Error, Result};

/// What a file has for its owner alone.
pub(super) const PRIVATE: u32 = 0o600;

/// Reads a file as text; `None` if it is not there.
pub(super) fn read(path: &Path) -> Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::usage(format!("cannot read `{}`: {error}", path.display())).with_source(error)),
    }
}

/// Writes a file by way of a new one beside it, so that a reader sees the old content or the new, and a crash leaves
/// one of the two. Missing directories are made for the owner alone. A symbolic link stays one.
pub(super) fn write(path: &Path, content: &str, mode: u32) -> Result<()> {
    replace(path, content.as_bytes(), mode, true).map_err(|error| {
        Error::new(Class::Failed, format!("cannot write `{}`: {error}", path.display())).with_source(error)
    })
}

/// The same for its owner's eyes alone.
pub(crate) fn write_private(path: &Path, content: &str) -> Result<()> {
    write(path, content, PRIVATE)
}

/// Waits until nobody else has this lock, and has it as long as the file is there. It is made where it is missing.
pub(crate) fn lock_file(path: &Path) -> Result<fs::File> {
    let lock = || {
        private_directory(path.parent().unwrap_or(Path::new(".")))?;
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false);
        with_mode(&mut options, PRIVATE);
        let file = options.open(path)?;
        file.lock().map(|()| file)
    };
    lock().map_err(|error| {
        Error::new(Class::Failed, format!("cannot lock `{}`: {error}", path.display())).with_source(error)
    })
}

/// The same for what may be lost: it is whole for every reader, and nobody waits until it is on the disk.
pub(super) fn write_soon(path: &Path, content: &[u8]) -> io::Result<()> {
    replace(path, content, PRIVATE, false)
}

fn replace(path: &Path, content: &[u8], mode: u32, sync: bool) -> io::Result<()> {
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    private_directory(directory)?;
    let (temporary, mut file) = create_beside(&path, directory, mode)?;
    let written = file.write_all(content).and_then(|()| if sync { file.sync_all() } else { Ok(()) });
    drop(file);
    let renamed = written.and_then(|()| fs::rename(&temporary, &path));
    if renamed.is_err() {
        // The first failure is the one to tell.
        let _ = fs::remove_file(&temporary);
    } else if cfg!(unix) && sync {
        // A directory that cannot be synced (some network file systems) is no reason to call the write failed.
        let _ = fs::File::open(directory).and_then(|directory| directory.sync_all());
    }
    renamed
}

/// Opens a file that did not exist. Its name is not a secret; that it is new is what counts.
fn create_beside(path: &Path, directory: &Path, mode: u32) -> io::Result<(PathBuf, fs::File)> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    loop {
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let temporary = directory.join(format!(".{name}.{}.{count}.tmp", std::process::id()));
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        with_mode(&mut options, mode);
        match options.open(&temporary) {
            Ok(file) => return Ok((temporary, file)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(unix)]
fn with_mode(options: &mut OpenOptions, mode: u32) {
    use std::os::unix::fs::OpenOptionsExt;
    options.mode(mode);
}

#[cfg(not(unix))]
fn with_mode(_options: &mut OpenOptions, _mode: u32) {}

fn private_directory(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt;
        builder.mode(0o700);
    }
    builder.create(path)
}

/// The permission bits of a file; `None` where there is no file, or no such bits on this system.
pub(super) fn mode(path: &Path) -> Option<u32> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::metadata(path).ok().map(|metadata| metadata.permissions().mode() & 0o777)
    }
    #[cfg(not(unix))]
    {
        let _ = path;
        None
    }
}

/// A file name for parts that have signs which file names cannot: a hash of them.
pub(super) fn file_name(parts: &[&str]) -> String {
    let mut digest = Sha256::new();
    for (at, part) in parts.iter().enumerate() {
        if at > 0 {
            digest.update([0]);
        }
        digest.update(part);
    }
    let mut name = String::with_capacity(32);
    for byte in &digest.finalize()[..16] {
        // Writing to a String cannot fail.
        let _ = write!(name, "{byte:02x}");
    }
    name
}

/// Removes a file; one that is not there is fine.
pub(super) fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::new(Class::Failed, format!("cannot remove `{}`: {error}", path.display())).with_source(error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn a_write_is_private_and_leaves_nothing_beside_it() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("a/b/file");
        write(&path, "one", PRIVATE).unwrap();
        write(&path, "two", PRIVATE).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "two");
        assert_eq!(mode(&path), Some(0o600));
        assert_eq!(mode(&home.path().join("a")), Some(0o700));
        assert_eq!(fs::read_dir(home.path().join("a/b")).unwrap().count(), 1);
    }

    #[test]
    fn a_failed_write_leaves_the_old_content_and_no_rest() {
        let home = tempfile::tempdir().unwrap();
        // A directory cannot be replaced by a file.
        let path = home.path().join("taken");
        fs::create_dir(&path).unwrap();
        assert_eq!(write(&path, "x", PRIVATE).unwrap_err().class(), Class::Failed);
        assert!(path.is_dir());
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn a_symbolic_link_is_written_through() {
        let home = tempfile::tempdir().unwrap();
        let (real, link) = (home.path().join("real"), home.path().join("link"));
        fs::write(&real, "old").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        write(&link, "new", PRIVATE).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&real).unwrap(), "new");
    }
}
