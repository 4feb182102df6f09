//! Directories that are shared with VMs of this host, each by a virtiofsd of its own: over stand-ins for it and for the
//! VMM, and where they can run over the real ones.

mod killed;

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};

use crate::{
    harness::{PVECTL, eventually},
    local::{Host, real, stand_in},
    vmm::kernel::kernel,
};

const CREATE: &str = "vm create --vmid 100 --name web --memory 256 --kernel kernel";

/// A host with a VM `web` that is off, a directory `shared`, and this virtiofsd.
fn host(vmm: &Path, virtiofsd: &Path) -> Host {
    let host = Host::new(vmm);
    symlink(virtiofsd, host.env.path("programs/virtiofsd")).unwrap();
    fs::create_dir(host.env.path("shared")).unwrap();
    let _ = host.env.run(CREATE).ok();
    host
}

fn stand_in_virtiofsd() -> PathBuf {
    Path::new(PVECTL).with_file_name("examples").join("stand_in_virtiofsd")
}

/// The same with the directory shared and the VM running.
fn sharing(vmm: &Path, virtiofsd: &Path) -> Host {
    let host = host(vmm, virtiofsd);
    let _ = host.env.run("vm add fs web --source shared --tag share").ok();
    let _ = host.env.run("vm start web").ok();
    host
}

/// Does this over the stand-ins and, if they are here, over the real ones.
fn over_both(what: fn(&Path, &Path)) {
    what(&stand_in(), &stand_in_virtiofsd());
    over_real(what);
}

fn over_real(what: fn(&Path, &Path)) {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let virtiofsd = std::env::split_paths(&path).map(|folder| folder.join("virtiofsd")).find(|file| file.is_file());
    match real().zip(virtiofsd) {
        Some((vmm, virtiofsd)) => {
            eprintln!("over the real Cloud Hypervisor {} and {}", vmm.display(), virtiofsd.display());
            what(&vmm, &virtiofsd);
        }
        None => eprintln!("SKIPPED: no cloud-hypervisor or no virtiofsd on PATH, or /dev/kvm does not open"),
    }
}

/// A process of a share.
struct Serving {
    pid: u32,
    parent: u32,
    /// Whether it is a virtiofsd and not one of the shells around it.
    serves: bool,
}

fn processes(host: &Host) -> Vec<Serving> {
    let mark = format!("--shared-dir={}", host.env.path("shared").display());
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().filter_map(Result::ok) {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else { continue };
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line);
        if line.contains(&mark) {
            let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
            let parent = stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(1)?.parse().ok());
            let serves = line.split('\0').next().unwrap().ends_with("virtiofsd");
            found.push(Serving { pid, parent: parent.unwrap_or_default(), serves });
        }
    }
    found
}

/// One for each share that is served: the real one has a child that does the work.
fn virtiofsds(host: &Host) -> Vec<u32> {
    let all: Vec<Serving> = processes(host).into_iter().filter(|process| process.serves).collect();
    let is_child = |process: &&Serving| all.iter().any(|other| other.pid == process.parent);
    all.iter().filter(|process| !is_child(process)).map(|process| process.pid).collect()
}

fn kill(signal: &str, pid: u32) {
    assert!(Command::new("kill").args([&format!("-{signal}"), &pid.to_string()]).status().unwrap().success());
}

/// What `vm describe` shows of a share.
#[track_caller]
fn shows(host: &Host, what: &str) {
    let shown = host.env.run("vm describe web").ok().stdout;
    assert!(shown.contains(what), "`{what}` is not in {shown}");
}

/// What is told of a share.
fn told(host: &Host, key: &str) -> Value {
    host.env.run("vm describe web -o json").ok().json()["here"]["shares"][key].clone()
}

fn keeper(host: &Host, key: &str) -> u32 {
    u32::try_from(told(host, key)["pid"].as_u64().unwrap()).unwrap()
}

/// The files in the VM's directories that tell of shares.
fn traces(host: &Host) -> Vec<String> {
    let folder = |path: PathBuf| fs::read_dir(path).into_iter().flatten().map(|entry| entry.unwrap().path());
    let inside = folder(host.env.path("run/pvectl")).chain(folder(host.state().join("vms"))).flat_map(folder);
    let names = inside.map(|path| path.file_name().unwrap().to_string_lossy().into_owned());
    let mut names: Vec<String> =
        names.filter(|name| name.ends_with(".sock") || name.starts_with("share-") || name == "pulse").collect();
    names.sort();
    names
}

