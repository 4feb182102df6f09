//! Changes of things, as plans: what call would be made, what changes, what is in the way or goes with it.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{
    Naming, ResourceOutcome, Sort,
    uses::{Found, Tie},
    value::{all_friendly, plain, same},
    whole::{complete, dotted, keep, unset_value},
};
use crate::{
    contract::{Kind, embedded},
    model::{Class, Error, Hint, Method, Params, Result, is_secret_at},
    ops::{CallOutcome, CallPlan, CallRequest, Change, Interrupt, Observer, Ops, RunOptions, Status, raw::Subject},
};

/// What is asked of a thing that is made or changed.
#[derive(Debug, Clone, Default)]
pub struct ResourceRequest {
    /// Parameters, by PVE's names.
    pub set: Params,
    /// What is to be unset.
    pub unset: Vec<String>,
    /// Parameters that are sent unchecked.
    pub forced: Params,
}

/// What would be done to one thing. Without a call there is nothing to do, and `notes` say why.
#[derive(Debug, Clone)]
pub struct ResourcePlan {
    /// `create`.
    pub verb: &'static str,
    /// `pool`.
    pub noun: &'static str,
    /// What it is called.
    pub name: String,
    /// The call.
    pub call: Option<CallPlan>,
    /// What changes.
    pub changes: Vec<Change>,
    /// What uses it, for one that is to be removed.
    pub uses: Vec<Found>,
    /// What a person should know.
    pub notes: Vec<String>,
    /// What may cut people off who manage the cluster: a reason to ask before.
    pub risks: Vec<String>,
    /// How it was found, to tell what changed if somebody was faster.
    before: Option<(Sort, String, Map<String, Value>)>,
}

impl ResourcePlan {
    /// One by which nothing is done.
    fn nothing(verb: &'static str, noun: &'static str, name: &str) -> Self {
        let (changes, uses, notes, risks) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { verb, noun, name: name.to_owned(), call: None, changes, uses, notes, risks, before: None }
    }

    /// The same change under another verb: an update that is `enable`.
    #[must_use]
    pub fn under(mut self, verb: &'static str) -> Self {
        self.verb = verb;
        if let Some(subject) = self.call.as_mut().and_then(|call| call.subject.as_mut()) {
            subject.verb = verb;
        }
        self
    }

    /// One that makes this call.
    pub(in crate::ops) fn of_call(verb: &'static str, noun: &'static str, name: &str, call: CallPlan) -> Self {
        Self { call: Some(call), ..Self::nothing(verb, noun, name) }
    }

    /// `pool prod`.
    pub fn label(&self) -> String {
        let name = if self.name.is_empty() { self.noun.to_owned() } else { format!("{} {}", self.noun, self.name) };
        match self.call.as_ref().and_then(|call| call.node.as_ref()) {
            // A node is where it is, and so is what has its name.
            Some(node) if self.noun != "node" && self.name.split('/').next() != Some(node.as_str()) => {
                format!("{name} on {node}")
            }
            _ => name,
        }
    }

    /// The plan as data, secrets replaced.
    pub fn to_json(&self) -> Value {
        json!({
            "kind": self.noun,
            "name": self.name,
            "verb": self.verb,
            "changes": self.changes,
            "uses": self.uses,
            "notes": self.notes,
            "risks": self.risks,
            "calls": self.call.iter().map(|plan| plan.call.to_json()).collect::<Vec<_>>(),
        })
    }
}

impl Ops {
    /// Plans one call about a thing, by a template of the API and its parameters, checked against the contract.
    ///
    /// # Errors
    /// [`Class::Usage`] for parameters that the server would refuse.
    pub async fn plan_resource_call(
        &self,
        verb: &'static str,
        noun: &'static str,
        name: &str,
        (method, template): (Method, &str),
        (params, forced): (Params, &Params),
    ) -> Result<ResourcePlan> {
        let request = CallRequest::new(embedded(), method, template, params.into(), forced, None)?;
        let mut call = self.plan_call(request).await?;
        call.subject = Some(Subject { verb, kind: noun, name: name.to_owned() });
        Ok(ResourcePlan::of_call(verb, noun, name, call))
    }

