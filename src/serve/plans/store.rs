//! The file of plans: what was given, how far each is, how each action ended.
//!
//! It does nothing of it. What is written here outlives a loss of power before anything is begun.

use std::{
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, Transaction, TransactionBehavior, params};
use serde_json::Value;

use super::{End, NewPlan, OnError, Plan, Told, Turn};
use crate::{
    model::{Class, Error, Hint, Result, Upid, Vmid},
    server::Identity,
    sqlite::{self, Found, Layout},
};

const LAYOUT: Layout = Layout { mark: 0x7076_6570, migrations: &[VERSION_1] };

/// Times are seconds since 1970. An action that is `running` when the server begins is one whose end nobody saw.
const VERSION_1: &str = "
PRAGMA application_id = 0x70766570;

CREATE TABLE plan (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    key      TEXT UNIQUE,
    given    TEXT NOT NULL,
    user     TEXT NOT NULL,
    token    TEXT,
    request  TEXT NOT NULL,
    on_error TEXT NOT NULL,
    status   TEXT NOT NULL,
    created  INTEGER NOT NULL,
    ended    INTEGER
);
CREATE INDEX plan_open ON plan (id) WHERE ended IS NULL;

CREATE TABLE action (
    plan    INTEGER NOT NULL REFERENCES plan (id),
    number  INTEGER NOT NULL,
    action  TEXT NOT NULL,
    status  TEXT NOT NULL,
    vmid    INTEGER,
    upid    TEXT,
    result  TEXT,
    error   TEXT,
    started INTEGER,
    ended   INTEGER,
    PRIMARY KEY (plan, number)
) WITHOUT ROWID;
";

/// What became of a plan that was given.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::serve) enum Stored {
    New(i64),
    /// It was given before.
    Same(i64),
    /// Another one has its key.
    Other(i64),
}

/// The file.
pub(in crate::serve) struct Store(Mutex<Connection>);

impl Store {
    /// Opens the file, making it if there is none.
    ///
    /// # Errors
    /// When it cannot be made, read or written, or is somebody else's.
    pub(in crate::serve) fn open(path: &Path) -> Result<Self> {
        let cannot = |error: rusqlite::Error| failed(error).context(format_args!("cannot use {}", path.display()));
        let unmade = |error| Error::new(Class::Failed, format!("cannot make {}", path.display())).with_source(error);
        sqlite::make(path).map_err(unmade)?;
        let mut file = sqlite::connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(cannot)?;
        let other = |what: &str| Err(Error::new(Class::Failed, format!("{} {what}", path.display())));
        let done = match LAYOUT.look(&file).map_err(cannot)? {
            Found::Empty => 0,
            Found::Known(done) => done,
            Found::Newer(version) => return other(&format!("has layout {version}, written by a newer version")),
            Found::Foreign => return other("is a database, but not one of plans"),
        };
        sqlite::use_wal(&file).map_err(cannot)?;
        // Each write stands before something is begun.
        file.pragma_update(None, "synchronous", "full").map_err(cannot)?;
        LAYOUT.migrate(&mut file, done).map_err(cannot)?;
        Ok(Self(Mutex::new(file)))
    }

    fn file(&self) -> MutexGuard<'_, Connection> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a plan.
    pub(in crate::serve) fn add(&self, new: &NewPlan, who: &Identity, request: &str) -> Result<Stored> {
        let given = serde_json::to_value(new).map_err(|error| Error::new(Class::Bug, error.to_string()))?;
        self.write(|transaction| {
            if let Some(key) = &new.key {
                let there = transaction
                    .prepare_cached("SELECT id, given, user = ?2 AND token IS ?3 FROM plan WHERE key = ?1")?
                    .query_row(params![key, who.user, who.token], |row| {
                        Ok((row.get(0)?, json_of(row, 1)?, row.get(2)?))
                    })
                    .optional()?;
                if let Some((id, there, is_owner)) = there {
                    let is_same = is_owner && there == given;
                    return Ok(if is_same { Stored::Same(id) } else { Stored::Other(id) });
                }
            }
            transaction.execute(
                "INSERT INTO plan (key, given, user, token, request, on_error, status, created)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, 'waiting', ?7)",
                params![new.key, given.to_string(), who.user, who.token, request, word(new.on_error), now()],
            )?;
            let id = transaction.last_insert_rowid();
            {
                let mut insert = transaction.prepare_cached(
                    "INSERT INTO action (plan, number, action, status) VALUES (?1, ?2, ?3, 'waiting')",
                )?;
                for (number, action) in (1_u32..).zip(&new.actions) {
                    insert.execute(params![id, number, action.to_string()])?;
                }
            }
            Ok(Stored::New(id))
        })
    }

