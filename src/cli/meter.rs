//! How far something is that this very process moves, in bytes: an image that is pulled here, a file that is sent.
//!
//! What a server does tells its task; that is in [`progress`](super::progress).

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use indicatif::{HumanBytes, ProgressBar};

use super::{
    progress::{bar, show_share},
    ui::Ui,
};

/// A bar on a terminal, a line at the beginning elsewhere.
pub(crate) struct Meter {
    ui: Arc<Ui>,
    what: String,
    bar: Option<ProgressBar>,
    began_at: AtomicU64,
}

/// No place was told yet.
const NOWHERE: u64 = u64::MAX;

impl Meter {
    /// One that is about to begin.
    pub(crate) fn new(ui: Arc<Ui>, what: String) -> Self {
        let bar = ui.draws().then(|| bar(&ui));
        match &bar {
            Some(bar) => bar.set_message(what.clone()),
            None => ui.say(&what),
        }
        Self { ui, what, bar, began_at: AtomicU64::new(NOWHERE) }
    }

    /// It is over, well or not.
    pub(crate) fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
            self.ui.bars().remove(bar);
        }
    }

    /// So much is done, of so much.
    pub(crate) fn show(&self, done: u64, total: Option<u64>) {
        let Some(bar) = &self.bar else { return };
        // What an earlier pull brought does not count for the speed.
        let _ = self.began_at.compare_exchange(NOWHERE, done, Ordering::Relaxed, Ordering::Relaxed);
        let fresh = done.saturating_sub(self.began_at.load(Ordering::Relaxed));
        let seconds = bar.elapsed().max(Duration::from_millis(100)).as_secs_f64();
        let speed = HumanBytes((fresh as f64 / seconds) as u64);
        let of = total.map_or(String::new(), |total| format!(" of {}", HumanBytes(total)));
        bar.set_message(format!("{}  {}{of}, {speed}/s", self.what, HumanBytes(done)));
        if let Some(total) = total.filter(|total| *total > 0) {
            show_share(bar, done as f64 / total as f64);
        }
    }

    /// Says something about it.
    pub(crate) fn tell(&self, text: &str) {
        self.ui.say(format_args!("{}: {text}", self.what));
    }
}
