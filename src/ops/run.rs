//! Running plans: step by step, each recorded and followed to its end, several plans at once.
//!
//! Knows what steps mean to a guest; how one request is recorded, sent and followed is in `recorded`.

use std::{
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::Duration,
};

use futures_util::{StreamExt, stream};

use super::{
    Interrupt, Observer, Ops, Outcome, Plan, Status,
    backup::why_of_backup,
    history::is_outdated,
    locked::{Next, Waiting, is_answer},
    recorded::{Ending, Halt, Recorded},
    verbs::BACKUP,
};
use crate::{
    backends::Action,
    model::{Class, Error, Event, Hint, Intent, OperationId, Result, StepId, Verdict, Vmid},
    tasks::Limits,
};

/// How often a create is tried with the next VMID when somebody else was faster: with every refusal one of the others got
/// its guest, so that even a crowd comes through.
const VMID_TRIES: u32 = 100;

/// How plans are run.
#[derive(Debug, Clone, Copy)]
pub struct RunOptions {
    /// Follow tasks to their end; otherwise return once they are named.
    pub wait: bool,
    /// When the following ends early.
    pub limits: Limits,
    /// How many plans are at work at once.
    pub parallel: usize,
    /// So many plans, and the next ones when all of them have ended; all at once if it is `None`.
    pub batch: Option<usize>,
    /// Between two batches.
    pub pause: Duration,
    /// When more plans than this failed, nothing more is begun.
    pub max_failures: Option<usize>,
    /// How many of the same work failed before: guests for which there is no plan.
    pub failed: usize,
    /// How long a guest that is locked is waited for; it is refused at once if it is `None`.
    pub wait_lock: Option<Duration>,
    /// The operation over several guests that the plans are parts of.
    pub parent: Option<OperationId>,
}

impl Default for RunOptions {
    fn default() -> Self {
        Self {
            wait: true,
            limits: Limits::default(),
            parallel: 8,
            batch: None,
            pause: Duration::ZERO,
            max_failures: None,
            failed: 0,
            wait_lock: None,
            parent: None,
        }
    }
}

/// Where a run stands.
struct Run<'a> {
    index: usize,
    plan: Plan,
    recorded: Recorded<'a>,
    wait_lock: Option<Duration>,
}

impl Ops {
    /// Runs plans, several at once or batch by batch, and gives an outcome for each, in the order of the plans. What was not
    /// begun because too many failed, or because somebody wished it, is [`Status::Cancelled`].
    pub async fn run(
        &self,
        plans: Vec<Plan>,
        options: &RunOptions,
        observer: &dyn Observer,
        interrupt: &Interrupt,
    ) -> Vec<Outcome> {
        // As long as this lives, an interrupt is minded, also between two waits.
        let _minding = interrupt.mind();
        let failures = AtomicUsize::new(options.failed);
        let mut outcomes = Vec::with_capacity(plans.len());
        let size = options.batch.unwrap_or(plans.len()).max(1);
        let mut plans = plans.into_iter().enumerate().peekable();
        while plans.peek().is_some() {
            let runs = plans.by_ref().take(size).map(async |(index, plan)| {
                // Only the first wait for a turn is long: whoever has it goes through to the end of the plan's task.
                let _turn = match plan.turns.clone() {
                    Some(turns) => turns.lock_owned().await.into(),
                    None => None,
                };
                let halted =
                    || interrupt.is_raised() || options.max_failures.is_some_and(|most| failures.load(Relaxed) > most);
                let outcome = self.run_one(index, plan, options, observer, interrupt, &halted).await;
                let failed = matches!(outcome.status, Status::Failed | Status::Unknown);
                failures.fetch_add(usize::from(failed), Relaxed);
                observer.outcome(index, &outcome);
                (index, outcome)
            });
            let first = outcomes.len();
            // A slow guest must not hold up those that come after it; the order is restored at the end.
            outcomes.extend(stream::iter(runs).buffer_unordered(options.parallel.max(1)).collect::<Vec<_>>().await);
            let worked = outcomes[first..].iter().any(|(_, outcome): &(usize, Outcome)| outcome.changed);
            if worked && plans.peek().is_some() && !options.pause.is_zero() {
                tokio::select! {
                    () = tokio::time::sleep(options.pause) => {}
                    () = interrupt.raised() => {}
                }
            }
        }
        // What was left alone may be work of this very process.
        self.backend.leave().await;
        outcomes.sort_by_key(|(index, _)| *index);
        outcomes.into_iter().map(|(_, outcome)| outcome).collect()
    }

