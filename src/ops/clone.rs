//! Copies of guests: `clone`, which never starts, and `cp`, a full copy with a name of its own that does.
//!
//! How disks are copied is the backend's business. A guest that is made from a template by name is a `create`.

use std::collections::BTreeMap;

use super::{
    MemoryClaim, Ops, Resolved,
    loss::disk_losses,
    params::{Beyond, check_params},
    place::Needs,
    plan::{Plan, refuse_locked},
    verbs::{CLONE, COPY, Power},
};
use crate::{
    backends::{Action, Step},
    model::{
        ConfigView, Error, Guest, GuestConfig, GuestKind, GuestRef, Hint, NodeName, Params, PropertyString, Result,
        Vmid, is_disk_key,
    },
};

/// How long a label of a host name may be.
const LABEL: usize = 63;

/// A copy to be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CloneRequest {
    /// Its name. Without, a clone is named by the server, and a copy after its source.
    pub name: Option<String>,
    /// Its number; the next free one if none is given.
    pub vmid: Option<Vmid>,
    /// All data (true) or what differs from a template (false); `None` leaves it to the server, which links to templates
    /// and copies everything else.
    pub full: Option<bool>,
    /// Its node; that of its source if none is given.
    pub target: Option<NodeName>,
    /// Where its disks go; beside those of its source if nothing is said.
    pub storage: Option<String>,
    /// What its disks are to be, `raw` or `qcow2`, in a full clone; as those of its source if nothing is said.
    pub format: Option<String>,
    /// As this snapshot of the source was, not as the source is.
    pub snapshot: Option<String>,
    /// The pool it goes into.
    pub pool: Option<String>,
    /// What it is described as.
    pub description: Option<String>,
    /// Whether it is a copy that starts (`cp`).
    pub start: bool,
}

impl Ops {
    /// Plans a copy of a guest.
    ///
    /// # Errors
    /// [`Class::Conflict`](crate::model::Class::Conflict) for a locked source or a VMID that is taken,
    /// [`Class::NotFound`](crate::model::Class::NotFound) for an unknown node or snapshot,
    /// [`Class::Usage`](crate::model::Class::Usage) for a linked copy of what is no template, and for values that the
    /// server would refuse.
    pub async fn plan_clone(&self, found: &Resolved, request: &CloneRequest) -> Result<Plan> {
        let source = found.guest.reference();
        let kind = source.kind;
        self.backend().capabilities().require(kind, Action::Clone)?;
        let words = if request.start { COPY } else { CLONE };
        let mut plan = Plan::new(words, found.target.clone(), source.clone(), found.guest.name.clone());
        let config = self.backend().guest_config(&source, ConfigView::Current).await?;
        refuse_locked(&plan, &config)?;
        if request.full == Some(false) && !found.guest.template && request.snapshot.is_none() {
            let first = config.disks().into_iter().find(|(_, disk)| disk.get("media") != Some("cdrom"));
            let volume = |disk: &PropertyString| disk.get_or_bare("file").unwrap_or_default().to_owned();
            let (key, volume) = first.map(|(key, disk)| (key, volume(&disk))).unwrap_or_default();
            let text = format!(
                "Linked clone feature is not supported for '{volume}' ({key}): {} is no template",
                plan.label()
            );
            return Err(Error::usage(text).with_hint(Hint::Text(format!(
                "make a full clone, or a template first: pvectl {kind} template {}",
                source.vmid
            ))));
        }
        if !self.backend().capabilities().here {
            self.refuse_clone(&plan, found, request, &config).await?;
        }
        if let Some(name) = &request.snapshot
            && !self.backend().snapshots(&source).await?.iter().any(|snapshot| snapshot.name == *name)
        {
            return Err(Error::not_found(format!("snapshot '{name}' does not exist")));
        }
        let guests = self.guests().await?;
        if let Some(there) = guests.iter().find(|guest| Some(guest.vmid) == request.vmid) {
            let text = format!("VMID {} is taken by {} `{}` on {}", there.vmid, there.kind, there.label(), there.node);
            let hint = "leave --vmid out to take the next free one";
            return Err(Error::conflict(text).with_hint(Hint::Text(hint.to_owned())));
        }
        let name = match (&request.name, request.start) {
            (Some(name), _) => Some(name.clone()),
            (None, true) => Some(name_of_copy(&found.guest, &guests)),
            (None, false) => None,
        };
        let node = match request.target.as_ref().filter(|target| **target != source.node) {
            None => source.node.clone(),
            Some(target) if self.backend().capabilities().here => {
                self.place(&Needs::default(), Some(target), &[], true).await?
            }
            // That it is there was looked at with what the server would refuse.
            Some(target) => target.clone(),
        };
        let vmid = self.vmid(request.vmid, &[]).await?;
        let mut params = Params::new()
            .with("newid", vmid)
            .with_some(kind.name_key(), name.as_deref())
            .with_some("storage", request.storage.as_deref())
            .with_some("format", request.format.as_deref())
            .with_some("snapname", request.snapshot.as_deref())
            .with_some("pool", request.pool.as_deref())
            .with_some("description", request.description.as_deref());
        if let Some(full) = request.full {
            params.push("full", u8::from(full));
        }
        if node != source.node {
            params.push("target", &node);
        }
        let params = check_params(kind, Action::Clone, params, &Beyond::default())?;
        if let Some(name) = &name
            && let Some(twin) = guests.iter().find(|guest| guest.name.as_ref() == Some(name))
        {
            plan.notes.push(format!("{} {} is called `{name}` too", twin.kind, twin.vmid));
        }
        if request.full.unwrap_or(!found.guest.template) {
            plan.claims.room = room_of_copy(&config, request.storage.as_deref());
        }
        plan.guest = GuestRef { kind, vmid, node };
        plan.name = name;
        plan.vmid_is_free_choice = request.vmid.is_none();
        plan.steps.push(Step::new(Action::Clone, source).with_params(params));
        if request.start {
            plan.claims.memory = found.guest.maxmem.map(MemoryClaim::starting);
            plan.steps.push(Step::new(Action::Start, plan.guest.clone()));
        }
        Ok(plan)
    }
}

