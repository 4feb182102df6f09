//! Changes of VMs of this host while they run, devices that come and go, and what waits in the queue: over the stand-in,
//! and where it can run over the real Cloud Hypervisor.

use std::{fs, path::Path, thread::sleep, time::Duration};

use serde_json::{Value, json};

use crate::{
    harness::eventually,
    local::{Host, real, stand_in},
};

const CREATE: &str = "vm create --name web --cores 2 --vcpus 1 --memory 256 --scsi0 local:1 --kernel kernel \
                      --hotplug disk,network,cpu,memory";

/// One with a VM `web` that runs, and files for disks beside it.
fn running(vmm: &Path) -> Host {
    let host = Host::new(vmm);
    let _ = host.env.run(CREATE).ok();
    let _ = host.env.run("vm start web").ok();
    for name in ["data.raw", "more.raw"] {
        fs::File::create(host.env.path(name)).unwrap().set_len(8 << 20).unwrap();
    }
    host
}

/// What its guest and its calls are to do: only the stand-in reads it.
fn tell(host: &Host, orders: &Value) {
    fs::write(host.env.path("programs/stand-in.json"), orders.to_string()).unwrap();
}

fn config(host: &Host) -> Value {
    host.status("web")["config"].clone()
}

fn pending(host: &Host) -> Vec<String> {
    let described = host.env.run("vm describe web -o json").ok().json();
    let rows = described["pending"].as_array().unwrap().clone();
    rows.iter().map(|row| row["key"].as_str().unwrap().to_owned()).collect()
}

/// What the VMM was given, as it is kept.
fn sent(host: &Host) -> Value {
    let folder = fs::read_dir(host.state().join("vms")).unwrap().next().unwrap().unwrap().path();
    assert!(!folder.join("config.json.next").exists());
    serde_json::from_slice(&fs::read(folder.join("config.json")).unwrap()).unwrap()
}

fn disks(host: &Host) -> usize {
    sent(host)["disks"].as_array().unwrap().len()
}

