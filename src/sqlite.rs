//! SQLite files of ours: made for nobody but their owner, looked at before they are touched, brought to the present
//! layout.
//!
//! It knows files and not what is in them, deletes, replaces and repairs none, and has no words for people: each room
//! that keeps a file says itself what is wrong with it.

#[cfg(any(feature = "journal", all(feature = "local", target_os = "linux")))]
mod database;

use std::{
    error::Error,
    fs::{DirBuilder, File, OpenOptions},
    io,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior, config::DbConfig, ffi};

#[cfg(all(feature = "local", target_os = "linux"))]
pub(crate) use self::database::log_of;
#[cfg(any(feature = "journal", all(feature = "local", target_os = "linux")))]
pub(crate) use self::database::{Database, Safety};

/// How long to wait while others write. Each of them holds the lock for one or two writes to the disk.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a room keeps in its file.
#[derive(Debug)]
pub(crate) struct Layout {
    /// Marks a file as the room's (`PRAGMA application_id`); 0 for a room without a mark, to which every file without
    /// one belongs.
    pub(crate) mark: i64,
    /// The steps from an empty file to the present layout. `PRAGMA user_version` counts those that were taken; a step
    /// that was released is never changed.
    pub(crate) migrations: &'static [&'static str],
}

/// What a file turns out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// Nothing is in it yet.
    Empty,
    /// The room's, with this many migrations behind it, all of them known.
    Known(u32),
    /// The room's, with more migrations behind it than are known, or a number that is none.
    Newer(i64),
    /// Somebody else's database.
    Foreign,
}

impl Layout {
    /// The number of the present layout.
    pub(crate) const fn present(&self) -> u32 {
        self.migrations.len() as u32
    }

    /// Whose file it is, and of which layout.
    pub(crate) fn look(&self, connection: &Connection) -> rusqlite::Result<Found> {
        patiently(|| {
            // In one transaction, since somebody else may be about to fill the file.
            let transaction = connection.unchecked_transaction()?;
            let number = |name| transaction.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
            let version = number("user_version")?;
            if number("application_id")? != self.mark {
                let tables: i64 = transaction.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
                return Ok(if version == 0 && tables == 0 { Found::Empty } else { Found::Foreign });
            }
            Ok(match u32::try_from(version) {
                Ok(known) if known <= self.present() => Found::Known(known),
                _ => Found::Newer(version),
            })
        })
    }

    /// Goes from this many migrations to the present layout.
    pub(crate) fn migrate(&self, connection: &mut Connection, from: u32) -> rusqlite::Result<()> {
        if from >= self.present() {
            return Ok(());
        }
        patiently(|| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let done: u32 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
            for migration in self.migrations.iter().skip(done as usize) {
                transaction.execute_batch(migration)?;
            }
            // Somebody who knows more may have been faster.
            transaction.pragma_update(None, "user_version", done.max(self.present()))?;
            transaction.commit()
        })
    }
}

/// Makes directory (0700) and file (0600) where they are missing. What is there keeps its rights.
pub(crate) fn make(path: &Path) -> io::Result<()> {
    let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty());
    let mut builder = DirBuilder::new();
    let mut options = OpenOptions::new();
    builder.recursive(true);
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
        builder.mode(0o700);
        options.mode(0o600);
    }
    if let Some(directory) = directory {
        builder.create(directory)?;
    }
    match options.open(path) {
        // The name, too, has to outlive a loss of power.
        Ok(_) => sync_directory(path),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// A connection to a file that is there, for one thread at a time, which waits while others write.
pub(crate) fn connect(path: &Path, access: OpenFlags) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(PATIENCE)?;
    Ok(connection)
}

/// Lets readers not wait for writers, and leaves the log (`-wal`) where it is at the end: a command writes a few pages,
/// and to bring them into the file, remove the log and make it anew the next time costs more than all else it does. The
/// log is short, for whoever opens the file reads it. Says whether there is such a log, which some file systems cannot
/// have.
pub(crate) fn use_wal(connection: &Connection) -> rusqlite::Result<bool> {
    /// Pages of 4 KiB after which they are brought into the file.
    const LOG_PAGES: u32 = 128;
    let ask = || connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get::<_, String>(0));
    let has_log = patiently(ask)? == "wal";
    connection.pragma_update(None, "wal_autocheckpoint", LOG_PAGES)?;
    // Order is kept by that; what has to be on the disk at once, whoever writes it says.
    connection.pragma_update(None, "synchronous", if has_log { "normal" } else { "full" })?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    Ok(has_log)
}

