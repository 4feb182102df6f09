//! Who uses which image: an image that a VM's disk stands on must stay.
//!
//! Where images are and what is in them is the disks' room.

use rusqlite::params;

use super::{Safety, State, vm};
use crate::model::{Result, Vmid};

impl State {
    /// Notes that a VM's disk stands on an image, before it does. Once noted it stays so until the VM is removed or
    /// [`State::release_image`].
    ///
    /// # Errors
    /// [`Class::NotFound`](crate::model::Class::NotFound) for the VM.
    pub fn use_image(&self, image: &str, vmid: Vmid) -> Result<()> {
        self.write(Safety::Power, |transaction| {
            vm::find(transaction, &self.0.node, vmid)?;
            transaction
                .prepare_cached("INSERT OR IGNORE INTO image_use (image, vmid) VALUES (?1, ?2)")?
                .execute(params![image, vmid.get()])?;
            Ok(())
        })
    }

    /// Notes that no disk of a VM stands on an image any more.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn release_image(&self, image: &str, vmid: Vmid) -> Result<()> {
        self.write(Safety::Power, |transaction| {
            transaction
                .prepare_cached("DELETE FROM image_use WHERE image = ?1 AND vmid = ?2")?
                .execute(params![image, vmid.get()])?;
            Ok(())
        })
    }

    /// The VMs with a disk that stands on an image.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn image_users(&self, image: &str) -> Result<Vec<Vmid>> {
        self.read(|transaction| {
            let mut query = transaction.prepare_cached("SELECT vmid FROM image_use WHERE image = ?1 ORDER BY vmid")?;
            let rows = query.query_map([image], |row| vm::vmid(row.get(0)?))?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }
}
