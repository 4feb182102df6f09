//! Changes of several guests that were cut off, and gone on with.

use std::{collections::BTreeMap, time::Duration};

use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::harness::{Chance, Env, Server, eventually, number};

/// A server with stopped VMs from 300 on.
fn fleet(count: u32, pace: &str, flags: &str) -> Server {
    let env = Env::paced("0");
    for vmid in 300..300 + count {
        let _ =
            env.run(&format!("vm create --vmid {vmid} --name web-{vmid} --label app=shop --no-journal --quiet")).ok();
    }
    set_pace(&env, pace);
    env.serve(flags)
}

fn set_pace(env: &Env, pace: &str) {
    let path = env.json("sandbox status")["path"].as_str().unwrap().to_owned();
    let clock = std::sync::Arc::new(pvectl::model::SystemClock);
    pvectl::sandbox::Sandbox::open(path.as_ref(), clock).unwrap().set_pace(pace.parse().unwrap()).unwrap();
}

fn tally(server: &Server, id: u32) -> Value {
    server.json(&format!("operation show {id}"))["tally"].clone()
}

#[test]
fn what_was_not_begun_is_gone_on_with() {
    let server = fleet(6, "0", "--fault 'POST /nodes/*/qemu/302/status/start:status=500*1'");
    let failing = server.run("vm start 300-305 --batch 2").exits(1);
    let _ = failing.says(&["not sent: 304, 305", "go on with the rest: pvectl operation resume 1"]);
    assert_snapshot!(server.run("operation list --status cancelled"), @"
    exit 0
    --- stdout
    ID  STARTED  VERB   TARGET   VMID  NODE  STATUS     TOOK  EXIT STATUS
     1  0s ago   start  300-305     -  -     cancelled  0s  3 ok, 1 failed, 2 not begun
    ");
    assert_snapshot!(server.run("operation show 1"), @"
    exit 0
    --- stdout
    operation 1 start 300-305
      Status       cancelled
      Context      http://127.0.0.1:PORT
      User         root@pam!pvectl from HOST
      Started      TIME
      Ended        TIME
      Took         0.0s
      Exit status  3 ok, 1 failed, 2 not begun
    Guests: 3 ok, 1 failed, 2 not begun
      300 web-300  pve3  ok  operation/2
      301 web-301  pve3  ok  operation/3
      302 web-302  pve3  failed  operation/4
      303 web-303  pve3  ok  operation/5
      304 web-304  pve3  not begun
      305 web-305  pve3  not begun
    ");
    assert_snapshot!(server.run("operation resume 1 --dry-run"), @"
    exit 0
    --- stdout
    start vm/302 (web-302) on pve3
      POST /nodes/pve3/qemu/302/status/start
    start vm/304 (web-304) on pve3
      POST /nodes/pve3/qemu/304/status/start
    start vm/305 (web-305) on pve3
      POST /nodes/pve3/qemu/305/status/start
    --- stderr
    nothing was sent (--dry-run)
    ");
    assert_eq!(server.count("POST", "/status/start"), 4);
    let rows = server.run("operation resume 1 -o json").ok().json();
    let done: Vec<_> =
        rows.as_array().unwrap().iter().map(|row| (row["vmid"].clone(), row["status"].clone())).collect();
    assert_eq!(done, [302, 304, 305].map(|vmid| (json!(vmid), json!("ok"))));
    assert_eq!(server.count("POST", "/status/start"), 7);
    let whole = server.json("operation show 1");
    assert_eq!((&whole["status"], &whole["exit_status"]), (&json!("ok"), &json!("6 ok")));
    let parts = server.json("operation list --part-of 1");
    assert_eq!(parts.as_array().unwrap().len(), 7);
    let _ = server.run("operation resume 1").exits(6).says(&["it was done to its end"]);
    assert_eq!(server.json("operation verify")["broken"], Value::Null);
}

#[test]
fn who_was_asked_is_asked_again() {
    let server = fleet(4, "0", "--fault 'POST /nodes/*/qemu/300/status/stop:status=500*1'");
    let _ = server.run("vm start 300-303 --quiet").ok();
    let _ = server.run("vm stop -l app=shop --batch 1 --confirm").exits(1).says(&["pvectl operation resume 6"]);
    let shown = server.json("operation show 6");
    assert_eq!((&shown["target"], &shown["bulk"]["batch"]), (&json!("--selector app=shop"), &json!(1)));
    let _ = server.run("operation resume 6").exits(2).says(&["--confirm"]);
    let _ = server.run("operation resume 6 --confirm").ok();
    assert_eq!(server.count("POST", "/status/stop"), 5);
    assert_eq!(tally(&server, 6)["ok"], 4);
}

/// A restart whose answer was lost is never sent again.
#[test]
fn what_may_have_been_done_is_left_alone() {
    let server = fleet(4, "0", "--fault 'POST /nodes/*/qemu/301/status/reboot:reset-before*1'");
    let _ = server.run("vm start 300-303 --quiet").ok();
    let _ = server.run("vm restart 300-303 --batch 1").exits(1).says(&["not sent: 302, 303"]);
    let resumed = server.run("operation resume 6 -o json").exits(1);
    let _ = resumed.says(&["what became of vm/301 is not known: operation 8", "look at the guest"]);
    assert_eq!(server.count("POST", "/301/status/reboot"), 1);
    assert_eq!(server.count("POST", "/status/reboot"), 4);
    let told = tally(&server, 6);
    assert_eq!((&told["ok"], &told["unknown"], &told["left"]), (&json!(3), &json!(1), &json!(0)));
    let _ = server
        .run("operation resume 6")
        .exits(6)
        .says(&["vm/301 is not known", "nothing is left of it that could be sent"]);
}

#[test]
fn guests_are_looked_at_first() {
    let server = fleet(5, "0", "--fault 'POST /nodes/*/qemu/300/status/start:status=500*1'");
    let _ = server.run("vm start 300-304 --batch 1").exits(1);
    let _ = server.run("vm start 301").ok();
    let _ = server.run("vm rename 302 other").ok();
    let _ = server.run("vm delete 303 --confirm").ok();
    let resumed = server.run("operation resume 1 --batch 5 -o json");
    let _ = resumed.exits(2);
    let resumed = server.run("operation resume 1 -o json").exits(1);
    // Already that two of them cannot be is too much for the pace that was chosen.
    let _ =
        resumed.says(&["vm 302 is other now, and was web-302", "there is no guest 303 any more", "not sent: 300, 304"]);
    let _ = server.run("vm start 300,304").ok();
    assert_eq!(server.count("POST", "/status/start"), 4);
}

/// What a part has done of its steps is not done again.
#[test]
fn parts_go_on_between_their_steps() {
    let server = fleet(2, "1", "");
    let _ = server.run("vm start 300,301 --quiet").ok();
    let mut dying = server.spawn("vm delete 300,301 --force --parallel 1 --confirm");
    dying.until("task UPID");
    dying.kill();
    eventually("the stop is over", || {
        let rows = server.json("operation list --verb delete");
        rows.as_array().unwrap().iter().all(|row| row["status"] == "cancelled").then_some(())
    });
    let whole = server.json("operation list --verb delete")[1]["id"].clone();
    let _ = server.run(&format!("operation resume {whole}")).exits(2).says(&["--confirm"]);
    let _ = server.run(&format!("operation resume {whole} --confirm")).ok();
    let stops: Vec<String> = server.changes().into_iter().filter(|line| line.contains("/status/stop")).collect();
    assert_eq!(stops.len(), 2, "{stops:?}");
    assert_eq!(server.json("vm list --selector app=shop"), json!([]));
}

#[test]
fn two_who_go_on_at_once_begin_each_guest_once() {
    let server = fleet(8, "0.3", "--fault 'POST /nodes/*/qemu/300/status/start:status=500*1'");
    let _ = server.run("vm start 300-307 --parallel 1 --max-failures 0").exits(1);
    let both = [server.spawn("operation resume 1"), server.spawn("operation resume 1")];
    both.into_iter().for_each(|one| drop(one.wait()));
    let _ = server.run("operation resume 1");
    let mut starts: BTreeMap<String, usize> = BTreeMap::new();
    for line in server.changes().into_iter().filter(|line| line.ends_with(" 200")) {
        *starts.entry(line).or_default() += 1;
    }
    assert!(starts.len() == 8 && starts.values().all(|count| *count == 1), "{starts:?}");
}

/// How many guests are restarted.
const ROLLING: u32 = 12;
/// How often that is killed, anew each time.
const KILLS: u64 = 6;

/// A rolling restart that is killed at any moment, and gone on with until it is done, restarts everybody once.
/// `PVECTL_TEST_KILLS` makes it longer.
#[test]
fn a_rolling_restart_that_is_killed_anywhere_restarts_everybody_once() {
    let mut chance = Chance::any();
    let server = fleet(ROLLING, "0", "");
    let last = 300 + ROLLING - 1;
    let _ = server.run(&format!("vm start 300-{last} --quiet")).ok();
    set_pace(&server, "0.3");
    let mut known = 0;
    for round in 0..number("PVECTL_TEST_KILLS").unwrap_or(KILLS) {
        let before = restarts(&server);
        let dying = server.spawn(&format!("vm restart 300-{last} --batch 3 --pause 20ms --quiet"));
        std::thread::sleep(Duration::from_millis(u64::from(chance.below(900))));
        dying.kill();
        let rows = server.json("operation list --verb restart --limit 1000");
        let whole = rows.as_array().unwrap().iter().find(|row| row["vmid"].is_null()).cloned();
        // It may have died before anything was written.
        let Some(id) = whole.and_then(|whole| whole["id"].as_u64()).filter(|id| *id != known) else { continue };
        known = id;
        let mut lost = Vec::new();
        eventually("the restart is done to its end", || {
            // Once more it is killed on its way.
            let going = server.spawn(&format!("operation resume {id} --quiet"));
            std::thread::sleep(Duration::from_millis(u64::from(chance.below(700))));
            going.kill();
            let shown = server.json(&format!("operation show {id}"));
            let parts = shown["parts"].as_array().unwrap().clone();
            let is = |part: &Value, words: &[&str]| words.iter().any(|word| part["status"] == *word);
            // A request that never left cannot be told from one that did: nobody sends it again.
            lost = parts.iter().filter(|part| is(part, &["unknown", "sent"])).cloned().collect();
            parts.iter().all(|part| is(part, &["ok", "unknown", "sent"])).then_some(())
        });
        let after = restarts(&server);
        for vmid in 300..=last {
            let count = after.get(&vmid).unwrap_or(&0) - before.get(&vmid).unwrap_or(&0);
            let is_lost = lost.iter().any(|part| part["vmid"] == vmid);
            assert!(count == 1 || (is_lost && count == 0), "round {round}: {vmid} was restarted {count} times");
        }
    }
    assert_eq!(server.json("operation verify")["broken"], Value::Null);
}

/// How often each guest was restarted, as the server's tasks say.
fn restarts(server: &Server) -> BTreeMap<u32, usize> {
    let mut counts = BTreeMap::new();
    for task in server.json("task list --limit 1000000").as_array().unwrap() {
        if task["type"] == "qmreboot" {
            *counts.entry(task["id"].as_str().unwrap().parse().unwrap()).or_default() += 1;
        }
    }
    counts
}
