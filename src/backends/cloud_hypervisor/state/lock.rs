//! The operation lock of a VM: one command at a time, and everybody else can read who that is.
//!
//! It is a `flock` on the file `lock` in the VM's directory, so it goes with its holder however that ends. What stands
//! in the file is for people and for lists; only the lock itself is the truth for whoever wants to act.

use std::{
    fs::{DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read as _, Seek as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::Process;
use crate::{
    backends::cloud_hypervisor::failpoint::{Point, reach},
    model::{Class, Error, Hint, Result, Vmid},
};

/// Who holds a VM, and for what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The VM.
    pub vmid: Vmid,
    /// What is done: a verb, `start`.
    pub what: String,
    /// For whom: `root@pam`.
    pub user: String,
    /// By which process.
    pub process: Process,
    /// Since when.
    pub since: Timestamp,
}

impl Holder {
    /// This process, from now on.
    ///
    /// # Errors
    /// [`Class::Failed`] where `/proc` does not tell who we are.
    pub fn new(vmid: Vmid, what: impl Into<String>, user: impl Into<String>) -> Result<Self> {
        let (what, user) = (what.into(), user.into());
        Ok(Self { vmid, what, user, process: Process::current()?, since: Timestamp::now() })
    }

    /// Who holds the VM with this directory, without a lock of one's own: for lists. `None` if nobody does, as far as
    /// can be seen: the file of a holder that was killed does not count.
    pub fn of(directory: &Path) -> Option<Self> {
        let mut text = String::new();
        File::open(directory.join(LOCK_FILE)).ok()?.read_to_string(&mut text).ok()?;
        let holder: Self = serde_json::from_str(&text).ok()?;
        holder.process.is_alive().then_some(holder)
    }
}

/// The file's name in the VM's directory. It goes after the row: whoever removes it while there is still something to be
/// done lets the next one in beside himself.
pub const LOCK_FILE: &str = "lock";

/// The held lock; dropping it lets the next one in.
#[derive(Debug)]
pub struct OperationLock {
    file: File,
}

impl OperationLock {
    /// Takes the lock of the VM with this directory at once. The directory is made if it is missing.
    ///
    /// # Errors
    /// [`Class::Conflict`], saying who holds it; [`Class::Failed`] if the file cannot be used.
    pub fn try_take(directory: &Path, holder: &Holder) -> Result<Self> {
        let path = directory.join(LOCK_FILE);
        loop {
            let file = open(&path).map_err(|error| unusable(&path, error))?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(busy(directory, holder)),
                Err(TryLockError::Error(error)) => return Err(unusable(&path, error)),
            }
            if let Some(lock) = Self::confirmed(file, &path, holder)? {
                return Ok(lock);
            }
        }
    }

    /// Takes the lock of the VM with this directory, waiting for whoever holds it, for so long or for ever.
    ///
    /// # Errors
    /// [`Class::Conflict`] when the time is over, saying who holds it; [`Class::Failed`] if the file cannot be used.
    pub async fn take(directory: &Path, holder: &Holder, patience: Option<Duration>) -> Result<Self> {
        match Self::try_take(directory, holder) {
            Err(error) if error.class() == Class::Conflict && patience != Some(Duration::ZERO) => {}
            result => return result,
        }
        let waiting = Self::wait(directory.join(LOCK_FILE), holder.clone());
        let taken = match patience {
            None => waiting.await,
            Some(patience) => match tokio::time::timeout(patience, waiting).await {
                Ok(taken) => taken,
                Err(_) => return Err(busy(directory, holder)),
            },
        };
        taken.map_err(|_| Error::new(Class::Bug, "the thread that waits for a lock is gone"))?
    }

    /// A thread sleeps in the kernel until the lock is free. If nobody wants it any more by then, it is let go; the end
    /// of the process does not wait for the thread.
    fn wait(path: PathBuf, holder: Holder) -> oneshot::Receiver<Result<Self>> {
        let (send, receive) = oneshot::channel();
        thread::spawn(move || {
            let taken = loop {
                let locked = open(&path).and_then(|file| file.lock().map(|()| file));
                if send.is_closed() {
                    return;
                }
                match locked.map_err(|error| unusable(&path, error)).map(|file| Self::confirmed(file, &path, &holder)) {
                    Ok(Ok(None)) => {}
                    Ok(Ok(Some(lock))) => break Ok(lock),
                    Ok(Err(error)) | Err(error) => break Err(error),
                }
            };
            drop(send.send(taken));
        });
        receive
    }

    /// The lock, if the file is still the one that others find: a VM may have been deleted meanwhile.
    fn confirmed(file: File, path: &Path, holder: &Holder) -> Result<Option<Self>> {
        let same = |have: io::Result<std::fs::Metadata>| -> io::Result<bool> {
            let (have, ours) = (have?, file.metadata()?);
            Ok((have.dev(), have.ino()) == (ours.dev(), ours.ino()))
        };
        match same(path.metadata()) {
            Ok(true) => {}
            Ok(false) => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unusable(path, error)),
        }
        let mut lock = Self { file };
        lock.tell(holder).map_err(|error| unusable(path, error))?;
        reach(Point::Locked);
        Ok(Some(lock))
    }

    fn tell(&mut self, holder: &Holder) -> io::Result<()> {
        let text = serde_json::to_vec(holder)?;
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.file.write_all(&text)
    }
}

