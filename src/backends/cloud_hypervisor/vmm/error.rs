//! What can go wrong with a call: one error for the three shapes the VMM answers in and for the answers that never came.
//!
//! "Nobody there" and "no answer" are different things: a VMM that is busy with one call answers no other, not even a
//! ping, and is not dead for that.

use std::{error::Error as StdError, fmt, io, time::Duration};

use serde_json::Value;

use super::{
    exchange::Failure,
    verb::{Needs, State, Verb},
};
use crate::model;

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// Nobody listens on the socket, or there is none. Nothing was sent.
    Nobody,
    /// The socket may not be used by this user. Nothing was sent.
    Forbidden,
    /// Connected, and no answer in this time. The call may still be carried out.
    Unresponsive(Duration),
    /// The connection ended before the answer did: the process died, or it was meant to. The call may be carried out.
    Lost,
    /// It has as many connections as it takes. Nothing was done.
    Busy,
    /// No machine is defined.
    Undefined,
    /// The verb is for another state than this one.
    WrongState(State),
    /// An earlier removal of a processor is not done yet.
    Pending,
    /// This build has no such verb.
    Unsupported,
    /// The request is larger than this version takes: bytes, and limit. Nothing was sent.
    TooLarge {
        /// Bytes of the request.
        size: usize,
        /// Bytes it takes.
        limit: usize,
    },
    /// The disk would shrink, which the VMM does without asking. Bytes now, bytes wanted. Nothing was sent.
    Shrink {
        /// Bytes it has.
        from: u64,
        /// Bytes wanted.
        to: u64,
    },
    /// There is no such disk. Nothing was sent.
    NoDisk(String),
    /// The VMM says no; the chain says why.
    Refused,
    /// The answer cannot be understood, or the request cannot be made.
    Malformed,
}

/// A call that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// Which one.
    pub verb: Verb,
    /// Why.
    pub why: Why,
    /// The HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// What the VMM, or the system, says: from the outermost to the cause.
    pub chain: Vec<String>,
}

