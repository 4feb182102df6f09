//! Progress on stderr: bars on a terminal, plain lines elsewhere.
//!
//! Shows what it is told by `ops`; it asks nobody and decides nothing.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

use super::ui::{Ui, style, styled};
use crate::{
    backends::{Action, Step},
    model::{Error, Hint, LogLine, Size, Upid},
    ops::{CallPlan, Observer, Outcome, Plan, Status, Subject, Words},
    tasks::{Progress, Watch, backup_of},
};

/// From how many plans on there is a line about all of them, and no line for each that ends well: its row says so.
const MANY: usize = 16;
/// How many bars are shown at once: what runs has to fit on the screen with what failed.
const BARS: usize = 10;

/// Shows plans at work.
pub(crate) struct Show {
    ui: Arc<Ui>,
    /// When the first step of each plan was begun.
    begun: Mutex<HashMap<usize, Instant>>,
    bars: Mutex<HashMap<usize, ProgressBar>>,
    /// The last that was said of each plan's steps: several of one sort are told once.
    said: Mutex<HashMap<usize, &'static str>>,
    all: Option<All>,
}

/// The line about many plans.
struct All {
    bar: ProgressBar,
    failed: AtomicUsize,
}

impl All {
    fn new(ui: &Ui, count: usize) -> Self {
        let bar = ui.bars().add(ProgressBar::new(count as u64));
        let style = ProgressStyle::with_template("{pos} of {len} {bar:24.cyan/dim} {elapsed:.dim} {msg:.red}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        bar.set_style(style.progress_chars("━━╌"));
        bar.tick();
        Self { bar, failed: AtomicUsize::new(0) }
    }

    fn ended(&self, status: Status) {
        if matches!(status, Status::Failed | Status::Unknown) {
            let failed = self.failed.fetch_add(1, Ordering::Relaxed) + 1;
            self.bar.set_message(format!("{failed} failed"));
        }
        self.bar.inc(1);
        if self.bar.position() == self.bar.length().unwrap_or(0) {
            self.bar.finish_and_clear();
        }
    }
}

/// Work whose log tells how far it is.
const TELLS_PROGRESS: [Action; 8] = [
    Action::Create,
    Action::Clone,
    Action::ConfigureInTask,
    Action::Migrate,
    Action::MoveDisk,
    Action::MoveVolume,
    Action::Backup,
    Action::Restore,
];

/// Of that what takes so long that it is told in lines too, where no bar is drawn.
const TELLS_LINES: [Action; 5] =
    [Action::Migrate, Action::MoveDisk, Action::MoveVolume, Action::Backup, Action::Restore];

/// So often in the course of each part of it.
const LINES: f64 = 4.0;

impl Show {
    /// `count` plans.
    pub(crate) fn new(ui: Arc<Ui>, count: usize) -> Self {
        let all = (count >= MANY && ui.draws()).then(|| All::new(&ui, count));
        Self { ui, begun: Mutex::default(), bars: Mutex::default(), said: Mutex::default(), all }
    }

    fn begun(&self) -> MutexGuard<'_, HashMap<usize, Instant>> {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn bar(&self, index: usize) -> ProgressBar {
        let mut bars = self.bars.lock().unwrap_or_else(PoisonError::into_inner);
        let shown = bars.values().filter(|bar| !bar.is_hidden()).count();
        let make = || if shown < BARS { bar(&self.ui) } else { ProgressBar::hidden() };
        bars.entry(index).or_insert_with(make).clone()
    }

    /// Takes a bar away.
    pub(crate) fn clear(&self, index: usize) {
        if let Some(bar) = self.bars.lock().unwrap_or_else(PoisonError::into_inner).remove(&index) {
            bar.finish_and_clear();
            self.ui.bars().remove(&bar);
        }
    }
}

