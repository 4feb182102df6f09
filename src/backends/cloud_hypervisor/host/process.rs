//! A process that is held: signalled and waited for through a pidfd, after its identity was checked.
//!
//! Nothing here goes by a pid alone, and nothing can send SIGTERM, which a VMM takes for a power cut.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};
use tokio::io::{Interest, unix::AsyncFd};

use super::ProcessId;
use crate::model::{Class, Error, Result};

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

    /// Tells it to end, as one of ours that listens for this understands it; never a VMM. Already ended is success.
    ///
    /// # Errors
    /// [`Class::Forbidden`] when it is another user's.
    pub fn hang_up(&self) -> Result<()> {
        match pidfd_send_signal(&self.pidfd, Signal::HUP) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(error) => Err(failed(&format!("cannot tell process {} to end", self.id.pid), error.into())),
        }
    }

    /// Waits for its end, `None` for as long as it takes. Says whether it has ended. Nothing is polled.
    ///
    /// # Errors
    /// [`Class::Failed`] when the system cannot wait.
    pub async fn ended(&self, within: Option<Duration>) -> Result<bool> {
        let cannot = |error| failed(&format!("cannot wait for process {}", self.id.pid), error);
        let ends = readable(self);
        match within {
            None => ends.await.map(|()| true).map_err(cannot),
            Some(within) => match tokio::time::timeout(within, ends).await {
                Ok(ended) => ended.map(|()| true).map_err(cannot),
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

/// Readable once it has ended.
impl AsFd for Process {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

/// Waits until there is something to be read, or an end to be heard of. May be dropped and asked again.
pub(super) async fn readable(of: impl AsFd) -> io::Result<()> {
    // A copy, so that several can wait at once.
    let copy = of.as_fd().try_clone_to_owned()?;
    #[allow(deprecated, reason = "what replaces it is unsafe, and an owned descriptor keeps its number anyway")]
    let watched = AsyncFd::with_interest(copy, Interest::READABLE)?;
    watched.readable().await.map(drop)
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

    use super::{super::boot_id, *};

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
