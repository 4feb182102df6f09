//! Waiting for tasks: one look per node and tick, however many tasks are followed.
//!
//! A follower never changes anything and never gives a task up because of a lost connection; it only stops waiting.
//!
//! How a node is looked at: up to [`EXACT`] tasks are asked for one by one, which is exact. More than that are looked
//! up in the node's task list, one request for all; a server may call a task running there for some seconds after its
//! end (its list is only refreshed now and then), so every look also asks exactly for the few oldest that seem to run.

use std::{
    collections::{BTreeMap, HashMap, btree_map::Entry},
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::Mutex,
    time::{Instant, sleep, timeout},
};

use super::{Progress, TaskSource};
use crate::model::{Class, Error, ExitStatus, Hint, LogLine, NodeName, Result, Upid};

/// So many tasks of one node are asked for one by one in a tick.
const EXACT: usize = 3;
/// The pause between two looks is this share of the time since something last changed on the node …
const SHARE: u32 = 6;
/// … but not shorter, so that a short task is noticed at once without hammering …
const SHORTEST: Duration = Duration::from_millis(40);
/// … longer where more of a node's tasks are followed than are asked for one by one, in proportion, up to this: one of
/// them ends all the time, and their list is long …
const SHORTEST_OF_MANY: Duration = Duration::from_millis(250);
/// … and not longer.
const LONGEST: Duration = Duration::from_secs(2);
/// A task may be unknown to the server for so long after it was named.
const UNKNOWN_GRACE: Duration = Duration::from_secs(3);
/// How many log lines are asked for at once.
const LOG_PAGE: u64 = 500;

/// What somebody who watches a task is told.
pub trait Watch: Send {
    /// Whether the log is wanted while the task runs. Reading it costs a request per tick and task.
    fn wants_log(&self) -> bool {
        false
    }

    /// A line of the log, in order, each once.
    fn line(&mut self, _line: &LogLine) {}

    /// The task is this far.
    fn progress(&mut self, _progress: Progress) {}

    /// What is waited for beside the task itself, or is another one by now.
    fn waits(&mut self, _what: &str) {}

    /// The server does not answer; the waiting goes on.
    fn lost(&mut self, _error: &Error) {}

    /// The server answers again.
    fn regained(&mut self) {}
}

/// Watches nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoWatch;

impl Watch for NoWatch {}

/// When waiting ends although the task has not.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Stop waiting after this.
    pub timeout: Option<Duration>,
    /// Stop waiting when the server has not answered for this long, if there is no `timeout`.
    pub silence: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { timeout: None, silence: Duration::from_secs(300) }
    }
}

/// Follows tasks of one server; tasks followed at the same time share the looks.
#[derive(Clone)]
pub struct Follower {
    source: Arc<dyn TaskSource>,
    nodes: Arc<std::sync::Mutex<HashMap<NodeName, Arc<Mutex<View>>>>>,
}

/// What is known of one node's tasks.
struct View {
    /// The followed tasks, oldest first, and their ends as far as known.
    followed: BTreeMap<(u32, String), Followed>,
    last_look: Option<Instant>,
    last_change: Instant,
    /// Why the last look failed, and since when looks fail.
    failing: Option<(Instant, String)>,
}

struct Followed {
    upid: Upid,
    since: Instant,
    end: Option<ExitStatus>,
    /// The server said so for longer than it may.
    unknown: bool,
    /// How many wait for its end.
    waiting: usize,
}

impl Follower {
    /// A follower of this server's tasks.
    pub fn new(source: Arc<dyn TaskSource>) -> Self {
        Self { source, nodes: Arc::default() }
    }

    /// Waits for the end of a task.
    ///
    /// # Errors
    /// [`Class::Unfinished`] when a limit is reached, [`Class::NotFound`] when the server does not know the task,
    /// [`Class::Unauthenticated`] and [`Class::Forbidden`] as the server says. That the task failed is no error here.
    pub async fn wait(&self, upid: &Upid, limits: &Limits, watch: &mut dyn Watch) -> Result<ExitStatus> {
        let view = self.view(&upid.node);
        let key = (upid.starttime, upid.to_string());
        {
            let mut view = view.lock().await;
            let now = Instant::now();
            view.last_change = now;
            let fresh = || Followed { upid: upid.clone(), since: now, end: None, unknown: false, waiting: 0 };
            view.followed.entry(key.clone()).or_insert_with(fresh).waiting += 1;
        }
        let waited = self.wait_in(&view, upid, &key, limits, watch).await;
        if let Entry::Occupied(mut followed) = view.lock().await.followed.entry(key) {
            followed.get_mut().waiting -= 1;
            if followed.get().waiting == 0 {
                followed.remove();
            }
        }
        waited
    }

