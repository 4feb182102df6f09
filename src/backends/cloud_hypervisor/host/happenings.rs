//! What happens on this host, as the kernel tells it: processes end, files are written to.
//!
//! It says that something happened and to whom, and not what it means. One call finds out that nothing did.

use std::{collections::BTreeSet, io, mem::MaybeUninit, os::fd::OwnedFd, path::Path};

use rustix::{
    event::{Timespec, epoll},
    fs::inotify,
    io::Errno,
};

use super::{Process, process::readable};

/// The number that stands for files, whichever of them.
const FILES: u64 = u64::MAX;
/// How many happenings are taken at once.
const ROUND: usize = 64;

/// The number of a file that is listened to. One that is gone and made anew has another.
pub type FileNumber = i32;

/// What has happened since somebody asked.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Happened {
    /// The numbers of processes that have ended; each is told until its process is let go of.
    pub ended: BTreeSet<u64>,
    /// Files that were written to; each is told once.
    pub written: BTreeSet<FileNumber>,
    /// More was written than the kernel has kept: any file may be meant.
    pub more: bool,
}

/// An ear at the kernel.
#[derive(Debug)]
pub struct Happenings {
    all: OwnedFd,
    files: OwnedFd,
}

impl Happenings {
    /// One that listens to nobody yet.
    ///
    /// # Errors
    /// When the kernel gives none.
    pub fn new() -> io::Result<Self> {
        let all = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let files = inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC)?;
        epoll::add(&all, &files, epoll::EventData::new_u64(FILES), epoll::EventFlags::IN)?;
        Ok(Self { all, files })
    }

    /// Tells of the end of a process by this number, until the process is dropped.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn follow(&self, number: u32, process: &Process) -> io::Result<()> {
        let number = epoll::EventData::new_u64(number.into());
        Ok(epoll::add(&self.all, process, number, epoll::EventFlags::IN)?)
    }

    /// Tells when this file is written to. `None` for one that is not there.
    ///
    /// # Errors
    /// When the kernel listens to no more files.
    pub fn listen(&self, path: &Path) -> io::Result<Option<FileNumber>> {
        match inotify::add_watch(&self.files, path, inotify::WatchFlags::MODIFY) {
            Ok(number) => Ok(Some(number)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Listens no more.
    pub fn forget(&self, file: FileNumber) {
        // One that is gone is forgotten already.
        let _ = inotify::remove_watch(&self.files, file);
    }

    /// Whether something has happened that was not taken. Takes one call of the kernel.
    pub fn any(&self) -> bool {
        let mut events = [MaybeUninit::uninit(); 1];
        // Who cannot ask has to look.
        epoll::wait(&self.all, &mut events, Some(&Timespec::default())).is_ok_and(|(some, _)| !some.is_empty())
    }

    /// What has happened.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub fn take(&self) -> io::Result<Happened> {
        let mut happened = Happened::default();
        let mut events = [MaybeUninit::uninit(); ROUND];
        let (some, _) = epoll::wait(&self.all, &mut events, Some(&Timespec::default()))?;
        for event in some {
            let data = event.data;
            match data.u64() {
                FILES => self.take_files(&mut happened)?,
                number => drop(happened.ended.insert(number)),
            }
        }
        Ok(happened)
    }

    fn take_files(&self, happened: &mut Happened) -> io::Result<()> {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut notes = inotify::Reader::new(&self.files, &mut buffer);
        loop {
            match notes.next() {
                Ok(note) if note.events().contains(inotify::ReadFlags::QUEUE_OVERFLOW) => happened.more = true,
                Ok(note) => drop(happened.written.insert(note.wd())),
                Err(Errno::AGAIN) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Waits until something happens. May be dropped and asked again.
    ///
    /// # Errors
    /// When the kernel cannot wait.
    pub async fn happens(&self) -> io::Result<()> {
        readable(&self.all).await
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, File},
        io::Write as _,
        process::Command,
    };

    use super::{super::ProcessId, *};

    #[tokio::test]
    async fn ends_are_told_until_they_are_heard_and_writes_once() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("log");
        let happenings = Happenings::new().unwrap();
        assert_eq!(happenings.listen(&path).unwrap(), None);
        let mut file = File::create(&path).unwrap();
        let number = happenings.listen(&path).unwrap().unwrap();
        let mut child = Command::new("sleep").arg("600").spawn().unwrap();
        let process = Process::find(&ProcessId::of(child.id()).unwrap().unwrap()).unwrap().unwrap();
        happenings.follow(100, &process).unwrap();
        assert!(!happenings.any());
        assert_eq!(happenings.take().unwrap(), Happened::default());

        file.write_all(b"a").unwrap();
        happenings.happens().await.unwrap();
        assert_eq!(happenings.take().unwrap().written, BTreeSet::from([number]));
        assert!(!happenings.any());

        process.kill().unwrap();
        happenings.happens().await.unwrap();
        for _ in 0..2 {
            assert_eq!(happenings.take().unwrap().ended, BTreeSet::from([100]));
        }
        drop(process);
        assert!(!happenings.any());
        child.wait().unwrap();
        happenings.forget(number);
        fs::write(&path, "b").unwrap();
        assert!(happenings.take().unwrap().ended.is_empty());
    }
}
