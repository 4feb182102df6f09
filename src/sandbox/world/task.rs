//! A task: a stored row with a begin, an end that is known beforehand, a log that unfolds between, and an effect.
//!
//! It needs no process: whoever looks after its end settles it. What effects do is in [`effect`](super::effect).

use serde::{Deserialize, Serialize};

use super::{Millis, World, effect::Effect, seconds};
use crate::model::{NodeName, Upid};

/// How long a later change waits for the lock that a running task holds on a guest.
pub(crate) const LOCK_PATIENCE: Millis = 10_000;

/// How many finished tasks are kept.
const KEPT: usize = 10_000;

/// How long a task runs that fails at once.
const SHORT: Millis = 50;

/// Work that was started.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Task {
    pub(crate) upid: String,
    pub(crate) node: String,
    /// `qmstart` and the like.
    pub(crate) kind: String,
    /// What it works on.
    pub(crate) id: String,
    /// `user@realm` or `user@realm!token`.
    pub(crate) authid: String,
    pub(crate) pid: u32,
    pub(crate) pstart: u64,
    pub(crate) start: Millis,
    pub(crate) end: Millis,
    /// The guests it holds while it runs.
    pub(crate) holds: Vec<u32>,
    /// Lines, each with when it comes, counted from the start.
    pub(crate) script: Vec<(Millis, String)>,
    /// What its end brings about.
    pub(crate) effect: Effect,
    /// How it has to end, whatever comes of its effect: somebody tries how a client copes.
    #[serde(default)]
    pub(crate) must_end: Option<String>,
    /// How it ended.
    pub(crate) exit: Option<String>,
}

/// How the end of a task begins that did its work and has something to say.
const WARNINGS: &str = "WARNINGS: ";

impl Task {
    /// The user without the token's name.
    pub(crate) fn user(&self) -> &str {
        self.authid.split('!').next().unwrap_or(&self.authid)
    }

    /// The token's name.
    pub(crate) fn token(&self) -> Option<&str> {
        self.authid.split_once('!').map(|(_, token)| token)
    }

    /// The log as it stands at a moment.
    pub(crate) fn log(&self, now: Millis) -> Vec<String> {
        let until = if self.exit.is_some() { self.end } else { now };
        let due = self.script.iter().filter(|(offset, _)| self.start + offset <= until);
        let mut lines: Vec<String> = due.map(|(_, line)| line.clone()).collect();
        match self.exit.as_deref() {
            None => {}
            Some("OK") => lines.push("TASK OK".into()),
            Some(warnings) if warnings.starts_with(WARNINGS) => lines.push(format!("TASK {warnings}")),
            Some(error) => lines.push(format!("TASK ERROR: {error}")),
        }
        lines
    }
}

/// A task before it has a name.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) node: String,
    pub(crate) kind: &'static str,
    pub(crate) id: String,
    pub(crate) authid: String,
    /// How long it takes when all goes well and the pace is 1.
    pub(crate) takes: Millis,
    pub(crate) holds: Vec<u32>,
    /// Lines, each with the share of the duration after which it comes.
    pub(crate) script: Vec<(f64, String)>,
    pub(crate) effect: Effect,
}

impl World {
    /// Starts a task and gives its UPID. It waits for tasks that hold the same guests, and fails if that takes too long.
    pub(crate) fn begin(&mut self, order: Order, now: Millis) -> String {
        let pace = self.meta().pace;
        let paced = |duration: Millis| (duration as f64 * pace) as Millis;
        let free = self.free_at(&order.holds).max(now);
        let mut effect = order.effect;
        let mut script = Vec::new();
        let end = if free - now > LOCK_PATIENCE {
            let vmid = order.holds.first().copied().unwrap_or_default();
            effect = Effect::Fail(locked_file(order.kind, vmid));
            now + LOCK_PATIENCE
        } else if free == now && self.check(&effect, &order.node).is_err() {
            now + paced(SHORT)
        } else {
            let takes = paced(order.takes);
            let line = |(share, text): (f64, String)| (free - now + (takes as f64 * share) as Millis, text);
            script = order.script.into_iter().map(line).collect();
            free + takes
        };
        let pid = self.meta().next_pid;
        self.edit_meta().next_pid = if pid >= 0x3F_FFFF { 1000 } else { pid + 1 };
        let pstart = u64::try_from((now - self.meta().booted) / 10).unwrap_or(0);
        let start_seconds = u32::try_from(seconds(now)).unwrap_or(u32::MAX);
        let upid = format!(
            "UPID:{}:{pid:08X}:{pstart:08X}:{start_seconds:08X}:{}:{}:{}:",
            order.node, order.kind, order.id, order.authid
        );
        let task = Task {
            upid: upid.clone(),
            node: order.node,
            kind: order.kind.to_owned(),
            id: order.id,
            authid: order.authid,
            pid,
            pstart,
            start: now,
            end,
            holds: order.holds,
            script,
            effect,
            must_end: None,
            exit: None,
        };
        self.running.insert(upid.clone(), task);
        upid
    }

