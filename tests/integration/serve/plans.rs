//! Plans, and servers that are killed in the middle of one.

use std::{fs, os::unix::fs::PermissionsExt as _};

use pvectl::backends::cloud_hypervisor::failpoint::ARE_HERE;
use serde_json::{Value, json};

use super::{Served, plain::Asker};
use crate::{
    harness::{Env, eventually},
    local::{Host, stand_in},
};

/// A plan once it is over.
pub(super) fn ended(asker: &Asker, id: &Value) -> Value {
    eventually("the plan ends", || {
        let plan = asker.get(&format!("/api/plans/{id}"));
        plan["ended"].is_string().then_some(plan)
    })
}

/// The statuses of a plan and its actions.
fn statuses(plan: &Value) -> String {
    let word = |of: &Value| of["status"].as_str().unwrap().to_owned();
    let each: Vec<String> = plan["actions"].as_array().unwrap().iter().map(word).collect();
    format!("{}: {}", word(plan), each.join(" "))
}

/// A VM that starts.
fn bootable(env: &Env) {
    let _ = env.run("vm create --name web --memory 256 --kernel kernel --scsi0 local:1").ok();
}

/// How many tasks of each type there were, and how many of them went well.
fn tasks(env: &Env, kind: &str) -> (usize, usize) {
    let rows = env.json("task list");
    let of_kind: Vec<&Value> = rows.as_array().unwrap().iter().filter(|row| row["type"] == kind).collect();
    (of_kind.len(), of_kind.iter().filter(|row| row["status"] == "OK").count())
}

#[test]
fn a_plan_is_done_in_order_and_once() {
    let served = Served::start();
    bootable(&served.host.env);
    let asker = Asker::of(&served);
    let act = |action: &str, name: &str| json!({"action": action, "name": name});
    let plan = json!({"key": "first", "actions": [
        {"action": "CREATE", "name": "new", "memory_mb": 256, "config": {"description": "of a plan"}},
        {"action": "SNAPSHOT", "name": "web", "snapshot": "before"},
        act("START", "web"), act("PAUSE", "web"), act("RESUME", "web"), act("STOP", "web"), act("DELETE", "new"),
    ]});
    let given = asker.ask("POST", "/api/plans", plan.clone()).is(201);
    let done = ended(&asker, &given["id"]);
    assert_eq!(statuses(&done), "ok: ok ok ok ok ok ok ok", "{done}");
    assert_eq!(done["actions"][0]["result"]["name"], "new");
    assert!(done["actions"][2]["upid"].as_str().unwrap().contains(":qmstart:100:"), "{done}");
    // Once more is the same plan; with another content it is refused.
    let again = asker.ask("POST", "/api/plans", plan.clone()).is(200);
    assert_eq!(again, done);
    let bearer = format!("Bearer {}", asker.token);
    let keyed = [("authorization", bearer.as_str()), ("idempotency-key", "first")];
    let by_header = asker.raw("POST", "/api/plans", &keyed, json!({"actions": plan["actions"]}).to_string());
    assert_eq!(by_header.is(200)["id"], done["id"]);
    let other = json!({"key": "first", "actions": [act("START", "web")]});
    assert!(asker.ask("POST", "/api/plans", other).error(409).contains("plan 1"));
    assert!(asker.ask("POST", "/api/plans", json!({"actions": []})).error(400).contains("1 to 1000"));

    let failing = [act("STOP", "web"), act("START", "none"), act("START", "web")];
    let stops = asker.ask("POST", "/api/plans", json!({"actions": failing})).is(201);
    let goes_on = asker.ask("POST", "/api/plans", json!({"on_error": "carry-on", "actions": failing})).is(201);
    let stops = ended(&asker, &stops["id"]);
    assert_eq!(statuses(&stops), "failed: failed skipped skipped");
    assert!(stops["actions"][0]["error"].as_str().unwrap().contains("is stopped"), "{stops}");
    assert_eq!(statuses(&ended(&asker, &goes_on["id"])), "failed: failed failed ok");
    assert_eq!(asker.get("/api/plans").as_array().unwrap().len(), 3);
    assert_eq!(asker.get("/api/vms/web")["status"], "running");
    served.end();
}

