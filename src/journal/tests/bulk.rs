//! Operations over several guests and their parts, and a file from before there were any.

use std::fs;

use super::*;
use crate::{
    journal::{
        chain::{ORIGIN, link},
        schema::VERSION_1,
    },
    model::{Bulk, BulkGuest, Tally},
};

/// Two guests to be started, one that was refused, and one that runs already.
fn whole_of(vmids: [u32; 2]) -> Intent {
    let guest = |vmid: u32| BulkGuest { kind: "qemu".into(), vmid, node: "pve1".into(), ..BulkGuest::default() };
    let mut guests: Vec<BulkGuest> =
        vmids.iter().map(|vmid| BulkGuest { steps: intent("start", *vmid).steps, ..guest(*vmid) }).collect();
    guests.push(BulkGuest { refused: Some("it is a template".into()), ..guest(7) });
    guests.push(guest(8));
    let bulk = Some(Bulk { guests, parallel: 8, ..Bulk::default() });
    Intent { vmid: None, name: None, steps: Vec::new(), bulk, ..intent("start", 1) }
}

fn told(journal: &Journal, whole: OperationId) -> String {
    let parts = journal.parts(&journal.operation(whole).unwrap().unwrap()).unwrap();
    tally(&parts).to_string()
}

#[test]
fn the_parts_say_how_far_the_whole_is() {
    let Room { journal, directory: _directory } = room();
    let id = journal.plan(&whole_of([150, 151])).unwrap();
    let status = || journal.operation(id).unwrap().unwrap().operation.status;
    assert_eq!((status(), told(&journal, id)), (Status::Running, "1 ok, 1 failed, 2 not begun".into()));
    let part = |vmid: u32| Intent { parent: Some(id), ..intent("start", vmid) };
    let first = whole(&journal, &part(150), Verdict::Failed);
    let second = journal.plan(&part(151)).unwrap();
    assert_eq!(told(&journal, id), "1 ok, 2 failed, 1 running");
    journal.event(second, &ended(Verdict::Cancelled)).unwrap();
    assert_eq!(told(&journal, id), "1 ok, 2 failed, 1 not begun");
    // What went wrong may be done again, and the newest counts.
    let again = whole(&journal, &part(150), Verdict::Ok);
    assert_eq!(told(&journal, id), "2 ok, 1 failed, 1 not begun");
    let parts = journal.operations(&Filter { parent: Some(id), ..Filter::default() }).unwrap();
    assert_eq!(parts.iter().map(|part| part.id).collect::<Vec<_>>(), [again, second, first]);
    journal.event(id, &Tally { ok: 3, left: 1, ..Tally::default() }.ended().unwrap()).unwrap();
    assert_eq!(status(), Status::Cancelled);
    assert_eq!(journal.verify().unwrap().broken, None);
}

#[test]
fn a_guest_is_begun_once_unless_it_was_not_done() {
    let Room { journal, directory: _directory } = room();
    let id = journal.plan(&whole_of([150, 151])).unwrap();
    let part = Intent { parent: Some(id), ..intent("start", 150) };
    for (verdict, again) in [(Verdict::Failed, true), (Verdict::Cancelled, true), (Verdict::Unknown, false)] {
        let begun = journal.plan(&part).unwrap();
        let error = journal.plan(&part).unwrap_err();
        assert_eq!(error.message(), format!("operation {} has begun it already", begun.0));
        journal.event(begun, &ended(verdict)).unwrap();
        assert_eq!(journal.plan(&part).is_ok(), again, "{verdict:?}");
        if again {
            let newest = journal.operations(&Filter { limit: Some(1), ..Filter::default() }).unwrap().remove(0);
            journal.event(newest.id, &ended(Verdict::Failed)).unwrap();
        }
    }
    // Outside of it, it may be.
    journal.plan(&intent("start", 150)).unwrap();
}

#[test]
fn parts_stay_as_long_as_their_whole() {
    let Room { journal, directory: _directory } = room();
    let id = journal.plan(&whole_of([150, 151])).unwrap();
    let part = |vmid: u32| Intent { parent: Some(id), ..intent("start", vmid) };
    whole(&journal, &part(150), Verdict::Ok);
    whole(&journal, &part(151), Verdict::Ok);
    let late = at(1000);
    assert_eq!((journal.ended_before(late).unwrap(), journal.prune(late).unwrap()), (0, 0), "it is at work");
    journal.event(id, &ended(Verdict::Ok)).unwrap();
    assert_eq!((journal.ended_before(late).unwrap(), journal.prune(late).unwrap()), (3, 3));
    assert_eq!(journal.verify().unwrap().broken, None);
}

/// A file as the first layout had it: an operation that is over and one in flight.
fn old_file(path: &Path) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let connection = Connection::open(path).unwrap();
    connection.execute_batch(VERSION_1).unwrap();
    connection.pragma_update(None, "user_version", 1).unwrap();
    let planned = |vmid: u32| {
        let mut payload = serde_json::to_value(Intent { steps: Vec::new(), ..intent("start", vmid) }).unwrap();
        payload["event"] = "planned".into();
        payload["host"] = "desk".into();
        payload["pid"] = 1.into();
        payload
    };
    let end = serde_json::to_value(ended(Verdict::Ok)).unwrap();
    let mut hash = ORIGIN;
    for (number, operation, payload) in [(1, 1, planned(150)), (2, 1, end), (3, 2, planned(151))] {
        let (text, previous) = (payload.to_string(), hash);
        hash = link(&previous, number, operation, 1_000_000 * number, &text);
        let sql = "INSERT INTO event (id, operation, time, payload, prev_hash, hash) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        connection.execute(sql, (number, operation, 1_000_000 * number, text, previous, hash)).unwrap();
    }
}

#[test]
fn a_file_of_the_first_layout_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state/journal.db");
    old_file(&path);
    // Also for who only reads it.
    let reader = Journal::open_read_only(&path).unwrap().unwrap();
    let rows = reader.operations(&Filter::default()).unwrap();
    let seen: Vec<_> = rows.iter().map(|row| (row.id.0, row.status, row.vmid, row.parent)).collect();
    assert_eq!(seen, [(2, Status::Planned, Some(151), None), (1, Status::Ok, Some(150), None)]);
    let journal = open(&path).unwrap();
    let id = journal.plan(&whole_of([150, 151])).unwrap();
    whole(&journal, &Intent { parent: Some(id), ..intent("start", 150) }, Verdict::Ok);
    journal.event(OperationId(2), &ended(Verdict::Failed)).unwrap();
    let found = journal.verify().unwrap();
    assert_eq!((found.broken, found.events), (None, 9));
    let version: u32 = journal.connection().pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    assert_eq!(version, 3);
}
