//! Tasks, their logs and lists.

use super::*;

#[test]
fn a_log_unfolds_while_the_task_runs() {
    let asker = Asker::new();
    let upid = asker.post("/nodes/pve1/qemu/9000/clone", &[("newid", "150"), ("full", "1"), ("name", "app")]);
    let log = |query: &[(&str, &str)]| asker.ask(Method::Get, &format!("/nodes/pve1/tasks/{upid}/log"), query).unwrap();
    assert_eq!(log(&[]).total, Some(0));
    asker.clock.forward(320);
    let half = log(&[]);
    let last = half.data.as_array().unwrap().last().unwrap()["t"].as_str().unwrap().to_owned();
    assert!(last.starts_with("transferred ") && last.contains(" of 4.0 GiB ("), "{last}");
    assert_eq!(asker.finish(&upid), "OK");
    let all = log(&[("limit", "0")]);
    assert!(all.total > half.total);
    assert_eq!(all.data.as_array().unwrap().last().unwrap()["t"], "TASK OK");
    let page = log(&[("start", "1"), ("limit", "2")]).data;
    assert_eq!((page[0]["n"].clone(), page.as_array().unwrap().len()), (2.into(), 2));
    let beyond = log(&[("start", "5000")]);
    assert_eq!((beyond.data, beyond.total), (Value::Array(vec![]), all.total));
}

#[test]
fn an_interrupted_task_leaves_nothing_half_done() {
    let asker = Asker::new();
    let upid = asker.post("/nodes/pve1/qemu/9000/clone", &[("newid", "150"), ("full", "1")]);
    assert_eq!(asker.get("/nodes/pve1/qemu/150/config")["lock"], "clone");
    asker.clock.forward(100);
    asker.ask(Method::Delete, &format!("/nodes/pve1/tasks/{upid}"), &[]).unwrap();
    assert_eq!(asker.finish(&upid), "received interrupt");
    let gone = asker.fault(Method::Get, "/nodes/pve1/qemu/150/config", &[]);
    assert_eq!(gone.message, "Configuration file 'nodes/pve1/qemu-server/150.conf' does not exist");
    // A finished task may be stopped again, and nothing happens.
    asker.ask(Method::Delete, &format!("/nodes/pve1/tasks/{upid}"), &[]).unwrap();
}

#[test]
fn a_task_ends_as_it_is_told() {
    let asker = Asker::new();
    let end = |path: &str, words: &str| {
        let request = request(Method::Post, path, &[], &asker.who);
        let reply = asker.sandbox.answer(&Request { task_ends: Some(words.into()), ..request }).unwrap();
        let upid = reply.data.as_str().unwrap().to_owned();
        let log = format!("/nodes/{}/tasks/{upid}/log", upid.split(':').nth(1).unwrap());
        let exit = asker.finish(&upid);
        (exit, asker.get(&log).as_array().unwrap().last().unwrap()["t"].as_str().unwrap().to_owned())
    };
    let start = "/nodes/pve2/qemu/101/status/start";
    let status = || asker.get("/nodes/pve2/qemu/101/status/current")["status"].clone();
    assert_eq!(end(start, "unexpected status"), ("unexpected status".into(), "TASK ERROR: unexpected status".into()));
    assert_eq!(status(), "stopped", "not done");
    assert_eq!(end(start, "WARNINGS: 1"), ("WARNINGS: 1".into(), "TASK WARNINGS: 1".into()));
    assert_eq!(status(), "running", "done");
}

#[test]
fn lists_are_filtered_and_cut() {
    let asker = Asker::new();
    asker.run("/nodes/pve1/qemu/100/status/start", &[]);
    asker.run("/nodes/pve1/qemu/100/status/reset", &[]);
    asker.run("/nodes/pve1/qemu/100/status/stop", &[]);
    asker.post("/nodes/pve1/qemu/100/status/start", &[]);
    let list = |query: &[(&str, &str)]| asker.ask(Method::Get, "/nodes/pve1/tasks", query).unwrap();
    let kinds = |query: &[(&str, &str)]| {
        let rows = list(query).data;
        rows.as_array().unwrap().iter().map(|row| row["type"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(kinds(&[]), ["qmstop", "qmreset", "qmstart"]);
    assert_eq!(kinds(&[("source", "active")]), ["qmstart"]);
    assert_eq!(list(&[("source", "active")]).data[0]["status"], "RUNNING");
    assert_eq!(list(&[("source", "active")]).data[0]["user"], "root@pam!pvectl");
    assert_eq!(kinds(&[("errors", "1")]), ["qmstart"]);
    assert_eq!(kinds(&[("statusfilter", "ok"), ("limit", "1")]), ["qmstop"]);
    assert_eq!(list(&[("statusfilter", "ok"), ("limit", "1")]).total, Some(2));
    assert_eq!(kinds(&[("vmid", "101")]), [""; 0]);
    assert_eq!(kinds(&[("typefilter", "qmreset"), ("source", "all")]), ["qmreset"]);
    assert_eq!(list(&[("start", "1")]).data[0]["type"], "qmreset");
    assert_eq!(asker.get("/cluster/tasks").as_array().unwrap().len(), 4);
}

#[test]
fn a_task_goes_on_while_nobody_looks() {
    let asker = Asker::new();
    let upid = asker.post("/nodes/pve2/qemu/101/status/start", &[]);
    asker.clock.forward(60_000);
    // The start counts from the task's end, not from the look.
    assert_eq!(asker.get("/nodes/pve2/qemu/101/status/current")["uptime"], 59);
    assert_eq!(asker.finish(&upid), "OK");
}

#[test]
fn at_pace_zero_a_task_is_over_when_it_begins() {
    let asker = Asker::of(&Shape { pace: 0.0, ..Shape::default() });
    let upid = asker.post("/nodes/pve2/qemu/101/status/start", &[]);
    assert_eq!(asker.get(&format!("/nodes/pve2/tasks/{upid}/status"))["exitstatus"], "OK");
}
