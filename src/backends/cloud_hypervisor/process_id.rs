//! Who a process is: pid, start time and boot together, which no other process ever has.
//!
//! What rows and locks say of their writers and what this host signals and waits for is the same; only that is here, and
//! nothing is done to anybody.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    sync::OnceLock,
};

use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::model::{Class, Error, Result};

/// Which process, on this boot of this host and no other.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ProcessId {
    /// The number that the kernel gives anew after the process is gone.
    pub pid: u32,
    /// When it began, in clock ticks since boot: field 22 of `/proc/PID/stat`.
    pub starttime: u64,
    /// The boot it lives in: `/proc/sys/kernel/random/boot_id`.
    pub boot_id: String,
}

/// What `/proc/PID/stat` says of a process, as far as it is needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stat {
    /// Its number.
    pub pid: u32,
    /// One letter: `R`, `S`, … and `Z` for one that has ended and was not waited for.
    pub state: char,
    /// Its session; -1 once the kernel is taking the process apart.
    pub session: i32,
    /// When it began, in clock ticks since boot.
    pub starttime: u64,
}

impl Stat {
    /// Reads a line. The name in parentheses may hold anything, blanks, parentheses and bytes that are no text too, so
    /// the fields are counted from the last closing one.
    pub fn parse(line: &[u8]) -> Option<Self> {
        let open = line.iter().position(|byte| *byte == b'(')?;
        let close = line.iter().rposition(|byte| *byte == b')').filter(|close| *close > open)?;
        let pid = std::str::from_utf8(&line[..open]).ok()?.trim().parse().ok()?;
        let fields: Vec<&str> = std::str::from_utf8(&line[close + 1..]).ok()?.split_ascii_whitespace().collect();
        // The state is field 3 and stands first here.
        let field = |number: usize| fields.get(number - 3).copied();
        let mut state = field(3)?.chars();
        let (Some(letter), None) = (state.next(), state.next()) else { return None };
        Some(Self { pid, state: letter, session: field(6)?.parse().ok()?, starttime: field(22)?.parse().ok()? })
    }

    /// Asks the kernel; `None` if there is no such process.
    ///
    /// # Errors
    /// [`Class::Failed`] when `/proc` cannot be read.
    pub fn of(pid: u32) -> Result<Option<Self>> {
        let unknown = || Error::new(Class::Failed, format!("`/proc/{pid}/stat` has an unknown form"));
        Self::line(pid)?.map(|line| Self::parse(&line).ok_or_else(unknown)).transpose()
    }

    /// The line itself.
    ///
    /// # Errors
    /// [`Class::Failed`] when `/proc` cannot be read.
    pub fn line(pid: u32) -> Result<Option<Vec<u8>>> {
        /// More than any line has: the kernel writes it anew for every read.
        const LONGEST: u64 = 4096;
        let path = format!("/proc/{pid}/stat");
        let mut line = Vec::with_capacity(1024);
        match File::open(&path).and_then(|file| file.take(LONGEST).read_to_end(&mut line)) {
            Ok(_) => Ok(Some(line)),
            Err(error) if is_gone(&error) => Ok(None),
            Err(error) => Err(unreadable(&path, error)),
        }
    }

    /// Whether it has ended already and only waits for its parent.
    pub fn has_ended(&self) -> bool {
        matches!(self.state, 'Z' | 'X' | 'x')
    }
}

/// Whether this is how `/proc` says that a process is not there any more.
pub(in crate::backends::cloud_hypervisor) fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(Errno::SRCH.raw_os_error())
}

/// This boot of this host.
///
/// # Errors
/// [`Class::Failed`] when `/proc` cannot be read.
pub fn boot_id() -> Result<String> {
    const PATH: &str = "/proc/sys/kernel/random/boot_id";
    // It does not change while anybody lives who could ask, and lists ask for every VM.
    static KNOWN: OnceLock<String> = OnceLock::new();
    if let Some(known) = KNOWN.get() {
        return Ok(known.clone());
    }
    let text = fs::read_to_string(PATH).map_err(|error| unreadable(PATH, error))?;
    Ok(KNOWN.get_or_init(|| text.trim().to_owned()).clone())
}

