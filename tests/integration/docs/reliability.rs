//! The fault matrix: every command that changes a server × everything that goes wrong on the way, as
//! `docs/reliability.md` shows it.
//!
//! Each cell is a run of the executable against a sandbox of its own: how it ended, how often a change reached the
//! server, what the journal says. What must hold in every cell is checked here; the page only shows it. The commands
//! are those of the reference, which is made from the command line's tables: one that is in no table here fails.

mod faults;
mod run;
mod verbs;

use std::{fmt::Write as _, fs, sync::Mutex};

use self::{
    faults::{FAULTS, Fault, Told},
    run::{Cell, Prepared},
    verbs::{ELSEWHERE, READS, REFUSED, VERBS, Verb},
};
use super::{must_be, root};

/// How many commands are at work at once.
const AT_ONCE: usize = 8;

/// Every command that is no group of others.
fn commands() -> Vec<String> {
    let reference = fs::read_to_string(root().join("docs/reference/commands.md")).expect("the reference");
    let all: Vec<String> =
        reference.lines().filter_map(|line| line.strip_prefix("## pvectl ")).map(str::to_owned).collect();
    let is_group = |words: &String| all.iter().any(|other| other.starts_with(&format!("{words} ")));
    let leaves = all.iter().filter(|words| !is_group(words));
    leaves.cloned().collect()
}

/// Whether words are these, or below them.
fn is_below(words: &str, above: &str) -> bool {
    words.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
}

#[test]
fn every_command_is_in_the_matrix_or_says_why_not() {
    let commands = commands();
    let mut lost = Vec::new();
    for words in &commands {
        let last = words.rsplit(' ').next().unwrap_or_default();
        let places = [
            VERBS.iter().any(|verb| verb.words == words),
            REFUSED.iter().any(|(refused, ..)| refused == words),
            ELSEWHERE.iter().any(|(above, _)| is_below(words, above)),
            READS.contains(&last),
        ];
        let but_reads = places[..3].iter().filter(|is| **is).count();
        if but_reads > 1 || !places.contains(&true) {
            lost.push(format!("`pvectl {words}`"));
        }
    }
    assert!(
        lost.is_empty(),
        "in no table of tests/integration/docs/reliability/verbs.rs, or in two: {}\nwhat changes a server belongs into \
         VERBS, and goes through every fault; what only reads has its verb in READS; the rest says why in ELSEWHERE",
        lost.join(", ")
    );
    let words = VERBS.iter().map(|verb| verb.words).chain(REFUSED.iter().map(|(words, ..)| *words));
    for words in words.chain(ELSEWHERE.iter().map(|(words, _)| *words)) {
        assert!(commands.iter().any(|have| is_below(have, words)), "`pvectl {words}` is no command any more");
    }
}

#[test]
fn what_no_server_can_do_is_refused_before_anything_is_sent() {
    for (words, line) in REFUSED {
        let verb = Verb { words, with: "", line, setup: &[], slow: false, abreast: false };
        let (_, cell) = Prepared::new(&verb);
        assert_eq!(
            (cell.code, cell.changes.len(), cell.statuses.as_slice()),
            (2, 0, [].as_slice()),
            "{words}: {cell:?}"
        );
    }
}

/// The cells of a verb, for each fault one; an empty one where it is not about that.
fn row(verb: &Verb) -> Vec<Cell> {
    let (prepared, well) = Prepared::new(verb);
    let run = |fault: &Fault| if fault.is_about(&well) { prepared.run(fault) } else { Cell::default() };
    let rest: Vec<Cell> = FAULTS[1..].iter().map(run).collect();
    std::iter::once(well).chain(rest).collect()
}

/// All cells: for each verb those of all faults.
fn matrix() -> Vec<Vec<Cell>> {
    let rows: Vec<Mutex<Vec<Cell>>> = VERBS.iter().map(|_| Mutex::default()).collect();
    let next = Mutex::new(0..VERBS.len());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let Some(at) = next.lock().expect("a counter").next() else { return };
                    *rows[at].lock().expect("a row") = row(&VERBS[at]);
                }
            });
        }
    });
    rows.into_iter().map(|row| row.into_inner().expect("a row")).collect()
}

