//! The life of operations, and what must hold whatever happens to the file.

use std::{
    fs,
    sync::atomic::{AtomicI64, Ordering},
    thread,
};

use proptest::prelude::*;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::model::{Event, Hint, Intent, OperationId, Recorder, Upid, Verdict};

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

    fn broken(&self) -> Option<(i64, String)> {
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
        config_before: None,
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

#[test]
fn an_operation_lives() {
    let Room { journal, directory: _directory } = room();
    let id = journal.plan(&intent("start", 150)).unwrap();
    let row = || journal.operations(&Filter::default()).unwrap().remove(0);
    assert_eq!((row().status, row().upid, row().ended), (Status::Planned, None, None));
    let step = Event::Step { step: 1, verdict: Verdict::Ok, exit_status: Some("OK".into()) };
    for (event, status) in [
        (Event::Sent { step: 1 }, Status::Sent),
        (Event::Target { vmid: 151, node: "pve2".into() }, Status::Sent),
        (Event::Upid { step: 1, upid: upid() }, Status::Running),
        (step, Status::Running),
        (ended(Verdict::Warning), Status::Warning),
    ] {
        assert_eq!(journal.in_flight().unwrap().len(), 1);
        journal.event(id, &event).unwrap();
        assert_eq!(row().status, status, "{event:?}");
    }
    assert_eq!(journal.in_flight().unwrap(), []);
    assert_eq!(
        serde_json::to_string(&row()).unwrap(),
        r#"{"id":1,"verb":"start","target":"pve1/150","vmid":151,"name":"app150","node":"pve2","context":"lab","#
            .to_owned()
            + r#""user":"root@pam!ci","host":"desk","upid":"UPID:pve1:000003EC:00041609:6B003243:qmstart:150:root@pam!ci:","#
            + r#""status":"warning","exit_status":"OK","started":"2026-01-01T00:00:00Z","ended":"2026-01-01T00:00:05Z","#
            + r#""duration":5.0,"error":null}"#
    );
    let details = journal.operation(id).unwrap().unwrap();
    assert_eq!((details.kind.as_str(), details.pid, details.events.len()), ("qemu", std::process::id(), 6));
    let step = &details.steps[0];
    assert_eq!(step.call.as_ref().unwrap()["method"], "POST");
    assert_eq!((step.sent, step.ended, step.verdict), (Some(at(1)), Some(at(4)), Some(Verdict::Ok)));
    assert_eq!(step.upid, Some(upid()));
    assert_eq!(journal.operation(OperationId(2)).unwrap(), None);
}

#[test]
fn every_verdict_is_a_status() {
    let Room { journal, directory: _directory } = room();
    for verdict in [Verdict::Ok, Verdict::Warning, Verdict::Failed, Verdict::Cancelled, Verdict::Unknown] {
        let id = whole(&journal, &intent("start", 1), verdict);
        let status = journal.operation(id).unwrap().unwrap().operation.status;
        assert_eq!(json!(status), json!(verdict));
    }
}

#[test]
fn a_resumed_operation_is_in_flight_again_and_its_step_starts_afresh() {
    let Room { journal, directory: _directory } = room();
    let id = journal.plan(&intent("create", 150)).unwrap();
    let failed = Event::Step { step: 2, verdict: Verdict::Failed, exit_status: Some("no space".into()) };
    let error = Event::Ended { verdict: Verdict::Failed, exit_status: None, error: Some("no space".into()) };
    for event in
        [Event::Sent { step: 2 }, Event::Upid { step: 2, upid: upid() }, failed, error, Event::Sent { step: 2 }]
    {
        journal.event(id, &event).unwrap();
    }
    let details = journal.in_flight().unwrap().remove(0);
    let row = &details.operation;
    assert_eq!((row.status, row.ended, row.error.as_deref()), (Status::Sent, None, None));
    let step = &details.steps[1];
    assert_eq!(
        (step.step, step.call.as_ref(), step.sent, step.upid.as_ref(), step.verdict),
        (2, None, Some(at(5)), None, None)
    );
}

#[test]
fn filters_choose_and_the_newest_comes_first() {
    let room = room();
    for (verb, vmid, verdict) in [
        ("start", 150, Verdict::Ok),
        ("stop", 150, Verdict::Failed),
        ("start", 151, Verdict::Ok),
        ("start", 9, Verdict::Failed),
    ] {
        whole(&room.journal, &intent(verb, vmid), verdict);
    }
    let named = Intent { name: Some("150".into()), target: "web".into(), ..intent("start", 7) };
    let named = Intent { context: "other".into(), ..named };
    room.journal.plan(&named).unwrap();
    let any = Filter::default;
    let target = |text: &str| Filter { target: Some(text.into()), ..any() };
    let verb = |text: &str| Some(text.to_owned());
    for (filter, ids) in [
        (any(), vec![5, 4, 3, 2, 1]),
        (Filter { limit: Some(2), ..any() }, vec![5, 4]),
        (target("150"), vec![5, 2, 1]),
        (Filter { limit: Some(2), ..target("150") }, vec![5, 2]),
        (target("app151"), vec![3]),
        (target("pve1/9"), vec![4]),
        (target("web"), vec![5]),
        (target("nobody"), vec![]),
        (Filter { verb: verb("start"), ..target("150") }, vec![5, 1]),
        (Filter { status: Some(Status::Failed), ..any() }, vec![4, 2]),
        (Filter { status: Some(Status::Failed), verb: verb("stop"), ..any() }, vec![2]),
        (Filter { status: Some(Status::Ok), ..any() }, vec![3, 1]),
        (Filter { status: Some(Status::Ok), context: Some("lab".into()), verb: verb("start"), ..any() }, vec![3, 1]),
        (Filter { context: Some("other".into()), ..any() }, vec![5]),
        (Filter { verb: verb("start"), limit: Some(3), ..any() }, vec![5, 4, 3]),
        (Filter { since: Some(at(8)), until: Some(at(12)), ..any() }, vec![3]),
        (Filter { since: Some(at(8)), status: Some(Status::Failed), ..any() }, vec![4]),
    ] {
        assert_eq!(room.list(&filter), ids, "{filter:?}");
    }
    assert_eq!("running".parse::<Status>().unwrap(), Status::Running);
    assert!("runing".parse::<Status>().unwrap_err().message().contains("running"));
}

#[test]
fn configurations_are_kept_per_context() {
    let Room { journal, directory: _directory } = room();
    let config = |cores: u32| json!({"cores": cores, "cipassword": "hunter2"});
    for (context, cores) in [("lab", Some(1)), ("lab", None), ("other", Some(2)), ("lab", Some(4))] {
        let before = cores.map(config);
        journal.plan(&Intent { context: context.into(), config_before: before, ..intent("update", 150) }).unwrap();
    }
    let kept = journal.config_history("lab", 150).unwrap();
    let shown: Vec<_> = kept.iter().map(|backup| (backup.operation.0, backup.config.clone())).collect();
    let hidden = |cores: u32| json!({"cores": cores, "cipassword": "***"});
    assert_eq!(shown, [(4, hidden(4)), (1, hidden(1))]);
    assert_eq!(journal.operation(OperationId(1)).unwrap().unwrap().config_before, Some(hidden(1)));
}

#[test]
fn directory_and_file_are_the_owners_only() {
    let room = room();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(room.path().parent().unwrap()), mode(&room.path())), (0o700, 0o600));
        assert_eq!(mode(&room.path().with_extension("db-wal")), 0o600);
    }
}

