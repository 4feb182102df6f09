//! Running plans: every step recorded before it goes out, followed to its end, and told about.
//!
//! The only place that submits steps. A step whose answer was lost is never sent again.

use std::time::Duration;

use futures_util::{StreamExt, stream};

use super::{Interrupt, Observer, Ops, Outcome, Plan, Status};
use crate::{
    backends::Action,
    model::{
        Class, Error, Event, ExitStatus, Hint, Intent, OperationId, Result, StepId, Submitted, Upid, Verdict, Vmid,
    },
    tasks::{Limits, tail},
};

/// How often a create is tried with the next VMID when somebody else was faster.
const VMID_TRIES: u32 = 10;
/// How many log lines of a failed task go with its error.
const LOG_TAIL: u64 = 10;

/// How plans are run.
#[derive(Debug, Clone, Copy)]
pub struct RunOptions {
    /// Follow tasks to their end; otherwise return once they are named.
    pub wait: bool,
    /// When the following ends early.
    pub limits: Limits,
    /// How many plans are at work at once.
    pub parallel: usize,
}

impl Default for RunOptions {
    fn default() -> Self {
        Self { wait: true, limits: Limits::default(), parallel: 8 }
    }
}

/// Where a run stands.
struct Run<'a> {
    ops: &'a Ops,
    index: usize,
    plan: Plan,
    options: &'a RunOptions,
    observer: &'a dyn Observer,
    interrupt: &'a Interrupt,
    operation: OperationId,
    upid: Option<Upid>,
    exit_status: Option<String>,
    warned: bool,
    changed: bool,
}

/// Why the steps ended before their end.
enum Halt {
    /// A step failed.
    Failed(Error),
    /// The answer was lost.
    Unknown(Error),
    /// Sent, and left alone.
    Left(Option<Error>),
    /// Interrupted between steps.
    Cancelled,
}

impl Ops {
    /// Runs plans, several at once, and gives an outcome for each, in the order of the plans.
    pub async fn run(
        &self,
        plans: Vec<Plan>,
        options: &RunOptions,
        observer: &dyn Observer,
        interrupt: &Interrupt,
    ) -> Vec<Outcome> {
        // As long as this lives, an interrupt is minded, also between two waits.
        let _minding = interrupt.mind();
        let runs = plans.into_iter().enumerate().map(async |(index, plan)| {
            let outcome = self.run_one(index, plan, options, observer, interrupt).await;
            observer.outcome(index, &outcome);
            (index, outcome)
        });
        // A slow guest must not hold up those that come after it; the order is restored at the end.
        let mut outcomes: Vec<(usize, Outcome)> =
            stream::iter(runs).buffer_unordered(options.parallel.max(1)).collect().await;
        outcomes.sort_by_key(|(index, _)| *index);
        outcomes.into_iter().map(|(_, outcome)| outcome).collect()
    }

    async fn run_one(
        &self,
        index: usize,
        plan: Plan,
        options: &RunOptions,
        observer: &dyn Observer,
        interrupt: &Interrupt,
    ) -> Outcome {
        let steps = plan.steps.len();
        let mut run = Run {
            ops: self,
            index,
            plan,
            options,
            observer,
            interrupt,
            operation: OperationId(0),
            upid: None,
            exit_status: None,
            warned: false,
            changed: false,
        };
        if steps == 0 {
            return run.outcome(Status::Ok, None, Vec::new());
        }
        if interrupt.is_raised() {
            return run.outcome(Status::Cancelled, None, Vec::new());
        }
        match run.intent().and_then(|intent| self.recorder.plan(&intent)) {
            Ok(operation) => run.operation = operation,
            Err(error) => return run.outcome(Status::Failed, Some(error), Vec::new()),
        }
        for step in 0..steps {
            if let Err(halt) = run.step(step).await {
                return run.halted(halt, step).await;
            }
        }
        let (verdict, status) =
            if run.warned { (Verdict::Warning, Status::Warning) } else { (Verdict::Ok, Status::Ok) };
        run.record(&Event::Ended { verdict, exit_status: run.exit_status.clone(), error: None });
        run.outcome(status, None, Vec::new())
    }
}

