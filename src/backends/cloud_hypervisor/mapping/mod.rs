//! From Proxmox's configuration keys to the VMM's configuration, to a cloud-init seed, and what of a change is live.
//!
//! Pure: no file is read, no process asked. What only the host knows comes in as [`Facts`]; what cannot be had is refused
//! before anything happens, with the key, the reason and the way out.

mod build;
mod capabilities;
mod changes;
mod check;
mod disks;
mod facts;
mod keys;
mod live;
mod memory;
mod nets;
mod possible;
mod rate;
mod seed;
#[cfg(test)]
mod tests;
mod warnings;

pub use build::{BODY_LIMIT, Mapped, check_size, host_devices, map};
pub use capabilities::{CAPABILITIES, Feature, UNSUPPORTED, require};
pub use changes::{Changes, Waiting, changes};
pub use disks::is_seed;
pub use facts::{Facts, SeedFacts, Tap, Volume, Vsock};
pub use keys::{
    Apply, CMDLINE, IMAGE, INITRD, KERNEL, KEYS, Key, LANDLOCK, OWN, PATCH, SERIAL_LOG, Way, key, note, noted,
};
pub use live::{Live, LiveCall};
pub use nets::{check_net, trunks};
pub use possible::possible;
pub use seed::{Seed, hash_password, seed};
