//! Opening the file: rights, settings, layout. It never deletes, replaces or repairs one.

use std::{
    fs::{DirBuilder, OpenOptions},
    io,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use super::{
    NOTHING_SENT, failed,
    schema::{APPLICATION_ID, MIGRATIONS},
};
use crate::model::{Class, Error, Hint, Result};

/// How long to wait while others write. Each of them holds the lock for one or two writes to the disk.
const PATIENCE: Duration = Duration::from_secs(10);

/// The present layout.
const LAYOUT: u32 = MIGRATIONS.len() as u32;

/// What a file turns out to be.
enum Found {
    /// Nothing is in it yet.
    Empty,
    /// A journal with this many migrations behind it, all of them known.
    Journal(u32),
    /// A journal with more migrations behind it than are known.
    Newer(i64),
    /// Somebody else's database.
    Foreign,
}

/// A connection that may write, to a file of the present layout.
pub(super) fn for_writing(path: &Path) -> Result<Connection> {
    make(path).map_err(|error| failed("cannot make the journal", path, NOTHING_SENT, error))?;
    let error = |error| cannot_open(path, NOTHING_SENT, error);
    let mut connection =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)
            .map_err(error)?;
    connection.busy_timeout(PATIENCE).map_err(error)?;
    let found = patiently(|| look(&connection)).map_err(error)?;
    let done = accept(&found, path, NOTHING_SENT)?;
    patiently(|| connection.pragma_update(None, "journal_mode", "wal")).map_err(error)?;
    connection.pragma_update(None, "synchronous", "normal").map_err(error)?;
    if done < LAYOUT {
        patiently(|| migrate(&mut connection)).map_err(error)?;
    }
    connection.set_prepared_statement_cache_capacity(32);
    Ok(connection)
}

/// A connection that only reads, or `None` if there is no journal yet.
pub(super) fn for_reading(path: &Path) -> Result<Option<Connection>> {
    let error = |error| cannot_open(path, "", error);
    match path.try_exists() {
        Ok(true) => {}
        Ok(false) => return Ok(None),
        // A file where a directory should be: there is no journal below it.
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Ok(None),
        Err(error) => return Err(failed("cannot open the journal", path, "", error)),
    }
    let connection =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)
            .map_err(error)?;
    connection.busy_timeout(PATIENCE).map_err(error)?;
    let found = patiently(|| look(&connection)).map_err(error)?;
    Ok((accept(&found, path, "")? > 0).then_some(connection))
}

/// Makes directory and file where they are missing, for nobody but the owner.
fn make(path: &Path) -> io::Result<()> {
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
        Ok(_) => {
            // The name, too, has to outlive a loss of power.
            #[cfg(unix)]
            std::fs::File::open(directory.unwrap_or(Path::new(".")))?.sync_all()?;
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

fn look(connection: &Connection) -> rusqlite::Result<Found> {
    // In one transaction, since somebody else may be about to fill the file.
    let transaction = connection.unchecked_transaction()?;
    let number = |name| transaction.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let version = number("user_version")?;
    if number("application_id")? != APPLICATION_ID {
        let tables: i64 = transaction.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        return Ok(if version == 0 && tables == 0 { Found::Empty } else { Found::Foreign });
    }
    Ok(match u32::try_from(version) {
        Ok(known) if known <= LAYOUT => Found::Journal(known),
        _ => Found::Newer(version),
    })
}

/// How many migrations are behind the file, or why it cannot be used.
fn accept(found: &Found, path: &Path, consequence: &str) -> Result<u32> {
    let refuse = |why: String| Err(Error::new(Class::Failed, format!("{} {why}{consequence}", path.display())));
    match found {
        Found::Empty => Ok(0),
        Found::Journal(done) => Ok(*done),
        Found::Newer(version) => refuse(format!(
            "is a journal of layout {version}, written by a newer version; this one knows layouts up to {LAYOUT}"
        )),
        Found::Foreign => refuse("is a database, but no journal".to_owned()),
    }
}

fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let done: u32 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    for migration in MIGRATIONS.iter().skip(done as usize) {
        transaction.execute_batch(migration)?;
    }
    // Somebody who knows more may have been faster.
    transaction.pragma_update(None, "user_version", done.max(LAYOUT))?;
    transaction.commit()
}

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

fn cannot_open(path: &Path, consequence: &str, cause: rusqlite::Error) -> Error {
    let damaged = matches!(cause.sqlite_error_code(), Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt));
    let error = failed("cannot open the journal", path, consequence, cause);
    if damaged {
        error.with_hint(Hint::Text("the file is damaged: move it away, and a new one will be begun".to_owned()))
    } else {
        error
    }
}
