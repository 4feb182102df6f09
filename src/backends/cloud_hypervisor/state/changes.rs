//! Whether anybody has changed what is known of the VMs, this process or another: asked without reading it.

use std::{
    fmt,
    sync::{Mutex, PoisonError},
};

use rusqlite::{Connection, OpenFlags};

use super::{State, failed};
use crate::{model::Result, sqlite};

/// A connection that nobody writes with, so that every change is somebody else's to it.
pub struct Changes(Mutex<Connection>);

impl State {
    /// Begins to count changes.
    ///
    /// # Errors
    /// If the file cannot be opened.
    pub fn changes(&self) -> Result<Changes> {
        let path = self.path();
        let connection = sqlite::connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE);
        Ok(Changes(Mutex::new(connection.map_err(|error| failed("cannot open", path, error))?)))
    }
}

impl Changes {
    /// A number that is another one after every change; `None` if the file does not tell.
    pub fn number(&self) -> Option<i64> {
        let connection = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut query = connection.prepare_cached("PRAGMA data_version").ok()?;
        query.query_row([], |row| row.get(0)).ok()
    }
}

impl fmt::Debug for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Changes")
    }
}
