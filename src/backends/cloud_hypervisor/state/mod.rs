//! What is known of the VMs here: rows, intents, locks, tasks, and how it is brought back in line with what runs.
//!
//! It writes one SQLite file and lock files, and looks at nothing else: processes, sockets and disks are observed by
//! others and come in as plain data ([`reconcile::Observation`]); what is to be done about them goes out as data too
//! ([`reconcile::Action`]).
//!
//! # How an operation goes
//! 1. [`OperationLock::take`]: one command at a time on a VM; who waits is told for whom.
//! 2. [`reconcile::conclude`], and what it asks for: what an earlier command left is finished or rolled back first.
//! 3. [`State::begin_task`], then [`State::begin`] or [`State::create`]: the intent, with all that is needed to finish or
//!    to roll back, is on the disk before anything happens. Files are named in [`Work::made`] before they are made
//!    ([`State::revise`]).
//! 4. The work. From [`Intent::committed`] on it is finished and no longer rolled back.
//! 5. [`State::settle`] or [`State::remove`]: what became of the VM and the end of the intent, in one transaction.
//!
//! Lists take no lock: [`Holder::of`] tells who is at work without touching it.
//!
//! # What is safe when
//! Intents, their ends and all that changes a VM outlive a loss of power. That VMs start and stop, the beginnings of
//! tasks, their log lines, and which process a VM runs in outlive the process that wrote them. All methods block, for as
//! long as a disk and other processes' writes take.

mod changes;
mod device;
mod digest;
mod guest;
mod image;
mod intent;
mod lock;
mod log;
mod network;
mod numbers;
mod open;
mod phase;
mod queue;
pub mod reconcile;
mod schema;
mod settings;
mod snapshot;
mod task;
mod vm;
mod words;

#[cfg(test)]
mod tests;

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use rusqlite::{ErrorCode, Transaction, types::Type};

pub use self::{
    changes::Changes,
    device::Lent,
    guest::Usage,
    intent::{Draft, Grows, Intent, IntentId, Outcome, Verb, Work},
    lock::{Holder, LOCK_FILE, OperationLock},
    log::Log,
    network::{NetworkRow, NewNetwork},
    phase::{Desired, End, Phase},
    queue::{QueueId, Queued},
    settings::{Change, Config, Settings},
    snapshot::SnapshotRow,
    task::Task,
    vm::{NewVm, Settle, Vm},
};
/// Whoever writes or runs, as it stands in rows.
pub use super::process_id::ProcessId as Process;
use crate::{
    model::{Class, Clock, Error, Hint, NodeName, Result},
    sqlite::{self, Database, Safety},
};

/// The open state of this host's VMs. Any number of them, in any number of processes, may be open on one file; clones
/// share the connection.
#[derive(Clone)]
pub struct State(Arc<Inner>);

struct Inner {
    path: PathBuf,
    connection: Mutex<Database>,
    clock: Arc<dyn Clock>,
    node: NodeName,
    /// Who writes.
    me: Process,
}

