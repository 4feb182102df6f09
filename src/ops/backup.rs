//! Backups of guests: one `vzdump` for each, so that each has a task, a row in the journal and an end of its own.
//!
//! Making guests of backups is in [`restore`](super::restore), the archives themselves are volumes of storages.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures_util::future::{join, join_all};
use serde_json::Value;
use tokio::{sync::Mutex, time::timeout};

use super::{
    Ops, Power, Resolved, Status,
    params::{Beyond, check_params},
    plan::Plan,
    recorded::Ending,
    snapshot::{refuse_locked, refused},
    stored::{Stored, choose},
    verbs::BACKUP,
};
use crate::{
    backends::{Action, Step},
    model::{ConfigView, GuestConfig, GuestKind, NodeName, Params, Result, Storage, Vmid, Volume},
};

/// The sort of content that backups are.
pub const BACKUPS: &str = "backup";

/// How backups are made.
#[derive(Debug, Clone, Default)]
pub struct BackupRequest {
    /// The parameters of `vzdump`, by PVE's names, without the guest.
    pub params: Params,
    /// What is sent unchecked.
    pub forced: Params,
}

/// What backups of several guests have in common: the storages of their nodes, and whose turn it is on each node.
#[derive(Debug, Default)]
pub struct BackupPlaces(BTreeMap<NodeName, OfNode>);

/// A node's storages, where they could be read, and its turns.
type OfNode = (Option<Vec<Storage>>, Arc<Mutex<()>>);

impl BackupRequest {
    /// Checks the parameters, before anything is asked of a server.
    ///
    /// # Errors
    /// [`Class::Usage`](crate::model::Class::Usage), naming what is wrong.
    pub fn check(&self) -> Result<()> {
        let params = self.params.clone();
        // Some are only right beside a storage, and the one that is chosen later will do.
        let params = if params.get("storage").is_none() { params.with("storage", "local") } else { params };
        let beyond = Beyond { forced: self.forced.clone(), described: None };
        check_params(GuestKind::Qemu, Action::Backup, params, &beyond).map(drop)
    }
}

impl Ops {
    /// Looks at the nodes of guests that are to be backed up, once for all.
    pub async fn backup_places(&self, found: &[Resolved]) -> BackupPlaces {
        let mut nodes: Vec<&NodeName> = found.iter().map(|found| &found.guest.node).collect();
        nodes.sort();
        nodes.dedup();
        let read = nodes.into_iter().map(async |node| {
            // Why it cannot be read is told of each guest.
            let storages = self.backend().storages(node).await.ok();
            (node.clone(), (storages, Arc::default()))
        });
        BackupPlaces(join_all(read).await.into_iter().collect())
    }

    /// Plans a backup of a guest.
    ///
    /// # Errors
    /// [`Class::Conflict`](crate::model::Class::Conflict) for a locked guest; see
    /// [`storage_for`](Self::storage_for) for the storage.
    pub async fn plan_backup(&self, found: &Resolved, request: &BackupRequest, places: &BackupPlaces) -> Result<Plan> {
        let (mut plan, guest) = self.begin(BACKUP, Action::Backup, found)?;
        let place = places.0.get(&guest.node);
        let storages = match place.and_then(|(storages, _)| storages.clone()) {
            Some(storages) => storages,
            None => self.backend().storages(&guest.node).await?,
        };
        let storage = choose(&guest.node, storages, BACKUPS, request.params.get("storage"))?;
        let (config, status) =
            join(self.backend().guest_config(&guest, ConfigView::Current), self.backend().guest_status(&guest)).await;
        let (config, status) = (config?, status?);
        refuse_locked(&plan, &config)?;
        let mut params = request.params.clone();
        if params.get("storage").is_none() {
            plan.notes.push(format!("goes to storage `{}`", storage.storage));
            params.push("storage", &storage.storage);
        }
        // What somebody makes by hand takes nothing away that others rely on.
        if params.get("remove").is_none() && params.get("prune-backups").is_none() {
            params.push("remove", 0);
        }
        let is_server = storage.kind == "pbs";
        if params.get("compress").is_none() && !is_server {
            params.push("compress", "zstd");
        }
        let runs = Power::of(&status) != Power::Stopped;
        match params.get("mode") {
            Some("stop") if runs => plan.warnings.push("it is shut down for the backup, and started again".into()),
            Some("suspend") if runs => plan.warnings.push("it stands still for some of the backup".into()),
            _ => {}
        }
        if config.disks().is_empty() && guest.kind == GuestKind::Lxc {
            return Err(refused(&plan, "it has no disk"));
        }
        plan.warnings.extend(left_out(guest.kind, &config));
        let beyond = Beyond { forced: request.forced.clone(), described: None };
        let params = check_params(guest.kind, Action::Backup, params, &beyond)?;
        plan.steps.push(Step::new(Action::Backup, guest).with_params(params));
        plan.turns = place.map(|(_, turns)| turns.clone());
        Ok(plan)
    }
}

