//! How far a task is, taken from the lines of its log.
//!
//! Only what the server writes counts: where a line tells neither speed nor time, none is made up.

use std::time::Duration;

use serde::Serialize;

use crate::model::Size;

/// How far a task is.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Progress {
    /// The share that is done, 0 to 1; `None` where only the amount is known.
    pub done: Option<f64>,
    /// What is done by now, in bytes.
    pub bytes: Option<u64>,
    /// All that there is to do, in bytes.
    pub total: Option<u64>,
    /// Bytes a second, now or on average.
    pub rate: Option<u64>,
    /// How long it has been at it, as the line says.
    pub took: Option<Duration>,
    /// Which part of the work: `scsi0`, `memory`.
    pub part: Option<String>,
}

/// The lines of a kind of work.
struct Rule {
    /// A part of every such line.
    mark: &'static str,
    read: fn(&str) -> Option<Progress>,
}

const fn rule(mark: &'static str, read: fn(&str) -> Option<Progress>) -> Rule {
    Rule { mark, read }
}

/// The first rule that reads a line counts.
const RULES: &[Rule] = &[
    // qmigrate: `migration active, transferred 512.0 MiB of 2.0 GiB VM-state, 110.0 MiB/s`
    rule(" VM-state, ", |line| {
        let (amount, rest) = line.split_once("transferred ")?.1.split_once(" VM-state, ")?;
        let rate = rest.split_once("/s").and_then(|(rate, _)| size(rate));
        let part = Some("memory".to_owned());
        Some(Progress { rate, part, ..amounts(amount)? })
    }),
    // qmigrate, qmmove, qmclone, imports: `mirror-scsi0: transferred 1.2 GiB of 4.0 GiB (30.00%) in 3s, ready`
    rule("transferred ", |line| {
        let (before, rest) = line.split_once("transferred ")?;
        let (amount, rest) = rest.split_once(" (")?;
        let took = rest.split_once(" in ").and_then(|(_, took)| duration(took));
        let part = before.trim().strip_suffix(':').map(|job| job.rsplit('-').next().unwrap_or(job).to_owned());
        Some(Progress { done: before_percent(rest), took, part, ..amounts(amount)? }.averaged())
    }),
    // vzdump of a VM: `INFO:  12% (1.2 GiB of 10.0 GiB) in 3s, read: 400.1 MiB/s, write: 380.0 MiB/s`
    rule(", read: ", |line| {
        let (percent, rest) = line.strip_prefix("INFO:")?.split_once(" (")?;
        let (amount, rest) = rest.split_once(") in ")?;
        let rate = rest.split_once("read: ")?.1.split_once("/s").and_then(|(rate, _)| size(rate));
        Some(Progress { done: before_percent(percent), took: duration(rest), rate, ..amounts(amount)? })
    }),
    // vzdump of a container to a backup server: `INFO: processed 7.805 GiB in 1m, uploaded 1.393 GiB`
    rule(", uploaded ", |line| {
        let (amount, rest) = line.split_once("processed ")?.1.split_once(" in ")?;
        Some(Progress { bytes: size(amount), took: duration(rest), ..Progress::default() }.averaged())
    }),
    // vzdump of older servers: `INFO: status: 3% (1032323072/34359738368), sparse 0%, duration 13, read/write 104/57 MB/s`
    rule("INFO: status: ", |line| {
        let (percent, rest) = line.strip_prefix("INFO: status: ")?.split_once(" (")?;
        let (bytes, total) = rest.split_once(')')?.0.split_once('/')?;
        let took = rest.split_once("duration ").and_then(|(_, took)| number(took)).map(Duration::from_secs);
        let (bytes, total) = (bytes.parse().ok(), total.parse().ok());
        Some(Progress { done: before_percent(percent), bytes, total, took, ..Progress::default() }.averaged())
    }),
    // qmrestore, also from a backup server: `progress 45% (read 483459072 bytes, duration 1 sec)`
    rule("progress ", |line| {
        let (percent, rest) = line.strip_prefix("progress ")?.split_once(" (read ")?;
        let took = rest.split_once("duration ").and_then(|(_, took)| number(took)).map(Duration::from_secs);
        let (done, bytes) = (before_percent(percent), number(rest));
        let total = done.zip(bytes).filter(|(done, _)| *done > 0.0).map(|(done, bytes)| (bytes as f64 / done) as u64);
        Some(Progress { done, bytes, total, took, ..Progress::default() }.averaged())
    }),
    // A disk that is copied through a pipe: `5600186368 bytes (5.6 GB, 5.2 GiB) copied, 60 s, 93.3 MB/s`
    rule(") copied, ", |line| {
        let (amount, rest) = line.split_once(" bytes (")?;
        let took = duration(rest.split_once(") copied, ")?.1);
        Some(Progress { bytes: amount.trim().parse().ok(), took, ..Progress::default() }.averaged())
    }),
    // download: ` 32768K ........ ........ ........ ........ 38% 95.2M 1s`
    rule(" ....", |line| {
        let (amount, rest) = line.trim().split_once(' ')?;
        let mut words = rest.trim_start_matches(['.', ' ']).split_whitespace();
        let done = before_percent(words.next()?)?;
        let rate = words.next().map(|word| word.split('=').next().unwrap_or(word)).and_then(size);
        Some(Progress { done: Some(done), bytes: size(amount), rate, ..Progress::default() })
    }),
    // `zfs send -v`, in a migration or a replication: `10:23:35   1.21G   rpool/data/vm-107-disk-0@__migration__`
    rule("@", |line| {
        let mut words = line.split_whitespace().rev();
        let (dataset, amount, clock) = (words.next()?, words.next()?, words.next()?);
        let is_clock = clock.len() == 8 && clock.split(':').all(|part| part.len() == 2 && number(part).is_some());
        let (volume, _) = dataset.rsplit_once('/')?.1.split_once('@')?;
        // `110M`, as zfs has its sizes; a whole number is bytes.
        let bytes = size(amount).filter(|_| is_clock)?;
        Some(Progress { bytes: Some(bytes), part: Some(volume.to_owned()), ..Progress::default() })
    }),
    // Whatever tells its share in the same place.
    rule("%", |line| {
        let share = |text: &str| before_percent(text).map(|done| Progress { done: Some(done), ..Progress::default() });
        let places =
            [line.split_once(" (").map(|(_, rest)| rest), line.strip_prefix("INFO:"), line.strip_prefix("progress ")];
        places.into_iter().flatten().find_map(share)
    }),
];

