//! The laws of the decisions, over all combinations and over random observations.

use std::path::PathBuf;

use proptest::{prelude::*, sample::select};

use super::*;

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
                (seen.files, seen.devices) = (Vec::new(), Vec::new());
            }
            Action::Resume(process) => seen.socket = Socket::Answers { pid: process.pid, machine: Machine::Running },
            Action::EndShares(keys) => seen.shares.retain(|key| !keys.contains(key)),
            Action::RemoveSockets => seen.socket = Socket::Closed,
            Action::RemoveTaps
            | Action::RemoveOtherTaps(_)
            | Action::MoveFiles(_)
            | Action::RemoveFiles(_)
            | Action::RemoveDirectory => {}
            Action::Settle(settle) => {
                (seen.vm.phase, seen.vm.desired) = (settle.phase, settle.desired);
                seen.vm.boot_id = settle.process.as_ref().map(|process| process.boot_id.clone());
                seen.recorded = if settle.process.is_some() { Recorded::Lives } else { Recorded::None };
                seen.vm.process.clone_from(&settle.process);
                seen.intent = seen.intent.filter(|intent| settle.intent.is_none_or(|(ended, _)| ended != intent.id));
            }
            Action::RemoveRow => return None,
            Action::ReturnDevices(ids) => seen.lent.retain(|id| !ids.contains(id)),
        }
    }
    Some(seen)
}

/// The laws, put down once more in other words than the decisions are.
pub(super) fn check(seen: &Observation) {
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
                let used_up = seen.vm.phase == Phase::Starting
                    && intent.is_some_and(|intent| intent.committed && intent.verb == Verb::Start)
                    && matches!(seen.socket, Socket::Answers { machine: Machine::Paused, .. });
                assert!(!used_up, "memory that was read back would be lost: {seen:#?}");
            }
            Action::Resume(process) => {
                assert!(is_own(process), "a foreign process would be resumed: {seen:#?}");
                assert!(intent.is_some_and(|intent| intent.work.resumes), "nobody paused it: {seen:#?}");
            }
            Action::EndShares(keys) => {
                let has = |key: &String| seen.devices.contains(key);
                let says = matches!(seen.socket, Socket::Answers { .. });
                let delivered = matches!(seen.vm.phase, Phase::Deleting | Phase::Creating);
                assert!(
                    !lives || ended || delivered || says && !keys.iter().any(has),
                    "a share was taken away: {seen:#?}"
                );
                assert!(keys.iter().all(|key| seen.shares.contains(key)), "nobody serves it: {seen:#?}");
            }
            Action::RemoveSockets | Action::RemoveDirectory | Action::RemoveTaps => {
                assert!(!lives || ended, "things would be taken from a living VMM: {seen:#?}");
            }
            Action::RemoveOtherTaps(devices) => {
                let answers = matches!(seen.socket, Socket::Answers { .. });
                assert!(answers && *devices == seen.devices, "a tap would go that its VMM has: {seen:#?}");
            }
            Action::ReturnDevices(ids) => {
                let taken = lives && !ended && ids.iter().any(|id| seen.devices.contains(id));
                assert!(!taken, "a device would be taken from a VMM: {seen:#?}");
                assert!(ids.iter().all(|id| seen.lent.contains(id)), "nobody lent it: {seen:#?}");
            }
            Action::MoveFiles(moves) => {
                let taken = moves.iter().any(|(from, to)| seen.files.contains(from) || seen.files.contains(to));
                assert!(!lives || ended || !taken, "a file would move that the VMM has: {seen:#?}");
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
                let taken = lives && !ended && files.iter().any(|file| seen.files.contains(file));
                assert!(!taken, "a file would go that the VMM has: {seen:#?}");
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
        return;
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
        let brought = |action: &Action| match action {
            Action::EndVmm(_) => Some(Sight::Stopped),
            Action::Resume(_) => Some(Sight::Running),
            _ => None,
        };
        let then = actions.iter().find_map(brought).unwrap_or(*sight);
        assert_eq!(again.sight, then, "after {actions:#?}: {seen:#?}");
        // Who only looks sees how it is until somebody acts: one that is to end runs, one that is to go on stands still.
        assert!(*sight == then || seen.lock == Lock::Free, "after {actions:#?} it is {then:?}: {seen:#?}");
    }
}

fn intents() -> Vec<Option<Intent>> {
    let each = Verb::ALL.iter().flat_map(|verb| [false, true].map(|committed| (*verb, committed)));
    let pausing = |verb| matches!(verb, Verb::Snapshot | Verb::Suspend | Verb::Start);
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
                                // Only its own VMM, and only if that answers, has told what it has.
                                if matches!(socket, Socket::Answers { pid: 4711, .. }) {
                                    for file in ["made", "dropped", "from", "to"] {
                                        check(&with(seen.clone(), |seen| seen.files.push(file.into())));
                                    }
                                    check(&with(seen.clone(), |seen| seen.devices.push("device".into())));
                                    check(&with(seen.clone(), |seen| {
                                        seen.devices.push("hostpci0".into());
                                        seen.lent = vec!["hostpci0".into(), "hostpci1".into()];
                                    }));
                                    check(&with(seen.clone(), |seen| {
                                        seen.devices.push("virtiofs0".into());
                                        seen.shares = vec!["virtiofs0".into(), "virtiofs1".into()];
                                    }));
                                }
                                check(&with(seen.clone(), |seen| seen.lent.push("hostpci0".into())));
                                check(&with(seen.clone(), |seen| seen.shares.push("virtiofs0".into())));
                                check(&seen);
                                acted += u32::from(!conclude(&seen).actions.is_empty());
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
        has: bool,
        card: bool,
        shares in proptest::sample::subsequence(vec!["virtiofs0", "virtiofs1", "virtiofs2"], 0..=3),
    ) {
        let marked = marked.map(|(pid, boot)| process(pid, boot));
        let mut seen = observation(phase, intent, lock, boot, alive, recorded, marked, socket);
        (seen.last_event, seen.vm.generation, seen.vm.desired) = (last_event, generation, desired);
        seen.shares = shares.into_iter().map(str::to_owned).collect();
        if matches!(seen.socket, Socket::Answers { .. }) && has {
            seen.devices.push("virtiofs1".to_owned());
        }
        if let Some(intent) = &mut seen.intent {
            if card {
                intent.work.adds = Some("net1".into());
            }
            intent.work.made = files.iter().map(PathBuf::from).collect();
            intent.work.drops = files.iter().map(|name| PathBuf::from(format!("old-{name}"))).collect();
            intent.work.moves.truncate(files.len());
            if matches!(seen.socket, Socket::Answers { .. }) {
                seen.files = intent.work.made.iter().chain(&intent.work.drops).filter(|_| has).take(2).cloned().collect();
            }
        }
        check(&seen);
    }
}
