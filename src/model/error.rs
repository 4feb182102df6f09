//! The one error of the library: what failed, which class it is of, what can be done about it.
//!
//! The class is decided here, in one table, for HTTP answers, task exit statuses and our own checks alike, so that the
//! same situation has the same exit code wherever it is noticed. Wording of hints for people is in `cli`.

use std::{collections::BTreeMap, error::Error as StdError, fmt};

use super::{Hint, hint::hints_from};

/// `Result` with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

macro_rules! classes {
    ($($(#[$doc:meta])* $variant:ident = $code:literal $name:literal: $meaning:literal,)*) => {
        /// What sort of failure something is. One entry per exit code of the command line.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Class { $($(#[$doc])* $variant,)* }

        impl Class {
            /// Every class, by exit code.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The exit code.
            pub const fn exit_code(self) -> u8 {
                match self { $(Self::$variant => $code,)* }
            }

            /// One word for machines.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// One line for people.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning,)* }
            }
        }
    };
}

classes! {
    /// Anything that has no class of its own, and bulk work of which a part failed.
    Failed = 1 "failed": "failed, or some of many failed",
    /// The request makes no sense: unknown flag or key, malformed value, nobody to confirm.
    Usage = 2 "usage": "the command line or a file is wrong, or nobody could confirm",
    /// The thing does not exist.
    NotFound = 3 "not-found": "guest, node, storage, snapshot, task or user not found",
    /// Wrong or missing credentials.
    Unauthenticated = 4 "unauthenticated": "not authenticated",
    /// A privilege is missing.
    Forbidden = 5 "forbidden": "permission denied",
    /// The thing is in the way: locked, exists, wrong power state, changed in between, protected, no quorum.
    Conflict = 6 "conflict": "conflict: locked, exists, wrong power state, changed in between, protected, no quorum",
    /// The server refused parameters.
    Rejected = 7 "rejected": "the server rejected parameters",
    /// We stopped waiting; the work may go on.
    Unfinished = 8 "unfinished": "not finished within --timeout; the work may go on",
    /// The task ran and failed.
    TaskFailed = 9 "task-failed": "the task ran and failed",
    /// No answer from the server, or no trust in it.
    Unreachable = 10 "unreachable": "server unreachable or not trusted",
    /// Our own mistake.
    Bug = 125 "bug": "a bug in pvectl",
    /// Ctrl-C.
    Interrupted = 130 "interrupted": "interrupted",
}

/// What is known about a request that brought no good answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// It never left: safe to send again, and elsewhere.
    Never,
    /// It may have been processed: only an idempotent read may be repeated.
    Maybe,
    /// The server answered; what it said is the truth.
    Answered,
}

