//! What is known of a task: its state, its end, its log.
//!
//! Following one to its end is in [`crate::tasks`].

use std::{convert::Infallible, fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use super::{Class, Error, Sent, Upid, tolerant};

/// How a task ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExitStatus {
    /// `OK`.
    Ok,
    /// `WARNINGS: n`: the work is done, the log has `n` warnings. A success.
    Warnings(u32),
    /// Anything else: the error in the server's words.
    Failed(String),
}

impl ExitStatus {
    /// Whether the work was done, with or without warnings.
    pub fn is_success(&self) -> bool {
        !matches!(self, Self::Failed(_))
    }
}

impl FromStr for ExitStatus {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        let warnings = text.strip_prefix("WARNINGS: ").and_then(|count| count.trim().parse().ok());
        Ok(match (text, warnings) {
            ("OK", _) => Self::Ok,
            (_, Some(count)) => Self::Warnings(count),
            _ => Self::Failed(text.to_owned()),
        })
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ok => f.write_str("OK"),
            Self::Warnings(count) => write!(f, "WARNINGS: {count}"),
            Self::Failed(text) => f.write_str(text),
        }
    }
}

impl Serialize for ExitStatus {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ExitStatus {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Ok(status) = String::deserialize(deserializer)?.parse();
        Ok(status)
    }
}

/// What became of a change that the server took: done at once, or a task.
#[derive(Debug, Clone, PartialEq)]
pub enum Submitted {
    /// Done, with this value (mostly null).
    Done(Value),
    /// At work under this name.
    Task(Upid),
}

impl Submitted {
    /// Tells a task from a result: a UPID alone, or in an object as the methods of bulk work have it. A UPID beside a
    /// ticket is a console's, whose task lasts as long as somebody looks: that is a result.
    ///
    /// # Errors
    /// When it is a UPID that cannot be read: something is at work, and nobody can ask about it.
    pub fn from_answer(data: Value) -> Result<Self, Error> {
        let named = match &data {
            Value::String(text) => Some(text.as_str()),
            Value::Object(map) if !map.contains_key("ticket") => map.get("upid").and_then(Value::as_str),
            _ => None,
        };
        match named.filter(|text| text.starts_with("UPID:")) {
            None => Ok(Self::Done(data)),
            Some(text) => text.parse().map(Self::Task).map_err(|error| {
                Error::new(Class::Failed, "the server started a task under a name that cannot be read")
                    .with_source(error)
                    .with_sent(Sent::Maybe)
            }),
        }
    }
}

/// The answer to "how is this task doing": `GET /nodes/{node}/tasks/{upid}/status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskStatus {
    /// `running` or `stopped`.
    pub status: String,
    /// How it ended; only once it is stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exitstatus: Option<ExitStatus>,
    /// Everything else the server says.
    #[serde(flatten, serialize_with = "tolerant::in_order")]
    pub other: Map<String, Value>,
}

/// What is said of a task that stopped without saying how.
pub const UNEXPECTED: &str = "unexpected status";

impl TaskStatus {
    /// How it ended, or `None` while it runs. A task that stopped without saying how counts as failed.
    pub fn ended(&self) -> Option<ExitStatus> {
        (self.status != "running")
            .then(|| self.exitstatus.clone().unwrap_or_else(|| ExitStatus::Failed(UNEXPECTED.to_owned())))
    }
}

/// A row of a task list: `GET /nodes/{node}/tasks` and `GET /cluster/tasks`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskEntry {
    /// The task.
    pub upid: Upid,
    /// `RUNNING` in an active list, the exit status in others, absent for a running one in the cluster's list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// When it began, seconds since 1970.
    #[serde(deserialize_with = "tolerant::u64::deserialize")]
    pub starttime: u64,
    /// When it ended, seconds since 1970; absent while it runs.
    #[serde(default, deserialize_with = "tolerant::u64::option", skip_serializing_if = "Option::is_none")]
    pub endtime: Option<u64>,
    /// Everything else the server says.
    #[serde(flatten, serialize_with = "tolerant::in_order")]
    pub other: Map<String, Value>,
}

impl TaskEntry {
    /// How it ended, or `None` while it runs.
    pub fn ended(&self) -> Option<ExitStatus> {
        let status = self.status.as_deref().filter(|status| *status != "RUNNING")?;
        let Ok(status) = status.parse();
        Some(status)
    }
}

/// One line of a task's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// Its number, counted from one.
    #[serde(deserialize_with = "tolerant::u64::deserialize")]
    pub n: u64,
    /// Its text.
    pub t: String,
}

/// A piece of a task's log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogPage {
    /// The lines from where the reader asked.
    pub lines: Vec<LogLine>,
    /// How many lines the log has at present.
    pub total: u64,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn warnings_are_a_success() {
        let status = |text: &str| text.parse::<ExitStatus>().unwrap();
        assert_eq!(status("WARNINGS: 3"), ExitStatus::Warnings(3));
        assert!(status("WARNINGS: 3").is_success());
        assert!(!status("WARNINGS: many").is_success());
        assert!(!status("unexpected status").is_success());
    }

    #[test]
    fn a_task_is_told_from_a_result() {
        let submitted = Submitted::from_answer;
        let upid = "UPID:pve1:000003EC:00041609:6B003243:qmshutdown:100:root@pam!ci:";
        let task = Submitted::Task(upid.parse().unwrap());
        assert_eq!(submitted(json!(upid)).unwrap(), task);
        assert_eq!(submitted(json!({"upid": upid, "volid": "a:b"})).unwrap(), task);
        let console = json!({"upid": upid, "ticket": "PVEVNC:x", "port": "5900"});
        for done in [json!(null), json!("local:iso/x.iso"), json!({"port": "5900"}), json!({"upid": null}), console] {
            assert_eq!(submitted(done.clone()).unwrap(), Submitted::Done(done));
        }
        assert!(submitted(json!("UPID:pve1:cut")).unwrap_err().may_have_happened());
    }

    #[test]
    fn an_active_row_is_still_running() {
        let row = r#"{"upid":"UPID:pve1:000003EC:00041609:6B003243:qmshutdown:100:root@pam!ci:","status":"RUNNING","saved":"0","starttime":1795174979}"#;
        let row: TaskEntry = serde_json::from_str(row).unwrap();
        assert_eq!(row.ended(), None);
    }
}
