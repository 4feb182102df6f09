//! The file of a served host's people: users, API tokens, groups, roles, and what was granted to whom.
//!
//! Any number of processes may use it: everybody keeps the people in memory and reads them again once the file has
//! changed, so that what was taken away is gone from the next request on. What privileges follow is the kit's to say.

mod certificates;

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior, params};
use secrecy::SecretString;
use sha2::{Digest, Sha256};

pub(super) use self::certificates::New;
pub use self::certificates::{ClientCertificate, Enrollment, Invitation};
use super::book::{self, Book};
use crate::{
    model::{Class, Error, Hint, Method, Result},
    server::{
        Fault, Identity, Reply, Request,
        access::{Asked, Caller, Directory, Handler, ROOT, Token, User},
    },
    sqlite::{self, Found, Layout},
};

const LAYOUT: Layout = Layout { mark: 0x7076_6561, migrations: &[VERSION_1, VERSION_2, certificates::VERSION_3] };

/// `hash` is argon2id in its usual spelling; times are seconds since 1970, an `expire` of 0 is never.
pub(super) const VERSION_1: &str = "
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

/// People as rows of JSON, and the number of the last change. Tokens of root's go on with what they had: a role
/// everywhere, which is a grant on `/`. Others had no user.
const VERSION_2: &str = "
CREATE TABLE state (one INTEGER PRIMARY KEY CHECK (one = 1), generation INTEGER NOT NULL);
INSERT INTO state VALUES (1, 1);
CREATE TABLE person (
    kind TEXT NOT NULL, key TEXT NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (kind, key)
) WITHOUT ROWID;
INSERT INTO person SELECT 'users', 'root@pam',
        json('{\"password\":null,\"second_factor\":null,\"enable\":true,\"expire\":0,\"groups\":[],\"about\":{}}')
    WHERE EXISTS (SELECT 1 FROM token);
INSERT INTO person SELECT 'tokens', id, json_object('secret', hash,
        'privsep', json(iif(role = 'Administrator', 'false', 'true')), 'expire', expire, 'comment', comment)
    FROM token WHERE id LIKE 'root@pam!%';
INSERT INTO person SELECT 'grants', '/ token ' || id || ' ' || role, json_object('path', '/', 'kind', 'token',
        'who', id, 'role', role, 'propagate', json('true'))
    FROM token WHERE id LIKE 'root@pam!%' AND role <> 'Administrator';
DROP TABLE token;
";

/// A token that was just made. Its secret is kept nowhere.
#[derive(Debug)]
pub struct Issued {
    /// `root@pam!name`.
    pub id: String,
    /// The secret.
    pub secret: SecretString,
}

/// The people of a served host.
pub struct Access {
    inside: Mutex<Inside>,
    /// Secrets that were right, by token: their SHA-256 and the hash that they were right for. To compute that hash again
    /// takes milliseconds, and a request must not.
    seen: Mutex<HashMap<String, (String, [u8; 32])>>,
}

