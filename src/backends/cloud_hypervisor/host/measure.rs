//! What a process has used, as `/proc` counts it.

use std::{fs, path::Path};

use super::{Stat, at};
use crate::model::{Class, Error, Result};

/// What a process has used so far.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Used {
    /// Seconds of processors.
    pub cpu: f64,
    /// Seconds since it started.
    pub uptime: f64,
    /// Bytes of memory that it has in use, what it shares with others among them.
    pub resident: u64,
}

/// Seconds since this host booted.
///
/// # Errors
/// [`Class::Failed`] when `/proc` cannot be read.
pub fn host_uptime() -> Result<f64> {
    let path = Path::new("/proc/uptime");
    let text = fs::read_to_string(path).map_err(|error| at("read", path, error))?;
    let seconds = text.split_whitespace().next().and_then(|word| word.parse().ok());
    seconds.ok_or_else(|| Error::new(Class::Failed, "`/proc/uptime` has an unknown form"))
}

/// What a process has used, `now` seconds after the boot of this host; `None` if it is gone, or its number is another's
/// by now.
///
/// # Errors
/// [`Class::Failed`] when `/proc` cannot be read.
pub fn used(pid: u32, starttime: u64, now: f64) -> Result<Option<Used>> {
    let Some(line) = Stat::line(pid)? else { return Ok(None) };
    if Stat::parse(&line).is_none_or(|stat| stat.starttime != starttime || stat.has_ended()) {
        return Ok(None);
    }
    let ticks = rustix::param::clock_ticks_per_second() as f64;
    Ok(counted(&line).map(|(cpu, pages)| Used {
        cpu: cpu as f64 / ticks,
        uptime: (now - starttime as f64 / ticks).max(0.0),
        resident: pages * rustix::param::page_size() as u64,
    }))
}

/// Ticks in user and kernel mode, and pages of memory: fields 14, 15 and 24 of the line.
fn counted(line: &[u8]) -> Option<(u64, u64)> {
    let close = line.iter().rposition(|byte| *byte == b')')?;
    let fields: Vec<&str> = std::str::from_utf8(&line[close + 1..]).ok()?.split_ascii_whitespace().collect();
    // The state is field 3 and stands first here.
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    Some((field(14)? + field(15)?, field(24)?))
}

/// Bytes of memory that are a process's own share: what several use is divided among them. It takes the kernel some time
/// to count them. `None` where it does not tell.
pub fn proportional(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let kib: u64 = text.lines().find_map(|line| line.strip_prefix("Pss:"))?.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backends::cloud_hypervisor::ProcessId;

    #[test]
    fn this_process_has_used_something() {
        let me = ProcessId::of(std::process::id()).unwrap().unwrap();
        let now = host_uptime().unwrap();
        let used = used(me.pid, me.starttime, now).unwrap().unwrap();
        assert!(used.resident > 1 << 20 && used.cpu >= 0.0 && used.uptime < now, "{used:?}");
        assert!(proportional(me.pid).is_none_or(|bytes| bytes > 0 && bytes < used.resident * 2));
        assert_eq!(super::used(me.pid, me.starttime + 1, now).unwrap(), None);
        assert_eq!(super::used(u32::MAX, 1, now).unwrap(), None);
    }

    #[test]
    fn fields_are_counted_behind_the_name() {
        let line = b"7 (a) b) 1) S 1 7 8 0 -1 4194560 1 2 3 4 50 6 7 8 20 0 1 0 99 1000 33 2";
        assert_eq!(counted(line), Some((56, 33)));
        assert_eq!(counted(b"7 (a) S 1"), None);
    }
}
