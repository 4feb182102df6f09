//! The life of a served host beside its requests: what is found to be left is put in order, what waits in queues is done,
//! and guests that want it start with the host.
//!
//! It goes by what the view sees and asks nothing again and again; what has to be done to a guest is the backend's to know.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::{Picture, View, record::CONTEXT};
use crate::{
    backends::Backend,
    model::{
        ExitStatus, Guest, GuestKind, GuestRef, NodeName, NullRecorder, QueuedStep, Result, Submitted, Upid, Vmid,
    },
    ops::Ops,
    tasks::{Follower, Limits, NoWatch},
};

/// How long to wait after the first thing that did not help, before it is tried again; twice as long after each further.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
/// How long at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// How often something in the queue is tried that fails.
const TRIES: u32 = 5;
/// How many lines of a task are told at most.
const LINES: u64 = 50;

/// The life of one host. Clones are the same.
#[derive(Clone)]
pub struct Life(Arc<Inner>);

struct Inner {
    backend: Arc<dyn Backend>,
    follower: Follower,
    ops: Ops,
    node: NodeName,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    /// How guests were when they were last seen; `None` before the first look.
    seen: Option<BTreeMap<Vmid, String>>,
    /// Those that a task of ours is at work on.
    busy: BTreeSet<Vmid>,
    /// What did not help: how often, and when last.
    tried: HashMap<Tried, (u32, Instant)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Tried {
    /// To put a guest in order.
    Tidy(Vmid),
    /// To do what waits in its queue.
    Queue(i64),
}

impl Life {
    /// The life of this backend's host. Nothing is done yet.
    pub fn new<B: Backend + 'static>(backend: Arc<B>, node: NodeName) -> Self {
        let ops = Ops::new(Arc::clone(&backend), Arc::new(NullRecorder), CONTEXT);
        let follower = Follower::new(backend.clone());
        Self(Arc::new(Inner { backend, follower, ops, node, kept: Mutex::default() }))
    }

    /// Attends to guests for as long as it is polled.
    ///
    /// # Errors
    /// When nothing is heard of them any more.
    pub async fn attend(&self, view: &View) -> Result<()> {
        loop {
            if let Some(picture) = view.look().await {
                self.see(&picture).await;
            }
            view.wait().await?;
        }
    }

    /// Starts the guests with `onboot`, in the order and with the pauses of their `startup`. One that does not start is
    /// told, and the others start all the same.
    ///
    /// # Errors
    /// When a configuration cannot be read or understood.
    pub async fn start_guests(&self) -> Result<()> {
        for turn in self.0.ops.plan_start_all().await? {
            for plan in turn.plans {
                for step in &plan.steps {
                    let vmid = step.guest.vmid;
                    match self.0.backend.submit(step).await {
                        Ok(Submitted::Task(upid)) => match self.ended(&upid).await {
                            Ok(end) if end.is_success() => {
                                tracing::info!(vmid = vmid.get(), %upid, "started with the host");
                            }
                            Ok(end) => tracing::error!(vmid = vmid.get(), %upid, %end, "does not start with the host"),
                            Err(error) => tracing::error!(vmid = vmid.get(), %error, "does not start with the host"),
                        },
                        Ok(Submitted::Done(_)) => {}
                        Err(error) => tracing::error!(vmid = vmid.get(), %error, "does not start with the host"),
                    }
                }
            }
            tokio::time::sleep(turn.pause).await;
        }
        Ok(())
    }

    async fn see(&self, picture: &Picture) {
        self.tell(picture);
        let waiting = match self.0.backend.queue(None).await {
            Ok(waiting) => waiting,
            Err(error) => return tracing::warn!(%error, "the queue cannot be read"),
        };
        for vmid in self.to_tidy(picture, &waiting) {
            self.tidy(vmid).await;
        }
        for id in self.to_retry(&waiting) {
            tracing::info!(queued = id, "what failed in the queue is tried again");
            if let Err(error) = self.0.backend.retry_queued(id).await {
                tracing::warn!(queued = id, %error, "it cannot be tried again");
            }
        }
    }

    /// Says what is another way than it was.
    fn tell(&self, picture: &Picture) {
        let now: BTreeMap<Vmid, String> = picture.guests.iter().map(|guest| (guest.vmid, word(guest))).collect();
        let mut kept = self.kept();
        if let Some(before) = &kept.seen {
            for guest in &picture.guests {
                let (word, vmid, name) =
                    (&now[&guest.vmid], guest.vmid.get(), guest.name.as_deref().unwrap_or_default());
                match before.get(&guest.vmid) {
                    Some(was) if was != word => tracing::info!(vmid, name, was, now = word, "another state"),
                    None => tracing::info!(vmid, name, now = word, "a new guest"),
                    Some(_) => {}
                }
            }
            for vmid in before.keys().filter(|vmid| !now.contains_key(vmid)) {
                tracing::info!(vmid = vmid.get(), "gone");
            }
        } else {
            let running = picture.guests.iter().filter(|guest| guest.is_powered()).count();
            tracing::info!(guests = picture.guests.len(), running, left = picture.left.len(), "found");
        }
        kept.seen = Some(now);
    }

