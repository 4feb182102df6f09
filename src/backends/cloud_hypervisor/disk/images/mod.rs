//! The store of images: files in one directory, and an index that says what they are.
//!
//! A file that the index does not name is no image, so whatever a killed command leaves is nobody's. What uses an image
//! is told by the caller.

mod fetch;
mod index;
mod pull;
mod source;
#[cfg(test)]
mod tests;
mod unpack;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use pull::Pull;
pub use source::{Checksum, Source};

use self::index::Index;
use super::{Format, failed, making::sync_directory};
use crate::model::{Error, Hint, Result, closest};

/// How long an image's name may be.
const LONGEST_NAME: usize = 64;

/// Who uses an image's file: VMs, or overlays, by names for people.
pub type Users<'a> = &'a (dyn Fn(&Path) -> Result<Vec<String>> + Sync);

/// An image of the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// Its name.
    pub name: String,
    /// Where it came from: an address without password, or a path.
    pub source: String,
    /// The SHA-256 of what was fetched, in lower-case hex: of the packed file where it was packed.
    pub sha256: String,
    /// Its format.
    pub format: Format,
    /// How large the disk is for the guest, in bytes.
    pub virtual_size: u64,
    /// How long its file is, in bytes.
    pub size: u64,
    /// Since when it is here.
    pub created: Timestamp,
    /// Its file's name in the store.
    pub file: String,
}

/// The images of this host.
#[derive(Debug, Clone)]
pub struct Images {
    directory: PathBuf,
}

impl Images {
    /// The store in a directory, which is made when something is put there.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into() }
    }

    /// Where the images are: one of the folders in which backing files may lie.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// An image's file.
    pub fn path(&self, image: &Image) -> PathBuf {
        self.directory.join(&image.file)
    }

    /// All images by name. Takes no lock.
    ///
    /// # Errors
    /// For an index that cannot be read.
    pub fn list(&self) -> Result<Vec<Image>> {
        Ok(Index::read(&self.directory)?.images)
    }

    /// The image of this name.
    ///
    /// # Errors
    /// [`Class::NotFound`](crate::model::Class::NotFound), with close names.
    pub fn get(&self, name: &str) -> Result<Image> {
        Index::read(&self.directory)?.get(name).cloned()
    }

    /// Removes images. `users` has for each of their files (see [`path`](Self::path)) who uses it: VMs, or overlays.
    /// Nothing is removed if one cannot be.
    ///
    /// # Errors
    /// [`Class::NotFound`](crate::model::Class::NotFound) for one that is not there,
    /// [`Class::Conflict`](crate::model::Class::Conflict) for one that is used, with its users.
    pub fn delete(&self, names: &[String], users: Users<'_>) -> Result<Vec<Image>> {
        let mut removed = Vec::new();
        Index::change(&self.directory, |index| {
            for name in names {
                let image = index.get(name)?.clone();
                refuse_used(&image, &users(&self.path(&image))?)?;
                index.images.retain(|one| one.name != *name);
                removed.push(image);
            }
            Ok(())
        })?;
        // No longer images; a file that stays is only space.
        for image in &removed {
            self.remove_file(&image.file)?;
        }
        Ok(removed)
    }

    /// Files in the store that belong to no image and to no pull that goes on or can go on: what was left behind by
    /// commands that were killed.
    ///
    /// # Errors
    /// What the file system says.
    pub fn left_behind(&self) -> Result<Vec<PathBuf>> {
        let index = Index::read(&self.directory)?;
        let entries = match fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed("read", &self.directory, error)),
        };
        let known = |name: &str| {
            index::OWN.contains(&name)
                || name.contains(pull::PARTIAL)
                || index.images.iter().any(|image| image.file == name)
        };
        let strange = entries.flatten().filter(|entry| !entry.file_name().to_str().is_some_and(known));
        Ok(strange.map(|entry| entry.path()).collect())
    }

    fn remove_file(&self, name: &str) -> Result<()> {
        let path = self.directory.join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", &path, error)),
            _ => sync_directory(&self.directory).map_err(|error| failed("remove", &path, error)),
        }
    }
}

/// Refuses to take away what is used.
fn refuse_used(image: &Image, users: &[String]) -> Result<()> {
    if users.is_empty() {
        return Ok(());
    }
    Err(Error::conflict(format!("image `{}` is in use by {}", image.name, users.join(", "))).with_hint(Hint::Text(
        "a linked clone needs the image it was made from; delete it first, or make it a full clone".to_owned(),
    )))
}

/// Refuses what cannot name an image: it becomes part of a file's name, and is typed by people.
fn check_name(name: &str) -> Result<()> {
    let fine = |sign: char| sign.is_ascii_alphanumeric() || "._-".contains(sign);
    if name.chars().all(fine)
        && name.starts_with(|sign: char| sign.is_ascii_alphanumeric())
        && name.len() <= LONGEST_NAME
    {
        return Ok(());
    }
    Err(Error::usage(format!("`{name}` cannot name an image")).with_hint(Hint::Text(format!(
        "letters, digits, `.`, `_` and `-` are fine, beginning with a letter or digit, {LONGEST_NAME} at most"
    ))))
}

/// No image has this name; close ones may be meant.
fn not_found(name: &str, images: &[Image]) -> Error {
    Error::not_found(format!("no such image: `{name}`"))
        .did_you_mean(closest(name, images.iter().map(|image| image.name.clone())))
}
