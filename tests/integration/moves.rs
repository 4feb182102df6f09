//! Guests that move to another node: what stands in the way, how they go, and what is left of it.

use serde_json::{Value, json};

use crate::harness::{Env, Server, eventually};

/// From the list, since a guest may be on its way while somebody asks for it.
fn node(server: &Server, noun: &str, vmid: u32) -> Value {
    let rows = server.json(&format!("{noun} list"));
    let row = rows.as_array().unwrap().iter().find(|row| row["vmid"] == vmid);
    row.expect("the guest").get("node").cloned().unwrap()
}

fn log(server: &Server, row: &Value) -> String {
    server.run(&format!("task logs {}", row["upid"].as_str().unwrap())).ok().stdout
}

#[test]
fn a_vm_moves_live_with_its_disks() {
    let server = Env::new().serve("");
    let dry = server.run("vm migrate 100 pve2 --with-local-disks --dry-run").ok();
    assert!(dry.stdout.contains("node: pve1 → pve2"), "{dry}");
    assert!(dry.stdout.contains("/qemu/100/migrate target=pve2 online=1 with-local-disks=1"), "{dry}");
    assert_eq!(server.count("POST", "/migrate"), 0);
    let row = server.json("vm migrate web-1 --to pve2 --with-local-disks");
    assert_eq!((&row["node"], &row["verb"], &row["status"]), (&json!("pve2"), &json!("migrate"), &json!("ok")));
    let log = log(&server, &row);
    for line in [
        "starting migration of VM 100 to node 'pve2' (10.99.0.2)",
        "mirror-scsi0: transferred 16.0 GiB of 16.0 GiB (100.00%)",
        "of 2.0 GiB VM-state",
        "average migration speed:",
        "migration finished successfully",
        "TASK OK",
    ] {
        assert!(log.contains(line), "{line} is not in\n{log}");
    }
    let vm = server.json("vm get 100");
    assert_eq!((&vm["node"], &vm["status"], &vm["config"]["lock"]), (&json!("pve2"), &json!("running"), &Value::Null));
    let disks = |node: &str| server.json(&format!("storage content local-lvm --node {node}")).to_string();
    assert!(disks("pve2").contains("vm-100-disk-0") && !disks("pve1").contains("vm-100-disk-0"));
    let _ = server.run("vm migrate 100 pve2").ok().says(&["already on pve2"]);
    assert_eq!(server.count("POST", "/migrate"), 1);
    // One that is off needs no flag.
    let _ = server.run("vm migrate 103 pve1").ok().says(&["copied: scsi0 (local-lvm:vm-103-disk-0, 8.00 GiB)"]);
    assert_eq!(node(&server, "vm", 103), "pve1");
}

#[test]
fn all_that_stands_in_the_way_is_said_at_once() {
    let server = Env::new().serve("");
    let _ = server.run("storage update local-lvm --nodes pve1,pve2").ok();
    let _ = server.run("vm update 100 --ide2 local:iso/debian-12.7.0-amd64-netinst.iso,media=cdrom").ok();
    let _ = server.run("vm migrate 100 pve3").exits(6).says(&[
        "cannot migrate vm/100 (web-1): ",
        "ide2 shows local:iso/debian-12.7.0-amd64-netinst.iso, which is not copied",
        "it runs, and disks of it are only on node pve1: scsi0 (local-lvm:vm-100-disk-0, 16.00 GiB)",
        "node pve3 does not have the storage of its disks: local-lvm",
        "pvectl vm update 100 --ide2 none,media=cdrom",
        "give --with-local-disks",
        "--target-storage FROM=TO",
    ]);
    let _ = server.run("vm migrate 101 pve1").exits(6).says(&[
        "scsi0 has snapshots, which its storage does not copy: before-upgrade, installed",
        "pvectl vm snapshot delete 101",
    ]);
    let _ = server.run("container migrate 110 pve2").exits(6).says(&["no container moves while it runs", "--restart"]);
    let _ =
        server.run("vm migrate 100 nowhere").exits(3).says(&["no such node: `nowhere`", "the last word is the node"]);
    let _ = server.run("vm migrate 100 --to pve9").exits(3).says(&["no such node: `pve9`"]);
    let _ = server.run("vm migrate 100").exits(2).says(&["say where to", "pvectl vm migrate 100 pve2"]);
    let _ = server.run("vm migrate --to pve2").exits(2).says(&["say which vm to migrate"]);
    let _ = server.run("vm migrate 100 pve2 --target-storage a=b,a=c").exits(2).says(&["`a` is there twice"]);
    let _ = server.run("vm migrate 999 pve2").exits(3);
    let _ = server.run("vm migrate 100 pve2 --bwlimit fast").exits(2);
    let _ = server.run("sandbox node pve2 offline").ok();
    let _ = server.run("vm migrate 100 pve2").exits(10).says(&["node pve2 is offline"]);
    assert_eq!(server.count("POST", "/migrate"), 0, "nothing was sent");
}

