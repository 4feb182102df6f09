//! Many writers at once, and writers that are killed in the middle: processes of their own, of this test's executable.

use std::{
    collections::BTreeSet,
    env,
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::*;
use crate::{
    backends::cloud_hypervisor::state::reconcile::{Action, LastEvent, Lock, Observation, Recorded, Socket, conclude},
    tasks::TaskSource as _,
};

const DIRECTORY: &str = "PVECTL_TEST_STATE";
const STEP: &str = "PVECTL_TEST_STEP";

/// What the child does before it says so and waits to be killed.
const STEPS: &[&str] = &["locked", "created", "starting", "recorded", "writing", "committed", "deleting"];

fn child(directory: &Path, step: &str) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", "--ignored", "--nocapture"])
        .arg(format!("{}::the_child", module_path!().split_once("::").unwrap().1))
        .env(DIRECTORY, directory)
        .env(STEP, step)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Waits until the child is where it should be.
fn until_ready(child: &mut Child) {
    let lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
    let ready = lines.map(Result::unwrap).any(|line| line.ends_with("READY"));
    assert!(ready, "the child ended before it was killed");
}

fn say_ready_and_wait() {
    println!("READY");
    std::io::stdout().flush().unwrap();
    // Ends only with the parent, should that fail.
    drop(std::io::stdin().read_line(&mut String::new()));
}

#[test]
#[ignore = "the child of other tests"]
fn the_child() {
    let Some(directory) = env::var_os(DIRECTORY).map(PathBuf::from) else { return };
    let step = env::var_os(STEP).unwrap().into_string().unwrap();
    let state = open(&file_in(&directory)).unwrap();
    if step == "allocate" {
        for _ in 0..5 {
            made(&state, "one of many");
        }
        return;
    }
    let at = |name: &str| {
        if step == name {
            say_ready_and_wait();
        }
    };
    let holder = Holder::new(vmid(100), "create", "root@pam").unwrap();
    let _lock = OperationLock::try_take(&directory.join("100"), &holder).unwrap();
    let task = state.begin_task("qmcreate", "100", "root@pam").unwrap();
    task.log().line("begun").unwrap();
    at("locked");
    let disk = directory.join("disk.raw");
    let work = Work { made: vec![disk.clone()], ..Work::default() };
    let draft = Draft::new(Verb::Create).task(task.upid()).work(work);
    let (vm, intent) = state.create(NewVm::new(config(&[("name", "web")])), draft).unwrap();
    std::fs::write(&disk, "data").unwrap();
    at("created");
    settle(&state, &vm, Settle::stopped(End::Stopped).ending(intent.id, Outcome::Finished));
    let intent = state.begin(vm.vmid, Draft::new(Verb::Start).task(task.upid())).unwrap();
    at("starting");
    state.record_process(vm.vmid, state.process(), None).unwrap();
    at("recorded");
    settle(&state, &vm, Settle::running(state.process().clone()).ending(intent.id, Outcome::Finished));
    if step == "writing" {
        let torn = state.configure(vm.vmid, None, |vm| {
            vm.settings.config.clear();
            state.path().metadata().unwrap();
            say_ready_and_wait();
            Ok(())
        });
        torn.unwrap();
    }
    let mut after = vm.settings.clone();
    after.config.insert("lock".into(), "suspended".into());
    let work = Work { drops: vec![disk.clone()], settings: Some(after), ..Work::default() };
    let mut intent = state.begin(vm.vmid, Draft::new(Verb::Suspend).work(work)).unwrap();
    intent.committed = true;
    state.revise(&intent).unwrap();
    at("committed");
    settle(&state, &vm, Settle::stopped(End::Suspended).ending(intent.id, Outcome::RolledBack));
    let work = Work { drops: vec![disk], ..Work::default() };
    state.begin(vm.vmid, Draft::new(Verb::Delete).work(work)).unwrap();
    at("deleting");
    panic!("there is no step {step}");
}

/// Looks as the host would once the child, which plays the VMM too, is dead.
fn look(state: &State, vm: Vm) -> Observation {
    let recorded = match &vm.process {
        None => Recorded::None,
        Some(process) if process.is_alive() => Recorded::Lives,
        Some(_) => Recorded::Gone,
    };
    Observation {
        intent: state.intent(vm.vmid).unwrap(),
        vm,
        lock: Lock::Ours,
        boot_id: state.process().boot_id.clone(),
        alive: false,
        recorded,
        marked: None,
        socket: Socket::Closed,
        files: Vec::new(),
        devices: Vec::new(),
        lent: Vec::new(),
        sizes: Default::default(),
        shares: Vec::new(),
        grown: false,
        last_event: LastEvent::None,
    }
}

/// Does what is to be done, as far as it is ours.
fn act(state: &State, vm: &Vm, actions: &[Action]) {
    for action in actions {
        match action {
            Action::RemoveFiles(files) => files.iter().for_each(|file| drop(std::fs::remove_file(file))),
            Action::Settle(settle) => state.settle(vm.vmid, settle).unwrap(),
            Action::RemoveRow => state.remove(vm.vmid).unwrap(),
            Action::EndShares(_) | Action::RemoveSockets | Action::RemoveTaps | Action::RemoveDirectory => {}
            other => panic!("nobody lives, and yet {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_writer_killed_at_any_step_leaves_something_to_go_on_from() {
    for step in STEPS {
        let directory = tempfile::tempdir().unwrap();
        let mut writer = child(directory.path(), step);
        until_ready(&mut writer);
        let vm_directory = directory.path().join("100");
        let holder = Holder::of(&vm_directory).unwrap_or_else(|| panic!("{step}: nobody holds it"));
        assert_eq!(holder.process.pid, writer.id());
        let mine = Holder::new(vmid(100), "start", "root@pam").unwrap();
        OperationLock::try_take(&vm_directory, &mine).expect_err("it is held");

        // SIGKILL. Not waited for yet: a zombie does nothing any more either.
        writer.kill().unwrap();
        let patience = Some(Duration::from_secs(20));
        let _lock = OperationLock::take(&vm_directory, &mine, patience).await.unwrap();
        // The kernel lets go of a dying process's lock a moment before it says that the process is dead.
        let begun = Instant::now();
        while holder.process.is_alive() {
            assert!(begun.elapsed() < Duration::from_secs(20), "{step}: it does not die");
            thread::sleep(Duration::from_millis(1));
        }
        let state = open(&file_in(directory.path())).unwrap();
        let task = state.tasks(&crate::backends::TaskQuery::default()).unwrap().remove(0);
        assert_eq!(task.status.as_deref(), Some("unexpected status"), "{step}");
        assert_eq!(state.task_log(&task.upid, 0, 0).await.unwrap().lines[0].t, "begun");

        let disk = directory.path().join("disk.raw");
        let name = state.vms().unwrap().first().map(|(vm, _)| vm.name());
        assert_eq!(name.as_deref(), (*step != "locked").then_some("web"), "{step}: a torn write shows");
        for (vm, _) in state.vms().unwrap() {
            let conclusion = conclude(&look(&state, vm.clone()));
            assert!(!conclusion.actions.is_empty(), "{step}: nothing to do?");
            act(&state, &vm, &conclusion.actions);
        }
        writer.wait().unwrap();
        let after = state.vms().unwrap();
        let (rows, kept, lock) = match *step {
            "locked" | "created" | "deleting" => (0, false, None),
            "committed" => (1, false, Some("suspended")),
            _ => (1, true, None),
        };
        assert_eq!((after.len(), disk.exists()), (rows, kept), "{step}");
        for (vm, intent) in after {
            assert_eq!((vm.phase, intent, vm.lock()), (Phase::Stopped, None, lock), "{step}");
            assert_eq!(conclude(&look(&state, vm)).actions, [], "{step}: it is not stable");
        }
        // Whoever comes next can work.
        made(&state, "next");
    }
}

#[test]
fn twenty_writers_at_once_get_numbers_of_their_own() {
    let directory = tempfile::tempdir().unwrap();
    let path = file_in(directory.path());
    // Threads with connections of their own, and whole processes.
    let processes: Vec<Child> = (0..4).map(|_| child(directory.path(), "allocate")).collect();
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                let state = open(&path).unwrap();
                for n in 0..5 {
                    made(&state, &format!("vm{n}"));
                    drop(state.begin_task("qmcreate", "", "root@pam").unwrap());
                }
            });
        }
    });
    for process in processes {
        let output = process.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
    let vms = open(&path).unwrap().vms().unwrap();
    assert_eq!(vms.len(), 100);
    let distinct = |of: fn(&Vm) -> String| vms.iter().map(|(vm, _)| of(vm)).collect::<BTreeSet<_>>().len();
    assert_eq!(distinct(|vm| vm.uuid.to_string()), 100);
    let vmids: BTreeSet<u32> = vms.iter().map(|(vm, _)| vm.vmid.get()).collect();
    let cids: BTreeSet<u32> = vms.iter().map(|(vm, _)| vm.cid).collect();
    assert_eq!(vmids, (100..200).collect());
    assert_eq!(cids, (3..103).collect());
    let tasks = open(&path).unwrap().tasks(&crate::backends::TaskQuery::default()).unwrap();
    assert_eq!(tasks.iter().map(|task| task.upid.to_string()).collect::<BTreeSet<_>>().len(), 80);
}
