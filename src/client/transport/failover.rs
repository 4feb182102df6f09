//! The endpoints with their connections, and which of them was good last.
//!
//! When to go on to another is decided in [`super::retry`].

use std::sync::{
    OnceLock,
    atomic::{AtomicUsize, Ordering},
};

use reqwest::header::{ACCEPT_ENCODING, HeaderValue};

use super::{Options, tls};
use crate::model::{Class, Error, Result};

/// The server closes an idle connection after 5 s. One that we leave alone earlier is never written to at the moment
/// it is being closed, which matters for changes: they could not be sent again.
const IDLE: std::time::Duration = std::time::Duration::from_secs(4);

/// One endpoint and the connections to it.
pub(super) struct Wire {
    pub(super) endpoint: super::Endpoint,
    http: OnceLock<reqwest::Client>,
}

impl Wire {
    /// The HTTP client, made on first use: reading the roots costs more than all the rest of a start.
    pub(super) fn http(&self, options: &Options) -> Result<&reqwest::Client> {
        if let Some(http) = self.http.get() {
            return Ok(http);
        }
        let config = tls::config(&self.endpoint, &options.trust, options.certificate.as_ref(), None)?;
        let mut builder = reqwest::Client::builder()
            .tls_backend_preconfigured(config)
            .connect_timeout(options.connect_timeout)
            .pool_idle_timeout(IDLE)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .user_agent(&options.user_agent);
        if self.endpoint.is_local() {
            builder = builder.no_proxy();
            // Nothing is gained by packing what goes nowhere. Behind TLS it may be a tunnel.
            if !self.endpoint.is_https() {
                let unpacked = HeaderValue::from_static("identity");
                builder = builder.default_headers([(ACCEPT_ENCODING, unpacked)].into_iter().collect());
            }
        }
        let http = builder
            .build()
            .map_err(|error| Error::new(Class::Failed, "cannot prepare an HTTP client").with_source(error))?;
        Ok(self.http.get_or_init(|| http))
    }
}

/// All endpoints of a cluster.
pub(super) struct Wires {
    wires: Vec<Wire>,
    good: AtomicUsize,
}

impl Wires {
    /// There is at least one.
    pub(super) fn new(endpoints: Vec<super::Endpoint>) -> Self {
        let wires = endpoints.into_iter().map(|endpoint| Wire { endpoint, http: OnceLock::new() }).collect();
        Self { wires, good: AtomicUsize::new(0) }
    }

    pub(super) fn len(&self) -> usize {
        self.wires.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Wire> {
        self.wires.iter()
    }

    pub(super) fn get(&self, at: usize) -> &Wire {
        &self.wires[at]
    }

    /// The one to begin with.
    pub(super) fn good(&self) -> usize {
        self.good.load(Ordering::Relaxed)
    }

    /// Notes one that answered.
    pub(super) fn remember(&self, at: usize) {
        self.good.store(at, Ordering::Relaxed);
    }
}