#[test]
fn a_container_that_runs_is_shut_down_moved_and_started() {
    let server = Env::new().serve("");
    let dry = server.run("container migrate 110 pve2 --restart --dry-run").ok();
    assert!(dry.stdout.contains("restart=1"), "{dry}");
    let row =
        server.run("container migrate 110 pve2 --restart -o json").ok().says(&["it is shut down, moved and started"]);
    assert_eq!(row.json()["node"], json!("pve2"));
    let ct = server.json("container get 110");
    assert_eq!((&ct["node"], &ct["status"]), (&json!("pve2"), &json!("running")));
    let _ = server.run("container migrate 111 pve1").ok();
    assert_eq!(node(&server, "container", 111), "pve1");
    // What nobody named and would be shut down is asked about.
    let _ = server.run("container migrate --node pve2 --to pve3 --restart").exits(2).says(&["--confirm"]);
    let _ = server.run("container migrate --node pve2 --to pve3 --restart --confirm").ok();
    assert_eq!(node(&server, "container", 110), "pve3");
}

#[test]
fn disks_go_where_they_are_sent() {
    let server = Env::new().serve("");
    let _ = server.run("storage create fast --type dir --path /srv/fast --content images,rootdir").ok();
    let dry = server.run("vm migrate 100 pve2 --target-storage local-lvm=fast --dry-run").ok();
    assert!(dry.stdout.contains("scsi0: local-lvm → fast"), "{dry}");
    assert!(dry.stdout.contains("targetstorage=local-lvm:fast"), "{dry}");
    let _ = server
        .run("vm migrate 100 pve2 --target-storage nowhere")
        .exits(6)
        .says(&["does not have the storage", "nowhere"]);
    let _ = server.run("vm migrate 100 pve2 --target-storage local").exits(6).says(&["does not hold `images`"]);
    let _ = server.run("vm migrate 100 pve2 --target-storage fast").ok();
    let config = server.json("vm get 100")["config"].clone();
    assert_eq!(config["scsi0"], json!("fast:100/vm-100-disk-0.raw,size=16G"));
    let _ = server.run("container migrate 111 pve1 --target-storage local-lvm=fast").ok();
    assert!(server.json("container get 111")["config"]["rootfs"].as_str().unwrap().starts_with("fast:111/"));
}

#[test]
fn several_move_as_one_operation_that_is_gone_on_with() {
    let server = Env::new().serve("");
    let rows = server.run("vm migrate 100,102,103 --to pve3 --with-local-disks -o json").ok().json();
    assert_eq!(rows.as_array().unwrap().len(), 3);
    let listed = server.json("vm list --node pve3");
    assert_eq!(listed.as_array().unwrap().len(), 3, "{listed}");
    let newest = server.json("operation list --limit 1")[0].clone();
    assert_eq!((&newest["verb"], &newest["status"]), (&json!("migrate"), &json!("ok")));
    // Refused ones have a row of their own, and the others go.
    let rows = server.run("vm migrate 101,103 --to pve1 -o json").exits(1).json();
    assert_eq!((&rows[0]["status"], &rows[1]["status"]), (&json!("failed"), &json!("ok")));
}

