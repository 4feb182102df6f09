//! Closing the journal's open ends: operations whose task was left before it ended.
//!
//! Works by UPID; whose answer was lost has none, and `lost` looks for it. Nothing is ever resent.

use jiff::{SignedDuration, Timestamp};

use super::{Ops, ha::Asked};
use crate::model::{Class, Event, ExitStatus, OperationId, StepId, Upid, Verdict};

/// After so long nobody can say any more whether HA did what it was told, or somebody something else.
const FORGOTTEN: SignedDuration = SignedDuration::from_hours(1);

impl Ops {
    /// Asks the server how a left task is doing, and records its end if it has one. `last` says whether the step was
    /// the operation's last. Gives the end, or `None` if the task runs or cannot be asked for.
    pub async fn reconcile(&self, operation: OperationId, step: StepId, last: bool, upid: &Upid) -> Option<ExitStatus> {
        let status = self.backend.task_status(upid).await;
        let end = match status {
            Ok(status) => status.ended()?,
            // The server has forgotten the task: its end will never be known.
            Err(error) if error.class() == Class::NotFound => {
                self.end(operation, Verdict::Unknown, None, Some("the server no longer knows the task".into()));
                return None;
            }
            Err(_) => return None,
        };
        let end = match Asked::of(upid) {
            Some(asked) if end.is_success() => self.reconcile_ha(operation, step, &asked, upid).await?,
            _ => end,
        };
        self.record_end(operation, step, last, &end);
        Some(end)
    }

    /// What HA made of what it was told, if it has done it. The task in which it does it is noted.
    async fn reconcile_ha(
        &self,
        operation: OperationId,
        step: StepId,
        asked: &Asked,
        told: &Upid,
    ) -> Option<ExitStatus> {
        let (end, task) = self.ha_end(asked).await.ok()?;
        if let Some(upid) = &task {
            self.claim(operation, &Event::Upid { step, upid: upid.clone() });
        } else if end.is_none() && Timestamp::now().duration_since(told.started()) > FORGOTTEN {
            self.end(operation, Verdict::Unknown, None, Some("what HA made of it is not known".into()));
        }
        end
    }

    /// Records the end of an operation's task that somebody else followed.
    pub fn record_end(&self, operation: OperationId, step: StepId, last: bool, end: &ExitStatus) {
        let verdict = Verdict::from(end);
        let exit_status = Some(end.to_string());
        let error = exit_status.clone().filter(|_| verdict == Verdict::Failed);
        let event = Event::Step { step, verdict, exit_status: exit_status.clone() };
        if self.recorder.event(operation, &event).is_err() {
            return;
        }
        if last || verdict == Verdict::Failed {
            self.end(operation, verdict, exit_status, error);
        } else {
            self.end(operation, Verdict::Cancelled, exit_status, Some("left before its next step was sent".into()));
        }
    }

    /// Records what was found out about an operation that was left.
    pub fn claim(&self, operation: OperationId, event: &Event) {
        // As with an end: what is not written now is found again by the next command.
        let _ = self.recorder.event(operation, event);
    }

    /// Closes an operation that was left without a task to ask about.
    pub fn close(&self, operation: OperationId, verdict: Verdict, why: &str) {
        self.end(operation, verdict, None, Some(why.to_owned()));
    }

    fn end(&self, operation: OperationId, verdict: Verdict, exit_status: Option<String>, error: Option<String>) {
        // A journal that cannot be written now is asked again by the next command.
        let _ = self.recorder.event(operation, &Event::Ended { verdict, exit_status, error });
    }
}
