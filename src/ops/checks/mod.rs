//! Checks before a change: what can be seen to go wrong, said before anything is sent, with the way out.
//!
//! Looks at plans, never at requests, and only reads. The server has the last word: what may not be read is not held
//! against a plan. What a planner has to read anyway, such as the power of a guest that is deleted, it refuses itself.

mod facts;
mod moving;
mod table;

use super::{Change, Ops, Plan, place::Needs};
use crate::{
    backends::Action,
    model::{Error, Guest, Hint, Result},
};

use self::facts::{Fact, Facts};
pub use self::table::CHECKS;

/// One of the checks.
pub struct Check {
    /// Its name.
    pub name: &'static str,
    /// What is looked for, in a line.
    pub about: &'static str,
    /// Plans with such a step are looked at.
    pub actions: &'static [Action],
    /// What is read for it, once for all plans of a command.
    reads: &'static [Fact],
    judge: fn(&Facts, usize, &Plan) -> Vec<Finding>,
}

/// What a check has to say of a plan.
enum Finding {
    /// It goes on, and a person should know.
    Note(String),
    /// It goes on, and may go wrong.
    Warning(String),
    /// It does not go on.
    Refusal(Error),
}

/// What a plan takes of its node, as far as it says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Claims {
    /// Memory.
    pub memory: Option<MemoryClaim>,
    /// By storage, bytes that are to be allocated.
    pub room: Vec<(String, u64)>,
}

/// The memory that a guest may use, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryClaim {
    /// All of it, afterwards.
    pub whole: u64,
    /// How much more that is than what it holds now.
    pub more: u64,
}

impl MemoryClaim {
    /// That of a guest that is off and starts.
    pub(super) fn starting(whole: u64) -> Self {
        Self { whole, more: whole }
    }
}

impl Claims {
    /// Those of a change: what a guest that is on has more of memory, and disks that are to be made.
    pub(super) fn of_change(guest: &Guest, changes: &[Change], needs: Needs) -> Self {
        let before = guest.maxmem.unwrap_or(0);
        let changed = changes.iter().any(|change| change.key == "memory") && guest.is_powered();
        let memory = needs.memory.filter(|memory| changed && memory.0 > before);
        let memory = memory.map(|memory| MemoryClaim { whole: memory.0, more: memory.0 - before });
        let room = needs.storages.into_iter().map(|(storage, (_, size))| (storage, size.0));
        Self { memory, room: room.filter(|(_, size)| *size > 0).collect() }
    }
}

impl Ops {
    /// Looks at plans before they are run. Notes and warnings are put into the plans; the error of one that is refused
    /// stands beside it.
    pub async fn check(&self, plans: Vec<Plan>) -> Vec<(Plan, Result<()>)> {
        let apply = |check: &Check, plan: &Plan| plan.steps.iter().any(|step| check.actions.contains(&step.action));
        let wanted: Vec<&Check> = CHECKS.iter().filter(|check| plans.iter().any(|plan| apply(check, plan))).collect();
        let reads = wanted.iter().flat_map(|check| check.reads.iter().copied()).collect();
        let facts = Facts::read(self, &plans, reads).await;
        let judged = plans.into_iter().enumerate().map(|(index, mut plan)| {
            let mut refusals = Vec::new();
            let judges = wanted.iter().filter(|check| apply(check, &plan));
            let findings: Vec<Finding> = judges.flat_map(|check| (check.judge)(&facts, index, &plan)).collect();
            for finding in findings {
                match finding {
                    Finding::Note(text) => plan.notes.push(text),
                    Finding::Warning(text) => plan.warnings.push(text),
                    Finding::Refusal(error) => refusals.push(error),
                }
            }
            let tried = format!("cannot {} {}", plan.words.act(), plan.label());
            let verdict = all_of(refusals).map_or(Ok(()), |error| Err(error.context(tried)));
            (plan, verdict)
        });
        judged.collect()
    }
}

/// All that stands in the way of a plan as one error, with every way out.
fn all_of(refusals: Vec<Error>) -> Option<Error> {
    let mut refusals = refusals.into_iter();
    let first = refusals.next()?;
    Some(refusals.fold(first, |all, next| {
        let text = format!("{}; {}", all.message(), next.message());
        let hints: Vec<Hint> = all.hints().iter().chain(next.hints()).cloned().collect();
        hints.into_iter().fold(Error::new(all.class(), text), Error::with_hint)
    }))
}
