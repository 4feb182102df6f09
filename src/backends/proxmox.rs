//! Guests on a Proxmox VE cluster, over its REST API.
//!
//! Only turns steps into calls and reads into model types; retries, tickets and errors are the client's.

use async_trait::async_trait;
use futures_util::future::{join, join_all};
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{Action, Backend, Capabilities, Console, Step, Support, TaskQuery, agent, term};
use crate::{
    client::{Client, Reply, TaskFilter, TaskList, path},
    model::{
        Away, Call, Class, ConfigView, Error, Guest, GuestConfig, GuestKind, GuestRef, Hint, LogPage, Method, Node,
        NodeName, Pending, QueuedStep, Result, Sent, Snapshot, Storage, Submitted, TaskEntry, TaskStatus, Timeframe,
        Upid, Vmid, Volume, node_status,
    },
    tasks::TaskSource,
};

/// What Proxmox has no API call for.
const EXCEPTIONS: &[(GuestKind, Action, Support)] = &[
    (
        GuestKind::Lxc,
        Action::Reset,
        Support::No {
            reason: "Proxmox has no reset button for containers",
            instead: "use `restart` (orderly), or `stop` and `start`",
        },
    ),
    (
        GuestKind::Lxc,
        Action::Suspend,
        Support::No {
            reason: "Proxmox cannot suspend a container to disk",
            instead: "use `pause` to freeze it, or `shutdown`",
        },
    ),
    (
        GuestKind::Lxc,
        Action::ConfigureInTask,
        Support::No {
            reason: "Proxmox changes a container's configuration at once, not in a task",
            instead: "use the plain change",
        },
    ),
    (
        GuestKind::Lxc,
        Action::MoveDisk,
        Support::No { reason: "containers have volumes, and no disks", instead: "move the volume" },
    ),
    (
        GuestKind::Qemu,
        Action::MoveVolume,
        Support::No { reason: "VMs have disks, and no volumes of their own", instead: "move the disk" },
    ),
    no_agent(Action::AgentExec),
    no_agent(Action::AgentWrite),
    no_agent(Action::AgentFreeze),
    no_agent(Action::AgentThaw),
    no_agent(Action::AgentTrim),
    no_agent(Action::AgentPassword),
    (
        GuestKind::Lxc,
        Action::SendKey,
        Support::No { reason: "containers have no keyboard", instead: "use `pvectl container console`" },
    ),
    (
        GuestKind::Lxc,
        Action::CloudInit,
        Support::No { reason: "containers have no cloud-init", instead: "set its network and keys as keys of its own" },
    ),
];

const fn no_agent(action: Action) -> (GuestKind, Action, Support) {
    let reason = "containers have no guest agent";
    (GuestKind::Lxc, action, Support::No { reason, instead: "use `pvectl container ssh`, or `pct exec` on its node" })
}

/// What is only there for VMs of this host yet.
const ABSENT: &[(&str, &str)] = &[("logs", "logs of guests are only there for VMs of this host: Proxmox keeps none")];

/// A Proxmox VE cluster.
#[derive(Clone)]
pub struct Proxmox {
    client: Client,
    capabilities: Capabilities,
}

impl Proxmox {
    /// What every Proxmox VE cluster can do.
    pub const CAPABILITIES: Capabilities =
        Capabilities { backend: "proxmox", here: false, without: &[], exceptions: EXCEPTIONS, absent: ABSENT };

    /// The cluster that this client talks to.
    pub fn new(client: Client) -> Self {
        Self { client, capabilities: Self::CAPABILITIES }
    }

    /// The client, for calls the trait has no word for.
    pub fn client(&self) -> &Client {
        &self.client
    }
}

#[async_trait]
impl Backend for Proxmox {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn user(&self) -> String {
        self.client.user().to_owned()
    }

    fn call(&self, step: &Step) -> Result<Call> {
        self.capabilities.require(step.guest.kind, step.action)?;
        Ok(step.call())
    }

    async fn submit(&self, step: &Step) -> Result<Submitted> {
        let call = self.call(step)?;
        let submitted = self.client.submit(&call).await.map_err(|error| name_privilege(step, error));
        if call.path.contains("/agent/") {
            return self.inside(step, submitted).await.map_err(|error| agent::explain(error, step.guest.vmid));
        }
        match submitted? {
            // It says OK to a backup of what is elsewhere, and does nothing.
            Submitted::Done(_) if step.action == Action::Backup => {
                let GuestRef { vmid, node, .. } = &step.guest;
                Err(Error::conflict(format!("guest {vmid} is not on node {node} any more: nothing was backed up"))
                    .with_hint(Hint::Text("give the command again".into())))
            }
            submitted => Ok(submitted),
        }
    }

