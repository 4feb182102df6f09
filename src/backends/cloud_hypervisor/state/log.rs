//! The lines of a task, written while it works, in words that followers read.

use rusqlite::OptionalExtension as _;

use super::{Safety, State};
use crate::model::{Error, Result, Size, Upid};

/// How Proxmox calls the end of a task that was asked to stop.
const INTERRUPTED: &str = "received interrupt";

/// Where the lines of a task go; clones go to the same log.
#[derive(Debug, Clone)]
pub struct Log {
    pub(super) state: State,
    pub(super) id: i64,
    pub(super) upid: Upid,
}

impl Log {
    /// Writes a line.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn line(&self, text: &str) -> Result<()> {
        self.state.write(Safety::Process, |transaction| self.state.append(transaction, self.id, text))
    }

    /// Writes a warning; the task's end counts them.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn warn(&self, text: &str) -> Result<()> {
        self.line(&format!("WARN: {text}"))
    }

    /// Writes how far a copy is, in the words of Proxmox that followers read. `what` is the drive, `scsi0`.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn progress(&self, what: &str, done: u64, total: u64) -> Result<()> {
        self.line(&transferred(what, done, total))
    }

    /// Whether somebody asked the task to stop. To be looked at between steps.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn is_interrupted(&self) -> Result<bool> {
        self.state.read(|transaction| {
            let sql = "SELECT interrupt FROM task WHERE id = ?1";
            Ok(transaction.prepare_cached(sql)?.query_row([self.id], |row| row.get(0)).optional()?.unwrap_or(false))
        })
    }

    /// Fails once somebody asked the task to stop, with the server's words for its end.
    ///
    /// # Errors
    /// [`Class::TaskFailed`](crate::model::Class::TaskFailed) then, or if the file cannot be read.
    pub fn check(&self) -> Result<()> {
        if self.is_interrupted()? { Err(Error::from_exit_status(INTERRUPTED)) } else { Ok(()) }
    }
}

/// The line that tells how far a copy is.
fn transferred(what: &str, done: u64, total: u64) -> String {
    // Nothing of nothing is all of it.
    let percent = if total == 0 { 100.0 } else { done.min(total) as f64 * 100.0 / total as f64 };
    format!("{what}: transferred {} of {} ({percent:.2}%)", Size(done), Size(total))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tasks::Progress;

    #[test]
    fn followers_read_how_far_a_copy_is() {
        for (done, total, want) in [(0, 1 << 30, 0.0), (1 << 29, 1 << 30, 0.5), (5, 0, 1.0), (9, 4, 1.0)] {
            let line = transferred("scsi0", done, total);
            assert_eq!(Progress::from_line(&line).and_then(|progress| progress.done), Some(want), "{line}");
        }
    }
}
