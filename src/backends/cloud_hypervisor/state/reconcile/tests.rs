//! The table of decisions, walked through: known cases one by one, all combinations and random ones by their laws.

use std::path::PathBuf;

use jiff::Timestamp;
use proptest::{prelude::*, sample::select};

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
        Action::RemoveSockets => "sockets".to_owned(),
        Action::RemoveTaps => "taps".to_owned(),
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
    for (seen, sight, actions, told) in cases {
        let conclusion = conclude(&seen);
        assert_eq!((conclusion.sight, names(&conclusion).as_str()), (sight, actions), "{seen:#?}");
        let findings: Vec<String> = conclusion.findings.iter().map(ToString::to_string).collect();
        assert!(findings.iter().any(|finding| finding == told) || told.is_empty(), "{findings:?} for {seen:#?}");
        assert_eq!(findings.is_empty(), told.is_empty(), "{findings:?} for {seen:#?}");
        check(&seen);
    }
}

/// What the world is like once the actions are done; `None` if the VM is gone.
fn apply(mut seen: Observation, actions: &[Action]) -> Option<Observation> {
    for action in actions {
        match action {
            Action::EndVmm(process) => {
                if seen.vm.process.as_ref() == Some(process) {
                    seen.recorded = Recorded::Gone;
                }
                seen.marked = seen.marked.filter(|marked| marked != process);
                (seen.alive, seen.socket) = (false, Socket::Closed);
            }
            Action::Resume(process) => seen.socket = Socket::Answers { pid: process.pid, machine: Machine::Running },
            Action::RemoveSockets => seen.socket = Socket::Closed,
            Action::RemoveTaps | Action::MoveFiles(_) | Action::RemoveFiles(_) | Action::RemoveDirectory => {}
            Action::Settle(settle) => {
                (seen.vm.phase, seen.vm.desired) = (settle.phase, settle.desired);
                seen.vm.boot_id = settle.process.as_ref().map(|process| process.boot_id.clone());
                seen.recorded = if settle.process.is_some() { Recorded::Lives } else { Recorded::None };
                seen.vm.process.clone_from(&settle.process);
                seen.intent = seen.intent.filter(|intent| settle.intent.is_none_or(|(ended, _)| ended != intent.id));
            }
            Action::RemoveRow => return None,
        }
    }
    Some(seen)
}

/// The laws, put down once more in other words than the decisions are.
fn check(seen: &Observation) -> Conclusion {
    let conclusion = conclude(seen);
    let Conclusion { sight, actions, .. } = &conclusion;
    let is_own = |process: &Process| {
        let recorded = seen.recorded == Recorded::Lives && seen.vm.process.as_ref() == Some(process);
        let marked = seen.alive && seen.marked.as_ref() == Some(process);
        let answers = !matches!(seen.socket, Socket::Answers { pid, .. } if pid != process.pid);
        process.boot_id == seen.boot_id && (recorded || marked) && answers
    };
    let mut ended = false;
    let lives = seen.alive
        || seen.marked.as_ref().is_some_and(|process| process.boot_id == seen.boot_id)
        || (seen.recorded == Recorded::Lives && seen.vm.process.as_ref().is_some_and(|p| p.boot_id == seen.boot_id));
    let intent = seen.intent.as_ref();
    for (at, action) in actions.iter().enumerate() {
        let last = at + 1 == actions.len();
        match action {
            Action::EndVmm(process) => {
                assert!(is_own(process), "a foreign process would be ended: {seen:#?}");
                ended = true;
                let wanted = matches!(seen.vm.phase, Phase::Stopping | Phase::Deleting | Phase::Creating)
                    || intent.is_some_and(|intent| intent.committed && intent.verb.ends_vmm());
                let says_nothing = matches!(seen.socket, Socket::Silent | Socket::Closed);
                assert!(wanted || !says_nothing, "one that does not answer was taken for dead: {seen:#?}");
                let runs = matches!(seen.socket, Socket::Answers { machine: Machine::Running, .. })
                    || (matches!(seen.socket, Socket::Answers { machine: Machine::Paused, .. })
                        && seen.vm.phase != Phase::Starting);
                assert!(wanted || !runs, "a guest that runs would be cut off: {seen:#?}");
            }
            Action::Resume(process) => {
                assert!(is_own(process), "a foreign process would be resumed: {seen:#?}");
                assert!(intent.is_some_and(|intent| intent.work.resumes), "nobody paused it: {seen:#?}");
            }
            Action::RemoveSockets | Action::RemoveDirectory | Action::RemoveTaps => {
                assert!(!lives || ended, "things would be taken from a living VMM: {seen:#?}");
            }
            Action::MoveFiles(_) => {
                let intent = intent.expect("an intent");
                assert!(!lives || ended || !intent.verb.needs_rest(), "files would move under a VMM: {seen:#?}");
            }
            Action::RemoveFiles(files) => {
                let work = &intent.expect("an intent that says so").work;
                let outcome = conclusion.findings.iter().find_map(|finding| match finding {
                    Finding::Left(_, outcome) => Some(*outcome),
                    _ => None,
                });
                let named = if outcome == Some(Outcome::Finished) { &work.drops } else { &work.made };
                assert_eq!(files, named, "a file would be lost: {seen:#?}");
            }
            Action::Settle(settle) => {
                assert!(last, "the row comes last: {seen:#?}");
                assert!(settle.phase != Phase::Stopped || !lives || ended, "a living VM was called off: {seen:#?}");
                assert!(settle.process.as_ref().is_none_or(&is_own), "somebody else was adopted: {seen:#?}");
            }
            Action::RemoveRow => {
                assert!(last, "the row comes last: {seen:#?}");
                assert!(matches!(seen.vm.phase, Phase::Deleting | Phase::Creating), "a VM would be lost: {seen:#?}");
            }
        }
    }
    if matches!(seen.lock, Lock::Held(_)) {
        assert!(actions.is_empty(), "somebody else holds it: {seen:#?}");
        return conclusion;
    }
    if seen.vm.phase == Phase::Deleting && (!lives || ended) {
        assert_eq!(actions.last(), Some(&Action::RemoveRow), "the delete was not finished: {seen:#?}");
    }
    if *sight == Sight::Foreign {
        assert_eq!(actions, &[], "{seen:#?}");
    }
    if !lives && seen.socket == Socket::Closed {
        assert!(matches!(sight, Sight::Stopped | Sight::Creating), "nobody is there: {seen:#?}");
    }
    if let Some(after) = apply(seen.clone(), actions) {
        let again = conclude(&after);
        assert_eq!(again.actions, [], "after {actions:#?} there is more to do: {seen:#?}");
        assert_eq!(again.sight, *sight, "after {actions:#?}: {seen:#?}");
    }
    conclusion
}