    /// Only where pvectl serves this API: Proxmox VE has no queue.
    async fn enqueue(&self, step: &Step) -> Result<Submitted> {
        if !matches!(step.action, Action::Configure | Action::ConfigureInTask) {
            return Err(Error::usage("only changes of a configuration can be queued"));
        }
        self.client.enqueue(step.guest.vmid, &step.params).await.map(Submitted::Task)
    }

    async fn queue(&self, vmid: Option<Vmid>) -> Result<Vec<QueuedStep>> {
        let mut all = self.client.host_queue().await?;
        all.retain(|step| vmid.is_none_or(|vmid| step.vmid == vmid));
        Ok(all)
    }

    async fn cancel_queued(&self, id: i64) -> Result<()> {
        self.client.cancel_queued(id).await
    }

    async fn send(&self, call: &Call) -> Result<Reply> {
        self.client.send(call).await
    }

    fn uploaded(&self) -> u64 {
        self.client.uploaded()
    }

    async fn version(&self) -> Result<Map<String, Value>> {
        self.client.read(&Call::new(Method::Get, "/version")).await
    }

    async fn server_time(&self) -> Result<Option<Timestamp>> {
        Ok(self.client.send(&Call::new(Method::Get, "/version")).await?.server_time)
    }

    async fn guests(&self) -> Result<Vec<Guest>> {
        self.client.guests().await
    }

    async fn survey(&self) -> Result<(Vec<Guest>, Away)> {
        self.client.survey().await
    }

    async fn guest_status(&self, guest: &GuestRef) -> Result<Map<String, Value>> {
        self.client.guest_status(guest).await
    }

    async fn guest_config(&self, guest: &GuestRef, view: ConfigView) -> Result<GuestConfig> {
        self.client.guest_config(guest, view).await
    }

    async fn guest_pending(&self, guest: &GuestRef) -> Result<Vec<Pending>> {
        self.client.guest_pending(guest).await
    }

    async fn guest_history(&self, guest: &GuestRef, frame: Timeframe) -> Result<Vec<Map<String, Value>>> {
        self.client.guest_history(guest, frame).await
    }

    async fn snapshots(&self, guest: &GuestRef) -> Result<Vec<Snapshot>> {
        let mut snapshots = self.client.snapshots(guest).await?;
        snapshots.retain(|snapshot| !snapshot.is_current());
        Ok(snapshots)
    }

    async fn snapshot_config(&self, guest: &GuestRef, snapshot: &str) -> Result<GuestConfig> {
        self.client.snapshot_config(guest, snapshot).await
    }

    async fn console(&self, guest: &GuestRef) -> Result<Console> {
        let status = self.client.guest_status(guest).await?;
        if status.get("status").and_then(Value::as_str) == Some("stopped") {
            let error = Error::conflict(format!("{guest} is not running, so its console says nothing"));
            return Err(error.with_hint(Hint::Text(format!("pvectl {} start {}", guest.kind.noun(), guest.vmid))));
        }
        let config = self.client.guest_config(guest, ConfigView::Current).await?;
        let is_serial = |key: &String| key.strip_prefix("serial").is_some_and(|rest| rest.parse::<u8>().is_ok());
        if guest.kind == GuestKind::Qemu && !config.0.keys().any(is_serial) {
            let vmid = guest.vmid;
            return Err(Error::conflict(format!("{guest} has no serial port, and so no console in a terminal"))
                .with_hint(Hint::Text(format!(
                    "pvectl vm update {vmid} --serial0 socket, then stop and start it; its system has to use it too \
                     (console=ttyS0)"
                )))
                .with_hint(Hint::Text(format!("its screen: pvectl vm vnc {vmid}"))));
        }
        let vmid = guest.vmid.to_string();
        term::console(&self.client, &path::segments(&["nodes", guest.node.as_str(), guest.kind.api(), &vmid])).await
    }

    async fn node_console(&self, node: &NodeName) -> Result<Console> {
        term::console(&self.client, &path::segments(&["nodes", node.as_str()])).await
    }

    async fn nodes(&self) -> Result<Vec<Node>> {
        self.client.nodes().await
    }

    async fn storages(&self, node: &NodeName) -> Result<Vec<Storage>> {
        self.client.storages(node).await
    }

    async fn volumes(&self, node: &NodeName, storage: &str, content: Option<&str>) -> Result<Vec<Volume>> {
        self.client.volumes(node, storage, content).await
    }

    async fn next_vmid(&self) -> Result<Vmid> {
        self.client.next_vmid().await
    }