    pub(super) async fn run_one(
        &self,
        index: usize,
        plan: Plan,
        options: &RunOptions,
        observer: &dyn Observer,
        interrupt: &Interrupt,
        halted: &(dyn Fn() -> bool + Sync),
    ) -> Outcome {
        let mut recorded = Recorded::new(self, options, observer, interrupt);
        let steps = plan.steps.len();
        let ready = if steps == 0 {
            Err((Status::Ok, None))
        } else if halted() {
            Err((Status::Cancelled, None))
        } else {
            let planned = self.intent(&plan, options.parent).and_then(|intent| recorded.plan(&intent));
            planned.map_err(|error| (Status::Failed, Some(error)))
        };
        if let Err((status, error)) = ready {
            return self.outcome(plan, recorded.ending(status, error, Vec::new()));
        }
        let mut run = Run { index, plan, recorded, wait_lock: options.wait_lock };
        let (mut at, mut ended) = (0, Ok(()));
        while ended.is_ok() && at < steps {
            ended = run.step(at).await;
            at += 1;
        }
        let Run { plan, recorded, .. } = run;
        let ended = match ended {
            Err(Halt::Failed(error)) if is_outdated(&error) => Err(Halt::Failed(self.tell_both(error, &plan).await)),
            ended => ended,
        };
        let ending = recorded.end(ended, |error, log| explain(error, &plan, at - 1, log)).await;
        let made = self.volume_made(&plan, &ending).await;
        let is_done = matches!(ending.status, Status::Ok | Status::Warning);
        if is_done && plan.steps.last().is_some_and(|step| step.action == Action::Destroy) {
            self.forget_applied(plan.guest.kind.noun(), plan.guest.vmid, observer);
        }
        Outcome { volume: made, ..self.outcome(plan, ending) }
    }

    /// Forgets the documents of a guest that is gone: another that takes its number and its name is not what they made.
    fn forget_applied(&self, noun: &str, vmid: Vmid, observer: &dyn Observer) {
        let forget = || -> Result<()> {
            let known = self.recorder.applied(&self.context)?;
            let mut its = known.iter().filter(|known| known.kind == noun && known.vmid == Some(vmid.get()));
            its.try_for_each(|known| self.recorder.forget(&self.context, noun, &known.name))
        };
        if let Err(error) = forget() {
            observer.warning(&format!("{noun}/{vmid}: what was applied is not forgotten: {error}"));
        }
    }

    pub(super) fn intent(&self, plan: &Plan, parent: Option<OperationId>) -> Result<Intent> {
        Ok(Intent {
            verb: plan.words.name.to_owned(),
            target: plan.target.clone(),
            kind: plan.guest.kind.api().to_owned(),
            vmid: Some(plan.guest.vmid.get()),
            name: plan.name.clone(),
            node: Some(plan.guest.node.to_string()),
            context: self.context.clone(),
            user: self.backend.user(),
            steps: plan.calls(self.backend())?,
            config_before: plan.config_before.as_ref().map(|config| config.0.clone().into()),
            parent,
            bulk: None,
            request: None,
        })
    }

    fn outcome(&self, plan: Plan, ending: Ending) -> Outcome {
        let arrived = ending.changed && matches!(ending.status, Status::Ok | Status::Warning);
        let node = if arrived { plan.place() } else { &plan.guest.node }.clone();
        Outcome {
            vmid: plan.guest.vmid,
            name: plan.name,
            node,
            verb: plan.words,
            status: ending.status,
            upid: ending.upid,
            exit_status: ending.exit_status,
            changed: ending.changed,
            volume: None,
            context: self.context.clone(),
            kind: plan.guest.kind,
            operation: ending.operation,
            error: ending.error,
            log: ending.log,
        }
    }
}

/// What was tried goes before the error, what is left behind after it.
fn explain(error: Error, plan: &Plan, at: usize, log: &[String]) -> Error {
    // A backup's task says only that something went wrong, and what it was in its log.
    let why = log.iter().find_map(|line| why_of_backup(line)).filter(|_| plan.words == BACKUP);
    let error = why.map_or(error, Error::from_exit_status);
    let error = error.context(format_args!("cannot {} {}", plan.words.act(), plan.label()));
    match leftover(plan, at) {
        Some(leftover) => error.with_hint(Hint::Text(leftover)),
        None => error,
    }
}

/// Whether there is a guest afterwards that was not there.
fn makes(action: Action) -> bool {
    matches!(action, Action::Create | Action::Clone | Action::Restore)
}

