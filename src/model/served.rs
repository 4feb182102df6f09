//! What a host that pvectl serves tells beside the API of Proxmox VE, in the words of its plain routes.
//!
//! Plain data for both sides of the wire.

use std::{borrow::Cow, collections::BTreeMap};

use base64::{DecodeError, Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use super::{Fact, Params, Upid, Vmid};

/// How a program of a host ended. In JSON `stdout` and `stderr` are text, with what is no UTF-8 replaced; where that is not
/// what was said, `stdout_base64` and `stderr_base64` have the bytes, and are null otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "RanTold", try_from = "RanTold")]
pub struct Ran {
    /// How it ended by itself.
    pub exit_code: Option<i32>,
    /// Or the signal that ended it.
    pub signal: Option<i32>,
    /// Whether it was killed because it took too long.
    pub timed_out: bool,
    /// What it said, byte for byte.
    pub stdout: Vec<u8>,
    /// What it complained of, in the same way.
    pub stderr: Vec<u8>,
    /// Whether there was more of either.
    pub truncated: bool,
    /// How long it ran, in milliseconds.
    pub duration_ms: u64,
}

/// The same as it goes over the wire.
#[derive(Serialize, Deserialize)]
struct RanTold {
    exit_code: Option<i32>,
    #[serde(default)]
    signal: Option<i32>,
    timed_out: bool,
    stdout: String,
    #[serde(default)]
    stdout_base64: Option<String>,
    stderr: String,
    #[serde(default)]
    stderr_base64: Option<String>,
    truncated: bool,
    duration_ms: u64,
}

/// Bytes as text, and in base64 where the text does not have them all.
fn told(bytes: Vec<u8>) -> (String, Option<String>) {
    String::from_utf8(bytes).map_or_else(
        |error| (String::from_utf8_lossy(error.as_bytes()).into_owned(), Some(STANDARD.encode(error.as_bytes()))),
        |text| (text, None),
    )
}

fn heard(text: String, base64: Option<String>) -> Result<Vec<u8>, DecodeError> {
    base64.map_or_else(|| Ok(text.into_bytes()), |base64| STANDARD.decode(base64))
}

impl From<Ran> for RanTold {
    fn from(ran: Ran) -> Self {
        let Ran { exit_code, signal, timed_out, stdout, stderr, truncated, duration_ms } = ran;
        let ((stdout, stdout_base64), (stderr, stderr_base64)) = (told(stdout), told(stderr));
        Self { exit_code, signal, timed_out, stdout, stdout_base64, stderr, stderr_base64, truncated, duration_ms }
    }
}

impl TryFrom<RanTold> for Ran {
    type Error = DecodeError;

    fn try_from(told: RanTold) -> Result<Self, DecodeError> {
        let RanTold { exit_code, signal, timed_out, truncated, duration_ms, .. } = told;
        let stdout = heard(told.stdout, told.stdout_base64)?;
        let stderr = heard(told.stderr, told.stderr_base64)?;
        Ok(Self { exit_code, signal, timed_out, stdout, stderr, truncated, duration_ms })
    }
}

/// A heartbeat that was sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Where to.
    pub to: String,
    /// When, in RFC 3339.
    pub time: String,
    /// `ok`, or `failed`.
    pub status: String,
    /// What was answered.
    pub http_status: Option<u16>,
    /// Why it failed.
    pub error: Option<String>,
}

impl Heartbeat {
    /// Whether it was taken.
    pub fn is_ok(&self) -> bool {
        self.status == "ok"
    }
}

/// What a served host tells of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServedHost {
    /// Its name as a node.
    pub node: String,
    /// The version of pvectl that serves it.
    pub version: String,
    /// How many VMs are in which state.
    #[serde(default)]
    pub vms: BTreeMap<String, u64>,
    /// The programs that may be run on it by name.
    #[serde(default)]
    pub commands: Vec<String>,
    /// Where it sends heartbeats, if anywhere.
    #[serde(default)]
    pub reports_to: Option<String>,
    /// The last one.
    #[serde(default)]
    pub heartbeat: Option<Heartbeat>,
    /// What it is and has, as far as VMs need it.
    #[serde(default)]
    pub facts: Vec<Fact>,
    /// Everything else it tells: processors, memory in bytes, storages.
    #[serde(flatten)]
    pub other: serde_json::Map<String, Value>,
}

/// A change that waits in a guest's queue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QueuedStep {
    /// Its number.
    pub id: i64,
    /// The guest.
    pub vmid: Vmid,
    /// What is to be set.
    #[serde(serialize_with = "as_object", deserialize_with = "of_object")]
    pub params: Params,
    /// For whom.
    pub user: String,
    /// Since when.
    pub added: Timestamp,
    /// `waiting`, `applying`, or `failed`: then it stands in the way of those behind it.
    pub status: Cow<'static, str>,
    /// Why it failed.
    pub error: Option<String>,
    /// The task that ends when it was applied or cancelled.
    pub upid: Upid,
}

fn as_object<S: Serializer>(params: &Params, to: S) -> Result<S::Ok, S::Error> {
    to.collect_map(params.redacted().iter())
}

fn of_object<'d, D: Deserializer<'d>>(from: D) -> Result<Params, D::Error> {
    Ok(serde_json::Map::deserialize(from)?.into_iter().filter_map(|(key, value)| Some((key, text(value)?))).collect())
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text),
        Value::Null => None,
        other => Some(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_program_says_survives_as_bytes() {
        let ran = Ran { stdout: b"\xff\0a".to_vec(), stderr: "über\n".into(), ..Ran::default() };
        let told = serde_json::to_value(&ran).unwrap();
        assert_eq!((&told["stdout"], &told["stdout_base64"]), (&json!("\u{fffd}\0a"), &json!("/wBh")));
        assert_eq!((&told["stderr"], &told["stderr_base64"]), (&json!("über\n"), &Value::Null));
        assert_eq!(serde_json::from_value::<Ran>(told.clone()).unwrap(), ran);
        // Who knows only text says only text; what is no base64 is no answer.
        let mut before = told.clone();
        ["stdout_base64", "stderr_base64"]
            .into_iter()
            .for_each(|key| drop(before.as_object_mut().unwrap().remove(key)));
        assert_eq!(serde_json::from_value::<Ran>(before).unwrap().stdout, "\u{fffd}\0a".as_bytes());
        let mut wrong = told;
        wrong["stdout_base64"] = json!("no base64!");
        assert!(serde_json::from_value::<Ran>(wrong).is_err());
    }
}
