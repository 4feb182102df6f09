//! The table of configuration keys: under which subject each stands in help, and what it is in a line.
//!
//! Which keys there are, their types and limits are the contract's business; a test holds the table against it.

mod devices;
mod machine;
mod making;

use super::Verb;
use crate::model::GuestKind;

/// A key of the contract, by its declared name: `memory`, `net[n]`.
pub(super) struct Key {
    pub(super) name: &'static str,
    /// What stands for its value; empty: what its type says.
    pub(super) value: &'static str,
    pub(super) help: &'static str,
    /// Another name of its flag; mostly there is none.
    pub(super) alias: &'static str,
    kinds: &'static [GuestKind],
    /// Whether short help (`-h`) has it.
    pub(super) common: bool,
}

impl Key {
    const fn common(self) -> Self {
        Self { common: true, ..self }
    }

    const fn called(self, alias: &'static str) -> Self {
        Self { alias, ..self }
    }

    const fn value(self, value: &'static str) -> Self {
        Self { value, ..self }
    }

    /// Whether a kind of guest has it by this entry.
    pub(super) fn is_of(&self, kind: GuestKind) -> bool {
        self.kinds.contains(&kind)
    }
}

/// A key of both kinds.
const fn both(name: &'static str, help: &'static str) -> Key {
    Key { name, value: "", help, alias: "", kinds: &GuestKind::ALL, common: false }
}

/// A key of VMs, or what it is for them.
const fn vm(name: &'static str, help: &'static str) -> Key {
    Key { kinds: &[GuestKind::Qemu], ..both(name, help) }
}

/// A key of containers, or what it is for them.
const fn ct(name: &'static str, help: &'static str) -> Key {
    Key { kinds: &[GuestKind::Lxc], ..both(name, help) }
}

/// The keys of a subject, in the order of help. The first of each kind is one that every verb of the subject has.
pub(super) struct Group {
    pub(super) heading: &'static str,
    pub(super) verbs: &'static [Verb],
    pub(super) keys: &'static [Key],
}

const fn group(heading: &'static str, keys: &'static [Key]) -> Group {
    Group { heading, verbs: &[Verb::Create, Verb::Update], keys }
}

/// Every subject, in the order of help.
pub(super) const GROUPS: &[Group] = &[
    group("Identity", machine::IDENTITY),
    group("Processor and memory", machine::PROCESSOR),
    group("Disks", devices::DISKS),
    group("Network", devices::NETWORK),
    group("Cloud-init", making::CLOUD_INIT),
    group("Container", making::CONTAINER),
    group("Boot and start", machine::BOOT),
    group("Devices", devices::DEVICES),
    group("Display", devices::DISPLAY),
    group("Behaviour", machine::BEHAVIOUR),
    Group { heading: "While it is made", verbs: &[Verb::Create], keys: making::CREATION },
    Group { heading: "The change itself", verbs: &[Verb::Update], keys: making::CHANGE },
];

/// The subjects that a kind and a verb have, with their keys.
pub(super) fn groups(kind: GuestKind, verb: Verb) -> impl Iterator<Item = (&'static str, Vec<&'static Key>)> {
    let keys = move |group: &'static Group| group.keys.iter().filter(|key| key.is_of(kind)).collect::<Vec<_>>();
    let groups = GROUPS.iter().filter(move |group| group.verbs.contains(&verb));
    groups.map(move |group| (group.heading, keys(group))).filter(|(_, keys)| !keys.is_empty())
}