fn nothing_is_left(host: &Host, when: &str) {
    eventually(&format!("{when}: its processes end"), || processes(host).is_empty().then_some(()));
    assert_eq!(traces(host), [""; 0], "{when}");
}

/// What a person does with a directory, from its adding to the end of the VM.
fn life(vmm: &Path, virtiofsd: &Path) {
    let host = host(vmm, virtiofsd);
    let env = &host.env;
    let bare = env.with("PATH", "/usr/bin:/bin");
    let facts = bare.run("host facts --field-selector name=virtiofsd -o json").ok().json();
    // One that a distribution has put where it is found without PATH is none of this test's.
    let lacks = facts[0]["seen"].as_str().unwrap().starts_with("not found");
    if lacks {
        let _ =
            bare.run("vm add fs web --source shared --tag share").exits(3).says(&["no `virtiofsd`", "pvectl check"]);
    }
    let _ = env.run("vm add fs web --source nowhere --tag share").exits(3).says(&["no directory", "nowhere"]);
    let _ = env.run("vm add fs web --source kernel --tag share").exits(3).says(&["a file cannot be shared"]);
    let _ = env.run("vm add fs web --socket s --tag share --readonly").exits(2);
    let long = "t".repeat(37);
    let _ = env.run(&format!("vm add fs web --source shared --tag {long}")).exits(2).says(&["36 bytes"]);
    let _ = env.run("vm add fs web --source shared --tag share --id docs").ok();
    let config = host.status("web")["config"].clone();
    let shared = env.path("shared").display().to_string();
    let note = format!("id=docs,source={shared}");
    assert_eq!((&config["virtiofs0"], &config["x-virtiofs0"]), (&json!("dirid=share"), &json!(note)));
    assert!(processes(&host).is_empty(), "nothing runs for a VM that is off");

    // What was there when it was added has to be there when it starts.
    fs::rename(env.path("shared"), env.path("away")).unwrap();
    let _ = env.run("vm start web").exits(3).says(&["virtiofs0: there is no directory"]);
    fs::rename(env.path("away"), env.path("shared")).unwrap();
    if lacks {
        let _ = bare.run("vm start web").exits(3).says(&["virtiofs0: there is no `virtiofsd`"]);
    }

    let _ = env.run("vm start web").ok();
    assert!(!virtiofsds(&host).is_empty());
    let told_first = told(&host, "virtiofs0");
    assert_eq!(told_first["source"], shared);
    assert!(fs::read_to_string(told_first["log"].as_str().unwrap()).unwrap().contains("Waiting for"));
    shows(&host, &format!("virtiofs0  ~/shared (served below process {})", told_first["pid"]));

    // A reset ends the connection and with it virtiofsd: the next one serves the machine.
    let first = virtiofsds(&host);
    let _ = env.run("vm reset web").ok();
    assert_eq!(host.status("web")["qmpstatus"], "running");
    eventually("another virtiofsd serves it", || {
        let now = virtiofsds(&host);
        (!now.is_empty() && now.iter().all(|pid| !first.contains(pid))).then_some(())
    });
    assert_eq!(told(&host, "virtiofs0")["pid"], told_first["pid"]);

    // Another one while it runs, with all that can be said of it.
    let before = virtiofsds(&host).len();
    let added = env.run("vm add fs web --source shared --tag more --readonly --cache never --sandbox chroot").ok();
    let _ = added.says(&["changed while it runs: virtiofs1"]);
    assert!(virtiofsds(&host).len() > before);
    assert_eq!(host.status("web")["config"]["virtiofs1"], "dirid=more,cache=never");

    let _ = env.run("vm stop web").ok();
    nothing_is_left(&host, "stopped");
    let _ = env.run("vm remove web docs").ok();
    let _ = env.run("vm start web").ok();
    assert_eq!(told(&host, "virtiofs0"), Value::Null);
    let _ = env.run("vm delete web --force --confirm").ok();
    nothing_is_left(&host, "deleted");
}

#[test]
fn a_directory_is_shared() {
    over_both(life);
}

