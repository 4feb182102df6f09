//! Writing: intents and events, each in a transaction of its own.
//!
//! There is no other way into the table of events.

use rusqlite::{OptionalExtension, Transaction, params};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    Journal, NOTHING_SENT,
    chain::{Hash, ORIGIN, link},
    damaged, failed,
    redact::redact,
};
use crate::{
    model::{Applied, Class, Error, Event, Intent, OperationId, Recorder, Result, Upid},
    sqlite::Safety,
};

/// The first event of an operation, as it is kept.
#[derive(Serialize, Deserialize)]
#[serde(tag = "event", rename = "planned")]
pub(super) struct Planned {
    /// The machine it was asked for on.
    pub(super) host: String,
    /// The process there.
    pub(super) pid: u32,
    #[serde(flatten)]
    pub(super) intent: Intent,
}

impl Journal {
    /// Writes all of it or nothing. Waits for others who write.
    pub(super) fn write<T>(
        &self,
        safety: Safety,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        let (result, committed) = self.connection().write(|_| safety, work)?;
        committed.map(|()| result)
    }

    /// Puts an event at the end of the chain.
    fn append(&self, transaction: &Transaction<'_>, operation: i64, event: impl Serialize) -> rusqlite::Result<()> {
        let mut payload = serde_json::to_value(event).map_err(damaged)?;
        redact(&mut payload);
        let payload = payload.to_string();
        let time = self.clock.now().as_microsecond();
        let id = next_number(transaction, "event")?;
        let previous = hash_of(transaction, id - 1)?;
        let hash = link(&previous, id, operation, time, &payload);
        transaction
            .prepare_cached(
                "INSERT INTO event (id, operation, time, payload, prev_hash, hash) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![id, operation, time, payload, previous, hash])?;
        Ok(())
    }
}

impl Recorder for Journal {
    fn begin(&self, intent: &Intent, events: &[Event]) -> Result<OperationId> {
        let planned = Planned { host: self.host.clone(), pid: std::process::id(), intent: intent.clone() };
        // Nothing is sent before the event that says so is safe, and with it this one.
        let written = self.write(safety(events), |transaction| {
            // Whoever else goes on with the same larger operation at this moment has to see it.
            if let Some(other) = begun(transaction, intent)? {
                return Ok(Err(other));
            }
            let operation = next_number(transaction, "operation")?;
            self.append(transaction, operation, &planned)?;
            events.iter().try_for_each(|event| self.append(transaction, operation, event))?;
            Ok(Ok(OperationId(operation)))
        });
        let written =
            written.map_err(|error| failed("cannot write to the journal", &self.path, NOTHING_SENT, error))?;
        written.map_err(|other| Error::conflict(format!("operation {other} has begun it already")))
    }

    fn events(&self, operation: OperationId, events: &[Event]) -> Result<()> {
        let safety = safety(events);
        let consequence = if safety == Safety::Power { "; the request was not sent" } else { "" };
        let known = self
            .write(safety, |transaction| {
                let known =
                    transaction.prepare_cached("SELECT 1 FROM operation WHERE id = ?1")?.exists([operation.0])?;
                if known {
                    events.iter().try_for_each(|event| self.append(transaction, operation.0, event))?;
                }
                Ok(known)
            })
            .map_err(|error| failed("cannot write to the journal", &self.path, consequence, error))?;
        if known {
            return Ok(());
        }
        let message = format!("operation {} is not in the journal {}{consequence}", operation.0, self.path.display());
        Err(Error::new(Class::Failed, message))
    }

    fn guests_named(&self, context: &str, name: &str) -> Result<Vec<u32>> {
        self.read(|transaction| {
            transaction
                .prepare_cached(
                    "SELECT DISTINCT vmid FROM operation AS named INDEXED BY operation_name
                     WHERE name = ?2 AND context = ?1 AND vmid IS NOT NULL AND NOT EXISTS (
                         SELECT 1 FROM operation INDEXED BY operation_vmid
                         WHERE vmid = named.vmid AND started > named.started AND context = ?1 AND name IS NOT ?2)",
                )?
                .query_map([context, name], |row| row.get(0))?
                .collect()
        })
    }

    fn applied(&self, context: &str) -> Result<Vec<Applied>> {
        self.applied_in(context)
    }

    fn remember(&self, applied: &Applied) -> Result<()> {
        self.keep_applied(applied)
    }

    fn forget(&self, context: &str, kind: &str, name: &str) -> Result<()> {
        self.drop_applied(context, kind, name)
    }

    fn has_task(&self, upid: &Upid) -> Result<bool> {
        let began = upid.started().as_microsecond();
        self.read(|transaction| {
            transaction
                .prepare_cached(
                    "SELECT 1 FROM operation INDEXED BY operation_started
                     JOIN event ON event.operation = operation.id AND event.type = 'upid'
                     WHERE started BETWEEN ?1 AND ?2 AND event.payload ->> '$.upid' = ?3",
                )?
                .exists((began - NEAR, began + NEAR, upid.to_string()))
        })
    }
}

/// Before a request goes out, what says so outlives a loss of power.
fn safety(events: &[Event]) -> Safety {
    if events.iter().any(|event| matches!(event, Event::Sent { .. })) { Safety::Power } else { Safety::Process }
}

/// A task is looked for among the operations that were planned within so many microseconds of its beginning: clocks
/// differ, and an operation may be long at work before its last step.
const NEAR: i64 = 7 * 24 * 3600 * 1_000_000;

/// The part of the same larger operation that has begun the same guest, unless that was not done.
fn begun(transaction: &Transaction<'_>, intent: &Intent) -> rusqlite::Result<Option<i64>> {
    let (Some(parent), Some(vmid)) = (intent.parent, intent.vmid) else { return Ok(None) };
    transaction
        .prepare_cached(
            "SELECT id FROM operation INDEXED BY operation_parent
             WHERE parent = ?1 AND vmid = ?2 AND status NOT IN ('failed', 'cancelled')",
        )?
        .query_row([parent.0, vmid.into()], |row| row.get(0))
        .optional()
}

/// The number of a table's next row. Numbers are never given twice, not even those of rows that were taken out: a
/// chain cut off at its end shows as a gap for ever.
fn next_number(transaction: &Transaction<'_>, table: &str) -> rusqlite::Result<i64> {
    let last: Option<i64> = transaction
        .prepare_cached("SELECT seq FROM sqlite_sequence WHERE name = ?1")?
        .query_row([table], |row| row.get(0))
        .optional()?;
    Ok(last.unwrap_or(0) + 1)
}

/// The hash of an event, also of one that was pruned if it was the last.
fn hash_of(transaction: &Transaction<'_>, id: i64) -> rusqlite::Result<Hash> {
    const PLACES: [&str; 2] = ["SELECT hash FROM event WHERE id = ?1", "SELECT hash FROM checkpoint WHERE last = ?1"];
    for place in PLACES {
        if let Some(hash) = transaction.prepare_cached(place)?.query_row([id], |row| row.get(0)).optional()? {
            return Ok(hash);
        }
    }
    Ok(ORIGIN)
}

/// A payload read back.
pub(super) fn parse<T: for<'de> Deserialize<'de>>(payload: Value) -> rusqlite::Result<T> {
    serde_json::from_value(payload).map_err(damaged)
}
