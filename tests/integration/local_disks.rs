//! What VMs of this host are made of: what is refused before anything is made, disks that grow, templates, copies.

use std::{fs, path::Path};

use serde_json::json;

use crate::local::{Host, stand_in};

/// Everything in a folder and below.
fn files_below(folder: &Path) -> Vec<std::path::PathBuf> {
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
        ("--cicustom user=local:snippets/a", 2, "cicustom"),
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
    let _ = env.run("vm create --name direct --memory 256 --scsi0 local:1 --kernel kernel --start").ok();
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
