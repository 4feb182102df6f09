//! What is looked at before a change: what would go wrong is said before anything is sent.

use serde_json::json;

use crate::harness::Env;
#[cfg(target_os = "linux")]
use crate::local::{Host, stand_in};

#[test]
fn memory_is_held_against_what_the_others_may_use() {
    let server = Env::new().serve("");
    let _ = server.run("vm start 103").ok().says(&["started"]);
    let _ = server.run("vm stop 103").ok();
    let _ = server.run("vm update 103 --memory 131072").ok();
    let before = server.changes().len();
    let _ = server.run("vm start 103").exits(6).says(&[
        "cannot start vm/103 (build-1): it may use 128.00 GiB of memory, and node pve3 has 64.00 GiB in all",
        "pvectl vm update 103 --memory …",
    ]);
    let _ = server.run("vm start 103 --dry-run").exits(6).says(&["node pve3 has 64.00 GiB in all"]);
    assert_eq!(server.changes().len(), before, "nothing was sent");
    assert_eq!(server.json("vm start 103 --no-checks")["status"], json!("ok"));
    let _ = server.run("vm stop 103").ok();
    // Two that fit alone and not together: one warning for both.
    let _ = server.run("vm update 103 --memory 40960").ok();
    let _ = server.run("vm clone 103 other --vmid 104").ok();
    let both = server.run("vm start 103,104 --dry-run").ok();
    let warning = "node pve3 has 64.00 GiB of memory: its guests that run may use 0 B, and this adds 80.00 GiB";
    assert_eq!(both.stderr.matches(warning).count(), 1, "{both}");
    let _ = server.run("vm start 103").ok();
    let dry = server.json("vm start 104 --dry-run");
    assert_eq!(dry["warnings"], json!([warning.replace("0 B", "40.00 GiB").replace("80", "40")]));
    let _ = server.run("vm update 103 --memory 81920 --dry-run").ok().says(&["warning: vm/103 (build-1): it may use"]);
    let _ =
        server.run("vm create --node pve3 --name big --memory 32768 --start --dry-run").ok().says(&["this adds 32"]);
}

#[cfg(target_os = "linux")]
#[test]
fn the_memory_of_this_host_counts_too() {
    let host = Host::new(&stand_in());
    let env = &host.env;
    let all = env.json("node list")[0]["maxmem"].as_u64().unwrap() >> 20;
    let half = all / 8 * 6;
    for name in ["one", "two"] {
        let _ = env.run(&format!("vm create --name {name} --cores 1 --memory {half} --kernel kernel --no-checks")).ok();
    }
    let _ = env
        .run("vm start one,two --dry-run")
        .ok()
        .says(&[" of memory: its guests that run may use 0 B, and this adds"]);
}

#[test]
fn room_is_looked_for_where_disks_are_made_or_grow() {
    let env = Env::new();
    let grown = env.run("vm resize-disk 103 scsi0 +600G --dry-run").ok();
    assert!(grown.stderr.contains("storage `local-lvm` of pve3 has "), "{grown}");
    assert!(grown.stderr.contains(" free, and this may fill 600.00 GiB of it"), "{grown}");
    let _ = env.run("vm update 103 --scsi1 local-lvm:600 --dry-run").ok().says(&["this may fill 600.00 GiB of it"]);
    let quiet = env.run("vm resize-disk 103 scsi0 +1G --dry-run").ok();
    assert!(!quiet.stderr.contains("warning"), "{quiet}");
    let _ = env.run("vm resize-disk 103 scsi0 +300G").ok();
    let _ = env.run("vm clone 103 other --dry-run").ok().says(&["this may fill 308.00 GiB of it"]);
}

