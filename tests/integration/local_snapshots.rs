//! Snapshots and suspending on this host: over the stand-in for Cloud Hypervisor, without memory over the real one too,
//! and killed in the middle.

mod killed;

use std::{
    collections::BTreeSet,
    fs::{self, OpenOptions},
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use crate::local::{Host, real, stand_in};

const CREATE: &str =
    "vm create --name web --cores 1 --memory 256 --scsi0 local:1 --kernel kernel --cmdline console=ttyS0";

impl Host {
    fn images(&self) -> PathBuf {
        self.state().join("storage/local/images/100")
    }

    /// Writes into the disk of the VM, as its guest would.
    fn mark(&self, text: &str) {
        let disk = self.images().join("vm-100-disk-0.raw");
        OpenOptions::new().write(true).open(disk).unwrap().write_all(text.as_bytes()).unwrap();
    }

    /// What was written there.
    fn marked(&self) -> String {
        let mut text = [0; 3];
        fs::File::open(self.images().join("vm-100-disk-0.raw")).unwrap().read_exact(&mut text).unwrap();
        String::from_utf8_lossy(&text).into_owned()
    }

    fn config(&self, key: &str) -> Value {
        self.status("web")["config"][key].clone()
    }

    fn snapshots(&self) -> Vec<Value> {
        self.env.json("vm snapshot list web").as_array().unwrap().clone()
    }

    /// What the stand-in is told, for all VMs.
    fn orders(&self, orders: &Value) {
        fs::write(self.env.path("programs/stand-in.json"), orders.to_string()).unwrap();
    }

    /// The files that snapshots and memory are in are those that there should be: no more, no less.
    #[track_caller]
    fn check_files(&self) {
        let names = |folder: &Path| -> BTreeSet<String> {
            let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
            entries.map(|name| name.to_string_lossy().into_owned()).collect()
        };
        let rows = self.snapshots();
        let name = |row: &Value| row["name"].as_str().unwrap().to_owned();
        let mut disks: BTreeSet<String> =
            rows.iter().map(|row| format!("vm-100-disk-0.snap-{}.raw", name(row))).collect();
        disks.insert("vm-100-disk-0.raw".to_owned());
        assert_eq!(names(&self.images()), disks);
        let vm = fs::read_dir(self.state().join("vms")).unwrap().next().unwrap().unwrap().path();
        let memories: BTreeSet<String> = names(&vm).into_iter().filter(|name| name.starts_with("memory-")).collect();
        let mut want: BTreeSet<String> =
            rows.iter().filter(|row| row["vmstate"] == 1).map(|row| format!("memory-snap-{}", name(row))).collect();
        if self.config("lock") == "suspended" && self.config("vmstate").as_str().unwrap().ends_with("memory-suspend") {
            want.insert("memory-suspend".to_owned());
        }
        assert_eq!(memories, want);
    }

    /// Whatever was cut short is mended by the next command: it runs, or is off, and nothing is between.
    #[track_caller]
    fn check_mended(&self) {
        // Whatever VM it is about: one that is suspended refuses most of what could be about itself.
        let _ = self.env.run("vm create --vmid 200 --kernel kernel").ok();
        let _ = self.env.run("vm delete 200 --confirm").ok();
        let probe = self.env.run("vm snapshot create web probe");
        // A VM that is suspended by now takes none.
        assert!([0, 6].contains(&probe.code), "{probe}");
        if probe.code == 0 {
            let _ = self.env.run("vm snapshot delete web probe --confirm").ok();
        }
        let status = self.status("web");
        assert_eq!(status["status"], status["qmpstatus"], "{status}");
        // A plan on a VM that is suspended ends before anybody looks closer: that is for the next one to wake it.
        if status["lock"] != "suspended" {
            assert_eq!(self.processes().len(), usize::from(status["status"] == "running"), "{status}");
        }
        self.check_files();
    }
}

/// Disks alone: what goes wherever a VM runs.
fn disks(vmm: &Path) {
    let host = Host::new(vmm);
    let env = &host.env;
    let _ = env.run(CREATE).ok();
    host.mark("one");
    let _ = env.run("vm snapshot create web off --memory --description first").ok().says(&["no memory to keep"]);
    let _ = env.run("vm start web").ok();
    host.mark("two");
    let _ = env.run("vm snapshot create web running").ok();
    assert_eq!(host.status("web")["qmpstatus"], "running");
    // Paused by somebody, it stays so.
    let _ = env.run("vm pause web").ok();
    let _ = env.run("vm snapshot create web paused").ok();
    assert_eq!(host.status("web")["qmpstatus"], "paused");
    let _ = env.run("vm resume web").ok();
    host.check_files();
    let rows = host.snapshots();
    let tree: Vec<_> = rows.iter().map(|row| (row["name"].as_str().unwrap(), row["parent"].clone())).collect();
    assert_eq!(tree, [("off", Value::Null), ("running", json!("off")), ("paused", json!("running"))]);
    assert_eq!((&rows[0]["description"], &rows[0]["vmstate"]), (&json!("first"), &json!(0)));
    let _ = env.run("vm snapshot create web off").exits(6).says(&["already used"]);

    // One that runs is stopped by going back, and starts where that is asked for.
    let _ = env.run("vm update web --cores 2 --description now").ok();
    let _ = env.run("vm snapshot rollback web off --confirm").ok();
    assert_eq!((host.marked().as_str(), host.status("web")["status"].clone()), ("one", json!("stopped")));
    assert_eq!((host.config("cores"), host.config("parent")), (json!(1), json!("off")));
    assert_eq!(host.config("description"), "now");
    let _ = env.run("vm snapshot rollback web running --start --confirm").ok();
    assert_eq!((host.marked().as_str(), host.status("web")["status"].clone()), ("two", json!("running")));
    host.check_files();

    let _ = env.run("vm snapshot update web off --description other").ok();
    let got = env.json("vm snapshot get web off");
    assert_eq!((&got["description"], &got["config"]["cores"]), (&json!("other"), &json!(1)));
    let _ = env.run("vm snapshot delete web off --confirm").ok();
    let _ = env.run("vm snapshot delete web off --confirm").exits(3);
    assert_eq!(host.snapshots()[0]["parent"], Value::Null);
    host.check_files();
    // They go with the VM.
    let _ = env.run("vm delete web --force --confirm").ok();
    assert!(!host.images().exists());
}

#[test]
fn disks_are_kept_and_brought_back_over_the_stand_in() {
    disks(&stand_in());
}

#[test]
fn disks_are_kept_and_brought_back_over_the_real_one() {
    match real() {
        Some(vmm) => {
            eprintln!("over the real Cloud Hypervisor: {}", vmm.display());
            disks(&vmm);
        }
        None => eprintln!("SKIPPED: no cloud-hypervisor on PATH, or /dev/kvm does not open"),
    }
}

#[test]
fn a_vm_is_suspended_and_goes_on() {
    let host = Host::new(&stand_in());
    let env = &host.env;
    let _ = env.run(CREATE).ok();
    let _ = env.run("vm suspend web").exits(6).says(&["it is stopped"]);
    let _ = env.run("vm start web").ok();
    let before = host.processes();
    let _ = env.run("vm suspend web --to-disk").ok();
    let status = host.status("web");
    assert_eq!((&status["status"], &status["lock"]), (&json!("stopped"), &json!("suspended")));
    assert_eq!(host.processes(), [0; 0]);
    host.check_files();
    // Whatever would come between the memory and the disks is refused.
    let _ = env.run("vm snapshot create web a-1").exits(6).says(&["locked (suspended)"]);
    let _ = env.run("vm update web --cores 2").exits(6).says(&["locked (suspended)"]);
    let _ = env.run("vm suspend web").ok().says(&["already suspended"]);
    let _ = env.run("vm resume web").ok();
    assert_eq!(host.status("web")["qmpstatus"], "running");
    assert_ne!(host.processes(), before);
    assert_eq!((host.config("lock"), host.config("vmstate")), (Value::Null, Value::Null));
    host.check_files();
    let _ = env.run("vm suspend web").ok();
    let _ = env.run("vm start web").ok();
    assert_eq!(host.status("web")["qmpstatus"], "running");

    // Another build cannot read it; nothing is lost by trying, and it can be given up.
    let _ = env.run("vm suspend web").ok();
    host.orders(&json!({"version": "54.0.0"}));
    let _ = env.run("vm start web").exits(9).says(&["saved by Cloud Hypervisor v53.0.0", "v54.0.0", "--unset lock"]);
    assert_eq!((host.config("lock"), host.processes()), (json!("suspended"), vec![]));
    host.check_files();
    let _ = env.run("vm update web --unset lock").ok();
    let _ = env.run("vm start web").ok();
    assert_eq!(host.status("web")["qmpstatus"], "running");
    host.check_files();
    host.orders(&json!({}));
    // Suspended, it can be deleted with all that it has.
    let _ = env.run("vm stop web").ok();
    let _ = env.run("vm start web").ok();
    let _ = env.run("vm suspend web").ok();
    let _ = env.run("vm delete web --confirm").ok();
    assert_eq!(fs::read_dir(host.state().join("vms")).unwrap().count(), 0);
}

#[test]
fn a_snapshot_with_memory_goes_on_from_there() {
    let host = Host::new(&stand_in());
    let env = &host.env;
    let _ = env.run(CREATE).ok();
    let _ = env.run("vm start web").ok();
    host.mark("one");
    let _ = env.run("vm snapshot create web live --memory").ok();
    assert_eq!(host.status("web")["qmpstatus"], "running");
    host.mark("two");
    let _ = env.run("vm snapshot create web later").ok();
    let _ = env.run("vm stop web").ok();
    let dry = env.run("vm snapshot rollback web live --dry-run").ok().stdout;
    assert!(dry.contains("with its memory"), "{dry}");
    for _ in 0..2 {
        // Its memory stays, to go back to once more.
        let _ = env.run("vm snapshot rollback web live --confirm").ok();
        assert_eq!((host.marked().as_str(), host.status("web")["qmpstatus"].clone()), ("one", json!("running")));
        assert_eq!(host.config("lock"), Value::Null);
        host.check_files();
        host.mark("two");
    }
    // Another build is noticed before anything is stopped or replaced.
    fs::write(host.state().join("vms").join(vm_folder(&host)).join("memory-snap-live/build"), "v52.0.0").unwrap();
    let refused = env.run("vm snapshot rollback web live --confirm").exits(9);
    let _ = refused.says(&["saved by Cloud Hypervisor v52.0.0"]);
    assert_eq!((host.marked().as_str(), host.status("web")["qmpstatus"].clone()), ("two", json!("running")));
    let _ = env.run("vm snapshot delete web live --confirm").ok();
    host.check_files();
}

fn vm_folder(host: &Host) -> PathBuf {
    fs::read_dir(host.state().join("vms")).unwrap().next().unwrap().unwrap().file_name().into()
}

#[test]
fn memory_that_cannot_be_saved_changes_nothing() {
    let host = Host::new(&stand_in());
    let env = &host.env;
    let _ = env.run(CREATE).ok();
    let _ = env.run("vm start web").ok();
    host.orders(&json!({"faults": {"vm.snapshot": "fail"}}));
    for line in ["vm snapshot create web a-1 --memory", "vm suspend web"] {
        let failed = env.run(line).exits(9);
        let _ = failed.says(&["the memory of VM 100 cannot be saved", "without --memory, or shut it down"]);
        assert_eq!(host.status("web")["qmpstatus"], "running");
        host.check_files();
    }
    // Without KVM's help there is still this.
    let _ = env.run("vm snapshot create web a-1").ok();
    host.check_mended();
}

#[test]
fn a_restore_that_fails_leaves_it_suspended() {
    let host = Host::new(&stand_in());
    let env = &host.env;
    let _ = env.run(CREATE).ok();
    let _ = env.run("vm start web").ok();
    let _ = env.run("vm suspend web").ok();
    host.orders(&json!({"faults": {"vm.restore": "fail"}}));
    let _ = env.run("vm resume web").exits(9);
    assert_eq!((host.config("lock"), host.processes()), (json!("suspended"), vec![]));
    host.check_files();
    host.orders(&json!({"faults": {"vm.restore": "die-before"}}));
    let _ = env.run("vm resume web").exits(9);
    assert_eq!((host.config("lock"), host.processes()), (json!("suspended"), vec![]));
    // The answer to the resume is lost, and it runs all the same.
    host.orders(&json!({"faults": {"vm.resume": ["fail"]}}));
    let _ = env.run("vm resume web").ok();
    assert_eq!(host.status("web")["qmpstatus"], "running");
    host.orders(&json!({}));
    host.check_mended();
}
