//! What people hear of a VM on this host: its console and its logs; and its names.
//!
//! Over the stand-in, and over the real VMM with a guest of a few dozen instructions that talks on its serial port.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read as _, Write as _},
    os::fd::{AsFd, OwnedFd},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    pty::openpty,
    sys::termios::{LocalFlags, tcgetattr},
};
use serde_json::json;

use crate::{
    harness::{Env, PVECTL, eventually},
    local::{Host, real, stand_in},
};

const LINES: usize = 200;

/// What the guest says at every boot: more than the VMM gives away at once.
pub(crate) fn boot_text() -> String {
    (0..LINES).map(|line| format!("line {line:05} of the boot\r\n")).collect()
}

/// A kernel that says this on its serial port, then echoes what is typed, and powers off at a `q`.
fn talking_kernel(said: &[u8]) -> Vec<u8> {
    const ENTRY: u32 = 0x10_0000;
    const DATA_AT: usize = 0x200;
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
    let longs = |longs: &[u64]| longs.iter().flat_map(|long| long.to_le_bytes()).collect::<Vec<u8>>();
    let mut code = Vec::new();
    // mov esi, what is said; mov ecx, its length
    code.push(0xbe);
    code.extend((ENTRY + DATA_AT as u32).to_le_bytes());
    code.push(0xb9);
    code.extend((said.len() as u32).to_le_bytes());
    // once the port is ready, out with the next byte, and again
    code.extend([0x66, 0xba, 0xfd, 0x03, 0xec, 0xa8, 0x20, 0x74, 0xfb, 0x8a, 0x06, 0x46]);
    code.extend([0x66, 0xba, 0xf8, 0x03, 0xee, 0x49, 0x75, 0xec]);
    // once there is a byte, in with it; a q goes to the port that powers off
    code.extend([0x66, 0xba, 0xfd, 0x03, 0xec, 0xa8, 0x01, 0x74, 0xf7]);
    // (the VMM types a NUL when somebody leaves, which is no key)
    code.extend([0x66, 0xba, 0xf8, 0x03, 0xec, 0x84, 0xc0, 0x74, 0xee, 0x3c, b'q', 0x75, 0x07]);
    code.extend([0x66, 0xba, 0x00, 0x06, 0xb0, 0x34, 0xee, 0xee, 0xeb, 0xe0]);
    code.resize(DATA_AT, 0);
    code.extend(said);
    let note = [words(&[4, 4, 18]), b"Xen\0".to_vec(), words(&[ENTRY])].concat();
    let (note_at, entry, length) = (64 + 2 * 56, u64::from(ENTRY), code.len() as u64);
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0\x01\0\0\0".to_vec();
    file.extend(longs(&[entry, 64, 0]));
    file.extend(words(&[0]));
    file.extend([64_u16, 56, 2, 0, 0, 0].iter().flat_map(|half| half.to_le_bytes()));
    file.extend(words(&[1, 5]));
    file.extend(longs(&[0x1000, entry, entry, length, length, 0x1000]));
    file.extend(words(&[4, 4]));
    file.extend(longs(&[note_at, 0, 0, note.len() as u64, note.len() as u64, 4]));
    file.extend(note);
    file.resize(0x1000, 0);
    file.extend(code);
    file
}

/// A host with a guest that talks.
pub(crate) fn talking(vmm: &Path) -> Host {
    let host = Host::new(vmm);
    fs::write(host.env.path("kernel"), talking_kernel(boot_text().as_bytes())).unwrap();
    host.env.write("programs/stand-in.json", &json!({"serial": boot_text()}).to_string());
    host
}

/// The same scenario over the stand-in, and over the real one where that runs.
pub(crate) fn over_both(scenario: fn(&Path)) {
    scenario(&stand_in());
    match real() {
        Some(vmm) => {
            eprintln!("over the real Cloud Hypervisor: {}", vmm.display());
            scenario(&vmm);
        }
        None => eprintln!("SKIPPED: no cloud-hypervisor on PATH, or /dev/kvm does not open"),
    }
}

pub(crate) const CREATE: &str = "vm create --name web --cores 1 --memory 128 --kernel kernel";

