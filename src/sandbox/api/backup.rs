//! Backups: made by `vzdump`, described, pruned, and read. Guests made of them are in [`restore`](super::restore).
//!
//! What an archive is, and what the ends of these tasks bring about, is in the world.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{Context, Reply, Route};
use crate::{
    model::{
        GuestKind, List,
        Method::{Delete, Get, Post, Put},
    },
    sandbox::world::{
        backup::{Archive, Backup, file_of, keep_of, kept},
        copying::short,
        effect::Effect,
        guest::Guest,
        node::{GIB, Storage, Volume},
        seconds,
        task::Order,
    },
    server::Fault,
};

pub(super) const TABLE: &[Route] = &[
    (Post, "/nodes/{node}/vzdump", run),
    (Get, "/nodes/{node}/vzdump/extractconfig", extract),
    (Put, "/nodes/{node}/storage/{storage}/content/{volume}", update),
    (Get, "/nodes/{node}/storage/{storage}/prunebackups", prunable),
    (Delete, "/nodes/{node}/storage/{storage}/prunebackups", prune),
];

/// How many lines tell of the progress of a backup.
const STEPS: u64 = 5;

fn words(list: &str) -> Vec<&str> {
    List::members(list).collect()
}

/// Whether somebody may see an archive, restore it and change what is noted of it.
pub(super) fn may_use(context: &Context<'_>, volume: &Volume) -> bool {
    let storage = format!("/storage/{}", volume.storage());
    let guest = format!("/vms/{}", volume.vmid.unwrap_or_default());
    context.may(&storage, &["Datastore.Allocate"])
        || context.may(&storage, &["Datastore.AllocateSpace"]) && context.may(&guest, &["VM.Backup"])
}

pub(super) fn require(context: &Context<'_>, volume: &Volume) -> Result<(), Fault> {
    if may_use(context, volume) {
        return Ok(());
    }
    let storage = format!("/storage/{}", volume.storage());
    context.require(&storage, &["Datastore.AllocateSpace"])?;
    context.require(&format!("/vms/{}", volume.vmid.unwrap_or_default()), &["VM.Backup"])
}

/// A backup of guests of a node: those that are named, or all of it or of a pool.
fn run(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let node = context.node()?;
    let storage = context.param("storage").unwrap_or("local").to_owned();
    if context.param("storage").is_some() {
        context.require(&format!("/storage/{storage}"), &["Datastore.AllocateSpace"])?;
    }
    let named = context.param("vmid").map(|list| words(list).into_iter().collect::<BTreeSet<&str>>());
    let out = words(context.param("exclude").unwrap_or_default());
    let pool = context.param("pool");
    let meant = |guest: &&Guest| {
        let vmid = guest.vmid.to_string();
        named.as_ref().is_none_or(|named| named.contains(vmid.as_str()))
            && !out.contains(&vmid.as_str())
            && pool.is_none_or(|pool| guest.pool.as_deref() == Some(pool))
    };
    let meant: Vec<Guest> = context.world.guests_on(&node).filter(meant).cloned().collect();
    if meant.is_empty() && named.is_some() {
        // What is elsewhere is its node's business.
        return Ok(Reply::data("OK"));
    }
    let mut job = Job { script: Vec::new(), made: Vec::new(), pruned: Vec::new(), locked: Vec::new(), failed: false };
    let id = match (&named, meant.as_slice()) {
        (Some(_), [one]) => one.vmid.to_string(),
        _ => String::new(),
    };
    let may = |guest: &Guest| context.may(&format!("/vms/{}", guest.vmid), &["VM.Backup"]);
    // The task finds out: it leaves a guest out of all of them, and fails over one that was named.
    let refused = meant.iter().find(|guest| !may(guest)).filter(|_| named.is_some());
    let refused = refused.map(|guest| format!("Permission check failed (/vms/{}, VM.Backup)", guest.vmid));
    let meant: Vec<Guest> = meant.into_iter().filter(may).collect();
    let takes = context.world.storages.get(&storage).filter(|storage| storage.is_on(&node)).cloned();
    let effect = match (refused, takes) {
        (Some(refused), _) => Effect::Fail(refused),
        (None, None) => Effect::Fail(format!(
            "could not get storage information for '{storage}': storage '{storage}' does not exist"
        )),
        (None, Some(storage)) if !storage.holds("backup") => {
            Effect::Fail(format!("can't use storage '{}' for backups - wrong content type", storage.name))
        }
        (None, Some(storage)) => {
            let list = meant.iter().map(|guest| guest.vmid.to_string()).collect::<Vec<_>>().join(" ");
            job.say(0.0, format!("INFO: starting new backup job: vzdump {list} --storage {}", storage.name));
            for (at, guest) in meant.iter().enumerate() {
                job.guest(context, guest, &storage, (at as f64, meant.len() as f64));
            }
            let end = if job.failed { "with errors" } else { "successfully" };
            job.say(0.99, format!("INFO: Backup job finished {end}"));
            context.world.lock_for_backup(&job.locked);
            Effect::Backup(Backup { guests: job.locked, made: job.made, pruned: job.pruned, failed: job.failed })
        }
    };
    let takes = 300 + 200 * i64::try_from(meant.len()).unwrap_or(1);
    let (authid, script) = (context.authid(), job.script);
    Ok(context.begin(Order { node, kind: "vzdump", id, authid, takes, holds: Vec::new(), script, effect }))
}

