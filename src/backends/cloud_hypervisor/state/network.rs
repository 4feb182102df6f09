//! The rows of networks: what bridges of our own there are to be, since a bridge does not survive a boot of the host.
//!
//! Whether one is there at this moment is for others to see.

use std::net::Ipv4Addr;

use jiff::Timestamp;
use rusqlite::{OptionalExtension as _, Row, Transaction, params};
use uuid::Uuid;

use super::{Intent, Safety, State, Vm, damaged, timestamp, vm};
use crate::model::{Error, Result};

/// A network as its row has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkRow {
    /// Its name, which is its bridge's.
    pub name: String,
    /// The owner in the mark of its bridge.
    pub uuid: Uuid,
    /// The host's address on it.
    pub address: Ipv4Addr,
    /// How many bits of that are the network's.
    pub prefix: u8,
    /// Whether its guests reach the world under the host's address.
    pub nat: bool,
    /// Whether it is being deleted.
    pub leaving: bool,
    /// The boot in which it was last made whole.
    pub boot_id: Option<String>,
    /// When it was made.
    pub created: Timestamp,
}

/// A network that is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewNetwork {
    /// Its name.
    pub name: String,
    /// The host's address on it.
    pub address: Ipv4Addr,
    /// How many bits of that are the network's.
    pub prefix: u8,
    /// Whether its guests reach the world under the host's address.
    pub nat: bool,
}

const COLUMNS: &str = "name, uuid, address, prefix, nat, leaving, boot_id, created";

fn network(row: &Row<'_>) -> rusqlite::Result<NetworkRow> {
    Ok(NetworkRow {
        name: row.get(0)?,
        uuid: row.get::<_, String>(1)?.parse().map_err(damaged)?,
        address: row.get::<_, String>(2)?.parse().map_err(damaged)?,
        prefix: row.get(3)?,
        nat: row.get(4)?,
        leaving: row.get(5)?,
        boot_id: row.get(6)?,
        created: timestamp(row.get(7)?)?,
    })
}

fn all(transaction: &Transaction<'_>) -> rusqlite::Result<Vec<NetworkRow>> {
    let mut query = transaction.prepare_cached(&format!("SELECT {COLUMNS} FROM network ORDER BY name"))?;
    query.query_map([], network)?.collect()
}

fn find(transaction: &Transaction<'_>, name: &str) -> rusqlite::Result<Option<NetworkRow>> {
    let sql = format!("SELECT {COLUMNS} FROM network WHERE name = ?1");
    transaction.prepare_cached(&sql)?.query_row([name], network).optional()
}

impl State {
    /// All networks by name.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn networks(&self) -> Result<Vec<NetworkRow>> {
        self.read(|transaction| Ok(all(transaction)?))
    }

    /// The network of a name.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn network(&self, name: &str) -> Result<Option<NetworkRow>> {
        self.read(|transaction| Ok(find(transaction, name)?))
    }

    /// Writes down a network that is to be made. `fits` sees those that there are, and may refuse, or choose an address.
    ///
    /// # Errors
    /// [`Class::Conflict`](crate::model::Class::Conflict) if the name is taken; whatever `fits` says.
    pub fn add_network(
        &self,
        name: &str,
        fits: impl FnOnce(&[NetworkRow]) -> Result<NewNetwork>,
    ) -> Result<NetworkRow> {
        self.write(Safety::Power, |transaction| {
            let there = all(transaction)?;
            if there.iter().any(|row| row.name == name) {
                return Err(Error::conflict(format!("network `{name}` exists already")).into());
            }
            let new = fits(&there)?;
            transaction
                .prepare_cached(
                    "INSERT INTO network (name, uuid, address, prefix, nat, created) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                )?
                .execute(params![
                    name,
                    Uuid::new_v4().to_string(),
                    new.address.to_string(),
                    new.prefix,
                    new.nat,
                    self.now().as_microsecond()
                ])?;
            Ok(find(transaction, name)?.ok_or(rusqlite::Error::QueryReturnedNoRows)?)
        })
    }

    /// Notes that a network was made whole in this boot.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn network_is_up(&self, row: &NetworkRow) -> Result<()> {
        self.write(Safety::Power, |transaction| {
            transaction
                .prepare_cached("UPDATE network SET boot_id = ?2 WHERE uuid = ?1")?
                .execute(params![row.uuid.to_string(), self.0.me.boot_id])?;
            Ok(())
        })
    }

    /// Notes that a network is being deleted, from when on nobody makes it again. `free` sees the VMs of that moment,
    /// and may refuse.
    ///
    /// # Errors
    /// [`Class::NotFound`](crate::model::Class::NotFound); whatever `free` says.
    pub fn network_leaves(
        &self,
        name: &str,
        free: impl FnOnce(&[(Vm, Option<Intent>)]) -> Result<()>,
    ) -> Result<NetworkRow> {
        self.write(Safety::Power, |transaction| {
            let gone = || Error::not_found(format!("no such network: `{name}`"));
            let row = find(transaction, name)?.ok_or_else(gone)?;
            free(&vm::all(transaction)?)?;
            transaction.prepare_cached("UPDATE network SET leaving = 1 WHERE name = ?1")?.execute([name])?;
            Ok(NetworkRow { leaving: true, ..row })
        })
    }

    /// Removes a network's row: the last act of its deletion, and of a making that failed. One that is gone is no error.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn remove_network(&self, row: &NetworkRow) -> Result<()> {
        self.write(Safety::Power, |transaction| {
            transaction.prepare_cached("DELETE FROM network WHERE uuid = ?1")?.execute([row.uuid.to_string()])?;
            Ok(())
        })
    }
}
