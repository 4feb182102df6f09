//! Guests under HA: who asks for something gets a task that ends once HA has been told. What HA does then is followed here.
//!
//! HA does its work in tasks of its own, in root's name and on any node. They are found in the cluster's list; where they are
//! not, the state that HA tells and the guest itself count. Only reads; what was asked is read from the task that told HA.

use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::{Ops, verbs::Power};
use crate::{
    model::{
        Call, Class, Error, ExitStatus, GuestKind, GuestRef, Hint, Method, NodeName, Result, TaskEntry, Upid, Vmid,
    },
    tasks::{Limits, Watch},
};

/// The pause between two looks is this share of the time since HA was told …
const SHARE: u32 = 6;
/// … but not shorter …
const SHORTEST: Duration = Duration::from_millis(100);
/// … and not longer: HA itself looks every few seconds.
const LONGEST: Duration = Duration::from_secs(2);

/// What was asked of HA.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    Start,
    Stop,
    Migrate,
}

/// The tasks that tell HA, what they ask for, the tasks in which HA does it, and words for what is waited for.
const WISHES: &[(&str, Wish, &[&str], &str)] = &[
    ("hastart", Wish::Start, &["qmstart", "vzstart"], "starts it"),
    ("hastop", Wish::Stop, &["qmstop", "qmshutdown", "vzstop", "vzshutdown"], "stops it"),
    ("hamigrate", Wish::Migrate, &["qmigrate", "vzmigrate"], "moves it"),
];

/// Something that HA was told.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    wish: Wish,
    tasks: &'static [&'static str],
    waits: &'static str,
    vmid: Vmid,
    told: Upid,
}

/// A guest as HA sees it.
#[derive(Debug, Clone)]
struct Service {
    kind: GuestKind,
    state: String,
    node: NodeName,
}

/// What the cluster says of HA, for all who wait for it.
#[derive(Default)]
pub(super) struct View {
    looked: Option<Instant>,
    /// `None` where the caller may not see it.
    services: Option<Vec<(Vmid, Service)>>,
    tasks: Vec<TaskEntry>,
}

/// What there is to do for somebody who waits.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Wait,
    /// HA says that it is so: look at the guest itself.
    Look,
    Follow(Upid),
    Done(ExitStatus),
}

impl Asked {
    /// What was told by this task, if it is one that tells HA something.
    pub(super) fn of(told: &Upid) -> Option<Self> {
        let (_, wish, tasks, waits) = WISHES.iter().find(|(kind, ..)| *kind == told.kind)?;
        Some(Self { wish: *wish, tasks, waits, vmid: told.id.parse().ok()?, told: told.clone() })
    }

    /// Whether a task is HA's work for it.
    fn is_work(&self, row: &TaskEntry) -> bool {
        let upid = &row.upid;
        self.tasks.contains(&upid.kind.as_str()) && upid.id == self.told.id && upid.starttime >= self.told.starttime
    }

    fn is_so(&self, power: Power) -> bool {
        match self.wish {
            Wish::Start => matches!(power, Power::Running | Power::Paused),
            Wish::Stop => power == Power::Stopped,
            Wish::Migrate => true,
        }
    }

    /// What to do with what is seen: the guest in HA's eyes, the tasks that are HA's work, and the ends of those that were
    /// followed. HA tries a start again that failed, elsewhere if need be; it gives up by itself.
    fn judge(&self, view: &View, ended: &[(Upid, ExitStatus)]) -> Next {
        if let Some((_, end)) = ended.iter().find(|(_, end)| end.is_success()) {
            return Next::Done(end.clone());
        }
        let failure = ended.last().map(|(_, end)| end.clone());
        if let Some(failure) = failure.clone().filter(|_| self.wish == Wish::Migrate) {
            return Next::Done(failure);
        }
        let unseen = |row: &&TaskEntry| self.is_work(row) && ended.iter().all(|(upid, _)| *upid != row.upid);
        if let Some(row) = view.tasks.iter().filter(unseen).min_by_key(|row| row.starttime) {
            return Next::Follow(row.upid.clone());
        }
        let gave_up = |why: String| Next::Done(failure.clone().unwrap_or(ExitStatus::Failed(why)));
        let Some(services) = &view.services else { return Next::Look };
        let Some((_, service)) = services.iter().find(|(vmid, _)| *vmid == self.vmid) else {
            return gave_up("HA no longer looks after it".to_owned());
        };
        match (service.state.as_str(), self.wish) {
            ("error" | "fence" | "ignored", _) => gave_up(format!("HA does nothing for it: {}", service.state)),
            ("started", Wish::Start) | ("stopped" | "disabled", Wish::Stop) => Next::Look,
            ("started" | "stopped" | "disabled", Wish::Migrate) if service.node != self.told.node => Next::Look,
            _ => Next::Wait,
        }
    }
}