/// What becomes of a backup task while it is put together.
struct Job {
    script: Vec<(f64, String)>,
    made: Vec<(Volume, Archive)>,
    pruned: Vec<String>,
    locked: Vec<u32>,
    failed: bool,
}

impl Job {
    fn say(&mut self, share: f64, line: String) {
        self.script.push((share, line));
    }

    fn guest(&mut self, context: &Context<'_>, guest: &Guest, storage: &Storage, (at, of): (f64, f64)) {
        let share = |within: f64| (at + within) / of * 0.98;
        let (word, vmid, now) = (guest.word(), guest.vmid, context.now);
        let time = jiff::Timestamp::from_second(seconds(now)).unwrap_or_default().strftime("%Y-%m-%d %H:%M:%S");
        // The server says VM of a container too.
        self.say(share(0.0), format!("INFO: Starting Backup of VM {vmid} ({})", guest.kind.api()));
        self.say(share(0.01), format!("INFO: Backup started at {time}"));
        let status = if guest.is_running() { "running" } else { "stopped" };
        self.say(share(0.02), format!("INFO: status = {status}"));
        self.say(share(0.02), format!("INFO: {word} Name: {}", guest.name()));
        let disks: Vec<(String, Volume)> = guest
            .disk_keys()
            .filter(|key| !guest.is_cdrom(key))
            .filter_map(|key| {
                let volid = guest.volid(key)?;
                let volume = context.world.volumes.get(format!("{}/{volid}", guest.node).as_str())?;
                Some((key.to_owned(), volume.clone()))
            })
            .collect();
        let size: u64 = disks.iter().map(|(_, volume)| volume.size).sum();
        if let Some(why) = context.world.backup_refusal(guest, storage, size / 8) {
            self.failed = true;
            self.say(share(0.5), format!("ERROR: Backup of VM {vmid} failed - {why}"));
            self.say(share(0.51), format!("INFO: Failed at {time}"));
            return;
        }
        for (key, volume) in &disks {
            let gib = volume.size / GIB;
            self.say(share(0.03), format!("INFO: include disk '{key}' '{}' {gib}G", volume.volid));
        }
        let mode = if guest.is_running() { context.param("mode").unwrap_or("snapshot") } else { "stop" };
        self.say(share(0.04), format!("INFO: backup mode: {mode}"));
        self.say(share(0.04), "INFO: ionice priority: 7".into());
        let (ending, format) = ending(context, guest.kind, storage);
        let (volid, made) = context.world.archive_name(guest, storage, &ending, now);
        let (volid, made) = match self.made.iter().any(|(volume, _)| volume.volid == volid) {
            true => context.world.archive_name(guest, storage, &ending, made + 1000),
            false => (volid, made),
        };
        let path = match storage.key("path") {
            Some(path) => format!("{path}/dump/{}", volid.rsplit('/').next().unwrap_or_default()),
            None => volid.split_once('/').map_or_else(String::new, |(_, name)| name.to_owned()),
        };
        let sort = if storage.kind == "pbs" { "Proxmox Backup Server" } else { "vzdump" };
        self.say(share(0.05), format!("INFO: creating {sort} archive '{path}'"));
        if guest.kind == GuestKind::Qemu {
            for step in 0..=STEPS {
                let (done, percent) = (size / STEPS * step, 100 * step / STEPS);
                let line = format!(
                    "INFO: {percent:3}% ({} of {}) in {step}s, read: 400.0 MiB/s, write: 50.0 MiB/s",
                    short(done),
                    short(size)
                );
                self.say(share(0.1 + 0.8 * step as f64 / STEPS as f64), line);
            }
            self.say(share(0.91), format!("INFO: transferred {} in {STEPS} seconds (400.0 MiB/s)", short(size)));
        } else {
            self.say(share(0.9), format!("INFO: Total bytes written: {} ({}, 100MiB/s)", size / 8, short(size / 8)));
        }
        self.say(share(0.92), format!("INFO: archive file size: {:.2}GB", (size / 8) as f64 / GIB as f64));
        let notes = context.param("notes-template").map(|template| {
            let cluster = "sandbox";
            let filled = template.replace("{{guestname}}", &guest.name()).replace("{{vmid}}", &vmid.to_string());
            filled.replace("{{node}}", &guest.node).replace("{{cluster}}", cluster).replace("\\n", "\n")
        });
        if notes.is_some() {
            self.say(share(0.93), "INFO: adding notes to backup".into());
        }
        let protected = context.flag("protected");
        if protected {
            self.say(share(0.93), "INFO: marking backup as protected".into());
        }
        let node = context.world.home(&guest.node, &storage.name).to_owned();
        let content = "backup".to_owned();
        let (vmid, parent) = (Some(vmid), None);
        let volume = Volume { node, volid, content, format, size: size / 8, vmid, created: made, parent };
        let mut config = guest.config.clone();
        config.remove("lock");
        self.prune(context, guest, storage, &volume, protected, share(0.95));
        self.made.push((volume, Archive { kind: guest.kind, config, notes, protected }));
        self.locked.push(guest.vmid);
        self.say(share(0.97), format!("INFO: Finished Backup of VM {} (00:00:{STEPS:02})", guest.vmid));
        self.say(share(0.98), format!("INFO: Backup finished at {time}"));
    }

