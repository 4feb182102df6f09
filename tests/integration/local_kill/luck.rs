//! VMs that come to harm, hosts that reboot, disks that are full, commands that meet.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use rusqlite::Connection;

use super::{ARE_HERE, CREATE, KILL_AT, START, STOP, sound::check};
use crate::{
    harness::{Env, eventually},
    local::{Host, stand_in},
};

fn signal(name: &str, pid: u32) {
    assert!(Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status().unwrap().success());
}

fn running(host: &Host) -> u32 {
    let _ = host.env.run(CREATE).ok();
    let _ = host.env.run(START).ok();
    host.processes()[0]
}

/// What the next command says of what it found: in the log of its task.
fn found(host: &Host, line: &str) -> String {
    let _ = host.env.run(line).ok();
    let task = host.env.json("task list")[0]["upid"].as_str().unwrap().to_owned();
    host.env.run(&format!("task logs {task}")).ok().stdout
}

fn change(host: &Host, sql: &str) {
    assert_eq!(Connection::open(host.state().join("local.db")).unwrap().execute(sql, []).unwrap(), 1, "{sql}");
}

#[test]
fn a_vmm_is_killed() {
    let host = Host::new(&stand_in());
    signal("KILL", running(&host));
    eventually("it is stopped", || (host.status("100")["status"] == "stopped").then_some(()));
    let said = found(&host, START);
    assert!(said.contains("found: ") && said.contains("its VMM died"), "{said}");
    check(&host, "killed and started again");
}

#[test]
fn the_host_was_rebooted() {
    let host = Host::new(&stand_in());
    signal("KILL", running(&host));
    eventually("it is gone", || (host.status("100")["status"] == "stopped").then_some(()));
    // As after a boot: another number of it in the row, and no sockets.
    change(&host, "UPDATE vm SET boot_id = '00000000-0000-4000-8000-000000000000'");
    fs::remove_dir_all(host.env.path("run/pvectl")).unwrap();
    assert_eq!(host.status("100")["status"], "stopped");
    let said = found(&host, START);
    assert!(said.contains("reboot"), "{said}");
    check(&host, "rebooted and started again");
}

#[test]
fn a_pid_was_given_to_somebody_else() {
    let host = Host::new(&stand_in());
    signal("KILL", running(&host));
    eventually("it is gone", || (host.status("100")["status"] == "stopped").then_some(()));
    let mut other = Command::new("sleep").arg("600").spawn().unwrap();
    // The number in the row is now that of a living process, which was started at another time.
    change(&host, &format!("UPDATE vm SET pid = {}", other.id()));
    assert_eq!(host.status("100")["status"], "stopped");
    let _ = host.env.run(START).ok();
    check(&host, "with a pid that was given again");
    let _ = host.env.run(STOP).ok();
    assert!(other.try_wait().unwrap().is_none(), "a process that was not ours was ended");
    other.kill().unwrap();
    other.wait().unwrap();
}

#[test]
fn a_hung_vmm_is_not_dead() {
    let host = Host::new(&stand_in());
    let pid = running(&host);
    signal("STOP", pid);
    let status = host.status("100");
    assert_eq!((&status["status"], &status["qmpstatus"]), (&"running".into(), &"unresponsive".into()));
    let _ = host.env.run("vm pause 100").exits(9).says(&["does not answer"]);
    assert_eq!(host.processes(), [pid], "nobody ended it");
    signal("CONT", pid);
    assert_eq!(host.status("100")["qmpstatus"], "running");
    let _ = host.env.run("vm pause 100").ok();
    // The power can be cut all the same.
    signal("STOP", pid);
    let _ = host.env.run(STOP).ok();
    eventually("it ends", || host.processes().is_empty().then_some(()));
    check(&host, "hung and stopped");
}

#[test]
fn a_hung_vmm_of_which_something_was_left_ends_as_well() {
    if !ARE_HERE {
        eprintln!("SKIPPED: a build without debug assertions has no points to be killed at");
        return;
    }
    let host = Host::new(&stand_in());
    let pid = running(&host);
    let armed = host.env.with(KILL_AT, "intent-begun");
    assert!(armed.run_unless_killed("vm snapshot create 100 a-1").is_none());
    signal("STOP", pid);
    let _ = host.env.run(STOP).ok();
    check(&host, "left and hung and stopped");
}

