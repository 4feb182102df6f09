//! Plans: actions that are done in order, each once, whatever becomes of the server meanwhile.
//!
//! What is to be done is written down before it is begun (`store`); doing it, and finding out what became of an action
//! that nobody saw end, is in `work`.

mod store;
mod work;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub(super) use self::store::{Store, Stored};
pub use self::work::carry_out;
use super::{
    AllowList,
    plain::{DELETE, NewVm, PAUSE, RESUME, SNAPSHOT, START, STOP, Trouble, Verb},
};
use crate::model::{Upid, is_secret_key};

/// How many actions a plan may have.
pub(super) const MOST: usize = 1000;

/// How long a key may be.
const LONGEST_KEY: usize = 200;

/// What becomes of the rest when an action is not done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum OnError {
    /// It is left out.
    #[default]
    Stop,
    /// It is done all the same.
    CarryOn,
}

/// A plan as it is given.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewPlan {
    /// Whoever gives a plan with this key again is told of the one that there is.
    #[serde(default, skip_serializing)]
    pub(super) key: Option<String>,
    #[serde(default)]
    pub(super) on_error: OnError,
    /// Each an object with `action`; what else it has depends on that.
    pub(super) actions: Vec<Value>,
}

/// One action.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "action", rename_all = "UPPERCASE")]
enum Action {
    Create(NewVm),
    Start(OfVm),
    Stop(OfVm),
    Pause(OfVm),
    Resume(OfVm),
    Delete(OfVm),
    Snapshot(NewSnapshot),
    Execute(Execute),
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct OfVm {
    name: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewSnapshot {
    name: String,
    snapshot: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Execute {
    command: String,
    #[serde(default)]
    args: Vec<String>,
    #[serde(default)]
    timeout: Option<u64>,
}

impl Action {
    fn parse(value: &Value) -> Result<Self, Trouble> {
        serde_json::from_value(value.clone()).map_err(|error| Trouble::bad(error.to_string()))
    }

    /// For an action on a VM that is there: the verb and the VM's name.
    fn of_vm(&self) -> Option<(&'static Verb, &str)> {
        Some(match self {
            Self::Start(vm) => (&START, &vm.name),
            Self::Stop(vm) => (&STOP, &vm.name),
            Self::Pause(vm) => (&PAUSE, &vm.name),
            Self::Resume(vm) => (&RESUME, &vm.name),
            Self::Delete(vm) => (&DELETE, &vm.name),
            Self::Snapshot(new) => (&SNAPSHOT, &new.name),
            Self::Create(_) | Self::Execute(_) => return None,
        })
    }
}

impl NewPlan {
    /// Refuses what cannot be a plan. Whether each action can be done shows when it is its turn.
    pub(super) fn check(&self, allowed: &AllowList) -> Result<(), Trouble> {
        if self.actions.is_empty() || self.actions.len() > MOST {
            return Err(Trouble::bad(format!("actions: 1 to {MOST} are expected")));
        }
        if self.key.as_ref().is_some_and(|key| key.is_empty() || key.len() > LONGEST_KEY) {
            return Err(Trouble::bad(format!("key: 1 to {LONGEST_KEY} bytes are expected")));
        }
        for (at, value) in self.actions.iter().enumerate() {
            let bad = |trouble: Trouble| Trouble::bad(format!("action {}: {}", at + 1, trouble.message));
            match Action::parse(value).map_err(bad)? {
                Action::Create(new) => {
                    // What is given is kept, and shown to whoever may see the plan.
                    let params = new.params().map_err(bad)?;
                    if let Some((key, _)) = params.iter().find(|(key, _)| is_secret_key(key)) {
                        return Err(bad(Trouble::bad(format!("a plan is kept, and keeps no secrets: `{key}`"))));
                    }
                }
                Action::Execute(Execute { command, .. }) if allowed.path(&command).is_none() => {
                    return Err(bad(Trouble::bad(format!("`{command}` is no command that is allowed here"))));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// A plan as it is told.
#[derive(Debug, Serialize)]
pub(super) struct Plan {
    pub(super) id: i64,
    pub(super) key: Option<String>,
    /// Whose it is: its actions are done with what they may then.
    pub(super) user: String,
    /// The request that gave it, as in the journal.
    pub(super) request: String,
    on_error: OnError,
    /// `waiting`, `running`, `ok`, `failed`, or `unknown` where nobody can say what became of an action.
    status: String,
    created: String,
    ended: Option<String>,
    actions: Vec<Told>,
}

/// One of its actions.
#[derive(Debug, Serialize)]
pub(super) struct Told {
    number: u32,
    action: Value,
    /// `waiting`, `running`, `ok`, `failed`, `skipped` or `unknown`.
    status: String,
    vmid: Option<u32>,
    upid: Option<String>,
    result: Value,
    error: Option<String>,
    started: Option<String>,
    ended: Option<String>,
}

/// An action whose turn it is.
#[derive(Debug)]
struct Turn {
    plan: i64,
    number: u32,
    user: String,
    token: Option<String>,
    request: String,
    on_error: OnError,
    action: Value,
    /// If it was begun before: when, in seconds since 1970, and what is known of it.
    begun: Option<i64>,
    vmid: Option<u32>,
    upid: Option<Upid>,
}

/// How an action ended.
#[derive(Debug)]
enum End {
    Ok(Value),
    Failed(String),
    /// Nobody can say.
    Unknown(String),
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_plan_is_refused_as_a_whole() {
        let allowed = AllowList::parse(["say=/bin/echo"]).unwrap();
        let check = |actions: Value| -> Result<(), String> {
            let plan: NewPlan = serde_json::from_value(json!({"actions": actions})).map_err(|e| e.to_string())?;
            plan.check(&allowed).map_err(|trouble| trouble.message)
        };
        let all = json!([
            {"action": "CREATE", "name": "web", "memory_mb": 256, "config": {"onboot": true}},
            {"action": "START", "name": "web"},
            {"action": "PAUSE", "name": "web"},
            {"action": "RESUME", "name": "web"},
            {"action": "SNAPSHOT", "name": "web", "snapshot": "before"},
            {"action": "EXECUTE", "command": "say", "args": ["a"], "timeout": 5},
            {"action": "STOP", "name": "web"},
            {"action": "DELETE", "name": "web"},
        ]);
        assert_eq!(check(all), Ok(()));
        for (bad, why) in [
            (json!([]), "1 to 1000"),
            (json!([{"action": "START"}]), "action 1: missing field `name`"),
            (json!([{"action": "start", "name": "web"}]), "unknown variant `start`"),
            (json!([{"action": "START", "name": "web", "x": 1}]), "unknown field `x`"),
            (json!([{"action": "EXECUTE", "command": "sh"}]), "`sh` is no command"),
            (json!([{"action": "CREATE", "name": "web", "config": {"a": []}}]), "config.a"),
            (json!([{"action": "CREATE", "name": "web", "config": {"cipassword": "x"}}]), "keeps no secrets"),
            (json!(["START"]), "action 1"),
        ] {
            let error = check(bad).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}