/// `Result` with this room's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub(super) fn new(verb: Verb, why: Why) -> Self {
        Self { verb, why, status: None, chain: Vec::new() }
    }

    pub(super) fn malformed(verb: Verb, said: impl fmt::Display) -> Self {
        Self { chain: vec![said.to_string()], ..Self::new(verb, Why::Malformed) }
    }

    /// An answer that is no success. `state` is what the machine was in right after, if that is known.
    pub(super) fn from_answer(verb: Verb, status: u16, body: &[u8], state: Option<Option<State>>) -> Self {
        let chain = chain(body);
        // A machine that could not be defined is defined all the same, so that the state after tells nothing: here, and
        // only here, the words have to.
        let already = verb.needs != Needs::Empty || chain.last().is_some_and(|link| link.contains("already created"));
        let why = match (status, state) {
            (503, _) => Why::Busy,
            (429, _) => Why::Pending,
            (404, None) => Why::Undefined,
            (_, Some(None)) if !verb.needs.met_by(None) => Why::Undefined,
            (_, Some(Some(state))) if already && !verb.needs.met_by(Some(&state)) => Why::WrongState(state),
            _ => Why::Refused,
        };
        // An unknown path has this one word for a chain, a missing machine a longer one.
        let unknown = status == 404 && chain.len() == 1;
        Self { verb, why: if unknown { Why::Unsupported } else { why }, status: Some(status), chain }
    }

    /// No answer, for this reason.
    pub(super) fn from_failure(verb: Verb, failure: &Failure, within: Duration) -> Self {
        let (why, cause) = match failure {
            Failure::TimedOut => (Why::Unresponsive(within), None),
            Failure::Connect(error) => {
                let why = match error.kind() {
                    // The queue of those who wait to be let in is full.
                    io::ErrorKind::WouldBlock => Why::Unresponsive(within),
                    io::ErrorKind::PermissionDenied => Why::Forbidden,
                    _ => Why::Nobody,
                };
                (why, Some(error.to_string()))
            }
            Failure::Exchange { error, ended } => {
                let early = |error: &hyper::Error| error.to_string().contains("unexpected message");
                // It spoke before it was asked, as it does only to those for whom it has no place.
                let busy = early(error) || ended.as_ref().is_some_and(early);
                let causes = std::iter::successors(Some(error as &(dyn StdError + 'static)), |&error| error.source());
                (if busy { Why::Busy } else { Why::Lost }, causes.last().map(ToString::to_string))
            }
        };
        Self { chain: cause.into_iter().collect(), ..Self::new(verb, why) }
    }

    /// Whether the call may have been carried out all the same.
    pub fn may_have_happened(&self) -> bool {
        matches!(self.why, Why::Unresponsive(_) | Why::Lost)
    }

    /// The cause: the innermost of the chain.
    pub fn cause(&self) -> Option<&str> {
        self.chain.last().map(String::as_str)
    }
}

/// What a body says, in any of the three shapes: an array of strings, an object with `error` (which is no valid JSON,
/// for it holds bare newlines), or text.
fn chain(body: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(body);
    let text = text.trim();
    let links = match serde_json::from_str::<Value>(text).or_else(|_| serde_json::from_str(&text.replace('\n', "\\n")))
    {
        Ok(Value::Array(links)) => {
            links.iter().map(|link| link.as_str().map_or_else(|| link.to_string(), str::to_owned)).collect()
        }
        Ok(Value::Object(fields)) if fields.get("error").is_some_and(Value::is_string) => {
            vec![fields["error"].as_str().unwrap_or_default().to_owned()]
        }
        _ => vec![text.to_owned()],
    };
    let cut = |link: String| {
        let end = link.find("\n\nStack backtrace").unwrap_or(link.len());
        let end = link[..end].find("\nAll previous unanswered requests").unwrap_or(end);
        link[..end].trim().to_owned()
    };
    links.into_iter().map(cut).filter(|link| !link.is_empty()).collect()
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = self.verb.path;
        match &self.why {
            Why::Nobody => write!(f, "no VMM listens for {verb}")?,
            Why::Forbidden => write!(f, "no permission to ask the VMM for {verb}")?,
            Why::Unresponsive(within) => write!(f, "the VMM did not answer {verb} within {within:?}")?,
            Why::Lost => write!(f, "the VMM went away during {verb}")?,
            Why::Busy => write!(f, "the VMM has too many connections for {verb}")?,
            Why::Undefined => write!(f, "{verb}: no machine is defined")?,
            Why::WrongState(state) => write!(f, "{verb} does not go while the machine is {state}")?,
            Why::Pending => write!(f, "{verb}: the guest has not yet let go of the processors removed before")?,
            Why::Unsupported => write!(f, "this VMM has no {verb}")?,
            Why::TooLarge { size, limit } => write!(f, "{verb}: the request has {size} bytes, the VMM takes {limit}")?,
            Why::Shrink { from, to } => write!(f, "shrinking disks is not supported ({from} to {to} bytes)")?,
            Why::NoDisk(id) => write!(f, "{verb}: the machine has no disk '{id}'")?,
            Why::Refused => write!(f, "{verb} failed")?,
            Why::Malformed => write!(f, "{verb}: cannot make sense of it")?,
        }
        // The first link says "Error from API", the second the verb in prose.
        let skip = if self.chain.len() > 2 && self.chain[0] == "Error from API" { 2 } else { 0 };
        for link in self.chain.iter().skip(skip) {
            write!(f, ": {link}")?;
        }
        Ok(())
    }
}

impl StdError for Error {}

impl From<Error> for model::Error {
    fn from(error: Error) -> Self {
        use model::{Class, Sent};
        let (class, sent) = match error.why {
            Why::Nobody => (Class::Unreachable, Sent::Never),
            Why::Forbidden => (Class::Forbidden, Sent::Never),
            Why::Unresponsive(_) | Why::Lost => (Class::Unreachable, Sent::Maybe),
            Why::Busy => (Class::Unreachable, Sent::Answered),
            Why::Undefined | Why::WrongState(_) | Why::Pending => (Class::Conflict, Sent::Answered),
            Why::Unsupported => (Class::Usage, Sent::Answered),
            Why::TooLarge { .. } | Why::Shrink { .. } => (Class::Usage, Sent::Never),
            Why::NoDisk(_) => (Class::NotFound, Sent::Never),
            Why::Refused if error.status == Some(400) => (Class::Rejected, Sent::Answered),
            Why::Refused | Why::Malformed => (Class::Failed, Sent::Answered),
        };
        Self::new(class, error.to_string()).with_sent(sent).with_source(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_shapes_are_one_chain() {
        let array = br#"["Error from API","The VM could not boot","VM config is missing\n\nStack backtrace:\n 0: x"]"#;
        assert_eq!(chain(array), ["Error from API", "The VM could not boot", "VM config is missing"]);
        let object = b"{ \"error\": \"Invalid request.\nAll previous unanswered requests will be dropped.\" }";
        assert_eq!(chain(object), ["Invalid request."]);
        assert_eq!(chain(b"oops"), ["oops"]);
        assert_eq!(chain(b""), [""; 0]);
    }

    #[test]
    fn state_classifies_not_prose() {
        let of = |verb, status, state| Error::from_answer(verb, status, br#"["a","b","c"]"#, state).why;
        assert_eq!(of(Verb::PAUSE, 500, Some(Some(State::Paused))), Why::WrongState(State::Paused));
        assert_eq!(of(Verb::PAUSE, 500, Some(Some(State::Running))), Why::Refused);
        assert_eq!(of(Verb::PAUSE, 500, Some(None)), Why::Undefined);
        assert_eq!(of(Verb::RESIZE, 429, None), Why::Pending);
        assert_eq!(Error::from_answer(Verb::COREDUMP, 404, br#"["Not Found"]"#, Some(None)).why, Why::Unsupported);
    }

    #[test]
    fn text_leads_to_the_cause() {
        let body =
            br#"["Error from API","The VM could not boot","Cannot open kernel file","No such file (os error 2)"]"#;
        let error = Error::from_answer(Verb::BOOT, 500, body, Some(Some(State::Created)));
        assert_eq!(error.to_string(), "vm.boot failed: Cannot open kernel file: No such file (os error 2)");
        assert_eq!(model::Error::from(error).class(), model::Class::Failed);
    }
}