/// Runs a command that can write files of so many blocks of 512 bytes.
fn limited(env: &Env, blocks: u64, line: &str) -> (Option<i32>, String) {
    let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" {line}");
    let output = env.shell(&script);
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn no_file_can_become_large_enough() {
    let host = Host::new(&stand_in());
    let _ = host.env.run("vm create --vmid 101 --name other --memory 256 --kernel kernel").ok();
    // Disks are longer than this.
    let (code, said) = limited(&host.env, 65_536, CREATE);
    assert_eq!(code, Some(9), "{said}");
    assert!(said.contains("File too large"), "{said}");
    check(&host, "a file too large");
    // Not even the database and its log.
    let (code, said) = limited(&host.env, 1, CREATE);
    assert_eq!(code, Some(1), "{said}");
    check(&host, "no room for a word");
    let _ = host.env.run(CREATE).ok();
    check(&host, "room again");
}

/// A small file system of its own, where this user may mount one.
struct Small(PathBuf);

impl Small {
    fn new(at: PathBuf) -> Option<Self> {
        fs::create_dir_all(&at).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=4m,mode=700", "small"]).arg(&at).output();
        mounted.is_ok_and(|mounted| mounted.status.success()).then_some(Self(at))
    }

    /// Leaves so many bytes.
    fn fill(&self, left: u64) {
        let room = fs::File::create(self.0.join("filling")).unwrap();
        let block = vec![1; 65_536];
        while std::io::Write::write_all(&mut &room, &block).is_ok() {}
        let full = room.metadata().unwrap().blocks() * 512;
        room.set_len(full.saturating_sub(left)).unwrap();
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn the_disk_is_full() {
    let host = Host::new(&stand_in());
    let state = host.env.path(".local/state/pvectl");
    let Some(small) = Small::new(state) else {
        eprintln!("SKIPPED: this user mounts no tmpfs");
        return;
    };
    let _ = host.env.run(&format!("{CREATE} --no-checks")).ok();
    for left in [0, 8 << 10, 64 << 10, 200 << 10] {
        small.fill(left);
        // Whatever it can do with so little: it says so, and nothing is half done.
        for line in [START, STOP, "vm update 100 --description again"] {
            let output = host.env.run(line);
            let told = output.code == 0
                || ["make room", "disk is full", "No space left"].iter().any(|word| output.stderr.contains(word));
            assert!(told, "{left} bytes left, `{line}`: {output}");
        }
        fs::remove_file(small.0.join("filling")).unwrap();
        let _ = host.env.run(START).ok();
        check(&host, &format!("room again after {left} bytes"));
        let _ = host.env.run(STOP).ok();
        check(&host, &format!("stopped again after {left} bytes"));
    }
}

#[test]
fn sockets_would_have_long_paths() {
    let host = Host::new(&stand_in());
    let _ = host.env.run(CREATE).ok();
    let long = host.env.path(&"r".repeat(100));
    let env = host.env.with("XDG_RUNTIME_DIR", long.to_str().unwrap());
    let _ = env.run(START).exits(9).says(&["at most 107 bytes", "XDG_RUNTIME_DIR"]);
    assert!(!Path::new(&long).exists());
    check(&host, "a path too long");
    let _ = host.env.run(START).ok();
    check(&host, "a shorter one");
}

#[test]
fn two_commands_meet_on_one_vm() {
    let host = Host::new(&stand_in());
    let orders = host.env.path("programs/stand-in.json");
    let _ = host.env.run(CREATE).ok();
    fs::write(&orders, r#"{"faults": {"vm.boot": {"delay_ms": 1500}}}"#).unwrap();
    let first = host.env.spawn(START);
    eventually("the first is at work", || (!host.processes().is_empty()).then_some(()));
    // The second waits and finds the VM as the first left it.
    let second = host.env.spawn("vm reset 100");
    let listed = host.env.json("vm list");
    assert_eq!(listed.as_array().unwrap().len(), 1, "who looks waits for nobody");
    let _ = first.wait().ok();
    let second = second.wait();
    assert!([0, 6, 9].contains(&second.code), "{second}");
    check(&host, "two at once");
    fs::remove_file(&orders).unwrap();
    let _ = host.env.run(STOP).ok();
    // The same with the end of it: one deletes, the others find nothing.
    for _ in 0..5 {
        let deletes: Vec<_> = (0..4).map(|_| host.env.spawn("vm delete 100 --confirm")).collect();
        let ends: Vec<_> = deletes.into_iter().map(|running| running.wait()).collect();
        let told = || ends.iter().map(ToString::to_string).collect::<String>();
        assert_eq!(ends.iter().filter(|end| end.code == 0).count(), 1, "{}", told());
        assert!(ends.iter().all(|end| [0, 3].contains(&end.code)), "{}", told());
        check(&host, "deleted by four");
        assert_eq!(host.env.json("vm list"), serde_json::json!([]));
        let _ = host.env.run(CREATE).ok();
    }
}