    fn view(&self, node: &NodeName) -> Arc<Mutex<View>> {
        let fresh = || {
            let now = Instant::now();
            Arc::new(Mutex::new(View { followed: BTreeMap::new(), last_look: None, last_change: now, failing: None }))
        };
        // Poisoning is impossible to recover from in a meaningful way here: the map is only ever inserted into.
        let mut nodes = self.nodes.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        nodes.entry(node.clone()).or_insert_with(fresh).clone()
    }

    async fn wait_in(
        &self,
        view: &Mutex<View>,
        upid: &Upid,
        key: &(u32, String),
        limits: &Limits,
        watch: &mut dyn Watch,
    ) -> Result<ExitStatus> {
        let began = Instant::now();
        let mut cursor = 0;
        let mut trouble: Option<String> = None;
        let mut log_answers = true;
        let mut noticed = false;
        loop {
            let pause = view.lock().await.tick();
            let left = limits.timeout.map(|limit| limit.saturating_sub(began.elapsed()));
            let now = tokio::select! {
                () = sleep(left.map_or(pause, |left| pause.min(left))) => false,
                () = self.source.noticed_end(upid), if !noticed => true,
            };
            noticed |= now;
            // A server that hangs must not keep us past the limit either.
            let left = limits.timeout.map_or(Duration::MAX, |limit| limit.saturating_sub(began.elapsed()));
            let seen = match timeout(left, async { view.lock().await.look(&*self.source, key, now).await }).await {
                Ok(seen) => seen?,
                Err(_) => return Err(unfinished(&key.1, began.elapsed(), trouble)),
            };
            match (&seen.failing, &trouble) {
                (Some((_, error)), None) => watch.lost(&Error::new(Class::Unreachable, error)),
                (None, Some(_)) => watch.regained(),
                _ => {}
            }
            trouble = seen.failing.as_ref().map(|(_, error)| error.clone());
            // The log is a courtesy: neither its failure nor its slowness is the task's. One that was not there in time
            // is asked for once more, at the end.
            if trouble.is_none() && watch.wants_log() && (log_answers || seen.end.is_some()) {
                let read = self.read_log(&seen.upid, &mut cursor, watch);
                log_answers = timeout(LONGEST, read).await.is_ok();
            }
            if let Some(end) = seen.end {
                return Ok(end);
            }
            let silent = seen.failing.as_ref().map_or(Duration::ZERO, |(since, _)| since.elapsed());
            let out_of_time = match limits.timeout {
                Some(limit) => began.elapsed() >= limit,
                None => silent >= limits.silence,
            };
            if out_of_time {
                return Err(unfinished(&key.1, began.elapsed(), trouble));
            }
        }
    }

    async fn read_log(&self, upid: &Upid, cursor: &mut u64, watch: &mut dyn Watch) {
        while let Ok(page) = self.source.task_log(upid, *cursor, LOG_PAGE).await {
            let full = page.lines.len() as u64 >= LOG_PAGE;
            for line in &page.lines {
                *cursor = line.n.max(*cursor);
                watch.line(line);
            }
            if let Some(progress) = page.lines.iter().rev().find_map(|line| Progress::from_line(&line.t)) {
                watch.progress(progress);
            }
            if !full {
                break;
            }
        }
    }
}

/// The last lines of a task's log, for error messages; empty when it cannot be had.
pub async fn tail(source: &dyn TaskSource, upid: &Upid, lines: u64) -> Vec<LogLine> {
    let Ok(first) = source.task_log(upid, 0, 1).await else { return Vec::new() };
    let page = source.task_log(upid, first.total.saturating_sub(lines), lines).await;
    page.map(|page| page.lines).unwrap_or_default()
}

fn unfinished(upid: &str, waited: Duration, failing: Option<String>) -> Error {
    let whole = Duration::from_secs(waited.as_secs());
    let waited = format!("{:.0?}", if whole.is_zero() { waited } else { whole });
    let message = match &failing {
        Some(_) => {
            format!("the server stopped answering, and whether task {upid} ended is not known (waited {waited})")
        }
        None => format!("task {upid} has not ended within {waited}; it goes on"),
    };
    let error = Error::new(Class::Unfinished, message).with_hint(Hint::Resume(upid.to_owned()));
    match failing {
        Some(cause) => error.with_source(cause),
        None => error,
    }
}

