//! The configuration file: contexts and which of them is current, read strictly and changed with care for its text.
//!
//! Holds no secrets; those are in [`Credentials`].

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Credentials, Endpoint, Paths, close_names, credentials::check_token_id, edit, store, yaml};
use crate::model::{Class, Error, Hint, Result};

/// Contexts that are always there and cannot be defined.
pub const RESERVED: &[&str] = &["sandbox", "local"];

/// Keys that people try for a secret. Their place is elsewhere, and the message says so.
const SECRET_KEYS: &[&str] = &["password", "token", "token-secret", "secret", "token-value"];

/// What a context talks to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A Proxmox VE cluster or node.
    #[default]
    Proxmox,
}

impl Kind {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// One context: a server, who to be there, and defaults. Keys are written with hyphens, as `token-id`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Context {
    /// Its name: letters, digits, `.`, `_` and `-`.
    pub name: String,
    /// What it talks to.
    #[serde(default, skip_serializing_if = "Kind::is_default")]
    pub kind: Kind,
    /// The servers, tried in order.
    #[serde(default)]
    pub endpoints: Vec<Endpoint>,
    /// PEM file of the authority that signed the certificates: absolute, `~/…`, or relative to this file's directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<String>,
    /// PEM file with the certificate that is shown to servers that ask for one; a path as that of `ca-file`. It is the
    /// login, unless the context has another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_certificate: Option<String>,
    /// PEM file with the certificate's key, readable by its owner only; a path as that of `ca-file`. Without it the key is
    /// in the certificate's file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_key: Option<String>,
    /// For a login with a password, or whom the client certificate is of: `root@pam`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// For an API token: `ci@pve!deploy`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_id: Option<String>,
    /// A command line for `sh -c` that prints the token or the password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential_command: Option<String>,
    /// The node that new guests go to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// As `--timeout`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<String>,
    /// As `--output`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    /// Whether every change is refused.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
    /// A file of rules for changes: absolute, `~/…`, or relative to this file's directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rules_file: Option<String>,
}

impl Context {
    /// What this context says for a global option, by its key in the file.
    pub fn option(&self, key: &str) -> Option<&str> {
        match key {
            "output" => self.output.as_deref(),
            "timeout" => self.timeout.as_deref(),
            _ => None,
        }
    }

    fn check(&self) -> Result<()> {
        let name = &self.name;
        if RESERVED.contains(&name.as_str()) {
            return Err(Error::usage(format!("the name `{name}` is taken by a built-in context")));
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) || !name.chars().all(plain) {
            return Err(Error::usage(format!(
                "`{name}` is no name for a context: letters, digits, `.`, `_` and `-` are"
            )));
        }
        if self.endpoints.is_empty() {
            return Err(Error::usage(format!("context `{name}` has no endpoint")));
        }
        if self.client_key.is_some() && self.client_certificate.is_none() {
            return Err(Error::usage(format!("context `{name}` has `client-key` without `client-certificate`")));
        }
        match (&self.user, &self.token_id) {
            (Some(_), Some(_)) => Err(Error::usage(format!("context `{name}` has both `user` and `token-id`"))),
            (Some(user), None) if !user.contains('@') || user.contains('!') => {
                let hint = Hint::Text("with the realm, as in `root@pam`; API tokens go to `token-id`".to_owned());
                Err(Error::usage(format!("context `{name}`: `{user}` is no user")).with_hint(hint))
            }
            (None, Some(id)) => check_token_id(id).map_err(|error| error.context(format!("context `{name}`"))),
            _ => Ok(()),
        }
    }
}

/// What the file says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Content {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) current_context: Option<String>,
    #[serde(default)]
    pub(super) contexts: Vec<Context>,
}

impl Content {
    fn check(&self) -> Result<()> {
        for (index, context) in self.contexts.iter().enumerate() {
            context.check()?;
            if self.contexts[..index].iter().any(|other| other.name == context.name) {
                return Err(Error::usage(format!("context `{}` is defined twice", context.name)));
            }
        }
        Ok(())
    }
}

/// The configuration file, read. Changes stay in memory until [`save`](Self::save).
#[derive(Debug, Clone)]
pub struct File {
    path: PathBuf,
    /// The text that was read; `None` if there was no file.
    text: Option<String>,
    saved: Content,
    content: Content,
}

impl File {
    /// Reads the file for use; `None` if there is none at the usual place.
    ///
    /// # Errors
    /// [`Class::Usage`] when `PVECTL_CONFIG` names a file that is not there, and for everything that is wrong in a
    /// file, with its line and column.
    pub fn load(paths: &Paths) -> Result<Option<Self>> {
        let file = Self::open(paths)?;
        match (&file.text, paths.named) {
            (Some(_), _) => Ok(Some(file)),
            (None, false) => Ok(None),
            (None, true) => Err(Error::usage(format!(
                "the configuration file `{}` named by PVECTL_CONFIG does not exist",
                paths.config.display()
            ))
            .with_hint(Hint::Text("`pvectl config add-context` makes it; or unset PVECTL_CONFIG".to_owned()))),
        }
    }

