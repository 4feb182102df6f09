//! Pulling an image into the store: fetch, check, unpack, look at it, put it in its place, name it in the index.
//!
//! What was fetched of a server's file is kept if the connection breaks, and the next pull goes on from there; what
//! turns out to be wrong is not kept.

use std::{
    fs::{self, File},
    io::Read,
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::Arc,
};

use jiff::Timestamp;
use sha2::{Digest, Sha256};
use tokio::task::spawn_blocking;

use super::{
    Checksum, Image, Images, Source, Users, check_name,
    fetch::{Download, Fetched, fetch},
    index::{Index, make_directory},
    refuse_used,
    source::expected,
    unpack::unpack,
};
use crate::{
    backends::cloud_hypervisor::{
        disk::{
            Format, Watch, cancelled,
            chain::refuse_unusable,
            copy::{fill, open_source},
            failed,
            format::{GZIP, TELLING, refuse_no_disk},
            inspect,
            making::{Making, SECTOR, exclusive, sync_directory},
        },
        failpoint::{Point, reach},
    },
    model::{Class, Error, Hint, Result},
};

/// How files of a pull that goes on or can go on are called, behind the image's name.
pub(super) const PARTIAL: &str = ".partial";

/// What is wanted.
#[derive(Debug, Clone)]
pub struct Pull {
    /// Where from.
    pub source: Source,
    /// Under which name.
    pub name: String,
    /// Its checksum, if known.
    pub checksum: Option<Checksum>,
    /// Its format, if it should be sure to be that.
    pub format: Option<Format>,
    /// Whether an image of this name is replaced.
    pub overwrite: bool,
}

impl Images {
    /// Whether an image could be put into the store under its name, as far as is known without it.
    ///
    /// # Errors
    /// As [`pull`](Self::pull).
    pub fn check(&self, pull: &Pull, users: Users<'_>) -> Result<()> {
        check_name(&pull.name)?;
        if let Some(format @ (Format::Vhd | Format::Vhdx)) = pull.format {
            return Err(Error::usage(format!("{format} images are not kept here; raw and qcow2 are")));
        }
        if let Source::File(path) = &pull.source {
            open_source(path)?;
        }
        self.refuse_taken(&Index::read(&self.directory)?, pull, users)
    }

    /// Puts an image into the store. `users` as for [`delete`](Self::delete), for an image that would be replaced.
    ///
    /// # Errors
    /// [`Class::Conflict`] for a name that is taken, or a pull of the same name that goes on; [`Class::Usage`] for what
    /// is no image that a VM can use; [`Class::Failed`] for a checksum that differs, or no space;
    /// [`Class::Unreachable`] for a server that does not answer to the end.
    pub async fn pull(&self, pull: &Pull, users: Users<'_>, watch: Arc<dyn Watch>) -> Result<Image> {
        self.check(pull, users)?;
        make_directory(&self.directory)?;
        let wanted = match &pull.checksum {
            Some(checksum) => Some(expected(checksum, &pull.source.last()).await?),
            None => None,
        };
        let partial = self.directory.join(format!("{}{PARTIAL}", pull.name));
        let file = exclusive(&partial)?;
        let mut download = Download { file, path: partial };
        self.sweep(&pull.name)?;
        let fetched = self.fetch(&mut download, pull, watch.clone()).await;
        let fetched = match fetched {
            Ok(fetched) => fetched,
            // What came so far is good for another try, unless it is of no use at all.
            Err(error) if download.is_worth_keeping(error.class()) => return Err(error),
            Err(error) => return Err(download.discard(error)),
        };
        if let Some(wanted) = wanted.filter(|wanted| *wanted != fetched.sha256) {
            let text = format!(
                "`{}` has another checksum than it should: {}, not {wanted}",
                pull.source.shown(),
                fetched.sha256
            );
            let error = Error::new(Class::Failed, text);
            return Err(download.discard(error.with_hint(Hint::Text(
                "nothing was kept; it may have been damaged on the way, or be another version".to_owned(),
            ))));
        }
        let (store, wish, sha256) = (self.clone(), pull.clone(), fetched.sha256);
        let shown = spawn_blocking(move || store.look_at(download, &wish, sha256, &*watch)).await;
        let (image, download) =
            shown.map_err(|error| Error::new(Class::Bug, "the pull ended in the middle").with_source(error))??;
        let image = self.put(pull, image, users);
        // Until here it keeps others off the file that is in its place and has no name.
        download.forget();
        image
    }