impl View {
    fn service(&self, vmid: Vmid) -> Option<&Service> {
        self.services.as_ref()?.iter().find(|(of, _)| *of == vmid).map(|(_, service)| service)
    }

    async fn look(&mut self, ops: &Ops, age: Duration) -> Result<()> {
        if self.looked.is_some_and(|looked| looked.elapsed() < age) {
            return Ok(());
        }
        let ask = async |path: &str| ops.backend().send(&Call::new(Method::Get, path)).await.map(|reply| reply.data);
        let tasks = ask("/cluster/tasks").await?;
        let rows = tasks.as_array().map(Vec::as_slice).unwrap_or_default();
        self.tasks = rows.iter().filter_map(|row| serde_json::from_value(row.clone()).ok()).collect();
        self.services = match ask("/cluster/ha/status/current").await {
            Ok(rows) => Some(rows.as_array().into_iter().flatten().filter_map(service).collect()),
            Err(error) if error.class() == Class::Forbidden => None,
            Err(error) => return Err(error),
        };
        self.looked = Some(Instant::now());
        Ok(())
    }
}

/// A row about a guest.
fn service(row: &Value) -> Option<(Vmid, Service)> {
    let text = |key: &str| row.get(key).and_then(Value::as_str);
    let (kind, vmid) = text("sid")?.split_once(':')?;
    let kind = GuestKind::ALL.into_iter().find(|of| of.ha() == kind)?;
    let state = text("state").or_else(|| text("crm_state"))?.to_owned();
    Some((vmid.parse().ok()?, Service { kind, state, node: NodeName::new(text("node")?).ok()? }))
}

impl Ops {
    /// Waits for the end of a task, and where that only told HA something, for what HA does. `next` hears of the tasks in
    /// which HA does it.
    ///
    /// # Errors
    /// As [`Follower::wait`](crate::tasks::Follower::wait).
    pub async fn follow(
        &self,
        upid: &Upid,
        limits: &Limits,
        watch: &mut dyn Watch,
        next: &mut (dyn FnMut(&Upid) + Send),
    ) -> Result<ExitStatus> {
        let began = Instant::now();
        let end = self.follower.wait(upid, limits, watch).await?;
        match Asked::of(upid) {
            Some(asked) if end.is_success() => self.follow_ha(&asked, began, limits, watch, next).await,
            _ => Ok(end),
        }
    }

