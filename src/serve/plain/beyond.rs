//! The plain routes that are about no VM: plans, commands of the host, the host itself, its metrics.

use std::{collections::BTreeMap, time::Duration};

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Answer, Asker, Call, Desk, Trouble, act::word, answer::Content};
use crate::{
    backends::{Action, Step},
    model::{Fact, Intent, Params, QueuedStep, Ran, Submitted, Verdict, Vmid, config_privilege},
    serve::{
        exec::{self, LONGEST_TIMEOUT, TIMEOUT},
        heartbeat::Heart,
        metrics::TEXT,
        plans::{NewPlan, Stored},
        record::{CONTEXT, Operation},
    },
    server::access::Caller,
};

/// How many plans are listed.
const LISTED: u32 = 100;

/// How a command is to be run.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::serve) struct Exec {
    #[serde(default)]
    pub(in crate::serve) args: Vec<String>,
    /// Seconds.
    #[serde(default)]
    pub(in crate::serve) timeout: Option<u64>,
}

/// A change that is to wait for its turn.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewQueued {
    vmid: Vmid,
    /// As for `PUT …/config`.
    params: Map<String, Value>,
}

/// How keys begin that Proxmox has no words for.
const OWN: &str = "x-";

/// Whether somebody knows of the VM of something that waits.
fn sees(caller: &Caller<'_>, step: &QueuedStep) -> bool {
    caller.may(&format!("/vms/{}", step.vmid), &["VM.Audit"])
}

