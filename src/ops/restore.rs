//! Guests made of backups: under a new number, or in the place of one that is there.
//!
//! What the archive has is read before: its configuration tells which storages and how much room it wants.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{
    MemoryClaim, Ops, Power,
    loss::disk_losses,
    params::{Beyond, check_params},
    place::content_of,
    plan::{Plan, refuse_locked},
    stored::{Stored, choose},
    verbs::RESTORE,
};
use crate::{
    backends::{Action, Step},
    model::{Class, Error, Guest, GuestConfig, GuestKind, GuestRef, Hint, NodeName, Params, Result, Storage, Vmid},
};

/// A guest to be made of a backup.
#[derive(Debug, Clone)]
pub struct RestoreRequest {
    /// The backup.
    pub backup: Stored,
    /// The number; the next free one if none is given, or with `overwrite` that of the backup's guest.
    pub vmid: Option<Vmid>,
    /// Whether a guest of that number is replaced.
    pub overwrite: bool,
    /// The node; the one that has the backup if none is given.
    pub node: Option<NodeName>,
    /// Where all disks go; where they were if nothing is said.
    pub storage: Option<String>,
    /// Start it afterwards.
    pub start: bool,
    /// What else the server is told, by PVE's names.
    pub params: Params,
    /// What is sent unchecked.
    pub forced: Params,
}

/// What a guest has of which its configuration says nothing.
const DEFAULT_MEMORY: u64 = 512;

impl Ops {
    /// The configuration in a backup.
    ///
    /// # Errors
    /// Whatever the server says.
    pub async fn backup_config(&self, backup: &Stored) -> Result<GuestConfig> {
        let params = Params::new().with("node", &backup.node).with("volume", &backup.volume.volid);
        let text = self.read_at("/nodes/{node}/vzdump/extractconfig", params).await?;
        Ok(config_of(text.as_str().unwrap_or_default()))
    }

    /// Plans to make a guest of a backup.
    ///
    /// # Errors
    /// [`Class::Conflict`] when the number is taken, or the guest in the way is protected, locked or on;
    /// [`Class::Usage`] for storages that take no disks; [`Class::NotFound`] for nodes and storages that are not there.
    pub async fn plan_restore(&self, request: &RestoreRequest) -> Result<Plan> {
        let backup = &request.backup;
        let volid = &backup.volume.volid;
        let kind = backup
            .backup_kind()
            .ok_or_else(|| Error::usage(format!("{volid} does not tell whether it is of a vm or a container")))?;
        self.backend().capabilities().require(kind, Action::Restore)?;
        let is_live = request.params.get("live-restore").is_some_and(|live| live == "1");
        if is_live && !is_of_server(volid) {
            let text =
                format!("{volid} is a file, and only from a Proxmox Backup Server a VM runs while it is restored");
            return Err(Error::usage(text).with_hint(Hint::Text("leave --live-restore out, and give --start".into())));
        }
        let number = if request.overwrite { request.vmid.or(backup.backup_of()) } else { request.vmid };
        let guests = self.guests().await?;
        let there = guests.iter().find(|guest| Some(guest.vmid) == number);
        if let Some(there) = there.filter(|there| !request.overwrite || there.kind != kind) {
            return Err(taken(there, kind, request.overwrite));
        }
        let node = self.node_for(request, there).await?;
        let config = self.backup_config(backup).await?;
        let storages = self.backend().storages(&node).await?;
        let mut params = request.params.clone();
        let name = params.get(kind.name_key()).map(str::to_owned).or_else(|| config.text(kind.name_key()));
        let storage = match &request.storage {
            Some(named) => Some(choose(&node, storages.clone(), content_of(kind), Some(named))?.storage),
            None => where_it_was(kind, &config, &node, &storages)?,
        };
        match kind {
            GuestKind::Qemu => params.push("archive", volid),
            GuestKind::Lxc => {
                params.push("restore", 1);
                params.push("ostemplate", volid);
            }
        }
        params.extend(storage.as_ref().map(|storage| ("storage", storage)));
        let vmid = self.vmid(number, &[]).await?;
        let guest = GuestRef { kind, vmid, node };
        let mut plan = Plan::new(RESTORE, volid.clone(), guest.clone(), name);
        plan.claims.room = room(&config, storage.as_deref());
        if let Some(there) = there {
            self.replace(&mut plan, there).await?;
            params.push("force", 1);
        } else if request.overwrite {
            plan.notes.push(format!("there is no {kind} {vmid} that would be overwritten"));
        }
        if let Some(name) = &plan.name
            && let Some(twin) = guests.iter().find(|one| one.name.as_ref() == Some(name) && one.vmid != vmid)
        {
            plan.notes.push(format!("{} {} is called `{name}` too", twin.kind, twin.vmid));
        }
        if there.is_none()
            && params.get("unique").is_none()
            && guests.iter().any(|one| Some(one.vmid) == backup.backup_of())
        {
            let of = backup.backup_of().map_or_else(String::new, |vmid| vmid.to_string());
            plan.warnings.push(format!("{of} is there too, with the same MAC addresses: --unique gives new ones"));
        }
        // The number is only given to the check here: a step has it.
        let beyond = Beyond { forced: request.forced.clone(), described: None };
        let mut params = check_params(kind, Action::Restore, params.with("vmid", vmid), &beyond)?;
        params.remove("vmid");
        plan.vmid_is_free_choice = number.is_none();
        plan.steps.push(Step::new(Action::Restore, guest.clone()).with_params(params));
        if request.start {
            let memory = config.text("memory").and_then(|memory| memory.parse().ok()).unwrap_or(DEFAULT_MEMORY);
            plan.claims.memory = Some(MemoryClaim::starting(memory << 20));
            plan.steps.push(Step::new(Action::Start, guest));
        }
        Ok(plan)
    }

