//! Guests that are chosen by what they are, where [`targets`](super::Target) name them.

use super::{Ops, Resolved};
use crate::{
    model::{Guest, GuestKind, Result},
    select::LabelSelector,
};

/// What a guest has to be; what is `None` does not matter.
#[derive(Debug, Clone, Default)]
pub struct Choice {
    /// `running`, `stopped`, `paused`, …
    pub status: Option<String>,
    /// On this node.
    pub node: Option<String>,
    /// In this pool.
    pub pool: Option<String>,
    /// With this tag.
    pub tag: Option<String>,
    /// A template, or none.
    pub template: Option<bool>,
    /// With these labels: all of the selectors.
    pub labels: Vec<LabelSelector>,
}

impl Choice {
    /// Whether a guest is chosen.
    pub fn takes(&self, guest: &Guest) -> bool {
        let is = |wanted: &Option<String>, value: Option<&str>| wanted.is_none() || wanted.as_deref() == value;
        is(&self.status, Some(&guest.status))
            && is(&self.node, Some(guest.node.as_str()))
            && is(&self.pool, guest.pool.as_deref())
            && self.tag.as_deref().is_none_or(|tag| guest.tags.contains(tag))
            && self.template.is_none_or(|template| guest.template == template)
            && self.labels.iter().all(|selector| selector.matches(&guest.tags))
    }

    /// Those of these guests that are chosen, by number.
    pub(super) fn apply(&self, kind: GuestKind, mut guests: Vec<Guest>) -> Vec<Resolved> {
        guests.retain(|guest| guest.kind == kind && self.takes(guest));
        guests.sort_by_key(|guest| guest.vmid);
        guests.into_iter().map(|guest| Resolved { target: guest.vmid.to_string(), guest }).collect()
    }
}

impl Ops {
    /// The guests of a kind that are chosen, by number.
    ///
    /// # Errors
    /// Whatever the backend says.
    pub async fn choose(&self, kind: GuestKind, choice: &Choice) -> Result<Vec<Resolved>> {
        Ok(choice.apply(kind, self.guests().await?.to_vec()))
    }
}
