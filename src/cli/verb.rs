//! What a kind and a verb are to the command line: entries of tables, from which parser, help and both word orders
//! (`vm list`, `get vms`) come.

use async_trait::async_trait;
use clap::{Arg, ArgAction, ArgMatches, Command, builder::StyledStr};
use futures_util::future::LocalBoxFuture;

use super::{
    cx::{Cx, texts},
    print::Heading,
};
use crate::{
    backends::Capabilities,
    model::{Class, Error, GuestKind, Hint, Result},
};

/// What a command leaves as exit code.
pub(crate) type Exit = u8;

/// A resource kind.
pub(crate) struct Kind {
    /// `vm`.
    pub(crate) noun: &'static str,
    /// `vms`.
    pub(crate) plural: &'static str,
    /// Other words for it.
    pub(crate) aliases: &'static [&'static str],
    /// One line of help.
    pub(crate) about: &'static str,
    /// For the two kinds of guest, which.
    pub(crate) guest: Option<GuestKind>,
    /// Where it is in the API: its list, and one of it.
    pub(crate) paths: &'static [&'static str],
    /// Which backends have things of this kind.
    pub(crate) of: Of,
    /// The columns of its table, by which its list can be sorted.
    pub(crate) columns: fn() -> Vec<Heading>,
    /// What can be done with it.
    pub(crate) verbs: fn() -> Vec<Box<dyn Verb>>,
}

/// Where things of a kind are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Of {
    /// On every backend.
    Backends,
    /// On a cluster alone.
    Cluster,
    /// On none: they are this account's.
    Account,
}

impl Of {
    /// Whether a backend has them.
    pub(crate) fn is_on(self, backend: &Capabilities) -> bool {
        match self {
            Self::Backends => true,
            Self::Cluster => !backend.here,
            Self::Account => false,
        }
    }
}

impl Kind {
    /// The words that mean this kind.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> {
        [self.noun, self.plural].into_iter().chain(self.aliases.iter().copied())
    }

    /// Whether a word means this kind.
    pub(crate) fn is_called(&self, word: &str) -> bool {
        self.names().any(|name| name == word)
    }

    /// The verb of this name.
    pub(crate) fn verb(&self, name: &str) -> Option<Box<dyn Verb>> {
        (self.verbs)().into_iter().find(|verb| verb.name() == name)
    }

    /// Whether things of this kind have labels, which are tags.
    pub(crate) fn has_labels(&self) -> bool {
        self.guest.is_some()
    }

    /// Refuses a label selector where there are no labels.
    pub(crate) fn refuse_labels(&self, matches: &ArgMatches) -> Result<()> {
        if self.has_labels() || texts(matches, "selector").is_empty() {
            return Ok(());
        }
        Err(Error::usage(format!("{} have no labels to select by", self.plural)).with_hint(Hint::Text(
            "labels are the tags of vms and containers; `--field-selector status=…` looks at the fields of any kind"
                .into(),
        )))
    }

    /// The guest kind of a kind whose verbs are only for guests.
    pub(crate) fn guest(&self) -> GuestKind {
        // A kind file that lists a guest verb without being one is caught by the table test.
        self.guest.unwrap_or(GuestKind::Qemu)
    }
}

/// A verb on a kind.
#[async_trait(?Send)]
pub(crate) trait Verb {
    /// `start`.
    fn name(&self) -> &'static str;

    /// One line of help.
    fn about(&self, kind: &Kind) -> String;

    /// What stands below the options in help: whole commands that work.
    fn examples(&self, kind: &Kind) -> Vec<String>;

    /// Adds arguments.
    fn args(&self, command: Command, kind: &Kind) -> Command;

    /// Does it.
    async fn run(&self, cx: &Cx, kind: &Kind, matches: &ArgMatches) -> Result<Exit>;
}

/// Verbs on what a thing of a kind has, below one word: `vm snapshot create`.
#[derive(Clone, Copy)]
pub(crate) struct Group {
    pub(crate) name: &'static str,
    /// One line of help.
    pub(crate) about: &'static str,
    pub(crate) verbs: &'static [&'static dyn Verb],
}

