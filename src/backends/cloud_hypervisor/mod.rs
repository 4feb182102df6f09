//! Virtual machines on this host, each in a Cloud Hypervisor process that outlives the command which started it.
//!
//! Rooms for the backend to stand on; the backend itself comes when they do.

mod backend;
pub mod disk;
pub mod host;
pub mod mapping;
pub mod state;
pub mod vmm;

pub use backend::{Local, Options, Orphan, OrphanKind};