impl Run<'_> {
    fn intent(&self) -> Result<Intent> {
        let plan = &self.plan;
        let backend = self.ops.backend();
        Ok(Intent {
            verb: plan.words.name.to_owned(),
            target: plan.target.clone(),
            kind: plan.guest.kind.api().to_owned(),
            vmid: Some(plan.guest.vmid.get()),
            name: plan.name.clone(),
            node: Some(plan.guest.node.to_string()),
            context: self.ops.context.clone(),
            user: backend.user(),
            steps: plan.calls(backend)?,
            config_before: plan.config_before.as_ref().map(|config| config.0.clone().into()),
        })
    }

    /// Records what has happened. It has happened whether the journal takes it or not, so a failure is only told.
    fn record(&self, event: &Event) {
        if let Err(error) = self.ops.recorder.event(self.operation, event) {
            self.observer.warning(&format!("the journal did not take an event: {error}"));
        }
    }

    async fn step(&mut self, at: usize) -> Result<(), Halt> {
        let id = at as StepId + 1;
        for attempt in 1.. {
            if self.interrupt.is_raised() {
                return Err(Halt::Cancelled);
            }
            let ended = self.send(at, id).await;
            match ended {
                Ok(()) => break,
                Err(Halt::Failed(error)) if attempt < VMID_TRIES && self.may_take_another_vmid(at, &error) => {
                    self.take_another_vmid(error).await?;
                }
                Err(halt) => return Err(halt),
            }
        }
        Ok(())
    }

    /// Sends a step and follows its task.
    async fn send(&mut self, at: usize, id: StepId) -> Result<(), Halt> {
        let step = self.plan.steps[at].clone();
        self.observer.step(self.index, &self.plan, &step);
        // Before the request, and only then the request: whatever happens in between, the journal errs on the side
        // of "may have been sent".
        self.ops.recorder.event(self.operation, &Event::Sent { step: id }).map_err(Halt::Failed)?;
        let submitted = match self.ops.backend.submit(&step).await {
            Ok(submitted) => submitted,
            Err(error) if error.may_have_happened() => {
                return Err(Halt::Unknown(error.with_hint(Hint::MayHaveHappened)));
            }
            Err(error) => return Err(Halt::Failed(error)),
        };
        let upid = match submitted {
            Submitted::Done(_) => {
                self.changed = true;
                self.record(&Event::Step { step: id, verdict: Verdict::Ok, exit_status: None });
                return Ok(());
            }
            Submitted::Task(upid) => upid,
        };
        self.record(&Event::Upid { step: id, upid: upid.clone() });
        self.upid = Some(upid.clone());
        self.exit_status = None;
        if !self.options.wait {
            self.changed = true;
            return Err(Halt::Left(None));
        }
        let mut watch = self.observer.task(self.index, &self.plan, &upid);
        let waited = tokio::select! {
            waited = self.ops.follower.wait(&upid, &self.options.limits, &mut *watch) => waited,
            () = self.interrupt.raised() => {
                let error = Error::new(Class::Interrupted, "interrupted: the task goes on")
                    .with_hint(Hint::Resume(upid.to_string()));
                self.changed = true;
                return Err(Halt::Left(Some(error)));
            }
        };
        // Not waited for to the end: it is being done.
        self.changed |= waited.is_err();
        let end = waited.map_err(|error| Halt::Left(Some(error)))?;
        self.changed |= end.is_success();
        self.exit_status = Some(end.to_string());
        let (verdict, failure) = match &end {
            ExitStatus::Ok => (Verdict::Ok, None),
            ExitStatus::Warnings(_) => (Verdict::Warning, None),
            ExitStatus::Failed(text) => (Verdict::Failed, Some(Error::from_exit_status(text))),
        };
        self.warned |= verdict == Verdict::Warning;
        self.record(&Event::Step { step: id, verdict, exit_status: self.exit_status.clone() });
        failure.map_or(Ok(()), |error| Err(Halt::Failed(error)))
    }

    /// Only a received "already exists" about the very guest that a first step makes allows another number.
    fn may_take_another_vmid(&self, at: usize, error: &Error) -> bool {
        let makes = matches!(self.plan.steps[at].action, Action::Create | Action::Clone);
        makes
            && at == 0
            && self.plan.vmid_is_free_choice
            && error.class() == Class::Conflict
            && error.hints().iter().any(|hint| matches!(hint, Hint::VmidTaken(_)))
    }

    async fn take_another_vmid(&mut self, taken: Error) -> Result<(), Halt> {
        let old = self.plan.guest.vmid;
        let next = match self.ops.backend.next_vmid().await {
            Ok(next) if next != old => next,
            // The server offers what it refuses: another try would only repeat that.
            Ok(_) => return Err(Halt::Failed(taken)),
            Err(error) => return Err(Halt::Failed(error)),
        };
        self.plan.set_vmid(next);
        self.record(&Event::Target { vmid: next.get(), node: self.plan.guest.node.to_string() });
        Ok(())
    }

    /// Records and reports an end before the end.
    async fn halted(self, halt: Halt, at: usize) -> Outcome {
        let words = self.plan.words;
        let (verdict, status, error) = match halt {
            // In flight: whoever comes back to the task records its end.
            Halt::Left(error) => return self.outcome(Status::Running, error, Vec::new()),
            Halt::Cancelled => (Verdict::Cancelled, Status::Cancelled, None),
            Halt::Unknown(error) => (Verdict::Unknown, Status::Unknown, Some(error)),
            Halt::Failed(error) => (Verdict::Failed, Status::Failed, Some(error)),
        };
        let mut log = Vec::new();
        if let (Status::Failed, Some(upid), Some(_)) = (status, &self.upid, &self.exit_status) {
            let lines = tail(&*self.ops.backend, upid, LOG_TAIL);
            let lines = tokio::time::timeout(Duration::from_secs(5), lines).await.unwrap_or_default();
            log = lines.into_iter().map(|line| line.t).collect();
        }
        let error = error.map(|error| {
            let error = error.context(format_args!("cannot {} {}", words.name, self.plan.label()));
            match self.leftover(at) {
                Some(leftover) => error.with_hint(Hint::Text(leftover)),
                None => error,
            }
        });
        self.record(&Event::Ended {
            verdict,
            exit_status: self.exit_status.clone(),
            error: error.as_ref().map(ToString::to_string),
        });
        self.outcome(status, error, log)
    }

    /// What the steps that went well have left behind when a later one fails.
    fn leftover(&self, at: usize) -> Option<String> {
        let made = self.plan.steps[..at].iter().any(|step| matches!(step.action, Action::Create | Action::Clone));
        let stopped = self.plan.steps[..at].iter().any(|step| step.action == Action::Stop);
        let starts = self.plan.steps[at..].iter().any(|step| step.action == Action::Start);
        let guest = &self.plan.guest;
        match (made, stopped) {
            (true, _) if starts => Some(format!(
                "{} was made and is kept; when the cause is mended, `pvectl {} start {}`",
                self.plan.label(),
                guest.kind,
                guest.vmid
            )),
            (true, _) => Some(format!("{} was made and is kept", self.plan.label())),
            (_, true) => Some(format!("{} was stopped", self.plan.label())),
            _ => None,
        }
    }

    fn outcome(self, status: Status, error: Option<Error>, log: Vec<String>) -> Outcome {
        Outcome {
            vmid: self.plan.guest.vmid,
            name: self.plan.name,
            node: self.plan.guest.node,
            verb: self.plan.words,
            status,
            upid: self.upid,
            exit_status: self.exit_status,
            changed: self.changed,
            context: self.ops.context.clone(),
            kind: self.plan.guest.kind,
            operation: (self.operation.0 != 0).then_some(self.operation),
            error,
            log,
        }
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
