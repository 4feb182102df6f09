//! The shells: what is installed in each, how it says what was typed, how it wants the candidates.
//!
//! The protocol is ours on both sides, so a script that was installed once goes on working. It does not know what can
//! be typed.

use std::io::{self, Write};

use serde_json::json;

use super::{
    Candidate, Reply,
    line::{self, Quote},
};

/// A line as far as it was typed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Typed {
    /// Its words, the program first, without quotes; the last one is being typed.
    pub(super) words: Vec<String>,
    /// How much of the last word the shell keeps by itself, in bytes.
    pub(super) kept: usize,
    /// The quotes that are open.
    pub(super) quote: Option<Quote>,
    /// The candidates are only shown, none of them is put into the line.
    pub(super) shown: bool,
    /// The last word is a file, whatever the program says: it follows a redirection.
    pub(super) file: bool,
}

/// A shell.
pub(crate) struct Shell {
    pub(crate) name: &'static str,
    /// Where its script goes: lines of help.
    pub(crate) install: &'static str,
    script: &'static str,
    /// A word of a script in the shell's quotes.
    quote: fn(&str) -> String,
    /// What stands between the names of a list.
    between: &'static str,
    pub(super) read: fn(Vec<String>) -> Typed,
    pub(super) write: fn(&mut dyn Write, &Typed, &Reply) -> io::Result<()>,
}

/// Says that a file is to be typed, which the shell knows more about.
const FILES: &str = ":files";

/// Every shell.
pub(crate) const SHELLS: &[Shell] = &[
    Shell {
        name: "bash",
        install: "  mkdir -p ~/.local/share/bash-completion/completions
  pvectl completion bash > ~/.local/share/bash-completion/completions/pvectl

That needs the package bash-completion. Without it, in ~/.bashrc:

  source <(pvectl completion bash)",
        script: include_str!("scripts/bash.sh"),
        quote: shell_quote,
        between: " ",
        read: read_bash,
        write: write_bash,
    },
    Shell {
        name: "zsh",
        install: "  pvectl completion zsh > \"${fpath[1]}/_pvectl\"

and begin a new shell. Or in ~/.zshrc, after compinit:

  source <(pvectl completion zsh)",
        script: include_str!("scripts/zsh.zsh"),
        quote: shell_quote,
        between: " ",
        read: read_words,
        write: write_zsh,
    },
    Shell {
        name: "fish",
        install: "  mkdir -p ~/.config/fish/completions
  pvectl completion fish > ~/.config/fish/completions/pvectl.fish",
        script: include_str!("scripts/fish.fish"),
        quote: fish_quote,
        between: " ",
        read: read_fish,
        write: write_fish,
    },
    Shell {
        name: "powershell",
        install: "In the file that $PROFILE names:

  pvectl completion powershell | Out-String | Invoke-Expression",
        script: include_str!("scripts/powershell.ps1"),
        quote: powershell_quote,
        between: ", ",
        read: |words| {
            read_words(words.into_iter().map(|word| word.strip_prefix(':').unwrap_or(&word).to_owned()).collect())
        },
        write: write_powershell,
    },
    Shell {
        name: "elvish",
        install: "In ~/.config/elvish/rc.elv:

  eval (pvectl completion elvish | slurp)",
        script: include_str!("scripts/elvish.elv"),
        quote: |text| format!("'{}'", text.replace('\'', "''")),
        between: " ",
        read: read_words,
        write: write_elvish,
    },
    Shell {
        name: "nushell",
        install: "  mkdir ($nu.user-autoload-dirs | first)
  pvectl completion nushell | save --force ($nu.user-autoload-dirs | first | path join pvectl.nu)

and begin a new shell.",
        script: include_str!("scripts/nushell.nu"),
        quote: |text| format!("r#'{text}'#"),
        between: ", ",
        read: read_words,
        write: write_nushell,
    },
];

impl Shell {
    /// The shell of this name.
    pub(crate) fn by_name(name: &str) -> Option<&'static Self> {
        SHELLS.iter().find(|shell| shell.name == name)
    }

    /// The script that completes these names by asking this program.
    pub(crate) fn script(&self, program: &str, names: &[String]) -> String {
        let word = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
        let function = format!("_{}", names.first().map_or("pvectl", String::as_str).replace(|c| word(c) != c, "_"));
        let names: Vec<String> = names.iter().map(|name| (self.quote)(name)).collect();
        self.script
            .replace("@FUNCTION@", &function)
            .replace("@NAMES@", &names.join(self.between))
            .replace("@PROGRAM@", &(self.quote)(program))
    }
}

fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/_-.+".contains(&byte))
}

