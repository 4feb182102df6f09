//! The picture of a terminal in the README: what the executable really says, in its colours.

use anstyle_svg::{Term, WIN10_CONSOLE};
use regex_lite::Regex;

use super::{Account, must_be, root};

/// What is typed in the picture.
const SESSION: &[&str] = &[
    "vm create --name web-server --cores 4 --memory 8192 --start",
    "vm list",
    "vm shutdown web-sever",
    "operation list",
];

/// What differs from run to run, and what stands in the picture. Columns keep their widths.
const FIXED: &[(&str, &str)] = &[
    // On a terminal a bar stands here, and is gone in the end.
    (r"(?m)^.*(ing vm/104 \(web-server\)|: task UPID:.*)\n", ""),
    (r"\(\d+\.\ds\)", "(0.6s)"),
    (r"\d+s ago", "8s ago"),
    (r"\d+\.\ds\b", "0.6s"),
    (r"  \ds  ", "   -  "),
];

#[test]
fn the_picture_shows_what_the_program_says() {
    let account = Account::new();
    let mut text = String::new();
    for line in SESSION {
        let mut words = vec!["--context", "sandbox", "--color", "always"];
        words.extend(line.split(' '));
        let said = account.pvectl(&words).text;
        text += &format!("\x1b[1;32m$\x1b[0m \x1b[1mpvectl {line}\x1b[0m\n{said}");
    }
    let text = FIXED.iter().fold(text, |text, (differs, fixed)| {
        Regex::new(differs).expect("a pattern").replace_all(&text, *fixed).into_owned()
    });
    for word in ["web-server", "created (0.6s)", "did you mean", "8s ago"] {
        assert!(text.contains(word), "no `{word}` in\n{text}");
    }
    must_be(&root().join("docs/terminal.svg"), &Term::new().palette(WIN10_CONSOLE).render_svg(text.trim_end()));
}
