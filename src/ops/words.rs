//! What verbs are called: by name, while they are at work, when they are done. Nothing else is known of them here.

use super::inside::words as inside;

/// What a verb is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Words {
    /// Its name: `start`.
    pub name: &'static str,
    /// While it is at work: `starting`.
    pub present: &'static str,
    /// When it is done: `started`.
    pub past: &'static str,
}

impl Words {
    pub(super) const fn new(name: &'static str, present: &'static str, past: &'static str) -> Self {
        Self { name, present, past }
    }

    /// What is done, before the name of a guest: `start`, `add a device to`.
    pub fn act(&self) -> &'static str {
        match self.name {
            "add" => "add a device to",
            "remove" => "take a device from",
            "backup" => "back up",
            "move-disk" => "move a disk of",
            "detach" => "detach a disk of",
            "reassign" => "give away a disk of",
            "import-disk" => "import a disk for",
            "resize-disk" => "resize a disk of",
            name if inside::ALL.iter().any(|words| words.name == name) => inside::act(name),
            name => name,
        }
    }
}

/// The verb that makes a guest.
pub const CREATE: Words = Words::new("create", "creating", "created");
/// The verb that changes a guest's configuration.
pub const UPDATE: Words = Words::new("update", "updating", "updated");
/// The verb that gives a guest a configuration that it had.
pub const CONFIG_ROLLBACK: Words = Words::new("config-rollback", "changing back", "changed back");
/// The verb that adds a device to a guest.
pub const ADD: Words = Words::new("add", "adding a device to", "changed");
/// The verb that takes a device away from a guest.
pub const REMOVE: Words = Words::new("remove", "taking a device from", "changed");
/// The verb that removes a guest.
pub const DELETE: Words = Words::new("delete", "deleting", "deleted");
/// The verb that makes a disk larger.
pub const RESIZE_DISK: Words = Words::new("resize-disk", "growing a disk of", "has a larger disk");
/// The verb that makes a template of a guest.
pub const TEMPLATE: Words = Words::new("template", "making a template of", "is a template");
/// The verb that makes a guest from another.
pub const CLONE: Words = Words::new("clone", "cloning to", "cloned");
/// The same with all data, a name and a start.
pub const COPY: Words = Words::new("cp", "copying to", "copied");

/// The verb that moves a guest to another node.
pub const MIGRATE: Words = Words::new("migrate", "migrating", "migrated");
/// The verb that puts a disk into another storage.
pub const MOVE_DISK: Words = Words::new("move-disk", "moving a disk of", "has a disk elsewhere");
/// The verb that takes a disk out of use.
pub const DETACH: Words = Words::new("detach", "detaching a disk of", "has a disk less");
/// The verb that gives a disk to another guest.
pub const REASSIGN: Words = Words::new("reassign", "giving away a disk of", "has given a disk away");
/// The verb that makes a disk from an image.
pub const IMPORT_DISK: Words = Words::new("import-disk", "importing a disk for", "has a new disk");
/// The verb that changes the tags of a guest.
pub const TAG: Words = Words::new("tag", "tagging", "tagged");
/// The verb that sets a lock.
pub const LOCK: Words = Words::new("lock", "locking", "locked");
/// The verb that takes a lock away.
pub const UNLOCK: Words = Words::new("unlock", "unlocking", "unlocked");
/// The verb that gives a guest another name.
pub const RENAME: Words = Words::new("rename", "renaming", "renamed");
/// The verb that takes a snapshot.
pub const SNAPSHOT: Words = Words::new("snapshot", "taking a snapshot of", "snapshot taken");
/// The verb that describes a snapshot.
pub const UPDATE_SNAPSHOT: Words = Words::new("update-snapshot", "updating a snapshot of", "snapshot updated");
/// The verb that goes back to a snapshot.
pub const ROLLBACK: Words = Words::new("rollback", "rolling back", "rolled back");
/// The verb that removes a snapshot.
pub const DELETE_SNAPSHOT: Words = Words::new("delete-snapshot", "deleting a snapshot of", "snapshot deleted");

/// The verb that makes a backup.
pub const BACKUP: Words = Words::new("backup", "backing up", "backed up");
/// The verb that makes a guest of a backup.
pub const RESTORE: Words = Words::new("restore", "restoring", "restored");
