//! The rows of devices that the host has lent: which VM has one, and what it is to the host again afterwards.
//!
//! A row is written before a device is taken and goes after it was given back, so whoever comes between finds it. A boot
//! of the host gives everything back by itself: rows of another boot say nothing any more.

use rusqlite::{Row, params};
use uuid::Uuid;

use super::{Safety, State, damaged};
use crate::model::{Error, Result};

/// A device that the host has lent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lent {
    /// Its address on the PCI bus.
    pub address: String,
    /// The VM that has it.
    pub uuid: Uuid,
    /// What it is called in the VMM: `hostpci0`, `hostpci0.1`.
    pub id: String,
    /// The driver that had it.
    pub driver: Option<String>,
    /// The driver that it was prescribed.
    pub prescribed: Option<String>,
    /// Why it could not be given back, if that was tried.
    pub error: Option<String>,
}

const COLUMNS: &str = "address, uuid, id, driver, prescribed, error";

fn lent(row: &Row<'_>) -> rusqlite::Result<Lent> {
    Ok(Lent {
        address: row.get(0)?,
        uuid: row.get::<_, String>(1)?.parse().map_err(damaged)?,
        id: row.get(2)?,
        driver: row.get(3)?,
        prescribed: row.get(4)?,
        error: row.get(5)?,
    })
}

impl State {
    /// All devices that are lent, by address.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn lent(&self) -> Result<Vec<Lent>> {
        self.read(|transaction| {
            let sql = format!("SELECT {COLUMNS} FROM lent WHERE boot_id = ?1 ORDER BY address");
            let mut query = transaction.prepare_cached(&sql)?;
            Ok(query.query_map([&self.0.me.boot_id], lent)?.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// Writes down that a device is about to be lent. Of one that this VM has already only the name in the VMM is new:
    /// what it was before it was taken stays what it was.
    ///
    /// # Errors
    /// [`Class::Conflict`](crate::model::Class::Conflict) while another VM has it.
    pub fn lend(&self, new: &Lent) -> Result<()> {
        // A loss of power gives it back.
        self.write(Safety::Process, |transaction| {
            let boot = &self.0.me.boot_id;
            transaction.prepare_cached("DELETE FROM lent WHERE boot_id <> ?1")?.execute([boot])?;
            let changed = transaction
                .prepare_cached(
                    "INSERT INTO lent (address, uuid, id, driver, prescribed, boot_id) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                     ON CONFLICT (address) DO UPDATE SET id = excluded.id, error = NULL WHERE uuid = excluded.uuid",
                )?
                .execute(params![new.address, new.uuid.to_string(), new.id, new.driver, new.prescribed, boot])?;
            match changed {
                0 => Err(Error::conflict(format!("{} is lent to another VM", new.address)).into()),
                _ => Ok(()),
            }
        })
    }

    /// A device was given back.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn returned(&self, address: &str) -> Result<()> {
        self.write(Safety::Process, |transaction| {
            transaction.prepare_cached("DELETE FROM lent WHERE address = ?1")?.execute([address])?;
            Ok(())
        })
    }

    /// A device could not be given back: it stays lent, for a person to look at.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn not_returned(&self, address: &str, why: &str) -> Result<()> {
        self.write(Safety::Process, |transaction| {
            transaction.prepare_cached("UPDATE lent SET error = ?2 WHERE address = ?1")?.execute([address, why])?;
            Ok(())
        })
    }
}
