//! The chain of hashes over all events: how a link is made, and how the chain is checked.
//!
//! What it proves and what not is told in the [module's documentation](super).

use std::{fmt::Write, iter::Peekable, vec};

use rusqlite::{OptionalExtension, Row, Transaction};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::Journal;
use crate::model::{OperationId, Result};

/// A SHA-256.
pub(super) type Hash = [u8; 32];

/// What stands before the first event.
pub(super) const ORIGIN: Hash = [0; 32];

/// The hash of an event: SHA-256 over the hash before it, its number, its operation's number, its time in microseconds
/// (the three as 8 bytes, big endian) and its payload.
pub(super) fn link(previous: &[u8], id: i64, operation: i64, time: i64, payload: &str) -> Hash {
    let digest = Sha256::new()
        .chain_update(previous)
        .chain_update(id.to_be_bytes())
        .chain_update(operation.to_be_bytes())
        .chain_update(time.to_be_bytes())
        .chain_update(payload);
    digest.finalize().into()
}

/// A hash for people.
pub(super) fn hex(hash: &[u8]) -> String {
    hash.iter().fold(String::with_capacity(2 * hash.len()), |mut text, byte| {
        // Writing to a String does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A run of events that prune took out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Checkpoint {
    pub(super) first: i64,
    pub(super) last: i64,
    /// The hash before the first.
    pub(super) prev_hash: Hash,
    /// The hash of the last.
    pub(super) hash: Hash,
}

/// Every checkpoint, by number.
pub(super) fn checkpoints(transaction: &Transaction<'_>) -> rusqlite::Result<Vec<Checkpoint>> {
    transaction
        .prepare_cached("SELECT first, last, prev_hash, hash FROM checkpoint ORDER BY first")?
        .query_map([], |row| {
            Ok(Checkpoint { first: row.get(0)?, last: row.get(1)?, prev_hash: row.get(2)?, hash: row.get(3)? })
        })?
        .collect()
}

/// What a check of the whole journal found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verification {
    /// How many events were read, up to the break if there is one.
    pub events: u64,
    /// How many events prune took out, as the checkpoints say.
    pub pruned: u64,
    /// The hash of the last good event, 64 hex digits; `None` if there are no events. Noted elsewhere, it later proves
    /// that the history up to here is the same.
    pub head: Option<String>,
    /// Where the chain breaks first; `None` if all is well.
    pub broken: Option<Break>,
}

/// Where the chain breaks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Break {
    /// The event's number; `None` for a row of the list that has no events.
    pub event: Option<i64>,
    /// Its operation, where it is known.
    pub operation: Option<OperationId>,
    /// What is wrong, in words.
    pub reason: String,
}

impl Journal {
    /// Whether an event has, or had before it was pruned, this hash (64 hex digits): whether a [`Verification::head`] that
    /// was noted earlier is part of this history. Of a stretch that was pruned the last hash alone is known.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn has_hash(&self, hash: &str) -> Result<bool> {
        self.read(|transaction| {
            let sql = "SELECT EXISTS (SELECT 1 FROM event WHERE hash = unhex(?1))
                           OR EXISTS (SELECT 1 FROM checkpoint WHERE hash = unhex(?1) OR prev_hash = unhex(?1))";
            transaction.query_row(sql, [hash], |row| row.get(0))
        })
    }

    /// Reads everything and checks the chain, and that the rows of the list are what the events say. Takes seconds for
    /// a million events.
    ///
    /// # Errors
    /// If the file cannot be read. A broken chain is no error but a finding.
    pub fn verify(&self) -> Result<Verification> {
        self.read(verify)
    }
}

fn verify(transaction: &Transaction<'_>) -> rusqlite::Result<Verification> {
    let mut walk = Walk {
        checkpoints: checkpoints(transaction)?.into_iter().peekable(),
        next: 1,
        hash: ORIGIN.to_vec(),
        events: 0,
        pruned: 0,
    };
    let mut broken = walk.all(transaction)?;
    if broken.is_none() {
        broken = differing_row(transaction)?;
    }
    let Walk { hash, events, pruned, .. } = walk;
    Ok(Verification { events, pruned, head: (hash != ORIGIN).then(|| hex(&hash)), broken })
}

