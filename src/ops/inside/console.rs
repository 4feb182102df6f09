//! Consoles: opened by the backend, and written down, for what is typed there may change anything.

use super::about;
use crate::{
    backends::Console,
    model::{Call, Event, GuestRef, Intent, Method, NodeName, Result, Verdict},
    ops::Ops,
};

impl Ops {
    /// Opens the console of a guest. That it was opened is kept, what is typed and said there is not.
    ///
    /// # Errors
    /// As [`Backend::console`](crate::backends::Backend::console).
    pub async fn console(&self, guest: &GuestRef, label: &str) -> Result<Console> {
        if self.backend().capabilities().here {
            return self.backend().console(guest).await;
        }
        let intent = Intent {
            target: label.to_owned(),
            kind: guest.kind.api().to_owned(),
            vmid: Some(guest.vmid.get()),
            node: Some(guest.node.to_string()),
            steps: vec![Call::new(Method::Post, about(guest, &["termproxy"])).to_json()],
            ..Intent::default()
        };
        self.opened(intent, self.backend().console(guest)).await
    }

    /// The same of a node.
    ///
    /// # Errors
    /// As [`console`](Self::console).
    pub async fn node_console(&self, node: &NodeName) -> Result<Console> {
        let path = crate::client::path::segments(&["nodes", node.as_str(), "termproxy"]);
        let intent = Intent {
            target: format!("node/{node}"),
            kind: "node".to_owned(),
            node: Some(node.to_string()),
            steps: vec![Call::new(Method::Post, path).to_json()],
            ..Intent::default()
        };
        self.opened(intent, self.backend().node_console(node)).await
    }

    async fn opened(&self, intent: Intent, opening: impl Future<Output = Result<Console>>) -> Result<Console> {
        let intent = Intent {
            verb: "console".to_owned(),
            context: self.context().to_owned(),
            user: self.backend().user(),
            ..intent
        };
        let operation = self.recorder.begin(&intent, &[Event::Sent { step: 1 }])?;
        let opened = opening.await;
        let (verdict, error) = match &opened {
            Ok(_) => (Verdict::Ok, None),
            Err(error) => (Verdict::Failed, Some(error.to_string())),
        };
        self.recorder.event(operation, &Event::Ended { verdict, exit_status: None, error })?;
        opened
    }
}
