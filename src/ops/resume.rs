//! Going on with an operation that was cut off between its steps: what is left of it, as a plan.
//!
//! The guest is looked at first: what has come about meanwhile is left out, and what no longer fits is refused. Which
//! steps are left is the journal's knowledge, and whoever asks brings it along.

use serde_json::Value;

use super::{
    MigrateRequest, Ops, Plan, Power, Resolved,
    lost::kept_call,
    plan::{Change, refuse_locked, shown},
    request::same_value,
    verbs::{MIGRATE, power_verb, words_of},
};
use crate::{
    backends::{ACTIONS, Action, Step},
    model::{Error, Guest, GuestConfig, GuestKind, GuestRef, Hint, NodeName, OperationId, Params, Result, Vmid},
};

/// What can be gone on with; every other verb is one step, and is given again as easily.
const ACTIONS_LEFT: [Action; 7] = [
    Action::Create,
    Action::Clone,
    Action::Configure,
    Action::ConfigureInTask,
    Action::Start,
    Action::Stop,
    Action::Destroy,
];

/// What is left of an operation.
#[derive(Debug, Clone)]
pub struct ResumeRequest {
    /// The operation.
    pub operation: OperationId,
    /// Its verb.
    pub verb: String,
    /// What sort of guest it is about.
    pub kind: GuestKind,
    /// Which one.
    pub vmid: Vmid,
    /// What that was called.
    pub name: Option<String>,
    /// The calls that were not made, as the journal keeps them.
    pub calls: Vec<Value>,
    /// Whether the first of them was made and failed.
    pub failed: bool,
}

impl ResumeRequest {
    fn refuse(&self, why: impl std::fmt::Display) -> Error {
        Error::conflict(format!("cannot go on with operation {}: {why}", self.operation.0))
    }

    /// Refuses a guest that has the number now and is another one.
    fn check_same(&self, there: &Guest) -> Result<()> {
        let named = |name: &Option<String>| name.clone().unwrap_or_else(|| "nameless".into());
        if there.kind != self.kind || (self.name.is_some() && there.name != self.name) {
            let (now, then) = (named(&there.name), named(&self.name));
            return Err(self.refuse(format_args!("{} {} is {now} now, and was {then}", there.kind, there.vmid)));
        }
        Ok(())
    }

    /// A kept call as a step of this operation's guest.
    fn step(&self, call: &Value) -> Result<Step> {
        let odd = || self.refuse("its steps are not of a kind that can be gone on with");
        let call = kept_call(call).ok_or_else(odd)?;
        if let Some((key, _)) = call.params.iter().find(|(_, value)| *value == "***") {
            let error = self.refuse(format_args!("`{key}` is a secret and was not kept"));
            return Err(error.with_hint(Hint::Text("give the command again".into())));
        }
        let parts: Vec<&str> = call.path.split('/').skip(1).collect();
        let ["nodes", node, kind, rest @ ..] = parts.as_slice() else { return Err(odd()) };
        let fits = |path: &str| {
            let wanted: Vec<&str> = path.split('/').skip(1).collect();
            wanted.len() == rest.len() && wanted.iter().zip(rest).all(|(want, have)| *want == "{vmid}" || want == have)
        };
        let spec = ACTIONS.iter().find(|spec| spec.method == call.method && fits(spec.path));
        let action = spec.map(|spec| spec.action).filter(|action| ACTIONS_LEFT.contains(action)).ok_or_else(odd)?;
        if *kind != self.kind.api() {
            return Err(odd());
        }
        let mut params = call.params;
        // The number may have become another one since it was planned. In a clone's path is the source.
        let vmid = match action {
            Action::Clone => {
                params.set("newid", self.vmid);
                rest.first().and_then(|vmid| vmid.parse().ok()).ok_or_else(odd)?
            }
            _ => self.vmid,
        };
        let node = NodeName::new(*node).map_err(|error| self.refuse(error))?;
        Ok(Step::new(action, GuestRef { kind: self.kind, vmid, node }).with_params(params))
    }
}

fn makes(step: &Step) -> bool {
    matches!(step.action, Action::Create | Action::Clone)
}

impl Ops {
    /// Plans what is left of an operation, after a look at its guest.
    ///
    /// # Errors
    /// [`Class::Conflict`](crate::model::Class::Conflict) with the reason where it cannot be gone on with.
    pub async fn plan_resume(&self, request: &ResumeRequest) -> Result<Plan> {
        let guests = self.backend().guests().await?;
        self.plan_rest(request, guests.iter().find(|guest| guest.vmid == request.vmid)).await
    }

