//! Coming back to what was left: `task attach`, and what the journal says after pvectl was killed at any moment.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use insta::assert_snapshot;
use serde_json::Value;

use crate::harness::{Chance, Env, Running, Server, number};

fn list(rows: &Value) -> &[Value] {
    rows.as_array().unwrap()
}

fn word<'a>(row: &'a Value, key: &str) -> &'a str {
    row[key].as_str().unwrap_or_default()
}

/// A server with so many guests from 10000 on, whose tasks take so many times their usual tenths of a second. Three of
/// four are VMs, and every third guest is stopped.
fn crowd(guests: usize, pace: &str) -> Server {
    let env = Env::new();
    let _ = env.run(&format!("sandbox reset --guests {guests} --pace {pace}")).ok();
    env.serve("")
}

/// The first VMs there that are stopped.
fn stopped(count: usize) -> Vec<String> {
    (0..).filter(|n| n % 3 == 0 && n % 4 != 3).take(count).map(|n| (10_000 + n).to_string()).collect()
}

#[test]
fn what_was_left_is_followed_at_once() {
    let server = crowd(120, "5");
    let _ = server.run(&format!("vm start {} --no-wait --quiet", stopped(30).join(","))).ok();
    let before = server.requests().len();
    let rows = server.run("task attach -o json").ok().says(&["operation 2: start 10000"]).json();
    assert_eq!(list(&rows).len(), 30);
    assert!(list(&rows).iter().all(|row| row["status"] == "ok" && row["exit_status"] == "OK"), "{rows}");
    let log = server.requests();
    let lists = log[before..].iter().filter(|line| line.contains("/tasks ")).count();
    let exact = log[before..].iter().filter(|line| line.contains("/tasks/UPID")).count();
    assert!(lists > 0 && exact <= 3 * lists + 30, "one list for all of a node:\n{}", log[before..].join("\n"));
    assert_eq!(server.changes().len(), 30);
    assert_snapshot!(server.run("task attach"), @"
    exit 0
    --- stdout
    ID  STARTED  VERB  TARGET  VMID  NODE  STATUS  TOOK  EXIT STATUS
    --- stderr
    nothing is in flight
    ");
    assert!(list(&server.json("operation list")).iter().all(|row| row["status"] == "ok"));
}

#[test]
fn work_of_other_contexts_is_counted_and_left_alone() {
    let env = Env::paced("5");
    let _ = env.run("vm start 101 --no-wait --quiet").ok();
    let server = env.serve("");
    let _ = server.run("container start dns --no-wait --quiet").ok();
    let rows = server
        .run("task attach -o json")
        .ok()
        .says(&["1 more in flight in context sandbox: pvectl task attach --context sandbox"]);
    assert_eq!(list(&rows.json()).len(), 1);
    let rows = env.run("task attach -o json").ok().json();
    assert_eq!((word(&rows[0], "target"), word(&rows[0], "status")), ("101", "ok"));
}

/// Its rows are written by the process that lives, once, and by whoever comes after one that does not.
#[test]
fn who_lives_notes_its_own_ends() {
    let server = Env::paced("5").serve("");
    let mut living = server.spawn("vm create --vmid 150 --name a --start");
    living.until("task UPID");
    let mut dying = server.spawn("vm start 101");
    dying.until("task UPID");
    let attached = server.spawn("task attach -o json");
    dying.kill();
    let rows = attached.wait().ok().json();
    let _ = living.wait().ok();
    assert!(list(&rows).len() == 2 && list(&rows).iter().all(|row| row["status"] == "ok"), "{rows}");
    for id in [1, 2] {
        let shown = server.json(&format!("operation show {id}"));
        let events: Vec<&str> = list(&shown["events"]).iter().map(|event| word(&event["payload"], "event")).collect();
        assert_eq!(events.iter().filter(|event| **event == "ended").count(), 1, "{events:?}");
    }
}

#[test]
fn failures_and_unfinished_work_are_told() {
    let server = Env::paced("2000").serve("");
    let upid = server.run("vm start 101 --no-wait --quiet").ok().raw;
    let _ = server.run("task attach --timeout 300ms").exits(8).says(&["has not ended within", "it goes on"]);
    let mut stopped = server.spawn("task attach");
    stopped.until("task UPID");
    let _ = server.run(&format!("task stop {}", upid.trim())).ok();
    assert_snapshot!(stopped.wait(), @"
    exit 1
    --- stdout
    ID  STARTED  VERB   TARGET  VMID  NODE  STATUS  TOOK  EXIT STATUS
     1  0s ago   start  101      101  pve2  failed  0s  received interrupt
    --- stderr
    ✗ operation 1: start 101 (web-2): received interrupt
    error: operation 1: start 101 (web-2) failed
      caused by: received interrupt
    ");
}

#[cfg(unix)]
#[test]
fn an_interrupt_leaves_the_work_alone() {
    let server = Env::paced("2000").serve("");
    let _ = server.run("vm start 101 --no-wait --quiet").ok();
    let mut attached = server.spawn("task attach");
    attached.until("task UPID");
    attached.interrupt();
    assert_snapshot!(attached.wait(), @"
    exit 130
    --- stdout
    ID  STARTED  VERB   TARGET  VMID  NODE  STATUS   TOOK  EXIT STATUS
     1  0s ago   start  101      101  pve2  running     -  -
    --- stderr
    error: interrupted: operation 1 goes on
    hint: come back to it with `pvectl task attach`
    ");
    assert_eq!(server.changes().len(), 1);
}

/// How many guests a bulk is about; the containers among them do not count.
const BULK: usize = 28;
/// How many kills a server sees: with fewer guests it answers sooner.
const IN_A_ROW: u64 = 5;
/// How many kills there are.
const KILLS: u64 = 25;
/// `PVECTL_TEST_KILLS` makes it longer; each seed is another one, though moments are never quite the same.
#[test]
fn a_bulk_that_is_killed_anywhere_leaves_the_truth() {
    let mut left = number("PVECTL_TEST_KILLS").unwrap_or(KILLS);
    let mut chance = Chance::any();
    while left > 0 {
        let some = IN_A_ROW.min(left);
        kill(some as usize, &mut chance);
        left -= some;
    }
}

/// Starts and stops guests, kills that so many times, and looks each time.
fn kill(kills: usize, chance: &mut Chance) {
    let server = crowd(kills.div_ceil(2) * BULK, "0.5");
    for round in 0..kills {
        let first = 10_000 + round / 2 * BULK;
        let verb = if round % 2 == 0 { "stop" } else { "start" };
        let dying = server.spawn(&format!("vm {verb} {first}-{} --quiet", first + BULK - 1));
        std::thread::sleep(Duration::from_millis(u64::from(chance.below(550))));
        dying.kill();
        let attached = server.run("task attach -o json");
        assert!([0, 1, 8].contains(&attached.code), "{attached}");
        let when = format!("{verb} of {first} and so on");
        agree(&server, &when);
    }
    let _ = server.run("task attach");
    agree(&server, "all of it");
    let rows = server.json("operation list --limit 1000000 --status running");
    // What has parts goes on as long as a request may still be on its way.
    assert!(list(&rows).iter().all(|row| row["vmid"].is_null()), "{rows}");
    assert_eq!(server.json("operation verify")["broken"], Value::Null);
}

/// Journal and server say the same, and each request is in both, once.
fn agree(server: &Server, when: &str) {
    let lines = server.run("operation export").ok().raw;
    let rows: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut sent: BTreeMap<&str, usize> = BTreeMap::new();
    for row in &rows {
        let fine = ["ok", "cancelled", "running", "sent", "unknown"].contains(&word(row, "status"));
        assert!(fine, "after {when}: {row}");
        for step in list(&row["steps"]).iter().filter(|step| !step["sent"].is_null()) {
            *sent.entry(word(&step["call"], "path")).or_default() += 1;
        }
    }
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for line in server.changes() {
        *seen.entry(line.split(' ').nth(1).unwrap().to_owned()).or_default() += 1;
    }
    for (path, count) in &seen {
        assert_eq!(*count, 1, "after {when}: {path} was sent twice");
        assert_eq!(sent.get(path.as_str()), Some(&1), "after {when}: {path} is in the journal once");
    }
    let noted: BTreeMap<&str, &Value> = rows.iter().map(|row| (word(row, "upid"), row)).collect();
    let tasks = server.json("task list --limit 1000000");
    let there: BTreeSet<&str> = list(&tasks).iter().map(|task| word(task, "upid")).collect();
    for task in list(&tasks) {
        // A request may have been on its way when its sender died: then its task began after the first look.
        let row = noted.get(word(task, "upid")).unwrap_or_else(|| panic!("after {when}: nobody has {task}"));
        let same = word(row, "status") == "running" || word(row, "exit_status") == word(task, "status");
        assert!(same, "after {when}: {row} and {task}");
    }
    for upid in noted.keys().filter(|upid| !upid.is_empty()) {
        assert!(there.contains(upid), "after {when}: the server knows nothing of {upid}");
    }
}

#[test]
fn many_processes_write_at_once() {
    const PROCESSES: usize = 64;
    let server = crowd(4 * PROCESSES, "0");
    let begin = |vmid: String| server.spawn(&format!("vm start {vmid} --quiet -o name"));
    let all: Vec<Running> = stopped(PROCESSES).into_iter().map(begin).collect();
    all.into_iter().for_each(|one| drop(one.wait().ok()));
    let rows = server.json("operation list --limit 1000");
    let vmids: BTreeSet<u64> = list(&rows).iter().filter_map(|row| row["vmid"].as_u64()).collect();
    assert_eq!((list(&rows).len(), vmids.len()), (PROCESSES, PROCESSES));
    assert!(list(&rows).iter().all(|row| row["status"] == "ok"), "{rows}");
    let found = server.json("operation verify");
    // Planned, sent, the task, its end and the operation's.
    assert_eq!((&found["broken"], &found["events"]), (&Value::Null, &(5 * PROCESSES).into()), "{found}");
}
