//! A guest that is there, and what its document wants of it.

use super::{
    Deed, FieldChange, Stage, View, Work,
    asked::{Asked, ask, counts, dispose},
    diff::{Difference, Fields, differences},
    effect::{Effect, effect},
    fields::{self, ONCE},
    known::{Known, SECRET},
    spec_of,
};
use crate::{
    manifest::{Document, GuestSpec, State},
    model::{Error, Guest, GuestConfig, GuestKind, Hint, Method, Params, Pending, Result, is_disk_key},
    ops::{Growth, Ops, Plan, Resolved, ResourcePlan, UPDATE, UpdateRequest, power_verb, resource},
};

impl Ops {
    /// Plans what a document wants of a guest that is there.
    pub(super) async fn plan_existing(&self, view: &View<'_>, document: &Document, guest: &Guest) -> Result<Work> {
        let kept = view.known(document.noun, &document.metadata.name);
        // What is remembered of another guest of that name says nothing of this one.
        let kept = kept.filter(|kept| kept.vmid.is_none_or(|vmid| vmid == guest.vmid.get()));
        let known = Known::of(document, kept);
        self.plan_known(view, document, guest, known).await
    }

    /// The same where it is said what is remembered.
    pub(super) async fn plan_known(
        &self,
        view: &View<'_>,
        document: &Document,
        guest: &Guest,
        known: Known,
    ) -> Result<Work> {
        let request = view.request;
        let Some(spec) = spec_of(document) else { return Err(Error::usage("this is no guest")) };
        let (kind, reference) = (guest.kind, guest.reference());
        let (config, waiting) = to_come(self.backend().guest_pending(&reference).await?);
        let mut work = Work::new(document.noun, &document.metadata.name, known);
        (work.vmid, work.node) = (Some(guest.vmid), Some(guest.node.clone()));
        work.document = Some(document.clone());
        work.waiting = waiting;
        if work.known.said.is_empty() {
            work.notes.push("not applied before: it is taken over as it is".into());
        }
        let like: Vec<&Fields> = work.known.said.iter().chain([&work.known.wanted]).collect();
        let mut live = fields::live(kind, &config, guest, &like);
        let mut wanted = work.known.wanted.clone();
        prepare(kind, &config, &work.known, &mut live, &mut wanted);
        let mut said = work.known.said.clone();
        fields::align(kind, &mut said.iter_mut().chain([&mut live, &mut wanted]).collect::<Vec<_>>());
        let found = differences(&said.iter().collect::<Vec<_>>(), &live, &wanted);
        let found: Vec<Difference> = found.into_iter().filter(|one| counts(one, &wanted)).collect();
        let mut asked = ask(kind, &found, &live, &wanted, spec);
        dispose(&config, request.prune_disks, &mut asked, &mut work);
        work.refusals.extend(drift(&work, &found).filter(|_| !request.force));
        let hotplug = config.text("hotplug");
        let changes = found.iter().map(|what| {
            let effect = match guest.is_powered() {
                true => effect(kind, &what.field, hotplug.as_deref()),
                false => Effect::Live,
            };
            FieldChange { what: what.clone(), effect }
        });
        work.changes = changes.collect();
        work.refusals.extend(asked.refusals.drain(..).map(|error| document.locate(error)));
        for (key, volume) in &asked.detached {
            let fate = match request.prune_disks {
                true => "is destroyed",
                false => "is kept as an unused disk; --prune-disks destroys it",
            };
            work.notes.push(format!("{key} is detached, and {volume} {fate}"));
        }
        if let Some(node) = document.metadata.node.as_ref().filter(|node| **node != guest.node) {
            work.notes.push(format!(
                "it is on {}, and the document says {node}: pvectl {kind} migrate {} {node}",
                guest.node, guest.vmid
            ));
        }
        if !work.refusals.is_empty() {
            return Ok(work);
        }
        self.stage(view, document, guest, spec, asked, &config, &mut work)
            .await
            .map_err(|error| document.locate(error))?;
        if work.stages.is_empty() {
            // What differs in spelling alone is no change to the planners.
            work.changes.clear();
        } else {
            work.deed = Deed::Update;
        }
        Ok(work)
    }

