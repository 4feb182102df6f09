//! The table of keys that have no flag of their own name, because that is a flag of ours or should not be one.
//!
//! A test builds all flags and fails on a collision that is not named here, and on an entry that names none.

use super::Verb;
use crate::model::GuestKind;

/// What stands in the way of a key's own flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Instead {
    /// Our flag of that name means the key.
    Same,
    /// Our flag of that name means something else; the key goes through `--set`.
    Set,
    /// Another flag means the key.
    Flag(&'static str),
    /// The name is both a key and a family of numbered keys; the key wins, and the family's members are named whole.
    Key,
    /// Our flag has the name of a family of numbered keys and means something else; its members are named whole.
    Numbered,
}

/// A key whose name means something else.
pub(super) struct Override {
    pub(super) key: &'static str,
    pub(super) kinds: &'static [GuestKind],
    pub(super) verbs: &'static [Verb],
    pub(super) instead: Instead,
    /// What the flag means, or why there is none.
    pub(super) why: &'static str,
}

const ALL: &[GuestKind] = &GuestKind::ALL;
const VM: &[GuestKind] = &[GuestKind::Qemu];
const BOTH: &[Verb] = &[Verb::Create, Verb::Update];
const CREATE: &[Verb] = &[Verb::Create];
const UPDATE: &[Verb] = &[Verb::Update];

const fn entry(
    key: &'static str,
    kinds: &'static [GuestKind],
    verbs: &'static [Verb],
    instead: Instead,
    why: &'static str,
) -> Override {
    Override { key, kinds, verbs, instead, why }
}

/// Every such key.
pub(super) const OVERRIDES: &[Override] = &[
    entry("node", ALL, CREATE, Instead::Same, "the node it is made on"),
    entry("vmid", ALL, CREATE, Instead::Same, "its number"),
    entry("pool", ALL, CREATE, Instead::Same, "the pool it goes into"),
    entry("storage", ALL, CREATE, Instead::Same, "where disks go that name no storage"),
    entry("start", ALL, CREATE, Instead::Set, "--start is a step of its own"),
    entry("template", ALL, BOTH, Instead::Set, "--template is what it is made from"),
    entry("force", ALL, CREATE, Instead::Flag("overwrite"), "--force stops running guests elsewhere"),
    entry("force", VM, UPDATE, Instead::Set, "--force stops running guests elsewhere"),
    entry("delete", ALL, UPDATE, Instead::Flag("unset"), "delete is a verb that takes guests away"),
    entry("numa", VM, BOTH, Instead::Key, "whether there is NUMA; nodes of it are --numa0, --numa1, …"),
    entry("parallel", VM, BOTH, Instead::Numbered, "how many guests at a time; ports are --parallel0, --parallel1, …"),
];

/// The entry of a key.
pub(super) fn of(key: &str, kind: GuestKind, verb: Verb) -> Option<&'static Override> {
    OVERRIDES.iter().find(|entry| entry.key == key && entry.kinds.contains(&kind) && entry.verbs.contains(&verb))
}

/// Whether a key has a flag of its own name that is made from the contract.
pub(super) fn has_flag(key: &str, kind: GuestKind, verb: Verb) -> bool {
    of(key, kind, verb).is_none_or(|entry| entry.instead == Instead::Key)
}

/// What to say to somebody who typed the flag of a key that has none, in a command such as `pvectl vm create`.
pub(crate) fn instead_of(flag: &str, command: &str) -> Option<String> {
    let is_typed = |word: &str| command.split(' ').any(|typed| typed == word);
    let here = |entry: &&Override| {
        entry.key == flag
            && entry.kinds.iter().any(|kind| is_typed(kind.noun()))
            && entry.verbs.iter().any(|verb| is_typed(verb.name()))
    };
    let entry = OVERRIDES.iter().find(here)?;
    match entry.instead {
        Instead::Set => Some(format!("Proxmox VE's `{flag}` is --set {flag}=VALUE here: {}", entry.why)),
        Instead::Flag(other) => Some(format!("Proxmox VE's `{flag}` is --{other} here: {}", entry.why)),
        Instead::Same | Instead::Key | Instead::Numbered => None,
    }
}
