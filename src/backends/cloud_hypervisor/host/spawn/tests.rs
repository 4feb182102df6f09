//! Starts with real processes: programs that ignore what they are told and sleep.

use std::{
    io::{BufRead, BufReader, Read, Write},
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use super::*;
use crate::backends::cloud_hypervisor::host::{Answer, Life, Lock, Process, decide, holders, observe, probe};

/// How long something that happens at once may take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A program that writes its environment down and sleeps.
fn program(directory: &Path, then: &str) -> PathBuf {
    let path = directory.join("vmm");
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o700).open(&path).unwrap();
    writeln!(file, "#!/bin/sh\ntr '\\0' '\\n' </proc/self/environ >{}/environment\n{then}", directory.display())
        .unwrap();
    path
}

fn places(directory: &Path) -> Places {
    Places { state: directory.join("state/vms/1"), run: directory.join("run/1") }
}

fn launch<'a>(binary: &'a Path, places: &'a Places) -> Launch<'a> {
    Launch { binary, places, generation: 1, args: &[] }
}

/// Waits until something is so.
fn until(what: &str, mut so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !so() {
        assert!(begun.elapsed() < PATIENCE, "{what} never came");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until a program has come to its end: before that it has a child of its own. Gives its directory.
fn until_asleep(id: &ProcessId) -> PathBuf {
    let proc = PathBuf::from(format!("/proc/{}", id.pid));
    until("sleep", || fs::read_to_string(proc.join("comm")).is_ok_and(|name| name.trim() == "sleep"));
    proc
}

/// Right after another test's fork, a program that was just written may be busy for a moment.
fn spawn_patiently(launch: &Launch<'_>) -> ProcessId {
    loop {
        match spawn(launch) {
            Err(error) if error.message().contains("busy") => thread::sleep(Duration::from_millis(5)),
            ended => return ended.unwrap(),
        }
    }
}

fn fixture(then: &str) -> (TempDir, PathBuf, Places) {
    let directory = tempfile::tempdir().unwrap();
    let binary = program(directory.path(), then);
    let places = places(directory.path());
    (directory, binary, places)
}

/// How many files beside the three streams this process has from its own parent and passes on to every child.
fn passed_on() -> usize {
    let stays = |info: &str| {
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).expect("the flags of a file");
        u32::from_str_radix(flags.trim(), 8).unwrap() & 0o2_000_000 == 0
    };
    let files = fs::read_dir("/proc/self/fd").unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    let beside = files.filter(|number| number.parse::<u32>().unwrap() > 2);
    beside
        .filter(|number| fs::read_to_string(format!("/proc/self/fdinfo/{number}")).is_ok_and(|info| stays(&info)))
        .count()
}

/// Ends a process and sees that it is gone and that nothing of it is held.
fn end(id: &ProcessId, places: &Places) {
    let process = Process::find(id).unwrap().expect("a living process");
    process.kill().unwrap();
    assert!(process.ended_now(PATIENCE).unwrap());
    until("the free lock", || probe(&places.alive()).unwrap() == Lock::Free);
    let seen = observe(&places.alive(), Some(id), Answer::NotAsked).unwrap();
    assert_eq!(decide(&seen), Life::Gone);
}

#[test]
fn a_started_process_is_alone_and_holds_what_it_should() {
    let (directory, binary, places) = fixture("exec sleep 600");
    let id = spawn_patiently(&launch(&binary, &places));
    let proc = until_asleep(&id);
    // The socket takes connections, the lock is held, it is found by what it holds.
    UnixStream::connect(places.api_socket()).unwrap();
    assert_eq!(probe(&places.alive()).unwrap(), Lock::Held);
    assert_eq!(holders(&places.alive()).unwrap(), std::slice::from_ref(&id));
    assert_eq!(Stat::of(id.pid).unwrap().unwrap().session, id.pid.cast_signed());
    let open: Vec<String> = fs::read_dir(proc.join("fd"))
        .unwrap()
        .map(|file| fs::read_link(file.unwrap().path()).unwrap().to_string_lossy().into_owned())
        .collect();
    let count = |what: &Path| open.iter().filter(|file| Path::new(file) == what).count();
    assert_eq!(open.len(), 7 + passed_on(), "{open:?}");
    for path in [places.events(1), places.alive(), places.pulse(), places.log(1), places.serial_log(1)] {
        assert_eq!(count(&path), 1, "{}: {open:?}", path.display());
    }
    let environment = fs::read_to_string(directory.path().join("environment")).unwrap();
    assert_eq!(environment.trim(), format!("PATH={PATH}"));
    assert_eq!(fs::read_link(proc.join("cwd")).unwrap(), Path::new("/"));
    for (path, mode) in [(places.api_socket(), 0o600), (places.run.clone(), 0o700), (places.log(1), 0o600)] {
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, mode, "{}", path.display());
    }
    let life = |answer| decide(&observe(&places.alive(), Some(&id), answer).unwrap());
    assert_eq!(life(Answer::Pid(id.pid)), Life::Ours { pid: id.pid });
    assert_eq!(life(Answer::Silent), Life::Unresponsive { pid: id.pid });
    // A second one is refused while it lives.
    let second = spawn(&Launch { generation: 2, ..launch(&binary, &places) }).unwrap_err();
    assert_eq!(second.class(), Class::Conflict);
    assert!(!places.events(2).exists());
    end(&id, &places);
    // Its sockets are there still; the next start takes them away, and has files of its own.
    assert!(places.api_socket().exists());
    drop(UnixListener::bind(places.vsock_socket()).unwrap());
    let id = spawn_patiently(&Launch { generation: 2, ..launch(&binary, &places) });
    assert!(!places.vsock_socket().exists());
    end(&id, &places);
}

