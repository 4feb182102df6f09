//! `vm|container backup …` and `backup …`: made, listed, described, restored, pruned, removed, on the sandbox.

use serde_json::{Value, json};

use crate::harness::{Env, eventually};

/// The names of the backups of guests, the newest of each first.
fn names(env: &Env, guests: &str) -> Vec<String> {
    let rows = env.json(&format!("backup list {guests}"));
    rows.as_array().unwrap().iter().map(|row| row["volid"].as_str().unwrap().to_owned()).collect()
}

fn rows(env: &Env, line: &str) -> Vec<Value> {
    env.json(line).as_array().unwrap().clone()
}

#[test]
fn a_backup_is_made_listed_described_and_removed() {
    let env = Env::new();
    let none = env.run("backup list").ok();
    assert!(none.stderr.contains("there are no backups, or none that you may see"), "{none}");
    let made = env.run("vm backup create web-1 --notes 'before {{guestname}}' --protected -o json").ok();
    assert_eq!((&made.json()["verb"], &made.json()["status"]), (&json!("backup"), &json!("ok")));
    let made = made.says(&["vm/100 (web-1): goes to storage `local`", "✓ vm/100 (web-1) backed up"]);
    assert!(made.json()["upid"].as_str().unwrap().contains(":vzdump:100:"), "{made}");
    let row = &rows(&env, "backup list 100")[0];
    // What was made is named, for people and for scripts.
    assert_eq!(made.json()["volume"], row["volid"], "{made}");
    assert!(made.stderr.contains(&format!(": {}\n", row["volid"].as_str().unwrap())), "{made}");
    for (key, value) in [
        ("node", json!("pve1")),
        ("vmid", json!(100)),
        ("name", json!("web-1")),
        ("notes", json!("before web-1")),
        ("protected", json!(1)),
        ("storage", json!("local")),
        ("type", json!("qemu")),
        ("context", json!("sandbox")),
    ] {
        assert_eq!(row[key], value, "{key}: {row}");
    }
    let name = row["volid"].as_str().unwrap().to_owned();
    let got = env.json(&format!("backup get {name}"));
    assert_eq!((&got["config"]["name"], &got["config"]["memory"]), (&json!("web-1"), &json!("2048")), "{got}");
    assert!(got["config"].get("lock").is_none(), "{got}");
    // By the file's name, and as `-o name` prints it.
    let file = name.rsplit('/').next().unwrap();
    for typed in [file, &format!("backup/{name}")] {
        let page = env.run(&format!("vm backup describe {typed}")).ok().stdout;
        for part in ["Protected  yes", "Guest      web-1", "Configuration", "scsihw   virtio-scsi-single"] {
            assert!(page.contains(part), "`{part}` is missing: {page}");
        }
    }
    let _ = env.run(&format!("container backup get {name}")).exits(2).says(&["is a backup of a vm"]);

    // What is protected is refused before anything is sent.
    let before = rows(&env, "operation list").len();
    let kept = env.run(&format!("backup delete {name} --confirm")).exits(6);
    let _ = kept.says(&["it is protected", "--no-protected"]);
    assert_eq!(rows(&env, "operation list").len(), before);
    let dry = env.run(&format!("backup update {name} --no-protected --notes other --dry-run")).ok();
    for part in ["notes: before web-1 → other", "protected: 1 → 0", "PUT /nodes/pve1/storage/local/content/"] {
        assert!(dry.stdout.contains(part), "`{part}` is missing: {dry}");
    }
    let _ = env.run(&format!("backup update {name} --no-protected --notes other")).ok();
    let _ = env.run(&format!("backup update {name} --notes other")).ok().says(&["nothing to change"]);
    let _ = env.run(&format!("backup delete {name}")).exits(2).says(&["--confirm"]);
    let _ = env.run(&format!("backup delete {name} --confirm")).ok();
    assert_eq!(names(&env, ""), Vec::<String>::new());
    let _ = env.run(&format!("backup get {name}")).exits(3).says(&["no such backup"]);
}