impl Progress {
    /// Reads the figures out of a log line, if it has some.
    pub fn from_line(line: &str) -> Option<Self> {
        let line = line.trim();
        let rules = RULES.iter().filter(|rule| line.contains(rule.mark));
        let progress = rules.into_iter().find_map(|rule| (rule.read)(line))?;
        progress.done.is_none_or(|done| (0.0..=1.0).contains(&done)).then_some(progress)
    }

    /// How long the rest takes at this speed.
    pub fn left(&self) -> Option<Duration> {
        let rest = self.total?.checked_sub(self.bytes?)?;
        let seconds = rest as f64 / self.rate.filter(|rate| *rate > 0)? as f64;
        Duration::try_from_secs_f64(seconds).ok()
    }

    /// With the average speed, where the line tells the time and no speed.
    fn averaged(mut self) -> Self {
        let seconds = self.took.map(|took| took.as_secs_f64()).filter(|seconds| *seconds > 0.0);
        self.rate = self.bytes.zip(seconds).map(|(bytes, seconds)| (bytes as f64 / seconds) as u64);
        self
    }
}

/// The guest that a backup of several comes to with this line: `INFO: Starting Backup of VM 101 (lxc)`.
pub fn backup_of(line: &str) -> Option<&str> {
    let rest = line.trim().strip_prefix("INFO: Starting Backup of ")?;
    Some(rest.split_once(" (").map_or(rest, |(guest, _)| guest))
}

/// `1.2 GiB of 4.0 GiB`, and the share that it is.
fn amounts(text: &str) -> Option<Progress> {
    let (done, total) = text.split_once(" of ")?;
    let (bytes, total) = (size(done)?, size(total)?);
    let done = (total > 0).then(|| bytes as f64 / total as f64);
    Some(Progress { done, bytes: Some(bytes), total: Some(total), ..Progress::default() })
}

/// The number that stands directly before the first `%`.
fn before_percent(text: &str) -> Option<f64> {
    let number = text.split_once('%')?.0.trim();
    Some(number.parse::<f64>().ok()? / 100.0)
}

fn size(text: &str) -> Option<u64> {
    text.trim().parse::<Size>().ok().map(|size| size.0)
}

/// The whole number at the beginning.
fn number(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text[..end].parse().ok()
}