    /// Where it is made: a guest is replaced where it is, and a backup read where it is.
    async fn node_for(&self, request: &RestoreRequest, there: Option<&Guest>) -> Result<NodeName> {
        let backup = &request.backup;
        let wanted = match (there, &request.node) {
            (Some(there), Some(node)) if there.node != *node => {
                let text = format!("{} {} is on {}, not on {node}", there.kind, there.vmid, there.node);
                return Err(
                    Error::conflict(text).with_hint(Hint::Text("it is replaced where it is: leave --node out".into()))
                );
            }
            (Some(there), _) => &there.node,
            (None, Some(node)) => node,
            (None, None) => &backup.node,
        };
        if *wanted != backup.node && !backup.shared {
            let text = format!(
                "{} is on {} alone (storage `{}` is not shared), and {wanted} cannot read it",
                backup.volume.volid, backup.node, backup.storage
            );
            return Err(Error::conflict(text).with_hint(Hint::Text(format!(
                "restore it on {}, under another number, or take a backup in a storage that both have",
                backup.node
            ))));
        }
        let node = self.require_node(wanted.as_str()).await?;
        if !node.is_online() {
            return Err(Error::new(Class::Unreachable, format!("node {wanted} is {}", node.status))
                .with_hint(Hint::NodeAway(wanted.to_string())));
        }
        Ok(wanted.clone())
    }

    /// Refuses what must not be replaced, and tells what is lost with the rest.
    async fn replace(&self, plan: &mut Plan, there: &Guest) -> Result<()> {
        let guest = there.reference();
        let (loss, power, config) = self.loss(&guest).await?;
        let label = there.label();
        let refuse = |why: String| Error::conflict(format!("cannot restore over {guest} ({label}): {why}"));
        if config.is_protected() {
            let hint = format!(
                "take the protection away first: pvectl {} update {} --set protection=0",
                guest.kind, guest.vmid
            );
            return Err(refuse("it is protected".into()).with_hint(Hint::Text(hint)));
        }
        refuse_locked(plan, &config)?;
        if matches!(power, Power::Running | Power::Paused) {
            let hint = format!("stop it first: pvectl {} stop {}", guest.kind, guest.vmid);
            return Err(refuse(format!("it is {power}")).with_hint(Hint::Text(hint)));
        }
        plan.notes.push(format!("replaces {} `{label}`", guest.kind));
        plan.loss = Some(loss);
        plan.config_before = Some(config);
        Ok(())
    }
}

/// Whether a backup is in a Proxmox Backup Server: `STORAGE:backup/vm/100/2026-11-20T11:37:01Z`.
fn is_of_server(volid: &str) -> bool {
    let name = volid.split_once(":backup/").map_or("", |(_, name)| name);
    ["vm/", "ct/"].iter().any(|kind| name.starts_with(kind))
}

fn taken(there: &Guest, kind: GuestKind, overwrite: bool) -> Error {
    let text = format!("VMID {} is taken by {} `{}` on {}", there.vmid, there.kind, there.label(), there.node);
    let hint = match (overwrite, there.kind == kind) {
        (true, _) => format!("a {kind} does not replace a {}: give another --vmid", there.kind),
        (false, true) => "leave --vmid out to take the next free one, or give --overwrite to replace it".to_owned(),
        (false, false) => "leave --vmid out to take the next free one".to_owned(),
    };
    Error::conflict(text).with_hint(Hint::Text(hint))
}

