//! What may be sent again, when, and where.
//!
//! A pure decision over failures: it neither waits nor sends. What may have been processed is never repeated unless it
//! is a read.

use std::time::Duration;

use super::failure::Failure;
use crate::model::{Class, Error, Method, Sent};

/// The waits between rounds over all endpoints; there is one more round than waits.
const DELAYS: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(300)];

/// How often a read may be sent that may have reached a server.
const READS: usize = 3;

/// What comes after a failure.
#[derive(Debug)]
pub(super) enum Next {
    /// Nothing.
    GiveUp(Error),
    /// The next endpoint, at once.
    Elsewhere,
    /// The first endpoint again, after this wait.
    After(Duration),
}

/// The attempts at one call.
pub(super) struct Attempts {
    method: Method,
    endpoints: usize,
    made: usize,
    /// How many of them may have reached a server.
    lost: usize,
    /// The failures of the round that is, or was just, run.
    round: Vec<Failure>,
}

impl Attempts {
    pub(super) fn new(method: Method, endpoints: usize) -> Self {
        Self { method, endpoints, made: 0, lost: 0, round: Vec::new() }
    }

    /// How many there were. The next one goes to this endpoint, counted from the one that was good last.
    pub(super) fn made(&self) -> usize {
        self.made
    }

    /// Whether this round has an endpoint left after the one that is next.
    pub(super) fn elsewhere(&self) -> bool {
        self.made % self.endpoints + 1 < self.endpoints
    }

    /// Decides.
    pub(super) fn next(&mut self, failure: Failure) -> Next {
        if self.made.is_multiple_of(self.endpoints) {
            self.round.clear();
        }
        self.made += 1;
        let again = match failure.error().sent() {
            Some(Sent::Never) => true,
            Some(Sent::Maybe) if self.method == Method::Get => {
                self.lost += 1;
                self.lost < READS
            }
            _ => false,
        };
        if !again {
            // What this endpoint said is the news; that others were not reached before is not.
            return Next::GiveUp(failure.into_error());
        }
        self.round.push(failure);
        if !self.made.is_multiple_of(self.endpoints) {
            return Next::Elsewhere;
        }
        let hopeless = self.round.iter().all(Failure::is_lasting);
        match DELAYS.get(self.made / self.endpoints - 1) {
            Some(delay) if !hopeless => Next::After(*delay),
            _ => Next::GiveUp(join(std::mem::take(&mut self.round))),
        }
    }

    /// The last round's failures as one error, for when there is no time for another.
    pub(super) fn into_error(self) -> Error {
        join(self.round)
    }
}

/// One error that says what is wrong with each endpoint.
fn join(mut failures: Vec<Failure>) -> Error {
    let Some(last) = failures.pop() else {
        return Error::new(Class::Unreachable, "no endpoint was tried").with_sent(Sent::Never);
    };
    if failures.is_empty() {
        return last.into_error();
    }
    failures.push(last);
    let texts: Vec<&str> = failures.iter().map(|failure| failure.error().message()).collect();
    let maybe = failures.iter().any(|failure| failure.error().sent() == Some(Sent::Maybe));
    let whole = Error::new(Class::Unreachable, format!("no endpoint answers: {}", texts.join("; ")))
        .with_sent(if maybe { Sent::Maybe } else { Sent::Never });
    let hints = failures.iter().flat_map(|failure| failure.error().hints());
    hints.fold(whole, |error, hint| error.with_hint(hint.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(sent: Sent) -> Failure {
        Failure::passing(Error::new(Class::Unreachable, format!("{sent:?}")).with_sent(sent))
    }

    /// Runs until the end and tells what came between: `e` for elsewhere, `d` for a delay.
    fn run(method: Method, endpoints: usize, failures: impl Fn(usize) -> Failure) -> (String, Error) {
        let mut attempts = Attempts::new(method, endpoints);
        let mut steps = String::new();
        loop {
            match attempts.next(failures(attempts.made())) {
                Next::Elsewhere => steps.push('e'),
                Next::After(_) => steps.push('d'),
                Next::GiveUp(error) => return (steps, error),
            }
        }
    }

    #[test]
    fn a_change_that_may_have_happened_is_never_repeated() {
        for method in [Method::Post, Method::Put, Method::Delete] {
            let (steps, error) = run(method, 3, |_| failure(Sent::Maybe));
            assert_eq!((steps.as_str(), error.may_have_happened()), ("", true), "{method}");
            let (steps, error) = run(method, 2, |made| failure([Sent::Never, Sent::Maybe][made]));
            assert_eq!((steps.as_str(), error.may_have_happened()), ("e", true), "{method}");
        }
    }

    #[test]
    fn what_never_left_goes_around_three_times() {
        for method in [Method::Get, Method::Post] {
            assert_eq!(run(method, 1, |_| failure(Sent::Never)).0, "dd", "{method}");
            let (steps, error) = run(method, 2, |_| failure(Sent::Never));
            assert_eq!((steps.as_str(), error.sent()), ("edede", Some(Sent::Never)), "{method}");
            assert_eq!(error.message(), "no endpoint answers: Never; Never");
        }
    }

    #[test]
    fn a_read_is_sent_three_times_at_most() {
        assert_eq!(run(Method::Get, 1, |_| failure(Sent::Maybe)).0, "dd");
        assert_eq!(run(Method::Get, 2, |_| failure(Sent::Maybe)).0, "ed");
        assert_eq!(run(Method::Get, 5, |_| failure(Sent::Maybe)).0, "ee");
    }

    #[test]
    fn an_answer_is_the_end() {
        assert_eq!(run(Method::Get, 2, |_| failure(Sent::Answered)).0, "");
        let (steps, error) = run(Method::Get, 2, |made| failure([Sent::Never, Sent::Answered][made]));
        assert_eq!((steps.as_str(), error.message()), ("e", "Answered"));
    }

    #[test]
    fn what_will_not_change_is_not_waited_for() {
        let distrusted = |_| Failure::lasting(failure(Sent::Never).into_error());
        assert_eq!(run(Method::Get, 2, distrusted).0, "e");
    }
}
