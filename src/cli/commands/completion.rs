//! `completion`: the script for a shell that makes TAB complete this program's command lines.

use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::{
    cli::{
        complete::{SHELLS, Shell},
        cx::{Cx, texts},
        verb::{Entry, Exit},
    },
    model::{Class, Error, Result},
};

pub(super) const ENTRY: Entry = Entry {
    name: "completion",
    about: "Print the script that completes command lines in a shell: names of guests, nodes, tasks and all",
    examples: &[],
    args: |command| {
        let group = command.subcommand_required(true).arg_required_else_help(true).disable_help_subcommand(true);
        SHELLS.iter().fold(group, |group, shell| group.subcommand(shell_command(shell)))
    },
    run: |cx, matches| Box::pin(async { run(cx, matches) }),
};

fn shell_command(shell: &Shell) -> Command {
    Command::new(shell.name)
        .about(format!("Print the script for {}", shell.name))
        .arg(
            Arg::new("command")
                .long("command")
                .value_name("NAME")
                .action(ArgAction::Append)
                .help("Complete this command too, such as an alias of yours; repeatable"),
        )
        .after_help(format!(
            "To install it:\n{}\n\nExamples:\n  pvectl completion {name}\n  pvectl completion {name} --command pv",
            shell.install,
            name = shell.name
        ))
}

fn run(cx: &Cx, matches: &ArgMatches) -> Result<Exit> {
    let chosen = matches.subcommand().and_then(|(name, matches)| Some((Shell::by_name(name)?, matches)));
    let Some((shell, matches)) = chosen else {
        return Err(Error::new(Class::Bug, "a shell has a parser and no script"));
    };
    let (program, own) = called();
    let mut names = vec![own];
    names.extend(texts(matches, "command"));
    if let Some(bad) =
        names.iter().find(|name| name.is_empty() || name.contains(|c: char| c.is_whitespace() || c == '\''))
    {
        return Err(Error::usage(format!("`{bad}` is no name of a command")));
    }
    cx.ui.data(|out| write!(out, "{}", shell.script(&program, &names)))?;
    Ok(0)
}

/// How this program was called, and its name. A name alone is looked up again at each key press, so that an upgrade
/// counts at once; a path is made absolute, and links in it stay links.
fn called() -> (String, String) {
    let first = std::env::args_os().next().unwrap_or_else(|| "pvectl".into());
    let path = std::path::PathBuf::from(first);
    let name = path.file_stem().map_or_else(|| "pvectl".to_owned(), |name| name.to_string_lossy().into_owned());
    let program = match path.components().count() {
        0 | 1 => path,
        _ => std::path::absolute(&path).unwrap_or(path),
    };
    (program.to_string_lossy().into_owned(), name)
}
