//! A typed client of one virtual machine's Cloud Hypervisor process, over its socket.
//!
//! It says what the process says. Which machine that is, whether the process is the right one and what is to be done is
//! decided by the backend.

mod client;
pub mod config;
mod error;
pub mod events;
mod exchange;
mod request;
pub mod serial;
mod verb;

pub use client::{BODY_LIMIT, PATH_LIMIT, Vmm};
pub use error::{Error, Result, Why};
pub use request::{
    Counters, DeviceNode, Info, PciDevice, Ping, ReceiveMigration, Resize, Restore, RestoreMode, SendMigration,
    file_url,
};
pub use verb::{Needs, State, Verb};
