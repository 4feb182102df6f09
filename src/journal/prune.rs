//! Taking old operations out, with a checkpoint in their place.

use std::{thread, time::Duration};

use jiff::Timestamp;
use rusqlite::{Transaction, params};

use super::{
    Journal,
    chain::{Checkpoint, checkpoints},
    failed,
};
use crate::{model::Result, sqlite::Safety};

/// How many operations go in one transaction, so that others who want to write wait for a part of a second only.
const BATCH: usize = 2_000;

/// The pause between two batches, in which others get their turn.
const PAUSE: Duration = Duration::from_millis(20);

/// What goes. A part of a larger operation stays as long as that: by it is known what of that is done.
const GOES: &str = "ended < ?1 AND NOT EXISTS (
    SELECT 1 FROM operation AS whole WHERE whole.id = operation.parent AND (whole.ended IS NULL OR whole.ended >= ?1))";

impl Journal {
    /// How many operations [`prune`](Self::prune) would take out.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn ended_before(&self, moment: Timestamp) -> Result<u64> {
        let count: i64 = self.read(|transaction| {
            transaction
                .prepare_cached(&format!("SELECT count(*) FROM operation WHERE {GOES}"))?
                .query_row([moment.as_microsecond()], |row| row.get(0))
        })?;
        Ok(count.unsigned_abs())
    }

    /// Takes out the operations that ended before a moment, with their events and configuration backups, and says how
    /// many they were. Operations in flight stay, however old. The file keeps its size; its room is used again.
    ///
    /// # Errors
    /// If the file cannot be written. What was taken out until then is gone; the chain is whole at any moment.
    pub fn prune(&self, before: Timestamp) -> Result<u64> {
        let (mut total, mut after) = (0, 0);
        loop {
            let batch = self
                .write(Safety::Process, |transaction| batch(transaction, before, after))
                .map_err(|error| failed("cannot prune the journal", &self.path, "", error))?;
            let Some(last) = batch.last() else { return Ok(total) };
            (total, after) = (total + batch.len() as u64, *last);
            thread::sleep(PAUSE);
        }
    }
}

/// Takes out the next operations with a number above `after`; gives their numbers.
fn batch(transaction: &Transaction<'_>, before: Timestamp, after: i64) -> rusqlite::Result<Vec<i64>> {
    let operations: Vec<i64> = transaction
        .prepare_cached(&format!("SELECT id FROM operation WHERE id > ?2 AND {GOES} ORDER BY id LIMIT ?3"))?
        .query_map(params![before.as_microsecond(), after, BATCH as i64], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let mut events = Vec::new();
    {
        let mut statement = transaction.prepare_cached("SELECT id, prev_hash, hash FROM event WHERE operation = ?1")?;
        for operation in &operations {
            let rows = statement.query_map([operation], |row| {
                let id = row.get(0)?;
                Ok(Checkpoint { first: id, last: id, prev_hash: row.get(1)?, hash: row.get(2)? })
            })?;
            events.extend(rows.collect::<rusqlite::Result<Vec<_>>>()?);
        }
    }
    // A checkpoint first: the file refuses to delete what none stands for.
    let mut gaps = checkpoints(transaction)?;
    gaps.extend(&events);
    transaction.execute("DELETE FROM checkpoint", [])?;
    for Checkpoint { first, last, prev_hash, hash } in merged(gaps) {
        transaction
            .prepare_cached("INSERT INTO checkpoint (first, last, prev_hash, hash) VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![first, last, prev_hash, hash])?;
    }
    let mut delete = transaction.prepare_cached("DELETE FROM event WHERE id = ?1")?;
    for event in &events {
        delete.execute([event.first])?;
    }
    Ok(operations)
}

/// Neighbours made one.
fn merged(mut gaps: Vec<Checkpoint>) -> Vec<Checkpoint> {
    gaps.sort_unstable_by_key(|gap| gap.first);
    gaps.into_iter().fold(Vec::new(), |mut done, gap| {
        match done.last_mut() {
            Some(last) if last.last + 1 == gap.first => (last.last, last.hash) = (gap.last, gap.hash),
            _ => done.push(gap),
        }
        done
    })
}
