//! Lost answers: which task of the server is that of a request whose answer nobody took.
//!
//! Only a task that fits one request alone, and that no operation has already, is claimed. Nothing is ever sent here, so
//! the worst that can come of it is that nobody knows.

use std::collections::HashSet;

use futures_util::future::try_join_all;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::Ops;
use crate::{
    backends::TaskQuery,
    contract::embedded,
    model::{Call, Method, NodeName, OperationId, Result, StepId, TaskEntry, Upid, Vmid, node_status},
};

/// A server answers within this or not at all, so a task that began later is another's.
const PATIENCE: SignedDuration = SignedDuration::from_secs(35);
/// Clocks are read to the second, and run on while they are compared.
const SLACK: SignedDuration = SignedDuration::from_secs(2);
/// How many tasks of a guest are looked at, the newest first.
const LOOK_BACK: u64 = 500;

/// Tasks whose types the contract does not tell: the server makes their names as it goes.
const UNTOLD: &[(&str, &[&str])] = &[
    ("/nodes/{node}/lxc", &["vzcreate", "vzrestore"]),
    ("/nodes/{node}/qemu", &["qmcreate", "qmrestore"]),
    ("/nodes/{node}/qemu/{vmid}/status/suspend", &["qmpause", "qmsuspend"]),
];

/// A request that went out and whose answer is not known.
#[derive(Debug, Clone)]
pub struct Lost {
    /// The operation.
    pub operation: OperationId,
    /// Its step.
    pub step: StepId,
    /// Whether that was its last.
    pub last: bool,
    /// When it went out, by the clock of this machine.
    pub sent: Timestamp,
    /// What its task is like; `None` for a request that starts none, or none that can be told from others.
    pub traits: Option<Traits>,
    /// Somebody else's business: it is only here because the same task may be its own.
    pub rival: bool,
}

/// What the task of a request is like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traits {
    node: NodeName,
    kinds: Vec<String>,
    guest: Vmid,
    user: String,
}

/// What became of the search for a request's task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// This one, and no other.
    Task(Upid),
    /// None, and the time is not over in which it may still begin.
    NotYet,
    /// None.
    Nothing,
    /// None, and there was none: what is asked for on this host begins with its task, in the process that asks.
    Never,
    /// It could be one of several, or that one could be another request's.
    Several,
}

impl Traits {
    /// What the contract says of a call's task. `guest` is the number that it was sent with in the end, where that is
    /// not in its path.
    pub fn new(call: &Call, guest: Option<Vmid>, user: &str) -> Option<Self> {
        let found = embedded().find(call.method, &call.path)?;
        let mut kinds = found.endpoint.tasks.clone()?;
        let untold = UNTOLD.iter().filter(|(path, _)| kinds.is_empty() && *path == found.endpoint.path);
        let untold: Vec<String> = untold.flat_map(|(_, kinds)| kinds.iter().map(|kind| (*kind).to_owned())).collect();
        kinds.extend(untold);
        let in_path = found.path_params.get("vmid").map(str::parse);
        let given = || call.params.get("vmid").map(str::parse);
        let guest = match in_path {
            Some(guest) => guest.ok()?,
            None => guest.or_else(|| given()?.ok()).filter(|_| given().is_some())?,
        };
        let node = NodeName::new(found.path_params.get("node")?).ok()?;
        (!user.is_empty() && !kinds.is_empty()).then(|| Self { node, kinds, guest, user: user.to_owned() })
    }

    /// The same of a call as the journal keeps it.
    pub fn of_kept(call: &Value, guest: Option<Vmid>, user: &str) -> Option<Self> {
        Self::new(&kept_call(call)?, guest, user)
    }

    fn fit(&self, upid: &Upid) -> bool {
        upid.node == self.node
            && upid.id == self.guest.to_string()
            && upid.user == self.user
            && self.kinds.contains(&upid.kind)
    }
}

/// A call as the journal keeps it, `{method, path, params}`.
pub(super) fn kept_call(call: &Value) -> Option<Call> {
    let method: Method = serde_json::from_value(call.get("method")?.clone()).ok()?;
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let pairs = call.get("params").and_then(Value::as_object).into_iter().flatten();
    // A key that was given several times is an array.
    let params = pairs.flat_map(|(key, value)| match value {
        Value::Array(values) => values.iter().map(|value| (key.clone(), text(value))).collect(),
        value => vec![(key.clone(), text(value))],
    });
    Some(Call::new(method, call.get("path")?.as_str()?).with_params(params.collect()))
}

/// Whether a task may be that of a request. `ahead` is how far the server's clock is ahead of ours.
fn fits(lost: &Lost, upid: &Upid, ahead: SignedDuration) -> bool {
    let after = upid.started().duration_since(lost.sent + ahead);
    lost.traits.as_ref().is_some_and(|traits| traits.fit(upid)) && after >= -SLACK && after <= PATIENCE
}

