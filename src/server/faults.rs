//! Things that go wrong on purpose: lost connections, gateways' answers, cut bodies.
//!
//! For tests of clients; it decides, and `exchange` does it.

use std::{
    fmt,
    str::FromStr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// What goes wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strike {
    /// It takes this long before anything is done.
    Delay(Duration),
    /// The connection is dropped, and nothing is done.
    ResetBefore,
    /// It is done, and the connection is dropped without an answer.
    ResetAfter,
    /// Nothing is done, and the answer is this status without a body.
    Status(u16),
    /// It is done, and the answer is this status without a body.
    StatusAfter(u16),
    /// It is done, half of the answer is sent, and the connection is dropped.
    TruncateAfter,
}

/// Decides what goes wrong.
pub trait Faults: Send + Sync {
    /// What happens to this request: delays add up, and of the others the first counts. `path` is the one below
    /// `/api2/json`, decoded.
    fn strike(&self, method: &str, path: &str) -> Vec<Strike>;
}

/// When something goes wrong, as one line of text:
///
/// ```text
/// METHOD PATH:ACTION[*COUNT]
///
/// POST /nodes/*/qemu/*/status/start:reset-after*1     does it once, and drops the connection instead of answering
/// GET  /cluster/resources:status=595*2                answers 595 twice, then well
/// *    /nodes/pve2/**:delay=2s                        is slow about everything on pve2
/// ```
///
/// `METHOD` may be `*`. In `PATH`, which is the path below `/api2/json`, `*` is one segment and `**` at the end the
/// rest. Actions: `delay=TIME` (`ms` or `s`), `reset-before` and `reset-after` (the connection is dropped before or
/// after the work is done), `status=CODE` and `status-after=CODE` (this status with an empty body, instead of the work
/// or after it), `truncate-after` (half of the answer, then the connection is dropped). Without `*COUNT` a rule holds
/// for good.
///
/// ```
/// let rule: pvectl::server::FaultRule = "POST /nodes/*/qemu/*/status/start:reset-after*1".parse()?;
/// let faults = pvectl::server::FaultScript::new([rule]);
/// # Ok::<(), pvectl::server::FaultRuleError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FaultRule {
    method: String,
    path: String,
    strike: Strike,
    /// How many times it still strikes; `None` for always.
    left: Option<u32>,
}

/// Why a text is not a rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no fault: {why}")]
pub struct FaultRuleError {
    text: String,
    why: &'static str,
}

const SHAPE: &str = "METHOD PATH:ACTION[*COUNT] is expected, as in POST /nodes/*/qemu/*/status/start:reset-after*1";
const ACTIONS: &str = "the actions are delay=TIME, reset-before, reset-after, status=CODE, status-after=CODE and \
                       truncate-after";

impl FromStr for FaultRule {
    type Err = FaultRuleError;

    fn from_str(text: &str) -> Result<Self, FaultRuleError> {
        let wrong = |why| FaultRuleError { text: text.to_owned(), why };
        let (method, rest) = text.trim().split_once(char::is_whitespace).ok_or(wrong(SHAPE))?;
        let (path, action) = rest.trim().rsplit_once(':').ok_or(wrong(SHAPE))?;
        let (action, left) = match action.split_once('*') {
            Some((action, count)) => (action, Some(count.parse().map_err(|_| wrong("the count is no number"))?)),
            None => (action, None),
        };
        if !path.starts_with('/') {
            return Err(wrong("the path begins with a slash"));
        }
        let (word, value) = action.split_once('=').unwrap_or((action, ""));
        let status = || {
            let code = value.parse().ok().filter(|code| (200..=999).contains(code));
            code.ok_or(wrong("a status is a number from 200 to 999"))
        };
        let strike = match (word, value) {
            ("delay", _) => Strike::Delay(duration(value).ok_or(wrong("a delay is a number with `ms` or `s`"))?),
            ("reset-before", "") => Strike::ResetBefore,
            ("reset-after", "") => Strike::ResetAfter,
            ("status", _) => Strike::Status(status()?),
            ("status-after", _) => Strike::StatusAfter(status()?),
            ("truncate-after", "") => Strike::TruncateAfter,
            _ => return Err(wrong(ACTIONS)),
        };
        Ok(Self { method: method.to_ascii_uppercase(), path: path.to_owned(), strike, left })
    }
}

