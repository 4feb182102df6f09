//! The plain routes of a host that pvectl serves, beside the API of Proxmox VE: the host itself, its programs.
//!
//! Whoever logs in there is let in here. A change is sent once, as everywhere: an answer that is lost leaves it open.

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::{
    Client,
    path::segments,
    request::{Plain, Request},
    response::Answer,
};
use crate::model::{Call, Heartbeat, Method, Params, QueuedStep, Ran, Result, ServedHost, Upid, Vmid};

/// How much longer an answer may take than what it tells of.
const ON_ITS_WAY: Duration = Duration::from_secs(30);

impl Client {
    /// What a served host tells of itself.
    ///
    /// # Errors
    /// As [`Client::send`]; [`Class::Usage`](crate::model::Class::Usage) where the server is none that pvectl serves.
    pub async fn served_host(&self) -> Result<ServedHost> {
        self.plain(&Call::new(Method::Get, "/api/host"), None, Plain::default()).await
    }

    /// Has a served host send a heartbeat now, and tells how it went.
    ///
    /// # Errors
    /// As [`served_host`](Self::served_host), and where it sends none to anybody.
    pub async fn send_heartbeat(&self) -> Result<Heartbeat> {
        self.plain(&Call::new(Method::Post, "/api/host/heartbeat"), None, Plain::default()).await
    }

    /// Runs a program that the owner of a served host lists by this name, with these arguments, for so many seconds at
    /// most (the host's own limit without). `id` is what the request is called, in the host's log and journal.
    ///
    /// # Errors
    /// As [`served_host`](Self::served_host); [`Class::NotFound`](crate::model::Class::NotFound) for a name that is not listed. When the answer is lost
    /// the program may have run: [`Error::may_have_happened`](crate::Error::may_have_happened).
    pub async fn run_on_host(&self, name: &str, args: &[String], seconds: Option<u64>, id: &str) -> Result<Ran> {
        let mut body = json!({"args": args});
        if let Some(seconds) = seconds {
            body["timeout"] = seconds.into();
        }
        let limit = seconds.map(|seconds| Duration::from_secs(seconds) + ON_ITS_WAY);
        let call = Call::new(Method::Post, segments(&["api", "exec", name]));
        self.plain(&call, Some(&body), Plain { id: Some(id.to_owned()), limit }).await
    }

    /// What waits in the queues of a served host's VMs, as far as one may see them, in the order in which it will be done.
    ///
    /// # Errors
    /// As [`served_host`](Self::served_host).
    pub async fn host_queue(&self) -> Result<Vec<QueuedStep>> {
        self.plain(&Call::new(Method::Get, "/api/queue"), None, Plain::default()).await
    }

    /// Puts a change of a VM's configuration into its queue on a served host, with the parameters of `PUT …/config`. The
    /// task that is given back ends when the change was made, failed or was cancelled.
    ///
    /// # Errors
    /// As [`served_host`](Self::served_host); what the change itself would be refused with. It is sent once: when the
    /// answer is lost it may wait there ([`Error::may_have_happened`](crate::Error::may_have_happened)), see
    /// [`host_queue`](Self::host_queue).
    pub async fn enqueue(&self, vmid: Vmid, params: &Params) -> Result<Upid> {
        #[derive(serde::Deserialize)]
        struct Queued {
            upid: Upid,
        }
        let params: Map<String, Value> = params.iter().map(|(key, value)| (key.to_owned(), value.into())).collect();
        let body = json!({"vmid": vmid, "params": params});
        let call = Call::new(Method::Post, "/api/queue");
        self.plain(&call, Some(&body), Plain::default()).await.map(|Queued { upid }| upid)
    }

    /// Takes something out of a queue, by its number.
    ///
    /// # Errors
    /// As [`served_host`](Self::served_host); [`Class::NotFound`](crate::model::Class::NotFound) if it is not there (any more).
    pub async fn cancel_queued(&self, id: i64) -> Result<()> {
        let call = Call::new(Method::Delete, segments(&["api", "queue", &id.to_string()]));
        self.plain::<Value>(&call, None, Plain::default()).await.map(drop)
    }

    pub(super) async fn plain<T: DeserializeOwned>(
        &self,
        call: &Call,
        body: Option<&Value>,
        plain: Plain,
    ) -> Result<T> {
        Ok(self.answered(&Request::plain(call, body, plain)?, Answer::plain).await?.0)
    }
}