#[test]
fn a_guest_that_reboots_or_powers_off_by_itself_needs_nobody() {
    let host = sharing(&stand_in(), &stand_in_virtiofsd());
    let vmm = host.processes()[0];
    for _ in 0..3 {
        let before = virtiofsds(&host);
        // So the stand-in is told that its guest resets the machine.
        kill("USR2", vmm);
        eventually("another virtiofsd serves it", || {
            virtiofsds(&host).first().filter(|pid| !before.contains(pid)).copied()
        });
        assert_eq!(host.status("web")["qmpstatus"], "running");
    }
    assert_eq!(host.processes(), [vmm]);
    kill("USR1", vmm);
    eventually("they end with their VMM", || processes(&host).is_empty().then_some(()));
    let _ = host.env.run("vm update web --description off").ok();
    nothing_is_left(&host, "powered off");
}

#[test]
fn a_guest_that_resets_without_end_is_served_and_fills_no_log() {
    over_real(|vmm, virtiofsd| {
        let host = host(vmm, virtiofsd);
        // It tells the keyboard's controller to reset.
        fs::write(host.env.path("kernel"), kernel(&[0xb0, 0xfe, 0xe6, 0x64, 0xf4, 0xeb, 0xfd])).unwrap();
        let _ = host.env.run("vm add fs web --source shared --tag share").ok();
        let _ = host.env.run("vm start web").ok();
        let log = told(&host, "virtiofs0")["log"].as_str().unwrap().to_owned();
        let mut seen = Vec::new();
        eventually("ten of them have served it", || {
            let said = fs::read_to_string(&log).unwrap();
            assert!(said.matches("Client connected").count() <= 1, "{said}");
            seen.extend(virtiofsds(&host));
            seen.sort_unstable();
            seen.dedup();
            (seen.len() >= 10).then_some(())
        });
        assert_eq!(host.status("web")["status"], "running");
        let _ = host.env.run("vm stop web").ok();
        nothing_is_left(&host, "stopped");
    });
}

