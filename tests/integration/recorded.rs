//! What a real Proxmox VE 9.2 answered: every type keeps all of it, every refusal has its class.

use std::{collections::BTreeMap, fs, path::Path};

use insta::assert_snapshot;
use pvectl::{
    client::{Permissions, Version},
    model::{
        ClusterMember, ClusterResource, Error, GuestStatus, LogLine, Method, Node, NodeStatus, Pending, Pool,
        PropertyString, Snapshot, Storage, StorageConfig, StorageStatus, TaskEntry, TaskStatus, Vmid, Volume,
        config::{LxcConfig, QemuConfig},
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

fn back<T: Serialize + DeserializeOwned>(value: &Value) -> Result<Value, serde_json::Error> {
    serde_json::to_value(serde_json::from_value::<T>(value.clone())?)
}

/// The answers that are read, as which type each of their rows.
const TYPES: &[(&str, Back)] = &[
    ("/access/permissions", back::<Permissions>),
    ("/cluster/nextid", back::<Vmid>),
    ("/cluster/resources", back::<ClusterResource>),
    ("/cluster/status", back::<ClusterMember>),
    ("/cluster/tasks", back::<TaskEntry>),
    ("/nodes", back::<Node>),
    ("/nodes/{node}/lxc", back::<GuestStatus>),
    ("/nodes/{node}/lxc/{vmid}/config", back::<LxcConfig>),
    ("/nodes/{node}/lxc/{vmid}/pending", back::<Pending>),
    ("/nodes/{node}/lxc/{vmid}/snapshot", back::<Snapshot>),
    ("/nodes/{node}/lxc/{vmid}/status/current", back::<GuestStatus>),
    ("/nodes/{node}/qemu", back::<GuestStatus>),
    ("/nodes/{node}/qemu/{vmid}/config", back::<QemuConfig>),
    ("/nodes/{node}/qemu/{vmid}/pending", back::<Pending>),
    ("/nodes/{node}/qemu/{vmid}/snapshot", back::<Snapshot>),
    ("/nodes/{node}/qemu/{vmid}/snapshot/{snapname}/config", back::<QemuConfig>),
    ("/nodes/{node}/qemu/{vmid}/status/current", back::<GuestStatus>),
    ("/nodes/{node}/status", back::<NodeStatus>),
    ("/nodes/{node}/storage", back::<Storage>),
    ("/nodes/{node}/storage/{storage}/content", back::<Volume>),
    ("/nodes/{node}/storage/{storage}/status", back::<StorageStatus>),
    ("/nodes/{node}/tasks", back::<TaskEntry>),
    ("/nodes/{node}/tasks/{upid}/log", back::<LogLine>),
    ("/nodes/{node}/tasks/{upid}/status", back::<TaskStatus>),
    ("/nodes/{node}/version", back::<Version>),
    ("/pools", back::<Pool>),
    ("/pools/{poolid}", back::<Pool>),
    ("/storage", back::<StorageConfig>),
    ("/storage/{storage}", back::<StorageConfig>),
    ("/version", back::<Version>),
];

/// What there are types for, wherever it is answered: how its path begins and ends, `{guest}` being either kind. A
/// recorded answer to one of these must be in [`TYPES`].
const SUBJECTS: &[(&str, &str)] = &[
    ("/cluster/nextid", ""),
    ("/cluster/resources", ""),
    ("/cluster/status", ""),
    ("/cluster/tasks", ""),
    ("/nodes", "/nodes"),
    ("/nodes/{node}/{guest}", "/{guest}"),
    ("/nodes/{node}/{guest}", "/config"),
    ("/nodes/{node}/{guest}", "/pending"),
    ("/nodes/{node}/{guest}", "/snapshot"),
    ("/nodes/{node}/{guest}", "/status/current"),
    ("/nodes/{node}/status", ""),
    ("/nodes/{node}/storage", "/content"),
    ("/nodes/{node}/storage", "/status"),
    ("/nodes/{node}/storage", "/storage"),
    ("/nodes/{node}/tasks", "/log"),
    ("/nodes/{node}/tasks", "/status"),
    ("/nodes/{node}/tasks", "/tasks"),
    ("/nodes/{node}/version", ""),
    ("/pools", ""),
    ("/storage", ""),
    ("/version", ""),
];

/// The answers that were recorded, by the template of what was asked; lists by their rows.
fn answers() -> BTreeMap<String, Vec<Value>> {
    let mut found: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    let mut add = |template: &str, data: &Value| {
        let rows = data.as_array().map_or(std::slice::from_ref(data), Vec::as_slice);
        found.entry(template.to_owned()).or_default().extend(rows.iter().cloned());
    };
    for entry in recording("get.json").iter().filter(|entry| entry["status"] == 200) {
        add(entry["template"].as_str().unwrap(), &entry["body"]["data"]);
    }
    // The others are noted as command lines: those that only ask have the path at their end, and no data.
    for entry in recording("calls.json").iter().filter(|entry| entry["status"] == 200) {
        let line = entry["curl"].as_str().unwrap();
        let Some(path) = line.rsplit_once("BASE").map(|(_, path)| path.split('?').next().unwrap()) else { continue };
        let asks = [" -X ", " -d ", " --data", " -F "].iter().all(|sign| !line.contains(sign));
        match pvectl::contract::embedded().find(Method::Get, path) {
            Some(found) if asks && entry["body"].get("data").is_some() => {
                add(&found.endpoint.path, &entry["body"]["data"]);
            }
            _ => {}
        }
    }
    found
}

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
                    None if value.is_null() => {}
                    None => found.push(format!("{at}.{key} is lost")),
                }
            }
        }
        (Value::Array(before), Value::Array(after)) if before.len() == after.len() => {
            before.iter().zip(after).for_each(|(before, after)| lost(before, after, at, found));
        }
        (before, after) if same(before, after) => {}
        (before, after) => found.push(format!("{at} was {before} and is {after}")),
    }
}

