//! What was applied before and is in no document any more: its removal.

use super::{ApplyPlan, ApplyRequest, Deed, Pruning, Stage, View, Work, graph::rank, known::Known};
use crate::{
    manifest::Document,
    model::{Applied, Class, Error, GuestKind, Method, Params, Result, Tags},
    ops::{DeleteRequest, Ops, Resolved, resource::resource_named},
};

impl Ops {
    /// Plans the removal of what is in no document, those first that others need not.
    pub(super) async fn plan_prune(&self, view: &View<'_>) -> Result<Vec<Work>> {
        let Some(pruning) = &view.request.prune else { return Ok(Vec::new()) };
        let mut left: Vec<&Applied> = view
            .known
            .values()
            .filter(|known| !is_described(view.request, known) && is_meant(pruning, known))
            .collect();
        left.sort_by(|a, b| {
            rank(&b.kind).cmp(&rank(&a.kind)).then_with(|| (&a.kind, &a.name).cmp(&(&b.kind, &b.name)))
        });
        // What runs is stopped first: that it should be gone has been said.
        let how = DeleteRequest { force: true, ..DeleteRequest::default() };
        let first = view.request.documents.len();
        let mut works: Vec<Work> = Vec::new();
        for applied in left {
            let mut work = match GuestKind::ALL.into_iter().find(|kind| kind.noun() == applied.kind) {
                Some(kind) => self.prune_guest(view, kind, applied, &how).await?,
                None => match self.prune_thing(applied).await? {
                    Some(work) => work,
                    None => continue,
                },
            };
            // Guests leave a pool before it goes.
            let before = works.iter().enumerate().filter(|(_, other)| rank(other.noun) > rank(work.noun));
            work.needs = before.map(|(at, _)| first + at).collect();
            works.push(work);
        }
        Ok(works)
    }

    /// Plans the removal of what documents describe. All of it has to be there.
    ///
    /// # Errors
    /// [`Class::NotFound`] for what is not there; whatever the server says.
    pub async fn plan_unapply(&self, request: &ApplyRequest, how: &DeleteRequest) -> Result<ApplyPlan> {
        super::refuse_twins(&request.documents)?;
        let view = View { request, guests: self.guests().await?.to_vec(), known: self.known_here()? };
        let mut documents: Vec<&Document> = request.documents.iter().collect();
        documents.sort_by_key(|document| std::cmp::Reverse(rank(document.noun)));
        let mut works: Vec<Work> = Vec::new();
        for document in documents {
            let name = document.metadata.name.clone();
            let mut applied = Applied { kind: document.noun.to_owned(), name: name.clone(), ..Applied::default() };
            let mut work = match document.guest() {
                Some(kind) => {
                    let guest = self.find_guest(&view, kind, document)?;
                    let missing = || document.locate(Error::not_found(format!("no such {kind}: `{name}`")));
                    applied.vmid = Some(guest.ok_or_else(missing)?.vmid.get());
                    self.prune_guest(&view, kind, &applied, how).await?
                }
                None => match self.prune_thing(&applied).await? {
                    Some(work) if !work.stages.is_empty() => work,
                    _ => return Err(document.locate(Error::not_found(format!("no such {}: `{name}`", document.noun)))),
                },
            };
            let before = works.iter().enumerate().filter(|(_, other)| rank(other.noun) > rank(work.noun));
            work.needs = before.map(|(at, _)| at).collect();
            works.push(work);
        }
        Ok(ApplyPlan { works })
    }

    async fn prune_guest(
        &self,
        view: &View<'_>,
        kind: GuestKind,
        applied: &Applied,
        how: &DeleteRequest,
    ) -> Result<Work> {
        let mut work = Work::new(kind.noun(), &applied.name, Known::from_kept(Some(applied)));
        work.deed = Deed::Delete;
        let guest = view.guests.iter().find(|guest| guest.kind == kind && Some(guest.vmid.get()) == applied.vmid);
        let Some(guest) = guest else {
            work.notes.push("it is gone already".into());
            return Ok(work);
        };
        (work.vmid, work.node) = (Some(guest.vmid), Some(guest.node.clone()));
        let found = Resolved { guest: guest.clone(), target: applied.name.clone() };
        match self.plan_delete(&found, how).await {
            Ok(plan) => {
                let disks = plan.loss.iter().flat_map(|loss| &loss.disks);
                work.doomed = disks.map(|disk| disk.volume.clone()).collect();
                work.stages.push(Stage::Guest(Box::new(plan)));
            }
            Err(error) if super::is_of_one(&error) => work.refusals.push(error),
            Err(error) => return Err(error),
        }
        Ok(work)
    }

    async fn prune_thing(&self, applied: &Applied) -> Result<Option<Work>> {
        let Some(of) = resource_named(&applied.kind) else { return Ok(None) };
        let mut work = Work::new(of.noun, &applied.name, Known::from_kept(Some(applied)));
        work.deed = Deed::Delete;
        let plan = match self.plan_delete_resource(of, &applied.name, &Params::new()).await {
            Err(error) if error.class() == Class::NotFound => {
                work.notes.push("it is gone already".into());
                return Ok(Some(work));
            }
            // What holds it may go before it; the server has the last word.
            Err(error) if error.class() == Class::Conflict => {
                let (named, none) = (of.named(&applied.name)?, Params::new());
                self.plan_resource_call("delete", of.noun, &applied.name, (Method::Delete, of.one), (named, &none))
                    .await?
            }
            planned => planned?,
        };
        work.notes.extend(plan.notes.iter().chain(&plan.risks).cloned());
        work.stages.push(Stage::Thing(Box::new(plan)));
        Ok(Some(work))
    }
}

/// Whether a document is about it, also one that calls it otherwise.
fn is_described(request: &ApplyRequest, known: &Applied) -> bool {
    request.documents.iter().any(|document| {
        let renamed = document.metadata.vmid.is_some() && document.metadata.vmid.map(|vmid| vmid.get()) == known.vmid;
        document.noun == known.kind && (document.metadata.name == known.name || renamed)
    })
}

/// Whether its labels, as the document had them, are chosen.
fn is_meant(pruning: &Pruning, known: &Applied) -> bool {
    let Pruning::Labels(selectors) = pruning else { return true };
    let kept = Known::from_kept(Some(known));
    let Some(said) = kept.said.last() else { return false };
    let tag = |(field, value): (&String, &String)| {
        let label = field.strip_prefix("labels.")?;
        Some(if value.is_empty() { label.to_owned() } else { format!("{label}.{value}") })
    };
    let tags = Tags::parse(&said.iter().filter_map(tag).collect::<Vec<_>>().join(";"));
    selectors.iter().all(|selector| selector.matches(&tags))
}
