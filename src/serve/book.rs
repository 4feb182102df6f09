//! The people of a served host: how their passwords and secrets are kept, in which rows they lie.
//!
//! What they may do is the kit's to say; the file is [`access`](super::access)'s.

use argon2::{
    Argon2,
    password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString},
};

use crate::{
    model::{Class, Error, Result},
    server::{
        Fault,
        access::{Directory, People},
        random,
    },
};

/// What stands for the hash of a user that there is not, so that asking for it takes as long: nobody knows a password
/// for it.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5IGlzIGhlcmU$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Everybody.
#[derive(Debug, Default)]
pub(super) struct Book(pub(super) People);

impl Directory for Book {
    fn people(&self) -> &People {
        &self.0
    }

    fn people_mut(&mut self) -> &mut People {
        &mut self.0
    }

    fn hash(&mut self, secret: &str) -> std::result::Result<String, Fault> {
        hash(secret).map_err(Fault::from)
    }

    fn is_password(&self, user: &str, password: &str) -> bool {
        is_hash_of(self.0.users.get(user).and_then(|user| user.password.as_deref()), password)
    }

    fn secret(&mut self) -> std::result::Result<String, Fault> {
        Ok(new_secret()?)
    }
}

/// Argon2id in its usual spelling.
pub(super) fn hash(secret: &str) -> Result<String> {
    let unhashed =
        |error: argon2::password_hash::Error| Error::new(Class::Failed, format!("a secret cannot be hashed: {error}"));
    let salt = SaltString::encode_b64(&random_bytes::<16>()?).map_err(unhashed)?;
    Ok(Argon2::default().hash_password(secret.as_bytes(), &salt).map_err(unhashed)?.to_string())
}

/// Whether a hash is that of a secret; where there is none it takes as long to say no.
pub(super) fn is_hash_of(hash: Option<&str>, secret: &str) -> bool {
    let parsed = PasswordHash::new(hash.unwrap_or(NOBODY));
    let fits = parsed.is_ok_and(|parsed| Argon2::default().verify_password(secret.as_bytes(), &parsed).is_ok());
    fits && hash.is_some()
}

/// Random bytes.
pub(super) fn random_bytes<const N: usize>() -> Result<[u8; N]> {
    random::bytes().ok_or_else(|| Error::new(Class::Failed, "this machine has no random numbers"))
}

/// A secret that nobody has had before.
pub(super) fn new_secret() -> Result<String> {
    Ok(random::uuid(&random::hex(&random_bytes::<16>()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_has_the_password_of_nobody() {
        assert!(PasswordHash::new(NOBODY).is_ok(), "it has to take its time");
        assert!(!is_hash_of(None, "nobody is here") && !is_hash_of(Some("nonsense"), "nonsense"));
        let kept = hash("correct horse").unwrap();
        assert!(kept.starts_with("$argon2id$") && is_hash_of(Some(&kept), "correct horse"));
        assert!(!is_hash_of(Some(&kept), "correct horsf"));
        assert_ne!(kept, hash("correct horse").unwrap());
    }
}
