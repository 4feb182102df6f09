//! Backups and what is made of them, compared with what was recorded.

use serde_json::json;

use super::*;

const CONTENT: &str = "/nodes/pve1/storage/local/content";

/// The recorded call of a title.
fn recorded(title: &str) -> Value {
    let recording = include_str!("../../../fixtures/pve/recordings/calls.json");
    let all: Vec<Value> = serde_json::from_str(recording).unwrap();
    all.into_iter().find(|entry| entry["title"] == title).unwrap()
}

fn backups(asker: &Asker) -> Vec<Value> {
    let rows = asker.get(CONTENT);
    rows.as_array().unwrap().iter().filter(|row| row["content"] == "backup").cloned().collect()
}

#[test]
fn an_archive_is_listed_as_the_recorded_ones_are() {
    let asker = Asker::new();
    for (kind, vmid) in [("qemu", "100"), ("lxc", "110")] {
        let given = [("vmid", vmid), ("storage", "local"), ("compress", "zstd")];
        assert_eq!(asker.run("/nodes/pve1/vzdump", &given), "OK");
        let theirs = recorded("content");
        let theirs = theirs["body"]["data"].as_array().unwrap().iter().find(|row| row["subtype"] == kind).unwrap();
        let ours = backups(&asker).into_iter().find(|row| row["subtype"] == kind).unwrap();
        let keys = |row: &Value| row.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
        assert_eq!(keys(&ours), keys(theirs));
        assert_eq!(ours["format"], theirs["format"]);
        let form = |row: &Value| row["volid"].as_str().unwrap().replace(|c: char| c.is_ascii_digit(), "9");
        assert_eq!(form(&ours).split_once(':').unwrap().1, form(theirs).split_once(':').unwrap().1);
    }
    assert_eq!(backups(&asker).len(), 2);
}

#[test]
fn rules_have_to_be_given() {
    let fault = Asker::new().fault(Method::Get, "/nodes/pve1/storage/local/prunebackups", &[]);
    assert_eq!(fault.message, "no prune-backups options configured for storage 'local'");
}

#[test]
fn a_job_over_several_fails_where_one_does_and_keeps_its_log() {
    let asker = Asker::new();
    let config = "/nodes/pve1/qemu/100/config";
    asker.ask(Method::Put, config, &[("description", "sandbox: backup fails")]).unwrap();
    let given = [("vmid", "100,110"), ("storage", "local")];
    assert_eq!(asker.run("/nodes/pve1/vzdump", &given), "job errors");
    assert_eq!(backups(&asker).len(), 1, "the other one is there");
    let task = asker.get("/nodes/pve1/tasks")[0].clone();
    assert_eq!((&task["type"], &task["id"]), (&json!("vzdump"), &json!("")), "a job over several is about no guest");
    let log = asker.get(&format!("/nodes/pve1/tasks/{}/log", task["upid"].as_str().unwrap())).to_string();
    for part in ["ERROR: Backup of VM 100 failed", "Finished Backup of VM 110", "finished with errors"] {
        assert!(log.contains(part), "`{part}` is missing: {log}");
    }
}

#[test]
fn who_may_not_back_up_may_not_see_archives() {
    let mut asker = Asker::new();
    assert_eq!(asker.run("/nodes/pve1/vzdump", &[("vmid", "100"), ("storage", "local")]), "OK");
    let volid = backups(&asker)[0]["volid"].as_str().unwrap().to_owned();
    asker.who = Identity { user: "audit@pve".into(), token: None };
    assert_eq!(backups(&asker), Vec::<Value>::new());
    let fault = asker.fault(Method::Get, "/nodes/pve1/vzdump/extractconfig", &[("volume", &volid)]);
    assert_eq!(fault.status, 403);
    assert!(fault.message.contains("/storage/local"), "{}", fault.message);
}
