//! What must hold on a host whatever happened to it, once the commands that were killed were tried again.
//!
//! Looks at the files, the database and the processes themselves, and believes no command.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::FileExt as _,
    path::Path,
};

use pvectl::{journal::Journal, model::Size};
use rusqlite::{Connection, OpenFlags};
use serde_json::Value;

use crate::{harness::eventually, local::Host};

/// A VM as its row has it.
#[derive(Debug)]
struct Row {
    uuid: String,
    phase: String,
    pid: Option<u32>,
    /// The configuration, then what waits.
    configs: [Value; 2],
    /// Its snapshots by their names.
    snapshots: Value,
}

fn open(host: &Host) -> Connection {
    Connection::open_with_flags(host.state().join("local.db"), OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap()
}

fn rows(connection: &Connection) -> BTreeMap<u32, Row> {
    let mut query = connection.prepare("SELECT vmid, uuid, phase, pid, config, pending, snapshots FROM vm").unwrap();
    let row = |row: &rusqlite::Row<'_>| {
        let json = |at| Ok::<Value, rusqlite::Error>(serde_json::from_str(&row.get::<_, String>(at)?).unwrap());
        let configs = [json(4)?, json(5)?];
        let found = Row { uuid: row.get(1)?, phase: row.get(2)?, pid: row.get(3)?, configs, snapshots: json(6)? };
        Ok((row.get(0)?, found))
    };
    query.query_map([], row).unwrap().map(Result::unwrap).collect()
}

fn count(connection: &Connection, query: &str) -> u32 {
    connection.query_row(query, [], |row| row.get(0)).unwrap()
}

