//! `list --watch`: what is told when something changes, and what ends it.

use serde_json::{Value, json};

use crate::harness::{Env, Output, Server, eventually};

/// Waits until the list was looked at twice more: the first of the looks may have begun before.
fn looked(server: &Server, path: &str) {
    let before = server.count("GET", path);
    eventually("it looks again", || (server.count("GET", path) >= before + 2).then_some(()));
}

fn events(output: &Output) -> Vec<Value> {
    output.raw.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_guest_is_told_again_when_it_changes() {
    let server = Env::new().serve("");
    let machine = server.spawn("vm list --watch -o json");
    let person = server.spawn("get vms -w");
    let names = server.spawn("vm list -w -o name --status running");
    looked(&server, "/cluster/resources");
    let _ = server.run("vm start 101").ok();
    looked(&server, "/cluster/resources");
    let _ = server.run("vm delete 103 --confirm").ok();
    looked(&server, "/cluster/resources");
    looked(&server, "/cluster/resources");
    for watch in [&machine, &person, &names] {
        watch.interrupt();
    }
    let machine = machine.wait().exits(130);
    let events = events(&machine);
    let told = events.iter().map(|event| (event["type"].as_str().unwrap(), event["object"]["vmid"].as_u64().unwrap()));
    let told: Vec<(&str, u64)> = told.collect();
    assert_eq!(told[..5], [100, 101, 102, 103, 9000].map(|vmid| ("ADDED", vmid)), "{machine}");
    assert_eq!(told[5..], [("MODIFIED", 101), ("DELETED", 103)], "time and load are no change\n{machine}");
    assert_eq!(
        (&events[5]["object"]["status"], &events[5]["object"]["context"]),
        (&json!("running"), &events[0]["object"]["context"])
    );
    let person = person.wait().exits(130).says(&["vm/103 is gone"]);
    let lines: Vec<&str> = person.raw.lines().collect();
    assert_eq!(lines.len(), 7, "{person}");
    assert!(lines[0].starts_with("VMID") && lines[6].contains("web-2      running   pve2"), "{person}");
    let names = names.wait().exits(130);
    assert_eq!(names.raw, "vm/100\nvm/102\nvm/101\n");
}

#[test]
fn tasks_are_told_as_they_come() {
    let server = Env::paced("5").serve("");
    let watch = server.spawn("task list --watch -o json");
    looked(&server, "/cluster/tasks");
    let _ = server.run("container stop 110").ok();
    looked(&server, "/cluster/tasks");
    watch.interrupt();
    let output = watch.wait().exits(130);
    let events = events(&output);
    let last = events.last().unwrap();
    assert_eq!((&last["object"]["type"], &last["object"]["status"]), (&json!("vzstop"), &json!("OK")), "{output}");
}

#[test]
fn a_server_that_goes_and_comes_is_waited_for() {
    let mut server = Env::new().serve("");
    let mut watch = server.spawn("vm list --watch --no-headers");
    looked(&server, "/cluster/resources");
    server.kill();
    let _ = watch.until("the server does not answer");
    server.restart();
    let _ = watch.until("the server answers again");
    watch.interrupt();
    let output = watch.wait().exits(130);
    assert_eq!(output.raw.lines().count(), 5, "nothing is told twice\n{output}");
}

#[test]
fn it_ends_with_its_time_and_with_its_reader() {
    let server = Env::new().serve("");
    let output = server.run("vm list --watch --timeout 10ms -o name").ok();
    assert_eq!(output.raw.lines().count(), 5);
    // A time that is set for tasks is not meant.
    let mut watch = server.with("PVECTL_TIMEOUT", "10ms").spawn("container list -w");
    looked(&server, "/cluster/resources");
    watch.close_stdout();
    let _ = watch.wait().ok();
    let _ = server
        .run("vm list --watch -o csv")
        .exits(2)
        .says(&["one row after the other", "-o table, wide, name and json"]);
    let _ = server.run("get nodes --watch").exits(2).says(&["nodes have no --watch"]);
}