impl Ops {
    /// Refuses what the server would, before it is asked.
    async fn refuse_clone(
        &self,
        plan: &Plan,
        found: &Resolved,
        request: &CloneRequest,
        config: &GuestConfig,
    ) -> Result<()> {
        let (source, vmid) = (found.guest.reference(), found.guest.vmid);
        let full = request.full.unwrap_or(!found.guest.template);
        let linked = [("storage", &request.storage), ("format", &request.format)];
        if let Some((param, _)) = linked.iter().find(|(_, value)| !full && value.is_some()) {
            let text = format!("--{param} is not for linked clones, whose disks stand beside those of their template");
            return Err(Error::usage(text).with_hint(Hint::Text("give --full to copy all data".into())));
        }
        let cannot = |why: String| Error::conflict(format!("cannot clone {}: {why}", plan.label()));
        if source.kind == GuestKind::Lxc {
            let bound = config.0.keys().filter(|key| key.starts_with("mp") && is_disk_key(key));
            let mut bound = bound.filter(|key| config.text(key).is_some_and(|value| value.starts_with('/')));
            if let Some(key) = bound.next() {
                let out = format!("take it away first: pvectl container remove {vmid} {key}");
                return Err(cannot(format!("{key} is a path of its node")).with_hint(Hint::Text(out)));
            }
            // The cluster's list lags, so the container itself is asked.
            if full && request.snapshot.is_none() {
                let status = self.backend().guest_status(&source).await?;
                if matches!(Power::of(&status), Power::Running | Power::Paused) {
                    let out = format!(
                        "shut it down, or take a snapshot and copy that: pvectl container snapshot create {vmid} copy; \
                         pvectl container clone {vmid} --full --snapname copy"
                    );
                    let why = "it runs, and of a container that runs only a snapshot is copied whole";
                    return Err(cannot(why.into()).with_hint(Hint::Text(out)));
                }
            }
        }
        if let Some(target) = request.target.as_ref().filter(|target| **target != source.node) {
            // That there is such a node is looked at first.
            self.require_aim(target).await?;
            self.refuse_far(&source, target, request, config).await.map_err(|why| {
                let noun = source.kind;
                let way = format!("pvectl {noun} clone {vmid} NAME; pvectl {noun} migrate NAME {target}");
                cannot(why).with_hint(Hint::Text(format!("make it on {} and move it then: {way}", source.node)))
            })?;
        }
        Ok(())
    }

