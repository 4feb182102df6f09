//! The book of client certificates, and of the one-time tokens that they are asked for with.
//!
//! What is in it holds: who may ask is judged by others, and nothing is signed here.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, TransactionBehavior, params};
use secrecy::SecretString;
use serde::Serialize;

use super::{Access, unusable};
use crate::{
    model::{Class, Error, Result},
    serve::{authority::Signed, book},
    server::{Certified, random},
};

/// Times are seconds since 1970; `revoked` is when that was, `serial` of a token the certificate that it was used for,
/// `replaces` the one that goes once this one is used.
pub(super) const VERSION_3: &str = "
CREATE TABLE certificate (
    serial      TEXT PRIMARY KEY,
    fingerprint TEXT NOT NULL UNIQUE,
    user        TEXT NOT NULL,
    issued      INTEGER NOT NULL,
    expires     INTEGER NOT NULL,
    lifetime    INTEGER NOT NULL,
    revoked     INTEGER,
    replaces    TEXT
) WITHOUT ROWID;
CREATE TABLE enrollment (
    id       TEXT PRIMARY KEY,
    hash     TEXT NOT NULL,
    user     TEXT NOT NULL,
    lifetime INTEGER NOT NULL,
    created  INTEGER NOT NULL,
    expires  INTEGER NOT NULL,
    serial   TEXT
) WITHOUT ROWID;
";

/// How long it is remembered what became of a one-time token, in seconds.
const REMEMBERED: i64 = 30 * 24 * 60 * 60;

/// A client certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClientCertificate {
    /// Its number, in hex.
    pub serial: String,
    /// Whose it is.
    pub user: String,
    /// When it was signed.
    pub issued: Timestamp,
    /// When it is over.
    pub expires: Timestamp,
    /// When it was revoked.
    pub revoked: Option<Timestamp>,
    /// Its SHA-256: `AA:BB:…`.
    pub fingerprint: String,
}

/// A one-time token, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Enrollment {
    /// What stands before the dot.
    pub id: String,
    /// For whom a certificate is signed with it.
    pub user: String,
    /// When it was made.
    pub created: Timestamp,
    /// When it is over.
    pub expires: Timestamp,
    /// The certificate that it was used for.
    pub serial: Option<String>,
    /// How long the certificate holds, in seconds.
    pub lifetime: i64,
}

/// A one-time token that was just made. Its secret is kept nowhere.
#[derive(Debug)]
pub struct Invitation {
    /// What it is.
    pub enrollment: Enrollment,
    /// The whole token, `ID.SECRET`.
    pub token: SecretString,
}

/// A certificate that is to be written down.
pub(in crate::serve) struct New<'a> {
    pub(in crate::serve) signed: &'a Signed,
    pub(in crate::serve) user: &'a str,
    pub(in crate::serve) issued: Timestamp,
    pub(in crate::serve) expires: Timestamp,
}

fn time(row: &Row<'_>, name: &str) -> rusqlite::Result<Timestamp> {
    Ok(Timestamp::from_second(row.get(name)?).unwrap_or_default())
}

fn enrollment(row: &Row<'_>) -> rusqlite::Result<Enrollment> {
    Ok(Enrollment {
        id: row.get("id")?,
        user: row.get("user")?,
        created: time(row, "created")?,
        expires: time(row, "expires")?,
        serial: row.get("serial")?,
        lifetime: row.get("lifetime")?,
    })
}

fn certificate(row: &Row<'_>) -> rusqlite::Result<ClientCertificate> {
    let revoked: Option<i64> = row.get("revoked")?;
    Ok(ClientCertificate {
        serial: row.get("serial")?,
        user: row.get("user")?,
        issued: time(row, "issued")?,
        expires: time(row, "expires")?,
        revoked: revoked.and_then(|second| Timestamp::from_second(second).ok()),
        fingerprint: row.get("fingerprint")?,
    })
}

/// Refused for good, as an attempt of somebody unknown.
fn refused(text: &str) -> Error {
    Error::new(Class::Unauthenticated, text)
}

const USED: &str = "the one-time token was used before";
const OVER: &str = "the one-time token is over";
const NOBODY: &str = "the user of the one-time token may not log in";

