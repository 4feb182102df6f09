//! A typed client of one virtual machine's Cloud Hypervisor process, over its socket.
//!
//! It says what the process says. Which machine that is, whether the process is the right one and what is to be done is
//! decided by the backend.

pub mod config;
