//! What a real Proxmox VE 9.2 answered: every type keeps all of it, every refusal has its class.

use std::{collections::BTreeMap, fs, path::Path};

use insta::assert_snapshot;
use pvectl::{
    client::{Permissions, Version},
    model::{
        Error, Guest, GuestConfig, LogLine, Node, Pending, Snapshot, Storage, TaskEntry, TaskStatus, Vmid, Volume,
    },
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

fn recording(name: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/pve/recordings").join(name);
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// Reads a value as a type and writes it again.
type Back = fn(&Value) -> Result<Value, serde_json::Error>;

/// Whether a row is of the type.
type Wanted = fn(&Value) -> bool;

fn back<T: Serialize + DeserializeOwned>(value: &Value) -> Result<Value, serde_json::Error> {
    serde_json::to_value(serde_json::from_value::<T>(value.clone())?)
}

/// The answers that are read, as which type each of their rows; the last column tells which rows.
const TYPES: &[(&str, Back, Wanted)] = &[
    ("/cluster/resources", back::<Guest>, |row| row.get("vmid").is_some()),
    ("/cluster/nextid", back::<Vmid>, |_| true),
    ("/cluster/tasks", back::<TaskEntry>, |_| true),
    ("/access/permissions", back::<Permissions>, |_| true),
    ("/nodes", back::<Node>, |_| true),
    ("/nodes/{node}/tasks", back::<TaskEntry>, |_| true),
    ("/nodes/{node}/tasks/{upid}/status", back::<TaskStatus>, |_| true),
    ("/nodes/{node}/tasks/{upid}/log", back::<LogLine>, |_| true),
    ("/nodes/{node}/storage", back::<Storage>, |_| true),
    ("/nodes/{node}/storage/{storage}/content", back::<Volume>, |_| true),
    ("/nodes/{node}/qemu/{vmid}/config", back::<GuestConfig>, |_| true),
    ("/nodes/{node}/lxc/{vmid}/config", back::<GuestConfig>, |_| true),
    ("/nodes/{node}/qemu/{vmid}/pending", back::<Pending>, |_| true),
    ("/nodes/{node}/lxc/{vmid}/pending", back::<Pending>, |_| true),
    ("/nodes/{node}/qemu/{vmid}/snapshot", back::<Snapshot>, |_| true),
    ("/nodes/{node}/lxc/{vmid}/snapshot", back::<Snapshot>, |_| true),
    ("/version", back::<Version>, |_| true),
];

/// The same value, whichever of its ways Perl chose to write it in: `1`, `"1"`, `1.0`, `true`.
fn same(a: &Value, b: &Value) -> bool {
    let number = |value: &Value| match value {
        Value::Bool(truth) => Some(f64::from(u8::from(*truth))),
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    a == b || number(a).is_some() && number(a) == number(b)
}

/// What of a value is missing or different after it went through a type.
fn lost(before: &Value, after: &Value, at: &str, found: &mut Vec<String>) {
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => {
            for (key, value) in before {
                match after.get(key) {
                    Some(other) => lost(value, other, &format!("{at}.{key}"), found),
                    None => found.push(format!("{at}.{key} is lost")),
                }
            }
        }
        (before, after) if same(before, after) => {}
        (before, after) => found.push(format!("{at} was {before} and is {after}")),
    }
}

#[test]
fn the_types_lose_nothing() {
    let recording = recording("get.json");
    let mut problems = Vec::new();
    for (template, back, wanted) in TYPES {
        let mut seen = 0;
        let answers = recording.iter().filter(|entry| entry["template"] == *template && entry["status"] == 200);
        for data in answers.map(|entry| &entry["body"]["data"]) {
            let rows = data.as_array().map_or(std::slice::from_ref(data), Vec::as_slice);
            for row in rows.iter().filter(|row| wanted(row)) {
                seen += 1;
                match back(row) {
                    Ok(after) => lost(row, &after, template, &mut problems),
                    Err(error) => problems.push(format!("{template}: {error}: {row}")),
                }
            }
        }
        assert!(seen > 0, "{template} is not recorded");
    }
    problems.sort();
    problems.dedup();
    // What is known to be left out: the console's settings of a server are of no use to anybody here.
    problems.retain(|problem| !problem.starts_with("/version.console"));
    assert_eq!(problems, [""; 0]);
}

/// Every recorded refusal by the exit code that it gets, in the words that are shown.
#[test]
fn every_refusal_has_its_class() {
    let mut by_code: BTreeMap<u8, Vec<String>> = BTreeMap::new();
    for entry in recording("calls.json") {
        let Some(status) = entry["status"].as_u64().filter(|status| *status >= 400) else { continue };
        let reason = entry["reason"].as_str().unwrap_or_default();
        let message = entry["body"]["message"].as_str().unwrap_or(reason);
        let errors = entry["body"]["errors"].as_object();
        let params =
            errors.into_iter().flatten().map(|(key, said)| (key.clone(), said.as_str().unwrap_or_default().to_owned()));
        let error = Error::from_answer(status as u16, message, params.collect());
        let line = format!("{status} {}: {}", entry["title"].as_str().unwrap(), error.message().trim());
        by_code.entry(error.class().exit_code()).or_default().push(line);
    }
    let text = by_code.into_iter().map(|(code, lines)| format!("exit {code}\n  {}", lines.join("\n  ")));
    assert_snapshot!(text.collect::<Vec<_>>().join("\n"), @r#"
    exit 1
      501 unknown path (501): Method 'GET /nosuch/path' not implemented
      501 wrong method (501): Method 'POST /version' not implemented
      501 PATCH: method 'PATCH' not available
      501 HEAD: method 'HEAD' not available
      501 OPTIONS: method 'OPTIONS' not available
      500 json invalid: '"' expected, at character offset 1 (before "bad") at /usr/share/perl5/PVE/APIServer/AnyEvent.pm line 934.
      506 text/plain body: upload 'Content-Type 'text/plain' not implemented
      500 empty PUT: no options specified
      501 body on GET: Unexpected content for method 'GET'
      500 agent ping not running: No QEMU guest agent configured
      501 unknown format: no formatter for uri /version, xml
      501 no format path /api2: no formatter for uri /, version
      500 agent not configured: No QEMU guest agent configured
      500 pool delete nonempty: delete pool failed: pool 'devs' is not empty (contains VM 100)
      500 fw rule missing: no rule at position 7
      500 ceph not installed: binary not installed: /usr/bin/ceph-mon
      500 qemu capabilities machines: could not load supported machine versions - can't open '/usr/share/kvm/machine-versions-x86_64.json' - No such file or directory
    exit 3
      500 DELETE missing: delete pool failed: pool 'p1' does not exist
      500 vm missing config: Configuration file 'nodes/pve1/qemu-server/999.conf' does not exist
      500 vm missing status: Configuration file 'nodes/pve1/qemu-server/999.conf' does not exist
      500 lxc id as qemu: Configuration file 'nodes/pve1/qemu-server/200.conf' does not exist
      500 unknown node: hostname lookup 'nonode' failed - failed to get address info for: nonode: Temporary failure in name resolution
      500 unknown node qemu: hostname lookup 'nonode' failed - failed to get address info for: nonode: Temporary failure in name resolution
      500 missing user: no such user ('nobody@pve')
      500 acl bad role: ACL update failed: role 'Nope' does not exist
      400 status unknown upid: no such task
      500 bad storage: storage 'nostore' does not exist
      500 storage missing: storage 'nope' does not exist
      400 node storage missing: No such storage.
    exit 4
      401 no auth: No ticket
      401 no auth, unknown path: No ticket
      401 bad login: authentication failure
      401 login bad realm: authentication failure
      401 login JSON body: authentication failure
      401 bad token secret: Authentication failed!
      401 unknown token id: Authentication failed!
      401 malformed token: Authentication failed!
      401 bad ticket: Authentication failed!
      401 Bearer: No ticket
      401 cookie POST without CSRF: Permission denied - invalid csrf token
      401 cookie POST wrong CSRF: Permission denied - invalid csrf token
    exit 5
      403 invalid node name: Permission check failed (, Sys.Audit)
      403 alice: vm config 403: Permission check failed (/vms/100, VM.Audit)
      403 alice: node status 403: Permission check failed (/nodes/pve1, Sys.Audit)
      403 alice: create VM 403: Permission check failed
      403 alice: foreign vmid 403 vs missing: Permission check failed (/vms/999, VM.Audit)
      403 alice: PUT memory 403: Permission check failed (/vms/100, VM.Config.Memory)
      403 execute batch: Permission check failed (user != root@pam)
    exit 6
      400 param_exc (raise_param_exc): VM 100 already exists
      500 vm exists: unable to create VM 100 - VM 100 already exists on node 'pve1'
      500 digest mismatch: checksum mismatch (file change by other user?)
      500 digest bad format: checksum mismatch (file change by other user?)
      500 delete protected 2: can't remove VM 151 - protection mode enabled
      500 suspend stopped: VM 151 not running
      500 create user again: create user failed: user 'alice@pve' already exists
      500 second op while lock held: can't lock file '/var/lock/qemu-server/lock-100.conf' - got timeout
      500 destroy running: VM 100 is running - destroy failed
      500 reboot stopped: VM 100 not running
      500 config on locked: VM is locked (backup)
      500 storage update digest: update storage failed: detected modified configuration - file changed by other user? Try again.
    exit 7
      400 login missing param: Parameter verification failed.
      400 param verify: missing: Parameter verification failed.
      400 param verify: unknown+bad: Parameter verification failed.
      400 param verify: bad format nested: Parameter verification failed.
      400 bool words form: on/yes/true: Parameter verification failed.
      400 bool yes: Parameter verification failed.
      400 bool on: Parameter verification failed.
      400 bool 2: Parameter verification failed.
      400 delete unknown option: Parameter verification failed.
      400 set and delete: Parameter verification failed.
      400 short password: Parameter verification failed.
      400 acl bad path: Parameter verification failed.
      400 status bad upid: Parameter verification failed.
      400 delete disk -> unused: Parameter verification failed.
      400 bad bridge: Parameter verification failed.
      400 upload bad name: Parameter verification failed.
      400 bad enum: Parameter verification failed.
    "#);
}
