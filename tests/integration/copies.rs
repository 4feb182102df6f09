//! Disks that grow, templates and copies of guests, on a cluster.

use serde_json::json;

use crate::harness::Env;

#[test]
fn a_disk_grows_and_never_shrinks() {
    let env = Env::new();
    for (noun, guest, disk) in [("vm", "web-1", "scsi0"), ("container", "proxy", "rootfs")] {
        let size = || {
            let config = env.run(&format!("{noun} get {guest} -o json")).ok().json()["config"].clone();
            let drive = config[disk].as_str().unwrap().to_owned();
            drive.split("size=").nth(1).unwrap().trim_end_matches('G').parse::<u64>().unwrap()
        };
        let before = size();
        let dry = env.run(&format!("{noun} resize-disk {guest} {disk} +10G --dry-run")).ok();
        assert!(dry.stdout.contains("/resize disk=") && dry.stdout.contains("size=+10G"), "{dry}");
        assert_eq!(size(), before);
        let _ = env.run(&format!("{noun} resize-disk {guest} {disk} +10G")).ok();
        assert_eq!(size(), before + 10);
        let _ = env.run(&format!("{noun} resize-disk {guest} {disk} {}G", before + 10)).ok().says(&["already"]);
        let _ = env.run(&format!("{noun} resize-disk {guest} {disk} 1G")).exits(2).says(&["shrinking disks is not"]);
        let _ = env.run(&format!("{noun} resize-disk {guest} mp7 1G")).exits(3).says(&["disk 'mp7' does not exist"]);
        let _ = env.run(&format!("{noun} resize-disk {guest} {disk} 1X")).exits(2).says(&["+10G"]);
    }
    let last = &env.run("task list -o json").ok().json()[0];
    assert_eq!((&last["type"], &last["status"]), (&json!("resize"), &json!("OK")));
}

#[test]
fn a_guest_becomes_a_template_and_others_are_made_from_it() {
    let env = Env::new();
    let _ = env.run("vm template web-1").exits(6).says(&["you can't convert a VM to template if VM is running"]);
    let _ = env.run("vm template build-1").ok();
    let _ = env.run("vm template build-1").ok().says(&["already a template"]);
    let _ = env.run("container template dns").ok();
    assert_eq!(env.run("vm get build-1 -o json").ok().json()["config"]["template"], 1);

    let clone = env.run("vm clone build-1 build-2 -o json").ok().json();
    assert_eq!((&clone["vmid"], &clone["verb"], &clone["name"]), (&json!(104), &json!("clone"), &json!("build-2")));
    assert_eq!(env.run("vm get build-2 -o json").ok().json()["status"], "stopped");
    let dry = env.run("vm clone build-1 x --full --storage local-lvm --dry-run").ok();
    assert!(dry.stdout.contains("/103/clone newid=105 name=x storage=local-lvm full=1"), "{dry}");
    let _ =
        env.run("vm clone web-1 x --linked").exits(2).says(&["Linked clone feature is not supported for", "template"]);
    let _ = env.run("vm clone build-1 x --vmid 100").exits(6).says(&["100", "--vmid"]);
    let _ = env.run("vm clone build-1 x --target nowhere").exits(3).says(&["nowhere"]);
    let _ = env.run("vm clone web-1 x --snapname nowhere").exits(3).says(&["snapshot 'nowhere' does not exist"]);
    let _ = env.run("vm clone 100,101 x").exits(2).says(&["one vm at a time"]);
    let _ = env.run("container clone dns dns-2").ok();
    assert_eq!(env.run("container get dns-2 -o json").ok().json()["status"], "stopped");
}

#[test]
fn a_copy_has_a_name_of_its_own_and_starts() {
    let env = Env::new();
    for want in ["web-2-copy", "web-2-copy-2"] {
        let copied = env.run("vm cp web-2 -o json").ok().json();
        assert_eq!((&copied["name"], &copied["verb"]), (&json!(want), &json!("cp")));
        assert_eq!(env.run(&format!("vm get {want} -o json")).ok().json()["status"], "running");
    }
    let _ = env.run("vm cp web-2 api --no-wait").exits(2).says(&["several"]);
    let _ = env.run("container cp dns names").ok();
    assert_eq!(env.run("container get names -o json").ok().json()["status"], "running");
}

/// What the server would refuse in the end is said at once, with the way out.
#[test]
fn copies_that_cannot_be_are_refused_before_anything_is_sent() {
    let server = Env::new().serve("");
    let _ = server.run("storage create fast --type dir --path /srv/fast --content images,rootdir").ok();
    let changes = server.changes().len();
    for (line, code, says) in [
        ("vm clone 9000 x --linked --storage fast", 2, "--storage is not for linked clones"),
        ("vm clone 9000 x --format qcow2", 2, "--format is not for linked clones"),
        ("vm clone 100 x --target pve2", 6, "scsi0 is in `local-lvm`, which only pve1 has"),
        ("vm clone 100 x --target pve2 --storage fast", 6, "storage `fast` is not shared"),
        ("container clone 110 x", 6, "of a container that runs only a snapshot is copied whole"),
        ("container clone 110 x --target pve2", 6, "pvectl container snapshot create 110 copy"),
        ("vm clone 100 x --name y", 2, "cannot be used with"),
    ] {
        let _ = server.run(line).exits(code).says(&[says]);
    }
    assert_eq!(server.changes().len(), changes, "nothing was sent");
    // The sandbox says what a real server would.
    for (path, params, says) in [
        ("qemu/9000", "-p storage=fast", "parameter 'storage' not allowed for linked clones"),
        ("qemu/100", "-p target=pve2", "can't clone VM to node 'pve2' (VM uses local storage)"),
        ("lxc/110", "", "Full clone of a running container is only possible from a snapshot"),
    ] {
        let line = format!("api post /nodes/pve1/{path}/clone -p newid=300 {params}");
        let _ = server.run(&line).exits(1).says(&[says]);
    }
    // A snapshot of one that runs can be copied.
    let _ = server.run("container snapshot create 110 copy").ok();
    let _ = server.run("container clone 110 --name side --full --snapshot copy").ok();
    assert_eq!(server.json("vm clone 9000 --name linked")["name"], "linked");
}