#[test]
fn a_guest_that_others_count_on_does_not_just_go() {
    let server = Env::new().serve("");
    let post = |path: &str, params: &str| server.run(&format!("api post {path} {params}")).ok();
    let _ = post("/cluster/ha/resources", "-p sid=vm:103 -p state=stopped");
    let _ = post("/cluster/replication", "-p id=101-0 -p type=local -p target=pve1");
    let _ = post("/cluster/backup", "-p id=nightly -p vmid=100,101,111 -p schedule=02:00 -p storage=local");
    let before = server.changes().len();
    let _ = server.run("vm delete 103 --confirm").exits(6).says(&[
        "cannot delete vm/103 (build-1): HA looks after it (stopped)",
        "give --purge, or take it out of HA first: pvectl api delete /cluster/ha/resources/vm:103",
    ]);
    let _ = server.run("vm delete 101 --confirm").exits(6).says(&[
        "cannot delete vm/101 (web-2): it is replicated: 101-0",
        "pvectl api delete /cluster/replication/101-0",
    ]);
    let _ = server.run("container delete 111 --dry-run").ok().says(&["backup jobs name it", "nightly"]);
    assert_eq!(server.changes().len(), before, "nothing was sent");
    // The others of a list go all the same.
    let dry = server.run("vm delete 101,103 --purge --dry-run").ok().says(&[
        "it is taken out of HA",
        "its replication goes too: 101-0",
        "it is taken out of backup jobs: nightly",
    ]);
    assert!(dry.stdout.contains("purge=1"), "{dry}");
    let both = server.run("vm delete 9000,103 --confirm -o json").exits(1);
    let rows = both.json();
    assert_eq!((&rows[0]["status"], &rows[1]["status"]), (&json!("ok"), &json!("failed")), "{both}");
    let _ = server.run("vm delete 101,103 --purge --confirm").ok();
    assert_eq!(server.json("api get /cluster/backup")[0]["vmid"], json!("100,111"));
}

#[test]
fn a_template_stays_as_long_as_clones_stand_on_it() {
    let env = Env::new();
    let _ = env.run("vm create --template debian-12 --name app --vmid 150").ok();
    let _ = env.run("vm delete 9000 --confirm").exits(6).says(&[
        "cannot delete vm/9000 (debian-12): linked clones stand on its disks: vm/150 (app)",
        "delete these first",
    ]);
    let _ = env.run("vm delete 150 --confirm").ok();
    let _ = env.run("vm delete 9000 --confirm").ok();
}

#[test]
fn a_disk_of_a_protected_guest_is_not_taken() {
    let env = Env::new();
    let _ = env.run("vm update 102 --scsi1 local-lvm:1").ok();
    let _ = env
        .run("vm remove 102 scsi1 --confirm")
        .exits(6)
        .says(&["it is protected, and scsi1 is a disk of it", "pvectl vm update 102 --set protection=0"]);
    let _ = env.run("vm update 102 --unset scsi1 --dry-run").exits(6);
    let _ = env.run("vm update 102 --unset scsi1 --set protection=0 --dry-run").ok();
    let _ = env.run("vm update 102 --unset tags --dry-run").ok();
}

#[test]
fn who_ha_gave_up_is_not_started_and_who_it_keeps_up_is_not_suspended() {
    let env = Env::new();
    let _ = env.run("vm update 103 --description 'sandbox: start fails'").ok();
    let _ = env.run("api post /cluster/ha/resources -p sid=vm:103").ok();
    let _ = env
        .run("vm start 103")
        .exits(6)
        .says(&["HA has given it up (error)", "pvectl api put /cluster/ha/resources/vm:103 -p state=disabled"]);
    let _ = env.run("api post /cluster/ha/resources -p sid=vm:100").ok();
    let _ = env.run("vm suspend 100 --dry-run").ok().says(&["HA looks after it (started) and may start it again"]);
}

#[test]
fn however_many_guests_there_are_it_is_asked_once() {
    let env = Env::bare().with("PVECTL_CONTEXT", "sandbox");
    let _ = env.run("sandbox reset --pace 0 --guests 60").ok();
    let server = env.serve("");
    let asked = |path: &str| server.count("GET", path);
    let _ = server.run("vm start --all").ok();
    assert_eq!((asked("/cluster/resources"), asked("/nodes")), (1, 1));
    let _ = server.run("vm stop --all --confirm").ok();
    // Whether a node is away is asked for every change of several.
    assert_eq!((asked("/cluster/resources"), asked("/nodes")), (2, 2));
    let _ = server.run("vm delete 10000-10020 --confirm").ok();
    let jobs = (asked("/cluster/replication"), asked("/cluster/backup"));
    assert_eq!((asked("/cluster/resources"), asked("/nodes"), jobs), (3, 3, (1, 1)));
    assert_eq!(asked("/content"), 0, "for templates only");
}

#[test]
fn what_may_not_be_read_is_held_against_nobody() {
    let server = Env::new().serve("--fault 'GET /cluster/backup:status=403' --fault 'GET /nodes:status=403'");
    let quiet = server.run("vm start 103").ok();
    assert!(!quiet.stderr.contains("checked"), "{quiet}");
    let _ = server.run("vm stop 103").ok();
    let _ = server.run("vm start 103 -v").ok().says(&["not checked, as Nodes cannot be read"]);
    let _ = server.run("vm stop 103").ok();
    let _ = server.run("vm delete 103 --confirm -v").ok().says(&["not checked, as Backups cannot be read"]);
}
