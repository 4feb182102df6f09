//! The real executable against the sandbox, over a socket, in an environment of its own: one file per area.
//!
//! Nothing here looks into the library's insides; what a room does by itself is tested in the room.

mod containers;
mod contexts;
mod docs;
mod harness;
mod input;
mod vms;
