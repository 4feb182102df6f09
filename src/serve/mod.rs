//! A backend served over the API of Proxmox VE: what is on this host, managed by whatever manages a Proxmox node.
//!
//! It says what a node says, with the kit's checks before it. It decides nothing about guests: that is the backend's; and
//! it speaks no HTTP: that is the kit's.

mod access;
mod change;
mod life;
mod look;
#[cfg(unix)]
mod notify;
mod route;
mod token;
mod view;

use std::{collections::BTreeSet, fmt, sync::Arc};

use async_trait::async_trait;

pub use access::{Access, Grant, Issued};
pub use life::Life;
#[cfg(unix)]
pub use notify::Notify;
pub use view::{OLDEST, Picture, View};

use crate::{
    backends::Backend,
    model::{Error, NodeName, Result},
    server::{Fault, Identity, Reply, Request, Service},
    tasks::Follower,
};

/// A backend with one node, and who may do what there.
pub struct Host {
    backend: Arc<dyn Backend>,
    view: Arc<View>,
    follower: Follower,
    node: NodeName,
    access: Arc<Access>,
}

impl Host {
    /// Serves this backend as a node of this name.
    ///
    /// # Errors
    /// When its guests cannot be kept in sight.
    pub fn new<B: Backend + 'static>(backend: Arc<B>, node: NodeName, access: Arc<Access>) -> Result<Self> {
        let view = Arc::new(View::new(backend.clone(), node.clone())?);
        Ok(Self { follower: Follower::new(backend.clone()), backend, view, node, access })
    }

    /// What it knows of its guests.
    pub fn view(&self) -> Arc<View> {
        Arc::clone(&self.view)
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

    fn health(&self) -> Option<Result<String, String>> {
        Some(self.view.health())
    }

    async fn handle(&self, request: &Request) -> std::result::Result<Reply, Fault> {
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