/// What must hold in every cell.
fn broken_laws(verb: &Verb, fault: &Fault, cell: &Cell, well: &Cell) -> Vec<String> {
    let mut broken = Vec::new();
    let mut law = |holds: bool, text: &str| {
        if !holds {
            broken.push(format!("`{}` under {}: {text}\n{cell}", verb.line, fault.title));
        }
    };
    for change in &cell.changes {
        let sent = cell.changes.iter().filter(|other| *other == change).count();
        let wanted = well.changes.iter().filter(|other| *other == change).count();
        // An answer 401 says that nothing was done.
        law(sent <= wanted + usize::from(fault.asks_again), &format!("{change} reached the server {sent} times"));
    }
    let is = |status: &str| cell.statuses.iter().any(|have| have == status);
    match fault.told {
        Told::Done => law(cell.code == 0, "all is well in the end"),
        Told::NotDone => law(cell.code != 0 && !is("ok") && !is("unknown"), "it was not done, and that is known"),
        Told::Nobody => law(cell.code != 0 && !is("ok") && !is("failed"), "nobody knows whether it was done"),
        Told::DoneUnseen => law(!is("failed"), "it was done, so it must not be called failed"),
        Told::Running => law(cell.code == 8 && !is("failed"), "it goes on"),
    }
    // What is ours around a program in a guest must not be taken for the program's.
    let ours = verb.words == "vm exec" && cell.code == 125;
    law((cell.code != 125 || ours) && !cell.stderr.contains("panicked"), "that is no bug");
    if cell.code == 0 {
        law(well.statuses.is_empty() || is("ok") || is("warning"), "the journal says so too");
    } else {
        law(cell.stderr.contains("error: "), "an error is told");
        law(fault.is_plain || cell.stderr.contains("hint: "), "and a way out");
    }
    broken
}

#[test]
fn the_fault_matrix_holds_and_is_shown() {
    let rows = matrix();
    let mut broken = Vec::new();
    for (verb, cells) in VERBS.iter().zip(&rows) {
        let well = &cells[0];
        for (fault, cell) in FAULTS.iter().zip(cells) {
            if fault.is_about(well) {
                broken.extend(broken_laws(verb, fault, cell, well));
            }
        }
    }
    assert!(broken.is_empty(), "{} cells break a law:\n{}", broken.len(), broken.join("\n"));
    let path = root().join("docs/reliability.md");
    let page = fs::read_to_string(&path).expect("the page");
    must_be(&path, &refreshed(&page, &rows));
}

/// The page with the tables between `<!-- faults GROUP -->` and `<!-- end -->` made anew.
fn refreshed(page: &str, rows: &[Vec<Cell>]) -> String {
    const BEGIN: &str = "<!-- faults ";
    let (mut made, mut rest) = (String::new(), page);
    while let Some(at) = rest.find(BEGIN) {
        let (group, after) = rest[at + BEGIN.len()..].split_once(" -->").expect("the end of a mark");
        let (_, after) = after.split_once("<!-- end -->").expect("the end of a table");
        let content = match group {
            "sorts" => sorts(rows),
            "elsewhere" => elsewhere(),
            group => table(group, rows) + &sayings(group, rows),
        };
        let _ = write!(made, "{}{BEGIN}{group} -->\n{content}<!-- end -->", &rest[..at]);
        rest = after;
    }
    for fault in &FAULTS[1..] {
        assert!(page.contains(&format!("{BEGIN}{} -->", fault.group)), "the page has no place for {}", fault.group);
    }
    made + rest
}

/// One line for all commands with the same outcome under all faults of a group.
fn table(group: &str, rows: &[Vec<Cell>]) -> String {
    let faults: Vec<usize> = (0..FAULTS.len()).filter(|at| FAULTS[*at].group == group).collect();
    let mut same: Vec<(Vec<String>, Vec<&Verb>)> = Vec::new();
    for (verb, cells) in VERBS.iter().zip(rows) {
        let shown = |at: &usize| match (&FAULTS[*at], &cells[*at]) {
            (fault, _) if !fault.is_about(&cells[0]) => "–".to_owned(),
            (Fault { is_luck: true, .. }, cell) if cell.statuses.iter().all(|status| status == "failed") => {
                format!("{} {}× failed, or –", cell.code, cell.changes.len())
            }
            (_, cell) => cell.short(),
        };
        let line: Vec<String> = faults.iter().map(shown).collect();
        match same.iter_mut().find(|(have, _)| *have == line) {
            Some((_, verbs)) => verbs.push(verb),
            None => same.push((line, vec![verb])),
        }
    }
    let titles: Vec<&str> = faults.iter().map(|at| FAULTS[*at].title).collect();
    let mut text = format!("| | {} |\n|---|{}\n", titles.join(" | "), "---|".repeat(faults.len()));
    for (line, verbs) in same {
        let _ = writeln!(text, "| {} | {} |", names(&verbs, rows), line.join(" | "));
    }
    text
}

/// Whether a command is of a sort, by what it does when all is well.
type Is = fn(&Cell) -> bool;

/// What commands have in common, as far as faults care.
const SORTS: &[(&str, Is)] = &[
    ("a task", |well| well.starts_task && well.changes.len() == 1 && !well.is_of_node),
    ("a task of a node", |well| well.is_of_node),
    ("several tasks", |well| well.changes.len() > 1),
    ("at once", |well| !well.starts_task && well.changes.len() == 1 && well.reads_before()),
    ("unseen", |well| !well.starts_task && well.changes.len() == 1 && !well.reads_before()),
];

