//! Whether a VM's process lives, and whether it is ours: a pure decision over what was observed.
//!
//! What follows from it (adopt, clean up, report) is decided elsewhere, with what was intended.

use std::path::Path;

use super::{Lock, ProcessId, Stat, boot_id, probe};
use crate::model::Result;

/// What a question on the VMM's socket brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Nobody asked.
    NotAsked,
    /// Nobody listens, or there is no socket.
    Refused,
    /// Somebody listens and does not answer in time: a VMM does that in the middle of long work.
    Silent,
    /// It answered with its pid.
    Pid(u32),
}

/// What was seen of a VM's process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// Who it should be, as it was written down; `None` if that never happened.
    pub recorded: Option<ProcessId>,
    /// This boot.
    pub boot_id: String,
    /// The lock that it holds while it lives.
    pub lock: Lock,
    /// Who has the recorded pid now.
    pub process: Option<Stat>,
    /// What its socket said.
    pub answer: Answer,
}

/// What that means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// Nobody lives. What it left behind may be cleaned up.
    Gone,
    /// It was of an earlier boot, and nobody lives: the host went down under it.
    Rebooted,
    /// It lives and is the one that was written down.
    Ours {
        /// Its pid.
        pid: u32,
    },
    /// It lives and is ours, and does not answer: busy or hung, and not dead.
    Unresponsive {
        /// Its pid.
        pid: u32,
    },
    /// It has let go of everything and is about to be gone: wait for its end.
    Ending {
        /// Its pid.
        pid: u32,
    },
    /// Somebody lives who was not written down: the command that started it died too early.
    /// [`holders`](super::holders) finds out who.
    Unrecorded,
    /// Another process answers on the socket: report it and touch nothing.
    Foreign {
        /// Its pid, as it says.
        pid: u32,
    },
}

/// Decides. The lock is the truth about whether somebody lives, the identity about who; a socket can only make things
/// worse.
pub fn decide(seen: &Observed) -> Life {
    let same_boot = seen.recorded.as_ref().filter(|id| id.boot_id == seen.boot_id);
    let matching = same_boot.filter(|id| {
        let is = |stat: &Stat| stat.pid == id.pid && stat.starttime == id.starttime && !stat.has_ended();
        seen.process.as_ref().is_some_and(is)
    });
    match (seen.lock, matching, seen.answer) {
        // It answers with another pid than the one that was proven to be ours, or although nobody of ours lives.
        (_, Some(id), Answer::Pid(pid)) if pid != id.pid => Life::Foreign { pid },
        (Lock::Free | Lock::Missing, None, Answer::Pid(pid)) => Life::Foreign { pid },
        (Lock::Held, Some(id), Answer::Refused | Answer::Silent) => Life::Unresponsive { pid: id.pid },
        (Lock::Held, Some(id), _) => Life::Ours { pid: id.pid },
        (Lock::Held, None, _) => Life::Unrecorded,
        // Files are closed before a process is gone.
        (Lock::Free, Some(id), _) => Life::Ending { pid: id.pid },
        // Somebody removed the file of the lock: the identity is all that is left to go by.
        (Lock::Missing, Some(id), Answer::Refused | Answer::Silent) => Life::Unresponsive { pid: id.pid },
        (Lock::Missing, Some(id), _) => Life::Ours { pid: id.pid },
        (Lock::Free | Lock::Missing, None, _) => match (&seen.recorded, same_boot) {
            (Some(_), None) => Life::Rebooted,
            _ => Life::Gone,
        },
    }
}

