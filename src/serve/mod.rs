//! A backend served over the API of Proxmox VE: what is on this host, managed by whatever manages a Proxmox node.
//!
//! It says what a node says, with the kit's checks before it. It decides nothing about guests: that is the backend's; and
//! it speaks no HTTP: that is the kit's.

mod access;
mod change;
mod exec;
mod heartbeat;
mod look;
mod metrics;
mod plain;
mod plans;
mod record;
mod route;
mod token;

use std::{collections::BTreeSet, fmt, sync::Arc};

use async_trait::async_trait;

pub use access::{Access, Grant, Issued};
pub use exec::AllowList;
pub use heartbeat::{Heart, report};
pub use metrics::{Metrics, serve_metrics};
pub use plain::{Desk, Table, openapi};
pub use plans::carry_out;

use record::Ends;

use crate::{
    backends::Backend,
    model::{Error, NodeName, NullRecorder, Recorder},
    server::{Fault, Identity, Reply, Request, Service},
    tasks::Follower,
};

/// A backend with one node, and who may do what there.
pub struct Host {
    backend: Arc<dyn Backend>,
    follower: Follower,
    node: NodeName,
    access: Arc<Access>,
    recorder: Arc<dyn Recorder>,
    metrics: Arc<Metrics>,
    ends: Ends,
}

impl Host {
    /// Serves this backend as a node of this name.
    pub fn new<B: Backend + 'static>(backend: Arc<B>, node: NodeName, access: Arc<Access>) -> Self {
        Self {
            follower: Follower::new(backend.clone()),
            ends: Ends::new(Follower::new(backend.clone())),
            backend,
            node,
            access,
            recorder: Arc::new(NullRecorder),
            metrics: Arc::default(),
        }
    }

    /// The same with a record of every change.
    #[must_use]
    pub fn with_recorder(self, recorder: Arc<dyn Recorder>) -> Self {
        Self { recorder, ..self }
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

    /// There are no passwords here: nobody who can be asked would have chosen one.
    fn check_password(&self, _: &str, _: &str) -> Option<Vec<&'static str>> {
        None
    }

    fn check_second_factor(&self, _: &str, _: &str) -> bool {
        false
    }

    fn check_token(&self, user: &str, token: &str, secret: &str) -> bool {
        self.access.check(&format!("{user}!{token}"), secret)
    }

    fn privileges(&self, who: &Identity, _: &str) -> BTreeSet<String> {
        self.access.privileges(&who.authid())
    }

    async fn handle(&self, request: &Request) -> Result<Reply, Fault> {
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
