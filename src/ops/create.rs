//! Plans for new guests: from nothing, from a VM template, from a container template.
//!
//! Chooses node and VMID where the person did not; never touches an existing guest.

use futures_util::future::try_join_all;

use super::{Ops, closest, params::check_params, place::Needs, plan::Plan, verbs::CREATE};
use crate::{
    backends::{Action, Step},
    model::{Error, Guest, GuestKind, GuestRef, Hint, Node, NodeName, Params, Result, Vmid, Volume},
};

/// A guest to be.
#[derive(Debug, Clone)]
pub struct CreateRequest {
    /// VM or container.
    pub kind: GuestKind,
    /// Its number; the next free one if none is given.
    pub vmid: Option<Vmid>,
    /// Its node; one with room if none is given.
    pub node: Option<NodeName>,
    /// For a VM the name (or VMID) of the template to clone; for a container the name of an OS template, of which the
    /// newest is taken (`debian-12`), or a whole volume id.
    pub template: Option<String>,
    /// Copy the template's disks whole instead of linking to them. `None` leaves it to the server, which links.
    pub full: Option<bool>,
    /// Start it once it is made.
    pub start: bool,
    /// Check memory and storage before.
    pub check: bool,
    /// Its configuration, by PVE's keys.
    pub params: Params,
}

/// Parameters of a create that belong to the clone when a template is cloned.
const CLONE_KEYS: [&str; 4] = ["pool", "storage", "bwlimit", "description"];

impl Ops {
    /// Plans a new guest.
    ///
    /// `taken` are VMIDs that other plans of the same command already have.
    ///
    /// # Errors
    /// [`Class::Usage`](crate::model::Class::Usage) for keys and values the server would refuse,
    /// [`Class::NotFound`](crate::model::Class::NotFound) for an unknown template or node,
    /// [`Class::Conflict`](crate::model::Class::Conflict) when the VMID is taken or no node has room.
    pub async fn plan_create(&self, request: &CreateRequest, taken: &[Vmid]) -> Result<Plan> {
        let kind = request.kind;
        let guests = self.backend().guests().await?;
        if let Some(vmid) = request.vmid
            && taken.contains(&vmid)
        {
            return Err(Error::usage(format!("VMID {vmid} is asked for twice")));
        }
        if let Some(vmid) = request.vmid
            && let Some(taken) = guests.iter().find(|guest| guest.vmid == vmid)
        {
            let message = format!("VMID {vmid} is taken by {} `{}` on {}", taken.kind, taken.label(), taken.node);
            return Err(
                Error::conflict(message).with_hint(Hint::Text("leave --vmid out to take the next free one".into()))
            );
        }
        let mut plan = match (&request.template, kind) {
            (Some(template), GuestKind::Qemu) => self.plan_clone(request, template, &guests, taken).await?,
            (template, _) => self.plan_new(request, template.as_deref(), taken).await?,
        };
        plan.vmid_is_free_choice = request.vmid.is_none();
        plan.name = request.params.get(kind.name_key()).map(str::to_owned);
        if let Some(name) = &plan.name
            && let Some(twin) = guests.iter().find(|guest| guest.name.as_ref() == Some(name))
        {
            plan.notes.push(format!("{} {} is called `{name}` too", twin.kind, twin.vmid));
        }
        plan.target = plan.name.clone().unwrap_or_else(|| plan.guest.vmid.to_string());
        if request.start {
            plan.steps.push(Step::new(Action::Start, plan.guest.clone()));
        }
        Ok(plan)
    }

    /// The number asked for, or the next that neither the cluster nor an earlier plan has.
    async fn vmid(&self, request: &CreateRequest, taken: &[Vmid]) -> Result<Vmid> {
        if let Some(vmid) = request.vmid {
            return Ok(vmid);
        }
        let first = self.backend().next_vmid().await?;
        if !taken.contains(&first) {
            return Ok(first);
        }
        let guests = self.backend().guests().await?;
        (first.get()..=Vmid::MAX)
            .filter_map(|number| Vmid::new(number).ok())
            .find(|vmid| !taken.contains(vmid) && guests.iter().all(|guest| guest.vmid != *vmid))
            .ok_or_else(|| Error::conflict("no VMID is free"))
    }

