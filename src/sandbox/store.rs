//! The sandbox's SQLite file: one row of JSON per thing, each with the number of the change that wrote it.
//!
//! Many processes may use one file. Everybody keeps the world in memory and reads only rows with a newer number;
//! writes hold SQLite's one write lock from before the look until the commit. It knows rows, not what they mean.

use std::path::Path;

use rusqlite::{Connection, OpenFlags, OptionalExtension, Transaction, TransactionBehavior, params};

use super::world::{Row, World};
use crate::{
    model::{Class, Error, Hint, Result},
    sqlite::{self, Found, Layout},
};

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS state (one INTEGER PRIMARY KEY CHECK (one = 1), generation INTEGER NOT NULL,
        horizon INTEGER NOT NULL);
    INSERT OR IGNORE INTO state VALUES (1, 0, 0);
    CREATE TABLE IF NOT EXISTS thing (
        kind TEXT NOT NULL, key TEXT NOT NULL, generation INTEGER NOT NULL, body TEXT,
        PRIMARY KEY (kind, key)
    ) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS thing_generation ON thing (generation);
";

/// The file has no mark: it had none from the beginning.
const LAYOUT: Layout = Layout { mark: 0, migrations: &[SCHEMA] };

/// After so many changes, the marks of things that are gone are swept away.
const SWEEP: i64 = 1000;

/// An open file.
#[derive(Debug)]
pub(super) struct Store {
    connection: Connection,
    /// The newest change that is in our memory.
    seen: i64,
}

/// A file that cannot be used.
fn broken(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    let full = sqlite::no_room(&error);
    let error = Error::new(Class::Failed, format!("the sandbox's file cannot be used: {error}")).with_source(error);
    if full { error.with_hint(Hint::Text(sqlite::MAKE_ROOM.to_owned())) } else { error }
}

impl Store {
    /// Opens a file, or makes it.
    pub(super) fn open(path: &Path) -> Result<Self> {
        // The file holds a token's secret: nobody else may read it. SQLite gives its side files the same mode.
        sqlite::make(path).map_err(|error| {
            Error::new(Class::Failed, format!("cannot make the sandbox's file {}", path.display())).with_source(error)
        })?;
        let connection = sqlite::connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(broken);
        connection.and_then(Self::prepare).map_err(|error| {
            let error = error.context(path.display());
            if error.hints().is_empty() {
                return error.with_hint(Hint::Text("move the file away, and a new sandbox is made".to_owned()));
            }
            error
        })
    }

    /// A store that nobody else sees and that goes with this value.
    pub(super) fn in_memory() -> Result<Self> {
        Self::prepare(Connection::open_in_memory().map_err(broken)?)
    }

    fn prepare(mut connection: Connection) -> Result<Self> {
        let refuse = |why: &str| Err(Error::new(Class::Failed, format!("the sandbox's file {why}")));
        let done = match LAYOUT.look(&connection).map_err(broken)? {
            Found::Empty => 0,
            Found::Known(done) => done,
            Found::Newer(version) => {
                return refuse(&format!("is of version {version}, this program knows {}", LAYOUT.present()));
            }
            Found::Foreign => return refuse("is another program's database"),
        };
        sqlite::use_wal(&connection).map_err(broken)?;
        LAYOUT.migrate(&mut connection, done).map_err(broken)?;
        Ok(Self { connection, seen: 0 })
    }

    /// Random hex digits, for the seed of a new world.
    pub(super) fn random(&self) -> Result<String> {
        self.connection.query_row("SELECT lower(hex(randomblob(16)))", [], |row| row.get(0)).map_err(broken)
    }

    /// Counts nothing as seen: the next look reads everything.
    pub(super) fn forget(&mut self) {
        self.seen = 0;
    }

    /// Reads what others changed into `world`.
    pub(super) fn refresh(&mut self, world: &mut World) -> Result<()> {
        self.seen = refresh(&self.connection, self.seen, world)?;
        Ok(())
    }

