//! Guests under HA, and what else names a guest: asked for, done later, given up, purged.

use serde_json::json;

use super::*;

/// Puts a stopped VM of the third node under HA, as it is.
fn managed(description: &str) -> Asker {
    let asker = Asker::new();
    let config = "/nodes/pve3/qemu/103/config";
    asker.ask(Method::Put, config, &[("description", description)]).unwrap();
    asker.post("/cluster/ha/resources", &[("sid", "vm:103"), ("state", "stopped")]);
    assert_eq!(state(&asker), "queued");
    asker.clock.forward(1000);
    assert_eq!(state(&asker), "stopped");
    asker
}

fn state(asker: &Asker) -> String {
    let rows = asker.get("/cluster/ha/status/current");
    let row = rows.as_array().unwrap().iter().find(|row| row["sid"] == "vm:103").unwrap();
    row["state"].as_str().unwrap().to_owned()
}

fn tasks(asker: &Asker) -> Vec<String> {
    let rows = asker.get("/nodes/pve3/tasks");
    let word = |row: &Value| format!("{} {} {}", row["type"], row["user"], row["status"]).replace('"', "");
    let mut tasks: Vec<String> = rows.as_array().unwrap().iter().map(word).collect();
    tasks.reverse();
    tasks
}

#[test]
fn the_one_who_asks_gets_a_task_that_only_tells_ha() {
    let asker = managed("");
    let status = "/nodes/pve3/qemu/103/status";
    let upid = asker.post(&format!("{status}/start"), &[]);
    assert!(upid.contains(":hastart:103:root@pam!pvectl:"), "{upid}");
    asker.clock.forward(200);
    assert_eq!(asker.get(&format!("/nodes/pve3/tasks/{upid}/status"))["exitstatus"], "OK");
    // HA says what it wants long before it is so.
    let now = asker.get(&format!("{status}/current"));
    assert_eq!((&now["status"], &now["ha"]), (&json!("stopped"), &json!({"managed": 1, "state": "started"})));
    assert_eq!(state(&asker), "starting");
    asker.clock.forward(2000);
    assert_eq!(asker.get(&format!("{status}/current"))["status"], "running");
    assert_eq!(state(&asker), "started");
    asker.post(&format!("{status}/shutdown"), &[]);
    asker.clock.forward(200);
    assert_eq!(state(&asker), "stopping");
    asker.clock.forward(3000);
    assert_eq!(state(&asker), "stopped");
    let want = ["hastart root@pam OK", "qmstart root@pam OK", "hastop root@pam OK", "qmshutdown root@pam OK"];
    assert_eq!(tasks(&asker), want);
}

#[test]
fn what_does_not_start_becomes_an_error_that_has_to_be_disabled() {
    let asker = managed("sandbox: start fails");
    asker.post("/nodes/pve3/qemu/103/status/start", &[]);
    asker.clock.forward(5000);
    assert_eq!(state(&asker), "error");
    let failed = "qmstart root@pam start failed: QEMU exited with code 1";
    assert_eq!(tasks(&asker), ["hastart root@pam OK", failed, failed]);
    let set = |state| asker.ask(Method::Put, "/cluster/ha/resources/vm:103", &[("state", state)]).unwrap();
    set("started");
    asker.clock.forward(5000);
    assert_eq!(state(&asker), "error");
    set("disabled");
    asker.clock.forward(1000);
    assert_eq!(state(&asker), "disabled");
}

#[test]
fn what_is_named_elsewhere_goes_with_a_purge_only() {
    let asker = managed("");
    asker.post("/cluster/replication", &[("id", "103-0"), ("type", "local"), ("target", "pve2")]);
    asker.post("/cluster/backup", &[("id", "nightly"), ("vmid", "100,103"), ("schedule", "02:00")]);
    let refused = asker.fault(Method::Delete, "/nodes/pve3/qemu/103", &[]);
    assert!(refused.message.contains("used in HA resources and purge parameter not set"), "{refused:?}");
    asker.ask(Method::Delete, "/cluster/ha/resources/103", &[]).unwrap();
    let refused = asker.fault(Method::Delete, "/nodes/pve3/qemu/103", &[]);
    assert!(refused.message.contains("There is a replication job '103-0' for guest '103'"), "{refused:?}");
    asker.ask(Method::Delete, "/nodes/pve3/qemu/103", &[("purge", "1")]).unwrap();
    asker.clock.forward(1000);
    assert_eq!(asker.get("/cluster/replication"), json!([]));
    assert_eq!(asker.get("/cluster/backup")[0]["vmid"], "100");
}
