//! A VM's settings: Proxmox's keys and texts, what waits for the next start, and the snapshots with theirs.
//!
//! Pure values; which keys a running VM takes at once is for the mapping to say.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{SnapshotRow, digest::sha1};
use crate::model::{
    ConfigTexts, ConfigView, Digest, Error, GuestConfig, GuestKind, Pending, PendingChanges, PropertyString, Result,
    config_to_come, config_value, is_disk_key,
};

/// Proxmox's configuration keys with their values as texts.
pub type Config = ConfigTexts;

/// What is set for a VM, now and for later.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// What runs, or would.
    pub config: Config,
    /// What the next start will bring: a value, or `None` for a key that goes.
    #[serde(default)]
    pub pending: PendingChanges,
    /// The snapshots by name.
    #[serde(default)]
    pub snapshots: BTreeMap<String, SnapshotRow>,
}

/// A change of settings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Change {
    /// Keys to set.
    pub set: Config,
    /// Keys to delete.
    pub delete: Vec<String>,
    /// Keys whose waiting change is forgotten.
    pub revert: Vec<String>,
}

impl Settings {
    /// Settings with this configuration and nothing else.
    pub fn new(config: Config) -> Self {
        Self { config, ..Self::default() }
    }

    /// A value of the running configuration.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.config.get(key).map(String::as_str)
    }

    /// Whether a boolean key is on.
    pub fn is_on(&self, key: &str) -> bool {
        self.get(key) == Some("1")
    }

    /// The configuration as the next start will see it.
    pub fn to_come(&self) -> Config {
        config_to_come(&self.config, &self.pending)
    }

    /// Makes the waiting changes real, as a start does. Disks that are detached by it become unused.
    pub fn apply_pending(&mut self) {
        for (key, value) in std::mem::take(&mut self.pending) {
            self.put(&key, value.as_ref());
        }
    }

    /// Sets or deletes a key of the running configuration. As on Proxmox, a disk that is no longer attached by it stays,
    /// under the next free `unused[n]`; a CD and the seed for cloud-init do not.
    pub fn put(&mut self, key: &str, value: Option<&String>) {
        if let Some(value) = value.filter(|_| is_disk_key(key) && !key.starts_with("unused")) {
            // What is attached again is unused no longer.
            let volume = volume_of(&PropertyString::lenient(value)).to_owned();
            self.config.retain(|key, text| !key.starts_with("unused") || *text != volume);
        }
        let before = match value {
            Some(value) => self.config.insert(key.to_owned(), value.clone()),
            None => self.config.remove(key),
        };
        if let Some(left) = before.filter(|_| is_disk_key(key) && !key.starts_with("unused")) {
            self.leave(&left);
        }
    }

    /// A drive that was taken out stays as an unused one, unless something that counts now names its disk.
    fn leave(&mut self, left: &str) {
        let drive = PropertyString::lenient(left);
        let volume = volume_of(&drive);
        let is_disk = volume.contains(':') && !volume.contains("cloudinit") && drive.get("media") != Some("cdrom");
        let others = self.config.iter().filter(|(key, _)| is_disk_key(key));
        let attached = others.map(|(_, text)| PropertyString::lenient(text)).any(|other| volume_of(&other) == volume);
        if is_disk && !attached {
            let free = (0_u32..).map(|n| format!("unused{n}")).find(|key| !self.config.contains_key(key));
            self.config.insert(free.unwrap_or_default(), volume.to_owned());
        }
    }

    /// All volumes that the configuration names, now, at the next start and in snapshots.
    pub fn volumes(&self) -> BTreeSet<String> {
        let pending = self.pending.iter().filter_map(|(key, value)| Some((key, value.as_ref()?)));
        let kept = self.snapshots.values().flat_map(|row| &row.config);
        let all = self.config.iter().chain(pending).chain(kept).filter(|(key, _)| is_disk_key(key));
        all.map(|(_, text)| volume_of(&PropertyString::lenient(text)).to_owned()).collect()
    }

    /// Changes them: a key for which `at_once` holds now, any other at the next start. For a stopped VM hold it for all.
    /// Gives the keys that wait now because of this change.
    pub fn change(&mut self, change: &Change, at_once: impl Fn(&str) -> bool) -> Vec<String> {
        let mut waiting = Vec::new();
        let mut given_up: Vec<String> = Vec::new();
        for key in &change.revert {
            given_up.extend(self.pending.remove(key).flatten().filter(|_| is_disk_key(key)));
        }
        let deleted = change.delete.iter().map(|key| (key, None));
        for (key, value) in deleted.chain(change.set.iter().map(|(key, value)| (key, Some(value)))) {
            given_up.extend(self.pending.remove(key).flatten().filter(|_| is_disk_key(key)));
            if self.config.get(key) == value {
                continue;
            }
            if !at_once(key) {
                self.pending.insert(key.clone(), value.cloned());
                waiting.push(key.clone());
            } else {
                self.put(key, value);
            }
        }
        // A disk that was to come and does not is there all the same.
        given_up.retain(|text| !self.volumes().contains(volume_of(&PropertyString::lenient(text))));
        given_up.iter().for_each(|text| self.leave(text));
        waiting
    }

    /// The text of the configuration file that Proxmox would have: the description as lines that begin with `#`, then
    /// `key: value` by key; then `[PENDING]` with the changes that wait, the deletes first as `delete: a,b`; then a section
    /// for each snapshot by name, with `parent`, `snaptime` and `vmstate` among its keys. A section begins with an empty
    /// line and its name in brackets. Passwords are in it as they are stored: it is not for showing.
    pub fn text(&self) -> String {
        let mut text = String::new();
        section(&mut text, &self.config);
        if !self.pending.is_empty() {
            text.push_str("\n[PENDING]\n");
            let gone: Vec<&str> =
                self.pending.iter().filter(|(_, value)| value.is_none()).map(|(key, _)| key.as_str()).collect();
            if !gone.is_empty() {
                line(&mut text, "delete", &gone.join(","));
            }
            let set = self.pending.iter().filter_map(|(key, value)| Some((key.clone(), value.clone()?)));
            section(&mut text, &set.collect());
        }
        for (name, snapshot) in &self.snapshots {
            text.push_str(&format!("\n[{name}]\n"));
            let mut config = snapshot.config.clone();
            let own = [
                ("description", snapshot.description.clone()),
                ("parent", snapshot.parent.clone()),
                ("snaptime", Some(snapshot.snaptime.to_string())),
                ("vmstate", snapshot.vmstate.clone()),
                ("running-build", snapshot.build.clone()),
            ];
            config.extend(own.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))));
            section(&mut text, &config);
        }
        text
    }

    /// What proves that nothing changed in between: as on Proxmox the SHA-1 of the configuration file's text, here of the
    /// text that the file would have ([`text`](Self::text)). What the VMM does, phases and process ids, is not in it, so it
    /// outlives a start.
    pub fn digest(&self) -> Digest {
        Digest(sha1(&self.text()))
    }

    /// Refuses a change that was thought of before another one.
    ///
    /// # Errors
    /// [`Class::Conflict`](crate::model::Class::Conflict), in the server's words.
    pub fn check_digest(&self, digest: Option<&Digest>) -> Result<()> {
        match digest {
            Some(digest) if *digest != self.digest() => {
                Err(Error::conflict("checksum mismatch (file change by other user?)"))
            }
            _ => Ok(()),
        }
    }

    /// As `GET …/config` answers, with numbers where the server has them, passwords masked, and the digest.
    pub fn guest_config(&self, view: ConfigView) -> GuestConfig {
        let mut map = match view {
            ConfigView::Current => values(&self.config),
            ConfigView::Pending => values(&self.to_come()),
        };
        map.insert("digest".to_owned(), self.digest().0.into());
        GuestConfig(map)
    }

    /// As `GET …/pending` answers.
    pub fn pending_rows(&self) -> Vec<Pending> {
        let keys: BTreeSet<&String> = self.config.keys().chain(self.pending.keys()).collect();
        let value = |key: &str, text: &String| config_value(GuestKind::Qemu, key, text);
        let rows = keys.into_iter().map(|key| {
            let waits = self.pending.get(key);
            Pending {
                key: key.clone(),
                value: self.config.get(key).map(|text| value(key, text)),
                pending: waits.and_then(Option::as_ref).map(|text| value(key, text)),
                delete: waits.filter(|value| value.is_none()).map(|_| 1),
            }
        });
        let digest =
            Pending { key: "digest".to_owned(), value: Some(self.digest().0.into()), pending: None, delete: None };
        rows.chain([digest]).collect()
    }
}

