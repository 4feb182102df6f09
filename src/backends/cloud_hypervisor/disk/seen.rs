//! What a guest sees of a disk: its bytes, found through an image and all images below it.
//!
//! Reads raw images and qcow2 ones, and changes nothing. Tables are read within the limits of their header; what a table
//! names behind the end of its file is zeros, as for everybody.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use flate2::{Decompress, FlushDecompress};

use super::{
    Format, Header, Layer,
    copy::{next_data, open_source},
    failed, inspect,
    qcow2::{COMPRESSION, EXTENDED_L2},
};
use crate::model::{Error, Hint, Result};

/// The part of an entry of either table that is an offset.
const OFFSET: u64 = 0x00FF_FFFF_FFFF_FE00;
/// Of an entry of a second table: the cluster is packed.
const PACKED: u64 = 1 << 62;
/// The same: it is nothing but zeros, whatever lies below.
const ZEROS: u64 = 1;
/// What packed clusters are counted in.
const SECTOR: u64 = 512;

/// A disk as its guest sees it.
pub(super) struct Seen {
    /// The top first.
    layers: Vec<Level>,
    size: u64,
}

/// One image of several that lie over each other.
struct Level {
    path: PathBuf,
    file: File,
    size: u64,
    /// Nothing of a raw one.
    tables: Option<Tables>,
}

/// The tables of a qcow2 image.
struct Tables {
    header: Header,
    first: Vec<u64>,
    /// The second table that was read last, and where it is.
    second: Option<(u64, Vec<u64>)>,
}

/// Where the bytes from a place on are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Nowhere: they are zeros.
    Nowhere,
    /// In the file of a level, from here on.
    At { level: usize, offset: u64 },
    /// Packed into so many bytes there; so far into the cluster.
    Packed { level: usize, offset: u64, length: usize, skip: usize },
}

impl Seen {
    /// Opens an image and all below it, as [`chain`](super::chain) found and allowed them.
    ///
    /// # Errors
    /// [`Class::Usage`](crate::model::Class::Usage) for what is not read here, with the way out.
    pub(super) fn open(layers: &[Layer]) -> Result<Self> {
        let size = layers.first().map_or(0, |top| top.virtual_size);
        Ok(Self { layers: layers.iter().map(Level::open).collect::<Result<_>>()?, size })
    }

    /// How large the disk is, in bytes.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// From this place on, where the next bytes that may be other than zeros begin and where a stretch of them ends.
    pub(super) fn next(&mut self, mut at: u64) -> Result<Option<(u64, u64)>> {
        while at < self.size {
            let (end, place) = self.find(0, at, self.size)?;
            if place != Place::Nowhere {
                return Ok(Some((at, end)));
            }
            at = end;
        }
        Ok(None)
    }

    /// Reads what is at a place; behind the end are zeros.
    pub(super) fn read(&mut self, at: u64, into: &mut [u8]) -> Result<()> {
        into.fill(0);
        let end = self.size.min(at + into.len() as u64);
        let mut now = at;
        while now < end {
            let (until, place) = self.find(0, now, end)?;
            let part = &mut into[(now - at) as usize..(until - at) as usize];
            match place {
                Place::Nowhere => {}
                Place::At { level, offset } => {
                    let level = &self.layers[level];
                    filled(&level.file, part, offset).map_err(|error| failed("read", &level.path, error))?;
                }
                Place::Packed { level, offset, length, skip } => {
                    let bytes = self.layers[level].unpacked(offset, length)?;
                    let count = part.len();
                    part.copy_from_slice(&bytes[skip..skip + count]);
                }
            }
            now = until;
        }
        Ok(())
    }

    /// Where the bytes at a place are, and up to where that holds.
    fn find(&mut self, level: usize, at: u64, end: u64) -> Result<(u64, Place)> {
        let Some(image) = self.layers.get_mut(level).filter(|image| at < image.size) else {
            return Ok((end, Place::Nowhere));
        };
        let whole = end;
        // Behind the end of an image that is shorter than those above it are zeros.
        let end = end.min(image.size);
        let told = |error| failed("read", &image.path, error);
        let Some(tables) = &mut image.tables else {
            return Ok(match next_data(&image.file, at, image.size).map_err(told)? {
                None => (whole, Place::Nowhere),
                Some((begin, _)) if begin > at => (begin.min(end), Place::Nowhere),
                Some((_, until)) => (until.min(end), Place::At { level, offset: at }),
            });
        };
        let (cluster, per_first) = (tables.header.cluster(), tables.header.per_l1_entry());
        let (newer, cluster_bits) = (tables.header.version == 3, tables.header.cluster_bits);
        let first = tables.first.get((at / per_first) as usize).map_or(0, |entry| entry & OFFSET);
        if first == 0 {
            return self.find(level + 1, at, end.min((at / per_first + 1) * per_first));
        }
        let table = tables.second(&image.file, first).map_err(told)?;
        let index = (at % per_first / cluster) as usize;
        let entry = table[index];
        let cluster_end = |many: usize| (at / cluster + many as u64) * cluster;
        let until = end.min(cluster_end(1));
        if entry & PACKED != 0 {
            let (offset, length) = packed(entry, cluster_bits);
            return Ok((until, Place::Packed { level, offset, length, skip: (at % cluster) as usize }));
        }
        if newer && entry & ZEROS != 0 {
            return Ok((until, Place::Nowhere));
        }
        match entry & OFFSET {
            0 => {
                let holes = table[index..].iter().take_while(|entry| **entry == 0).count().max(1);
                let end = end.min(cluster_end(holes));
                self.find(level + 1, at, end)
            }
            offset => Ok((until, Place::At { level, offset: offset + at % cluster })),
        }
    }
}

