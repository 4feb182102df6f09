//! What VMs of this host are made of: what is refused before anything is made, disks that grow, templates, copies.

use std::{
    fs::{self, File},
    os::unix::fs::{FileExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use crate::local::{Host, real, stand_in};

/// Everything in a folder and below.
pub(crate) fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.path().is_dir() {
            true => found.extend(files_below(&entry.path())),
            false => found.push(entry.path()),
        }
    }
    found
}

#[test]
fn what_cannot_be_is_refused_before_there_is_a_task() {
    let host = Host::new(&stand_in());
    let env = &host.env;
    fs::write(env.path("disk.raw"), [0; 4096]).unwrap();
    let create = "vm create --name a --memory 256";
    for (flags, code, says) in [
        ("--vga std", 2, "vga"),
        ("--usb0 host=1:1", 2, "usb0"),
        ("--bios seabios", 2, "bios=ovmf"),
        ("--serial1 socket", 2, "one serial port"),
        ("--args -S", 2, "x-ch-config"),
        ("--boot order=scsi3", 2, "scsi3"),
        ("--scsi0 local:1,format=vmdk", 2, "vmdk"),
        ("--cicustom user=local:snippets/a", 3, "storage/local/snippets/a"),
        ("--cicustom vendor=nfs:snippets/a", 2, "vendor: nfs:snippets/a is no snippet of this host"),
        ("--scsi0 /nowhere/disk.raw", 3, "/nowhere/disk.raw"),
        ("--scsi0 local:100/vm-100-disk-7.raw", 3, "vm-100-disk-7.raw"),
        ("--image nowhere", 3, "nowhere"),
        ("--kernel nowhere", 2, "nowhere"),
        ("--force-param x-kernel=/nowhere/vmlinux", 3, "/nowhere/vmlinux"),
        ("--force-param x-kernel=/proc/version --force-param x-initrd=/nowhere/initrd", 3, "/nowhere/initrd"),
    ] {
        for dry in ["", " --dry-run"] {
            let _ = env.run(&format!("{create} {flags}{dry}")).exits(code).says(&[says]);
        }
    }
    assert_eq!(env.run("vm list -o json").ok().json(), json!([]));
    assert_eq!(env.run("task list -o json").ok().json(), json!([]));

    let _ = env.run(&format!("{create} --kernel kernel --scsi0 local:1")).ok();
    let before = host.status("a")["config"].clone();
    for (flags, code, says) in [
        ("--vga std", 2, "vga"),
        ("--cores 9999", 2, "cores"),
        ("--scsi1 /nowhere/disk.raw", 3, "/nowhere/disk.raw"),
        ("--scsi1 local:100/vm-100-disk-0.raw", 2, "scsi0's too"),
        ("--unset vga2", 2, "vga2"),
    ] {
        for dry in ["", " --dry-run"] {
            let _ = env.run(&format!("vm update a {flags}{dry}")).exits(code).says(&[says]);
        }
    }
    assert_eq!(host.status("a")["config"], before);
    // What is wrong already does not keep anybody from changing something else.
    let disk = host.state().join("storage/local/images/100/vm-100-disk-0.raw");
    fs::rename(&disk, disk.with_extension("away")).unwrap();
    let _ = env.run("vm update a --description gone").ok();
    let _ = env.run("vm update a --vga std").exits(2);
}

#[test]
fn a_vm_has_what_this_host_takes_for_granted_and_starts_without_a_warning() {
    let host = Host::new(&stand_in());
    let env = &host.env;
    let _ = env.run("vm create --name firm --memory 256 --scsi0 local:1").ok();
    let config = &host.status("firm")["config"];
    assert_eq!((&config["bios"], &config["serial0"]), (&json!("ovmf"), &json!("socket")));
    let _ = env.run("vm create --name direct --memory 256 --disk 1G --kernel kernel --start").ok();
    let config = &host.status("direct")["config"];
    assert_eq!((config.get("bios"), &config["serial0"]), (None, &json!("socket")));
    let tasks = env.run("task list -o json").ok().json();
    let started = tasks.as_array().unwrap().iter().find(|task| task["type"] == "qmstart").unwrap();
    assert_eq!(started["status"], "OK", "{tasks:#}");
}

