//! Single guests: status, configuration, snapshots.

use serde_json::{Map, Value};

use super::{Client, path::segments};
use crate::model::{Call, ConfigView, GuestConfig, GuestRef, Method, Params, Pending, Result, Snapshot};

impl Client {
    /// A guest's status at this moment, in the server's own keys.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn guest_status(&self, guest: &GuestRef) -> Result<Map<String, Value>> {
        self.read(&about(guest, &["status", "current"])).await
    }

    /// A guest's configuration.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn guest_config(&self, guest: &GuestRef, view: ConfigView) -> Result<GuestConfig> {
        let params = Params::new().with_flag("current", view == ConfigView::Current);
        self.read(&about(guest, &["config"]).with_params(params)).await
    }

    /// A guest's configuration with the changes that wait for its next start.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn guest_pending(&self, guest: &GuestRef) -> Result<Vec<Pending>> {
        self.read(&about(guest, &["pending"])).await
    }

    /// A guest's snapshots, with the server's entry for "now" among them.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn snapshots(&self, guest: &GuestRef) -> Result<Vec<Snapshot>> {
        self.read(&about(guest, &["snapshot"])).await
    }
}

fn about(guest: &GuestRef, what: &[&str]) -> Call {
    let vmid = guest.vmid.to_string();
    let base = ["nodes", guest.node.as_str(), guest.kind.api(), vmid.as_str()];
    Call::new(Method::Get, segments(&[&base, what].concat()))
}
