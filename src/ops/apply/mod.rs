//! Making documents so: what has to change for each, in which order, and carrying that out.
//!
//! It decides what is to be asked of the planners of single verbs, and has no calls of its own: checks, digests, lost
//! answers and secrets are theirs. How files are read is in `manifest`.

mod asked;
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
mod work;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use self::work::{Stage, in_order};
pub use self::{
    diff::{Difference, Fields, differences},
    effect::Effect,
    run::Made,
    thing::manifest_nouns,
    work::{ApplyPlan, Deed, FieldChange, Work},
};
use futures_util::{StreamExt, TryStreamExt, stream};

use super::{
    Interrupt, Observer, Ops, RunOptions,
    locked::{Next, Waiting, is_refused, no_longer},
};
use crate::{
    backends::TaskQuery,
    manifest::{Document, Spec},
    model::{Applied, Error, Guest, GuestKind, Hint, NodeName, Result, Upid},
    select::LabelSelector,
};

/// How many guests are looked at at once.
const LOOKING: usize = 8;

/// How many running tasks are looked at.
const AT_WORK: u64 = 500;

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
    /// The tasks that are at work on guests of these documents, such as those of an apply that was cut off: what they do is
    /// not to be asked for again, so they are waited for before anything is planned.
    ///
    /// # Errors
    /// Whatever the server says.
    pub async fn at_work(&self, request: &ApplyRequest) -> Result<Vec<Upid>> {
        let guests = self.guests().await?;
        let names = request.documents.iter().filter(|document| document.guest().is_some());
        let names: Vec<_> = names.map(|document| &document.metadata).collect();
        let is_meant = |guest: &&Guest| {
            names.iter().any(|meta| meta.vmid == Some(guest.vmid) || guest.name.as_ref() == Some(&meta.name))
        };
        let meant: BTreeSet<String> = guests.iter().filter(is_meant).map(|guest| guest.vmid.to_string()).collect();
        let (tasks, _) =
            self.backend.tasks_there(&TaskQuery { running: true, limit: AT_WORK, ..TaskQuery::default() }).await?;
        Ok(tasks.into_iter().map(|task| task.upid).filter(|upid| meant.contains(&upid.id)).collect())
    }

    /// Plans to make documents so; while a guest of theirs is locked, again and again for as long as `options` say. What
    /// is locked still is among the refusals of the plan.
    ///
    /// # Errors
    /// As [`plan_apply`](Self::plan_apply).
    pub async fn plan_apply_unlocked(
        &self,
        request: &ApplyRequest,
        options: &RunOptions,
        observer: &dyn Observer,
        interrupt: &Interrupt,
    ) -> Result<ApplyPlan> {
        let mut waiting = Waiting::new(options.wait_lock);
        loop {
            let plan = self.plan_apply(request).await?;
            let locked = plan.works.iter().find_map(|work| {
                let refused = work.refusals.iter().find(|error| is_refused(error))?;
                Some((work.label(), refused))
            });
            let Some((label, refused)) = locked else { return Ok(plan) };
            match waiting.next(refused, &label, observer, interrupt).await {
                Next::Look => {}
                Next::Over => return Ok(plan),
                Next::Interrupted => return Err(no_longer(&label, refused)),
            }
        }
    }

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
        let look = |at: usize| {
            let (view, document) = (&view, &documents[at]);
            async move {
                match self.plan_thing(view, document).await {
                    Err(error) if is_of_one(&error) => Ok((at, refused(view, document, error))),
                    planned => Ok::<_, Error>((at, planned?)),
                }
            }
        };
        let planned: Vec<(usize, Work)> = stream::iter(things).map(look).buffered(LOOKING).try_collect().await?;
        planned.into_iter().for_each(|(at, work)| works[at] = Some(work));
        let missing: Vec<usize> = missing.into_iter().map(|(at, _)| at).collect();
        self.plan_missing(&mut view, &missing, &needs, &mut works).await?;
        let mut works: Vec<Work> = works.into_iter().flatten().collect();
        for (work, needs) in works.iter_mut().zip(needs) {
            work.needs = needs;
        }
        works.extend(self.plan_prune(&view).await?);
        let mut works = in_order(works);
        self.refuse_impossible(&mut works);
        self.check_works(&mut works, request).await;
        Ok(ApplyPlan { works })
    }

    /// Asks the backend for the calls of each plan: what it cannot do stands in the way.
    fn refuse_impossible(&self, works: &mut [Work]) {
        for work in works {
            let refused: Vec<Error> = work.plans().filter_map(|plan| plan.calls(self.backend()).err()).collect();
            let locate = |error: Error| match &work.document {
                Some(document) => document.locate(error),
                None => error,
            };
            let refused = refused.into_iter().map(|error| locate(error).context(work.label())).collect::<Vec<_>>();
            work.refusals.extend(refused);
        }
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
        if let (true, Some(vmid)) = (named.is_empty(), known)
            && let Some(there) = view.guests.iter().find(|guest| guest.kind == kind && guest.vmid.get() == vmid)
        {
            // It was renamed, or its number is another guest's by now: neither a second one nor that one is meant.
            let text =
                format!("{kind}/{vmid}, which was `{name}` when it was applied, is called `{}` now", there.label());
            let way = "say which is meant: metadata.vmid, of that one or, for a new one, a number that is free";
            return Err(document.locate(Error::conflict(text)).with_hint(Hint::Text(way.into())));
        }
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