    async fn follow_ha(
        &self,
        asked: &Asked,
        began: Instant,
        limits: &Limits,
        watch: &mut dyn Watch,
        next: &mut (dyn FnMut(&Upid) + Send),
    ) -> Result<ExitStatus> {
        let told = Instant::now();
        let (mut ended, mut said, mut failing) = (Vec::new(), String::new(), None::<Instant>);
        loop {
            let age = (told.elapsed() / SHARE).clamp(SHORTEST, LONGEST);
            let seen = self.see(asked, &ended, age).await;
            match seen {
                Ok((next_step, state)) => {
                    if failing.take().is_some() {
                        watch.regained();
                    }
                    match next_step {
                        Next::Done(end) => return Ok(end),
                        Next::Follow(upid) => {
                            next(&upid);
                            watch.waits(&format!("task {upid}"));
                            let left = limits.timeout.map(|limit| limit.saturating_sub(began.elapsed()));
                            let end = self.follower.wait(&upid, &Limits { timeout: left, ..*limits }, watch).await?;
                            ended.push((upid, end));
                            continue;
                        }
                        Next::Wait | Next::Look if state != said => {
                            watch.waits(&format!("HA was told and says {state}: waiting until it {}", asked.waits));
                            said = state;
                        }
                        Next::Wait | Next::Look => {}
                    }
                }
                Err(error) if matches!(error.class(), Class::Unauthenticated | Class::Forbidden) => return Err(error),
                Err(error) => {
                    if failing.is_none() {
                        watch.lost(&error);
                    }
                    failing.get_or_insert_with(Instant::now);
                }
            }
            let over = match limits.timeout {
                Some(limit) => began.elapsed() >= limit,
                None => failing.is_some_and(|since| since.elapsed() >= limits.silence),
            };
            if over {
                let waited = Duration::from_secs(began.elapsed().as_secs());
                let text = format!("HA has not done within {waited:?} what it was told ({}); it goes on", asked.told);
                return Err(Error::new(Class::Unfinished, text).with_hint(Hint::Resume(asked.told.to_string())));
            }
            let left = limits.timeout.map_or(Duration::MAX, |limit| limit.saturating_sub(began.elapsed()));
            sleep(age.min(left)).await;
        }
    }

    /// What there is to do, after a look that is no older than this, and the state that HA tells.
    async fn see(&self, asked: &Asked, ended: &[(Upid, ExitStatus)], age: Duration) -> Result<(Next, String)> {
        let (next, service) = {
            let mut view = self.ha.lock().await;
            view.look(self, age).await?;
            (asked.judge(&view, ended), view.service(asked.vmid).cloned())
        };
        let state = service.as_ref().map_or_else(|| "nothing".to_owned(), |service| service.state.clone());
        if next != Next::Look {
            return Ok((next, state));
        }
        let (kind, node) = match service {
            Some(service) => (service.kind, service.node),
            None => (self.kind_of(asked.vmid).await?, asked.told.node.clone()),
        };
        let status = self.backend().guest_status(&GuestRef { kind, vmid: asked.vmid, node }).await?;
        let says = status.get("ha").and_then(|ha| ha.get("state")).and_then(Value::as_str).unwrap_or_default();
        let next = match asked.is_so(Power::of(&status)) {
            true => Next::Done(ExitStatus::Ok),
            false if says == "error" => Next::Done(ExitStatus::Failed("HA does nothing for it: error".to_owned())),
            false => Next::Wait,
        };
        Ok((next, state))
    }

    async fn kind_of(&self, vmid: Vmid) -> Result<GuestKind> {
        let guests = self.recent_guests().await?;
        let found = guests.iter().find(|guest| guest.vmid == vmid).map(|guest| guest.kind);
        found.ok_or_else(|| Error::not_found(format!("no such guest: {vmid}")))
    }

