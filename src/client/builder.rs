//! How a [`Client`] is made: where to, as whom, whom to believe, how long to wait.

use std::{sync::Arc, time::Duration};

use super::{
    Client, ClientCertificate, Endpoint, Inner, Trust,
    auth::{Auth, Session, TicketStore},
    away::Known,
    transport::{Options, Transport},
};
use crate::{
    contract::Contract,
    model::{Error, Result},
};

/// Collects what a [`Client`] needs.
#[derive(Clone)]
#[must_use]
pub struct ClientBuilder {
    endpoints: Vec<Endpoint>,
    auth: Auth,
    store: Option<Arc<dyn TicketStore>>,
    options: Options,
    contract: Option<Arc<Contract>>,
}

impl ClientBuilder {
    pub(super) fn new() -> Self {
        let options = Options {
            trust: Trust::System,
            certificate: None,
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(60),
            user_agent: concat!("pvectl/", env!("CARGO_PKG_VERSION")).to_owned(),
        };
        Self { endpoints: Vec::new(), auth: Auth::None, store: None, options, contract: None }
    }

    /// Adds an endpoint. With several, the next one is tried when one cannot be reached, and the one that answered is
    /// remembered. They must belong to one cluster.
    pub fn endpoint(mut self, endpoint: Endpoint) -> Self {
        self.endpoints.push(endpoint);
        self
    }

    /// As whom; [`Auth::None`] unless told otherwise.
    pub fn auth(mut self, auth: Auth) -> Self {
        self.auth = auth;
        self
    }

    /// Who vouches for certificates; the system's roots unless told otherwise. A fingerprint on an endpoint overrides
    /// it there.
    pub fn trust(mut self, trust: Trust) -> Self {
        self.options.trust = trust;
        self
    }

    /// The certificate that is shown to servers that ask for one, on every connection. That it is also who one is, and no
    /// token or password is needed, says [`Auth::Certificate`].
    pub fn client_certificate(mut self, certificate: ClientCertificate) -> Self {
        self.options.certificate = Some(certificate);
        self
    }

    /// Keeps tickets beyond this client's life. Without it they live in memory.
    pub fn ticket_store(mut self, store: Arc<dyn TicketStore>) -> Self {
        self.store = Some(store);
        self
    }

    /// How long to wait for a connection, 10 s unless told otherwise, and never more than a third of
    /// [`request_timeout`](Self::request_timeout).
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.options.connect_timeout = timeout;
        self
    }

    /// How long a call may take with all its attempts, 60 s unless told otherwise. A login that it needs first has as
    /// much again. The server itself gives up on a node after 30 s.
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.options.request_timeout = timeout;
        self
    }

    /// The `User-Agent`; `pvectl/` and the version unless told otherwise.
    pub fn user_agent(mut self, user_agent: impl Into<String>) -> Self {
        self.options.user_agent = user_agent.into();
        self
    }

    /// The description that [`Client::call`] checks against, such as the server's own; that of PVE 9.2 unless told
    /// otherwise.
    pub fn contract(mut self, contract: Arc<Contract>) -> Self {
        self.contract = Some(contract);
        self
    }

    /// Makes the client. Nothing is opened, read or sent before the first call.
    ///
    /// # Errors
    /// [`Class::Usage`](crate::model::Class::Usage) when there is no endpoint, one that cannot be used, or when the
    /// user or token has no proper form.
    pub fn build(self) -> Result<Client> {
        let Some(first) = self.endpoints.first() else {
            return Err(Error::usage("no endpoint is given"));
        };
        self.endpoints.iter().try_for_each(Endpoint::check)?;
        let user = self.auth.user().to_owned();
        let session = Session::new(self.auth, self.store, &first.to_string())?;
        let transport = Transport::new(self.endpoints, self.options);
        Ok(Client(Arc::new(Inner { transport, session, user, contract: self.contract, nodes: Known::default() })))
    }
}
