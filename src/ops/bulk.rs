//! Changes of several guests as one operation, of which each guest's is a part: written down before the first is begun.
//!
//! So who was not begun when it was cut off is known, and what goes on with it knows the pace. How plans are run is in `run`.

use serde_json::Value;

use super::{Interrupt, Observer, Ops, Outcome, Plan, RunOptions, Status};
use crate::model::{Bulk, BulkGuest, Intent, OperationId, Result, Tally};

/// A change of several guests that was asked for at once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Together {
    /// What the person typed.
    pub target: String,
    /// Whether somebody was asked; who goes on with it is asked too.
    pub asks: bool,
}

/// How many of these are how far.
pub fn tally_of<'a>(outcomes: impl IntoIterator<Item = &'a Outcome>) -> Tally {
    tally_by(outcomes.into_iter().map(|outcome| outcome.status))
}

/// The same by how each stands.
pub(super) fn tally_by(statuses: impl IntoIterator<Item = Status>) -> Tally {
    let mut tally = Tally::default();
    for status in statuses {
        let count = match status {
            Status::Ok => &mut tally.ok,
            Status::Warning => &mut tally.warning,
            Status::Failed => &mut tally.failed,
            Status::Running => &mut tally.running,
            Status::Unknown => &mut tally.unknown,
            Status::Cancelled => &mut tally.left,
        };
        *count += 1;
    }
    tally
}

impl Ops {
    /// Runs plans as [`run`](Self::run) does, as parts of one operation, whose number comes with the outcomes. `refused` are the
    /// guests for which there is no plan. What concerns one guest alone, or sends nothing, is no such operation.
    ///
    /// # Errors
    /// When it cannot be written down; then nothing was sent.
    pub async fn run_together(
        &self,
        plans: Vec<Plan>,
        refused: &[&Outcome],
        together: &Together,
        options: &RunOptions,
        observer: &dyn Observer,
        interrupt: &Interrupt,
    ) -> Result<(Vec<Outcome>, Option<OperationId>)> {
        let first = plans.iter().find(|plan| !plan.steps.is_empty());
        let Some(first) = first.filter(|_| options.parent.is_none() && plans.len() + refused.len() > 1) else {
            return Ok((self.run(plans, options, observer, interrupt).await, options.parent));
        };
        let guests =
            plans.iter().map(|plan| Ok(part(plan, plan.calls(self.backend())?))).collect::<Result<Vec<_>>>()?;
        let intent = Intent {
            verb: first.words.name.to_owned(),
            target: together.target.clone(),
            kind: first.guest.kind.api().to_owned(),
            context: self.context.clone(),
            user: self.backend.user(),
            bulk: Some(Bulk {
                guests: guests.into_iter().chain(refused.iter().map(|outcome| left_out(outcome))).collect(),
                parallel: options.parallel,
                batch: options.batch,
                pause: options.pause.as_secs_f64(),
                max_failures: options.max_failures,
                wait_lock: options.wait_lock.map(|wait| wait.as_secs_f64()),
                asks: together.asks,
            }),
            ..Intent::default()
        };
        // Where nothing is kept it has no number.
        let whole = Some(self.recorder.plan(&intent)?).filter(|id| id.0 != 0);
        let options = RunOptions { parent: whole, ..*options };
        let outcomes = self.run(plans, &options, observer, interrupt).await;
        // With parts that go on it is over when they are, and whoever notes their ends notes this one.
        let ended = tally_of(outcomes.iter().chain(refused.iter().copied())).ended();
        if let (Some(whole), Some(ended)) = (whole, ended)
            && let Err(error) = self.recorder.event(whole, &ended)
        {
            observer.warning(&format!("the journal did not take an event: {error}"));
        }
        Ok((outcomes, whole))
    }
}

fn part(plan: &Plan, steps: Vec<Value>) -> BulkGuest {
    let Plan { guest, name, .. } = plan;
    let (kind, node) = (guest.kind.api().to_owned(), guest.node.to_string());
    BulkGuest { kind, vmid: guest.vmid.get(), name: name.clone(), node, steps, refused: None }
}

fn left_out(outcome: &Outcome) -> BulkGuest {
    BulkGuest {
        kind: outcome.kind.api().to_owned(),
        vmid: outcome.vmid.get(),
        name: outcome.name.clone(),
        node: outcome.node.to_string(),
        steps: Vec::new(),
        refused: outcome.error.as_ref().map(ToString::to_string),
    }
}
