//! A connection whose writes say what they promise, and the log that keeps the promise.
//!
//! The sandbox does without: what it keeps may be lost with the power.

use std::{
    fs::{File, OpenOptions},
    io,
    ops::{Deref, DerefMut},
    path::{Path, PathBuf},
};

use rusqlite::{Connection, Transaction, TransactionBehavior, ffi};

use super::{sync_directory, use_wal};

/// What a write promises once it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Safety {
    /// Outlives a loss of power.
    Power,
    /// Outlives the process.
    Process,
}

/// A connection whose writes say what they promise.
pub(crate) struct Database {
    connection: Connection,
    log: Option<Log>,
}

impl Database {
    /// For reading and writing.
    pub(crate) fn new(connection: Connection, path: &Path) -> rusqlite::Result<Self> {
        let log = Log::of(path);
        let log = use_wal(&connection)?.then_some(log);
        Ok(Self { connection, log })
    }

    /// For reading.
    #[cfg(feature = "journal")]
    pub(crate) fn read_only(connection: Connection) -> Self {
        Self { connection, log: None }
    }

    /// Writes all of it or nothing, as the only writer. Waits for others who write. What was made says what has to be
    /// promised of it, and comes with the fate of its commit, since it may itself write when it is dropped.
    pub(crate) fn write<T, E: From<rusqlite::Error>>(
        &mut self,
        safety: impl FnOnce(&T) -> Safety,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, E>,
    ) -> Result<(T, rusqlite::Result<()>), E> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let result = work(&transaction)?;
        let committed = transaction.commit().and_then(|()| match (safety(&result), &mut self.log) {
            (Safety::Power, Some(log)) => log.sync().map_err(not_synced),
            _ => Ok(()),
        });
        Ok((result, committed))
    }
}

impl Deref for Database {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

impl DerefMut for Database {
    fn deref_mut(&mut self) -> &mut Connection {
        &mut self.connection
    }
}

/// Where the log of a file is.
pub(crate) fn log_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    PathBuf::from(name)
}

/// In which all that is committed stands first. `synchronous=FULL` would make SQLite wait for the disk twice in each
/// process, for the log and, though its name is old, for the directory; and with its times, which nobody reads.
struct Log {
    path: PathBuf,
    /// Whether its name may not be on the disk yet.
    is_new: bool,
    file: Option<File>,
}

impl Log {
    /// That of this file, before it is made.
    fn of(path: &Path) -> Self {
        let path = log_of(path);
        Self { is_new: !path.exists(), path, file: None }
    }

    /// Waits until what is in it is on the disk.
    fn sync(&mut self) -> io::Result<()> {
        // No lock is on this file, so that closing it gives none away. It stays as long as anybody is connected.
        let file = match self.file.take() {
            Some(file) => file,
            None => OpenOptions::new().write(true).open(&self.path)?,
        };
        self.file.insert(file).sync_data()?;
        if std::mem::take(&mut self.is_new) {
            sync_directory(&self.path)?;
        }
        Ok(())
    }
}

/// In SQLite's words, as if it had waited itself.
fn not_synced(error: io::Error) -> rusqlite::Error {
    let code = if error.kind() == io::ErrorKind::StorageFull { ffi::SQLITE_FULL } else { ffi::SQLITE_IOERR_FSYNC };
    rusqlite::Error::SqliteFailure(ffi::Error::new(code), Some(error.to_string()))
}
