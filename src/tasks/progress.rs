//! How far a task is, taken from the lines of its log.
//!
//! Only what the server writes counts: nothing is guessed from time.

use serde::Serialize;

use crate::model::Size;

/// How far a task is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Progress {
    /// The share that is done, 0 to 1.
    pub done: f64,
}

/// Where the figure stands in the line of a kind of work. The first rule that finds one counts.
const RULES: &[fn(&str) -> Option<f64>] = &[
    // qmclone, qmmove, disk import: `transferred 1.2 GiB of 4.0 GiB (30.00%) in 3s`
    // vzdump: `INFO:  12% (1.2 GiB of 10.0 GiB) in 3s, read: 400.1 MiB/s, write: 380.0 MiB/s`
    |line| before_percent(line.split_once(" (")?.1),
    |line| before_percent(line.strip_prefix("INFO:")?),
    // qmrestore: `progress 45% (read 483459072 bytes, duration 1 sec)`
    |line| before_percent(line.strip_prefix("progress ")?),
    // qmigrate: `migration active, transferred 512.0 MiB of 2.0 GiB VM-state, 110.0 MiB/s`
    |line| share(line.split_once("transferred ")?.1),
    // download: ` 32768K ........ ........ ........ ........ 38% 95.2M 1s`
    |line| before_percent(line.contains(" ....").then_some(line)?.rsplit_once(". ").map_or(line, |(_, rest)| rest)),
];

impl Progress {
    /// Reads the figure out of a log line, if it has one.
    pub fn from_line(line: &str) -> Option<Self> {
        let line = line.trim();
        let done = RULES.iter().find_map(|rule| rule(line))?;
        (0.0..=1.0).contains(&done).then_some(Self { done })
    }
}

/// The number that stands directly before the first `%`.
fn before_percent(text: &str) -> Option<f64> {
    let number = text.split_once('%')?.0.trim();
    Some(number.parse::<f64>().ok()? / 100.0)
}

/// `512.0 MiB of 2.0 GiB …` as a share.
fn share(text: &str) -> Option<f64> {
    let (done, rest) = text.split_once(" of ")?;
    let all = rest.split_whitespace().take(2).collect::<String>();
    let size = |text: &str| text.replace(' ', "").trim_end_matches(',').parse::<Size>().ok();
    let (done, all) = (size(done)?, size(&all)?);
    (all.0 > 0).then(|| done.0 as f64 / all.0 as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_lines_of_real_tasks() {
        for (line, percent) in [
            ("drive-scsi0: transferred 1.2 GiB of 4.0 GiB (30.00%) in 3s", Some(30)),
            ("transferred 0.0 B of 2.0 GiB (0.00%)", Some(0)),
            ("progress 45% (read 483459072 bytes, duration 1 sec)", Some(45)),
            ("INFO:  12% (1.2 GiB of 10.0 GiB) in 3s, read: 400.1 MiB/s, write: 380.0 MiB/s", Some(12)),
            ("migration active, transferred 512.0 MiB of 2.0 GiB VM-state, 110.0 MiB/s", Some(25)),
            (" 32768K ........ ........ ........ ........ 38% 95.2M 1s", Some(38)),
            ("create full clone of drive scsi0 (local-lvm:base-9000-disk-0)", None),
            ("Logical volume \"vm-150-disk-0\" created.", None),
            ("TASK OK", None),
            ("(150%)", None),
        ] {
            let got = Progress::from_line(line).map(|progress| (progress.done * 100.0).round() as u32);
            assert_eq!(got, percent, "{line}");
        }
    }
}
