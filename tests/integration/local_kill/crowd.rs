//! Twenty commands at once on ten VMs, whichever a seed says.
//!
//! `PVECTL_TEST_ROUNDS` makes it longer and `PVECTL_TEST_SEED` another one; what failed is tried again with the seed that
//! is printed, though not in the same order of moments.

use std::{fs, time::Duration};

use pvectl::backends::cloud_hypervisor::failpoint::{ARE_HERE, Point};

use super::sound::check;
use crate::{
    harness::{Chance, number},
    local::{Host, stand_in},
};

/// How many VMs there are.
const VMS: u32 = 10;
/// How many commands go at once.
const COMMANDS: usize = 20;

/// What may be done to a VM, and how often in comparison.
const VERBS: &[(u32, &str)] = &[
    (4, "vm start VM"),
    (3, "vm stop VM"),
    (2, "vm shutdown VM --shutdown-timeout 20"),
    (1, "vm restart VM --shutdown-timeout 20"),
    (2, "vm pause VM"),
    (2, "vm resume VM"),
    (1, "vm reset VM"),
    (2, "vm update VM --cores 2"),
    (1, "vm update VM --delete cores --description changed"),
    (2, "vm delete VM --confirm"),
    (1, "vm delete VM --confirm --force"),
    (3, CREATE),
    (1, "vm list"),
    (1, "vm get VM"),
];

const CREATE: &str = "vm create --vmid VM --name vm-VM --memory 256 --scsi0 local:1 --kernel kernel";

/// How a command may end: well, or because another one was faster.
const FAIR: [i32; 4] = [0, 3, 6, 9];

/// A command for a VM.
fn line(chance: &mut Chance) -> String {
    let mut at = chance.below(VERBS.iter().map(|(weight, _)| weight).sum());
    let verb = VERBS.iter().find(|(weight, _)| match at.checked_sub(*weight) {
        Some(rest) => {
            at = rest;
            false
        }
        None => true,
    });
    verb.unwrap().1.replace("VM", &(100 + chance.below(VMS)).to_string())
}

fn crowd(seed: u64, rounds: u64, kills: bool) {
    eprintln!("PVECTL_TEST_SEED={seed} PVECTL_TEST_ROUNDS={rounds}");
    let mut chance = Chance(seed | 1);
    let host = Host::new(&stand_in());
    fs::write(host.env.path("programs/stand-in.json"), r#"{"guest": "polite"}"#).unwrap();
    let creates: Vec<String> = (100..100 + VMS).map(|vmid| CREATE.replace("VM", &vmid.to_string())).collect();
    let made: Vec<_> = creates.iter().map(|line| host.env.spawn(line)).collect();
    made.into_iter().for_each(|running| drop(running.wait().ok()));
    check(&host, "ten made at once");
    for round in 1..=rounds {
        let mut running = Vec::new();
        for _ in 0..COMMANDS {
            let line = line(&mut chance);
            let point = chance.pick(Point::ALL);
            if kills && chance.below(4) == 0 {
                let armed = host.env.with("PVECTL_TEST_KILL_AT", point.word());
                running.push((armed.spawn(&line), line));
            } else {
                running.push((host.env.spawn(&line), line));
            }
            std::thread::sleep(Duration::from_millis(chance.below(20).into()));
        }
        for (running, line) in running {
            if let Some(output) = running.wait_unless_killed() {
                assert!(FAIR.contains(&output.code), "seed {seed}, round {round}: `{line}`: {output}");
            }
        }
        if kills {
            // One quiet command on each VM finds what was left.
            for vmid in 100..100 + VMS {
                let output = host.env.run(&format!("vm delete {vmid} --confirm --force"));
                assert!([0, 3].contains(&output.code), "seed {seed}, round {round}: {output}");
            }
            let _ = host.env.run(&creates[0]).ok();
        }
        check(&host, &format!("seed {seed}, round {round}"));
    }
}

#[test]
fn twenty_commands_on_ten_vms() {
    crowd(number("PVECTL_TEST_SEED").unwrap_or(20), number("PVECTL_TEST_ROUNDS").unwrap_or(2), false);
}

#[test]
fn twenty_commands_of_which_some_are_killed() {
    if !ARE_HERE {
        eprintln!("SKIPPED: a build without debug assertions has no points to be killed at");
        return;
    }
    crowd(number("PVECTL_TEST_SEED").unwrap_or(4), number("PVECTL_TEST_ROUNDS").unwrap_or(2), true);
}