/// Where the server is killed in the middle of the plan below, one after another.
const POINTS: &[&str] = &[
    // Of the create: nothing is done yet; half made; done and not told.
    "task-begun",
    "row-made",
    "settled",
    // Of the start.
    "spawned",
    "vm-booted",
    // Of whatever comes next: done, and told to nobody.
    "task-ending",
    "task-ended",
    // Of the removal.
    "row-gone",
];

#[test]
fn a_plan_goes_on_once_after_its_server_was_killed() {
    if !ARE_HERE {
        eprintln!("SKIPPED: this build has no failpoints");
        return;
    }
    let mut host = Host::new(&stand_in());
    bootable(&host.env);
    let act = |action: &str, name: &str| json!({"action": action, "name": name});
    let plan = json!({"key": "k", "actions": [
        {"action": "CREATE", "name": "new", "memory_mb": 256, "disk_gb": 1},
        act("START", "web"), act("STOP", "web"), act("DELETE", "new"),
    ]});
    let mut deaths = 0;
    for point in POINTS {
        let env = host.env.clone();
        let served = Served::of(host, &env.with("PVECTL_TEST_KILL_AT", point), "");
        if deaths == 0 {
            let asker = Asker::of(&served);
            let _ = asker.ask("POST", "/api/plans", plan.clone()).is(201);
        }
        let asker = Asker::of(&served);
        let over = served.killed_or(|| asker.try_get("/api/plans/1").is_some_and(|plan| plan["ended"].is_string()));
        match over {
            Ok(killed) => host = killed,
            Err(served) => {
                host = served.end();
                break;
            }
        }
        deaths += 1;
        assert!(host.processes().len() <= 1, "a VM runs twice after {point}");
    }
    assert!(deaths > 5, "it was killed {deaths} times only");
    let env = host.env.clone();
    let served = Served::of(host, &env, "");
    let asker = Asker::of(&served);
    let done = ended(&asker, &json!(1));
    assert_eq!(statuses(&done), "ok: ok ok ok ok", "{done}");
    let vms = asker.get("/api/vms");
    let left: Vec<_> = vms.as_array().unwrap().iter().map(|vm| (vm["name"].clone(), vm["status"].clone())).collect();
    assert_eq!(left, [(json!("web"), json!("stopped"))]);
    // What was told to have been done was not done again.
    for kind in ["qmcreate", "qmstart", "qmstop", "qmdestroy"] {
        let (_, well) = tasks(&served.host.env, kind);
        assert!(well <= if kind == "qmcreate" { 2 } else { 1 }, "{kind} went well {well} times");
    }
    eventually("its process ends", || served.host.processes().is_empty().then_some(()));
    served.end();
}

#[test]
fn a_command_that_nobody_saw_end_is_not_run_again() {
    let host = Host::new(&stand_in());
    let count = host.env.path("count");
    // It takes the server with it.
    let script = format!("#!/bin/sh\necho once >> {}\nkill -9 $PPID\n", count.display());
    let script = host.env.write("deadly.sh", &script);
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let flags = format!("--allow-exec deadly={}", script.display());
    let env = host.env.clone();
    let served = Served::of(host, &env, &flags);
    let plan = json!({"actions": [
        {"action": "EXECUTE", "command": "deadly"}, {"action": "CREATE", "name": "never", "memory_mb": 256},
    ]});
    let id = Asker::of(&served).ask("POST", "/api/plans", plan).is(201)["id"].clone();
    let served = Served::of(served.killed(), &env, &flags);
    let asker = Asker::of(&served);
    let plan = ended(&asker, &id);
    assert_eq!(statuses(&plan), "unknown: unknown skipped", "{plan}");
    assert_eq!(fs::read_to_string(count).unwrap(), "once\n");
    assert_eq!(asker.get("/api/vms"), json!([]));
    // The journal says so too.
    let rows = served.host.env.json("operation list");
    assert_eq!((&rows[0]["verb"], &rows[0]["status"]), (&json!("exec"), &json!("unknown")), "{rows}");
}