/// A spinner that becomes a bar once somebody knows how far it is.
pub(crate) fn bar(ui: &Ui) -> ProgressBar {
    let bar = ui.bars().add(ProgressBar::new(1000));
    bar.set_style(spinner_style());
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

fn spinner_style() -> ProgressStyle {
    // The templates are constants; a mistake in one shows as indicatif's default.
    ProgressStyle::with_template("{spinner:.cyan} {msg} {elapsed:.dim}")
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
}

fn bar_style() -> ProgressStyle {
    ProgressStyle::with_template("{spinner:.cyan} {msg} {bar:24.cyan/dim} {percent:>3}% {elapsed:.dim}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("━━╌")
}

/// Shows on a bar how far something is, as a share of one.
pub(crate) fn show_share(bar: &ProgressBar, share: f64) {
    bar.set_style(bar_style());
    bar.set_position((share * 1000.0) as u64);
}

impl Observer for Show {
    fn step(&self, index: usize, plan: &Plan, step: &Step) {
        self.begun().entry(index).or_insert_with(Instant::now);
        let what = match step.action {
            Action::Clone => "cloning",
            Action::Configure | Action::ConfigureInTask if plan.steps.len() > 1 => "configuring",
            Action::Start if plan.steps.len() > 1 => "starting",
            Action::Stop if plan.steps.len() > 1 => "stopping",
            Action::Shutdown if plan.steps.len() > 1 => "shutting down",
            Action::Reboot if plan.steps.len() > 1 => "restarting",
            Action::ResizeDisk if plan.steps.len() > 1 => "growing a disk of",
            Action::Template if plan.steps.len() > 1 => "making a template of",
            _ => plan.words.present,
        };
        if self.ui.draws() {
            let bar = self.bar(index);
            bar.set_style(spinner_style());
            bar.set_message(format!("{what} {}", plan.label()));
        } else if self.said.lock().unwrap_or_else(PoisonError::into_inner).insert(index, what) != Some(what) {
            self.ui.say(format_args!("{what} {}", plan.label()));
        }
    }

    fn task(&self, index: usize, plan: &Plan, upid: &Upid) -> Box<dyn Watch> {
        if !self.ui.draws() {
            self.ui.say(format_args!("  {}: task {upid}", plan.label()));
        }
        let bar = self.ui.draws().then(|| self.bar(index));
        // A log is read only where it tells something: it costs a request a tick.
        let tells = if bar.is_some() { &TELLS_PROGRESS[..] } else { &TELLS_LINES };
        let wants_log = plan.steps.iter().any(|step| tells.contains(&step.action));
        Box::new(TaskLine::new(self.ui.clone(), plan.label(), bar, wants_log, false))
    }

    fn call_task(&self, plan: &CallPlan, upid: &Upid) -> Box<dyn Watch> {
        let label = match (&plan.subject, &plan.node) {
            (Some(Subject { kind, name, .. }), Some(node)) if *kind != "node" => format!("{kind} {name} on {node}"),
            (Some(Subject { kind, name, .. }), _) => format!("{kind} {name}"),
            (None, _) => format!("{} {}", plan.call.method, plan.call.path),
        };
        if !self.ui.draws() {
            self.ui.say(format_args!("{label}: task {upid}"));
        }
        let bar = self.ui.draws().then(|| self.bar(0));
        if let Some(bar) = &bar {
            bar.set_message(label.clone());
        }
        // What its log tells is not known beforehand.
        let wants_log = bar.is_some();
        Box::new(TaskLine::new(self.ui.clone(), label, bar, wants_log, false))
    }

    fn outcome(&self, index: usize, outcome: &Outcome) {
        self.clear(index);
        let began = self.begun().remove(&index);
        if let Some(all) = &self.all {
            all.ended(outcome.status);
        }
        let is_told = self.all.is_some() && outcome.status == Status::Ok;
        if is_told || (!outcome.changed && outcome.error.is_none()) {
            return;
        }
        let name = outcome.name.as_ref().map_or(String::new(), |name| format!(" ({name})"));
        let Words { name: verb, past, .. } = outcome.verb;
        let (mark, word) = ending(outcome.status, verb, past, outcome.exit_status.as_deref());
        let took = began.map_or(0.0, |began| began.elapsed().as_secs_f64());
        let made = outcome.volume.as_ref().map_or_else(String::new, |volume| format!(": {volume}"));
        self.ui.say(format_args!("{mark} {}/{}{name} {word} ({took:.1}s){made}", outcome.kind, outcome.vmid));
    }

    fn waiting(&self, guest: &str, why: &str, limit: Duration) {
        self.ui.say(format_args!("{guest} is {why}: waiting up to {}s for it (--wait-lock)", limit.as_secs_f64()));
    }

    fn warning(&self, text: &str) {
        self.ui.warn(text);
    }
}

/// How something ended: a mark, and words to stand after its name.
pub(crate) fn ending(status: Status, verb: &str, past: &str, exit_status: Option<&str>) -> (String, String) {
    let (colour, mark, word) = match status {
        Status::Ok => (style::GOOD, "✓", past.to_owned()),
        Status::Warning => (style::HALF, "!", format!("{past}, {}", exit_status.unwrap_or_default())),
        Status::Running => (style::HALF, "…", format!("{verb} goes on")),
        Status::Cancelled => (style::DIM, "-", format!("{verb} not sent")),
        Status::Failed => (style::BAD, "✗", format!("{verb} failed")),
        Status::Unknown => (style::BAD, "?", format!("{verb} unknown, the answer was lost")),
    };
    (styled(colour, mark), word)
}

/// One task on the terminal.
pub(crate) struct TaskLine {
    pub(crate) ui: Arc<Ui>,
    pub(crate) label: String,
    pub(crate) bar: Option<ProgressBar>,
    pub(crate) wants_log: bool,
    /// Whether the log itself is shown (`task watch`).
    pub(crate) lines: bool,
    /// The guest whose turn it is in a backup of several.
    turn: Option<String>,
    /// How far each part was when a line told it.
    told: HashMap<Option<String>, u32>,
}

impl TaskLine {
    pub(crate) fn new(ui: Arc<Ui>, label: String, bar: Option<ProgressBar>, wants_log: bool, lines: bool) -> Self {
        Self { ui, label, bar, wants_log, lines, turn: None, told: HashMap::new() }
    }

    /// What it is about at the moment.
    fn about(&self) -> String {
        match &self.turn {
            Some(turn) => format!("{}, {turn}", self.label),
            None => self.label.clone(),
        }
    }

    /// Whether a line about this is due where no bar is drawn.
    fn is_due(&mut self, progress: &Progress) -> bool {
        // The end is told in other words.
        let Some(done) = progress.done.filter(|done| self.wants_log && !self.lines && *done < 1.0) else {
            return false;
        };
        let now = (done * LINES) as u32;
        let before = self.told.insert(progress.part.clone(), now).unwrap_or(0);
        now > before
    }
}

/// `scsi0: 25%, 8.00 GiB of 32.00 GiB, 412.0 MiB/s, 1m 3s left`, as far as it is known.
fn figures(progress: &Progress, share: bool) -> String {
    let percent = progress.done.filter(|_| share).map(|done| format!("{:.0}%", done * 100.0));
    let amount = match (progress.bytes, progress.total) {
        (Some(bytes), Some(total)) => Some(format!("{} of {}", Size(bytes), Size(total))),
        (bytes, _) => bytes.map(|bytes| Size(bytes).to_string()),
    };
    let rate = progress.rate.map(|rate| format!("{}/s", Size(rate)));
    let left = progress.left().map(|left| format!("{} left", spell(left)));
    let known: Vec<String> = [percent, amount, rate, left].into_iter().flatten().collect();
    match &progress.part {
        Some(part) => format!("{part}: {}", known.join(", ")),
        None => known.join(", "),
    }
}

/// `1h 2m`, `3m 20s`, `5s`.
fn spell(left: Duration) -> String {
    let seconds = left.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, seconds) => format!("{minutes}m {seconds}s"),
        (hours, minutes, _) => format!("{hours}h {minutes}m"),
    }
}

