//! Who may do what on a served host: API tokens with a role each, in a file of their own.
//!
//! There are no passwords and no groups here, and a role holds everywhere. What a role may do is Proxmox's table; whether
//! that is enough for a call is the kit's to say.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

use argon2::{
    Argon2,
    password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString},
};
use jiff::Timestamp;
use rusqlite::{Connection, OpenFlags, OptionalExtension, params};
use secrecy::SecretString;
use sha2::{Digest, Sha256};

use crate::{
    model::{Class, Error, Hint, Result},
    server::roles::role,
    sqlite::{self, Found, Layout},
};

const LAYOUT: Layout = Layout { mark: 0x7076_6561, migrations: &[VERSION_1] };

/// `hash` is argon2id in its usual spelling; times are seconds since 1970, an `expire` of 0 is never.
const VERSION_1: &str = "
PRAGMA application_id = 0x70766561;

CREATE TABLE token (
    id      TEXT PRIMARY KEY,
    hash    TEXT NOT NULL,
    role    TEXT NOT NULL,
    expire  INTEGER NOT NULL DEFAULT 0,
    comment TEXT,
    created INTEGER NOT NULL
) WITHOUT ROWID;
";

/// What a token may do, and until when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// `root@pam!name`.
    pub id: String,
    /// One of Proxmox's roles.
    pub role: String,
    /// Seconds since 1970; 0 is never.
    pub expire: i64,
    /// For people.
    pub comment: Option<String>,
}

/// A token that was just made. Its secret is kept nowhere.
#[derive(Debug)]
pub struct Issued {
    /// `root@pam!name`.
    pub id: String,
    /// The secret.
    pub secret: SecretString,
}

/// The tokens of a served host.
pub struct Access {
    file: Mutex<Connection>,
    /// Secrets that were right, by token: their SHA-256 and the hash that they were right for. To compute that hash again takes
    /// milliseconds, and a request must not.
    seen: Mutex<HashMap<String, (String, [u8; 32])>>,
}

impl Access {
    /// Opens the file, making it if there is none.
    ///
    /// # Errors
    /// When it cannot be made, read or written, or is somebody else's.
    pub fn open(path: &Path) -> Result<Self> {
        let cannot = |error: rusqlite::Error| failed(path, error);
        sqlite::make(path).map_err(|error| failed(path, error))?;
        let mut file = sqlite::connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(cannot)?;
        let done = match LAYOUT.look(&file).map_err(cannot)? {
            Found::Empty => 0,
            Found::Known(done) => done,
            Found::Newer(version) => {
                return Err(Error::new(
                    Class::Failed,
                    format!("{} has layout {version}, written by a newer version", path.display()),
                ));
            }
            Found::Foreign => {
                return Err(Error::new(
                    Class::Failed,
                    format!("{} is a database, but not one of tokens", path.display()),
                ));
            }
        };
        sqlite::use_wal(&file).map_err(cannot)?;
        LAYOUT.migrate(&mut file, done).map_err(cannot)?;
        Ok(Self { file: Mutex::new(file), seen: Mutex::default() })
    }

    /// Makes a token.
    ///
    /// # Errors
    /// [`Class::Conflict`] if it is there, [`Class::Usage`] for a role that there is not.
    pub fn issue(&self, grant: &Grant) -> Result<Issued> {
        if role(&grant.role).is_none() {
            return Err(Error::usage(format!("there is no role `{}`", grant.role)));
        }
        let mut bytes = [0; 32];
        let random = rustls::crypto::aws_lc_rs::default_provider().secure_random;
        random.fill(&mut bytes).map_err(|_| Error::new(Class::Failed, "this machine has no random numbers"))?;
        let secret = uuid(&bytes[..16]);
        let salt = SaltString::encode_b64(&bytes[16..]).map_err(unhashed)?;
        let hash = Argon2::default().hash_password(secret.as_bytes(), &salt).map_err(unhashed)?.to_string();
        let now = Timestamp::now().as_second();
        let sql =
            "INSERT OR IGNORE INTO token (id, hash, role, expire, comment, created) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        let made = self.file().execute(sql, params![grant.id, hash, grant.role, grant.expire, grant.comment, now]);
        match made.map_err(|error| failed(Path::new("the tokens"), error))? {
            0 => Err(Error::conflict(format!("token {} is there already", grant.id))),
            _ => Ok(Issued { id: grant.id.clone(), secret: secret.into() }),
        }
    }