    async fn tasks(&self, query: &TaskQuery) -> Result<Vec<TaskEntry>> {
        self.tasks_and(query, &mut |_, error| Err(error)).await
    }

    async fn tasks_there(&self, query: &TaskQuery) -> Result<(Vec<TaskEntry>, Away)> {
        // Who asks for one node's tasks wants these or nothing.
        if query.node.is_some() {
            return Ok((self.tasks(query).await?, Away::default()));
        }
        let nodes = self.client.nodes();
        let mut silent = Vec::new();
        let mut note = |node: &NodeName, error: Error| {
            if node_status(&error).is_none() {
                return Err(error);
            }
            silent.push((node.clone(), error));
            Ok(())
        };
        let (rows, nodes) = join(self.tasks_and(query, &mut note), nodes).await;
        let mut away = Away::of(&nodes.unwrap_or_default());
        silent.iter().for_each(|(node, error)| away.add(node, error));
        Ok((rows?, away))
    }
}

impl Proxmox {
    /// What a guest's agent made of a step.
    async fn inside(&self, step: &Step, submitted: Result<Submitted>) -> Result<Submitted> {
        let submitted = submitted?;
        if let Submitted::Done(data) = &submitted {
            if let Some(error) = agent::complaint(data) {
                return Err(error.with_sent(Sent::Answered));
            }
            if step.action == Action::AgentExec {
                agent::to_its_end(&self.client, &step.guest, data).await?;
            }
        }
        Ok(submitted)
    }

    /// Tasks, the newest first. `lost` says whether it goes on without a node that does not answer.
    async fn tasks_and(
        &self,
        query: &TaskQuery,
        lost: &mut (dyn FnMut(&NodeName, Error) -> Result<()> + Send),
    ) -> Result<Vec<TaskEntry>> {
        let matches = |row: &TaskEntry| {
            query.node.as_ref().is_none_or(|node| row.upid.node == *node)
                && query.vmid.is_none_or(|vmid| row.upid.id == vmid.to_string())
                && (!query.running || row.ended().is_none())
                && (!query.errors || row.ended().is_some_and(|end| !end.is_success()))
        };
        // The cluster's list has the running tasks and only the newest finished ones; a node's own goes further back.
        let nodes = match &query.node {
            Some(node) => vec![node.clone()],
            None if query.vmid.is_none() && !query.errors && query.limit <= 25 => Vec::new(),
            None => self.client.nodes().await?.into_iter().filter(Node::is_online).map(|node| node.node).collect(),
        };
        let mut rows = if nodes.is_empty() { self.client.cluster_tasks().await? } else { Vec::new() };
        let filter = TaskFilter {
            list: if query.running { TaskList::Active } else { TaskList::All },
            vmid: query.vmid,
            errors: query.errors,
            limit: Some(query.limit),
            ..TaskFilter::default()
        };
        // All at once: one that does not answer takes half a minute to say so.
        let asked = join_all(nodes.iter().map(|node| self.client.node_tasks(node, &filter))).await;
        for (node, asked) in nodes.iter().zip(asked) {
            match asked {
                Ok((found, _)) => rows.extend(found),
                Err(error) => lost(node, error)?,
            }
        }
        rows.retain(matches);
        // Several may begin within a second; the kernel's ticks tell which came first on a node.
        rows.sort_by_key(|row| std::cmp::Reverse((row.starttime, row.upid.pstart)));
        rows.truncate(query.limit as usize);
        Ok(rows)
    }
}

/// Proxmox refuses a create without a word; there is one privilege that every create needs.
fn name_privilege(step: &Step, error: Error) -> Error {
    if !matches!(step.action, Action::Create | Action::Restore) || error.class() != Class::Forbidden {
        return error;
    }
    let error = match error.hints() {
        [] => error,
        [Hint::UnnamedPrivilege] => error.without_hint(0),
        _ => return error,
    };
    let path = format!("/vms/{}", step.guest.vmid);
    error.with_hint(Hint::NeedsPrivilege { path, privilege: "VM.Allocate".to_owned() })
}

#[async_trait]
impl TaskSource for Proxmox {
    async fn task_status(&self, upid: &Upid) -> Result<TaskStatus> {
        self.client.task_status(upid).await
    }

    async fn task_log(&self, upid: &Upid, start: u64, limit: u64) -> Result<LogPage> {
        self.client.task_log(upid, start, limit).await
    }

    async fn tasks_since(&self, node: &NodeName, since: u32, limit: u64) -> Result<Vec<TaskEntry>> {
        self.client.tasks_since(node, since, limit).await
    }

    async fn stop_task(&self, upid: &Upid) -> Result<()> {
        self.client.stop_task(upid).await
    }
}