impl Desk {
    /// Looks at what whoever asks may do.
    fn caller<T>(&self, asker: &Asker, look: impl FnOnce(&Caller<'_>) -> T) -> T {
        self.host.access.ask(Some(&asker.who), look)
    }

    /// Whether whoever asks has a privilege on the node.
    fn has(&self, asker: &Asker, privilege: &str) -> bool {
        let path = format!("/nodes/{}", self.host.node);
        self.caller(asker, |caller| caller.may(&path, &[privilege]))
    }

    fn require(&self, asker: &Asker, privilege: &str) -> Result<(), Trouble> {
        let path = format!("/nodes/{}", self.host.node);
        Ok(self.caller(asker, |caller| caller.require(&path, &[privilege]))?)
    }

    pub(super) async fn plans(&self, asked: Call) -> Result<Answer, Trouble> {
        let all = self.has(&asked.asker, "Sys.Audit");
        let whose = asked.asker.who.authid();
        Answer::of(200, &self.store.plans((!all).then_some(whose.as_str()), LISTED)?)
    }

    pub(super) async fn add_plan(&self, asked: Call) -> Result<Answer, Trouble> {
        let mut new: NewPlan = asked.body()?;
        new.key = new.key.or_else(|| asked.key.clone());
        new.check(&self.allowed)?;
        let who = &asked.asker.who;
        let stored = self.store.add(&new, who, &asked.asker.id)?;
        self.news.notify_one();
        match stored {
            Stored::New(id) => Answer::of(201, &self.store.plan(id)?),
            Stored::Same(id) => Answer::of(200, &self.store.plan(id)?),
            Stored::Other(id) => {
                Err(Trouble::new(409, format!("plan {id} has this key, and other actions or another owner")))
            }
        }
    }

    pub(super) async fn plan(&self, asked: Call) -> Result<Answer, Trouble> {
        let id: i64 = asked.name().parse().map_err(|_| Trouble::bad("a plan has a number"))?;
        let found = self
            .store
            .plan(id)?
            .filter(|plan| plan.user == asked.asker.who.authid() || self.has(&asked.asker, "Sys.Audit"));
        match found {
            Some(plan) => Answer::of(200, &plan),
            None => Err(Trouble::new(404, format!("there is no plan {id}"))),
        }
    }

    pub(super) async fn exec(&self, asked: Call) -> Result<Answer, Trouble> {
        let how: Exec = asked.body_or_nothing()?;
        Answer::of(200, &self.run(&asked.asker, asked.name(), &how).await?)
    }

    /// Runs a command that is allowed, for whoever may change this host.
    pub(in crate::serve) async fn run(&self, asker: &Asker, name: &str, how: &Exec) -> Result<Ran, Trouble> {
        self.require(asker, "Sys.Modify")?;
        let path = self.allowed.path(name).ok_or_else(|| {
            let all: Vec<&str> = self.allowed.names().collect();
            let others = match all.as_slice() {
                [] => "it allows none: `pvectl serve` was begun without --allow-exec NAME=/path".to_owned(),
                all => format!("there are {}", all.join(", ")),
            };
            Trouble::new(404, format!("`{name}` is no command that the owner of this host allows; {others}"))
        })?;
        let timeout = how.timeout.unwrap_or(TIMEOUT);
        if !(1..=LONGEST_TIMEOUT).contains(&timeout) {
            return Err(Trouble::bad(format!("timeout: 1 to {LONGEST_TIMEOUT} seconds are expected")));
        }
        if how.args.iter().any(|arg| arg.contains('\0')) {
            return Err(Trouble::bad("args: a program takes no zero bytes"));
        }
        let intent = Intent {
            verb: "exec".to_owned(),
            target: name.to_owned(),
            kind: "host".to_owned(),
            node: Some(self.host.node.to_string()),
            context: CONTEXT.to_owned(),
            user: asker.who.authid(),
            steps: vec![json!({"program": path, "args": how.args, "timeout": timeout})],
            request: Some(asker.id.clone()),
            ..Intent::default()
        };
        let operation = Operation::begin(&self.host, &intent)?;
        let ran = exec::run(path, &how.args, Duration::from_secs(timeout)).await;
        match &ran {
            Ok(Ran { exit_code: Some(0), .. }) => operation.end(Verdict::Ok, Some("0".to_owned())),
            Ok(Ran { exit_code: Some(code), .. }) => operation.end(Verdict::Failed, Some(format!("exit code {code}"))),
            Ok(Ran { signal: Some(signal), .. }) => operation.end(Verdict::Failed, Some(format!("signal {signal}"))),
            Ok(_) => operation.end(Verdict::Failed, Some(format!("killed after {timeout} s"))),
            Err(error) => operation.end(Verdict::Failed, Some(error.to_string())),
        }
        Ok(ran?)
    }

    /// What is told of this host, by heartbeats too.
    pub(in crate::serve) async fn about(&self) -> Result<Value, Trouble> {
        let host = &self.host;
        let node = host.backend.nodes().await?.into_iter().find(|node| node.node == host.node);
        let node = node.as_ref();
        let mut states: BTreeMap<String, u64> = BTreeMap::new();
        let guests = host.backend.guests().await?;
        guests.iter().for_each(|guest| *states.entry(guest.status.clone()).or_default() += 1);
        let storages = host.backend.storages(&host.node).await?;
        let storages: Vec<Value> = storages
            .iter()
            .map(|storage| json!({"storage": storage.storage, "total": storage.total, "avail": storage.avail}))
            .collect();
        Ok(json!({
            "node": host.node,
            "version": env!("CARGO_PKG_VERSION"),
            "cpus": node.and_then(|node| node.maxcpu),
            "memory": node.and_then(|node| node.maxmem),
            "memory_used": node.and_then(|node| node.mem),
            "uptime": node.and_then(|node| node.uptime),
            "storages": storages,
            "vms": states,
            "commands": self.allowed.names().collect::<Vec<_>>(),
        }))
    }

    /// What this host is and has, looked at now. It blocks, since a program is asked for its version.
    async fn facts(&self) -> Result<Vec<Fact>, Trouble> {
        let Some(look) = self.look.clone() else { return Ok(Vec::new()) };
        tokio::task::spawn_blocking(move || look()).await.map_err(|error| Trouble::new(500, error.to_string()))
    }

    pub(super) async fn tell_host(&self, asked: Call) -> Result<Answer, Trouble> {
        self.require(&asked.asker, "Sys.Audit")?;
        let mut about = self.about().await?;
        about["reports_to"] = json!(self.heart.as_ref().map(Heart::url));
        about["heartbeat"] = json!(self.heart.as_ref().and_then(Heart::last));
        about["facts"] = json!(self.facts().await?);
        Answer::of(200, &about)
    }

    pub(super) async fn beat(&self, asked: Call) -> Result<Answer, Trouble> {
        asked.no_body()?;
        self.require(&asked.asker, "Sys.Modify")?;
        let heart = self.heart.as_ref();
        let heart = heart.ok_or_else(|| Trouble::bad("nobody is told: pvectl serve was begun without --report-to"))?;
        Answer::of(200, &heart.beat(self).await)
    }

    pub(super) async fn queue(&self, asked: Call) -> Result<Answer, Trouble> {
        let mut all = self.host.backend.queue(None).await?;
        self.caller(&asked.asker, |caller| all.retain(|step| sees(caller, step)));
        Answer::of(200, &all)
    }

    /// Puts a change into the queue of its VM, for whoever might make it at once.
    pub(super) async fn enqueue(&self, asked: Call) -> Result<Answer, Trouble> {
        let NewQueued { vmid, params } = asked.body()?;
        let (mut known, mut own) = (Params::new(), Params::new());
        for (key, value) in &params {
            let to = if key.starts_with(OWN) { &mut own } else { &mut known };
            to.set(key, word("params", key, value)?);
        }
        let step = Step::new(Action::Configure, self.guest(vmid)).with_params(known);
        let Asker { kit, who, id } = &asked.asker;
        let request = kit.checked(who, step.call(), id)?;
        match self.host.enqueue(&request, &own).await? {
            Submitted::Task(upid) => Answer::of(201, &json!({"upid": upid})),
            Submitted::Done(_) => Err(Trouble::new(500, "it has no task that tells how it ends")),
        }
    }

    /// Takes something out of the queue, for whoever put it there or might set the same.
    pub(super) async fn cancel(&self, asked: Call) -> Result<Answer, Trouble> {
        asked.no_body()?;
        let id: i64 = asked.name().parse().map_err(|_| Trouble::bad("what waits has a number"))?;
        let all = self.host.backend.queue(None).await?;
        let step = all.into_iter().find(|step| step.id == id);
        let step = step.filter(|step| self.caller(&asked.asker, |caller| sees(caller, step)));
        let step = step.ok_or_else(|| Trouble::new(404, format!("nothing with number {id} is in the queue")))?;
        if step.user != asked.asker.who.authid() {
            let path = format!("/vms/{}", step.vmid);
            self.caller(&asked.asker, |caller| {
                let mut wanted = step.params.iter().map(|(key, value)| config_privilege(key, value));
                wanted.try_for_each(|privilege| caller.require(&path, &[privilege]))
            })?;
        }
        self.host.backend.cancel_queued(id).await?;
        Ok(Answer::message(format!("number {id} is out of the queue")))
    }

    pub(super) async fn metrics(&self, asked: Call) -> Result<Answer, Trouble> {
        self.require(&asked.asker, "Sys.Audit")?;
        Ok(Answer { status: 200, body: Content::Text(self.host.metrics_text().await?, TEXT) })
    }

    pub(super) async fn describe(&self, _: Call) -> Result<Answer, Trouble> {
        Answer::of(200, super::openapi())
    }
}
