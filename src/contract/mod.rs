//! The Proxmox VE API description: every path, its parameters with types and limits, and who may call it.
//!
//! It says whether a call is well formed, in the server's own words; it does not know the state of any server, and it
//! sends nothing. The data lies compressed in the executable and is unpacked when it is first asked for.

mod apidoc;
mod arguments;
mod check;
mod differences;
mod endpoint;
mod example;
mod explain;
mod formats;
mod index;
mod indexed;
mod pattern;
mod permissions;
mod route;
mod schema;
mod words;

use std::collections::BTreeMap;

pub use apidoc::{APIDOC_PATH, NoDescription};
pub use arguments::Arguments;
pub use differences::{Change, MethodDifference, ParameterDifference};
pub use endpoint::{Endpoint, Parameters};
pub use explain::{Explained, ExplainedKey, ExplainedMethod, SetBy};
pub use index::{Contract, Found, embedded};
pub use indexed::last_index;
pub use permissions::{Check, Permissions};
pub use route::{Route, plain_path};
pub use schema::{Format, Keys, Kind, Schema};

use crate::model::Call;

/// The release of Proxmox VE whose API the embedded description is of.
pub const RELEASE: &str = "9.2";

/// What the contract has against a call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Breach {
    /// There is no such path, or it has no such method.
    #[error("Method '{0}' not implemented")]
    NoSuchMethod(String),
    /// Parameters are wrong: name and the server's words.
    #[error("Parameter verification failed: {0:?}")]
    Parameters(BTreeMap<String, String>),
}

/// Finds the method of a call and checks its parameters: what a server would say before it looks at any state.
///
/// # Errors
/// What is wrong with the call.
pub fn check_call(call: &Call) -> Result<&'static Endpoint, Breach> {
    let path = call.path.split('?').next().unwrap_or_default();
    let found = embedded()
        .find(call.method, path)
        .ok_or_else(|| Breach::NoSuchMethod(format!("{} {}", call.method, call.path)))?;
    let mut params = found.path_params;
    params.extend(call.params.iter());
    found.endpoint.check(&params).map_err(Breach::Parameters)?;
    Ok(found.endpoint)
}

#[cfg(test)]
#[path = "../../examples/pack_contract.rs"]
#[allow(dead_code, unreachable_pub)]
mod pack;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod walk;
