//! Secrets: the credentials file, token files and the output of a credential command, and how they become a login.
//!
//! Nothing here shows a secret: not in an error, not in `Debug`. Asking a person is not done here.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::{Identity, SecretSource, store, yaml};
use crate::model::{Class, Error, Hint, Result};

/// Who to be on the server, secret included.
#[derive(Debug, Clone)]
pub enum Login {
    /// An API token.
    Token {
        /// `ci@pve!deploy`.
        id: String,
        /// Its secret, a UUID.
        secret: SecretString,
    },
    /// A password, for a ticket.
    Password {
        /// `root@pam`.
        user: String,
        /// The password.
        password: SecretString,
    },
    /// The client certificate, which the connection shows.
    Certificate {
        /// `ann@pve`; empty where nobody says.
        user: String,
    },
}

/// The secret stored for one context.
#[derive(Debug, Clone)]
pub enum Stored {
    /// Of the context's `token-id`.
    TokenSecret(SecretString),
    /// Of the context's `user`.
    Password(SecretString),
}

/// `credentials.yaml`, read. Changes stay in memory until [`save`](Self::save).
#[derive(Debug, Clone, Default)]
pub struct Credentials {
    path: PathBuf,
    /// The mode, where others than the owner may use the file.
    wide: Option<u32>,
    contexts: BTreeMap<String, Stored>,
    changed: bool,
}

/// As written in the file.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    #[serde(default)]
    contexts: BTreeMap<String, RawStored>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum RawStored {
    TokenSecret(String),
    Password(String),
}

impl Credentials {
    /// Reads the file; one that is not there is empty.
    ///
    /// # Errors
    /// [`Class::Usage`] with line and column when the file is not as expected.
    pub fn load(path: &Path) -> Result<Self> {
        let wide = store::mode(path).filter(|mode| mode & 0o077 != 0);
        let raw: Raw = match store::read(path)? {
            // The parser's own words may repeat a secret.
            Some(text) => yaml::parse(&text).map_err(|flaw| {
                Error::usage(format!("{}: not as expected", flaw.place(path))).with_hint(Hint::Text(
                    "expected is `contexts:`, below it a context's name, below that `token-secret: …` or `password: …`"
                        .to_owned(),
                ))
            })?,
            None => Raw::default(),
        };
        let stored = |raw| match raw {
            RawStored::TokenSecret(secret) => Stored::TokenSecret(secret.into()),
            RawStored::Password(secret) => Stored::Password(secret.into()),
        };
        let contexts = raw.contexts.into_iter().map(|(name, raw)| (name, stored(raw))).collect();
        Ok(Self { path: path.to_owned(), wide, contexts, changed: false })
    }

    /// What is odd about the file, one sentence each, for stderr.
    pub fn warnings(&self) -> Vec<String> {
        let warning = |mode| {
            let path = self.path.display();
            format!("`{path}` holds secrets and its mode is {mode:04o}; run `chmod 600 {path}`")
        };
        self.wide.map(warning).into_iter().collect()
    }

    /// The secret of a context.
    pub fn get(&self, context: &str) -> Option<&Stored> {
        self.contexts.get(context)
    }

    /// Stores the secret of a context in place of any other.
    ///
    /// # Errors
    /// [`Class::Usage`] when the file is open to others: what it holds may be known, so that comes first.
    pub fn insert(&mut self, context: &str, secret: Stored) -> Result<()> {
        if let Some(mode) = self.wide {
            let path = self.path.display();
            return Err(Error::usage(format!("`{path}` is open to others (mode {mode:04o}), so no secret is stored"))
                .with_hint(Hint::Text(format!(
                    "run `chmod 600 {path}`, and change the secrets in it if others use this machine"
                ))));
        }
        self.contexts.insert(context.to_owned(), secret);
        self.changed = true;
        Ok(())
    }

    /// Forgets the secret of a context.
    pub fn remove(&mut self, context: &str) {
        self.changed |= self.contexts.remove(context).is_some();
    }

    /// Writes the changes with mode 0600, whole or not at all; without changes, nothing.
    ///
    /// # Errors
    /// [`Class::Failed`] when it cannot be written.
    pub fn save(&mut self) -> Result<()> {
        if !self.changed {
            return Ok(());
        }
        let raw = |stored: &Stored| match stored {
            Stored::TokenSecret(secret) => RawStored::TokenSecret(secret.expose_secret().to_owned()),
            Stored::Password(secret) => RawStored::Password(secret.expose_secret().to_owned()),
        };
        let raw = Raw { contexts: self.contexts.iter().map(|(name, stored)| (name.clone(), raw(stored))).collect() };
        store::write(&self.path, &yaml::print(&raw)?, store::PRIVATE)?;
        self.wide = None;
        self.changed = false;
        Ok(())
    }
}

