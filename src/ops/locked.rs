//! Waiting for guests that are locked: before a change is planned, and when a server refuses a request over a lock.
//!
//! Only what was refused is asked again. A request whose answer was lost, and a task that failed, are left as they are.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::{Interrupt, Observer, Ops, Plan, Resolved, RunOptions, pause::Pauses};
use crate::model::{Class, Error, Hint, Result};

/// How long the first pause between two looks is.
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// The waiting for one guest.
pub(super) struct Waiting {
    limit: Option<Duration>,
    end: Option<Instant>,
    pauses: Pauses,
}

/// Why it goes on.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// It is time to look again.
    Look,
    /// The time is over, or nobody wants to wait.
    Over,
    /// Somebody wished that it stop.
    Interrupted,
}

impl Waiting {
    pub(super) fn new(limit: Option<Duration>) -> Self {
        Self { limit, end: None, pauses: Pauses::from(FIRST_PAUSE) }
    }

    /// Waits until the next look. What is waited for is told once.
    pub(super) async fn next(
        &mut self,
        why: &Error,
        label: &str,
        observer: &dyn Observer,
        interrupt: &Interrupt,
    ) -> Next {
        let Some(limit) = self.limit.filter(|limit| !limit.is_zero()) else { return Next::Over };
        let now = Instant::now();
        let end = *self.end.get_or_insert_with(|| {
            observer.waiting(label, &holder(why), limit);
            now + limit
        });
        if now >= end {
            return Next::Over;
        }
        let look = (now + self.pauses.next()).min(end);
        tokio::select! {
            () = sleep_until(look) => Next::Look,
            () = interrupt.raised() => Next::Interrupted,
        }
    }
}

/// Whether a change was refused over a lock, and nothing was done.
pub(super) fn is_refused(error: &Error) -> bool {
    let says = |text: &str| error.message().contains(text);
    let locked = error.hints().iter().any(|hint| matches!(hint, Hint::Locked(_)));
    !error.may_have_happened()
        && error.class() == Class::Conflict
        && (locked || (says("can't lock file") && says("got timeout")))
}

/// Whether a server answered so. How a task ended is no answer: it may have done a part of its work.
pub(super) fn is_answer(error: &Error) -> bool {
    error.status().is_some() && is_refused(error)
}

/// What holds it, as far as that is known.
fn holder(error: &Error) -> String {
    let named = error.hints().iter().find_map(|hint| match hint {
        Hint::Locked(holder) => Some(format!("locked ({holder})")),
        _ => None,
    });
    named.unwrap_or_else(|| "locked by a task".to_owned())
}

/// Somebody wished that the waiting stop.
pub(super) fn no_longer(label: &str, refused: &Error) -> Error {
    Error::new(Class::Interrupted, format!("no longer waiting for {label}, which is {}", holder(refused)))
}

impl Ops {
    /// Plans a change of a guest; while it is locked, again and again for as long as `options` say.
    ///
    /// # Errors
    /// As `plan`; what a lock refuses only when the time is over.
    pub async fn plan_unlocked(
        &self,
        found: &Resolved,
        options: &RunOptions,
        observer: &dyn Observer,
        interrupt: &Interrupt,
        plan: impl AsyncFn() -> Result<Plan>,
    ) -> Result<Plan> {
        let mut waiting = Waiting::new(options.wait_lock);
        loop {
            let refused = match plan().await {
                Err(error) if is_refused(&error) => error,
                // Some plans leave it to the task to look at the lock, which then fails over it.
                Ok(plan) if options.wait_lock.is_some() && !plan.steps.is_empty() => match self.lock_of(found).await? {
                    Some(lock) => plan.locked(lock),
                    None => return Ok(plan),
                },
                planned => return planned,
            };
            let label = found.guest.reference().to_string();
            match waiting.next(&refused, &label, observer, interrupt).await {
                Next::Look => {}
                Next::Over => return Err(refused),
                Next::Interrupted => return Err(no_longer(&label, &refused)),
            }
        }
    }

    /// What holds a guest. One suspended to disk is locked by that, and waits for nobody.
    async fn lock_of(&self, found: &Resolved) -> Result<Option<String>> {
        let status = self.backend().guest_status(&found.guest.reference()).await?;
        let lock = status.get("lock").and_then(|lock| lock.as_str());
        Ok(lock.filter(|lock| *lock != "suspended").map(str::to_owned))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::model::Sent;

    #[test]
    fn only_what_was_refused_over_a_lock_is_asked_again() {
        let answer = |status, text: &str| Error::from_answer(status, text, BTreeMap::new());
        let busy = "can't lock file '/var/lock/qemu-server/lock-100.conf' - got timeout";
        for text in [busy, "VM is locked (backup)"] {
            assert!(is_answer(&answer(500, text)), "{text}");
            assert!(!is_answer(&Error::from_exit_status(text)), "a task may have done a part: {text}");
            assert!(!is_answer(&answer(500, text).with_sent(Sent::Maybe)), "{text}");
        }
        for text in ["VM 100 already exists", "checksum mismatch (file change by other user?)", "got timeout"] {
            assert!(!is_answer(&answer(500, text)), "{text}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_ends_with_the_time_or_the_wish() {
        let why = Error::conflict("x").with_hint(Hint::Locked("backup".into()));
        let interrupt = Interrupt::default();
        let mut none = Waiting::new(None);
        assert_eq!(none.next(&why, "vm/1", &super::super::Silent, &interrupt).await, Next::Over);
        let mut waiting = Waiting::new(Some(Duration::from_secs(20)));
        let (began, mut looks) = (Instant::now(), 0);
        while waiting.next(&why, "vm/1", &super::super::Silent, &interrupt).await == Next::Look {
            looks += 1;
        }
        assert_eq!(began.elapsed(), Duration::from_secs(20), "the last look is at the end");
        assert!((10..20).contains(&looks), "{looks}");
        interrupt.raise();
        let mut waiting = Waiting::new(Some(Duration::from_secs(20)));
        assert_eq!(waiting.next(&why, "vm/1", &super::super::Silent, &interrupt).await, Next::Interrupted);
    }
}
