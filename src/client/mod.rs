//! The Proxmox VE API over HTTP: authentication, trust, retries, failover, the envelope, errors.
//!
//! It sends calls and reads answers. What a verb means, how a task is followed and what is asked of a person is
//! elsewhere.

mod access;
mod auth;
mod builder;
mod cluster;
mod description;
mod endpoint;
mod guests;
mod nodes;
pub mod path;
mod request;
mod response;
mod storage;
mod tasks;
#[cfg(test)]
mod tests;
mod transport;

use std::{fmt, sync::Arc};

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::Value;

pub use self::{
    access::{Permissions, Propagates},
    auth::{Auth, SecondFactor, SecretString, StoredTicket, TicketStore},
    builder::ClientBuilder,
    cluster::Version,
    endpoint::{Endpoint, Fingerprint, Trust},
    tasks::{TaskFilter, TaskList},
    transport::tls::presented_fingerprint,
};
use self::{
    auth::Session,
    request::Request,
    response::{Answer, Envelope},
    transport::Transport,
};
use crate::model::{Call, Class, Error, Result, Sent, Submitted};

/// A connection to a cluster. Cheap to clone; clones share connections and tickets.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    transport: Transport,
    session: Session,
    user: String,
}

/// An answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    /// What was asked for; `null` where there is nothing to say.
    pub data: Value,
    /// How many rows there are altogether, where the answer is a page.
    pub total: Option<u64>,
    /// The server's clock when it answered, to the second.
    pub server_time: Option<Timestamp>,
}

impl Client {
    /// Begins a client.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::new()
    }

    /// Who calls: `user@realm` or `user@realm!token`; empty for nobody.
    pub fn user(&self) -> &str {
        &self.0.user
    }

    /// The endpoints in the order they were given.
    pub fn endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        self.0.transport.endpoints()
    }

    /// Makes a call and gives the answer as it came.
    ///
    /// # Errors
    /// What the server refused, by the table of [`crate::model::classify`]; [`Class::Unreachable`] when there was no
    /// good answer, with [`Error::sent`] telling whether the call may have been processed.
    pub async fn call(&self, call: &Call) -> Result<Reply> {
        let (envelope, answer) = self.exchange(call).await?;
        Ok(Reply { data: envelope.data, total: envelope.total, server_time: answer.server_time() })
    }

    /// Makes a call and reads the answer straight into a type, without a [`Value`] in between.
    ///
    /// # Errors
    /// As [`call`](Self::call), and [`Class::Failed`] when the answer has another form.
    pub async fn read<T: DeserializeOwned>(&self, call: &Call) -> Result<T> {
        Ok(self.page(call).await?.0)
    }

    /// Makes a change. Some are done at once, others start a task, some may do either.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub async fn submit(&self, call: &Call) -> Result<Submitted> {
        submitted(self.call(call).await?.data)
    }

    /// As [`read`](Self::read), with the number of all rows where the answer is a page.
    async fn page<T: DeserializeOwned>(&self, call: &Call) -> Result<(T, Option<u64>)> {
        let (envelope, _) = self.exchange(call).await?;
        Ok((envelope.data, envelope.total))
    }

    /// Sends a call as whoever we are. A refused ticket is replaced once; a 401 means that nothing was processed.
    async fn exchange<T: DeserializeOwned>(&self, call: &Call) -> Result<(Envelope<T>, Answer)> {
        let Inner { transport, session, .. } = &*self.0;
        let request = Request::new(call)?;
        let credentials = session.credentials(transport).await?;
        match transport.send(&request, &credentials, Answer::read).await {
            Err(error) if error.status() == Some(401) => match session.instead_of(&credentials, transport).await? {
                Some(others) => transport.send(&request, &others, Answer::read).await,
                None => Err(error),
            },
            other => other,
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.endpoints().map(ToString::to_string)).finish()
    }
}

/// Tells a task from a result: a UPID alone, or in an object as the methods of bulk work have it.
fn submitted(data: Value) -> Result<Submitted> {
    let named = match &data {
        Value::String(text) => Some(text.as_str()),
        Value::Object(map) => map.get("upid").and_then(Value::as_str),
        _ => None,
    };
    match named.filter(|text| text.starts_with("UPID:")) {
        None => Ok(Submitted::Done(data)),
        Some(text) => text.parse().map(Submitted::Task).map_err(|error| {
            Error::new(Class::Failed, "the server started a task under a name that cannot be read")
                .with_source(error)
                .with_sent(Sent::Maybe)
        }),
    }
}