#[test]
fn nothing_is_lost_between_threads_and_handles() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal.db");
    let (handles, threads, each) = (8, 2, 5);
    thread::scope(|scope| {
        for handle in 0..handles {
            let path = &path;
            scope.spawn(move || {
                // All of them make the file at once.
                let journal = open(path).unwrap();
                thread::scope(|scope| {
                    for thread in 0..threads {
                        let journal = &journal;
                        scope.spawn(move || {
                            for n in 0..each {
                                whole(journal, &intent("start", handle * 100 + thread * 10 + n), Verdict::Ok);
                            }
                        });
                    }
                });
            });
        }
    });
    let journal = Journal::open_read_only(&path).unwrap().unwrap();
    let mut vmids: Vec<u32> = journal
        .operations(&Filter { status: Some(Status::Ok), ..Filter::default() })
        .unwrap()
        .iter()
        .filter_map(|row| row.vmid)
        .collect();
    vmids.sort_unstable();
    let expected: Vec<u32> = (0..handles)
        .flat_map(|h| (0..threads).flat_map(move |t| (0..each).map(move |n| h * 100 + t * 10 + n)))
        .collect();
    assert_eq!(vmids, expected);
    let verification = journal.verify().unwrap();
    assert_eq!((verification.events, verification.broken), (u64::from(handles * threads * each * 4), None));
}

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
        ("UPDATE event SET time = time + 1 WHERE id = 3", 3, "it was changed"),
        ("UPDATE event SET payload = replace(payload, 'start', 'clone') WHERE id = 5", 5, "it was changed"),
        ("UPDATE event SET operation = 1 WHERE id = 6", 6, "it was changed"),
        ("UPDATE event SET hash = zeroblob(32) WHERE id = 4", 4, "it was changed"),
        ("UPDATE event SET prev_hash = zeroblob(32) WHERE id = 4", 4, "it does not follow the event before it"),
        ("DELETE FROM event WHERE id = 1", 1, "it is missing"),
        ("DELETE FROM event WHERE id IN (3, 4)", 3, "it and all up to 4 are missing"),
        ("DELETE FROM event WHERE id = 8", 8, "it is missing"),
        (&format!("{copy} FROM event WHERE id = 8"), 9, "it does not follow the event before it"),
        ("INSERT INTO event SELECT 0, 1, 0, '{\"event\":\"step\"}', zeroblob(32), zeroblob(32)", 0, "it was put in"),
        ("UPDATE operation SET status = 'ok' WHERE id = 2", 5, "the row of its operation is not what the events say"),
        ("DELETE FROM operation WHERE id = 2", 5, "the row of its operation is not what the events say"),
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
    assert_eq!(room.broken(), Some((4, "it is missing".to_owned())));
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
    assert_eq!(room.broken(), Some((1, "it and all up to 15 are missing".to_owned())));
}

