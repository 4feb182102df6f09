//! What must hold on a host whatever happened to it, once the commands that were killed were tried again.
//!
//! Looks at the files, the database and the processes themselves, and believes no command.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use pvectl::journal::Journal;
use rusqlite::{Connection, OpenFlags};
use serde_json::Value;

use crate::{harness::eventually, local::Host};

/// A VM as its row has it.
#[derive(Debug)]
struct Row {
    uuid: String,
    phase: String,
    pid: Option<u32>,
    /// Configuration, what waits and snapshots, as they are written.
    texts: String,
}

fn open(host: &Host) -> Connection {
    Connection::open_with_flags(host.state().join("local.db"), OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap()
}

fn rows(connection: &Connection) -> BTreeMap<u32, Row> {
    let mut query =
        connection.prepare("SELECT vmid, uuid, phase, pid, config || pending || snapshots FROM vm").unwrap();
    let row = |row: &rusqlite::Row<'_>| {
        let found = Row { uuid: row.get(1)?, phase: row.get(2)?, pid: row.get(3)?, texts: row.get(4)? };
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

/// The volumes `local:100/vm-100-disk-0.raw` that a text names.
fn volumes(text: &str) -> BTreeSet<String> {
    let names = text.split("local:").skip(1).map(|rest| rest.split([',', '"']).next().unwrap());
    names.filter(|name| name.contains('/')).map(str::to_owned).collect()
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

/// Nothing is left of what was killed, and nothing is lost.
pub(super) fn check(host: &Host, when: &str) {
    list_is_true(host, when);
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
    let owned: BTreeSet<String> = rows.values().flat_map(|row| volumes(&row.texts)).collect();
    assert_eq!(files, owned, "{when}: files of disks, and what VMs have");

    // Directories and sockets.
    let uuids: BTreeSet<String> = rows.values().map(|row| row.uuid.clone()).collect();
    let directories = names(&host.state().join("vms"));
    assert!(directories.is_subset(&uuids), "{when}: directories of nobody: {directories:?}, {uuids:?}");
    let run = host.env.path("run/pvectl");
    for name in names(&run) {
        let (vmid, uuid) = name.split_once('-').unwrap();
        let row = rows.get(&vmid.parse().unwrap()).filter(|row| row.uuid.starts_with(uuid));
        let row = row.unwrap_or_else(|| panic!("{when}: the sockets of nobody: {name}"));
        let sockets: Vec<String> = names(&run.join(&name)).into_iter().collect();
        assert!(row.pid.is_some() || sockets.is_empty(), "{when}: {vmid} is off and has {sockets:?}");
    }

    // What is told: nothing goes on, and every task has an end once somebody has looked.
    let _ = host.env.json("task list");
    assert_eq!(count(&connection, "SELECT count(*) FROM task WHERE exit IS NULL"), 0, "{when}: tasks without an end");
    told(host, when);
}

/// The journal has an end for every operation, and its chain holds.
fn told(host: &Host, when: &str) {
    let operations = host.env.json("operation list --limit 1000");
    let open: Vec<&Value> = operations
        .as_array()
        .unwrap()
        .iter()
        .filter(|row| ["planned", "sent", "running"].contains(&row["status"].as_str().unwrap()))
        .collect();
    assert!(open.is_empty(), "{when}: operations without an end: {open:?}");
    let journal = Journal::open_read_only(&host.env.journal()).unwrap().unwrap();
    assert_eq!(journal.verify().unwrap().broken, None, "{when}");
}
