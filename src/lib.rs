//! Virtual machines and containers on Proxmox VE, from Rust.

pub mod model;
#[cfg(feature = "sandbox")]
pub mod sandbox;
#[cfg(feature = "server")]
pub mod server;
pub mod tasks;

pub use model::{Error, Result};
