//! A kit that serves the Proxmox VE API: routes, checks, credentials and shapes; what is behind it is a [`Service`].

mod service;

pub use service::{Fault, Identity, Reply, Request, Service};
