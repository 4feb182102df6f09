//! A served host beside a recorded server: what it answers has the same fields of the same types, and its refusals have the
//! same words.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{Served, plain::Asker};

const GET: &str = include_str!("../../../fixtures/pve/recordings/get.json");
const CALLS: &str = include_str!("../../../fixtures/pve/recordings/calls.json");

/// A path that was recorded and ours, and the fields of the recording that a host without them does not give.
type Case = (&'static str, &'static str, &'static [&'static str]);

/// What QEMU alone tells, what the kernel tells of control groups, and what was not given.
const QEMU: &[&str] =
    &[".pressure", ".agent", ".ballooninfo", ".blockstat.", ".nics", ".proxmox-support", ".running-", ".tags"];

const CASES: &[Case] = &[
    ("/version", "/version", &[]),
    // Nothing was granted to anybody.
    ("/access/acl", "/access/acl", &["[]"]),
    ("/access/domains", "/access/domains", &[]),
    ("/access/permissions", "/access/permissions", &["./vms/"]),
    ("/access/roles", "/access/roles", &[]),
    ("/access/users/alice@pve", "/access/users/root@pam", &[".email"]),
    ("/cluster/nextid", "/cluster/nextid", &[]),
    // There are no containers, pools and networks.
    ("/cluster/resources", "/cluster/resources", &["[]", "[qemu].pool", "[qemu].tags", "[node].cgroup-mode"]),
    ("/cluster/status", "/cluster/status", &[".ip"]),
    // Whoever works on the host has no token.
    ("/cluster/tasks", "/cluster/tasks", &[".tokenid"]),
    ("/nodes", "/nodes", &[".ssl_fingerprint"]),
    ("/nodes/pve1", "/nodes/{node}", &["[]"]),
    ("/nodes/pve1/lxc", "/nodes/{node}/lxc", &["[]"]),
    ("/nodes/pve1/qemu", "/nodes/{node}/qemu", &[".pressure", ".pid", ".tags"]),
    ("/nodes/pve1/qemu/100", "/nodes/{node}/qemu/100", &[]),
    // What was not given.
    (
        "/nodes/pve1/qemu/100/config",
        "/nodes/{node}/qemu/100/config",
        &[".agent", ".boot", ".meta", ".net0", ".onboot", ".ostype", ".scsihw", ".smbios1", ".tags", ".vmgenid"],
    ),
    ("/nodes/pve1/qemu/100/pending", "/nodes/{node}/qemu/100/pending", &[]),
    ("/nodes/pve1/qemu/100/snapshot", "/nodes/{node}/qemu/100/snapshot", &[]),
    ("/nodes/pve1/qemu/100/status", "/nodes/{node}/qemu/100/status", &[]),
    ("/nodes/pve1/qemu/100/status/current", "/nodes/{node}/qemu/100/status/current", QEMU),
    ("/nodes/pve1/storage", "/nodes/{node}/storage", &[]),
    ("/nodes/pve1/storage/dir1", "/nodes/{node}/storage/local", &[]),
    ("/nodes/pve1/storage/dir1/content", "/nodes/{node}/storage/local/content", &[".parent"]),
    ("/nodes/pve1/storage/dir1/status", "/nodes/{node}/storage/local/status", &[]),
    ("/nodes/pve1/tasks", "/nodes/{node}/tasks", &[".tokenid"]),
    ("/nodes/pve1/status", "/nodes/{node}/status", &[]),
    ("/nodes/pve1/time", "/nodes/{node}/time", &[]),
    // It is no file of a cluster.
    ("/storage", "/storage", &[".digest", ".path", ".prune-backups"]),
];

/// The types of everything in an answer, by its path.
fn types(value: &Value, path: &str, found: &mut BTreeMap<String, BTreeSet<&'static str>>) {
    let name = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(rows) => {
            for row in rows {
                // Rows of several sorts are in one list.
                let kind =
                    row["type"].as_str().filter(|kind| path.is_empty() && ["node", "qemu", "storage"].contains(kind));
                types(row, &format!("{path}[{}]", kind.unwrap_or_default()), found);
            }
            "array"
        }
        Value::Object(map) => {
            map.iter().for_each(|(key, value)| types(value, &format!("{path}.{key}"), found));
            "object"
        }
    };
    found.entry(path.to_owned()).or_default().insert(name);
}