impl Access {
    /// Makes a one-time token, with which one certificate of this lifetime in seconds is signed for a user until then.
    ///
    /// # Errors
    /// [`Class::NotFound`] where there is no such user; when the file cannot be written.
    pub fn invite(&self, user: &str, now: Timestamp, expires: Timestamp, lifetime: i64) -> Result<Invitation> {
        let id = random::hex(&book::random_bytes::<4>()?);
        let secret = book::new_secret()?;
        let hash = book::hash(&secret)?;
        let made = Enrollment { id, user: user.to_owned(), created: now, expires, serial: None, lifetime };
        let count = self.in_book(|book| {
            book.execute("DELETE FROM enrollment WHERE expires < ?1", [now.as_second() - REMEMBERED])?;
            let row = params![made.id, hash, user, lifetime, now.as_second(), expires.as_second()];
            // Whoever takes a user away takes these too, and so has to be before or after this.
            let there = "EXISTS (SELECT 1 FROM person WHERE kind = 'users' AND key = ?3)";
            book.execute(&format!("INSERT INTO enrollment SELECT ?1, ?2, ?3, ?4, ?5, ?6, NULL WHERE {there}"), row)
        })?;
        if count == 0 {
            return Err(Error::not_found(format!("no such user ('{user}')")));
        }
        let token = format!("{}.{secret}", made.id).into();
        Ok(Invitation { enrollment: made, token })
    }