/// The volume of a drive.
fn volume_of(drive: &PropertyString) -> &str {
    drive.volume().unwrap_or_default()
}

/// A configuration as JSON, as the server types it.
pub(super) fn values(config: &Config) -> serde_json::Map<String, Value> {
    config.iter().map(|(key, text)| (key.clone(), config_value(GuestKind::Qemu, key, text))).collect()
}

fn section(text: &mut String, config: &Config) {
    for comment in config.get("description").into_iter().flat_map(|description| description.lines()) {
        text.push('#');
        text.push_str(comment);
        text.push('\n');
    }
    for (key, value) in config.iter().filter(|(key, _)| *key != "description") {
        line(text, key, value);
    }
}

/// A line of the file. Line breaks within a value would make two lines of it.
fn line(text: &mut String, key: &str, value: &str) {
    text.push_str(&format!("{key}: {}\n", value.replace('%', "%25").replace('\n', "%0A")));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn config(pairs: &[(&str, &str)]) -> Config {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn settings() -> Settings {
        let mut settings = Settings::new(config(&[
            ("name", "web"),
            ("cores", "2"),
            ("memory", "1024"),
            ("description", "one\ntwo"),
            ("cipassword", "$5$secret"),
        ]));
        settings.pending.insert("memory".into(), Some("2048".into()));
        settings.pending.insert("balloon".into(), Some("512".into()));
        settings.pending.insert("cores".into(), None);
        let row = SnapshotRow { config: config(&[("cores", "1")]), snaptime: 7, ..SnapshotRow::default() };
        settings.snapshots.insert("before".into(), row);
        settings
    }

    #[test]
    fn the_text_is_a_configuration_file() {
        let want = "#one\n#two\ncipassword: $5$secret\ncores: 2\nmemory: 1024\nname: web\n\
                    \n[PENDING]\ndelete: cores\nballoon: 512\nmemory: 2048\n\
                    \n[before]\ncores: 1\nsnaptime: 7\n";
        assert_eq!(settings().text(), want);
        assert_eq!(settings().digest().0, sha1(want));
    }

    #[test]
    fn a_value_cannot_pretend_to_be_another_line() {
        let one = Settings::new(config(&[("a", "1\nb: 2")]));
        let two = Settings::new(config(&[("a", "1"), ("b", "2")]));
        assert_ne!(one.digest(), two.digest());
    }

    #[test]
    fn an_old_digest_is_refused() {
        let settings = settings();
        assert!(settings.check_digest(None).is_ok());
        assert!(settings.check_digest(Some(&settings.digest())).is_ok());
        let error = settings.check_digest(Some(&Digest("0".repeat(40)))).unwrap_err();
        assert_eq!(error.class(), crate::model::Class::Conflict);
    }

    #[test]
    fn answers_as_the_server() {
        let settings = settings();
        let map = settings.guest_config(ConfigView::Current).0;
        assert_eq!((&map["cores"], &map["memory"]), (&json!(2), &json!("1024")));
        assert_eq!(map["cipassword"], "**********");
        let map = settings.guest_config(ConfigView::Pending).0;
        assert_eq!((map.get("cores"), &map["memory"]), (None, &json!("2048")));
        let rows = serde_json::to_value(settings.pending_rows()).unwrap();
        let row = |key: &str| rows.as_array().unwrap().iter().find(|row| row["key"] == key).unwrap().clone();
        assert_eq!(row("memory"), json!({"key": "memory", "value": "1024", "pending": "2048"}));
        assert_eq!(row("cores"), json!({"key": "cores", "value": 2, "delete": 1}));
        assert_eq!(row("balloon"), json!({"key": "balloon", "pending": 512}));
        assert_eq!(row("digest")["value"], settings.digest().0);
    }

    #[test]
    fn a_disk_that_is_detached_is_unused_and_then_gone() {
        let mut settings = Settings::new(config(&[
            ("scsi0", "local:100/vm-100-disk-0.raw,size=1G"),
            ("scsi1", "local:100/vm-100-disk-1.raw,size=1G"),
            ("ide2", "local:iso/a.iso,media=cdrom"),
            ("ide3", "local:cloudinit"),
            ("sata0", "/srv/disk.raw"),
        ]));
        let delete =
            |keys: &[&str]| Change { delete: keys.iter().map(|key| (*key).to_owned()).collect(), ..Change::default() };
        settings.change(&delete(&["scsi1", "ide2", "ide3", "sata0"]), |_| true);
        assert_eq!(settings.get("unused0"), Some("local:100/vm-100-disk-1.raw"));
        assert_eq!(settings.config.len(), 2, "{:?}", settings.config);
        // While it runs it waits, and the start does it; another disk in its place is the same.
        let set = config(&[("scsi0", "local:100/vm-100-disk-2.raw")]);
        settings.change(&Change { set, ..Change::default() }, |_| false);
        assert_eq!(settings.volumes().len(), 3);
        settings.apply_pending();
        assert_eq!(settings.get("unused1"), Some("local:100/vm-100-disk-0.raw"));
        // The same disk with other options is not detached.
        let set = config(&[("scsi0", "local:100/vm-100-disk-2.raw,ssd=1")]);
        settings.change(&Change { set, ..Change::default() }, |_| true);
        settings.change(&delete(&["unused0"]), |_| true);
        let left: Vec<_> = settings.volumes().into_iter().collect();
        assert_eq!(left, ["local:100/vm-100-disk-0.raw", "local:100/vm-100-disk-2.raw"]);
        // One that was to come at the next start and is called off stays as well; with other options it comes still.
        let set = |text: &str| Change { set: config(&[("scsi4", text)]), ..Change::default() };
        settings.change(&set("local:100/vm-100-disk-4.raw"), |_| false);
        settings.change(&set("local:100/vm-100-disk-4.raw,ssd=1"), |_| false);
        assert!(!settings.config.values().any(|text| text.contains("disk-4")), "{:?}", settings.config);
        settings.change(&Change { revert: vec!["scsi4".into()], ..Change::default() }, |_| false);
        assert_eq!(settings.config.values().filter(|text| *text == "local:100/vm-100-disk-4.raw").count(), 1);
        settings.config.retain(|_, text| !text.contains("disk-4"));
        // Attached again, it is no longer unused.
        let set = config(&[("scsi3", "local:100/vm-100-disk-0.raw")]);
        settings.change(&Change { set, ..Change::default() }, |_| true);
        assert_eq!(settings.get("unused1"), None);
    }

    #[test]
    fn a_change_waits_where_it_must() {
        let mut settings = settings();
        let change = Change {
            set: config(&[("name", "api"), ("memory", "1024"), ("bios", "ovmf")]),
            delete: vec!["cipassword".into(), "name2".into()],
            revert: vec!["balloon".into()],
        };
        let waiting = settings.change(&change, |key| matches!(key, "name" | "cipassword"));
        assert_eq!(waiting, ["bios"]);
        assert_eq!((settings.get("name"), settings.get("cipassword")), (Some("api"), None));
        // Set to what it is already: nothing waits any more.
        assert_eq!(settings.pending.keys().collect::<Vec<_>>(), ["bios", "cores"]);
        settings.apply_pending();
        assert_eq!((settings.get("bios"), settings.get("cores")), (Some("ovmf"), None));
        assert!(settings.pending.is_empty());
    }
}