/// How many lines of a task's log are looked at for the archive: it is named before its data.
const LINES: u64 = 500;
/// How long they are waited for.
const PATIENCE: Duration = Duration::from_secs(5);

impl Ops {
    /// The volume that a backup has made, if its task's log tells.
    pub(super) async fn volume_made(&self, plan: &Plan, ending: &Ending) -> Option<String> {
        let upid = ending.upid.as_ref().filter(|_| plan.words == BACKUP)?;
        if !matches!(ending.status, Status::Ok | Status::Warning) {
            return None;
        }
        let storage = plan.steps.first()?.params.get("storage")?;
        let page = timeout(PATIENCE, self.backend().task_log(upid, 0, LINES)).await.ok()?.ok()?;
        page.lines.iter().find_map(|line| archive_of(&line.t)).map(|name| format!("{storage}:backup/{name}"))
    }
}

/// The archive that a line of a backup's log names: `INFO: creating vzdump archive '/var/lib/vz/dump/vzdump-qemu-100-….vma.zst'`,
/// or `… Proxmox Backup Server archive 'vm/100/2026-11-20T11:37:01Z'`.
fn archive_of(line: &str) -> Option<&str> {
    let named = line.strip_prefix("INFO: creating ")?.split_once("archive '")?.1.strip_suffix('\'')?;
    // A file is a volume by its name alone.
    let name = if named.starts_with('/') { named.rsplit('/').next()? } else { named };
    Some(name).filter(|name| !name.is_empty())
}

/// Why a backup failed, as a line of its task's log tells: `ERROR: Backup of VM 100 failed - …`.
pub(super) fn why_of_backup(line: &str) -> Option<&str> {
    Some(line.strip_prefix("ERROR: Backup of ")?.split_once(" failed - ")?.1.trim())
}

/// The disks that are in no backup, in words.
fn left_out(kind: GuestKind, config: &GuestConfig) -> Option<String> {
    let mut out = Vec::new();
    for (key, disk) in config.disks() {
        let wanted = disk.get("backup");
        let is_out = match kind {
            GuestKind::Qemu => wanted == Some("0") && disk.get("media") != Some("cdrom"),
            // The root disk always is, others only where that is said.
            GuestKind::Lxc => key.starts_with("mp") && wanted != Some("1"),
        };
        if is_out && !key.starts_with("unused") {
            out.push(key);
        }
    }
    let why = if kind == GuestKind::Qemu { "backup=0" } else { "without backup=1" };
    (!out.is_empty()).then(|| format!("not in the backup: {} ({why})", out.join(", ")))
}

impl Stored {
    /// Of what sort of guest a backup is.
    pub fn backup_kind(&self) -> Option<GuestKind> {
        let Volume { volid, other, .. } = &self.volume;
        let told = other.get("subtype").and_then(Value::as_str);
        let named = || {
            let marks = [("vzdump-qemu-", "qemu"), ("/vm/", "qemu"), ("vzdump-lxc-", "lxc"), ("/ct/", "lxc")];
            marks.into_iter().find(|(mark, _)| volid.contains(mark)).map(|(_, kind)| kind)
        };
        let kind = told.or_else(named)?;
        GuestKind::ALL.into_iter().find(|all| all.api() == kind)
    }

    /// The guest that a backup is of.
    pub fn backup_of(&self) -> Option<Vmid> {
        self.volume.vmid
    }

