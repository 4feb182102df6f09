//! Making documents so: what has to change for each, in which order, and carrying that out.
//!
//! It decides what is to be asked of the planners of single verbs, and has no calls of its own: checks, digests, lost
//! answers and secrets are theirs. How files are read is in `manifest`.

mod diff;
mod effect;
mod existing;
mod export;
mod fields;
mod graph;
mod known;
mod missing;
mod prune;
mod run;
mod thing;

use std::collections::{BTreeMap, HashMap};

use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Serialize;
use serde_json::{Value, json};

pub use self::{
    diff::{Difference, Fields, differences},
    effect::Effect,
    run::Made,
    thing::manifest_nouns,
};

use super::{Ops, Plan, ResourcePlan};
use crate::{
    backends::Backend,
    manifest::{Document, Spec},
    model::{Applied, Error, Guest, GuestKind, Hint, NodeName, Result, Vmid},
    select::LabelSelector,
};

/// How many guests are looked at at once.
const LOOKING: usize = 8;

/// What is asked for.
#[derive(Debug, Clone, Default)]
pub struct ApplyRequest {
    /// What should be.
    pub documents: Vec<Document>,
    /// What of that which was applied before, and is in no document now, is removed.
    pub prune: Option<Pruning>,
    /// Restart guests where a change counts only then.
    pub allow_restart: bool,
    /// Overrule what others changed since.
    pub force: bool,
    /// Destroy disks that the documents no longer have.
    pub prune_disks: bool,
    /// Leave checks of memory and storage to the server.
    pub no_checks: bool,
    /// The node of new guests of which nothing else is said.
    pub node: Option<NodeName>,
}

/// What is removed.
#[derive(Debug, Clone)]
pub enum Pruning {
    /// Everything that was applied.
    All,
    /// What had such labels in its document.
    Labels(Vec<LabelSelector>),
}

/// What is done about a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Deed {
    /// It is made.
    Create,
    /// It is changed.
    Update,
    /// It is removed.
    Delete,
    /// It is as it should be.
    Nothing,
}

impl Deed {
    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Nothing => "none",
        }
    }
}

/// A field that changes, and when that counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldChange {
    /// What differs.
    #[serde(flatten)]
    pub what: Difference,
    /// When it counts.
    pub effect: Effect,
}

/// One call, or several, of a work.
#[derive(Debug, Clone)]
pub(super) enum Stage {
    /// About a guest.
    Guest(Box<Plan>),
    /// About another thing: also a guest's place in a pool.
    Thing(Box<ResourcePlan>),
}

/// What is to be done about one document, or about what left them.
#[derive(Debug)]
pub struct Work {
    /// `vm`, `pool`, …
    pub noun: &'static str,
    /// What it is called.
    pub name: String,
    /// The guest's number, as far as it is known.
    pub vmid: Option<Vmid>,
    /// The guest's node.
    pub node: Option<NodeName>,
    /// What is done.
    pub deed: Deed,
    /// What changes.
    pub changes: Vec<FieldChange>,
    /// What a person should know.
    pub notes: Vec<String>,
    /// Why it cannot be done.
    pub refusals: Vec<Error>,
    /// Keys that were changed before, and wait for the next start.
    pub waiting: Vec<String>,
    /// Volumes that are destroyed with it.
    pub doomed: Vec<String>,
    /// Volumes that left the document, now or before, and are still there, unused.
    pub left: Vec<String>,
    stages: Vec<Stage>,
    /// The places of the works that come before.
    needs: Vec<usize>,
    /// Whether more is to be looked for once this is done.
    again: bool,
    /// Its document.
    document: Option<Document>,
    /// What is remembered of it, and what will be.
    known: known::Known,
}