    /// Plans to make one. Only where the server gives the name there may be none.
    ///
    /// # Errors
    /// [`Class::Usage`] for parameters that the server would refuse.
    pub async fn plan_create_resource(
        &self,
        sort: impl Into<Sort>,
        name: Option<&str>,
        request: &ResourceRequest,
    ) -> Result<ResourcePlan> {
        let sort = sort.into();
        let of = sort.of;
        self.require_server(of.plural)?;
        let mut params = name.map_or_else(|| Ok(sort.scoped()), |name| sort.named(name))?;
        params.extend(of.fixed.iter().copied());
        let asked = all_friendly(&request.set, sort.endpoint(Method::Post))?;
        params.extend(asked.iter().filter(|(key, value)| !(of.off_unset.contains(key) && *value == "0")));
        // What has a position comes first, whatever is asked for.
        let first = if of.naming == Naming::Position { "0" } else { "" };
        let full = sort.full_name(name.unwrap_or(first));
        let target = (Method::Post, sort.paths().made);
        let is_off = of.naming == Naming::Position && params.get("enable").is_none_or(|on| on == "0");
        let mut plan = self.plan_resource_call("create", of.noun, &full, target, (params, &request.forced)).await?;
        if is_off {
            plan.notes.push("it is off until it is enabled".into());
        }
        Ok(plan)
    }

    /// Plans a change: reads the thing, and keeps only what differs. What was read goes with it as its digest, where
    /// the method takes one.
    ///
    /// # Errors
    /// [`Class::Usage`] for parameters that the server would refuse, [`Class::NotFound`] when there is no such thing.
    pub async fn plan_update_resource(
        &self,
        sort: impl Into<Sort>,
        name: &str,
        request: &ResourceRequest,
    ) -> Result<ResourcePlan> {
        let sort = sort.into();
        let (of, one) = (sort.of, sort.paths().one);
        let endpoint = sort
            .endpoint(Method::Put)
            .ok_or_else(|| Error::usage(format!("{} cannot be changed, only made and removed", of.plural)))?;
        let given = all_friendly(&request.set, Some(endpoint))?;
        let is_off = |(key, value): &(&str, &str)| of.off_unset.contains(key) && *value == "0";
        let (off, asked): (Vec<_>, Vec<_>) = given.iter().partition(is_off);
        let asked: Params = asked.into_iter().collect();
        let mut whole = sort.named(name)?;
        let (mut unset, by_list) =
            (Vec::new(), endpoint.parameters.get("delete").is_some_and(|s| s.kind == Kind::String));
        for key in &request.unset {
            if asked.get(key).is_some() {
                return Err(Error::usage(format!("`{key}` is to be set and to be unset: give one of both")));
            }
            if endpoint.parameters.get(key).is_none() {
                let error = Error::usage(format!("a {} has no `{key}` to unset", of.noun));
                return Err(error.did_you_mean(endpoint.suggest(key)));
            }
            unset.push(key.as_str());
        }
        whole.extend(asked.iter());
        // Checked before anything is asked of the server; what must be given and is not may be there.
        let required = endpoint.parameters.properties.iter().filter(|(_, schema)| !schema.optional);
        if required.map(|(key, _)| key).all(|key| whole.get(key).is_some()) {
            CallRequest::new(embedded(), Method::Put, one, whole.into(), &request.forced, None)?;
        }

        let thing = self.resource(&sort, name).await?;
        let name = of.name_in(&thing);
        let name = name.as_str();
        let shown = |key: &str, value: Option<String>| {
            value.map(|value| if is_secret_at(one, key) { "***".to_owned() } else { value })
        };
        let (mut params, mut changes, mut notes) = (sort.named(name)?, Vec::new(), Vec::new());
        // Added to what is there, a list differs from it always.
        let adds = asked.get("append") == Some("1");
        for (key, value) in asked.iter() {
            let before = thing.get(key).and_then(plain);
            let is_same = before.as_deref().unwrap_or_default();
            let is_same = !adds && same(is_same, value, endpoint.parameters.get(key));
            if of.how.contains(&key) || key == "digest" {
                params.push(key, value);
            } else if !is_same || is_secret_at(one, key) {
                changes.push(Change {
                    key: key.into(),
                    before: shown(key, before),
                    after: shown(key, Some(value.into())),
                });
                params.push(key, value);
            }
        }
        let takes_no_delete = |key: &str| !by_list || of.undeletable.contains(&key);
        let default = |key: &str| unset_value(endpoint.parameters.get(key));
        // What is unset by giving it its default is not there when it has that.
        let is_there = |key: &&str| {
            let now = thing.get(*key).and_then(plain);
            now.is_some_and(|now| !takes_no_delete(key) || now != default(key))
        };
        let (mut there, gone): (Vec<&str>, Vec<&str>) = unset.into_iter().partition(is_there);
        there.extend(off.iter().map(|(key, _)| *key).filter(|key| thing.contains_key(*key)));
        for key in &there {
            changes.push(Change {
                key: (*key).into(),
                before: shown(key, thing.get(*key).and_then(plain)),
                after: None,
            });
            let is_left_out = of.kept.iter().any(|whole| whole.contains(key));
            if takes_no_delete(key) && !is_left_out {
                params.push(*key, default(key));
            }
        }
        let deleted = there.iter().filter(|key| !takes_no_delete(key)).copied().collect::<Vec<_>>().join(",");
        if !deleted.is_empty() {
            params.push("delete", deleted);
        }
        if !gone.is_empty() {
            notes.push(format!("not set anyway: {}", gone.join(", ")));
        }
        let acts = of.acts.iter().any(|key| asked.get(key) == Some("1"));
        if changes.is_empty() && request.forced.is_empty() && !acts {
            notes.push("nothing to change".into());
            return Ok(ResourcePlan { notes, ..ResourcePlan::nothing("update", of.noun, &sort.full_name(name)) });
        }
        let mut risks = self.shut_by(&sort, name, &thing, Some(&params)).await;
        risks.extend(self.cut_by(&sort, name, &thing, Some(&params)).await);
        complete(endpoint, &thing, &mut params);
        keep(of.kept, &thing, &there, &mut params);
        dotted(&mut params);
        let full = sort.full_name(name);
        let plan =
            self.plan_resource_call("update", of.noun, &full, (Method::Put, one), (params, &request.forced)).await?;
        Ok(ResourcePlan { changes, notes, risks, before: Some((sort, name.to_owned(), thing)), ..plan })
    }