/// The storages that disks were in, checked against those of the node. A VM's disks go there by themselves; all of a
/// container's go to one, which the server takes to be `local` unless it is told.
fn where_it_was(
    kind: GuestKind,
    config: &GuestConfig,
    node: &NodeName,
    storages: &[Storage],
) -> Result<Option<String>> {
    let mut first = None;
    for disk in disk_losses(config).into_iter().filter(|disk| disk.size.is_some()) {
        let Some((name, _)) = disk.volume.split_once(':') else { continue };
        if config.text(&disk.key).is_some_and(|value| value.contains("media=cdrom") && !value.contains("cloudinit")) {
            continue;
        }
        choose(node, storages.to_vec(), content_of(kind), Some(name)).map_err(|error| {
            error
                .context(format!("{} of the backup was in `{name}`", disk.key))
                .with_hint(Hint::Text("say where its disks go: --storage STORAGE".into()))
        })?;
        if first.is_none() || disk.key == "rootfs" {
            first = Some(name.to_owned());
        }
    }
    Ok(first.filter(|_| kind == GuestKind::Lxc))
}

/// What its disks take, by storage.
fn room(config: &GuestConfig, storage: Option<&str>) -> Vec<(String, u64)> {
    let mut room = BTreeMap::new();
    for disk in disk_losses(config) {
        let was = disk.volume.split_once(':').map(|(storage, _)| storage);
        let is_medium = config.text(&disk.key).is_some_and(|value| value.contains("media=cdrom"));
        let (Some(storage), Some(size), false) = (storage.or(was), disk.size, is_medium) else { continue };
        *room.entry(storage.to_owned()).or_insert(0) += size.0;
    }
    room.into_iter().collect()
}

/// A configuration file as a map: what is above its snapshots and what waits.
fn config_of(text: &str) -> GuestConfig {
    let lines = text.lines().take_while(|line| !line.starts_with('['));
    let pairs = lines.filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(':'));
    let map: Map<String, Value> = pairs.map(|(key, value)| (key.trim().to_owned(), value.trim().into())).collect();
    GuestConfig(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "#a description: in words\nboot: order=scsi0\nmemory: 2048\nname: web-1\n\
        net0: virtio=BC:24:11:00:00:01,bridge=vmbr0\nscsi0: local-lvm:vm-100-disk-0,size=16G\n\
        ide2: local:iso/debian.iso,media=cdrom,size=600M\n#qmdump#map:scsi0:drive-scsi0:local-lvm:raw:\n\
        \n[before]\nmemory: 1024\n";

    #[test]
    fn the_configuration_ends_where_snapshots_begin() {
        let config = config_of(FILE);
        assert_eq!(config.text("memory").as_deref(), Some("2048"));
        assert_eq!(config.text("net0").as_deref(), Some("virtio=BC:24:11:00:00:01,bridge=vmbr0"));
        assert_eq!(config.0.len(), 6);
        assert_eq!(room(&config, None), [("local-lvm".to_owned(), 16 << 30)]);
        assert_eq!(room(&config, Some("fast")), [("fast".to_owned(), 16 << 30)]);
    }

    #[test]
    fn disks_need_a_storage_that_takes_them() {
        let node = NodeName::new("pve1").unwrap();
        let storage = |name: &str, content: &str| -> Storage {
            let row = serde_json::json!({"storage": name, "type": "dir", "content": content, "active": 1});
            serde_json::from_value(row).unwrap()
        };
        let was = |kind, file: &str, all: &[Storage]| where_it_was(kind, &config_of(file), &node, all);
        let here = [storage("local-lvm", "images,rootdir"), storage("local", "iso,backup")];
        assert_eq!(was(GuestKind::Qemu, FILE, &here).unwrap(), None);
        let container = "rootfs: local-lvm:vm-110-disk-0,size=4G\n";
        assert_eq!(was(GuestKind::Lxc, container, &here).unwrap().as_deref(), Some("local-lvm"));
        let gone = was(GuestKind::Qemu, FILE, &here[1..]).unwrap_err();
        assert_eq!(gone.class(), Class::NotFound);
        assert!(gone.to_string().contains("scsi0 of the backup was in `local-lvm`"), "{gone}");
    }
}
