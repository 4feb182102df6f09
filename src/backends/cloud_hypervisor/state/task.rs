//! Tasks: rows with a UPID, a log and an end, as a Proxmox server keeps them, answered like one.
//!
//! A task is work of a process here, not a process of its own. One whose process died is settled by whoever looks next.
//!
//! # The UPID
//! `pid` is the process that works; `pstart` is the moment the task began in ticks since boot, one more where that name
//! is taken. On Proxmox, where each task is a process, it is that process's start: the same moment, and as unique.

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::{OptionalExtension as _, Row, Transaction, params};
use serde_json::{Map, Value};

use super::{Done, Log, Process, Safety, State, damaged, json, parse, timestamp};
use crate::{
    backends::TaskQuery,
    backends::cloud_hypervisor::{
        failpoint::{Point, reach},
        process_id::ticks,
    },
    model::{Class, Error, ExitStatus, LogLine, LogPage, NodeName, Result, TaskEntry, TaskStatus, UNEXPECTED, Upid},
    tasks::TaskSource,
};

/// Whether a task waits in the queue: nobody works on it, and it is not over for that.
const QUEUED: &str = "EXISTS (SELECT 1 FROM queue WHERE queue.params ->> '$.upid' = task.upid AND queue.error IS NULL)";

/// How many tasks are kept.
const KEPT: i64 = 10_000;

/// A task that was begun by this process. Dropped without an end it has the one of a task that did not say how it ended.
#[derive(Debug)]
pub struct Task {
    log: Log,
    ended: bool,
}

impl Task {
    /// Its name.
    pub fn upid(&self) -> &Upid {
        &self.log.upid
    }

    /// Where its lines go.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Leaves it to whoever takes it up later; only for one that waits in the queue.
    pub fn leave(mut self) {
        self.ended = true;
    }

    /// The end of a task that failed because of this.
    pub fn failure(error: &Error) -> ExitStatus {
        ExitStatus::Failed(chain(error))
    }

    /// Ends it: `TASK OK`, `TASK WARNINGS: n` or `TASK ERROR: …` is its last line.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn end(mut self, result: Result<(), &Error>) -> Result<ExitStatus> {
        self.ended = true;
        let Log { state, id, .. } = &self.log;
        reach(Point::TaskEnding);
        state
            // What it did is safe by now. Of a task that lost its last line with the power nobody knows how it ended.
            .write(Safety::Process, |transaction| {
                let exit = match result {
                    Err(error) => Self::failure(error),
                    Ok(()) => match warnings(transaction, *id)? {
                        0 => ExitStatus::Ok,
                        count => ExitStatus::Warnings(count),
                    },
                };
                let last = match &exit {
                    ExitStatus::Failed(text) => format!("TASK ERROR: {text}"),
                    other => format!("TASK {other}"),
                };
                state.append(transaction, *id, &last)?;
                close(transaction, *id, &exit.to_string(), state.now())?;
                Ok(exit)
            })
            .inspect(|_| reach(Point::TaskEnded))
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        if !self.ended {
            let Log { state, id, .. } = &self.log;
            // If this fails too, whoever looks next settles it once this process is gone.
            drop(state.write(Safety::Process, |transaction| Ok(close(transaction, *id, UNEXPECTED, state.now())?)));
        }
    }
}

/// An error with its causes, as far as they say something new: one line.
fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    one_line(&text)
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn warnings(transaction: &Transaction<'_>, id: i64) -> rusqlite::Result<u32> {
    let sql = "SELECT count(*) FROM line WHERE task = ?1 AND text GLOB 'WARN: *'";
    transaction.prepare_cached(sql)?.query_row([id], |row| row.get(0))
}

fn close(transaction: &Transaction<'_>, id: i64, exit: &str, now: Timestamp) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("UPDATE task SET exit = ?2, ended = ?3 WHERE id = ?1 AND exit IS NULL")?
        .execute(params![id, exit, now.as_microsecond()])?;
    Ok(())
}

/// A row as it is kept.
struct Stored {
    id: i64,
    upid: Upid,
    worker: Process,
    ended: Option<Timestamp>,
    exit: Option<String>,
}

const COLUMNS: &str = "id, upid, worker, ended, exit";

fn stored(row: &Row<'_>) -> rusqlite::Result<Stored> {
    Ok(Stored {
        id: row.get(0)?,
        upid: row.get::<_, String>(1)?.parse().map_err(damaged)?,
        worker: parse(&row.get::<_, String>(2)?)?,
        ended: row.get::<_, Option<i64>>(3)?.map(timestamp).transpose()?,
        exit: row.get(4)?,
    })
}

