//! Disks that go elsewhere: into another storage, to another guest, or out of use.
//!
//! Nothing here destroys data: a disk that is taken from its guest stays as unused, and a copy that is left behind is
//! only removed where somebody asks for that.

use futures_util::future::try_join_all;

use super::{
    Ops, Resolved, UpdateRequest,
    devices::{Device, number},
    disks::drive,
    params::{Beyond, check_params},
    plan::{Change, Plan, refuse_locked},
    verbs::{DETACH, IMPORT_DISK, MOVE_DISK, Power, REASSIGN},
};
use crate::{
    backends::{Action, Step},
    model::{
        Class, ConfigView, Error, Guest, GuestConfig, GuestKind, GuestRef, Hint, Params, PropertyString, Result, Size,
        is_disk_key,
    },
};

/// A disk that goes into another storage.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MoveDiskRequest {
    /// Its key.
    pub disk: String,
    /// The storage.
    pub storage: String,
    /// What it is to be there, `raw` or `qcow2`; as before if nothing is said.
    pub format: Option<String>,
    /// Whether the old copy is removed, and not kept as unused.
    pub delete: bool,
    /// No faster than so many KiB a second.
    pub bwlimit: Option<u64>,
}

/// A disk that is made from an image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImportRequest {
    /// A volume, or a path on the guest's node.
    pub source: String,
    /// Where the disk goes.
    pub storage: String,
    /// Its key, or only the bus: `scsi1`, `scsi`.
    pub key: String,
    /// What it is to be, `raw` or `qcow2`.
    pub format: Option<String>,
}

fn volume(disk: &PropertyString) -> &str {
    disk.volume().unwrap_or_default()
}

fn size_of(disk: &PropertyString) -> Option<u64> {
    disk.get("size").and_then(|size| size.parse::<Size>().ok()).map(|size| size.0)
}

fn refuse(plan: &Plan, why: impl std::fmt::Display) -> Error {
    Error::conflict(format!("cannot {} {}: {why}", plan.words.act(), plan.label()))
}

fn shut_down(guest: &GuestRef) -> Hint {
    Hint::Text(format!("shut it down first: pvectl {} shutdown {}", guest.kind, guest.vmid))
}

/// A disk of a guest that is one, and no CD-ROM.
fn disk(plan: &Plan, config: &GuestConfig, key: &str) -> Result<PropertyString> {
    let disk = drive(config, key)?;
    if disk.get("media") == Some("cdrom") {
        return Err(refuse(plan, format_args!("{key} is a CD-ROM drive")));
    }
    if !volume(&disk).contains(':') {
        return Err(refuse(plan, format_args!("{key} is {} of its node, and in no storage", volume(&disk))));
    }
    Ok(disk)
}

impl Ops {
    /// The snapshots that have this disk too, under whatever key.
    async fn snapshots_of(&self, guest: &GuestRef, volume_id: &str) -> Result<Vec<String>> {
        let snapshots = self.backend().snapshots(guest).await?;
        let looks = snapshots.into_iter().map(async |snapshot| {
            let config = self.backend().snapshot_config(guest, &snapshot.name).await?;
            let has = config.disks().iter().any(|(_, disk)| volume(disk) == volume_id);
            Ok::<_, Error>(has.then_some(snapshot.name))
        });
        Ok(try_join_all(looks).await?.into_iter().flatten().collect())
    }

