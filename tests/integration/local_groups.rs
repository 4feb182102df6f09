//! Control groups of VMMs: over a made-up directory of them, and over the one of this machine where there is one with
//! the control of processors.

use std::{fs, path::PathBuf};

use serde_json::json;

use crate::{
    harness::Env,
    local::{Host, stand_in},
};

const CREATE: &str = "vm create --name web --memory 256 --kernel kernel --cpulimit 1.5";

/// A host with a directory that looks like one of control groups, and an account that is told of it.
fn made_up() -> (Host, Env, PathBuf) {
    let host = Host::new(&stand_in());
    let base = host.env.path("groups");
    fs::create_dir(&base).unwrap();
    fs::write(base.join("cgroup.controllers"), "cpu memory\n").unwrap();
    let env = host.env.with("PVECTL_CGROUP_DIR", base.to_str().unwrap());
    (host, env, base)
}

/// The groups that there are.
fn groups(base: &PathBuf) -> Vec<PathBuf> {
    let entries = fs::read_dir(base).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.is_dir()).collect()
}

fn text(path: PathBuf) -> String {
    fs::read_to_string(path).unwrap()
}

/// A directory of the kernel's is empty when its processes are gone.
fn empty(group: &PathBuf) {
    fs::read_dir(group).unwrap().for_each(|entry| fs::remove_file(entry.unwrap().path()).unwrap());
}

#[test]
fn a_vm_has_as_much_of_the_processors_as_it_is_given() {
    let (host, env, base) = made_up();
    let _ = env.run(CREATE).ok();
    let _ = env.run("vm start web").ok();
    let [group] = &groups(&base)[..] else { panic!("{:?}", groups(&base)) };
    assert!(group.file_name().unwrap().to_str().unwrap().starts_with("100-"));
    assert_eq!(text(base.join("cgroup.subtree_control")), "+cpu");
    assert_eq!(text(group.join("cgroup.procs")), host.processes()[0].to_string());
    assert_eq!((text(group.join("cpu.max")), text(group.join("cpu.weight"))), ("150000 100000".into(), "100".into()));

    let changed = env.run("vm update web --cpulimit 0 --cpuunits 200").ok();
    let _ = changed.says(&["changed while it runs: cpulimit, cpuunits"]);
    assert_eq!((text(group.join("cpu.max")), text(group.join("cpu.weight"))), ("max 100000".into(), "200".into()));
    assert_eq!(host.status("web")["config"]["cpuunits"], 200);
    let _ = env.run("vm update web --delete cpuunits").ok();
    assert_eq!(text(group.join("cpu.weight")), "100");

    // It is there as long as its VMM, and is found where it was left.
    let _ = env.run("vm stop web").ok();
    fs::write(group.join("cgroup.procs"), "").unwrap();
    let left = env.json("host gc");
    assert_eq!(
        (&left[0]["kind"], &left[0]["vmid"], &left[0]["reason"]),
        (&json!("group"), &json!(100), &json!("its VM is off"))
    );
    empty(group);
    let _ = env.run("host gc --confirm").ok();
    assert!(groups(&base).is_empty());
    let _ = env.run("vm start web").ok();
    empty(group);
    let _ = env.run("vm stop web").ok();
    assert!(groups(&base).is_empty());
}

#[test]
fn a_start_that_is_killed_leaves_no_group() {
    if !pvectl::backends::cloud_hypervisor::failpoint::ARE_HERE {
        return eprintln!("SKIPPED: a build without debug assertions has no points to be killed at");
    }
    let (host, env, base) = made_up();
    let _ = env.run(CREATE).ok();
    for point in ["process-recorded", "vm-created"] {
        assert!(env.with("PVECTL_TEST_KILL_AT", point).run_unless_killed("vm start web").is_none());
        groups(&base).iter().for_each(empty);
        let _ = env.run(&format!("vm update web --description {point}")).ok();
        assert!(groups(&base).is_empty() && host.processes().is_empty(), "{point}: {:?}", groups(&base));
    }
}

#[test]
fn where_there_is_no_group_limits_are_refused_and_the_rest_goes_on() {
    let (host, env, base) = made_up();
    let without = &host.env;
    let _ = without.run(CREATE).exits(2).says(&["cpulimit is not possible", "PVECTL_CGROUP_DIR is `none`"]);
    let facts = without.json("host facts");
    let fact = facts.as_array().unwrap().iter().find(|fact| fact["name"] == "groups").unwrap().clone();
    assert_eq!((&fact["status"], &fact["value"]), (&json!("warn"), &json!(false)));
    let _ = without.run("vm create --name web --memory 256 --kernel kernel").ok();
    let _ = without.run("vm start web").ok();
    // Its VMM is where it was started: the next one is not.
    let _ =
        env.run("vm update web --cpuunits 50").ok().says(&["cpuunits: waits for the next start", "no control group"]);
    let _ = env.run("vm stop web").ok();
    let _ = env.run("vm start web").ok();
    assert_eq!(text(groups(&base)[0].join("cpu.weight")), "50");
    let _ = env.run("vm stop web").ok();

    // A directory that takes nobody in: a VM with limits does not start without them, another one does.
    fs::remove_dir_all(&groups(&base)[0]).unwrap();
    fs::remove_file(base.join("cgroup.subtree_control")).unwrap();
    fs::create_dir(base.join("cgroup.subtree_control")).unwrap();
    let _ = env.run("vm start web").exits(9).says(&["cgroup.subtree_control", "PVECTL_CGROUP_DIR"]);
    assert_eq!(host.status("web")["status"], "stopped");
    let _ = env.run("vm update web --delete cpuunits").ok();
    let _ = env.run("vm start web").ok();
    let _ = env.run("vm stop web").ok();
}

#[test]
fn the_control_groups_of_this_machine_take_a_vmm() {
    let host = Host::new(&stand_in());
    let env = host.env.without("PVECTL_CGROUP_DIR");
    let facts = env.json("host facts");
    let fact = facts.as_array().unwrap().iter().find(|fact| fact["name"] == "groups").unwrap().clone();
    if fact["status"] != "ok" {
        return eprintln!("SKIPPED: no control groups with the control of processors here: {}", fact["seen"]);
    }
    let _ = env.run(CREATE).ok();
    let _ = env.run("vm start web").ok();
    let group = text(format!("/proc/{}/cgroup", host.processes()[0]).into());
    assert!(group.contains("100-"), "{group}");
    let _ = env.run("vm update web --cpulimit 0.5").ok().says(&["changed while it runs: cpulimit"]);
    let _ = env.run("vm stop web").ok();
    let _ = env.run("vm delete web --confirm").ok();
}
