//! Virtual machines and containers on Proxmox VE, from Rust.

pub mod backends;
#[cfg(feature = "cli")]
pub mod cli;
pub mod client;
#[cfg(feature = "cli")]
pub mod config;
pub mod contract;
#[cfg(feature = "journal")]
pub mod journal;
#[cfg(feature = "cli")]
pub mod manifest;
pub mod model;
pub mod ops;
#[cfg(feature = "sandbox")]
pub mod sandbox;
#[cfg(feature = "server")]
pub mod server;
pub mod tasks;

pub use model::{Error, Result};
