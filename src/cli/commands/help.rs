//! `help`: a command's help, or a topic that is a table of the program.

use clap::{Arg, ArgMatches};

use crate::{
    cli::{
        app,
        cx::{Cx, texts},
        verb::{Entry, Exit},
    },
    config::ENV,
    model::{Class, Error, Hint, Result},
    ops::closest,
};

/// A topic: its name, and its text.
type Topic = (&'static str, &'static str, fn() -> String);

const TOPICS: &[Topic] = &[
    ("exit-codes", "What the exit codes mean", exit_codes),
    ("environment", "Every environment variable that is looked at", environment),
];

pub(super) const ENTRY: Entry = Entry {
    name: "help",
    about: "Help on a command, or on a topic: exit-codes, environment",
    examples: &["pvectl help vm create", "pvectl help exit-codes"],
    args: |command| command.arg(Arg::new("words").value_name("COMMAND|TOPIC").num_args(0..)),
    run: |cx, matches| Box::pin(async move { run(cx, matches) }),
};

/// Every topic and what it is about.
pub(crate) fn topics() -> impl Iterator<Item = (&'static str, &'static str)> {
    TOPICS.iter().map(|(name, about, _)| (*name, *about))
}

fn run(cx: &Cx, matches: &ArgMatches) -> Result<Exit> {
    let words = texts(matches, "words");
    let text = match words.as_slice() {
        [topic] if TOPICS.iter().any(|(name, ..)| name == topic) => {
            TOPICS.iter().find(|(name, ..)| name == topic).map(|(_, _, text)| text()).unwrap_or_default()
        }
        words => command_help(words)?,
    };
    cx.ui.data(|out| writeln!(out, "{}", text.trim_end()))?;
    Ok(0)
}

fn command_help(words: &[String]) -> Result<String> {
    let mut command = app::outline_for(words);
    let mut found = &command;
    for word in words {
        let candidates: Vec<String> = found
            .get_subcommands()
            .flat_map(|sub| std::iter::once(sub.get_name()).chain(sub.get_all_aliases()))
            .chain(TOPICS.iter().map(|(name, ..)| *name))
            .map(str::to_owned)
            .collect();
        found = found.find_subcommand(word).ok_or_else(|| {
            let topics =
                TOPICS.iter().map(|(name, about, _)| format!("{name} ({about})")).collect::<Vec<_>>().join(", ");
            let error = Error::usage(format!("no help on `{word}`"));
            let close = closest(word, candidates.into_iter());
            let error = error.did_you_mean(close);
            error.with_hint(Hint::Text(format!("topics: {topics}")))
        })?;
    }
    // As if it had been asked for there: only the commands on the way are built.
    let line = std::iter::once("pvectl").chain(words.iter().map(String::as_str)).chain(["--help"]);
    // What comes of it is the wish for help, and the command that has it is marked.
    let _ = command.try_get_matches_from_mut(line);
    Ok(app::help(&mut command, true).ansi().to_string())
}

fn exit_codes() -> String {
    let mut text =
        "Exit codes\n\n    0  ok; a task that ended with warnings counts as ok unless --fail-on-warnings\n".to_owned();
    for class in Class::ALL {
        text += &format!("  {:>3}  {}\n", class.exit_code(), class.meaning());
    }
    text + "\nOf several targets of which a part failed: 1."
}

fn environment() -> String {
    let width = ENV.iter().map(|var| var.name.len()).max().unwrap_or(0);
    let lines = ENV.iter().map(|var| format!("  {:width$}  {}; such as {}\n", var.name, var.what, var.example));
    format!(
        "Environment variables\n\n{}\nA flag wins over a variable, a variable over the context.",
        lines.collect::<String>()
    )
}
