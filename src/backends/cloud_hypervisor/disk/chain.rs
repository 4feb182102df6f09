//! The images below an image: found, checked, and refused where a header points outside the folders we look after.
//!
//! A header can name any file of the host as its backing file, and the VMM would hand that file to the guest.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{
    Backing, Format, directory_of, failed, inspect,
    qcow2::{CORRUPT, EXTERNAL_DATA, Header},
};
use crate::model::{Error, Hint, Result, Size};

/// How many images may lie over each other; the VMM's own limit.
const DEEPEST: usize = 10;

/// One image of several that lie over each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// Where it is, without symbolic links.
    pub path: PathBuf,
    /// Its format.
    pub format: Format,
    /// How large the disk is for the guest, in bytes.
    pub virtual_size: u64,
}

/// An image and everything below it, the top first. The format of the top is the one that was noted when it was made:
/// what a guest has written into a raw disk is not looked at. All images below must be in the `managed` folders.
///
/// # Errors
/// [`Class::Usage`](crate::model::Class::Usage) for an image that must not be used, with the reason.
pub fn chain(path: &Path, format: Format, managed: &[PathBuf]) -> Result<Vec<Layer>> {
    let mut layers: Vec<Layer> = Vec::new();
    let mut next = Some((fs::canonicalize(path).map_err(|error| failed("open", path, error))?, format));
    while let Some((path, format)) = next.take() {
        if layers.len() > DEEPEST || layers.iter().any(|layer| layer.path == path) {
            let text = format!("`{}` has more than {DEEPEST} images below it, or lies over itself", path.display());
            return Err(Error::usage(text));
        }
        let virtual_size = match format {
            Format::Raw => fs::metadata(&path).map_err(|error| failed("look at", &path, error))?.len(),
            _ => {
                let seen = inspect(&path)?;
                if seen.format != format {
                    let text = format!("`{}` should be {format} and is {}", path.display(), seen.format);
                    return Err(Error::usage(text));
                }
                if let Some(header) = &seen.qcow2 {
                    refuse_unusable(&path, header)?;
                    if let Some(backing) = &header.backing {
                        next = Some(below(&path, backing, managed)?);
                    }
                }
                seen.virtual_size.unwrap_or(0)
            }
        };
        layers.push(Layer { path, format, virtual_size });
    }
    Ok(layers)
}

/// Refuses a qcow2 image that the VMM cannot use, or that would read another file of the host.
pub(super) fn refuse_unusable(path: &Path, header: &Header) -> Result<()> {
    let why = if header.encrypted {
        "it is encrypted"
    } else if header.incompatible & CORRUPT != 0 {
        "it is marked as corrupt"
    } else if header.incompatible & EXTERNAL_DATA != 0 {
        "its data is in another file"
    } else {
        return Ok(());
    };
    Err(Error::usage(format!("`{}` cannot be used as a disk: {why}", path.display())))
}

/// The image that a header names, if it may be used.
fn below(path: &Path, backing: &Backing, managed: &[PathBuf]) -> Result<(PathBuf, Format)> {
    let refused = |why: String| {
        Error::usage(format!("`{}` names a backing file that must not be used: {why}", path.display()))
            .with_hint(Hint::Text("`qemu-img convert` makes an image that stands alone".to_owned()))
    };
    let name = &backing.name;
    // QEMU's `json:{…}` and `nbd://…`; a colon behind the first slash is part of a file's name.
    if name.split('/').next().is_some_and(|first| first.contains(':')) {
        return Err(refused(format!("`{name}` is no path")));
    }
    let format = match backing.format.as_deref() {
        Some(format) => format.parse().map_err(|_| refused(format!("its format `{format}` is not known")))?,
        // Whoever guesses can be told anything by a guest that writes a header into its raw disk.
        None => return Err(refused("it says nothing about its format".to_owned())),
    };
    let found =
        fs::canonicalize(directory_of(path).join(name)).map_err(|error| refused(format!("`{name}`: {error}")))?;
    let inside =
        managed.iter().filter_map(|folder| fs::canonicalize(folder).ok()).any(|folder| found.starts_with(folder));
    if !inside || !found.is_file() {
        return Err(refused(format!("`{}` is outside of pvectl's folders", found.display())));
    }
    Ok((found, format))
}

/// How large the disk of the uppermost of some images is.
pub(super) fn top_size(layers: &[Layer]) -> Size {
    Size(layers.first().map_or(0, |layer| layer.virtual_size))
}