    /// Makes plans of what is asked for.
    #[expect(clippy::too_many_arguments, reason = "one place, and all of it is of the guest")]
    async fn stage(
        &self,
        view: &View<'_>,
        document: &Document,
        guest: &Guest,
        spec: &GuestSpec,
        mut asked: Asked,
        config: &GuestConfig,
        work: &mut Work,
    ) -> Result<()> {
        let (kind, request) = (guest.kind, view.request);
        let found = Resolved { guest: guest.clone(), target: document.metadata.name.clone() };
        let mut plans = Vec::new();
        let power = async |verb: &str, params: Params| {
            let verb = power_verb(verb, kind).ok_or_else(|| Error::usage(format!("a {kind} has no `{verb}`")))?;
            self.plan_power(verb, &found, &params, false).await
        };
        let is_on = guest.is_powered();
        // What is off takes every change at once.
        if spec.state == Some(State::Stopped) && is_on {
            plans.push(power("shutdown", Params::new().with("forceStop", 1)).await?);
            work.changes.push(state_change("running", "stopped"));
        }
        self.refuse_ours(&asked.update)?;
        if !asked.update.is_empty() {
            if let Some(digest) = config.digest() {
                asked.update.set.set("digest", digest.0);
            }
            for (key, secret) in &spec.secrets {
                if asked.update.set.get(key).is_some() {
                    asked.update.set.set(key, secret.read()?);
                }
            }
            plans.push(self.plan_update(&found, &asked.update).await?);
        }
        for (disk, size) in &asked.grow {
            plans.push(self.plan_resize_disk(&found, disk, Growth::To(*size)).await?);
        }
        let stays_on = is_on && spec.state != Some(State::Stopped);
        let forecast = work.changes.iter().any(|change| change.effect == Effect::Restart);
        // What really waits on this host is known once the change was made.
        let restarts = stays_on
            && request.allow_restart
            && (!work.waiting.is_empty() || (forecast && !self.backend().capabilities().here));
        if restarts {
            plans.push(power("restart", Params::new()).await?);
            work.notes.push("it is restarted".into());
        }
        match spec.state {
            Some(State::Running) if !is_on => {
                plans.push(power("start", Params::new()).await?);
                work.changes.push(state_change(&guest.status, "running"));
            }
            Some(State::Template) if !guest.template => {
                plans.push(self.plan_template(&found).await?);
                work.changes.push(state_change(&guest.status, "template"));
            }
            _ => {}
        }
        plans.retain(|plan| !plan.steps.is_empty());
        if request.allow_restart && stays_on && self.backend().capabilities().here && !plans.is_empty() {
            work.again = true;
            if !restarts && work.changes.iter().any(|change| change.effect != Effect::Live) {
                work.notes.push("it is restarted if its machine cannot take the change while it runs".into());
            }
        }
        if !plans.is_empty() {
            work.stages.push(Stage::Guest(Box::new(merged(plans, &found))));
        }
        if let Some(pool) = &asked.pool {
            let (name, adds) = match pool {
                Some(pool) => (pool.as_str(), true),
                None => (guest.pool.as_deref().unwrap_or_default(), false),
            };
            work.stages.push(Stage::Thing(Box::new(self.plan_pool_of(guest, name, adds).await?)));
        }
        Ok(())
    }

    /// Refuses keys that only guests of this host have.
    fn refuse_ours(&self, update: &UpdateRequest) -> Result<()> {
        match update.beyond.forced.iter().next() {
            Some((key, _)) if !self.backend().capabilities().here => Err(only_here(key)),
            _ => Ok(()),
        }
    }

    /// Plans a guest's way into a pool, which may be one that is yet to be made, or out of it.
    async fn plan_pool_of(&self, guest: &Guest, pool: &str, adds: bool) -> Result<ResourcePlan> {
        self.require_server("pools")?;
        let of = resource("pool");
        let params = of.named(pool)?.with("vms", guest.vmid).with_flag("delete", !adds).with_flag("allow-move", adds);
        let verb = if adds { "add" } else { "remove" };
        self.plan_resource_call(verb, of.noun, pool, (Method::Put, of.one), (params, &Params::new())).await
    }
}

