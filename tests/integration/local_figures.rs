//! What is counted of VMs on this host, and what is cleaned up after them.

use std::{
    fs::{self, File},
    path::Path,
};

use serde_json::json;

use crate::{
    harness::{Env, eventually},
    local::{Host, stand_in},
    local_watch::{CREATE, boot_text, over_both, talking},
};

fn figures(vmm: &Path) {
    let host = talking(vmm);
    let env = &host.env;
    env.write(
        "programs/stand-in.json",
        &json!({"serial": boot_text(), "counters": {"scsi0": {"read_bytes": 4096, "write_bytes": u64::MAX}}})
            .to_string(),
    );
    let _ = env.run(&format!("{CREATE} --scsi0 local:1")).ok();
    let off = env.run("vm metrics web --interval 0 -o json").ok().json();
    assert_eq!((&off["status"], &off["uptime"], &off["mem"]), (&json!("stopped"), &json!(0), &json!(0)));
    assert_eq!(env.run("vm metrics -o json").ok().json(), json!([]), "all that run");
    let _ = env.run("vm metrics web --since 1h").exits(2).says(&["no history of figures is kept here"]);
    let _ = env.run("vm start web").ok();
    let row = eventually("it has run for a second", || {
        let row = env.run("vm metrics web --interval 0.5s -o json").ok().json();
        (row["uptime"].as_u64()? >= 1).then_some(row)
    });
    assert!(row["mem"].as_u64().unwrap() > 100_000, "{row}");
    assert!((0.0..=1.0).contains(&row["cpu"].as_f64().unwrap()), "{row}");
    assert_eq!((&row["maxmem"], &row["netin_rate"]), (&json!(128 << 20), &json!(0.0)));
    assert!(row["blockstat"]["scsi0"]["rd_operations"].is_u64(), "{row}");
    assert_eq!(row["diskwrite"], 0, "the largest number is no value");
    if vmm == stand_in() {
        assert_eq!((&row["diskread"], &row["blockstat"]["scsi0"]["rd_bytes"]), (&json!(4096), &json!(4096)));
    }
    let listed = env.run("vm list -o json").ok().json();
    assert!(listed[0]["uptime"].as_u64().unwrap() >= 1 && listed[0]["mem"].as_u64().unwrap() > 100_000, "{listed}");
    let page = env.run("vm describe web").ok().stdout;
    for part in ["On this host", "directory", "scsi0", "vm-100-disk-0.raw (raw, 1.00 GiB, ", "pid", "pvectl vm console"]
    {
        assert!(page.contains(part), "`{part}` is missing:\n{page}");
    }
    let _ = env.run("vm stop web").ok();
    let here = env.run("vm describe web -o json").ok().json()["here"].clone();
    assert_eq!((&here["ended"], &here["starts"]), (&json!("it was stopped"), &json!(1)));
}

#[test]
fn figures_are_measured_and_described() {
    over_both(figures);
}

#[test]
fn figures_of_a_cluster_are_the_servers() {
    let env = Env::new();
    let rows = env.json("vm metrics --interval 0");
    let rows = rows.as_array().unwrap();
    assert!(!rows.is_empty() && rows.iter().all(|row| row["status"] != "stopped"));
    let status = env.json("vm get 100");
    assert_eq!(rows[0]["maxmem"], status["maxmem"]);
    let _ = env.run("container metrics 110 --interval 0").ok();
    let _ = env.run("vm metrics nobody").exits(3);
    let _ = env.run("vm metrics 100 --interval soon").exits(2);
}

