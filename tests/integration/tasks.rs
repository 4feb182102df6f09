//! Tasks by their UPID: listed, watched, read, stopped, and left alone.

use insta::assert_snapshot;

use crate::harness::{Env, eventually};

/// A start that is only sent, and its UPID.
fn sent(env: &Env, line: &str) -> String {
    env.run(&format!("{line} --no-wait --quiet")).ok().raw.trim().to_owned()
}

#[test]
fn no_wait_prints_the_upid_and_watch_picks_it_up() {
    let env = Env::paced("1");
    let sent = env.run("vm start 101 --no-wait").ok();
    assert_snapshot!(sent, @"
    exit 0
    --- stdout
    UPID:pve2:…:qmstart:101:root@pam!pvectl:
    --- stderr
    starting vm/101 (web-2)
    … vm/101 (web-2) start goes on (0.0s)
    ");
    let upid = sent.raw.trim();
    assert_eq!(env.json(&format!("task get {upid}"))["upid"], upid);
    assert_snapshot!(env.run(&format!("task watch {upid}")), @"
    exit 0
    --- stdout
    STARTED  TYPE     ID   NODE  USER             STATUS   EXIT STATUS
    0s ago   qmstart  101  pve2  root@pam!pvectl  stopped  OK
    --- stderr
    TASK OK
    ");
    assert_eq!(env.json("vm get 101")["status"], "running");
    assert_snapshot!(env.run(&format!("task get {upid} -o json")), @r#"
    exit 0
    --- stdout
    {
      "upid": "UPID:pve2:…:qmstart:101:root@pam!pvectl:",
      "node": "pve2",
      "type": "qmstart",
      "id": "101",
      "user": "root@pam!pvectl",
      "started": "TIME",
      "status": "stopped",
      "exit_status": "OK",
      "context": "sandbox"
    }
    "#);
    assert_snapshot!(env.run(&format!("task logs {upid}")), @"
    exit 0
    --- stdout
    TASK OK
    ");
    assert_snapshot!(env.run(&format!("task logs {upid} --tail 1 -o json")), @r#"
    exit 0
    --- stdout
    [
      {
        "n": 1,
        "t": "TASK OK"
      }
    ]
    "#);
    assert_snapshot!(env.run("task list --vmid 101"), @"
    exit 0
    --- stdout
    STARTED  TYPE     ID   NODE  USER             TOOK  STATUS
    0s ago   qmstart  101  pve2  root@pam!pvectl    0s  OK
    ");
    assert_snapshot!(env.run("vm start 103 --no-wait -o json"), @r#"
    exit 0
    --- stdout
    {
      "vmid": 103,
      "name": "build-1",
      "node": "pve3",
      "verb": "start",
      "status": "running",
      "upid": "UPID:pve3:…:qmstart:103:root@pam!pvectl:",
      "exit_status": null,
      "changed": true,
      "context": "sandbox"
    }
    --- stderr
    starting vm/103 (build-1)
    … vm/103 (build-1) start goes on (0.0s)
    "#);
}

#[test]
fn tasks_go_on_when_no_pvectl_runs() {
    let env = Env::paced("1");
    let upid = sent(&env, "vm start 101");
    assert_eq!(env.json("operation list")[0]["upid"], upid.as_str());
    eventually("the VM runs", || (env.json("vm get 101")["status"] == "running").then_some(()));
    let operation = &env.json("operation list")[0];
    assert_eq!((&operation["status"], &operation["exit_status"]), (&"ok".into(), &"OK".into()), "{operation}");
}

#[test]
fn several_tasks_are_watched_together() {
    let env = Env::paced("1");
    let upids = sent(&env, "vm start 101 103");
    let upids: Vec<&str> = upids.lines().collect();
    assert_eq!(upids.len(), 2);
    let states = env.json(&format!("task watch {}", upids.join(" ")));
    let ends: Vec<&str> = states.as_array().unwrap().iter().map(|s| s["exit_status"].as_str().unwrap()).collect();
    assert_eq!(ends, ["OK", "OK"]);
    let operations = env.json("operation list --status ok");
    assert_eq!(operations.as_array().unwrap().len(), 3, "watching records the ends: {operations}");
}

#[test]
fn a_task_that_fails_gives_its_code_its_words_and_its_log() {
    let env = Env::new();
    env.write("fails.yaml", "description: 'sandbox: start fails'\n");
    let _ = env.run("vm update 101 -f fails.yaml").ok();
    assert_snapshot!(env.run("vm start 101"), @"
    exit 9
    --- stdout
    VMID  NAME   NODE  VERB   STATUS  CHANGED  EXIT STATUS
     101  web-2  pve2  start  failed  no       start failed: QEMU exited with code 1
    --- stderr
    starting vm/101 (web-2)
      vm/101 (web-2): task UPID:pve2:…:qmstart:101:root@pam!pvectl:
    ✗ vm/101 (web-2) start failed (0.0s)
    the last lines of vm/101's task:
      TASK ERROR: start failed: QEMU exited with code 1
    error: cannot start vm/101 (web-2): start failed: QEMU exited with code 1
    ");
    assert_snapshot!(env.run("operation list --status failed -o name"), @"
    exit 0
    --- stdout
    operation/2
    ");
    assert_snapshot!(env.run("task list --failed"), @"
    exit 0
    --- stdout
    STARTED  TYPE     ID   NODE  USER             TOOK  STATUS
    0s ago   qmstart  101  pve2  root@pam!pvectl    0s  start failed: QEMU exited with code 1
    ");
    let upid = sent(&env, "vm start 101");
    assert_snapshot!(env.run(&format!("task watch {upid}")), @"
    exit 9
    --- stdout
    STARTED  TYPE     ID   NODE  USER             STATUS   EXIT STATUS
    0s ago   qmstart  101  pve2  root@pam!pvectl  stopped  start failed: QEMU exited with code 1
    --- stderr
    TASK ERROR: start failed: QEMU exited with code 1
    error: task UPID:pve2:…:qmstart:101:root@pam!pvectl: failed: start failed: QEMU exited with code 1
    ");
    assert_snapshot!(env.run("vm create --vmid 150 --name a --start -f fails.yaml"), @"
    exit 9
    --- stdout
    VMID  NAME  NODE  VERB    STATUS  CHANGED  EXIT STATUS
     150  a     pve3  create  failed  yes      start failed: QEMU exited with code 1
    --- stderr
    creating vm/150 (a)
      vm/150 (a): task UPID:pve3:…:qmcreate:150:root@pam!pvectl:
    starting vm/150 (a)
      vm/150 (a): task UPID:pve3:…:qmstart:150:root@pam!pvectl:
    ✗ vm/150 (a) create failed (0.0s)
    the last lines of vm/150's task:
      TASK ERROR: start failed: QEMU exited with code 1
    error: cannot create vm/150 (a): start failed: QEMU exited with code 1
    hint: vm/150 (a) was made and is kept; when the cause is mended, `pvectl vm start 150`
    ");
    assert_eq!(env.json("vm get 150")["status"], "stopped", "it is kept");
}

#[test]
fn what_is_not_over_in_time_goes_on_and_says_how_to_come_back() {
    let env = Env::paced("2000");
    assert_snapshot!(env.run("vm start 101 --timeout 1s"), @"
    exit 8
    --- stdout
    VMID  NAME   NODE  VERB   STATUS   CHANGED  EXIT STATUS
     101  web-2  pve2  start  running  yes      -
    --- stderr
    starting vm/101 (web-2)
      vm/101 (web-2): task UPID:pve2:…:qmstart:101:root@pam!pvectl:
    … vm/101 (web-2) start goes on (0.0s)
    error: task UPID:pve2:…:qmstart:101:root@pam!pvectl: has not ended within 1s; it goes on
    hint: come back to it with `pvectl task watch UPID:pve2:…:qmstart:101:root@pam!pvectl:`
    ");
    assert_snapshot!(env.run("operation list -o name --status running"), @"
    exit 0
    --- stdout
    operation/1
    ");
    let running = env.json("task list --running");
    let upid = running[0]["upid"].as_str().unwrap();
    assert_snapshot!(env.run(&format!("task watch {upid} --timeout 1s")), @"
    exit 8
    --- stderr
    error: task UPID:pve2:…:qmstart:101:root@pam!pvectl: has not ended within 1s; it goes on
    hint: come back to it with `pvectl task watch UPID:pve2:…:qmstart:101:root@pam!pvectl:`
    ");
    assert_snapshot!(env.run(&format!("task stop {upid} --dry-run")), @"
    exit 0
    --- stderr
    DELETE /nodes/pve2/tasks/UPID:pve2:…:qmstart:101:root@pam!pvectl:
    nothing was sent (--dry-run)
    ");
    assert_snapshot!(env.run(&format!("task stop {upid}")), @"
    exit 0
    --- stdout
    STARTED  TYPE     ID   NODE  USER             STATUS   EXIT STATUS
    0s ago   qmstart  101  pve2  root@pam!pvectl  stopped  received interrupt
    ");
    assert_snapshot!(env.run(&format!("task stop {upid}")), @"
    exit 0
    --- stdout
    STARTED  TYPE     ID   NODE  USER             STATUS   EXIT STATUS
    0s ago   qmstart  101  pve2  root@pam!pvectl  stopped  received interrupt
    --- stderr
    task UPID:pve2:…:qmstart:101:root@pam!pvectl: has ended already
    ");
    assert_eq!(env.json("vm get 101")["status"], "stopped");
}

#[test]
fn what_is_no_upid() {
    let env = Env::new();
    assert_snapshot!(env.run("task watch UPID:pve1:0000"), @"
    exit 2
    --- stderr
    error: `UPID:pve1:0000` is not a UPID: it is cut off: `UPID:node:pid:pstart:starttime:type:id:user:` has 8 colons, this has 2
    ");
    assert_snapshot!(env.run("task watch 100"), @"
    exit 2
    --- stderr
    error: `100` is not a UPID: it does not begin with `UPID:`
    ");
    let unknown = "UPID:pve1:00000001:00000001:6B000000:qmstart:100:root@pam:";
    assert_snapshot!(env.run(&format!("task watch {unknown}")), @"
    exit 3
    --- stderr
    error: no such task: UPID:pve1:…:qmstart:100:root@pam:
    ");
    assert_snapshot!(env.run(&format!("task logs {unknown}")), @"
    exit 3
    --- stderr
    error: no such task: UPID:pve1:…:qmstart:100:root@pam:
    ");
    assert_snapshot!(env.run(&format!("task get {unknown} {}", &unknown[..30])), @"
    exit 2
    --- stderr
    error: `UPID:pve1:00000001:00000001:6B` is not a UPID: it is cut off: `UPID:node:pid:pstart:starttime:type:id:user:` has 8 colons, this has 4
    ");
    assert_snapshot!(env.run("task watch UPID:pve9:00000001:00000001:6B000000:qmstart:100:root@pam:"), @"
    exit 3
    --- stderr
    error: no such task: UPID:pve9:…:qmstart:100:root@pam:
    ");
}