    /// Removes older ones of the guest, where the job or the storage says so.
    fn prune(
        &mut self,
        context: &Context<'_>,
        guest: &Guest,
        storage: &Storage,
        new: &Volume,
        protected: bool,
        share: f64,
    ) {
        if context.param("remove") == Some("0") {
            return;
        }
        let rules = context.param("prune-backups").or_else(|| storage.key("prune-backups"));
        let Some((rules, keep)) = rules.and_then(|rules| Some((rules, keep_of(rules)?))) else { return };
        self.say(share, format!("INFO: prune older backups with retention: {rules}"));
        let older = context.world.archives_in(&guest.node, &storage.name);
        let mut all: Vec<(i64, Option<&Volume>)> = older
            .iter()
            .filter(|(volume, archive)| {
                volume.vmid == Some(guest.vmid) && archive.kind == guest.kind && !archive.protected
            })
            .map(|(volume, _)| (seconds(volume.created), Some(*volume)))
            .collect();
        if !protected {
            all.insert(0, (seconds(new.created), None));
        }
        let made: Vec<i64> = all.iter().map(|(made, _)| *made).collect();
        let gone: Vec<&Volume> = all
            .iter()
            .zip(kept(&made, &keep))
            .filter(|(_, kept)| !kept)
            .filter_map(|((_, volume), _)| *volume)
            .collect();
        for volume in &gone {
            self.script.push((share, format!("INFO: removing backup '{}'", volume.volid)));
            self.pruned.push(volume.key());
        }
        self.say(share, format!("INFO: pruned {} backup(s) not covered by keep-retention policy", gone.len()));
    }
}

/// What the names of archives end with, and how their format is called.
fn ending(context: &Context<'_>, kind: GuestKind, storage: &Storage) -> (String, String) {
    if storage.kind == "pbs" {
        let format = if kind == GuestKind::Qemu { "pbs-vm" } else { "pbs-ct" };
        return (String::new(), format.into());
    }
    let plain = if kind == GuestKind::Qemu { "vma" } else { "tar" };
    let packed = match context.param("compress").unwrap_or("0") {
        "gzip" => ".gz",
        "lzo" | "1" => ".lzo",
        "zstd" => ".zst",
        _ => "",
    };
    (format!("{plain}{packed}"), format!("{plain}{packed}"))
}

/// An archive by its volume, as this node finds it.
pub(super) fn find<'c>(context: &'c Context<'_>, node: &str, volid: &str) -> Result<(&'c Volume, &'c Archive), Fault> {
    let key = context.world.key_of(node, volid);
    let found = context.world.volumes.get(key.as_str()).zip(context.world.archives.get(key.as_str()));
    found.ok_or_else(|| Fault::die(format!("volume '{volid}' does not exist")))
}

