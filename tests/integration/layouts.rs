//! Journals as earlier layouts left them, opened by today's executable: nothing is lost, and they go on.
//!
//! `fixtures/journal/layout-N.sql` is a file that an executable of that layout wrote, `layout-N.jsonl` what that same one
//! exported of it. They are never changed once a release had that layout. With `UPDATE_DOCS=1` those of the present layout
//! are written, if there are none.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, types::ValueRef};
use serde_json::Value;

use crate::harness::{Env, NOBODY};

/// What is done in a new journal, so that there is something of every sort in it.
const STORY: &[&str] = &[
    "vm create --vmid 149 --name early --node pve1",
    "vm start 149",
    "operation prune --older-than 2999-01-01 --confirm",
    "vm create --vmid 150 --name web-server --node pve1 --cores 4",
    "vm start 150",
    "vm update 101 --cores 4 --set cipassword=@secret",
    "vm create --vmid 151 --name broken --node pve1 --description 'sandbox: start fails' --start",
    "vm start 103,151,9000",
    "vm delete 103 --confirm",
    "container start dns",
    "api put /nodes/{node}/qemu/{vmid}/config -p vmid=101 -p onboot=1",
    "sandbox reset --pace 100000",
    "vm start 101 --no-wait",
];

fn fixture(layout: u32, ending: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("fixtures/journal/layout-{layout}.{ending}"))
}

/// A context in which nothing of the file is anybody's, so that it is left as it is.
fn elsewhere(env: &Env) -> Env {
    env.without("PVECTL_CONTEXT").with("PVECTL_ENDPOINT", NOBODY).with("PVECTL_TOKEN", "root@pam!x=y")
}

fn layout(connection: &Connection) -> u32 {
    connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap()
}

/// What a file is made of, in words, in the order in which it was made.
fn schema(connection: &Connection) -> Vec<(String, String, String)> {
    let sql =
        "SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%' ORDER BY rowid";
    let mut query = connection.prepare(sql).unwrap();
    let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
    rows.map(Result::unwrap).collect()
}

/// A file as text: tables and rows first, then what looks at them.
fn dump(connection: &Connection) -> String {
    let mark: i64 = connection.pragma_query_value(None, "application_id", |row| row.get(0)).unwrap();
    let mut text = format!("PRAGMA application_id = {mark};\nPRAGMA user_version = {};\n", layout(connection));
    let (tables, rest): (Vec<_>, Vec<_>) = schema(connection).into_iter().partition(|(kind, ..)| kind == "table");
    for (_, name, sql) in &tables {
        let _ = writeln!(text, "{sql};");
        // What is computed is not among these columns.
        let columns = format!("SELECT group_concat(name, ', ') FROM pragma_table_info('{name}')");
        let columns: String = connection.query_row(&columns, [], |row| row.get(0)).unwrap();
        let mut query = connection.prepare(&format!("SELECT {columns} FROM {name} ORDER BY rowid")).unwrap();
        let count = query.column_count();
        let mut rows = query.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let values: Vec<String> = (0..count).map(|at| literal(row.get_ref(at).unwrap())).collect();
            let _ = writeln!(text, "INSERT INTO {name} ({columns}) VALUES ({});", values.join(", "));
        }
    }
    for (_, _, sql) in &rest {
        let _ = writeln!(text, "{sql};");
    }
    text
}

fn literal(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Null => "NULL".to_owned(),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => number.to_string(),
        ValueRef::Text(text) => format!("'{}'", String::from_utf8_lossy(text).replace('\'', "''")),
        ValueRef::Blob(bytes) => format!("X'{}'", bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()),
    }
}

/// A journal that today's executable made.
fn told() -> Env {
    let env = Env::new();
    env.write("secret", "hunter2");
    for line in STORY {
        // What fails on purpose is part of it.
        let said = env.run(line);
        assert_ne!(said.code, 2, "{line}: {said}");
    }
    env
}

/// Whether all of one value is in another.
fn is_in(old: &Value, new: &Value) -> bool {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            old.iter().all(|(key, value)| new.get(key).is_some_and(|new| is_in(value, new)))
        }
        (Value::Array(old), Value::Array(new)) => {
            old.len() == new.len() && old.iter().zip(new).all(|(old, new)| is_in(old, new))
        }
        (old, new) => old == new,
    }
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_journal_of_every_layout_is_read_and_goes_on() {
    let fresh = told();
    let today = Connection::open(fresh.journal()).unwrap();
    let present = layout(&today);
    if !fixture(present, "sql").exists() && std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(fixture(present, "sql"), dump(&today)).unwrap();
        fs::write(fixture(present, "jsonl"), elsewhere(&fresh).run("operation export").ok().raw).unwrap();
    }
    for old in 1..=present {
        let sql = fs::read_to_string(fixture(old, "sql")).unwrap_or_else(|_| {
            panic!("no file of layout {old}: UPDATE_DOCS=1 cargo test --test integration layouts writes that of today")
        });
        let env = Env::new();
        fs::create_dir_all(env.journal().parent().unwrap()).unwrap();
        let file = Connection::open(env.journal()).unwrap();
        file.execute_batch(&sql).unwrap();
        let head: String = file
            .query_row("SELECT lower(hex(hash)) FROM event ORDER BY id DESC LIMIT 1", [], |row| row.get(0))
            .unwrap();

        // What was exported then is exported now.
        let exported = lines(&fs::read_to_string(fixture(old, "jsonl")).unwrap());
        let now = lines(&elsewhere(&env).run("operation export").ok().raw);
        assert_eq!(now.len(), exported.len(), "layout {old}");
        for (old, new) in exported.iter().zip(&now) {
            assert!(is_in(old, new), "was\n{old}\nand is\n{new}");
        }
        let found = elsewhere(&env).json("operation verify");
        assert_eq!((&found["broken"], &found["head"]), (&Value::Null, &Value::from(head)), "layout {old}: {found}");
        assert!(found["pruned"].as_u64() > Some(0), "{found}");
        let failed = elsewhere(&env).json("operation list --status failed");
        assert!(!failed.as_array().unwrap().is_empty(), "found by an index");
        let kept = env.run("vm config history 101 -o json").ok();
        assert!(kept.raw.contains("\"cores\": 2"), "the configuration before is there: {kept}");

        // And it goes on where it was.
        let last = exported.iter().filter_map(|row| row["id"].as_i64()).max().unwrap();
        let _ = env.run("vm update 101 --cores 8").ok();
        let next = env.json("operation list --limit 1");
        assert_eq!((&next[0]["id"], &next[0]["status"]), (&Value::from(last + 1), &Value::from("ok")), "{next}");
        assert_eq!(env.json("operation verify")["broken"], Value::Null);
        let sorted = |connection| schema(connection).into_iter().collect::<BTreeSet<_>>();
        assert_eq!(layout(&file), present);
        assert_eq!(sorted(&file), sorted(&today), "layout {old}");
    }
}