    /// Takes a token away; from the next request on it is refused. Whether it was there.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn revoke(&self, id: &str) -> Result<bool> {
        self.seen().remove(id);
        let gone = self.file().execute("DELETE FROM token WHERE id = ?1", [id]);
        Ok(gone.map_err(|error| failed(Path::new("the tokens"), error))? > 0)
    }

    /// All tokens, by name.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn grants(&self) -> Result<Vec<Grant>> {
        let file = self.file();
        let read = || {
            file.prepare_cached("SELECT id, role, expire, comment FROM token ORDER BY id")?
                .query_map([], |row| {
                    Ok(Grant { id: row.get(0)?, role: row.get(1)?, expire: row.get(2)?, comment: row.get(3)? })
                })?
                .collect::<rusqlite::Result<Vec<_>>>()
        };
        read().map_err(|error| failed(Path::new("the tokens"), error))
    }

    /// Whether this is the secret of a token that holds.
    pub(super) fn check(&self, id: &str, secret: &str) -> bool {
        let Some((hash, _)) = self.valid(id) else { return false };
        // What is compared are sums: how long that takes says nothing of the secret.
        let sum: [u8; 32] = Sha256::digest(secret).into();
        if self.seen().get(id).is_some_and(|(for_hash, seen)| *for_hash == hash && *seen == sum) {
            return true;
        }
        let is_right = PasswordHash::new(&hash)
            .is_ok_and(|parsed| Argon2::default().verify_password(secret.as_bytes(), &parsed).is_ok());
        if is_right {
            self.seen().insert(id.to_owned(), (hash, sum));
        }
        is_right
    }

    /// What a token may do.
    pub(super) fn privileges(&self, id: &str) -> BTreeSet<String> {
        let role = self.valid(id).and_then(|(_, name)| role(&name)).unwrap_or_default();
        role.iter().map(|privilege| (*privilege).to_owned()).collect()
    }

    /// The role of a token that holds.
    pub(super) fn role_of(&self, id: &str) -> Option<String> {
        self.valid(id).map(|(_, role)| role)
    }

    /// Hash and role of a token that holds. What cannot be read holds nothing.
    fn valid(&self, id: &str) -> Option<(String, String)> {
        let now = Timestamp::now().as_second();
        let file = self.file();
        let mut statement =
            file.prepare_cached("SELECT hash, role FROM token WHERE id = ?1 AND (expire = 0 OR expire > ?2)").ok()?;
        statement.query_row(params![id, now], |row| Ok((row.get(0)?, row.get(1)?))).optional().ok()?
    }

    fn file(&self) -> MutexGuard<'_, Connection> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn seen(&self) -> MutexGuard<'_, HashMap<String, (String, [u8; 32])>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Access")
    }
}

/// A random UUID's spelling.
fn uuid(bytes: &[u8]) -> String {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{}-4{}-a{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..32])
}

fn unhashed(error: argon2::password_hash::Error) -> Error {
    Error::new(Class::Failed, format!("a secret cannot be hashed: {error}"))
}

fn failed(path: &Path, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    let cause = cause.into();
    let full = sqlite::no_room(&*cause);
    let error = Error::new(Class::Failed, format!("cannot use {}", path.display())).with_source(cause);
    if full { error.with_hint(Hint::Text(sqlite::MAKE_ROOM.to_owned())) } else { error }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn a_token_holds_until_it_is_revoked_or_over() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("tokens.db");
        let access = Access::open(&path).unwrap();
        let grant = |name: &str, expire| Grant {
            id: format!("root@pam!{name}"),
            role: "PVEAuditor".into(),
            expire,
            comment: None,
        };
        let issued = access.issue(&grant("one", 0)).unwrap();
        let secret = issued.secret.expose_secret();
        for _ in 0..2 {
            assert!(access.check("root@pam!one", secret));
            assert!(!access.check("root@pam!one", &format!("{secret}x")));
        }
        assert!(!access.check("root@pam!two", secret));
        assert!(access.privileges("root@pam!one").contains("VM.Audit"));
        assert!(!access.privileges("root@pam!one").contains("VM.PowerMgmt"));
        assert_eq!(access.issue(&grant("one", 0)).unwrap_err().class(), Class::Conflict);
        // Somebody else takes it away.
        assert!(Access::open(&path).unwrap().revoke("root@pam!one").unwrap());
        assert!(!access.check("root@pam!one", secret));
        assert!(access.privileges("root@pam!one").is_empty());
        let over = access.issue(&grant("over", 1)).unwrap();
        assert!(!access.check("root@pam!over", over.secret.expose_secret()));
        assert!(!std::fs::read(&path).unwrap().windows(8).any(|bytes| bytes == &secret.as_bytes()[..8]));
    }
}