#[test]
fn each_guest_has_a_task_and_one_that_fails_stops_none() {
    let server = Env::new().serve("");
    let _ = server.run("vm update 103 --description 'sandbox: backup fails'").ok();
    let output = server.run("vm backup create 100-103 --storage local --mode suspend --prune-backups keep-last=2");
    let output = output.exits(1).says(&[
        "✗ vm/103 (build-1) backup failed",
        "ERROR: Backup of VM 103 failed - job failed with err -5",
        "TASK ERROR: job errors",
        // Not only that there were errors, but which.
        "error: cannot back up vm/103 (build-1): job failed with err -5",
        "warning: vm/100 (web-1): it stands still",
    ]);
    assert!(!output.stderr.contains("vm/101 (web-2): it stands still"), "what is off does not stand still: {output}");
    let dumps: Vec<String> = server.changes().into_iter().filter(|change| change.contains("/vzdump")).collect();
    assert_eq!(dumps.len(), 4, "{dumps:?}");
    assert_eq!(names(&server, "100-103").len(), 3);
    let kept = rows(&server, "operation list");
    let statuses =
        |vmid: u32| kept.iter().find(|row| row["vmid"] == vmid && row["verb"] == "backup").unwrap()["status"].clone();
    assert_eq!((statuses(100), statuses(103)), (json!("ok"), json!("failed")));
    // Both kinds at once, and what is pruned is told by the task.
    let both = rows(&server, "backup create 100 proxy --prune-backups keep-last=1");
    assert!(both.iter().all(|row| row["status"] == "ok"), "{both:?}");
    assert_eq!(names(&server, "100").len(), 1);
    assert_eq!(rows(&server, "container backup list")[0]["vmid"], 110);
}

/// On a node one after the other: its own lock would keep the others waiting, and give them up after a while.
#[test]
fn guests_of_a_node_wait_for_their_turn() {
    let server = Env::paced("1").serve("");
    let dry = server.run("vm backup create 101 102 --dry-run").ok();
    assert_eq!(dry.stdout.matches("POST /nodes/pve2/vzdump storage=local remove=0 compress=zstd vmid=").count(), 2);
    let _ = server.run("vm backup create 101 102 100").ok();
    let mut tasks: Vec<(u64, u64, String)> = rows(&server, "task list")
        .iter()
        .filter(|task| task["type"] == "vzdump" && task["node"] == "pve2")
        .map(|task| {
            let upid = task["upid"].as_str().unwrap();
            let ticks = u64::from_str_radix(upid.split(':').nth(3).unwrap(), 16).unwrap();
            (ticks, task["endtime"].as_u64().unwrap(), upid.to_owned())
        })
        .collect();
    tasks.sort();
    assert_eq!(tasks.len(), 2, "{tasks:?}");
    // A backup of one guest takes half a second here, in ticks of ten milliseconds.
    assert!(tasks[1].0 >= tasks[0].0 + 50, "{tasks:?}");
}

