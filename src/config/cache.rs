//! What completion saw last: one small file per question, for one context, its servers and its user.
//!
//! Nothing here is needed: a file that is missing, broken or not ours is as good as none, and one that cannot be
//! written is not missed. It keeps what it is given; that no secret is in it is the caller's business.

use std::{fs, path::PathBuf, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Paths, store};

/// The files of one context, its servers and its user.
#[derive(Debug, Clone)]
pub struct Cache {
    directory: PathBuf,
    whose: String,
}

/// A file's content.
#[derive(Serialize, Deserialize)]
struct Kept<D> {
    /// Milliseconds since 1970.
    taken: i64,
    data: D,
}

impl Cache {
    /// The files of whom these parts name: the context, its servers, its user. They do not show in the files' names.
    pub fn new(paths: &Paths, whose: &[&str]) -> Self {
        Self { directory: paths.completions(), whose: store::file_name(whose) }
    }

    /// What was kept for a question, and how old it is by a clock; what comes from the future is as old as can be.
    /// A file that others could read or write is not trusted.
    pub fn load(&self, question: &str, now: Timestamp) -> Option<(Value, Duration)> {
        let path = self.path(question);
        if store::mode(&path).is_some_and(|mode| mode & 0o077 != 0) {
            return None;
        }
        let kept: Kept<Value> = serde_json::from_str(&store::read(&path).ok()??).ok()?;
        let age = u64::try_from(now.as_millisecond().checked_sub(kept.taken)?);
        Some((kept.data, age.map_or(Duration::MAX, Duration::from_millis)))
    }

    /// Keeps an answer, in place of an earlier one.
    pub fn save(&self, question: &str, data: &Value, now: Timestamp) {
        // Without it the next question goes to the server, and that is all.
        let _ = serde_json::to_string(&Kept { taken: now.as_millisecond(), data })
            .map(|text| store::write_soon(&self.path(question), text.as_bytes()));
    }

    /// Forgets everything: something has changed.
    pub fn forget(&self) {
        let Ok(files) = fs::read_dir(&self.directory) else { return };
        for file in files.filter_map(Result::ok) {
            if file.file_name().to_string_lossy().starts_with(&self.whose) {
                // Somebody else forgot it first.
                let _ = fs::remove_file(file.path());
            }
        }
    }

    fn path(&self, question: &str) -> PathBuf {
        self.directory.join(format!("{}-{}.json", self.whose, store::file_name(&[question])))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::Env;

    const HOUR: i64 = 3_600_000;

    fn at(millisecond: i64) -> Timestamp {
        Timestamp::from_millisecond(millisecond).unwrap()
    }

    fn caches() -> (tempfile::TempDir, Cache, Cache) {
        let home = tempfile::tempdir().unwrap();
        let paths = Paths::new(&Env::from_pairs([("HOME", home.path())])).unwrap();
        let cache = |user| Cache::new(&paths, &["lab", "https://pve1:8006", user]);
        (home, cache("root@pam"), cache("audit@pve"))
    }

    #[test]
    fn an_answer_comes_back_with_its_age_to_its_user_only() {
        let (_home, root, audit) = caches();
        assert_eq!(root.load("/nodes", at(HOUR)), None);
        root.save("/nodes", &json!([{"node": "pve1"}]), at(HOUR));
        assert_eq!(root.load("/nodes", at(HOUR + 9)), Some((json!([{"node": "pve1"}]), Duration::from_millis(9))));
        assert_eq!(root.load("/nodes", at(0)).unwrap().1, Duration::MAX);
        assert_eq!((root.load("/pools", at(HOUR)), audit.load("/nodes", at(HOUR))), (None, None));
        audit.save("/nodes", &json!([]), at(HOUR));
        root.forget();
        assert_eq!((root.load("/nodes", at(HOUR)), audit.load("/nodes", at(HOUR)).is_some()), (None, true));
    }

    #[cfg(unix)]
    #[test]
    fn a_file_is_private_and_one_that_is_broken_or_open_to_others_is_replaced() {
        use std::os::unix::fs::PermissionsExt;
        let (_home, cache, _) = caches();
        cache.save("/nodes", &json!([1]), at(HOUR));
        let path = cache.path("/nodes");
        assert_eq!((store::mode(&path), store::mode(&cache.directory)), (Some(0o600), Some(0o700)));
        for spoil in [&b"{\"taken\":"[..], b"", b"[]", b"\xff\xfe"] {
            fs::write(&path, spoil).unwrap();
            assert_eq!(cache.load("/nodes", at(HOUR)), None);
            cache.save("/nodes", &json!([2]), at(HOUR));
            assert_eq!(cache.load("/nodes", at(HOUR)), Some((json!([2]), Duration::ZERO)));
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(cache.load("/nodes", at(HOUR)), None);
        // A place that cannot be written is no trouble.
        fs::remove_dir_all(&cache.directory).unwrap();
        fs::write(&cache.directory, "a file").unwrap();
        cache.save("/nodes", &json!([3]), at(HOUR));
        assert_eq!(cache.load("/nodes", at(HOUR)), None);
    }
}