/// What stands in the log, once all of the boot is there.
fn booted(host: &Host) -> String {
    // While it talks, it may lose a byte to somebody who comes and goes.
    std::thread::sleep(Duration::from_millis(300));
    eventually("the guest has said all", || {
        let log = host.env.run("vm logs web").ok().raw;
        log.contains(&boot_text()).then_some(log)
    })
}

/// A command at a terminal of its own.
pub(crate) struct Terminal {
    child: Child,
    ours: OwnedFd,
    seen: String,
}

impl Terminal {
    pub(crate) fn run(env: &Env, vars: &[(&str, &str)], words: &[&str]) -> Self {
        let ends = openpty(None, None).unwrap();
        let end = || Stdio::from(ends.slave.try_clone().unwrap());
        let mut command = Command::new(PVECTL);
        command.env_clear().env("HOME", env.path("")).envs(vars.iter().copied()).args(words);
        let child = command.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
        Self { child, ours: ends.master, seen: String::new() }
    }

    fn is_raw(&self) -> bool {
        let flags = tcgetattr(&self.ours).unwrap().local_flags;
        !flags.intersects(LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG)
    }

    pub(crate) fn type_in(&self, bytes: &[u8]) {
        File::from(self.ours.try_clone().unwrap()).write_all(bytes).unwrap();
    }

    /// Makes it another size, and says so as a terminal does.
    pub(crate) fn resize(&self, columns: u16, rows: u16) {
        let size = rustix::termios::Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(&self.ours, size).unwrap();
        let id = self.child.id().to_string();
        assert!(Command::new("sh").args(["-c", "kill -WINCH \"$0\"", &id]).status().unwrap().success());
    }

    /// Whether this was seen.
    pub(crate) fn has_seen(&self, text: &str) -> bool {
        self.seen.contains(text)
    }

    /// Reads until this was seen; gives up as late as it can.
    #[track_caller]
    pub(crate) fn until(&mut self, text: &str) {
        let begin = Instant::now();
        while !self.seen.contains(text) {
            assert!(begin.elapsed() < Duration::from_secs(60), "`{text}` never came: {}", self.seen);
            let mut ready = [PollFd::new(self.ours.as_fd(), PollFlags::POLLIN)];
            if poll(&mut ready, PollTimeout::from(100_u16)).unwrap() > 0 {
                let mut bytes = [0; 4096];
                let count = File::from(self.ours.try_clone().unwrap()).read(&mut bytes).unwrap_or(0);
                self.seen += &String::from_utf8_lossy(&bytes[..count]);
            }
        }
    }