#[test]
fn a_guest_is_made_of_a_backup() {
    let env = Env::new();
    let _ = env.run("vm backup create 101").ok();
    let _ = env.run("container backup create 110").ok();
    let name = names(&env, "101").remove(0);
    let dry = env.run(&format!("vm backup restore {name} --dry-run")).ok();
    let dry = dry.says(&["101 is there too, with the same MAC addresses", "vm 101 is called `web-2` too"]);
    assert!(dry.stdout.contains("POST /nodes/pve2/qemu archive=local:backup/vzdump-qemu-101-"), "{dry}");
    let made =
        env.run(&format!("vm backup restore {name} --vmid 150 --name again --unique --start --set cores=4")).ok();
    let made = made.says(&["✓ vm/150 (again) restored"]);
    let guest = env.json("vm get 150");
    let was = env.json("vm get 101");
    assert_eq!((&guest["name"], &guest["status"]), (&json!("again"), &json!("running")), "{made}");
    assert_eq!((&guest["config"]["cores"], &guest["config"]["memory"]), (&json!(4), &was["config"]["memory"]));
    assert_eq!(guest["config"]["scsi0"], "local-lvm:vm-150-disk-0,size=8G");
    assert_ne!(guest["config"]["net0"], was["config"]["net0"]);
    let steps = env.json("operation show 3");
    assert_eq!(steps["steps"].as_array().unwrap().len(), 2, "restored, then started: {steps}");

    // In the place of one that is there: only when asked, only when it is off, with what is lost.
    let _ = env.run(&format!("backup restore {name} --vmid 101")).exits(6).says(&["VMID 101 is taken", "--overwrite"]);
    let _ = env.run(&format!("backup restore {name} --overwrite")).exits(2).says(&["--confirm"]);
    let _ = env.run("vm update 101 --cores 7").ok();
    let dry = env.run(&format!("backup restore {name} --overwrite --dry-run")).ok();
    for part in ["disk scsi0: local-lvm:vm-101-disk-0", "snapshots: before-upgrade, installed", "force=1 vmid=101"] {
        assert!(dry.stdout.contains(part), "`{part}` is missing: {dry}");
    }
    let _ = env.run(&format!("backup restore {name} --overwrite --confirm")).ok();
    assert_eq!(env.json("vm get 101")["config"]["cores"], 2);
    let shown = env.json(&format!("operation show {}", rows(&env, "operation list")[0]["id"]));
    assert_eq!(shown["config_before"]["cores"], 7, "what was there is kept: {shown}");
    let _ = env.run("vm start 101").ok();
    let _ =
        env.run(&format!("backup restore {name} --overwrite --confirm")).exits(6).says(&["it is running", "stop 101"]);
    let _ = env.run("vm stop 101").ok();
    let _ = env.run("vm update 101 --set protection=1").ok();
    let _ = env.run(&format!("backup restore {name} --overwrite --confirm")).exits(6).says(&["it is protected"]);
    let _ = env.run(&format!("backup restore {name} --overwrite --vmid 110 --confirm")).exits(6).says(&["container"]);

    // A guest that is gone comes back under its own number; a container goes where its root disk was.
    let _ = env.run("container delete 110 --force --confirm").ok();
    let dry = env.run("backup restore latest --guest 110 --vmid 110 --dry-run").ok();
    assert!(dry.stdout.contains("/nodes/pve1/lxc restore=1 ostemplate=local:backup/vzdump-lxc-110-"), "{dry}");
    assert!(dry.stdout.contains("storage=local-lvm vmid=110"), "{dry}");
    let _ = env.run("container backup restore latest --guest 110 --vmid 110").ok();
    assert_eq!(env.json("container get 110")["name"], "proxy");
}

#[test]
fn what_does_not_go_is_said_before_anything_is_sent() {
    let server = Env::new().serve("");
    let _ = server.run("vm backup create 101").ok();
    let sent = server.changes().len();
    for (line, code, parts) in [
        ("vm backup create 101 --storage local-lvm", 2, &["does not take `backup`", "these do: local"][..]),
        ("vm backup create 101 --storage locl", 3, &["no such storage: `locl`", "did you mean `local`"]),
        ("vm backup create 101 --mode fast", 2, &["snapshot|suspend|stop"]),
        ("vm backup create 101 --prune-backups keep=3", 2, &["prune-backups"]),
        ("vm backup create", 2, &["say which vm to back up"]),
        ("vm backup create 110", 3, &["110 is a container"]),
        ("backup create nope", 3, &["no such guest: `nope`"]),
        ("backup list nope", 3, &["no such guest: `nope`"]),
        ("backup list --storage local-lvm", 2, &["does not take `backup`"]),
        ("backup list --node pve7", 3, &["no such node: `pve7`"]),
        ("backup restore latest", 2, &["say whose latest backup"]),
        ("backup restore latest --guest 103", 3, &["there is no backup of 103"]),
        ("backup restore latest --guest 101 --storage local", 2, &["does not take `images`", "local-lvm"]),
        ("backup restore latest --guest 101 --node pve1", 6, &["is on pve2 alone", "not shared"]),
        ("backup restore latest --guest 101 --set colour=red", 2, &["unknown key `colour`"]),
        ("backup prune --confirm --keep-last 1", 2, &["say whose backups"]),
        ("backup prune --all --confirm", 1, &["no prune-backups options", "--keep-last 3"]),
        ("backup update x", 2, &["nothing to change was given"]),
        ("vm backup create 100 --context local", 3, &["no such vm"]),
    ] {
        let _ = server.run(line).exits(code).says(parts);
    }
    assert_eq!(server.changes().len(), sent);
    let _ = server.run("storage create nas --type dir --path /srv --content backup").ok();
    let _ = server.run("vm backup create 101").exits(2).says(&["several storages on pve2", "--storage local"]);
}

