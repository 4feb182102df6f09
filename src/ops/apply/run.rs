//! Carrying a plan out: what others need first, several at a time, all of it one operation of which each is a part.
//!
//! Before anything of a document is sent, what it says is remembered as tried; once it is so, as done. So a second time
//! goes on where the first one stopped, and nobody takes its work for somebody else's.

use std::collections::BTreeSet;

use futures_util::{StreamExt, stream::FuturesUnordered};
use serde::{Serialize, Serializer};

use super::{ApplyPlan, ApplyRequest, Deed, Stage, View, Work, known::Known};
use crate::{
    model::{
        Applied, Bulk, BulkGuest, Error, Guest, GuestKind, GuestRef, Intent, NodeName, OperationId, Pending, Result,
        Upid, Vmid,
    },
    ops::{Interrupt, Observer, Ops, Outcome, Plan, Power, RunOptions, Status, bulk::tally_by},
};

/// How often more is looked for, once a guest was changed.
const LOOKS: usize = 3;

/// What became of a work: a row of the output.
#[derive(Debug, Serialize)]
pub struct Made {
    /// `vm`, `pool`, …
    pub kind: &'static str,
    /// What it is called.
    pub name: String,
    /// The guest's number.
    pub vmid: Option<Vmid>,
    /// Its node.
    pub node: Option<NodeName>,
    /// What was done.
    #[serde(serialize_with = "word")]
    pub verb: Deed,
    /// How it went.
    pub status: Status,
    /// The last task.
    pub upid: Option<Upid>,
    /// How that ended, in the server's words.
    pub exit_status: Option<String>,
    /// Whether anything was done, or is being done.
    pub changed: bool,
    /// Keys that wait for the next start.
    pub waiting: Vec<String>,
    /// The context.
    pub context: String,
    /// Why it failed, or was not begun.
    #[serde(skip)]
    pub error: Option<Error>,
    /// The end of a failed task's log.
    #[serde(skip)]
    pub log: Vec<String>,
}

fn word<S: Serializer>(deed: &Deed, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(deed.word())
}

impl Made {
    fn fail(&mut self, error: Error) {
        (self.status, self.error) = (Status::Failed, Some(error));
    }

    fn of(work: &Work, context: &str) -> Self {
        Self {
            kind: work.noun,
            name: work.name.clone(),
            vmid: work.vmid,
            node: work.node.clone(),
            verb: work.deed,
            status: Status::Ok,
            upid: None,
            exit_status: None,
            changed: false,
            waiting: work.waiting.clone(),
            context: context.to_owned(),
            error: None,
            log: Vec::new(),
        }
    }

    fn is_done(&self) -> bool {
        matches!(self.status, Status::Ok | Status::Warning)
    }

    /// One that was not begun, and why.
    fn not_begun(work: &Work, context: &str, error: Option<Error>) -> Self {
        Self { status: Status::Cancelled, error, ..Self::of(work, context) }
    }

    /// Takes over what became of a plan.
    fn take(&mut self, outcome: Outcome) -> Option<OperationId> {
        self.changed |= outcome.changed;
        self.status = outcome.status;
        self.upid = outcome.upid.or(self.upid.take());
        self.exit_status = outcome.exit_status.or(self.exit_status.take());
        (self.error, self.log) = (outcome.error, outcome.log);
        outcome.operation
    }
}

/// What a run goes by.
struct Course<'a> {
    request: &'a ApplyRequest,
    options: &'a RunOptions,
    observer: &'a dyn Observer,
    interrupt: &'a Interrupt,
}

