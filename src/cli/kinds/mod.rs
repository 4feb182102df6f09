//! The resource kinds: one small file each, one line here.

mod acl;
mod backup;
mod cluster;
mod container;
mod factor;
mod firewall;
mod ha;
mod image;
mod mapping;
mod metric;
mod network;
mod node;
mod operation;
mod people;
mod permission;
mod pool;
mod scheduled;
mod storage;
mod task;
mod token;
mod vm;

use super::verb::Kind;
use crate::model::{Error, Result};
use crate::ops::closest;

/// Every kind.
pub(crate) const KINDS: &[&Kind] = &[
    &vm::KIND,
    &container::KIND,
    &task::KIND,
    &operation::KIND,
    &node::KIND,
    &storage::KIND,
    &backup::KIND,
    &pool::KIND,
    &people::USER,
    &people::GROUP,
    &people::ROLE,
    &people::REALM,
    &token::KIND,
    &acl::KIND,
    &permission::KIND,
    &scheduled::BACKUP_JOB,
    &scheduled::REPLICATION,
    &ha::KIND,
    &mapping::KIND,
    &firewall::KIND,
    &cluster::KIND,
    &metric::KIND,
    &image::KIND,
    &network::KIND,
];

/// The kind that a word means.
///
/// # Errors
/// For a word that means none, with close ones.
pub(crate) fn by_word(word: &str) -> Result<&'static Kind> {
    KINDS.iter().find(|kind| kind.is_called(word)).copied().ok_or_else(|| {
        let known = KINDS.iter().map(|kind| kind.plural).collect::<Vec<_>>().join(", ");
        let error = Error::usage(format!("unknown kind `{word}`, known are {known}"));
        let close = closest(word, KINDS.iter().flat_map(|kind| [kind.noun, kind.plural]).map(str::to_owned));
        error.did_you_mean(close)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_word_means_two_kinds() {
        let mut words = BTreeSet::new();
        for kind in KINDS {
            for word in [kind.noun, kind.plural].iter().chain(kind.aliases) {
                assert!(words.insert(*word), "`{word}` twice");
            }
        }
    }

    #[test]
    fn only_guests_have_guest_verbs() {
        for kind in KINDS {
            assert_eq!(kind.guest.is_some(), kind.verb("start").is_some(), "{}", kind.noun);
        }
    }
}
