//! Which process: its number, its start and the boot it belongs to, so that a number that was given again is noticed.
//!
//! Only what rows need to know of their writers; looking after VMMs is the host's room.

use std::{fs, io};

use serde::{Deserialize, Serialize};

use crate::model::{Class, Error, Result};

/// One process, and never another that got its number later.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Its start in ticks since boot: field 22 of `/proc/PID/stat`.
    pub starttime: u64,
    /// The boot: `/proc/sys/kernel/random/boot_id`.
    pub boot_id: String,
}

impl Process {
    /// This very process.
    ///
    /// # Errors
    /// [`Class::Failed`] where `/proc` does not tell.
    pub fn current() -> Result<Self> {
        let pid = std::process::id();
        let stat = Stat::read(pid).map_err(|error| unreadable("/proc/self/stat", error))?;
        Ok(Self { pid, starttime: stat.starttime, boot_id: boot_id()? })
    }

    /// Whether it lives. A zombie does not: nothing of it will act again.
    pub fn is_alive(&self) -> bool {
        boot_id().is_ok_and(|boot| boot == self.boot_id)
            && Stat::read(self.pid)
                .is_ok_and(|stat| stat.starttime == self.starttime && !matches!(stat.state, 'Z' | 'X'))
    }
}

/// The name of the present boot.
///
/// # Errors
/// [`Class::Failed`] where `/proc` does not tell.
pub fn boot_id() -> Result<String> {
    const PATH: &str = "/proc/sys/kernel/random/boot_id";
    let text = fs::read_to_string(PATH).map_err(|error| unreadable(PATH, error))?;
    Ok(text.trim().to_owned())
}

/// Ticks of a hundredth of a second since boot, in which the kernel counts the starts of processes.
pub(super) fn ticks() -> Result<u64> {
    const PATH: &str = "/proc/uptime";
    let text = fs::read_to_string(PATH).map_err(|error| unreadable(PATH, error))?;
    let seconds = text.split_whitespace().next().and_then(|word| word.parse::<f64>().ok());
    // A few hundred years fit.
    seconds
        .map(|seconds| (seconds * 100.0).round() as u64)
        .ok_or_else(|| Error::new(Class::Failed, format!("{PATH} cannot be understood")))
}

fn unreadable(path: &str, error: io::Error) -> Error {
    Error::new(Class::Failed, format!("cannot read {path}: {error}")).with_source(error)
}

struct Stat {
    state: char,
    starttime: u64,
}

impl Stat {
    fn read(pid: u32) -> io::Result<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        Self::parse(&text).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "its form is not known"))
    }

    fn parse(text: &str) -> Option<Self> {
        // The name in parentheses may hold anything, parentheses too.
        let (_, rest) = text.rsplit_once(')')?;
        let mut fields = rest.split_whitespace();
        let state = fields.next()?.chars().next()?;
        let starttime = fields.nth(18)?.parse().ok()?;
        Some(Self { state, starttime })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_confuse() {
        let text =
            "42 (a) b (c)) S 1 42 42 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 1 0 987654 1000 10 18446744073709551615 1 1";
        let stat = Stat::parse(text).unwrap();
        assert_eq!((stat.state, stat.starttime), ('S', 987_654));
    }

    #[test]
    fn a_number_that_was_given_again_is_somebody_else() {
        let me = Process::current().unwrap();
        assert!(me.is_alive());
        assert!(!Process { starttime: me.starttime + 1, ..me.clone() }.is_alive());
        assert!(!Process { boot_id: "another".into(), ..me }.is_alive());
    }

    #[test]
    fn ticks_go_on_from_the_start_of_this_process() {
        assert!(ticks().unwrap() >= Process::current().unwrap().starttime);
    }
}