/// Nothing is lost, and the values are the same but for these: a number or a boolean may be written in another of
/// Perl's ways (`"0.60"` is 0.6, `"1"` is 1, `true` is 1), and `null` is nothing. Configurations are kept to the letter.
#[test]
fn the_types_lose_nothing() {
    let answers = answers();
    let mut problems = Vec::new();
    for (template, back) in TYPES {
        for row in answers.get(*template).unwrap_or_else(|| panic!("{template} is not recorded")) {
            match back(row) {
                Ok(after) if template.ends_with("/config") && after != *row => {
                    problems.push(format!("{template}: {after} was {row}"));
                }
                Ok(after) => lost(row, &after, template, &mut problems),
                Err(error) => problems.push(format!("{template}: {error}: {row}")),
            }
        }
    }
    problems.sort();
    problems.dedup();
    assert_eq!(problems, [""; 0]);
}

#[test]
fn what_should_have_a_type_has_one() {
    let answers = answers();
    let mut seen = 0;
    for template in answers.keys() {
        let general = template.replace("/{node}/qemu", "/{node}/{guest}").replace("/{node}/lxc", "/{node}/{guest}");
        // A list of names for people who walk the tree is no answer.
        let is_subject = SUBJECTS.iter().any(|(start, end)| match *end {
            "" => general == *start || general.strip_prefix(start).is_some_and(|rest| rest.starts_with('/')),
            end => general.starts_with(start) && general.ends_with(end),
        });
        let typed = TYPES.iter().any(|(have, _)| have == template);
        assert!(typed || !is_subject, "{template} is recorded and has no type here");
        seen += usize::from(is_subject);
    }
    for (start, end) in SUBJECTS {
        let template = |kind: &str| format!("{start}…{end}").replace("{guest}", kind);
        let there = |kind: &str| {
            answers.keys().any(|have| {
                let (start, end) = (start.replace("{guest}", kind), end.replace("{guest}", kind));
                have.starts_with(&start) && have.ends_with(&end)
            })
        };
        for kind in ["qemu", "lxc"] {
            assert!(there(kind), "{} is not recorded", template(kind));
        }
    }
    assert!(seen > 20, "only {seen} of them are recorded");
}

/// Every text in a configuration that is a property string, by the contract.
#[test]
fn property_strings_are_printed_back_to_the_byte() {
    let answers = answers();
    let mut seen = 0;
    for (template, rows) in answers.iter().filter(|(template, _)| template.ends_with("/config")) {
        let update = template.replace("/snapshot/{snapname}", "");
        let Some(update) = pvectl::contract::embedded().endpoint(Method::Put, &update) else { continue };
        for (key, value) in rows.iter().filter_map(Value::as_object).flatten() {
            let is_property_string = update.parameters.get(key).is_some_and(|schema| schema.keys().is_some());
            if let Some(text) = value.as_str().filter(|_| is_property_string) {
                assert_eq!(PropertyString::lenient(text).to_string(), text);
                match text.trim() {
                    "" => {}
                    _ => assert_eq!(text.parse::<PropertyString>().unwrap().to_string(), text),
                }
                seen += 1;
            }
        }
    }
    assert!(seen > 25, "only {seen} were recorded");
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
      500 pool delete nonempty: delete pool failed: pool 'devs' is not empty (contains VM 100)
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
