//! The decisions. The laws they follow stand in the [parent](super).

use super::{Action, Conclusion, End, Finding, LastEvent, Lock, Machine, Observation, Phase, Recorded, Sight, Socket};
use crate::backends::cloud_hypervisor::state::{Desired, Intent, Outcome, Process, Settle, Verb};

/// Who is in a VM's place.
enum Vmm<'o> {
    /// Nobody: its process is certainly dead.
    Dead,
    /// Its own VMM, with what it says; `None` if it says nothing.
    Own(&'o Process, Option<Machine>),
    /// Somebody else.
    Foreign {
        pid: Option<u32>,
        /// Whether the VM's files may be in use there.
        holds: bool,
    },
}

fn who(seen: &Observation) -> Vmm<'_> {
    // A process of another boot is nobody, whatever has its number now.
    let recorded = seen.vm.process.as_ref().filter(|process| process.boot_id == seen.boot_id);
    let recorded = recorded.filter(|_| seen.recorded == Recorded::Lives);
    let marked = seen.marked.as_ref().filter(|process| process.boot_id == seen.boot_id);
    let answers = match seen.socket {
        Socket::Answers { pid, machine } => Some((pid, machine)),
        Socket::Closed | Socket::Silent => None,
    };
    if let (Some(recorded), Some(marked)) = (recorded, marked)
        && recorded != marked
    {
        // Two of them, and no telling which is the right one.
        return Vmm::Foreign { pid: Some(marked.pid), holds: true };
    }
    match (recorded.or(marked.filter(|_| seen.alive)), answers) {
        (Some(own), None) => Vmm::Own(own, None),
        (Some(own), Some((pid, machine))) if pid == own.pid => Vmm::Own(own, Some(machine)),
        (Some(_), Some((pid, _))) => Vmm::Foreign { pid: Some(pid), holds: true },
        (None, Some((pid, _))) => Vmm::Foreign { pid: Some(pid), holds: seen.alive || marked.is_some() },
        (None, None) if seen.alive => Vmm::Foreign { pid: None, holds: true },
        (None, None) => match marked {
            Some(stray) => Vmm::Foreign { pid: Some(stray.pid), holds: true },
            // Somebody listens there, whoever it is.
            None if seen.socket == Socket::Silent => Vmm::Foreign { pid: None, holds: false },
            None => Vmm::Dead,
        },
    }
}

/// What is the case with a VM, and what is to be done.
pub fn conclude(seen: &Observation) -> Conclusion {
    let vmm = who(seen);
    let mut conclusion = Conclusion { sight: sight(seen.vm.phase, &vmm), actions: Vec::new(), findings: Vec::new() };
    if let Lock::Held(holder) = &seen.lock {
        conclusion.findings.push(Finding::Busy(holder.clone()));
        return conclusion;
    }
    match (seen.vm.phase, vmm) {
        (_, Vmm::Foreign { pid, holds: true }) => conclusion.findings.push(Finding::Foreign { pid }),
        (Phase::Deleting | Phase::Creating, vmm) => conclusion.remove(seen, &vmm),
        (_, Vmm::Foreign { pid, holds: false }) => conclusion.findings.push(Finding::Foreign { pid }),
        (_, Vmm::Dead) => conclusion.dead(seen),
        (phase, Vmm::Own(own, machine)) => conclusion.own(seen, phase, own, machine),
    }
    conclusion
}

fn sight(phase: Phase, vmm: &Vmm<'_>) -> Sight {
    match vmm {
        Vmm::Foreign { .. } => Sight::Foreign,
        Vmm::Dead if phase == Phase::Creating => Sight::Creating,
        Vmm::Dead => Sight::Stopped,
        Vmm::Own(_, None) => Sight::Unresponsive,
        Vmm::Own(_, Some(Machine::None | Machine::Created)) => Sight::Prelaunch,
        Vmm::Own(_, Some(Machine::Running)) => Sight::Running,
        Vmm::Own(_, Some(Machine::Paused)) => Sight::Paused,
    }
}

/// How an intent that was left ends, beside a VMM that lives: it is finished from where it was committed on, or where
/// the VMM shows that it was done; before, it is rolled back.
fn outcome_beside(seen: &Observation, intent: &Intent, machine: Option<Machine>) -> Outcome {
    let up = intent.verb == Verb::Start
        && match machine {
            Some(Machine::Running) => true,
            Some(Machine::Paused) => seen.vm.phase != Phase::Starting,
            _ => false,
        };
    let has_file = intent.work.made.iter().any(|file| seen.files.contains(file));
    let has_device = intent.work.adds.as_ref().is_some_and(|id| seen.devices.contains(id));
    // What could not be seen has not gone, and has no size.
    let is_gone = machine.is_some() && intent.work.removes.as_ref().is_some_and(|id| !seen.devices.contains(id));
    let wanted = &intent.work.sizes;
    let has_sizes = !wanted.is_empty() && wanted.iter().all(|(name, size)| seen.sizes.get(name) == Some(size));
    if up || has_file || has_device || is_gone || has_sizes { Outcome::Finished } else { outcome(seen, intent) }
}