impl Work {
    fn new(noun: &'static str, name: &str, known: known::Known) -> Self {
        Self {
            noun,
            name: name.to_owned(),
            vmid: None,
            node: None,
            deed: Deed::Nothing,
            changes: Vec::new(),
            notes: Vec::new(),
            refusals: Vec::new(),
            waiting: Vec::new(),
            doomed: Vec::new(),
            left: Vec::new(),
            stages: Vec::new(),
            needs: Vec::new(),
            again: false,
            document: None,
            known,
        }
    }

    /// `vm/150 (web-1)`, `vm web-1`, `pool prod`.
    pub fn label(&self) -> String {
        match self.vmid {
            Some(vmid) => format!("{}/{vmid} ({})", self.noun, self.name),
            None => format!("{} {}", self.noun, self.name),
        }
    }

    /// The plans about guests among its stages.
    pub fn plans(&self) -> impl Iterator<Item = &Plan> {
        self.stages.iter().filter_map(|stage| if let Stage::Guest(plan) = stage { Some(&**plan) } else { None })
    }

    /// Whether something is lost by it that cannot be had again.
    pub fn loses(&self) -> bool {
        self.deed == Deed::Delete || !self.doomed.is_empty()
    }

    /// Its calls, as people read them.
    ///
    /// # Errors
    /// When the backend cannot do a step.
    pub fn calls(&self, backend: &dyn Backend) -> Result<Vec<String>> {
        let mut calls = Vec::new();
        for stage in &self.stages {
            match stage {
                Stage::Guest(plan) => {
                    for step in &plan.steps {
                        calls.push(backend.call(step)?.to_string());
                    }
                }
                Stage::Thing(plan) => calls.extend(plan.call.iter().map(|plan| plan.call.to_string())),
            }
        }
        Ok(calls)
    }

    /// The work as data, secrets replaced.
    ///
    /// # Errors
    /// When the backend cannot do a step.
    pub fn to_json(&self, backend: &dyn Backend) -> Result<Value> {
        let mut calls = Vec::new();
        for stage in &self.stages {
            match stage {
                Stage::Guest(plan) => calls.extend(plan.calls(backend)?),
                Stage::Thing(plan) => calls.extend(plan.call.iter().map(|plan| plan.call.to_json())),
            }
        }
        Ok(json!({
            "kind": self.noun,
            "name": self.name,
            "vmid": self.vmid,
            "node": self.node,
            "action": self.deed,
            "changes": self.changes,
            "waiting": self.waiting,
            "notes": self.notes,
            "refused": self.refusals.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "calls": calls,
        }))
    }
}

/// All that is to be done.
#[derive(Debug)]
pub struct ApplyPlan {
    /// In the order of the documents; removals behind them.
    pub works: Vec<Work>,
}

impl ApplyPlan {
    /// Whether nothing is to be done.
    pub fn is_empty(&self) -> bool {
        self.works.iter().all(|work| work.deed == Deed::Nothing)
    }

    /// Leaves out what cannot be done, and what needs it.
    pub fn leave_out_refused(&mut self) {
        for work in self.works.iter_mut().filter(|work| !work.refusals.is_empty()) {
            work.deed = Deed::Nothing;
            work.stages.clear();
        }
    }

    /// Why it is not carried out, if it is not: nothing is, while something cannot be.
    pub fn refusals(&self) -> impl Iterator<Item = &Error> {
        self.works.iter().flat_map(|work| &work.refusals)
    }
}

/// What there is while plans are made.
pub(super) struct View<'a> {
    request: &'a ApplyRequest,
    /// The guests, and the templates to be.
    guests: Vec<Guest>,
    /// What is remembered, by sort and name.
    known: HashMap<(String, String), Applied>,
}

impl View<'_> {
    fn known(&self, noun: &str, name: &str) -> Option<&Applied> {
        self.known.get(&(noun.to_owned(), name.to_owned()))
    }
}

