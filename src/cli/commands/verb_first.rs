//! kubectl's word order: `get vms`, `describe vm 100`, `delete -f`, over the same kinds and verbs.

use clap::{Arg, ArgMatches, Command};

use crate::{
    cli::{
        base::{delete_args, delete_from_file, filter_args, targets_arg},
        cx::{Cx, text, texts},
        kinds::by_word,
        verb::{Entry, Exit, Kind},
    },
    config::OPTIONS,
    model::{Error, Hint, Result},
};

pub(super) const GET: Entry = Entry {
    name: "get",
    about: "List resources of a kind, or show single ones: get vms, get vm 100",
    examples: &["pvectl get vms", "pvectl get vm 100 -o yaml", "pvectl get nodes"],
    args: |command| {
        let filters = filter_args().into_iter().map(|filter| filter.conflicts_with("targets"));
        with_kind(command, true).arg(targets_arg(false)).args(filters)
    },
    run: |cx, matches| Box::pin(run(cx, matches, "get", Some("list"))),
};

pub(super) const DESCRIBE: Entry = Entry {
    name: "describe",
    about: "Describe resources for people: describe vm 100",
    examples: &["pvectl describe vm 100", "pvectl describe ct/110"],
    args: |command| with_kind(command, true).arg(targets_arg(false)),
    run: |cx, matches| Box::pin(run(cx, matches, "describe", None)),
};

pub(super) const DELETE: Entry = Entry {
    name: "delete",
    about: "Delete resources: delete vm 150, delete -f vm.yaml",
    examples: &["pvectl delete vm 150", "pvectl delete -f vm-config.json --confirm"],
    args: |command| with_kind(command, false).arg(targets_arg(false)).args(delete_args()),
    run: |cx, matches| {
        Box::pin(async move {
            match text(matches, "kind") {
                None => delete_from_file(cx, matches, None).await,
                Some(_) => run(cx, matches, "delete", None).await,
            }
        })
    },
};

fn with_kind(command: Command, required: bool) -> Command {
    command.arg(Arg::new("kind").value_name("KIND").required(required).help("vm, container, node, task, operation, …"))
}

async fn run(cx: &Cx, matches: &ArgMatches, verb: &str, without_targets: Option<&str>) -> Result<Exit> {
    let word = text(matches, "kind").unwrap_or_default();
    // kubectl's `get vm/150`, which is also what `-o name` prints.
    let (word, first) = word.split_once('/').map_or((word, None), |(kind, target)| (kind, Some(target.to_owned())));
    let kind = by_word(word)?;
    let bare = |target: String| match target.split_once('/') {
        Some((word, rest)) if kind.is_called(word) => rest.to_owned(),
        _ => target,
    };
    let targets: Vec<String> = first.into_iter().chain(texts(matches, "targets")).map(bare).collect();
    // Kinds without a `get` of their own have a list all the same.
    let listed = targets.is_empty().then_some(without_targets).flatten();
    let found = listed.and_then(|name| kind.verb(name)).or_else(|| kind.verb(verb));
    let found = found.ok_or_else(|| {
        let verbs: Vec<&str> = (kind.verbs)().iter().map(|verb| verb.name()).collect();
        Error::usage(format!("{} have no `{verb}`", kind.plural))
            .with_hint(Hint::Text(format!("they have: {}", verbs.join(", "))))
    })?;
    kind.refuse_labels(matches)?;
    // The verb reads its own arguments; what this command does not offer counts as not given, except defaults.
    let mut own = found.args(Command::new(found.name()).no_binary_name(true).disable_help_flag(true), kind);
    // Some verbs make their flags only then.
    own.build();
    let args = rebuild(kind, matches, &own)?.into_iter().chain(targets);
    let own_matches = own.try_get_matches_from(args).map_err(|error| {
        let text = error.render().to_string();
        Error::usage(text.trim_start_matches("error: ").split("\n\n").next().unwrap_or_default().to_owned())
    })?;
    found.run(cx, kind, &own_matches).await
}

/// The flags that were given here, as on the verb's own command line.
fn rebuild(kind: &Kind, matches: &ArgMatches, own: &Command) -> Result<Vec<String>> {
    let mut args = Vec::new();
    let given = |id: &str| {
        matches.try_contains_id(id).unwrap_or(false)
            && matches.value_source(id) == Some(clap::parser::ValueSource::CommandLine)
    };
    let is_global = |id: &str| OPTIONS.iter().any(|option| option.name == id);
    let elsewhere = |id: &str| id == "kind" || id == "targets" || is_global(id);
    for id in matches.ids().map(|id| id.as_str()).filter(|id| !elsewhere(id) && given(id)) {
        let arg = own.get_arguments().find(|arg| arg.get_id() == id);
        let Some((arg, long)) = arg.and_then(|arg| Some((arg, arg.get_long()?))) else {
            let flags = own.get_arguments().filter_map(|arg| Some(format!("--{}", arg.get_long()?)));
            let flags = flags.collect::<Vec<_>>().join(", ");
            let error = Error::usage(format!("{} have no --{id}", kind.plural));
            return Err(if flags.is_empty() { error } else { error.with_hint(Hint::Text(format!("it has {flags}"))) });
        };
        if arg.get_action().takes_values() {
            args.extend(texts(matches, id).into_iter().map(|value| format!("--{long}={value}")));
        } else {
            args.push(format!("--{long}"));
        }
    }
    Ok(args)
}
