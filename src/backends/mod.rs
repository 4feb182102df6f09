//! The places where guests live, behind one trait: today a Proxmox VE cluster.
//!
//! A backend speaks of guests, tasks, nodes and storage in Proxmox's terms and does single steps. What a verb means,
//! in which order steps go and what is checked before is in `ops`.

mod action;
pub(crate) mod agent;
#[cfg(all(feature = "local", target_os = "linux"))]
pub mod cloud_hypervisor;
mod console;
mod proxmox;
pub(crate) mod term;
mod watch;

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::{Map, Value};

pub use action::{ACTIONS, Action, ActionSpec, Capabilities, Support};
pub use agent::Executed;
pub use console::{Console, LogOf, LogReader, LogRequest};
pub use proxmox::Proxmox;
pub use watch::{GuestWatch, Sighting};

use crate::{
    client::{Reply, path},
    model::{
        Away, Call, ConfigView, Error, Guest, GuestConfig, GuestRef, Hint, Node, NodeName, Params, Pending, QueuedStep,
        Result, Snapshot, Storage, Submitted, TaskEntry, Timeframe, Vmid, Volume,
    },
    tasks::TaskSource,
};

/// What each backend can do.
pub const BACKENDS: &[Capabilities] = &[
    Proxmox::CAPABILITIES,
    #[cfg(all(feature = "local", target_os = "linux"))]
    cloud_hypervisor::mapping::CAPABILITIES,
];

/// One change of one guest, in Proxmox's terms: a pure value that can be printed before it is done.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// What is done.
    pub action: Action,
    /// To which guest. For [`Action::Clone`] this is the source; for [`Action::Create`] the one to be.
    pub guest: GuestRef,
    /// With which parameters, by PVE's names.
    pub params: Params,
}

impl Step {
    /// A step without parameters.
    pub fn new(action: Action, guest: GuestRef) -> Self {
        Self { action, guest, params: Params::new() }
    }

    /// The same with these parameters.
    #[must_use]
    pub fn with_params(mut self, params: Params) -> Self {
        self.params = params;
        self
    }

    /// The call of the API that it stands for, whoever carries it out.
    pub fn call(&self) -> Call {
        let Self { action, guest, params } = self;
        let spec = action.spec();
        let template = spec.template(guest.kind);
        let mut params = params.clone();
        params.extend(spec.fixed.iter().copied());
        if !template.contains("{vmid}") {
            params.set("vmid", guest.vmid);
        }
        let mut path = String::new();
        for part in template.split('/').skip(1) {
            let name = part.strip_prefix('{').and_then(|part| part.strip_suffix('}'));
            path += &path::segments(&[match name {
                None => part.to_owned(),
                Some("node") => guest.node.to_string(),
                Some("vmid") => guest.vmid.to_string(),
                // A plan's parameters were checked against the contract, where what stands in a path is required.
                Some(name) => params.remove(name).unwrap_or_default(),
            }]);
        }
        Call::new(spec.method, path).with_params(params)
    }
}

/// Which rows of a task list are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TaskQuery {
    /// Of this node only.
    pub node: Option<NodeName>,
    /// About this guest only.
    pub vmid: Option<Vmid>,
    /// Running ones only.
    pub running: bool,
    /// Failed ones only.
    pub errors: bool,
    /// At most so many, the newest first.
    pub limit: u64,
}

fn no_queue() -> Error {
    Error::usage("there is no queue of changes there")
}

/// A place where guests live. Reads may be repeated; [`submit`](Self::submit) never is, unless its error says that the
/// request was never sent.
#[async_trait]
pub trait Backend: TaskSource {
    /// What it can do.
    fn capabilities(&self) -> &Capabilities;

    /// Who works on it, `user@realm` or `user@realm!token`, as far as known.
    fn user(&self) -> String;

    /// The same backend with somebody else at work, whose name stands in tasks from now on; `None` where everybody logs in
    /// alone.
    fn acting_for(&self, _user: &str) -> Option<Arc<dyn Backend>> {
        None
    }

    /// The API call a step stands for. Pure: nothing is sent.
    ///
    /// # Errors
    /// [`Class::Usage`](crate::model::Class::Usage) for what this backend cannot do, with the reason and the way out.
    fn call(&self, step: &Step) -> Result<Call>;

    /// Does a step.
    ///
    /// # Errors
    /// As [`call`](Self::call), and whatever the server says.
    async fn submit(&self, step: &Step) -> Result<Submitted>;

    /// Puts a step into its guest's queue: it is done once, after those before it, by the next command that finds the
    /// guest in a state that allows it. The task ends when it was.
    ///
    /// # Errors
    /// [`Class::Usage`](crate::model::Class::Usage) where there is no queue; as [`call`](Self::call).
    async fn enqueue(&self, _: &Step) -> Result<Submitted> {
        Err(no_queue())
    }

    /// What waits in the queue of a guest or of all, in order.
    ///
    /// # Errors
    /// [`Class::Usage`](crate::model::Class::Usage) where there is no queue.
    async fn queue(&self, _: Option<Vmid>) -> Result<Vec<QueuedStep>> {
        Err(no_queue())
    }

    /// Takes a step out of the queue.
    ///
    /// # Errors
    /// [`Class::NotFound`](crate::model::Class::NotFound) if it is not there (any more),
    /// [`Class::Conflict`](crate::model::Class::Conflict) while it is being done.
    async fn cancel_queued(&self, _: i64) -> Result<()> {
        Err(no_queue())
    }

    /// Makes a call of the API as it is, unchecked.
    ///
    /// # Errors
    /// Whatever the server says, with what is known about the request.
    async fn send(&self, call: &Call) -> Result<Reply>;

    /// How much of the file that is being sent has left, in bytes.
    fn uploaded(&self) -> u64 {
        0
    }

