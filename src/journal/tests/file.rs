//! The file: who may see it, who may write at once, what is refused, what never gets into it.

use std::{fs, path::PathBuf, thread};

use proptest::prelude::*;
use rusqlite::{Connection, OpenFlags};
use serde_json::Value;

use super::*;
use crate::{model::Hint, sqlite};

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

/// As a kill over the first pages leaves it: they are in the file, and what was there before, nothing, is beside it.
#[test]
fn what_a_kill_left_half_written_is_taken_back_by_who_reads() {
    let directory = tempfile::tempdir().unwrap();
    let [making, path] = ["making.db", "journal.db"].map(|name| directory.path().join(name));
    let maker = Connection::open(&making).unwrap();
    // With no room in memory, pages go to the file before they count.
    maker.execute_batch("PRAGMA cache_size = 1; BEGIN; CREATE TABLE half (text)").unwrap();
    for _ in 0..100 {
        maker.execute("INSERT INTO half VALUES (?1)", ["x".repeat(5_000)]).unwrap();
    }
    for ending in ["", "-journal"] {
        let beside = |path: &Path| PathBuf::from(format!("{}{ending}", path.display()));
        assert!(fs::copy(beside(&making), beside(&path)).unwrap() > 0, "{ending}");
    }
    let reader = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let cause = reader.query_row("SELECT count(*) FROM sqlite_schema", (), |_| Ok(())).unwrap_err();
    assert!(sqlite::is_half_written(&cause), "{cause:?}");
    drop(reader);

    let reader = Journal::open_read_only(&path).unwrap().unwrap();
    assert_eq!(reader.operations(&Filter::default()).unwrap(), []);
    whole(&open(&path).unwrap(), &intent("start", 150), Verdict::Ok);
    assert_eq!(reader.operations(&Filter::default()).unwrap().len(), 1);
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