#[test]
fn nothing_is_left_of_a_start_that_fails() {
    let directory = tempfile::tempdir().unwrap();
    let places = places(directory.path());
    let binary = directory.path().join("is-not-there");
    let error = spawn(&launch(&binary, &places)).unwrap_err();
    assert_eq!(error.class(), Class::NotFound);
    assert!(!error.hints().is_empty());
    assert_eq!(probe(&places.alive()).unwrap(), Lock::Free);
    let left = |path: &Path| fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>();
    assert_eq!(left(&places.state), ["alive"]);
    assert!(left(&places.run).is_empty());
}

#[test]
fn files_of_a_start_that_was_forgotten_make_way() {
    let (_directory, binary, places) = fixture("exec sleep 600");
    fs::create_dir_all(&places.state).unwrap();
    fs::write(places.log(1), "of a start before the power went").unwrap();
    fs::write(places.log(0), "of another").unwrap();
    let id = spawn_patiently(&launch(&binary, &places));
    assert_eq!(fs::read(places.log(1)).unwrap(), b"");
    assert_eq!(fs::read(places.log(0)).unwrap(), b"of another");
    end(&id, &places);
}

#[test]
fn one_that_ends_at_once_leaves_its_words_and_no_zombie() {
    let (_directory, binary, places) = fixture("echo no such hypervisor >&2; exit 3");
    let id = spawn_patiently(&launch(&binary, &places));
    until("the end", || Stat::of(id.pid).unwrap().is_none_or(|stat| stat.starttime != id.starttime));
    until("the free lock", || probe(&places.alive()).unwrap() == Lock::Free);
    assert_eq!(fs::read_to_string(places.log(1)).unwrap(), "no such hypervisor\n");
    assert!(Process::find(&id).unwrap().is_none());
}

