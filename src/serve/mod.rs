//! A backend served over the API of Proxmox VE: what is on this host, managed by whatever manages a Proxmox node.
//!
//! It says what a node says, with the kit's checks before it. It decides nothing about guests: that is the backend's; and
//! it speaks no HTTP: that is the kit's.

mod access;
mod authority;
mod book;
mod change;
mod exec;
mod heartbeat;
mod life;
mod look;
mod metrics;
mod node;
#[cfg(unix)]
mod notify;
mod plain;
mod plans;
mod record;
mod route;
mod scope;
#[cfg(test)]
mod tests;
mod view;

use std::{collections::BTreeSet, fmt, sync::Arc};

use async_trait::async_trait;
use jiff::Timestamp;

pub use access::{Access, ClientCertificate, Enrollment, Invitation, Issued};
pub use authority::Authority;
pub use exec::AllowList;
pub use heartbeat::{Heart, report};
pub use life::Life;
pub use metrics::{Metrics, serve_metrics};
#[cfg(unix)]
pub use notify::Notify;
pub use plain::{Desk, Look, Table, openapi};
pub use plans::carry_out;
pub use view::{OLDEST, Picture, View};

use record::Ends;

use crate::{
    backends::Backend,
    model::{Error, NodeName, NullRecorder, Recorder, Result},
    server::{Certified, Fault, Identity, Reply, Request, Service, access as people},
    tasks::Follower,
};

/// A backend with one node, and who may do what there.
pub struct Host {
    backend: Arc<dyn Backend>,
    view: Arc<View>,
    follower: Follower,
    node: NodeName,
    access: Arc<Access>,
    recorder: Arc<dyn Recorder>,
    metrics: Arc<Metrics>,
    ends: Ends,
}

impl Host {
    /// Serves this backend as a node of this name.
    ///
    /// # Errors
    /// When its guests cannot be kept in sight.
    pub fn new<B: Backend + 'static>(backend: Arc<B>, node: NodeName, access: Arc<Access>) -> Result<Self> {
        Ok(Self {
            view: Arc::new(View::new(backend.clone(), node.clone())?),
            follower: Follower::new(backend.clone()),
            ends: Ends::default(),
            backend,
            node,
            access,
            recorder: Arc::new(NullRecorder),
            metrics: Arc::default(),
        })
    }

    /// The same with a record of every change.
    #[must_use]
    pub fn with_recorder(self, recorder: Arc<dyn Recorder>) -> Self {
        Self { recorder, ..self }
    }

    /// What it knows of its guests.
    pub fn view(&self) -> Arc<View> {
        Arc::clone(&self.view)
    }

    /// Waits for the tasks that are at work here, and until their ends are on record.
    pub async fn leave(&self) {
        self.backend.leave().await;
        self.ends.all().await;
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").field("node", &self.node).finish_non_exhaustive()
    }
}

#[async_trait]
impl Service for Host {
    fn local_node(&self) -> NodeName {
        self.node.clone()
    }

    fn has_node(&self, node: &str) -> bool {
        self.node.as_str() == node
    }

    async fn check_password(&self, user: &str, password: &str) -> Option<Vec<&'static str>> {
        let (user, password) = (user.to_owned(), password.to_owned());
        self.slowly(move |access| access.is_password(&user, &password)).await.then(Vec::new)
    }

    async fn check_second_factor(&self, _: &str, _: &str) -> bool {
        false
    }

    fn knows_token(&self, user: &str, token: &str, secret: &str) -> bool {
        self.access.knows(&format!("{user}!{token}"), secret)
    }

    async fn check_token(&self, user: &str, token: &str, secret: &str) -> bool {
        let (id, secret) = (format!("{user}!{token}"), secret.to_owned());
        self.slowly(move |access| access.check(&id, &secret)).await
    }

    fn is_active(&self, user: &str) -> bool {
        self.access.is_active(user)
    }

    fn certified(&self, fingerprint: &str, now: Timestamp) -> std::result::Result<Certified, String> {
        self.access.certified(fingerprint, now)
    }

    fn privileges(&self, who: &Identity, path: &str) -> BTreeSet<String> {
        self.access.privileges(&who.authid(), path)
    }

    fn groups_of(&self, user: &str) -> Vec<String> {
        self.access.groups_of(user)
    }

    fn acl_paths(&self) -> Vec<String> {
        self.access.paths()
    }

    fn health(&self) -> Option<Result<String, String>> {
        Some(self.view.health())
    }

    async fn handle(&self, request: &Request) -> std::result::Result<Reply, Fault> {
        if let Some(handler) = people::route(request.method, request.template) {
            return self.people(handler, request).await;
        }
        match route::find(request) {
            Some(route) => route(self, request).await,
            None => self.change(request).await,
        }
    }
}

/// In the shape in which a node tells its own.
impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::die(error.to_string())
    }
}