/// What a look showed of one task.
struct Seen {
    upid: Upid,
    end: Option<ExitStatus>,
    failing: Option<(Instant, String)>,
}

impl View {
    /// How long to wait for the next look: short after a change, longer the longer nothing changes.
    fn tick(&self) -> Duration {
        let crowd = u32::try_from(self.followed.len() / EXACT).unwrap_or(u32::MAX).max(1);
        let shortest = SHORTEST.saturating_mul(crowd).min(SHORTEST_OF_MANY);
        (self.last_change.elapsed() / SHARE).clamp(shortest, LONGEST)
    }

    /// Looks at the node, unless somebody else just did and there is nothing new, and tells what is known of one task.
    async fn look(&mut self, source: &dyn TaskSource, key: &(u32, String), news: bool) -> Result<Seen> {
        let fresh = !news && self.last_look.is_some_and(|last| last.elapsed() < self.tick() / 2);
        let settled = self.followed.get(key).is_some_and(|task| task.end.is_some());
        if !fresh && !settled {
            let looked = self.ask(source).await;
            let now = Instant::now();
            self.last_look = Some(now);
            match looked {
                Ok(()) => self.failing = None,
                Err(error) if matches!(error.class(), Class::Unauthenticated | Class::Forbidden) => return Err(error),
                Err(error) => {
                    let since = self.failing.as_ref().map_or(now, |(since, _)| *since);
                    self.failing = Some((since, error.to_string()));
                }
            }
        }
        let task = self.followed.get(key).ok_or_else(|| Error::new(Class::Bug, "a task is followed no longer"))?;
        if task.unknown {
            return Err(Error::not_found(format!("no such task: {}", task.upid)));
        }
        Ok(Seen { upid: task.upid.clone(), end: task.end.clone(), failing: self.failing.clone() })
    }