/// Looks, and lets the caller add what the socket said.
///
/// # Errors
/// When the lock or `/proc` cannot be read.
pub fn observe(alive: &Path, recorded: Option<&ProcessId>, answer: Answer) -> Result<Observed> {
    let look = || -> Result<_> { Ok((probe(alive)?, recorded.map(|id| Stat::of(id.pid)).transpose()?.flatten())) };
    let (mut lock, mut process) = look()?;
    // One that dies between the two looks would be taken for somebody unknown.
    if lock == Lock::Held && recorded.is_some() && process.as_ref().is_none_or(Stat::has_ended) {
        (lock, process) = look()?;
    }
    Ok(Observed { recorded: recorded.cloned(), boot_id: boot_id()?, lock, process, answer })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: &str = "this boot";

    fn recorded(boot: &str) -> Option<ProcessId> {
        Some(ProcessId { pid: 7, starttime: 100, boot_id: boot.into() })
    }

    fn process(starttime: u64, state: char) -> Option<Stat> {
        Some(Stat { pid: 7, state, session: 7, starttime })
    }

    #[test]
    fn the_table() {
        use Answer::{NotAsked, Pid, Refused, Silent};
        use Life::{Ending, Foreign, Gone, Ours, Rebooted, Unrecorded, Unresponsive};
        use Lock::{Free, Held, Missing};
        let here = || recorded(HERE);
        let before = || recorded("an earlier boot");
        let (ours, reused, zombie) = (|| process(100, 'S'), || process(101, 'S'), || process(100, 'Z'));
        let table = [
            // written down, lock, who has the pid, the socket → what it means
            (None, Missing, None, NotAsked, Gone),
            (None, Missing, None, Refused, Gone),
            (None, Free, None, Silent, Gone),
            (None, Held, None, NotAsked, Unrecorded),
            (None, Held, None, Pid(9), Unrecorded),
            (None, Free, None, Pid(9), Foreign { pid: 9 }),
            (here(), Held, ours(), NotAsked, Ours { pid: 7 }),
            (here(), Held, ours(), Pid(7), Ours { pid: 7 }),
            (here(), Held, ours(), Pid(9), Foreign { pid: 9 }),
            (here(), Held, ours(), Silent, Unresponsive { pid: 7 }),
            (here(), Held, ours(), Refused, Unresponsive { pid: 7 }),
            (here(), Held, None, Pid(7), Unrecorded),
            (here(), Held, reused(), NotAsked, Unrecorded),
            (here(), Held, zombie(), NotAsked, Unrecorded),
            (here(), Free, None, NotAsked, Gone),
            (here(), Free, reused(), NotAsked, Gone),
            (here(), Free, reused(), Refused, Gone),
            (here(), Free, zombie(), NotAsked, Gone),
            (here(), Free, reused(), Pid(7), Foreign { pid: 7 }),
            (here(), Free, ours(), NotAsked, Ending { pid: 7 }),
            (here(), Free, ours(), Silent, Ending { pid: 7 }),
            (here(), Missing, ours(), NotAsked, Ours { pid: 7 }),
            (here(), Missing, ours(), Silent, Unresponsive { pid: 7 }),
            (here(), Missing, reused(), NotAsked, Gone),
            (before(), Free, None, NotAsked, Rebooted),
            (before(), Missing, None, Refused, Rebooted),
            (before(), Free, ours(), NotAsked, Rebooted),
            (before(), Held, ours(), NotAsked, Unrecorded),
            (before(), Free, None, Pid(9), Foreign { pid: 9 }),
        ];
        for (recorded, lock, process, answer, wanted) in table {
            let seen = Observed { recorded, boot_id: HERE.into(), lock, process, answer };
            assert_eq!(decide(&seen), wanted, "{seen:?}");
        }
    }

    #[test]
    fn nobody_is_ours_who_does_not_match_in_all_three() {
        let locks = [Lock::Missing, Lock::Free, Lock::Held];
        let answers = [Answer::NotAsked, Answer::Refused, Answer::Silent, Answer::Pid(7), Answer::Pid(9)];
        let strangers = [
            (recorded("an earlier boot"), process(100, 'S')),
            (recorded(HERE), process(99, 'S')),
            (recorded(HERE), None),
            (None, process(100, 'S')),
        ];
        for (recorded, process) in strangers {
            for (lock, answer) in locks.iter().flat_map(|lock| answers.iter().map(move |answer| (*lock, *answer))) {
                let (recorded, process) = (recorded.clone(), process.clone());
                let seen = Observed { recorded, boot_id: HERE.into(), lock, process, answer };
                let life = decide(&seen);
                let ours = matches!(life, Life::Ours { .. } | Life::Unresponsive { .. } | Life::Ending { .. });
                assert!(!ours, "{seen:?}: {life:?}");
            }
        }
    }
}