#[test]
fn a_password_is_kept_as_its_hash_only() {
    const PASSWORD: &str = "correct horse battery staple";
    let host = Host::new(&stand_in());
    let env = &host.env;
    env.write("password", PASSWORD);
    let create = "vm create --name a --memory 256 --kernel kernel --ide2 local:cloudinit --ciuser me";
    let _ = env.run(&format!("{create} --cipassword @password --start")).ok();
    let seed = files_below(&host.state()).into_iter().find(|file| file.ends_with("seed.img")).unwrap();
    let hash = |what: &Path| {
        let text = String::from_utf8_lossy(&fs::read(what).unwrap()).into_owned();
        let at = text.find("$6$").unwrap_or_else(|| panic!("no hash in {}", what.display()));
        text[at..].split(['"', '\\', ',']).next().unwrap().to_owned()
    };
    let first = hash(&seed);
    env.write("password", "another");
    let _ = env.run("vm stop a").ok();
    let _ = env.run("vm update a --cipassword @password").ok();
    let _ = env.run("vm start a").ok();
    assert_ne!(hash(&seed), first);
    assert!(sha_crypt_fits(&hash(&seed), "another"), "{}", hash(&seed));
    assert!(sha_crypt_fits(&first, PASSWORD));
    for file in files_below(env.path(".local").as_path()) {
        let content = fs::read(&file).unwrap();
        let found = content.windows(PASSWORD.len()).any(|part| part == PASSWORD.as_bytes());
        assert!(!found, "the password is in {}", file.display());
    }
    assert_eq!(host.status("a")["config"]["cipassword"], "**********");
}

#[test]
fn texts_of_ones_own_are_what_the_guest_finds() {
    let host = Host::new(&stand_in());
    let env = &host.env;
    let folder = host.state().join("storage/local/snippets");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("user.yaml"), "#cloud-config\nruncmd: [touch /one]\n").unwrap();
    fs::write(folder.join("vendor.yaml"), "#cloud-config\npackages: [qemu-guest-agent]\n").unwrap();
    let parts = "user=local:snippets/user.yaml,vendor=local:snippets/vendor.yaml";
    let create = format!("vm create --name a --memory 256 --kernel kernel --cicustom {parts}");
    let _ = env.run(&format!("{create} --start")).ok();
    let seed = files_below(&host.state()).into_iter().find(|file| file.ends_with("seed.img")).unwrap();
    let has = |text: &str| String::from_utf8_lossy(&fs::read(&seed).unwrap()).contains(text);
    assert!(has("touch /one") && has("qemu-guest-agent") && has("instance-id"));

    // They are read at each start; one that is gone by then is named, and nothing runs.
    fs::write(folder.join("user.yaml"), "#cloud-config\nruncmd: [touch /two]\n").unwrap();
    let _ = env.run("vm stop a").ok();
    let _ = env.run("vm start a").ok();
    assert!(has("touch /two") && !has("touch /one"));
    let _ = env.run("vm stop a").ok();
    fs::remove_file(folder.join("vendor.yaml")).unwrap();
    let _ = env.run("vm start a").exits(9).says(&["cicustom: vendor: there is no file", "snippets/vendor.yaml"]);
    assert_eq!(host.status("a")["status"], "stopped");
}

/// Whether somebody else takes the password.
fn sha_crypt_fits(hash: &str, password: &str) -> bool {
    // The number of rounds is the one that counts where none stands there.
    let hash = &hash.replace("rounds=5000$", "");
    let salt = hash.split('$').nth(2).unwrap();
    let ours = std::process::Command::new("openssl").args(["passwd", "-6", "-salt", salt, password]).output();
    match ours {
        Ok(ours) if ours.status.success() => String::from_utf8_lossy(&ours.stdout).trim() == *hash,
        _ => {
            eprintln!("SKIPPED: no openssl to judge the hash");
            true
        }
    }
}

