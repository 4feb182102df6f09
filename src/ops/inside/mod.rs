//! The inside of a guest: programs, files, passwords and addresses, by its agent; keys and cloud-init from outside.
//!
//! Plans and requests; whose terminal it is, and where output goes, is for the command line.

mod address;
mod agent;
mod console;
mod exec;
mod file;
pub(super) mod words;

pub use address::{Address, Addresses, Origin, configured_addresses, no_address};
pub use exec::ExecRequest;
pub use words::{CLOUDINIT, EXEC, FILE_WRITE, FREEZE, SENDKEY, SET_PASSWORD, THAW, TRIM};

use super::{
    Ops, Plan, Resolved, Words,
    params::{Beyond, check_params},
};
pub use crate::backends::Executed;
use crate::{
    backends::{Action, Step},
    client::path,
    model::{Call, GuestRef, Method, Params, Result},
};

/// The path of a call about a guest.
fn about(guest: &GuestRef, below: &[&str]) -> String {
    let vmid = guest.vmid.to_string();
    path::segments(&[&["nodes", guest.node.as_str(), guest.kind.api(), &vmid], below].concat())
}

/// A call of a guest's agent.
fn agent(method: Method, guest: &GuestRef, command: &str, params: Params) -> Call {
    Call::new(method, about(guest, &["agent", command])).with_params(params)
}

impl Ops {
    /// Plans one call about the inside of a guest, its parameters checked.
    ///
    /// # Errors
    /// [`Class::Usage`](crate::model::Class::Usage) where the backend has no such thing, and for parameters that the
    /// server would refuse.
    pub fn plan_inside(&self, words: Words, action: Action, found: &Resolved, params: Params) -> Result<Plan> {
        self.plan_steps_inside(words, found, vec![(action, params)])
    }

    /// The same of several calls, one after the other.
    fn plan_steps_inside(&self, words: Words, found: &Resolved, steps: Vec<(Action, Params)>) -> Result<Plan> {
        let guest = found.guest.reference();
        let mut plan = Plan::new(words, found.target.clone(), guest.clone(), found.guest.name.clone());
        for (action, params) in steps {
            self.backend().capabilities().require(guest.kind, action)?;
            let params = check_params(guest.kind, action, params, &Beyond::default())?;
            plan.steps.push(Step::new(action, guest.clone()).with_params(params));
        }
        Ok(plan)
    }

    /// Plans that keys are pressed, one after the other: `ctrl-alt-delete`, `ret`.
    ///
    /// # Errors
    /// As [`plan_inside`](Self::plan_inside).
    pub fn plan_keys(&self, found: &Resolved, keys: &[String]) -> Result<Plan> {
        let steps = keys.iter().map(|key| (Action::SendKey, Params::new().with("key", key))).collect();
        self.plan_steps_inside(SENDKEY, found, steps)
    }
}