    /// Plans to put a disk into another storage. One that is there already needs nothing.
    ///
    /// # Errors
    /// [`Class::NotFound`] for a disk that the guest does not have, [`Class::Conflict`] for one that cannot go now.
    pub async fn plan_move_disk(&self, found: &Resolved, request: &MoveDiskRequest) -> Result<Plan> {
        let guest = found.guest.reference();
        let (action, key_param) = match guest.kind {
            GuestKind::Qemu => (Action::MoveDisk, "disk"),
            GuestKind::Lxc => (Action::MoveVolume, "volume"),
        };
        self.backend().capabilities().require(guest.kind, action)?;
        let mut plan = Plan::new(MOVE_DISK, found.target.clone(), guest.clone(), found.guest.name.clone());
        let config = self.backend().guest_config(&guest, ConfigView::Current).await?;
        refuse_locked(&plan, &config)?;
        let key = request.disk.as_str();
        let found_disk = disk(&plan, &config, key)?;
        if guest.kind == GuestKind::Lxc && key.starts_with("unused") {
            let why = format_args!("{key} is not in use, and of containers only volumes move that are");
            let attach = format!("pvectl container update {} --mp '{},mp=/PATH'", guest.vmid, volume(&found_disk));
            return Err(refuse(&plan, why).with_hint(Hint::Text(format!("give it a place first: {attach}"))));
        }
        let volume_id = volume(&found_disk).to_owned();
        let from = volume_id.split_once(':').map_or("", |(storage, _)| storage);
        let same_format = request.format.as_deref().is_none_or(|format| volume_id.ends_with(&format!(".{format}")));
        if from == request.storage && same_format {
            plan.notes.push(format!("{key} is in storage {from} already"));
            return Ok(plan);
        }
        if guest.kind == GuestKind::Lxc && Power::of(&self.backend().guest_status(&guest).await?) != Power::Stopped {
            return Err(
                refuse(&plan, "it runs, and a container's volumes move while it is off").with_hint(shut_down(&guest))
            );
        }
        let snapshots = self.snapshots_of(&guest, &volume_id).await?;
        match (snapshots.is_empty(), request.delete) {
            (true, _) => {}
            (false, true) => {
                let text = format_args!("{key} has snapshots, which need the old copy: {}", snapshots.join(", "));
                return Err(refuse(&plan, text)
                    .with_hint(Hint::Text("leave --delete out, or delete the snapshots first".to_owned())));
            }
            (false, false) => {
                plan.warnings.push(format!("snapshots stay with the old copy: {}", snapshots.join(", ")));
            }
        }
        plan.changes.push(Change {
            key: key.to_owned(),
            before: Some(volume_id.clone()),
            after: Some(format!("{}:…", request.storage)),
        });
        plan.notes.push(match request.delete {
            true => format!("{volume_id} is removed when the copy is made"),
            false => format!("{volume_id} stays as an unused disk"),
        });
        plan.claims.room.extend(size_of(&found_disk).map(|size| (request.storage.clone(), size)));
        let params = Params::new()
            .with(key_param, key)
            .with("storage", &request.storage)
            .with_some("format", request.format.as_deref())
            .with_flag("delete", request.delete)
            .with_some("bwlimit", request.bwlimit)
            .with_some("digest", config.digest().map(|digest| digest.0));
        let params = check_params(guest.kind, action, params, &Beyond::default())?;
        plan.steps.push(Step::new(action, guest).with_params(params));
        plan.config_before = Some(config);
        Ok(plan)
    }

    /// Plans to take a disk out of use: it stays as `unusedN`.
    ///
    /// # Errors
    /// [`Class::NotFound`] for a disk that is not there, [`Class::Conflict`] for one that would be destroyed or is needed.
    pub async fn plan_detach(&self, found: &Resolved, key: &str) -> Result<Plan> {
        let guest = found.guest.reference();
        let mut plan = Plan::new(DETACH, found.target.clone(), guest.clone(), found.guest.name.clone());
        let config = self.backend().guest_config(&guest, ConfigView::Pending).await?;
        refuse_locked(&plan, &config)?;
        if key.starts_with("unused") && config.0.contains_key(key) {
            plan.notes.push(format!("{key} is not in use"));
            return Ok(plan);
        }
        let found_disk = disk(&plan, &config, key)?;
        if key == "rootfs" {
            return Err(refuse(&plan, "a container cannot be without its rootfs"));
        }
        let plain = self.plan_remove(found, key).await?;
        plan.steps = plain.steps;
        plan.changes = plain.changes;
        plan.config_before = plain.config_before;
        plan.notes.push(format!("{} stays as an unused disk", volume(&found_disk)));
        Ok(plan)
    }