fn extract(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let (volume, archive) = find(context, &context.node()?, context.need("volume")?)?;
    require(context, volume)?;
    Ok(Reply::data(file_of(archive)))
}

/// Notes and protection.
fn update(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let (storage, name) = (context.need("storage")?, context.need("volume")?);
    let volid = if name.contains(':') { name.to_owned() } else { format!("{storage}:{name}") };
    let node = context.node()?;
    let (volume, _) = find(context, &node, &volid)?;
    require(context, volume)?;
    let (notes, protected) = (context.param("notes"), context.param("protected"));
    let key = context.world.key_of(&node, &volid);
    if let Some(archive) = context.world.archives.edit(&key) {
        if let Some(notes) = notes {
            archive.notes = Some(notes.to_owned()).filter(|notes| !notes.is_empty());
        }
        if let Some(protected) = protected {
            archive.protected = protected == "1";
        }
    }
    Ok(Reply::null())
}

/// The archives of a storage that pruning is about, each with whether it stays.
fn reckoned(context: &Context<'_>) -> Result<Vec<(Volume, GuestKind, &'static str)>, Fault> {
    let (node, name) = (context.node()?, context.need("storage")?);
    let storage = context.world.storages.get(name).filter(|storage| storage.is_on(&node));
    let storage = storage.ok_or_else(|| Fault::parameter("storage", "No such storage."))?;
    let rules = context.param("prune-backups").or_else(|| storage.key("prune-backups"));
    let rules = rules
        .ok_or_else(|| Fault::die(format!("no prune-backups options configured for storage '{}'", storage.name)))?;
    let keep = keep_of(rules);
    let mut groups: BTreeMap<(&str, u32), Vec<(&Volume, &Archive)>> = BTreeMap::new();
    for (volume, archive) in context.world.archives_in(&node, name) {
        let vmid = volume.vmid.unwrap_or_default();
        let wanted = context.number("vmid").is_none_or(|wanted| wanted == i64::from(vmid))
            && context.param("type").is_none_or(|kind| kind == archive.kind.api());
        if wanted {
            groups.entry((archive.kind.api(), vmid)).or_default().push((volume, archive));
        }
    }
    let mut marked = Vec::new();
    for group in groups.into_values() {
        let (protected, free): (Vec<_>, Vec<_>) = group.into_iter().partition(|(_, archive)| archive.protected);
        let made: Vec<i64> = free.iter().map(|(volume, _)| seconds(volume.created)).collect();
        let stays = keep.as_ref().map_or_else(|| vec![true; made.len()], |keep| kept(&made, keep));
        let free = free.into_iter().zip(stays).map(|(one, stays)| (one, if stays { "keep" } else { "remove" }));
        let all = protected.into_iter().map(|one| (one, "protected")).chain(free);
        marked.extend(all.map(|((volume, archive), mark)| (volume.clone(), archive.kind, mark)));
    }
    Ok(marked)
}

fn prunable(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let rows = reckoned(context)?.into_iter().map(|(volume, kind, mark)| {
        let (ctime, vmid) = (seconds(volume.created), volume.vmid);
        json!({"volid": volume.volid, "ctime": ctime, "vmid": vmid, "type": kind.api(), "mark": mark})
    });
    Ok(Reply::data(rows.collect::<Vec<Value>>()))
}

fn prune(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let storage = context.need("storage")?;
    let path = format!("/storage/{storage}");
    if !context.may(&path, &["Datastore.Allocate"]) {
        let vmid = context.param("vmid").ok_or_else(|| Fault::forbidden(&path, "Datastore.Allocate"))?;
        context.require(&path, &["Datastore.AllocateSpace"])?;
        context.require(&format!("/vms/{vmid}"), &["VM.Backup"])?;
    }
    let gone: Vec<Volume> =
        reckoned(context)?.into_iter().filter(|(.., mark)| *mark == "remove").map(|(volume, ..)| volume).collect();
    let script = gone.iter().map(|volume| (0.5, format!("Removed '{}'", volume.volid))).collect();
    let id = context.param("vmid").map_or_else(|| storage.to_owned(), |vmid| format!("{vmid}@{storage}"));
    let order = Order {
        node: context.node()?,
        kind: "prunebackups",
        id,
        authid: context.authid(),
        takes: 100,
        holds: Vec::new(),
        script,
        effect: Effect::DropArchives(gone.iter().map(Volume::key).collect()),
    };
    Ok(context.begin(order))
}
