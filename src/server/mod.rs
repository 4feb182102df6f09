//! A kit that serves the Proxmox VE API: routes, checks, credentials and shapes; what is behind it is a [`Service`].
//!
//! It behaves as a real server's HTTP side does, down to status lines and the places where connections close. It keeps
//! no guests, storages or users itself.

pub mod access;
mod auth;
mod beside;
mod call;
mod exchange;
mod faults;
mod guard;
mod kit;
mod listen;
mod login;
mod permit;
mod prepared;
pub(crate) mod random;
mod request;
mod response;
pub mod roles;
mod seats;
mod service;
mod ticket;
mod tls;
mod upload;
mod websocket;

pub use auth::{Certified, Means, Recognised};
pub use beside::{Beside, Way};
pub use faults::{FaultRule, FaultRuleError, FaultScript, Faults, Strike};
pub use guard::Limits;
pub use kit::{Kit, Logged, OnRequest, Options};
pub use listen::listen;
pub use prepared::Prepared;
pub use service::{Fault, Identity, Reply, Request, Service};
pub use tls::Tls;
#[cfg(any(feature = "sandbox", feature = "serve"))]
pub(crate) use tls::fingerprint;
pub use upload::Upload;
pub use websocket::{Heard, Peer};

#[cfg(test)]
mod tests;
