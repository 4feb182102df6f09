//! The documentation is true: its commands run, its generated parts and its picture are fresh, its schema is that of
//! the output.
//!
//! With `UPDATE_DOCS=1` in the environment, generated parts are written instead of compared.

mod commands;
mod coverage;
mod links;
mod manifest;
mod openapi;
mod output;
mod picture;
mod programs;
mod reference;
#[cfg(unix)]
mod reliability;
mod snippets;

use std::{
    fs,
    io::{Read as _, Seek as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::harness::{Env, PVECTL};

/// The directory of the package.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every document whose commands and generated parts are checked.
fn documents() -> Vec<PathBuf> {
    let mut found = vec![root().join("README.md"), root().join("docs/reliability.md")];
    for directory in ["docs/guide", "docs/reference"] {
        let mut files: Vec<PathBuf> = fs::read_dir(root().join(directory))
            .expect("a directory of documents")
            .map(|entry| entry.expect("an entry").path())
            .filter(|path| path.extension().is_some_and(|ending| ending == "md"))
            .collect();
        files.sort();
        found.extend(files);
    }
    found
}

/// Compares a file with what it should be; writes it instead when asked to.
fn must_be(path: &Path, wanted: &str) {
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(path, wanted).expect("a document that can be written");
        return;
    }
    let have = fs::read_to_string(path).unwrap_or_default();
    if let Some((at, (have, want))) =
        have.lines().zip(wanted.lines()).enumerate().find(|(_, (have, want))| have != want)
    {
        panic!("{}:{}: is\n  {have}\nand should be\n  {want}\n{REFRESH}", path.display(), at + 1);
    }
    assert_eq!(have.lines().count(), wanted.lines().count(), "{} differs in its end\n{REFRESH}", path.display());
}

const REFRESH: &str = "UPDATE_DOCS=1 cargo test --test integration docs writes it anew";

/// An account of its own with a fresh sandbox, whose tasks end at once and which nobody has chosen: it is what there
/// is with nothing configured.
struct Account {
    env: Env,
}

/// What a command said, as a terminal would show it, and how it ended.
struct Said {
    text: String,
    code: Option<i32>,
}

impl Account {
    fn new() -> Self {
        let env = Env::bare();
        let _ = env.run("sandbox reset --pace 0").ok();
        Self { env }
    }

    /// Where `pvectl` is the executable under test, and nothing is known of the person who runs the tests.
    fn prepare(&self, command: &mut Command) {
        let programs = Path::new(PVECTL).parent().expect("a directory of programs");
        let home = self.env.path("");
        command
            .env_clear()
            .env("HOME", &home)
            .env("PATH", format!("{}:/usr/bin:/bin", programs.display()))
            .env("TERM", "dumb")
            .env("COLUMNS", "100")
            .env("TZ", "UTC")
            .current_dir(&home)
            .stdin(Stdio::null());
    }

    /// Runs a line as people type it.
    fn shell(&self, line: &str) -> Said {
        let mut command = Command::new("sh");
        self.prepare(&mut command);
        run(command.args(["-c", line]))
    }

    /// Runs the executable with these words and gives what it says.
    fn pvectl(&self, words: &[&str]) -> Said {
        let mut command = Command::new(PVECTL);
        self.prepare(&mut command);
        run(command.args(words))
    }
}

/// Runs a command with both streams in one, as on a terminal.
fn run(command: &mut Command) -> Said {
    let mut both = tempfile::tempfile().expect("a file");
    let clone = || both.try_clone().expect("a second handle");
    let status = command.stdout(clone()).stderr(clone()).status().expect("a command that runs");
    let mut text = String::new();
    both.rewind().expect("a file");
    both.read_to_string(&mut text).expect("text");
    Said { text, code: status.code() }
}

/// A fenced block of a document.
struct Block {
    /// What follows the fence: `console`, `yaml vm.yaml`.
    info: String,
    /// The line of the fence, counted from one.
    line: usize,
    text: String,
}

fn blocks(document: &str) -> Vec<Block> {
    let mut found = Vec::new();
    let mut open: Option<Block> = None;
    for (at, line) in document.lines().enumerate() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(info)) => open = Some(Block { info: info.to_owned(), line: at + 1, text: String::new() }),
            (Some(_), Some(_)) => found.extend(open.take()),
            (Some(block), None) => {
                block.text += line;
                block.text.push('\n');
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a fence is not closed");
    found
}