impl Drop for OperationLock {
    fn drop(&mut self) {
        // Only talk.
        drop(self.file.set_len(0));
        // In words, not by closing: a child that another thread has forked has the file too until it runs its program.
        drop(self.file.unlock());
    }
}

fn open(path: &Path) -> io::Result<File> {
    let directory = path.parent().unwrap_or(Path::new("."));
    loop {
        // Not its parents: below a state directory that is gone nothing is to be made.
        match DirBuilder::new().mode(0o700).create(directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        match OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path) {
            // Who deleted the VM has taken its directory away in between.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            opened => return opened,
        }
    }
}

fn busy(directory: &Path, asks: &Holder) -> Error {
    let vmid = asks.vmid;
    let text = match Holder::of(directory) {
        Some(Holder { what, user, process, since, .. }) => {
            format!("VM {vmid} is busy: {what} by {user}, process {}, since {since:.0}", process.pid)
        }
        None => format!("VM {vmid} is busy: another process works on it"),
    };
    Error::conflict(text).with_hint(Hint::Text(
        "give it longer with --wait-lock, or leave that out to wait as long as it takes".to_owned(),
    ))
}

fn unusable(path: &Path, error: io::Error) -> Error {
    Error::new(Class::Failed, format!("cannot use the lock {}: {error}", path.display())).with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder(what: &str) -> Holder {
        Holder::new(Vmid::new(100).unwrap(), what, "root@pam").unwrap()
    }

    #[test]
    fn the_second_is_told_who_is_the_first() {
        let room = tempfile::tempdir().unwrap();
        let directory = room.path().join("vm");
        assert_eq!(Holder::of(&directory), None);
        let lock = OperationLock::try_take(&directory, &holder("start")).unwrap();
        let error = OperationLock::try_take(&directory, &holder("stop")).unwrap_err();
        assert_eq!(error.class(), Class::Conflict);
        let want = format!("VM 100 is busy: start by root@pam, process {}", std::process::id());
        assert!(error.to_string().starts_with(&want), "{error}");
        assert_eq!(Holder::of(&directory).unwrap().what, "start");
        drop(lock);
        assert_eq!(Holder::of(&directory), None);
        OperationLock::try_take(&directory, &holder("stop")).unwrap();
    }

    #[test]
    fn a_killed_holder_holds_nothing() {
        let room = tempfile::tempdir().unwrap();
        let mut dead = holder("start");
        dead.process.starttime += 1;
        std::fs::write(room.path().join(LOCK_FILE), serde_json::to_vec(&dead).unwrap()).unwrap();
        assert_eq!(Holder::of(room.path()), None);
        OperationLock::try_take(room.path(), &holder("stop")).unwrap();
    }

    #[tokio::test]
    async fn waiting_ends_with_the_holder_or_with_patience() {
        let room = tempfile::tempdir().unwrap();
        let first = OperationLock::try_take(room.path(), &holder("start")).unwrap();
        let short = Some(Duration::from_millis(30));
        let error = OperationLock::take(room.path(), &holder("stop"), short).await.unwrap_err();
        assert_eq!(error.class(), Class::Conflict);
        let second = holder("reset");
        let waiting = OperationLock::take(room.path(), &second, None);
        let release = async {
            tokio::time::sleep(Duration::from_millis(30)).await;
            drop(first);
        };
        let (second, ()) = tokio::join!(waiting, release);
        assert_eq!(Holder::of(room.path()).unwrap().what, "reset");
        drop(second);
    }

    #[tokio::test]
    async fn a_lock_that_was_removed_is_not_taken_for_the_new_one() {
        let room = tempfile::tempdir().unwrap();
        let first = OperationLock::try_take(room.path(), &holder("delete")).unwrap();
        let second = holder("start");
        let waiting = OperationLock::take(room.path(), &second, None);
        let release = async {
            tokio::time::sleep(Duration::from_millis(30)).await;
            std::fs::remove_file(room.path().join(LOCK_FILE)).unwrap();
            drop(first);
        };
        let (second, ()) = tokio::join!(waiting, release);
        let _second = second.unwrap();
        OperationLock::try_take(room.path(), &holder("third")).unwrap_err();
    }

    #[test]
    fn a_directory_that_goes_away_makes_nobody_fail() {
        let room = tempfile::tempdir().unwrap();
        let directory = room.path().join("vm");
        let work = || {
            for _ in 0..200 {
                match OperationLock::try_take(&directory, &holder("delete")) {
                    // As whoever finds that there is no VM any more.
                    Ok(_lock) => drop(std::fs::remove_dir_all(&directory)),
                    Err(error) => assert_eq!(error.class(), Class::Conflict, "{error}"),
                }
            }
        };
        thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(work))));
    }
}