fn sizes_and_disks(vmm: &Path) {
    let host = running(vmm);
    let env = &host.env;
    let changed = env.run("vm update web --memory 512M --vcpus 2 --description note").ok();
    let _ = changed.says(&["changed while it runs: memory, vcpus"]);
    assert_eq!((&config(&host)["memory"], &config(&host)["vcpus"]), (&json!("512"), &json!(2)));
    assert_eq!(sent(&host)["memory"]["hotplugged_size"], 256 << 20);
    assert_eq!(sent(&host)["cpus"]["boot_vcpus"], 2);
    // What the VMM takes is a multiple of 128 MiB.
    let _ = env.run("vm update web --memory 600").ok().says(&["600 MiB is rounded up to 640 MiB"]);
    assert_eq!(sent(&host)["memory"]["hotplugged_size"], 384 << 20);
    assert_eq!(pending(&host), [""; 0]);

    // What cannot be live waits, and says why.
    let said = env.run("vm update web --memory 128 --set boot=order=scsi0 --set hotplug=disk").ok();
    let _ = said.says(&[
        "boot, memory will apply at the next start",
        "memory: `hotplug` does not have memory",
        "boot: the VMM takes it at start only",
    ]);
    assert_eq!(pending(&host), ["boot", "memory"]);
    let _ = env.run("vm update web --vcpus 3").exits(2).says(&["more than the 2"]);

    // A disk by its path.
    let added = env.run("vm add disk web --path data.raw --readonly --direct --id data1").ok();
    let _ = added.says(&["changed while it runs: virtio0"]);
    let path = env.path("data.raw");
    assert_eq!(config(&host)["virtio0"], format!("{},ro=1,cache=none", path.display()));
    assert_eq!(config(&host)["x-virtio0"], "id=data1");
    let disk = sent(&host)["disks"][1].clone();
    assert_eq!((&disk["id"], &disk["readonly"], &disk["direct"]), (&json!("virtio0"), &json!(true), &json!(true)));
    let _ = env.run("vm add disk web --path data.raw").exits(2).says(&["its volume is virtio0's too"]);
    let _ = env.run("vm add disk web --path more.raw --id data1").exits(6).says(&["`data1` is that of virtio0"]);
    let _ = env.run("vm add disk web --path nowhere.raw").exits(3).says(&["nowhere.raw"]);
    let _ = env.run("vm add disk web --path more.raw --dry-run").ok().says(&["nothing was sent"]);
    let _ = env.run("vm add device web --path /sys/bus/pci/devices/ffff:ff:1f.7").exits(3).says(&["no PCI device"]);
    let _ = env.run("vm add fs web --tag share --socket nobody.sock").exits(3).says(&["nobody listens"]);
    let _ = env.run("vm remove web nothing").exits(3).says(&["it has scsi0, virtio0 (data1)"]);
    assert!(config(&host)["virtio1"].is_null());

    // Its guest halts, and lets go of nothing: the disk goes with the next start, and the file stays.
    for _ in 0..2 {
        let removed = env.run("vm remove web data1").ok();
        let _ = removed.says(&["the guest did not let go of it", "virtio0 will apply at the next start"]);
        assert!(pending(&host).contains(&"virtio0".to_owned()));
    }
    assert_eq!(disks(&host), 2, "it has it still");
    let _ = env.run("vm stop web").ok();
    let _ = env.run("vm start web").ok();
    assert_eq!(pending(&host), [""; 0]);
    let config = config(&host);
    assert_eq!(
        (&config["memory"], &config["virtio0"], &config["x-virtio0"]),
        (&json!("128"), &Value::Null, &Value::Null)
    );
    assert_eq!(disks(&host), 1);
    assert_eq!(fs::metadata(path).unwrap().len(), 8 << 20);

    // A new one of the VM's own, while it runs; taken away it is unused, as on Proxmox.
    let _ = env.run("vm update web --set hotplug=network").ok();
    let _ = env.run("vm add disk web --volume local:1 --id scratch").ok().says(&["hotplug` does not have disk"]);
    let _ = env.run("vm update web --set hotplug=disk").ok();
    let _ = env.run("vm add disk web --volume local:1 --bus scsi").ok().says(&["changed while it runs: scsi1"]);
    let image = |n: u32| host.state().join(format!("storage/local/images/100/vm-100-disk-{n}.raw"));
    assert_eq!((fs::metadata(image(1)).unwrap().len(), fs::metadata(image(2)).unwrap().len()), (1 << 30, 1 << 30));
    assert_eq!(disks(&host), 2);
    let _ = env.run("vm stop web").ok();
    let _ = env.run("vm remove web scsi1").ok();
    let left = host.status("web")["config"].clone();
    assert_eq!((&left["scsi1"], &left["unused0"]), (&Value::Null, &json!("local:100/vm-100-disk-2.raw")));
    assert!(image(2).exists());
}

#[test]
fn a_running_vm_changes_over_the_stand_in() {
    sizes_and_disks(&stand_in());
}

#[test]
fn a_running_vm_changes_over_the_real_one() {
    match real() {
        Some(vmm) => {
            eprintln!("over the real Cloud Hypervisor: {}", vmm.display());
            sizes_and_disks(&vmm);
        }
        None => eprintln!("SKIPPED: no cloud-hypervisor on PATH, or /dev/kvm does not open"),
    }
}

#[test]
fn a_guest_that_listens_lets_go() {
    let host = running(&stand_in());
    tell(&host, &json!({"guest": "polite", "guest_delay_ms": 20}));
    let env = &host.env;
    let _ = env.run("vm add disk web --path data.raw --id data1").ok();
    let _ = env.run("vm remove web virtio0").ok().says(&["changed while it runs: virtio0"]);
    let left = config(&host);
    assert_eq!((pending(&host).len(), &left["virtio0"], &left["x-virtio0"]), (0, &Value::Null, &Value::Null));
    // One that is exchanged goes, and comes anew.
    let _ = env.run("vm add disk web --path data.raw").ok();
    let more = env.path("more.raw");
    let _ = env.run(&format!("vm update web --set virtio0={}", more.display())).ok();
    assert_eq!(sent(&host)["disks"][1]["path"], more.to_str().unwrap());
    // A paused guest cannot let go.
    let _ = env.run("vm pause web").ok();
    let _ = env.run("vm remove web virtio0").ok().says(&["the VM is paused"]);
}

