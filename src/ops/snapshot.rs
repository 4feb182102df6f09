//! Snapshots: taken, described, gone back to, removed.
//!
//! What a snapshot is made of is the backend's business; here is what is asked of it, and what is refused before.

use futures_util::future::{try_join, try_join3};

use super::{
    Ops, Resolved, Words, closest,
    loss::{Loss, Since, disk_losses},
    params::{Beyond, check_params},
    plan::{Change, Plan, shown},
    verbs::{DELETE_SNAPSHOT, Power, ROLLBACK, SNAPSHOT, UPDATE_SNAPSHOT},
};
use crate::{
    backends::{Action, Step},
    model::{Class, ConfigView, Error, GuestConfig, GuestKind, GuestRef, Hint, Params, Result, Snapshot},
};

/// Whether a name stands for something else: for the guest as it is, for a section of its configuration, or for what a
/// backup of a container works with.
fn is_reserved(kind: GuestKind, name: &str) -> bool {
    name == "current"
        || match kind {
            GuestKind::Qemu => name.eq_ignore_ascii_case("pending"),
            GuestKind::Lxc => name == "vzdump",
        }
}

/// How to take a snapshot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SnapshotRequest {
    /// Its name: letters, digits, `-` and `_`, the first a letter; at most 40 of them.
    pub name: String,
    /// Keep the memory of a running VM too.
    pub memory: bool,
    /// A text for people.
    pub description: Option<String>,
}

impl SnapshotRequest {
    /// Checks the name, before anything is asked of a server.
    ///
    /// # Errors
    /// [`Class::Usage`], naming what is wrong.
    pub fn check(&self, kind: GuestKind) -> Result<()> {
        self.params(kind).map(drop)
    }

    fn params(&self, kind: GuestKind) -> Result<Params> {
        if is_reserved(kind, &self.name) {
            return Err(Error::usage(format!("unable to use snapshot name '{}' (reserved name)", self.name)));
        }
        let params =
            named(&self.name).with_flag("vmstate", self.memory).with_some("description", self.description.as_deref());
        check_params(kind, Action::Snapshot, params, &Beyond::default())
    }
}

fn named(name: &str) -> Params {
    Params::new().with("snapname", name)
}

impl Ops {
    /// Plans to take a snapshot.
    ///
    /// # Errors
    /// [`Class::Usage`] for a name that cannot be one, [`Class::Conflict`] for a template, a locked guest, or a name that
    /// is taken.
    pub async fn plan_snapshot(&self, found: &Resolved, request: &SnapshotRequest) -> Result<Plan> {
        let (mut plan, guest) = self.begin(SNAPSHOT, Action::Snapshot, found)?;
        let params = request.params(guest.kind)?;
        if found.guest.template {
            return Err(refused(&plan, "it is a template"));
        }
        let backend = self.backend();
        let (status, config, snapshots) = try_join3(
            backend.guest_status(&guest),
            backend.guest_config(&guest, ConfigView::Current),
            backend.snapshots(&guest),
        )
        .await?;
        refuse_locked(&plan, &config)?;
        if snapshots.iter().any(|snapshot| snapshot.name == request.name) {
            return Err(refused(&plan, &format!("snapshot name '{}' already used", request.name)));
        }
        if request.memory && matches!(Power::of(&status), Power::Stopped | Power::Suspended) {
            plan.notes.push("it is stopped: there is no memory to keep".into());
        }
        plan.steps.push(Step::new(Action::Snapshot, guest).with_params(params));
        Ok(plan)
    }

    /// Plans to describe a snapshot in other words.
    ///
    /// # Errors
    /// [`Class::NotFound`] for a snapshot that is not there.
    pub async fn plan_snapshot_update(&self, found: &Resolved, name: &str, description: &str) -> Result<Plan> {
        let (mut plan, guest) = self.begin(UPDATE_SNAPSHOT, Action::SnapshotUpdate, found)?;
        let params = named(name).with("description", description);
        let params = check_params(guest.kind, Action::SnapshotUpdate, params, &Beyond::default())?;
        let snapshot = self.snapshot(&guest, name).await?;
        let before = snapshot.description.filter(|text| !text.is_empty());
        // The server ends each line of a description.
        if before.as_deref().unwrap_or_default().trim_end() == description.trim_end() {
            plan.notes.push("nothing to change".into());
            return Ok(plan);
        }
        let after = Some(description.to_owned()).filter(|text| !text.is_empty());
        plan.changes.push(Change { key: "description".to_owned(), before, after });
        plan.steps.push(Step::new(Action::SnapshotUpdate, guest).with_params(params));
        Ok(plan)
    }