    /// Those that are to be put in order, or in whose queue something waits that can be done.
    fn to_tidy(&self, picture: &Picture, waiting: &[QueuedStep]) -> Vec<Vmid> {
        let mut firsts: BTreeMap<Vmid, &QueuedStep> = BTreeMap::new();
        for item in waiting {
            firsts.entry(item.vmid).or_insert(item);
        }
        let can = |guest: &&Guest| guest.lock.is_none() && guest.status != "unresponsive";
        let free = picture.guests.iter().filter(can).map(|guest| guest.vmid);
        let queued = free.filter(|vmid| firsts.get(vmid).is_some_and(|first| first.status == "waiting"));
        let wanted: BTreeSet<Vmid> = picture.left.iter().copied().chain(queued).collect();
        let mut kept = self.kept();
        // Who is in order may be tried at once the next time.
        let there: BTreeSet<i64> = waiting.iter().map(|item| item.id).collect();
        kept.tried.retain(|tried, _| match tried {
            Tried::Tidy(vmid) => wanted.contains(vmid),
            Tried::Queue(id) => there.contains(id),
        });
        let due = wanted.into_iter().filter(|vmid| !kept.busy.contains(vmid) && kept.is_due(Tried::Tidy(*vmid)));
        due.collect()
    }

    /// What failed in queues and may be tried again.
    fn to_retry(&self, waiting: &[QueuedStep]) -> Vec<i64> {
        let mut kept = self.kept();
        let mut due = Vec::new();
        for item in waiting.iter().filter(|item| item.status == "failed") {
            if kept.busy.contains(&item.vmid) {
                continue;
            }
            let key = Tried::Queue(item.id);
            match kept.tried.get(&key).copied() {
                // It failed just now, or before this process was there.
                None => drop(kept.tried.insert(key, (1, Instant::now()))),
                Some((count, _)) if count < TRIES && kept.is_due(key) => {
                    kept.tried.insert(key, (count + 1, Instant::now()));
                    due.push(item.id);
                }
                Some(_) => {}
            }
        }
        due
    }

    /// Begins to put a guest in order, and follows that aside.
    async fn tidy(&self, vmid: Vmid) {
        let guest = GuestRef { kind: GuestKind::Qemu, node: self.0.node.clone(), vmid };
        {
            let mut kept = self.kept();
            let count = kept.tried.get(&Tried::Tidy(vmid)).map_or(0, |(count, _)| *count);
            kept.tried.insert(Tried::Tidy(vmid), (count + 1, Instant::now()));
        }
        let upid = match self.0.backend.tidy(&guest).await {
            Ok(Submitted::Task(upid)) => upid,
            Ok(Submitted::Done(_)) => return,
            Err(error) => return tracing::warn!(vmid = vmid.get(), %error, "cannot be put in order"),
        };
        self.kept().busy.insert(vmid);
        let me = self.clone();
        tokio::spawn(async move {
            let end = me.ended(&upid).await;
            if let Ok(log) = me.0.backend.task_log(&upid, 0, LINES).await {
                for line in log.lines.iter().filter(|line| !line.t.starts_with("TASK ")) {
                    tracing::info!(vmid = vmid.get(), %upid, "{}", line.t);
                }
            }
            match end {
                Ok(end) if end.is_success() => {}
                Ok(end) => tracing::warn!(vmid = vmid.get(), %upid, %end, "is not in order"),
                Err(error) => tracing::warn!(vmid = vmid.get(), %upid, %error, "what became of it is not known"),
            }
            me.kept().busy.remove(&vmid);
        });
    }

    async fn ended(&self, upid: &Upid) -> Result<ExitStatus> {
        self.0.follower.wait(upid, &Limits::default(), &mut NoWatch).await
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// Whether something may be tried: the first time at once, then after ever longer pauses.
    fn is_due(&self, tried: Tried) -> bool {
        self.tried.get(&tried).is_none_or(|(count, last)| last.elapsed() >= pause(*count))
    }
}

/// How long to wait after so many tries.
fn pause(count: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(1 << count.saturating_sub(1).min(16)).min(LONGEST_PAUSE)
}

/// How a guest is, in one word.
fn word(guest: &Guest) -> String {
    match &guest.lock {
        Some(lock) => format!("{} ({lock})", guest.status),
        None => guest.status.clone(),
    }
}

impl std::fmt::Debug for Life {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Life").field("node", &self.0.node).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_end() {
        let seconds: Vec<u64> = [0, 1, 2, 3, 7, 100].into_iter().map(|count| pause(count).as_secs()).collect();
        assert_eq!(seconds, [2, 2, 4, 8, 128, 300]);
    }
}