/// An event as it stands in the file, whatever it is.
struct Link {
    id: i64,
    operation: i64,
    time: i64,
    payload: String,
    prev_hash: Vec<u8>,
    hash: Vec<u8>,
}

/// A walk along the chain.
struct Walk {
    checkpoints: Peekable<vec::IntoIter<Checkpoint>>,
    /// The number the next event must have.
    next: i64,
    /// The hash so far.
    hash: Vec<u8>,
    events: u64,
    pruned: u64,
}

impl Walk {
    fn all(&mut self, transaction: &Transaction<'_>) -> rusqlite::Result<Option<Break>> {
        let mut statement =
            transaction.prepare("SELECT id, operation, time, payload, prev_hash, hash FROM event ORDER BY id")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let link = Link {
                id: row.get(0)?,
                operation: row.get(1)?,
                time: row.get(2)?,
                payload: row.get(3)?,
                prev_hash: row.get(4)?,
                hash: row.get(5)?,
            };
            if let Some(found) = self.pruned().or_else(|| self.event(link)) {
                return Ok(Some(found));
            }
        }
        if let Some(found) = self.pruned() {
            return Ok(Some(found));
        }
        let last: Option<i64> = transaction
            .query_row("SELECT seq FROM sqlite_sequence WHERE name = 'event'", [], |row| row.get(0))
            .optional()?;
        Ok(last.filter(|last| *last >= self.next).map(|last| self.missing(last)))
    }

    /// Passes over what prune took out at this place.
    fn pruned(&mut self) -> Option<Break> {
        while let Some(gap) = self.checkpoints.next_if(|gap| gap.first == self.next) {
            if gap.prev_hash[..] != self.hash {
                let reason = format!("it does not lead to events {} to {}, which were pruned", gap.first, gap.last);
                return Some(Break { event: Some(self.next - 1), operation: None, reason });
            }
            self.pruned += (gap.last - gap.first + 1).unsigned_abs();
            self.next = gap.last + 1;
            self.hash = gap.hash.to_vec();
        }
        None
    }

    fn event(&mut self, found: Link) -> Option<Break> {
        let Link { id, operation, time, payload, prev_hash, hash } = found;
        if id > self.next {
            return Some(self.missing(id - 1));
        }
        let reason = if id < self.next {
            "it was put in"
        } else if prev_hash != self.hash {
            "it does not follow the event before it"
        } else if hash != link(&prev_hash, id, operation, time, &payload) {
            "it was changed"
        } else {
            self.events += 1;
            self.next += 1;
            self.hash = hash;
            return None;
        };
        Some(Break { event: Some(id), operation: Some(OperationId(operation)), reason: reason.to_owned() })
    }

    fn missing(&self, last: i64) -> Break {
        let reason =
            if last == self.next { "it is missing".to_owned() } else { format!("it and all up to {last} are missing") };
        Break { event: Some(self.next), operation: None, reason }
    }
}

/// The columns of the view and of its copy.
const COLUMNS: [&str; 17] = [
    "id",
    "verb",
    "target",
    "vmid",
    "name",
    "node",
    "context",
    "user",
    "host",
    "upid",
    "status",
    "exit_status",
    "started",
    "ended",
    "error",
    "has_config",
    "parent",
];

/// A row of the list that is not what the events say, is missing, or has no events.
fn differing_row(transaction: &Transaction<'_>) -> rusqlite::Result<Option<Break>> {
    let columns = |table: &str| COLUMNS.map(|column| format!("{table}.{column}")).join(", ");
    let sql = format!(
        "SELECT told.id, (SELECT min(id) FROM event WHERE operation = told.id)
         FROM operation_of_events AS told LEFT JOIN operation AS row ON row.id = told.id
         WHERE ({}) IS NOT ({})
         UNION ALL
         SELECT row.id, NULL FROM operation AS row
         WHERE NOT EXISTS (SELECT 1 FROM event WHERE operation = row.id AND type = 'planned')
         LIMIT 1",
        columns("told"),
        columns("row"),
    );
    let found = |row: &Row<'_>| {
        let reason = "the row of its operation is not what the events say".to_owned();
        Ok(Break { event: row.get(1)?, operation: Some(OperationId(row.get(0)?)), reason })
    };
    transaction.query_row(&sql, [], found).optional()
}
