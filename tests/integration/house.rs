//! The laws of the house: who imports whom, what is in the tree without the command line, how long files are.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The package's root.
const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Each room and the rooms that it may use, beside itself. Nobody uses `cli`, and `cli` may use everybody.
const ROOMS: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("sqlite", &[]),
    ("contract", &["model"]),
    ("select", &["model"]),
    ("client", &["model", "contract"]),
    ("tasks", &["model"]),
    ("journal", &["model", "sqlite"]),
    ("backends", &["model", "sqlite", "contract", "client", "tasks"]),
    ("manifest", &["model", "contract"]),
    ("ops", &["model", "contract", "select", "client", "tasks", "journal", "backends", "manifest"]),
    ("server", &["model", "contract"]),
    ("serve", &["model", "sqlite", "contract", "tasks", "backends", "ops", "server"]),
    ("sandbox", &["model", "sqlite", "server"]),
    ("config", &["model"]),
];

/// Files that may be longer than [`LENGTH`] lines, each with its reason.
const LONG: &[(&str, &str)] = &[
    ("src/tasks/follow.rs", "the follower and its tests under paused time"),
    ("src/backends/cloud_hypervisor/state/reconcile/tests/mod.rs", "one table of decisions, read from top to bottom"),
];

/// How long a file may be.
const LENGTH: usize = 400;

/// Crates of the command line and the servers: none of them may be in the SDK's tree.
const NOT_IN_THE_SDK: &[&str] = &[
    "argon2",
    "axum",
    "clap",
    "comfy-table",
    "csv",
    "dialoguer",
    "indicatif",
    "jaq-core",
    "jaq-json",
    "jaq-std",
    "jsonpath-rust",
    "pest",
    "rusqlite",
    "serde-saphyr",
    "tracing-subscriber",
];

/// Every Rust file below a directory, by its path from the root.
fn sources(below: &str) -> BTreeMap<String, String> {
    fn walk(directory: &Path, found: &mut BTreeMap<String, String>) {
        for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
            let path: PathBuf = entry.path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(ROOT).unwrap().to_str().unwrap().replace('\\', "/");
                found.insert(name, fs::read_to_string(&path).unwrap());
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(&Path::new(ROOT).join(below), &mut found);
    assert!(!found.is_empty());
    found
}

/// The room of a file, `None` for the files of the front door.
fn room(file: &str) -> Option<&str> {
    let inside = file.strip_prefix("src/")?;
    let name = inside.split('/').next()?.trim_end_matches(".rs");
    (!["lib", "main"].contains(&name)).then_some(name)
}

/// What a file uses of the crate, with line numbers: `crate::a::…` anywhere, and the first names of `crate::{…}`.
fn uses(text: &str) -> Vec<(usize, String)> {
    let code: String = text
        .lines()
        .map(|line| if line.trim_start().starts_with("//") { "\n".to_owned() } else { format!("{line}\n") })
        .collect();
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        // `pub(crate)` has no colons; `some_crate::` is another word.
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$') {
            continue;
        }
        let line = code[..at].matches('\n').count() + 1;
        let rest = &code[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            Some(group) => found.extend(first_names(group).into_iter().map(|(below, name)| (line + below, name))),
            None => found.push((line, first_word(rest))),
        }
    }
    found
}

fn first_word(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// The names directly in a group of imports, up to its closing brace, with the lines below its beginning.
fn first_names(group: &str) -> Vec<(usize, String)> {
    let (mut depth, mut expected, mut below, mut found) = (0, true, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => expected = true,
            '\n' => below += 1,
            c if expected && (c.is_alphanumeric() || c == '_') => {
                found.push((below, first_word(&group[at..])));
                expected = false;
            }
            _ => {}
        }
    }
    found
}

#[test]
fn imports_are_read_rightly() {
    let text = "// use crate::comment::X;\nuse crate::{\n    a::{b, c},\n    d,\n};\nfn f() { crate::e::g(); other_crate::h(); }\npub(crate) fn i() {}\n";
    let names = uses(text);
    let want = [(3, "a"), (4, "d"), (6, "e")].map(|(line, name)| (line, name.to_owned()));
    assert_eq!(names, want);
}

