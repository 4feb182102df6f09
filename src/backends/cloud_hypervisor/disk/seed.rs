//! The seed of cloud-init's NoCloud source: a small FAT file system called CIDATA, made in this process.
//!
//! What stands in it is the caller's. Equal texts make an image of equal bytes.

use std::{
    fmt,
    io::{Cursor, Write},
    os::unix::fs::FileExt,
    path::Path,
};

use fatfs::{FatType, FileSystem, FormatVolumeOptions, FsOptions};
use sha2::{Digest, Sha256};

use super::making::Making;
use crate::model::{Class, Error, Result, Size};

/// How large an image is at least.
const SMALLEST: usize = 1 << 20;
/// How much may be in it; far above what any guest reads.
const LARGEST: usize = 8 << 20;
/// What the directory and the tables take at most, and what the ends of files waste.
const AROUND: usize = 256 << 10;

/// What a guest is told at its first start. Holds secrets: `Debug` shows lengths only.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Seed {
    /// `user-data`: what to set up.
    pub user_data: String,
    /// `meta-data`: who the guest is; a new `instance-id` makes it set itself up again.
    pub meta_data: String,
    /// `network-config`, if the guest should not just ask for an address.
    pub network_config: Option<String>,
    /// `vendor-data`: what to set up beside the rest, if there is anything.
    pub vendor_data: Option<String>,
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lengths = self.files().map(|(name, text)| (name, text.map(str::len)));
        f.debug_tuple("Seed").field(&lengths).finish()
    }
}

impl Seed {
    fn files(&self) -> [(&'static str, Option<&str>); 4] {
        [
            ("user-data", Some(&self.user_data)),
            ("meta-data", Some(&self.meta_data)),
            ("network-config", self.network_config.as_deref()),
            ("vendor-data", self.vendor_data.as_deref()),
        ]
    }

    /// The image's bytes: a raw disk.
    ///
    /// # Errors
    /// [`Class::Usage`] for more than 8 MiB of text.
    pub fn image(&self) -> Result<Vec<u8>> {
        let length: usize = self.files().iter().filter_map(|(_, text)| text.map(str::len)).sum();
        if length > LARGEST {
            let [length, most] = [length, LARGEST].map(|bytes| Size(bytes as u64));
            return Err(Error::usage(format!("cloud-init's data has {length}, and {most} is the most")));
        }
        let mut digest = Sha256::new();
        for (name, text) in self.files() {
            digest.update(name);
            digest.update([u8::from(text.is_some())]);
            digest.update((text.map_or(0, str::len) as u64).to_be_bytes());
            digest.update(text.unwrap_or_default());
        }
        let digest = digest.finalize();
        let id = u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]);
        self.format(length, id)
            .map_err(|error| Error::new(Class::Bug, "the seed image for cloud-init cannot be made").with_source(error))
    }

    fn format(&self, length: usize, id: u32) -> std::io::Result<Vec<u8>> {
        let size = (length + AROUND).max(SMALLEST).next_multiple_of(SMALLEST);
        let mut disk = Cursor::new(vec![0; size]);
        let kind = if size > 2 << 20 { FatType::Fat16 } else { FatType::Fat12 };
        let options = FormatVolumeOptions::new()
            .volume_label(*b"CIDATA     ")
            .volume_id(id)
            .fat_type(kind)
            .bytes_per_cluster(if size > 2 << 20 { 512 } else { 1024 });
        fatfs::format_volume(&mut disk, options)?;
        {
            // Without a clock of its own the file system has no times at all.
            let system = FileSystem::new(&mut disk, FsOptions::new())?;
            for (name, text) in self.files() {
                if let Some(text) = text {
                    system.root_dir().create_file(name)?.write_all(text.as_bytes())?;
                }
            }
            system.unmount()?;
        }
        Ok(disk.into_inner())
    }

    /// Writes the image, over one that is there, readable by its owner only.
    ///
    /// # Errors
    /// As [`image`](Self::image), and what the file system says.
    pub fn write(&self, path: &Path) -> Result<()> {
        let image = self.image()?;
        let making = Making::begin(path, true)?;
        making.file.write_all_at(&image, 0).map_err(|error| making.failed(error))?;
        making.finish(0o600, true)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Read, os::unix::fs::MetadataExt, process::Command};

    use super::*;

    fn seed(user_data: &str) -> Seed {
        Seed {
            user_data: user_data.to_owned(),
            meta_data: "instance-id: i-1\nlocal-hostname: web\n".to_owned(),
            network_config: Some("version: 2\n".to_owned()),
            vendor_data: Some("#cloud-config\n".to_owned()),
        }
    }

    fn read_back(bytes: Vec<u8>) -> Vec<(String, String)> {
        let system = FileSystem::new(Cursor::new(bytes), FsOptions::new()).unwrap();
        assert_eq!(system.volume_label(), "CIDATA");
        assert_eq!(system.read_volume_label_from_root_dir().unwrap().as_deref(), Some("CIDATA"));
        let files = system.root_dir().iter().map(Result::unwrap).map(|entry| {
            let mut text = String::new();
            entry.to_file().read_to_string(&mut text).unwrap();
            (entry.file_name(), text)
        });
        files.collect()
    }

    #[test]
    fn a_seed_reads_back_whatever_its_length() {
        for length in [0, 1, 511, 100_000, 1 << 20, LARGEST - 1000] {
            let seed = seed(&"x".repeat(length));
            let files = read_back(seed.image().unwrap());
            let want = seed.files().map(|(name, text)| (name.to_owned(), text.unwrap().to_owned()));
            assert!(files == want, "{length}");
        }
        let few = Seed { network_config: None, vendor_data: None, ..seed("a") };
        assert_eq!(read_back(few.image().unwrap()).len(), 2);
        assert_eq!(seed(&"x".repeat(LARGEST + 1)).image().unwrap_err().class(), Class::Usage);
    }

    #[test]
    fn equal_texts_make_equal_bytes() {
        let seed = seed("#cloud-config\npassword: hunter2\n");
        let image = seed.image().unwrap();
        assert!(image == seed.image().unwrap());
        assert!(image != Seed { user_data: String::new(), ..seed.clone() }.image().unwrap());
        assert!(!format!("{seed:?}").contains("hunter2"));
    }

    #[test]
    fn the_file_is_the_owners_and_is_replaced_whole() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("seed.img");
        seed("one").write(&path).unwrap();
        seed("two").write(&path).unwrap();
        assert!(fs::read(&path).unwrap() == seed("two").image().unwrap());
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1);
        match Command::new("/usr/sbin/blkid").args(["-p", "-o", "export"]).arg(&path).output() {
            Ok(seen) => {
                let seen = String::from_utf8(seen.stdout).unwrap();
                assert!(seen.contains("LABEL=CIDATA\n") && seen.contains("TYPE=vfat\n"), "{seen}");
            }
            Err(error) => eprintln!("SKIPPED: no blkid to see what a guest would ({error})"),
        }
    }
}
