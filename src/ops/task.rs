//! Stopping a task: the one change that is about a task and not about a guest.

use serde_json::{Value, json};

use super::{Interrupt, Ops, RunOptions, Silent, recorded::Recorded};
use crate::{
    model::{ExitStatus, Intent, Result, Submitted, Upid},
    tasks::{Limits, NoWatch},
};

impl Ops {
    /// Asks a running task to stop, recorded like every change, and waits for its end.
    ///
    /// # Errors
    /// As any change; [`Class::Unfinished`](crate::model::Class::Unfinished) if it does not stop in time.
    pub async fn stop_task(&self, upid: &Upid, limits: &Limits) -> Result<ExitStatus> {
        let path = format!("/nodes/{}/tasks/{upid}", upid.node);
        let options = RunOptions::default();
        let interrupt = Interrupt::default();
        let mut recorded = Recorded::new(self, &options, &Silent, &interrupt);
        recorded.plan(&Intent {
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
        let request = async { self.backend.stop_task(upid).await.map(|()| Submitted::Done(Value::Null)) };
        let ended = recorded.send(1, None, request, |_| Box::new(NoWatch)).await;
        if let Some(error) = recorded.end(ended, |error, _| error).await.error {
            return Err(error);
        }
        self.follower.wait(upid, limits, &mut NoWatch).await
    }
}
