//! Guests under HA: what is asked of them, what the cluster makes of it, and the tasks that come of that.
//!
//! As on a real cluster, whoever asks gets a task that ends once HA has been told. HA's own task begins some time later,
//! in the name of root. It needs no process either: whoever looks after it was due begins it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    Millis, World,
    effect::{Act, Effect},
    moving::Way,
    task::Order,
};
use crate::model::GuestKind;

/// How long it takes HA to notice that something was asked of it.
const NOTICES: Millis = 600;

/// In whose name HA works.
const WORKS_AS: &str = "root@pam";

/// A guest that HA looks after.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Service {
    /// `started`, `stopped`, `disabled` or `ignored`.
    pub(crate) request: String,
    /// The other keys of its definition.
    pub(crate) keys: BTreeMap<String, String>,
    /// What the manager of the cluster says: `started`, `request_stop`, `stopped`, `error`; nothing before it looked.
    pub(crate) state: Option<String>,
    /// How often it did not start since it was asked to.
    #[serde(default)]
    pub(crate) failed: u64,
    /// What HA is about to do, or does.
    #[serde(default)]
    pub(crate) work: Option<Work>,
}

/// Something that HA does to a guest.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Work {
    /// When it begins.
    pub(crate) due: Millis,
    /// What it is; nothing where HA only takes a look.
    pub(crate) act: Option<Ask>,
    /// Its task, once it has begun.
    pub(crate) upid: Option<String>,
    /// Where the guest goes.
    #[serde(default)]
    pub(crate) to: Option<String>,
}

/// What can be asked of HA.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Ask {
    Start,
    /// With the power cut at once, or after the guest was asked to shut down.
    Stop {
        hard: bool,
    },
    Move,
}

/// The name of a guest in HA's configuration.
pub(crate) fn sid(kind: GuestKind, vmid: u32) -> String {
    format!("{}:{vmid}", kind.ha())
}

impl Service {
    /// A number among its keys, or what it is without.
    pub(crate) fn number(&self, key: &str) -> u64 {
        self.keys.get(key).and_then(|text| text.parse().ok()).unwrap_or(1)
    }

    /// The word for how it is, as `status/current` has it.
    pub(crate) fn word(&self, running: bool) -> &str {
        match (self.request.as_str(), self.state.as_deref()) {
            ("ignored", _) => "ignored",
            (_, None) => "queued",
            (_, Some("started")) if !running => "starting",
            (_, Some("request_stop")) => "stopping",
            ("disabled", Some("stopped")) => "disabled",
            (_, Some(state)) => state,
        }
    }
}

impl World {
    /// A guest's entry in HA's configuration.
    pub(crate) fn service(&self, kind: GuestKind, vmid: u32) -> Option<&Service> {
        self.ha.get(&sid(kind, vmid))
    }

    /// Whether HA does what is asked of a guest.
    pub(crate) fn is_managed(&self, kind: GuestKind, vmid: u32) -> bool {
        self.service(kind, vmid).is_some_and(|service| service.request != "ignored")
    }

    /// Tells HA how a guest is to be: it notices later.
    pub(crate) fn tell_ha(&mut self, name: &str, request: &str, hard: bool, now: Millis) {
        let running = self.guest_of(name).is_some_and(|vmid| self.runs(vmid));
        let due = now + (NOTICES as f64 * self.meta().pace) as Millis;
        let Some(service) = self.ha.edit(name) else { return };
        service.request = request.to_owned();
        service.failed = 0;
        let act = match (request, running, service.state.as_deref()) {
            // Whoever made an error of it has to disable it first.
            ("started", _, Some("error")) | ("ignored", ..) => return,
            ("started", false, _) => Some(Ask::Start),
            ("stopped" | "disabled", true, _) => Some(Ask::Stop { hard }),
            _ => None,
        };
        match act {
            // The manager says what it wants long before it is so.
            Some(Ask::Start) if service.state.is_some() => service.state = Some("started".into()),
            Some(Ask::Stop { .. }) => service.state = Some("request_stop".into()),
            _ => {}
        }
        service.work = Some(Work { due, act, upid: None, to: None });
    }

    /// Tells HA where a guest is to be: it notices later.
    pub(crate) fn send_by_ha(&mut self, name: &str, to: &str, now: Millis) {
        let running = self.guest_of(name).is_some_and(|vmid| self.runs(vmid));
        let due = now + (NOTICES as f64 * self.meta().pace) as Millis;
        let Some(service) = self.ha.edit(name).filter(|service| service.state.as_deref() != Some("error")) else {
            return;
        };
        service.state = Some(if running { "migrate" } else { "relocate" }.to_owned());
        service.work = Some(Work { due, act: Some(Ask::Move), upid: None, to: Some(to.to_owned()) });
    }

