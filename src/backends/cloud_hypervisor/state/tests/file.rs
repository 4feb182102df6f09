//! The file: rights, layouts, and everything that may be wrong with it.

use std::{fs, os::unix::fs::PermissionsExt as _};

use rusqlite::Connection;

use super::*;

/// The error of a file that cannot be used: it names the file and says what to do.
fn told(path: &Path, error: &Error) -> String {
    assert_eq!(error.class(), Class::Failed);
    assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    let [Hint::Text(way_out)] = error.hints() else { panic!("no way out: {error}") };
    way_out.clone()
}

#[test]
fn nobody_else_may_look() {
    let room = room();
    made(&room.state, "web");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(room.path().parent().unwrap()), 0o700);
    for file in fs::read_dir(room.path().parent().unwrap()).unwrap() {
        let path = file.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}

#[test]
fn a_damaged_file_is_left_and_named() {
    let room = tempfile::tempdir().unwrap();
    let path = room.path().join("local.db");
    let garbage = "this is no database ".repeat(100);
    fs::write(&path, &garbage).unwrap();
    let error = open(&path).unwrap_err();
    assert!(told(&path, &error).contains("move it away"));
    assert_eq!(fs::read_to_string(&path).unwrap(), garbage);
}

#[test]
fn damage_within_is_named_too() {
    let room = room();
    for n in 0..50 {
        made(&room.state, &format!("vm{n}"));
    }
    let path = room.path();
    drop(room.state);
    let mut bytes = fs::read(&path).unwrap();
    let pages = bytes.len();
    assert!(pages > 3 * 4096);
    bytes[4096..].fill(0xa5);
    fs::write(&path, bytes).unwrap();
    let error = open(&path).and_then(|state| state.vms()).unwrap_err();
    assert!(told(&path, &error).contains("put back a copy"), "{error}");
}

#[test]
fn what_is_not_ours_is_left() {
    let room = tempfile::tempdir().unwrap();
    let path = room.path().join("other.db");
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE theirs (x)").unwrap();
    assert!(told(&path, &open(&path).unwrap_err()).contains("move it away"));
    let tables = "SELECT group_concat(name) FROM sqlite_schema";
    let tables: String = Connection::open(&path).unwrap().query_row(tables, [], |row| row.get(0)).unwrap();
    assert_eq!(tables, "theirs");
}

#[test]
fn a_newer_layout_is_refused_and_an_older_is_brought_up() {
    let room = room();
    let vm = made(&room.state, "web");
    let path = room.path();
    let layout = || -> i64 {
        Connection::open(&path).unwrap().pragma_query_value(None, "user_version", |row| row.get(0)).unwrap()
    };
    let present = layout();
    assert_eq!(present, i64::from(schema::LAYOUT.present()));
    Connection::open(&path).unwrap().pragma_update(None, "user_version", present + 1).unwrap();
    assert!(told(&path, &open(&path).unwrap_err()).contains("newer version"));
    Connection::open(&path).unwrap().pragma_update(None, "user_version", present).unwrap();
    assert_eq!(room.again().vm(vm.vmid).unwrap(), vm);

    // A file that somebody began and did not fill.
    let empty = room.directory.path().join("empty.db");
    fs::write(&empty, "").unwrap();
    assert_eq!(made(&open(&empty).unwrap(), "first").vmid, vmid(100));
}

#[test]
fn many_who_open_a_new_file_at_once_get_along() {
    let room = tempfile::tempdir().unwrap();
    let path = file_in(room.path());
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..8).map(|_| scope.spawn(|| open(&path).map(drop))).collect();
        for one in all {
            one.join().unwrap().unwrap();
        }
    });
}

#[test]
fn a_file_that_cannot_be_made_or_written_says_so() {
    let room = tempfile::tempdir().unwrap();
    // A file where a directory should be.
    fs::write(room.path().join("file"), "").unwrap();
    let path = room.path().join("file/local.db");
    let error = open(&path).unwrap_err();
    assert!(error.to_string().starts_with(&format!("cannot make {}", path.display())), "{error}");
    // A directory where the file should be.
    let path = room.path().join("directory");
    fs::create_dir(&path).unwrap();
    assert!(told(&path, &open(&path).unwrap_err()).contains("writable"));
}

#[test]
fn a_write_to_a_read_only_file_changes_nothing() {
    let room = room();
    let vm = made(&room.state, "web");
    // As with a file of another user; root, who runs tests in places, may write that all the same.
    room.state.connection().pragma_update(None, "query_only", true).unwrap();
    let change = |state: &State| state.configure(vm.vmid, None, |vm| Ok(std::mem::take(&mut vm.settings.config)));
    let error = change(&room.state).unwrap_err();
    assert!(told(&room.path(), &error).contains("writable by the user"), "{error}");
    assert_eq!(room.state.vm(vm.vmid).unwrap(), vm);
}

#[test]
fn a_full_disk_changes_nothing() {
    let room = room();
    let vm = made(&room.state, "web");
    {
        let connection = room.state.connection();
        let pages: i64 = connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
        connection.pragma_update(None, "max_page_count", pages).unwrap();
    }
    let long = "x".repeat(1 << 20);
    let write = |vm: &mut Vm| Ok(vm.settings.config.insert("description".into(), long.clone()));
    let error = room.state.configure(vm.vmid, None, write).unwrap_err();
    assert!(told(&room.path(), &error).contains("make room"), "{error}");
    assert_eq!(room.state.vm(vm.vmid).unwrap(), vm);
    room.state.connection().pragma_update(None, "max_page_count", 1_000_000).unwrap();
    room.state.configure(vm.vmid, None, write).unwrap();
}