/// The same where no VMM is left.
fn outcome(seen: &Observation, intent: &Intent) -> Outcome {
    if intent.committed || seen.grown { Outcome::Finished } else { Outcome::RolledBack }
}

impl Conclusion {
    fn act(&mut self, action: Action) {
        self.actions.push(action);
    }

    /// A delete is finished; what was half made goes.
    fn remove(&mut self, seen: &Observation, vmm: &Vmm<'_>) {
        if let Vmm::Own(own, _) = vmm {
            self.act(Action::EndVmm((*own).clone()));
        }
        self.end_shares(&seen.shares);
        // A socket that somebody else listens on is his.
        if !matches!(vmm, Vmm::Foreign { .. }) {
            self.act(Action::RemoveSockets);
        }
        self.act(Action::RemoveTaps);
        self.return_devices(seen.lent.clone());
        let deleting = seen.vm.phase == Phase::Deleting;
        match &seen.intent {
            Some(intent) => {
                self.remove_files(if deleting { &intent.work.drops } else { &intent.work.made });
                let outcome = if deleting { Outcome::Finished } else { Outcome::RolledBack };
                self.findings.push(Finding::Left(intent.verb, outcome));
            }
            None => self.findings.push(Finding::DisksStay),
        }
        self.act(Action::RemoveDirectory);
        self.act(Action::RemoveRow);
        self.sight = if deleting { Sight::Stopped } else { Sight::Creating };
    }

    /// No process is there any more.
    fn dead(&mut self, seen: &Observation) {
        let (vm, intent) = (&seen.vm, seen.intent.as_ref());
        let rebooted = vm.boot_id.as_ref().is_some_and(|boot| *boot != seen.boot_id);
        let end = match vm.phase {
            Phase::Running if intent.is_some_and(|intent| intent.committed && intent.verb == Verb::Suspend) => {
                Some(End::Suspended)
            }
            Phase::Running | Phase::Starting if rebooted => Some(End::HostRebooted),
            Phase::Starting => Some(End::FailedStart { error: None }),
            Phase::Stopping => Some(End::Stopped),
            Phase::Running => Some(match &seen.last_event {
                LastEvent::Shutdown => End::PoweredOff,
                LastEvent::Other(event) => End::Crashed { last_event: Some(event.clone()) },
                LastEvent::None => End::Crashed { last_event: None },
            }),
            Phase::Stopped | Phase::Creating | Phase::Deleting => None,
        };
        self.end_shares(&seen.shares);
        if let Some(end) = &end {
            self.act(Action::RemoveSockets);
            self.act(Action::RemoveTaps);
            self.findings.push(Finding::Ended(end.clone()));
        }
        self.return_devices(seen.lent.clone());
        // A guest that was asked to power off and did is what was wanted.
        let asked = intent.filter(|intent| intent.verb == Verb::Shutdown);
        let outcome = match (asked, &end) {
            (Some(_), Some(End::PoweredOff)) => Some(Outcome::Finished),
            _ => intent.map(|intent| outcome(seen, intent)),
        };
        if let (Some(intent), Some(outcome)) = (intent, outcome) {
            self.files(intent, outcome);
        }
        if end.is_none() && intent.is_none() {
            return;
        }
        let settle = Settle { phase: Phase::Stopped, desired: Desired::Stopped, process: None, end, intent: None };
        self.settle(settle, intent.zip(outcome));
    }

    /// Its own VMM is there.
    fn own(&mut self, seen: &Observation, phase: Phase, own: &Process, machine: Option<Machine>) {
        let intent = seen.intent.as_ref();
        let booted = matches!(machine, Some(Machine::Running | Machine::Paused));
        let ending = intent.filter(|intent| intent.committed && intent.verb.ends_vmm());
        match (phase, machine) {
            (Phase::Stopping, _) => self.end_wanted(seen, own, End::Stopped),
            _ if ending.is_some_and(|intent| intent.verb == Verb::Suspend) => {
                self.end_wanted(seen, own, End::Suspended);
            }
            _ if ending.is_some() => self.end_wanted(seen, own, End::Stopped),
            (_, None) => self.findings.push(Finding::Unresponsive(own.clone())),
            // It came up, and only that was not written down any more.
            (Phase::Starting, Some(Machine::Running)) => self.go_on(seen, own, machine),
            // It was read back from disk, and that memory is used up: there is nothing else to go on from.
            (Phase::Starting, Some(Machine::Paused)) if intent.is_some_and(|intent| intent.committed) => {
                self.go_on(seen, own, machine);
            }
            (Phase::Starting, _) => self.end(seen, own, End::FailedStart { error: None }),
            (Phase::Stopped, Some(Machine::None | Machine::Created)) => self.end(seen, own, End::Stopped),
            _ => {
                if !booted {
                    self.findings.push(Finding::ShutDownOutside(own.clone()));
                }
                self.go_on(seen, own, machine);
            }
        }
    }

