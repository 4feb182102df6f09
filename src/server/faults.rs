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
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Strike {
    /// It takes this long before anything is done.
    Delay(Duration),
    /// It is done, and then it takes this long until the answer comes.
    DelayAfter(Duration),
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
    /// Nothing is done, and the answer is status 500 with these words, as of a server that could not do it.
    Die(String),
    /// It is done and answered, and then for so long nobody is there: no connection lasts, none is taken.
    DownAfter(Duration),
    /// It is done, and the task that it begins ends with these words, done with `WARNINGS: 1` and undone otherwise.
    TaskEnds(String),
}

impl Strike {
    /// Whether something else may go wrong with the same request.
    fn adds_up(&self) -> bool {
        matches!(self, Self::Delay(_) | Self::TaskEnds(_))
    }
}

/// Decides what goes wrong.
pub trait Faults: Send + Sync {
    /// What happens to this request: delays and the ends of tasks add up, and of the others the first counts. `path` is
    /// the one below `/api2/json`, decoded.
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
/// CHANGE /**:task-ends=received interrupt             somebody stops every task that is begun
/// ```
///
/// `METHOD` may be `*`, or `CHANGE` for all but GET. In `PATH`, which is the path below `/api2/json`, `*` is one
/// segment and `**` at the end the rest. Without `*COUNT` a rule holds for good. Actions:
///
/// - `delay=TIME`, `delay-after=TIME` (`ms` or `s`): so long before, or after, the work is done
/// - `reset-before`, `reset-after`: the connection is dropped before, or after, the work is done
/// - `status=CODE`, `status-after=CODE`: this status with an empty body, instead of the work or after it
/// - `truncate-after`: half of the answer, then the connection is dropped
/// - `die=TEXT`: status 500 with these words, instead of the work
/// - `down-after=TIME`: the answer, and then nobody is there for so long
/// - `task-ends=TEXT`: the task that is begun ends with these words, such as `WARNINGS: 1`
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
const UNKNOWN: &str = "the actions are delay=TIME, delay-after=TIME, reset-before, reset-after, status=CODE, \
                       status-after=CODE, truncate-after, die=TEXT, down-after=TIME and task-ends=TEXT";
const TIME: &str = "a time is a number with `ms` or `s`";
const CODE: &str = "a status is a number from 200 to 999";
const WORDS: &str = "the words are missing";
const BARE: &str = "the action takes no value";

/// The method that means all but GET.
const CHANGE: &str = "CHANGE";

/// How an action is read from its value.
type Read = fn(&str) -> Option<Strike>;

/// An action: the word, how its value is read, and what that has to be.
type Action = (&'static str, Read, &'static str);

const ACTIONS: &[Action] = &[
    ("delay", |value| duration(value).map(Strike::Delay), TIME),
    ("delay-after", |value| duration(value).map(Strike::DelayAfter), TIME),
    ("reset-before", |value| value.is_empty().then_some(Strike::ResetBefore), BARE),
    ("reset-after", |value| value.is_empty().then_some(Strike::ResetAfter), BARE),
    ("status", |value| status(value).map(Strike::Status), CODE),
    ("status-after", |value| status(value).map(Strike::StatusAfter), CODE),
    ("truncate-after", |value| value.is_empty().then_some(Strike::TruncateAfter), BARE),
    ("die", |value| words(value).map(Strike::Die), WORDS),
    ("down-after", |value| duration(value).map(Strike::DownAfter), TIME),
    ("task-ends", |value| words(value).map(Strike::TaskEnds), WORDS),
];

impl FromStr for FaultRule {
    type Err = FaultRuleError;

