//! Copies of disks and of memory in the log of a task: how far they are, in the server's words.
//!
//! How fast it goes is made up.

use crate::model::Size;

/// How many lines tell how far one is.
pub(super) const STEPS: u64 = 8;

/// What is copied in a second, as the log says.
pub(super) const RATE: u64 = 400 << 20;

/// A size with one decimal, as in the lines of progress: `1.2 GiB`.
pub(crate) fn short(bytes: u64) -> String {
    let text = Size(bytes).to_string();
    let Some((number, unit)) = text.split_once(' ') else { return text };
    number.parse::<f64>().map_or(text.clone(), |number| format!("{number:.1} {unit}"))
}

/// `transferred 1.2 GiB of 4.0 GiB (30.00%)`.
pub(crate) fn transferred(done: u64, total: u64) -> String {
    let percent = done as f64 / total.max(1) as f64 * 100.0;
    format!("transferred {} of {} ({percent:.2}%)", short(done), short(total))
}

/// The lines of a copy that QEMU makes while the VM runs, each with its share of the copy.
pub(super) fn mirror(key: &str, total: u64) -> Vec<(f64, String)> {
    let mut lines = vec![(0.0, format!("drive mirror is starting for drive-{key}"))];
    for step in 0..=STEPS {
        let done = total / STEPS * step;
        let ready = if step == STEPS { ", ready" } else { "" };
        let line = format!("mirror-{key}: {} in {}s{ready}", transferred(done, total), done / RATE);
        lines.push((step as f64 / STEPS as f64, line));
    }
    lines.push((1.0, "all 'mirror' jobs are ready".to_owned()));
    lines
}
