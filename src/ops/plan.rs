//! Plans: what would be done to one guest, as a value that can be shown before it is run.
//!
//! Making a plan reads, and refuses what cannot go well; it changes nothing.

use futures_util::future::try_join3;
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    Claims, MemoryClaim, Moving, Ops, Resolved,
    devices::Device,
    labels::LabelChange,
    loss::{Loss, disk_losses},
    params::{Beyond, check_params, is_known, unknown_key},
    place::Needs,
    request::{HOW, same_value, settle, update_action},
    verbs::{DELETE, Power, PowerVerb, UPDATE, When, Words},
};
use crate::{
    backends::{Action, Backend, Step},
    model::{Class, ConfigView, Error, GuestConfig, GuestRef, Hint, Params, Result, Snapshot, is_secret_key},
};

/// What would be done to one guest. Without steps there is nothing to do, and `notes` say why.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The verb.
    pub words: Words,
    /// What the person typed.
    pub target: String,
    /// The guest.
    pub guest: GuestRef,
    /// Its name.
    pub name: Option<String>,
    /// The steps, in order; each is done only when the one before ended well.
    pub steps: Vec<Step>,
    /// What changes in the configuration.
    pub changes: Vec<Change>,
    /// What will be gone afterwards.
    pub loss: Option<Loss>,
    /// What a person should know.
    pub notes: Vec<String>,
    /// What may go wrong.
    pub warnings: Vec<String>,
    /// What it takes of its node.
    pub claims: Claims,
    /// Where it goes, if it leaves its node.
    pub moving: Option<Box<Moving>>,
    /// The configuration as it was found.
    pub config_before: Option<GuestConfig>,
    /// The VMID was chosen by us: if somebody else takes it first, the next free one will do.
    pub vmid_is_free_choice: bool,
    /// It is put into the guest's queue, and done by a later command.
    pub queue: bool,
    /// Of plans that share one, one at a time is at work.
    pub turns: Option<std::sync::Arc<tokio::sync::Mutex<()>>>,
}

/// A configuration key that gets another value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The key.
    pub key: String,
    /// What it is; `None` if it is not set.
    pub before: Option<String>,
    /// What it will be; `None` if it will be unset.
    pub after: Option<String>,
}

/// How to change a configuration.
#[derive(Debug, Clone, Default)]
pub struct UpdateRequest {
    /// Keys to set, by PVE's names.
    pub set: Params,
    /// Keys to unset.
    pub delete: Vec<String>,
    /// Devices to add, which get the lowest numbers that the guest has free.
    pub devices: Vec<Device>,
    /// Labels to change; all other tags stay.
    pub labels: Vec<LabelChange>,
    /// What is let through that the built-in description refuses.
    pub beyond: Beyond,
}

/// How to delete.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DeleteRequest {
    /// Stop a running guest first.
    pub force: bool,
    /// Also remove it from backup jobs, replication and HA.
    pub purge: bool,
    /// Also destroy disks that belong to it but are not attached.
    pub purge_disks: bool,
}

impl Plan {
    pub(super) fn new(words: Words, target: String, guest: GuestRef, name: Option<String>) -> Self {
        Self {
            words,
            target,
            guest,
            name,
            steps: Vec::new(),
            changes: Vec::new(),
            loss: None,
            notes: Vec::new(),
            warnings: Vec::new(),
            claims: Claims::default(),
            moving: None,
            config_before: None,
            vmid_is_free_choice: false,
            queue: false,
            turns: None,
        }
    }

    /// `vm/150 (web-server)`.
    pub fn label(&self) -> String {
        match &self.name {
            Some(name) => format!("{} ({name})", self.guest),
            None => self.guest.to_string(),
        }
    }

    /// The refusal of a change over what holds the guest.
    pub(super) fn locked(&self, lock: String) -> Error {
        let message = format!("cannot {} {}: it is locked ({lock})", self.words.act(), self.label());
        Error::new(Class::Conflict, message).with_hint(Hint::Locked(lock))
    }

    /// The plan as data, with the API calls a backend would make, secrets replaced.
    ///
    /// # Errors
    /// When the backend cannot do a step.
    pub fn to_json(&self, backend: &dyn Backend) -> Result<Value> {
        let calls = self.calls(backend)?;
        Ok(json!({
            "verb": self.words.name,
            "vmid": self.guest.vmid,
            "name": self.name,
            "node": self.guest.node,
            "changes": self.changes,
            "loss": self.loss,
            "notes": self.notes,
            "warnings": self.warnings,
            "calls": calls,
        }))
    }

