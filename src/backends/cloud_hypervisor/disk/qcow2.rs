//! The header of a qcow2 image: what it says, within limits on everything that is read.
//!
//! A guest writes its own disks, so a header is an enemy's text until it has been checked. Clusters of data are never
//! looked at here.

use std::io::{self, Read, Seek, SeekFrom};

/// The first four bytes.
pub(super) const MAGIC: [u8; 4] = *b"QFI\xfb";

/// How much of a file is read for its header with the extensions.
const LOOKED_AT: u64 = 64 * 1024;
/// How long the name of a backing file may be; the format's own limit.
const LONGEST_NAME: usize = 1023;
/// The largest disk that the VMM opens.
const LARGEST: u64 = 1 << 44;
/// How large the first table may be; what others allow too.
const LARGEST_L1: u64 = 32 << 20;

/// The names of the incompatible features, by their bit.
const FEATURES: [&str; 5] = ["dirty", "corrupt", "external data file", "compression type", "extended L2 entries"];

/// Bits of [`Header::incompatible`].
pub(super) const DIRTY: u64 = 1;
pub(super) const CORRUPT: u64 = 1 << 1;
pub(super) const EXTERNAL_DATA: u64 = 1 << 2;
pub(super) const COMPRESSION: u64 = 1 << 3;
pub(super) const EXTENDED_L2: u64 = 1 << 4;

/// The kinds of extension that we know.
pub(super) const EXTENSION_FORMAT: u32 = 0xE279_2ACA;
const EXTENSION_BITMAPS: u32 = 0x2385_2875;

/// Another image that this one lies over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backing {
    /// Its name as it stands there: a path, or worse.
    pub name: String,
    /// Its format as it stands there.
    pub format: Option<String>,
}

/// What a header says. Every number in it fits the others and the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// 2 or 3.
    pub version: u32,
    /// The logarithm of the size of a cluster, 9 to 21.
    pub cluster_bits: u32,
    /// How large the disk is for the guest, in bytes.
    pub virtual_size: u64,
    /// Whether the data is encrypted.
    pub encrypted: bool,
    /// How many entries the first table has.
    pub l1_size: u32,
    /// Where it is.
    pub l1_offset: u64,
    /// Where the table of reference counts is.
    pub refcount_offset: u64,
    /// How many clusters it has.
    pub refcount_clusters: u32,
    /// The logarithm of how many bits a reference count has, 0 to 6.
    pub refcount_order: u32,
    /// How many snapshots are inside.
    pub snapshots: u32,
    /// Features that a reader must know, as bits.
    pub incompatible: u64,
    /// Whether dirty bitmaps are inside.
    pub bitmaps: bool,
    /// The image below.
    pub backing: Option<Backing>,
}

impl Header {
    /// The size of a cluster, in bytes.
    pub fn cluster(&self) -> u64 {
        1 << self.cluster_bits
    }

    /// How many bytes of the disk one entry of the first table stands for.
    pub fn per_l1_entry(&self) -> u64 {
        let entry = if self.incompatible & EXTENDED_L2 == 0 { 8 } else { 16 };
        self.cluster() / entry * self.cluster()
    }

    /// The incompatible features by their names.
    pub fn features(&self) -> Vec<&'static str> {
        let has = |(bit, name): (usize, &&'static str)| (self.incompatible & (1 << bit) != 0).then_some(*name);
        FEATURES.iter().enumerate().filter_map(has).collect()
    }
}

/// Why something is no header to work with.
#[derive(Debug, thiserror::Error)]
pub enum Invalid {
    /// It cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is not what it should be.
    #[error("{0}")]
    Wrong(String),
}

fn wrong<T>(text: impl Into<String>) -> Result<T, Invalid> {
    Err(Invalid::Wrong(text.into()))
}

/// Numbers at their places in the bytes that were read; what is not there is zero, and was checked before.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn u32(&self, at: usize) -> u32 {
        self.0.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_be_bytes)
    }

    fn u64(&self, at: usize) -> u64 {
        self.0.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_be_bytes)
    }
}