    /// The plan of a number.
    pub(in crate::serve) fn plan(&self, id: i64) -> Result<Option<Plan>> {
        let file = self.file();
        let read = || {
            let sql = select("WHERE id = ?1");
            let head = file.prepare_cached(&sql)?.query_row([id], plan_of).optional()?;
            head.map(|head| with_actions(&file, head)).transpose()
        };
        read().map_err(failed)
    }

    /// The latest plans, of one person or all.
    pub(in crate::serve) fn plans(&self, whose: Option<&str>, limit: u32) -> Result<Vec<Plan>> {
        let file = self.file();
        let read = || {
            let sql = select(&format!("WHERE ?1 IS NULL OR ?1 = {AUTHID} ORDER BY id DESC LIMIT ?2"));
            let mut statement = file.prepare_cached(&sql)?;
            let heads = statement.query_map(params![whose, limit], plan_of)?;
            heads.map(|head| with_actions(&file, head?)).collect::<rusqlite::Result<Vec<_>>>()
        };
        read().map_err(failed)
    }

    /// The action whose turn it is: the first one that has not ended, of the first plan that has not.
    pub(super) fn next(&self) -> Result<Option<Turn>> {
        let file = self.file();
        let read = || {
            file.prepare_cached(
                "SELECT plan, number, user, token, request, on_error, action, action.started, vmid, upid
                 FROM plan JOIN action ON action.plan = plan.id
                 WHERE plan.ended IS NULL AND action.status IN ('waiting', 'running')
                 ORDER BY plan, number LIMIT 1",
            )?
            .query_row([], |row| {
                Ok(Turn {
                    plan: row.get(0)?,
                    number: row.get(1)?,
                    user: row.get(2)?,
                    token: row.get(3)?,
                    request: row.get(4)?,
                    on_error: on_error(&row.get::<_, String>(5)?),
                    action: json_of(row, 6)?,
                    begun: row.get(7)?,
                    vmid: row.get(8)?,
                    upid: row.get::<_, Option<String>>(9)?.and_then(|text| text.parse().ok()),
                })
            })
            .optional()
        };
        read().map_err(failed)
    }

    /// Writes down that an action is about to be begun, and with which VM.
    pub(super) fn begin(&self, turn: &Turn, vmid: Option<Vmid>) -> Result<()> {
        self.write(|transaction| {
            transaction.prepare_cached("UPDATE plan SET status = 'running' WHERE id = ?1")?.execute([turn.plan])?;
            let action = "UPDATE action SET status = 'running', vmid = ?3, upid = NULL, started = ?4
                          WHERE plan = ?1 AND number = ?2";
            let values = params![turn.plan, turn.number, vmid.map(Vmid::get), now()];
            transaction.prepare_cached(action)?.execute(values).map(drop)
        })
    }

    /// Whether a task is known as that of an action.
    pub(super) fn has_task(&self, upid: &Upid) -> Result<bool> {
        let file = self.file();
        let read = || file.prepare_cached("SELECT 1 FROM action WHERE upid = ?1")?.exists([upid.to_string()]);
        read().map_err(failed)
    }

    /// Writes down the task of an action.
    pub(super) fn task(&self, turn: &Turn, upid: &Upid) -> Result<()> {
        let sql = "UPDATE action SET upid = ?3 WHERE plan = ?1 AND number = ?2";
        let values = params![turn.plan, turn.number, upid.to_string()];
        self.write(|transaction| transaction.prepare_cached(sql)?.execute(values).map(drop))
    }

