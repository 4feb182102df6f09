//! Processes that die: the server while a task is watched, pvectl while it waits.

use insta::assert_snapshot;

use crate::harness::{Env, eventually};

#[test]
fn a_server_that_dies_is_waited_for_and_then_left_with_the_way_back() {
    let mut server = Env::paced("2000").serve("");
    let mut watching = server.spawn("vm start 101 --timeout 3s");
    watching.until("task UPID");
    server.kill();
    assert_snapshot!(watching.wait(), @"
    exit 8
    --- stdout
    VMID  NAME   NODE  VERB   STATUS   CHANGED  EXIT STATUS
     101  web-2  pve2  start  running  yes      -
    --- stderr
    warning: vm/101 (web-2): the server does not answer (cannot reach http://127.0.0.1:PORT: connection refused); the task goes on, still trying
    … vm/101 (web-2) start goes on (0.0s)
    error: the server stopped answering, and whether task UPID:pve2:…:qmstart:101:root@pam!pvectl: ended is not known (waited 3s)
      caused by: cannot reach http://127.0.0.1:PORT: connection refused
    hint: come back to it with `pvectl task watch UPID:pve2:…:qmstart:101:root@pam!pvectl:`
    ");
    server.restart();
    let operation = &server.json("operation list")[0];
    assert_eq!(operation["status"], "running", "in flight, not failed: {operation}");
}

#[test]
fn a_server_that_comes_back_is_followed_to_the_end() {
    let mut server = Env::paced("3").serve("");
    let mut watching = server.spawn("vm start 101");
    let said = watching.until("task UPID");
    server.kill();
    watching.until("warning");
    server.restart();
    let output = watching.wait();
    assert_snapshot!(output, @"
    exit 0
    --- stdout
    VMID  NAME   NODE  VERB   STATUS  CHANGED  EXIT STATUS
     101  web-2  pve2  start  ok      yes      OK
    --- stderr
    vm/101 (web-2): the server answers again
    ✓ vm/101 (web-2) started (0.0s)
    ");
    assert_eq!(server.json("operation list")[0]["status"], "ok", "{said}");
}

#[test]
fn a_pvectl_that_dies_leaves_an_operation_that_the_next_one_settles() {
    let server = Env::paced("1").serve("");
    let mut dying = server.spawn("vm start 101");
    dying.until("task UPID");
    dying.kill();
    eventually("the journal has the end", || {
        let row = server.json("operation list")[0].clone();
        (row["status"] == "ok" && row["exit_status"] == "OK").then_some(())
    });
    assert_eq!(server.changes().len(), 1);
}

#[test]
fn a_watched_task_survives_the_server_too() {
    let mut server = Env::paced("2000").serve("");
    let upid = server.run("vm start 101 --no-wait --quiet").ok().raw;
    let mut watching = server.spawn(&format!("task watch {} --timeout 3s", upid.trim()));
    eventually("the task is looked at", || (server.count("GET", "/status") > 1).then_some(()));
    server.kill();
    watching.until("does not answer");
    assert_snapshot!(watching.wait(), @"
    exit 8
    --- stderr
    error: the server stopped answering, and whether task UPID:pve2:…:qmstart:101:root@pam!pvectl: ended is not known (waited 3s)
      caused by: cannot reach http://127.0.0.1:PORT: connection refused
    hint: come back to it with `pvectl task watch UPID:pve2:…:qmstart:101:root@pam!pvectl:`
    ");
}

/// Killed between two steps: the first one's end is noted, and the second was never sent.
#[test]
fn a_pvectl_that_dies_between_two_steps_leaves_the_second_unsent() {
    let server = Env::paced("1").serve("");
    let mut dying = server.spawn("vm create --vmid 150 --name a --start");
    dying.until("task UPID");
    dying.kill();
    let row = eventually("the journal has the end", || {
        let row = server.json("operation list")[0].clone();
        (row["ended"] != serde_json::Value::Null).then_some(row)
    });
    assert_eq!((&row["status"], &row["exit_status"]), (&"cancelled".into(), &"OK".into()), "{row}");
    assert_eq!(server.changes().len(), 1, "nothing is sent on behalf of the dead");
    assert_eq!(server.json("vm get 150")["status"], "stopped");
}

/// Killed after the request went out and before its answer came: its task may still begin, and nobody sends it again.
#[test]
fn a_pvectl_that_dies_without_an_answer_leaves_what_is_not_known() {
    let server = Env::new().serve("--fault 'POST /nodes/*/qemu/*/status/start:delay=100s*1'");
    let dying = server.spawn("vm start 101");
    eventually("the request is planned", || (server.json("operation list")[0]["status"] == "sent").then_some(()));
    dying.kill();
    let row = &server.json("operation list")[0];
    assert_eq!((&row["status"], &row["upid"]), (&"sent".into(), &serde_json::Value::Null), "{row}");
    eventually("the server notices", || (!server.changes().is_empty()).then_some(()));
    assert_eq!(server.changes(), ["POST /nodes/pve2/qemu/101/status/start 0"]);
}

/// The same for a change that starts no task: there is nothing that could be found later.
#[test]
fn a_change_at_once_without_an_answer_is_unknown() {
    let server = Env::new().serve("--fault 'PUT /nodes/*/qemu/*/config:delay=100s*1'");
    let dying = server.spawn("vm update 101 --cores 4");
    eventually("the request is planned", || (server.json("operation list")[0]["status"] == "sent").then_some(()));
    dying.kill();
    let row = &server.json("operation list")[0];
    assert_eq!((&row["status"], &row["upid"]), (&"unknown".into(), &serde_json::Value::Null), "{row}");
    eventually("the server notices", || (!server.changes().is_empty()).then_some(()));
    assert_eq!(server.changes(), ["PUT /nodes/pve2/qemu/101/config 0"]);
}

/// Killed when the work was begun and the answer lost: the next command finds the task.
#[test]
fn a_pvectl_that_dies_without_its_answer_has_its_task_found() {
    let faults = "--fault 'POST /nodes/*/qemu/*/status/start:reset-after*1' --fault 'GET /version:delay=100s*1'";
    let server = Env::new().serve(faults);
    let dying = server.spawn("vm start 101");
    eventually("it is done", || (server.count("POST", "/status/start") == 1).then_some(()));
    assert_eq!(server.json("operation list")[0]["status"], "sent", "somebody still waits for the answer");
    dying.kill();
    let row = eventually("it is settled", || {
        let row = server.json("operation list")[0].clone();
        (row["status"] != "sent").then_some(row)
    });
    assert_eq!((&row["status"], &row["exit_status"]), (&"ok".into(), &"OK".into()), "{row}");
    let task = &server.json("task list --vmid 101")[0];
    assert_eq!(row["upid"], task["upid"]);
    assert_eq!(server.changes().len(), 1);
}

/// Two that may each have begun the only task there is: nobody can say which of them did.
#[test]
fn a_task_that_may_be_of_either_is_claimed_by_none() {
    let faults = "--fault 'POST /nodes/*/qemu/*/status/start:reset-before*1' --fault 'POST /nodes/*/qemu/*/status/start:truncate-after*2' --fault 'GET /version:delay=100s*2'";
    let server = Env::new().serve(faults);
    let one = server.spawn("vm start 101");
    eventually("it is lost", || (server.count("POST", "/status/start") == 1).then_some(()));
    let other = server.spawn("vm start 101");
    eventually("it is done", || (server.count("POST", "/status/start") == 2).then_some(()));
    one.kill();
    other.kill();
    let rows = eventually("both are settled", || {
        let rows = server.json("operation list");
        rows.as_array().unwrap().iter().all(|row| row["status"] == "unknown").then_some(rows)
    });
    assert!(rows[0]["error"].as_str().unwrap().contains("several tasks may be"), "{rows}");
    assert_eq!(server.changes().len(), 2, "nothing is sent again");
}

#[cfg(unix)]
#[test]
fn an_interrupt_stops_the_watching_and_not_the_work() {
    let env = Env::paced("3");
    let mut watching = env.spawn("vm start 101");
    watching.until("task UPID");
    watching.interrupt();
    assert_snapshot!(watching.wait(), @"
    exit 130
    --- stdout
    VMID  NAME   NODE  VERB   STATUS   CHANGED  EXIT STATUS
     101  web-2  pve2  start  running  yes      -
    --- stderr
    … vm/101 (web-2) start goes on (0.0s)
    error: interrupted: the task goes on
    hint: come back to it with `pvectl task watch UPID:pve2:…:qmstart:101:root@pam!pvectl:`
    ");
    eventually("the VM runs", || (env.json("vm get 101")["status"] == "running").then_some(()));
}

#[cfg(unix)]
#[test]
fn an_interrupt_sends_no_further_targets() {
    let env = Env::new();
    let _ = env.run("sandbox reset --guests 60 --pace 2000").ok();
    let server = env.serve("");
    let mut watching = server.spawn("vm start 10000-10059 --timeout 60s");
    watching.until("task UPID");
    watching.interrupt();
    let output = watching.wait().exits(130).says(&["not sent:", "pvectl task watch UPID"]);
    let sent = server.changes().len();
    assert!((1..=20).contains(&sent), "{sent} were sent\n{output}");
}
