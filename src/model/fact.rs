//! A thing that was looked at: what was seen, whether it will do, and how to mend it.
//!
//! The form alone; what is looked at, on a host or on the way to a server, is elsewhere.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Whether something will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FactStatus {
    /// It is there and good.
    Ok,
    /// It goes without it, and something else does not work or soon will not.
    Warn,
    /// It is not there, and nothing goes without it.
    Missing,
    /// It was tried, and nothing goes while it fails.
    Failed,
    /// It was not looked at, since something before it has to be mended first.
    Skipped,
}

impl FactStatus {
    /// Whether nothing goes because of it.
    pub const fn is_bad(self) -> bool {
        matches!(self, Self::Missing | Self::Failed)
    }

    /// The word for it, as in data.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Missing => "missing",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fact {
    /// What it is about: one word that does not change.
    pub name: Cow<'static, str>,
    /// Whether it will do.
    pub status: FactStatus,
    /// What was seen, for people.
    pub seen: String,
    /// The same for programs: sizes in bytes, `null` where there is nothing to say.
    pub value: Value,
    /// How to mend it: one sentence with the command; `None` where nothing has to be.
    pub mend: Option<String>,
}

impl Fact {
    /// One without a value and with nothing to mend.
    pub fn new(name: &'static str, status: FactStatus, seen: impl Into<String>) -> Self {
        Self { name: Cow::Borrowed(name), status, seen: seen.into(), value: Value::Null, mend: None }
    }

    /// One that is good.
    pub fn ok(name: &'static str, seen: impl Into<String>) -> Self {
        Self::new(name, FactStatus::Ok, seen)
    }

    /// One without which it goes.
    pub fn warn(name: &'static str, seen: impl Into<String>) -> Self {
        Self::new(name, FactStatus::Warn, seen)
    }

    /// One that is not there.
    pub fn missing(name: &'static str, seen: impl Into<String>) -> Self {
        Self::new(name, FactStatus::Missing, seen)
    }

    /// The same with what programs read.
    #[must_use]
    pub fn value(self, value: impl Into<Value>) -> Self {
        Self { value: value.into(), ..self }
    }

    /// The same with how to mend it.
    #[must_use]
    pub fn mend(self, mend: impl Into<String>) -> Self {
        Self { mend: Some(mend.into()), ..self }
    }
}
