//! `container`: LXC containers.

use crate::{
    cli::{
        base::{guest_headings, guest_verbs},
        verb::{Kind, Of},
    },
    model::GuestKind,
};

pub(super) const KIND: Kind = Kind {
    noun: "container",
    plural: "containers",
    aliases: &["ct", "cts", "lxc"],
    about: "Containers",
    guest: Some(GuestKind::Lxc),
    paths: &["/cluster/resources", "/nodes/{node}/lxc", "/nodes/{node}/lxc/{vmid}"],
    of: Of::Backends,
    columns: guest_headings,
    verbs: || guest_verbs(GuestKind::Lxc),
};