#[test]
fn what_the_vmm_refuses_waits_and_what_nobody_knows_is_looked_at() {
    let host = running(&stand_in());
    let env = &host.env;
    tell(&host, &json!({"faults": {"vm.add-disk": ["fail"]}}));
    let refused = env.run("vm add disk web --path data.raw").ok();
    let _ = refused.says(&["virtio0: waits for the next start", "vm.add-disk"]);
    assert_eq!((pending(&host), disks(&host)), (vec!["virtio0".to_owned()], 1));
    // The VMM dies of it: the VM is seen as stopped, and its next start has all that was asked for.
    tell(&host, &json!({"faults": {"vm.resize": "die-after"}}));
    let _ = env.run("vm update web --memory 512").exits(9);
    assert_eq!(host.status("web")["status"], "stopped");
    let _ = env.run("vm start web").ok();
    assert_eq!((pending(&host).len(), &config(&host)["memory"]), (0, &json!("512")));
    assert_eq!(sent(&host)["disks"][1]["id"], "virtio0");
}

#[test]
fn a_change_that_was_killed_is_finished_or_rolled_back_by_the_next_command() {
    let host = running(&stand_in());
    let env = &host.env;
    for (call, change) in [
        ("vm.add-disk", "vm add disk web --path data.raw --id data1"),
        ("vm.resize", "vm update web --memory 512"),
        ("vm.remove-device", "vm remove web data1"),
    ] {
        tell(&host, &json!({"faults": {call: [{"delay_ms": 1500}]}}));
        let command = env.spawn(change);
        let folder = fs::read_dir(host.state().join("vms")).unwrap().next().unwrap().unwrap().path();
        eventually("the call is written down", || folder.join("config.json.next").exists().then_some(()));
        // The VMM may have the request by now, or not: either has to be mended.
        sleep(Duration::from_millis(100));
        command.kill();
        sleep(Duration::from_millis(2000));
        tell(&host, &json!({}));
        let after = env.run(&format!("vm update web --description {}", call.replace('.', "-"))).ok();
        assert!(after.stderr.contains("task UPID"));
        let tasks = env.run("task list -o json").ok().json();
        let log = env.run(&format!("task logs {}", tasks[0]["upid"].as_str().unwrap())).ok().stdout;
        assert!(log.contains("an update that was cut short"), "{call}: {log}");
        // What is kept, what is set and what waits say the same.
        let waits = pending(&host);
        let done = match call {
            "vm.add-disk" => disks(&host) == 2,
            "vm.resize" => sent(&host)["memory"]["hotplugged_size"] == 256 << 20,
            // A guest that halts has it still.
            _ => disks(&host) == 1,
        };
        assert_eq!(done, waits.is_empty(), "{call}: {waits:?}\n{log}");
        assert_eq!(done, log.contains("is finished"), "{call}: {log}");
        // The VMM had all the time to do it.
        assert_eq!(done, call != "vm.remove-device", "{call}: {log}");
    }
    assert_eq!(disks(&host), 2);
}