/// Runs over the stand-in, and over the real one where that can be.
fn over_both(scenario: impl Fn(&Path)) {
    scenario(&stand_in());
    match real() {
        Some(vmm) => {
            eprintln!("over the real Cloud Hypervisor: {}", vmm.display());
            scenario(&vmm);
        }
        None => eprintln!("SKIPPED: no cloud-hypervisor on PATH, or /dev/kvm does not open"),
    }
}

fn length(file: &Path) -> u64 {
    fs::metadata(file).unwrap().len()
}

/// What the VMM of a VM was given for a disk.
pub(crate) fn sent(host: &Host, key: &str) -> Vec<Value> {
    let configs = files_below(&host.state()).into_iter().filter(|file| file.ends_with("config.json"));
    let configs = configs.map(|file| serde_json::from_slice::<Value>(&fs::read(file).unwrap()).unwrap());
    let disks = configs.flat_map(|config| config["disks"].as_array().cloned().unwrap_or_default());
    disks.filter(|disk| disk["id"] == key).collect()
}

pub(crate) const GIB: u64 = 1 << 30;

#[test]
fn a_disk_grows_while_the_vm_is_off_and_while_it_runs() {
    over_both(|vmm| {
        let host = Host::new(vmm);
        let env = &host.env;
        let create = "vm create --name a --memory 256 --kernel kernel";
        let _ = env.run(&format!("{create} --scsi0 local:1 --scsi1 local:1,format=qcow2 --scsi2 local:1,ro=1")).ok();
        let images = host.state().join("storage/local/images/100");
        let (raw, qcow2) = (images.join("vm-100-disk-0.raw"), images.join("vm-100-disk-1.qcow2"));
        let size = |key: &str| {
            let drive = host.status("a")["config"][key].as_str().unwrap().to_owned();
            drive.split("size=").nth(1).unwrap().to_owned()
        };
        // The size of a qcow2 disk stands behind 24 bytes of its header.
        let virtual_size = || {
            let mut bytes = [0; 8];
            File::open(&qcow2).unwrap().read_exact_at(&mut bytes, 24).unwrap();
            u64::from_be_bytes(bytes)
        };
        let _ = env.run("vm resize-disk a scsi0 +1G").ok();
        let _ = env.run("vm resize-disk a scsi1 3G").ok();
        assert_eq!((length(&raw), virtual_size()), (2 * GIB, 3 * GIB));
        assert_eq!((size("scsi0").as_str(), size("scsi1").as_str()), ("2G", "3G"));
        let _ = env.run("vm resize-disk a scsi0 2G").ok().says(&["2.00 GiB already"]);
        let _ = env.run("vm resize-disk a scsi0 1G").exits(2).says(&["shrinking disks is not supported"]);
        let _ = env.run("vm resize-disk a scsi7 1G").exits(3).says(&["disk 'scsi7' does not exist"]);
        let _ = env.run("vm resize-disk a scsi0 big").exits(2).says(&["+10G"]);
        let _ = env.run("vm resize-disk a scsi0 +1G --dry-run").ok();
        assert_eq!(length(&raw), 2 * GIB);

        let _ = env.run("vm start a").ok();
        let _ = env.run("vm resize-disk a scsi0 +512M").ok();
        assert_eq!((length(&raw), size("scsi0").as_str()), (2 * GIB + GIB / 2, "2560M"));
        let _ = env.run("vm resize-disk a scsi1 4G").ok();
        assert_eq!((virtual_size(), size("scsi1").as_str()), (4 * GIB, "4G"));
        let _ = env.run("vm resize-disk a scsi0 1G").exits(2);
        // A VMM does not grow what it only reads: that is said before anything is tried.
        let tasks = || env.json("task list").as_array().unwrap().len();
        let before = tasks();
        let refused = ["scsi2 is read-only (ro=1) and does not grow while VM 100 runs", "pvectl vm shutdown 100"];
        let _ = env.run("vm resize-disk a scsi2 2G").exits(6).says(&refused);
        assert_eq!((tasks(), size("scsi2").as_str()), (before, "1G"));
        assert_eq!(host.status("a")["qmpstatus"], "running");
        let task = &env.run("task list -o json").ok().json()[0];
        assert_eq!((&task["type"], &task["status"]), (&json!("resize"), &json!("OK")));
        let _ = env.run("vm stop a").ok();
        let _ = env.run("vm resize-disk a scsi2 2G").ok();
        assert_eq!(size("scsi2"), "2G");
        let _ = env.run("vm start a").ok();
    });
}