impl ProcessId {
    /// Who has this pid now; `None` for nobody, and for one that has ended already.
    ///
    /// # Errors
    /// [`Class::Failed`] when `/proc` cannot be read.
    pub fn of(pid: u32) -> Result<Option<Self>> {
        let Some(stat) = Stat::of(pid)?.filter(|stat| !stat.has_ended()) else { return Ok(None) };
        Ok(Some(Self { pid, starttime: stat.starttime, boot_id: boot_id()? }))
    }

    /// This very process.
    ///
    /// # Errors
    /// [`Class::Failed`] when `/proc` cannot be read.
    pub fn current() -> Result<Self> {
        let me = Self::of(std::process::id())?;
        me.ok_or_else(|| Error::new(Class::Failed, "this process is not to be found in /proc"))
    }

    /// Whether it lives, as far as can be seen. One that only waits for its parent does not: nothing of it will act again.
    pub fn is_alive(&self) -> bool {
        Self::of(self.pid).is_ok_and(|there| there.as_ref() == Some(self))
    }
}

/// Ticks of a hundredth of a second since boot, in which the kernel counts the starts of processes.
///
/// # Errors
/// [`Class::Failed`] when `/proc` cannot be read.
pub(in crate::backends::cloud_hypervisor) fn ticks() -> Result<u64> {
    const PATH: &str = "/proc/uptime";
    let text = fs::read_to_string(PATH).map_err(|error| unreadable(PATH, error))?;
    let seconds = text.split_whitespace().next().and_then(|word| word.parse::<f64>().ok());
    // A few hundred years fit.
    seconds
        .map(|seconds| (seconds * 100.0).round() as u64)
        .ok_or_else(|| Error::new(Class::Failed, format!("{PATH} cannot be understood")))
}

fn unreadable(path: &str, error: io::Error) -> Error {
    Error::new(Class::Failed, format!("cannot read `{path}`: {error}")).with_source(error)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line(pid: u32, name: &[u8], state: char, starttime: u64) -> Vec<u8> {
        let mut line = format!("{pid} (").into_bytes();
        line.extend(name);
        line.extend(format!(") {state} 1 7 8 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 {starttime} 99 100\n").bytes());
        line
    }

    proptest! {
        #[test]
        fn a_stat_is_read_whatever_the_process_is_called(
            pid in 1..=i32::MAX as u32,
            name in proptest::collection::vec(any::<u8>(), 0..40),
            starttime: u64,
        ) {
            let stat = Stat { pid, state: 'S', session: 8, starttime };
            prop_assert_eq!(Stat::parse(&line(pid, &name, 'S', starttime)), Some(stat));
        }

        #[test]
        fn no_bytes_are_too_odd(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Stat::parse(&bytes);
        }
    }

    /// So it reads after the kernel has detached it from its session, before its number is free.
    #[test]
    fn a_process_that_is_taken_apart_has_a_line_too() {
        let stat = Stat::parse(b"1950 (sleep) X 0 -1 -1 0 -1 4228364 0 0 0 0 0 0 0 0 20 0 0 0 4711 0 0").unwrap();
        assert_eq!((stat.session, stat.starttime, stat.has_ended()), (-1, 4711, true));
    }

    #[test]
    fn names_made_to_mislead_do_not() {
        for name in ["", ")", "a) Z 1 1 1 1 1 1", "((", "x\n1 (y) R"] {
            assert_eq!(Stat::parse(&line(42, name.as_bytes(), 'R', 77)).unwrap().starttime, 77, "{name:?}");
        }
        for broken in ["", "1", "1 (a", "1 (a) ", "1 (a) R 1 2", "x (a) R 1 1 1", "1 )a( R"] {
            assert_eq!(Stat::parse(broken.as_bytes()), None, "{broken:?}");
        }
    }

    #[test]
    fn a_number_that_was_given_again_is_somebody_else() {
        let me = ProcessId::current().unwrap();
        assert!(me.is_alive());
        assert!(!ProcessId { starttime: me.starttime + 1, ..me.clone() }.is_alive());
        assert!(!ProcessId { boot_id: "another".into(), ..me }.is_alive());
    }

    #[test]
    fn ticks_go_on_from_the_start_of_this_process() {
        assert!(ticks().unwrap() >= ProcessId::current().unwrap().starttime);
    }
}
