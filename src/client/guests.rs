//! Single guests: status, configuration, snapshots.

use serde_json::{Map, Value};

use super::{Client, path::segments};
use crate::model::{
    Call, ConfigView, Error, GuestConfig, GuestKind, GuestRef, GuestStatus, Method, Params, Pending, Result, Snapshot,
    Timeframe,
    config::{LxcConfig, QemuConfig},
};

impl Client {
    /// A guest's status at this moment, in the server's own keys.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn guest_status(&self, guest: &GuestRef) -> Result<Map<String, Value>> {
        self.read(&about(guest, &["status", "current"])).await
    }

    /// The same with the fields that are known read: see [`GuestStatus`].
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn current_status(&self, guest: &GuestRef) -> Result<GuestStatus> {
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

    /// A VM's configuration, with every key typed.
    ///
    /// # Errors
    /// As [`Client::send`]; [`Class::Usage`](crate::model::Class::Usage) for a container.
    pub async fn qemu_config(&self, guest: &GuestRef, view: ConfigView) -> Result<QemuConfig> {
        expect(guest, GuestKind::Qemu)?;
        self.guest_config(guest, view).await.map(QemuConfig::from)
    }

    /// A container's configuration, with every key typed.
    ///
    /// # Errors
    /// As [`Client::send`]; [`Class::Usage`](crate::model::Class::Usage) for a VM.
    pub async fn lxc_config(&self, guest: &GuestRef, view: ConfigView) -> Result<LxcConfig> {
        expect(guest, GuestKind::Lxc)?;
        self.guest_config(guest, view).await.map(LxcConfig::from)
    }

    /// A guest's configuration as a snapshot kept it.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn snapshot_config(&self, guest: &GuestRef, snapshot: &str) -> Result<GuestConfig> {
        self.read(&about(guest, &["snapshot", snapshot, "config"])).await
    }

    /// A guest's configuration with the changes that wait for its next start.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn guest_pending(&self, guest: &GuestRef) -> Result<Vec<Pending>> {
        self.read(&about(guest, &["pending"])).await
    }

    /// The figures that the server kept of a guest, averages, the oldest first: rows in the server's own keys.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn guest_history(&self, guest: &GuestRef, frame: Timeframe) -> Result<Vec<Map<String, Value>>> {
        let params = Params::new().with("timeframe", frame.as_str()).with("cf", "AVERAGE");
        self.read(&about(guest, &["rrddata"]).with_params(params)).await
    }

    /// A guest's snapshots, with the server's entry for "now" among them.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn snapshots(&self, guest: &GuestRef) -> Result<Vec<Snapshot>> {
        self.read(&about(guest, &["snapshot"])).await
    }
}

fn expect(guest: &GuestRef, kind: GuestKind) -> Result<()> {
    if guest.kind == kind { Ok(()) } else { Err(Error::usage(format!("{guest} is no {kind}"))) }
}

fn about(guest: &GuestRef, what: &[&str]) -> Call {
    let vmid = guest.vmid.to_string();
    let base = ["nodes", guest.node.as_str(), guest.kind.api(), vmid.as_str()];
    Call::new(Method::Get, segments(&[&base, what].concat()))
}