    /// Why a copy cannot come to another node: its disks have to be where both nodes see them.
    async fn refuse_far(
        &self,
        source: &GuestRef,
        target: &NodeName,
        request: &CloneRequest,
        config: &GuestConfig,
    ) -> Result<(), String> {
        // Who may not read them leaves it to the server.
        let Ok(storages) = self.backend().storages(&source.node).await else { return Ok(()) };
        let is_local = |name: &str| storages.iter().any(|storage| storage.storage == name && !storage.shared);
        if let Some(storage) = request.storage.as_deref().filter(|name| is_local(name)) {
            return Err(format!("storage `{storage}` is not shared, and {target} cannot see what is in it"));
        }
        let keys = config.0.keys().filter(|key| is_disk_key(key) && !key.starts_with("unused"));
        for key in keys {
            let value = PropertyString::lenient(&config.text(key).unwrap_or_default());
            let Some((storage, _)) = value.volume().and_then(|volume| volume.split_once(':')) else { continue };
            // A container's copy leaves the storage of its source behind.
            if is_local(storage) && !(source.kind == GuestKind::Lxc && request.storage.is_some()) {
                return Err(format!("{key} is in `{storage}`, which only {} has", source.node));
            }
        }
        Ok(())
    }
}

/// What a copy of all disks takes, by storage.
fn room_of_copy(config: &GuestConfig, storage: Option<&str>) -> Vec<(String, u64)> {
    let mut room = BTreeMap::new();
    for disk in disk_losses(config) {
        let beside = disk.volume.split_once(':').map(|(storage, _)| storage);
        let (Some(storage), Some(size)) = (storage.or(beside), disk.size) else { continue };
        *room.entry(storage.to_owned()).or_insert(0) += size.0;
    }
    room.into_iter().collect()
}

/// `web-copy`, or `web-copy-2` and so on if that is taken.
pub fn name_of_copy(source: &Guest, guests: &[Guest]) -> String {
    let prefix = if source.kind == GuestKind::Qemu { "vm" } else { "ct" };
    let name = source.name.clone().filter(|name| !name.contains(' '));
    let name = name.unwrap_or_else(|| format!("{prefix}-{}", source.vmid));
    // Of a host name the first label names the machine.
    let (host, domain) = name.split_once('.').map_or((name.as_str(), String::new()), |(h, d)| (h, format!(".{d}")));
    (1_u32..)
        .map(|n| if n == 1 { "-copy".to_owned() } else { format!("-copy-{n}") })
        .map(|end| {
            let room = LABEL - end.len();
            let host = host.get(..room).unwrap_or(host).trim_end_matches('-');
            format!("{host}{end}{domain}")
        })
        .find(|name| !guests.iter().any(|guest| guest.name.as_ref() == Some(name)))
        .unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guest(vmid: u32, name: &str) -> Guest {
        let row = serde_json::json!({"vmid": vmid, "name": name, "node": "pve1", "type": "qemu", "status": "stopped"});
        serde_json::from_value(row).unwrap()
    }

    #[test]
    fn copies_are_numbered() {
        let source = guest(100, "web");
        let mut guests = vec![source.clone()];
        for want in ["web-copy", "web-copy-2", "web-copy-3"] {
            let name = name_of_copy(&source, &guests);
            assert_eq!(name, want);
            guests.push(guest(101, &name));
        }
        assert_eq!(name_of_copy(&guest(100, "web.example.org"), &[]), "web-copy.example.org");
        assert_eq!(name_of_copy(&guest(100, "VM 100"), &[]), "vm-100-copy");
        assert_eq!(name_of_copy(&guest(100, &"a".repeat(63)), &[]).len(), 63);
    }
}