    /// Waits for what this process does itself for tasks that were left alone: it would end with the process. A server
    /// does its work by itself.
    async fn leave(&self) {}

    /// What serves here: the answer of `GET /version`.
    async fn version(&self) -> Result<Map<String, Value>>;

    /// The clock over there, to the second; `None` where it is the one of this machine.
    ///
    /// # Errors
    /// As any read.
    async fn server_time(&self) -> Result<Option<Timestamp>> {
        Ok(None)
    }

    /// All guests that the user may see.
    async fn guests(&self) -> Result<Vec<Guest>>;

    /// The same, and which nodes cannot be asked about theirs. Where nobody says, none are: whoever needs one will hear of
    /// it.
    async fn survey(&self) -> Result<(Vec<Guest>, Away)> {
        Ok((self.guests().await?, Away::default()))
    }

    /// Keeps all guests in sight from now on; `None` where that takes asking again and again.
    ///
    /// # Errors
    /// When the state cannot be read, or the kernel tells of nothing.
    fn watch(&self) -> Result<Option<Arc<dyn GuestWatch>>> {
        Ok(None)
    }

    /// Puts a guest in order that was left by a command that is gone or a process that died, and does what waits in its
    /// queue: a task. Nobody is waited for: who works on the guest does that himself.
    ///
    /// # Errors
    /// [`Class::Usage`](crate::model::Class::Usage) where guests are put in order by others.
    async fn tidy(&self, _: &GuestRef) -> Result<Submitted> {
        Err(Error::usage("guests are put in order by their node there"))
    }

    /// Lets a step wait again that failed in the queue.
    ///
    /// # Errors
    /// As [`cancel_queued`](Self::cancel_queued).
    async fn retry_queued(&self, _: i64) -> Result<()> {
        Err(no_queue())
    }

    /// A guest's status, exact and fresh (`GET …/status/current`).
    async fn guest_status(&self, guest: &GuestRef) -> Result<Map<String, Value>>;

    /// A guest's configuration.
    async fn guest_config(&self, guest: &GuestRef, view: ConfigView) -> Result<GuestConfig>;

    /// A guest's configuration with the changes that wait for its next start.
    async fn guest_pending(&self, guest: &GuestRef) -> Result<Vec<Pending>>;

    /// The figures that were kept of a guest, the oldest first, in Proxmox's keys.
    ///
    /// # Errors
    /// [`Class::Usage`](crate::model::Class::Usage) where none are kept.
    async fn guest_history(&self, _guest: &GuestRef, _frame: Timeframe) -> Result<Vec<Map<String, Value>>> {
        let hint = "without --since, `metrics` shows what is used now";
        Err(Error::usage("no history of figures is kept here: nothing runs that could note them")
            .with_hint(Hint::Text(hint.to_owned())))
    }

    /// A guest's snapshots, without the server's pseudo-entry `current`.
    async fn snapshots(&self, guest: &GuestRef) -> Result<Vec<Snapshot>>;

    /// What only this backend can tell of a guest, by name: where its files are, which process it is. Empty where there
    /// is no such thing.
    async fn guest_here(&self, _guest: &GuestRef) -> Result<Map<String, Value>> {
        Ok(Map::new())
    }

    /// A line to a guest's console.
    ///
    /// # Errors
    /// [`Class::Usage`](crate::model::Class::Usage) where this backend has none; [`Class::Conflict`](crate::model::Class::Conflict) while the guest is off or has no console, or
    /// somebody else is at it.
    async fn console(&self, _guest: &GuestRef) -> Result<Console> {
        Err(not_here("console", self.capabilities()))
    }

    /// A line to a node's console.
    ///
    /// # Errors
    /// As [`console`](Self::console).
    async fn node_console(&self, _node: &NodeName) -> Result<Console> {
        Err(Error::usage("nodes with consoles are those of Proxmox VE clusters"))
    }

    /// A guest's log.
    ///
    /// # Errors
    /// [`Class::Usage`](crate::model::Class::Usage) where this backend keeps none; [`Class::Conflict`](crate::model::Class::Conflict) for a guest of which nothing can be kept.
    async fn guest_log(&self, _guest: &GuestRef, _request: &LogRequest) -> Result<LogReader> {
        Err(not_here("logs", self.capabilities()))
    }

    /// A guest's configuration as a snapshot kept it.
    async fn snapshot_config(&self, guest: &GuestRef, snapshot: &str) -> Result<GuestConfig>;

    /// The nodes.
    async fn nodes(&self) -> Result<Vec<Node>>;

    /// The storages as a node sees them.
    async fn storages(&self, node: &NodeName) -> Result<Vec<Storage>>;

    /// The volumes of a storage, of one kind of content or all.
    async fn volumes(&self, node: &NodeName, storage: &str, content: Option<&str>) -> Result<Vec<Volume>>;

    /// A VMID that is free at this moment.
    async fn next_vmid(&self) -> Result<Vmid>;

    /// Tasks, the newest first.
    async fn tasks(&self, query: &TaskQuery) -> Result<Vec<TaskEntry>>;

    /// The same of those nodes that can be asked, and which cannot.
    ///
    /// # Errors
    /// As [`tasks`](Self::tasks), where none can.
    async fn tasks_there(&self, query: &TaskQuery) -> Result<(Vec<TaskEntry>, Away)> {
        Ok((self.tasks(query).await?, Away::default()))
    }
}

/// A verb that a backend does not have, or not yet.
fn not_here(verb: &str, backend: &Capabilities) -> Error {
    Error::usage(backend.absent(verb).unwrap_or("this backend cannot do that")).with_hint(Hint::Text(
        "look at it in Proxmox's web interface, or with `qm terminal` and `pct console` on its node".to_owned(),
    ))
}
