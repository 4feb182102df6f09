//! Servers' own descriptions of their API, one file for each version of Proxmox VE.
//!
//! Nothing here is needed: a file that is missing or broken is fetched again, one that cannot be written is not missed.

use std::{fs, path::PathBuf};

use super::{Paths, store};

/// The directory of descriptions.
#[derive(Debug, Clone)]
pub struct Descriptions {
    directory: PathBuf,
}

impl Descriptions {
    /// The usual place, below the cache.
    pub fn new(paths: &Paths) -> Self {
        Self { directory: paths.cache.join("api") }
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        fs::read_dir(&self.directory).map_or(true, |mut entries| entries.next().is_none())
    }

    /// What was kept for a version: `9.2.11-14a22df35955d97d`.
    pub fn load(&self, version: &str) -> Option<Vec<u8>> {
        fs::read(self.path(version)).ok()
    }

    /// Keeps one.
    pub fn save(&self, version: &str, content: &[u8]) {
        // Without it the next command that needs it asks the server, and that is all.
        let _ = store::write_soon(&self.path(version), content);
    }

    /// A version is a server's word, and no word may leave the directory.
    fn path(&self, version: &str) -> PathBuf {
        let plain = |c: char| if c.is_ascii_alphanumeric() || c == '.' || c == '-' { c } else { '_' };
        let name: String = version.trim_start_matches('.').chars().take(100).map(plain).collect();
        self.directory.join(name + ".gz")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_comes_back_and_stays_in_its_place() {
        let home = tempfile::tempdir().unwrap();
        let descriptions = Descriptions { directory: home.path().join("api") };
        assert_eq!(descriptions.load("9.2.11-ab"), None);
        assert!(descriptions.is_empty());
        descriptions.save("9.2.11-ab", b"text");
        assert_eq!(descriptions.load("9.2.11-ab").as_deref(), Some(&b"text"[..]));
        assert!(!descriptions.is_empty());
        let odd = descriptions.path("../../etc/passwd");
        assert_eq!(odd.parent(), Some(descriptions.directory.as_path()));
    }
}
