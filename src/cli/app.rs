//! The parser of the command line, built from the tables of kinds, verbs, commands and global options.
//!
//! Only the shape is here; what a command does is in its own file.

use std::ffi::OsStr;

use clap::{
    Arg, ArgAction, Command,
    builder::{PossibleValuesParser, StyledStr},
};

use super::{
    base::selector_arg,
    commands::COMMANDS,
    kinds::KINDS,
    print::known_formats,
    verb::{Kind, Verb, named, with_examples, words_for},
};
use crate::config::OPTIONS;

const ABOUT: &str = "Virtual machines and containers on Proxmox VE, kubectl style";

const START: &str = "\
Start here:
  pvectl vm list                                 what is there; at first, a built-in sandbox
  pvectl vm create --name web --cores 2 --memory 4G --start
  pvectl config add-context lab --endpoint https://pve1:8006 --token-file token

More: pvectl help exit-codes, pvectl help environment";

/// The whole command line.
pub(crate) fn command() -> Command {
    command_of(&|_| true, Rest::Nothing)
}

/// As much of the command line as these words speak of. What it takes, the whole one takes in the same way; what it
/// refuses, the whole one has to be asked about. To build all verbs of all kinds takes longer than most of them do.
pub(crate) fn command_for<W: AsRef<OsStr>>(words: &[W]) -> Command {
    command_of(&|name| words.iter().any(|word| word.as_ref() == name), Rest::Nothing)
}

/// The same among everything else in name alone, of which help on these words tells no more.
pub(crate) fn outline_for<W: AsRef<OsStr>>(words: &[W]) -> Command {
    command_of(&|name| words.iter().any(|word| word.as_ref() == name), Rest::Names)
}

/// What is made of commands that are not wanted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rest {
    Nothing,
    Names,
}

fn command_of(is_wanted: &dyn Fn(&str) -> bool, rest: Rest) -> Command {
    let mut app = Command::new("pvectl")
        .about(ABOUT)
        .version(env!("CARGO_PKG_VERSION"))
        .after_help(START)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .max_term_width(120)
        .args(global_args());
    for kind in KINDS {
        if kind.names().any(is_wanted) {
            app = app.subcommand(noun(kind, is_wanted, rest));
        } else if rest == Rest::Names {
            app = app.subcommand(noun_named(kind));
        }
    }
    for command in COMMANDS {
        if is_wanted(command.name) {
            app = app.subcommand(command.command());
        } else if rest == Rest::Names {
            app = app.subcommand(named(command.name, command.about));
        }
    }
    app
}

/// Looks at the command that was typed, after a parse: only those on the way to it were built, and only what is built
/// has a name for its usage.
pub(crate) fn typed<T>(app: &mut Command, look: impl FnOnce(&mut Command) -> T) -> T {
    if let Some(sub) = app.get_subcommands_mut().find(|sub| sub.get_bin_name().is_some()) {
        return typed(sub, look);
    }
    look(app)
}

/// The help of the command that was typed, after a parse that ended in a wish for help: with every flag for `--help`,
/// and those most used for `-h`.
pub(crate) fn help(app: &mut Command, all: bool) -> StyledStr {
    typed(app, |command| {
        if !all || !command.get_arguments().any(Arg::is_hide_short_help_set) {
            return command.render_help();
        }
        // clap's own long help has a blank line after every flag, which is no list any more.
        let mut whole = std::mem::take(command).mut_args(|arg| match arg.get_id().as_str() {
            "help" => arg.help("Print help; -h has what is used most"),
            _ => arg.hide_short_help(false),
        });
        match whole.get_after_long_help().cloned() {
            Some(after) => whole.after_help(after).render_help(),
            None => whole.render_help(),
        }
    })
}

/// `pvectl vm …`.
fn noun(kind: &'static Kind, is_wanted: &dyn Fn(&str) -> bool, rest: Rest) -> Command {
    let mut noun =
        noun_named(kind).subcommand_required(true).arg_required_else_help(true).disable_help_subcommand(true);
    for verb in (kind.verbs)() {
        if words_for(verb.name()).any(is_wanted) {
            noun = noun.subcommand(verb_command(kind, &*verb));
        } else if rest == Rest::Names {
            noun = noun.subcommand(named(verb.name(), verb.about(kind)));
        }
    }
    noun
}

