//! Stopping a task: the one change that is about a task and not about a guest.

use serde_json::json;

use super::Ops;
use crate::{
    model::{Event, ExitStatus, Hint, Intent, Result, Upid, Verdict},
    tasks::{Limits, NoWatch},
};

impl Ops {
    /// Asks a running task to stop, recorded like every change, and waits for its end.
    ///
    /// # Errors
    /// As any change; [`Class::Unfinished`](crate::model::Class::Unfinished) if it does not stop in time.
    pub async fn stop_task(&self, upid: &Upid, limits: &Limits) -> Result<ExitStatus> {
        let path = format!("/nodes/{}/tasks/{upid}", upid.node);
        let operation = self.recorder.plan(&Intent {
            verb: "stop".to_owned(),
            target: upid.to_string(),
            kind: "task".to_owned(),
            vmid: upid.id.parse().ok(),
            node: Some(upid.node.to_string()),
            context: self.context.clone(),
            user: self.backend.user(),
            steps: vec![json!({"method": "DELETE", "path": path, "params": {}})],
            ..Intent::default()
        })?;
        self.recorder.event(operation, &Event::Sent { step: 1 })?;
        let stopped = self.backend.stop_task(upid).await;
        let verdict = match &stopped {
            Ok(()) => Verdict::Ok,
            Err(error) if error.may_have_happened() => Verdict::Unknown,
            Err(_) => Verdict::Failed,
        };
        let error = stopped.as_ref().err().map(ToString::to_string);
        // The request is over; that the journal takes no more does not undo it.
        let _ = self.recorder.event(operation, &Event::Ended { verdict, exit_status: None, error });
        stopped.map_err(
            |error| if verdict == Verdict::Unknown { error.with_hint(Hint::MayHaveHappened) } else { error },
        )?;
        self.follower.wait(upid, limits, &mut NoWatch).await
    }
}