impl Ops {
    /// Plans to make documents so. What stands in the way of one is among its refusals, and nothing is sent.
    ///
    /// # Errors
    /// [`Class::Usage`](crate::model::Class::Usage) for documents that contradict each other, or that need one another in
    /// a circle; whatever the server says.
    pub async fn plan_apply(&self, request: &ApplyRequest) -> Result<ApplyPlan> {
        let documents = &request.documents;
        refuse_twins(documents)?;
        let needs = graph::needs(documents);
        if let Some(circle) = graph::circle(&needs) {
            let names = circle.iter().map(|at| documents[*at].label()).collect::<Vec<_>>().join(", ");
            return Err(Error::usage(format!("these need one another, so that none can be the first: {names}")));
        }
        let guests = self.guests().await?.to_vec();
        let known = self.known_here()?;
        let mut view = View { request, guests, known };
        let mut works: Vec<Option<Work>> = documents.iter().map(|_| None).collect();
        let mut found = BTreeMap::new();
        let mut things = Vec::new();
        for (at, document) in documents.iter().enumerate() {
            match document.guest() {
                None => things.push(at),
                Some(kind) => match self.find_guest(&view, kind, document) {
                    Ok(guest) => drop(found.insert(at, guest)),
                    Err(error) => works[at] = Some(refused(&view, document, error)),
                },
            }
        }
        let (there, missing): (Vec<_>, Vec<_>) = found.into_iter().partition(|(_, guest)| guest.is_some());
        let look = |(at, guest): (usize, Option<Guest>)| {
            let view = &view;
            async move {
                let document = &documents[at];
                let Some(guest) = guest else { return Ok((at, None)) };
                match self.plan_existing(view, document, &guest).await {
                    Err(error) if is_of_one(&error) => Ok((at, Some(refused(view, document, error)))),
                    planned => Ok::<_, Error>((at, Some(planned?))),
                }
            }
        };
        let planned: Vec<(usize, Option<Work>)> =
            stream::iter(there).map(look).buffer_unordered(LOOKING).try_collect().await?;
        planned.into_iter().for_each(|(at, work)| works[at] = work);
        for at in things {
            let document = &documents[at];
            works[at] = Some(match self.plan_thing(&view, document).await {
                Err(error) if is_of_one(&error) => refused(&view, document, error),
                planned => planned?,
            });
        }
        let missing: Vec<usize> = missing.into_iter().map(|(at, _)| at).collect();
        self.plan_missing(&mut view, &missing, &mut works).await?;
        let mut works: Vec<Work> = works.into_iter().flatten().collect();
        for (work, needs) in works.iter_mut().zip(needs) {
            work.needs = needs;
        }
        works.extend(self.plan_prune(&view).await?);
        let mut works = in_order(works);
        self.check_works(&mut works, request).await;
        Ok(ApplyPlan { works })
    }

    /// Looks what stands in the way of the plans, all together.
    async fn check_works(&self, works: &mut [Work], request: &ApplyRequest) {
        if request.no_checks {
            return;
        }
        let mut places = Vec::new();
        let mut plans = Vec::new();
        for (at, work) in works.iter_mut().enumerate() {
            for (stage, what) in work.stages.iter_mut().enumerate() {
                if let Stage::Guest(plan) = what {
                    places.push((at, stage));
                    plans.push((**plan).clone());
                }
            }
        }
        for ((at, stage), (mut plan, verdict)) in places.into_iter().zip(self.check(plans).await) {
            let work = &mut works[at];
            work.notes.append(&mut plan.notes);
            work.notes.append(&mut plan.warnings);
            work.refusals.extend(verdict.err());
            work.stages[stage] = Stage::Guest(Box::new(plan));
        }
    }

