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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        backends::cloud_hypervisor::state::{Config, Draft, NewVm, Verb},
        model::{NodeName, SystemClock},
    };

    #[test]
    fn every_change_has_another_number_whoever_makes_it() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("local.db");
        let open = || State::open(&path, NodeName::new("here").unwrap(), Arc::new(SystemClock)).unwrap();
        let (state, another) = (open(), open());
        let changes = state.changes().unwrap();
        let mut last = changes.number();
        for writer in [&state, &another, &state] {
            assert!(last.is_some());
            writer.vms().unwrap();
            assert_eq!(changes.number(), last, "a look changes nothing");
            writer.create(NewVm::new(Config::new()), Draft::new(Verb::Create)).unwrap();
            assert_ne!(changes.number(), last);
            last = changes.number();
        }
    }
}
