//! Completion: what can be typed at the end of a half command line, for the scripts that shells have installed.
//!
//! Words, flags and fixed values come from the parser; the table in `rules` says where other values come from. It
//! prints candidates or nothing: no error, no question, no change anywhere.

mod api;
mod config;
mod files;
mod here;
mod line;
mod live;
mod rules;
mod shells;
mod sources;
mod things;
mod volumes;

use std::{
    collections::HashMap,
    ffi::OsString,
    sync::{Arc, Mutex},
};

use clap::Command;
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate, complete};
use tokio::time::Instant;

use self::{live::Live, rules::Source, shells::Typed};
pub(crate) use self::{
    live::cache,
    shells::{SHELLS, Shell},
};
use super::{app, cx::parse_duration, kinds, ui::Ui, verb::Kind};
use crate::config::{Env, Flags, OPTIONS, Paths};

/// The variable that the scripts set: which shell asks.
pub(crate) const VARIABLE: &str = "PVECTL_COMPLETE";

/// Something that can be typed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Candidate {
    /// The whole word.
    value: String,
    /// What it is, one line.
    about: String,
    /// The word goes on after this.
    open: bool,
}

impl Candidate {
    fn new(value: impl Into<String>, about: impl Into<String>) -> Self {
        Self { value: value.into(), about: about.into(), open: false }
    }

    fn open(value: impl Into<String>, about: impl Into<String>) -> Self {
        Self { open: true, ..Self::new(value, about) }
    }

    /// The same behind something that stands already.
    fn behind(self, before: &str) -> Self {
        Self { value: format!("{before}{}", self.value), ..self }
    }
}

/// What can be typed, as the shells are told it.
#[derive(Debug, Default)]
pub(super) struct Reply {
    candidates: Vec<Candidate>,
    /// A file is wanted: the shell completes those itself.
    files: bool,
}

/// The line as sources see it.
pub(super) struct Request {
    /// The words before the one that is typed, without the program and without the commands.
    args: Vec<String>,
    /// The commands: `vm start`.
    path: Vec<String>,
    /// The argument's id.
    arg: String,
    /// The word that is typed, without its flag.
    word: String,
    live: Arc<Live>,
}

impl Request {
    /// The kind that the line is about: `vm` of `vm start`, or the one that `get` was given.
    fn kind(&self) -> Option<&'static Kind> {
        let named = |word: &&String| kinds::KINDS.iter().copied().find(|kind| kind.is_called(word));
        self.path.iter().find_map(|word| named(&word)).or_else(|| self.args.iter().find_map(|word| named(&word)))
    }

    /// The verb.
    fn verb(&self) -> &str {
        self.path.last().map_or("", String::as_str)
    }

    /// The words after the commands that are no flags.
    fn positionals(&self) -> impl Iterator<Item = &str> {
        self.args.iter().map(String::as_str).filter(|word| !word.starts_with('-'))
    }

    /// The value of a flag that stands before.
    fn flag(&self, name: &str) -> Option<&str> {
        flag(&self.args, name)
    }
}

/// The last value of `--name value` or `--name=value`.
fn flag<'a>(words: &'a [String], name: &str) -> Option<&'a str> {
    let long = format!("--{name}");
    let at = |at: usize| match words[at].strip_prefix(&long)? {
        "" => words.get(at + 1).map(String::as_str),
        rest => rest.strip_prefix('='),
    };
    (0..words.len()).rev().find_map(at)
}

/// Answers a completion script and gives the exit code, which is always that of success.
pub(crate) fn main(shell: &str, args: &[OsString], env: &Env) -> u8 {
    let wait = env.get("PVECTL_COMPLETE_WAIT").and_then(|text| parse_duration(text).ok());
    let deadline = std::time::Instant::now() + wait.unwrap_or(live::PATIENCE);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let (Some(shell), Ok(runtime)) = (Shell::by_name(shell), runtime) else { return 0 };
    let words = args.iter().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    let typed = (shell.read)(words);
    let reply = match typed.file {
        true => Reply { files: true, ..Reply::default() },
        false => runtime.block_on(answer(&typed, env, Instant::from_std(deadline))),
    };
    // Nobody reads it: nothing to be done.
    let _ = Ui::new(env, "never", true).data(|out| (shell.write)(out, &typed, &reply));
    runtime.shutdown_background();
    0
}