    /// The same of a guest that the cluster lists so, or not at all.
    ///
    /// # Errors
    /// As [`plan_resume`](Self::plan_resume).
    pub async fn plan_rest(&self, request: &ResumeRequest, there: Option<&Guest>) -> Result<Plan> {
        let gone = || request.refuse(format_args!("there is no guest {} any more", request.vmid));
        let target = format!("operation/{}", request.operation.0);
        if let Some(verb) = power_verb(&request.verb, request.kind) {
            // One step, which the guest's power decides about as it did the first time.
            let guest = there.ok_or_else(gone)?;
            request.check_same(guest)?;
            let mut params = request.calls.first().and_then(kept_call).map(|call| call.params).unwrap_or_default();
            verb.action.spec().fixed.iter().for_each(|(key, _)| drop(params.remove(key)));
            return self.plan_power(verb, &Resolved { guest: guest.clone(), target }, &params, false).await;
        }
        if request.verb == MIGRATE.name {
            let guest = there.ok_or_else(gone)?;
            request.check_same(guest)?;
            let call =
                request.calls.first().and_then(kept_call).ok_or_else(|| request.refuse("its call was not kept"))?;
            let wanted = MigrateRequest::of_call(request.kind, call.params)?;
            return self.plan_migrate(&Resolved { guest: guest.clone(), target }, &wanted).await;
        }
        let steps: Vec<Step> = request.calls.iter().map(|call| request.step(call)).collect::<Result<_>>()?;
        let words =
            words_of(&request.verb, request.kind).ok_or_else(|| request.refuse("its verb is not known here"))?;
        let (Some(first), Some(last)) = (steps.first(), steps.last()) else {
            return Err(request.refuse("nothing of it is left"));
        };
        let mut plan = Plan::new(words, target, last.guest.clone(), request.name.clone());
        if makes(first) {
            if request.failed {
                return Err(request
                    .refuse("the guest could not be made")
                    .with_hint(Hint::Text("when the cause is mended, give the command again".into())));
            }
            if let Some(there) = there {
                return Err(request.refuse(format_args!("{} is there already", there.label())));
            }
            plan.steps = steps;
            return Ok(plan);
        }
        match there {
            Some(there) => self.plan_left(request, there, steps, plan).await,
            None if steps.iter().all(|step| matches!(step.action, Action::Stop | Action::Destroy)) => {
                plan.notes.push("it is gone already".into());
                Ok(plan)
            }
            None => Err(gone()),
        }
    }

    /// Plans steps about a guest that is there.
    async fn plan_left(
        &self,
        request: &ResumeRequest,
        there: &Guest,
        steps: Vec<Step>,
        mut plan: Plan,
    ) -> Result<Plan> {
        request.check_same(there)?;
        let guest = there.reference();
        plan.guest = guest.clone();
        let (loss, mut power, config) = self.loss(&guest).await?;
        refuse_locked(&plan, &config)?;
        for step in steps {
            let step = Step { guest: guest.clone(), ..step };
            match (step.action, power) {
                (Action::Stop, Power::Stopped | Power::Suspended) | (Action::Start, Power::Running) => {
                    plan.notes.push(format!("already {power}"));
                    continue;
                }
                (Action::Start, Power::Paused) => return Err(request.refuse("it is paused")),
                (Action::Destroy, Power::Running | Power::Paused) => {
                    return Err(request.refuse(format_args!("it is {power} again")));
                }
                (Action::Destroy, _) if config.is_protected() => return Err(request.refuse("it is protected")),
                (Action::Destroy, _) => plan.loss = Some(loss.clone()),
                (Action::Stop, _) => power = Power::Stopped,
                (Action::Start, _) => power = Power::Running,
                _ => {
                    if let Some(step) = self.still_to_change(request, step, &config, &mut plan)? {
                        plan.steps.push(step);
                    }
                    continue;
                }
            }
            plan.steps.push(step);
        }
        plan.config_before = plan.steps.iter().any(|step| step.action != Action::Start).then_some(config);
        Ok(plan)
    }

    /// What of a change of the configuration has not come about.
    fn still_to_change(
        &self,
        request: &ResumeRequest,
        mut step: Step,
        config: &GuestConfig,
        plan: &mut Plan,
    ) -> Result<Option<Step>> {
        let digest = config.digest().map(|digest| digest.0);
        if step.params.remove("digest").is_some_and(|planned| digest.as_ref() != Some(&planned)) {
            return Err(request.refuse("the configuration was changed meanwhile").with_hint(Hint::Text(format!(
                "compare: pvectl {} config diff {} --from {}",
                request.kind, request.vmid, request.operation.0
            ))));
        }
        let mut left = Params::new();
        let mut changes = 0;
        for (key, value) in step.params.iter() {
            let before = config.text(key);
            if key == "delete" {
                let gone = value.split(',').filter(|key| config.0.contains_key(*key)).collect::<Vec<_>>();
                changes += gone.len();
                plan.changes.extend(gone.iter().map(|key| Change {
                    key: (*key).to_owned(),
                    before: shown(key, config.text(key)),
                    after: None,
                }));
                if !gone.is_empty() {
                    left.push(key, gone.join(","));
                }
            } else if before.as_deref().is_none_or(|before| !same_value(key, before, value)) {
                changes += 1;
                plan.changes.push(Change { key: key.into(), before: shown(key, before), after: Some(value.into()) });
                left.push(key, value);
            }
        }
        if changes == 0 {
            plan.notes.push("configured already".into());
            return Ok(None);
        }
        if let Some(digest) = digest {
            left.push("digest", digest);
        }
        Ok(Some(step.with_params(left)))
    }
}