    fn from_str(text: &str) -> Result<Self, FaultRuleError> {
        let wrong = |why| FaultRuleError { text: text.to_owned(), why };
        let (method, rest) = text.trim().split_once(char::is_whitespace).ok_or(wrong(SHAPE))?;
        let rest = rest.trim();
        if !rest.starts_with('/') {
            return Err(wrong(if rest.contains(':') { "the path begins with a slash" } else { SHAPE }));
        }
        // A path may have colons in it, and so may the words of an action.
        let mut colons = rest.match_indices(':');
        let found = colons.find_map(|(at, _)| action(&rest[at + 1..]).map(|found| (&rest[..at], found)));
        let Some((path, ((_, read, expected), value))) = found else {
            return Err(wrong(if rest.contains(':') { UNKNOWN } else { SHAPE }));
        };
        let (value, left) = match value.rsplit_once('*').map(|(before, count)| (before, count.parse())) {
            Some((before, Ok(count))) => (before, Some(count)),
            Some(_) if *expected != WORDS => return Err(wrong("the count is no number")),
            // In words it stands for itself.
            _ => (value, None),
        };
        let strike = read(value.strip_prefix('=').unwrap_or_default()).ok_or(wrong(expected))?;
        Ok(Self { method: method.to_ascii_uppercase(), path: path.to_owned(), strike, left })
    }
}

/// The action that a text begins with, and what follows its word.
fn action(text: &str) -> Option<(&'static Action, &str)> {
    let (word, rest) = text.split_at(text.find(['=', '*']).unwrap_or(text.len()));
    ACTIONS.iter().find(|(name, ..)| *name == word).map(|found| (found, rest))
}

fn status(text: &str) -> Option<u16> {
    text.parse().ok().filter(|code| (200..=999).contains(code))
}

fn words(text: &str) -> Option<String> {
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
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
        match &self.strike {
            Strike::Delay(time) => write!(f, "delay={}ms", time.as_millis())?,
            Strike::DelayAfter(time) => write!(f, "delay-after={}ms", time.as_millis())?,
            Strike::ResetBefore => f.write_str("reset-before")?,
            Strike::ResetAfter => f.write_str("reset-after")?,
            Strike::Status(code) => write!(f, "status={code}")?,
            Strike::StatusAfter(code) => write!(f, "status-after={code}")?,
            Strike::TruncateAfter => f.write_str("truncate-after")?,
            Strike::Die(text) => write!(f, "die={text}")?,
            Strike::DownAfter(time) => write!(f, "down-after={}ms", time.as_millis())?,
            Strike::TaskEnds(text) => write!(f, "task-ends={text}")?,
        }
        self.left.map_or(Ok(()), |left| write!(f, "*{left}"))
    }
}

impl FaultRule {
    fn is_about(&self, method: &str, path: &str) -> bool {
        let is_meant = match self.method.as_str() {
            "*" => true,
            CHANGE => method != "GET",
            one => one == method,
        };
        is_meant && fits(&self.path, path)
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
            if !rule.strike.adds_up() && std::mem::replace(&mut struck, true) {
                continue;
            }
            rule.left = rule.left.map(|left| left - 1);
            strikes.push(rule.strike.clone());
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
            "CHANGE /**:delay-after=20ms*1",
            "POST /nodes/*/qemu/*/status/start:die=can't lock file '/a/b.conf' - got timeout*3",
            "CHANGE /**:task-ends=WARNINGS: 2",
            "GET /version:down-after=300ms",
            "GET /version:die=a * is no count",
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
            ("GET /version:reset-after=1", "no value"),
            ("GET /version:die", "words"),
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
            rule("CHANGE /version:task-ends=WARNINGS: 1"),
            rule("CHANGE /version:status=500*1"),
        ]);
        let delay = Strike::Delay(Duration::from_secs(1));
        assert_eq!(script.strike("GET", "/version"), [delay.clone(), Strike::Status(595)]);
        assert_eq!(script.strike("GET", "/version"), [delay.clone(), Strike::ResetBefore]);
        assert_eq!(script.strike("GET", "/version"), [delay]);
        let warned = Strike::TaskEnds("WARNINGS: 1".into());
        assert_eq!(script.strike("POST", "/version"), [warned.clone(), Strike::Status(500)]);
        assert_eq!(script.strike("PUT", "/version"), [warned]);
    }
}