    /// Removes what pulls of this name put in its place and were killed before it was named. A pull at work holds a lock
    /// on it, or on the file that it comes from.
    fn sweep(&self, name: &str) -> Result<()> {
        let is_its = |file: &str| {
            let number = file.strip_prefix(name).and_then(|rest| rest.strip_prefix('-'));
            let number = number.and_then(|rest| rest.split_once('.')).map(|(number, _)| number);
            number.is_some_and(|number| u64::from_str_radix(number, 16).is_ok())
        };
        for left in self.left_behind()? {
            let Some(file) = left.file_name().and_then(|file| file.to_str()).filter(|file| is_its(file)) else {
                continue;
            };
            // Looked at once more when it is free: it may have been named just now.
            let free = File::open(&left).is_ok_and(|file| file.try_lock().is_ok());
            if free && !self.list()?.iter().any(|image| image.file == file) {
                self.remove_file(file)?;
            }
        }
        Ok(())
    }

    async fn fetch(&self, download: &mut Download, pull: &Pull, watch: Arc<dyn Watch>) -> Result<Fetched> {
        match &pull.source {
            Source::Url(url) => fetch(url, &pull.source.shown(), download, &*watch).await,
            Source::File(path) => {
                download.forget_note();
                let (path, name) = (path.clone(), pull.source.shown());
                let file = download.file.try_clone().map_err(|error| failed("write", &download.path, error))?;
                let place = download.path.clone();
                let copied = spawn_blocking(move || copy_in(&path, &name, file, &place, &*watch)).await;
                copied.map_err(|error| Error::new(Class::Bug, "the copy ended in the middle").with_source(error))?
            }
        }
    }

    fn refuse_taken(&self, index: &Index, pull: &Pull, users: Users<'_>) -> Result<()> {
        match index.images.iter().find(|image| image.name == pull.name) {
            None => Ok(()),
            Some(image) if pull.overwrite => refuse_used(image, &users(&self.path(image))?),
            Some(_) => Err(Error::conflict(format!("image `{}` already exists", pull.name))
                .with_hint(Hint::Text("give another --name, or --overwrite to replace it".to_owned()))),
        }
    }

    /// Unpacks what was fetched, looks at what it is, and puts its file in place. It is no image yet.
    fn look_at(&self, download: Download, pull: &Pull, sha256: String, watch: &dyn Watch) -> Result<(Image, Download)> {
        let mut path = download.path.clone();
        let made = (|| {
            let mut unpacked = None;
            if first_bytes(&path)?.starts_with(GZIP) {
                let target = self.directory.join(format!("{}{PARTIAL}.unpacked", pull.name));
                let making = Making::begin(&target, true)?;
                unpack(&download.file, &pull.source.shown(), &making, watch)?;
                making.finish(0o600, true)?;
                path = target.clone();
                unpacked = Some(target);
            }
            let image = self.judge(&path, pull, sha256);
            let placed = image.and_then(|image| {
                let to = self.path(&image);
                let mode = fs::Permissions::from_mode(0o400);
                // Nobody writes to an image: what lies over it counts on it.
                fs::set_permissions(&path, mode).map_err(|error| failed("write", &path, error))?;
                File::open(&path).and_then(|file| file.sync_all()).map_err(|error| failed("write", &path, error))?;
                fs::rename(&path, &to).map_err(|error| failed("write", &to, error))?;
                sync_directory(&self.directory).map_err(|error| failed("write", &to, error))?;
                reach(Point::ImagePlaced);
                Ok(image)
            });
            if let Some(unpacked) = unpacked {
                // In its place, or of no use.
                let _ = fs::remove_file(unpacked);
            }
            placed
        })();
        match made {
            Ok(image) => Ok((image, download)),
            Err(error) => Err(download.discard(error)),
        }
    }