    /// What became of something that HA was told, as far as it can be seen now; and the task in which it does it.
    pub(super) async fn ha_end(&self, asked: &Asked) -> Result<(Option<ExitStatus>, Option<Upid>)> {
        let ended: Vec<(Upid, ExitStatus)> = {
            let mut view = self.ha.lock().await;
            view.look(self, SHORTEST).await?;
            let mut work: Vec<&TaskEntry> = view.tasks.iter().filter(|row| asked.is_work(row)).collect();
            work.sort_by_key(|row| row.starttime);
            work.into_iter().filter_map(|row| Some((row.upid.clone(), row.ended()?))).collect()
        };
        Ok(match self.see(asked, &ended, LONGEST).await?.0 {
            Next::Done(end) => (Some(end), ended.last().map(|(upid, _)| upid.clone())),
            Next::Follow(upid) => (None, Some(upid)),
            Next::Wait | Next::Look => (None, None),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOLD: &str = "UPID:pve1:00000001:00000001:6B003243:hastart:150:me@pam:";

    fn asked(kind: &str) -> Asked {
        Asked::of(&TOLD.replace("hastart", kind).parse().unwrap()).unwrap()
    }

    fn task(kind: &str, later: u32, status: Option<&str>) -> TaskEntry {
        let start = 0x6B00_3243 + later;
        let upid = format!("UPID:pve2:00000002:00000002:{start:08X}:{kind}:150:root@pam:");
        serde_json::from_value(serde_json::json!({"upid": upid, "starttime": start, "status": status})).unwrap()
    }

    fn view(state: &str, node: &str, tasks: &[TaskEntry]) -> View {
        let row = serde_json::json!({"sid": "vm:150", "type": "service", "state": state, "node": node});
        let quorum = serde_json::json!({"type": "quorum", "node": "pve1"});
        let services = Some([row, quorum].iter().filter_map(service).collect());
        View { looked: None, services, tasks: tasks.to_vec() }
    }

    fn word(next: Next) -> String {
        match next {
            Next::Wait => "wait".to_owned(),
            Next::Look => "look".to_owned(),
            Next::Follow(upid) => format!("follow {}", upid.kind),
            Next::Done(end) => end.to_string(),
        }
    }

    #[test]
    fn what_is_seen_decides_what_is_waited_for() {
        for (what, state, node, want) in [
            ("hastart", "queued", "pve1", "wait"),
            ("hastart", "stopped", "pve1", "wait"),
            ("hastart", "starting", "pve1", "wait"),
            ("hastart", "recovery", "pve1", "wait"),
            ("hastart", "started", "pve1", "look"),
            ("hastart", "error", "pve1", "HA does nothing for it: error"),
            ("hastart", "fence", "pve1", "HA does nothing for it: fence"),
            ("hastart", "ignored", "pve1", "HA does nothing for it: ignored"),
            ("hastop", "started", "pve1", "wait"),
            ("hastop", "stopping", "pve1", "wait"),
            ("hastop", "stopped", "pve1", "look"),
            ("hastop", "disabled", "pve1", "look"),
            ("hamigrate", "migrate", "pve1", "wait"),
            ("hamigrate", "started", "pve1", "wait"),
            ("hamigrate", "started", "pve2", "look"),
            ("hamigrate", "stopped", "pve1", "wait"),
            ("hamigrate", "stopped", "pve2", "look"),
        ] {
            assert_eq!(word(asked(what).judge(&view(state, node, &[]), &[])), want, "{what} {state} {node}");
        }
        let gone = View { services: Some(Vec::new()), ..View::default() };
        assert_eq!(word(asked("hastop").judge(&gone, &[])), "HA no longer looks after it");
        assert_eq!(word(asked("hastop").judge(&View::default(), &[])), "look", "who may not see HA looks at the guest");
    }

    #[test]
    fn its_tasks_are_followed_one_after_the_other() {
        let start = asked("hastart");
        let first = task("qmstart", 7, None);
        let others = [task("qmstart", 0, Some("OK")), task("qmshutdown", 9, None)];
        assert!(start.is_work(&first) && start.is_work(&others[0]) && !start.is_work(&others[1]));
        assert!(
            !asked("hastart").is_work(
                &serde_json::from_value(serde_json::json!({
                    "upid": "UPID:pve2:00000002:00000002:6B003242:qmstart:150:root@pam:", "starttime": 1
                }))
                .unwrap()
            ),
            "one from before"
        );
        let end = |text: &str| text.parse::<ExitStatus>().unwrap();
        let failed = (first.upid.clone(), end("start failed"));
        let second = task("qmstart", 20, None);
        let seen = view("starting", "pve1", &[second, first.clone()]);
        assert_eq!(start.judge(&seen, &[]), Next::Follow(first.upid.clone()));
        assert_eq!(word(start.judge(&seen, std::slice::from_ref(&failed))), "follow qmstart", "HA tries again");
        let seen = view("error", "pve1", std::slice::from_ref(&first));
        assert_eq!(word(start.judge(&seen, std::slice::from_ref(&failed))), "start failed", "and gave up");
        let seen = view("starting", "pve1", std::slice::from_ref(&first));
        assert_eq!(word(start.judge(&seen, std::slice::from_ref(&failed))), "wait");
        assert_eq!(word(start.judge(&seen, &[failed, (first.upid, end("OK"))])), "OK");
        let moved = [(task("qmigrate", 5, None).upid, end("migration aborted"))];
        assert_eq!(word(asked("hamigrate").judge(&view("started", "pve1", &[]), &moved)), "migration aborted");
    }
}
