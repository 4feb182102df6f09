//! `check` and `host facts`: what is said of this host, and that nothing is changed by looking.

use std::{fs, os::unix::fs::PermissionsExt, process::Command};

use serde_json::Value;

use crate::harness::Env;

/// An account whose PATH leads to one VMM, of this version.
fn with_vmm(version: &str) -> Env {
    let env = Env::bare();
    let text = env.write("bin/text", &format!("#!/bin/sh\necho cloud-hypervisor {version}\n"));
    let path = text.with_file_name("cloud-hypervisor");
    // Not written by this process: a child that another test forks meanwhile would have it open for writing, and what
    // is open for writing is not run.
    assert!(Command::new("cp").args([&text, &path]).status().unwrap().success());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    env.with("PATH", env.path("bin").to_str().unwrap())
}

fn fact(facts: &Value, name: &str) -> Value {
    let facts = facts.as_array().unwrap();
    facts.iter().find(|fact| fact["name"] == name).unwrap_or_else(|| panic!("{name} in {facts:?}")).clone()
}

#[test]
fn the_code_says_whether_vms_can_run() {
    let env = with_vmm("v53.0");
    let checked = env.run("check -o json");
    let facts = checked.json();
    let missing = facts.as_array().unwrap().iter().any(|fact| fact["status"] == "missing");
    assert_eq!(checked.code, i32::from(missing), "{checked}");
    let vmm = fact(&facts, "cloud-hypervisor");
    assert_eq!(vmm["status"], "ok");
    assert_eq!(vmm["value"]["version"], "v53.0");
    assert_eq!(vmm["mend"], Value::Null);
    // The same as data from the other command, and nothing was made by looking.
    let listed = env.json("host facts");
    let names = |facts: &Value| facts.as_array().unwrap().iter().map(|fact| fact["name"].clone()).collect::<Vec<_>>();
    assert_eq!(names(&listed), names(&facts));
    assert!(!env.path(".local").exists());
}

#[test]
fn what_is_missing_says_how_to_mend_it() {
    let env = Env::bare().with("PATH", "/nowhere");
    let checked = env.run("check").exits(1);
    assert!(checked.stdout.contains("missing cloud-hypervisor  not found on PATH"), "{checked}");
    assert!(checked.stdout.contains("Install it: `sudo curl"), "{checked}");
    assert!(checked.stderr.contains("cannot run VMs yet"), "{checked}");
    // Without a word on stderr it is the same answer.
    assert_eq!(env.run("check --quiet").exits(1).stderr, "");
    let named = env.json("host facts --cloud-hypervisor bin/other --firmware other.fd");
    let vmm = fact(&named, "cloud-hypervisor");
    assert!(vmm["seen"].as_str().unwrap().contains("bin/other"), "{vmm}");
    assert!(fact(&named, "firmware")["seen"].as_str().unwrap().contains("other.fd"));
}

#[test]
fn an_old_vmm_will_do_and_is_told_what_it_lacks() {
    let vmm = fact(&with_vmm("v50.0").json("host facts"), "cloud-hypervisor");
    assert_eq!(vmm["status"], "warn");
    assert!(vmm["seen"].as_str().unwrap().contains("without memory restored on demand"), "{vmm}");
}

#[test]
fn the_context_says_which_host_is_meant() {
    let env = with_vmm("v53.0");
    let _ = env.run("host facts --context nowhere").exits(3);
    let facts = env.json("host facts --context local");
    assert_eq!(fact(&facts, "cloud-hypervisor")["status"], "ok");
    // Without any it is this one.
    assert_eq!(env.run("host facts -o name --field-selector name=cpus").ok().stdout.trim(), "fact/cpus");
}

#[test]
fn a_long_runtime_directory_is_found_out_before_any_vm() {
    let env = with_vmm("v53.0").with("XDG_RUNTIME_DIR", &format!("/{}", "r".repeat(100)));
    let sockets = fact(&env.run("check -o json").exits(1).json(), "sockets");
    assert_eq!(sockets["status"], "missing");
    assert!(sockets["mend"].as_str().unwrap().contains("XDG_RUNTIME_DIR"), "{sockets}");
}
