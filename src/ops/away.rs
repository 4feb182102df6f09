//! A cluster of which a part does not answer: what is known of its guests all the same.
//!
//! It only looks. Why a single call to a node failed is said by the client, where it fails.

use super::{Choice, Ops, Resolved, Target, Which, Words};
use crate::model::{Away, Class, Error, Guest, GuestKind, Hint};

impl Ops {
    /// The nodes that are away. Where nobody says, none are: whoever needs one will hear of it.
    pub async fn away(&self) -> Away {
        if self.backend().capabilities().here {
            return Away::default();
        }
        Away::of(&self.nodes().await.unwrap_or_default())
    }

    /// The guests of a kind that are chosen, by number, and which nodes are away. Of a guest there nobody knows how it is,
    /// whatever the cluster still repeats.
    ///
    /// # Errors
    /// Whatever the backend says; [`Class::NotFound`] if they are to be on a node that there is not.
    pub async fn survey(&self, kind: GuestKind, choice: &Choice) -> Result<(Vec<Resolved>, Away), Error> {
        let (mut guests, mut away) = self.backend().survey().await?;
        if let Some(node) = &choice.node {
            away.narrow(node);
            if !guests.iter().any(|guest| guest.node.as_str() == node) {
                self.require_node(node).await?;
            }
        }
        guests.iter_mut().filter(|guest| away.status(&guest.node).is_some()).for_each(Guest::lose_sight);
        Ok((choice.apply(kind, guests), away))
    }

    /// Gives guests without a name the one that they had in the journal, where a name is asked for that nobody has: of
    /// nodes that are away for some minutes the cluster has no names.
    pub(super) fn recall_names(&self, targets: &[Target], guests: &mut [Guest]) {
        if guests.iter().all(|guest| guest.name.is_some()) {
            return;
        }
        for target in targets {
            let Which::Name(name) = &target.which else { continue };
            if guests.iter().any(|guest| guest.name.as_ref() == Some(name)) {
                continue;
            }
            // What cannot be read is not remembered.
            let known = self.recorder.guests_named(&self.context, name).unwrap_or_default();
            let nameless = guests.iter_mut().filter(|guest| guest.name.is_none() && guest.status == "unknown");
            nameless
                .filter(|guest| known.contains(&guest.vmid.get()))
                .for_each(|guest| guest.name = Some(name.clone()));
        }
    }

    /// The nodes that are away, where a change of these guests had better know beforehand: a node that is silent keeps
    /// everybody who asks it waiting. One guest that seems to be well is simply asked.
    pub async fn away_for(&self, found: &[Resolved]) -> Away {
        match found {
            [] => Away::default(),
            [one] if one.guest.status != "unknown" => Away::default(),
            _ => self.away().await,
        }
    }
}

/// Why nothing can be done to a guest, if its node is away.
pub fn out_of_reach(away: &Away, words: Words, guest: &Guest) -> Option<Error> {
    let status = away.status(&guest.node)?;
    let name = guest.name.as_ref().map_or_else(String::new, |name| format!(" ({name})"));
    let why = format!("cannot {} {}{name}: node {} is {status}", words.act(), guest.reference(), guest.node);
    Some(Error::new(Class::Unreachable, why).with_hint(Hint::NodeAway(guest.node.to_string())))
}
