//! `docs/reference/output.md` describes the output that the executable really has.
//!
//! A table there follows `<!-- output: COMMAND; COMMAND; open -->`. The commands are run with `-o json`; a word at the
//! end that begins with `/` points into what they print; `UPID` is a task's. `open` says that other keys may be there.

use std::fs;

use regex_lite::Regex;
use serde_json::Value;

use super::{Account, root};

/// What makes the sandbox have everything that the tables speak of.
const BEFORE: &[&str] = &[
    "vm create --name web-server --cores 2 --start",
    "vm update 104 --cores 4",
    "vm update 100 --cores 8",
    "vm suspend 102",
    "vm resume 102",
    "vm create --name sleeper --start",
    "vm suspend sleeper",
    "--context local vm create --name later --memory 64",
    "--context local vm add disk later --volume local:1 --queue",
];

/// A table of keys and the commands whose output it describes.
struct Table {
    line: usize,
    commands: Vec<String>,
    open: bool,
    keys: Vec<Key>,
}

struct Key {
    name: String,
    types: Vec<String>,
    there: String,
}

fn tables(text: &str) -> Vec<Table> {
    let mark = Regex::new(r"^<!-- output: (.*) -->$").expect("a pattern");
    let row = Regex::new(r"^\| `([^`]+)` \| ([^|]+) \| (always|mostly|rarely) \| [^|]+ \|$").expect("a pattern");
    let mut found: Vec<Table> = Vec::new();
    for (at, line) in text.lines().enumerate() {
        if let Some(mark) = mark.captures(line) {
            let mut commands: Vec<String> = mark[1].split(';').map(|part| part.trim().to_owned()).collect();
            let open = commands.last().is_some_and(|last| last == "open");
            commands.truncate(commands.len() - usize::from(open));
            found.push(Table { line: at + 1, commands, open, keys: Vec::new() });
        } else if line.starts_with("| `") {
            let row = row.captures(line).unwrap_or_else(|| panic!("line {}: not a row of a table: {line}", at + 1));
            let types = row[2].split(" or ").map(|word| word.trim().to_owned()).collect();
            let key = Key { name: row[1].to_owned(), types, there: row[3].to_owned() };
            found.last_mut().expect("a table").keys.push(key);
        }
    }
    found
}

fn is_a(value: &Value, name: &str) -> bool {
    match name {
        "any" => true,
        "null" => value.is_null(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("`{other}` is no type"),
    }
}

/// The objects that a command prints.
fn objects(account: &Account, command: &str, upid: &str) -> Vec<Value> {
    let (words, pointer) = match command.rsplit_once(' ') {
        Some((words, pointer)) if pointer.starts_with('/') => (words, pointer),
        _ => (command, ""),
    };
    let mut words: Vec<&str> = words.split(' ').map(|word| if word == "UPID" { upid } else { word }).collect();
    words.extend(["-o", "json", "--quiet"]);
    let said = account.pvectl(&words).text;
    let data: Value = serde_json::from_str(&said).unwrap_or_else(|error| panic!("`{command}`: {error}:\n{said}"));
    match data.pointer(pointer).unwrap_or_else(|| panic!("`{command}`: no {pointer} in\n{said}")) {
        Value::Array(items) => items.clone(),
        one => vec![one.clone()],
    }
}

impl Table {
    fn check(&self, account: &Account, upid: &str) {
        let mut seen: Vec<&str> = Vec::new();
        for command in &self.commands {
            let place = format!("output.md:{}: `{command}`", self.line);
            let objects = objects(account, command, upid);
            assert!(!objects.is_empty(), "{place} printed nothing");
            for object in objects {
                let object = object.as_object().unwrap_or_else(|| panic!("{place}: no object: {object}"));
                for key in &self.keys {
                    let Some(value) = object.get(&key.name) else {
                        assert_ne!(key.there, "always", "{place}: no `{}` in {object:?}", key.name);
                        continue;
                    };
                    seen.push(&key.name);
                    let fits = key.types.iter().any(|name| is_a(value, name));
                    assert!(fits, "{place}: `{}` is {value}, not {}", key.name, key.types.join(" or "));
                }
                let unknown = object.keys().find(|name| self.keys.iter().all(|key| key.name != **name));
                assert!(self.open || unknown.is_none(), "{place}: `{}` is not in the table", unknown.expect("a key"));
            }
        }
        // What is described must exist, except where the sandbox cannot show it.
        let unseen = self.keys.iter().find(|key| key.there != "rarely" && !seen.contains(&key.name.as_str()));
        assert!(unseen.is_none(), "output.md:{}: nothing printed has `{}`", self.line, unseen.expect("a key").name);
    }
}

#[test]
fn the_schema_is_that_of_the_output() {
    let account = Account::new();
    for line in BEFORE {
        let said = account.shell(&format!("pvectl {line}"));
        assert_eq!(said.code, Some(0), "`{line}`:\n{}", said.text);
    }
    let tasks = objects(&account, "task list", "");
    let upid = tasks[0]["upid"].as_str().expect("a UPID");
    let text = fs::read_to_string(root().join("docs/reference/output.md")).expect("the document");
    let tables = tables(&text);
    assert!(tables.len() > 15, "only {} tables were found", tables.len());
    for table in &tables {
        assert!(!table.keys.is_empty(), "output.md:{}: no table follows", table.line);
        table.check(&account, upid);
    }
}

#[test]
fn the_version_of_the_output_is_the_documents() {
    let account = Account::new();
    let client = objects(&account, "version /client", "").remove(0);
    let text = fs::read_to_string(root().join("docs/reference/output.md")).expect("the document");
    assert!(text.contains(&format!("**This is version {}**", client["output"])), "{client}");
}