    /// Whether it is kept from being removed.
    pub fn is_protected(&self) -> bool {
        let protected = self.volume.other.get("protected").and_then(super::plain);
        protected.is_some_and(|protected| protected != "0" && !protected.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_log_tells_what_was_made_and_why_nothing_was() {
        for (line, name) in [
            (
                "INFO: creating vzdump archive '/var/lib/vz/dump/vzdump-lxc-200-2026_11_20-11_37_06.tar.zst'",
                Some("vzdump-lxc-200-2026_11_20-11_37_06.tar.zst"),
            ),
            (
                "INFO: creating Proxmox Backup Server archive 'vm/100/2026-11-20T11:37:01Z'",
                Some("vm/100/2026-11-20T11:37:01Z"),
            ),
            ("INFO: creating vzdump archive ''", None),
            ("INFO: archive file size: 1.00GB", None),
        ] {
            assert_eq!(archive_of(line), name, "{line}");
        }
        let why = why_of_backup("ERROR: Backup of VM 100 failed - VM is locked (snapshot)");
        assert_eq!(why, Some("VM is locked (snapshot)"));
        assert_eq!(why_of_backup("INFO: Failed at 2026-11-20 11:37:01"), None);
    }

    #[test]
    fn disks_that_are_in_no_backup_are_named() {
        let config = |value: Value| -> GuestConfig { serde_json::from_value(value).unwrap() };
        let vm = config(json!({
            "scsi0": "local-lvm:vm-100-disk-0,size=8G", "scsi1": "local-lvm:vm-100-disk-1,backup=0,size=8G",
            "ide2": "local:iso/a.iso,media=cdrom,backup=0", "unused0": "local-lvm:vm-100-disk-3",
        }));
        assert_eq!(left_out(GuestKind::Qemu, &vm).unwrap(), "not in the backup: scsi1 (backup=0)");
        let container = config(json!({
            "rootfs": "local-lvm:vm-110-disk-0,size=4G", "mp0": "local-lvm:vm-110-disk-1,mp=/srv",
            "mp1": "local-lvm:vm-110-disk-2,mp=/data,backup=1",
        }));
        assert_eq!(left_out(GuestKind::Lxc, &container).unwrap(), "not in the backup: mp0 (without backup=1)");
        assert_eq!(left_out(GuestKind::Qemu, &config(json!({"scsi0": "a:b"}))), None);
    }

    /// A guest that moved away meanwhile: the node says OK and does nothing, which must not look like a backup.
    #[tokio::test]
    async fn a_backup_that_nobody_makes_is_refused() {
        use crate::{
            backends::{Backend, Proxmox},
            client::{Auth, Client, Endpoint},
            model::{Class, GuestRef},
        };
        use wiremock::{Mock, MockServer, ResponseTemplate, matchers::any};

        let server = MockServer::start().await;
        let answer = ResponseTemplate::new(200).set_body_json(json!({"data": "OK"}));
        Mock::given(any()).respond_with(answer).mount(&server).await;
        let auth = Auth::Token { id: "root@pam!x".into(), secret: "x".into() };
        let endpoint = Endpoint::parse(&server.uri()).unwrap();
        let backend = Proxmox::new(Client::builder().endpoint(endpoint).auth(auth).build().unwrap());
        let guest =
            GuestRef { kind: GuestKind::Qemu, vmid: Vmid::new(100).unwrap(), node: NodeName::new("pve1").unwrap() };
        let error = backend.submit(&Step::new(Action::Backup, guest)).await.unwrap_err();
        assert_eq!(error.class(), Class::Conflict);
        assert!(error.message().contains("nothing was backed up"), "{error}");
    }

    #[test]
    fn a_backup_tells_what_it_is_of() {
        let stored = |row: Value| Stored {
            node: NodeName::new("pve1").unwrap(),
            storage: "local".into(),
            shared: false,
            volume: serde_json::from_value(row).unwrap(),
        };
        for (row, kind, protected) in [
            (json!({"volid": "dir1:backup/vzdump-lxc-200-x.tar.zst", "subtype": "lxc"}), Some(GuestKind::Lxc), false),
            (json!({"volid": "dir1:backup/vzdump-qemu-1-x.vma", "protected": 1}), Some(GuestKind::Qemu), true),
            (json!({"volid": "pbs:backup/ct/100/2026-11-20T11:37:01Z", "protected": "0"}), Some(GuestKind::Lxc), false),
            (json!({"volid": "dir1:backup/other.tar", "protected": true}), None, true),
        ] {
            let stored = stored(row);
            assert_eq!((stored.backup_kind(), stored.is_protected()), (kind, protected), "{}", stored.volume.volid);
        }
    }
}