#[test]
fn pruning_shows_what_goes_and_keeps_what_is_protected() {
    let env = Env::new();
    for flags in ["--protected", "", "", ""] {
        let _ = env.run(&format!("vm backup create 100 {flags}")).ok();
    }
    let all = names(&env, "100");
    let dry = env.run("backup prune 100 --keep-last 1 --dry-run").ok();
    let dry = dry.says(&["1 kept, 1 protected"]);
    assert!(
        dry.stdout.contains("DELETE /nodes/pve1/storage/local/prunebackups prune-backups=keep-last=1 vmid=100"),
        "{dry}"
    );
    let data = env.json("backup prune 100 --keep-last 1 --dry-run");
    let gone: Vec<&str> = data["uses"].as_array().unwrap().iter().map(|one| one["what"].as_str().unwrap()).collect();
    assert_eq!(gone, [all[1].as_str(), all[2].as_str()]);
    let _ = env.run("backup prune 100 --keep-last 1").exits(2).says(&["--confirm"]);
    let _ = env.run("vm backup prune web-1 --keep-last 1 --confirm").ok();
    assert_eq!(names(&env, "100"), [all[0].clone(), all[3].clone()]);
    let again = env.run("backup prune --all --keep-last 1 --confirm").ok();
    let _ = again.says(&["nothing to remove"]);
}

/// Of a Backup Server, which all nodes share, any node restores.
#[test]
fn a_shared_storage_is_listed_once_and_restored_anywhere() {
    let env = Env::new();
    let _ = env.run("storage create pbs --type pbs --server backup.example.org --datastore main").ok();
    let _ = env.run("vm backup create 103 --storage pbs").ok();
    let row = rows(&env, "backup list")[0].clone();
    assert!(row["volid"].as_str().unwrap().starts_with("pbs:backup/vm/103/"), "{row}");
    assert_eq!((&row["format"], rows(&env, "backup list --storage pbs").len()), (&json!("pbs-vm"), 1));
    let _ = env.run("backup restore latest --guest 103 --node pve1 --vmid 150").ok();
    assert_eq!(env.json("vm get 150")["node"], "pve1");
}

/// A node says OK to a backup of what is elsewhere, and does nothing.
#[test]
fn a_node_has_nothing_against_a_backup_of_what_is_elsewhere() {
    let env = Env::new();
    assert_eq!(env.json("api post /nodes/pve1/vzdump -p vmid=101 -p storage=local"), "OK");
    assert_eq!(names(&env, ""), Vec::<String>::new());
}

/// A backup of one guest has its number in the task's name, so that it is found when the answer was lost.
#[test]
fn a_backup_whose_answer_is_lost_is_found_by_its_guest() {
    let server = Env::new().serve("--fault 'POST /nodes/*/vzdump:reset-after*1'");
    let output = server.run("vm backup create 101").ok();
    let _ = output.says(&["the answer was lost", "its task was found", "✓ vm/101 (web-2) backed up"]);
    assert_eq!(names(&server, "101").len(), 1);
    assert_eq!(server.changes().len(), 1, "sent once");
    let server = Env::new().serve("--fault 'POST /nodes/*/qemu:truncate-after*1'");
    let _ = server.run("vm backup create 101").ok();
    let _ = server.run("backup restore latest --guest 101 --vmid 150").ok().says(&["its task was found"]);
    assert_eq!(server.json("vm get 150")["name"], "web-2");
}

#[cfg(unix)]
#[test]
fn a_running_backup_locks_its_guest_and_an_interrupt_sends_no_more() {
    let server = Env::paced("2000").serve("");
    let mut making = server.spawn("vm backup create 101 102");
    making.until("task UPID");
    let _ = server.run("vm update 101 --cores 3").exits(6).says(&["locked (backup)"]);
    making.interrupt();
    let _ = making.wait().exits(130).says(&["not sent: 102"]);
    let upid = eventually("the task runs", || {
        let tasks = rows(&server, "task list --running");
        tasks.first().map(|task| task["upid"].as_str().unwrap().to_owned())
    });
    let _ = server.run(&format!("task stop {upid}")).ok();
    let _ = server.run("vm update 101 --cores 3").ok();
    assert_eq!(names(&server, ""), Vec::<String>::new());
}