fn intents() -> Vec<Option<Intent>> {
    let each = Verb::ALL.iter().flat_map(|verb| [false, true].map(|committed| (*verb, committed)));
    let pausing = |verb| matches!(verb, Verb::Snapshot | Verb::Suspend);
    let some = each.flat_map(|(verb, committed)| {
        let resumes: &[bool] = if pausing(verb) { &[false, true] } else { &[false] };
        resumes.iter().map(move |resumes| Some(intent(verb, committed, *resumes)))
    });
    [None].into_iter().chain(some).collect()
}

fn sockets() -> Vec<Socket> {
    let machines = [Machine::None, Machine::Created, Machine::Running, Machine::Paused];
    let pids = [own().pid, 9];
    let some = pids.into_iter().flat_map(|pid| machines.map(|machine| Socket::Answers { pid, machine }));
    [Socket::Closed, Socket::Silent].into_iter().chain(some).collect()
}

const RECORDED: [Recorded; 4] = [Recorded::None, Recorded::Gone, Recorded::Lives, Recorded::Reused];

#[allow(clippy::too_many_arguments, reason = "one for each column of the table")]
fn observation(
    phase: Phase,
    intent: Option<Intent>,
    lock: Lock,
    boot: &str,
    alive: bool,
    recorded: Recorded,
    marked: Option<Process>,
    socket: Socket,
) -> Observation {
    with(running(), |seen| {
        seen.vm.phase = phase;
        seen.vm.process = (recorded != Recorded::None).then(own);
        // A VM that stands still belongs to no boot.
        seen.vm.boot_id = (phase != Phase::Stopped || seen.vm.process.is_some()).then(|| BOOT.to_owned());
        (seen.intent, seen.lock, seen.boot_id) = (intent, lock, boot.to_owned());
        (seen.alive, seen.recorded, seen.marked, seen.socket) = (alive, recorded, marked, socket);
    })
}

#[test]
fn all_combinations_keep_the_laws() {
    let (intents, sockets) = (intents(), sockets());
    let mut walked = 0_u32;
    let mut acted = 0_u32;
    for phase in Phase::ALL {
        for intent in &intents {
            for boot in [BOOT, "another"] {
                for alive in [false, true] {
                    for recorded in RECORDED {
                        for marked in [None, Some(process(4711, boot)), Some(process(5, boot))] {
                            for socket in &sockets {
                                let marked = marked.clone();
                                let seen = observation(
                                    *phase,
                                    intent.clone(),
                                    Lock::Ours,
                                    boot,
                                    alive,
                                    recorded,
                                    marked,
                                    *socket,
                                );
                                walked += 1;
                                acted += u32::from(!check(&seen).actions.is_empty());
                            }
                        }
                    }
                }
            }
        }
    }
    assert!(walked > 90_000 && acted > 10_000, "{walked} combinations, {acted} with something to do");
}

proptest! {
    #[test]
    fn random_observations_keep_the_laws(
        phase in select(Phase::ALL),
        intent in select(intents()),
        lock in select(vec![Lock::Ours, Lock::Free, Lock::Held(None)]),
        boot in select(vec![BOOT, "another"]),
        alive: bool,
        recorded in select(RECORDED.to_vec()),
        marked in proptest::option::of((select(vec![4711_u32, 9, 5]), select(vec![BOOT, "another"]))),
        socket in select(sockets()),
        last_event in select(vec![LastEvent::None, LastEvent::Shutdown, LastEvent::Other("paused".into())]),
        generation: u32,
        desired in select(Desired::ALL),
        files in proptest::collection::vec("[a-z]{1,8}", 0..3),
    ) {
        let marked = marked.map(|(pid, boot)| process(pid, boot));
        let mut seen = observation(phase, intent, lock, boot, alive, recorded, marked, socket);
        (seen.last_event, seen.vm.generation, seen.vm.desired) = (last_event, generation, desired);
        if let Some(intent) = &mut seen.intent {
            intent.work.made = files.iter().map(PathBuf::from).collect();
            intent.work.drops = files.iter().map(|name| PathBuf::from(format!("old-{name}"))).collect();
            intent.work.moves.truncate(files.len());
        }
        check(&seen);
    }
}
