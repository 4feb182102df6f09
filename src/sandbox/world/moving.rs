//! Guests that go to another node: what stands in the way, the log in the server's words, and what comes of it.
//!
//! Lines and refusals are as a real server writes them; how fast it goes is made up.

mod log;

use std::collections::{BTreeMap, BTreeSet};

use self::log::{Log, live, offline};
use super::{
    Millis, World,
    disk::volume_id,
    effect::{Act, Effect},
    guest::{Guest, volid_in},
    node::{Storage, Volume, volume_key},
    task::{Order, Task},
};
use crate::model::{GuestKind, PropertyString};

/// How a guest goes.
#[derive(Debug, Clone)]
pub(crate) struct Way<'a> {
    pub(crate) to: &'a str,
    /// From which storage into which; the empty name is for all others.
    pub(crate) storages: BTreeMap<String, String>,
    /// Disks that only its node has are copied though it runs.
    pub(crate) copies: bool,
}

impl<'a> Way<'a> {
    pub(crate) fn new(to: &'a str) -> Self {
        Self { to, storages: BTreeMap::new(), copies: false }
    }

    fn storage<'s>(&'s self, from: &'s str) -> &'s str {
        self.storages.get(from).or_else(|| self.storages.get("")).map_or(from, String::as_str)
    }
}

/// A volume that is only on the guest's node.
#[derive(Debug, Clone, Default)]
pub(crate) struct Local {
    pub(crate) key: Option<String>,
    pub(crate) size: Option<u64>,
    pub(crate) cdrom: bool,
    pub(crate) unused: bool,
    pub(crate) state: bool,
    pub(crate) attached: bool,
    /// The snapshots that have it too.
    pub(crate) snapshots: BTreeSet<String>,
}

impl Local {
    pub(crate) fn is_cloudinit(&self, volid: &str) -> bool {
        self.cdrom && volid.contains("cloudinit")
    }
}

impl World {
    fn is_shared(&self, volid: &str) -> bool {
        let storage = volid.split(':').next().and_then(|name| self.storages.get(name));
        storage.is_some_and(|storage| storage.key("shared") == Some("1"))
    }

    /// The volumes of a guest that only its node has, by volume id.
    pub(crate) fn locals(&self, guest: &Guest) -> BTreeMap<String, Local> {
        let mut locals: BTreeMap<String, Local> = BTreeMap::new();
        let size = |volid: &str| self.volumes.get(volume_key(&guest.node, volid).as_str()).map(|volume| volume.size);
        for (key, value) in guest.config.iter().filter(|(key, _)| crate::model::is_disk_key(key)) {
            let Some(volid) = volid_in(value).filter(|volid| !self.is_shared(volid)) else { continue };
            let local = locals.entry(volid.clone()).or_default();
            let unused = key.starts_with("unused");
            local.key = (!unused).then(|| key.clone());
            local.cdrom = value.contains("media=cdrom");
            (local.unused, local.attached, local.state) = (unused, !unused, key == "vmstate");
            local.size = size(&volid).filter(|_| !local.cdrom);
        }
        for (name, snapshot) in &guest.snapshots {
            let disks = snapshot.config.iter().filter(|(key, _)| crate::model::is_disk_key(key));
            let volids =
                disks.filter(|(_, value)| !value.contains("media=cdrom")).filter_map(|(_, value)| volid_in(value));
            for volid in volids.filter(|volid| !self.is_shared(volid)) {
                locals.entry(volid).or_default().snapshots.insert(name.clone());
            }
            if let Some(volid) = snapshot.vmstate.clone() {
                let local = locals.entry(volid).or_default();
                local.state = true;
                local.snapshots.insert(name.clone());
            }
        }
        locals
    }

    /// The storages of a guest's disks that a node does not have.
    pub(crate) fn storages_missing(&self, guest: &Guest, node: &str) -> BTreeSet<String> {
        let volids = guest.disk_keys().filter_map(|key| guest.volid(key));
        let names = volids.filter_map(|volid| volid.split(':').next().map(str::to_owned));
        names.filter(|name| !self.storages.get(name.as_str()).is_some_and(|storage| storage.is_on(node))).collect()
    }

