//! What is to be done about one document, and about all of them: values that can be shown before they are carried out.

use serde::Serialize;
use serde_json::{Value, json};

use super::{diff::Difference, effect::Effect, graph, known::Known};
use crate::{
    backends::Backend,
    manifest::Document,
    model::{Call, Error, NodeName, Result, Vmid},
    ops::{Plan, ResourcePlan},
};

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
    pub(super) stages: Vec<Stage>,
    /// The places of the works that come before.
    pub(super) needs: Vec<usize>,
    /// Whether more is to be looked for once this is done.
    pub(super) again: bool,
    /// Its document.
    pub(super) document: Option<Document>,
    /// What is remembered of it, and what will be.
    pub(super) known: Known,
}

impl Work {
    pub(super) fn new(noun: &'static str, name: &str, known: Known) -> Self {
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
        self.each_call(backend, ToString::to_string)
    }

    fn each_call<T>(&self, backend: &dyn Backend, show: impl Fn(&Call) -> T) -> Result<Vec<T>> {
        let mut calls = Vec::new();
        for stage in &self.stages {
            match stage {
                Stage::Guest(plan) => {
                    for step in &plan.steps {
                        calls.push(show(&backend.call(step)?));
                    }
                }
                Stage::Thing(plan) => calls.extend(plan.call.iter().map(|plan| show(&plan.call))),
            }
        }
        Ok(calls)
    }

    /// The work as data, secrets replaced.
    ///
    /// # Errors
    /// When the backend cannot do a step.
    pub fn to_json(&self, backend: &dyn Backend) -> Result<Value> {
        let calls = self.each_call(backend, Call::to_json)?;
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

/// The works in the order in which they are begun.
pub(super) fn in_order(works: Vec<Work>) -> Vec<Work> {
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
