//! The journal: a SQLite file that keeps what was planned, sent and brought about, in the order it happened.
//!
//! It is not a log for people and not a cache: nothing is written here that is not about a change, and nothing is
//! ever rewritten.
//!
//! # What is kept
//! One table, `event`, append-only: triggers refuse to change or delete a row. The first event of an operation is
//! `planned` (the [`Intent`](crate::model::Intent), with the host and the process), the others are
//! [`Event`](crate::model::Event)s, all as JSON. Values under a key that is a secret
//! ([`is_secret_key`](crate::model::is_secret_key)) are replaced before anything is written, at any depth.
//!
//! What an operation *is* follows from its events; the view `operation_of_events` says how. A view alone would make "the
//! newest 50 that failed" a walk over the whole history, so triggers keep the view's row of an operation in the table
//! `operation`, in the transaction of every event that changes it. They say what one more event changes, and not the
//! view again: to prepare that cost each process a quarter of a millisecond. The table carries the indexes; a list reads
//! about as many rows as it returns, in the order of an index, however long the history is. [`Journal::verify`] compares
//! table and view.
//!
//! Beside the events stands the table `applied`: what `apply` made of each document last. It is no history and is
//! overwritten; nothing in it is part of the chain.
//!
//! # What is safe when
//! Before a request goes out the intent and the `sent` event are on the disk. The events after it survive a crash of the
//! process at once; a loss of power may take the newest of them, which leaves the operation in flight, to be looked up at
//! the server.
//!
//! # What the chain proves
//! Each event carries the SHA-256 of the event before it and its own content. A row that was changed, taken out or put
//! in shows, unless everything after it was computed anew; so whoever can write the file can forge a history, but not
//! one that ends in a hash which was noted elsewhere ([`Verification::head`]). It does not prove that what was written
//! was true, nor that every operation was written. [`Journal::prune`] leaves a checkpoint for what it took out: it
//! says how many events are gone and links what is left, not who took them.
//!
//! All methods block, for as long as a disk and other processes' writes take.

mod applied;
mod bulk;
mod chain;
mod open;
mod operation;
mod prune;
mod query;
mod redact;
mod schema;
mod write;

#[cfg(test)]
mod tests;

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use rusqlite::{Transaction, types::Type};

pub use self::{
    bulk::{Part, tally},
    chain::{Break, Verification},
    operation::{ConfigBackup, Details, EventRow, Operation, Status, Step},
    query::Filter,
};
use crate::{
    model::{Class, Clock, Error, Hint, Result, SystemClock},
    sqlite::{self, Database},
};

/// An open journal. Any number of them, in any number of processes, may be open on one file.
pub struct Journal {
    path: PathBuf,
    connection: Mutex<Database>,
    clock: Arc<dyn Clock>,
    host: String,
}

impl Journal {
    /// Opens the journal for writing, and makes directory (0700) and file (0600) if they are missing. `host` is the
    /// name of this machine, kept with every operation.
    ///
    /// # Errors
    /// [`Class::Failed`], naming the path, if it cannot be made, read or written, was written by a newer version, or
    /// is damaged. A damaged file is left as it is.
    pub fn open(path: &Path, clock: Arc<dyn Clock>, host: String) -> Result<Self> {
        let connection = open::for_writing(path)?;
        Ok(Self { path: path.to_owned(), connection: Mutex::new(connection), clock, host })
    }

    /// Opens the journal for reading; `None` if there is none yet.
    ///
    /// # Errors
    /// As [`Journal::open`].
    pub fn open_read_only(path: &Path) -> Result<Option<Self>> {
        Ok(open::for_reading(path)?.map(|connection| Self {
            path: path.to_owned(),
            connection: Mutex::new(connection),
            clock: Arc::new(SystemClock),
            host: String::new(),
        }))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn connection(&self) -> MutexGuard<'_, Database> {
        // A panic within a transaction has rolled it back on its way out, so the connection is fine.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads, all from one state of the file.
    fn read<T>(&self, work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>) -> Result<T> {
        let mut connection = self.connection();
        connection
            .transaction()
            .and_then(|transaction| work(&transaction))
            .map_err(|error| failed("cannot read the journal", &self.path, "", error))
    }
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Said of a failure before which nothing of the operation went out.
const NOTHING_SENT: &str = "; nothing was sent";

/// `what` failed at this path because of `cause`.
fn failed(
    what: &str,
    path: &Path,
    consequence: &str,
    cause: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> Error {
    let cause = cause.into();
    let full = sqlite::no_room(&*cause);
    let error = Error::new(Class::Failed, format!("{what} {}{consequence}", path.display())).with_source(cause);
    if full { error.with_hint(Hint::Text(sqlite::MAKE_ROOM.to_owned())) } else { error }
}

/// A value in the file that is not what this module writes there.
fn damaged(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, Type::Text, cause.into())
}

/// A time as it is kept, in microseconds since 1970.
fn timestamp(microseconds: i64) -> rusqlite::Result<Timestamp> {
    Timestamp::from_microsecond(microseconds).map_err(damaged)
}