    /// A guest from nothing, or a container from an OS template.
    async fn plan_new(&self, request: &CreateRequest, template: Option<&str>, taken: &[Vmid]) -> Result<Plan> {
        let kind = request.kind;
        let mut params = request.params.clone();
        let mut eligible = Vec::new();
        if let Some(template) = template {
            let (volume, nodes) = self.os_template(template, request.node.as_ref()).await?;
            params.set("ostemplate", volume);
            eligible = nodes;
        } else if kind == GuestKind::Lxc && params.get("ostemplate").is_none() {
            return Err(Error::usage("a container is made from a template")
                .with_hint(Hint::Text("give --template NAME (debian-12) or --set ostemplate=VOLUME".into())));
        }
        // The VMID is only known below, and only its presence matters to the check.
        let mut checked = check_params(kind, Action::Create, params.with("vmid", Vmid::MIN))?;
        checked.remove("vmid");
        let needs = Needs::of(kind, &checked);
        let node = self.place(&needs, request.node.as_ref(), &eligible, request.check).await?;
        let guest = GuestRef { kind, vmid: self.vmid(request, taken).await?, node };
        let mut plan = Plan::new(CREATE, String::new(), guest.clone(), None);
        plan.steps.push(Step::new(Action::Create, guest).with_params(checked));
        Ok(plan)
    }

    /// A VM as a clone of a template, changed as asked.
    async fn plan_clone(
        &self,
        request: &CreateRequest,
        template: &str,
        guests: &[Guest],
        taken: &[Vmid],
    ) -> Result<Plan> {
        let source = vm_template(template, guests)?;
        let vmid = self.vmid(request, taken).await?;
        let mut clone = Params::new().with("newid", vmid).with_some("name", request.params.get("name"));
        let mut configure = Params::new();
        for (key, value) in request.params.iter().filter(|(key, _)| *key != "name") {
            let into = if CLONE_KEYS.contains(&key) { &mut clone } else { &mut configure };
            into.push(key, value);
        }
        if let Some(full) = request.full {
            clone.push("full", u8::from(full));
        }
        let mut node = source.node.clone();
        if let Some(target) = request.node.as_ref().filter(|target| **target != source.node) {
            self.place(&Needs::default(), Some(target), &[], request.check).await?;
            clone.push("target", target);
            node = target.clone();
        }
        let guest = GuestRef { kind: GuestKind::Qemu, vmid, node };
        let clone = check_params(GuestKind::Qemu, Action::Clone, clone)?;
        let mut plan = Plan::new(CREATE, String::new(), guest.clone(), None);
        plan.steps.push(Step::new(Action::Clone, source.reference()).with_params(clone));
        if !configure.is_empty() {
            let configure = check_params(GuestKind::Qemu, Action::ConfigureInTask, configure)?;
            plan.steps.push(Step::new(Action::ConfigureInTask, guest).with_params(configure));
        }
        Ok(plan)
    }

