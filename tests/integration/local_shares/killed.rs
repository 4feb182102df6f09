//! Whoever of a share is killed: virtiofsd, what keeps it up, the VMM, a command.

use std::{fs, process::Command};

use pvectl::backends::cloud_hypervisor::failpoint::ARE_HERE;
use serde_json::{Value, json};

use super::{host, keeper, kill, nothing_is_left, over_both, processes, sharing, shows, traces, virtiofsds};
use crate::harness::eventually;

#[test]
fn whoever_is_killed_the_next_command_finds_order() {
    over_both(|vmm, virtiofsd| {
        let host = sharing(vmm, virtiofsd);
        // A virtiofsd comes again.
        let first = virtiofsds(&host);
        kill("KILL", first[0]);
        let second = eventually("another virtiofsd is there", || {
            virtiofsds(&host).first().copied().filter(|pid| !first.contains(pid))
        });
        assert_eq!(host.status("web")["status"], "running");

        // All of them at once do not; a reset needs them, and has them.
        let keeper_was = keeper(&host, "virtiofs0");
        kill("KILL", keeper_was);
        kill("KILL", second);
        for process in processes(&host) {
            let _ = Command::new("kill").args(["-KILL", &process.pid.to_string()]).status();
        }
        eventually("nobody serves it", || processes(&host).is_empty().then_some(()));
        shows(&host, "(not served)");
        let _ = host.env.run("vm reset web").ok();
        assert_ne!(keeper(&host, "virtiofs0"), keeper_was);

        // With the VMM they go by themselves, whatever ended it.
        kill("KILL", host.processes()[0]);
        eventually("they end with their VMM", || processes(&host).is_empty().then_some(()));
        let _ = host.env.run("vm start web").ok();
        assert_eq!(virtiofsds(&host).len(), 1);
        // One whose keeper is gone, so that nobody saw the VMM's end.
        kill("KILL", keeper(&host, "virtiofs0"));
        kill("KILL", host.processes()[0]);
        eventually("it is stopped", || (host.status("web")["status"] == "stopped").then_some(()));
        let _ = host.env.run("vm update web --description seen").ok();
        nothing_is_left(&host, "without a keeper");
    });
}

#[test]
fn commands_are_killed_around_a_share() {
    over_both(|vmm, virtiofsd| {
        if !ARE_HERE {
            eprintln!("SKIPPED: a build without debug assertions has no points to be killed at");
            return;
        }
        for point in ["share-begun", "share-spawned", "share-recorded"] {
            let host = host(vmm, virtiofsd);
            let _ = host.env.run("vm add fs web --source shared --tag share").ok();
            let armed = host.env.with("PVECTL_TEST_KILL_AT", &format!("{point}:1"));
            assert!(armed.run_unless_killed("vm start web").is_none(), "{point}");
            let _ = host.env.run("vm update web --description killed").ok();
            nothing_is_left(&host, point);
            let _ = host.env.run("vm start web").ok();
            assert_eq!(virtiofsds(&host).len(), 1, "{point}");

            assert!(armed.run_unless_killed("vm add fs web --source shared --tag more").is_none(), "{point}");
            let _ = host.env.run("vm update web --description killed-again").ok();
            assert_eq!(
                (virtiofsds(&host).len(), host.processes().len()),
                (1, 1),
                "{point}: what the VMM does not have"
            );
            assert!(!traces(&host).iter().any(|name| name.contains("virtiofs1")), "{point}");
            let waits = host.env.run("vm describe web -o json").ok().json()["pending"][0]["key"].clone();
            assert_eq!(waits, "virtiofs1", "{point}: it waits for the next start");
            let _ = host.env.run("vm stop web").ok();
            nothing_is_left(&host, point);
            let _ = host.env.run("vm start web").ok();
            assert_eq!(virtiofsds(&host).len(), 2, "{point}");
        }
        for point in ["end-asked", "vmm-ended", "acted"] {
            let host = sharing(vmm, virtiofsd);
            let armed = host.env.with("PVECTL_TEST_KILL_AT", &format!("{point}:1"));
            assert!(armed.run_unless_killed("vm stop web").is_none(), "{point}");
            let _ = host.env.run("vm update web --description stopped").ok();
            nothing_is_left(&host, point);
        }
    });
}

#[test]
fn a_number_that_was_given_again_is_nobody_of_ours() {
    over_both(|vmm, virtiofsd| {
        let host = sharing(vmm, virtiofsd);
        let mut other = Command::new("sleep").arg("600").spawn().unwrap();
        let file =
            fs::read_dir(host.state().join("vms")).unwrap().next().unwrap().unwrap().path().join("share-virtiofs0");
        let mut served: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        served["keeper"]["pid"] = other.id().into();
        fs::write(&file, served.to_string()).unwrap();
        shows(&host, "(not served)");
        let _ = host.env.run("vm stop web").ok();
        nothing_is_left(&host, "with another number");
        assert!(other.try_wait().unwrap().is_none(), "a process that was not ours was ended");
        other.kill().unwrap();
        other.wait().unwrap();
    });
}

#[test]
fn gc_finds_a_share_that_was_held_up() {
    over_both(|vmm, virtiofsd| {
        let host = sharing(vmm, virtiofsd);
        assert_eq!(host.env.run("host gc -o json").ok().json(), json!([]));
        kill("KILL", keeper(&host, "virtiofs0"));
        kill("KILL", host.processes()[0]);
        eventually("it is stopped", || (host.status("web")["status"] == "stopped").then_some(()));
        let kinds = || {
            let rows = host.env.run("host gc -o json").ok().json();
            rows.as_array().unwrap().iter().map(|row| row["kind"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert!(kinds().contains(&"share".to_owned()), "{:?}", kinds());
        let _ = host.env.run("host gc --confirm").ok();
        eventually("it is gone", || processes(&host).is_empty().then_some(()));
        assert_eq!(kinds(), [""; 0]);
    });
}
