//! The table of decisions, case by case, and what its tests share.

mod laws;

use std::path::PathBuf;

use jiff::Timestamp;

use super::*;
use crate::{
    backends::cloud_hypervisor::state::{Desired, IntentId, Settings, Verb, Work},
    model::Vmid,
};

const BOOT: &str = "this-boot";

fn process(pid: u32, boot: &str) -> Process {
    Process { pid, starttime: 77, boot_id: boot.into() }
}

fn own() -> Process {
    process(4711, BOOT)
}

/// A VM of this boot that runs in its own process, and nothing is being done to it.
fn running() -> Observation {
    Observation {
        vm: Vm {
            vmid: Vmid::new(100).unwrap(),
            uuid: uuid::Uuid::nil(),
            settings: Settings::default(),
            phase: Phase::Running,
            desired: Desired::Running,
            generation: 1,
            process: Some(own()),
            boot_id: Some(BOOT.into()),
            build: None,
            cid: 3,
            end: None,
            created: Timestamp::UNIX_EPOCH,
        },
        intent: None,
        lock: Lock::Ours,
        boot_id: BOOT.into(),
        alive: true,
        recorded: Recorded::Lives,
        marked: None,
        socket: Socket::Answers { pid: own().pid, machine: Machine::Running },
        files: Vec::new(),
        devices: Vec::new(),
        lent: Vec::new(),
        sizes: Default::default(),
        shares: Vec::new(),
        grown: false,
        last_event: LastEvent::Other("booted".into()),
    }
}

fn dead(phase: Phase) -> Observation {
    let mut seen = running();
    seen.vm.phase = phase;
    (seen.alive, seen.recorded, seen.socket) = (false, Recorded::Gone, Socket::Closed);
    seen
}

fn with(mut seen: Observation, change: impl FnOnce(&mut Observation)) -> Observation {
    change(&mut seen);
    seen
}

fn intent(verb: Verb, committed: bool, resumes: bool) -> Intent {
    let path = |name: &str| PathBuf::from(name);
    Intent {
        id: IntentId(1),
        vmid: Vmid::new(100).unwrap(),
        verb,
        committed: committed || verb.is_final(),
        upid: None,
        worker: process(1, BOOT),
        began: Timestamp::UNIX_EPOCH,
        work: Work {
            made: vec![path("made")],
            moves: vec![(path("from"), path("to"))],
            drops: vec![path("dropped")],
            adds: Some("device".into()),
            resumes,
            ..Work::default()
        },
    }
}

fn answers(machine: Machine) -> Socket {
    Socket::Answers { pid: own().pid, machine }
}

/// What an action is, without what is in it.
fn names(conclusion: &Conclusion) -> String {
    let name = |action: &Action| match action {
        Action::EndVmm(_) => "end".to_owned(),
        Action::Resume(_) => "resume".to_owned(),
        Action::EndShares(keys) => keys.join("+"),
        Action::RemoveSockets => "sockets".to_owned(),
        Action::RemoveTaps => "taps".to_owned(),
        Action::RemoveOtherTaps(devices) => format!("taps-but-{}", devices.join("-")),
        Action::ReturnDevices(ids) => ids.join(" "),
        Action::MoveFiles(_) => "move".to_owned(),
        Action::RemoveFiles(files) => files[0].display().to_string(),
        Action::RemoveDirectory => "directory".to_owned(),
        Action::Settle(settle) => settle.phase.to_string(),
        Action::RemoveRow => "row".to_owned(),
    };
    conclusion.actions.iter().map(name).collect::<Vec<_>>().join(" ")
}

/// One row: what was seen, how that is called, what is done, what is told.
type Case = (Observation, Sight, &'static str, &'static str);