    /// Plans a removal, and finds out what uses the thing.
    ///
    /// # Errors
    /// [`Class::Conflict`] where the server refuses because of that, with what it is.
    pub async fn plan_delete_resource(
        &self,
        sort: impl Into<Sort>,
        name: &str,
        params: &Params,
    ) -> Result<ResourcePlan> {
        let sort = sort.into();
        let of = sort.of;
        let params = all_friendly(params, sort.endpoint(Method::Delete))?;
        let thing = self.resource(&sort, name).await?;
        // As the server calls it: `vm:100`, whoever typed `100`.
        let name = of.name_in(&thing);
        let name = name.as_str();
        let (mut uses, mut notes) = self.uses_of(&sort, name, &thing).await;
        notes.extend(of.goes_later.map(str::to_owned).filter(|_| params.get("force") != Some("1")));
        // What is in it goes with it if that is asked for, and what else goes stays.
        let turned = match (params.get("force"), params.get("purge")) {
            (Some("1"), _) => Some((Tie::Holds, Tie::Goes)),
            (_, Some("0")) => Some((Tie::Goes, Tie::Stays)),
            _ => None,
        };
        if let Some((from, to)) = turned {
            uses.iter_mut().filter(|found| found.tie == from).for_each(|found| found.tie = to);
        }
        let held: Vec<&Found> = uses.iter().filter(|found| found.tie == Tie::Holds).collect();
        if !held.is_empty() {
            let by = held.iter().map(|found| found.what.as_str()).collect::<Vec<_>>().join(", ");
            let error = Error::conflict(format!("cannot delete {}: it is in use by {by}", sort.label(name)));
            let hints: BTreeSet<&str> = held.iter().map(|found| found.way_out).collect();
            let hint = |error: Error, hint: &str| error.with_hint(Hint::Text(hint.replace("{name}", name)));
            return Err(hints.into_iter().filter(|hint| !hint.is_empty()).fold(error, hint));
        }
        let mut whole = sort.named(name)?;
        whole.extend(params.iter());
        // What was looked at is what goes: of positions above all, which move.
        let takes_digest = sort.endpoint(Method::Delete).is_some_and(|all| all.parameters.get("digest").is_some());
        if takes_digest && whole.get("digest").is_none() {
            whole.extend(thing.get("digest").and_then(plain).map(|digest| ("digest", digest)));
        }
        let mut risks = self.shut_by(&sort, name, &thing, None).await;
        risks.extend(self.cut_by(&sort, name, &thing, None).await);
        let (full, target) = (sort.full_name(name), (Method::Delete, sort.paths().one));
        let plan = self.plan_resource_call("delete", of.noun, &full, target, (whole, &Params::new())).await?;
        Ok(ResourcePlan { uses, notes, risks, before: Some((sort, name.to_owned(), thing)), ..plan })
    }

