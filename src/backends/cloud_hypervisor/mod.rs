//! Virtual machines on this host, each in a Cloud Hypervisor process that outlives the command which started it.
//!
//! Rooms for the backend to stand on; the backend itself comes when they do.

mod backend;
pub mod disk;
#[doc(hidden)]
pub mod failpoint;
pub mod host;
pub mod mapping;
mod process_id;
pub mod state;
pub mod vmm;

pub use backend::{Attached, HostNetwork, Local, NetworkKind, NetworkRequest, Options, Orphan, OrphanKind};
pub use process_id::{ProcessId, Stat, boot_id};
