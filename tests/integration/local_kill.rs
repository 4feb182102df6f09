//! Commands that are killed at each of their steps, VMs that come to harm, many commands at once: what is the case
//! afterwards.
//!
//! Over the stand-in, which can be told to misbehave, and over the real Cloud Hypervisor where it can run. What must hold
//! whatever happened is in `sound.rs`.

mod crowd;
mod luck;
mod sound;

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

use pvectl::backends::cloud_hypervisor::failpoint::{ARE_HERE, Point};

use self::sound::check;
use crate::local::{Host, real, stand_in};

/// A verb, and how to kill it again and again.
struct Case {
    /// The command.
    line: &'static str,
    /// What brings the VM from nothing to where the verb can be used.
    before: &'static [&'static str],
    /// The status that it has when the verb was done, `None` if it is gone.
    done: Option<&'static str>,
    /// How the verb may end when it is tried once more, beside well: where the first one had gone through.
    again: &'static [i32],
    /// What brings it back to where the verb can be used.
    back: &'static [&'static str],
}

const CREATE: &str = "vm create --vmid 100 --name web --memory 256 --scsi0 local:1 --scsi1 local:1 --kernel kernel \
                      --ciuser admin --ide2 local:cloudinit";
const START: &str = "vm start 100";
const STOP: &str = "vm stop 100";

const CASES: &[Case] = &[
    Case { line: CREATE, before: &[], done: Some("stopped"), again: &[6], back: &["vm delete 100 --confirm"] },
    Case { line: START, before: &[CREATE], done: Some("running"), again: &[], back: &[STOP] },
    Case { line: STOP, before: &[CREATE, START], done: Some("stopped"), again: &[], back: &[START] },
    Case { line: "vm shutdown 100", before: &[CREATE, START], done: Some("stopped"), again: &[], back: &[START] },
    Case { line: "vm restart 100", before: &[CREATE, START], done: Some("running"), again: &[6, 9], back: &[START] },
    Case { line: "vm delete 100 --confirm", before: &[CREATE], done: None, again: &[3], back: &[CREATE] },
    Case {
        line: "vm update 100 --cores 2 --description changed",
        before: &[CREATE],
        done: Some("stopped"),
        again: &[],
        back: &["vm update 100 --delete cores,description"],
    },
];

/// The points that some verb was killed at, and how many verbs are through.
static PASSED: Mutex<(BTreeSet<&str>, usize)> = Mutex::new((BTreeSet::new(), 0));

fn passed() -> MutexGuard<'static, (BTreeSet<&'static str>, usize)> {
    PASSED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Kills a verb at each point that it passes, each time that it passes it.
fn kill_everywhere(vmm: &Path, case: &Case) {
    let host = Host::new(vmm);
    // Who is asked to shut down does.
    fs::write(host.env.path("programs/stand-in.json"), r#"{"guest": "polite"}"#).unwrap();
    for line in case.before {
        let _ = host.env.run(line).ok();
    }
    for point in Point::ALL.iter().map(|point| point.word()) {
        for time in 1.. {
            let when = format!("`{}` killed at {point}:{time}", case.line);
            let armed = host.env.with("PVECTL_TEST_KILL_AT", &format!("{point}:{time}"));
            let ended = armed.run_unless_killed(case.line);
            if let Some(output) = ended {
                let _ = output.ok();
                back(&host, case, &when);
                break;
            }
            passed().0.insert(point);
            sound::list_is_true(&host, &when);
            let second = host.env.run(case.line);
            assert!(second.code == 0 || case.again.contains(&second.code), "{when}, then again: {second}");
            if second.code != 0 && case.done == Some("running") {
                // It was in the middle of off and on.
                let _ = host.env.run(START).ok();
            }
            let listed = host.env.json("vm list");
            let status = listed.as_array().unwrap().first().map(|row| row["status"].as_str().unwrap().to_owned());
            assert_eq!(status.as_deref(), case.done, "{when}, then again: {second}");
            sound::list_is_true(&host, &format!("{when}, then again"));
            back(&host, case, &when);
        }
    }
}

fn back(host: &Host, case: &Case, when: &str) {
    for line in case.back {
        let output = host.env.run(line);
        assert_eq!(output.code, 0, "{when}, then back by `{line}`: {output}");
    }
    // What was seen to be done already was not sent: this is the first command that looks after the rest.
    check(host, &format!("{when}, then back"));
}

/// Over the stand-in and, if it is here, the real one.
fn over_both(case: &Case) {
    if !ARE_HERE {
        eprintln!("SKIPPED: a build without debug assertions has no points to be killed at");
        return;
    }
    kill_everywhere(&stand_in(), case);
    let mut seen = passed();
    seen.1 += 1;
    if seen.1 == CASES.len() {
        // The last of them: together they go everywhere.
        let missed: Vec<&str> =
            Point::ALL.iter().map(|point| point.word()).filter(|word| !seen.0.contains(word)).collect();
        assert_eq!(missed, NOT_YET, "nobody was killed there");
    }
    drop(seen);
    // Its guest does not listen to the power button.
    match real().filter(|_| !["vm shutdown 100", "vm restart 100"].contains(&case.line)) {
        Some(vmm) => {
            eprintln!("over the real Cloud Hypervisor: {}", vmm.display());
            kill_everywhere(&vmm, case);
        }
        None => {
            eprintln!("SKIPPED: no cloud-hypervisor on PATH, or /dev/kvm does not open, or no guest that shuts down");
        }
    }
}

/// Points that none of these verbs pass. Devices of the host are lent only where it has an IOMMU: what is cut short there,
/// the unit tests have.
const NOT_YET: [&str; 3] = ["intent-revised", "device-lent", "device-taken"];

/// Each verb is a test, so that they run beside each other; the last one looks at the points.
macro_rules! cases {
    ($($name:ident: $at:literal,)+) => {
        $(#[test] fn $name() { over_both(&CASES[$at]); })+
    };
}

cases! {
    a_create_is_killed: 0,
    a_start_is_killed: 1,
    a_stop_is_killed: 2,
    a_shutdown_is_killed: 3,
    a_restart_is_killed: 4,
    a_delete_is_killed: 5,
    an_update_is_killed: 6,
}
