//! The queue: additions that were asked for and are applied later, in order, each once.
//!
//! An item that is being applied belongs to the intent that does it: finished, it is gone with it; rolled back, or left
//! by a process that died, it waits again at its place. An item that failed stops those behind it.

use jiff::Timestamp;
use rusqlite::{OptionalExtension as _, Row, Transaction, params};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Draft, Intent, IntentId, Safety, State, json, parse, timestamp, vm};
use crate::{
    backends::cloud_hypervisor::failpoint::{Point, reach},
    model::{Error, Result, Vmid},
};

/// The number of a queued item, never given twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct QueueId(pub i64);

/// What waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Queued {
    /// Its number.
    pub id: QueueId,
    /// The VM.
    pub vmid: Vmid,
    /// What is to be done: `add-disk`, ….
    pub action: String,
    /// With which parameters.
    pub params: Map<String, Value>,
    /// For whom.
    pub user: String,
    /// Since when it waits.
    pub added: Timestamp,
    /// Whether it is being applied.
    pub applying: bool,
    /// Why it could not be applied; it stands in the way of those behind it until it is cancelled or retried.
    pub error: Option<String>,
}

const COLUMNS: &str = "id, vmid, action, params, user, added, intent IS NOT NULL, error";

fn queued(row: &Row<'_>) -> rusqlite::Result<Queued> {
    Ok(Queued {
        id: QueueId(row.get(0)?),
        vmid: vm::vmid(row.get(1)?)?,
        action: row.get(2)?,
        params: parse(&row.get::<_, String>(3)?)?,
        user: row.get(4)?,
        added: timestamp(row.get(5)?)?,
        applying: row.get(6)?,
        error: row.get(7)?,
    })
}

/// Takes out what a finished intent has applied.
pub(super) fn done(transaction: &Transaction<'_>, intent: IntentId) -> rusqlite::Result<()> {
    transaction.prepare_cached("DELETE FROM queue WHERE intent = ?1")?.execute([intent.0])?;
    Ok(())
}

impl State {
    /// Puts something at the end of a VM's queue.
    ///
    /// # Errors
    /// [`Class::NotFound`](crate::model::Class::NotFound) for the VM.
    pub fn enqueue(&self, vmid: Vmid, action: &str, params: &Map<String, Value>, user: &str) -> Result<QueueId> {
        self.write(Safety::Power, |transaction| {
            vm::find(transaction, &self.0.node, vmid)?;
            transaction
                .prepare_cached("INSERT INTO queue (vmid, action, params, user, added) VALUES (?1, ?2, ?3, ?4, ?5)")?
                .execute(params![vmid.get(), action, json(params)?, user, self.now().as_microsecond()])?;
            Ok(QueueId(transaction.last_insert_rowid()))
        })
        .inspect(|_| reach(Point::Queued))
    }

    /// What waits, of one VM or of all, in order.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn queue(&self, vmid: Option<Vmid>) -> Result<Vec<Queued>> {
        self.read(|transaction| {
            let sql = format!("SELECT {COLUMNS} FROM queue WHERE ?1 IS NULL OR vmid = ?1 ORDER BY vmid, id");
            let mut query = transaction.prepare_cached(&sql)?;
            let rows = query.query_map([vmid.map(Vmid::get)], queued)?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// Takes the first item of a VM's queue and begins the intent that applies it, in one transaction. `None` if nothing
    /// waits, or if the first item failed before. For the holder of the VM's lock, once a VM that was left is reconciled.
    ///
    /// # Errors
    /// As [`State::begin`], and whatever `draft` says.
    pub fn begin_queued(
        &self,
        vmid: Vmid,
        draft: impl FnOnce(&Queued) -> Result<Draft>,
    ) -> Result<Option<(Queued, Intent)>> {
        self.write(Safety::Power, |transaction| {
            vm::find(transaction, &self.0.node, vmid)?;
            let sql = format!("SELECT {COLUMNS} FROM queue WHERE vmid = ?1 ORDER BY id LIMIT 1");
            let first = transaction.prepare_cached(&sql)?.query_row([vmid.get()], queued).optional()?;
            let Some(mut first) = first.filter(|first| first.error.is_none()) else { return Ok(None) };
            let intent = self.insert_intent(transaction, vmid, draft(&first)?)?;
            transaction
                .prepare_cached("UPDATE queue SET intent = ?2 WHERE id = ?1")?
                .execute([first.id.0, intent.id.0])?;
            first.applying = true;
            Ok(Some((first, intent)))
        })
        .inspect(|_| reach(Point::IntentBegun))
    }

    /// Notes why an item could not be applied; after its intent was rolled back.
    ///
    /// # Errors
    /// As [`State::cancel_queued`].
    pub fn mark_queued(&self, id: QueueId, error: &str) -> Result<()> {
        self.change_queued(id, |transaction| {
            transaction.prepare_cached("UPDATE queue SET error = ?2 WHERE id = ?1")?.execute(params![id.0, error])
        })
    }

    /// Lets an item that failed wait again, with these parameters.
    ///
    /// # Errors
    /// As [`State::cancel_queued`].
    pub fn requeue(&self, id: QueueId, params: &Map<String, Value>) -> Result<()> {
        self.change_queued(id, |transaction| {
            transaction
                .prepare_cached("UPDATE queue SET error = NULL, params = ?2 WHERE id = ?1 AND error IS NOT NULL")?
                .execute(params![id.0, json(params)?])
        })
    }

    /// Takes an item out of the queue.
    ///
    /// # Errors
    /// [`Class::NotFound`](crate::model::Class::NotFound) if it is not there (any more);
    /// [`Class::Conflict`](crate::model::Class::Conflict) while it is being applied.
    pub fn cancel_queued(&self, id: QueueId) -> Result<()> {
        self.change_queued(id, |transaction| {
            transaction.prepare_cached("DELETE FROM queue WHERE id = ?1")?.execute([id.0])
        })
    }

    fn change_queued(
        &self,
        id: QueueId,
        change: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<usize>,
    ) -> Result<()> {
        self.write(Safety::Power, |transaction| {
            let applying: Option<bool> = transaction
                .prepare_cached("SELECT intent IS NOT NULL FROM queue WHERE id = ?1")?
                .query_row([id.0], |row| row.get(0))
                .optional()?;
            match applying {
                None => Err(Error::not_found(format!("nothing with number {} is in the queue", id.0)).into()),
                Some(true) => Err(Error::conflict(format!("number {} of the queue is being applied", id.0)).into()),
                Some(false) => Ok(change(transaction).map(drop)?),
            }
        })
    }
}