impl Stored {
    /// What status and list have in common.
    fn about(&self) -> Map<String, Value> {
        let Upid { node, pid, pstart, kind, id, user, .. } = &self.upid;
        let (user, token) = match user.split_once('!') {
            Some((user, token)) => (user, Some(token)),
            None => (user.as_str(), None),
        };
        let mut map = Map::new();
        let mut set = |key: &str, value: Value| drop(map.insert(key.to_owned(), value));
        set("node", node.as_str().into());
        set("type", kind.as_str().into());
        set("id", id.as_str().into());
        set("user", user.into());
        if let Some(token) = token {
            set("tokenid", token.into());
        }
        set("pid", (*pid).into());
        set("pstart", (*pstart).into());
        map
    }

    fn status(&self) -> TaskStatus {
        let mut other = self.about();
        other.insert("upid".to_owned(), self.upid.to_string().into());
        other.insert("starttime".to_owned(), self.upid.starttime.into());
        let exitstatus = self.exit.as_deref().and_then(|exit| exit.parse().ok());
        TaskStatus { status: if exitstatus.is_some() { "stopped" } else { "running" }.to_owned(), exitstatus, other }
    }

    fn entry(self) -> TaskEntry {
        let other = self.about();
        TaskEntry {
            starttime: self.upid.starttime.into(),
            upid: self.upid,
            status: Some(self.exit.unwrap_or_else(|| "RUNNING".to_owned())),
            endtime: self.ended.map(|ended| ended.as_second().unsigned_abs()),
            other,
        }
    }
}

impl State {
    /// Begins a task of a type (`qmstart`) about something (a VMID, or nothing) for a user (`root@pam`).
    ///
    /// # Errors
    /// [`Class::Bug`] for words that cannot stand in a UPID; if the file cannot be written.
    pub fn begin_task(&self, kind: &str, id: &str, user: &str) -> Result<Task> {
        let now = self.now();
        let me = self.process();
        let mut upid = Upid {
            node: self.node().clone(),
            pid: me.pid,
            pstart: ticks()?,
            starttime: u32::try_from(now.as_second()).unwrap_or(u32::MAX),
            kind: kind.to_owned(),
            id: id.to_owned(),
            user: user.to_owned(),
        };
        upid.to_string()
            .parse::<Upid>()
            .map_err(|error| Error::new(Class::Bug, "a task cannot have such a name").with_source(error))?;
        // What has not begun its work before the power went is nobody's loss; the intent of the work makes sure of both.
        self.write(Safety::Process, |transaction| {
            let mut insert = transaction.prepare_cached(
                "INSERT INTO task (upid, kind, subject, user, worker, started) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                 ON CONFLICT (upid) DO NOTHING",
            )?;
            while insert.execute(params![upid.to_string(), kind, id, user, json(me)?, now.as_microsecond()])? == 0 {
                upid.pstart += 1;
            }
            let id = transaction.last_insert_rowid();
            transaction.prepare_cached("DELETE FROM task WHERE exit IS NOT NULL AND id <= ?1")?.execute([id - KEPT])?;
            Ok(Task { log: Log { state: self.clone(), id, upid }, ended: false })
        })
        .inspect(|_| reach(Point::TaskBegun))
    }

    /// Takes up a task that waited in the queue: this process works on it from now on.
    ///
    /// # Errors
    /// [`Class::NotFound`]; [`Class::Conflict`] for one that is over.
    pub fn take_up_task(&self, upid: &Upid) -> Result<Task> {
        self.write(Safety::Process, |transaction| {
            let task = self.find_task(transaction, upid)?;
            if task.exit.is_some() {
                return Err(Error::conflict(format!("task {upid} is over")).into());
            }
            transaction
                .prepare_cached("UPDATE task SET worker = ?2 WHERE id = ?1")?
                .execute(params![task.id, json(self.process())?])?;
            Ok(Task { log: Log { state: self.clone(), id: task.id, upid: upid.clone() }, ended: false })
        })
    }