    /// The one-time tokens, the newest first; those that are long over are forgotten.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn enrollments(&self) -> Result<Vec<Enrollment>> {
        self.rows("SELECT * FROM enrollment ORDER BY created DESC, id", enrollment)
    }

    /// Takes a one-time token back; one that was used is forgotten, and its certificate stays.
    ///
    /// # Errors
    /// [`Class::NotFound`] where there is none; when the file cannot be written.
    pub fn delete_enrollment(&self, id: &str) -> Result<()> {
        match self.in_book(|book| book.execute("DELETE FROM enrollment WHERE id = ?1", [id]))? {
            0 => Err(Error::not_found(format!("there is no one-time token `{id}`"))),
            _ => Ok(()),
        }
    }

    /// The client certificates, the newest first.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn certificates(&self) -> Result<Vec<ClientCertificate>> {
        self.rows("SELECT * FROM certificate ORDER BY issued DESC, serial", certificate)
    }

    /// Revokes a certificate: from the next request on it is refused. Says whether it was not before.
    ///
    /// # Errors
    /// [`Class::NotFound`] where there is none; when the file cannot be written.
    pub fn revoke(&self, serial: &str, now: Timestamp) -> Result<bool> {
        let revoked = self.in_book(|book| {
            // And what was to take its place: whoever has that one has it by this one.
            if book.execute(
                "UPDATE certificate SET revoked = ?2 WHERE (serial = ?1 OR replaces = ?1) AND revoked IS NULL",
                params![serial, now.as_second()],
            )? > 0
            {
                return Ok(Some(true));
            }
            book.query_row("SELECT 0 FROM certificate WHERE serial = ?1", [serial], |_| Ok(false)).optional()
        })?;
        revoked.ok_or_else(|| Error::not_found(format!("there is no certificate with the serial number {serial}")))
    }

    /// What a one-time token is good for; `None` where it is none of this host's. Takes its time.
    pub(in crate::serve) fn check_enrollment(&self, token: &str, now: Timestamp) -> Option<Result<Enrollment>> {
        let (id, secret) = token.split_once('.').unwrap_or_default();
        let kept = |book: &Connection| {
            let mut query = book.prepare_cached("SELECT * FROM enrollment WHERE id = ?1")?;
            query.query_row([id], |row| Ok((row.get::<_, String>("hash")?, enrollment(row)?))).optional()
        };
        let found = match self.look(kept) {
            Ok(found) => found,
            Err(error) => return Some(Err(error)),
        };
        let is_right = book::is_hash_of(found.as_ref().map(|(hash, _)| hash.as_str()), secret);
        let (_, found) = found.filter(|_| is_right)?;
        Some(match &found {
            Enrollment { serial: Some(_), .. } => Err(refused(USED)),
            _ if found.expires <= now => Err(refused(OVER)),
            _ if !self.is_active(&found.user) => Err(refused(NOBODY)),
            _ => Ok(found),
        })
    }

    /// Writes down the certificate of a one-time token, which is used up by it.
    ///
    /// # Errors
    /// [`Class::Unauthenticated`] where somebody was faster; when the file cannot be written.
    pub(in crate::serve) fn enrolled(&self, id: &str, new: &New<'_>) -> Result<()> {
        let done = self.in_book(|book| {
            let used = book.execute(
                "UPDATE enrollment SET serial = ?2 WHERE id = ?1 AND serial IS NULL AND expires > ?3",
                params![id, new.signed.serial, new.issued.as_second()],
            )?;
            if used > 0 {
                new.insert(book, None)?;
            }
            Ok(used > 0)
        })?;
        if done { Ok(()) } else { Err(refused(USED)) }
    }

    /// Writes down a certificate that takes another one's place once it is used. One that was to do so before, and never was
    /// used, goes.
    ///
    /// # Errors
    /// [`Class::Unauthenticated`] where the other one was revoked meanwhile; when the file cannot be written.
    pub(in crate::serve) fn renewed(&self, old: &str, new: &New<'_>) -> Result<()> {
        let done = self.in_book(|book| {
            let held = "SELECT 1 FROM certificate WHERE serial = ?1 AND revoked IS NULL";
            let holds = book.query_row(held, [old], |_| Ok(())).optional()?.is_some();
            if holds {
                book.execute(
                    "UPDATE certificate SET revoked = ?2 WHERE replaces = ?1 AND revoked IS NULL",
                    params![old, new.issued.as_second()],
                )?;
                new.insert(book, Some(old))?;
            }
            Ok(holds)
        })?;
        if done { Ok(()) } else { Err(refused("the client certificate was revoked")) }
    }

    /// How long a certificate was made to hold, in seconds.
    pub(in crate::serve) fn lifetime_of(&self, serial: &str) -> Result<i64> {
        self.look(|book| {
            book.query_row("SELECT lifetime FROM certificate WHERE serial = ?1", [serial], |row| row.get(0))
        })
    }

    /// Whose a certificate is that holds now. The first use of one takes away the one before it.
    ///
    /// # Errors
    /// Why it does not hold.
    pub(in crate::serve) fn certified(&self, fingerprint: &str, now: Timestamp) -> Result<Certified, String> {
        let look = |file: &Connection| {
            let mut query = file.prepare_cached("SELECT * FROM certificate WHERE fingerprint = ?1")?;
            query.query_row([fingerprint], |row| Ok((certificate(row)?, row.get("replaces")?))).optional()
        };
        let found: Option<(ClientCertificate, Option<String>)> = look(&self.inside().file).map_err(|error| {
            tracing::error!(%error, "the book of certificates cannot be read");
            "the book of certificates cannot be read".to_owned()
        })?;
        let (found, replaces) = found.ok_or("the client certificate is not in the book of this host")?;
        let ClientCertificate { serial, user, expires, revoked, .. } = found;
        if let Some(revoked) = revoked {
            return Err(format!("the client certificate was revoked on {revoked}"));
        }
        if expires <= now {
            return Err(format!("the client certificate expired on {expires}"));
        }
        if !self.is_active(&user) {
            return Err(format!("{user} may not log in"));
        }
        if let Some(replaces) = replaces {
            let retired = self.in_book(|book| {
                let now = now.as_second();
                book.execute(
                    "UPDATE certificate SET revoked = ?2 WHERE serial = ?1 AND revoked IS NULL",
                    params![replaces, now],
                )?;
                book.execute("UPDATE certificate SET replaces = NULL WHERE serial = ?1", [&serial])
            });
            // It is tried again with the next request.
            if let Err(error) = retired {
                tracing::warn!(%error, serial = replaces, "a renewed certificate was not taken away");
            }
        }
        Ok(Certified { user, serial, expires })
    }

    /// When somebody's token is over; `None` where never, or where it is none.
    pub(in crate::serve) fn end_of_token(&self, authid: &str) -> Option<Timestamp> {
        let expire = self.newest(|book| book.0.tokens.get(authid).map(|token| token.expire)).ok().flatten()?;
        Timestamp::from_second(expire).ok().filter(|_| expire > 0)
    }

    fn rows<T>(&self, query: &str, read: fn(&Row<'_>) -> rusqlite::Result<T>) -> Result<Vec<T>> {
        self.look(|book| book.prepare(query)?.query_map([], read)?.collect())
    }

    /// Looks into the book.
    fn look<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T> {
        work(&self.inside().file).map_err(unusable)
    }

    /// Works on the book as the only one who does.
    fn in_book<T>(&self, work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>) -> Result<T> {
        let inside = self.inside();
        let done = || {
            let book = Transaction::new_unchecked(&inside.file, TransactionBehavior::Immediate)?;
            let done = work(&book)?;
            book.commit()?;
            Ok(done)
        };
        done().map_err(|error: rusqlite::Error| unusable(error))
    }
}

/// Takes away what a user has who is gone: one who comes back by that name is somebody else.
pub(super) fn forget(book: &Transaction<'_>, user: &str, now: i64) -> rusqlite::Result<()> {
    book.execute("DELETE FROM enrollment WHERE user = ?1", [user])?;
    book.execute("UPDATE certificate SET revoked = ?2 WHERE user = ?1 AND revoked IS NULL", params![user, now])?;
    Ok(())
}

impl New<'_> {
    fn insert(&self, book: &Transaction<'_>, replaces: Option<&str>) -> rusqlite::Result<()> {
        let (issued, expires) = (self.issued.as_second(), self.expires.as_second());
        let Signed { serial, fingerprint, .. } = self.signed;
        book.execute(
            "INSERT INTO certificate VALUES (?1, ?2, ?3, ?4, ?5, ?6, NULL, ?7)",
            params![serial, fingerprint, self.user, issued, expires, expires - issued, replaces],
        )?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
