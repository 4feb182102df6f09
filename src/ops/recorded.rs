//! One recorded operation under way: each request written down before it goes out, its task followed, its end noted.
//!
//! The only place that submits. A request whose answer was lost is never sent again: its task is looked for, once. What
//! the requests are about, and in which order they go, is with `run` and `raw`.

use std::{mem, time::Duration};

use jiff::Timestamp;

use super::{Interrupt, Observer, Ops, RunOptions, Status};
use crate::{
    model::{
        Call, Class, Error, Event, Hint, Intent, OperationId, Result, Secrets, Sent, StepId, Submitted, Upid, Verdict,
    },
    tasks::{Watch, tail},
};

/// How many log lines of a failed task go with its error.
const LOG_TAIL: u64 = 10;
/// Among how many lines the warnings of a task are looked for.
const WARNED_TAIL: u64 = 200;
/// How the lines begin that tell what a task's warnings are.
const WARNING: &str = "WARN: ";
/// How long those lines are waited for.
const LOG_PATIENCE: Duration = Duration::from_secs(5);
/// How long the task of a request is looked for whose answer was lost.
const TASK_PATIENCE: Duration = Duration::from_secs(10);

/// Where an operation stands.
pub(super) struct Recorded<'a> {
    pub(super) ops: &'a Ops,
    pub(super) observer: &'a dyn Observer,
    pub(super) interrupt: &'a Interrupt,
    options: &'a RunOptions,
    operation: OperationId,
    /// The step that was written down as sent together with the plan.
    announced: Option<StepId>,
    /// What has happened and is written down with what comes next, before anything is waited for.
    noted: Vec<Event>,
    upid: Option<Upid>,
    exit_status: Option<String>,
    warned: bool,
    changed: bool,
    /// What was sent and must not be repeated: a task may do that in its own words.
    secrets: Secrets,
}

/// Why the requests ended before their end.
pub(super) enum Halt {
    /// One failed.
    Failed(Error),
    /// The answer was lost.
    Unknown(Error),
    /// Sent, and left alone.
    Left(Option<Error>),
    /// Interrupted between two.
    Cancelled,
}

/// How an operation ended, as far as it was watched.
pub(super) struct Ending {
    pub(super) status: Status,
    pub(super) upid: Option<Upid>,
    pub(super) exit_status: Option<String>,
    pub(super) changed: bool,
    pub(super) operation: Option<OperationId>,
    pub(super) error: Option<Error>,
    pub(super) log: Vec<String>,
}

impl<'a> Recorded<'a> {
    pub(super) fn new(
        ops: &'a Ops,
        options: &'a RunOptions,
        observer: &'a dyn Observer,
        interrupt: &'a Interrupt,
    ) -> Self {
        let operation = OperationId(0);
        Self {
            ops,
            observer,
            interrupt,
            options,
            operation,
            announced: None,
            noted: Vec::new(),
            upid: None,
            exit_status: None,
            warned: false,
            changed: false,
            secrets: Secrets::default(),
        }
    }

    /// Writes down what is about to be done, and that its first step is being sent, which has to follow at once. Nothing may
    /// be sent before.
    pub(super) fn plan(&mut self, intent: &Intent) -> Result<()> {
        const FIRST: StepId = 1;
        self.operation = self.ops.recorder.begin(intent, &[Event::Sent { step: FIRST }])?;
        self.announced = Some(FIRST);
        Ok(())
    }

    /// Whether somebody wishes that nothing more is sent. What was written down as sent is sent.
    pub(super) fn is_over(&self) -> bool {
        self.interrupt.is_raised() && self.announced.is_none()
    }

    /// Notes how what was done ended, where that is no task's word.
    pub(super) fn note(&mut self, exit_status: String) {
        self.exit_status = Some(exit_status);
    }

    /// Records what has happened. It has happened whether the journal takes it or not, so a failure is only told.
    pub(super) fn record(&mut self, event: Event) {
        self.noted.push(event);
        self.record_noted();
    }

    /// Records what was noted.
    fn record_noted(&mut self) {
        let noted = mem::take(&mut self.noted);
        if !noted.is_empty() {
            self.write_down(&noted);
        }
    }

    fn write_down(&self, events: &[Event]) {
        if let Err(error) = self.ops.recorder.events(self.operation, events) {
            self.observer.warning(&format!("the journal did not take an event: {error}"));
        }
    }