    /// The newest OS template of this name, and the nodes that have it.
    async fn os_template(&self, name: &str, node: Option<&NodeName>) -> Result<(String, Vec<NodeName>)> {
        let nodes: Vec<NodeName> = self
            .backend()
            .nodes()
            .await?
            .into_iter()
            .filter(Node::is_online)
            .map(|node| node.node)
            .filter(|have| node.is_none_or(|node| node == have))
            .collect();
        let found: Vec<(NodeName, Volume)> = try_join_all(nodes.iter().map(async |node| -> Result<_> {
            let storages = self.backend().storages(node).await?;
            let holding = storages.iter().filter(|storage| storage.active && storage.holds("vztmpl"));
            let volumes =
                try_join_all(holding.map(|storage| self.backend().volumes(node, &storage.storage, Some("vztmpl"))))
                    .await?;
            Ok(volumes.into_iter().flatten().map(|volume| (node.clone(), volume)).collect::<Vec<_>>())
        }))
        .await?
        .into_iter()
        .flatten()
        .collect();
        let best = found
            .iter()
            .map(|(_, volume)| volume.volid.as_str())
            .filter(|volid| *volid == name || file_name(volid) == name || is_of_family(file_name(volid), name))
            .max_by_key(|volid| version_key(file_name(volid)));
        match best {
            Some(best) => {
                let nodes = found.iter().filter(|(_, volume)| volume.volid == best).map(|(node, _)| node.clone());
                Ok((best.to_owned(), nodes.collect()))
            }
            None => {
                let mut known: Vec<String> =
                    found.iter().map(|(_, volume)| file_name(&volume.volid).to_owned()).collect();
                known.sort();
                known.dedup();
                let place = node.map_or(String::new(), |node| format!(" on node {node}"));
                let error = Error::not_found(format!("no container template matches `{name}`{place}"));
                Err(if known.is_empty() {
                    error.with_hint(Hint::Text("download one first: `pveam download` on a node".into()))
                } else {
                    error.with_hint(Hint::Text(format!("templates here: {}", known.join(", "))))
                })
            }
        }
    }
}

/// The VM template of this name or number.
fn vm_template<'a>(name: &str, guests: &'a [Guest]) -> Result<&'a Guest> {
    let templates: Vec<&Guest> =
        guests.iter().filter(|guest| guest.kind == GuestKind::Qemu && guest.template).collect();
    let is_it = |guest: &&&Guest| guest.name.as_deref() == Some(name) || guest.vmid.to_string() == name;
    let hits: Vec<&Guest> = templates.iter().filter(is_it).copied().collect();
    match hits.as_slice() {
        [template] => Ok(template),
        [] => {
            let names = templates.iter().filter_map(|guest| guest.name.clone());
            let close = closest(name, names.clone());
            let known = names.collect::<Vec<_>>().join(", ");
            let mut error = Error::not_found(format!("no such vm template: `{name}`"));
            if let Some(guest) = guests.iter().find(|guest| guest.name.as_deref() == Some(name)) {
                error = error
                    .with_hint(Hint::Text(format!("{} {} has that name but is no template", guest.kind, guest.vmid)));
            }
            if !close.is_empty() {
                error = error.with_hint(Hint::DidYouMean(close));
            } else if !known.is_empty() {
                error = error.with_hint(Hint::Text(format!("templates here: {known}")));
            }
            Err(error)
        }
        several => {
            let list: Vec<String> = several.iter().map(|guest| format!("{} on {}", guest.vmid, guest.node)).collect();
            Err(Error::usage(format!("the template name `{name}` is ambiguous: {}", list.join(", ")))
                .with_hint(Hint::Text("give its VMID instead".into())))
        }
    }
}

/// `local:vztmpl/debian-12-standard_12.7-1_amd64.tar.zst` → the file.
fn file_name(volid: &str) -> &str {
    volid.rsplit(['/', ':']).next().unwrap_or(volid)
}

/// Whether a file is of a family: `debian-12` names `debian-12-standard_…` and not `debian-120-…`.
fn is_of_family(file: &str, name: &str) -> bool {
    file.strip_prefix(name).is_some_and(|rest| rest.starts_with(['-', '_', '.']))
}

/// Sorts `…_12.10-1_…` after `…_12.7-1_…`: runs of digits count as numbers.
fn version_key(file: &str) -> Vec<(u64, String)> {
    let mut key = Vec::new();
    let mut rest = file;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let number = rest[..digits].parse().unwrap_or(0);
        let words = rest[digits..].find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len() - digits);
        key.push((number, rest[digits..digits + words].to_owned()));
        rest = &rest[digits + words..];
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_of_a_family_wins() {
        let files = [
            "debian-12-standard_12.7-1_amd64.tar.zst",
            "debian-12-standard_12.10-1_amd64.tar.zst",
            "debian-120-standard_1.0_amd64.tar.zst",
            "debian-11-standard_11.7-1_amd64.tar.zst",
        ];
        let best = files.iter().filter(|file| is_of_family(file, "debian-12")).max_by_key(|file| version_key(file));
        assert_eq!(best, Some(&files[1]));
    }
}
