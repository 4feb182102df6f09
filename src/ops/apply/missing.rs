//! A guest that is not there yet, and the one that its document makes.

use std::collections::BTreeSet;

use super::{
    Deed, FieldChange, Stage, View, Work,
    diff::{Difference, Fields},
    effect::Effect,
    existing::only_here,
    fields::{self, by_key},
    is_of_one,
    known::Known,
    refused, spec_of,
};
use crate::{
    backends::{Action, Step},
    manifest::{Document, GuestSpec, State},
    model::{ConfigView, Error, Guest, GuestKind, Hint, Params, Result, Size, Vmid, is_disk_key},
    ops::{CreateRequest, Ops, create::vm_template},
};

/// What of a document is not for the call that makes the guest.
struct Later {
    /// Disks of the template that grow.
    grow: Vec<(String, Size)>,
    /// Whether there is more to be changed once the guest is there.
    again: bool,
}

impl Ops {
    /// Plans the guests that are missing, templates before those that are made from them.
    pub(super) async fn plan_missing(
        &self,
        view: &mut View<'_>,
        missing: &[usize],
        needs: &[Vec<usize>],
        works: &mut [Option<Work>],
    ) -> Result<()> {
        let documents = &view.request.documents;
        let mut taken = BTreeSet::new();
        taken.extend(documents.iter().filter_map(|document| document.metadata.vmid));
        let mut next = None;
        let is_template =
            |document: &&Document| spec_of(document).is_some_and(|spec| spec.state == Some(State::Template));
        // What becomes a template with this is one by the time others are made from it.
        for document in documents.iter().filter(is_template) {
            let Ok(Some(there)) = document.guest().map_or(Ok(None), |kind| self.find_guest(view, kind, document))
            else {
                continue;
            };
            view.guests.iter_mut().filter(|guest| guest.vmid == there.vmid).for_each(|guest| guest.template = true);
        }
        // One that is made from another is planned after it.
        let mut left: Vec<usize> = missing.to_vec();
        while !left.is_empty() {
            let is_free =
                |at: &usize| !needs[*at].iter().any(|need| left.contains(need) && is_template(&&documents[*need]));
            let (free, rest): (Vec<usize>, Vec<usize>) = left.iter().partition(|at| is_free(at));
            if free.is_empty() {
                break;
            }
            for at in free {
                let document = &documents[at];
                let vmid = match document.metadata.vmid {
                    Some(vmid) => Ok(vmid),
                    None => self.next_free(view, &taken, &mut next).await,
                };
                let planned = match vmid {
                    Ok(vmid) => self.plan_new_guest(view, document, vmid).await.map(|work| (work, vmid)),
                    Err(error) => Err(error),
                };
                works[at] = Some(match planned {
                    Ok((work, vmid)) => {
                        taken.insert(vmid);
                        if let (Some(node), Some(kind)) = (&work.node, document.guest()) {
                            let reference = crate::model::GuestRef { kind, vmid, node: node.clone() };
                            let (name, template) = (Some(work.name.clone()), is_template(&&documents[at]));
                            view.guests.push(Guest { name, template, ..Guest::new(reference) });
                        }
                        work
                    }
                    Err(error) if is_of_one(&error) => refused(view, document, document.locate(error)),
                    Err(error) => return Err(error),
                });
            }
            left = rest;
        }
        Ok(())
    }

    /// The next number that nobody has.
    async fn next_free(&self, view: &View<'_>, taken: &BTreeSet<Vmid>, next: &mut Option<u32>) -> Result<Vmid> {
        let first = match *next {
            Some(next) => next,
            None => self.backend().next_vmid().await?.get(),
        };
        let there: BTreeSet<Vmid> = view.guests.iter().map(|guest| guest.vmid).collect();
        let free = (first..=Vmid::MAX)
            .filter_map(|number| Vmid::new(number).ok())
            .find(|vmid| !taken.contains(vmid) && !there.contains(vmid));
        let free = free.ok_or_else(|| Error::conflict("no VMID is free"))?;
        *next = Some(free.get() + 1);
        Ok(free)
    }

    async fn plan_new_guest(&self, view: &View<'_>, document: &Document, vmid: Vmid) -> Result<Work> {
        let (Some(spec), Some(kind)) = (spec_of(document), document.guest()) else {
            return Err(Error::usage("this is no guest"));
        };
        // What is remembered of one that is gone says nothing of the one to be.
        let known = Known::of(document, None);
        let mut work = Work::new(document.noun, &document.metadata.name, known);
        let mut request = self.new_request(view, document, spec, kind)?;
        let template = spec.from.template.as_deref().filter(|_| kind == GuestKind::Qemu);
        let later = match template {
            Some(name) => self.leave_to_template(view, name, &mut request, spec, &work.known.wanted).await?,
            None => Later { grow: Vec::new(), again: false },
        };
        request.vmid = Some(vmid);
        request.start = spec.state == Some(State::Running) && !later.again;
        let mut plan = self.plan_create_among(&request, &[], &view.guests).await?;
        plan.vmid_is_free_choice = document.metadata.vmid.is_none();
        let end = plan.steps.len() - usize::from(request.start);
        for (disk, size) in later.grow.iter().rev() {
            self.backend().capabilities().require(kind, Action::ResizeDisk)?;
            let params = Params::new().with("disk", disk).with("size", size.to_config());
            plan.steps.insert(end, Step::new(Action::ResizeDisk, plan.guest.clone()).with_params(params));
        }
        if spec.state == Some(State::Template) && !later.again {
            self.backend().capabilities().require(kind, Action::Template)?;
            plan.steps.push(Step::new(Action::Template, plan.guest.clone()));
        }
        if later.again {
            let then = match spec.state {
                Some(State::Running) => ", and then it is started",
                Some(State::Template) => ", and then it becomes a template",
                _ => "",
            };
            let note = "what its template's disks are to be beside their size is set once it is there";
            work.notes.push(format!("{note}{then}"));
        }
        (work.vmid, work.node, work.deed) = (Some(vmid), Some(plan.guest.node.clone()), Deed::Create);
        let new = |(field, value): (&String, &String)| FieldChange {
            what: Difference { field: field.clone(), before: None, after: Some(value.clone()), applied: None },
            effect: Effect::Live,
        };
        work.changes = work.known.wanted.iter().map(new).collect();
        work.again = later.again;
        work.document = Some(document.clone());
        work.stages.push(Stage::Guest(Box::new(plan)));
        Ok(work)
    }

