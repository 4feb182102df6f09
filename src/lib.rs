//! Virtual machines and containers on Proxmox VE, from Rust.

#[cfg(feature = "journal")]
pub mod journal;
pub mod model;
#[cfg(feature = "server")]
pub mod server;
pub mod tasks;

pub use model::{Error, Result};
