//! Disks and images: formats, making, copying, growing, the seed for cloud-init, the store of images.
//!
//! Knows files and not VMs: what uses an image is told by the caller. All of it blocks, except pulling from a server.

mod chain;
mod copy;
mod flat;
mod format;
mod grow;
mod images;
mod lock;
mod making;
mod overlay;
mod qcow2;
mod seed;
mod seen;

use std::{fmt::Display, fs::Metadata, io, os::unix::fs::MetadataExt as _, path::Path};

pub use chain::{Layer, chain};
pub use copy::{Abilities, Copied, Method, allocated, copy, probe, shares_blocks};
pub use flat::flatten;
pub use format::{Format, Inspected, inspect};
pub use grow::grow;
pub use images::{Checksum, Image, Images, Pull, Source, Users};
pub use lock::{Held, Holder, held};
pub use making::{create_raw, sync_entries, sync_folder, unfinished};
pub use overlay::{create, overlay};
pub use qcow2::{Backing, Header, Invalid};
pub use seed::Seed;

use crate::model::{Class, Error, Hint};

/// Is told how far a copy or a download is, and may end it.
pub trait Watch: Send + Sync {
    /// So many bytes of so many are done; the total is not always known.
    fn moved(&self, done: u64, total: Option<u64>) {
        let _ = (done, total);
    }

    /// Something worth knowing happened, one sentence.
    fn say(&self, text: &str) {
        let _ = text;
    }

    /// Whether it should stop; what is half made is then removed.
    fn cancelled(&self) -> bool {
        false
    }
}

/// Nobody watches.
pub struct Unwatched;

impl Watch for Unwatched {}

/// Of what class a failure of the file system is, and what can be done.
fn failed(what: impl Display, path: &Path, error: io::Error) -> Error {
    let class = match error.kind() {
        io::ErrorKind::NotFound => Class::NotFound,
        io::ErrorKind::PermissionDenied => Class::Forbidden,
        io::ErrorKind::AlreadyExists => Class::Conflict,
        _ => Class::Failed,
    };
    let full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
    let told = Error::new(class, format!("cannot {what} `{}`: {error}", path.display())).with_source(error);
    if full { told.with_hint(Hint::Text(NO_SPACE.to_owned())) } else { told }
}

const NO_SPACE: &str = "free space on that file system; nothing half made was left behind";

/// The end that a watcher wished for.
fn cancelled() -> Error {
    Error::new(Class::Interrupted, "interrupted")
}

/// What there is, and what is free, of the file system that a directory is on, bytes.
///
/// # Errors
/// [`Class::Failed`] when nothing can be said of it.
pub fn space(directory: &Path) -> crate::model::Result<(u64, u64)> {
    let stat = rustix::fs::statvfs(directory).map_err(|error| failed("look at", directory, error.into()))?;
    let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
    Ok((bytes(stat.f_blocks), bytes(stat.f_bavail)))
}

/// How many bytes a file takes on the disk, however long it is.
pub fn kept(file: &Metadata) -> u64 {
    // Blocks have 512 bytes whatever the file system's are.
    file.blocks() * 512
}

/// Refuses work for which there is no space.
///
/// # Errors
/// [`Class::Failed`], saying how much is needed and how much is free.
pub fn require_space(directory: &Path, bytes: u64) -> crate::model::Result<()> {
    let (_, free) = space(directory)?;
    if bytes <= free {
        return Ok(());
    }
    let [need, have] = [bytes, free].map(crate::model::Size);
    let text = format!("not enough space in `{}`: {need} are needed, {have} are free", directory.display());
    Err(Error::new(Class::Failed, text).with_hint(Hint::Text("free space on that file system".to_owned())))
}

/// The directory that a file is in.
fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
