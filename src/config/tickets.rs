//! Login tickets kept between commands, one small file each, readable by their owner only.
//!
//! Does not know what a ticket is: the text is the caller's, and so is the question whether it is still good.

use std::path::PathBuf;

use super::{Paths, store};
use crate::model::Result;

/// The directory of tickets.
#[derive(Debug, Clone)]
pub struct Tickets {
    directory: PathBuf,
}

impl Tickets {
    /// The usual place.
    pub fn new(paths: &Paths) -> Self {
        Self { directory: paths.tickets() }
    }

    /// The text kept for a user on a server. A file that others could read or write is not trusted: `None`.
    ///
    /// # Errors
    /// When a file is there and cannot be read.
    pub fn load(&self, endpoint: &str, user: &str) -> Result<Option<String>> {
        let path = self.path(endpoint, user);
        if store::mode(&path).is_some_and(|mode| mode & 0o077 != 0) {
            return Ok(None);
        }
        store::read(&path)
    }

    /// Keeps a text, one JSON object by convention, with mode 0600.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save(&self, endpoint: &str, user: &str, text: &str) -> Result<()> {
        store::write(&self.path(endpoint, user), text, store::PRIVATE)
    }

    /// Forgets a ticket; one that is not there is fine.
    ///
    /// # Errors
    /// When the file cannot be removed.
    pub fn forget(&self, endpoint: &str, user: &str) -> Result<()> {
        store::remove(&self.path(endpoint, user))
    }

    /// Endpoints and users have signs that file names cannot; a hash has not, and it does not tell who logs in where.
    fn path(&self, endpoint: &str, user: &str) -> PathBuf {
        self.directory.join(store::file_name(&[endpoint, user]) + ".json")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tickets() -> (tempfile::TempDir, Tickets) {
        let home = tempfile::tempdir().unwrap();
        let directory = home.path().join("state/tickets");
        (home, Tickets { directory })
    }

    #[test]
    fn a_ticket_comes_back_for_its_user_and_server_only() {
        let (_home, tickets) = tickets();
        assert_eq!(tickets.load("https://pve1:8006", "root@pam").unwrap(), None);
        tickets.save("https://pve1:8006", "root@pam", "{}").unwrap();
        assert_eq!(tickets.load("https://pve1:8006", "root@pam").unwrap().as_deref(), Some("{}"));
        assert_eq!(tickets.load("https://pve1:8006", "root@pve").unwrap(), None);
        assert_eq!(tickets.load("https://pve2:8006", "root@pam").unwrap(), None);
        tickets.forget("https://pve1:8006", "root@pam").unwrap();
        tickets.forget("https://pve1:8006", "root@pam").unwrap();
        assert_eq!(tickets.load("https://pve1:8006", "root@pam").unwrap(), None);
    }

    #[cfg(unix)]
    #[test]
    fn a_ticket_is_private_and_one_that_is_not_is_not_used() {
        use std::{fs, os::unix::fs::PermissionsExt};
        let (_home, tickets) = tickets();
        tickets.save("a", "b", "{}").unwrap();
        let path = tickets.path("a", "b");
        assert_eq!(store::mode(&path), Some(0o600));
        assert_eq!(store::mode(&tickets.directory), Some(0o700));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(tickets.load("a", "b").unwrap(), None);
    }
}
