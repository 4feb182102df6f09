//! VMs on this host: one scenario over the stand-in for Cloud Hypervisor, and over the real one where it is on PATH and
//! `/dev/kvm` opens.

use std::{
    fs::{self, File, OpenOptions},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};

use crate::{
    harness::{Env, PVECTL, eventually},
    vmm::kernel::halting_kernel,
};

/// An account whose chosen context is this host, with this executable as its Cloud Hypervisor.
pub(crate) struct Host {
    pub(crate) env: Env,
}

impl Host {
    pub(crate) fn new(vmm: &Path) -> Self {
        let env = Env::bare();
        let programs = env.path("programs");
        fs::create_dir(&programs).unwrap();
        symlink(vmm, programs.join("cloud-hypervisor")).unwrap();
        fs::write(env.path("kernel"), halting_kernel()).unwrap();
        let run = env.path("run");
        fs::create_dir(&run).unwrap();
        let path = format!("{}:/usr/bin:/bin", programs.display());
        let env =
            env.with("PVECTL_CONTEXT", "local").with("XDG_RUNTIME_DIR", run.to_str().unwrap()).with("PATH", &path);
        // Nothing of a test is left in the control groups of this machine.
        let env = env.with("PVECTL_CGROUP_DIR", "none");
        Self { env }
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.env.path(".local/state/pvectl/local")
    }

    pub(crate) fn status(&self, vm: &str) -> Value {
        self.env.run(&format!("vm get {vm} -o json")).ok().json()
    }

    /// The processes that run VMs of this account.
    pub(crate) fn processes(&self) -> Vec<u32> {
        let mark = self.state().display().to_string();
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").unwrap().filter_map(Result::ok) {
            let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else { continue };
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).into_owned();
            if line.contains("--api-socket") && line.contains(&mark) {
                found.push(pid);
            }
        }
        found
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        for pid in self.processes() {
            let _ = Command::new("kill").args(["-9", &pid.to_string()]).status();
        }
    }
}

/// What a person does with a VM, from its making to its end.
fn life(vmm: &Path) {
    let host = Host::new(vmm);
    let env = &host.env;
    let create = "vm create --name web --cores 1 --memory 256 --scsi0 local:1 --kernel kernel --cmdline console=ttyS0";
    let made = env.run(&format!("{create} -o json")).ok().json();
    assert_eq!((&made["vmid"], &made["status"]), (&json!(100), &json!("ok")));
    let disk = host.state().join("storage/local/images/100/vm-100-disk-0.raw");
    assert_eq!(fs::metadata(&disk).unwrap().len(), 1 << 30);
    assert_eq!(host.status("web")["status"], "stopped");

    let _ = env.run("vm start web").ok();
    let status = host.status("web");
    assert_eq!((&status["status"], &status["qmpstatus"]), (&json!("running"), &json!("running")));
    assert_eq!(host.processes(), [status["pid"].as_u64().unwrap() as u32]);
    let _ = env.run("vm start web").ok().says(&["already running"]);
    let _ = env.run("vm pause web").ok();
    assert_eq!(host.status("web")["qmpstatus"], "paused");
    let _ = env.run("vm resume web").ok();
    assert_eq!(host.status("100")["qmpstatus"], "running");
    let _ = env.run("vm reset web").ok();
    // The guest does not listen to its power button.
    let _ = env.run("vm shutdown web --shutdown-timeout 1").exits(9).says(&["got timeout"]);
    assert_eq!(host.status("web")["qmpstatus"], "running");
    let _ = env.run("vm delete web --confirm").exits(6).says(&["it is running"]);
    let _ = env.run("vm update web --set protection=1 --description note").ok();
    let _ = env.run("vm update web --name production --cores 2").ok();
    let pending = env.run("vm describe production").ok().stdout;
    assert!(pending.contains("cores"), "{pending}");

    // It dies, and the next command says so and goes on.
    let pid = host.processes()[0];
    assert!(Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap().success());
    // A dying process has no arguments any more while it still has its files.
    eventually("it is stopped", || (host.status("production")["status"] == "stopped").then_some(()));
    let _ = env.run("vm start production").ok();
    assert_ne!(host.processes(), [pid]);
    assert_eq!(host.status("production")["config"]["cores"], 2);

    let _ = env.run("vm stop production").ok();
    eventually("its process ends", || host.processes().is_empty().then_some(()));
    let _ = env.run("vm stop production").ok();
    let _ = env.run("vm delete production --confirm").exits(6).says(&["protected"]);
    let _ = env.run("vm update production --set protection=0").ok();
    let _ = env.run("vm delete production --confirm").ok();
    assert_eq!(env.run("vm list -o json").ok().json(), json!([]));
    assert!(!disk.exists());
    for folder in ["vms", "storage/local/images"] {
        let left: Vec<_> = fs::read_dir(host.state().join(folder)).unwrap().collect();
        assert!(left.is_empty(), "{folder}: {left:?}");
    }
    let verbs = env.run("operation list -o json").ok().json();
    let verbs: Vec<&str> = verbs.as_array().unwrap().iter().filter_map(|row| row["verb"].as_str()).collect();
    assert_eq!(verbs.iter().filter(|verb| **verb == "start").count(), 2, "{verbs:?}");
}

/// The stand-in, which `cargo test` builds beside the executable.
pub(crate) fn stand_in() -> PathBuf {
    Path::new(PVECTL).with_file_name("examples").join("stand_in_vmm")
}

/// The real executable, if this machine can run it.
pub(crate) fn real() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let found = std::env::split_paths(&path).map(|folder| folder.join("cloud-hypervisor")).find(|file| file.is_file());
    let opens = OpenOptions::new().read(true).write(true).open("/dev/kvm").is_ok();
    found.filter(|_| opens)
}

#[test]
fn a_vm_lives_and_dies_over_the_stand_in() {
    life(&stand_in());
}

#[test]
fn a_vm_lives_and_dies_over_the_real_one() {
    match real() {
        Some(vmm) => {
            eprintln!("over the real Cloud Hypervisor: {}", vmm.display());
            life(&vmm);
        }
        None => eprintln!("SKIPPED: no cloud-hypervisor on PATH, or /dev/kvm does not open"),
    }
}

#[test]
fn what_this_host_cannot_do_is_said_before_anything_happens() {
    let host = Host::new(&stand_in());
    let env = &host.env;
    let _ = env.run("container create --template debian-12 --rootfs local:1").exits(2);
    let _ = env.run("vm create --name a --kernel nowhere").exits(2).says(&["--kernel", "no file nowhere"]);
    let _ = env.run("vm create --name a --image nowhere --memory 256").exits(3).says(&["nowhere"]);
    assert_eq!(env.run("vm list -o json").ok().json(), json!([]));
    let _ = env.run("vm create --name a --kernel kernel --context sandbox").exits(2).says(&["--context local"]);
    let _ = env.run("api get /version").exits(2);
    let _ = env.run("vm start 100").exits(3);
    // Without the program, everything but starting goes.
    let bare = env.with("PATH", "/usr/bin:/bin");
    let _ = bare.run("vm create --name a --kernel kernel --memory 256").ok();
    let _ = bare.run("vm start a").exits(9).says(&["cloud-hypervisor"]);
    assert_eq!(host.status("a")["status"], "stopped");
    File::open(host.state().join("local.db")).unwrap();
}
