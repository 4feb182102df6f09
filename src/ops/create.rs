//! Plans for new guests: from nothing, from a VM template, from a container template.
//!
//! Chooses node and VMID where the person did not; never touches an existing guest.

use futures_util::future::try_join_all;

use super::{
    Device, LabelChange, MemoryClaim, Ops, closest,
    params::{Beyond, check_params},
    place::Needs,
    plan::Plan,
    request::settle,
    verbs::CREATE,
};
use crate::{
    backends::{Action, Step},
    model::{
        ConfigView, Error, Guest, GuestConfig, GuestKind, GuestRef, Hint, Node, NodeName, Params, Result, Vmid, Volume,
    },
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
    /// Devices beside those, which get the lowest numbers that are free.
    pub devices: Vec<Device>,
    /// Changes of the tags that it has by `params`, or by its template.
    pub labels: Vec<LabelChange>,
    /// What is let through that the built-in description refuses. Of a clone it is for its configuration.
    pub beyond: Beyond,
}

impl CreateRequest {
    /// A guest of this kind of which nothing is said yet.
    pub const fn new(kind: GuestKind) -> Self {
        Self {
            kind,
            vmid: None,
            node: None,
            template: None,
            full: None,
            start: false,
            check: true,
            params: Params::new(),
            devices: Vec::new(),
            labels: Vec::new(),
            beyond: Beyond { forced: Params::new(), described: None },
        }
    }

    /// Whether a guest with this VMID is to be replaced.
    pub fn overwrites(&self) -> bool {
        self.params.get("force").is_some_and(|force| matches!(force, "1" | "yes" | "true" | "on"))
    }
}

/// Parameters of a create that belong to the clone when a template is cloned.
const CLONE_KEYS: [&str; 5] = ["name", "pool", "storage", "bwlimit", "description"];