/// Reads a header. At most 64 KiB and a name are read of any file.
///
/// # Errors
/// [`Invalid`], in words that go on from "`disk.qcow2` is no qcow2 image to work with: …".
pub(super) fn read(source: &mut (impl Read + Seek)) -> Result<Header, Invalid> {
    let length = source.seek(SeekFrom::End(0))?;
    source.seek(SeekFrom::Start(0))?;
    let mut start = Vec::new();
    source.take(LOOKED_AT).read_to_end(&mut start)?;
    let bytes = Bytes(&start);
    if start.len() < 72 || start[..4] != MAGIC {
        return wrong("it does not begin as one");
    }
    let version = bytes.u32(4);
    let newer = version == 3;
    if !matches!(version, 2 | 3) {
        return wrong(format!("it is of version {version}, and only 2 and 3 are known"));
    }
    if newer && start.len() < 104 {
        return wrong("its header is cut off");
    }
    let header_length = if newer { bytes.u32(100) as usize } else { 72 };
    if header_length > start.len() || (newer && (header_length < 104 || header_length % 8 != 0)) {
        return wrong(format!("its header cannot have {header_length} bytes"));
    }
    let mut header = Header {
        version,
        cluster_bits: bytes.u32(20),
        virtual_size: bytes.u64(24),
        encrypted: bytes.u32(32) != 0,
        l1_size: bytes.u32(36),
        l1_offset: bytes.u64(40),
        refcount_offset: bytes.u64(48),
        refcount_clusters: bytes.u32(56),
        refcount_order: if newer { bytes.u32(96) } else { 4 },
        snapshots: bytes.u32(60),
        incompatible: if newer { bytes.u64(72) } else { 0 },
        bitmaps: false,
        backing: None,
    };
    check(&header, length)?;
    let end = start.len().min(usize::try_from(header.cluster()).unwrap_or(usize::MAX));
    let format = extensions(&start[..end], header_length, &mut header)?;
    let (offset, size) = (bytes.u64(8), bytes.u32(16) as usize);
    if offset == 0 && size != 0 || offset != 0 && size == 0 {
        return wrong("it names a backing file by halves");
    }
    if offset != 0 {
        if size > LONGEST_NAME {
            return wrong(format!("the name of its backing file has {size} bytes"));
        }
        if offset < header_length as u64 || offset.saturating_add(size as u64) > header.cluster() {
            return wrong("the name of its backing file is not in the first cluster");
        }
        source.seek(SeekFrom::Start(offset))?;
        let mut name = vec![0; size];
        source.read_exact(&mut name)?;
        match String::from_utf8(name) {
            Ok(name) if !name.contains('\0') => header.backing = Some(Backing { name, format }),
            _ => return wrong("the name of its backing file is no text"),
        }
    }
    Ok(header)
}

/// Whether the numbers fit each other and the file.
fn check(header: &Header, length: u64) -> Result<(), Invalid> {
    if !(9..=21).contains(&header.cluster_bits) {
        return wrong(format!("clusters of 2^{} bytes are not known", header.cluster_bits));
    }
    if header.virtual_size > LARGEST {
        return wrong(format!("its disk of {} is too large", crate::model::Size(header.virtual_size)));
    }
    if header.refcount_order > 6 {
        return wrong(format!("reference counts of 2^{} bits are not known", header.refcount_order));
    }
    if let unknown @ 1.. = header.incompatible & !((1 << FEATURES.len()) - 1) {
        return wrong(format!("it has features that are not known ({unknown:#x})"));
    }
    let cluster = header.cluster();
    let inside = |offset: u64, bytes: u64| {
        offset.is_multiple_of(cluster)
            && offset >= cluster
            && offset.checked_add(bytes).is_some_and(|end| end <= length.next_multiple_of(cluster))
    };
    let l1_bytes = u64::from(header.l1_size) * 8;
    if l1_bytes > LARGEST_L1 || u64::from(header.l1_size) < header.virtual_size.div_ceil(header.per_l1_entry()) {
        return wrong(format!("its first table cannot have {} entries", header.l1_size));
    }
    if l1_bytes > 0 && !inside(header.l1_offset, l1_bytes) {
        return wrong("its first table is not inside of the file, which may be cut off");
    }
    let refcounts = u64::from(header.refcount_clusters) * cluster;
    if refcounts == 0 || refcounts > 2 * LARGEST_L1 || !inside(header.refcount_offset, refcounts) {
        return wrong("its table of reference counts is not inside of the file, which may be cut off");
    }
    Ok(())
}

