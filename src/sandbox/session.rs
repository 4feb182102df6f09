//! The sandbox served in this very process, for as long as a command runs.
//!
//! A command that uses the sandbox talks to it over a loopback socket like to any other server.

use std::{path::Path, sync::Arc};

use secrecy::SecretString;
use tokio::{net::TcpListener, task::JoinHandle};

use super::Sandbox;
use crate::{
    model::{Class, Error, Result, SystemClock},
    server::{Kit, Options, listen},
};

/// A running server. It ends when this is dropped; tasks that were begun go on, for their state is in the file.
#[derive(Debug)]
pub struct Session {
    url: String,
    token_id: String,
    secret: SecretString,
    server: JoinHandle<std::io::Result<()>>,
}

impl Session {
    /// Opens the sandbox of this file, making it if there is none, and serves it on a free port of the loopback
    /// address. Needs a tokio runtime.
    ///
    /// # Errors
    /// When the file cannot be opened or no port be had.
    pub async fn start(path: &Path) -> Result<Self> {
        let sandbox = Sandbox::open(path, Arc::new(SystemClock))?;
        let (token_id, secret) = sandbox.token();
        let no_port = |error| Error::new(Class::Failed, "cannot open a port for the sandbox").with_source(error);
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(no_port)?;
        let url = format!("http://{}", listener.local_addr().map_err(no_port)?);
        let kit = Kit::new(Arc::new(sandbox), Options::in_process());
        let server = tokio::spawn(listen(kit, listener, None, std::future::pending()));
        Ok(Self { url, token_id, secret, server })
    }

    /// Where it serves: `http://127.0.0.1:PORT`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// An API token that may do everything.
    pub fn token_id(&self) -> &str {
        &self.token_id
    }

    /// The token's secret.
    pub fn secret(&self) -> &SecretString {
        &self.secret
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.server.abort();
    }
}
