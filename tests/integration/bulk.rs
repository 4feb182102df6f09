//! Many guests at once: chosen, asked about, at a pace, and told of one by one.

use serde_json::{Value, json};

use crate::harness::Env;

/// An account with guests of one label.
fn fleet(count: u32) -> Env {
    let env = Env::new();
    for vmid in 300..300 + count {
        let _ = env.run(&format!("vm create --vmid {vmid} --name web-{vmid} --label app=shop --quiet")).ok();
    }
    env
}

fn statuses(rows: &Value) -> Vec<&str> {
    rows.as_array().unwrap().iter().map(|row| row["status"].as_str().unwrap()).collect()
}

#[test]
fn guests_are_chosen_by_what_they_are() {
    let env = fleet(3);
    let rows = env.json("vm start --selector app=shop --parallel 2");
    assert_eq!(statuses(&rows), ["ok"; 3]);
    // Who has to lose something is asked about, whoever only gets something is not.
    let refused = env.run("vm stop -l app=shop").exits(2).says(&["--confirm", "--dry-run"]);
    assert_eq!(refused.stdout, "");
    let plan = env.json("vm stop -l app=shop --dry-run");
    assert_eq!(plan.as_array().unwrap().len(), 3);
    assert_eq!(statuses(&env.json("vm list -l app=shop")), ["running"; 3]);
    let _ = env.run("vm stop 300").ok();
    // One that is off has nothing to lose.
    let rows = env.json("vm stop -l app=shop --confirm");
    assert_eq!(rows.as_array().unwrap().len(), 2);
    let _ = env.run("vm update --tag app.shop --cores 3").ok();
    let cores: Vec<_> = (300..303).map(|vmid| env.json(&format!("vm get {vmid}"))["config"]["cores"].clone()).collect();
    assert_eq!(cores, [json!(3), json!(3), json!(3)]);
    let _ = env.run("vm start -l app=none").ok().says(&["no vm is so"]);
    let _ = env.run("vm start 300 --all").exits(2);
    let _ = env.run("vm start").exits(2).says(&["say which vm to start", "--selector"]);
    let _ = env.run("vm delete -l app=shop").exits(2);
    let _ = env.run("vm delete -l app=shop --confirm").ok();
    assert_eq!(env.json("vm list -l app=shop"), json!([]));
    // Templates are no guests to be started.
    let rows = env.json("vm start --all --dry-run");
    let templates = env.json("vm list --template true");
    let is_template =
        |row: &Value| templates.as_array().unwrap().iter().any(|template| template["vmid"] == row["vmid"]);
    assert!(!templates.as_array().unwrap().is_empty() && !rows.as_array().unwrap().iter().any(is_template));
}

#[test]
fn batches_wait_for_one_another_and_end_when_too_many_fail() {
    let env = fleet(6);
    let _ = env.run("vm start 300-305").ok();
    let began = std::time::Instant::now();
    let rows = env.json("vm restart -l app=shop --batch 2 --pause 200ms --confirm");
    assert_eq!(statuses(&rows), ["ok"; 6]);
    assert!(began.elapsed() >= std::time::Duration::from_millis(400), "two pauses");
    // Nothing is begun where already the plan of one fails, unless that may be.
    let _ = env.run("vm update 302 --protection").ok();
    let failing = env.run("vm delete 300-305 --force --batch 2 --confirm -o json").exits(1);
    assert!(failing.stderr.contains("not sent: 300, 301, 303, 304, 305"), "{failing}");
    let failing = env.run("vm delete 301,302 --force --batch 1 --max-failures 1 --confirm -o json").exits(1);
    assert_eq!(statuses(&failing.json()), ["ok", "failed"]);
    let _ = env.run("vm restart 302 --batch 1 --no-wait").exits(2).says(&["--batch waits"]);
}

#[test]
fn what_fails_in_a_batch_ends_the_next_ones() {
    let server = Env::new().serve("--fault 'POST /nodes/*/qemu/302/status/start:status=500'");
    for vmid in 300..306 {
        let _ = server.run(&format!("vm create --vmid {vmid} --name shop-{vmid} --quiet")).ok();
    }
    let failing = server.run("vm start 300-305 --batch 2 -o json").exits(1);
    assert!(failing.stderr.contains("not sent: 304, 305"), "{failing}");
    assert_eq!(statuses(&failing.json()), ["ok", "ok", "failed", "ok", "cancelled", "cancelled"]);
    assert_eq!(server.count("POST", "/status/start"), 4);
    let failing = server.run("vm start 300-305 --batch 2 --max-failures 1 -o json").exits(1);
    assert_eq!(statuses(&failing.json()), ["ok", "ok", "failed", "ok", "ok", "ok"]);
    // Without batches nothing stops the others, unless somebody wants that.
    let _ = server.run("vm stop 300-305").ok();
    let failing = server.run("vm start 300-305 --parallel 1 --max-failures 0 -o json").exits(1);
    assert_eq!(statuses(&failing.json()), ["ok", "ok", "failed", "cancelled", "cancelled", "cancelled"]);
    let failing = server.run("vm start 300-305 -o json").exits(1);
    assert_eq!(statuses(&failing.json()), ["ok", "ok", "failed", "ok", "ok", "ok"]);
}