    /// Tasks, the newest first.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn tasks(&self, query: &TaskQuery) -> Result<Vec<TaskEntry>> {
        if query.node.as_ref().is_some_and(|node| node != self.node()) {
            return Ok(Vec::new());
        }
        let subject = query.vmid.map(|vmid| vmid.to_string());
        let limit = if query.limit == 0 { i64::MAX } else { i64::try_from(query.limit).unwrap_or(i64::MAX) };
        self.entries(
            "(?1 IS NULL OR subject = ?1) AND (NOT ?2 OR exit IS NULL)
             AND (NOT ?3 OR (exit IS NOT NULL AND exit <> 'OK'))",
            params![subject, query.running, query.errors, limit],
        )
    }

    /// Rows that fulfil a condition, the newest first; the last parameter is how many.
    fn entries(&self, condition: &str, values: &[&dyn rusqlite::ToSql]) -> Result<Vec<TaskEntry>> {
        self.settle_tasks()?;
        let limit = values.len();
        self.read(|transaction| {
            let sql = format!("SELECT {COLUMNS} FROM task WHERE {condition} ORDER BY id DESC LIMIT ?{limit}");
            let mut query = transaction.prepare_cached(&sql)?;
            let rows = query.query_map(values, stored)?;
            Ok(rows.map(|row| row.map(Stored::entry)).collect::<rusqlite::Result<_>>()?)
        })
    }

    /// Ends the tasks whose process is gone.
    fn settle_tasks(&self) -> Result<()> {
        let running = self.read(|transaction| {
            let mut query = transaction
                .prepare_cached(&format!("SELECT {COLUMNS} FROM task WHERE exit IS NULL AND NOT {QUEUED}"))?;
            Ok(query.query_map([], stored)?.collect::<rusqlite::Result<Vec<Stored>>>()?)
        })?;
        let dead: Vec<i64> = running.iter().filter(|task| !task.worker.is_alive()).map(|task| task.id).collect();
        if dead.is_empty() {
            return Ok(());
        }
        self.write(Safety::Process, |transaction| {
            for id in dead {
                // It ended some time after its last sign of life.
                let last: i64 = transaction
                    .prepare_cached(
                        "SELECT coalesce((SELECT max(time) FROM line WHERE task = ?1), started) FROM task WHERE id = ?1",
                    )?
                    .query_row([id], |row| row.get(0))?;
                close(transaction, id, UNEXPECTED, timestamp(last)?)?;
            }
            Ok(())
        })
    }

    pub(super) fn append(&self, transaction: &Transaction<'_>, task: i64, text: &str) -> Done<()> {
        let now = self.now().as_microsecond();
        let mut insert = transaction.prepare_cached(
            "INSERT INTO line (task, n, time, text)
             VALUES (?1, (SELECT coalesce(max(n), 0) + 1 FROM line WHERE task = ?1), ?2, ?3)",
        )?;
        for line in text.lines() {
            insert.execute(params![task, now, line])?;
        }
        Ok(())
    }

    fn find_task(&self, transaction: &Transaction<'_>, upid: &Upid) -> Done<Stored> {
        let sql = format!("SELECT {COLUMNS} FROM task WHERE upid = ?1");
        let found = transaction.prepare_cached(&sql)?.query_row([upid.to_string()], stored).optional()?;
        Ok(found.ok_or_else(|| Error::not_found(format!("no such task: {upid}")))?)
    }

    fn task(&self, upid: &Upid) -> Result<Stored> {
        let look = || self.read(|transaction| self.find_task(transaction, upid));
        let task = look()?;
        if task.exit.is_none() && !task.worker.is_alive() {
            self.settle_tasks()?;
            return look();
        }
        Ok(task)
    }
}

/// The methods block as all of [`State`] does: for a look at the file.
#[async_trait]
impl TaskSource for State {
    async fn task_status(&self, upid: &Upid) -> Result<TaskStatus> {
        Ok(self.task(upid)?.status())
    }

    async fn task_log(&self, upid: &Upid, start: u64, limit: u64) -> Result<LogPage> {
        self.read(|transaction| {
            let id = self.find_task(transaction, upid)?.id;
            let total: i64 = transaction
                .prepare_cached("SELECT coalesce(max(n), 0) FROM line WHERE task = ?1")?
                .query_row([id], |row| row.get(0))?;
            let start = i64::try_from(start).unwrap_or(i64::MAX);
            let limit = if limit == 0 { -1 } else { i64::try_from(limit).unwrap_or(-1) };
            let mut query = transaction
                .prepare_cached("SELECT n, text FROM line WHERE task = ?1 AND n > ?2 ORDER BY n LIMIT ?3")?;
            let lines = query.query_map([id, start, limit], |row| {
                Ok(LogLine { n: row.get::<_, i64>(0)?.unsigned_abs(), t: row.get(1)? })
            })?;
            Ok(LogPage { lines: lines.collect::<rusqlite::Result<_>>()?, total: total.unsigned_abs() })
        })
    }

    async fn tasks_since(&self, node: &NodeName, since: u32, limit: u64) -> Result<Vec<TaskEntry>> {
        if node != self.node() {
            return Err(Error::not_found(format!("no such node: {node}; this host is {}", self.node())));
        }
        let since = i64::from(since) * 1_000_000;
        let limit = if limit == 0 { i64::MAX } else { i64::try_from(limit).unwrap_or(i64::MAX) };
        self.entries("(exit IS NULL OR ended >= ?1)", params![since, limit])
    }

    async fn stop_task(&self, upid: &Upid) -> Result<()> {
        self.write(Safety::Process, |transaction| {
            let task = self.find_task(transaction, upid)?;
            transaction
                .prepare_cached("UPDATE task SET interrupt = 1 WHERE id = ?1 AND exit IS NULL")?
                .execute([task.id])?;
            Ok(())
        })
    }
}
