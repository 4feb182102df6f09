//! The files that a context or the environment names beside a secret: whom to trust, and what to show.
//!
//! Reads none of them.

use std::path::PathBuf;

use super::{Endpoint, Env, File, Input, Origin, Sourced, from};
use crate::model::{Error, Result};

const CLIENT_VARIABLES: [&str; 2] = ["PVECTL_CLIENT_CERTIFICATE", "PVECTL_CLIENT_KEY"];

impl Input<'_> {
    pub(super) fn ca_file(&self, endpoints: &[Endpoint]) -> Option<Sourced<PathBuf>> {
        const NAME: &str = "PVECTL_CA_FILE";
        if let Some(path) = self.env.path(NAME) {
            return Some(Sourced::new(path, Origin::Env(NAME)));
        }
        let lends = || match endpoints {
            [endpoint] => self.known(endpoint).map(|(context, _)| context),
            _ => None,
        };
        let context = self.context.or_else(lends)?;
        let path = beside(context.ca_file.as_deref()?, self.env, self.file)?;
        Some(Sourced::new(path, from(context)))
    }

    /// The files of the client certificate and of its key. A key goes with the certificate beside which it is named.
    pub(super) fn client_certificate(&self) -> Result<[Option<Sourced<PathBuf>>; 2]> {
        let [certificate, key] = CLIENT_VARIABLES;
        let variable = |name| self.env.path(name).map(|path| Sourced::new(path, Origin::Env(name)));
        match (variable(certificate), variable(key)) {
            (None, Some(_)) => return Err(Error::usage(format!("{key} is set, but {certificate} is not"))),
            (None, None) => {}
            (certificate, key) => return Ok([certificate, key]),
        }
        let Some(context) = self.context else { return Ok([None, None]) };
        let path = |written: &Option<String>| {
            Some(Sourced::new(beside(written.as_deref()?, self.env, self.file)?, from(context)))
        };
        Ok([path(&context.client_certificate), path(&context.client_key)])
    }
}

/// A path as a context writes it: absolute, from the home directory, or beside the configuration file.
pub(super) fn beside(written: &str, env: &Env, file: Option<&File>) -> Option<PathBuf> {
    match (written.strip_prefix("~/"), env.path("HOME")) {
        (Some(rest), Some(home)) => Some(home.join(rest)),
        _ => Some(file?.path().parent()?.join(written)),
    }
}
