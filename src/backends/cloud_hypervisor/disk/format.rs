//! Formats of disk images, told by their first and last bytes and never by their names.
//!
//! Whatever has no mark counts as raw; whether that is meant is for the caller to judge.

use std::{
    fmt,
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::Path,
    str::FromStr,
};

use serde::{Deserialize, Serialize};

use super::{
    failed,
    qcow2::{self, Header, Invalid},
};
use crate::model::{Error, Hint, Result};

/// The format of a disk image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// The bytes of the disk and nothing else.
    Raw,
    /// QEMU's.
    Qcow2,
    /// Hyper-V's older one.
    Vhd,
    /// Hyper-V's newer one.
    Vhdx,
}

impl Format {
    /// As in Proxmox's and QEMU's options.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Qcow2 => "qcow2",
            Self::Vhd => "vpc",
            Self::Vhdx => "vhdx",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Format {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let all = [Self::Raw, Self::Qcow2, Self::Vhd, Self::Vhdx];
        let found = all.into_iter().find(|format| format.as_str() == text);
        found
            .ok_or_else(|| Error::usage(format!("`{text}` is no format of disks: raw, qcow2, vpc or vhdx is expected")))
    }
}

/// What an image is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspected {
    /// Its format.
    pub format: Format,
    /// How large the disk is for the guest, in bytes; `None` for vhdx, which keeps it where we do not look.
    pub virtual_size: Option<u64>,
    /// The header of a qcow2 image.
    pub qcow2: Option<Header>,
}

/// Looks at an image. Not for the raw disk of a guest, which can write there whatever it likes: its format is what was
/// noted when it was made.
///
/// # Errors
/// [`Class::Usage`](crate::model::Class::Usage) for an image that contradicts itself or that the VMM cannot use.
pub fn inspect(path: &Path) -> Result<Inspected> {
    let mut file = File::open(path).map_err(|error| failed("open", path, error))?;
    let metadata = file.metadata().map_err(|error| failed("look at", path, error))?;
    if metadata.is_dir() {
        return Err(Error::usage(format!("`{}` is a directory, not a disk image", path.display())));
    }
    look(&mut file).map_err(|invalid| match invalid {
        Invalid::Io(error) => failed("read", path, error),
        Invalid::Wrong(text) => Error::usage(format!("`{}` cannot be used as a disk: {text}", path.display())),
    })
}

fn look(file: &mut (impl Read + Seek)) -> Result<Inspected, Invalid> {
    let (mut first, mut last) = ([0; 8], [0; 512]);
    let length = file.seek(SeekFrom::End(0))?;
    read_at(file, 0, &mut first)?;
    let has_last = length >= 512;
    if has_last {
        read_at(file, length - 512, &mut last)?;
    }
    if first[..4] == qcow2::MAGIC {
        let header = qcow2::read(file)?;
        return Ok(Inspected { format: Format::Qcow2, virtual_size: Some(header.virtual_size), qcow2: Some(header) });
    }
    if &first == b"vhdxfile" {
        return Ok(Inspected { format: Format::Vhdx, virtual_size: None, qcow2: None });
    }
    if has_last && &last[..8] == b"conectix" {
        let number = |at: usize| last[at..].first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes));
        if number(60) != 2 {
            return Err(Invalid::Wrong(
                "it is a VHD that grows, and only those of a fixed size are known (`qemu-img convert -O raw` helps)"
                    .to_owned(),
            ));
        }
        let size = (u64::from(number(48)) << 32) | u64::from(number(52));
        if size > length - 512 {
            return Err(Invalid::Wrong("it is a VHD that is cut off".to_owned()));
        }
        return Ok(Inspected { format: Format::Vhd, virtual_size: Some(size), qcow2: None });
    }
    Ok(Inspected { format: Format::Raw, virtual_size: Some(length), qcow2: None })
}

/// Reads as many bytes as there are at a place.
fn read_at(file: &mut (impl Read + Seek), at: u64, mut to: &mut [u8]) -> io::Result<()> {
    file.seek(SeekFrom::Start(at))?;
    while !to.is_empty() {
        match file.read(to) {
            Ok(0) => break,
            Ok(read) => to = &mut to[read..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// What something that is no disk image is instead, by its first bytes: an answer of the wrong kind is found out
/// before gigabytes of it are read.
const NO_DISK: &[(&[u8], &str, &str)] = &[
    (b"\xfd7zXZ\0", "compressed with xz", "unpack it with `xz -d` first, and pull the file"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd", "unpack it with `zstd -d` first, and pull the file"),
    (b"BZh", "compressed with bzip2", "unpack it with `bzip2 -d` first, and pull the file"),
    (b"PK\x03\x04", "a zip archive", "unpack it first, and pull the file in it"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it first, and pull the file in it"),
    (b"KDMV", "a VMDK image", "convert it with `qemu-img convert -O qcow2` first, and pull the file"),
    (b"<!DOCTYPE", "a web page", "look at the address in a browser: it may have moved"),
    (b"<!doctype", "a web page", "look at the address in a browser: it may have moved"),
    (b"<html", "a web page", "look at the address in a browser: it may have moved"),
    (b"<?xml", "an XML document", "look at the address in a browser: it may have moved"),
    (b"{\"", "a JSON document", "look at the address in a browser: it may have moved"),
];

/// How many first bytes [`refuse_no_disk`] wants.
pub(super) const TELLING: usize = 16;
/// How a file compressed with gzip begins.
pub(super) const GZIP: &[u8] = b"\x1f\x8b";

/// Refuses what is known to be no disk image.
pub(super) fn refuse_no_disk(name: &str, first: &[u8]) -> Result<()> {
    match NO_DISK.iter().find(|(magic, ..)| first.starts_with(magic)) {
        Some((_, what, hint)) => {
            Err(Error::usage(format!("`{name}` is {what}, not a disk image")).with_hint(Hint::Text((*hint).to_owned())))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn vhd(kind: u32, size: u64) -> Vec<u8> {
        let mut bytes = vec![0; 4096 + 512];
        bytes[4096..4104].copy_from_slice(b"conectix");
        bytes[4096 + 48..4096 + 56].copy_from_slice(&size.to_be_bytes());
        bytes[4096 + 60..4096 + 64].copy_from_slice(&kind.to_be_bytes());
        bytes
    }

    #[test]
    fn formats_are_told_by_their_marks() {
        let of = |bytes: &[u8]| look(&mut Cursor::new(bytes)).map(|seen| (seen.format, seen.virtual_size));
        assert_eq!(of(&[0; 1024]).unwrap(), (Format::Raw, Some(1024)));
        assert_eq!(of(b"").unwrap(), (Format::Raw, Some(0)));
        assert_eq!(of(&[b"vhdxfile".as_slice(), &[0; 100]].concat()).unwrap(), (Format::Vhdx, None));
        assert_eq!(of(&vhd(2, 4096)).unwrap(), (Format::Vhd, Some(4096)));
        assert!(of(&vhd(3, 4096)).unwrap_err().to_string().contains("grows"));
        assert!(of(&vhd(2, 1 << 40)).unwrap_err().to_string().contains("cut off"));
        assert!(of(b"QFI\xfb").unwrap_err().to_string().contains("does not begin"));
    }

    #[test]
    fn what_is_no_disk_is_called_by_its_name() {
        let error = refuse_no_disk("debian.img.xz", b"\xfd7zXZ\0\0\0").unwrap_err();
        assert_eq!(error.message(), "`debian.img.xz` is compressed with xz, not a disk image");
        assert!(refuse_no_disk("disk", &[0; 16]).is_ok());
    }
}