/// What a guest has of which nothing is said.
const DEFAULT_MEMORY: u64 = 512 << 20;

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
        self.backend().capabilities().require(request.kind, Action::Create)?;
        request.check()?;
        let guests = self.guests().await?;
        self.plan_create_among(request, taken, &guests).await
    }

    /// The same among these guests: those that there are, and templates that will be there by then.
    pub(super) async fn plan_create_among(
        &self,
        request: &CreateRequest,
        taken: &[Vmid],
        guests: &[Guest],
    ) -> Result<Plan> {
        let kind = request.kind;
        self.backend().capabilities().require(kind, Action::Create)?;
        request.check()?;
        if let Some(vmid) = request.vmid
            && taken.contains(&vmid)
        {
            return Err(Error::usage(format!("VMID {vmid} is asked for twice")));
        }
        let there = guests.iter().find(|guest| Some(guest.vmid) == request.vmid);
        let overwrites = request.overwrites() && there.is_some_and(|there| there.kind == kind);
        if let Some(there) = there.filter(|_| !overwrites) {
            let message =
                format!("VMID {} is taken by {} `{}` on {}", there.vmid, there.kind, there.label(), there.node);
            return Err(
                Error::conflict(message).with_hint(Hint::Text("leave --vmid out to take the next free one".into()))
            );
        }
        let mut overwriting = request.clone();
        let request = match there {
            // The server replaces a guest where it is.
            Some(there) => {
                overwriting.node.get_or_insert_with(|| there.node.clone());
                &overwriting
            }
            None => request,
        };
        let mut plan = match (&request.template, kind) {
            (Some(template), GuestKind::Qemu) => self.plan_from_template(request, template, guests, taken).await?,
            (template, _) => self.plan_new(request, template.as_deref(), taken).await?,
        };
        if let Some(there) = there {
            let (loss, _, config) = self.loss(&there.reference()).await?;
            plan.loss = Some(loss);
            plan.notes.push(format!("replaces {} `{}`", there.kind, there.label()));
            plan.config_before = Some(config);
        }
        plan.vmid_is_free_choice = request.vmid.is_none();
        plan.name = request.params.get(kind.name_key()).map(str::to_owned);
        if let Some(name) = &plan.name
            && let Some(twin) = guests.iter().find(|guest| guest.name.as_ref() == Some(name))
        {
            plan.notes.push(format!("{} {} is called `{name}` too", twin.kind, twin.vmid));
        }
        plan.target = plan.name.clone().unwrap_or_else(|| plan.guest.vmid.to_string());
        if request.start {
            plan.claims.memory.get_or_insert(MemoryClaim::starting(DEFAULT_MEMORY));
            plan.steps.push(Step::new(Action::Start, plan.guest.clone()));
        } else {
            plan.claims.memory = None;
        }
        Ok(plan)
    }

    /// The number asked for, or the next that neither the cluster nor an earlier plan has.
    pub(super) async fn vmid(&self, wanted: Option<Vmid>, taken: &[Vmid]) -> Result<Vmid> {
        if let Some(vmid) = wanted {
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
        let devices = self.with_storage(kind, &request.devices, request.node.as_ref()).await?;
        let settled = settle(kind, &request.params, &devices, &request.labels, &GuestConfig::default(), &[])?;
        let mut params = settled.set;
        let mut eligible = Vec::new();
        if let Some(template) = template {
            let (volume, nodes) = self.os_template(template, request.node.as_ref()).await?;
            params.set("ostemplate", volume);
            eligible = nodes;
        } else if kind == GuestKind::Lxc && params.get("ostemplate").is_none() {
            return Err(Error::usage("a container is made from a template")
                .with_hint(Hint::Text("give --template NAME (debian-12) or --ostemplate VOLUME".into())));
        }
        // The VMID is only known below, and only its presence matters to the check.
        let mut checked = check_params(kind, Action::Create, params.with("vmid", Vmid::MIN), &request.beyond)?;
        checked.remove("vmid");
        let needs = Needs::of(kind, &checked);
        let node = self.place(&needs, request.node.as_ref(), &eligible, request.check).await?;
        let guest = GuestRef { kind, vmid: self.vmid(request.vmid, taken).await?, node };
        let mut plan = Plan::new(CREATE, String::new(), guest.clone(), None);
        plan.claims.memory = needs.memory.map(|memory| MemoryClaim::starting(memory.0));
        plan.steps.push(Step::new(Action::Create, guest).with_params(checked));
        Ok(plan)
    }

    /// A VM as a clone of a template, changed as asked.
    async fn plan_from_template(
        &self,
        request: &CreateRequest,
        template: &str,
        guests: &[Guest],
        taken: &[Vmid],
    ) -> Result<Plan> {
        let source = vm_template(template, guests)?;
        let vmid = self.vmid(request.vmid, taken).await?;
        // What it has from its template is not overwritten by what comes without a number.
        let adds = !request.devices.is_empty() || !request.labels.is_empty();
        let there = match adds {
            true => self.backend().guest_config(&source.reference(), ConfigView::Pending).await?,
            false => GuestConfig::default(),
        };
        let devices = self.with_storage(request.kind, &request.devices, Some(&source.node)).await?;
        let settled = settle(request.kind, &request.params, &devices, &request.labels, &there, &[])?;
        let (of_clone, mut configure) = split_clone(&settled.set);
        let mut clone = Params::new().with("newid", vmid);
        clone.extend(of_clone.iter());
        if !settled.delete.is_empty() {
            configure.push("delete", settled.delete.join(","));
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
        let clone = check_params(GuestKind::Qemu, Action::Clone, clone, &Beyond::default())?;
        let mut plan = Plan::new(CREATE, String::new(), guest.clone(), None);
        let memory = Needs::of(GuestKind::Qemu, &configure).memory.map(|memory| memory.0).or(source.maxmem);
        plan.claims.memory = memory.map(MemoryClaim::starting);
        plan.steps.push(Step::new(Action::Clone, source.reference()).with_params(clone));
        if !configure.is_empty() || !request.beyond.forced.is_empty() {
            let configure = check_params(GuestKind::Qemu, Action::ConfigureInTask, configure, &request.beyond)?;
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

/// What of a create belongs to the clone, and what to the configuration of the copy.
pub(super) fn split_clone(params: &Params) -> (Params, Params) {
    let (mut clone, mut configure) = (Params::new(), Params::new());
    for (key, value) in params.iter() {
        let into = if CLONE_KEYS.contains(&key) { &mut clone } else { &mut configure };
        into.push(key, value);
    }
    (clone, configure)
}

/// The VM template of this name or number.
pub(super) fn vm_template<'a>(name: &str, guests: &'a [Guest]) -> Result<&'a Guest> {
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
pub(super) fn is_of_family(file: &str, name: &str) -> bool {
    file.strip_prefix(name).is_some_and(|rest| rest.starts_with(['-', '_', '.']))
}

/// Sorts `…_12.10-1_…` after `…_12.7-1_…`: runs of digits count as numbers.
pub(super) fn version_key(file: &str) -> Vec<(u64, String)> {
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
