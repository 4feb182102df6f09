//! Guests under HA: the wait is for what HA does, not for the task that tells it.

use serde_json::{Value, json};

use crate::harness::{Env, Server, eventually};

/// A sandbox of this pace in which VM 103 is under HA, and stopped.
fn managed(pace: &str, description: &str, flags: &str) -> Server {
    let server = Env::paced(pace).serve(flags);
    if !description.is_empty() {
        let _ = server.run(&format!("vm update 103 --description '{description}'")).ok();
    }
    let _ = server.run("api post /cluster/ha/resources -p sid=vm:103 -p state=stopped").ok();
    eventually("HA has noticed it", || (state(&server) == "stopped").then_some(()));
    server
}

fn state(server: &Server) -> String {
    let rows = server.json("api get /cluster/ha/status/current");
    let row = rows.as_array().unwrap().iter().find(|row| row["sid"] == "vm:103").unwrap();
    row["state"].as_str().unwrap().to_owned()
}

fn newest(env: &Env) -> Value {
    env.json("operation list --limit 1")[0].clone()
}

/// The types of the tasks that the journal has of the newest operation, in order.
fn noted(env: &Env) -> Vec<String> {
    let operation = env.json(&format!("operation show {}", newest(env)["id"]));
    let upids = operation["events"].as_array().unwrap().iter().filter_map(|event| event["payload"]["upid"].as_str());
    upids.map(|upid| upid.split(':').nth(5).unwrap().to_owned()).collect()
}

#[test]
fn a_start_is_over_when_the_guest_runs() {
    let server = managed("0.5", "", "");
    let start = server.run("vm start 103 -o json").ok().says(&[
        "vm/103 (build-1): HA is told, and does it when it next looks",
        "task UPID:pve3:…:hastart:103:root@pam!pvectl:",
        "vm/103 (build-1): HA was told and says starting: waiting until it starts it",
        "task UPID:pve3:…:qmstart:103:root@pam:",
        "✓ vm/103 (build-1) started",
    ]);
    assert!(start.json()["upid"].as_str().unwrap().contains(":qmstart:"), "{start}");
    assert_eq!(server.json("vm get 103")["status"], json!("running"));
    let stop = server.run("vm shutdown 103 -o json").ok().says(&["HA was told and says stopping"]);
    assert!(stop.json()["upid"].as_str().unwrap().contains(":qmshutdown:"), "{stop}");
    assert_eq!(server.json("vm get 103")["status"], json!("stopped"));
    assert_eq!(newest(&server)["status"], json!("ok"));
    assert_eq!(noted(&server), ["hastop", "qmshutdown"]);
    assert_eq!(server.count("POST", "/status/start") + server.count("POST", "/status/shutdown"), 2);
}

#[test]
fn what_ha_gives_up_has_failed() {
    let server = managed("0.3", "sandbox: start fails", "");
    let failed = server.run("vm start 103").exits(9).says(&["start failed: QEMU exited with code 1"]);
    assert_eq!(failed.stderr.matches(":qmstart:103:root@pam:").count(), 2, "HA tried twice: {failed}");
    let row = newest(&server);
    assert_eq!((&row["status"], &row["verb"]), (&json!("failed"), &json!("start")));
    assert_eq!(noted(&server), ["hastart", "qmstart", "qmstart"]);
    let _ = server.run("vm start 103").exits(6).says(&["HA has given it up"]);
}

#[test]
fn who_leaves_comes_back_to_what_ha_does() {
    let server = managed("1", "", "");
    let upid = server.run("vm start 103 --no-wait --quiet").ok().raw;
    assert!(upid.contains(":hastart:"), "{upid}");
    let _ = server.run(&format!("task watch {}", upid.trim())).ok().says(&["waiting until it starts it", ":qmstart:"]);
    assert_eq!(server.json("vm get 103")["status"], json!("running"));
    assert_eq!(newest(&server)["status"], json!("ok"));
    let _ =
        server.run("vm stop 103 --timeout 300ms").exits(8).says(&["HA has not done", "pvectl task watch UPID:pve3:"]);
    let _ = server.run("task attach").ok();
    assert_eq!(server.json("vm get 103")["status"], json!("stopped"));
    assert_eq!(newest(&server)["status"], json!("ok"));
}

#[test]
fn a_command_that_dies_leaves_what_the_next_one_finds_out() {
    let server = managed("2", "", "");
    let mut start = server.spawn("vm start 103");
    start.until("HA was told");
    start.kill();
    // What told HA is over, and the guest does not run yet.
    assert_ne!(newest(&server)["status"], json!("ok"));
    eventually("it is known", || (newest(&server)["status"] == "ok").then_some(()));
    assert_eq!(server.json("vm get 103")["status"], json!("running"));
    assert_eq!(server.count("POST", "/status/start"), 1);
}

#[test]
fn who_may_not_see_ha_looks_at_the_guest() {
    let server = Env::paced("0.3").serve("--fault 'GET /cluster/ha/status/current:status=403'");
    let _ = server.run("api post /cluster/ha/resources -p sid=ct:111 -p state=stopped").ok();
    let _ = server.run("container start 111").ok().says(&["HA was told and says nothing"]);
    assert_eq!(server.json("container get 111")["status"], json!("running"));
}

#[test]
fn many_are_waited_for_at_once() {
    let env = Env::bare().with("PVECTL_CONTEXT", "sandbox");
    let _ = env.run("sandbox reset --pace 1 --guests 12").ok();
    let server = env.serve("");
    let stopped: Vec<String> = server
        .json("vm list --status stopped")
        .as_array()
        .unwrap()
        .iter()
        .filter(|row| row["template"] != 1)
        .map(|row| row["vmid"].to_string())
        .collect();
    for vmid in &stopped {
        let _ = server.run(&format!("api post /cluster/ha/resources -p sid=vm:{vmid} -p state=stopped")).ok();
    }
    let _ = server.run(&format!("vm start {}", stopped.join(","))).ok();
    let rows = server.json("vm list --status running");
    let running: Vec<String> = rows.as_array().unwrap().iter().map(|row| row["vmid"].to_string()).collect();
    assert!(stopped.iter().all(|vmid| running.contains(vmid)), "{running:?}");
}