#[test]
fn a_copy_is_somebody_else_with_the_same_data() {
    over_both(|vmm| {
        let host = Host::new(vmm);
        let env = &host.env;
        let create = "vm create --name web --memory 256 --kernel kernel --scsi0 local:1,discard=on";
        let _ = env.run(&format!("{create} --ide2 local:cloudinit --tags a,b --smbios1 family=x")).ok();
        let images = host.state().join("storage/local/images");
        let raw = images.join("100/vm-100-disk-0.raw");
        let write = |text: &str| {
            File::options().write(true).open(&raw).unwrap().write_all_at(text.as_bytes(), GIB / 2).unwrap();
        };
        let read = |file: &str| {
            let mut bytes = [0; 4];
            File::open(images.join(file)).unwrap().read_exact_at(&mut bytes, GIB / 2).unwrap();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        write("off.");
        let made = env.run("vm clone web web-2 -o json").ok().json();
        assert_eq!((&made["vmid"], &made["name"], &made["verb"]), (&json!(101), &json!("web-2"), &json!("clone")));
        assert_eq!(read("101/vm-101-disk-0.raw"), "off.");
        let (source, copy) = (host.status("web"), host.status("web-2"));
        assert_eq!(copy["status"], "stopped");
        assert_eq!(copy["config"]["scsi0"], "local:101/vm-101-disk-0.raw,discard=on,size=1G");
        for key in ["ide2", "tags", "memory", "x-kernel", "serial0", "smbios1"] {
            assert_eq!(copy["config"][key], source["config"][key], "{key}");
        }
        assert_eq!(copy["config"].get("lock"), None);
        let shared = length(&images.join("101/vm-101-disk-0.raw"));
        assert_eq!(shared, GIB);

        // While it runs it stands still for the time that it takes, and goes on.
        let _ = env.run("vm start web").ok();
        write("run.");
        let copied = env.run("vm cp web -o json").ok().json();
        assert_eq!((&copied["name"], &copied["verb"]), (&json!("web-copy"), &json!("cp")));
        assert_eq!(read("102/vm-102-disk-0.raw"), "run.");
        assert_eq!(host.status("web")["qmpstatus"], "running");
        assert_eq!(host.status("web-copy")["qmpstatus"], "running");
        let _ = env.run("vm pause web").ok();
        let copied = env.run("vm cp web -o json").ok().json();
        assert_eq!(copied["name"], "web-copy-2");
        assert_eq!(host.status("web")["qmpstatus"], "paused");
        let cids: Vec<u64> = files_below(&host.state())
            .into_iter()
            .filter(|file| file.ends_with("config.json"))
            .map(|file| serde_json::from_slice::<Value>(&fs::read(file).unwrap()).unwrap())
            .map(|config| config["platform"]["system_uuid"].as_str().unwrap().len() as u64)
            .collect();
        assert_eq!(cids.len(), 3);

        for (words, code, says) in [
            ("vm clone web x --vmid 101", 6, "101"),
            ("vm clone web x --storage nowhere", 3, "nowhere"),
            ("vm clone web x --target nowhere", 3, "nowhere"),
            ("vm clone web x --snapname nowhere --full", 3, "snapshot 'nowhere' does not exist"),
            ("vm clone web x --linked", 2, "Linked clone feature is not supported for"),
            ("vm clone web,web-2 x", 2, "one vm at a time"),
            ("vm clone nobody", 3, "nobody"),
            ("vm cp web 'two words'", 2, "name"),
        ] {
            let _ = env.run(words).exits(code).says(&[says]);
        }
        let vms = env.run("vm list -o json").ok().json();
        assert_eq!(vms.as_array().unwrap().len(), 4);
        assert_eq!(fs::read_dir(&images).unwrap().count(), 4, "nothing half made");
    });
}

#[test]
fn a_template_carries_linked_clones() {
    over_both(|vmm| {
        let host = Host::new(vmm);
        let env = &host.env;
        let _ = env.run("vm create --name golden --memory 256 --kernel kernel --scsi0 local:1").ok();
        let _ = env.run("vm start golden").ok();
        let _ = env.run("vm template golden").exits(6).says(&["if VM is running"]);
        let _ = env.run("vm stop golden").ok();
        let _ = env.run("vm template golden").ok();
        let images = host.state().join("storage/local/images");
        let base = images.join("100/base-100-disk-0.raw");
        assert_eq!(fs::metadata(&base).unwrap().permissions().mode() & 0o222, 0);
        let config = &host.status("golden")["config"];
        assert_eq!(
            (&config["template"], &config["scsi0"]),
            (&json!(1), &json!("local:100/base-100-disk-0.raw,size=1G"))
        );
        let _ = env.run("vm template golden").ok().says(&["already a template"]);
        let _ = env.run("vm start golden").exits(6);
        let _ = env.run("vm resize-disk golden scsi0 +1G").exits(6).says(&["template"]);

        let _ = env.run("vm clone golden one").ok();
        assert_eq!(host.status("one")["config"]["scsi0"], "local:101/vm-101-disk-0.qcow2,size=1G");
        assert_eq!(host.status("one")["config"].get("template"), None);
        let _ = env.run("vm create --template golden --name two --memory 512 --start").ok();
        assert_eq!(host.status("two")["config"]["memory"], "512");
        let disk = &sent(&host, "scsi0").into_iter().find(|disk| disk["image_type"] == "Qcow2").unwrap();
        assert_eq!(disk["backing_files"], true);
        let _ = env.run("vm clone golden three --full").ok();
        assert_eq!(host.status("three")["config"]["scsi0"], "local:103/vm-103-disk-0.raw,size=1G");
        assert_ne!(fs::metadata(images.join("103/vm-103-disk-0.raw")).unwrap().permissions().mode() & 0o200, 0);
        // It lies over the template's disk, and grows while nobody reads it.
        let _ = env.run("vm resize-disk one scsi0 +1G").ok();
        assert_eq!(host.status("one")["config"]["scsi0"], "local:101/vm-101-disk-0.qcow2,size=2G");
        let _ = env.run("vm start one").ok();
        let _ = env.run("vm stop one").ok();
        let _ = env.run("vm resize-disk two scsi0 +1G").exits(6).says(&["while VM 102 runs", "pvectl vm shutdown 102"]);
        // A copy of a linked clone stands alone, in the form that is asked for.
        let _ = env.run("vm clone one four --full").ok();
        assert_eq!(host.status("four")["config"]["scsi0"], "local:104/vm-104-disk-0.qcow2,size=2G");
        let _ = env.run("vm clone one five --full --format raw").ok();
        assert_eq!(host.status("five")["config"]["scsi0"], "local:105/vm-105-disk-0.raw,size=2G");
        let _ = env.run("vm clone golden six --full --format vmdk").exits(2).says(&["raw or qcow2"]);
        let _ = env.run("vm clone golden six --linked --format raw").exits(2);

        for _ in 0..2 {
            let _ = env.run("vm delete golden --confirm").exits(6).says(&[
                "base volume 'local:100/base-100-disk-0.raw' is still in use by linked cloned VMs",
                "101, 102",
            ]);
        }
        let _ = env.run("vm delete one two --confirm --force").ok();
        let _ = env.run("vm delete golden three five --confirm").ok();
        // Nothing of the template is there any more, and nothing of it is missed.
        let _ = env.run("vm start four").ok();
        let _ = env.run("vm delete four --confirm --force").ok();
        assert_eq!(fs::read_dir(&images).unwrap().count(), 0);
        assert_eq!(env.run("vm list -o json").ok().json(), json!([]));
    });
}
