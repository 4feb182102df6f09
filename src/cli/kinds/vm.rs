//! `vm`: virtual machines.

use crate::{
    cli::{base::guest_verbs, verb::Kind},
    model::GuestKind,
};

pub(super) const KIND: Kind = Kind {
    noun: "vm",
    plural: "vms",
    aliases: &["qemu"],
    about: "Virtual machines",
    guest: Some(GuestKind::Qemu),
    verbs: || guest_verbs(GuestKind::Qemu),
};
