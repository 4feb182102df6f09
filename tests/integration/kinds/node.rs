//! Nodes: the page about one, what it tells, and what is done to all of it.

use serde_json::json;

use crate::harness::Env;

#[test]
fn a_node_is_described_with_its_guests() {
    let env = Env::new();
    let _ = env.run("vm restart 100").ok();
    let page = env.run("node describe pve1").ok();
    for part in ["node pve1", "Status     online", "Memory", "Kernel", "Guests", "web-1", "Last tasks", "qmreboot"] {
        assert!(page.stdout.contains(part), "`{part}` is missing: {page}");
    }
    let data = env.json("node describe pve1");
    assert_eq!((&data["node"], &data["context"]), (&json!("pve1"), &json!("sandbox")));
    assert!(data["details"]["pveversion"].is_string() && data["guests"].is_array(), "{data}");
    assert_eq!(env.json("describe node pve1 pve2").as_array().unwrap().len(), 2);
    let _ = env.run("node describe pve9").exits(3).says(&["no such node: `pve9`", "pve1"]);
    // This host is a node too.
    let here = env.json("node list --context local");
    let name = here[0]["node"].as_str().unwrap();
    let page = env.run(&format!("node describe {name} --context local")).ok();
    assert!(page.stdout.contains("Memory"), "{page}");
}

#[test]
fn a_node_tells_its_tasks_log_services_and_certificates() {
    let env = Env::new();
    for _ in 0..3 {
        let _ = env.run("vm restart 100").ok();
    }
    let tasks = env.json("node tasks pve1 --limit 2");
    assert_eq!((tasks.as_array().unwrap().len(), &tasks[0]["type"]), (2, &json!("qmreboot")));
    let log = env.run("node syslog pve1 --limit 2").ok();
    let lines: Vec<&str> = log.stdout.lines().collect();
    assert!(lines.len() == 2 && lines[1].contains("end task"), "{log}");
    let services = env.run("node services pve1").ok();
    assert!(services.stdout.contains("pveproxy") && services.stdout.contains("running"), "{services}");
    let certificates = env.json("node certificates pve1");
    assert_eq!(certificates[0]["filename"], "pve-ssl.pem");
    let _ = env.run("node services pve9").exits(3);
}

#[test]
fn services_are_restarted_in_a_task() {
    let env = Env::new();
    let row = env.json("node service restart pve1 pvestatd");
    assert!(row["status"] == "ok" && row["upid"].as_str().unwrap().contains(":srvrestart:pvestatd:"), "{row}");
    let _ = env.run("node service stop pve1 pvestatd").exits(2).says(&["--confirm"]);
    let _ = env.run("node service stop pve1 pvestatd --confirm").ok();
    let _ = env.run("node service restart pve1 pveprox").exits(3).says(&["no service `pveprox`", "pveproxy"]);
    let _ = env.run("node service jump pve1 pveproxy").exits(2);
}

#[test]
fn all_guests_of_a_node_stop_and_start() {
    let env = Env::new();
    let dry = env.run("node stop-all pve1 --dry-run").ok();
    assert!(dry.stdout.contains("goes with it: vm/100 (web-1)"), "{dry}");
    assert!(dry.stdout.contains("POST /nodes/pve1/stopall"), "{dry}");
    let _ = env.run("node stop-all pve1").exits(2).says(&["--confirm"]);
    let _ = env.run("node stop-all pve1 --confirm").ok();
    assert_eq!(env.json("vm get 100")["status"], "stopped");
    let _ = env.run("node start-all pve1").ok();
    assert_eq!(env.json("vm get 100")["status"], "running");
    let dry = env.run("node stop-all pve1 --vms 100 --shutdown-timeout 60 --dry-run").ok();
    assert!(dry.stdout.contains("vms=100") && dry.stdout.contains("timeout=60"), "{dry}");
}

#[test]
fn a_nodes_power_is_asked_about_with_what_runs_there() {
    let env = Env::new();
    let dry = env.run("node shutdown pve1 --dry-run").ok();
    assert!(dry.stdout.contains("goes with it: vm/100 (web-1)"), "{dry}");
    assert!(dry.stdout.contains("POST /nodes/pve1/status command=shutdown"), "{dry}");
    let _ = env.run("node reboot pve1").exits(2).says(&["--confirm"]);
    let _ = env.run("node reboot pve1 --confirm").ok();
    let _ = env.run("node wake pve1").exits(6).says(&["it is online already"]);
    let rows = env.json("operation list");
    assert_eq!((&rows[0]["verb"], &rows[0]["target"]), (&json!("reboot"), &json!("node/pve1")));
    let _ = env.run("node reboot pve1 --context local --confirm").exits(2);
}

#[test]
fn a_node_tells_what_it_is_made_of_and_what_there_is_to_update() {
    let env = Env::new();
    for (verb, key, value) in [
        ("disks", "devpath", "/dev/nvme0n1"),
        ("pci", "id", "0000:01:00.0"),
        ("usb", "vendid", "0529"),
        ("updates", "Package", "ca-certificates"),
        ("versions", "Package", "proxmox-ve"),
    ] {
        let rows = env.json(&format!("node {verb} pve2"));
        assert_eq!((&rows[0][key], &rows[0]["node"]), (&json!(value), &json!("pve2")), "{rows}");
        let _ = env.run(&format!("node {verb} pve9")).exits(3).says(&["no such node: `pve9`"]);
        let _ = env.run(&format!("node {verb} pve1 --context local")).exits(2);
    }
}