/// `1h 2m 3s`, or `60 s`, as far as a text begins so.
fn duration(text: &str) -> Option<Duration> {
    let mut seconds = None;
    let mut rest = text.trim_start();
    loop {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let Ok(amount) = rest[..end].parse::<f64>() else { break };
        let unit = rest[end..].trim_start();
        let worth = match unit.chars().next() {
            Some('d') => 86_400.0,
            Some('h') => 3_600.0,
            Some('m') => 60.0,
            Some('s') => 1.0,
            _ => break,
        };
        *seconds.get_or_insert(0.0) += amount * worth;
        rest = unit[1..].trim_start();
    }
    Duration::try_from_secs_f64(seconds?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    const GIB: u64 = 1 << 30;

    /// What a line tells: percent, bytes, total, bytes a second, seconds left, the part.
    type Told<Part> = (Option<u32>, Option<u64>, Option<u64>, Option<u64>, Option<u64>, Option<Part>);

    fn told(line: &str) -> Option<Told<String>> {
        let progress = Progress::from_line(line)?;
        let percent = progress.done.map(|done| (done * 100.0).round() as u32);
        let left = progress.left().map(|left| left.as_secs());
        Some((percent, progress.bytes, progress.total, progress.rate, left, progress.part))
    }

    /// Lines of real tasks; those with a date are as they are in logs that people have shown.
    const LINES: &[(&str, Told<&'static str>)] = &[
        (
            "2025-11-14 21:47:48 migration active, transferred 4.0 GiB of 12.0 GiB VM-state, 512.0 MiB/s",
            (Some(33), Some(4 * GIB), Some(12 * GIB), Some(512 * MIB), Some(16), Some("memory")),
        ),
        (
            "mirror-scsi0: transferred 10.0 GiB of 100.0 GiB (10.00%) in 1m 4s",
            (Some(10), Some(10 * GIB), Some(100 * GIB), Some(160 * MIB), Some(576), Some("scsi0")),
        ),
        (
            "mirror-scsi0: transferred 100.0 GiB of 100.0 GiB (100.00%) in 10m 40s, ready",
            (Some(100), Some(100 * GIB), Some(100 * GIB), Some(160 * MIB), Some(0), Some("scsi0")),
        ),
        (
            "drive-scsi0: transferred 1.0 GiB of 4.0 GiB (25.00%) in 2s",
            (Some(25), Some(GIB), Some(4 * GIB), Some(512 * MIB), Some(6), Some("scsi0")),
        ),
        ("transferred 0.0 B of 2.0 GiB (0.00%)", (Some(0), Some(0), Some(2 * GIB), None, None, None)),
        (
            "INFO:  12% (1.5 GiB of 12.5 GiB) in 3s, read: 512.0 MiB/s, write: 380.0 MiB/s",
            (Some(12), Some(3 * GIB / 2), Some(25 * GIB / 2), Some(512 * MIB), Some(22), None),
        ),
        (
            "INFO: status: 3% (1073741824/34359738368), sparse 0% (102125568), duration 8, read/write 104/57 MB/s",
            (Some(3), Some(GIB), Some(32 * GIB), Some(128 * MIB), Some(248), None),
        ),
        (
            "INFO: processed 7.5 GiB in 1m, uploaded 1.393 GiB",
            (None, Some(15 * GIB / 2), None, Some(128 * MIB), None, None),
        ),
        (
            "progress 50% (read 8589934592 bytes, duration 8 sec)",
            (Some(50), Some(8 * GIB), Some(16 * GIB), Some(GIB), Some(8), None),
        ),
        (
            "progress 1% (read 88080384 bytes, zeroes = 100% (88080384 bytes), duration 0 sec)",
            (Some(1), Some(88_080_384), Some(8_808_038_400), None, None, None),
        ),
        (
            "6277435392 bytes (6.3 GB, 5.8 GiB) copied, 64 s, 93.7 MB/s",
            (None, Some(6_277_435_392), None, Some(98_084_928), None, None),
        ),
        (
            " 32768K ........ ........ ........ ........ 38% 95.2M 1s",
            (Some(38), Some(32 * MIB), None, Some(99_824_435), None, None),
        ),
        (
            "2025-02-21 12:49:21 12:49:21   1.50G   rpool/data/vm-107-disk-0@__migration__",
            (None, Some(3 * GIB / 2), None, None, None, Some("vm-107-disk-0")),
        ),
        ("drive-scsi0: copied (40%)", (Some(40), None, None, None, None, None)),
        ("INFO:  7%", (Some(7), None, None, None, None, None)),
    ];

    #[test]
    fn reads_the_lines_of_real_tasks() {
        for (line, (percent, bytes, total, rate, left, part)) in LINES {
            let want = (*percent, *bytes, *total, *rate, *left, part.map(str::to_owned));
            assert_eq!(told(line), Some(want), "{line}");
        }
    }

    #[test]
    fn every_rule_has_a_line() {
        for rule in RULES {
            let read = |line: &&str| line.contains(rule.mark) && (rule.read)(line.trim()).is_some();
            assert!(LINES.iter().map(|(line, _)| line).any(read), "`{}`", rule.mark);
        }
    }

    #[test]
    fn other_lines_tell_nothing() {
        for line in [
            "create full clone of drive scsi0 (local-lvm:base-9000-disk-0)",
            "Logical volume \"vm-150-disk-0\" created.",
            "2025-11-14 21:47:42 migration cachesize: 2.0 GiB",
            "2025-11-14 21:47:53 migration completed, transferred 12.6 GiB VM-state",
            "INFO: root.pxar: had to backup 1.58 GiB of 16.308 GiB (compressed 286.611 MiB) in 133.26 s (average 12.141 MiB/s)",
            "TASK OK",
            "2025-02-21 12:49:20 full send of rpool/data/vm-107-disk-0@__migration__ estimated size is 14.2G",
            "2025-02-21 12:49:20 TIME        SENT   SNAPSHOT rpool/data/vm-107-disk-0@__migration__",
            "(150%)",
            "transferred of (%)",
            "",
        ] {
            assert_eq!(told(line), None, "{line}");
        }
    }

    #[test]
    fn a_backup_says_whose_it_is() {
        assert_eq!(backup_of("INFO: Starting Backup of VM 101 (lxc)"), Some("VM 101"));
        assert_eq!(backup_of("INFO: Finished Backup of VM 101 (00:00:55)"), None);
    }
}
