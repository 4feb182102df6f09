//! Virtual machines and containers on Proxmox VE, from Rust.

pub mod backends;
pub mod client;
#[cfg(feature = "cli")]
pub mod config;
pub mod contract;
#[cfg(feature = "cli")]
pub mod manifest;
pub mod model;
pub mod ops;
#[cfg(feature = "server")]
pub mod server;
pub mod tasks;

pub use model::{Error, Result};
