//! Numbers and names of VMs: which are free, and which are taken.

use std::collections::BTreeSet;

use rusqlite::Transaction;

use super::{Safety, State, vm::vmid};
use crate::model::{Result, Vmid};

/// The lowest number that no row of a column has.
pub(super) fn lowest_free(transaction: &Transaction<'_>, column: &str, first: u32) -> rusqlite::Result<u32> {
    let sql = format!(
        "SELECT min(n) FROM (SELECT ?1 AS n UNION ALL SELECT {column} + 1 FROM vm)
         WHERE n NOT IN (SELECT {column} FROM vm)"
    );
    transaction.prepare_cached(&sql)?.query_row([first], |row| row.get(0))
}

fn uuids(transaction: &Transaction<'_>) -> rusqlite::Result<BTreeSet<String>> {
    transaction.prepare_cached("SELECT uuid FROM vm")?.query_map([], |row| row.get(0))?.collect()
}

impl State {
    /// The lowest VMID that is free at this moment; only [`State::create`] makes sure of it.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn next_vmid(&self) -> Result<Vmid> {
        self.read(|transaction| Ok(vmid(lowest_free(transaction, "vmid", Vmid::MIN)?)?))
    }

    /// The uuids of all VMs, which name their directories.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn uuids(&self) -> Result<BTreeSet<String>> {
        self.read(|transaction| Ok(uuids(transaction)?))
    }

    /// Works with the uuids of all VMs, and no VM is made or removed meanwhile.
    ///
    /// # Errors
    /// If the file cannot be used, and whatever `work` says.
    pub fn exclusively<T>(&self, work: impl FnOnce(&BTreeSet<String>) -> Result<T>) -> Result<T> {
        self.write(Safety::Process, |transaction| Ok(work(&uuids(transaction)?)?))
    }
}
