//! Opening the file: rights, settings, layout. It never deletes, replaces or repairs one.

use std::{
    fs::{DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use super::{
    failed,
    schema::{APPLICATION_ID, MIGRATIONS},
};
use crate::model::{Class, Error, Hint, Result};

/// How long to wait while others write. Each of them holds the lock for one or two writes to the disk.
const PATIENCE: Duration = Duration::from_secs(10);

/// The present layout.
const LAYOUT: u32 = MIGRATIONS.len() as u32;

/// A connection to a file of the present layout.
pub(super) fn open(path: &Path) -> Result<Connection> {
    make(path).map_err(|error| {
        Error::new(Class::Failed, format!("cannot make {}: {error}", path.display())).with_source(error)
    })?;
    let error = |error| failed("cannot open", path, error);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags).map_err(error)?;
    connection.busy_timeout(PATIENCE).map_err(error)?;
    connection.pragma_update(None, "foreign_keys", true).map_err(error)?;
    let (foreign, version) = patiently(|| look(&connection)).map_err(error)?;
    let refuse = |why: String, way_out: &str| {
        Err(Error::new(Class::Failed, format!("{} {why}", path.display())).with_hint(Hint::Text(way_out.to_owned())))
    };
    if foreign {
        return refuse("is a database, but not the state of VMs".to_owned(), "move it away, or choose another place");
    }
    if !(0..=i64::from(LAYOUT)).contains(&version) {
        let why = format!("has layout {version}, written by a newer version; this one knows layouts up to {LAYOUT}");
        return refuse(why, "use the newer version of pvectl");
    }
    patiently(|| connection.pragma_update(None, "journal_mode", "wal")).map_err(error)?;
    if version < i64::from(LAYOUT) {
        patiently(|| migrate(&mut connection)).map_err(error)?;
    }
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

/// Makes directory and file where they are missing, for nobody but the owner.
fn make(path: &Path) -> io::Result<()> {
    let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty()).unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        // The name, too, has to outlive a loss of power.
        Ok(_) => File::open(directory)?.sync_all(),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// Whether it is somebody else's database, and how many migrations are behind it.
fn look(connection: &Connection) -> rusqlite::Result<(bool, i64)> {
    // In one transaction, since somebody else may be about to fill the file.
    let transaction = connection.unchecked_transaction()?;
    let number = |name| transaction.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let version = number("user_version")?;
    if number("application_id")? == APPLICATION_ID {
        return Ok((false, version));
    }
    let tables: i64 = transaction.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    Ok((version != 0 || tables != 0, 0))
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