#[test]
fn the_table_of_the_facts() {
    let start = |seen: Observation| {
        with(seen, |seen| {
            seen.vm.phase = Phase::Starting;
            seen.intent = Some(intent(Verb::Start, false, false));
        })
    };
    let by = |verb, committed, resumes, machine| {
        with(running(), |seen| {
            seen.intent = Some(intent(verb, committed, resumes));
            seen.socket = answers(machine);
        })
    };
    let phase = |phase: Phase, verb, seen: Observation| {
        with(seen, |seen| {
            seen.vm.phase = phase;
            seen.intent = Some(intent(verb, false, false));
        })
    };
    let cases: Vec<Case> = vec![
        // All is well.
        (running(), Sight::Running, "", ""),
        (with(running(), |seen| seen.socket = answers(Machine::Paused)), Sight::Paused, "", ""),
        (with(dead(Phase::Stopped), |seen| seen.vm.process = None), Sight::Stopped, "", ""),
        // Starting.
        (start(dead(Phase::Starting)), Sight::Stopped, "sockets taps made stopped", "its start was cut short"),
        (
            with(start(running()), |seen| seen.socket = answers(Machine::Created)),
            Sight::Stopped,
            "end sockets taps made stopped",
            "its start was cut short",
        ),
        (start(running()), Sight::Running, "move dropped running", "it runs already, in process 4711"),
        (
            with(start(running()), |seen| seen.socket = Socket::Silent),
            Sight::Unresponsive,
            "",
            "its VMM, process 4711, does not answer",
        ),
        // The command died between the spawn and the row: `alive` is held, and the search finds who.
        (
            with(start(running()), |seen| {
                seen.vm.process = None;
                (seen.recorded, seen.marked) = (Recorded::None, Some(own()));
            }),
            Sight::Running,
            "move dropped running",
            "it runs already, in process 4711",
        ),
        // Running.
        (dead(Phase::Running), Sight::Stopped, "sockets taps stopped", "its VMM died; its last event was `booted`"),
        (
            with(dead(Phase::Running), |seen| seen.last_event = LastEvent::Shutdown),
            Sight::Stopped,
            "sockets taps stopped",
            "the guest has powered off",
        ),
        (
            with(running(), |seen| seen.socket = Socket::Silent),
            Sight::Unresponsive,
            "",
            "its VMM, process 4711, does not answer",
        ),
        (
            with(running(), |seen| seen.socket = Socket::Closed),
            Sight::Unresponsive,
            "",
            "its VMM, process 4711, does not answer",
        ),
        (
            with(running(), |seen| seen.socket = Socket::Answers { pid: 9, machine: Machine::Running }),
            Sight::Foreign,
            "",
            "process 9 is in its place and not ours; left alone",
        ),
        (
            with(running(), |seen| seen.socket = answers(Machine::Created)),
            Sight::Prelaunch,
            "",
            "its VM was shut down by somebody else; its VMM, process 4711, is there still",
        ),
        // The number was given to another: nobody is signalled.
        (
            with(dead(Phase::Running), |seen| seen.recorded = Recorded::Reused),
            Sight::Stopped,
            "sockets taps stopped",
            "its VMM died; its last event was `booted`",
        ),
        // Stopping.
        (
            phase(Phase::Stopping, Verb::Stop, running()),
            Sight::Stopped,
            "end sockets taps move dropped stopped",
            "a stop that was cut short is finished",
        ),
        (
            with(phase(Phase::Stopping, Verb::Stop, running()), |seen| seen.socket = Socket::Silent),
            Sight::Stopped,
            "end sockets taps move dropped stopped",
            "a stop that was cut short is finished",
        ),
        (
            phase(Phase::Stopping, Verb::Stop, dead(Phase::Stopping)),
            Sight::Stopped,
            "sockets taps move dropped stopped",
            "a stop that was cut short is finished",
        ),
        // A delete is finished, what is half made goes.
        (
            phase(Phase::Deleting, Verb::Delete, running()),
            Sight::Stopped,
            "end sockets taps dropped directory row",
            "a delete that was cut short is finished",
        ),
        (
            phase(Phase::Deleting, Verb::Delete, dead(Phase::Deleting)),
            Sight::Stopped,
            "sockets taps dropped directory row",
            "a delete that was cut short is finished",
        ),
        (
            dead(Phase::Deleting),
            Sight::Stopped,
            "sockets taps directory row",
            "nothing says which disks were its own: they stay",
        ),
        (
            phase(Phase::Creating, Verb::Clone, dead(Phase::Creating)),
            Sight::Creating,
            "sockets taps made directory row",
            "a clone that was cut short is rolled back",
        ),
        // The host went down.
        (
            with(dead(Phase::Running), |seen| seen.boot_id = "another".into()),
            Sight::Stopped,
            "sockets taps stopped",
            "the host has rebooted since it was started",
        ),
        (
            // In the new boot somebody has the number and even the start time.
            with(dead(Phase::Running), |seen| (seen.boot_id, seen.recorded) = ("another".into(), Recorded::Lives)),
            Sight::Stopped,
            "sockets taps stopped",
            "the host has rebooted since it was started",
        ),
        // Operations beside a running VM.
        (
            by(Verb::Snapshot, false, true, Machine::Paused),
            Sight::Running,
            "resume made running",
            "a snapshot that was cut short is rolled back",
        ),
        (
            by(Verb::Suspend, false, true, Machine::Paused),
            Sight::Running,
            "resume made running",
            "a suspend that was cut short is rolled back",
        ),
        (
            by(Verb::Suspend, true, true, Machine::Paused),
            Sight::Stopped,
            "end sockets taps move dropped stopped",
            "a suspend that was cut short is finished",
        ),
        (
            by(Verb::Shutdown, false, false, Machine::Running),
            Sight::Running,
            "made running",
            "a shutdown that was cut short is rolled back",
        ),
        (
            by(Verb::Rollback, true, false, Machine::Running),
            Sight::Running,
            "",
            "a rollback that was cut short goes on once the VM is stopped",
        ),
        (
            with(dead(Phase::Stopped), |seen| seen.intent = Some(intent(Verb::Rollback, true, false))),
            Sight::Stopped,
            "move dropped stopped",
            "a rollback that was cut short is finished",
        ),
    ];
    let mut cases = cases;
    let wake = |committed, seen: Observation| {
        with(seen, |seen| {
            seen.vm.phase = Phase::Starting;
            seen.intent = Some(intent(Verb::Start, committed, true));
        })
    };
    let paused = || with(running(), |seen| seen.socket = answers(Machine::Paused));
    let off = |verb, committed| with(dead(Phase::Stopped), |seen| seen.intent = Some(intent(verb, committed, false)));
    cases.extend([
        // Memory was read back, and the guest has not run: as suspended as before.
        (wake(false, paused()), Sight::Stopped, "end sockets taps made stopped", "its start was cut short"),
        // From the commit on that memory is used up, and the guest goes on from it, or boots from its disks.
        (wake(true, paused()), Sight::Running, "resume move dropped running", "a start that was cut short is finished"),
        (
            wake(true, dead(Phase::Starting)),
            Sight::Stopped,
            "sockets taps move dropped stopped",
            "a start that was cut short is finished",
        ),
        (
            by(Verb::Snapshot, true, true, Machine::Paused),
            Sight::Running,
            "resume move dropped running",
            "a snapshot that was cut short is finished",
        ),
        // Whoever paused it before finds it paused.
        (
            by(Verb::Snapshot, false, false, Machine::Paused),
            Sight::Paused,
            "made running",
            "a snapshot that was cut short is rolled back",
        ),
        (
            by(Verb::DeleteSnapshot, true, false, Machine::Running),
            Sight::Running,
            "move dropped running",
            "a delete-snapshot that was cut short is finished",
        ),
        (off(Verb::Snapshot, false), Sight::Stopped, "made stopped", "a snapshot that was cut short is rolled back"),
        (
            off(Verb::Snapshot, true),
            Sight::Stopped,
            "move dropped stopped",
            "a snapshot that was cut short is finished",
        ),
        (off(Verb::Rollback, false), Sight::Stopped, "made stopped", "a rollback that was cut short is rolled back"),
    ]);
    let update = |change: &dyn Fn(&mut Observation)| with(by(Verb::Update, false, false, Machine::Running), change);
    let changing = |work: &dyn Fn(&mut Work), change: &dyn Fn(&mut Observation)| {
        update(&|seen| {
            if let Some(intent) = &mut seen.intent {
                intent.work.adds = None;
                work(&mut intent.work);
            }
            change(seen);
        })
    };
    cases.extend([
        // Something was added to a running VM: whether that was done shows at the VMM.
        (update(&|_| ()), Sight::Running, "made running", "an update that was cut short is rolled back"),
        (
            update(&|seen| seen.files.push("made".into())),
            Sight::Running,
            "move dropped running",
            "an update that was cut short is finished",
        ),
        (
            update(&|seen| seen.devices.push("device".into())),
            Sight::Running,
            "move dropped running",
            "an update that was cut short is finished",
        ),
        (
            changing(&|work| work.removes = Some("disk".into()), &|seen| seen.devices.push("disk".into())),
            Sight::Running,
            "made running",
            "an update that was cut short is rolled back",
        ),
        (
            changing(&|work| work.removes = Some("disk".into()), &|_| ()),
            Sight::Running,
            "move dropped running",
            "an update that was cut short is finished",
        ),
        // The tap of a card that never came, or that has gone, goes too; that of another one stays.
        (
            changing(&|work| work.adds = Some("net1".into()), &|seen| seen.devices.push("net0".into())),
            Sight::Running,
            "taps-but-net0 made running",
            "an update that was cut short is rolled back",
        ),
        (
            changing(&|work| work.removes = Some("net1".into()), &|seen| seen.devices.push("net0".into())),
            Sight::Running,
            "taps-but-net0 move dropped running",
            "an update that was cut short is finished",
        ),
        (
            changing(&|work| work.adds = Some("net1".into()), &|seen| seen.socket = Socket::Silent),
            Sight::Unresponsive,
            "",
            "its VMM, process 4711, does not answer",
        ),
        // A VMM that does not answer does not say that a device is gone.
        (
            changing(&|work| work.removes = Some("disk".into()), &|seen| seen.socket = Socket::Silent),
            Sight::Unresponsive,
            "",
            "its VMM, process 4711, does not answer",
        ),
        (
            changing(&|work| work.sizes = [("memory".into(), 2)].into(), &|seen| {
                seen.sizes = [("memory".into(), 1)].into();
            }),
            Sight::Running,
            "made running",
            "an update that was cut short is rolled back",
        ),
        (
            changing(&|work| work.sizes = [("memory".into(), 2)].into(), &|seen| {
                seen.sizes = [("memory".into(), 2)].into();
            }),
            Sight::Running,
            "move dropped running",
            "an update that was cut short is finished",
        ),
        // A disk that was to grow: its size says whether it did, beside a VMM and without.
        (
            by(Verb::Resize, false, false, Machine::Running),
            Sight::Running,
            "made running",
            "a resize that was cut short is rolled back",
        ),
        (
            with(by(Verb::Resize, false, false, Machine::Running), |seen| seen.grown = true),
            Sight::Running,
            "move dropped running",
            "a resize that was cut short is finished",
        ),
        (
            with(dead(Phase::Stopped), |seen| {
                seen.intent = Some(intent(Verb::Resize, false, false));
                seen.grown = true;
            }),
            Sight::Stopped,
            "move dropped stopped",
            "a resize that was cut short is finished",
        ),
        // A device of the host goes back if no VMM of the VM has it: one that was to be added, one that the guest let go of
        // late, and all of them with the VMM.
        (
            update(&|seen| seen.lent.push("hostpci0".into())),
            Sight::Running,
            "hostpci0 made running",
            "an update that was cut short is rolled back",
        ),
        (
            with(running(), |seen| {
                (seen.lent, seen.devices) = (vec!["hostpci0".into(), "hostpci1".into()], vec!["hostpci0".into()]);
            }),
            Sight::Running,
            "hostpci1",
            "",
        ),
        (
            with(running(), |seen| (seen.lent, seen.socket) = (vec!["hostpci0".into()], Socket::Silent)),
            Sight::Unresponsive,
            "",
            "its VMM, process 4711, does not answer",
        ),
        (
            with(start(dead(Phase::Starting)), |seen| seen.lent.push("hostpci0".into())),
            Sight::Stopped,
            "sockets taps hostpci0 made stopped",
            "its start was cut short",
        ),
        (
            with(phase(Phase::Stopping, Verb::Stop, running()), |seen| {
                (seen.lent, seen.devices) = (vec!["hostpci0".into()], vec!["hostpci0".into()]);
            }),
            Sight::Stopped,
            "end sockets taps hostpci0 move dropped stopped",
            "a stop that was cut short is finished",
        ),
        (
            with(phase(Phase::Deleting, Verb::Delete, dead(Phase::Deleting)), |seen| seen.lent.push("hostpci0".into())),
            Sight::Stopped,
            "sockets taps hostpci0 dropped directory row",
            "a delete that was cut short is finished",
        ),
        (
            with(dead(Phase::Stopped), |seen| {
                seen.vm.process = None;
                seen.lent.push("hostpci0".into());
            }),
            Sight::Stopped,
            "hostpci0",
            "",
        ),
        // A directory is served for as long as a VMM has its device: one that was to be added, one that the guest let go of
        // late, and all of them with the VMM.
        (
            update(&|seen| seen.shares.push("virtiofs0".into())),
            Sight::Running,
            "virtiofs0 made running",
            "an update that was cut short is rolled back",
        ),
        (
            with(running(), |seen| {
                seen.shares = vec!["virtiofs0".into(), "virtiofs1".into(), "virtiofs2".into()];
                seen.devices = vec!["virtiofs1".into()];
            }),
            Sight::Running,
            "virtiofs0+virtiofs2",
            "",
        ),
        (
            with(running(), |seen| {
                seen.socket = answers(Machine::Paused);
                (seen.shares, seen.devices) = (vec!["virtiofs0".into()], vec!["virtiofs0".into()]);
            }),
            Sight::Paused,
            "",
            "",
        ),
        (
            with(running(), |seen| (seen.shares, seen.socket) = (vec!["virtiofs0".into()], Socket::Silent)),
            Sight::Unresponsive,
            "",
            "its VMM, process 4711, does not answer",
        ),
        (
            with(start(dead(Phase::Starting)), |seen| seen.shares.push("virtiofs0".into())),
            Sight::Stopped,
            "virtiofs0 sockets taps made stopped",
            "its start was cut short",
        ),
        (
            with(start(running()), |seen| {
                seen.socket = answers(Machine::Created);
                seen.shares.push("virtiofs0".into());
            }),
            Sight::Stopped,
            "end virtiofs0 sockets taps made stopped",
            "its start was cut short",
        ),
        (
            with(dead(Phase::Running), |seen| seen.shares.push("virtiofs0".into())),
            Sight::Stopped,
            "virtiofs0 sockets taps stopped",
            "its VMM died; its last event was `booted`",
        ),
        (
            with(phase(Phase::Stopping, Verb::Stop, running()), |seen| {
                (seen.shares, seen.devices) = (vec!["virtiofs0".into()], vec!["virtiofs0".into()]);
            }),
            Sight::Stopped,
            "end virtiofs0 sockets taps move dropped stopped",
            "a stop that was cut short is finished",
        ),
        (
            with(phase(Phase::Deleting, Verb::Delete, dead(Phase::Deleting)), |seen| {
                seen.shares.push("virtiofs0".into());
            }),
            Sight::Stopped,
            "virtiofs0 sockets taps dropped directory row",
            "a delete that was cut short is finished",
        ),
        (
            with(dead(Phase::Stopped), |seen| {
                seen.vm.process = None;
                seen.shares.push("virtiofs0".into());
            }),
            Sight::Stopped,
            "virtiofs0",
            "",
        ),
        // A file that the VMM has does not go.
        (
            with(by(Verb::Update, true, false, Machine::Running), |seen| seen.files.push("dropped".into())),
            Sight::Running,
            "",
            "an update that was cut short goes on once the VM is stopped",
        ),
    ]);
    for (seen, sight, actions, told) in cases {
        let conclusion = conclude(&seen);
        assert_eq!((conclusion.sight, names(&conclusion).as_str()), (sight, actions), "{seen:#?}");
        let findings: Vec<String> = conclusion.findings.iter().map(ToString::to_string).collect();
        assert!(findings.iter().any(|finding| finding == told) || told.is_empty(), "{findings:?} for {seen:#?}");
        assert_eq!(findings.is_empty(), told.is_empty(), "{findings:?} for {seen:#?}");
        laws::check(&seen);
    }
}