/// Reads an API token: `USER@REALM!NAME=SECRET`, also as the header's `PVEAPIToken=…`, or the secret alone where the
/// token's name is `known` (a name in the text goes before it). `from` says where the text comes from, for the error.
///
/// # Errors
/// [`Class::Usage`], which tells what was expected and never what was there.
pub fn parse_token(text: &str, known: Option<&str>, from: &str) -> Result<Login> {
    let text = text.trim();
    let bad = |why: &str| {
        Error::usage(format!("{from} holds no API token: {why}"))
            .with_hint(Hint::Text("expected is one line, `USER@REALM!NAME=SECRET`, as in `ci@pve!deploy=…`".to_owned()))
    };
    if text.is_empty() {
        return Err(bad("it is empty"));
    }
    if text.contains(char::is_whitespace) {
        return Err(bad("there is more than one word"));
    }
    let token = |id: &str, secret: &str| Login::Token { id: id.to_owned(), secret: secret.into() };
    match text.strip_prefix("PVEAPIToken=").unwrap_or(text).split_once('=') {
        Some((_, "")) => Err(bad("nothing comes after `=`")),
        // A password may have an `=` too, so the left side is repeated only once it is known to be a name.
        Some((id, _)) if check_token_id(id).is_err() => Err(bad("what comes before `=` is no token's name")),
        Some((id, secret)) => Ok(token(id, secret)),
        None if text.contains('!') => Err(bad("`=` and the secret are missing")),
        None => match known {
            Some(id) => Ok(token(id, text)),
            None => Err(bad("the token's name is missing")),
        },
    }
}

/// Checks the form of a token's name, `ci@pve!deploy`.
pub(super) fn check_token_id(id: &str) -> Result<()> {
    let well_formed = id.split_once('!').is_some_and(|(user, name)| {
        let (account, realm) = user.rsplit_once('@').unwrap_or_default();
        let plain =
            |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        !account.is_empty()
            && !account.contains(|c: char| c.is_whitespace() || "=/:".contains(c))
            && plain(realm)
            && plain(name)
    });
    if well_formed {
        return Ok(());
    }
    Err(Error::usage("this is no API token's name")
        .with_hint(Hint::Text("expected is `USER@REALM!NAME`, as in `ci@pve!deploy`".to_owned())))
}

impl SecretSource {
    /// Fetches the secret: reads the file, runs the command. `None` means that a person has to be asked. `identity` is
    /// what the context says; without it, whatever is fetched must be a whole token.
    ///
    /// A command runs as `sh -c COMMAND` with our stdin and stderr, so that it may ask; it should print one line, in a
    /// token file's form or, for a `user`, the password.
    ///
    /// # Errors
    /// [`Class::Usage`] for a file that is not there or of another form, [`Class::Unauthenticated`] when the command
    /// fails.
    pub fn fetch(&self, identity: Option<&Identity>) -> Result<Option<Login>> {
        let known = match identity {
            Some(Identity::Token(id)) => Some(id.as_str()),
            _ => None,
        };
        let login = match self {
            Self::Ask => return Ok(None),
            Self::Certificate => Login::Certificate { user: identity.map(ToString::to_string).unwrap_or_default() },
            Self::Variable(secret) => parse_token(secret.expose_secret(), known, "PVECTL_TOKEN")?,
            Self::File(path) => {
                let from = format!("`{}`", path.display());
                let text: SecretString = fs::read_to_string(path)
                    .map_err(|error| {
                        Error::usage(format!("cannot read the token file {from}: {error}")).with_source(error)
                    })?
                    .into();
                parse_token(text.expose_secret(), known, &from)?
            }
            Self::Command(command) => {
                let text = run(command)?;
                match identity {
                    Some(Identity::User(user)) => Login::Password {
                        user: user.clone(),
                        password: text.expose_secret().trim_end_matches(['\r', '\n']).into(),
                    },
                    _ => parse_token(text.expose_secret(), known, "the output of credential-command")?,
                }
            }
            Self::Stored(stored) => match (stored, identity) {
                (Stored::Password(password), Some(Identity::User(user))) => {
                    Login::Password { user: user.clone(), password: password.clone() }
                }
                (Stored::TokenSecret(secret), _) => {
                    parse_token(secret.expose_secret(), known, "the credentials file's token-secret")?
                }
                (Stored::Password(_), _) => {
                    return Err(Error::usage("a password is stored, but the context names no `user`"));
                }
            },
        };
        Ok(Some(login))
    }
}

fn run(command: &str) -> Result<SecretString> {
    let failed = |why: String| Error::new(Class::Unauthenticated, format!("credential-command {why}"));
    let output = Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::inherit())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| failed(format!("cannot be run: {error}")).with_source(error))?;
    if !output.status.success() {
        return Err(failed(format!("failed: {}", output.status)));
    }
    // The conversion's error would carry the bytes.
    let text: SecretString = String::from_utf8(output.stdout).map_err(|_| failed("printed no text".to_owned()))?.into();
    if text.expose_secret().trim().is_empty() {
        return Err(failed("printed nothing".to_owned()));
    }
    Ok(text)
}

#[cfg(test)]
mod tests;