#[test]
fn a_share_goes_when_the_guest_lets_go() {
    let host = sharing(&stand_in(), &stand_in_virtiofsd());
    fs::write(host.env.path("programs/stand-in.json"), r#"{"guest": "polite", "guest_delay_ms": 20}"#).unwrap();
    let _ = host.env.run("vm add fs web --source shared --tag more --id more").ok();
    let (first, second) = (keeper(&host, "virtiofs0"), keeper(&host, "virtiofs1"));
    assert_ne!(first, second);
    let _ = host.env.run("vm remove web more").ok().says(&["changed while it runs: virtiofs1"]);
    assert_eq!(traces(&host).iter().filter(|name| name.contains("virtiofs")).count(), 2, "{:?}", traces(&host));
    assert_eq!((keeper(&host, "virtiofs0"), virtiofsds(&host).len()), (first, 1));
    // One that is changed is served anew, with what was changed.
    let _ = host.env.run("vm update web --set virtiofs0=share,cache=never").ok().says(&["while it runs: virtiofs0"]);
    assert_ne!(keeper(&host, "virtiofs0"), first);
    // What the VMM does not take is not served.
    fs::write(host.env.path("programs/stand-in.json"), r#"{"faults": {"vm.add-fs": ["fail"]}}"#).unwrap();
    let _ = host.env.run("vm add fs web --source shared --tag more").ok().says(&["waits for the next start"]);
    assert_eq!(virtiofsds(&host).len(), 1);
}

#[test]
fn a_vm_without_shared_memory_waits_for_its_next_start() {
    over_both(|vmm, virtiofsd| {
        let host = host(vmm, virtiofsd);
        let _ = host.env.run("vm start web").ok();
        let _ = host.env.run("vm add fs web --source shared --tag share").ok().says(&["memory that cannot be shared"]);
        assert!(processes(&host).is_empty());
        let _ = host.env.run("vm stop web").ok();
        let _ = host.env.run("vm start web").ok();
        assert_eq!(virtiofsds(&host).len(), 1);
        let _ = host.env.run("vm stop web").ok();
    });
}

/// Puts a program of these lines in the place of virtiofsd.
fn program(host: &Host, lines: &str) {
    let path = host.env.path("programs/virtiofsd");
    fs::remove_file(&path).unwrap();
    fs::write(&path, format!("#!/bin/sh\n{lines}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_virtiofsd_that_does_not_come_up_or_is_another_is_said() {
    let host = host(&stand_in(), &stand_in_virtiofsd());
    let _ = host.env.run("vm add fs web --source shared --tag share").ok();
    program(
        &host,
        "[ \"$1\" = --version ] && exec echo virtiofsd 1.14.0; echo '[x ERROR virtiofsd] no namespaces here' >&2; exit 1",
    );
    let said = host.env.run("vm start web").exits(9);
    let _ = said.says(&["shared cannot be shared", "does not run: no namespaces here", "virtiofs0.log"]);
    assert_eq!((host.status("web")["status"].as_str(), host.processes()), (Some("stopped"), vec![]));
    nothing_is_left(&host, "it did not come up");
    program(&host, "echo 'virtiofsd version 7.2.22 (Debian 1:7.2)'");
    let _ = host.env.run("vm start web").exits(2).says(&["written in C"]);
    let _ = host.env.run("vm add fs web --source shared --tag more").exits(2).says(&["written in C", "apt install"]);
    let checked = host.env.run("check").stdout;
    assert!(checked.contains("written in C"), "{checked}");
    nothing_is_left(&host, "it is another");
}

#[test]
fn memory_is_saved_where_what_is_open_can_be() {
    let host = sharing(&stand_in(), &stand_in_virtiofsd());
    let _ = host.env.run("vm suspend web").ok();
    nothing_is_left(&host, "suspended");
    let _ = host.env.run("vm start web").ok();
    assert_eq!((host.status("web")["qmpstatus"].as_str(), virtiofsds(&host).len()), (Some("running"), 1));
    let _ = host.env.run("vm snapshot create web warm --memory").ok();
    // One that knows no migration.
    program(&host, "[ \"$1\" = --version ] && echo virtiofsd 1.5.1");
    for line in ["vm suspend web", "vm snapshot create web hot --memory"] {
        let refused = host.env.run(line).exits(2);
        let _ = refused.says(&["virtiofs0", "cannot save what the guest has open", "--migration-mode"]);
    }
    assert_eq!((host.status("web")["qmpstatus"].as_str(), virtiofsds(&host).len()), (Some("running"), 1));
    let _ = host.env.run("vm snapshot create web cold").ok();
    let _ = host.env.run("vm stop web").ok();
    // Back to where one can be used that serves it.
    fs::remove_file(host.env.path("programs/virtiofsd")).unwrap();
    symlink(stand_in_virtiofsd(), host.env.path("programs/virtiofsd")).unwrap();
    let _ = host.env.run("vm snapshot rollback web warm --confirm").ok();
    assert_eq!((host.status("web")["qmpstatus"].as_str(), virtiofsds(&host).len()), (Some("running"), 1));
}

#[test]
fn a_confined_vmm_comes_to_its_shares() {
    over_both(|vmm, virtiofsd| {
        let facts = Host::new(&stand_in()).env.run("host facts --field-selector name=landlock -o json").json();
        if facts[0]["status"] != "ok" {
            eprintln!("SKIPPED: this kernel has no Landlock, or too old a one");
            return;
        }
        let host = host(vmm, virtiofsd);
        let _ = host.env.run("vm update web --landlock 1").ok();
        let _ = host.env.run("vm add fs web --source shared --tag share").ok();
        let _ = host.env.run("vm start web").ok();
        let _ = host.env.run("vm add fs web --source shared --tag more").ok().says(&["while it runs: virtiofs1"]);
        assert_eq!(virtiofsds(&host).len(), 2);
        let _ = host.env.run("vm stop web").ok();
        nothing_is_left(&host, "stopped");
    });
}

#[test]
fn the_socket_can_be_elsewhere_and_is_nobody_elses() {
    over_both(|vmm, virtiofsd| {
        let host = host(vmm, virtiofsd);
        let socket = host.env.path("s.sock");
        let _ = host.env.run("vm add fs web --source shared --tag share --socket s.sock").ok();
        let theirs = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let _ = host.env.run("vm start web").exits(6).says(&["virtiofs0: somebody listens on"]);
        assert!(socket.exists());
        drop(theirs);
        let _ = host.env.run("vm start web").ok();
        assert_eq!(told(&host, "virtiofs0")["socket"], socket.to_str().unwrap());
        let _ = host.env.run("vm stop web").ok();
        assert!(!socket.exists());
        nothing_is_left(&host, "stopped");
    });
}