#[test]
fn an_event_of_nobodys_operation_is_refused() {
    let Room { journal, directory: _directory } = room();
    let error = journal.event(OperationId(7), &Event::Sent { step: 1 }).unwrap_err();
    assert!(
        error.message().contains("operation 7") && error.message().ends_with("the request was not sent"),
        "{error}"
    );
    assert_eq!(journal.verify().unwrap().events, 0);
}

/// What it says must let a person find the file and know that the world is unchanged.
fn assert_refused(result: Result<impl Sized>, path: &Path) -> Error {
    let error = result.err().expect("it must be refused");
    assert_eq!(error.class(), Class::Failed);
    assert!(error.message().contains(path.to_str().unwrap()), "{error}");
    assert!(error.message().ends_with("nothing was sent"), "{error}");
    error
}

#[test]
fn a_place_where_no_file_can_be_is_named() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("state"), "a file").unwrap();
    let path = directory.path().join("state/journal.db");
    assert_refused(open(&path), &path);
    assert!(Journal::open_read_only(&path).unwrap().is_none());
    let path = directory.path().join("taken");
    fs::create_dir(&path).unwrap();
    assert_refused(open(&path), &path);
}

#[test]
fn a_damaged_file_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal.db");
    let content = "no database at all ".repeat(100);
    fs::write(&path, &content).unwrap();
    let error = assert_refused(open(&path), &path);
    assert!(matches!(error.hints(), [Hint::Text(_)]), "{error:?}");
    assert!(Journal::open_read_only(&path).is_err());
    assert_eq!(fs::read_to_string(&path).unwrap(), content);
}

