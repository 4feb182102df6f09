//! Disks that go elsewhere, tags, and locks that were left over.

use serde_json::{Value, json};

use crate::harness::{Env, Server};

fn config(server: &Server, noun: &str, vmid: u32) -> Value {
    server.json(&format!("{noun} get {vmid}"))["config"].clone()
}

/// A sandbox with a second storage for disks.
fn with_fast() -> Server {
    let server = Env::new().serve("");
    let _ = server.run("storage create fast --type dir --path /srv/fast --content images,rootdir").ok();
    server
}

#[test]
fn a_disk_goes_into_another_storage() {
    let server = with_fast();
    let dry = server.run("vm move-disk 100 scsi0 fast --dry-run").ok().says(&["stays as an unused disk"]);
    assert!(dry.stdout.contains("/qemu/100/move_disk disk=scsi0 storage=fast digest="), "{dry}");
    let row = server.json("vm move-disk 100 scsi0 fast");
    assert_eq!((&row["verb"], &row["status"]), (&json!("move-disk"), &json!("ok")));
    let log = server.run(&format!("task logs {}", row["upid"].as_str().unwrap())).ok().stdout;
    assert!(log.contains("mirror-scsi0: transferred 16.0 GiB of 16.0 GiB (100.00%)"), "{log}");
    let now = config(&server, "vm", 100);
    assert_eq!(now["scsi0"], json!("fast:100/vm-100-disk-0.raw,size=16G"));
    assert_eq!(now["unused0"], json!("local-lvm:vm-100-disk-0"));
    let _ = server.run("vm move-disk 100 scsi0 fast").ok().says(&["scsi0 is in storage fast already"]);
    let _ = server.run("vm move-disk 100 scsi0 local-lvm --delete").ok();
    assert!(!server.run("storage content fast --node pve1").ok().stdout.contains("vm-100-disk"));
    let _ = server
        .run("container move-disk 110 rootfs fast")
        .exits(6)
        .says(&["a container's volumes move while it is off"]);
    let _ = server.run("container move-disk 111 rootfs fast --delete").ok();
    assert!(config(&server, "container", 111)["rootfs"].as_str().unwrap().starts_with("fast:111/"));
    for (line, code, says) in [
        ("vm move-disk 100 scsi7 fast", 3, "disk 'scsi7' does not exist"),
        ("vm move-disk 100 scsi0 nowhere", 3, "node pve1 has no storage `nowhere`"),
        ("vm move-disk 100 scsi0 local", 6, "does not hold `images`"),
        (
            "vm move-disk 101 scsi0 fast --delete",
            6,
            "has snapshots, which need the old copy: before-upgrade, installed",
        ),
        ("vm move-disk 100 scsi0 fast --format iso", 2, "possible values"),
        ("vm move-disk 999 scsi0 fast", 3, "no such vm"),
    ] {
        let _ = server.run(line).exits(code).says(&[says]);
    }
    let _ = server.run("vm move-disk 101 scsi0 fast --dry-run").ok().says(&["snapshots stay with the old copy"]);
}

#[test]
fn a_disk_is_detached_and_never_destroyed() {
    let server = with_fast();
    let _ = server.run("vm add disk 103 --volume local-lvm:4 --bus scsi").ok();
    let volume = config(&server, "vm", 103)["scsi1"].as_str().unwrap().split(',').next().unwrap().to_owned();
    let _ = server.run("vm detach 103 scsi1").ok().says(&["stays as an unused disk"]);
    assert_eq!(config(&server, "vm", 103)["unused0"], json!(volume));
    let _ = server.run("vm detach 103 unused0").ok().says(&["unused0 is not in use"]);
    assert_eq!(config(&server, "vm", 103)["unused0"], json!(volume), "it is there still");
    let _ = server.run("vm update 103 --ide2 local-lvm:cloudinit").ok();
    let _ = server.run("vm detach 103 ide2").exits(6).says(&["ide2 is a CD-ROM drive"]);
    let _ = server.run("container detach 111 rootfs").exits(6).says(&["cannot be without its rootfs"]);
    let _ = server.run("vm detach 103 scsi9").exits(3);
}

