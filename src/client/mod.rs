//! The Proxmox VE API over HTTP: authentication, trust, retries, failover, the envelope, errors.
//!
//! It sends calls and reads answers. What a verb means, how a task is followed and what is asked of a person is
//! elsewhere.

mod access;
mod auth;
mod away;
mod builder;
mod cluster;
mod description;
mod endpoint;
mod enroll;
mod guests;
mod nodes;
pub mod path;
mod request;
mod response;
mod served;
mod storage;
mod tasks;
#[cfg(test)]
mod tests;
mod transport;
mod way;
mod websocket;

use std::{fmt, sync::Arc};

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::Value;

#[cfg(feature = "enroll")]
pub use self::enroll::NewKey;
pub use self::{
    access::{Permissions, Propagates},
    auth::{Auth, SecondFactor, SecretString, StoredTicket, TicketStore},
    builder::ClientBuilder,
    cluster::Version,
    endpoint::{ClientCertificate, Endpoint, Fingerprint, Trust},
    enroll::{Enrolled, Me, Served},
    tasks::{TaskFilter, TaskList},
    transport::tls::presented_fingerprint,
    way::{Certificate, addresses, connect, handshake},
    websocket::WebSocket,
};
use self::{
    auth::Session,
    request::Request,
    response::{Answer, Envelope},
    transport::Transport,
};
use crate::{
    contract::{Arguments, Contract, embedded},
    model::{Call, Method, Params, Result, Submitted},
};

/// A connection to a cluster. Cheap to clone; clones share connections and tickets.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    transport: Transport,
    session: Session,
    user: String,
    contract: Option<Arc<Contract>>,
    nodes: away::Known,
}

/// An answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    /// What was asked for; `null` where there is nothing to say.
    pub data: Value,
    /// How many rows there are altogether, where the answer is a page.
    pub total: Option<u64>,
    /// What is changed and does not hold yet, as the difference of two files: beside a node's networks.
    pub changes: Option<String>,
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

    /// Calls any method of the API, parameters checked before anything is sent. The path is concrete
    /// (`/nodes/pve1/qemu/100/config`) or a template whose names are taken out of the arguments
    /// (`/nodes/{node}/qemu/{vmid}/config`). The check is against the description of PVE 9.2, unless the builder was
    /// given another; what that does not know goes through [`send`](Self::send).
    ///
    /// ```
    /// # #[cfg(feature = "sandbox")]
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use pvectl::client::{Auth, Client, Endpoint};
    /// use pvectl::{
    ///     contract::Arguments,
    ///     model::{Method, Params},
    /// };
    /// use serde_json::json;
    /// # let directory = tempfile::tempdir()?;
    /// # let cluster = pvectl::sandbox::Session::start(&directory.path().join("sandbox.db")).await?;
    /// # let auth = Auth::Token { id: cluster.token_id().to_owned(), secret: cluster.secret().clone() };
    /// # let client = Client::builder().endpoint(Endpoint::parse(cluster.url())?).auth(auth).build()?;
    ///
    /// // Values as JSON: booleans, lists and property strings become what the server takes.
    /// let change = Arguments::json(json!({
    ///     "onboot": true,
    ///     "tags": ["web", "prod"],
    ///     "net0": {"model": "virtio", "bridge": "vmbr0", "tag": 20},
    /// }))?;
    /// client.call(Method::Put, "/nodes/pve1/qemu/100/config", change).await?;
    ///
    /// // A template takes its names out of the arguments.
    /// let guest = Params::new().with("node", "pve1").with("vmid", 100);
    /// let config = client.call(Method::Get, "/nodes/{node}/qemu/{vmid}/config", guest.clone()).await?;
    /// assert_eq!(config.data["onboot"], 1);
    ///
    /// // What is wrong is said before anything is sent.
    /// let wrong = client.call(Method::Put, "/nodes/{node}/qemu/{vmid}/config", guest.with("memroy", 2048)).await;
    /// assert_eq!(wrong.unwrap_err().message(), "unknown parameter `memroy`");
    /// # Ok(())
    /// # }
    /// # #[cfg(not(feature = "sandbox"))]
    /// # fn main() {}
    /// ```
    ///
    /// # Errors
    /// [`Class::Usage`](crate::model::Class::Usage) for a path, a method or a parameter that is not described so, with what is expected; then
    /// nothing was sent. Otherwise as [`send`](Self::send).
    pub async fn call(&self, method: Method, path: &str, arguments: impl Into<Arguments>) -> Result<Reply> {
        let mut arguments = arguments.into();
        let contract = self.0.contract.as_deref().unwrap_or_else(|| embedded());
        let route = contract.route(method, path, &mut arguments)?;
        let params = route.params(arguments, &Params::new())?;
        self.send(&Call::new(method, path::segments(&route.segments()?)).with_params(params)).await
    }

    /// Makes a call as it is, unchecked, and gives the answer as it came.
    ///
    /// # Errors
    /// What the server refused, by the table of [`crate::model::classify`]; [`Class::Unreachable`](crate::model::Class::Unreachable) when there was no
    /// good answer, with [`Error::sent`](crate::Error::sent) telling whether the call may have been processed.
    pub async fn send(&self, call: &Call) -> Result<Reply> {
        let (envelope, answer) = self.exchange(call).await?;
        let (data, total, changes) = (envelope.data, envelope.total, envelope.changes);
        Ok(Reply { data, total, changes, server_time: answer.server_time() })
    }

    /// How much of the file of the upload that is under way was taken to be sent, in bytes.
    pub fn uploaded(&self) -> u64 {
        self.0.transport.uploaded()
    }

    /// Makes a call and reads the answer straight into a type, without a [`Value`] in between.
    ///
    /// # Errors
    /// As [`send`](Self::send), and [`Class::Failed`](crate::model::Class::Failed) when the answer has another form.
    pub async fn read<T: DeserializeOwned>(&self, call: &Call) -> Result<T> {
        Ok(self.page(call).await?.0)
    }

    /// Makes a change. Some are done at once, others start a task, some may do either.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn submit(&self, call: &Call) -> Result<Submitted> {
        Submitted::from_answer(self.send(call).await?.data)
    }

    /// As [`read`](Self::read), with the number of all rows where the answer is a page.
    async fn page<T: DeserializeOwned>(&self, call: &Call) -> Result<(T, Option<u64>)> {
        let (envelope, _) = self.exchange(call).await?;
        Ok((envelope.data, envelope.total))
    }

    /// Sends a call as whoever we are. If it fails over a node, the error says how that is.
    async fn exchange<T: DeserializeOwned>(&self, call: &Call) -> Result<(Envelope<T>, Answer)> {
        match self.exchanged(call).await {
            Err(error) => Err(self.explained(error).await),
            answered => answered,
        }
    }

    async fn exchanged<T: DeserializeOwned>(&self, call: &Call) -> Result<(Envelope<T>, Answer)> {
        self.answered(&Request::new(call)?, Answer::read).await
    }

    /// A refused ticket is replaced once; a 401 means that nothing was processed.
    async fn answered<T>(&self, request: &Request<'_>, read: transport::Read<T>) -> Result<(T, Answer)> {
        let Inner { transport, session, .. } = &*self.0;
        let credentials = session.credentials(transport).await?;
        match transport.send(request, &credentials, read).await {
            Err(error) if error.status() == Some(401) => match session.instead_of(&credentials, transport).await? {
                Some(others) => transport.send(request, &others, read).await,
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