#[test]
fn rooms_use_only_what_they_may() {
    let mut breaches = Vec::new();
    for (file, text) in sources("src") {
        let Some(room) = room(&file) else { continue };
        let allowed = ROOMS.iter().find(|(name, _)| *name == room).map(|(_, allowed)| *allowed);
        if allowed.is_none() && room != "cli" {
            breaches.push(format!("{file}: the room `{room}` is in no table"));
            continue;
        }
        for (line, used) in uses(&text) {
            let is_room = used == "cli" || ROOMS.iter().any(|(name, _)| *name == used);
            let may = used == room || allowed.is_none_or(|allowed| allowed.contains(&used.as_str()));
            if is_room && !may {
                breaches.push(format!("{file}:{line}: `{room}` may not use `{used}`"));
            }
        }
    }
    assert_eq!(breaches, [""; 0], "see docs/design and the table of rooms");
}

#[test]
fn every_room_is_in_the_table_and_in_the_crate() {
    let front = fs::read_to_string(Path::new(ROOT).join("src/lib.rs")).unwrap();
    for (room, _) in ROOMS.iter().chain(&[("cli", [].as_slice())]) {
        assert!(front.contains(&format!("mod {room};\n")), "`{room}` is not in src/lib.rs");
    }
}

#[test]
fn only_config_and_cli_see_the_environment() {
    const READS: &[&str] =
        &["env::var", "env::vars", "env::args", "env::home_dir", "env::current_dir", "env::temp_dir"];
    let mut breaches = Vec::new();
    for (file, text) in sources("src") {
        if file == "src/main.rs" || room(&file).is_some_and(|room| ["cli", "config"].contains(&room)) {
            continue;
        }
        // Tests stand at the end of their file, or in files of their own.
        if file.contains("/tests") {
            continue;
        }
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        for (number, line) in code.lines().enumerate() {
            if READS.iter().any(|read| line.contains(read)) {
                breaches.push(format!("{file}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    assert_eq!(breaches, [""; 0], "the library takes values");
}

#[test]
fn the_sdk_has_no_command_line_in_its_tree() {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let tree = Command::new(cargo)
        .args(["tree", "--offline", "--locked", "--no-default-features", "-e", "normal", "--prefix", "none"])
        .current_dir(ROOT)
        .output();
    let tree = match tree {
        Ok(tree) => tree,
        Err(error) => {
            eprintln!("SKIPPED: no cargo to ask for the tree ({error})");
            return;
        }
    };
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let names: Vec<String> = String::from_utf8_lossy(&tree.stdout)
        .lines()
        .filter_map(|line| line.split(' ').next().map(str::to_owned))
        .collect();
    assert!(names.iter().any(|name| name == "reqwest"), "this is not our tree: {names:?}");
    // A name that cargo does not know would never be found.
    let lock = fs::read_to_string(Path::new(ROOT).join("Cargo.lock")).unwrap();
    for unwanted in NOT_IN_THE_SDK.iter().filter(|name| **name != "comfy-table") {
        assert!(lock.contains(&format!("name = \"{unwanted}\"\n")), "`{unwanted}` is not used at all");
    }
    for unwanted in NOT_IN_THE_SDK {
        assert!(!names.iter().any(|name| name == unwanted), "`{unwanted}` is in the SDK's tree");
    }
}

#[test]
fn files_stay_short() {
    let long: Vec<String> = sources("src")
        .into_iter()
        .chain(sources("tests"))
        .map(|(file, text)| (file, text.lines().count()))
        .filter(|(file, lines)| *lines > LENGTH && LONG.iter().all(|(allowed, _)| allowed != file))
        .map(|(file, lines)| format!("{file}: {lines} lines"))
        .collect();
    assert_eq!(long, [""; 0], "split by subject, or give the reason in the table");
    for (file, _) in LONG {
        let lines = fs::read_to_string(Path::new(ROOT).join(file)).unwrap().lines().count();
        assert!(lines > LENGTH, "{file} has become short: take it out of the table");
    }
}

#[test]
fn every_module_says_what_it_is() {
    let silent: Vec<String> = sources("src")
        .into_iter()
        .chain(sources("tests"))
        .filter(|(_, text)| !text.starts_with("//! "))
        .map(|(file, _)| file)
        .collect();
    assert_eq!(silent, [""; 0]);
}

#[test]
fn every_file_of_tests_is_mounted() {
    let main = include_str!("main.rs");
    let sources = sources("tests/integration");
    for file in sources.keys() {
        let name = file.trim_start_matches("tests/integration/").trim_end_matches(".rs");
        let (parent, name) = match name.rsplit_once('/') {
            Some((parent, name)) => (sources[&format!("tests/integration/{parent}.rs")].as_str(), name),
            None => (main, name),
        };
        assert!(name == "main" || parent.contains(&format!("mod {name};\n")), "{file} is not mounted");
    }
}