#[async_trait(?Send)]
impl Verb for Group {
    fn name(&self) -> &'static str {
        self.name
    }

    fn about(&self, _: &Kind) -> String {
        self.about.to_owned()
    }

    fn examples(&self, _: &Kind) -> Vec<String> {
        Vec::new()
    }

    fn args(&self, command: Command, kind: &Kind) -> Command {
        let group = command.subcommand_required(true).arg_required_else_help(true).disable_help_subcommand(true);
        self.verbs.iter().fold(group, |group, verb| {
            let command = verb.args(named(verb.name(), verb.about(kind)), kind);
            group.subcommand(with_examples(command, &verb.examples(kind)))
        })
    }

    async fn run(&self, cx: &Cx, kind: &Kind, matches: &ArgMatches) -> Result<Exit> {
        let chosen = matches
            .subcommand()
            .and_then(|(name, matches)| self.verbs.iter().find(|verb| verb.name() == name).map(|verb| (verb, matches)));
        match chosen {
            Some((verb, matches)) => verb.run(cx, kind, matches).await,
            None => Err(Error::new(Class::Bug, "a command has a parser and no action")),
        }
    }
}

/// A verb of one kind, or a command that is no verb on a kind: everything about it is in its table entry.
#[derive(Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) name: &'static str,
    /// One line of help.
    pub(crate) about: &'static str,
    /// Whole commands that work.
    pub(crate) examples: &'static [&'static str],
    /// Adds arguments and subcommands.
    pub(crate) args: fn(Command) -> Command,
    /// Does it.
    pub(crate) run: for<'a> fn(&'a Cx, &'a ArgMatches) -> LocalBoxFuture<'a, Result<Exit>>,
}

impl Entry {
    /// Its parser.
    pub(crate) fn command(&self) -> Command {
        let lines: Vec<String> = self.examples.iter().map(|line| (*line).to_owned()).collect();
        with_examples((self.args)(named(self.name, self.about)), &lines)
    }
}

#[async_trait(?Send)]
impl Verb for Entry {
    fn name(&self) -> &'static str {
        self.name
    }

    fn about(&self, _: &Kind) -> String {
        self.about.to_owned()
    }

    fn examples(&self, _: &Kind) -> Vec<String> {
        self.examples.iter().map(|line| (*line).to_owned()).collect()
    }

    fn args(&self, command: Command, _: &Kind) -> Command {
        (self.args)(command)
    }

    async fn run(&self, cx: &Cx, _: &Kind, matches: &ArgMatches) -> Result<Exit> {
        (self.run)(cx, matches).await
    }
}

/// Other words for the commands of a name, wherever they stand.
const ALIASES: &[(&str, &str)] = &[("list", "ls"), ("logs", "log"), ("show", "get")];

/// The words for a command.
pub(crate) fn words_for(name: &'static str) -> impl Iterator<Item = &'static str> {
    let others = ALIASES.iter().filter(move |(of, _)| *of == name).map(|(_, other)| *other);
    std::iter::once(name).chain(others)
}

/// A command with what a list of commands tells about it, and nothing that it takes.
pub(crate) fn named(name: &'static str, about: impl Into<StyledStr>) -> Command {
    Command::new(name).about(about).visible_aliases(words_for(name).skip(1))
}

/// A flag with a value.
pub(crate) fn value(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(value).help(help)
}

/// A flag without one.
pub(crate) fn switch(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
}

/// The part of help that shows whole commands.
pub(crate) fn with_examples(command: Command, lines: &[String]) -> Command {
    if lines.is_empty() {
        return command;
    }
    let lines = lines.iter().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n");
    command.after_help(format!("Examples:\n{lines}"))
}

/// Puts commands below a command.
pub(crate) fn with_group(command: Command, entries: &[Entry]) -> Command {
    let group = command.subcommand_required(true).arg_required_else_help(true).disable_help_subcommand(true);
    entries.iter().fold(group, |group, entry| group.subcommand(entry.command()))
}

/// Does what was chosen of a group.
pub(crate) async fn run_in_group(cx: &Cx, matches: &ArgMatches, entries: &[Entry]) -> Result<Exit> {
    let chosen = matches
        .subcommand()
        .and_then(|(name, matches)| entries.iter().find(|entry| entry.name == name).map(|entry| (entry, matches)));
    match chosen {
        Some((entry, matches)) => (entry.run)(cx, matches).await,
        None => Err(Error::new(Class::Bug, "a command has a parser and no action")),
    }
}
