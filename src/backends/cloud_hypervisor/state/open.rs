//! Opening the file, in the words of this room. It never deletes, replaces or repairs one.

use std::path::Path;

use rusqlite::OpenFlags;

use super::{failed, schema::LAYOUT};
use crate::{
    model::{Class, Error, Hint, Result},
    sqlite::{self, Database, Found},
};

/// A connection to a file of the present layout.
pub(super) fn open(path: &Path) -> Result<Database> {
    sqlite::make(path).map_err(|error| {
        Error::new(Class::Failed, format!("cannot make {}: {error}", path.display())).with_source(error)
    })?;
    let error = |error| failed("cannot open", path, error);
    let connection = sqlite::connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(error)?;
    connection.pragma_update(None, "foreign_keys", true).map_err(error)?;
    let done = accept(LAYOUT.look(&connection).map_err(error)?, path)?;
    let mut database = Database::new(connection, path).map_err(error)?;
    LAYOUT.migrate(&mut database, done).map_err(error)?;
    database.set_prepared_statement_cache_capacity(64);
    Ok(database)
}

/// How many migrations are behind the file, or why it cannot be used.
fn accept(found: Found, path: &Path) -> Result<u32> {
    let refuse = |why: String, way_out: &str| {
        Err(Error::new(Class::Failed, format!("{} {why}", path.display())).with_hint(Hint::Text(way_out.to_owned())))
    };
    match found {
        Found::Empty => Ok(0),
        Found::Known(done) => Ok(done),
        Found::Newer(version) => {
            let known = LAYOUT.present();
            let why = format!("has layout {version}, written by a newer version; this one knows layouts up to {known}");
            refuse(why, "use the newer version of pvectl")
        }
        Found::Foreign => {
            refuse("is a database, but not the state of VMs".to_owned(), "move it away, or choose another place")
        }
    }
}