#[test]
fn a_disk_is_given_to_another_guest() {
    let server = with_fast();
    let _ = server.run("vm clone 103 other --vmid 104").ok();
    let _ = server.run("vm add disk 103 --volume local-lvm:4 --bus scsi").ok();
    let dry =
        server.run("vm reassign 103 scsi1 --to other --dry-run").ok().says(&["it becomes scsi1 of vm/104 (other)"]);
    assert!(dry.stdout.contains("target-vmid=104 target-disk=scsi1"), "{dry}");
    let _ = server.run("vm reassign 103 scsi1 --to 104").ok();
    assert!(config(&server, "vm", 104)["scsi1"].as_str().unwrap().contains("vm-104-disk-"));
    assert_eq!(config(&server, "vm", 103)["scsi1"], Value::Null);
    // The key is taken there: the next free one.
    let _ = server.run("vm reassign 104 scsi1 --to 103 --as scsi0").exits(6).says(&["build-1 has a scsi0 already"]);
    let _ = server.run("vm reassign 104 scsi0 --to 103").ok().says(&["it becomes scsi1 of vm/103"]);
    let _ = server.run("vm reassign 103 scsi1 --to 100").exits(6).says(&["bring them together first"]);
    let _ = server.run("vm reassign 103 scsi1 --to 103").exits(2);
    let _ = server.run("vm reassign 100 scsi0 --to 9000").exits(6).says(&["disks of templates stay"]);
    let _ = server.run("vm clone 103 third --vmid 105").ok();
    let _ = server.run("vm start 103").ok();
    let _ = server
        .run("vm reassign 103 scsi1 --to 105")
        .exits(6)
        .says(&["it runs with scsi1", "pvectl vm detach 103 scsi1"]);
}

/// Detached, a disk has its snapshots still, and what is unused of a container has its own rules.
#[test]
fn what_is_unused_goes_only_where_a_server_lets_it() {
    let server = with_fast();
    let _ = server.run("vm detach 101 scsi0").ok();
    let _ = server.run("vm clone 102 other --vmid 104").ok();
    let held = server.run("vm reassign 101 unused0 --to 104").exits(6);
    let _ = held.says(&["unused0 has snapshots: before-upgrade, installed"]);
    let forced = server.run("api post /nodes/pve2/qemu/101/move_disk -p disk=unused0 -p target-vmid=104");
    let _ = forced.exits(1).says(&["Can't move disk used by a snapshot to another VM"]);
    let _ = server.run("container add disk 111 --size 4G --storage local-lvm --mp /srv").ok();
    let _ = server.run("container detach 111 mp0").ok();
    let _ = server.run("container clone 111 twin --vmid 112").ok();
    let _ = server.run("container move-disk 111 unused0 fast").exits(6).says(&["unused0 is not in use"]);
    let as_used = server.run("container reassign 111 unused0 --to 112 --as mp3").exits(6);
    let _ = as_used.says(&["becomes unused with the other too"]);
    for (path, says) in [
        ("move_volume -p volume=unused0 -p storage=fast", "only configured volumes can be moved"),
        (
            "move_volume -p volume=unused0 -p target-vmid=112 -p target-volume=mp3",
            "Moving an unused volume to a used one",
        ),
    ] {
        let _ = server.run(&format!("api post /nodes/pve3/lxc/111/{path}")).exits(1).says(&[says]);
    }
    let _ = server.run("container reassign 111 unused0 --to 112").ok().says(&["it becomes unused0 of container/112"]);
}

#[test]
fn a_disk_is_made_from_an_image() {
    let server = with_fast();
    let dry = server.run("vm import-disk 103 local-lvm:vm-103-disk-0 --storage fast --dry-run").ok();
    assert!(dry.stdout.contains("scsi1=fast:0,import-from=local-lvm:vm-103-disk-0"), "{dry}");
    let _ = server.run("vm import-disk 103 local-lvm:vm-103-disk-0 --storage fast --disk virtio").ok();
    assert_eq!(config(&server, "vm", 103)["virtio0"], json!("fast:103/vm-103-disk-0.raw,size=8G"));
    let _ = server
        .run("vm import-disk 103 local-lvm:vm-103-disk-0 --storage fast --disk scsi0")
        .exits(6)
        .says(&["has a scsi0 already"]);
    let _ = server
        .run("vm import-disk 103 /tmp/disk.qcow2 --storage fast")
        .exits(5)
        .says(&["only root@pam may name a path"]);
    let _ = server.run("vm import-disk 103 local:import/none.qcow2 --storage fast").exits(3);
    let _ = server.run("vm import-disk 103 local-lvm:vm-103-disk-0").exits(2).says(&["--storage"]);
}