fn duration(text: &str) -> Option<Duration> {
    let (digits, unit): (&str, fn(u64) -> Duration) = match text.strip_suffix("ms") {
        Some(digits) => (digits, Duration::from_millis),
        None => (text.strip_suffix('s')?, Duration::from_secs),
    };
    digits.parse().ok().map(unit)
}

impl fmt::Display for FaultRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}:", self.method, self.path)?;
        match self.strike {
            Strike::Delay(time) => write!(f, "delay={}ms", time.as_millis())?,
            Strike::ResetBefore => f.write_str("reset-before")?,
            Strike::ResetAfter => f.write_str("reset-after")?,
            Strike::Status(code) => write!(f, "status={code}")?,
            Strike::StatusAfter(code) => write!(f, "status-after={code}")?,
            Strike::TruncateAfter => f.write_str("truncate-after")?,
        }
        self.left.map_or(Ok(()), |left| write!(f, "*{left}"))
    }
}

impl FaultRule {
    fn is_about(&self, method: &str, path: &str) -> bool {
        (self.method == "*" || self.method == method) && fits(&self.path, path)
    }
}

fn fits(pattern: &str, path: &str) -> bool {
    let segments = |text| str::split(text, '/').filter(|segment| !segment.is_empty());
    let mut have = segments(path);
    for wanted in segments(pattern) {
        match (wanted, have.next()) {
            ("**", _) => return true,
            ("*", Some(_)) => {}
            (wanted, Some(segment)) if wanted == segment => {}
            _ => return false,
        }
    }
    have.next().is_none()
}

/// Rules, of which each strikes as often as it says.
#[derive(Debug, Default)]
pub struct FaultScript(Mutex<Vec<FaultRule>>);

impl FaultScript {
    /// Of these rules.
    pub fn new(rules: impl IntoIterator<Item = FaultRule>) -> Self {
        Self(Mutex::new(rules.into_iter().collect()))
    }

    /// Adds one while the server runs.
    pub fn add(&self, rule: FaultRule) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(rule);
    }
}

impl Faults for FaultScript {
    fn strike(&self, method: &str, path: &str) -> Vec<Strike> {
        let mut rules = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut strikes = Vec::new();
        let mut struck = false;
        for rule in rules.iter_mut().filter(|rule| rule.left != Some(0) && rule.is_about(method, path)) {
            let delays = matches!(rule.strike, Strike::Delay(_));
            if !delays && std::mem::replace(&mut struck, true) {
                continue;
            }
            rule.left = rule.left.map(|left| left - 1);
            strikes.push(rule.strike);
        }
        strikes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_and_printed_back() {
        for text in [
            "POST /nodes/*/qemu/*/status/start:reset-after*1",
            "* /nodes/pve2/**:delay=2000ms",
            "GET /cluster/resources:status=595*2",
            "GET /nodes/*/tasks/UPID:pve1:x:/status:truncate-after",
        ] {
            assert_eq!(text.parse::<FaultRule>().unwrap().to_string(), text);
        }
        for (text, why) in [
            ("GET", "expected"),
            ("GET version:reset-after", "slash"),
            ("GET /version:explode", "actions"),
            ("GET /version:reset-after*x", "count"),
            ("GET /version:delay=2", "delay"),
            ("GET /version:status=20", "status"),
        ] {
            let error = text.parse::<FaultRule>().unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn rules_strike_as_often_as_they_say() {
        let rule = |text: &str| text.parse::<FaultRule>().unwrap();
        let script = FaultScript::new([
            rule("get /version:delay=1s"),
            rule("* /**:status=595*1"),
            rule("GET /version:reset-before*1"),
        ]);
        let delay = Strike::Delay(Duration::from_secs(1));
        assert_eq!(script.strike("GET", "/version"), [delay, Strike::Status(595)]);
        assert_eq!(script.strike("GET", "/version"), [delay, Strike::ResetBefore]);
        assert_eq!(script.strike("GET", "/version"), [delay]);
        assert_eq!(script.strike("POST", "/version"), []);
    }
}