async fn answer(typed: &Typed, env: &Env, deadline: Instant) -> Reply {
    let Ok(paths) = Paths::new(env) else { return Reply::default() };
    let words = without_values(&typed.words);
    let (word, before) = words.split_last().map_or(("", &[][..]), |(word, before)| (word.as_str(), before));
    let (mut command, path, used) = tree(app::command(), before.get(1..).unwrap_or_default());
    let last = path.iter().try_fold(&command, |command, name| command.find_subcommand(name));
    let is_unknown = |at: usize| !before[at].starts_with('-') && !takes_value(&before[at - 1]);
    if last.is_some_and(Command::has_subcommands) && (1 + used..before.len()).any(is_unknown) {
        return Reply::default();
    }
    let mut flags = Flags::default();
    for name in ["context", "host"] {
        if let Some(value) = flag(&typed.words[..typed.words.len().saturating_sub(1)], name) {
            flags.set(name, value);
        }
    }
    let live = Arc::new(Live::new(env, flags, paths, deadline).await);
    let args: Vec<String> = typed.words.iter().take(before.len()).skip(1 + used).cloned().collect();
    let said = Arc::new(Said::default());
    command = attach(command, &path, &path, &said);
    let ask = |command: &mut Command| {
        let args: Vec<OsString> = words.iter().map(OsString::from).collect();
        complete(command, args, words.len().saturating_sub(1), None).unwrap_or_default()
    };
    // The parser knows which argument is typed, and cannot wait: it is asked, and again when the answer is there.
    let mut found = ask(&mut command);
    let wanted = std::mem::take(&mut *said.lock(&said.asked));
    if !wanted.is_empty() {
        for Wanted { arg, word, source } in wanted {
            if matches!(source, Source::Files) {
                return Reply { files: true, ..Reply::default() };
            }
            let request = Request {
                args: args.clone(),
                path: path.clone(),
                arg: arg.clone(),
                word: word.clone(),
                live: live.clone(),
            };
            let candidates = source.candidates(&request).await;
            let candidates = candidates.into_iter().filter(|candidate| candidate.value.starts_with(&word)).collect();
            said.lock(&said.known).insert((arg, word), candidates);
        }
        found = ask(&mut command);
    }
    Reply { candidates: tidy(found, word, &command, &path), files: false }
}

/// What the completers of the arguments were asked, and what they answer.
#[derive(Default)]
struct Said {
    asked: Mutex<Vec<Wanted>>,
    known: Mutex<HashMap<(String, String), Vec<Candidate>>>,
}

struct Wanted {
    arg: String,
    word: String,
    source: Source,
}

impl Said {
    fn lock<'a, T>(&self, what: &'a Mutex<T>) -> std::sync::MutexGuard<'a, T> {
        what.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn answer(&self, arg: &str, word: &str, source: Source) -> Vec<CompletionCandidate> {
        let Some(known) = self.lock(&self.known).get(&(arg.to_owned(), word.to_owned())).cloned() else {
            self.lock(&self.asked).push(Wanted { arg: arg.to_owned(), word: word.to_owned(), source });
            return Vec::new();
        };
        let candidate = |candidate: Candidate| {
            // The parser hands ids through; there is no other place for a mark.
            let id = candidate.open.then(|| format!("{OPEN}{}", candidate.value));
            let about = (!candidate.about.is_empty()).then(|| candidate.about.into());
            CompletionCandidate::new(candidate.value).help(about).id(id)
        };
        known.into_iter().map(candidate).collect()
    }
}

/// How the ids of candidates begin after which the word goes on.
const OPEN: &str = "open:";

/// Whether a word is a global option whose value is the next word.
fn takes_value(word: &str) -> bool {
    let short = |option: &crate::config::GlobalOption| option.short.map(|short| format!("-{short}"));
    OPTIONS
        .iter()
        .filter(|option| option.value.is_some())
        .any(|option| word.strip_prefix("--") == Some(option.name) || short(option).is_some_and(|short| short == word))
}

