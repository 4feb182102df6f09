//! The lock that a VMM holds for as long as it lives: it inherits the open file, and the kernel lets go when it ends.
//!
//! It says whether somebody lives, not who, and it is not the lock of operations on a VM.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::{
        fd::OwnedFd,
        unix::fs::{MetadataExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};

use super::{ProcessId, at, hint, is_gone};
use crate::model::{Error, Result};

/// What the lock says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lock {
    /// There is no file: nobody was ever started here, or the file was taken away.
    Missing,
    /// Nobody holds it: no VMM lives.
    Free,
    /// A VMM lives.
    Held,
}

/// Looks at the lock. It is shared for a moment, so that two who look do not see each other.
///
/// # Errors
/// When the file cannot be opened.
pub fn probe(path: &Path) -> Result<Lock> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Lock::Missing),
        Err(error) => return Err(at("open", path, error)),
    };
    match flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => {
            release(&file);
            Ok(Lock::Free)
        }
        Err(Errno::WOULDBLOCK) => Ok(Lock::Held),
        Err(error) => Err(at("look at the lock", path, error.into())),
    }
}

/// Lets go of a lock in words. Closing the file would not do at once: a child that another thread has forked has it too
/// until it runs its program.
fn release(file: &File) {
    // It goes with the file at the latest.
    let _ = flock(file, FlockOperation::Unlock);
}

/// The lock in our hands: the proof that no VMM lives here, and that none comes while we hold it.
#[derive(Debug)]
pub struct Alive {
    file: File,
    path: PathBuf,
    /// Whether a VMM has it by now.
    given: bool,
}

impl Drop for Alive {
    fn drop(&mut self) {
        // Unlocked here, it would be unlocked for the VMM too.
        if !self.given {
            release(&self.file);
        }
    }
}

/// How long those who only look may keep us from the lock. Each does so for microseconds.
const LOOKERS: Duration = Duration::from_secs(1);

impl Alive {
    /// Takes the lock, and makes its file where there is none.
    ///
    /// # Errors
    /// [`Class::Conflict`](crate::model::Class::Conflict) when a VMM lives.
    pub fn take(path: &Path) -> Result<Self> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
        let file = file.map_err(|error| at("open", path, error))?;
        let deadline = Instant::now() + LOOKERS;
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Self { file, path: path.to_owned(), given: false }),
                Err(Errno::WOULDBLOCK) => {}
                Err(error) => return Err(at("lock", path, error.into())),
            }
            // A VMM keeps everybody out; those who only look let others look.
            if probe(path)? == Lock::Held || Instant::now() >= deadline {
                return Err(Error::conflict(format!("a VMM is alive: `{}` is locked", path.display()))
                    .with_hint(hint("stop the VM first")));
            }
            std::thread::yield_now();
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes a socket that a dead VMM left behind. What is no socket is left alone. Says whether one was there.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn remove_stale_socket(&self, path: &Path) -> Result<bool> {
        use std::os::unix::fs::FileTypeExt;
        match fs::symlink_metadata(path) {
            Ok(found) if found.file_type().is_socket() => {
                fs::remove_file(path).map(|()| true).map_err(|error| at("remove", path, error))
            }
            Ok(_) => Err(Error::conflict(format!("`{}` is in the way and is no socket", path.display()))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(at("look at", path, error)),
        }
    }

    /// The open file for a child to inherit.
    pub(super) fn lend(&self) -> Result<OwnedFd> {
        self.file.try_clone().map(OwnedFd::from).map_err(|error| at("pass on", &self.path, error))
    }

    /// Leaves the lock to the child that runs with the lent file.
    pub(super) fn give(mut self) {
        self.given = true;
    }
}

/// The living processes that have this file open, found by looking at all of them: the way back to a VMM whose identity
/// was never written down. A VMM's helpers have it too; the VMM is the one whose session bears its own pid. Processes of
/// other users are seen by root alone.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn holders(path: &Path) -> Result<Vec<ProcessId>> {
    let wanted = match fs::metadata(path) {
        Ok(file) => (file.dev(), file.ino()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(at("look at", path, error)),
    };
    let proc = Path::new("/proc");
    let mut found = Vec::new();
    for entry in fs::read_dir(proc).map_err(|error| at("read", proc, error))? {
        let entry = entry.map_err(|error| at("read", proc, error))?;
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let files = match fs::read_dir(entry.path().join("fd")) {
            Ok(files) => files,
            Err(error) if is_gone(&error) || error.kind() == io::ErrorKind::PermissionDenied => continue,
            Err(error) => return Err(at("read", &entry.path(), error)),
        };
        let mut open = files.flatten().filter_map(|file| fs::metadata(file.path()).ok());
        if pid != std::process::id() && open.any(|file| (file.dev(), file.ino()) == wanted) {
            found.extend(ProcessId::of(pid)?);
        }
    }
    Ok(found)
}

/// The processes that were started with a log below this directory, each with its log, whatever else is known of them.
/// Processes of other users are seen by root alone.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn running_below(directory: &Path) -> Result<Vec<(ProcessId, PathBuf)>> {
    let proc = Path::new("/proc");
    let mut found = Vec::new();
    for entry in fs::read_dir(proc).map_err(|error| at("read", proc, error))?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        // One that is gone meanwhile is none of them.
        let Ok(line) = fs::read(entry.path().join("cmdline")) else { continue };
        let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
        let after = |flag: &[u8]| words.windows(2).find(|pair| pair[0] == flag).map(|pair| pair[1]);
        let Some(log) = after(b"--log-file").filter(|_| after(b"--api-socket").is_some()) else { continue };
        let log = PathBuf::from(String::from_utf8_lossy(log).into_owned());
        if log.starts_with(directory) {
            found.extend(ProcessId::of(pid)?.map(|id| (id, log)));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;
    use crate::model::Class;

    #[test]
    fn who_looks_sees_the_holder_and_not_another_who_looks() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("alive");
        assert_eq!(probe(&path).unwrap(), Lock::Missing);
        let held = Alive::take(&path).unwrap();
        assert_eq!(probe(&path).unwrap(), Lock::Held);
        assert_eq!(Alive::take(&path).unwrap_err().class(), Class::Conflict);
        drop(held);
        let looking = File::open(&path).unwrap();
        flock(&looking, FlockOperation::NonBlockingLockShared).unwrap();
        assert_eq!(probe(&path).unwrap(), Lock::Free);
    }

    #[test]
    fn the_lock_is_taken_while_others_look_all_the_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("alive");
        drop(Alive::take(&path).unwrap());
        let stop = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                        probe(&path).unwrap();
                    }
                });
            }
            let taken: Vec<_> = (0..50).map(|_| Alive::take(&path).map(drop)).collect();
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
            let refused: Vec<_> = taken.into_iter().filter_map(Result::err).collect();
            assert!(refused.is_empty(), "{refused:?}");
        });
    }

    #[test]
    fn only_sockets_are_removed_and_only_with_the_proof_of_death() {
        let dir = tempfile::tempdir().unwrap();
        let alive = Alive::take(&dir.path().join("alive")).unwrap();
        let socket = dir.path().join("api.sock");
        drop(UnixListener::bind(&socket).unwrap());
        assert!(alive.remove_stale_socket(&socket).unwrap());
        assert!(!alive.remove_stale_socket(&socket).unwrap());
        fs::write(&socket, "not a socket").unwrap();
        assert_eq!(alive.remove_stale_socket(&socket).unwrap_err().class(), Class::Conflict);
        assert!(socket.exists());
    }
}