    /// The API calls as JSON, secrets replaced.
    pub(super) fn calls(&self, backend: &dyn Backend) -> Result<Vec<Value>> {
        self.steps.iter().map(|step| Ok(backend.call(step)?.to_json())).collect()
    }
}

/// What HA does itself for guests that it looks after.
const BY_HA: [Action; 3] = [Action::Start, Action::Stop, Action::Shutdown];

impl Ops {
    /// Plans a power verb. `params` come from the verb's options; `strict` makes "already there" a conflict.
    ///
    /// # Errors
    /// [`Class::Conflict`] when the guest is in no state for it, [`Class::Usage`] when the backend cannot do it.
    pub async fn plan_power(&self, verb: &PowerVerb, found: &Resolved, params: &Params, strict: bool) -> Result<Plan> {
        let guest = found.guest.reference();
        self.backend().capabilities().require(guest.kind, verb.action)?;
        // None of these verbs needs a parameter, and to read what may be given takes longer than the whole plan.
        let params = match params.is_empty() {
            true => Params::new(),
            false => check_params(guest.kind, verb.action, params.clone(), &Beyond::default())?,
        };
        let mut plan = Plan::new(verb.words, found.target.clone(), guest.clone(), found.guest.name.clone());
        let refuse = |why: String| Error::conflict(format!("cannot {} {}: it is {why}", verb.words.name, plan.label()));
        if found.guest.template {
            return Err(refuse("a template".into()).with_hint(Hint::Text(format!(
                "make a guest of it: pvectl {} create --template {}",
                guest.kind,
                found.guest.label()
            ))));
        }
        // The cluster's listing lags behind by seconds, so the guest itself is asked.
        let status = self.backend().guest_status(&guest).await?;
        let power = Power::of(&status);
        match verb.when(power) {
            When::Do => {
                if verb.action == Action::Start {
                    plan.claims.memory = found.guest.maxmem.map(MemoryClaim::starting);
                }
                if BY_HA.contains(&verb.action) && status.get("ha").is_some_and(|ha| ha["managed"] == 1) {
                    plan.notes.push("HA is told, and does it when it next looks".into());
                }
                plan.steps.push(Step::new(verb.action, guest).with_params(params));
            }
            When::Already if strict => return Err(refuse(format!("already {power}"))),
            When::Already => plan.notes.push(format!("already {power}")),
            When::Instead(other) => {
                let hint = format!("pvectl {} {other} {}", guest.kind, guest.vmid);
                return Err(refuse(power.to_string()).with_hint(Hint::Text(hint)));
            }
        }
        Ok(plan)
    }

    /// Plans a change of the configuration: reads it, compares, and keeps only what differs.
    ///
    /// # Errors
    /// [`Class::Usage`] for keys and values the server would refuse, [`Class::Conflict`] for a locked guest.
    pub async fn plan_update(&self, found: &Resolved, request: &UpdateRequest) -> Result<Plan> {
        self.plan_change(UPDATE, found, request).await
    }

    /// The same under another verb's name.
    pub(super) async fn plan_change(&self, words: Words, found: &Resolved, request: &UpdateRequest) -> Result<Plan> {
        let guest = found.guest.reference();
        request.check(guest.kind)?;
        let mut plan = Plan::new(words, found.target.clone(), guest.clone(), found.guest.name.clone());
        let config = self.backend().guest_config(&guest, ConfigView::Pending).await?;
        refuse_locked(&plan, &config)?;

        let devices = self.with_storage(guest.kind, &request.devices, Some(&guest.node)).await?;
        let settled = settle(guest.kind, &request.set, &devices, &request.labels, &config, &request.delete)?;
        let checked = request.checked(guest.kind, &settled.set)?;
        let mut set = Params::new();
        for (key, value) in checked.iter().filter(|(key, _)| !HOW.contains(key)) {
            let before = config.text(key);
            if before.as_deref().is_some_and(|before| same_value(key, before, value)) {
                continue;
            }
            plan.changes.push(Change {
                key: key.to_owned(),
                before: shown(key, before),
                after: shown(key, Some(value.into())),
            });
            set.push(key, value);
        }
        let delete: Vec<&String> = request.delete.iter().chain(&settled.delete).collect();
        let (delete, unset): (Vec<&String>, Vec<&String>) =
            delete.into_iter().partition(|key| config.0.contains_key(*key));
        for key in &delete {
            plan.changes.push(Change { key: (*key).clone(), before: shown(key, config.text(key)), after: None });
        }
        if let Some(unknown) = unset.iter().find(|key| !is_known(guest.kind, Action::Configure, key)) {
            return Err(unknown_key(guest.kind, Action::Configure, unknown));
        }
        if !unset.is_empty() {
            let unset: Vec<&str> = unset.iter().map(|key| key.as_str()).collect();
            plan.notes.push(format!("not set anyway: {}", unset.join(", ")));
        }
        if plan.changes.is_empty() {
            plan.notes.push("nothing to change".into());
            return Ok(plan);
        }
        if !delete.is_empty() {
            set.push("delete", delete.iter().map(|key| key.as_str()).collect::<Vec<_>>().join(","));
        }
        let how =
            |(key, _): &(&str, &str)| HOW.contains(key) && *key != "digest" && (*key != "force" || !delete.is_empty());
        set.extend(checked.iter().filter(how));
        plan.claims = Claims::of_change(&found.guest, &plan.changes, Needs::of(guest.kind, &set));
        let action = update_action(guest.kind, &set);
        let mut params = set;
        let digest = request.set.get("digest").map(str::to_owned).or_else(|| config.digest().map(|digest| digest.0));
        if let Some(digest) = digest {
            params.push("digest", digest);
        }
        plan.steps.push(Step::new(action, guest).with_params(params));
        plan.config_before = Some(config);
        Ok(plan)
    }