impl State {
    /// Opens the file (`local.db`), and makes directory (0700) and file (0600) if they are missing. `node` is the short
    /// name of this host.
    ///
    /// # Errors
    /// [`Class::Failed`], naming the file and the way out, if it cannot be made, read or written, was written by a
    /// newer version, is something else or is damaged. It is left as it is.
    pub fn open(path: &Path, node: NodeName, clock: Arc<dyn Clock>) -> Result<Self> {
        let connection = Mutex::new(open::open(path)?);
        Ok(Self(Arc::new(Inner { path: path.to_owned(), connection, clock, node, me: Process::current()? })))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// The name of this host.
    pub fn node(&self) -> &NodeName {
        &self.0.node
    }

    /// The process that writes: this one.
    pub fn process(&self) -> &Process {
        &self.0.me
    }

    fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    fn connection(&self) -> MutexGuard<'_, Database> {
        // A panic within a transaction has rolled it back on its way out, so the connection is fine.
        self.0.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads, all from one state of the file.
    fn read<T>(&self, work: impl FnOnce(&Transaction<'_>) -> Done<T>) -> Result<T> {
        let mut connection = self.connection();
        let transaction = connection.transaction().map_err(|error| failed("cannot read", &self.0.path, error))?;
        work(&transaction).map_err(|trouble| trouble.at("cannot read", &self.0.path))
    }

    /// Writes all of it or nothing, as the only writer. Waits for others who write.
    fn write<T>(&self, safety: Safety, work: impl FnOnce(&Transaction<'_>) -> Done<T>) -> Result<T> {
        self.write_as(|_| safety, work)
    }

    /// The same, where only what was made says what has to be promised.
    fn write_as<T>(
        &self,
        safety: impl FnOnce(&T) -> Safety,
        work: impl FnOnce(&Transaction<'_>) -> Done<T>,
    ) -> Result<T> {
        let mut connection = self.connection();
        let attempted: Done<(T, rusqlite::Result<()>)> = connection.write(safety, work);
        // What was made of a write that failed may itself write when it is dropped, as a task does.
        drop(connection);
        let done = attempted.and_then(|(result, committed)| Ok(committed.map(|()| result)?));
        done.map_err(|trouble| trouble.at("cannot write to", &self.0.path))
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").field("path", &self.0.path).finish_non_exhaustive()
    }
}

/// Why a transaction was not committed.
enum Trouble {
    /// The file.
    File(rusqlite::Error),
    /// What is in it: an answer for whoever asked.
    Said(Error),
}

/// What a piece of work on the file brought.
type Done<T> = Result<T, Trouble>;

impl Trouble {
    fn at(self, what: &str, path: &Path) -> Error {
        match self {
            Self::File(error) => failed(what, path, error),
            Self::Said(error) => error,
        }
    }
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Self {
        Self::File(error)
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Said(error)
    }
}

/// What to do about a file that cannot be used.
const WAYS_OUT: &[(ErrorCode, &str)] = &[
    (ErrorCode::NotADatabase, DAMAGED),
    (ErrorCode::DatabaseCorrupt, DAMAGED),
    (ErrorCode::ReadOnly, NOT_OURS),
    (ErrorCode::CannotOpen, NOT_OURS),
    (ErrorCode::PermissionDenied, NOT_OURS),
    (ErrorCode::SystemIoFailure, "the file system it is on has a fault; see the kernel's log"),
    (ErrorCode::DatabaseBusy, "another process has been writing for long; try again"),
];

const DAMAGED: &str = "the file is damaged: put back a copy of it, or move it away with its -wal and -shm to begin anew; \
                       no disk is touched";
const NOT_OURS: &str = "the file and its directory must be writable by the user who runs this";

/// `what` failed at this file because of `cause`.
fn failed(what: &str, path: &Path, cause: rusqlite::Error) -> Error {
    let way_out = match sqlite::no_room(&cause) {
        true => Some(sqlite::MAKE_ROOM),
        false => WAYS_OUT.iter().find(|(code, _)| cause.sqlite_error_code() == Some(*code)).map(|(_, text)| *text),
    };
    let error = Error::new(Class::Failed, format!("{what} {}: {cause}", path.display())).with_source(cause);
    match way_out {
        Some(text) => error.with_hint(Hint::Text(text.to_owned())),
        None => error,
    }
}

/// A value in the file that is not what this module writes there.
fn damaged(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, Type::Text, cause.into())
}

/// A time as it is kept, in microseconds since 1970.
fn timestamp(microseconds: i64) -> rusqlite::Result<Timestamp> {
    Timestamp::from_microsecond(microseconds).map_err(damaged)
}

/// A value as it is kept, in JSON.
fn json(value: &impl serde::Serialize) -> rusqlite::Result<String> {
    serde_json::to_string(value).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}

/// The same read back.
fn parse<T: serde::de::DeserializeOwned>(text: &str) -> rusqlite::Result<T> {
    serde_json::from_str(text).map_err(damaged)
}
