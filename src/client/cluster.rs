//! The cluster as a whole: its version, its resources, its members, its pools, free VMIDs.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Client;
use crate::model::{
    Away, Call, Class, ClusterMember, ClusterResource, Error, Guest, Method, Params, Pool, ResourceKind, Result,
    Survey, Vmid, tolerant,
};

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
    /// Everything else the server says.
    #[serde(flatten, serialize_with = "tolerant::in_order")]
    pub other: Map<String, Value>,
}

/// Whether the answer came, and its form is not what was expected.
fn is_odd(error: &Error) -> bool {
    error.class() == Class::Failed && error.status().is_none()
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
        let call = Call::new(Method::Get, "/cluster/resources").with_params(Params::new().with("type", "vm"));
        match self.read(&call).await {
            Err(error) if is_odd(&error) => Ok(self.one_by_one(&call, error).await?.guests),
            other => other,
        }
    }

    /// The same, and which nodes the cluster has lost: one request where two would be two connections.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn survey(&self) -> Result<(Vec<Guest>, Away)> {
        let call = Call::new(Method::Get, "/cluster/resources");
        let Survey { guests, nodes } = match self.read(&call).await {
            Err(error) if is_odd(&error) => self.one_by_one(&call, error).await?,
            other => other?,
        };
        Ok((guests, nodes.into_iter().collect()))
    }

    /// The rows of a list that can be read, where one has an odd form, which must not hide all others.
    async fn one_by_one(&self, call: &Call, error: Error) -> Result<Survey> {
        tracing::debug!(target: "pvectl::http", %error, "rows of the list of guests are left out");
        let rows: Vec<ClusterResource> = self.read(call).await.map_err(|_| error)?;
        Ok(rows.into_iter().collect())
    }

    /// All resources that the caller may see, or those of one kind. For guests alone [`guests`](Self::guests) is faster.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn resources(&self, kind: Option<ResourceKind>) -> Result<Vec<ClusterResource>> {
        let params = Params::new().with_some("type", kind.map(ResourceKind::api));
        self.read(&Call::new(Method::Get, "/cluster/resources").with_params(params)).await
    }

    /// The cluster, if there is one, and its nodes: who is there, and whether they have a majority.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn cluster_status(&self) -> Result<Vec<ClusterMember>> {
        self.read(&Call::new(Method::Get, "/cluster/status")).await
    }

    /// All pools that the caller may see, without their members.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn pools(&self) -> Result<Vec<Pool>> {
        self.read(&Call::new(Method::Get, "/pools")).await
    }

    /// A pool with its members.
    ///
    /// # Errors
    /// As [`Client::send`]; [`Class::NotFound`] if there is none of this name.
    pub async fn pool(&self, name: &str) -> Result<Pool> {
        let call = Call::new(Method::Get, "/pools").with_params(Params::new().with("poolid", name));
        let found = self.read::<Vec<Pool>>(&call).await?.into_iter().find(|pool| pool.poolid == name);
        found.ok_or_else(|| Error::not_found(format!("no such pool: {name}")))
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
