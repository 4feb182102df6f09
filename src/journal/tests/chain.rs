//! The chain of hashes, and what prune leaves of it.

use super::*;

#[test]
fn the_file_refuses_to_change_or_forget() {
    let room = room();
    whole(&room.journal, &intent("start", 150), Verdict::Ok);
    let connection = Connection::open(room.path()).unwrap();
    for sql in ["UPDATE event SET time = 0", "DELETE FROM event WHERE id = 2"] {
        assert!(connection.execute(sql, []).unwrap_err().to_string().contains("append-only"), "{sql}");
    }
}

#[test]
fn the_chain_shows_what_was_done_to_it() {
    let copy = "INSERT INTO event (operation, time, payload, prev_hash, hash) SELECT operation, time, payload, prev_hash, hash";
    for (sql, event, reason) in [
        ("UPDATE event SET time = time + 1 WHERE id = 3", Some(3), "it was changed"),
        ("UPDATE event SET payload = replace(payload, 'start', 'clone') WHERE id = 5", Some(5), "it was changed"),
        ("UPDATE event SET operation = 1 WHERE id = 6", Some(6), "it was changed"),
        ("UPDATE event SET hash = zeroblob(32) WHERE id = 4", Some(4), "it was changed"),
        ("UPDATE event SET prev_hash = zeroblob(32) WHERE id = 4", Some(4), "it does not follow the event before it"),
        ("DELETE FROM event WHERE id = 1", Some(1), "it is missing"),
        ("DELETE FROM event WHERE id IN (3, 4)", Some(3), "it and all up to 4 are missing"),
        ("DELETE FROM event WHERE id = 8", Some(8), "it is missing"),
        (&format!("{copy} FROM event WHERE id = 8"), Some(9), "it does not follow the event before it"),
        (
            "INSERT INTO event SELECT 0, 1, 0, '{\"event\":\"step\"}', zeroblob(32), zeroblob(32)",
            Some(0),
            "it was put in",
        ),
        (
            "UPDATE operation SET status = 'ok' WHERE id = 2",
            Some(5),
            "the row of its operation is not what the events say",
        ),
        (
            "INSERT INTO operation SELECT 3, verb, target, vmid, name, node, context, user, host, upid, status,
                 exit_status, started, ended, error, has_config, parent FROM operation WHERE id = 2",
            None,
            "the row of its operation is not what the events say",
        ),
        (
            "INSERT INTO checkpoint VALUES (3, 4, zeroblob(32), zeroblob(32)); DELETE FROM event WHERE id IN (3, 4)",
            Some(2),
            "it does not lead to events 3 to 4, which were pruned",
        ),
        ("DELETE FROM operation WHERE id = 2", Some(5), "the row of its operation is not what the events say"),
    ] {
        let room = room();
        whole(&room.journal, &intent("start", 150), Verdict::Ok);
        whole(&room.journal, &intent("start", 151), Verdict::Failed);
        assert_eq!(room.broken(), None);
        room.tamper(sql);
        assert_eq!(room.broken(), Some((event, reason.to_owned())), "{sql}");
    }
}

#[test]
fn a_history_cut_off_at_its_end_stays_visible() {
    let room = room();
    whole(&room.journal, &intent("start", 150), Verdict::Ok);
    room.tamper("DELETE FROM event WHERE id = 4");
    room.again().plan(&intent("stop", 150)).unwrap();
    assert_eq!(room.broken(), Some((Some(4), "it is missing".to_owned())));
}

#[test]
fn prune_leaves_whole_operations_and_a_chain_that_holds() {
    let room = room();
    let journal = &room.journal;
    whole(journal, &intent("start", 1), Verdict::Ok);
    let old_but_in_flight = journal.plan(&intent("start", 2)).unwrap();
    whole(journal, &intent("start", 3), Verdict::Ok);
    // Its events lie between those of another.
    journal.event(old_but_in_flight, &Event::Sent { step: 1 }).unwrap();
    whole(journal, &intent("start", 4), Verdict::Ok);
    let head = journal.verify().unwrap().head;
    assert_eq!(journal.prune(at(10)).unwrap(), 2);
    assert_eq!(room.list(&Filter::default()), [4, 2]);
    let verification = journal.verify().unwrap();
    assert_eq!((verification.events, verification.pruned), (6, 8));
    assert_eq!((verification.head, verification.broken), (head, None));
    assert_eq!(journal.operation(old_but_in_flight).unwrap().unwrap().events.len(), 2);

    journal.event(old_but_in_flight, &ended(Verdict::Unknown)).unwrap();
    assert_eq!(journal.prune(at(1_000)).unwrap(), 2);
    assert!(room.list(&Filter::default()).is_empty());
    assert_eq!(journal.verify().unwrap().broken, None);
    assert_eq!(journal.prune(at(1_000)).unwrap(), 0);

    // Numbers go on, and so does the chain.
    assert_eq!(whole(journal, &intent("start", 5), Verdict::Ok), OperationId(5));
    let verification = journal.verify().unwrap();
    assert_eq!((verification.events, verification.pruned, verification.broken), (4, 15, None));
    room.tamper("DELETE FROM checkpoint");
    assert_eq!(room.broken(), Some((Some(1), "it and all up to 15 are missing".to_owned())));
}