#[test]
fn a_vm_that_came_up_has_the_settings_it_came_up_with() {
    let left = |verb, committed, socket| {
        let seen = with(running(), |seen| {
            let mut left = intent(verb, committed, true);
            left.work = Work { settings: Some(Settings::default()), resumes: true, ..Work::default() };
            (seen.vm.phase, seen.intent, seen.socket) = (verb.phase().unwrap_or(Phase::Running), Some(left), socket);
        });
        conclude(&seen).came_up_with(seen.intent.as_ref()).is_some()
    };
    for (verb, committed, socket, want) in [
        (Verb::Start, false, answers(Machine::Running), true),
        (Verb::Start, true, answers(Machine::Running), true),
        // Its memory is read and used up.
        (Verb::Start, true, answers(Machine::Paused), true),
        // It has not come up, or nobody can tell.
        (Verb::Start, false, answers(Machine::Paused), false),
        (Verb::Start, false, answers(Machine::Created), false),
        (Verb::Start, true, Socket::Silent, false),
        // What is tried again, and mended by that.
        (Verb::Snapshot, true, answers(Machine::Paused), false),
        (Verb::Update, true, answers(Machine::Running), false),
    ] {
        assert_eq!(left(verb, committed, socket), want, "{verb} {committed} {socket:?}");
    }
}