impl Level {
    fn open(layer: &Layer) -> Result<Self> {
        let Layer { path, format, virtual_size: size } = layer;
        let file = open_source(path)?;
        let tables = match format {
            Format::Raw => None,
            Format::Qcow2 => Some(Tables::read(path, &file)?),
            Format::Vhd | Format::Vhdx => return Err(unread(path, &format!("it is {format}"))),
        };
        Ok(Self { path: path.clone(), file, size: *size, tables })
    }

    /// A packed cluster, whole.
    fn unpacked(&self, offset: u64, length: usize) -> Result<Vec<u8>> {
        let header = self.tables.as_ref().map(|tables| &tables.header);
        if header.is_some_and(|header| header.incompatible & COMPRESSION != 0) {
            return Err(unread(&self.path, "it is packed by something else than zlib"));
        }
        let (mut bytes, mut cluster) = (vec![0; length], vec![0; header.map_or(0, Header::cluster) as usize]);
        filled(&self.file, &mut bytes, offset).map_err(|error| failed("read", &self.path, error))?;
        let mut unpacking = Decompress::new(false);
        // What stands behind the stream is somebody else's, so an end that it finds late is no error.
        let _ = unpacking.decompress(&bytes, &mut cluster, FlushDecompress::Finish);
        match unpacking.total_out() == cluster.len() as u64 {
            true => Ok(cluster),
            false => Err(failed("read", &self.path, io::Error::other("a packed cluster of it is damaged"))),
        }
    }
}

impl Tables {
    fn read(path: &Path, file: &File) -> Result<Self> {
        let header = inspect(path)?.qcow2.ok_or_else(|| unread(path, "it should be qcow2 and is raw"))?;
        if header.incompatible & EXTENDED_L2 != 0 {
            return Err(unread(path, "it has extended L2 entries"));
        }
        let first = table(file, header.l1_offset, header.l1_size as usize);
        Ok(Self { first: first.map_err(|error| failed("read", path, error))?, header, second: None })
    }

    /// The second table that is there, from what was read before if it was that one.
    fn second(&mut self, file: &File, at: u64) -> io::Result<&[u64]> {
        let read = match self.second.take() {
            Some((there, entries)) if there == at => entries,
            _ => table(file, at, (self.header.cluster() / 8) as usize)?,
        };
        Ok(&self.second.insert((at, read)).1)
    }
}

/// Where a packed cluster is, and how many bytes it has at most.
fn packed(entry: u64, cluster_bits: u32) -> (u64, usize) {
    let bits = 62 - (cluster_bits - 8);
    let offset = entry & ((1 << bits) - 1);
    let sectors = (entry >> bits) & ((1 << (cluster_bits - 8)) - 1);
    (offset, ((sectors + 1) * SECTOR - offset % SECTOR) as usize)
}

/// The entries of a table.
fn table(file: &File, at: u64, entries: usize) -> io::Result<Vec<u64>> {
    let mut bytes = vec![0; entries * 8];
    filled(file, &mut bytes, at)?;
    let (entries, _) = bytes.as_chunks::<8>();
    Ok(entries.iter().map(|entry| u64::from_be_bytes(*entry)).collect())
}

/// Reads as much as there is; what is behind the end stays as it was.
fn filled(file: &File, into: &mut [u8], at: u64) -> io::Result<()> {
    let mut done = 0;
    while done < into.len() {
        match file.read_at(&mut into[done..], at + done as u64) {
            Ok(0) => break,
            Ok(read) => done += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn unread(path: &Path, why: &str) -> Error {
    Error::usage(format!("`{}` cannot be read here: {why}", path.display()))
        .with_hint(Hint::Text(format!("`qemu-img convert -O qcow2 {} …` makes one that can", path.display())))
}