    /// Writes down how an action ended, and with it the plan if nothing of it is left to do.
    pub(super) fn end(&self, turn: &Turn, end: &End) -> Result<()> {
        let (status, result, error) = match end {
            End::Ok(result) => ("ok", Some(result.to_string()), None),
            End::Failed(error) => ("failed", None, Some(error)),
            End::Unknown(error) => ("unknown", None, Some(error)),
        };
        let stops = status != "ok" && turn.on_error == OnError::Stop;
        self.write(|transaction| {
            let (plan, time) = (turn.plan, now());
            transaction.execute(
                "UPDATE action SET status = ?3, result = ?4, error = ?5, started = coalesce(started, ?6), ended = ?6
                 WHERE plan = ?1 AND number = ?2",
                params![plan, turn.number, status, result, error, time],
            )?;
            if stops {
                transaction
                    .execute("UPDATE action SET status = 'skipped' WHERE plan = ?1 AND status = 'waiting'", [plan])?;
            }
            let ended = transaction.execute(
                "UPDATE plan SET ended = ?2, status = CASE
                     WHEN EXISTS (SELECT 1 FROM action WHERE plan = ?1 AND status = 'unknown') THEN 'unknown'
                     WHEN EXISTS (SELECT 1 FROM action WHERE plan = ?1 AND status = 'failed') THEN 'failed'
                     ELSE 'ok' END
                 WHERE id = ?1
                 AND NOT EXISTS (SELECT 1 FROM action WHERE plan = ?1 AND status IN ('waiting', 'running'))",
                params![plan, time],
            );
            ended.map(drop)
        })
    }

    /// All of it or nothing, as the only writer.
    fn write<T>(&self, work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>) -> Result<T> {
        let mut file = self.file();
        let write = || {
            let transaction = file.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let done = work(&transaction)?;
            transaction.commit()?;
            Ok(done)
        };
        write().map_err(failed)
    }
}

const AUTHID: &str = "iif(token IS NULL, user, user || '!' || token)";

/// A query for what [`plan_of`] reads.
fn select(rest: &str) -> String {
    format!("SELECT id, key, {AUTHID}, request, on_error, status, created, ended FROM plan {rest}")
}

fn plan_of(row: &Row<'_>) -> rusqlite::Result<Plan> {
    Ok(Plan {
        id: row.get(0)?,
        key: row.get(1)?,
        user: row.get(2)?,
        request: row.get(3)?,
        on_error: on_error(&row.get::<_, String>(4)?),
        status: row.get(5)?,
        created: time(row.get(6)?),
        ended: row.get::<_, Option<i64>>(7)?.map(time),
        actions: Vec::new(),
    })
}

fn with_actions(file: &Connection, plan: Plan) -> rusqlite::Result<Plan> {
    let mut statement = file.prepare_cached(
        "SELECT number, action, status, vmid, upid, result, error, started, ended FROM action WHERE plan = ?1
         ORDER BY number",
    )?;
    let actions = statement.query_map([plan.id], |row| {
        Ok(Told {
            number: row.get(0)?,
            action: json_of(row, 1)?,
            status: row.get(2)?,
            vmid: row.get(3)?,
            upid: row.get(4)?,
            result: row
                .get::<_, Option<String>>(5)?
                .and_then(|text| serde_json::from_str(&text).ok())
                .unwrap_or_default(),
            error: row.get(6)?,
            started: row.get::<_, Option<i64>>(7)?.map(time),
            ended: row.get::<_, Option<i64>>(8)?.map(time),
        })
    })?;
    Ok(Plan { actions: actions.collect::<rusqlite::Result<_>>()?, ..plan })
}

fn json_of(row: &Row<'_>, at: usize) -> rusqlite::Result<Value> {
    let text: String = row.get(at)?;
    serde_json::from_str(&text)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(at, rusqlite::types::Type::Text, error.into()))
}

fn word(on_error: OnError) -> &'static str {
    match on_error {
        OnError::Stop => "stop",
        OnError::CarryOn => "carry-on",
    }
}