    /// When the last task that holds one of these guests ends; long ago if none does.
    pub(crate) fn free_at(&self, guests: &[u32]) -> Millis {
        let holders = self.running.values().filter(|task| task.holds.iter().any(|held| guests.contains(held)));
        holders.map(|task| task.end).max().unwrap_or(0)
    }

    /// When the next task ends.
    pub(crate) fn next_end(&self) -> Option<Millis> {
        self.running.values().map(|task| task.end).chain(self.next_ha()).min()
    }

    /// Ends every task whose time has come, in the order of their ends, and begins what HA does then.
    pub(crate) fn settle(&mut self, now: Millis) {
        self.end_replications(now);
        loop {
            self.end_tasks(now);
            if !self.look_after(now) {
                break;
            }
        }
    }

    fn end_tasks(&mut self, now: Millis) {
        let mut due: Vec<(Millis, u32, String)> = self
            .running
            .values()
            .filter(|task| task.end <= now)
            .map(|task| (task.end, task.pid, task.upid.clone()))
            .collect();
        due.sort();
        for (_, _, upid) in due {
            let Some(mut task) = self.running.remove(upid.as_str()) else { continue };
            let effect = std::mem::replace(&mut task.effect, Effect::Nothing);
            let (warned, failed) = match task.must_end.take() {
                Some(text) if text.starts_with(WARNINGS) => (Some(text), Ok(())),
                Some(text) => (None, Err(text)),
                None => (None, Ok(())),
            };
            let done = failed.and_then(|()| self.check(&effect, &task.node));
            let exit = match done.and_then(|()| self.apply(effect.clone(), &task)) {
                Ok(()) => warned.unwrap_or_else(|| "OK".to_owned()),
                Err(error) => {
                    self.undo(&effect);
                    // What a backup did of its work, and what was to fail from the beginning, stands in the log.
                    if !matches!(effect, Effect::Backup(_) | Effect::Fail(_)) {
                        task.script.clear();
                    }
                    error
                }
            };
            self.finish(task, exit);
        }
    }

    /// Makes a running task end with these words, when its time has come.
    pub(crate) fn end_with(&mut self, upid: &str, text: &str) {
        let Some(task) = self.running.edit(upid) else { return };
        if text.starts_with(WARNINGS) {
            task.script.push((0, "WARN: a fault wants this warning".to_owned()));
        }
        task.must_end = Some(text.to_owned());
    }

    /// Interrupts a running task. A task that is over, or unknown, is left alone.
    pub(crate) fn interrupt(&mut self, upid: &str, now: Millis) {
        let Some(mut task) = self.running.remove(upid) else { return };
        let effect = std::mem::replace(&mut task.effect, Effect::Nothing);
        self.undo(&effect);
        task.end = now;
        self.finish(task, "received interrupt".to_owned());
    }

    fn finish(&mut self, mut task: Task, exit: String) {
        task.exit = Some(exit);
        self.finished.insert(task.upid.clone(), task);
        if self.finished.len() > KEPT {
            let oldest = self.finished.values().min_by_key(|task| task.start).map(|task| task.upid.clone());
            if let Some(oldest) = oldest {
                self.finished.remove(oldest.as_str());
            }
        }
    }

    /// A task by its UPID, running or over.
    pub(crate) fn task(&self, upid: &str) -> Option<&Task> {
        self.running.get(upid).or_else(|| self.finished.get(upid))
    }
}

/// The server's words when a guest's configuration stays locked by a task.
pub(crate) fn locked_file(kind: &str, vmid: u32) -> String {
    if kind.starts_with("vz") {
        format!("can't lock file '/run/lock/lxc/pve-config-{vmid}.lock' - got timeout")
    } else {
        format!("can't lock file '/var/lock/qemu-server/lock-{vmid}.conf' - got timeout")
    }
}

/// Whether a text is a UPID, and of which node.
pub(crate) fn parse_upid(text: &str) -> Option<NodeName> {
    text.parse::<Upid>().ok().map(|upid| upid.node)
}
