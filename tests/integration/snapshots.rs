//! `vm|container snapshot …`: taken, listed, described, gone back to, removed, on the sandbox.

use serde_json::{Value, json};

use crate::harness::Env;

/// The names of a guest's snapshots, in the order in which they are listed.
fn names(env: &Env, guest: &str) -> Vec<String> {
    env.run(&format!("{guest} -o name")).ok().stdout.lines().map(str::to_owned).collect()
}

#[test]
fn a_snapshot_is_taken_described_gone_back_to_and_removed() {
    let env = Env::new();
    assert_eq!(names(&env, "vm snapshot list 101"), ["installed", "before-upgrade"]);
    let made = env.run("vm snapshot create web-2 now --description hello -o json").ok();
    assert_eq!((&made.json()["verb"], &made.json()["changed"]), (&json!("snapshot"), &json!(true)));
    assert!(made.stderr.contains("✓ vm/101 (web-2) snapshot taken"), "{made}");
    let rows = env.json("vm snapshot list 101");
    let row = |name: &str| rows.as_array().unwrap().iter().find(|row| row["name"] == name).unwrap().clone();
    let now = row("now");
    assert_eq!((&now["parent"], &now["description"]), (&json!("before-upgrade"), &json!("hello")));
    assert_eq!((&now["current"], &row("installed")["current"]), (&json!(1), &json!(0)));
    assert_eq!((&now["vmstate"], &now["vmid"], &now["context"]), (&json!(0), &json!(101), &json!("sandbox")));
    let table = env.run("vm snapshot list 101 --sort-by name --field-selector current=1").ok().stdout;
    assert!(table.contains("PARENT") && table.contains("now") && !table.contains("installed "), "{table}");

    let _ = env.run("vm snapshot update 101 now --description other").ok();
    let _ = env.run("vm snapshot update 101 now --description other").ok().says(&["nothing to change"]);
    let got = env.json("vm snapshot get 101 now");
    assert_eq!((&got["description"], &got["config"]["cores"]), (&json!("other"), &json!(2)));

    let _ = env.run("vm update 101 --cores 4").ok();
    let dry = env.run("vm snapshot rollback 101 installed --start --dry-run").ok();
    for part in
        ["cores: 4 → 2", "disk scsi0", "what came after snapshot installed", "snapshot/installed/rollback start=1"]
    {
        assert!(dry.stdout.contains(part), "`{part}` is missing: {dry}");
    }
    let data = env.json("vm snapshot rollback 101 installed --dry-run");
    assert_eq!(data["loss"]["since"]["snapshot"], "installed");
    assert_eq!(data["loss"]["disks"][0]["key"], "scsi0");
    let _ = env.run("vm snapshot rollback 101 installed --start --confirm").ok();
    let back = env.json("vm get 101");
    assert_eq!((&back["config"]["cores"], &back["status"]), (&json!(2), &json!("running")));
    // What the configuration was is kept for whoever wants it back.
    let rows = env.json("operation list");
    let row = rows.as_array().unwrap().iter().find(|row| row["verb"] == "rollback").unwrap();
    let shown = env.json(&format!("operation show {}", row["id"]));
    assert_eq!(shown["config_before"]["cores"], 4, "{shown}");

    // Where it was gone back to is where the next one stands.
    let _ = env.run("vm snapshot create 101 branch --memory").ok();
    assert_eq!(names(&env, "vm snapshot list 101"), ["installed", "before-upgrade", "now", "branch"]);
    assert_eq!(env.json("vm snapshot get 101 branch")["vmstate"], 1);
    let _ = env.run("vm snapshot delete 101 installed --confirm").ok();
    let rows = env.json("vm snapshot list 101");
    let parents: Vec<&Value> = rows.as_array().unwrap().iter().map(|row| &row["parent"]).collect();
    assert_eq!(parents, [&Value::Null, &json!("before-upgrade"), &Value::Null]);
}

