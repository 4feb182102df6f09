//! `vm`: virtual machines.

use crate::{
    cli::{
        base::{guest_headings, guest_verbs},
        verb::{Kind, Of},
    },
    model::GuestKind,
};

pub(super) const KIND: Kind = Kind {
    noun: "vm",
    plural: "vms",
    aliases: &["qemu"],
    about: "Virtual machines",
    guest: Some(GuestKind::Qemu),
    paths: &["/cluster/resources", "/nodes/{node}/qemu", "/nodes/{node}/qemu/{vmid}"],
    of: Of::Backends,
    columns: guest_headings,
    verbs: || guest_verbs(GuestKind::Qemu),
};
