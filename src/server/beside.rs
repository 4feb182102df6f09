//! What is served beside the API of Proxmox VE: paths of one's own, behind which are the same calls with the same checks.
//!
//! What is there and how it is spelt is not the kit's: it hands requests over and makes calls for those who answer them.

use std::borrow::Cow;

use async_trait::async_trait;
use axum::{
    body::Body,
    http::{self, HeaderMap, HeaderName, HeaderValue, Response, request::Parts},
};

use super::{Fault, Identity, Kit, Recognised, Reply, Request, auth, call, listen::Connection, random};
use crate::model::{Call, Method};

/// What a request is called: told with it by whoever sends it, or made up, and told with its answer.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// How long a name may be that somebody else gives to a request.
const LONGEST_ID: usize = 64;

/// Another face of what is served.
#[async_trait]
pub trait Beside: Send + Sync + 'static {
    /// Whether a path is one of its own.
    fn has(&self, path: &str) -> bool;

    /// Answers a request of this name. What takes its time goes on when whoever asked has gone.
    async fn answer(&self, kit: &Kit, request: axum::extract::Request, id: &str) -> Response<Body>;
}

/// The connection that a request came by, for those who answer it.
#[derive(Clone, Default)]
pub struct Way(Option<Connection>);

impl std::fmt::Debug for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Way")
    }
}

impl Kit {
    /// Who is asking: by a token as `Bearer`, or by what the API of Proxmox VE takes.
    ///
    /// # Errors
    /// Why nobody was recognised.
    pub async fn recognise(&self, parts: &Parts) -> Result<Recognised, Cow<'static, str>> {
        let connection = parts.extensions.get::<Connection>();
        let read = matches!(parts.method, http::Method::GET | http::Method::HEAD);
        let method = if read { Method::Get } else { Method::Post };
        auth::recognise_beside(self, method, &parts.headers, connection).await
    }

    /// The connection that a request came by.
    pub fn way(&self, parts: &Parts) -> Way {
        Way(parts.extensions.get::<Connection>().cloned())
    }

    /// Looks at an attempt at a secret, as at a password: who fails often has to wait, by source and by the name of what
    /// was tried, and then `check` is not asked.
    pub async fn attempt<T>(&self, way: &Way, name: &str, check: impl Future<Output = Option<T>>) -> Option<T> {
        let source = way.0.as_ref().and_then(Connection::source);
        self.guard().attempt(source, name, || self.now(), check, |_| true).await
    }

    /// From now on it is no longer the other side that one waits for, as long as this is there.
    pub fn answering(&self, parts: &Parts) -> impl Send + use<> {
        parts.extensions.get::<Connection>().map(Connection::answering)
    }

    /// Makes a call of the API for somebody who is known: permissions and parameters are checked as over the wire.
    ///
    /// # Errors
    /// As over the wire.
    pub async fn call(&self, who: &Identity, call: Call, id: &str) -> Result<Reply, Fault> {
        call::inside(self, who, call, id).await
    }

    /// The request that such a call is, once permissions and parameters are checked, for whoever does it in another way.
    /// Nothing is done by this.
    ///
    /// # Errors
    /// What the call itself would be refused with before it reaches the service.
    pub fn checked(&self, who: &Identity, call: Call, id: &str) -> Result<Request, Fault> {
        call::checked_inside(self, who, call, id)
    }
}

/// What a request is called: the name that it brings, if that can stand in a log, or a random one.
pub(super) fn request_id(headers: &HeaderMap) -> String {
    let given = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok());
    let is_plain = |id: &&str| {
        (1..=LONGEST_ID).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(&b))
    };
    given.filter(is_plain).map_or_else(made_up, str::to_owned)
}

fn made_up() -> String {
    // Without random numbers it is a poor name, and no more than that.
    random::hex(&random::bytes::<16>().unwrap_or_default())
}

/// Tells with an answer what its request is called.
pub(super) fn named(mut response: Response<Body>, id: &str) -> Response<Body> {
    if let Ok(id) = HeaderValue::from_str(id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}
