//! Who may do what: `/access`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Client;
use crate::model::{Call, Method, Params, Result, tolerant};

/// The privileges of the caller by path: `/vms/100` → `VM.Audit` → whether it also holds further down.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Permissions(pub BTreeMap<String, BTreeMap<String, Propagates>>);

/// Whether a privilege also holds below its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Propagates(#[serde(deserialize_with = "tolerant::bool::deserialize")] pub bool);

impl Permissions {
    /// Whether this privilege is held on this very path, as the server listed it.
    pub fn has(&self, path: &str, privilege: &str) -> bool {
        self.0.get(path).is_some_and(|privileges| privileges.contains_key(privilege))
    }
}

impl Client {
    /// What the caller may do, on one path or, without one, on all that it has anything on.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn permissions(&self, path: Option<&str>) -> Result<Permissions> {
        let params = Params::new().with_some("path", path);
        self.read(&Call::new(Method::Get, "/access/permissions").with_params(params)).await
    }
}