fn on_error(word: &str) -> OnError {
    if word == "carry-on" { OnError::CarryOn } else { OnError::Stop }
}

fn now() -> i64 {
    Timestamp::now().as_second()
}

fn time(seconds: i64) -> String {
    Timestamp::from_second(seconds).unwrap_or_default().to_string()
}

fn failed(error: rusqlite::Error) -> Error {
    let full = sqlite::no_room(&error);
    let error = Error::new(Class::Failed, "cannot use the file of plans").with_source(error);
    if full { error.with_hint(Hint::Text(sqlite::MAKE_ROOM.to_owned())) } else { error }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn new(key: &str, on_error: &str, actions: usize) -> NewPlan {
        let actions: Vec<Value> = (0..actions).map(|n| json!({"action": "START", "name": format!("vm{n}")})).collect();
        serde_json::from_value(json!({"key": key, "on_error": on_error, "actions": actions})).unwrap()
    }

    fn who() -> Identity {
        Identity { user: "root@pam".into(), token: Some("a".into()) }
    }

    fn statuses(store: &Store, id: i64) -> String {
        let plan = store.plan(id).unwrap().unwrap();
        let each: Vec<&str> = plan.actions.iter().map(|action| action.status.as_str()).collect();
        format!("{}: {}", plan.status, each.join(" "))
    }

    #[test]
    fn a_plan_is_kept_once_and_done_in_order() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("plans.db");
        let store = Store::open(&path).unwrap();
        assert_eq!(store.add(&new("a", "stop", 3), &who(), "r").unwrap(), Stored::New(1));
        assert_eq!(store.add(&new("a", "stop", 3), &who(), "s").unwrap(), Stored::Same(1));
        assert!(!store.has_task(&"UPID:a:00000001:00000001:6B003243:qmstart:100:root@pam:".parse().unwrap()).unwrap());
        assert_eq!(store.add(&new("a", "carry-on", 3), &who(), "s").unwrap(), Stored::Other(1));
        let other = Identity { token: None, ..who() };
        assert_eq!(store.add(&new("a", "stop", 3), &other, "s").unwrap(), Stored::Other(1));
        assert_eq!(store.add(&new("b", "carry-on", 2), &other, "s").unwrap(), Stored::New(2));
        assert_eq!(store.plans(Some("root@pam!a"), 9).unwrap().len(), 1);
        assert_eq!(store.plans(None, 9).unwrap().len(), 2);

        let turn = store.next().unwrap().unwrap();
        assert_eq!((turn.plan, turn.number, turn.begun), (1, 1, None));
        store.begin(&turn, "100".parse().ok()).unwrap();
        let upid: Upid = "UPID:a:00000001:00000001:6B003243:qmstart:100:root@pam:".parse().unwrap();
        store.task(&turn, &upid).unwrap();
        // Somebody else who begins finds it where it was left.
        let store = Store::open(&path).unwrap();
        let turn = store.next().unwrap().unwrap();
        assert_eq!(
            (turn.number, turn.vmid, turn.upid.as_ref(), turn.begun.is_some()),
            (1, Some(100), Some(&upid), true)
        );
        assert_eq!(statuses(&store, 1), "running: running waiting waiting");
        store.end(&turn, &End::Ok(json!({}))).unwrap();
        let turn = store.next().unwrap().unwrap();
        assert_eq!((turn.number, turn.upid.is_none(), turn.begun), (2, true, None));
        store.end(&turn, &End::Failed("no".into())).unwrap();
        assert_eq!(statuses(&store, 1), "failed: ok failed skipped");
        let turn = store.next().unwrap().unwrap();
        assert_eq!((turn.plan, turn.number), (2, 1));
        store.end(&turn, &End::Unknown("who knows".into())).unwrap();
        store.end(&store.next().unwrap().unwrap(), &End::Ok(Value::Null)).unwrap();
        assert_eq!(statuses(&store, 2), "unknown: unknown ok");
        assert!(store.next().unwrap().is_none());
    }
}
