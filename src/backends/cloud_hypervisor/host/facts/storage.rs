//! Where VMs are kept: whether it can be written, on which file system, whether that shares blocks, how much is free.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{Mode, OFlags, ioctl_ficlone, open, statfs, statvfs},
    io::{Errno, write},
};
use serde_json::json;

use super::{Fact, size};
use crate::backends::cloud_hypervisor::host::{Places, short_socket};

/// The directory, or what of the way to it is there.
fn nearest(path: &Path) -> PathBuf {
    path.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("/")).to_owned()
}

/// A file without a name, which is gone when it is closed.
fn nameless(directory: &Path) -> io::Result<File> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    Ok(open(directory, flags, Mode::from_raw_mode(0o600))?.into())
}

/// Tries it: rights alone do not say it, and root has all of them.
fn can_write(directory: &Path) -> io::Result<()> {
    match nameless(directory) {
        Err(error) if has_no_nameless(&error) => {
            let probe = directory.join(format!(".pvectl-probe-{}", std::process::id()));
            File::create_new(&probe)?;
            fs::remove_file(&probe)
        }
        tried => tried.map(drop),
    }
}

/// Whether this is how a file system says that it has no files without a name.
fn has_no_nameless(error: &io::Error) -> bool {
    let codes = [Errno::OPNOTSUPP, Errno::ISDIR, Errno::INVAL, Errno::NOSYS];
    codes.iter().any(|code| error.raw_os_error() == Some(code.raw_os_error()))
}

pub(super) fn state(path: &Path) -> Fact {
    const NAME: &str = "state";
    let there = nearest(path);
    let kind = file_system(&there);
    let yet = if there == path { "" } else { ", made when it is needed" };
    let fact = match can_write(&there) {
        Ok(()) => Fact::ok(NAME, format!("{}, on {kind}{yet}", path.display())),
        Err(error) => unwritable(path, &there, &error),
    };
    fact.value(json!({"path": path, "file_system": kind}))
}

fn unwritable(path: &Path, there: &Path, error: &io::Error) -> Fact {
    let what = format!("{} cannot be written: {error}", there.display());
    let mend = if error.raw_os_error() == Some(Errno::NOSPC.raw_os_error()) {
        format!("Make room: `df -h {}` says how much there is.", there.display())
    } else {
        let path = path.display();
        format!("Make it yours: `sudo mkdir -p {path} && sudo chown \"$USER\" {path}`.")
    };
    Fact::missing("state", what).mend(mend)
}

/// The names of file systems that VMs may lie on.
fn file_system(path: &Path) -> String {
    const NAMES: &[(u64, &str)] = &[
        (0xef53, "ext4"),
        (0x5846_5342, "xfs"),
        (0x9123_683e, "btrfs"),
        (0xca45_1a4e, "bcachefs"),
        (0x2fc1_2fc1, "zfs"),
        (0x0102_1994, "tmpfs"),
        (0x794c_7630, "overlayfs"),
        (0x6969, "nfs"),
        (0xf2f5_2010, "f2fs"),
        (0x6573_5546, "fuse"),
    ];
    match statfs(path) {
        Ok(found) => {
            // The kernel's type is signed on some architectures, the numbers are not.
            let magic = found.f_type as u64 & 0xffff_ffff;
            NAMES
                .iter()
                .find(|(number, _)| *number == magic)
                .map_or_else(|| format!("type {magic:#x}"), |(_, name)| (*name).to_owned())
        }
        Err(error) => format!("an unknown file system ({error})"),
    }
}

/// Shares a block between two files without names.
fn can_share(directory: &Path) -> io::Result<bool> {
    let (from, to) = (nameless(directory)?, nameless(directory)?);
    write(&from, &[1; 4096])?;
    match ioctl_ficlone(&to, &from) {
        Ok(()) => Ok(true),
        Err(Errno::OPNOTSUPP | Errno::NOTTY | Errno::INVAL | Errno::XDEV | Errno::NOSYS) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

pub(super) fn reflink(path: &Path) -> Fact {
    const NAME: &str = "reflink";
    const MEND: &str = "Put the directory on XFS or btrfs, for example `sudo mkfs.xfs -m reflink=1 DEVICE`.";
    let there = nearest(path);
    match can_share(&there) {
        Ok(true) => Fact::ok(NAME, "a clone shares its blocks and takes no time").value(true),
        Ok(false) => {
            let seen = format!("{} does not share blocks: a full clone is a copy", file_system(&there));
            Fact::warn(NAME, seen).value(false).mend(MEND)
        }
        Err(error) => Fact::warn(NAME, format!("it could not be tried: {error}")).mend(MEND),
    }
}

/// With less than this, a common image and its VM do not fit.
const LITTLE: u64 = 10 << 30;

pub(super) fn space(path: &Path) -> Fact {
    const NAME: &str = "space";
    let there = nearest(path);
    let mend = format!("Make room: `du -xh --max-depth=2 {} | sort -h | tail` says what takes it.", there.display());
    match statvfs(&there) {
        Ok(found) => {
            let free = found.f_bavail.saturating_mul(found.f_frsize);
            let fact = if free < LITTLE {
                Fact::warn(NAME, format!("only {} free", size(free))).mend(mend)
            } else {
                Fact::ok(NAME, format!("{} free", size(free)))
            };
            fact.value(free)
        }
        Err(error) => Fact::warn(NAME, format!("it does not say how much is free: {error}")).mend(mend),
    }
}

pub(super) fn sockets(run: &Path) -> Fact {
    const NAME: &str = "sockets";
    let one = Places { state: PathBuf::new(), run: run.join("12345678") };
    let fact = match one.sockets().iter().try_for_each(|socket| short_socket(socket)) {
        Ok(()) => Fact::ok(NAME, format!("in {}", run.display())),
        Err(error) => Fact::missing(NAME, error.message())
            .mend("Choose a shorter directory: `export XDG_RUNTIME_DIR=/run/user/$(id -u)`."),
    };
    fact.value(run.to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::{super::Status, *};

    #[test]
    fn a_directory_that_is_not_there_is_judged_by_where_it_would_be() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a/b/c");
        assert_eq!(nearest(&path), directory.path());
        assert_eq!(state(&path).status, Status::Ok);
        let proc = state(Path::new("/proc/pvectl"));
        assert_eq!(proc.status, Status::Missing);
        assert!(proc.mend.unwrap().contains("mkdir -p /proc/pvectl"));
    }

    #[test]
    fn sharing_is_tried_and_not_guessed() {
        let directory = tempfile::tempdir().unwrap();
        let kind = file_system(directory.path());
        let shares = can_share(directory.path()).unwrap();
        match kind.as_str() {
            "btrfs" => assert!(shares),
            "ext4" | "tmpfs" => assert!(!shares),
            other => eprintln!("NOT JUDGED: {other} {} share blocks", if shares { "does" } else { "does not" }),
        }
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_long_directory_has_no_room_for_sockets() {
        assert_eq!(sockets(Path::new("/run/pvectl")).status, Status::Ok);
        let long = sockets(&Path::new("/run").join("x".repeat(90)));
        assert_eq!(long.status, Status::Missing);
        assert!(long.seen.contains("107"), "{long:?}");
    }
}
