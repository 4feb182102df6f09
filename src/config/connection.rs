//! Whom to talk to, as who, and where each of these came from: the answer of [`resolve()`](super::resolve()).
//!
//! Plain values; `cli` makes a client of them.

use std::{fmt, fs, path::PathBuf};

use secrecy::SecretString;

use super::{Endpoint, Login, Stored, store};
use crate::model::{Error, Hint, Result};

/// Where a value came from; the earlier one wins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A flag, by its name with hyphens.
    Flag(String),
    /// An environment variable.
    Env(&'static str),
    /// A context, by its name.
    Context(String),
    /// The configuration file, outside of any context.
    File,
    /// Nobody said anything.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => write!(f, "flag {flag}"),
            Self::Env(name) => write!(f, "env {name}"),
            Self::Context(name) => write!(f, "context {name}"),
            Self::File => f.write_str("config file"),
            Self::Default => f.write_str("default"),
        }
    }
}

/// A value and where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sourced<T> {
    /// The value.
    pub value: T,
    /// Where it came from.
    pub origin: Origin,
}

impl<T> Sourced<T> {
    /// Pairs the two.
    pub fn new(value: T, origin: Origin) -> Self {
        Self { value, origin }
    }
}

/// Whom to talk to.
#[derive(Debug, Clone)]
pub enum Connection {
    /// The simulated cluster.
    Sandbox {
        /// Nobody asked for it: it is merely what there is without any configuration, and every command says so.
        implicit: bool,
    },
    /// This host, under Cloud Hypervisor.
    Local,
    /// A Proxmox VE server.
    Proxmox(Box<Proxmox>),
}

/// Who to be, without the secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// `root@pam`.
    User(String),
    /// `ci@pve!deploy`.
    Token(String),
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::User(text) | Self::Token(text)) = self;
        f.write_str(text)
    }
}

/// Where the secret is; [`fetch`](Self::fetch) goes and gets it.
#[derive(Debug, Clone)]
pub enum SecretSource {
    /// The variable PVECTL_TOKEN.
    Variable(SecretString),
    /// A token file.
    File(PathBuf),
    /// The credentials file.
    Stored(Stored),
    /// A command line for `sh -c`.
    Command(String),
    /// Nowhere, and none is needed: the client certificate is the login.
    Certificate,
    /// Nowhere: a person has to be asked, or there is a ticket from the last time.
    Ask,
}

impl fmt::Display for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Variable(_) => f.write_str("a token"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Stored(_) => f.write_str("credentials file"),
            Self::Command(_) => f.write_str("credential-command"),
            Self::Certificate => f.write_str("client certificate"),
            Self::Ask => f.write_str("asked for"),
        }
    }
}

/// A Proxmox VE server and everything needed to talk to it.
#[derive(Debug, Clone)]
pub struct Proxmox {
    /// The context, if there is one.
    pub context: Option<Sourced<String>>,
    /// The servers, tried in order; never empty.
    pub endpoints: Sourced<Vec<Endpoint>>,
    /// Where the endpoints' fingerprints came from, if they have any.
    pub fingerprints: Option<Origin>,
    /// PEM file of the authority that signed the certificates.
    pub ca_file: Option<Sourced<PathBuf>>,
    /// PEM file of the certificate that is shown to the servers.
    pub client_certificate: Option<Sourced<PathBuf>>,
    /// PEM file of its key, where that is another file.
    pub client_key: Option<Sourced<PathBuf>>,
    /// Who the context says to be. A whole token from the environment goes before it, and a password's user is left out
    /// then.
    pub identity: Option<Sourced<Identity>>,
    /// Where the secret is.
    pub secret: Sourced<SecretSource>,
    /// The node that new guests go to.
    pub node: Option<Sourced<String>>,
}

impl Proxmox {
    /// Gets the login, reading files or running the command; `None` means that a person has to be asked.
    ///
    /// # Errors
    /// As [`SecretSource::fetch`].
    pub fn login(&self) -> Result<Option<Login>> {
        self.secret.value.fetch(self.identity.as_ref().map(|identity| &identity.value))
    }

    /// Reads the authority's certificate, as PEM.
    ///
    /// # Errors
    /// [`Class::Usage`](crate::model::Class::Usage) when the file cannot be read or holds no certificate.
    pub fn ca_pem(&self) -> Result<Option<String>> {
        let Some(Sourced { value: path, origin }) = &self.ca_file else { return Ok(None) };
        let bad = |why: &dyn fmt::Display| {
            Error::usage(format!("the CA file `{}` ({origin}) cannot be used: {why}", path.display()))
        };
        let pem = fs::read_to_string(path).map_err(|error| bad(&error).with_source(error))?;
        if pem.contains("-----BEGIN CERTIFICATE-----") {
            return Ok(Some(pem));
        }
        let hint = "a node's own authority is in /etc/pve/pve-root-ca.pem".to_owned();
        Err(bad(&"it holds no PEM certificate").with_hint(Hint::Text(hint)))
    }

    /// Reads the client certificate and its key, both as PEM.
    ///
    /// # Errors
    /// [`Class::Usage`](crate::model::Class::Usage) when a file cannot be read, or when others may read that of the key.
    pub fn client_certificate(&self) -> Result<Option<(String, SecretString)>> {
        let Some(certificate) = &self.client_certificate else { return Ok(None) };
        let key = self.client_key.as_ref().unwrap_or(certificate);
        let read = |what: &str, Sourced { value: path, origin }: &Sourced<PathBuf>| {
            fs::read_to_string(path).map_err(|error| {
                let place = path.display();
                Error::usage(format!("the {what} `{place}` ({origin}) cannot be read: {error}")).with_source(error)
            })
        };
        let pem = read("client certificate", certificate)?;
        if let Some(mode) = store::mode(&key.value).filter(|mode| mode & 0o077 != 0) {
            let path = key.value.display();
            let text = format!("`{path}` holds a key and is open to others (mode {mode:04o}), so it is not used");
            let hint = format!("run `chmod 600 {path}`, and get another certificate if others use this machine");
            return Err(Error::usage(text).with_hint(Hint::Text(hint)));
        }
        Ok(Some((pem, read("client key", key)?.into())))
    }
}