    /// Plans to go back to a snapshot, and lists what will be lost. A guest that runs is stopped by it; it runs afterwards
    /// if `start` says so, or if the snapshot has its memory.
    ///
    /// # Errors
    /// [`Class::NotFound`] for a snapshot that is not there, [`Class::Conflict`] for a locked guest.
    pub async fn plan_rollback(&self, found: &Resolved, name: &str, start: bool) -> Result<Plan> {
        let (mut plan, guest) = self.begin(ROLLBACK, Action::Rollback, found)?;
        let params = named(name).with_flag("start", start);
        let params = check_params(guest.kind, Action::Rollback, params, &Beyond::default())?;
        let backend = self.backend();
        let snapshots = backend.snapshots(&guest).await?;
        let snapshot = named_among(&guest, name, &snapshots)?.clone();
        let (status, config, then) = try_join3(
            backend.guest_status(&guest),
            backend.guest_config(&guest, ConfigView::Current),
            backend.snapshot_config(&guest, name),
        )
        .await?;
        refuse_locked(&plan, &config)?;
        let newer = newer_than(&snapshot, &snapshots);
        if !newer.is_empty() {
            self.refuse_beneath(&plan, &then, &newer).await?;
            plan.notes.push(format!("snapshots that were taken later stay: {}", newer.join(", ")));
        }
        plan.changes = changes(&config, &then);
        let memory = snapshot.has_memory();
        plan.loss = Some(Loss {
            status: Power::of(&status).to_string(),
            // A disk that the snapshot knows nothing of stays, unused.
            disks: disk_losses(&config).into_iter().filter(|disk| then.0.contains_key(&disk.key)).collect(),
            snapshots: Vec::new(),
            since: Some(Since { snapshot: name.to_owned(), taken: snapshot.snaptime, memory }),
        });
        plan.steps.push(Step::new(Action::Rollback, guest).with_params(params));
        plan.config_before = Some(config);
        Ok(plan)
    }

    /// Plans to remove a snapshot; the guest stays as it is, and what was taken later stands on what it stood on.
    ///
    /// # Errors
    /// [`Class::NotFound`] for a snapshot that is not there, [`Class::Conflict`] for a locked guest.
    pub async fn plan_snapshot_delete(&self, found: &Resolved, name: &str, force: bool) -> Result<Plan> {
        let (mut plan, guest) = self.begin(DELETE_SNAPSHOT, Action::SnapshotDelete, found)?;
        let params = named(name).with_flag("force", force);
        let params = check_params(guest.kind, Action::SnapshotDelete, params, &Beyond::default())?;
        let backend = self.backend();
        let snapshot = self.snapshot(&guest, name).await?;
        let (status, config) =
            try_join(backend.guest_status(&guest), backend.guest_config(&guest, ConfigView::Current)).await?;
        refuse_locked(&plan, &config)?;
        let status = Power::of(&status).to_string();
        plan.loss = Some(Loss { status, disks: Vec::new(), snapshots: vec![snapshot.name], since: None });
        plan.steps.push(Step::new(Action::SnapshotDelete, guest).with_params(params));
        Ok(plan)
    }

    /// One snapshot of a guest.
    ///
    /// # Errors
    /// [`Class::NotFound`], with names like it.
    pub async fn snapshot(&self, guest: &GuestRef, name: &str) -> Result<Snapshot> {
        named_among(guest, name, &self.backend().snapshots(guest).await?).cloned()
    }

    /// Refuses to go back beneath newer snapshots where a storage goes back only to the newest.
    async fn refuse_beneath(&self, plan: &Plan, then: &GuestConfig, newer: &[&str]) -> Result<()> {
        // Who may not read what storages are leaves it to the server, which refuses it in the task.
        let Ok(storages) = self.backend().storages(&plan.guest.node).await else { return Ok(()) };
        let stuck = disk_losses(then).into_iter().find_map(|disk| {
            let name = disk.volume.split_once(':')?.0;
            let storage = storages.iter().find(|storage| storage.storage == name)?;
            NEWEST_ONLY.contains(&storage.kind.as_str()).then(|| (disk.key, name.to_owned(), storage.kind.clone()))
        });
        let Some((key, storage, kind)) = stuck else { return Ok(()) };
        let why = format!(
            "{key} is in storage `{storage}` ({kind}), which goes back only to the newest snapshot, and later ones are there: {}",
            newer.join(", ")
        );
        let (noun, vmid) = (plan.guest.kind, plan.guest.vmid);
        let first = newer.first().copied().unwrap_or_default();
        let out = format!("what they keep is lost with them: pvectl {noun} snapshot delete {vmid} {first}");
        Err(refused(plan, &why).with_hint(Hint::Text(out)))
    }

