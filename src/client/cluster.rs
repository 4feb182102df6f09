//! The cluster as a whole: its version, its guests, free VMIDs.

use serde::{Deserialize, Serialize};

use super::Client;
use crate::model::{Call, Class, Guest, Method, Params, Result, Vmid};

/// The server's version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// `9.2.11`.
    pub version: String,
    /// `9.2`.
    pub release: String,
    /// The commit it was built from.
    #[serde(default)]
    pub repoid: String,
}

impl Client {
    /// The version of the endpoint that answers.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn version(&self) -> Result<Version> {
        self.read(&Call::new(Method::Get, "/version")).await
    }

    /// All guests that the caller may see. A guest that was changed a moment ago may still have its old status here.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn guests(&self) -> Result<Vec<Guest>> {
        self.read(&Call::new(Method::Get, "/cluster/resources").with_params(Params::new().with("type", "vm"))).await
    }

    /// A VMID that is free now. It is not reserved: only a successful create makes it yours.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn next_vmid(&self) -> Result<Vmid> {
        self.read(&Call::new(Method::Get, "/cluster/nextid")).await
    }

    /// Whether nobody has this VMID now, also where the caller may not see who has it.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn vmid_is_free(&self, vmid: Vmid) -> Result<bool> {
        let params = Params::new().with("vmid", vmid);
        match self.read::<Vmid>(&Call::new(Method::Get, "/cluster/nextid").with_params(params)).await {
            Ok(_) => Ok(true),
            Err(error) if error.class() == Class::Conflict => Ok(false),
            Err(error) => Err(error),
        }
    }
}