#[test]
fn files_of_others_and_of_the_future_are_refused() {
    let room = room();
    room.tamper("PRAGMA user_version = 7");
    let error = assert_refused(open(&room.path()), &room.path());
    assert!(error.message().contains("layout 7") && error.message().contains("newer"), "{error}");
    assert!(Journal::open_read_only(&room.path()).is_err());

    let path = room.directory.path().join("foreign.db");
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE notes (text)").unwrap();
    let error = assert_refused(open(&path), &path);
    assert!(error.message().contains("no journal"), "{error}");
}

#[test]
fn on_a_full_disk_nothing_is_planned() {
    let room = room();
    room.journal.connection().pragma_update(None, "max_page_count", 1).unwrap();
    let big = Intent { config_before: Some(json!({"description": "x".repeat(1 << 20)})), ..intent("update", 150) };
    assert_refused(room.journal.plan(&big), &room.path());
    assert!(room.list(&Filter::default()).is_empty());
    room.journal.connection().pragma_update(None, "max_page_count", 1 << 20).unwrap();
    room.journal.plan(&big).unwrap();
    assert_eq!(room.broken(), None);
}

#[test]
fn readers_need_no_journal_and_never_write() {
    let room = room();
    assert!(Journal::open_read_only(&room.directory.path().join("none/journal.db")).unwrap().is_none());
    fs::write(room.directory.path().join("empty.db"), "").unwrap();
    assert!(Journal::open_read_only(&room.directory.path().join("empty.db")).unwrap().is_none());
    let reader = Journal::open_read_only(&room.path()).unwrap().unwrap();
    whole(&room.journal, &intent("start", 150), Verdict::Ok);
    assert_eq!(reader.operations(&Filter::default()).unwrap().len(), 1);
    assert_refused(reader.plan(&intent("start", 150)), &room.path());
}

/// JSON of any shape in which the secret hides under keys that are secrets', and other text anywhere else.
fn document() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![Just(Value::Null), any::<bool>().prop_map(Value::from), "[a-z]{0,6}".prop_map(Value::from)];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let secret = prop_oneof![
            Just(json!(SECRET)),
            Just(json!([SECRET, {"deep": SECRET}])),
            Just(json!({"nested": {"value": SECRET}})),
        ];
        let hidden = (prop_oneof![Just("cipassword"), Just("password"), Just("ticket"), Just("token")], secret);
        let fields = proptest::collection::vec(("[a-z]{1,5}", inner.clone()), 0..3);
        prop_oneof![
            proptest::collection::vec(inner, 0..3).prop_map(Value::from),
            (fields, hidden)
                .prop_map(|(fields, (key, secret))| { fields.into_iter().chain([(key.to_owned(), secret)]).collect() }),
        ]
    })
}

const SECRET: &str = "correct-horse-battery";

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn secrets_are_not_in_the_file(steps in proptest::collection::vec(document(), 0..3), config in document()) {
        let room = room();
        let params = json!({"path": "/nodes/pve1/qemu/1/config", "params": {"cipassword": SECRET, "cores": "kept"}});
        let steps = steps.into_iter().chain([params]).collect();
        whole(&room.journal, &Intent { steps, config_before: Some(config), ..intent("update", 150) }, Verdict::Ok);
        let mut kept = false;
        for file in fs::read_dir(room.path().parent().unwrap()).unwrap() {
            let bytes = fs::read(file.unwrap().path()).unwrap();
            let has = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
            prop_assert!(!has(SECRET));
            kept |= has("kept");
        }
        prop_assert!(kept);
    }
}
