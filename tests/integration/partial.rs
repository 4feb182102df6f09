//! A cluster of which a node does not answer: the rest is there, and what is missing is said.

use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::harness::{Env, NOBODY, Server};

/// A server whose third node is away, on which the VM `build-1` is (103), and the container `dns` (111).
fn partial() -> Server {
    let env = Env::new();
    let server = env.serve("");
    // What was done to it is remembered, and its name with that.
    let _ = server.run("vm start build-1").ok();
    let _ = env.run("sandbox node pve3 offline").ok();
    server
}

fn statuses(rows: &Value) -> Vec<&str> {
    rows.as_array().unwrap().iter().map(|row| row["status"].as_str().unwrap()).collect()
}

#[test]
fn lists_have_the_rest_and_say_what_is_missing() {
    let server = partial();
    let listed =
        server.run("vm list -o json").ok().says(&["warning: node pve3 is offline: how its guests are is not known"]);
    let rows = listed.json();
    let lost = rows.as_array().unwrap().iter().find(|row| row["vmid"] == 103).unwrap();
    assert_eq!(
        (&lost["status"], &lost["node_status"], &lost["uptime"]),
        (&json!("unknown"), &json!("offline"), &Value::Null)
    );
    let others = rows.as_array().unwrap().iter().filter(|row| row["vmid"] != 103);
    assert!(others.clone().count() > 2 && others.into_iter().all(|row| row.get("node_status").is_none()), "{rows}");
    assert_snapshot!(server.run("container list -o csv --field-selector node_status=offline"), @"
    exit 0
    --- stdout
    vmid,name,status,node,maxcpu,maxmem,uptime,tags,cpu,mem,maxdisk,pool,lock,type,node_status
    111,,unknown,pve3,,,,app.dns,,,,,,lxc,offline
    --- stderr
    warning: node pve3 is offline: how its guests are is not known
    ");
    assert_snapshot!(server.run("vm list --status unknown -o name"), @"
    exit 0
    --- stdout
    vm/103
    --- stderr
    warning: node pve3 is offline: how its guests are is not known
    ");
    // Who asks for one node is told of that one.
    assert_eq!(server.run("vm list --node pve1 -o name").ok().stderr, "");
    assert_eq!(server.run("vm list -o name --quiet").ok().stderr, "");
    assert_snapshot!(server.run("node list -o custom-columns=NODE:.node,STATUS:.status"), @"
    exit 0
    --- stdout
    NODE  STATUS
    pve1  online
    pve2  online
    pve3  offline
    ");
}

#[test]
fn a_guest_there_is_found_and_told_as_far_as_it_is_known() {
    let server = partial();
    assert_snapshot!(server.run("vm get 103 -o json"), @r#"
    exit 10
    --- stdout
    {
      "vmid": 103,
      "type": "qemu",
      "node": "pve3",
      "status": "unknown",
      "template": 0,
      "tags": "build",
      "id": "qemu/103",
      "config": null,
      "context": "http://127.0.0.1:PORT",
      "node_status": "offline"
    }
    --- stderr
    error: cannot read vm/103: node pve3 is offline: http://127.0.0.1:PORT got no answer from node `pve3` (status 595): No route to host
    hint: the cluster does not reach pve3: what is on it can be looked at and changed when it is back (`pvectl node list`)
    "#);
    assert_snapshot!(server.run("vm describe 103"), @"
    exit 10
    --- stdout
    vm 103
      Status   unknown
      Node     pve3 (offline)
      Tags     build
      Context  http://127.0.0.1:PORT
    --- stderr
    error: cannot read vm/103: node pve3 is offline: http://127.0.0.1:PORT got no answer from node `pve3` (status 595): No route to host
    hint: the cluster does not reach pve3: what is on it can be looked at and changed when it is back (`pvectl node list`)
    ");
    let both = server.run("vm get 100,103 -o json").exits(1).says(&["cannot read vm/103: node pve3 is offline"]).json();
    assert_eq!((&both[0]["config"]["cores"], &both[1]["config"]), (&json!(2), &Value::Null));
    assert_snapshot!(server.run("vm metrics 103"), @"
    exit 10
    --- stdout
    VMID  NAME  STATUS  CPU%  MEM USED  MEMORY  NET IN  NET OUT  READ  WRITTEN  UPTIME
    --- stderr
    error: cannot read vm/103: node pve3 is offline: http://127.0.0.1:PORT got no answer from node `pve3` (status 595): No route to host
    hint: the cluster does not reach pve3: what is on it can be looked at and changed when it is back (`pvectl node list`)
    ");
    let used =
        server.run("vm metrics --interval 0 -o json").ok().says(&["node pve3 is offline: its guests are left out"]);
    assert!(used.json().as_array().unwrap().iter().all(|row| row["node"] != "pve3"));
    let _ = server.run("vm wait 103 --for status=running --timeout 300ms").exits(8).says(&["node pve3 is offline"]);
}

#[test]
fn names_are_found_and_changes_refused_before_anything_is_sent() {
    let server = partial();
    assert_snapshot!(server.run("vm stop web-1"), @"
    exit 0
    --- stdout
    VMID  NAME   NODE  VERB  STATUS  CHANGED  EXIT STATUS
     100  web-1  pve1  stop  ok      yes      OK
    --- stderr
    stopping vm/100 (web-1)
      vm/100 (web-1): task UPID:pve1:…:qmstop:100:root@pam!pvectl:
    ✓ vm/100 (web-1) stopped (0.0s)
    ");
    let sent = server.changes().len();
    assert_snapshot!(server.run("vm stop build-1"), @"
    exit 10
    --- stdout
    VMID  NAME     NODE  VERB  STATUS  CHANGED  EXIT STATUS
     103  build-1  pve3  stop  failed  no       -
    --- stderr
    error: cannot stop vm/103 (build-1): node pve3 is offline
    hint: the cluster does not reach pve3: what is on it can be looked at and changed when it is back (`pvectl node list`)
    ");
    let _ = server.run("vm update 103 --cores 4").exits(10).says(&["cannot update vm/103: node pve3 is offline"]);
    let _ = server.run("vm delete 103 --confirm").exits(10).says(&["cannot delete vm/103: node pve3 is offline"]);
    let _ = server.run("vm create --node pve3").exits(10).says(&["node pve3 is offline"]);
    let none = server.run("container stop dns").exits(3);
    let _ = none.says(&["no such container: `dns`", "the cluster does not know the names of these now", "111"]);
    assert_eq!(
        (server.changes().len(), server.count("GET", "/103/status/current")),
        (sent, 1),
        "it was not even asked again"
    );
    // A new guest goes where there is somebody.
    let made = server.json("vm create --scsi0 local-lvm:1");
    assert_ne!(made["node"], "pve3");
}

#[test]
fn of_many_those_there_are_not_done_and_all_others_are() {
    let server = partial();
    let _ = server.run("vm start 101").ok();
    let done =
        server.run("vm stop --all --confirm -o json").exits(1).says(&["cannot stop vm/103: node pve3 is offline"]);
    let rows = done.json();
    let (lost, others): (Vec<&Value>, Vec<&Value>) =
        rows.as_array().unwrap().iter().partition(|row| row["vmid"] == 103);
    assert_eq!((lost[0]["status"].as_str(), lost[0]["changed"].as_bool()), (Some("failed"), Some(false)));
    assert!(others.len() > 1 && others.iter().all(|row| row["status"] == "ok"), "{rows}");
    assert_eq!(server.count("POST", "/103/status/stop"), 0);
    // A chosen pace holds: who is not there counts as failed.
    let held = server.run("vm start 100,103 --batch 1 -o json").exits(1);
    assert_eq!(statuses(&held.json()), ["cancelled", "failed"]);
    let tried = server.run("vm start 100,103 --batch 1 --max-failures 1 -o json").exits(1);
    assert_eq!(statuses(&tried.json()), ["ok", "failed"]);
}

#[test]
fn tasks_of_the_others_are_listed() {
    let server = partial();
    let _ = server.run("vm stop 100").ok();
    for list in ["task list", "task list --failed", "task list --limit 100"] {
        let _ = server.run(list).ok().says(&["warning: node pve3 is offline: its tasks are not among these"]);
    }
    let rows = server.run("task list --limit 100 -o json").ok().json();
    assert_eq!((rows.as_array().unwrap().len(), &rows[0]["id"]), (1, &json!("100")));
    // Who asks for its tasks alone gets nothing of what he wants.
    let _ = server.run("task list --node pve3").exits(10).says(&["node pve3 is offline"]);
}

/// A node that the cluster has, and whose API is silent.
#[test]
fn a_silent_node_is_told_from_one_that_is_away() {
    let server = Env::new().serve("--fault '* /nodes/pve3/**:status=596'");
    let listed = server.run("vm list -o json").ok();
    assert_eq!((statuses(&listed.json()).contains(&"unknown"), listed.stderr.as_str()), (false, ""));
    let got = server.run("vm get build-1 -o json").exits(10);
    assert_eq!((&got.json()["node_status"], &got.json()["name"]), (&json!("silent"), &json!("build-1")));
    let _ = got.says(&["got no answer from node `pve3` (status 596)", "counts pve3 as online", "pveproxy pvedaemon"]);
    let _ =
        server.run("task list --failed").ok().says(&["warning: node pve3 is silent: its tasks are not among these"]);
    let made = server.json("vm create --scsi0 local-lvm:1");
    assert_ne!(made["node"], "pve3");
    // It may have got through.
    let started = server.run("vm start build-1").exits(10);
    assert_eq!(server.count("POST", "/103/status/start"), 0, "{started}");
}

#[test]
fn a_wrong_name_of_a_node_is_explained() {
    let server = Env::new().serve("--fault 'GET /nodes/pve22/status:status=596'");
    assert_snapshot!(server.run("api get /nodes/pve9/status"), @"
    exit 3
    --- stderr
    error: no such node: `pve9`: hostname lookup 'pve9' failed - failed to get address info for: pve9: Temporary failure in name resolution
    hint: did you mean `pve1` or `pve2` or `pve3`?
    hint: nodes here: pve1, pve2, pve3
    ");
    // Some versions put it so.
    assert_snapshot!(server.run("api get /nodes/pve22/status"), @"
    exit 3
    --- stderr
    error: no such node: `pve22`: http://127.0.0.1:PORT got no answer from node `pve22` (status 596): Connection timed out
    hint: did you mean `pve2` or `pve1` or `pve3`?
    hint: nodes here: pve1, pve2, pve3
    ");
    for line in ["vm create --node pve22", "vm list --node pve22"] {
        let _ = server.run(line).exits(3).says(&["no such node: `pve22`", "did you mean `pve2`"]);
    }
    // A node without guests is one all the same.
    let _ = server.run("container list --node pve2").exits(0);
}

#[test]
fn who_watches_hears_of_nodes_that_go_and_come_back() {
    let env = Env::new();
    let server = env.serve("");
    let mut watching = server.spawn("vm list --watch -o name --timeout 60s");
    let _ = env.run("sandbox node pve3 offline").ok();
    watching.until("node pve3 is offline");
    let _ = env.run("sandbox node pve3 online").ok();
    watching.until("node pve3 is back");
    watching.kill();
}

/// The node that is asked may be the one that is away.
#[test]
fn another_node_is_asked_where_the_first_is_away() {
    let server = partial();
    let env = server.with("PVECTL_ENDPOINT", &format!("{NOBODY},{}", server.url));
    let rows = env.run("vm list -o json").ok().says(&["node pve3 is offline"]).json();
    assert!(rows.as_array().unwrap().len() > 3);
    let _ = env.run("vm stop 100").ok();
    assert_eq!(server.count("POST", "/100/status/stop"), 1);
}

#[test]
fn nodes_of_the_sandbox_go_and_come_back() {
    let env = Env::new();
    let served = env.serve("--offline pve3");
    assert_eq!(env.json("node list --field-selector status=offline")[0]["node"], "pve3", "of whoever uses the file");
    drop(served);
    let _ = env.run("sandbox node pve1 offline").exits(2).says(&["pve1 is the node that answers"]);
    let _ = env.run("sandbox node pve7 offline").exits(3).says(&["no node `pve7`", "pve1, pve2, pve3"]);
    let _ = env.run("sandbox node pve2 offline").ok().says(&["pve2 is offline"]);
    let _ = env.run("vm get 101").exits(10);
    let _ = env.run("sandbox node pve2 online").ok();
    let _ = env.run("vm get 101").ok();
}