fn shell_quote(text: &str) -> String {
    if is_plain(text) { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

fn fish_quote(text: &str) -> String {
    if is_plain(text) { text.to_owned() } else { format!("'{}'", text.replace('\\', r"\\").replace('\'', r"\'")) }
}

fn powershell_quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// The words as they are, the last one being typed.
fn read_words(mut words: Vec<String>) -> Typed {
    if words.len() < 2 {
        words.push(String::new());
    }
    Typed { words, ..Typed::default() }
}

/// Only the last word still has its quotes.
fn read_fish(mut words: Vec<String>) -> Typed {
    if let Some(last) = words.last_mut() {
        *last = line::unquoted(last).0;
    }
    read_words(words)
}

/// The line up to the cursor, the part of its last word that bash is about to replace, and why it asks. Bash splits
/// words at `:` and `=` too; its own list of words is of no use.
fn read_bash(args: Vec<String>) -> Typed {
    let mut args = args.into_iter();
    let line = line::read(&args.next().unwrap_or_default());
    let replaced = args.next().unwrap_or_default();
    // `?`, `!` and `@`: a list of candidates is asked for, and at most their common beginning goes into the line.
    let shown = args.next().is_some_and(|why| ["63", "33", "64"].contains(&why.as_str()));
    let before = line.raw.strip_suffix(replaced.as_str()).unwrap_or_default();
    let kept = line::unquoted(before).0.len();
    Typed { words: line.words, kept, quote: line.quote, shown, file: line.file }
}

/// One line each. A blank after the only candidate that is whole; descriptions where candidates are only shown.
fn write_bash(out: &mut dyn Write, typed: &Typed, reply: &Reply) -> io::Result<()> {
    if reply.files {
        return writeln!(out, "{FILES}");
    }
    let candidates = &reply.candidates;
    let end = |candidate: &Candidate| candidate.value.get(typed.kept..).unwrap_or_default().to_owned();
    let width = candidates.iter().map(|candidate| end(candidate).chars().count()).max().unwrap_or_default();
    for candidate in candidates {
        let value = line::quoted(&end(candidate), typed.quote);
        if let [_] = candidates.as_slice() {
            let blank = if candidate.open || typed.quote.is_some() { "" } else { " " };
            writeln!(out, "{value}{blank}")?;
        } else if typed.shown && !candidate.about.is_empty() {
            writeln!(out, "{value:width$}  ({})", candidate.about)?;
        } else {
            writeln!(out, "{value}")?;
        }
    }
    Ok(())
}

fn write_zsh(out: &mut dyn Write, _: &Typed, reply: &Reply) -> io::Result<()> {
    if reply.files {
        return writeln!(out, "{FILES}");
    }
    for Candidate { value, about, open } in &reply.candidates {
        let value = value.replace('\\', r"\\").replace(':', r"\:");
        let about = if about.is_empty() { String::new() } else { format!(":{}", about.replace('\\', r"\\")) };
        writeln!(out, "{}{value}{about}", if *open { 'b' } else { 'w' })?;
    }
    Ok(())
}

fn write_fish(out: &mut dyn Write, _: &Typed, reply: &Reply) -> io::Result<()> {
    if reply.files {
        return writeln!(out, "{FILES}");
    }
    reply.candidates.iter().try_for_each(|candidate| writeln!(out, "{}\t{}", candidate.value, candidate.about))
}

/// What goes into the line, what is listed, what is shown beside it. For nothing, PowerShell offers files.
fn write_powershell(out: &mut dyn Write, _: &Typed, reply: &Reply) -> io::Result<()> {
    for Candidate { value, about, .. } in &reply.candidates {
        let plain = is_plain(&value.replace([':', '='], ""));
        let inserted = if plain { value.clone() } else { powershell_quote(value) };
        let about = if about.is_empty() { value } else { about };
        writeln!(out, "{inserted}\t{value}\t{about}")?;
    }
    Ok(())
}

/// What goes into the line, what follows it there, what is listed.
fn write_elvish(out: &mut dyn Write, _: &Typed, reply: &Reply) -> io::Result<()> {
    if reply.files {
        return writeln!(out, "{FILES}");
    }
    for Candidate { value, about, open } in &reply.candidates {
        let shown = if about.is_empty() { value.clone() } else { format!("{value}  ({about})") };
        writeln!(out, "{value}\t{}\t{shown}", if *open { "" } else { " " })?;
    }
    Ok(())
}

/// For `null`, Nushell offers files.
fn write_nushell(out: &mut dyn Write, _: &Typed, reply: &Reply) -> io::Result<()> {
    if reply.files {
        return writeln!(out, "null");
    }
    let needs_quotes = |value: &str| value.contains(|c: char| c.is_whitespace() || "\"'`()[]{}$#;|".contains(c));
    let rows = reply.candidates.iter().map(|Candidate { value, about, .. }| {
        let value = if needs_quotes(value) { json!(value).to_string() } else { value.clone() };
        json!({"value": value, "description": about})
    });
    writeln!(out, "{}", serde_json::Value::Array(rows.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(rows: &[(&str, &str, bool)]) -> Reply {
        let candidate = |(value, about, open): &(&str, &str, bool)| Candidate {
            value: (*value).to_owned(),
            about: (*about).to_owned(),
            open: *open,
        };
        Reply { candidates: rows.iter().map(candidate).collect(), files: false }
    }

    fn said(name: &str, typed: &Typed, reply: &Reply) -> String {
        let mut out = Vec::new();
        (Shell::by_name(name).unwrap().write)(&mut out, typed, reply).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_each_shell_is_told() {
        let rows = reply(&[("100", "web-1", false), ("a:b c=", "it's \\ here", true)]);
        let typed = Typed::default();
        assert_eq!(said("bash", &typed, &rows), "100\na:b\\ c=\n");
        assert_eq!(said("zsh", &typed, &rows), "w100:web-1\nba\\:b c=:it's \\\\ here\n");
        assert_eq!(said("fish", &typed, &rows), "100\tweb-1\na:b c=\tit's \\ here\n");
        assert_eq!(said("powershell", &typed, &rows), "100\t100\tweb-1\n'a:b c='\ta:b c=\tit's \\ here\n");
        assert_eq!(said("elvish", &typed, &rows), "100\t \t100  (web-1)\na:b c=\t\ta:b c=  (it's \\ here)\n");
        let nushell: serde_json::Value = serde_json::from_str(&said("nushell", &typed, &rows)).unwrap();
        assert_eq!(nushell[0], json!({"value": "100", "description": "web-1"}));
        assert_eq!(nushell[1]["value"], "\"a:b c=\"");
        let files = Reply { candidates: Vec::new(), files: true };
        for (shell, word) in [("bash", ":files\n"), ("zsh", ":files\n"), ("fish", ":files\n"), ("elvish", ":files\n")] {
            assert_eq!(said(shell, &typed, &files), word);
        }
        assert_eq!(
            (said("powershell", &typed, &files), said("nushell", &typed, &files)),
            (String::new(), "null\n".into())
        );
    }

    #[test]
    fn bash_gets_only_what_it_replaces() {
        let read = |line: &str, replaced: &str, why: &str| read_bash([line, replaced, why].map(str::to_owned).to_vec());
        let typed = read("pvectl task get UPID:pve1:00", "00", "9");
        assert_eq!((typed.words.last().unwrap().as_str(), typed.kept), ("UPID:pve1:00", 10));
        let one = reply(&[("UPID:pve1:0000AB:", "", false)]);
        assert_eq!(said("bash", &typed, &one), "0000AB: \n");
        let typed = read("pvectl vm list --context=\"lab o", "lab o", "9");
        assert_eq!((typed.words.last().unwrap().as_str(), typed.kept), ("--context=lab o", 10));
        assert_eq!(said("bash", &typed, &reply(&[("--context=lab $one", "", false)])), "lab \\$one\n");
        let typed = read("pvectl vm start ", "", "63");
        let two = reply(&[("100", "web-1", false), ("web-1", "", false), ("7", "x", false)]);
        assert_eq!(said("bash", &typed, &two), "100    (web-1)\nweb-1\n7      (x)\n");
        assert!(read("pvectl vm list > fi", "fi", "9").file);
    }

    #[test]
    fn powershell_keeps_empty_words() {
        let read = Shell::by_name("powershell").unwrap().read;
        assert_eq!(read(vec![":pvectl".into(), ":vm".into(), ":".into()]).words, ["pvectl", "vm", ""]);
    }

    #[test]
    fn a_script_calls_the_program_by_the_name_it_was_given() {
        for shell in SHELLS {
            let script = shell.script("/opt/my tools/pve", &["pve-lab".to_owned(), "p".to_owned()]);
            assert!(script.contains("/opt/my tools/pve") && script.contains("pve-lab"), "{}", shell.name);
            let left = ["@PROGRAM@", "@NAMES@", "@FUNCTION@"].into_iter().find(|mark| script.contains(mark));
            assert_eq!(left, None, "{}", shell.name);
        }
        let script = SHELLS[0].script("pvectl", &["pvectl".to_owned()]);
        assert!(script.contains("PVECTL_COMPLETE=bash pvectl \"${COMP_LINE"), "{script}");
    }
}
