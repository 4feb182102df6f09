//! Snapshots, rollbacks, suspends and resumes that are killed at all times.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{CREATE, vm_folder};
use crate::{
    harness::eventually,
    local::{Host, stand_in},
};

/// Kills a command again and again: within the VMM's slow verbs, and at moments spread over the time that it takes.
fn kill_at_all_times(host: &Host, line: &str, before: &dyn Fn(), after: &dyn Fn()) {
    const KILLS: u32 = 7;
    before();
    let begin = Instant::now();
    let _ = host.env.run(line).ok();
    let whole = begin.elapsed();
    host.check_mended();
    after();
    for kill in 1..=KILLS {
        before();
        let running = host.env.spawn(line);
        thread::sleep(whole * kill / KILLS);
        running.kill();
        host.check_mended();
        after();
    }
}

#[test]
fn a_killed_snapshot_is_whole_or_not_there() {
    let host = Host::new(&stand_in());
    let env = &host.env;
    let _ = env.run(CREATE).ok();
    host.mark("one");
    let taken = || {
        let names: Vec<Value> = host.snapshots().into_iter().map(|row| row["name"].clone()).collect();
        if names.contains(&json!("a-1")) {
            let _ = env.run("vm snapshot delete web a-1 --confirm").ok();
        }
        host.check_files();
    };
    kill_at_all_times(&host, "vm snapshot create web a-1", &|| {}, &taken);
    let _ = env.run("vm start web").ok();
    kill_at_all_times(&host, "vm snapshot create web a-1 --memory", &|| {}, &taken);
    assert_eq!(host.status("web")["qmpstatus"], "running");
    let take = || {
        if host.snapshots().is_empty() {
            let _ = env.run("vm snapshot create web a-1 --memory").ok();
        }
    };
    kill_at_all_times(&host, "vm snapshot delete web a-1 --confirm", &take, &|| {});
}

#[test]
fn a_killed_rollback_is_done_or_not_begun() {
    let host = Host::new(&stand_in());
    let env = &host.env;
    let _ = env.run(CREATE).ok();
    host.mark("one");
    let _ = env.run("vm snapshot create web a-1").ok();
    host.mark("two");
    let _ = env.run("vm snapshot create web b-1").ok();
    let agree = || {
        let want = match host.config("parent").as_str() {
            Some("a-1") => "one",
            _ => "two",
        };
        assert_eq!(host.marked(), want);
        let _ = env.run("vm snapshot rollback web b-1 --confirm").ok();
        assert_eq!(host.marked(), "two");
    };
    kill_at_all_times(&host, "vm snapshot rollback web a-1 --confirm", &|| {}, &agree);
    let start = || drop(env.run("vm start web").ok());
    kill_at_all_times(&host, "vm snapshot rollback web a-1 --start --confirm", &start, &agree);
}

#[test]
fn a_killed_suspend_and_a_killed_resume_lose_nothing() {
    let host = Host::new(&stand_in());
    let env = &host.env;
    let _ = env.run(CREATE).ok();
    let run = || {
        if host.status("web")["status"] != "running" {
            let _ = env.run("vm start web").ok();
        }
    };
    let nothing_lost = || {
        let status = host.status("web");
        assert!(status["status"] == "running" || status["lock"] == "suspended", "{status}");
        if status["lock"] == "suspended" {
            let _ = env.run("vm resume web").ok();
        }
        assert_eq!((host.status("web")["qmpstatus"].clone(), host.processes().len()), (json!("running"), 1));
    };
    kill_at_all_times(&host, "vm suspend web", &run, &nothing_lost);
    let suspend = || {
        if host.status("web")["status"] == "running" {
            let _ = env.run("vm suspend web").ok();
        }
    };
    kill_at_all_times(&host, "vm resume web", &suspend, &nothing_lost);
}

#[test]
fn killed_while_the_vmm_is_at_work_it_goes_on() {
    let host = Host::new(&stand_in());
    let env = &host.env;
    let _ = env.run(CREATE).ok();
    let _ = env.run("vm start web").ok();
    let events = host.state().join("vms").join(vm_folder(&host)).join("events-1.json");
    for (line, verb, event) in [
        ("vm snapshot create web a-1 --memory", "vm.snapshot", "paused"),
        ("vm suspend web", "vm.snapshot", "paused"),
        ("vm snapshot create web a-1 --memory", "vm.resume", "snapshotted"),
    ] {
        host.orders(&json!({"faults": {verb: {"delay_ms": 700}}}));
        let told = || fs::read_to_string(&events).unwrap().matches(&format!("\"{event}\"")).count();
        let before = told();
        let running = env.spawn(line);
        eventually("the VMM is at it", || (told() > before).then_some(()));
        thread::sleep(Duration::from_millis(100));
        running.kill();
        host.orders(&json!({}));
        // It is not asked to go on before it answers again.
        eventually("the next command mends", || (env.run("vm snapshot create web probe").code == 0).then_some(()));
        let _ = env.run("vm snapshot delete web probe --confirm").ok();
        assert_eq!(host.status("web")["qmpstatus"], "running");
        if host.snapshots().iter().any(|row| row["name"] == "a-1") {
            let _ = env.run("vm snapshot delete web a-1 --confirm").ok();
        }
        host.check_files();
    }
}
