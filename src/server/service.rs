//! What stands behind the served API: the trait the sandbox and the local host implement.
//!
//! The kit has checked method, path, parameters, credentials and the contract's permissions before it calls
//! [`Service::handle`]; what depends on the state of the world is the service's to check.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::Value;

use super::{Certified, Peer, Prepared, Upload};
use crate::model::{List, Method, NodeName, Params};

/// Who is asking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// `user@realm`.
    pub user: String,
    /// The token's name, when it is asked by an API token.
    pub token: Option<String>,
}

impl Identity {
    /// `user@realm` or `user@realm!token`: as it stands in UPIDs.
    pub fn authid(&self) -> String {
        match &self.token {
            Some(token) => format!("{}!{token}", self.user),
            None => self.user.clone(),
        }
    }
}

/// A checked request.
#[derive(Debug, Clone)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The contract's path template: `/nodes/{node}/qemu/{vmid}/config`.
    pub template: &'static str,
    /// Parameters of path, query and body together, decoded and checked against the contract.
    pub params: Params,
    /// Who is asking; `None` on the few paths that need nobody.
    pub identity: Option<Identity>,
    /// The file that came with it.
    pub upload: Option<Upload>,
    /// How the task has to end that this begins, for tests: see [`FaultRule`](super::FaultRule).
    pub task_ends: Option<String>,
    /// What it is called in answers, logs and the journal.
    pub id: String,
}

/// A good answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    /// What goes into `data`.
    pub data: Value,
    /// What goes into `total`, for lists that are cut.
    pub total: Option<u64>,
    /// What goes into `changes`: what does not hold yet.
    pub changes: Option<String>,
    /// Instead of all that: an answer that was put into bytes before.
    pub prepared: Option<Arc<Prepared>>,
}

impl Request {
    /// Who asks, `user@realm` or `user@realm!token`; empty for nobody.
    pub fn authid(&self) -> String {
        self.identity.as_ref().map(Identity::authid).unwrap_or_default()
    }

    /// A parameter that has to be there.
    ///
    /// # Errors
    /// 400, naming it.
    pub fn need(&self, key: &str) -> Result<&str, Fault> {
        self.params.get(key).ok_or_else(|| Fault::parameter(key, "property is missing and it is not optional"))
    }

    /// The members of a parameter that is a list; none where it is not given.
    pub fn list<'r>(&'r self, key: &str) -> impl Iterator<Item = &'r str> + use<'r> {
        List::members(self.params.get(key).unwrap_or_default())
    }

    /// Whether a switch is on.
    pub fn flag(&self, key: &str) -> bool {
        self.params.get(key) == Some("1")
    }

    /// A parameter that is a number.
    pub fn number(&self, key: &str) -> Option<i64> {
        self.params.get(key)?.parse().ok()
    }
}

impl Reply {
    /// An answer of this data.
    pub fn data(data: impl Into<Value>) -> Self {
        Self { data: data.into(), total: None, changes: None, prepared: None }
    }

    /// One that was prepared.
    pub fn prepared(answer: Arc<Prepared>) -> Self {
        Self { prepared: Some(answer), ..Self::null() }
    }

    /// What it says, prepared or not.
    pub fn value(&self) -> &Value {
        self.prepared.as_ref().map_or(&self.data, |prepared| prepared.value())
    }

    /// `data: null`.
    pub fn null() -> Self {
        Self::data(Value::Null)
    }
}

/// A bad answer: the status, the message (reason phrase and body), and what is wrong with single parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The HTTP status.
    pub status: u16,
    /// The server's words, without the line end that the wire form adds.
    pub message: String,
    /// Per parameter.
    pub errors: BTreeMap<String, String>,
}

impl Fault {
    /// What every `die` on a real server becomes.
    pub fn die(message: impl Into<String>) -> Self {
        Self { status: 500, message: message.into(), errors: BTreeMap::new() }
    }

    /// `Parameter verification failed.` about one parameter.
    pub fn parameter(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self::parameters(BTreeMap::from([(name.into(), text.into())]))
    }

    /// `Parameter verification failed.` about several.
    pub fn parameters(errors: BTreeMap<String, String>) -> Self {
        Self { status: 400, message: "Parameter verification failed.".into(), errors }
    }

    /// `Permission check failed`, where a server names neither path nor privilege.
    pub fn denied() -> Self {
        Self { status: 403, ..Self::die("Permission check failed") }
    }

    /// `Permission check failed (/vms/100, VM.Audit)`.
    pub fn forbidden(path: &str, privilege: &str) -> Self {
        Self { status: 403, message: format!("Permission check failed ({path}, {privilege})"), errors: BTreeMap::new() }
    }
}

/// What answers the checked requests.
#[async_trait]
pub trait Service: Send + Sync + 'static {
    /// The node that the kit pretends to be.
    fn local_node(&self) -> NodeName;

    /// Whether there is such a node.
    fn has_node(&self, node: &str) -> bool;

    /// Whether a node that there is can be asked.
    fn reaches_node(&self, _node: &str) -> bool {
        true
    }

    /// Whether user and password belong together; `Some(kinds)` of second factors that are wanted too (`["totp"]`),
    /// empty for none, `None` for a wrong password.
    async fn check_password(&self, user: &str, password: &str) -> Option<Vec<&'static str>>;

    /// Whether this answer to a second factor (`totp:123456`) is right.
    async fn check_second_factor(&self, user: &str, answer: &str) -> bool;

    /// Whether a token holds and is known to have this secret, where that can be told at once.
    fn knows_token(&self, _user: &str, _token: &str, _secret: &str) -> bool {
        false
    }

    /// Whether the token exists, is not expired, and has this secret.
    async fn check_token(&self, user: &str, token: &str, secret: &str) -> bool;

    /// Whether there still is such a user, who may log in: asked with every ticket, so that nobody outlives himself.
    fn is_active(&self, _user: &str) -> bool {
        true
    }

    /// Whose a client certificate is, by its SHA-256 as [`Tls::fingerprint`](super::Tls::fingerprint), if it holds at this time:
    /// asked with every request, so that what is taken away is gone at once.
    ///
    /// # Errors
    /// Why it is not taken.
    fn certified(&self, _fingerprint: &str, _now: Timestamp) -> Result<Certified, String> {
        Err("client certificates are not taken here".to_owned())
    }

    /// The privileges somebody has on a path, propagation and privilege separation applied.
    fn privileges(&self, who: &Identity, path: &str) -> BTreeSet<String>;

    /// The groups a user is in; who may manage a group may manage its users.
    fn groups_of(&self, _user: &str) -> Vec<String> {
        Vec::new()
    }

    /// The paths that have an entry in the access control list, beside the well-known roots: what a login's `cap` is
    /// put together from.
    fn acl_paths(&self) -> Vec<String> {
        Vec::new()
    }

    /// What is told at `/healthz` to whoever asks, without knowing him: that it is well, or why not. `None` where nobody
    /// is told anything there, as on a real server.
    fn health(&self) -> Option<Result<String, String>> {
        None
    }

    /// Answers a request.
    ///
    /// # Errors
    /// The fault goes to the caller as a real server would send it.
    async fn handle(&self, request: &Request) -> Result<Reply, Fault>;

    /// Who answers on a websocket, once [`handle`](Self::handle) has allowed it.
    ///
    /// # Errors
    /// As there.
    fn websocket(&self, request: &Request) -> Result<Box<dyn Peer>, Fault> {
        let message = format!("Method '{} {}' not implemented", request.method, request.template);
        Err(Fault { status: 501, ..Fault::die(message) })
    }
}