    /// Takes away the replication jobs whose nodes have removed the copies by now.
    pub(crate) fn end_replications(&mut self, now: Millis) {
        let at = |keys: &BTreeMap<String, String>| keys.get(super::GONE).and_then(|at| at.parse::<Millis>().ok());
        let gone = self.replications.iter().filter(|(_, keys)| at(keys).is_some_and(|at| at <= now));
        for id in gone.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            self.replications.remove(&id);
        }
    }

    /// Takes a guest that is gone out of HA, replication and the backup jobs that name it.
    pub(crate) fn purge(&mut self, kind: GuestKind, vmid: u32) {
        self.ha.remove(&sid(kind, vmid));
        let number = vmid.to_string();
        let replicated = self.replications.keys().filter(|id| id.split('-').next() == Some(number.as_str()));
        for id in replicated.cloned().collect::<Vec<_>>() {
            self.replications.remove(&id);
        }
        let names = |keys: &BTreeMap<String, String>| {
            keys.get("vmid").is_some_and(|list| list.split(',').any(|named| named == number))
        };
        let jobs = self.backup_jobs.iter().filter(|(_, keys)| names(keys)).map(|(id, _)| id.clone());
        for id in jobs.collect::<Vec<_>>() {
            let Some(list) = self.backup_jobs.edit(&id).and_then(|keys| keys.get_mut("vmid")) else { continue };
            let rest: Vec<&str> = list.split(',').filter(|named| *named != number).collect();
            *list = rest.join(",");
        }
    }

    fn guest_of(&self, name: &str) -> Option<u32> {
        name.split_once(':')?.1.parse().ok()
    }

    fn runs(&self, vmid: u32) -> bool {
        self.guests.get(&vmid).is_some_and(super::guest::Guest::is_running)
    }

    /// When HA next begins something.
    pub(crate) fn next_ha(&self) -> Option<Millis> {
        let due = |service: &Service| service.work.as_ref().filter(|work| work.upid.is_none()).map(|work| work.due);
        self.ha.values().filter_map(due).min()
    }

    /// Begins what is due, and takes note of what has ended. Tells whether there was anything.
    pub(crate) fn look_after(&mut self, now: Millis) -> bool {
        let at_work = self.ha.iter().filter_map(|(name, service)| Some((name.clone(), service.work.clone()?)));
        let mut any = false;
        for (name, work) in at_work.collect::<Vec<_>>() {
            match &work.upid {
                None if work.due <= now => {
                    any = true;
                    self.begin_work(&name, work);
                }
                Some(upid) if self.running.get(upid.as_str()).is_none() => {
                    any = true;
                    let ended = self.finished.get(upid.as_str());
                    let (end, well) = ended.map_or((now, false), |task| (task.end, task.exit.as_deref() == Some("OK")));
                    self.end_work(&name, &work, well, end);
                }
                _ => {}
            }
        }
        any
    }

    fn begin_work(&mut self, name: &str, work: Work) {
        let guest = self.guest_of(name).and_then(|vmid| self.guests.get(&vmid));
        let found = guest.map(|guest| (guest.kind, guest.vmid, guest.node.clone(), guest.is_running()));
        let Some((kind, vmid, node, running)) = found else {
            self.ha.remove(name);
            return;
        };
        if let (Some(Ask::Move), Some(to)) = (work.act, work.to.clone()) {
            self.move_by_ha(name, vmid, &to, work);
            return;
        }
        let act = match work.act {
            Some(Ask::Start) if !running => Act::Start,
            Some(Ask::Stop { .. }) if running => Act::Stop,
            _ => {
                let state = if running { "started" } else { "stopped" };
                if let Some(service) = self.ha.edit(name) {
                    service.state = Some(state.to_owned());
                    service.work = None;
                }
                return;
            }
        };
        let (kinds, takes) = match work.act {
            Some(Ask::Stop { hard: true }) => (["qmstop", "vzstop"], 200),
            Some(Ask::Stop { hard: false }) => (["qmshutdown", "vzshutdown"], 600),
            _ => (["qmstart", "vzstart"], 300),
        };
        let order = Order {
            node,
            kind: kinds[usize::from(kind == GuestKind::Lxc)],
            id: vmid.to_string(),
            authid: WORKS_AS.to_owned(),
            takes,
            holds: vec![vmid],
            script: Vec::new(),
            effect: Effect::Guest { kind, vmid, act, skiplock: false },
        };
        let upid = self.begin(order, work.due);
        if let Some(service) = self.ha.edit(name) {
            if work.act == Some(Ask::Start) {
                service.state = Some("started".into());
            }
            service.work = Some(Work { upid: Some(upid), ..work });
        }
    }

    fn move_by_ha(&mut self, name: &str, vmid: u32, to: &str, work: Work) {
        let Some(guest) = self.guests.get(&vmid).filter(|guest| guest.node != to).cloned() else {
            self.end_work(name, &work, false, work.due);
            return;
        };
        let way = Way { copies: true, ..Way::new(to) };
        let order = self.migration(&guest, &way, WORKS_AS, work.due);
        let upid = self.begin_migration(order, vmid, work.due);
        if let Some(service) = self.ha.edit(name) {
            service.work = Some(Work { upid: Some(upid), ..work });
        }
    }

    /// A start that failed is tried again as often as the definition allows, then it is an error.
    fn end_work(&mut self, name: &str, work: &Work, well: bool, end: Millis) {
        let pause = (NOTICES as f64 * self.meta().pace) as Millis;
        let running = self.guest_of(name).is_some_and(|vmid| self.runs(vmid));
        let Some(service) = self.ha.edit(name) else { return };
        service.work = None;
        match work.act {
            // It stays where it was.
            Some(Ask::Move) => service.state = Some(if running { "started" } else { "stopped" }.to_owned()),
            Some(Ask::Start) if well => service.state = Some("started".into()),
            _ if well => service.state = Some("stopped".into()),
            Some(Ask::Start) if service.failed < service.number("max_restart") => {
                service.failed += 1;
                service.work = Some(Work { due: end + pause, act: work.act, upid: None, to: None });
            }
            _ => service.state = Some("error".into()),
        }
    }
}
