//! Every command that a document shows: those with a prompt are run, the others are at least spelt right.
//!
//! In a ```` ```console ```` block a line with `$ ` is run in an account of its document's own, in which blocks like
//! ```` ```yaml vm.yaml ```` are files. It must exit with 0, or with N where `# exit N` stands behind it, and what is
//! shown below it must be said, in this order; `…` stands for anything. In ```` ```sh ```` blocks, which are about
//! other machines, every `pvectl` line must be one that the parser takes.

use std::fs;

use regex_lite::Regex;

use super::{Account, Block, blocks, documents, root};

/// The server that documents speak of; the sandbox stands in for it.
const SERVER: &str = "https://pve1.example.org:8006";
const FINGERPRINT: &str = "48:F5:33:02:…";
const TOKEN: &str = "pvectl@pve!laptop=4f1c6a4e-…";

/// A command of a `console` block.
struct Shown {
    line: String,
    code: i32,
    output: Vec<String>,
}

/// Reads the commands of a `console` block.
fn shown(block: &Block) -> Vec<Shown> {
    let exit = Regex::new(r"\s+# exit (\d+)$").expect("a pattern");
    let mut found: Vec<Shown> = Vec::new();
    let mut lines = block.text.lines();
    while let Some(line) = lines.next() {
        let Some(typed) = line.strip_prefix("$ ") else {
            let last = found.last_mut().unwrap_or_else(|| panic!("line {}: output of nothing: {line}", block.line));
            last.output.push(line.to_owned());
            continue;
        };
        let mut typed = typed.to_owned();
        while typed.ends_with('\\') {
            typed.pop();
            typed += lines.next().expect("a line after `\\`").trim_start();
        }
        let code = exit.captures(&typed).map_or(0, |found| found[1].parse().expect("a number"));
        found.push(Shown { line: exit.replace(&typed, "").into_owned(), code, output: Vec::new() });
    }
    found
}

/// A line with everything normalised that differs from run to run.
fn normal(line: &str) -> String {
    const RULES: &[(&str, &str)] = &[
        (r"UPID:\S+", "UPID"),
        (r"\d+(\.\d+)?s\b", "0s"),
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "TIME"),
        (r"\b[0-9a-f]{40}\b", "DIGEST"),
        (r"([0-9A-F]{2}:){5}[0-9A-F]{2}", "MAC"),
        (r"\s+", " "),
    ];
    RULES.iter().fold(line.trim().to_owned(), |line, (rule, word)| {
        Regex::new(rule).expect("a pattern").replace_all(&line, *word).into_owned()
    })
}

fn matches(wanted: &str, line: &str) -> bool {
    let parts: Vec<String> = wanted.split('…').map(regex_lite::escape).collect();
    Regex::new(&format!("^{}$", parts.join(".*"))).expect("a pattern").is_match(line)
}

/// What is shown and was not said, if anything.
fn missing<'a>(wanted: &'a [String], said: &str) -> Option<&'a str> {
    let said: Vec<String> = said.lines().map(normal).collect();
    let mut rest = said.iter();
    wanted
        .iter()
        .filter(|wanted| !wanted.trim().is_empty())
        .find(|wanted| !rest.any(|line| matches(&normal(wanted), line)))
        .map(String::as_str)
}

#[test]
fn commands_that_are_shown_do_what_is_shown() {
    let (mut ran, mut wrong) = (0, Vec::new());
    for path in documents() {
        let document = fs::read_to_string(&path).expect("a document");
        let place = |line: usize| format!("{}:{line}", path.strip_prefix(root()).unwrap_or(&path).display());
        let account = Account::new();
        let server = document.contains(SERVER).then(|| account.env.serve("--tls"));
        let real = |text: &str| match &server {
            Some(server) => {
                let fingerprint = server.fingerprint.as_deref().expect("a fingerprint");
                text.replace(SERVER, &server.url).replace(FINGERPRINT, fingerprint).replace(TOKEN, &server.token)
            }
            None => text.to_owned(),
        };
        for block in blocks(&document) {
            if let Some((_, name)) = block.info.split_once(' ') {
                account.env.write(name, &real(&block.text));
            }
            if block.info != "console" {
                continue;
            }
            for shown in shown(&block) {
                // From a clean checkout people run it through cargo.
                let line = real(&shown.line).replace("cargo run --release --", "pvectl");
                let said = account.shell(&line);
                let output: Vec<String> = shown.output.iter().map(|line| real(line)).collect();
                let missing = missing(&output, &said.text);
                if said.code != Some(shown.code) || missing.is_some() {
                    let missing = missing.map_or(String::new(), |line| format!(" and did not say\n{line}\n"));
                    let (place, code) = (place(block.line), said.code);
                    wrong.push(format!("{place}: `{line}` ended with {code:?}{missing} but said\n{}", said.text));
                }
                ran += 1;
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(ran > 40, "only {ran} commands were found: are the blocks still called `console`?");
}

#[test]
fn commands_for_other_machines_are_spelt_right() {
    let account = Account::new();
    let mut checked = 0;
    for path in documents() {
        let document = fs::read_to_string(&path).expect("a document");
        for block in blocks(&document).iter().filter(|block| block.info == "sh") {
            let text = block.text.replace("\\\n", " ");
            let comment = Regex::new(r"\s+#.*$").expect("a pattern");
            for line in text.lines().filter(|line| line.contains("pvectl ") && !line.contains("cargo ")) {
                let line = comment.replace(line, "").into_owned();
                let Some(at) = line.find("pvectl ").filter(|_| !line.trim_start().starts_with('#')) else { continue };
                let typed = line[at..].split(['|', ';', '<', '>', ')', '&']).next().unwrap_or_default().to_owned();
                // What stands behind `--` is not ours.
                let (ours, theirs) = typed.split_once(" -- ").unwrap_or((typed.as_str(), ""));
                let said = account.shell(&format!("{ours} --help -- {theirs}"));
                assert_eq!(said.code, Some(0), "{}: `{typed}`\n{}", path.display(), said.text);
                checked += 1;
            }
        }
    }
    assert!(checked > 5, "only {checked} commands were found: are the blocks still called `sh`?");
}
