//! Archives of guests: what is in them, what making them and pruning brings about, and guests made of them.
//!
//! Which guests a request is about, and what the task says meanwhile, is the API's business.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    Millis, World,
    guest::{Config, Guest, word},
    node::{Storage, Volume, volume_key},
    seconds,
    task::Task,
};
use crate::model::GuestKind;

/// In a guest's description: no backup of it succeeds.
const BACKUP_FAILS: &str = "sandbox: backup fails";

/// Where the volumes of a storage are that all nodes share.
const SHARED: &str = "*";

/// What is kept of a guest beside its disks.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Archive {
    pub(crate) kind: GuestKind,
    pub(crate) config: Config,
    #[serde(default)]
    pub(crate) notes: Option<String>,
    #[serde(default)]
    pub(crate) protected: bool,
}

/// What a backup task brings about.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Backup {
    /// The guests that it locks.
    pub(crate) guests: Vec<u32>,
    pub(crate) made: Vec<(Volume, Archive)>,
    /// Volumes that it removes, by key.
    pub(crate) pruned: Vec<String>,
    /// Whether one of the guests could not be backed up.
    pub(crate) failed: bool,
}

/// A guest made of an archive.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Restored {
    pub(crate) guest: Box<Guest>,
    pub(crate) volumes: Vec<Volume>,
    /// Whether it takes the place of one.
    pub(crate) replaces: bool,
}

/// How many of what are kept.
pub(crate) type Keep = BTreeMap<String, u64>;

impl World {
    /// The node under which a storage's volumes are kept: that one, or all.
    pub(crate) fn home<'n>(&self, node: &'n str, storage: &str) -> &'n str {
        if self.storages.get(storage).is_some_and(Storage::is_shared) { SHARED } else { node }
    }

    /// What a volume is found by, wherever it is.
    pub(crate) fn key_of(&self, node: &str, volid: &str) -> String {
        let storage = volid.split(':').next().unwrap_or_default();
        volume_key(self.home(node, storage), volid)
    }

    /// Why a guest could not be backed up now, in the words of the log.
    pub(crate) fn backup_refusal(&self, guest: &Guest, storage: &Storage, size: u64) -> Option<String> {
        if let Some(lock) = guest.lock() {
            return Some(format!("{} is locked ({lock})", guest.word()));
        }
        if guest.get("description").is_some_and(|text| text.contains(BACKUP_FAILS)) {
            return Some("job failed with err -5 - Input/output error".into());
        }
        let room = self.fill(&guest.node, storage).free();
        (room < size).then(|| "vma_queue_write: write error - Broken pipe".into())
    }

    /// The name that a new archive of a guest gets, and when it counts as made: no two are of one second.
    pub(crate) fn archive_name(&self, guest: &Guest, storage: &Storage, ending: &str, now: Millis) -> (String, Millis) {
        let mut made = now;
        loop {
            let at = jiff::Timestamp::from_second(seconds(made)).unwrap_or_default();
            let (kind, vmid) = (guest.kind.api(), guest.vmid);
            let name = if storage.kind == "pbs" {
                let group = if guest.kind == GuestKind::Qemu { "vm" } else { "ct" };
                format!("backup/{group}/{vmid}/{at}")
            } else {
                format!("backup/vzdump-{kind}-{vmid}-{}.{ending}", at.strftime("%Y_%m_%d-%H_%M_%S"))
            };
            let volid = format!("{}:{name}", storage.name);
            if !self.volumes.has(self.key_of(&guest.node, &volid).as_str()) {
                return (volid, made);
            }
            made += 1000;
        }
    }

    /// Locks guests for their backup.
    pub(crate) fn lock_for_backup(&mut self, guests: &[u32]) {
        for vmid in guests {
            if let Some(guest) = self.guests.edit(vmid) {
                guest.config.insert("lock".into(), "backup".into());
            }
        }
    }

    /// Lets them go.
    pub(crate) fn unlock_after_backup(&mut self, guests: &[u32]) {
        for vmid in guests {
            if self.guests.get(vmid).is_some_and(|guest| guest.lock() == Some("backup"))
                && let Some(guest) = self.guests.edit(vmid)
            {
                guest.config.remove("lock");
            }
        }
    }

    /// The end of a backup.
    pub(crate) fn finish_backup(&mut self, backup: Backup) -> Result<(), String> {
        self.unlock_after_backup(&backup.guests);
        for (volume, archive) in backup.made {
            self.archives.insert(volume.key(), archive);
            self.volumes.insert(volume.key(), volume);
        }
        self.drop_archives(&backup.pruned);
        if backup.failed { Err("job errors".into()) } else { Ok(()) }
    }

    /// Removes archives, by key.
    pub(crate) fn drop_archives(&mut self, keys: &[String]) {
        for key in keys {
            self.volumes.remove(key.as_str());
            self.archives.remove(key.as_str());
        }
    }

    /// Whether a guest could be made of an archive now.
    pub(crate) fn check_restore(&self, restored: &Restored, node: &str) -> Result<(), String> {
        let guest = &restored.guest;
        let fail = |why: &str| Err(format!("unable to restore {} {} - {why}", guest.word(), guest.vmid));
        let there = self.guests.get(&guest.vmid).filter(|_| restored.replaces);
        match there {
            Some(there) if there.is_running() => fail("vm is running"),
            Some(there) if there.get("protection") == Some("1") => fail("protection mode enabled"),
            _ => self.check_room(node, &restored.volumes).or_else(|error| fail(&error)),
        }
    }

    /// The end of a restore.
    pub(crate) fn finish_restore(&mut self, restored: Restored, task: &Task) {
        let Restored { mut guest, volumes, replaces } = restored;
        if replaces && let Some(gone) = self.guests.remove(&guest.vmid) {
            if guest.pool.is_none() {
                guest.pool = gone.pool.clone();
            }
            for volid in gone.volids() {
                let key = volume_key(&gone.node, &volid);
                if self.volumes.get(key.as_str()).is_some_and(|volume| volume.vmid == Some(gone.vmid)) {
                    self.volumes.remove(key.as_str());
                }
            }
        }
        for volume in volumes {
            let created = task.end;
            self.volumes.insert(volume.key(), Volume { created, ..volume });
        }
        self.guests.insert(guest.vmid, *guest);
    }

    /// The archives of a storage on a node, each with its volume, the newest first.
    pub(crate) fn archives_in(&self, node: &str, storage: &str) -> Vec<(&Volume, &Archive)> {
        let with = |volume| Some((volume, self.archives.get(Volume::key(volume).as_str())?));
        let mut all: Vec<(&Volume, &Archive)> = self.volumes_in(node, storage).filter_map(with).collect();
        all.sort_by_key(|(volume, _)| std::cmp::Reverse(volume.created));
        all
    }
}