/// Asks as root.
fn ask(asker: &Asker, method: &str, path: &str, body: &str) -> (u16, Value) {
    let authorization = format!("PVEAPIToken={}", asker.token);
    let headers = [("authorization", authorization.as_str()), ("content-type", "application/x-www-form-urlencoded")];
    let answer = asker.raw(method, &format!("/api2/json{path}"), &headers, body.to_owned());
    (answer.status, serde_json::from_str(&answer.text).unwrap_or_default())
}

#[test]
fn answers_have_the_recorded_fields() {
    let served = Served::start();
    let _ =
        served.host.env.run("vm create --name web --memory 256 --kernel kernel --scsi0 local:1 --cores 2 --start").ok();
    let _ = served.host.env.run("vm snapshot create web before").ok();
    let _ = served.host.env.run("vm update web --memory 512").ok();
    let asker = Asker::of(&served);
    let node = served.said("node");
    let recorded: Vec<Value> = serde_json::from_str(GET).unwrap();
    let mut problems = Vec::new();
    for (theirs_at, ours_at, without) in CASES {
        let (mut theirs, mut ours) = (BTreeMap::new(), BTreeMap::new());
        let entry = recorded.iter().find(|entry| entry["path"] == *theirs_at);
        types(&entry.unwrap_or_else(|| panic!("{theirs_at} is not recorded"))["body"]["data"], "", &mut theirs);
        let (status, body) = ask(&asker, "GET", &ours_at.replace("{node}", node), "");
        assert_eq!(status, 200, "{ours_at}: {body}");
        types(&body["data"], "", &mut ours);
        let missing = theirs
            .keys()
            .filter(|path| !ours.contains_key(*path))
            .filter(|path| !without.iter().any(|key| path.contains(key)));
        problems.extend(missing.map(|path| format!("{ours_at}: {path} is missing")));
        for (path, have) in &ours {
            match theirs.get(path) {
                // What there is none of is null there.
                Some(want) if have.is_subset(want) || want.contains("null") => {}
                Some(want) => problems.push(format!("{ours_at}: {path} is {have:?}, recorded {want:?}")),
                None => {}
            }
        }
    }
    assert_eq!(problems, Vec::<String>::new());
}

#[test]
fn a_volume_has_the_recorded_fields() {
    let served = Served::start();
    let _ = served.host.env.run("vm create --name web --memory 256 --kernel kernel --scsi0 local:1").ok();
    let asker = Asker::of(&served);
    let content = format!("/nodes/{}/storage/local/content", served.said("node"));
    let (_, all) = ask(&asker, "GET", &content, "");
    let row = &all["data"][0];
    assert_eq!(row["path"], Value::Null, "{row}");
    let recorded: Vec<Value> = serde_json::from_str(CALLS).unwrap();
    let entry = recorded.iter().find(|entry| entry["title"] == "vol info").unwrap();
    let volid = row["volid"].as_str().unwrap();
    // By its whole name and by what follows the storage.
    for name in [volid, volid.split_once(':').unwrap().1] {
        let (status, said) = ask(&asker, "GET", &format!("{content}/{}", name.replace('/', "%2F")), "");
        assert_eq!(status, 200, "{said}");
        let (mut theirs, mut ours) = (BTreeMap::new(), BTreeMap::new());
        types(&entry["body"]["data"], "", &mut theirs);
        types(&said["data"], "", &mut ours);
        assert_eq!(ours, theirs);
        assert_eq!((&said["data"]["size"], &said["data"]["used"]), (&row["size"], &row["used"]));
        assert!(std::fs::exists(said["data"]["path"].as_str().unwrap()).unwrap(), "{said}");
    }
    let (status, said) = ask(&asker, "GET", &format!("{content}/local:100%2Fvm-100-disk-9.raw"), "");
    assert_eq!(status, 500, "{said}");
    assert!(said["message"].as_str().unwrap().contains("does not exist"), "{said}");
    // Whoever may see neither the VM nor the storage learns nothing of it.
    let token = served.remote.run("token create root@pam eyes -o json").ok().json();
    let secret = format!("PVEAPIToken=root@pam!eyes={}", token["value"].as_str().unwrap());
    let path = format!("/api2/json{content}/{}", volid.replace('/', "%2F"));
    let status_of = |path: &str| asker.raw("GET", path, &[("authorization", secret.as_str())], String::new()).status;
    let look = || status_of(&path);
    assert_eq!((look(), status_of(&path.replace("disk-0", "disk-9"))), (403, 403));
    let _ = served.remote.run("acl add /vms/100 --token root@pam!eyes --role PVEAuditor").ok();
    assert_eq!(look(), 200);
}