#[test]
fn sockets_have_short_paths() {
    let directory = |length: usize| PathBuf::from(format!("/{}", "r".repeat(length - 1)));
    // The longest name is that of the serial socket.
    let longest = SUN_PATH - "/serial.sock".len();
    for (length, fits) in [(longest, true), (longest + 1, false), (400, false)] {
        let places = Places { state: "/s".into(), run: directory(length) };
        assert_eq!(places.sockets().iter().all(|socket| short_socket(socket).is_ok()), fits, "{length}");
    }
    let long = tempfile::tempdir().unwrap().path().join("d".repeat(120));
    let places = Places { state: long.join("state"), run: long.join("run") };
    let error = spawn(&launch(Path::new("/bin/true"), &places)).unwrap_err();
    assert_eq!(error.class(), Class::Usage);
    assert!(!long.exists(), "something was made for a start that cannot be");
    // What the check lets through, the system does too.
    let directory = tempfile::tempdir().unwrap();
    let name = "s".repeat(SUN_PATH - directory.path().as_os_str().len() - 1);
    UnixListener::bind(directory.path().join(&name)).unwrap();
    UnixListener::bind(directory.path().join(name + "s")).unwrap_err();
}

/// Which directory a test of [`spawner`] is given.
const DIRECTORY: &str = "PVECTL_TEST_SPAWNER";

/// Not a test by itself: the process that is killed in the next one.
#[test]
#[ignore = "run by a_process_outlives_the_kill_of_its_spawner"]
fn spawner() {
    let directory = PathBuf::from(std::env::var_os(DIRECTORY).expect("a directory"));
    let id = spawn_patiently(&launch(&directory.join("vmm"), &places(&directory)));
    println!("\nspawned {}", serde_json::to_string(&id).unwrap());
    thread::sleep(Duration::from_secs(600));
}

#[test]
fn a_process_outlives_the_kill_of_its_spawner() {
    let (directory, _, places) = fixture("exec sleep 600");
    let name = thread::current().name().unwrap().replace("a_process_outlives_the_kill_of_its_spawner", "spawner");
    let mut spawner = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &name, "--ignored", "--nocapture"])
        .env(DIRECTORY, directory.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(spawner.stdout.take().unwrap()).lines().map(Result::unwrap);
    let said = lines.find_map(|line| line.strip_prefix("spawned ").map(str::to_owned)).expect("a spawned process");
    spawner.kill().unwrap();
    spawner.wait().unwrap();
    let id: ProcessId = serde_json::from_str(&said).unwrap();
    until_asleep(&id);
    assert_eq!(probe(&places.alive()).unwrap(), Lock::Held);
    UnixStream::connect(places.api_socket()).unwrap();
    // Also when nobody wrote down who it is.
    let unrecorded = observe(&places.alive(), None, Answer::NotAsked).unwrap();
    assert_eq!(decide(&unrecorded), Life::Unrecorded);
    assert_eq!(holders(&places.alive()).unwrap(), std::slice::from_ref(&id));
    let known = observe(&places.alive(), Some(&id), Answer::Pid(id.pid)).unwrap();
    assert_eq!(decide(&known), Life::Ours { pid: id.pid });
    end(&id, &places);
}

/// The real VMM, where one is on PATH.
#[test]
fn the_real_vmm_answers_holds_the_lock_and_lets_go() {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found =
        std::env::split_paths(&path).map(|directory| directory.join("cloud-hypervisor")).find(|path| path.exists());
    let Some(binary) = found else {
        eprintln!("SKIPPED: no cloud-hypervisor on PATH");
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let places = places(directory.path());
    let id = spawn_patiently(&launch(&binary, &places));
    // Nobody waits until it is ready: the socket listened before it ran.
    let mut stream = UnixStream::connect(places.api_socket()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"GET /api/v1/vmm.ping HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut answer = String::new();
    while !answer.contains('}') {
        let mut part = [0; 1024];
        let count = stream.read(&mut part).unwrap();
        assert!(count > 0, "{answer}\n{}", fs::read_to_string(places.log(1)).unwrap());
        answer += &String::from_utf8_lossy(&part[..count]);
    }
    assert!(answer.contains(&format!("\"pid\":{}", id.pid)), "{answer}");
    assert_eq!(holders(&places.alive()).unwrap(), std::slice::from_ref(&id));
    until("the first event", || fs::read_to_string(places.events(1)).unwrap().contains("starting"));
    drop(stream);
    end(&id, &places);
}