impl Storage {
    /// Whether all nodes see the same.
    pub(crate) fn is_shared(&self) -> bool {
        self.kind == "pbs"
    }
}

/// `keep-last=3,keep-daily=7` as figures; nothing for what keeps all.
pub(crate) fn keep_of(text: &str) -> Option<Keep> {
    let pairs = text.split(',').filter_map(|part| part.split_once('='));
    let keep: Keep = pairs.filter_map(|(key, value)| Some((key.trim().to_owned(), value.parse().ok()?))).collect();
    let is_all = keep.get("keep-all").is_some_and(|all| *all > 0);
    (!is_all && keep.values().any(|count| *count > 0)).then_some(keep)
}

/// The rules in the order in which they choose, and what of a time tells one period from another.
const RULES: [(&str, &str); 6] = [
    ("keep-last", ""),
    ("keep-hourly", "%Y-%m-%d %H"),
    ("keep-daily", "%Y-%m-%d"),
    ("keep-weekly", "%G-%V"),
    ("keep-monthly", "%Y-%m"),
    ("keep-yearly", "%Y"),
];

/// Which of the backups of one guest are kept, by when each was made in seconds; the newest stands first. Each rule takes
/// the newest of a period, leaves out periods of which an earlier rule has kept one, and stops at its number.
pub(crate) fn kept(made: &[i64], keep: &Keep) -> Vec<bool> {
    let mut marks: Vec<Option<bool>> = vec![None; made.len()];
    for (rule, period) in RULES {
        let most = keep.get(rule).copied().unwrap_or(0) as usize;
        let name = |at: usize| match period {
            "" => at.to_string(),
            period => jiff::Timestamp::from_second(made[at]).unwrap_or_default().strftime(period).to_string(),
        };
        let before: Vec<String> = (0..made.len()).filter(|at| marks[*at] == Some(true)).map(name).collect();
        let mut new: Vec<String> = Vec::new();
        for (at, mark) in marks.iter_mut().enumerate() {
            let period = name(at);
            if mark.is_some() || before.contains(&period) {
                continue;
            }
            let is_first = !new.contains(&period);
            if is_first && new.len() >= most {
                break;
            }
            *mark = Some(is_first);
            if is_first {
                new.push(period);
            }
        }
    }
    marks.into_iter().map(|mark| mark == Some(true)).collect()
}

/// A configuration file, as it lies in an archive.
pub(crate) fn file_of(archive: &Archive) -> String {
    let mut file = String::new();
    for line in archive.config.get("description").into_iter().flat_map(|text| text.lines()) {
        file += &format!("#{line}\n");
    }
    for (key, value) in archive.config.iter().filter(|(key, _)| *key != "description") {
        file += &format!("{key}: {value}\n");
    }
    if archive.kind == GuestKind::Qemu {
        let disk = |key: &&String| crate::model::is_disk_key(key) && !key.starts_with("unused");
        for key in archive.config.keys().filter(disk) {
            let Some(volid) = super::guest::volid_in(&archive.config[key]) else { continue };
            let storage = volid.split(':').next().unwrap_or_default();
            file += &format!("#qmdump#map:{key}:drive-{key}:{storage}:raw:\n");
        }
    }
    file
}

/// `VM 100` as in the server's refusals of restores.
pub(crate) fn unable(kind: GuestKind, vmid: u32) -> String {
    format!("unable to restore {} {vmid}", word(kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_choose_one_after_the_other() {
        let at = |text: &str| text.parse::<jiff::Timestamp>().unwrap().as_second();
        let made: Vec<i64> = [
            "2026-11-20T12:00:00Z",
            "2026-11-20T11:00:00Z",
            "2026-11-19T12:00:00Z",
            "2026-11-19T01:00:00Z",
            "2026-11-18T12:00:00Z",
            "2026-10-01T12:00:00Z",
        ]
        .into_iter()
        .map(at)
        .collect();
        for (rule, wanted) in [
            ("keep-last=2", [true, true, false, false, false, false]),
            ("keep-daily=2", [true, false, true, false, false, false]),
            // What the day of the first has kept is not counted again.
            ("keep-last=1,keep-daily=1", [true, false, true, false, false, false]),
            ("keep-monthly=2", [true, false, false, false, false, true]),
            ("keep-last=99", [true; 6]),
        ] {
            assert_eq!(kept(&made, &keep_of(rule).unwrap()), wanted, "{rule}");
        }
        assert!(keep_of("keep-all=1").is_none() && keep_of("").is_none());
    }
}
