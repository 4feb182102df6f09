//! Who has a disk open in earnest: the VMM locks each image it uses, readers together, a writer alone.
//!
//! Takes no lock that lasts; it only looks.

use std::{
    fs::{self, File, OpenOptions},
    os::unix::fs::MetadataExt,
    path::Path,
};

use rustix::{
    fs::{FlockOperation, fcntl_lock},
    io::Errno,
};

use super::failed;
use crate::model::{Error, Result};

/// An image somebody has locked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// By whom, as far as we may know: other users' processes are not shown to us.
    pub by: Vec<Holder>,
}

/// A process that has a lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its id.
    pub pid: u32,
    /// Its name, cut to 15 signs by the kernel.
    pub name: String,
    /// Whether it may write.
    pub writes: bool,
}

impl Held {
    /// As the reason why something cannot be done to the image.
    pub fn conflict(&self, path: &Path) -> Error {
        let by: Vec<String> = self.by.iter().map(|holder| format!("{} (pid {})", holder.name, holder.pid)).collect();
        let by = if by.is_empty() { "another process".to_owned() } else { by.join(", ") };
        Error::conflict(format!("`{}` is in use by {by}", path.display()))
    }
}

/// Whether anybody has a lock on an image, and who; `None` if it is free.
///
/// The kernel is asked for the lock itself, which is given back in the same moment: the only question that it answers
/// about other users' processes too. Where we may not write, readers are not seen.
///
/// # Errors
/// What the file system says.
pub fn held(path: &Path) -> Result<Option<Held>> {
    let told = |error| failed("look at", path, error);
    let (file, wish) = match OpenOptions::new().read(true).write(true).open(path) {
        Ok(file) => (file, FlockOperation::NonBlockingLockExclusive),
        Err(_) => (File::open(path).map_err(told)?, FlockOperation::NonBlockingLockShared),
    };
    match fcntl_lock(&file, wish) {
        Ok(()) => {
            fcntl_lock(&file, FlockOperation::Unlock).map_err(|error| told(error.into()))?;
            Ok(None)
        }
        Err(Errno::AGAIN | Errno::ACCESS) => {
            let metadata = file.metadata().map_err(told)?;
            Ok(Some(Held { by: holders(metadata.dev(), metadata.ino()) }))
        }
        Err(error) => Err(told(error.into())),
    }
}

/// Looks through all processes for open files with a lock. Those we may not look into, and those that end meanwhile,
/// are left out.
fn holders(device: u64, inode: u64) -> Vec<Holder> {
    let mut found = Vec::new();
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let open = fs::read_dir(process.path().join("fd")).into_iter().flatten().flatten();
        let locks: Vec<bool> = open
            .filter(|fd| fs::metadata(fd.path()).is_ok_and(|file| file.dev() == device && file.ino() == inode))
            .filter_map(|fd| fs::read_to_string(process.path().join("fdinfo").join(fd.file_name())).ok())
            .filter_map(|info| lock_in(&info))
            .collect();
        if !locks.is_empty() {
            let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            found.push(Holder { pid, name: name.trim().to_owned(), writes: locks.contains(&true) });
        }
    }
    found
}

/// Whether an open file has a lock of the kind that disks get, and then whether it is for writing. The kernel says
/// `1: OFDLCK  ADVISORY  WRITE -1 fe:00:1234 0 EOF`.
fn lock_in(fdinfo: &str) -> Option<bool> {
    let lines = fdinfo.lines().filter_map(|line| line.strip_prefix("lock:"));
    lines.filter(|line| line.contains("OFDLCK") || line.contains("POSIX")).map(|line| line.contains(" WRITE ")).max()
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead, BufReader},
        process::{Command, Stdio},
    };

    use super::*;

    #[test]
    fn locks_are_read() {
        let line = "pos:\t0\nflags:\t02100002\nlock:\t1: OFDLCK  ADVISORY  WRITE -1 fe:00:1234 0 EOF\n";
        assert_eq!(lock_in(line), Some(true));
        assert_eq!(lock_in(&line.replace("WRITE", "READ ")), Some(false));
        assert_eq!(lock_in(&line.replace("OFDLCK", "FLOCK ")), None);
    }

    #[test]
    fn a_lock_is_seen_with_its_holder() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("disk");
        fs::write(&path, [0; 512]).unwrap();
        assert_eq!(held(&path).unwrap(), None);
        let script = "import fcntl,struct,sys\nf=open(sys.argv[1],'r+')\n\
                      fcntl.fcntl(f,37,struct.pack('hhqqi4x',1,0,0,0,0))\nprint('locked',flush=True)\nsys.stdin.read()";
        let child = Command::new("python3")
            .args(["-c", script])
            .arg(&path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let Ok(mut child) = child else {
            eprintln!("SKIPPED: no python3 to take an open file description lock");
            return;
        };
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "locked\n");
        let seen = held(&path).unwrap().unwrap();
        assert_eq!(seen.by.iter().map(|holder| (holder.pid, holder.writes)).collect::<Vec<_>>(), [(child.id(), true)]);
        assert!(seen.conflict(&path).message().contains(&format!("pid {}", child.id())));
        drop(child.stdin.take());
        child.wait().unwrap();
        assert_eq!(held(&path).unwrap(), None);
    }
}