    pub(super) fn begin(&self, words: Words, action: Action, found: &Resolved) -> Result<(Plan, GuestRef)> {
        let guest = found.guest.reference();
        self.backend().capabilities().require(guest.kind, action)?;
        Ok((Plan::new(words, found.target.clone(), guest.clone(), found.guest.name.clone()), guest))
    }
}

/// Types of storage that go back only to the newest snapshot of a disk.
const NEWEST_ONLY: [&str; 3] = ["zfspool", "zfs", "lvm"];

fn named_among<'a>(guest: &GuestRef, name: &str, snapshots: &'a [Snapshot]) -> Result<&'a Snapshot> {
    snapshots.iter().find(|snapshot| snapshot.name == name).ok_or_else(|| {
        let error = Error::not_found(format!("{guest} has no snapshot '{name}'"));
        let close = closest(name, snapshots.iter().map(|snapshot| snapshot.name.clone()));
        match snapshots.is_empty() {
            true => error.with_hint(Hint::Text("it has none at all".into())),
            false => error.did_you_mean(close),
        }
    })
}

/// The names of those taken later than this one, the newest first.
fn newer_than<'a>(one: &Snapshot, all: &'a [Snapshot]) -> Vec<&'a str> {
    // Of one second are two where one stands on the other.
    let stands_on = |other: &Snapshot| {
        let parent_of = |name: &str| all.iter().find(|one| one.name == name).and_then(|one| one.parent.as_deref());
        std::iter::successors(other.parent.as_deref(), |name| parent_of(name))
            .take(all.len())
            .any(|name| name == one.name)
    };
    let is_later =
        |other: &&Snapshot| other.snaptime > one.snaptime || (other.snaptime == one.snaptime && stands_on(other));
    let mut newer: Vec<&Snapshot> = all.iter().filter(is_later).collect();
    newer.sort_by(|a, b| (b.snaptime, &b.name).cmp(&(a.snaptime, &a.name)));
    newer.into_iter().map(|snapshot| snapshot.name.as_str()).collect()
}

/// Puts snapshots in the order of their tree: each behind the one it stands on, the older branch first.
pub fn snapshot_tree(mut snapshots: Vec<Snapshot>) -> Vec<Snapshot> {
    fn visit(parent: Option<&str>, left: &mut Vec<Snapshot>, tree: &mut Vec<Snapshot>) {
        while let Some(at) = left.iter().position(|snapshot| snapshot.parent.as_deref() == parent) {
            let snapshot = left.remove(at);
            let name = snapshot.name.clone();
            tree.push(snapshot);
            visit(Some(&name), left, tree);
        }
    }
    snapshots.sort_by(|a, b| (a.snaptime, &a.name).cmp(&(b.snaptime, &b.name)));
    let mut tree = Vec::with_capacity(snapshots.len());
    visit(None, &mut snapshots, &mut tree);
    // One whose parent is gone is a root too.
    while !snapshots.is_empty() {
        let known = |name: &Option<String>| snapshots.iter().any(|other| name.as_ref() == Some(&other.name));
        let root = snapshots.iter().position(|snapshot| !known(&snapshot.parent)).unwrap_or(0);
        let parent = snapshots[root].parent.clone();
        let snapshot = snapshots.remove(root);
        let name = snapshot.name.clone();
        tree.push(snapshot);
        visit(Some(&name), &mut snapshots, &mut tree);
        visit(parent.as_deref(), &mut snapshots, &mut tree);
    }
    tree
}

/// What a rollback brings of keys: all but what is the snapshot's own, and what stays as it is.
fn changes(now: &GuestConfig, then: &GuestConfig) -> Vec<Change> {
    const STAYS: [&str; 9] =
        ["description", "digest", "lock", "parent", "snapstate", "snaptime", "vmstate", "runningcpu", "runningmachine"];
    let stays = |key: &str| STAYS.contains(&key) || key.starts_with("unused") || key.starts_with("running-");
    let keys: std::collections::BTreeSet<&String> = now.0.keys().chain(then.0.keys()).collect();
    let changes = keys.into_iter().filter(|key| !stays(key) && now.0.get(*key) != then.0.get(*key));
    changes
        .map(|key| Change { key: key.clone(), before: shown(key, now.text(key)), after: shown(key, then.text(key)) })
        .collect()
}