    /// Carries a plan out.
    pub async fn run_resource(
        &self,
        plan: ResourcePlan,
        options: &RunOptions,
        observer: &dyn Observer,
        interrupt: &Interrupt,
    ) -> ResourceOutcome {
        let nothing = || CallOutcome {
            status: Status::Ok,
            data: None,
            upid: None,
            exit_status: None,
            operation: None,
            error: None,
            log: Vec::new(),
        };
        let mut outcome = match &plan.call {
            None => nothing(),
            Some(call) => self.run_call(call, options, observer, interrupt).await,
        };
        if let Some((sort, name, before)) = &plan.before
            && let Some(error) = outcome.error.take()
        {
            outcome.error = Some(self.meanwhile(sort, name, before, error).await);
        }
        let changed = plan.call.is_some() && matches!(outcome.status, Status::Ok | Status::Warning | Status::Running);
        ResourceOutcome {
            kind: plan.noun,
            name: plan.name,
            node: plan.call.and_then(|call| call.node),
            verb: plan.verb,
            status: outcome.status,
            upid: outcome.upid,
            exit_status: outcome.exit_status,
            changed,
            context: self.context().to_owned(),
            data: outcome.data,
            error: outcome.error,
            log: outcome.log,
        }
    }

    /// What somebody else changed since the thing was read, where that is why the server refused.
    async fn meanwhile(&self, sort: &Sort, name: &str, before: &Map<String, Value>, error: Error) -> Error {
        if error.class() != Class::Conflict || !error.message().contains("changed by other user") {
            return error;
        }
        let is_moved = sort.of.naming == Naming::Position;
        let Ok(now) = self.resource(sort, name).await else {
            let what = "the list is another one now: look at it, and give the command again";
            return if is_moved { error.with_hint(Hint::Text(what.into())) } else { error };
        };
        let keys: BTreeSet<&String> = before.keys().chain(now.keys()).collect();
        let text = |value: Option<&Value>| value.and_then(plain).unwrap_or_else(|| "not set".into());
        let changed = keys.into_iter().filter(|key| *key != "digest" && before.get(*key) != now.get(*key));
        let changed = changed.map(|key| match is_secret_at(sort.paths().one, key) {
            true => format!("`{key}`"),
            false => format!("`{key}`: {} → {}", text(before.get(key)), text(now.get(key))),
        });
        let changed = changed.collect::<Vec<_>>().join("; ");
        let what = if is_moved && changed.is_empty() {
            "the list is another one now: look at it, and give the command again".into()
        } else if is_moved {
            format!("something else stands there now ({changed}): look at the list, and give the command again")
        } else if changed.is_empty() {
            "what changed meanwhile is not this thing, but its neighbours in the same file: give the command again"
                .into()
        } else {
            format!("meanwhile somebody changed {changed}; look at it, and give the command again")
        };
        error.with_hint(Hint::Text(what))
    }
}