#[test]
fn what_was_left_is_told_and_removed_and_nothing_else() {
    let host = Host::new(&stand_in());
    let env = &host.env;
    let _ = env.run("host gc").ok().says(&["nothing was left"]);
    for (name, start) in [("web", "--start"), ("db", "")] {
        let line = "--memory 128 --kernel kernel --scsi0 local:1";
        let _ = env.run(&format!("vm create --name {name} {line} {start}")).ok();
    }
    let _ = env.run("host gc --confirm").ok().says(&["nothing was left"]);
    let (state, run) = (host.state(), env.path("run/pvectl"));
    // A VM that is gone with all that proves it: its row.
    let web = host.status("web")["pid"].as_u64().unwrap() as u32;
    let forget = |name: &str| {
        let path = state.join("local.db");
        let sql = format!("DELETE FROM vm WHERE config LIKE '%\"name\":\"{name}\"%'");
        rusqlite(&path, &sql);
    };
    forget("web");
    for (path, bytes) in [
        ("storage/local/images/101/vm-101-disk-7.raw", 4096),
        ("storage/local/images/101/vm-101-disk-8.raw.tmp", 4096),
        ("storage/local/images/999/vm-999-disk-0.qcow2", 4096),
        ("images/half.partial", 100),
        ("vms/11111111-2222-3333-4444-555555555555/vmm-1.log", 10),
        ("vms/not-ours/file", 10),
        ("storage/local/images/notes/file", 10),
    ] {
        fs::create_dir_all(state.join(path).parent().unwrap()).unwrap();
        fs::write(state.join(path), vec![1; bytes]).unwrap();
    }
    for name in ["555-0123abcd", "somebody", "555-0123"] {
        fs::create_dir_all(run.join(name)).unwrap();
        fs::write(run.join(name).join("api.sock"), "").unwrap();
    }
    // One is being made right now.
    let making = state.join("storage/local/images/101/vm-101-disk-9.raw.tmp");
    let held = File::create(&making).unwrap();
    held.lock().unwrap();

    let listed = env.run("host gc -o json").ok().says(&["--confirm"]).json();
    let kinds = |rows: &serde_json::Value| {
        let mut kinds: Vec<String> =
            rows.as_array().unwrap().iter().map(|row| row["kind"].as_str().unwrap().to_owned()).collect();
        kinds.sort();
        kinds
    };
    let want = ["half-made", "half-made", "sockets", "sockets", "state", "state", "vmm", "volume", "volume", "volume"];
    assert_eq!(kinds(&listed), want, "{listed:#}");
    assert!(listed.as_array().unwrap().iter().all(|row| row["removed"] == false && row["reason"].is_string()));
    assert_eq!(host.processes(), [web], "listing ends nobody");

    let _ = env.run("host gc --confirm --field-selector kind=tap").exits(2);
    let removed = env.run("host gc --confirm -o json").ok().json();
    assert!(removed.as_array().unwrap().iter().all(|row| row["removed"] == true), "{removed:#}");
    assert_eq!(kinds(&removed), want);
    assert!(host.processes().is_empty());
    drop(held);
    for there in ["storage/local/images/101/vm-101-disk-0.raw", "vms/not-ours/file", "storage/local/images/notes/file"]
    {
        assert!(state.join(there).exists(), "{there}");
    }
    assert!(making.exists() && run.join("somebody").exists() && run.join("555-0123").exists());
    fs::remove_file(making).unwrap();
    let _ = env.run("host gc").ok().says(&["nothing was left"]);
    let _ = env.run("vm start db").ok();
}

#[test]
fn what_is_of_another_state_directory_is_not_left_behind() {
    let host = Host::new(&stand_in());
    let other = host.env.with("XDG_STATE_HOME", host.env.path("other").to_str().unwrap());
    let _ = host.env.run("vm create --name web --memory 128 --kernel kernel --scsi0 local:1 --start").ok();
    // Off, it leaves what only itself may take away.
    let _ = host.env.run("vm stop web --yes").ok();
    let sockets = fs::read_dir(host.env.path("run/pvectl")).unwrap().next().unwrap().unwrap().path();
    fs::write(sockets.join("api.sock"), "").unwrap();
    let _ = other.run("host gc").ok().says(&["nothing was left"]);
    let _ = other.run("host gc --confirm").ok().says(&["nothing was left"]);
    assert!(sockets.join("api.sock").exists());
    assert!(host.env.run("host gc").ok().stdout.contains("its VM is off"));

    // What nobody has any more is everybody's.
    fs::remove_dir_all(host.state()).unwrap();
    assert!(other.run("host gc --confirm").ok().stdout.contains("there is no VM 100"));
    assert!(!sockets.exists());
}

/// Changes the database behind everybody's back.
fn rusqlite(path: &Path, sql: &str) {
    let connection = ::rusqlite::Connection::open(path).unwrap();
    connection.execute_batch(sql).unwrap();
}
