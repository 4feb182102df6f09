//! Commands that are killed at each of their steps, VMs that come to harm, many commands at once: what is the case
//! afterwards.
//!
//! Over the stand-in, which can be told to misbehave, and over the real Cloud Hypervisor where it can run. The verbs are
//! in `cases.rs`; what must hold whatever happened is in `sound.rs`.

mod cases;
mod crowd;
mod luck;
mod sound;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

use pvectl::backends::cloud_hypervisor::failpoint::{ARE_HERE, Point};

use self::cases::{CREATE, Case, MANY, START, STOP};
use crate::{
    local::{Host, real, stand_in},
    local_network::{apart, ip},
};

/// At which point the process is to be killed.
const KILL_AT: &str = "PVECTL_TEST_KILL_AT";
/// How a test in a namespace of its own tells at which points its commands were killed.
const PASSED_HERE: &str = "killed at: ";

/// The points that some verb was killed at, and how many verbs are through.
static PASSED: Mutex<(BTreeSet<&str>, usize)> = Mutex::new((BTreeSet::new(), 0));

fn passed() -> MutexGuard<'static, (BTreeSet<&'static str>, usize)> {
    PASSED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The points that a verb passes, in order, each with how many times it was passed by then.
fn points_of(host: &Host, case: &Case) -> Vec<(&'static str, u32)> {
    let told = host.env.path("told");
    let telling = host.env.with(KILL_AT, &format!("tell:{}", told.display()));
    let _ = telling.run(case.line).ok();
    let told = fs::read_to_string(told).unwrap();
    let mut times = BTreeMap::new();
    let counted = told.lines().map(|word| {
        let point = Point::ALL.iter().find(|point| point.word() == word).unwrap().word();
        let time: &mut u32 = times.entry(point).or_default();
        *time += 1;
        (point, *time)
    });
    counted.collect()
}

/// Kills a verb at each point that it passes, each time that it passes it.
fn kill_everywhere(vmm: &Path, case: &Case) {
    let host = Host::new(vmm);
    // Who is asked to shut down, or to let go of something, does.
    fs::write(host.env.path("programs/stand-in.json"), r#"{"guest": "polite"}"#).unwrap();
    run_all(&host, case.before, "before");
    ready(&host, case);
    let points = points_of(&host, case);
    done(&host, case, case.line);
    for (point, time) in points {
        let when = format!("`{}` killed at {point}:{time}", case.line);
        ready(&host, case);
        let armed = host.env.with(KILL_AT, &format!("{point}:{time}"));
        match armed.run_unless_killed(case.line) {
            // It went another way this time.
            Some(output) => assert_eq!(output.code, 0, "{when}: {output}"),
            None => {
                passed().0.insert(point);
                sound::list_is_true(&host, &when);
                let second = host.env.run(case.line);
                let fair = second.code == 0 || case.again.contains(&second.code);
                assert!(fair, "{when}, then again: {second}");
                if let Some(on) = case.on.filter(|_| second.code != 0) {
                    run_all(&host, &[on], &format!("{when}, then again"));
                }
            }
        }
        done(&host, case, &format!("{when}, then again"));
    }
    sound::check(&host, &format!("`{}` killed everywhere", case.line));
}

fn run_all(host: &Host, lines: &[&str], when: &str) {
    for line in lines {
        let output = host.env.run(line);
        assert_eq!(output.code, 0, "{when}, then `{line}`: {output}");
    }
}

/// What comes before each time.
fn ready(host: &Host, case: &Case) {
    run_all(host, case.each, "before");
    (case.ready)(host);
}

/// The verb is done, and done once; then everything back, and nothing is left of it.
fn done(host: &Host, case: &Case, when: &str) {
    let listed = host.env.json("vm list");
    let status = listed.as_array().unwrap().first().map(|row| row["status"].as_str().unwrap().to_owned());
    assert_eq!(status.as_deref(), case.done, "{when}");
    (case.also)(host, when);
    run_all(host, case.back, when);
    // What was seen to be done already was not sent: this is the first command that looks after the rest.
    sound::whole(host, &format!("{when}, then back"));
}

/// Over the stand-in and, if it is here, the real one.
fn over_both(case: &Case) {
    if !ARE_HERE {
        eprintln!("SKIPPED: a build without debug assertions has no points to be killed at");
        return;
    }
    kill_everywhere(&stand_in(), case);
    through(&[]);
    match real().filter(|_| case.real) {
        Some(vmm) => {
            eprintln!("over the real Cloud Hypervisor: {}", vmm.display());
            kill_everywhere(&vmm, case);
        }
        None => {
            eprintln!("SKIPPED: no cloud-hypervisor on PATH, or /dev/kvm does not open, or no guest that plays along");
        }
    }
}

/// The same in a namespace with a bridge, where a test of this file runs it.
fn over_both_apart(test: &str) {
    if !ARE_HERE {
        eprintln!("SKIPPED: a build without debug assertions has no points to be killed at");
        return;
    }
    let told = apart(&format!("local_kill::inside::{test}"));
    let Some(told) = told else { return through(&["tap-made", "tap-gone"]) };
    let words = told.lines().filter_map(|line| line.strip_prefix(PASSED_HERE));
    let known = |word: &str| Point::ALL.iter().map(|point| point.word()).find(|known| *known == word);
    passed().0.extend(words.filter_map(known));
    through(&[]);
}

/// Points that no verb passes here: devices of the host are lent only where it has an IOMMU, and what is cut short there, the
/// unit tests have; those of shares are passed in `local_shares.rs`.
const NOWHERE: [&str; 5] = ["device-lent", "device-taken", "share-begun", "share-spawned", "share-recorded"];

/// A verb is through. The last of them looks whether all points were passed, but those for which there is nothing here.
fn through(missing: &[&'static str]) {
    let mut seen = passed();
    seen.0.extend(missing);
    seen.1 += 1;
    if seen.1 == MANY {
        let all = Point::ALL.iter().map(|point| point.word());
        let missed: Vec<&str> = all.filter(|word| !seen.0.contains(word) && !NOWHERE.contains(word)).collect();
        assert_eq!(missed, [""; 0], "nobody was killed there");
    }
}

mod inside {
    use super::*;

    fn with_bridge(case: &Case) {
        ip("link add vmbr0 type bridge");
        ip("link set vmbr0 up");
        kill_everywhere(&stand_in(), case);
        if let Some(vmm) = real().filter(|_| case.real) {
            eprintln!("over the real Cloud Hypervisor: {}", vmm.display());
            kill_everywhere(&vmm, case);
        }
        passed().0.iter().for_each(|point| eprintln!("{PASSED_HERE}{point}"));
    }

    #[test]
    #[ignore = "run in a namespace by the test outside"]
    fn add_net() {
        with_bridge(&cases::ADD_NET);
    }

    #[test]
    #[ignore = "run in a namespace by the test outside"]
    fn remove_net() {
        with_bridge(&cases::REMOVE_NET);
    }
}
