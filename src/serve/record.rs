//! The journal of a served host: a change is written down before it is begun, with the name of its request, and its end is
//! written down whoever still waits for it.
//!
//! It decides nothing and changes nothing itself: what is done is the backend's.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use serde_json::Value;
use tokio::task::JoinSet;

use super::{Host, Metrics};
use crate::{
    backends::{Action, Step},
    model::{ConfigView, Event, Intent, OperationId, Recorder, Result, Submitted, Verdict},
    ops as verbs,
    server::Request,
    tasks::{Limits, NoWatch},
};

/// What the journal calls the place where this is done: the context of the commands on this host.
pub(super) const CONTEXT: &str = "local";

/// The ends that are waited for.
#[derive(Default)]
pub(super) struct Ends(Mutex<JoinSet<()>>);

impl Ends {
    fn add(&self, end: impl Future<Output = ()> + Send + 'static) {
        let mut ends = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while ends.try_join_next().is_some() {}
        ends.spawn(end);
    }

    /// Waits for all of them.
    pub(super) async fn all(&self) {
        let mut ends = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        while ends.join_next().await.is_some() {}
    }
}

/// An operation in the journal, from its beginning to its end; the figures are told too.
pub(super) struct Operation {
    recorder: Arc<dyn Recorder>,
    metrics: Arc<Metrics>,
    id: OperationId,
    verb: String,
    begun: Instant,
}

impl Operation {
    /// Writes down what is about to be done.
    ///
    /// # Errors
    /// When it cannot be written: then nothing may be done.
    pub(super) fn begin(host: &Host, intent: &Intent) -> Result<Self> {
        let id = host.recorder.begin(intent, &[Event::Sent { step: 1 }])?;
        let (recorder, metrics) = (host.recorder.clone(), host.metrics.clone());
        Ok(Self { recorder, metrics, id, verb: intent.verb.clone(), begun: Instant::now() })
    }

    fn note(&self, events: &[Event]) {
        // It is done or under way by now: what cannot be written is looked up by the next command.
        if let Err(error) = self.recorder.events(self.id, events) {
            tracing::warn!(%error, operation = self.id.0, "the journal was not told how it goes on");
        }
    }

    /// Writes down how it ended.
    pub(super) fn end(&self, verdict: Verdict, exit_status: Option<String>) {
        let error = exit_status.clone().filter(|_| verdict == Verdict::Failed);
        self.note(&[
            Event::Step { step: 1, verdict, exit_status: exit_status.clone() },
            Event::Ended { verdict, exit_status, error },
        ]);
        self.metrics.action(&self.verb, verdict, self.begun.elapsed());
    }
}

/// When a step is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    /// At once.
    Now,
    /// When its guest can, after what waits before it.
    Queued,
}

/// What an action is called on the command line, and so in the journal.
fn verb(action: Action) -> &'static str {
    let power = verbs::POWER_VERBS.iter().find(|verb| verb.action == action);
    match action {
        Action::Create => verbs::CREATE.name,
        Action::Clone => verbs::CLONE.name,
        Action::Destroy => verbs::DELETE.name,
        Action::Template => verbs::TEMPLATE.name,
        Action::ResizeDisk => verbs::RESIZE_DISK.name,
        Action::Snapshot => verbs::SNAPSHOT.name,
        Action::SnapshotUpdate => verbs::UPDATE_SNAPSHOT.name,
        Action::SnapshotDelete => verbs::DELETE_SNAPSHOT.name,
        Action::Rollback => verbs::ROLLBACK.name,
        _ => power.map_or(verbs::UPDATE.name, |verb| verb.words.name),
    }
}

impl Host {
    /// Has the backend do a step or put it into a queue, and keeps the record of it.
    pub(super) async fn submit(&self, request: &Request, step: &Step, when: When) -> Result<Submitted> {
        let call = self.backend.call(step)?;
        let (config, name) = self.before(step).await;
        let intent = Intent {
            verb: verb(step.action).to_owned(),
            target: step.guest.vmid.to_string(),
            kind: step.guest.kind.api().to_owned(),
            vmid: Some(step.guest.vmid.get()),
            name,
            node: Some(step.guest.node.to_string()),
            context: CONTEXT.to_owned(),
            user: request.identity.as_ref().map_or_else(|| self.backend.user(), crate::server::Identity::authid),
            steps: vec![call.to_json()],
            config_before: config,
            request: Some(request.id.clone()),
            ..Intent::default()
        };
        let operation = Operation::begin(self, &intent)?;
        let acting = request.identity.as_ref().and_then(|who| self.backend.acting_for(&who.authid()));
        let backend = acting.as_ref().unwrap_or(&self.backend);
        let submitted = match when {
            When::Now => backend.submit(step).await,
            When::Queued => backend.enqueue(step).await,
        };
        match submitted {
            Ok(Submitted::Task(upid)) => {
                operation.note(&[Event::Upid { step: 1, upid: upid.clone() }]);
                // What waits is nothing to wait for: its end is found by the task's name.
                if when == When::Queued {
                    return Ok(Submitted::Task(upid));
                }
                let (follower, followed) = (self.follower.clone(), upid.clone());
                self.ends.add(async move {
                    match follower.wait(&followed, &Limits::default(), &mut NoWatch).await {
                        Ok(end) => operation.end(Verdict::from(&end), Some(end.to_string())),
                        // The next command finds it by its name.
                        Err(error) => tracing::warn!(%error, "the end of a task was not seen"),
                    }
                });
                Ok(Submitted::Task(upid))
            }
            Ok(done) => {
                operation.end(Verdict::Ok, None);
                Ok(done)
            }
            Err(error) => {
                let verdict = if error.may_have_happened() { Verdict::Unknown } else { Verdict::Failed };
                operation.end(verdict, Some(error.to_string()));
                Err(error)
            }
        }
    }

    /// The configuration before a change that loses something of it, and the name of the guest.
    async fn before(&self, step: &Step) -> (Option<Value>, Option<String>) {
        let given = |key: &str| step.params.get(key).map(str::to_owned);
        if step.action == Action::Create {
            return (None, given("name"));
        }
        let Ok(config) = self.backend.guest_config(&step.guest, ConfigView::Current).await else { return (None, None) };
        let name = config.text("name");
        let loses = matches!(
            step.action,
            Action::Configure | Action::ConfigureInTask | Action::Destroy | Action::Rollback | Action::ResizeDisk
        );
        (loses.then(|| Value::from(config.0)), name)
    }
}