/// Which task is whose. `free` are tasks that no operation has; `now` is the time here.
fn matched(lost: &[Lost], free: &[Upid], ahead: SignedDuration, now: Timestamp) -> Vec<Found> {
    let claimants = |upid: &Upid| lost.iter().filter(|lost| fits(lost, upid, ahead)).count();
    let one = |lost: &Lost| {
        let fitting: Vec<&Upid> = free.iter().filter(|upid| fits(lost, upid, ahead)).collect();
        match fitting.as_slice() {
            [only] if claimants(only) == 1 => Found::Task((*only).clone()),
            [] if lost.traits.is_some() && now.duration_since(lost.sent) <= PATIENCE + SLACK => Found::NotYet,
            [] => Found::Nothing,
            _ => Found::Several,
        }
    };
    lost.iter().map(one).collect()
}

impl Ops {
    /// Looks among the server's tasks for those of requests whose answers were lost. What is found is claimed by
    /// nobody else that the journal knows of: give those too that may have the same task, as rivals.
    ///
    /// # Errors
    /// When the server cannot be asked, or the journal not be read: then nothing is known.
    pub async fn find_lost(&self, lost: &[Lost]) -> Result<Vec<Found>> {
        let ours = lost.iter().filter(|lost| !lost.rival);
        // One question for each guest, however many requests were about it.
        let guests: HashSet<(NodeName, Vmid)> =
            ours.filter_map(|lost| lost.traits.as_ref()).map(|wanted| (wanted.node.clone(), wanted.guest)).collect();
        if guests.is_empty() {
            return Ok(matched(lost, &[], SignedDuration::ZERO, Timestamp::now()));
        }
        let ahead = match self.backend.server_time().await? {
            Some(there) => there.duration_since(Timestamp::now()),
            None => SignedDuration::ZERO,
        };
        // A node that does not answer keeps its own tasks back, and nobody else's.
        let asked: Vec<Result<Vec<TaskEntry>, NodeName>> =
            try_join_all(guests.into_iter().map(async |(node, guest)| {
                let place = Some(node.clone());
                let query = TaskQuery { node: place, vmid: Some(guest), limit: LOOK_BACK, ..TaskQuery::default() };
                match self.backend.tasks(&query).await {
                    Err(error) if node_status(&error).is_some() => Ok(Err(node)),
                    asked => asked.map(Ok),
                }
            }))
            .await?;
        let (mut rows, mut silent) = (Vec::new(), HashSet::new());
        for asked in asked {
            match asked {
                Ok(found) => rows.extend(found),
                Err(node) => drop(silent.insert(node)),
            }
        }
        let mut free = Vec::new();
        for upid in rows.into_iter().map(|row| row.upid) {
            if lost.iter().any(|lost| fits(lost, &upid, ahead)) && !self.recorder.has_task(&upid)? {
                free.push(upid);
            }
        }
        let mut found = matched(lost, &free, ahead, Timestamp::now());
        for (lost, found) in lost.iter().zip(&mut found) {
            if lost.traits.as_ref().is_some_and(|traits| silent.contains(&traits.node)) {
                *found = Found::NotYet;
            }
            let none = matches!(found, Found::NotYet | Found::Nothing) && lost.traits.is_some();
            if none && self.backend.capabilities().here {
                *found = Found::Never;
            }
        }
        Ok(found)
    }