#[test]
fn what_does_not_go_says_why_and_has_its_exit_code() {
    let env = Env::new();
    for (line, code, parts) in [
        ("create 101 installed", 6, &["snapshot name 'installed' already used"][..]),
        ("create 101 current", 2, &["reserved name"]),
        ("create 101 2nd", 2, &["`snapname`"]),
        ("create 999 new", 3, &["no such vm"]),
        ("create 101", 2, &["SNAPSHOT"]),
        ("rollback 101 instaled --confirm", 3, &["no snapshot 'instaled'", "did you mean `installed`"]),
        ("rollback 100 x-y --confirm", 3, &["it has none at all"]),
        ("rollback 101 installed", 2, &["give --confirm"]),
        ("delete 101 installed", 2, &["give --confirm"]),
        ("delete 101 nowhere --confirm", 3, &["no snapshot 'nowhere'"]),
        ("update 101 nowhere --description a", 3, &["no snapshot 'nowhere'"]),
        ("get 101 nowhere", 3, &["no snapshot 'nowhere'"]),
        ("get 100,101 installed", 2, &["one guest"]),
    ] {
        let _ = env.run(&format!("vm snapshot {line}")).exits(code).says(parts);
    }
    assert_eq!(names(&env, "vm snapshot list 101"), ["installed", "before-upgrade"]);
    let _ = env.run("vm create --vmid 150 --name gold").ok();
    let _ = env.run("api post /nodes/{node}/qemu/150/template").ok();
    let _ = env.run("vm snapshot create 150 a-1").exits(6).says(&["it is a template"]);
    let _ = env.run("container snapshot create 110 a-1 --memory").exits(2).says(&["--memory"]);
    // A locked guest is left alone, and its holder named.
    let _ = env.run("vm suspend 100").ok();
    let _ = env.run("vm snapshot create 100 a-1").exits(6).says(&["locked (suspended)", "vm resume 100"]);
}

/// ZFS goes back only to the newest: what is in the way is told before anything is sent, and not by the task.
#[test]
fn beneath_newer_snapshots_it_goes_only_where_the_storage_can() {
    let server = Env::new().serve("");
    let _ = server.run("storage create tank --type zfspool --pool tank --content images,rootdir").ok();
    let _ = server.run("vm snapshot rollback 101 installed --confirm").ok().says(&["taken later stay: before-upgrade"]);
    let _ = server.run("vm create --vmid 150 --name z --node pve2 --scsi0 tank:4").ok();
    for name in ["first", "second"] {
        let _ = server.run(&format!("vm snapshot create 150 {name}")).ok();
    }
    let changes = server.changes().len();
    let refused = server.run("vm snapshot rollback 150 first --confirm").exits(6);
    let _ = refused.says(&["`tank` (zfspool)", "later ones are there: second", "pvectl vm snapshot delete 150 second"]);
    assert_eq!(server.changes().len(), changes, "nothing was sent");
    let forced = server.run("api post /nodes/pve2/qemu/150/snapshot/first/rollback").exits(9);
    let _ = forced.says(&["'first' is not most recent snapshot on 'tank:", "delete the newer ones first"]);
    let _ = server.run("vm snapshot rollback 150 second --confirm").ok();
    for (noun, name) in [("vm", "pending"), ("vm", "current"), ("container", "vzdump"), ("container", "current")] {
        let vmid = if noun == "vm" { 100 } else { 110 };
        let _ = server.run(&format!("{noun} snapshot create {vmid} {name}")).exits(2).says(&["reserved name"]);
        let path = if noun == "vm" { "qemu/100" } else { "lxc/110" };
        let _ = server.run(&format!("api post /nodes/pve1/{path}/snapshot -p snapname={name}")).exits(1);
    }
}

#[test]
fn containers_have_snapshots_and_several_guests_are_one_command() {
    let env = Env::new();
    let _ = env.run("container snapshot create 110 first --description text").ok();
    assert_eq!(names(&env, "container snapshot list 110"), ["first"]);
    let _ = env.run("container snapshot rollback 110 first --confirm").ok();
    let _ = env.run("container snapshot delete 110 first --confirm").ok();
    assert_eq!(names(&env, "container snapshot list 110"), [""; 0]);
    let made = env.run("vm snapshot create 100-102 nightly -o json").ok().json();
    assert_eq!(made.as_array().unwrap().len(), 3);
    assert_eq!(names(&env, "vm snapshot list 100 102"), ["nightly", "nightly"]);
    let upid = env.run("vm snapshot create 100 again --no-wait").ok().stdout;
    assert!(upid.contains(":qmsnapshot:100:"), "{upid}");
}

#[test]
fn names_of_snapshots_are_completed() {
    let env = Env::new().with("PVECTL_COMPLETE_WAIT", "2m").with("PVECTL_COMPLETE", "fish");
    let values = |words: &[&str]| {
        let said = env.words(words).ok().raw;
        said.lines().map(|line| line.split('\t').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(values(&["pvectl", "vm", "snapshot", "rollback", "web-2", ""]), ["installed", "before-upgrade"]);
    assert_eq!(values(&["pvectl", "vm", "snapshot", "delete", "101", "b"]), ["before-upgrade"]);
    assert!(values(&["pvectl", "vm", "snapshot", "get", "web-"]).contains(&"web-1".to_owned()));
    assert_eq!(values(&["pvectl", "vm", "snapshot", "create", "101", ""]), [""; 0]);
}
