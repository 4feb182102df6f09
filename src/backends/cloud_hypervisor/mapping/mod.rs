//! From Proxmox's configuration keys to the VMM's, and what of a change is live.