/// What the steps that went well have left behind when a later one fails.
fn leftover(plan: &Plan, at: usize) -> Option<String> {
    let made = plan.steps[..at].iter().any(|step| makes(step.action));
    let stopped = plan.steps[..at].iter().any(|step| step.action == Action::Stop);
    let starts = plan.steps[at..].iter().any(|step| step.action == Action::Start);
    let guest = &plan.guest;
    match (made, stopped) {
        (true, _) if starts => Some(format!(
            "{} was made and is kept; when the cause is mended, `pvectl {} start {}`",
            plan.label(),
            guest.kind,
            guest.vmid
        )),
        (true, _) => Some(format!("{} was made and is kept", plan.label())),
        (_, true) => Some(format!("{} was stopped", plan.label())),
        _ => None,
    }
}

impl Run<'_> {
    /// Does a step; once more where it was refused over a lock, and a create where that is known to be harmless.
    async fn step(&mut self, at: usize) -> Result<(), Halt> {
        let id = at as StepId + 1;
        let mut waiting = Waiting::new(self.wait_lock);
        for attempt in 1.. {
            if self.recorded.is_over() {
                return Err(Halt::Cancelled);
            }
            let ended = self.send(at, id).await;
            match ended {
                Ok(()) => break,
                Err(Halt::Failed(error)) if attempt < VMID_TRIES && self.may_take_another_vmid(at, &error) => {
                    self.take_another_vmid(error).await?;
                }
                Err(Halt::Failed(error)) if is_answer(&error) => self.wait(at, error, &mut waiting).await?,
                Err(halt) => return Err(halt),
            }
        }
        Ok(())
    }

    /// Sends a step and follows its task.
    async fn send(&mut self, at: usize, id: StepId) -> Result<(), Halt> {
        let step = self.plan.steps[at].clone();
        let (ops, observer, index, plan) = (self.recorded.ops, self.recorded.observer, self.index, &self.plan);
        observer.step(index, plan, &step);
        let request = match plan.queue {
            true => ops.backend.enqueue(&step),
            false => ops.backend.submit(&step),
        };
        // What waits in a queue has no task of the call's own type.
        let call = ops.backend.call(&step).ok().filter(|_| !plan.queue);
        self.recorded.send(id, call.as_ref(), request, |upid| observer.task(index, plan, upid)).await
    }

    /// Waits for a lock over which a request was refused.
    async fn wait(&mut self, at: usize, refused: Error, waiting: &mut Waiting) -> Result<(), Halt> {
        if self.wait_lock.is_some() {
            // It is over, and nothing was done: whoever finds this cut off here must not take it for sent.
            let exit_status = Some(refused.message().to_owned());
            self.recorded.record(Event::Step { step: at as StepId + 1, verdict: Verdict::Failed, exit_status });
        }
        let Recorded { observer, interrupt, .. } = &self.recorded;
        match waiting.next(&refused, &self.plan.steps[at].guest.to_string(), *observer, interrupt).await {
            Next::Look => Ok(()),
            Next::Over => Err(Halt::Failed(refused)),
            Next::Interrupted => Err(Halt::Cancelled),
        }
    }

    /// Only a received "already exists" about the very guest that a first step makes allows another number.
    fn may_take_another_vmid(&self, at: usize, error: &Error) -> bool {
        makes(self.plan.steps[at].action)
            && at == 0
            && self.plan.vmid_is_free_choice
            && error.class() == Class::Conflict
            && error.hints().iter().any(|hint| matches!(hint, Hint::VmidTaken(_)))
    }

    async fn take_another_vmid(&mut self, taken: Error) -> Result<(), Halt> {
        let old = self.plan.guest.vmid;
        let next = match self.recorded.ops.backend.next_vmid().await {
            Ok(next) if next != old => next,
            // The server offers what it refuses: another try would only repeat that.
            Ok(_) => return Err(Halt::Failed(taken)),
            Err(error) => return Err(Halt::Failed(error)),
        };
        self.plan.set_vmid(next);
        self.recorded.record(Event::Target { vmid: next.get(), node: self.plan.guest.node.to_string() });
        Ok(())
    }
}

impl Plan {
    /// Gives the guest to be another number, in every step that speaks of it.
    fn set_vmid(&mut self, next: Vmid) {
        let old = self.guest.vmid;
        self.guest.vmid = next;
        for step in &mut self.steps {
            if step.action == Action::Clone {
                step.params.set("newid", next);
            } else if step.guest.vmid == old {
                step.guest.vmid = next;
            }
        }
    }
}