    async fn ask(&mut self, source: &dyn TaskSource) -> Result<()> {
        let mut open: Vec<(u32, String)> =
            self.followed.iter().filter(|(_, task)| task.end.is_none()).map(|(key, _)| key.clone()).collect();
        if open.len() > EXACT {
            let since = open.first().map_or(0, |(started, _)| started.saturating_sub(1));
            let node = self.followed[&open[0]].upid.node.clone();
            // Other people's tasks are in the list too; what does not fit is asked for exactly in its turn.
            let rows = source.tasks_since(&node, since, open.len() as u64 * 2 + 50).await?;
            for row in rows {
                let key = (row.upid.starttime, row.upid.to_string());
                if let Some(end) = row.ended() {
                    self.settle(&key, end);
                }
            }
            open.retain(|key| self.followed[key].end.is_none());
        }
        for key in open.into_iter().take(EXACT) {
            let task = &self.followed[&key];
            match source.task_status(&task.upid).await {
                Ok(status) => {
                    if let Some(end) = status.ended() {
                        self.settle(&key, end);
                    }
                }
                // Just after its birth a task may not be listed yet.
                Err(error) if error.class() == Class::NotFound && task.since.elapsed() < UNKNOWN_GRACE => {}
                Err(error) if error.class() == Class::NotFound => {
                    if let Some(task) = self.followed.get_mut(&key) {
                        task.unknown = true;
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn settle(&mut self, key: &(u32, String), end: ExitStatus) {
        if let Some(task) = self.followed.get_mut(key) {
            task.end = Some(end);
            self.last_change = Instant::now();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use async_trait::async_trait;
    use futures_util::future::join_all;

    use super::*;
    use crate::model::{LogPage, TaskEntry, TaskStatus};

    /// Tasks that end after so many milliseconds of (paused) time; every request is counted.
    struct Fake {
        began: Instant,
        end_after: Duration,
        down: std::ops::Range<u64>,
        log_takes: Duration,
        requests: AtomicU32,
    }

    impl Fake {
        fn new(end_after: u64) -> Self {
            Self {
                began: Instant::now(),
                end_after: Duration::from_millis(end_after),
                down: 0..0,
                log_takes: Duration::ZERO,
                requests: AtomicU32::new(0),
            }
        }

        fn answer(&self) -> Result<bool> {
            self.requests.fetch_add(1, Ordering::Relaxed);
            let elapsed = self.began.elapsed();
            if self.down.contains(&(elapsed.as_millis() as u64)) {
                return Err(Error::new(Class::Unreachable, "connection refused"));
            }
            Ok(elapsed >= self.end_after)
        }
    }

    #[async_trait]
    impl TaskSource for Fake {
        async fn task_status(&self, _: &Upid) -> Result<TaskStatus> {
            let json =
                if self.answer()? { r#"{"status":"stopped","exitstatus":"OK"}"# } else { r#"{"status":"running"}"# };
            Ok(serde_json::from_str(json).unwrap())
        }

        async fn task_log(&self, _: &Upid, start: u64, _: u64) -> Result<LogPage> {
            sleep(self.log_takes).await;
            let line = LogLine { n: 1, t: "transferred 1.0 GiB of 2.0 GiB (50.00%)".into() };
            Ok(LogPage { lines: if start == 0 { vec![line] } else { Vec::new() }, total: 1 })
        }

        async fn tasks_since(&self, _: &NodeName, _: u32, _: u64) -> Result<Vec<TaskEntry>> {
            let done = self.answer()?;
            let status = if done { "OK" } else { "RUNNING" };
            let row = |n: u32| {
                let json = serde_json::json!({"upid": upid(n), "status": status, "starttime": 1});
                serde_json::from_value(json).unwrap()
            };
            Ok((0..500).map(row).collect())
        }

        async fn stop_task(&self, _: &Upid) -> Result<()> {
            Ok(())
        }
    }

    fn upid(n: u32) -> Upid {
        format!("UPID:pve1:{n:08X}:00041609:6B003243:qmstart:100:root@pam:").parse().unwrap()
    }

    fn limits(seconds: u64) -> Limits {
        Limits { timeout: Some(Duration::from_secs(seconds)), ..Limits::default() }
    }

    #[tokio::test(start_paused = true)]
    async fn a_short_task_is_noticed_within_a_tenth_of_a_second() {
        let began = Instant::now();
        let follower = Follower::new(Arc::new(Fake::new(300)));
        let end = follower.wait(&upid(1), &limits(10), &mut NoWatch).await.unwrap();
        assert_eq!(end, ExitStatus::Ok);
        let late = began.elapsed() - Duration::from_millis(300);
        assert!(late <= Duration::from_millis(100), "noticed {late:?} late");
    }

    #[tokio::test(start_paused = true)]
    async fn polls_grow_with_nodes_and_not_with_tasks() {
        let requests = async |tasks: u32| {
            let fake = Arc::new(Fake::new(2000));
            let follower = Follower::new(fake.clone());
            let upids: Vec<Upid> = (0..tasks).map(upid).collect();
            let limits = limits(60);
            let waits = upids.iter().map(async |upid| follower.wait(upid, &limits, &mut NoWatch).await);
            assert!(join_all(waits).await.iter().all(Result::is_ok));
            fake.requests.load(Ordering::Relaxed)
        };
        let (few, many) = (requests(10).await, requests(500).await);
        assert!(many <= few * 2, "10 tasks took {few} requests, 500 took {many}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_server_is_waited_for() {
        #[derive(Default)]
        struct Log(Vec<&'static str>);
        impl Watch for Log {
            fn wants_log(&self) -> bool {
                true
            }
            fn progress(&mut self, progress: Progress) {
                assert!((progress.done.unwrap() - 0.5).abs() < 0.001);
                self.0.push("progress");
            }
            fn lost(&mut self, _: &Error) {
                self.0.push("lost");
            }
            fn regained(&mut self) {
                self.0.push("regained");
            }
        }
        let fake = Fake { down: 100..5000, ..Fake::new(3000) };
        let mut log = Log::default();
        let end = Follower::new(Arc::new(fake)).wait(&upid(1), &limits(30), &mut log).await.unwrap();
        assert_eq!(end, ExitStatus::Ok);
        assert_eq!(log.0, ["progress", "lost", "regained"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_log_holds_nothing_up() {
        struct Reader;
        impl Watch for Reader {
            fn wants_log(&self) -> bool {
                true
            }
        }
        let fake = || Fake { log_takes: Duration::from_secs(60), ..Fake::new(3000) };
        let began = Instant::now();
        let end = Follower::new(Arc::new(fake())).wait(&upid(1), &limits(30), &mut Reader).await.unwrap();
        assert_eq!(end, ExitStatus::Ok);
        assert!(began.elapsed() < Duration::from_secs(8), "noticed after {:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn the_limit_ends_the_waiting_and_says_how_to_come_back() {
        for down in [0..0, 100..60_000] {
            let fake = Fake { down, ..Fake::new(600_000) };
            let error = Follower::new(Arc::new(fake)).wait(&upid(1), &limits(5), &mut NoWatch).await.unwrap_err();
            assert_eq!(error.class(), Class::Unfinished);
            assert_eq!(error.hints(), [Hint::Resume(upid(1).to_string())]);
        }
    }
}