impl Watch for TaskLine {
    fn wants_log(&self) -> bool {
        self.wants_log
    }

    fn line(&mut self, line: &LogLine) {
        if let Some(guest) = backup_of(&line.t) {
            self.turn = Some(guest.to_owned());
        }
        if self.lines {
            self.ui.say(&line.t);
        }
    }

    fn progress(&mut self, progress: Progress) {
        match self.bar.clone() {
            Some(bar) => {
                bar.set_message(format!("{}  {}", self.about(), figures(&progress, false)).trim_end().to_owned());
                if let Some(done) = progress.done {
                    show_share(&bar, done);
                }
            }
            None if self.is_due(&progress) => {
                self.ui.say(format_args!("  {}: {}", self.about(), figures(&progress, true)));
            }
            None => {}
        }
    }

    fn waits(&mut self, what: &str) {
        match &self.bar {
            Some(bar) => bar.set_message(format!("{}: {what}", self.label)),
            None => self.ui.say(format_args!("  {}: {what}", self.label)),
        }
    }

    fn lost(&mut self, error: &Error) {
        self.ui
            .warn(format_args!("{}: the server does not answer ({error}); the task goes on, still trying", self.label));
    }

    fn regained(&mut self) {
        self.ui.say(format_args!("{}: the server answers again", self.label));
    }
}

/// How to come back to what was left, for the last lines of a command.
pub(crate) fn resume_lines(outcomes: &[Outcome]) -> Vec<String> {
    let left = outcomes.iter().filter(|outcome| outcome.status == Status::Running);
    left.filter_map(|outcome| {
        let hinted = outcome
            .error
            .as_ref()
            .is_some_and(|error| error.hints().iter().any(|hint| matches!(hint, Hint::Resume(_))));
        let upid = outcome.upid.as_ref().filter(|_| hinted)?;
        Some(format!("{}/{} goes on: pvectl task watch {upid}", outcome.kind, outcome.vmid))
    })
    .collect()
}
