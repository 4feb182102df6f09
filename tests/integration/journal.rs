//! What was done, as the journal tells it: rows, details, and what happens when it cannot be written.

use std::fs;

use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::harness::{Env, Running, eventually};

fn field<'a>(rows: &'a Value, key: &str) -> Vec<&'a Value> {
    rows.as_array().unwrap().iter().map(|row| &row[key]).collect()
}

#[test]
fn operations_are_listed_the_newest_first_and_filtered() {
    let env = Env::new();
    let _ = env.run("vm create --vmid 150 --name web-server --cores 4").ok();
    let _ = env.run("vm start web-server").ok();
    let _ = env.run("vm update 101 --cores 4").ok();
    let _ = env.run("container start dns").ok();
    assert_snapshot!(env.run("operation list"), @"
    exit 0
    --- stdout
    ID  STARTED  VERB    TARGET      VMID  NODE  STATUS  TOOK  EXIT STATUS
     4  0s ago   start   dns          111  pve3  ok      0s  OK
     3  0s ago   update  101          101  pve2  ok      0s  -
     2  0s ago   start   web-server   150  pve3  ok      0s  OK
     1  0s ago   create  web-server   150  pve3  ok      0s  OK
    ");
    let ids = |filter: &str| env.run(&format!("op list -o name {filter}")).ok().stdout;
    assert_snapshot!(ids("--target 150"), @"
    operation/2
    operation/1
    ");
    assert_snapshot!(ids("--target web-server"), @"
    operation/2
    operation/1
    ");
    assert_snapshot!(ids("--target dns"), @"operation/4");
    assert_snapshot!(ids("--verb start"), @"
    operation/4
    operation/2
    ");
    assert_snapshot!(ids("--status failed"), @"");
    assert_snapshot!(ids("--since 1h --limit 1"), @"operation/4");
    assert_snapshot!(ids("--until 1h"), @"");
    let rows = env.json("operation list");
    let keys: Vec<&String> = rows[0].as_object().unwrap().keys().collect();
    assert_eq!(
        keys,
        [
            "id",
            "verb",
            "target",
            "vmid",
            "name",
            "node",
            "context",
            "user",
            "host",
            "upid",
            "status",
            "exit_status",
            "started",
            "ended",
            "duration",
            "error",
            "parent",
        ]
    );
    assert!(rows[0]["vmid"].is_u64() && rows[0]["duration"].is_number());
}

#[test]
fn an_operation_is_shown_with_its_calls_and_the_configuration_before() {
    let env = Env::new();
    env.write("secret", "hunter2");
    let _ = env.run("vm update 101 --cores 4 --set cipassword=@secret").ok();
    assert_snapshot!(env.run("operation show 1"), @"
    exit 0
    --- stdout
    operation 1 update 101
      Status       ok
      Guest        101 web-2
      Node         pve2
      Context      sandbox
      User         root@pam!pvectl from HOST
      Started      TIME
      Ended        TIME
      Took         0.0s
    Steps
      1  ok         PUT /nodes/pve2/qemu/101/config cores=4 cipassword=*** digest=DIGEST
    Configuration before
      boot: order=scsi0;net0
      cores: 2
      memory: 2048
      meta: creation-qemu=10.2.2,ctime=N
      name: web-2
      net0: virtio=MAC,bridge=vmbr0
      ostype: l26
      parent: before-upgrade
      scsi0: local-lvm:vm-101-disk-0,size=8G
      scsihw: virtio-scsi-single
      smbios1: uuid=UUID
      tags: app.web;tier.front
      vmgenid: UUID
      digest: DIGEST
    ");
    let shown = env.json("operation show 1");
    assert_eq!(shown["config_before"]["cores"], 2, "{shown}");
    let _ = env.run("vm delete 101 --confirm").ok();
    assert_eq!(env.json("operation show 2")["config_before"]["cores"], 4);
    assert_snapshot!(env.run("operation show 99"), @"
    exit 3
    --- stderr
    error: no such operation: 99
    hint: see `pvectl operation list`
    ");
    assert_snapshot!(env.run("operation list --status nonsense"), @"
    exit 2
    --- stderr
    error: invalid value 'nonsense' for '--status <STATUS>'
      [possible values: planned, sent, running, ok, warning, failed, cancelled, unknown]

    For more information, try '--help'.
    ");
    assert_snapshot!(env.run("operation list --since yesterday"), @"
    exit 2
    --- stderr
    error: `yesterday` is not a time: 2h, 7d, 1y, 2026-11-01 or TIME is expected
    ");
    for file in fs::read_dir(env.journal().parent().unwrap()).unwrap().map(Result::unwrap) {
        let bytes = fs::read(file.path()).unwrap();
        assert!(!String::from_utf8_lossy(&bytes).contains("hunter2"), "{}", file.path().display());
    }
}

#[test]
fn nothing_is_sent_when_the_journal_cannot_be_opened() {
    let server = Env::new().serve("");
    let env = server.with("XDG_STATE_HOME", server.write("a-file", "").to_str().unwrap());
    assert_snapshot!(env.run("vm start 101"), @"
    exit 1
    --- stderr
    error: cannot make the journal ~/a-file/pvectl/journal.db; nothing was sent
      caused by: Not a directory (os error 20)
    ");
    assert_snapshot!(env.run("vm delete 101 --confirm"), @"
    exit 1
    --- stderr
    error: cannot make the journal ~/a-file/pvectl/journal.db; nothing was sent
      caused by: Not a directory (os error 20)
    ");
    assert_eq!(server.requests(), [""; 0], "not even looked at");
    assert_snapshot!(env.run("vm list -o name --tag app.db"), @"
    exit 0
    --- stdout
    vm/102
    ");
    assert_snapshot!(env.run("operation list"), @"
    exit 0
    --- stdout
    ID  STARTED  VERB  TARGET  VMID  NODE  STATUS  TOOK  EXIT STATUS
    ");
    assert_snapshot!(env.run("vm start 101 --no-journal"), @"
    exit 0
    --- stdout
    VMID  NAME   NODE  VERB   STATUS  CHANGED  EXIT STATUS
     101  web-2  pve2  start  ok      yes      OK
    --- stderr
    warning: nothing of this is kept in the journal (--no-journal)
    starting vm/101 (web-2)
      vm/101 (web-2): task UPID:pve2:…:qmstart:101:root@pam!pvectl:
    ✓ vm/101 (web-2) started (0.0s)
    ");
}

#[test]
fn nothing_is_sent_when_the_journal_is_damaged() {
    let server = Env::new().serve("");
    let env = server.with("XDG_STATE_HOME", server.path("state").to_str().unwrap());
    let journal = env.write("state/pvectl/journal.db", "this is no database, whatever its name says, and never was");
    assert_snapshot!(env.run("vm start 101"), @"
    exit 1
    --- stderr
    error: cannot open the journal ~/state/pvectl/journal.db; nothing was sent
      caused by: file is not a database
      caused by: Error code 26: file is not a database
    hint: the file is damaged: move it away, and a new one will be begun
    ");
    assert_eq!(server.changes(), [""; 0]);
    assert!(fs::read_to_string(journal).unwrap().starts_with("this is no"), "left as it was");
}

#[cfg(unix)]
#[test]
fn nothing_is_sent_when_the_disk_cannot_be_written() {
    use std::os::unix::fs::PermissionsExt as _;
    let server = Env::new().serve("");
    let state = server.path("state/pvectl");
    fs::create_dir_all(&state).unwrap();
    fs::set_permissions(&state, fs::Permissions::from_mode(0o500)).unwrap();
    if fs::write(state.join("probe"), "").is_ok() {
        eprintln!("SKIPPED: whoever runs the tests may write everywhere (root)");
        return;
    }
    let env = server.with("XDG_STATE_HOME", server.path("state").to_str().unwrap());
    let _ = env.run("vm start 101").exits(1).says(&["state/pvectl/journal.db", "nothing was sent"]);
    assert_eq!(server.changes(), [""; 0]);
}

#[test]
fn many_at_once_lose_no_event_and_take_different_vmids() {
    let env = Env::new();
    let create = |n: usize| env.spawn(&format!("vm create --name made-{n} --memory 64 --quiet -o json"));
    let made: Vec<Value> =
        (0..16).map(create).collect::<Vec<_>>().into_iter().map(|one| one.wait().ok().json()).collect();
    let mut vmids: Vec<u64> = made.iter().map(|row| row["vmid"].as_u64().unwrap()).collect();
    vmids.sort_unstable();
    vmids.dedup();
    assert_eq!(vmids.len(), 16, "{made:?}");
    let start = |vmid: &u64| env.spawn(&format!("vm start {vmid} --quiet -o json"));
    let started: Vec<Value> =
        vmids.iter().map(start).collect::<Vec<Running>>().into_iter().map(|one| one.wait().ok().json()).collect();
    let rows = env.json("operation list --limit 100");
    assert_eq!(rows.as_array().unwrap().len(), 32);
    assert!(field(&rows, "status").iter().all(|status| **status == "ok"), "{rows}");
    for done in made.iter().chain(&started) {
        let upid = &done["upid"];
        let ours: Vec<&Value> = rows.as_array().unwrap().iter().filter(|row| row["upid"] == *upid).collect();
        assert_eq!(ours.len(), 1, "{upid} is in the journal once");
        assert_eq!((&ours[0]["vmid"], &ours[0]["verb"]), (&done["vmid"], &done["verb"]));
    }
    assert_eq!(env.json("vm list --status running").as_array().unwrap().len(), 2 + 16);
}

/// Somebody takes the VMID between the choice and the create: the next one is taken, and the journal knows.
#[test]
fn a_vmid_that_was_taken_meanwhile_is_replaced() {
    let server = Env::new().serve("--fault 'POST /nodes/*/qemu:delay=1s*1'");
    let slow = server.spawn("vm create --name slow --quiet -o json");
    eventually("the create is on its way", || (server.json("operation list")[0]["status"] == "sent").then_some(()));
    let quick = server.run("vm create --name quick --quiet -o json").ok().json();
    let slow = slow.wait().ok().json();
    assert_ne!(quick["vmid"], slow["vmid"]);
    assert_eq!(server.count("POST", "/qemu"), 3, "one was refused and tried with the next");
    let rows = server.json("operation list");
    assert_eq!(field(&rows, "status"), [&json!("ok"), &json!("ok")]);
    let vmid = |name: &str| rows.as_array().unwrap().iter().find(|row| row["name"] == name).unwrap()["vmid"].clone();
    assert_eq!((vmid("slow"), vmid("quick")), (slow["vmid"].clone(), quick["vmid"].clone()));
}

#[test]
fn the_record_is_written_out_shortened_and_checked() {
    let env = Env::new();
    assert_eq!(env.run("operation export").ok().stdout, "");
    assert_snapshot!(env.run("operation verify").ok().stdout, @r"
    events  0, each follows the one before it
    head    none
    ");
    env.write("secret", "hunter2");
    let _ = env.run("vm update 101 --cores 4 --set cipassword=@secret").ok();
    let _ = env.run("vm stop 100").ok();
    let _ = env.run("container start dns").ok();
    let lines = env.run("operation export").ok().raw;
    let all: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(field(&Value::from(all.clone()), "id"), [1, 2, 3]);
    assert_eq!(all[0], env.json("operation show 1"));
    assert!(!lines.contains("hunter2"));
    let csv = env.run("operation export --format csv --since 1h").ok().stdout;
    let mut rows = csv.lines();
    assert!(rows.next().unwrap().starts_with("id,verb,target,vmid,name,node,context,user,host,upid,status,"));
    for start in ["1,update,101,101,", "2,stop,100,100,", "3,start,dns,111,"] {
        assert!(rows.next().unwrap().starts_with(start), "{csv}");
    }
    let _ = env.run("operation export --format xml").exits(2);

    let head = env.json("operation verify")["head"].as_str().unwrap().to_owned();
    let _ = env.run("vm update 101 --cores 2").ok();
    let _ = env.run(&format!("operation verify --head {head}")).ok();
    let _ = env
        .run(&format!("operation verify --head {}", "0".repeat(64)))
        .exits(1)
        .says(&["that head is not in the history"]);
    let _ = env.run("operation verify --head 12").exits(2).says(&["64 hex digits"]);

    // Nothing is that old; then all but the latest goes.
    let _ = env.run("operation prune --older-than 1y --confirm").ok().says(&["no operation ended before"]);
    let _ = env.run("operation prune --older-than 2h").exits(2).says(&["--confirm"]);
    let later = "--older-than 2999-01-01";
    let _ = env.run(&format!("operation prune {later} --dry-run")).ok().says(&["4 operations", "would be taken out"]);
    assert_eq!(env.json("operation list").as_array().unwrap().len(), 4);
    let _ = env.run(&format!("operation prune {later} --confirm")).ok().says(&["4 operations were taken out"]);
    assert_eq!(env.json("operation list"), json!([]));
    let _ = env.run("vm update 101 --cores 4").ok();
    let found = env.json("operation verify");
    assert_eq!(found["broken"], Value::Null);
    assert!(found["pruned"].as_u64() > Some(4) && found["events"].as_u64() > Some(1), "{found}");

    // Somebody makes it look better than it was.
    let file = rusqlite::Connection::open(env.path(".local/state/pvectl/journal.db")).unwrap();
    file.execute_batch(
        "DROP TRIGGER event_never_changes; UPDATE event SET payload = replace(payload, '\"ok\"', '\"failed\"')",
    )
    .unwrap();
    drop(file);
    let _ = env.run("operation verify").exits(1).says(&["the journal is not as it was written", "it was changed"]);
}