/// The words with every value of a global option replaced by one that is no command's name, except at the cursor.
fn without_values(words: &[String]) -> Vec<String> {
    let replaced = |at: usize| at > 0 && at + 1 < words.len() && takes_value(&words[at - 1]);
    (0..words.len()).map(|at| if replaced(at) { "_".to_owned() } else { words[at].clone() }).collect()
}

/// The parser of the commands that were typed, with the names of these, and how many words were read for it. Of all
/// other commands only names are left: to build them takes longer than all the rest.
fn tree(command: Command, words: &[String]) -> (Command, Vec<String>, usize) {
    let mut path = Vec::new();
    let mut used = 0;
    let mut command = prune(command, words, &mut path, &mut used);
    command.build();
    (command, path, used)
}

fn prune(mut command: Command, words: &[String], path: &mut Vec<String>, used: &mut usize) -> Command {
    let found = |(at, word): (usize, &String)| Some((at, command.find_subcommand(word)?.get_name().to_owned()));
    let chosen = words.iter().enumerate().find_map(found);
    for sub in command.get_subcommands_mut() {
        match &chosen {
            Some((at, name)) if sub.get_name() == name => {
                path.push(name.clone());
                *used += at + 1;
                *sub = prune(std::mem::take(sub), &words[at + 1..], path, used);
            }
            _ => *sub = name_of(sub),
        }
    }
    command
}

/// A command without all that is below it.
fn name_of(command: &Command) -> Command {
    let mut name = Command::new(command.get_name().to_owned()).hide(command.is_hide_set());
    if let Some(about) = command.get_about() {
        name = name.about(about.clone());
    }
    let visible: Vec<String> = command.get_visible_aliases().map(str::to_owned).collect();
    let hidden = command.get_all_aliases().filter(|alias| !visible.iter().any(|seen| seen == alias));
    let hidden: Vec<String> = hidden.map(str::to_owned).collect();
    name.visible_aliases(visible).aliases(hidden)
}

/// Gives the arguments of the last command their sources.
fn attach(command: Command, below: &[String], path: &[String], said: &Arc<Said>) -> Command {
    if let Some((first, rest)) = below.split_first() {
        return command.mut_subcommand(first, |sub| attach(sub, rest, path, said));
    }
    command.mut_args(|arg| {
        let Some(source) = rules::source(path, &arg) else { return arg };
        let (id, said) = (arg.get_id().to_string(), said.clone());
        arg.add(ArgValueCompleter::new(move |word: &std::ffi::OsStr| said.answer(&id, &word.to_string_lossy(), source)))
    })
}

/// The parser's candidates as ours. Flags are left out where something else is to be typed and no dash was.
fn tidy(found: Vec<CompletionCandidate>, word: &str, command: &Command, path: &[String]) -> Vec<Candidate> {
    let last = path.iter().try_fold(command, |command, name| command.find_subcommand(name));
    let wants_words = last.is_some_and(|last| last.has_subcommands() || last.get_positionals().next().is_some());
    let is_flag = |value: &str| value.starts_with('-');
    let short = |value: &str| is_flag(value) && !value.starts_with("--");
    let candidates = found.into_iter().map(|candidate| Candidate {
        value: candidate.get_value().to_string_lossy().into_owned(),
        about: candidate.get_help().map(|help| one_line(&help.to_string())).unwrap_or_default(),
        open: candidate.get_id().is_some_and(|id| id.starts_with(OPEN)),
    });
    candidates
        .filter(|candidate| match word {
            // A value that begins with a dash is typed as such.
            "" if wants_words => !is_flag(&candidate.value),
            "" | "-" => !short(&candidate.value) || candidate.open,
            _ => true,
        })
        .filter(|candidate| !candidate.value.contains(['\n', '\t']))
        .collect()
}

/// The first line, and no more of it than a terminal shows.
fn one_line(text: &str) -> String {
    const LENGTH: usize = 80;
    let line = text.lines().next().unwrap_or_default().replace(|c: char| c.is_control(), " ");
    match line.char_indices().nth(LENGTH) {
        Some((at, _)) => format!("{}…", line[..at].trim_end()),
        None => line,
    }
}