    /// Plans a removal, and lists what will be lost.
    ///
    /// # Errors
    /// [`Class::Conflict`] for a running guest without `force`, a protected or a locked one.
    pub async fn plan_delete(&self, found: &Resolved, request: &DeleteRequest) -> Result<Plan> {
        let guest = found.guest.reference();
        let mut plan = Plan::new(DELETE, found.target.clone(), guest.clone(), found.guest.name.clone());
        let (loss, power, config) = self.loss(&guest).await?;
        let refuse = |why: &str| Error::conflict(format!("cannot delete {}: {why}", plan.label()));
        if config.is_protected() {
            let unprotect = format!("pvectl {} update {} --set protection=0", guest.kind, guest.vmid);
            return Err(
                refuse("it is protected").with_hint(Hint::Text(format!("take the protection away first: {unprotect}")))
            );
        }
        refuse_locked(&plan, &config)?;
        let is_on = matches!(power, Power::Running | Power::Paused);
        if is_on && !request.force {
            let stop = format!("stop it first (pvectl {} stop {}), or give --force", guest.kind, guest.vmid);
            return Err(refuse(&format!("it is {power}")).with_hint(Hint::Text(stop)));
        }
        if is_on {
            plan.steps.push(Step::new(Action::Stop, guest.clone()));
        }
        let params = Params::new()
            .with_flag("purge", request.purge)
            .with_flag("destroy-unreferenced-disks", request.purge_disks);
        plan.steps.push(Step::new(Action::Destroy, guest).with_params(params));
        plan.loss = Some(loss);
        plan.config_before = Some(config);
        Ok(plan)
    }

    /// What is lost with a guest, and how it is.
    pub(super) async fn loss(&self, guest: &GuestRef) -> Result<(Loss, Power, GuestConfig)> {
        let backend = self.backend();
        let (status, config, snapshots) = try_join3(
            backend.guest_status(guest),
            backend.guest_config(guest, ConfigView::Pending),
            backend.snapshots(guest),
        )
        .await?;
        let power = Power::of(&status);
        let loss =
            Loss { status: power.to_string(), disks: disk_losses(&config), snapshots: names(&snapshots), since: None };
        Ok((loss, power, config))
    }
}

pub(super) fn refuse_locked(plan: &Plan, config: &GuestConfig) -> Result<()> {
    // A guest suspended to disk is locked by that and can be changed and removed all the same.
    match config.lock() {
        Some(lock) if lock != "suspended" => Err(plan.locked(lock)),
        _ => Ok(()),
    }
}

fn names(snapshots: &[Snapshot]) -> Vec<String> {
    snapshots.iter().map(|snapshot| snapshot.name.clone()).collect()
}

pub(super) fn shown(key: &str, value: Option<String>) -> Option<String> {
    value.map(|value| if is_secret_key(key) { "***".to_owned() } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        backends::{Proxmox, Support},
        model::GuestKind,
        ops::POWER_VERBS,
    };

    #[test]
    fn no_power_verb_needs_a_parameter() {
        for verb in POWER_VERBS {
            let can = |kind: &&GuestKind| Proxmox::CAPABILITIES.support(**kind, verb.action) == Support::Yes;
            for kind in verb.kinds.iter().filter(can) {
                let none = check_params(*kind, verb.action, Params::new(), &Beyond::default());
                assert_eq!(none.unwrap(), Params::new(), "{} {kind:?}", verb.words.name);
            }
        }
    }
}