    /// The same for one that somebody wanted to end: until it is ended, it runs.
    fn end_wanted(&mut self, seen: &Observation, own: &Process, end: End) {
        let runs = self.sight;
        self.end(seen, own, end);
        if seen.lock == Lock::Free {
            self.sight = runs;
        }
    }

    /// The VMM is ended: a stop is finished, or a start is rolled back.
    fn end(&mut self, seen: &Observation, own: &Process, end: End) {
        self.act(Action::EndVmm(own.clone()));
        self.end_shares(&seen.shares);
        self.act(Action::RemoveSockets);
        self.act(Action::RemoveTaps);
        self.return_devices(seen.lent.clone());
        let intent = seen.intent.as_ref();
        let outcome = intent.map(|intent| outcome(seen, intent));
        if let (Some(intent), Some(outcome)) = (intent, outcome) {
            self.files(intent, outcome);
        }
        self.findings.push(Finding::Ended(end.clone()));
        self.sight = Sight::Stopped;
        self.settle(Settle::stopped(end), intent.zip(outcome));
    }

    /// The VM goes on running; what was left of an operation beside it is cleared up.
    fn go_on(&mut self, seen: &Observation, own: &Process, machine: Option<Machine>) {
        let intent = seen.intent.as_ref();
        let outcome = intent.map(|intent| outcome_beside(seen, intent, machine));
        if matches!(machine, Some(Machine::Running | Machine::Paused)) {
            let stray = seen.shares.iter().filter(|key| !seen.devices.contains(key)).cloned();
            self.end_shares(&stray.collect::<Vec<_>>());
        }
        let new = seen.vm.phase != Phase::Running || seen.vm.process.as_ref() != Some(own);
        // One that its VMM never got, or that the guest let go of after nobody waited for it any more.
        let has = |id: &String| machine.is_none() || seen.devices.contains(id);
        self.return_devices(seen.lent.iter().filter(|id| !has(id)).cloned().collect());
        let waits = intent.filter(|Intent { verb, work, .. }| {
            let moved = work.moves.iter().flat_map(|(from, to)| [from, to]);
            let mut touched = moved.chain(&work.drops).peekable();
            outcome == Some(Outcome::Finished)
                && (verb.needs_rest() && touched.peek().is_some() || touched.any(|file| seen.files.contains(file)))
        });
        if let Some(intent) = waits {
            self.findings.push(Finding::NeedsRest(intent.verb));
            if new {
                self.findings.push(Finding::Adopted(own.clone()));
                self.act(Action::Settle(Settle::running(own.clone())));
            }
            return;
        }
        if let (Some(intent), Some(outcome)) = (intent, outcome) {
            if intent.work.resumes && machine == Some(Machine::Paused) {
                self.act(Action::Resume(own.clone()));
                // Until somebody lets it go on, it stands still.
                if seen.lock == Lock::Ours {
                    self.sight = Sight::Running;
                }
            }
            let mut cards = intent.work.adds.iter().chain(&intent.work.removes).filter(|id| id.starts_with("net"));
            if machine.is_some() && cards.next().is_some() {
                self.act(Action::RemoveOtherTaps(seen.devices.clone()));
            }
            self.files(intent, outcome);
        }
        if new {
            self.findings.push(Finding::Adopted(own.clone()));
        }
        if new || intent.is_some() {
            self.settle(Settle::running(own.clone()), intent.zip(outcome));
        }
    }

    fn return_devices(&mut self, ids: Vec<String>) {
        if !ids.is_empty() {
            self.act(Action::ReturnDevices(ids));
        }
    }

    /// The files of an intent that ends.
    fn files(&mut self, intent: &Intent, outcome: Outcome) {
        match outcome {
            Outcome::Finished => {
                if !intent.work.moves.is_empty() {
                    self.act(Action::MoveFiles(intent.work.moves.clone()));
                }
                self.remove_files(&intent.work.drops);
            }
            Outcome::RolledBack => self.remove_files(&intent.work.made),
        }
    }

    fn end_shares(&mut self, keys: &[String]) {
        if !keys.is_empty() {
            self.act(Action::EndShares(keys.to_vec()));
        }
    }

    fn remove_files(&mut self, files: &[std::path::PathBuf]) {
        if !files.is_empty() {
            self.act(Action::RemoveFiles(files.to_vec()));
        }
    }

    fn settle(&mut self, mut settle: Settle, ends: Option<(&Intent, Outcome)>) {
        if let Some((intent, outcome)) = ends {
            self.findings.push(Finding::Left(intent.verb, outcome));
            settle = settle.ending(intent.id, outcome);
        }
        self.act(Action::Settle(settle));
    }
}