/// An error of this library.
#[derive(Debug)]
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    class: Class,
    message: String,
    params: BTreeMap<String, String>,
    status: Option<u16>,
    sent: Option<Sent>,
    hints: Vec<Hint>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error of this class with this message (lower case, no full stop, secrets never).
    pub fn new(class: Class, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            class,
            message: message.into(),
            params: BTreeMap::new(),
            status: None,
            sent: None,
            hints: Vec::new(),
            source: None,
        }))
    }

    /// The request makes no sense.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Class::Usage, message)
    }

    /// The thing does not exist.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(Class::NotFound, message)
    }

    /// The thing is in the way.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(Class::Conflict, message)
    }

    /// An answer of the server that is no success, classified by the table. `message` is the server's own, `params`
    /// its `errors` map.
    pub fn from_answer(status: u16, message: &str, params: BTreeMap<String, String>) -> Self {
        let class = classify(status, message, &params);
        // "Parameter verification failed." around "no such task" says less than the latter alone.
        let telling = params.values().find(|said| status == 400 && classify_text(said) == Some(class)).cloned();
        let (message, params) = match &telling {
            Some(said) if params.len() == 1 => (said.trim(), BTreeMap::new()),
            _ => (message.trim(), params),
        };
        let mut error =
            Self::new(class, if message.is_empty() { format!("HTTP status {status}") } else { message.to_owned() });
        error.0.hints = hints_from(status, message, &params);
        error.0.params = params;
        error.0.status = Some(status);
        error.0.sent = Some(if matches!(status, 502..=504 | 596..=599) { Sent::Maybe } else { Sent::Answered });
        error
    }

    /// A task's failed end, classified by the same table.
    pub fn from_exit_status(text: &str) -> Self {
        let class = classify_text(text).unwrap_or(Class::TaskFailed);
        let mut error = Self::new(class, text);
        error.0.hints = hints_from(0, text, &BTreeMap::new());
        error
    }

    /// Puts the failed step before the message: `cannot start vm/150: …`. The class stays.
    #[must_use]
    pub fn context(mut self, what: impl fmt::Display) -> Self {
        self.0.message = format!("{what}: {}", self.0.message);
        self
    }

    /// Adds the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Adds something a person can act on.
    #[must_use]
    pub fn with_hint(mut self, hint: Hint) -> Self {
        if !self.0.hints.contains(&hint) {
            self.0.hints.push(hint);
        }
        self
    }

    /// Adds the names that an unknown one may have meant; nothing where none is like it.
    #[must_use]
    pub fn did_you_mean(self, names: Vec<String>) -> Self {
        if names.is_empty() { self } else { self.with_hint(Hint::DidYouMean(names)) }
    }

    /// The same of another class, once more is known.
    #[must_use]
    pub(crate) fn with_class(mut self, class: Class) -> Self {
        self.0.class = class;
        self
    }

    /// The same without this one of its hints, for a better one.
    #[must_use]
    pub(crate) fn without_hint(mut self, place: usize) -> Self {
        self.0.hints.remove(place);
        self
    }

    /// Notes what is known about the request.
    #[must_use]
    pub fn with_sent(mut self, sent: Sent) -> Self {
        self.0.sent = Some(sent);
        self
    }

    /// The class, and with it the exit code.
    pub fn class(&self) -> Class {
        self.0.class
    }

    /// The message alone, without causes.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// What the server has against single parameters.
    pub fn params(&self) -> &BTreeMap<String, String> {
        &self.0.params
    }

    /// The HTTP status, if the server answered.
    pub fn status(&self) -> Option<u16> {
        self.0.status
    }

    /// What is known about the request; `None` for errors that are not about one.
    pub fn sent(&self) -> Option<Sent> {
        self.0.sent
    }

    /// Whether the request may have been processed although no good answer came.
    pub fn may_have_happened(&self) -> bool {
        self.0.sent == Some(Sent::Maybe)
    }

    /// What a person can act on.
    pub fn hints(&self) -> &[Hint] {
        &self.0.hints
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

/// The table of situations: a text that the server is known to use, and what it means. The first match counts, and
/// case does not. Sources: `pve/behaviour.md` and `pve/recordings`.
const TEXTS: &[(&str, Class)] = &[
    ("already exists", Class::Conflict),
    ("already defined", Class::Conflict),
    ("does already exist", Class::Conflict),
    ("already running", Class::Conflict),
    ("already used", Class::Conflict),
    ("is locked (", Class::Conflict),
    ("can't lock file", Class::Conflict),
    (" is busy: ", Class::Conflict),
    ("can't acquire lock", Class::Conflict),
    ("cfs-lock", Class::Conflict),
    ("no quorum", Class::Conflict),
    ("checksum mismatch", Class::Conflict),
    ("detected modified configuration", Class::Conflict),
    ("protection mode enabled", Class::Conflict),
    ("is running - destroy failed", Class::Conflict),
    ("is running - cannot destroy", Class::Conflict),
    ("not running", Class::Conflict),
    ("is a template", Class::Conflict),
    ("' is not empty", Class::Conflict),
    ("belongs already to pool", Class::Conflict),
    ("is already a pool member", Class::Conflict),
    ("exists but 'force' is not set", Class::Conflict),
    ("auto-generated role '", Class::Conflict),
    ("you can't start a vm if it's a template", Class::Conflict),
    ("does not exist", Class::NotFound),
    ("no such ", Class::NotFound),
    ("hostname lookup ", Class::NotFound),
    ("unable to find configuration file", Class::NotFound),
    ("not ha managed", Class::NotFound),
    ("permission check failed", Class::Forbidden),
    ("missing value for required option", Class::Rejected),
    ("can't change value of fixed parameter", Class::Rejected),
    ("invalid privilege '", Class::Rejected),
    ("only root can ", Class::Forbidden),
    ("only root may ", Class::Forbidden),
];

/// What a text of the server's means on its own: a message, a task's exit status, a log line. `None` if the table has
/// nothing to say.
pub fn classify_text(text: &str) -> Option<Class> {
    // These are about something else than our target: the agent inside, a file of a task, a device that stayed.
    const ELSEWHERE: [&str; 3] = ["guest agent is not running", "no such file or directory", "hotplug problem"];
    let lower = text.to_ascii_lowercase();
    let is_ours = ELSEWHERE.iter().all(|needle| !lower.contains(needle));
    TEXTS.iter().find(|(needle, _)| is_ours && lower.contains(needle)).map(|(_, class)| *class)
}

/// What an answer that is no success means.
pub fn classify(status: u16, message: &str, params: &BTreeMap<String, String>) -> Class {
    match status {
        401 => Class::Unauthenticated,
        403 => Class::Forbidden,
        502..=504 | 595..=599 => Class::Unreachable,
        _ => params.values().map(String::as_str).chain([message]).find_map(classify_text).unwrap_or(if status == 400 {
            Class::Rejected
        } else {
            Class::Failed
        }),
    }
}

#[cfg(test)]
mod tests;
