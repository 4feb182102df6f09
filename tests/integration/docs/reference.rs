//! What documents repeat from the program is what the program says: every command's help, and tables of help topics.
//!
//! A document has a table of a topic between `<!-- pvectl help TOPIC -->` and `<!-- end -->`.

use std::fs;

use regex_lite::Regex;

use super::{Account, documents, must_be, root};

/// Where `commands.md` is not just help.
const HEAD: &str = "\
# Commands

Every command's help, as `pvectl help …` prints it. This page is written by a test: see
[the design notes](../design/README.md).
";

const GLOBAL: &str = "Global options:\n";

fn help(account: &Account, words: &[&str]) -> String {
    let said = account.pvectl(&[&["help"], words].concat());
    assert_eq!(said.code, Some(0), "{}", said.text);
    said.text
}

/// The names under `Commands:`.
fn subcommands(help: &str) -> Vec<String> {
    let list = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let lines = list.take_while(|line| !line.is_empty());
    // A line that is indented further goes on with the text of the one before.
    let names = lines.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    names.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

/// The options that every command has stand in the text once.
fn without_global(help: &str) -> String {
    let Some((before, after)) = help.split_once(GLOBAL) else { return help.trim_end().to_owned() };
    let after = after.split_once("\n\n").map_or("", |(_, after)| after);
    format!("{before}{after}").trim_end().to_owned()
}

fn write_command(account: &Account, words: &[&str], text: &mut String) {
    let said = help(account, words);
    *text += &format!("\n## pvectl {}\n\n```text\n{}\n```\n", words.join(" "), without_global(&said));
    for name in subcommands(&said) {
        write_command(account, &[words, &[name.as_str()]].concat(), text);
    }
}

#[test]
fn every_commands_help_is_in_the_reference() {
    let account = Account::new();
    let top = help(&account, &[]);
    let (_, global) = top.split_once(GLOBAL).expect("global options");
    let global = global.split("\n\n").next().unwrap_or_default();
    let mut text = HEAD.to_owned();
    text += &format!("\n## Options of every command\n\n```text\n{}\n```\n", global.trim_end());
    text += &format!("\n## pvectl\n\n```text\n{}\n```\n", without_global(&top));
    for name in subcommands(&top) {
        write_command(&account, &[&name], &mut text);
    }
    assert!(text.contains("## pvectl vm create\n") && text.contains("## pvectl config add-context\n"));
    must_be(&root().join("docs/reference/commands.md"), &text);
}

/// The lines `  NAME  what it is` of a topic as a table.
fn table(topic: &str) -> String {
    let row = Regex::new(r"^\s+(\S+)\s\s+(.*)$").expect("a pattern");
    let rows: Vec<_> = topic.lines().filter_map(|line| row.captures(line)).collect();
    assert!(rows.len() > 3, "no table in\n{topic}");
    let lines = rows.iter().map(|row| format!("| `{}` | {} |\n", &row[1], row[2].replace('|', "\\|")));
    format!("| | |\n|---|---|\n{}", lines.collect::<String>())
}

#[test]
fn tables_of_help_topics_are_fresh() {
    let account = Account::new();
    let begin = Regex::new(r"<!-- pvectl help (\S+) -->\n").expect("a pattern");
    let mut found = 0;
    for path in documents() {
        let document = fs::read_to_string(&path).expect("a document");
        let (mut wanted, mut rest) = (String::new(), document.as_str());
        while let Some(topic) = begin.captures(rest) {
            let (mark, name) = (topic.get(0).expect("all of it"), &topic[1]);
            let (_, after) = rest[mark.end()..].split_once("<!-- end -->").expect("an end of the table");
            wanted += &format!("{}{}<!-- end -->", &rest[..mark.end()], table(&help(&account, &[name])));
            rest = after;
            found += 1;
        }
        must_be(&path, &(wanted + rest));
    }
    assert!(found >= 3, "only {found} tables were found");
}