    /// Reads the file for a change; one that is not there is empty and made by [`save`](Self::save).
    ///
    /// # Errors
    /// [`Class::Usage`] for everything that is wrong in the file.
    pub fn open(paths: &Paths) -> Result<Self> {
        let path = paths.config.clone();
        let text = store::read(&path)?;
        let content = match &text {
            Some(text) => parse(&path, text)?,
            None => Content::default(),
        };
        Ok(Self { path, text, saved: content.clone(), content })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The current context's name.
    pub fn current(&self) -> Option<&str> {
        self.content.current_context.as_deref()
    }

    /// The contexts, as ordered in the file; the built-in ones are not among them.
    pub fn contexts(&self) -> &[Context] {
        &self.content.contexts
    }

    /// One context.
    ///
    /// # Errors
    /// [`Class::NotFound`] with close names.
    pub fn context(&self, name: &str) -> Result<&Context> {
        self.contexts().iter().find(|context| context.name == name).ok_or_else(|| {
            unknown(name, self.contexts().iter().map(|context| context.name.as_str()))
                .with_hint(Hint::Text(format!("contexts come from `{}`", self.path.display())))
        })
    }

    /// Adds a context, or replaces one when asked to. The first one becomes current. Tells whether it is current now.
    ///
    /// # Errors
    /// [`Class::Conflict`] when the name is taken and `overwrite` is not set; [`Class::Usage`] when the context makes
    /// no sense.
    pub fn add_context(&mut self, context: Context, overwrite: bool) -> Result<bool> {
        context.check()?;
        let contexts = &mut self.content.contexts;
        let name = context.name.clone();
        match contexts.iter_mut().find(|other| other.name == name) {
            Some(_) if !overwrite => {
                return Err(Error::conflict(format!("context `{name}` already exists"))
                    .with_hint(Hint::Text("--overwrite replaces it".to_owned())));
            }
            Some(other) => *other = context,
            None => {
                contexts.push(context);
                if contexts.len() == 1 && self.content.current_context.is_none() {
                    self.content.current_context = Some(name.clone());
                }
            }
        }
        Ok(self.current() == Some(name.as_str()))
    }

    /// Makes a context current; a built-in one may be.
    ///
    /// # Errors
    /// [`Class::NotFound`] with close names.
    pub fn use_context(&mut self, name: &str) -> Result<()> {
        if !RESERVED.contains(&name) {
            self.context(name)?;
        }
        self.content.current_context = Some(name.to_owned());
        Ok(())
    }

    /// Removes a context and its secrets. If it was current, none is afterwards, and that is what is told.
    ///
    /// # Errors
    /// [`Class::NotFound`] with close names; [`Class::Usage`] for a built-in one.
    pub fn remove_context(&mut self, name: &str, credentials: &mut Credentials) -> Result<bool> {
        if RESERVED.contains(&name) {
            return Err(Error::usage(format!("context `{name}` is built in and stays")));
        }
        self.context(name)?;
        self.content.contexts.retain(|context| context.name != name);
        credentials.remove(name);
        let was_current = self.current() == Some(name);
        if was_current {
            self.content.current_context = None;
        }
        Ok(was_current)
    }

    /// Writes the changes, whole or not at all; without changes, nothing. Comments and the order of lines stay wherever
    /// the file's form allows.
    ///
    /// # Errors
    /// [`Class::Conflict`] when somebody else changed the file in between; [`Class::Failed`] when it cannot be written.
    pub fn save(&mut self) -> Result<()> {
        if self.content == self.saved {
            return Ok(());
        }
        if store::read(&self.path)? != self.text {
            return Err(Error::conflict(format!("`{}` was changed in between", self.path.display()))
                .with_hint(Hint::Text("run the command again".to_owned())));
        }
        let text = edit::rewrite(self.text.as_deref().unwrap_or_default(), &self.saved, &self.content)?;
        store::write(&self.path, &text, store::mode(&self.path).unwrap_or(store::PRIVATE))?;
        self.text = Some(text);
        self.saved = self.content.clone();
        Ok(())
    }
}

/// Nobody by that name, but perhaps these.
pub(super) fn unknown<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Error {
    let error = Error::new(Class::NotFound, format!("context `{name}` does not exist"));
    let close = close_names(name, names.chain(RESERVED.iter().copied()));
    error.did_you_mean(close)
}

fn parse(path: &Path, text: &str) -> Result<Content> {
    let content: Content = yaml::parse(text).map_err(|flaw| {
        let secret = flaw.unknown_key.as_ref().is_some_and(|(key, _)| SECRET_KEYS.contains(&key.as_str()));
        let error = flaw.in_file(path);
        if secret {
            let place = path.with_file_name("credentials.yaml");
            error.with_hint(Hint::Text(format!("secrets belong in `{}`, mode 0600", place.display())))
        } else {
            error
        }
    })?;
    content.check().map_err(|error| error.context(format!("`{}`", path.display())))?;
    Ok(content)
}

#[cfg(test)]
mod tests;