#[test]
fn what_was_not_begun_goes_on_at_resume() {
    let env = Env::paced("6");
    let server = env.serve("");
    let mut moves = server.spawn("vm migrate 100,102 --to pve3 --with-local-disks --parallel 1");
    moves.until("task UPID:");
    moves.kill();
    eventually("the first is over", || (node(&server, "vm", 100) == "pve3").then_some(()));
    let id = server
        .json("operation list")
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["target"] == "100,102")
        .map(|row| row["id"].to_string());
    let _ = server.run(&format!("operation resume {}", id.expect("the operation over both"))).ok();
    assert_eq!(node(&server, "vm", 102), "pve3");
    assert_eq!(server.count("POST", "/migrate"), 2);
}

#[test]
fn ha_is_told_and_followed() {
    let server = Env::paced("0.3").serve("");
    let _ = server.run("ha resource create vm:100 --state started").ok();
    eventually("HA has noticed it", || {
        let rows = server.json("ha status");
        rows.as_array().unwrap().iter().any(|row| row["sid"] == "vm:100" && row["state"] == "started").then_some(())
    });
    let _ = server.run("vm migrate 100 pve2 --target-storage local-lvm").exits(6).says(&["is told the node alone"]);
    let moved = server.run("vm migrate 100 pve2 -o json").ok().says(&[
        "HA is told, and moves it when it next looks",
        ":hamigrate:100:",
        "waiting until it moves it",
        ":qmigrate:100:root@pam:",
    ]);
    assert_eq!(moved.json()["node"], json!("pve2"));
    assert!(moved.json()["upid"].as_str().unwrap().contains(":qmigrate:"), "{moved}");
    assert_eq!(node(&server, "vm", 100), "pve2");
}

#[test]
fn a_replica_decides_where_it_goes_live() {
    let server = Env::new().serve("");
    let _ = server.run("replication create 100-0 --target pve3").ok();
    let _ = server
        .run("vm migrate 100 pve2 --with-local-disks")
        .exits(6)
        .says(&["it runs, and is replicated to pve3 and not to pve2", "pvectl replication delete 100-0"]);
    let _ = server
        .run("vm migrate 100 pve3 --with-local-disks --dry-run")
        .ok()
        .says(&["only what changed since is copied"]);
}

#[test]
fn the_sandbox_refuses_as_a_server_does() {
    let server = Env::new().serve("");
    for (line, code, says) in [
        ("api post /nodes/pve1/qemu/100/migrate -p target=pve2", 1, "can't migrate running VM without --online"),
        ("api post /nodes/pve1/qemu/100/migrate -p target=pve1 -p online=1", 7, "target is local node."),
        ("api post /nodes/pve1/lxc/110/migrate -p target=pve2", 1, "without --online or --restart"),
        (
            "api post /nodes/pve1/qemu/100/migrate -p target=pve2 -p online=1 -p force=1",
            5,
            "Only root may use this option.",
        ),
        ("api post /nodes/pve1/qemu/100/migrate -p target=pve2 -p online=1", 9, "migration aborted"),
        ("api post /nodes/pve2/qemu/101/migrate -p target=pve1", 9, "migration aborted"),
    ] {
        let _ = server.run(line).exits(code).says(&[says]);
    }
    let failed = server.run("vm migrate 101 pve1 --no-checks").exits(9);
    let _ = failed.says(&["can't migrate local disk 'local-lvm:vm-101-disk-0': non-migratable snapshot exists"]);
    assert_eq!(node(&server, "vm", 101), "pve2");
    assert_eq!(server.json("vm get 101")["config"]["lock"], Value::Null);
}

#[test]
fn how_far_it_is_is_told_in_lines_where_no_bar_is_drawn() {
    let server = Env::paced("12").serve("");
    let mut moves = server.spawn("vm migrate 100 pve2 --with-local-disks");
    let said = moves.until("scsi0: ");
    assert!(said.contains(" of 16.00 GiB, ") && said.contains(" MiB/s, ") && said.contains(" left"), "{said}");
    moves.kill();
}