/// The names in a directory; none where there is no directory.
fn names(directory: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// The volumes `100/vm-100-disk-0.raw` that a configuration names, with what stands behind their names.
fn volumes(config: &Value) -> Vec<(String, String)> {
    let values = config.as_object().unwrap().values().filter_map(Value::as_str);
    let named = values.filter_map(|value| value.strip_prefix("local:"));
    let parts = named.map(|value| value.split_once(',').unwrap_or((value, "")));
    parts.filter(|(name, _)| name.contains('/')).map(|(name, rest)| (name.to_owned(), rest.to_owned())).collect()
}

/// The files of disks that a VM has: its own, and those that its snapshots keep.
fn owned(row: &Row) -> BTreeSet<String> {
    let mut owned: BTreeSet<String> = row.configs.iter().flat_map(volumes).map(|(name, _)| name).collect();
    for (name, snapshot) in row.snapshots.as_object().unwrap() {
        for (volume, _) in volumes(&snapshot["config"]) {
            let (stem, ending) = volume.rsplit_once('.').unwrap();
            owned.insert(format!("{stem}.snap-{name}.{ending}"));
        }
    }
    owned
}

/// The folders of memory that a VM has.
fn memories(row: &Row) -> BTreeSet<String> {
    let states = row.snapshots.as_object().unwrap().values().map(|snapshot| &snapshot["vmstate"]);
    let states = states.chain([&row.configs[0]["vmstate"]]).filter_map(Value::as_str);
    states.map(|path| path.rsplit('/').next().unwrap().to_owned()).collect()
}

/// How large the guest finds a disk.
fn size(file: &Path) -> u64 {
    let mut bytes = [0; 8];
    match file.extension().is_some_and(|ending| ending == "qcow2") {
        true => {
            fs::File::open(file).unwrap().read_exact_at(&mut bytes, 24).unwrap();
            u64::from_be_bytes(bytes)
        }
        false => fs::metadata(file).unwrap().len(),
    }
}

/// The taps that carry the mark of a VM.
fn taps(uuid: &str) -> BTreeSet<String> {
    let mark = format!("pvectl:{uuid}");
    let is_its = |name: &String| {
        fs::read_to_string(format!("/sys/class/net/{name}/ifalias")).is_ok_and(|alias| alias.trim() == mark)
    };
    names(Path::new("/sys/class/net")).into_iter().filter(is_its).collect()
}

/// Who runs is listed as running, and nobody else. A process in which a VM was about to be started runs none.
pub(super) fn list_is_true(host: &Host, when: &str) {
    // A VMM that was told to end when the command was killed takes its time.
    eventually(&format!("{when}: the list is true"), || {
        let listed = host.env.json("vm list");
        let listed = listed.as_array().unwrap().iter().filter(|row| row["status"] != "stopped").count();
        let cut = count(&open(host), "SELECT count(*) FROM vm WHERE phase = 'starting'") as usize;
        let running = host.processes().len();
        (running.saturating_sub(cut)..=running).contains(&listed).then_some(())
    });
}

/// Nothing is left of what was killed, nothing is lost, and what is told is true.
pub(super) fn check(host: &Host, when: &str) {
    list_is_true(host, when);
    whole(host, when);
    told(host, when);
}

/// Nothing is left of what was killed, and nothing is lost: the part of it for which no command is needed.
pub(super) fn whole(host: &Host, when: &str) {
    let connection = open(host);
    let rows = rows(&connection);
    assert_eq!(count(&connection, "SELECT count(*) FROM intent"), 0, "{when}: something is left to be done");

    // Processes and rows: each has the other.
    let recorded: BTreeSet<u32> = rows.values().filter_map(|row| row.pid).collect();
    let running: BTreeSet<u32> = host.processes().into_iter().collect();
    assert_eq!(running, recorded, "{when}: processes that run, and those that rows know");
    for (vmid, row) in &rows {
        let want = if row.pid.is_some() { "running" } else { "stopped" };
        assert_eq!(row.phase, want, "{when}: {vmid}");
    }

    // Disks: each file is somebody's, and what somebody has is there.
    let mut files = BTreeSet::new();
    let images = host.state().join("storage/local/images");
    for folder in names(&images) {
        let inside = names(&images.join(&folder));
        assert!(!inside.is_empty(), "{when}: the folder {folder} is of no use");
        files.extend(inside.into_iter().map(|name| format!("{folder}/{name}")));
    }
    let all: BTreeSet<String> = rows.values().flat_map(owned).collect();
    assert_eq!(files, all, "{when}: files of disks, and what VMs have");
    for (name, rest) in rows.values().flat_map(|row| volumes(&row.configs[0])) {
        let Some(said) = rest.split(',').find_map(|part| part.strip_prefix("size=")) else { continue };
        assert_eq!(said.parse::<Size>().unwrap().0, size(&images.join(&name)), "{when}: {name}");
    }
    let store = host.state().join("images");
    let index = fs::read_to_string(store.join("index.json")).unwrap_or_default();
    for file in names(&store) {
        let own = ["index.json", "lock"].contains(&file.as_str());
        assert!(own || index.contains(&format!("\"{file}\"")), "{when}: {file} is no image");
    }

    // Directories and sockets.
    let uuids: BTreeSet<String> = rows.values().map(|row| row.uuid.clone()).collect();
    let directories = names(&host.state().join("vms"));
    assert!(directories.is_subset(&uuids), "{when}: directories of nobody: {directories:?}, {uuids:?}");
    for (vmid, row) in &rows {
        let inside = names(&host.state().join("vms").join(&row.uuid));
        let memory: BTreeSet<String> = inside.iter().filter(|name| name.starts_with("memory-")).cloned().collect();
        assert_eq!(memory, memories(row), "{when}: the memory of {vmid}");
        let half = inside.iter().find(|name| name.ends_with(".next") || name.ends_with(".tmp"));
        assert_eq!(half, None, "{when}: {vmid}");
        let cards = row.configs[0].as_object().unwrap().keys().filter_map(|key| key.strip_prefix("net"));
        let cards = cards.filter(|_| row.pid.is_some()).map(|n| format!("tap{vmid}i{n}"));
        assert_eq!(taps(&row.uuid), cards.collect(), "{when}: the taps of {vmid}");
    }
    let run = host.env.path("run/pvectl");
    for name in names(&run) {
        let (vmid, uuid) = name.split_once('-').unwrap();
        let row = rows.get(&vmid.parse().unwrap()).filter(|row| row.uuid.starts_with(uuid));
        let row = row.unwrap_or_else(|| panic!("{when}: the sockets of nobody: {name}"));
        let sockets: Vec<String> = names(&run.join(&name)).into_iter().filter(|name| name != "owner").collect();
        assert!(row.pid.is_some() || sockets.is_empty(), "{when}: {vmid} is off and has {sockets:?}");
    }
}

/// What is told: every task and every operation has an end once somebody has looked, and the journal's chain holds.
fn told(host: &Host, when: &str) {
    let _ = host.env.json("task list");
    assert_eq!(count(&open(host), "SELECT count(*) FROM task WHERE exit IS NULL"), 0, "{when}: tasks without an end");
    let operations = host.env.json("operation list --limit 1000");
    let open: Vec<&Value> = operations
        .as_array()
        .unwrap()
        .iter()
        .filter(|row| ["planned", "sent", "running"].contains(&row["status"].as_str().unwrap()))
        .collect();
    assert!(open.is_empty(), "{when}: operations without an end: {open:?}");
    // Nobody has one who only pulled images.
    let Some(journal) = Journal::open_read_only(&host.env.journal()).unwrap() else { return };
    assert_eq!(journal.verify().unwrap().broken, None, "{when}");
}