    /// What the image is, if it is one that VMs can use.
    fn judge(&self, path: &Path, pull: &Pull, sha256: String) -> Result<Image> {
        let name = pull.source.shown();
        refuse_no_disk(&name, &first_bytes(path)?)?;
        // The file has a name of ours, of which nobody has heard.
        let said = path.display().to_string();
        let seen = inspect(path).map_err(|error| Error::new(error.class(), error.message().replace(&said, &name)))?;
        let size = fs::metadata(path).map_err(|error| failed("look at", path, error))?.len();
        if let Some(wanted) = pull.format.filter(|wanted| *wanted != seen.format) {
            return Err(Error::usage(format!("`{name}` is {}, not {wanted}", seen.format)));
        }
        let why = match seen.format {
            Format::Vhd | Format::Vhdx => Some(format!("{} images are not kept here", seen.format)),
            Format::Raw if size == 0 => Some("it is empty".to_owned()),
            Format::Raw if !size.is_multiple_of(SECTOR) => {
                Some("it has no known format, nor the length of a raw disk".to_owned())
            }
            _ => None,
        };
        if let Some(why) = why {
            return Err(Error::usage(format!("`{name}` cannot be used as an image: {why}")).with_hint(Hint::Text(
                "raw and qcow2 are; `qemu-img convert -O qcow2` makes one of many others".to_owned(),
            )));
        }
        if let Some(header) = &seen.qcow2 {
            refuse_unusable(Path::new(&name), header)?;
            if let Some(backing) = &header.backing {
                return Err(Error::usage(format!("`{name}` needs another image below it, `{}`", backing.name))
                    .with_hint(Hint::Text("`qemu-img convert -O qcow2` makes one that stands alone".to_owned())));
            }
        }
        let source = match &pull.source {
            // Said later, and from elsewhere.
            Source::File(path) => fs::canonicalize(path).map_or(name, |path| path.display().to_string()),
            Source::Url(_) => name,
        };
        let created = Timestamp::now();
        // Of its own for each pull, so that what replaces an image never touches the old one's file.
        let file = format!("{}-{:x}.{}", pull.name, created.as_millisecond(), seen.format);
        let virtual_size = seen.virtual_size.unwrap_or(size);
        Ok(Image { name: pull.name.clone(), source, sha256, format: seen.format, virtual_size, size, created, file })
    }

    /// Names the image in the index. From here on it is one.
    fn put(&self, pull: &Pull, image: Image, users: Users<'_>) -> Result<Image> {
        let put = Index::change(&self.directory, |index| {
            // Somebody may have been faster.
            self.refuse_taken(index, pull, users)?;
            let old = index.images.iter().find(|old| old.name == image.name).map(|old| old.file.clone());
            index.images.retain(|old| old.name != image.name);
            index.images.push(image.clone());
            Ok(old)
        });
        match put {
            Ok(Some(old)) => self.remove_file(&old)?,
            Ok(None) => {}
            Err(error) => {
                // The reason why it is no image says more.
                let _ = self.remove_file(&image.file);
                return Err(error);
            }
        }
        Ok(image)
    }
}

/// How a file begins.
fn first_bytes(path: &Path) -> Result<Vec<u8>> {
    let mut first = Vec::new();
    let read = File::open(path).and_then(|file| file.take(TELLING as u64).read_to_end(&mut first));
    read.map(|_| first).map_err(|error| failed("read", path, error))
}

/// Copies a file of this host, shared where that can be, and hashes the copy: what is kept is what was checked.
fn copy_in(from: &Path, name: &str, file: File, place: &Path, watch: &dyn Watch) -> Result<Fetched> {
    refuse_no_disk(name, &first_bytes(from)?)?;
    let source = open_source(from)?;
    file.set_len(0).map_err(|error| failed("write", place, error))?;
    fill(&source, from, &file, place, watch, true)?;
    hash(&file, place, watch)
}

/// The checksum of a whole file.
fn hash(mut file: &File, path: &Path, watch: &dyn Watch) -> Result<Fetched> {
    let mut digest = Sha256::new();
    let told = |error| failed("read", path, error);
    std::io::Seek::rewind(&mut file).map_err(told)?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        if watch.cancelled() {
            return Err(cancelled());
        }
        match file.read(&mut buffer).map_err(told)? {
            0 => return Ok(Fetched { sha256: hex(&digest.finalize()) }),
            read => digest.update(&buffer[..read]),
        }
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