#[test]
fn a_node_is_emptied_and_what_stays_says_why() {
    let server = Env::new().serve("");
    let guests = |node: &str| -> Vec<u64> {
        let listed = |noun: &str| server.json(&format!("{noun} list --node {node} --template false"));
        let rows = [listed("vm"), listed("container")];
        let mut numbers: Vec<u64> =
            rows.iter().flat_map(|rows| rows.as_array().unwrap()).map(|row| row["vmid"].as_u64().unwrap()).collect();
        numbers.sort_unstable();
        numbers
    };
    assert_eq!(guests("pve1"), [100, 110]);
    let _ = server.run("node evacuate pve1 --with-local-disks").exits(2).says(&["--confirm"]);
    let dry = server.run("node evacuate pve1 --with-local-disks --restart --dry-run").ok().says(&[
        "vm/100 (web-1), 2.00 GiB: → pve3",
        "container/110 (proxy), 512.00 MiB: → pve3",
        "nothing was sent",
    ]);
    assert!(dry.stdout.contains("/nodes/pve1/qemu/100/migrate target=pve3 online=1 with-local-disks=1"), "{dry}");
    // Without the flags both have to stay, and nothing is sent.
    let stays = server.run("node evacuate pve1 --confirm -o json").exits(1).says(&[
        "vm/100 (web-1), 2.00 GiB: stays",
        "no node for vm/100 (web-1): pve2, pve3: it runs, and disks of it are only on node pve1",
        "no node for container/110 (proxy): pve2, pve3: it runs, and no container moves while it runs",
        "give --with-local-disks",
        "give --restart",
    ]);
    assert_eq!(stays.json().as_array().unwrap().len(), 2, "{stays}");
    assert_eq!(server.count("POST", "/migrate"), 0);
    let _ = server.run("node evacuate pve1 --with-local-disks --restart --confirm").ok();
    assert_eq!((guests("pve1"), guests("pve3")), (vec![], vec![100, 103, 110, 111]));
    let newest = server.json("operation list --limit 1")[0].clone();
    assert_eq!((&newest["verb"], &newest["status"]), (&json!("migrate"), &json!("ok")));
    let _ = server.run("node evacuate pve1 --confirm").ok().says(&["no guest leaves pve1"]);
    // The other node of a choice takes what the first one cannot.
    let _ = server.run("storage update local-lvm --nodes pve1,pve3").ok();
    let _ = server.run("node evacuate pve3 --running --with-local-disks --restart --confirm").ok();
    assert_eq!((guests("pve1"), guests("pve3")), (vec![100, 110], vec![103, 111]));
    let _ = server.run("node evacuate pve1 --to pve9 --confirm").exits(3).says(&["no such node: `pve9`"]);
    let _ = server.run("node evacuate pve9 --confirm").exits(3);
    let _ = server.run("node evacuate pve1 --to pve1 --confirm").exits(2).says(&["on pve1 already"]);
    let _ = server.run("node migrate-all pve1 pve3 --with-local-disks --restart --confirm").ok();
    assert_eq!(guests("pve3"), [100, 103, 110, 111]);
}

#[test]
fn memory_decides_where_guests_go_and_whether() {
    let server = Env::new().serve("");
    let _ = server.run("vm stop 100").ok();
    let _ = server.run("vm update 100 --memory 40960").ok();
    let _ = server.run("vm clone 100 second --vmid 104").ok();
    let _ = server.run("vm clone 100 third --vmid 105").ok();
    let _ = server.run("vm start 100,104,105 --no-checks").ok();
    let line = "node evacuate pve1 --running --with-local-disks --restart --dry-run";
    let dry = server.run(line).exits(6).says(&[
        "vm/100 (web-1), 40.00 GiB: → pve3",
        "vm/104 (second), 40.00 GiB: → pve2",
        "vm/105 (third), 40.00 GiB: stays",
        "no node for vm/105 (third): pve2: 40.00 GiB of memory wanted, 16.00 GiB left; pve3: 40.00 GiB of memory wanted, 24.00 GiB left",
        "--overcommit",
    ]);
    assert_eq!(dry.stdout.matches("/migrate target=").count(), 3, "two VMs and the container: {dry}");
    let _ = server.run(&format!("{line} --overcommit")).ok().says(&["vm/105 (third), 40.00 GiB: → pve3"]);
}