    /// What the log says of volumes that cannot go along.
    fn blocked(&self, guest: &Guest, way: &Way<'_>) -> Vec<String> {
        let mut lines = Vec::new();
        for (volid, local) in self.locals(guest) {
            let kind =
                self.storages.get(volid.split(':').next().unwrap_or_default()).map(|storage| storage.kind.as_str());
            let why = match local {
                _ if local.is_cloudinit(&volid) || local.state => continue,
                _ if local.cdrom => "local cdrom image",
                _ if guest.kind == GuestKind::Qemu && guest.is_running() && local.attached && !way.copies => {
                    "can't live migrate attached local disks without with-local-disks option"
                }
                _ if guest.kind == GuestKind::Qemu && guest.is_running() && !local.snapshots.is_empty() => {
                    "online storage migration not possible if non-replicated snapshot exists"
                }
                _ if !local.snapshots.is_empty() && kind != Some("zfspool") && !volid.ends_with(".qcow2") => {
                    "non-migratable snapshot exists"
                }
                _ => continue,
            };
            lines.push(format!("can't migrate local disk '{volid}': {why}"));
        }
        lines
    }

    /// The names under which a guest's volumes are on the other node, and the volumes themselves.
    fn renamed(&self, guest: &Guest, way: &Way<'_>) -> Vec<(String, Volume)> {
        let mut renamed: Vec<(String, Volume)> = Vec::new();
        for old in self.volumes_of(&guest.node, guest.vmid) {
            let storage = if self.is_shared(&old.volid) { old.storage() } else { way.storage(old.storage()) };
            let dir = self.storages.get(storage).is_some_and(Storage::is_dir);
            let stem = old.name().rsplit('/').next().unwrap_or_default();
            let stem = stem.split_once('.').map_or(stem, |(stem, _)| stem);
            let name = |stem: &str| match storage == old.storage() {
                true => old.volid.clone(),
                false => volume_id(dir, storage, guest.vmid, stem),
            };
            let taken = |volid: &String| renamed.iter().any(|(_, volume)| volume.volid == *volid);
            let others =
                (0..).map(|number| volume_id(dir, storage, guest.vmid, &format!("vm-{}-disk-{number}", guest.vmid)));
            let volid = std::iter::once(name(stem)).chain(others).find(|volid| !taken(volid)).unwrap_or_default();
            renamed.push((old.volid.clone(), Volume { node: way.to.to_owned(), volid, ..old.clone() }));
        }
        renamed
    }

    /// A guest's way to another node as a task.
    pub(crate) fn migration(&self, guest: &Guest, way: &Way<'_>, authid: &str, now: Millis) -> Order {
        let (vmid, running) = (guest.vmid, guest.is_running());
        let renamed = self.renamed(guest, way);
        let copied: Vec<&(String, Volume)> = renamed.iter().filter(|(old, _)| !self.is_shared(old)).collect();
        let gib: u64 = copied.iter().map(|(_, volume)| volume.size >> 30).sum();
        let takes = 800 + i64::try_from(gib * 10).unwrap_or(600).min(900);
        let mut log = Log { lines: Vec::new(), began: now, takes: takes as f64 * self.meta().pace };
        let ip = self.nodes.get(way.to).map(|node| node.ip.clone()).unwrap_or_default();
        log.say(0.0, format!("starting migration of {} {vmid} to node '{}' ({ip})", guest.word(), way.to));
        let mut blocked = self.blocked(guest, way);
        if blocked.is_empty() {
            let volumes: Vec<Volume> = copied.iter().map(|(_, volume)| volume.clone()).collect();
            blocked.extend(self.check_room(way.to, &volumes).err());
            blocked.extend(
                (!self.is_online(way.to))
                    .then(|| format!("can't connect to destination address using public key ({ip})")),
            );
        }
        let kind = if guest.kind == GuestKind::Qemu { "qmigrate" } else { "vzmigrate" };
        let order = |takes, script, effect| Order {
            node: guest.node.clone(),
            kind,
            id: vmid.to_string(),
            authid: authid.to_owned(),
            takes,
            holds: vec![vmid],
            script,
            effect,
        };
        if !blocked.is_empty() {
            blocked.iter().for_each(|line| log.say(0.0, line));
            let why = "Problem found while scanning volumes - can't migrate VM - check log";
            log.say(0.0, format!("ERROR: migration aborted (duration 00:00:00): {why}"));
            return order(50, log.lines, Effect::Fail("migration aborted".to_owned()));
        }
        for (old, _) in &copied {
            match guest.kind {
                GuestKind::Qemu => log.say(0.01, format!("found local disk '{old}' (attached)")),
                GuestKind::Lxc => log.say(0.01, format!("found local volume '{old}' (in current VM config)")),
            }
        }
        match guest.kind {
            GuestKind::Qemu if running => live(&mut log, guest, way, &copied),
            _ => offline(&mut log, guest, way, &copied),
        }
        log.say(1.0, format!("migration finished successfully (duration 00:00:{:02})", 3 + gib / 2 % 50));
        let act = Act::Migrate {
            to: way.to.to_owned(),
            renamed: renamed.into_iter().map(|(old, volume)| (old, volume.volid)).collect(),
        };
        order(takes, log.lines, Effect::Guest { kind: guest.kind, vmid, act, skiplock: false })
    }