impl Ops {
    /// Carries a plan out, and gives what became of each work, in their order, with the number of the operation. Several
    /// are at work at once, as the options say. What needs one that failed is not begun. It is to be asked before whether
    /// there are [refusals](ApplyPlan::refusals): here these count as failed.
    ///
    /// # Errors
    /// When it cannot be written down; then nothing was sent.
    pub async fn run_apply(
        &self,
        plan: ApplyPlan,
        target: &str,
        request: &ApplyRequest,
        options: &RunOptions,
        observer: &dyn Observer,
        interrupt: &Interrupt,
    ) -> Result<(Vec<Made>, Option<OperationId>)> {
        let _minding = interrupt.mind();
        let whole = self.begin_apply(&plan.works, target, options)?;
        let options = RunOptions { parent: whole, ..*options };
        let course = Course { request, options: &options, observer, interrupt };
        let works = plan.works;
        let mut made: Vec<Option<Made>> = works.iter().map(|_| None).collect();
        let mut left: BTreeSet<usize> = (0..works.len()).collect();
        let mut at_work = FuturesUnordered::new();
        loop {
            // What cannot be begun any more is settled first: others may wait for it.
            let mut settled = true;
            while std::mem::take(&mut settled) {
                for at in left.clone() {
                    let work = &works[at];
                    let failed =
                        work.needs.iter().find(|need| made[**need].as_ref().is_some_and(|made| !made.is_done()));
                    let why = match failed {
                        _ if interrupt.is_raised() => None,
                        Some(need) => Some(Error::conflict(format!(
                            "{} was not begun: it needs {}",
                            work.label(),
                            works[*need].label()
                        ))),
                        None => continue,
                    };
                    left.remove(&at);
                    made[at] = Some(Made::not_begun(work, self.context(), why));
                    settled = true;
                }
            }
            let is_ready = |at: &usize| works[*at].needs.iter().all(|need| made[*need].is_some());
            let room = options.parallel.max(1).saturating_sub(at_work.len());
            let ready: Vec<usize> = left.iter().filter(|at| is_ready(at)).take(room).copied().collect();
            for at in ready {
                left.remove(&at);
                let (work, course) = (&works[at], &course);
                at_work.push(async move { (at, self.run_work(at, work, course).await) });
            }
            match at_work.next().await {
                Some((at, done)) => made[at] = Some(done),
                None => break,
            }
        }
        drop(at_work);
        self.backend.leave().await;
        let made: Vec<Made> = made.into_iter().flatten().collect();
        if let (Some(whole), Some(ended)) = (whole, tally_by(made.iter().map(|made| made.status)).ended())
            && let Err(error) = self.recorder.event(whole, &ended)
        {
            observer.warning(&format!("the journal did not take an event: {error}"));
        }
        Ok((made, whole))
    }

    /// Writes down what is about to be done, if it is more than one thing.
    fn begin_apply(&self, works: &[Work], target: &str, options: &RunOptions) -> Result<Option<OperationId>> {
        let acting = works.iter().filter(|work| !work.stages.is_empty());
        if acting.clone().count() < 2 {
            return Ok(options.parent);
        }
        let part = |plan: &Plan| {
            let guest = &plan.guest;
            Ok(BulkGuest {
                kind: guest.kind.api().to_owned(),
                vmid: guest.vmid.get(),
                name: plan.name.clone(),
                node: guest.node.to_string(),
                steps: plan.calls(self.backend())?,
                refused: None,
            })
        };
        let guests = acting.clone().flat_map(Work::plans).map(part).collect::<Result<Vec<_>>>()?;
        let intent = Intent {
            verb: "apply".to_owned(),
            target: target.to_owned(),
            kind: "manifest".to_owned(),
            context: self.context.clone(),
            user: self.backend.user(),
            bulk: Some(Bulk { guests, parallel: options.parallel, ..Bulk::default() }),
            ..Intent::default()
        };
        Ok(Some(self.recorder.plan(&intent)?).filter(|id| id.0 != 0))
    }

    /// Does one work.
    async fn run_work(&self, index: usize, work: &Work, course: &Course<'_>) -> Made {
        let mut made = Made::of(work, self.context());
        if let Some(refusal) = work.refusals.first() {
            made.fail(Error::new(refusal.class(), refusal.message().to_owned()));
            return made;
        }
        let acts = !work.stages.is_empty();
        if acts
            && work.deed != Deed::Delete
            && let Err(error) = self.note_trying(work)
        {
            made.fail(error);
            return made;
        }
        let mut operation = None;
        for stage in &work.stages {
            operation = self.run_stage(index, stage, course.options, course, &mut made).await.or(operation);
            if !made.is_done() {
                return made;
            }
        }
        if acts && work.again {
            self.look_again(index, work, operation, course, &mut made).await;
            if !made.is_done() {
                return made;
            }
        }
        if work.deed == Deed::Update || work.deed == Deed::Create {
            made.waiting = self.waiting(&made).await;
        }
        let noted = match work.deed {
            Deed::Delete => self.note_gone(work),
            _ => self.note_done(work, made.vmid),
        };
        if let Err(error) = noted {
            course.observer.warning(&format!("{}: what was applied is not remembered: {error}", work.label()));
        }
        made
    }