struct Inside {
    file: Connection,
    book: Book,
    /// The change that is in memory.
    generation: i64,
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
        // What was taken away, or used up, stays so whatever happens to the power.
        file.pragma_update(None, "synchronous", "full").map_err(cannot)?;
        LAYOUT.migrate(&mut file, done).map_err(cannot)?;
        let mut inside = Inside { file, book: Book::default(), generation: 0 };
        inside.refresh()?;
        Ok(Self { inside: Mutex::new(inside), seen: Mutex::default() })
    }

    /// Whether nobody was ever in it.
    pub fn is_new(&self) -> bool {
        self.inside().book.0.users.is_empty()
    }

    /// Makes a token of root's that may do everything, whatever becomes of others.
    ///
    /// # Errors
    /// [`Class::Conflict`] if it is there; when the file cannot be written.
    pub fn issue(&self, name: &str, comment: Option<String>) -> Result<Issued> {
        let id = format!("{ROOT}!{name}");
        let secret = book::new_secret()?;
        let token = Token { secret: book::hash(&secret)?, privsep: false, expire: 0, comment };
        self.change(|book| {
            if book.0.tokens.has(id.as_str()) {
                return Err(Error::conflict(format!("token {id} is there already")));
            }
            with_root(book, |_| ());
            book.0.tokens.insert(id.clone(), token);
            Ok(())
        })?;
        Ok(Issued { id, secret: secret.into() })
    }

    /// Gives a user another password. Root is made where it is missing, and let in again.
    ///
    /// # Errors
    /// [`Class::NotFound`] for anybody else who is missing; when the file cannot be written.
    pub fn set_password(&self, name: &str, password: &str) -> Result<()> {
        let hash = Some(book::hash(password)?);
        self.change(|book| {
            if name == ROOT {
                with_root(book, |root| root.password = hash);
                return Ok(());
            }
            let user = book.0.users.edit(name);
            user.ok_or_else(|| Error::not_found(format!("no such user ('{name}')")))?.password = hash;
            Ok(())
        })
    }

    /// Answers a request about people.
    ///
    /// # Errors
    /// As a node does; when the file cannot be used.
    pub(super) fn answer(&self, handler: Handler, request: &Request) -> std::result::Result<Reply, Fault> {
        if request.method == Method::Get {
            return handler(&mut Asked::new(&mut self.inside().book, request));
        }
        self.change(|book| handler(&mut Asked::new(book, request)))
    }

    /// Whether a user may log in now, by what the file says now.
    pub(super) fn is_active(&self, user: &str) -> bool {
        self.newest(|book| book.0.active_user(user, now()).is_some()).unwrap_or(false)
    }

    /// Whether this is the password of a user who may log in.
    pub(super) fn is_password(&self, user: &str, password: &str) -> bool {
        let kept = |book: &Book| book.0.active_user(user, now())?.password.clone();
        let hash = self.newest(kept).ok().flatten();
        book::is_hash_of(hash.as_deref(), password)
    }

    /// Whether this is the secret of a token that holds and was shown before.
    pub(super) fn knows(&self, id: &str, secret: &str) -> bool {
        let Some(hash) = self.hash_of(id) else { return false };
        // What is compared are sums: how long that takes says nothing of the secret.
        let sum: [u8; 32] = Sha256::digest(secret).into();
        self.seen().get(id).is_some_and(|(for_hash, seen)| *for_hash == hash && *seen == sum)
    }

    /// Whether this is the secret of a token that holds. Takes its time.
    pub(super) fn check(&self, id: &str, secret: &str) -> bool {
        let hash = self.hash_of(id);
        let is_right = book::is_hash_of(hash.as_deref(), secret);
        if let Some(hash) = hash.filter(|_| is_right) {
            self.seen().insert(id.to_owned(), (hash, Sha256::digest(secret).into()));
        }
        is_right
    }

    fn hash_of(&self, id: &str) -> Option<String> {
        let (user, token) = id.split_once('!')?;
        self.newest(|book| Some(book.0.active_token(user, token, now())?.secret.clone())).ok().flatten()
    }

    /// Looks at what somebody may do, as it was when the request came.
    pub(super) fn ask<T>(&self, who: Option<&Identity>, look: impl FnOnce(&Caller<'_>) -> T) -> T {
        look(&Caller::new(&self.inside().book, who))
    }

    /// The privileges of somebody on a path.
    pub(super) fn privileges(&self, authid: &str, path: &str) -> BTreeSet<String> {
        self.inside().book.privileges(authid, path).into_keys().map(str::to_owned).collect()
    }

    /// The groups of a user.
    pub(super) fn groups_of(&self, user: &str) -> Vec<String> {
        self.inside().book.0.users.get(user).map(|user| user.groups.clone()).unwrap_or_default()
    }

    /// The paths on which something was granted.
    pub(super) fn paths(&self) -> Vec<String> {
        self.inside().book.0.grants.values().map(|grant| grant.path.clone()).collect()
    }

    /// Looks at what the file says now.
    fn newest<T>(&self, look: impl FnOnce(&Book) -> T) -> Result<T> {
        let mut inside = self.inside();
        inside.refresh()?;
        Ok(look(&inside.book))
    }

    /// Changes people as the only one who does; what a failure left in memory is read again.
    fn change<T, E: From<Error>>(
        &self,
        work: impl FnOnce(&mut Book) -> std::result::Result<T, E>,
    ) -> std::result::Result<T, E> {
        let inside = &mut *self.inside();
        let done = inside.change(work);
        if done.is_err() {
            inside.generation = 0;
            inside.refresh()?;
        }
        done
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(|poisoned| {
            // What a panic left half-way must not stay.
            let mut inside = poisoned.into_inner();
            inside.generation = 0;
            self.inside.clear_poison();
            inside
        })
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

impl Inside {
    fn refresh(&mut self) -> Result<()> {
        refresh(&self.file, &mut self.book, &mut self.generation).map_err(unusable)
    }

    fn change<T, E: From<Error>>(
        &mut self,
        work: impl FnOnce(&mut Book) -> std::result::Result<T, E>,
    ) -> std::result::Result<T, E> {
        let Self { file, book, generation } = self;
        let transaction = Transaction::new_unchecked(file, TransactionBehavior::Immediate).map_err(unusable)?;
        refresh(&transaction, book, generation).map_err(unusable)?;
        // Where it is not done, all is taken back.
        let done = work(book)?;
        let next = *generation + 1;
        let changes = book.0.take_changes().map_err(unusable)?;
        let write = || {
            for row in &changes {
                match &row.body {
                    Some(body) => transaction.execute(
                        "INSERT OR REPLACE INTO person VALUES (?1, ?2, ?3)",
                        params![row.kind, row.key, body],
                    )?,
                    None => transaction
                        .execute("DELETE FROM person WHERE kind = ?1 AND key = ?2", params![row.kind, row.key])?,
                };
                if row.kind == "users" && row.body.is_none() {
                    certificates::forget(&transaction, &row.key, now())?;
                }
            }
            transaction.execute("UPDATE state SET generation = ?1", [next])
        };
        write().map_err(unusable)?;
        transaction.commit().map_err(unusable)?;
        *generation = next;
        Ok(done)
    }
}

/// Reads everybody again, if somebody changed something.
fn refresh(
    file: &Connection,
    book: &mut Book,
    generation: &mut i64,
) -> std::result::Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let newest: i64 = file.prepare_cached("SELECT generation FROM state")?.query_row([], |row| row.get(0))?;
    if newest == *generation {
        return Ok(());
    }
    // In one transaction of its own, unless the caller has one.
    let transaction = file.is_autocommit().then(|| file.unchecked_transaction()).transpose()?;
    let newest: i64 = file.prepare_cached("SELECT generation FROM state")?.query_row([], |row| row.get(0))?;
    let mut found = Book::default();
    let mut query = file.prepare_cached("SELECT kind, key, body FROM person")?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        let (kind, key, body): (String, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        found.0.load(&kind, &key, Some(&body))?;
    }
    drop(rows);
    drop(query);
    drop(transaction);
    (*book, *generation) = (found, newest);
    Ok(())
}

/// Makes root where it is missing, lets it in, and does something with it.
fn with_root(book: &mut Book, work: impl FnOnce(&mut User)) {
    let mut root = book.0.users.get(ROOT).cloned().unwrap_or_default();
    (root.enable, root.expire) = (true, 0);
    work(&mut root);
    book.0.users.insert(ROOT.to_owned(), root);
}

fn now() -> i64 {
    Timestamp::now().as_second()
}

fn unusable(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    failed(Path::new("the file of people"), cause)
}

fn failed(path: &Path, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    let cause = cause.into();
    let full = sqlite::no_room(&*cause);
    let error = Error::new(Class::Failed, format!("cannot use {}", path.display())).with_source(cause);
    if full { error.with_hint(Hint::Text(sqlite::MAKE_ROOM.to_owned())) } else { error }
}
