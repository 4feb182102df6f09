//! What the journal's tests share.

mod bulk;
mod chain;
mod file;
mod life;

use std::sync::atomic::{AtomicI64, Ordering};

use rusqlite::Connection;
use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::model::{Event, Intent, OperationId, Recorder, Upid, Verdict};

/// Begins at 2026-01-01 and goes on by a second whenever somebody looks at it.
struct Ticking(AtomicI64);

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_767_225_600 + second).unwrap()
}

impl Clock for Ticking {
    fn now(&self) -> Timestamp {
        at(self.0.fetch_add(1, Ordering::Relaxed))
    }
}

struct Room {
    directory: TempDir,
    journal: Journal,
}

impl Room {
    fn path(&self) -> PathBuf {
        self.directory.path().join("state/journal.db")
    }

    fn again(&self) -> Journal {
        open(&self.path()).unwrap()
    }

    /// Does with the file what the journal never would.
    fn tamper(&self, sql: &str) {
        let connection = Connection::open(self.path()).unwrap();
        connection
            .execute_batch(&format!(
                "DROP TRIGGER IF EXISTS event_never_changes; DROP TRIGGER IF EXISTS event_stays; {sql}"
            ))
            .unwrap();
    }

    fn list(&self, filter: &Filter) -> Vec<i64> {
        self.journal.operations(filter).unwrap().iter().map(|operation| operation.id.0).collect()
    }

    fn broken(&self) -> Option<(Option<i64>, String)> {
        self.journal.verify().unwrap().broken.map(|found| (found.event, found.reason))
    }
}

fn open(path: &Path) -> Result<Journal> {
    Journal::open(path, Arc::new(Ticking(AtomicI64::new(0))), "desk".into())
}

fn room() -> Room {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(&directory.path().join("state/journal.db")).unwrap();
    Room { directory, journal }
}

fn intent(verb: &str, vmid: u32) -> Intent {
    Intent {
        verb: verb.into(),
        target: format!("pve1/{vmid}"),
        kind: "qemu".into(),
        vmid: Some(vmid),
        name: Some(format!("app{vmid}")),
        node: Some("pve1".into()),
        context: "lab".into(),
        user: "root@pam!ci".into(),
        steps: vec![json!({"method": "POST", "path": format!("/nodes/pve1/qemu/{vmid}/status/{verb}"), "params": {}})],
        ..Intent::default()
    }
}

fn upid() -> Upid {
    "UPID:pve1:000003EC:00041609:6B003243:qmstart:150:root@pam!ci:".parse().unwrap()
}

fn ended(verdict: Verdict) -> Event {
    Event::Ended { verdict, exit_status: Some("OK".into()), error: None }
}

/// Four events.
fn whole(journal: &Journal, intent: &Intent, verdict: Verdict) -> OperationId {
    let id = journal.plan(intent).unwrap();
    for event in [Event::Sent { step: 1 }, Event::Upid { step: 1, upid: upid() }, ended(verdict)] {
        journal.event(id, &event).unwrap();
    }
    id
}