/// The refusal of a key of pvectl's own on a server.
pub(super) fn only_here(key: &str) -> Error {
    Error::usage(format!("`{key}` is for VMs of the host that pvectl runs on"))
        .with_hint(Hint::Text("choose it with --context local".into()))
}

/// What the configuration will be, and the keys that wait for the next start.
pub(super) fn to_come(rows: Vec<Pending>) -> (GuestConfig, Vec<String>) {
    let (mut config, mut waiting) = (GuestConfig::default(), Vec::new());
    for row in rows {
        if row.waits() {
            waiting.push(row.key.clone());
        }
        let goes = row.delete.is_some_and(|how| how > 0);
        if let Some(value) = row.pending.or(row.value).filter(|_| !goes) {
            config.0.insert(row.key, value);
        }
    }
    (config, waiting)
}

/// Takes out of what is compared what cannot be: power, and what is only said when something is made.
fn prepare(kind: GuestKind, config: &GuestConfig, known: &Known, live: &mut Fields, wanted: &mut Fields) {
    wanted.remove("state");
    if kind == GuestKind::Lxc {
        wanted.retain(|field, _| !field.starts_with(SECRET));
    }
    let once = |field: &str| {
        field
            .split_once('.')
            .is_some_and(|(key, part)| is_disk_key(key) && ONCE.contains(&part) && config.0.contains_key(key))
    };
    wanted.retain(|field, _| !once(field));
    // What a secret is cannot be asked; that it is there, and from which file it was taken, is known.
    for field in wanted.keys().filter(|field| field.starts_with(SECRET)) {
        if config.0.contains_key(&field[SECRET.len()..]) {
            let named = known.said.iter().rev().find_map(|said| said.get(field));
            live.insert(field.clone(), named.cloned().unwrap_or_else(|| "another".to_owned()));
        }
    }
}

fn state_change(before: &str, after: &str) -> FieldChange {
    let what =
        Difference { field: "state".into(), before: Some(before.into()), after: Some(after.into()), applied: None };
    FieldChange { what, effect: Effect::Live }
}

/// The refusal of what somebody else changed, if there is such.
pub(super) fn drift(work: &Work, found: &[Difference]) -> Option<Error> {
    let one = |one: &Difference| {
        let now = one.before.as_deref().unwrap_or("not set");
        Some(format!("{} is {now} and was applied as {}", one.field, one.applied.as_deref()?))
    };
    let told: Vec<String> = found.iter().filter_map(one).collect();
    let error = || Error::conflict(format!("{} was changed by somebody else since: {}", work.label(), told.join("; ")));
    let way =
        format!("take it into the document (see pvectl export {} {}), or overrule it: --force", work.noun, work.name);
    (!told.is_empty()).then(|| error().with_hint(Hint::Text(way)))
}

/// Plans about one guest as one, step after step.
pub(super) fn merged(plans: Vec<Plan>, found: &Resolved) -> Plan {
    let alone = plans.len() == 1;
    let mut plans = plans.into_iter();
    let Some(mut whole) = plans.next() else {
        return Plan::new(UPDATE, found.target.clone(), found.guest.reference(), found.guest.name.clone());
    };
    if !alone {
        whole.words = UPDATE;
    }
    for plan in plans {
        let begins = whole.steps.is_empty();
        whole.steps.extend(plan.steps.into_iter().map(|mut step| {
            // The steps before change the configuration, or may: what was read is no longer what is there.
            if !begins {
                step.params.remove("digest");
            }
            step
        }));
        whole.changes.extend(plan.changes);
        whole.notes.extend(plan.notes);
        whole.warnings.extend(plan.warnings);
        whole.claims.memory = plan.claims.memory.or(whole.claims.memory);
        whole.claims.room.extend(plan.claims.room);
        whole.config_before = whole.config_before.or(plan.config_before);
    }
    whole
}