#[test]
fn tags_come_and_go_one_by_one() {
    let server = Env::new().serve("");
    let tags = |vmid: u32| config(&server, "vm", vmid)["tags"].clone();
    let _ = server.run("vm tag add 100 old,slow app.web").ok();
    assert_eq!(tags(100), json!("app.web;tier.front;old;slow"));
    let _ = server.run("vm tag add 100 old").ok().says(&["nothing to change"]);
    let _ = server.run("vm tag remove web-1 old tier.front").ok();
    assert_eq!(tags(100), json!("app.web;slow"));
    let _ = server.run("vm tag add fresh --selector app=web").ok();
    assert_eq!((tags(100), tags(101)), (json!("app.web;slow;fresh"), json!("app.web;tier.front;fresh")));
    let _ = server.run("vm tag remove 103 build").ok();
    assert_eq!(tags(103), Value::Null);
    let _ = server.run("container tag add 110 edge").ok();
    let _ = server.run("vm tag add 100").exits(2).says(&["say which tags"]);
    let _ = server.run("vm tag add 100 'no tag'").exits(2).says(&["`no tag` is no tag"]);
    let _ = server.run("vm tag add 100 old --node pve1").exits(2).says(&["`100` looks like a guest"]);
}

#[test]
fn a_lock_is_only_taken_away_by_who_may_and_when_nobody_is_at_work() {
    let server = Env::new().serve("");
    let _ = server.run("vm unlock 103").ok().says(&["not locked"]);
    let _ = server.write("password", "sandbox");
    let add = format!("config add-context root --endpoint {} --user root@pam --password-file password", server.url);
    let account = server.without("PVECTL_ENDPOINT").without("PVECTL_TOKEN");
    let _ = account.run(&add).ok();
    let root = |line: &str| account.run(&format!("{line} --context root"));
    // By hand it is set like that, too, and by nobody else.
    let _ =
        server.run("vm lock 103").exits(5).says(&["only root@pam by password may lock it", "qm set 103 --lock backup"]);
    let _ = server.run("vm update 103 --lock backup").exits(5).says(&["an API token of root is not enough"]);
    let dry = root("vm lock 103 --as migrate --dry-run").ok();
    assert!(
        dry.stdout.contains("lock: not set → migrate") && dry.stdout.contains("config lock=migrate digest="),
        "{dry}"
    );
    let _ = root("vm lock 103").ok().says(&["nobody starts, changes, backs up, moves or removes it"]);
    let _ = root("vm lock 103").ok().says(&["locked already (backup)"]);
    let _ = root("vm lock 103 --as clone").exits(6).says(&["locked (backup)"]);
    let _ = root("vm lock 103 --as suspended").exits(2).says(&["no lock for a vm", "there are: backup, clone"]);
    let _ = server.run("vm start 103").exits(6);
    let _ = server.run("vm unlock 103").exits(5).says(&["only root@pam by password may unlock it", "qm unlock 103"]);
    let dry = root("vm unlock 103 --dry-run").ok();
    assert!(dry.stdout.contains("lock: backup → not set") && dry.stdout.contains("delete=lock skiplock=1"), "{dry}");
    let _ = root("vm unlock 103").ok();
    assert_eq!(config(&server, "vm", 103)["lock"], Value::Null);
    let _ = root("container lock 111")
        .ok()
        .says(&["the API cannot unlock a container: on node pve3, as root: pct unlock 111"]);
    let _ = root("container unlock 111").exits(2).says(&["the API cannot unlock a container", "pct unlock 111"]);
}