    /// Runs `work` on the newest world as the only writer, and writes what it changed. When `work` fails, what it
    /// changed is read back from the file.
    pub(super) fn write<T, E>(
        &mut self,
        world: &mut World,
        work: impl FnOnce(&mut World) -> std::result::Result<T, E>,
    ) -> Result<std::result::Result<T, E>> {
        let transaction =
            Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate).map_err(broken)?;
        let seen = refresh(&transaction, self.seen, world)?;
        let done = work(world);
        let changes = world.take_changes().map_err(broken)?;
        self.seen = match &done {
            Ok(_) => save(&transaction, seen, &changes)?,
            Err(_) => {
                reload(&transaction, &changes, world)?;
                seen
            }
        };
        transaction.commit().map_err(broken)?;
        Ok(done)
    }

    /// Forgets everything that is stored, so that a new world can be written.
    pub(super) fn clear(&mut self) -> Result<()> {
        let transaction =
            Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate).map_err(broken)?;
        // Rows of the old world stay as tombstones: a process that has it in memory must notice.
        let next = generation(&transaction)?.0 + 1;
        transaction.execute("UPDATE thing SET body = NULL, generation = ?1", [next]).map_err(broken)?;
        transaction.execute("UPDATE state SET generation = ?1", [next]).map_err(broken)?;
        transaction.commit().map_err(broken)?;
        self.seen = next;
        Ok(())
    }

    /// Writes a fresh world, unless there is one in the file. Gives the one that counts.
    pub(super) fn fill(&mut self, mut fresh: World) -> Result<World> {
        let transaction =
            Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate).map_err(broken)?;
        let there = "SELECT count(*) FROM thing WHERE kind = 'meta' AND body IS NOT NULL";
        let there: i64 = transaction.query_row(there, [], |row| row.get(0)).map_err(broken)?;
        if there == 0 {
            let (newest, _) = generation(&transaction)?;
            self.seen = save(&transaction, newest, &fresh.take_changes().map_err(broken)?)?;
        } else {
            fresh = World::new();
            self.seen = refresh(&transaction, 0, &mut fresh)?;
        }
        transaction.commit().map_err(broken)?;
        Ok(fresh)
    }
}

/// The number of the newest change, and of the newest whose marks of gone things were swept away.
fn generation(connection: &Connection) -> Result<(i64, i64)> {
    let mut query = connection.prepare_cached("SELECT generation, horizon FROM state").map_err(broken)?;
    query.query_row([], |row| Ok((row.get(0)?, row.get(1)?))).map_err(broken)
}

/// Reads rows newer than `seen`, and gives the number of the newest.
fn refresh(connection: &Connection, mut seen: i64, world: &mut World) -> Result<i64> {
    let (newest, horizon) = generation(connection)?;
    if newest == seen {
        return Ok(seen);
    }
    if seen < horizon {
        *world = World::new();
        seen = 0;
    }
    let mut query = connection
        .prepare_cached("SELECT kind, key, body, generation FROM thing WHERE generation > ?1")
        .map_err(broken)?;
    let mut rows = query.query([seen]).map_err(broken)?;
    // Rows of a commit that happened between the two queries count too.
    let mut latest = newest;
    while let Some(row) = rows.next().map_err(broken)? {
        let text = |at| row.get_ref(at).and_then(|value| Ok(value.as_str_or_null()?)).map_err(broken);
        let (kind, key, body) = (text(0)?, text(1)?, text(2)?);
        world.load(kind.unwrap_or_default(), key.unwrap_or_default(), body).map_err(broken)?;
        latest = latest.max(row.get(3).map_err(broken)?);
    }
    Ok(latest)
}

fn save(connection: &Connection, seen: i64, changes: &[Row]) -> Result<i64> {
    if changes.is_empty() {
        return Ok(seen);
    }
    let next = seen + 1;
    connection.execute("UPDATE state SET generation = ?1", [next]).map_err(broken)?;
    if next % SWEEP == 0 {
        let horizon = next - SWEEP;
        connection.execute("DELETE FROM thing WHERE body IS NULL AND generation <= ?1", [horizon]).map_err(broken)?;
        connection.execute("UPDATE state SET horizon = ?1", [horizon]).map_err(broken)?;
    }
    let mut insert = connection
        .prepare_cached("INSERT OR REPLACE INTO thing (kind, key, generation, body) VALUES (?1, ?2, ?3, ?4)")
        .map_err(broken)?;
    for row in changes {
        insert.execute(params![row.kind, row.key, next, row.body]).map_err(broken)?;
    }
    Ok(next)
}

fn reload(connection: &Connection, changes: &[Row], world: &mut World) -> Result<()> {
    let mut query = connection.prepare_cached("SELECT body FROM thing WHERE kind = ?1 AND key = ?2").map_err(broken)?;
    for row in changes {
        let body: Option<Option<String>> =
            query.query_row(params![row.kind, row.key], |found| found.get(0)).optional().map_err(broken)?;
        world.load(row.kind, &row.key, body.flatten().as_deref()).map_err(broken)?;
    }
    Ok(())
}
