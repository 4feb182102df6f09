//! The socket of a guest's serial port, as the VMM serves it.
//!
//! There is one line: who connects takes it from whoever had it. What the guest says while nobody is connected the VMM
//! keeps, up to a MiB and from v53 on, and gives to the next one; but of that only some hundred bytes at once, and no
//! more until the guest says something again. [`take`] gets all of it.
//!
//! A line must not be closed while something is still to be read from it: the VMM (v53) takes that for a failure and
//! serves its serial port no more until the next reset. [`hang_up`] closes it rightly. Whoever leaves types a NUL on
//! the way out, which is the VMM's doing too; being replaced types nothing.

use std::{
    io,
    path::Path,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
    time::timeout,
};

/// What the VMM keeps, bytes; and as much again of what is said meanwhile.
const ENOUGH: usize = 2 << 20;
/// How long the VMM may take to notice somebody who comes or goes.
const TURN: Duration = Duration::from_secs(5);

/// Takes the line and all that was kept for it. Ends with what there is after `within`. A guest that said nothing for
/// `quiet` counts as silent: while one talks, a byte may get lost when somebody goes.
///
/// # Errors
/// When nobody listens, or whoever listens takes no connection.
pub async fn take(socket: &Path, quiet: Duration, within: Duration) -> io::Result<(Vec<u8>, UnixStream)> {
    let end = Instant::now() + within;
    let mut kept = Vec::new();
    let mut line = UnixStream::connect(socket).await?;
    // A guest that talks pushes out what was kept.
    while let Ok(read) = timeout(quiet, line.read_buf(&mut kept)).await {
        if read? == 0 || Instant::now() >= end {
            break;
        }
    }
    let mut before = 0;
    loop {
        // The VMM closes the one before when it takes this one, so that one has an end, and all that it was to bring.
        let next = UnixStream::connect(socket).await?;
        to_its_end(&mut line, &mut kept).await?;
        line = next;
        if kept.len() == before || kept.len() > ENOUGH || Instant::now() >= end {
            return Ok((kept, line));
        }
        before = kept.len();
    }
}

/// Leaves a line, and gives what is still said on it: when this returns, the VMM keeps again what is said.
///
/// # Errors
/// When the VMM does not notice.
pub async fn hang_up(mut line: UnixStream, said: &mut Vec<u8>) -> io::Result<()> {
    match line.shutdown().await {
        Err(error) if error.kind() != io::ErrorKind::NotConnected => return Err(error),
        _ => {}
    }
    to_its_end(&mut line, said).await
}

async fn to_its_end(line: &mut UnixStream, said: &mut Vec<u8>) -> io::Result<()> {
    match timeout(TURN, line.read_to_end(said)).await {
        // Closed by the VMM while something of ours was on the way: it is at its end all the same.
        Ok(Err(error)) if error.kind() != io::ErrorKind::ConnectionReset => Err(error),
        Ok(_) => Ok(()),
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}