    /// Sends a request, which must be one that does nothing before it is polled, and follows its task. `call` is what it
    /// asks of the API: by that its task is found if the answer is lost.
    pub(super) async fn send(
        &mut self,
        id: StepId,
        call: Option<&Call>,
        request: impl Future<Output = Result<Submitted>>,
        watch: impl FnOnce(&Upid) -> Box<dyn Watch>,
    ) -> Result<(), Halt> {
        call.iter().for_each(|call| self.secrets.extend(&call.secrets()));
        // Before the request, and only then the request: whatever happens in between, the journal errs on the side
        // of "may have been sent".
        if self.announced.take() != Some(id) {
            self.noted.push(Event::Sent { step: id });
            let events = mem::take(&mut self.noted);
            self.ops.recorder.events(self.operation, &events).map_err(Halt::Failed)?;
        }
        let sent = Timestamp::now();
        let submitted = match request.await {
            Ok(submitted) => submitted,
            Err(error) if error.may_have_happened() => match self.task_of(call, sent).await {
                Some(upid) => {
                    self.observer.warning(&format!("the answer was lost ({error}), and its task was found: {upid}"));
                    Submitted::Task(upid)
                }
                None => return Err(Halt::Unknown(error.with_hint(Hint::MayHaveHappened))),
            },
            Err(error) if error.sent() == Some(Sent::Never) => {
                return Err(Halt::Failed(error.with_hint(Hint::Text("the change was not sent".to_owned()))));
            }
            Err(error) => return Err(Halt::Failed(error)),
        };
        let upid = match submitted {
            Submitted::Done(_) => {
                self.changed = true;
                self.noted.push(Event::Step { step: id, verdict: Verdict::Ok, exit_status: None });
                return Ok(());
            }
            Submitted::Task(upid) => upid,
        };
        self.record(Event::Upid { step: id, upid: upid.clone() });
        self.upid = Some(upid.clone());
        self.exit_status = None;
        if !self.options.wait {
            self.changed = true;
            return Err(Halt::Left(None));
        }
        let mut watch = watch(&upid);
        let mut latest = upid.clone();
        let this = &*self;
        let mut next = |upid: &Upid| {
            this.write_down(&[Event::Upid { step: id, upid: upid.clone() }]);
            latest = upid.clone();
        };
        let waited = tokio::select! {
            waited = this.ops.follow(&upid, &this.options.limits, &mut *watch, &mut next) => Some(waited),
            () = this.interrupt.raised() => None,
        };
        self.upid = Some(latest);
        let Some(waited) = waited else {
            let error = Error::new(Class::Interrupted, "interrupted: the task goes on")
                .with_hint(Hint::Resume(upid.to_string()));
            self.changed = true;
            return Err(Halt::Left(Some(error)));
        };
        // Not waited for to the end: it is being done.
        self.changed |= waited.is_err();
        let end = waited.map_err(|error| Halt::Left(Some(error)))?;
        self.changed |= end.is_success();
        let end_text = self.secrets.hide(&end.to_string()).into_owned();
        let verdict = Verdict::from(&end);
        let failure = (verdict == Verdict::Failed).then(|| Error::from_exit_status(&end_text));
        self.exit_status = Some(end_text);
        self.warned |= verdict == Verdict::Warning;
        self.noted.push(Event::Step { step: id, verdict, exit_status: self.exit_status.clone() });
        failure.map_or(Ok(()), |error| Err(Halt::Failed(error)))
    }

    /// Looks once for the task of a request whose answer was lost.
    async fn task_of(&self, call: Option<&Call>, sent: Timestamp) -> Option<Upid> {
        let found = tokio::time::timeout(TASK_PATIENCE, self.ops.task_of(call?, sent));
        tokio::select! {
            found = found => found.ok().flatten(),
            () = self.interrupt.raised() => None,
        }
    }

    /// Notes and tells the end. `explain` puts what was tried before an error, and may look at the end of the task's log.
    pub(super) async fn end(
        mut self,
        ended: Result<(), Halt>,
        explain: impl FnOnce(Error, &[String]) -> Error,
    ) -> Ending {
        let (verdict, status, error) = match ended {
            Ok(()) if self.warned => (Verdict::Warning, Status::Warning, None),
            Ok(()) => (Verdict::Ok, Status::Ok, None),
            // In flight: whoever comes back to the task records its end.
            Err(Halt::Left(error)) => {
                self.record_noted();
                return self.ending(Status::Running, error, Vec::new());
            }
            Err(Halt::Cancelled) => (Verdict::Cancelled, Status::Cancelled, None),
            Err(Halt::Unknown(error)) => (Verdict::Unknown, Status::Unknown, Some(error)),
            Err(Halt::Failed(error)) => (Verdict::Failed, Status::Failed, Some(error)),
        };
        let mut log = Vec::new();
        if let (Status::Failed | Status::Warning, Some(upid), Some(_)) = (status, self.upid.clone(), &self.exit_status)
        {
            self.record_noted();
            let lines = tail(&*self.ops.backend, &upid, if status == Status::Failed { LOG_TAIL } else { WARNED_TAIL });
            let lines = tokio::time::timeout(LOG_PATIENCE, lines).await.unwrap_or_default();
            let wanted = |line: &String| status == Status::Failed || line.starts_with(WARNING);
            let shown = lines.into_iter().map(|line| self.secrets.hide(&line.t).into_owned());
            log = shown.filter(wanted).collect();
        }
        let error = error.map(|error| explain(error, &log));
        self.noted.push(Event::Ended {
            verdict,
            exit_status: self.exit_status.clone(),
            error: error.as_ref().map(ToString::to_string),
        });
        self.record_noted();
        self.ending(status, error, log)
    }

    /// An end of which the journal is not told: nothing was planned, or the rest is to come.
    pub(super) fn ending(self, status: Status, error: Option<Error>, log: Vec<String>) -> Ending {
        Ending {
            status,
            upid: self.upid,
            exit_status: self.exit_status,
            changed: self.changed,
            operation: (self.operation.0 != 0).then_some(self.operation),
            error,
            log,
        }
    }
}
