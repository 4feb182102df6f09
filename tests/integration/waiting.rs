//! `wait`: until guests are as somebody wants them.

use serde_json::json;

use crate::harness::Env;

#[test]
fn guests_are_waited_for_until_they_are_so() {
    let env = Env::new();
    let row = env.json("vm wait 100 --for status=running --for lock-free --for task");
    assert_eq!(
        (&row["vmid"], &row["met"], &row["for"]),
        (&json!(100), &json!(true), &json!(["status=running", "lock-free", "task"]))
    );
    let _ =
        env.run("vm wait 100 --for status=stopped --timeout 300ms").exits(8).says(&["still without: status=stopped"]);
    let waiting = env.spawn("vm wait 100 --for status=stopped --timeout 30s");
    let _ = env.run("vm stop 100").ok();
    let _ = waiting.wait().ok();
    let _ = env.run("vm wait 101 --for jsonpath={.config.cores}=9 --timeout 200ms").exits(8);
    let waiting = env.spawn("vm wait 101 --for jsonpath={.config.cores}=9 --timeout 30s");
    let _ = env.run("vm update 101 --cores 9").ok();
    let _ = waiting.wait().ok();
    let rows = env.json("vm wait 100,101 --for task");
    assert_eq!(rows.as_array().unwrap().len(), 2);
    let _ = env.run("container wait dns --for agent").exits(2).says(&["containers have no guest agent"]);
    let _ = env.run("vm wait 100 --for up").exits(2).says(&["nothing to wait for", "status=running", "jsonpath="]);
}

#[test]
fn a_guest_that_goes_is_waited_for() {
    let env = Env::new();
    let _ = env.run("vm create --vmid 150 --name old --cores 1").ok();
    let waiting = env.spawn("vm wait old --for deleted --timeout 30s");
    let never = env.spawn("vm wait old --for status=running --timeout 30s");
    std::thread::sleep(std::time::Duration::from_millis(300));
    let _ = env.run("vm delete old --confirm").ok();
    let _ = waiting.wait().ok();
    // On a busy machine it may have begun too late to see it go.
    let gone = never.wait().exits(3);
    assert!(["vm/150 is gone", "no such vm"].iter().any(|told| gone.stderr.contains(told)), "{gone}");
    let _ = env.run("vm wait old --for deleted").ok().says(&["nothing to wait for"]);
    let _ = env.run("vm wait old --for status=running").exits(3);
}