    pub(crate) fn ends(&mut self) -> Option<i32> {
        let status = eventually("the command ends", || self.child.try_wait().unwrap());
        assert!(!self.is_raw(), "the terminal is as it was");
        status.code()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn console(vmm: &Path) {
    let host = talking(vmm);
    let env = &host.env;
    let _ = env.run(CREATE).ok();
    let _ = env.run("vm console web").exits(6).says(&["not running", "vm start 100"]);
    let _ = env.run("vm start web").ok();
    booted(&host);

    let path = format!("{}:/usr/bin:/bin", env.path("programs").display());
    let run = env.path("run").display().to_string();
    let vars = [("PVECTL_CONTEXT", "local"), ("XDG_RUNTIME_DIR", &*run), ("PATH", &*path), ("TERM", "xterm")];
    let sit = |words: &[&str]| Terminal::run(env, &vars, &[&["vm", "console", "web"], words].concat());
    let mut terminal = sit(&[]);
    terminal.until("Ctrl-] leaves");
    eventually("the terminal is raw", || terminal.is_raw().then_some(()));
    // Ctrl-C is the guest's.
    terminal.type_in(b"abc\x03def");
    terminal.until("def");
    let _ = env.run("vm console web").exits(6).says(&["in use: console by", "vm logs 100 -f"]);
    terminal.type_in(b"\x1d");
    terminal.until("left the console");
    assert_eq!(terminal.ends(), Some(0));
    assert_eq!(host.status("web")["status"], "running");
    assert!(env.run("vm logs web").ok().raw.contains("abc\x03def"), "what was said is kept");

    // Ended from outside, it puts the terminal back too; and one that is killed holds nothing.
    for (signal, code) in [("-TERM", Some(130)), ("-INT", Some(130)), ("-HUP", Some(130))] {
        let mut terminal = sit(&["--escape", "none"]);
        eventually("the terminal is raw", || terminal.is_raw().then_some(()));
        terminal.type_in(b"\x1dz");
        terminal.until("z");
        assert!(Command::new("kill").args([signal, &terminal.child.id().to_string()]).status().unwrap().success());
        assert_eq!(terminal.ends(), code, "{signal}");
    }
    let mut killed = sit(&[]);
    killed.until("leaves");
    killed.child.kill().unwrap();
    killed.child.wait().unwrap();

    // A reset does not throw anybody out; the end of the guest does.
    let mut terminal = sit(&["--escape", "ctrl-o"]);
    eventually("the terminal is raw", || terminal.is_raw().then_some(()));
    let _ = env.run("vm reset web").ok();
    terminal.until("line 00199 of the boot");
    terminal.type_in(b"still\x1dhere");
    terminal.until("here");
    terminal.type_in(b"q");
    terminal.until("is off");
    assert_eq!(terminal.ends(), Some(0));
    assert_eq!(host.status("web")["status"], "stopped");

    // No terminal: it is a pipe.
    let _ = env.run("vm start web").ok();
    let said = env.run_with("vm console web", "typed q").ok();
    assert!(said.raw.contains("typed "), "{said}");
    assert!(env.run("vm logs web").ok().raw.ends_with(&said.raw[said.raw.len() - 6..]));
    let _ = env.run("vm console web --escape alt-x").exits(2).says(&["--escape"]);
    let _ = env.run("vm console nobody").exits(3);
}

#[test]
fn people_sit_at_the_console_one_at_a_time() {
    over_both(console);
}

fn logs(vmm: &Path) {
    let host = talking(vmm);
    let env = &host.env;
    let _ = env.run(CREATE).ok();
    let _ = env.run("vm logs web").exits(6).says(&["never started"]);
    let _ = env.run("vm start web").ok();
    let log = booted(&host);
    assert_eq!(log.matches("line ").count(), LINES, "each line once");
    assert_eq!(env.run("vm logs web -n 2").ok().raw, "line 00198 of the boot\r\nline 00199 of the boot\r\n");
    assert_eq!(env.run("vm logs web -n 0").ok().raw, "");

    // Two follow; both have all of it, and end with the guest.
    let follow = [env.spawn("vm logs web -f -n 1"), env.spawn("vm logs web -f")];
    eventually("somebody listens", || {
        let at = fs::read_dir(host.state().join("vms")).unwrap().next()?.unwrap().path().join("console/lock");
        fs::read_to_string(at).is_ok_and(|text| text.contains("logs -f")).then_some(())
    });
    let _ = env.run("vm console web").exits(6).says(&["in use: logs -f by"]);
    let _ = env.run("vm reset web").ok();
    eventually("the second boot is in the log", || {
        (env.run("vm logs web").ok().raw.matches("line ").count() == 2 * LINES).then_some(())
    });
    let _ = env.run("vm stop web").ok();
    let [short, long] = follow.map(|follow| follow.wait().ok().raw);
    assert_eq!((short.matches("line ").count(), long.matches("line ").count()), (LINES + 1, 2 * LINES));
    // It is off, and its log is there.
    assert_eq!(env.run("vm logs web").ok().raw.matches("line ").count(), 2 * LINES);
    assert_eq!(env.run("vm logs web -f").ok().raw, env.run("vm logs web").ok().raw);

    let own = env.run("vm logs web --vmm").ok().raw;
    assert!(own.contains("<event> vmm starting"), "{own}");
    assert!(own.contains("<event> vm booted"), "{own}");
    assert_eq!(env.run("vm logs web --vmm -n 1").ok().raw.lines().count(), 1);

    // What nobody listened to is kept before the VM is stopped; and of old starts nothing is kept for ever.
    for _ in 0..5 {
        let _ = env.run("vm start web").ok();
        booted(&host);
        let _ = env.run("vm stop web").ok();
    }
    let directory = fs::read_dir(host.state().join("vms")).unwrap().next().unwrap().unwrap().path();
    let names: Vec<String> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| name.ends_with(".log"))
        .collect();
    assert_eq!(names.len(), 10, "{names:?}");
    assert!(!names.contains(&"vmm-1.log".to_owned()), "{names:?}");
}

#[test]
fn what_a_guest_said_is_there_afterwards() {
    over_both(logs);
}

fn all_into_the_log(vmm: &Path) {
    let host = talking(vmm);
    let env = &host.env;
    let _ = env.run(&format!("{CREATE} --serial-log 1 --start")).ok();
    let _ = env.run("vm console web").exits(6).says(&["leads into its log", "vm logs 100 -f"]);
    booted(&host);
    let _ = env.run("vm reset web").ok();
    eventually("both boots are there", || {
        (env.run("vm logs web").ok().raw.matches("line ").count() == 2 * LINES).then_some(())
    });
    // Even one that is killed has said what it said.
    assert!(Command::new("kill").args(["-9", &host.processes()[0].to_string()]).status().unwrap().success());
    eventually("its process ends", || host.processes().is_empty().then_some(()));
    assert_eq!(env.run("vm logs web").ok().raw.matches("line ").count(), 2 * LINES);
    let _ = env.run("vm update web --force-param x-serial-log=0").ok();
    let _ = env.run("vm start web").ok();
    booted(&host);
    assert!(env.run_with("vm console web", "q").ok().raw.contains('q') || host.processes().is_empty());
}

#[test]
fn all_of_it_is_kept_where_that_is_wanted() {
    over_both(all_into_the_log);
}

#[test]
fn a_vm_without_a_port_has_no_console() {
    let host = talking(&stand_in());
    let env = &host.env;
    let _ = env.run(CREATE).ok();
    let _ = env.run("vm update web --unset serial0").ok();
    let _ = env.run("vm start web").ok();
    let _ = env.run("vm console web").exits(6).says(&["no serial port", "--serial0 socket"]);
    let _ = env.run("vm logs web").exits(6).says(&["no serial port", "--vmm"]);
    assert!(env.run("vm logs web --vmm").ok().raw.contains("vm booted"));
    let _ = env.run("vm update web --serial0 socket").ok();
    let _ = env.run("vm console web").exits(6).says(&["no serial port", "vm restart 100"]);
    let _ = env.run("vm console web --context sandbox").exits(3);
}

#[test]
fn logs_of_a_cluster_are_not_there() {
    let env = Env::new();
    let _ = env.run("vm logs 100").exits(2).says(&["Proxmox keeps none"]);
    assert!(OpenOptions::new().read(true).open(env.journal()).is_err(), "reading is not written down");
}

#[test]
fn a_guest_gets_another_name_while_it_runs() {
    for (env, kind, name, old) in
        [(Env::new(), "vm", "production-api", "100"), (Env::new(), "container", "prod.example", "110")]
    {
        let before = env.json(&format!("{kind} get {old}"));
        let done = env.run(&format!("{kind} rename {old} {name} -o json")).ok().json();
        assert_eq!((&done["verb"], &done["status"]), (&json!("rename"), &json!("ok")));
        let after = env.json(&format!("{kind} get {old}"));
        let named = if kind == "vm" { &after["name"] } else { &after["config"]["hostname"] };
        assert_eq!(named, name);
        assert_eq!(after["vmid"], before["vmid"]);
        let _ = env.run(&format!("{kind} rename {old} {name}")).ok().says(&["nothing to change"]);
        let _ = env.run(&format!("{kind} rename {old} under_score")).exits(2).says(&["DNS name"]);
        let _ = env.run(&format!("{kind} rename nobody new")).exits(3);
        let verbs = env.json("operation list");
        assert_eq!(verbs[0]["verb"], "rename");
    }
    let host = Host::new(&stand_in());
    let env = &host.env;
    let _ = env.run("vm create --name web --memory 128 --kernel kernel --start").ok();
    let _ = env.run("vm create --name db --memory 128 --kernel kernel").ok();
    let _ = env.run("vm rename web production-api").ok();
    let status = host.status("production-api");
    assert_eq!((&status["vmid"], &status["status"]), (&json!(100), &json!("running")));
    let _ = env.run("vm rename production-api db").ok().says(&["also the name of 101"]);
    let _ = env.run("vm start db").exits(2);
    let _ = env.run("vm rename 100-101 both").exits(2).says(&["a name is for one"]);
    let _ = env.run("vm rename 100 again --dry-run").ok();
    assert_eq!(host.status("100")["name"], "db");
}