#[test]
fn how_busy_the_processors_are_is_told_where_the_node_is() {
    let served = Served::start();
    let asker = Asker::of(&served);
    let node = served.said("node").to_owned();
    // Whatever else this machine does, this thread is busy for longer than the shortest look.
    let busy = std::time::Instant::now();
    while busy.elapsed() < std::time::Duration::from_millis(700) {
        std::hint::spin_loop();
    }
    crate::harness::eventually("the processors were busy", || {
        let (_, nodes) = ask(&asker, "GET", "/nodes", "");
        let cpu = nodes["data"][0]["cpu"].as_f64().unwrap();
        assert!((0.0..=1.0).contains(&cpu), "{nodes}");
        (cpu > 0.0).then_some(())
    });
    let (_, all) = ask(&asker, "GET", "/cluster/resources?type=node", "");
    let (_, status) = ask(&asker, "GET", &format!("/nodes/{node}/status"), "");
    assert!(all["data"][0]["cpu"].is_number() && status["data"]["cpu"].is_number(), "{all} {status}");
}

#[test]
fn refusals_have_the_recorded_words() {
    let served = Served::start();
    let _ = served.host.env.run("vm create --name web --memory 256 --kernel kernel --start").ok();
    let asker = Asker::of(&served);
    let node = served.said("node");
    let recorded: Vec<Value> = serde_json::from_str(CALLS).unwrap();
    let unknown = "/nodes/{node}/tasks/UPID:pve1:00000001:00000001:6B000000:qmstart:100:root@pam:/status";
    for (title, method, path, body) in [
        ("param_exc (raise_param_exc)", "GET", "/cluster/nextid?vmid=100", ""),
        ("vm missing config", "GET", "/nodes/{node}/qemu/999/config", ""),
        ("vm missing status", "GET", "/nodes/{node}/qemu/999/status/current", ""),
        ("vm exists", "POST", "/nodes/{node}/qemu", "vmid=100"),
        ("missing user", "GET", "/access/users/nobody@pve", ""),
        ("status bad upid", "GET", "/nodes/{node}/tasks/UPID:bogus/status", ""),
        ("status unknown upid", "GET", unknown, ""),
        ("acl bad role", "PUT", "/access/acl", "path=/vms/100&users=root@pam&roles=Nope"),
        ("destroy running", "DELETE", "/nodes/{node}/qemu/100", ""),
        ("storage missing", "GET", "/storage/nope", ""),
        ("node storage missing", "GET", "/nodes/{node}/storage/nope/status", ""),
        ("empty PUT", "PUT", "/nodes/{node}/qemu/100/config", ""),
        ("bad storage", "PUT", "/nodes/{node}/qemu/100/config", "scsi1=nostore:1"),
    ] {
        let entry = recorded.iter().find(|entry| entry["title"] == title).unwrap();
        let (status, said) = ask(&asker, method, &path.replace("{node}", node), body);
        let wanted = entry["body"].to_string().replace("pve1", node);
        let wanted: Value = serde_json::from_str(&wanted).unwrap();
        assert_eq!((u64::from(status), &said), (entry["status"].as_u64().unwrap(), &wanted), "{title}");
    }
}