    /// What waits for the next start of a guest. That it cannot be asked for is no failure of what was done.
    async fn waiting(&self, made: &Made) -> Vec<String> {
        let kind = GuestKind::ALL.into_iter().find(|kind| kind.noun() == made.kind);
        let (Some(kind), Some(vmid), Some(node)) = (kind, made.vmid, made.node.clone()) else { return Vec::new() };
        let rows = self.backend().guest_pending(&GuestRef { kind, vmid, node }).await.unwrap_or_default();
        rows.into_iter().filter(Pending::waits).map(|row| row.key).collect()
    }

    async fn run_stage(
        &self,
        index: usize,
        stage: &Stage,
        options: &RunOptions,
        course: &Course<'_>,
        made: &mut Made,
    ) -> Option<OperationId> {
        match stage {
            Stage::Guest(plan) => {
                let halted = || course.interrupt.is_raised();
                let outcome =
                    self.run_one(index, (**plan).clone(), options, course.observer, course.interrupt, &halted).await;
                course.observer.outcome(index, &outcome);
                (made.vmid, made.node) = (Some(outcome.vmid), Some(outcome.node.clone()));
                made.take(outcome)
            }
            Stage::Thing(plan) => {
                let outcome = self.run_resource((**plan).clone(), options, course.observer, course.interrupt).await;
                made.changed |= outcome.changed;
                (made.status, made.error, made.log) = (outcome.status, outcome.error, outcome.log);
                None
            }
        }
    }

    /// Looks what is left to be done once a guest was changed: what could not be planned before.
    async fn look_again(
        &self,
        index: usize,
        work: &Work,
        mut operation: Option<OperationId>,
        course: &Course<'_>,
        made: &mut Made,
    ) {
        for _ in 0..LOOKS {
            let rest = match self.rest_of(work, made, course).await {
                Ok(rest) => rest,
                Err(error) => {
                    made.fail(error);
                    return;
                }
            };
            if let Some(refusal) = rest.refusals.first() {
                made.fail(Error::new(refusal.class(), refusal.message().to_owned()));
                return;
            }
            if rest.stages.is_empty() {
                return;
            }
            let options = RunOptions { parent: operation.or(course.options.parent), ..*course.options };
            for stage in &rest.stages {
                operation = self.run_stage(index, stage, &options, course, made).await.or(operation);
                if !made.is_done() {
                    return;
                }
            }
        }
    }

    async fn rest_of(&self, work: &Work, made: &Made, course: &Course<'_>) -> Result<Work> {
        let (Some(document), Some(vmid), Some(node)) = (&work.document, made.vmid, made.node.clone()) else {
            return Err(Error::conflict(format!("{} is gone", work.label())));
        };
        let kind = document.guest().ok_or_else(|| Error::usage("this is no guest"))?;
        let reference = GuestRef { kind, vmid, node };
        // The cluster's list may not have it yet, so the guest itself is asked.
        let status = self.backend().guest_status(&reference).await?;
        let power = match Power::of(&status) {
            Power::Running => "running",
            Power::Paused => "paused",
            Power::Suspended => "suspended",
            Power::Stopped => "stopped",
        };
        let pool = document.metadata.pool.clone();
        let name = Some(document.metadata.name.clone());
        let guest = Guest { name, pool, status: power.to_owned(), ..Guest::new(reference) };
        let applied =
            Applied { vmid: Some(vmid.get()), trying: Some(work.known.now(&work.doomed)), ..Applied::default() };
        let view = View { request: course.request, guests: Vec::new(), known: std::collections::HashMap::new() };
        let mut rest = self.plan_known(&view, document, &guest, Known::of(document, Some(&applied))).await?;
        // Nothing is remembered of the rest alone.
        rest.left.clone_from(&work.left);
        Ok(rest)
    }
}