    /// The guest that a document is about, if there is one: by its number, else by its name.
    fn find_guest(&self, view: &View<'_>, kind: GuestKind, document: &Document) -> Result<Option<Guest>> {
        let name = &document.metadata.name;
        let known = view.known(document.noun, name).and_then(|known| known.vmid);
        if let Some(vmid) = document.metadata.vmid {
            let Some(guest) = view.guests.iter().find(|guest| guest.vmid == vmid) else { return Ok(None) };
            let is_it = guest.kind == kind
                && (guest.name.as_ref() == Some(name) || view.request.force || self.was_named(view, document, guest));
            if is_it {
                return Ok(Some(guest.clone()));
            }
            let text = format!(
                "VMID {vmid} is {} `{}` on {}, and the document is about {}",
                guest.kind,
                guest.label(),
                guest.node,
                document.label()
            );
            let hint =
                "leave `vmid` out to take the next free one, or give --force to take that guest over under this name";
            return Err(document.locate(Error::conflict(text)).with_hint(Hint::Text(hint.into())));
        }
        let mut named: Vec<&Guest> =
            view.guests.iter().filter(|guest| guest.kind == kind && guest.name.as_ref() == Some(name)).collect();
        if named.len() > 1 {
            let ours = |guest: &&Guest| known == Some(guest.vmid.get());
            let own: Vec<&Guest> = named.iter().copied().filter(ours).collect();
            if own.is_empty() {
                let all = named
                    .iter()
                    .map(|guest| format!("{} on {}", guest.vmid, guest.node))
                    .collect::<Vec<_>>()
                    .join(", ");
                let error = Error::usage(format!("several are called `{name}`: {all}"));
                return Err(document.locate(error).with_hint(Hint::Text("say which: metadata.vmid".into())));
            }
            named = own;
        }
        Ok(named.first().map(|guest| (*guest).clone()))
    }

    /// Whether a guest of another name is one that a document made, which is called otherwise now.
    fn was_named(&self, view: &View<'_>, document: &Document, guest: &Guest) -> bool {
        let is_it = |known: &Applied| {
            known.kind == document.noun
                && known.vmid == Some(guest.vmid.get())
                && Some(&known.name) == guest.name.as_ref()
        };
        view.known.values().any(is_it)
    }
}

/// Whether an error is about one document, and the others can be looked at all the same.
fn is_of_one(error: &Error) -> bool {
    use crate::model::Class;
    matches!(error.class(), Class::Usage | Class::NotFound | Class::Conflict | Class::Rejected | Class::Forbidden)
}

/// A document that cannot be made so.
fn refused(view: &View<'_>, document: &Document, error: Error) -> Work {
    let known = known::Known::of(document, view.known(document.noun, &document.metadata.name));
    let mut work = Work::new(document.noun, &document.metadata.name, known);
    work.refusals.push(error.context(document.label()));
    work
}

/// The works in the order in which they are begun.
fn in_order(works: Vec<Work>) -> Vec<Work> {
    let needs: Vec<Vec<usize>> = works.iter().map(|work| work.needs.clone()).collect();
    let order = graph::order(&needs);
    let mut places = vec![0; order.len()];
    order.iter().enumerate().for_each(|(place, at)| places[*at] = place);
    let mut works: Vec<Option<Work>> = works.into_iter().map(Some).collect();
    let mut sorted: Vec<Work> = order.iter().filter_map(|at| works[*at].take()).collect();
    for work in &mut sorted {
        work.needs.iter_mut().for_each(|need| *need = places[*need]);
    }
    sorted
}

/// Refuses two documents about one thing.
fn refuse_twins(documents: &[Document]) -> Result<()> {
    let (mut names, mut numbers) = (HashMap::new(), HashMap::new());
    for document in documents {
        let twin = names.insert((document.noun, &document.metadata.name), &document.place);
        let twin = twin.or_else(|| numbers.insert(document.metadata.vmid?, &document.place));
        if let Some(twin) = twin {
            let text = format!("{}: {} is described twice, also at {twin}", document.place, document.label());
            return Err(Error::usage(text));
        }
    }
    Ok(())
}

/// What a document says of a guest.
fn spec_of(document: &Document) -> Option<&crate::manifest::GuestSpec> {
    match &document.spec {
        Spec::Guest(guest) => Some(guest),
        Spec::Thing(..) => None,
    }
}