    /// What makes the guest, of all that the document says.
    fn new_request(
        &self,
        view: &View<'_>,
        document: &Document,
        spec: &GuestSpec,
        kind: GuestKind,
    ) -> Result<CreateRequest> {
        let here = self.backend().capabilities().here;
        let mut request = CreateRequest::new(kind);
        request.check = !view.request.no_checks;
        request.template.clone_from(&spec.from.template);
        request.full = spec.from.full;
        let node =
            document.metadata.node.as_ref().or(view.request.node.as_ref().filter(|_| spec.from.template.is_none()));
        request.node = node.cloned();
        let fields = fields::spelt(kind, &spec.fields)?;
        for (key, said) in by_key(&fields) {
            match key {
                "labels" => {
                    let tag = |(label, value): (&String, &String)| {
                        if value.is_empty() { label.clone() } else { format!("{label}.{value}") }
                    };
                    request.params.set("tags", said.iter().map(tag).collect::<Vec<_>>().join(";"));
                }
                _ if key.starts_with("x-") && !here => return Err(only_here(key)),
                _ if key.starts_with("x-") => request.beyond.forced.set(key, said.get("").map_or("", String::as_str)),
                _ => request.params.set(key, fields::value(kind, key, &said)),
            }
        }
        for (key, secret) in &spec.secrets {
            request.params.set(key, secret.read()?);
        }
        spec.once.iter().for_each(|(key, value)| request.params.set(key, value));
        match &spec.from.image {
            Some(_) if !here => {
                Err(Error::usage("`from.image` is for VMs of the host that pvectl runs on").with_hint(Hint::Text(
                    "on a cluster a disk is made from an image with `import-from`: see pvectl explain vm.scsi0".into(),
                )))
            }
            Some(image) => {
                request.beyond.forced.set("x-image", image);
                Ok(request)
            }
            None => Ok(request),
        }
    }

    /// Takes out of a request what the template has: its disks are copied, and only grow.
    async fn leave_to_template(
        &self,
        view: &View<'_>,
        name: &str,
        request: &mut CreateRequest,
        spec: &GuestSpec,
        wanted: &Fields,
    ) -> Result<Later> {
        let source = vm_template(name, &view.guests)?;
        let to_be = view.request.documents.iter().find(|document| {
            document.noun == source.kind.noun() && Some(&document.metadata.name) == source.name.as_ref()
        });
        let is_there = self.recent_guests().await?.iter().any(|guest| guest.vmid == source.vmid);
        let there = match (is_there, to_be.and_then(spec_of)) {
            (false, Some(to_be)) => to_be.fields.clone(),
            _ => {
                let config = self.backend().guest_config(&source.reference(), ConfigView::Pending).await?;
                fields::live(source.kind, &config, source, &[])
            }
        };
        let mut later = Later { grow: Vec::new(), again: false };
        let (there, wanted) = (by_key(&there), by_key(wanted));
        for (key, said) in wanted.iter().filter(|(key, _)| is_disk_key(key)) {
            let Some(has) = there
                .get(key)
                .filter(|has| has.get("media").map(String::as_str) != Some("cdrom") || has.contains_key("cloudInit"))
            else {
                continue;
            };
            request.params.remove(key);
            let size = |parts: &std::collections::BTreeMap<String, String>| {
                parts.get("size").and_then(|size| size.parse::<Size>().ok())
            };
            match (size(has), size(said)) {
                (Some(has), Some(said)) if said < has => {
                    let text = format!(
                        "`{key}` of template `{name}` has {has}, and is not made smaller: {said} were asked for"
                    );
                    return Err(Error::usage(text));
                }
                (has, Some(said)) if has != Some(said) => later.grow.push(((*key).to_owned(), said)),
                _ => {}
            }
            match (has.get("storage"), said.get("storage")) {
                (Some(has), Some(said)) if has != said && spec.from.full != Some(true) => {
                    let text = format!("`{key}` is linked to template `{name}` in {has}, and cannot be in {said}");
                    return Err(Error::usage(text).with_hint(Hint::Text("copy it whole: from: { full: true }".into())));
                }
                (Some(has), Some(said)) if has != said => request.params.set("storage", said),
                _ => {}
            }
            let told = ["storage", "size", "volume", "cloudInit"];
            later.again |=
                said.iter().any(|(part, value)| !told.contains(&part.as_str()) && has.get(part) != Some(value));
        }
        Ok(later)
    }
}