#[test]
fn additions_wait_in_the_queue_and_are_done_once_and_in_order() {
    let host = Host::new(&stand_in());
    let env = &host.env;
    let _ = env.run(CREATE).ok();
    for name in ["a.raw", "b.raw", "c.raw"] {
        fs::File::create(env.path(name)).unwrap().set_len(8 << 20).unwrap();
    }
    let _ = env.run("queue list").ok().says(&["nothing waits"]);
    for name in ["a", "b", "c"] {
        let _ = env.run(&format!("vm add disk web --path {name}.raw --id {name} --queue")).ok().says(&["queued"]);
    }
    let _ = env.run("vm add disk web --path a.raw --id a --queue").exits(6).says(&["`a` is that of virtio0"]);
    let rows = env.run("queue list web -o json").ok().json();
    let keys: Vec<bool> = (0..3).map(|n| rows[n]["params"][format!("virtio{n}")].is_string()).collect();
    assert_eq!(keys, [true; 3], "{rows}");
    assert!(rows.as_array().unwrap().iter().all(|row| row["status"] == "waiting"), "{rows}");
    let statuses = || {
        let rows = env.run("operation list --verb add -o json").ok().json();
        rows.as_array().unwrap().iter().map(|row| row["status"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(statuses(), ["running", "running", "running"]);
    assert!(config(&host)["virtio0"].is_null());

    // The second fails when its turn comes: the first is done, the third waits behind it.
    fs::remove_file(env.path("b.raw")).unwrap();
    let _ = env.run("vm start web").ok().says(&["queue: number 2 failed"]);
    assert!(config(&host)["virtio0"].is_string() && config(&host)["virtio2"].is_null());
    assert_eq!(disks(&host), 2);
    let rows = env.run("queue list -o json").ok().json();
    assert_eq!((&rows[0]["status"], &rows[1]["status"], &rows[2]), (&json!("failed"), &json!("waiting"), &Value::Null));
    assert_eq!(statuses(), ["running", "failed", "ok"]);
    let _ = env.run("vm update web --description a").ok();
    assert!(config(&host)["virtio2"].is_null(), "it waits still");

    // Without it the third goes on, live.
    let _ = env.run("queue cancel 2").ok();
    let _ = env.run("queue cancel 2").exits(3).says(&["nothing with number 2"]);
    let _ = env.run("vm update web --description b").ok();
    assert!(config(&host)["virtio2"].is_string());
    assert_eq!(disks(&host), 3);
    assert_eq!(env.run("queue list -o json").ok().json(), json!([]));
    assert_eq!(statuses(), ["ok", "failed", "ok"]);
    let config = config(&host);
    assert_eq!((&config["x-virtio0"], &config["x-virtio2"]), (&json!("id=a"), &json!("id=c")));
    assert!(config["x-virtio1"].is_null());
    let _ = env.run("vm update web --description c").ok();
    assert_eq!(disks(&host), 3, "once");
}

#[test]
fn elsewhere_what_only_this_host_has_is_refused() {
    let host = Host::new(&stand_in());
    let env = host.env.with("PVECTL_CONTEXT", "sandbox");
    for (line, said) in [
        ("vm add disk 100 --path a.raw", "a disk by its path"),
        ("vm add disk 100 --volume local-lvm:1 --id a", "a name for a device"),
        ("vm add disk 100 --volume local-lvm:1 --queue", "no queue"),
        ("vm add disk 100 --volume local-lvm:1 --iommu", "IOMMU"),
        ("vm add fs 100 --tag a --socket s", "virtiofsd of your own"),
        ("vm add fs 100 --tag a --source /srv", "a directory by its path"),
        ("vm add fs 100 --tag a --source /srv", "a mapping of the cluster"),
        ("queue cancel 1", "no queue"),
    ] {
        let _ = env.run(line).exits(2).says(&[said]);
    }
    let _ = env.run("vm add net 100 --bridge vmbr0 --tag 7").ok();
    let _ = env.run("vm remove 100 net1").ok();
    let _ = env.run("vm remove 100 net1").exits(3);
}

#[test]
fn a_device_of_this_host_is_refused_before_anything_happens() {
    let host = running(&stand_in());
    let devices = fs::read_dir("/sys/bus/pci/devices").into_iter().flatten().flatten();
    let is_bridge = |path: &Path| fs::read_to_string(path.join("class")).unwrap().starts_with("0x06");
    let bare = devices.map(|entry| entry.path()).find(|path| !path.join("iommu_group").exists() && !is_bridge(path));
    let Some(device) = bare else {
        eprintln!("SKIPPED: this host has no PCI device without an IOMMU group");
        return;
    };
    let driver = fs::read_link(device.join("driver")).ok();
    let refused = host.env.run(&format!("vm add device web --path {}", device.display()));
    let _ = refused.exits(6).says(&["no IOMMU group", "firmware"]);
    assert_eq!(fs::read_link(device.join("driver")).ok(), driver);
    assert!(config(&host)["hostpci0"].is_null() && pending(&host).is_empty());
}