    /// Plans to give a disk to another guest, under this key or the lowest free one.
    ///
    /// # Errors
    /// [`Class::NotFound`] for a disk that is not there, [`Class::Conflict`] where one of both guests does not allow it.
    pub async fn plan_reassign(&self, found: &Resolved, key: &str, to: &Guest, as_key: Option<&str>) -> Result<Plan> {
        let guest = found.guest.reference();
        let (action, names) = match guest.kind {
            GuestKind::Qemu => (Action::MoveDisk, ["disk", "target-disk"]),
            GuestKind::Lxc => (Action::MoveVolume, ["volume", "target-volume"]),
        };
        self.backend().capabilities().require(guest.kind, action)?;
        let mut plan = Plan::new(REASSIGN, found.target.clone(), guest.clone(), found.guest.name.clone());
        if to.vmid == guest.vmid {
            return Err(Error::usage(format!("{} has the disk already", plan.label())));
        }
        if to.node != guest.node {
            let hint = format!("pvectl {} migrate {} {}", guest.kind, to.vmid, guest.node);
            return Err(refuse(
                &plan,
                format_args!("{} is on node {}, and not on {}", to.label(), to.node, guest.node),
            )
            .with_hint(Hint::Text(format!("bring them together first: {hint}"))));
        }
        if found.guest.template || to.template {
            return Err(refuse(&plan, "disks of templates stay where they are"));
        }
        let (config, other) = futures_util::future::try_join(
            self.backend().guest_config(&guest, ConfigView::Current),
            self.backend().guest_config(&to.reference(), ConfigView::Current),
        )
        .await?;
        refuse_locked(&plan, &config)?;
        refuse_locked(&plan, &other)?;
        let found_disk = disk(&plan, &config, key)?;
        if key == "rootfs" {
            return Err(refuse(&plan, "a container cannot be without its rootfs"));
        }
        if !key.starts_with("unused") && Power::of(&self.backend().guest_status(&guest).await?) != Power::Stopped {
            let detach =
                format!("detach it, or shut the guest down: pvectl {} detach {} {key}", guest.kind, guest.vmid);
            return Err(refuse(&plan, format_args!("it runs with {key}")).with_hint(Hint::Text(detach)));
        }
        let volume_id = volume(&found_disk).to_owned();
        let snapshots = self.snapshots_of(&guest, &volume_id).await?;
        if !snapshots.is_empty() {
            return Err(refuse(&plan, format_args!("{key} has snapshots: {}", snapshots.join(", ")))
                .with_hint(Hint::Text(format!("pvectl {} snapshot delete {} …", guest.kind, guest.vmid))));
        }
        let then = match as_key {
            Some(taken) if other.0.contains_key(taken) => {
                return Err(refuse(&plan, format_args!("{} has a {taken} already", to.label())));
            }
            Some(free) => free.to_owned(),
            None => free_key(guest.kind, key, &other)?,
        };
        if guest.kind == GuestKind::Lxc && then == "rootfs" {
            return Err(refuse(&plan, "no container's rootfs comes from another"));
        }
        if guest.kind == GuestKind::Lxc && key.starts_with("unused") && !then.starts_with("unused") {
            let why = format_args!("{key} is not in use, and becomes unused with the other too");
            let out = format!("leave --as out, and put it to use there: pvectl container update {} --mp …", to.vmid);
            return Err(refuse(&plan, why).with_hint(Hint::Text(out)));
        }
        plan.changes.push(Change { key: key.to_owned(), before: Some(volume_id), after: None });
        plan.notes.push(format!("it becomes {then} of {} ({})", to.reference(), to.label()));
        let params = Params::new()
            .with(names[0], key)
            .with("target-vmid", to.vmid)
            .with(names[1], then)
            .with_some("digest", config.digest().map(|digest| digest.0))
            .with_some("target-digest", other.digest().map(|digest| digest.0));
        let params = check_params(guest.kind, action, params, &Beyond::default())?;
        plan.steps.push(Step::new(action, guest).with_params(params));
        plan.config_before = Some(config);
        Ok(plan)
    }

    /// Plans a disk that is made from an image.
    ///
    /// # Errors
    /// [`Class::Forbidden`] for a path by anybody but root, [`Class::Conflict`] for a key that is taken.
    pub async fn plan_import_disk(&self, found: &Resolved, request: &ImportRequest) -> Result<Plan> {
        if self.backend().capabilities().here {
            return Err(Error::usage("disks of this host are not imported, they are files that a VM is given")
                .with_hint(Hint::Text(format!("pvectl vm add disk {} --path FILE", found.guest.vmid))));
        }
        let user = self.backend().user();
        if request.source.starts_with('/') && !user.is_empty() && user != "root@pam" {
            let text = format!("only root@pam may name a path of a node, and not {user}");
            return Err(Error::new(Class::Forbidden, text).with_hint(Hint::Text(
                "put the image into a storage that holds `import`, and name the volume".into(),
            )));
        }
        let config = self.backend().guest_config(&found.guest.reference(), ConfigView::Pending).await?;
        let mut value = format!("{}:0,import-from={}", request.storage, request.source);
        if let Some(format) = &request.format {
            value += &format!(",format={format}");
        }
        let is_whole = request.key.ends_with(|c: char| c.is_ascii_digit());
        if is_whole && config.0.contains_key(&request.key) {
            let text = format!("{} has a {} already", found.guest.label(), request.key);
            return Err(
                Error::conflict(text).with_hint(Hint::Text("name the bus alone to take the next free one".into()))
            );
        }
        let update = match is_whole {
            true => UpdateRequest { set: Params::new().with(&request.key, value), ..UpdateRequest::default() },
            false => {
                let devices = vec![Device { family: request.key.clone(), value }];
                UpdateRequest { devices, ..UpdateRequest::default() }
            }
        };
        self.plan_change(IMPORT_DISK, found, &update).await
    }
}

/// The same key in another guest, or the lowest of its family that is free there.
fn free_key(kind: GuestKind, key: &str, other: &GuestConfig) -> Result<String> {
    if !other.0.contains_key(key) {
        return Ok(key.to_owned());
    }
    let family = key.trim_end_matches(|c: char| c.is_ascii_digit());
    let device = Device { family: family.to_owned(), value: String::new() };
    let taken = |key: &str| other.text(key).filter(|_| is_disk_key(key));
    let numbered = number(kind, &[device], &Params::new(), taken)?;
    let key = numbered.iter().next().map(|(key, _)| key.to_owned());
    key.ok_or_else(|| Error::conflict(format!("the other guest has no {family} free")))
}