    /// Looks once for the task of a request that went out at a moment and whose answer was just lost.
    pub(super) async fn task_of(&self, call: &Call, sent: Timestamp) -> Option<Upid> {
        let traits = Some(Traits::new(call, None, &self.backend.user())?);
        let lost = Lost { operation: OperationId(0), step: 1, last: true, sent, traits, rival: false };
        match self.find_lost(&[lost]).await.ok()?.pop()? {
            Found::Task(upid) => Some(upid),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Params;

    const SENT: i64 = 1_795_174_979;
    const USER: &str = "root@pam!ci";

    fn call(method: Method, path: &str, params: &[(&str, &str)]) -> Call {
        Call::new(method, path).with_params(params.iter().copied().collect::<Params>())
    }

    #[test]
    fn the_contract_says_what_a_task_is_like() {
        let id = |number: u32| Some(number.to_string());
        for (call, other, guest, kind) in [
            (call(Method::Post, "/nodes/pve1/qemu/150/status/start", &[]), None, id(150), "qmstart"),
            (call(Method::Post, "/nodes/pve1/lxc/150/status/stop", &[]), None, id(150), "vzstop"),
            (call(Method::Post, "/nodes/pve1/qemu", &[("vmid", "150")]), None, id(150), "qmcreate"),
            (call(Method::Post, "/nodes/pve1/lxc", &[("vmid", "150")]), None, id(150), "vzcreate"),
            (call(Method::Post, "/nodes/pve1/qemu/150/status/suspend", &[]), None, id(150), "qmpause"),
            // Somebody was faster, and it was sent with the next number.
            (call(Method::Post, "/nodes/pve1/qemu", &[("vmid", "150")]), Some(151), id(151), "qmcreate"),
            // The task of a clone is the source's.
            (call(Method::Post, "/nodes/pve1/qemu/900/clone", &[("newid", "150")]), Some(150), id(900), "qmclone"),
            (call(Method::Delete, "/nodes/pve1/qemu/150", &[]), None, id(150), "qmdestroy"),
            (call(Method::Post, "/nodes/pve1/qemu/150/snapshot", &[("snapname", "a")]), None, id(150), "qmsnapshot"),
            // Answered at once; without a guest; not in the API.
            (call(Method::Put, "/nodes/pve1/qemu/150/config", &[]), None, None, ""),
            (call(Method::Post, "/nodes/pve1/vzdump", &[("all", "1")]), None, None, ""),
            (call(Method::Post, "/nodes/pve1/nothing", &[]), None, None, ""),
        ] {
            let other = other.map(|vmid: u32| vmid.to_string().parse().unwrap());
            let traits = Traits::new(&call, other, USER);
            assert_eq!(traits.as_ref().map(|traits| traits.guest.to_string()), guest, "{call}");
            assert!(traits.as_ref().is_none_or(|traits| traits.kinds.iter().any(|have| have == kind)), "{traits:?}");
            assert_eq!(Traits::of_kept(&call.to_json(), other, USER), traits, "{call}");
            assert_eq!(Traits::new(&call, other, ""), None, "nobody knows whose it is");
        }
    }

    /// A start of VM 150 that was sent so many seconds after the others' beginning.
    fn lost(after: i64) -> Lost {
        Lost {
            operation: OperationId(1),
            step: 1,
            last: true,
            sent: Timestamp::from_second(SENT + after).unwrap(),
            traits: Traits::new(&call(Method::Post, "/nodes/pve1/qemu/150/status/start", &[]), None, USER),
            rival: false,
        }
    }

    fn task(after: i64, kind: &str, id: &str, user: &str) -> Upid {
        format!("UPID:pve1:000003EC:00041609:{:08X}:{kind}:{id}:{user}:", SENT + after).parse().unwrap()
    }

    #[test]
    fn only_a_unique_match_is_claimed() {
        let start = |after| task(after, "qmstart", "150", USER);
        let none = || -> Vec<Upid> { Vec::new() };
        // Lost requests, tasks, by how many seconds the server is ahead, seconds later: what is found for each.
        for (name, requests, tasks, ahead, later, found) in [
            ("the one", vec![lost(0)], vec![start(1)], 0, 5, vec![Found::Task(start(1))]),
            ("just before, as seconds are cut off", vec![lost(0)], vec![start(-1)], 0, 5, vec![Found::Task(start(-1))]),
            ("long before", vec![lost(0)], vec![start(-9)], 0, 99, vec![Found::Nothing]),
            ("long after", vec![lost(0)], vec![start(60)], 0, 99, vec![Found::Nothing]),
            ("a server that is ahead", vec![lost(0)], vec![start(3600)], 3600, 5, vec![Found::Task(start(3600))]),
            ("by that clock another's", vec![lost(0)], vec![start(1)], 3600, 99, vec![Found::Nothing]),
            ("behind", vec![lost(0)], vec![start(-300)], -300, 5, vec![Found::Task(start(-300))]),
            ("none so far", vec![lost(0)], none(), 0, 5, vec![Found::NotYet]),
            ("none at all", vec![lost(0)], none(), 0, 99, vec![Found::Nothing]),
            ("two", vec![lost(0)], vec![start(1), start(2)], 0, 5, vec![Found::Several]),
            ("two requests", vec![lost(0), lost(3)], vec![start(4)], 0, 9, vec![Found::Several, Found::Several]),
            (
                "two requests, one of them too late for it",
                vec![lost(0), lost(20)],
                vec![start(1)],
                0,
                22,
                vec![Found::Task(start(1)), Found::NotYet],
            ),
            ("another type", vec![lost(0)], vec![task(1, "qmstop", "150", USER)], 0, 99, vec![Found::Nothing]),
            ("another guest", vec![lost(0)], vec![task(1, "qmstart", "15", USER)], 0, 99, vec![Found::Nothing]),
            ("another user", vec![lost(0)], vec![task(1, "qmstart", "150", "root@pam")], 0, 99, vec![Found::Nothing]),
            (
                "its high availability",
                vec![lost(0)],
                vec![task(1, "hastart", "150", USER)],
                0,
                5,
                vec![Found::Task(task(1, "hastart", "150", USER))],
            ),
            ("no task to look for", vec![Lost { traits: None, ..lost(0) }], vec![start(1)], 0, 5, vec![Found::Nothing]),
        ] {
            let ahead = SignedDuration::from_secs(ahead);
            let now = Timestamp::from_second(SENT + later).unwrap();
            assert_eq!(matched(&requests, &tasks, ahead, now), found, "{name}");
        }
    }
}