    /// Begins it, and locks the guest where nothing else holds it.
    pub(crate) fn begin_migration(&mut self, order: Order, vmid: u32, now: Millis) -> String {
        let free = self.free_at(&[vmid]) <= now;
        let goes = matches!(order.effect, Effect::Guest { .. });
        let upid = self.begin(order, now);
        if let Some(guest) = self.guests.edit(&vmid).filter(|guest| free && goes && guest.lock().is_none()) {
            guest.config.insert("lock".into(), "migrate".into());
        }
        upid
    }

    /// Lets go of a guest that stays where it is.
    pub(super) fn stay(&mut self, vmid: u32) {
        if let Some(guest) = self.guests.edit(&vmid).filter(|guest| guest.lock() == Some("migrate")) {
            guest.config.remove("lock");
        }
    }

    /// The guest is on the other node.
    pub(super) fn arrive(&mut self, vmid: u32, to: &str, renamed: &[(String, String)], task: &Task) {
        self.stay(vmid);
        for (old, new) in renamed {
            if let Some(volume) = self.volumes.remove(volume_key(&task.node, old).as_str()) {
                let volume = Volume { node: to.to_owned(), volid: new.clone(), ..volume };
                self.volumes.insert(volume.key(), volume);
            }
        }
        let new_name = |text: &str| renamed.iter().find(|(old, _)| *old == text).map(|(_, new)| new.clone());
        let rewrite = |value: &mut String| {
            if let Some((old, new)) = volid_in(value).and_then(|old| Some((old.clone(), new_name(&old)?))) {
                *value = value.replace(&old, &new);
            }
        };
        let Some(guest) = self.guests.edit(&vmid) else { return };
        to.clone_into(&mut guest.node);
        guest.config.values_mut().for_each(rewrite);
        for snapshot in guest.snapshots.values_mut() {
            snapshot.config.values_mut().for_each(rewrite);
            snapshot.vmstate = snapshot.vmstate.take().map(|volid| new_name(&volid).unwrap_or(volid));
        }
        if guest.is_running() {
            match guest.kind {
                GuestKind::Qemu => guest.pid = task.pid + 1,
                GuestKind::Lxc => {
                    guest.power_off();
                    guest.power_on(task.end, task.pid + 1);
                }
            }
        }
    }

    /// What a VM has of its node and what of mappings: keys of its configuration.
    pub(crate) fn devices(guest: &Guest) -> (Vec<String>, BTreeMap<String, String>) {
        let (mut local, mut mapped) = (Vec::new(), BTreeMap::new());
        for (key, value) in &guest.config {
            let stem = key.trim_end_matches(|c: char| c.is_ascii_digit());
            let is_device =
                stem.len() < key.len() && ["usb", "hostpci", "serial", "parallel", "virtiofs"].contains(&stem);
            if !is_device || (stem == "serial" && value == "socket") || value.contains("spice") {
                continue;
            }
            let parts = PropertyString::lenient(value);
            let mapping = parts.get("mapping").or_else(|| parts.get_or_bare("dirid").filter(|_| stem == "virtiofs"));
            if let Some(name) = mapping {
                mapped.insert(key.clone(), name.to_owned());
                if stem == "hostpci" && !guest.is_running() {
                    continue;
                }
            }
            local.push(key.clone());
        }
        (local, mapped)
    }
}