/// The commands of a sort.
fn sort(is: Is, rows: &[Vec<Cell>]) -> Vec<&'static Verb> {
    VERBS.iter().zip(rows).filter(|(_, cells)| is(&cells[0])).map(|(verb, _)| verb).collect()
}

/// Which sort each command is of.
fn sorts(rows: &[Vec<Cell>]) -> String {
    let mut text = "| | |\n|---|---|\n".to_owned();
    for (title, is) in SORTS {
        let _ = writeln!(text, "| **{title}** | {} |", listed(&sort(*is, rows)));
    }
    text
}

/// What stands in front of a line: the sorts that are in it, wholly or but for a few, and single commands of the others.
fn names(verbs: &[&Verb], rows: &[Vec<Cell>]) -> String {
    let in_line = |verb: &Verb| verbs.iter().any(|have| std::ptr::eq(*have, verb));
    let (mut parts, mut single) = (Vec::new(), Vec::new());
    for (title, is) in SORTS {
        let (here, not) = sort(*is, rows).into_iter().partition::<Vec<_>, _>(|verb| in_line(verb));
        match here.len() {
            _ if not.is_empty() => parts.push((*title).to_owned()),
            // The few have lines of their own.
            many if many > 3 * not.len() => parts.push(format!("{title} (the rest)")),
            _ => single.extend(here),
        }
    }
    if !single.is_empty() {
        parts.push(listed(&single));
    }
    if parts.len() == SORTS.len() && single.is_empty() { "every command".to_owned() } else { parts.join(", ") }
}

/// `vm start, stop · container start`.
fn listed(verbs: &[&Verb]) -> String {
    let mut by_noun: Vec<(&str, Vec<String>)> = Vec::new();
    for verb in verbs {
        let (noun, rest) = verb.words.split_once(' ').unwrap_or((verb.words, ""));
        let rest = format!("{rest} {}", verb.with).trim().to_owned();
        match by_noun.iter_mut().find(|(have, _)| *have == noun) {
            Some((_, all)) => all.push(rest),
            None => by_noun.push((noun, vec![rest])),
        }
    }
    let parts = by_noun.iter().map(|(noun, verbs)| format!("`{noun}` {}", verbs.join(", ")).trim().to_owned());
    parts.collect::<Vec<_>>().join(" · ")
}

/// What is shown beside the start of a VM, where it is said in other words: the fault and the command.
const BESIDE: &[(&str, &str)] = &[("595", "pool update"), ("596, not done", "pool update")];

/// What a start of a VM, and what is shown beside, says under each fault of a group, each thing once.
fn sayings(group: &str, rows: &[Vec<Cell>]) -> String {
    let mut said: Vec<(&str, &str, Vec<&str>)> = Vec::new();
    for (at, fault) in FAULTS.iter().enumerate().filter(|(_, fault)| fault.group == group) {
        let beside = BESIDE.iter().filter(|(title, _)| *title == fault.title).map(|(_, words)| *words);
        for words in std::iter::once("vm start").chain(beside) {
            let place = VERBS.iter().position(|verb| verb.words == words).expect("a command of the matrix");
            let (line, stderr) = (VERBS[place].line, rows[place][at].stderr.as_str());
            match said.iter_mut().find(|(have, text, _)| (*have, *text) == (line, stderr)) {
                Some((.., titles)) => titles.push(fault.title),
                None => said.push((line, stderr, vec![fault.title])),
            }
        }
    }
    let mut text = String::new();
    for (line, stderr, titles) in said {
        let _ = write!(text, "\n`pvectl {line}`, {}:\n\n```text\n{}\n```\n", titles.join("; "), stderr.trim_end());
    }
    text + "\n"
}

/// What is in no matrix, and why.
fn elsewhere() -> String {
    let mut by_reason: Vec<(&str, Vec<String>)> = Vec::new();
    let refused =
        REFUSED.iter().map(|(words, _)| (*words, "Proxmox VE has no such thing: refused, exit 2, nothing sent"));
    for (words, why) in refused.chain(ELSEWHERE.iter().copied()) {
        let words = format!("`{words}`");
        match by_reason.iter_mut().find(|(have, _)| *have == why) {
            Some((_, all)) => all.push(words),
            None => by_reason.push((why, vec![words])),
        }
    }
    let mut text = "| | why |\n|---|---|\n".to_owned();
    for (why, words) in by_reason {
        let _ = writeln!(text, "| {} | {why} |", words.join(", "));
    }
    let _ = writeln!(text, "| every `{}` | only reads, and a read is sent three times at most |", READS.join("`, `"));
    text
}