pub(super) fn refused(plan: &Plan, why: &str) -> Error {
    Error::conflict(format!("cannot {} {}: {why}", plan.words.act(), plan.label()))
}

/// Whatever holds a guest holds its snapshots, too.
pub(super) fn refuse_locked(plan: &Plan, config: &GuestConfig) -> Result<()> {
    match config.lock() {
        None => Ok(()),
        Some(lock) => {
            let error = Error::new(Class::Conflict, refused(plan, &format!("it is locked ({lock})")).message());
            Err(match lock.as_str() {
                "suspended" => {
                    let resume = format!("pvectl {} resume {}", plan.guest.kind, plan.guest.vmid);
                    error.with_hint(Hint::Text(format!("its memory is on disk; let it go on first: {resume}")))
                }
                _ => error.with_hint(Hint::Locked(lock)),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn snapshot(name: &str, parent: Option<&str>, snaptime: u64) -> Snapshot {
        Snapshot {
            name: name.to_owned(),
            description: None,
            parent: parent.map(str::to_owned),
            snaptime: Some(snaptime),
            other: serde_json::Map::new(),
        }
    }

    #[test]
    fn each_stands_behind_its_parent() {
        let rows = vec![
            snapshot("c", Some("a"), 3),
            snapshot("a", None, 1),
            snapshot("b", Some("a"), 2),
            snapshot("d", Some("b"), 4),
            snapshot("z", Some("gone"), 0),
            snapshot("y", Some("z"), 9),
        ];
        let names: Vec<String> = snapshot_tree(rows).into_iter().map(|row| row.name).collect();
        assert_eq!(names, ["a", "b", "d", "c", "z", "y"]);
        // A loop is no tree, and no reason to lose a row.
        let rows = vec![snapshot("a", Some("b"), 1), snapshot("b", Some("a"), 2)];
        assert_eq!(snapshot_tree(rows).len(), 2);
    }

    #[test]
    fn later_is_who_was_taken_later_or_stands_on_it() {
        let rows = vec![
            snapshot("a", None, 1),
            snapshot("b", Some("a"), 1),
            snapshot("c", Some("b"), 1),
            snapshot("d", None, 0),
            snapshot("e", Some("d"), 7),
        ];
        assert_eq!(newer_than(&rows[0], &rows), ["e", "c", "b"]);
        assert_eq!(newer_than(&rows[4], &rows), [""; 0]);
    }

    #[test]
    fn a_rollback_changes_what_differs_and_shows_no_password() {
        let config = |value: serde_json::Value| -> GuestConfig { serde_json::from_value(value).unwrap() };
        let now = config(json!({"cores": 2, "description": "now", "digest": "a", "cipassword": "x", "unused0": "l:d"}));
        let then = config(json!({"cores": 1, "description": "then", "snaptime": 7, "cipassword": "y", "name": "old"}));
        let changes = changes(&now, &then);
        let said: Vec<(&str, Option<&str>, Option<&str>)> = changes
            .iter()
            .map(|change| (change.key.as_str(), change.before.as_deref(), change.after.as_deref()))
            .collect();
        let want =
            [("cipassword", Some("***"), Some("***")), ("cores", Some("2"), Some("1")), ("name", None, Some("old"))];
        assert_eq!(said, want);
    }

    #[test]
    fn names_are_checked_as_the_server_does() {
        let check = |name: &str| SnapshotRequest { name: name.into(), ..Default::default() }.check(GuestKind::Qemu);
        check("before-upgrade_2").unwrap();
        let container = |name: &str| SnapshotRequest { name: name.into(), ..Default::default() }.check(GuestKind::Lxc);
        assert!(container("vzdump").is_err() && container("current").is_err());
        container("pending").unwrap();
        check("vzdump").unwrap();
        for wrong in ["current", "Pending", "2nd", "a b", "", "../a", &"a".repeat(41)] {
            assert_eq!(check(wrong).unwrap_err().class(), Class::Usage, "{wrong}");
        }
        let request = SnapshotRequest { name: "a".into(), memory: true, ..Default::default() };
        assert_eq!(request.check(GuestKind::Lxc).unwrap_err().class(), Class::Usage);
    }
}
