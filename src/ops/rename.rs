//! `rename`: another name for a guest, which is a change of its configuration under a verb of its own.
//!
//! Names are labels on every backend: nothing on a disk and no device carries them, so a guest may run meanwhile.

use super::{Ops, Plan, Resolved, UpdateRequest, verbs::RENAME};
use crate::model::{Params, Result};

impl Ops {
    /// Plans another name for a guest. That other guests have this name already is no mistake, and is among the notes:
    /// from then on only its VMID finds any of them.
    ///
    /// # Errors
    /// [`Class::Usage`](crate::model::Class::Usage) for what is no DNS name,
    /// [`Class::Conflict`](crate::model::Class::Conflict) for a locked guest.
    pub async fn plan_rename(&self, found: &Resolved, name: &str) -> Result<Plan> {
        let kind = found.guest.kind;
        let request = UpdateRequest { set: Params::new().with(kind.name_key(), name), ..UpdateRequest::default() };
        let mut plan = self.plan_change(RENAME, found, &request).await?;
        let guests = self.backend().guests().await?;
        let called = |guest: &&crate::model::Guest| {
            guest.kind == kind && guest.vmid != found.guest.vmid && guest.name.as_deref() == Some(name)
        };
        let others: Vec<String> = guests.iter().filter(called).map(|guest| guest.vmid.to_string()).collect();
        if !others.is_empty() {
            let others = others.join(", ");
            plan.notes.push(format!("`{name}` is also the name of {others}: use VMIDs to tell them apart"));
        }
        Ok(plan)
    }
}
