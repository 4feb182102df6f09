//! The index of images: a JSON file that is replaced whole, under a lock.
//!
//! Readers take no lock: they see the index before a change or after it.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt},
    path::Path,
};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::{Image, not_found};
use crate::{
    backends::cloud_hypervisor::disk::{failed, making::Making},
    model::{Class, Error, Hint, Result},
};

const FILE: &str = "index.json";
const LOCK: &str = "lock";

/// Files of the store that are neither images nor left behind.
pub(super) const OWN: [&str; 3] = [FILE, LOCK, "index.json.tmp"];

/// The version of the file's shape.
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
pub(super) struct Index {
    version: u32,
    pub(super) images: Vec<Image>,
}

impl Index {
    /// Reads it; an empty one where nothing was ever put.
    pub(super) fn read(directory: &Path) -> Result<Self> {
        let path = directory.join(FILE);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Self { version: VERSION, images: Vec::new() });
            }
            Err(error) => return Err(failed("read", &path, error)),
        };
        let read: Self = serde_json::from_slice(&text).map_err(|error| {
            Error::new(Class::Failed, format!("the index of images `{}` is damaged: {error}", path.display()))
                .with_hint(Hint::Text("move it away; images can be pulled again from their files beside it".to_owned()))
        })?;
        if read.version != VERSION {
            let text = format!("the index of images is of version {}, from a newer pvectl", read.version);
            return Err(Error::new(Class::Failed, text));
        }
        Ok(read)
    }

    /// The image of a name.
    pub(super) fn get(&self, name: &str) -> Result<&Image> {
        self.images.iter().find(|image| image.name == name).ok_or_else(|| not_found(name, &self.images))
    }

    /// Changes it, unless the change fails. Others who want to change it wait.
    pub(super) fn change<T>(directory: &Path, change: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        make_directory(directory)?;
        let path = directory.join(LOCK);
        let mut options = OpenOptions::new();
        let lock = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
        let lock = lock.map_err(|error| failed("make", &path, error))?;
        // Held as long as the file is open, and for moments only.
        flock(&lock, FlockOperation::LockExclusive).map_err(|error| failed("lock", &path, error.into()))?;
        let mut index = Self::read(directory)?;
        let changed = change(&mut index)?;
        index.images.sort_by(|a, b| a.name.cmp(&b.name));
        let text = serde_json::to_vec_pretty(&index)
            .map_err(|error| Error::new(Class::Bug, "the index of images cannot be written").with_source(error))?;
        let making = Making::begin(&directory.join(FILE), true)?;
        making.file.write_all_at(&text, 0).map_err(|error| making.failed(error))?;
        making.finish(0o600, true)?;
        Ok(changed)
    }
}

/// Makes the directory of the store, for its owner alone.
pub(super) fn make_directory(directory: &Path) -> Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
    made.map_err(|error| failed("make the directory", directory, error))
}
