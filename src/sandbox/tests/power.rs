//! Power, and which refusals come at once.

use super::*;

const START: &str = "/nodes/pve2/qemu/101/status/start";

fn status(asker: &Asker, path: &str) -> String {
    asker.get(&format!("{path}/status/current"))["status"].as_str().unwrap().to_owned()
}

#[test]
fn a_start_takes_its_time() {
    let asker = Asker::new();
    let upid = asker.post(START, &[]);
    assert!(upid.starts_with("UPID:pve2:000003E8:") && upid.ends_with(":qmstart:101:root@pam!pvectl:"), "{upid}");
    assert_eq!(upid.parse::<crate::model::Upid>().unwrap().to_string(), upid);
    asker.clock.forward(299);
    assert_eq!(status(&asker, "/nodes/pve2/qemu/101"), "stopped");
    asker.clock.forward(1);
    assert_eq!(status(&asker, "/nodes/pve2/qemu/101"), "running");
    assert_eq!(asker.finish(&upid), "OK");
}

#[test]
fn what_fails_only_in_the_task_fails_only_there() {
    let asker = Asker::new();
    assert_eq!(asker.run("/nodes/pve1/qemu/100/status/start", &[]), "VM 100 already running");
    assert_eq!(asker.run("/nodes/pve2/qemu/101/status/stop", &[]), "OK");
    assert_eq!(asker.run("/nodes/pve1/qemu/9000/status/start", &[]), "you can't start a vm if it's a template");
    let missing = "Configuration file 'nodes/pve1/qemu-server/999.conf' does not exist";
    assert_eq!(asker.run("/nodes/pve1/qemu/999/status/start", &[]), missing);
    let elsewhere = "Configuration file 'nodes/pve1/qemu-server/101.conf' does not exist";
    assert_eq!(asker.run("/nodes/pve1/qemu/101/status/stop", &[]), elsewhere);
}

#[test]
fn what_is_refused_at_once_makes_no_task() {
    let asker = Asker::new();
    let refused = |path: &str| asker.fault(Method::Post, path, &[]).message;
    for verb in ["suspend", "resume", "reset", "reboot"] {
        assert_eq!(refused(&format!("/nodes/pve2/qemu/101/status/{verb}")), "VM 101 not running", "{verb}");
    }
    assert_eq!(refused("/nodes/pve1/lxc/110/status/start"), "CT 110 already running");
    assert_eq!(refused("/nodes/pve3/lxc/111/status/stop"), "CT 111 not running");
    assert_eq!(asker.get("/cluster/tasks"), Value::Array(vec![]));
}

#[test]
fn two_starts_stand_in_line_and_the_second_fails() {
    let asker = Asker::new();
    let (first, second) = (asker.post(START, &[]), asker.post(START, &[]));
    assert_ne!(first, second);
    assert_eq!(asker.finish(&first), "OK");
    assert_eq!(asker.finish(&second), "VM 101 already running");
    let log = asker.get(&format!("/nodes/pve2/tasks/{second}/log"));
    assert_eq!(log, serde_json::json!([{"n": 1, "t": "TASK ERROR: VM 101 already running"}]));
}

#[test]
fn a_guest_that_ignores_shutdown_runs_into_the_timeout() {
    let asker = Asker::new();
    let path = "/nodes/pve1/qemu/100";
    asker.ask(Method::Put, &format!("{path}/config"), &[("description", "sandbox: ignores shutdown")]).unwrap();
    let upid = asker.post(&format!("{path}/status/shutdown"), &[("timeout", "30")]);
    let busy = asker.fault(Method::Put, &format!("{path}/config"), &[("cores", "1")]);
    assert_eq!(busy.message, "can't lock file '/var/lock/qemu-server/lock-100.conf' - got timeout");
    asker.clock.forward(29_999);
    assert_eq!(asker.get(&format!("/nodes/pve1/tasks/{upid}/status"))["status"], "running");
    asker.clock.forward(1);
    assert_eq!(asker.finish(&upid), "VM quit/powerdown failed - got timeout");
    assert_eq!(status(&asker, path), "running");
    assert_eq!(asker.run(&format!("{path}/status/shutdown"), &[("timeout", "1"), ("forceStop", "1")]), "OK");
    assert_eq!(status(&asker, path), "stopped");
}

#[test]
fn a_stop_can_overrule_a_shutdown() {
    let asker = Asker::new();
    let path = "/nodes/pve1/qemu/100";
    asker.ask(Method::Put, &format!("{path}/config"), &[("description", "sandbox: ignores shutdown")]).unwrap();
    let shutdown = asker.post(&format!("{path}/status/shutdown"), &[]);
    let waits = asker.post(&format!("{path}/status/stop"), &[]);
    assert_eq!(asker.finish(&waits), "can't lock file '/var/lock/qemu-server/lock-100.conf' - got timeout");
    assert_eq!(asker.run(&format!("{path}/status/stop"), &[("overrule-shutdown", "1")]), "OK");
    assert_eq!(asker.finish(&shutdown), "received interrupt");
}

#[test]
fn pause_and_suspend_are_two_things() {
    let asker = Asker::new();
    let path = "/nodes/pve1/qemu/100";
    let current = || asker.get(&format!("{path}/status/current"));
    let upid = asker.post(&format!("{path}/status/suspend"), &[]);
    assert!(upid.contains(":qmpause:100:"));
    assert_eq!(asker.finish(&upid), "OK");
    assert_eq!((current()["status"].clone(), current()["qmpstatus"].clone()), ("running".into(), "paused".into()));
    assert_eq!(asker.run(&format!("{path}/status/resume"), &[]), "OK");
    let upid = asker.post(&format!("{path}/status/suspend"), &[("todisk", "1")]);
    assert!(upid.contains(":qmsuspend:100:"));
    assert_eq!(asker.finish(&upid), "OK");
    assert_eq!((current()["status"].clone(), current()["lock"].clone()), ("stopped".into(), "suspended".into()));
    assert_eq!(asker.run(&format!("{path}/status/resume"), &[]), "OK");
    assert_eq!((current()["status"].clone(), current()["lock"].clone()), ("running".into(), Value::Null));
    let states = asker.get("/nodes/pve1/storage/local-lvm/content");
    assert!(!states.to_string().contains("state-suspend"), "{states}");
}
