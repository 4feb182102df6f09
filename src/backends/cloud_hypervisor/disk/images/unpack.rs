//! Unpacking images that come compressed with gzip; what is nothing but zeros becomes holes.
//!
//! Other packers are refused by their marks before they get here.

use std::{
    fs::File,
    io::{self, Read, Seek},
    os::unix::fs::FileExt,
};

use flate2::read::MultiGzDecoder;

use crate::{
    backends::cloud_hypervisor::disk::{Watch, cancelled, making::Making},
    model::{Error, Result},
};

/// How much is looked at at once for zeros.
const BLOCK: usize = 64 << 10;
/// How large an image may become.
const LARGEST: u64 = 1 << 44;

/// Unpacks a file into another.
pub(super) fn unpack(mut packed: &File, name: &str, making: &Making, watch: &dyn Watch) -> Result<()> {
    let damaged = |error: io::Error| Error::usage(format!("`{name}` cannot be unpacked: {error}")).with_source(error);
    packed.rewind().map_err(damaged)?;
    let mut unpacked = MultiGzDecoder::new(io::BufReader::with_capacity(1 << 20, packed));
    let (mut block, mut done) = (vec![0; BLOCK], 0);
    watch.say("unpacking");
    loop {
        if watch.cancelled() {
            return Err(cancelled());
        }
        let filled = fill(&mut unpacked, &mut block).map_err(damaged)?;
        let piece = &block[..filled];
        if piece.iter().any(|byte| *byte != 0) {
            making.file.write_all_at(piece, done).map_err(|error| making.failed(error))?;
        }
        done += filled as u64;
        watch.moved(done, None);
        if done > LARGEST {
            return Err(Error::usage(format!("`{name}` becomes larger than any disk")));
        }
        if filled < BLOCK {
            return making.file.set_len(done).map_err(|error| making.failed(error));
        }
    }
}

/// Reads until the block is full or nothing is left.
fn fill(from: &mut impl Read, block: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < block.len() {
        match from.read(&mut block[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