fn noun_named(kind: &'static Kind) -> Command {
    named(kind.noun, kind.about).visible_alias(kind.plural).aliases(kind.aliases)
}

/// `pvectl vm start …`.
fn verb_command(kind: &Kind, verb: &dyn Verb) -> Command {
    let mut built = verb.args(named(verb.name(), verb.about(kind)), kind);
    if !kind.has_labels() && ["list", "get"].contains(&verb.name()) {
        // Known, so that the answer can be why there is none.
        built = built.arg(selector_arg().hide(true));
    }
    with_examples(built, &verb.examples(kind))
}

fn global_args() -> Vec<Arg> {
    OPTIONS
        .iter()
        .map(|option| {
            let mut arg =
                Arg::new(option.name).long(option.name).help(option.what).global(true).help_heading("Global options");
            if let Some(short) = option.short {
                arg = arg.short(short);
            }
            arg = match (option.name, option.value) {
                ("verbose", _) => arg.action(ArgAction::Count),
                (_, None) => arg.action(ArgAction::SetTrue),
                (_, Some(value)) => arg.value_name(value),
            };
            match option.name {
                "confirm" => arg.visible_alias("yes"),
                "no-wait" => arg.conflicts_with("wait"),
                // `-memory` is the column the other way round.
                "sort-by" => arg.allow_hyphen_values(true),
                "color" => {
                    arg.value_parser(PossibleValuesParser::new(["auto", "always", "never"])).hide_possible_values(true)
                }
                "error-format" => {
                    arg.value_parser(PossibleValuesParser::new(["text", "json"])).hide_possible_values(true)
                }
                "output" => arg.help(format!("one of {}", known_formats())),
                _ => arg,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use clap::ArgMatches;

    use super::*;

    /// The commands on the way to the one that was typed, and what it was given.
    fn chosen(mut matches: ArgMatches) -> (Vec<String>, ArgMatches) {
        let mut path = Vec::new();
        while let Some((name, below)) = matches.remove_subcommand() {
            path.push(name);
            matches = below;
        }
        (path, matches)
    }

    #[test]
    fn what_is_built_for_a_line_takes_it_as_the_whole_does() {
        let of_kinds = KINDS.iter().flat_map(|kind| (kind.verbs)().into_iter().flat_map(|verb| verb.examples(kind)));
        let of_commands = COMMANDS.iter().flat_map(|command| command.examples.iter().map(|line| (*line).to_owned()));
        let (whole, mut taken) = (command(), 0);
        for line in of_kinds.chain(of_commands) {
            let words: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
            let part = command_for(&words).try_get_matches_from(&words);
            match (part, whole.clone().try_get_matches_from(&words)) {
                (Ok(part), Ok(whole)) => {
                    assert!(chosen(part) == chosen(whole), "{line}");
                    taken += 1;
                }
                (part, whole) => assert!(part.is_err() && whole.is_err(), "{line}: {part:?} {whole:?}"),
            }
        }
        assert!(taken > 100, "{taken}");
    }

    #[test]
    fn the_outline_tells_what_the_whole_tells() {
        let mut lines = vec![vec!["pvectl", "--help"]];
        lines.extend(KINDS.iter().map(|kind| vec!["pvectl", kind.noun, "--help"]));
        lines.extend(COMMANDS.iter().map(|command| vec!["pvectl", command.name, "--help"]));
        for kind in KINDS {
            lines.extend((kind.verbs)().iter().map(|verb| vec!["pvectl", kind.plural, verb.name(), "-h"]));
        }
        let whole = command();
        for line in lines {
            let told = |mut app: Command| {
                let asked = app.try_get_matches_from_mut(&line).map(drop);
                (asked.map_err(|error| error.kind()), help(&mut app, true).to_string())
            };
            assert_eq!(told(outline_for(&line)), told(whole.clone()), "{line:?}");
        }
    }
}
