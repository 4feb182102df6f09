//! Waiting for files to grow, without looking again and again.

use std::{fs::File, io, path::Path};

use rustix::fs::inotify;
use tokio::net::unix::pipe;

/// Files that are watched from its making on: nothing that is written later is missed.
#[derive(Debug)]
pub struct FileWatch(pipe::Receiver);

impl FileWatch {
    /// Watches these files.
    ///
    /// # Errors
    /// If one of them is not there, or the kernel watches no more.
    pub fn new<'a>(paths: impl IntoIterator<Item = &'a Path>) -> io::Result<Self> {
        let watch = inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC)?;
        for path in paths {
            inotify::add_watch(&watch, path, inotify::WatchFlags::MODIFY)?;
        }
        // To tokio a file descriptor that gets readable, like a pipe.
        Ok(Self(pipe::Receiver::from_file_unchecked(File::from(watch))?))
    }

    /// Waits until one of them was written to since this was last asked. May be dropped and asked again.
    ///
    /// # Errors
    /// If the kernel does not say.
    pub async fn written(&self) -> io::Result<()> {
        self.0.readable().await?;
        let mut notes = [0; 4096];
        loop {
            match self.0.try_read(&mut notes) {
                Ok(1..) => {}
                Ok(0) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Write, time::Duration};

    use super::*;

    #[tokio::test]
    async fn what_is_written_wakes_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut file = File::create(&path).unwrap();
        let watch = FileWatch::new([path.as_path()]).unwrap();
        let short = Duration::from_millis(20);
        assert!(tokio::time::timeout(short, watch.written()).await.is_err());
        file.write_all(b"a").unwrap();
        file.write_all(b"b").unwrap();
        watch.written().await.unwrap();
        assert!(tokio::time::timeout(short, watch.written()).await.is_err());
        FileWatch::new([dir.path().join("none").as_path()]).unwrap_err();
    }
}