/// Looks through the extensions, and gives the format of the backing file.
fn extensions(start: &[u8], header_length: usize, header: &mut Header) -> Result<Option<String>, Invalid> {
    let bytes = Bytes(start);
    let (mut at, mut format) = (header_length, None);
    // An area that just ends has no mark of its end.
    while at + 8 <= start.len() {
        let (kind, size) = (bytes.u32(at), bytes.u32(at + 4) as usize);
        if kind == 0 {
            break;
        }
        let Some(data) = start.get(at + 8..).and_then(|rest| rest.get(..size)) else {
            return wrong("an extension of its header goes beyond the first cluster");
        };
        match kind {
            EXTENSION_FORMAT => match std::str::from_utf8(data) {
                Ok(text) if text.len() <= 15 => format = Some(text.to_owned()),
                _ => return wrong("the format of its backing file is no text"),
            },
            EXTENSION_BITMAPS => header.bitmaps = true,
            _ => {}
        }
        at += 8 + size.next_multiple_of(8);
    }
    Ok(format)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::*;
    use crate::backends::cloud_hypervisor::disk::{Format, create_raw, overlay};

    fn sample() -> Vec<u8> {
        let home = tempfile::tempdir().unwrap();
        let (base, over) = (home.path().join("base"), home.path().join("over"));
        create_raw(&base, 3 << 30).unwrap();
        overlay(&over, &base, Format::Raw, None, &[home.path().to_owned()]).unwrap();
        std::fs::read(over).unwrap()
    }

    /// How many bytes were asked for, at most.
    struct Counting<T>(T, u64);

    impl<T: Read> Read for Counting<T> {
        fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
            let read = self.0.read(to)?;
            self.1 += read as u64;
            Ok(read)
        }
    }

    impl<T: Seek> Seek for Counting<T> {
        fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
            self.0.seek(to)
        }
    }

    fn reads_within_limits(bytes: &[u8]) {
        let mut source = Counting(Cursor::new(bytes), 0);
        let read = read(&mut source);
        assert!(source.1 <= LOOKED_AT + LONGEST_NAME as u64, "{} bytes were read", source.1);
        if let Ok(header) = read {
            assert!((9..=21).contains(&header.cluster_bits) && header.virtual_size <= LARGEST);
            assert!(u64::from(header.l1_size) * header.per_l1_entry() >= header.virtual_size);
            assert!(header.backing.is_none_or(|backing| backing.name.len() <= LONGEST_NAME));
        }
    }

    #[test]
    fn damage_is_named() {
        let good = sample();
        let change = |at: usize, with: &[u8]| {
            let mut bytes = good.clone();
            bytes[at..at + with.len()].copy_from_slice(with);
            match read(&mut Cursor::new(bytes)) {
                Err(Invalid::Wrong(text)) => text,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(change(0, b"QFX"), "it does not begin as one");
        assert_eq!(change(4, &7_u32.to_be_bytes()), "it is of version 7, and only 2 and 3 are known");
        assert_eq!(change(20, &40_u32.to_be_bytes()), "clusters of 2^40 bytes are not known");
        assert_eq!(change(24, &u64::MAX.to_be_bytes()), "its disk of 16384.00 PiB is too large");
        assert_eq!(change(36, &0_u32.to_be_bytes()), "its first table cannot have 0 entries");
        assert_eq!(change(36, &u32::MAX.to_be_bytes()), "its first table cannot have 4294967295 entries");
        assert!(change(40, &(1_u64 << 40).to_be_bytes()).contains("cut off"));
        assert!(change(48, &u64::MAX.to_be_bytes()).contains("cut off"));
        assert_eq!(change(72, &(1_u64 << 60).to_be_bytes()), "it has features that are not known (0x1000000000000000)");
        assert_eq!(change(16, &0_u32.to_be_bytes()), "it names a backing file by halves");
        assert_eq!(change(16, &9000_u32.to_be_bytes()), "the name of its backing file has 9000 bytes");
        assert_eq!(change(100, &3_u32.to_be_bytes()), "its header cannot have 3 bytes");
        assert!(matches!(read(&mut Cursor::new(&good[..90])), Err(Invalid::Wrong(_))));
    }

    proptest! {
        #[test]
        fn random_bytes_do_no_harm(mut bytes in proptest::collection::vec(any::<u8>(), 0..400), version in 0_u32..5) {
            reads_within_limits(&bytes);
            if bytes.len() >= 8 {
                bytes[..4].copy_from_slice(&MAGIC);
                bytes[4..8].copy_from_slice(&version.to_be_bytes());
                reads_within_limits(&bytes);
            }
        }

        #[test]
        fn changed_headers_do_no_harm(
            changes in proptest::collection::vec((0_usize..300, any::<u8>()), 1..12),
            cut in proptest::option::of(0_usize..400_000),
        ) {
            static SAMPLE: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(sample);
            let mut bytes = SAMPLE.clone();
            for (at, byte) in changes {
                bytes[at] = byte;
            }
            bytes.truncate(cut.unwrap_or(usize::MAX));
            reads_within_limits(&bytes);
        }
    }
}