/// Makes the names in a file's directory outlive a loss of power.
fn sync_directory(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    {
        let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty());
        File::open(directory.unwrap_or(Path::new(".")))?.sync_all()?;
    }
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}

/// Whether a file cannot be read since a write to it was cut off, and whoever opened it may not take that back.
#[cfg(feature = "journal")]
pub(crate) fn is_half_written(cause: &rusqlite::Error) -> bool {
    cause.sqlite_error().is_some_and(|error| error.extended_code == ffi::SQLITE_READONLY_ROLLBACK)
}

/// Whether something failed because there is no room for it.
pub(crate) fn no_room(cause: &(dyn Error + Send + Sync + 'static)) -> bool {
    if let Some(error) = cause.downcast_ref::<io::Error>() {
        return error.kind() == io::ErrorKind::StorageFull;
    }
    let error = cause.downcast_ref::<rusqlite::Error>().and_then(rusqlite::Error::sqlite_error);
    // The file in which processes tell each other of the log has words of its own for that.
    error.is_some_and(|error| error.code == ErrorCode::DiskFull || error.extended_code == ffi::SQLITE_IOERR_SHMSIZE)
}

/// What to do then.
pub(crate) const MAKE_ROOM: &str = "make room on the file system it is on";

/// Tries again while the file is locked: SQLite does not wait by itself where it sees a danger of deadlock, such as on
/// the way to WAL, which everybody who opens a new file wants to take at once.
fn patiently<T>(mut work: impl FnMut() -> rusqlite::Result<T>) -> rusqlite::Result<T> {
    let begin = Instant::now();
    loop {
        match work() {
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) && begin.elapsed() < PATIENCE => {
                thread::sleep(Duration::from_millis(5));
            }
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: Layout =
        Layout { mark: 7, migrations: &["PRAGMA application_id = 7; CREATE TABLE a (b)", "CREATE TABLE c (d)"] };
    const UNMARKED: Layout = Layout { mark: 0, migrations: &["CREATE TABLE IF NOT EXISTS a (b)"] };

    #[test]
    fn a_file_is_known_by_its_mark_and_its_steps() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("below/file.db");
        assert!(connect(&path, OpenFlags::SQLITE_OPEN_READ_WRITE).is_err(), "only what was made is opened");
        make(&path).unwrap();
        make(&path).unwrap();
        let mut connection = connect(&path, OpenFlags::SQLITE_OPEN_READ_WRITE).unwrap();
        assert_eq!(OURS.look(&connection).unwrap(), Found::Empty);
        Layout { mark: 7, migrations: &OURS.migrations[..1] }.migrate(&mut connection, 0).unwrap();
        assert_eq!(OURS.look(&connection).unwrap(), Found::Known(1));
        for _ in 0..2 {
            OURS.migrate(&mut connection, 1).unwrap();
            assert_eq!(OURS.look(&connection).unwrap(), Found::Known(2));
        }
        let older = Layout { mark: 7, migrations: &OURS.migrations[..1] };
        assert_eq!(older.look(&connection).unwrap(), Found::Newer(2));
        assert_eq!(Layout { mark: 8, ..OURS }.look(&connection).unwrap(), Found::Foreign);
        connection.pragma_update(None, "user_version", -1).unwrap();
        assert_eq!(OURS.look(&connection).unwrap(), Found::Newer(-1));
    }

    #[test]
    fn a_room_without_a_mark_has_what_nobody_marked() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE a (b)").unwrap();
        assert_eq!(OURS.look(&connection).unwrap(), Found::Foreign);
        assert_eq!(UNMARKED.look(&connection).unwrap(), Found::Known(0));
        UNMARKED.migrate(&mut connection, 0).unwrap();
        assert_eq!(UNMARKED.look(&connection).unwrap(), Found::Known(1));
    }
}
