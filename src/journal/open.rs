//! Opening the file, in the words of the journal. It never deletes, replaces or repairs one.

use std::{io, path::Path};

use rusqlite::{ErrorCode, OpenFlags};

use super::{NOTHING_SENT, failed, schema::LAYOUT};
use crate::{
    model::{Class, Error, Hint, Result},
    sqlite::{self, Database, Found},
};

/// A connection that may write, to a file of the present layout.
pub(super) fn for_writing(path: &Path) -> Result<Database> {
    sqlite::make(path).map_err(|error| failed("cannot make the journal", path, NOTHING_SENT, error))?;
    let error = |error| cannot_open(path, NOTHING_SENT, error);
    let connection = sqlite::connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(error)?;
    let done = accept(LAYOUT.look(&connection).map_err(error)?, path, NOTHING_SENT)?;
    let mut database = Database::new(connection, path).map_err(error)?;
    LAYOUT.migrate(&mut database, done).map_err(error)?;
    database.set_prepared_statement_cache_capacity(32);
    Ok(database)
}

/// A connection that only reads, or `None` if there is no journal yet.
pub(super) fn for_reading(path: &Path) -> Result<Option<Database>> {
    let error = |error| cannot_open(path, "", error);
    match path.try_exists() {
        Ok(true) => {}
        Ok(false) => return Ok(None),
        // A file where a directory should be: there is no journal below it.
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Ok(None),
        Err(error) => return Err(failed("cannot open the journal", path, "", error)),
    }
    let connection = sqlite::connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(error)?;
    let found = match LAYOUT.look(&connection) {
        // Whoever made it was killed over its first pages, which only who writes can take back.
        Err(cause) if sqlite::is_half_written(&cause) => {
            drop(for_writing(path)?);
            LAYOUT.look(&connection)
        }
        found => found,
    };
    let done = accept(found.map_err(error)?, path, "")?;
    if done > 0 && done < LAYOUT.present() {
        // Of an older layout, which has to be brought up to date to be read.
        drop(for_writing(path)?);
    }
    Ok((done > 0).then(|| Database::read_only(connection)))
}

/// How many migrations are behind the file, or why it cannot be used.
fn accept(found: Found, path: &Path, consequence: &str) -> Result<u32> {
    let refuse = |why: String| Err(Error::new(Class::Failed, format!("{} {why}{consequence}", path.display())));
    match found {
        Found::Empty => Ok(0),
        Found::Known(done) => Ok(done),
        Found::Newer(version) => refuse(format!(
            "is a journal of layout {version}, written by a newer version; this one knows layouts up to {}",
            LAYOUT.present()
        )),
        Found::Foreign => refuse("is a database, but no journal".to_owned()),
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
