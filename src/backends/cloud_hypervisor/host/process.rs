//! A process by who it is: pid, start time and boot together, which no other process ever has.
//!
//! It is signalled and waited for through a pidfd, after the identity was checked; nothing here goes by a pid alone,
//! and nothing can send SIGTERM, which a VMM takes for a power cut.

use std::{
    fs, io,
    os::fd::OwnedFd,
    path::Path,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};
use serde::{Deserialize, Serialize};
use tokio::io::{Interest, unix::AsyncFd};

use super::at;
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
        let path = format!("/proc/{pid}/stat");
        match fs::read(&path) {
            Ok(line) => Self::parse(&line)
                .map(Some)
                .ok_or_else(|| Error::new(Class::Failed, format!("`{path}` has an unknown form"))),
            Err(error) if is_gone(&error) => Ok(None),
            Err(error) => Err(at("read", Path::new(&path), error)),
        }
    }

    /// Whether it has ended already and only waits for its parent.
    pub fn has_ended(&self) -> bool {
        matches!(self.state, 'Z' | 'X' | 'x')
    }
}

/// Whether this is how `/proc` says that a process is not there any more.
pub(super) fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(Errno::SRCH.raw_os_error())
}

/// This boot of this host.
///
/// # Errors
/// [`Class::Failed`] when `/proc` cannot be read.
pub fn boot_id() -> Result<String> {
    let path = Path::new("/proc/sys/kernel/random/boot_id");
    fs::read_to_string(path).map(|text| text.trim().to_owned()).map_err(|error| at("read", path, error))
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
}

/// A living process that was proven to be the one that was meant. What is done through it never meets another, even if
/// the pid is given anew.
#[derive(Debug)]
pub struct Process {
    id: ProcessId,
    pidfd: OwnedFd,
}

impl Process {
    /// Takes hold of a process; `None` if it has ended, or if its pid now belongs to another one.
    ///
    /// # Errors
    /// [`Class::Failed`] when the system does not say.
    pub fn find(id: &ProcessId) -> Result<Option<Self>> {
        let Some(pid) = i32::try_from(id.pid).ok().and_then(Pid::from_raw) else { return Ok(None) };
        // The hold comes first: who has the right identity afterwards had the pid before, too.
        let pidfd = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) => pidfd,
            // EINVAL: the number is that of a thread.
            Err(Errno::SRCH | Errno::INVAL) => return Ok(None),
            Err(error) => return Err(failed(&format!("cannot take hold of process {}", id.pid), error.into())),
        };
        Ok((ProcessId::of(id.pid)?.as_ref() == Some(id)).then(|| Self { id: id.clone(), pidfd }))
    }

    /// Who it is.
    pub fn id(&self) -> &ProcessId {
        &self.id
    }

    /// Ends it with SIGKILL. Already ended is success.
    ///
    /// # Errors
    /// [`Class::Forbidden`] when it is another user's.
    pub fn kill(&self) -> Result<()> {
        match pidfd_send_signal(&self.pidfd, Signal::KILL) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(error) => Err(failed(&format!("cannot kill process {}", self.id.pid), error.into())),
        }
    }

    /// Waits for its end, `None` for as long as it takes. Says whether it has ended. Nothing is polled.
    ///
    /// # Errors
    /// [`Class::Failed`] when the system cannot wait.
    pub async fn ended(&self, within: Option<Duration>) -> Result<bool> {
        let cannot = |error| failed(&format!("cannot wait for process {}", self.id.pid), error);
        // A copy, so that several can wait at once.
        let pidfd = self.pidfd.try_clone().map_err(cannot)?;
        #[allow(deprecated, reason = "what replaces it is unsafe, and an owned descriptor keeps its number anyway")]
        let watched = AsyncFd::with_interest(pidfd, Interest::READABLE).map_err(cannot)?;
        match within {
            None => watched.readable().await.map(|_| true).map_err(cannot),
            Some(within) => match tokio::time::timeout(within, watched.readable()).await {
                Ok(ready) => ready.map(|_| true).map_err(cannot),
                Err(_) => self.ended_now(Duration::ZERO),
            },
        }
    }

    /// The same for callers without a runtime: it blocks the thread.
    ///
    /// # Errors
    /// As [`ended`](Self::ended).
    pub fn ended_now(&self, within: Duration) -> Result<bool> {
        has_ended(&self.pidfd, within)
            .map_err(|error| failed(&format!("cannot wait for process {}", self.id.pid), error))
    }
}

/// Waits for a pidfd in this thread.
pub(super) fn has_ended(pidfd: &OwnedFd, within: Duration) -> io::Result<bool> {
    let deadline = Instant::now() + within;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left =
            Timespec { tv_sec: left.as_secs().try_into().unwrap_or(i64::MAX), tv_nsec: left.subsec_nanos().into() };
        match poll(&mut [PollFd::new(pidfd, PollFlags::IN)], Some(&left)) {
            Ok(ready) => return Ok(ready > 0),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn failed(what: &str, error: io::Error) -> Error {
    let class = if error.kind() == io::ErrorKind::PermissionDenied { Class::Forbidden } else { Class::Failed };
    Error::new(class, format!("{what}: {error}")).with_source(error)
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

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

    fn sleeper() -> (Child, ProcessId) {
        let child = Command::new("sleep").arg("600").spawn().unwrap();
        let id = ProcessId::of(child.id()).unwrap().unwrap();
        (child, id)
    }

    #[test]
    fn what_only_has_the_pid_is_never_signalled() {
        let (mut child, id) = sleeper();
        let later = ProcessId { starttime: id.starttime + 1, ..id.clone() };
        let earlier_boot = ProcessId { boot_id: "11111111-2222-3333-4444-555555555555".into(), ..id };
        for other in [later, earlier_boot] {
            assert!(Process::find(&other).unwrap().is_none(), "{other:?}");
        }
        let process = Process::find(&id).unwrap().unwrap();
        assert!(!process.ended_now(Duration::ZERO).unwrap());
        process.kill().unwrap();
        assert!(process.ended_now(Duration::from_secs(10)).unwrap());
        // It has ended and is not waited for yet: its entry is there, it is not.
        assert!(Process::find(&id).unwrap().is_none());
        child.wait().unwrap();
        assert!(Process::find(&id).unwrap().is_none());
        process.kill().unwrap();
    }

    #[test]
    fn no_pid_is_too_odd_to_look_for() {
        for pid in [0, u32::MAX, i32::MAX as u32] {
            let id = ProcessId { pid, starttime: 1, boot_id: boot_id().unwrap() };
            assert!(Process::find(&id).unwrap().is_none());
        }
    }

    #[tokio::test]
    async fn the_end_is_waited_for_with_a_deadline() {
        let (mut child, id) = sleeper();
        let process = Process::find(&id).unwrap().unwrap();
        assert!(!process.ended(Some(Duration::from_millis(20))).await.unwrap());
        let killed = async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            process.kill().unwrap();
        };
        let (ended, ()) = tokio::join!(process.ended(None), killed);
        assert!(ended.unwrap());
        child.wait().unwrap();
    }
}
