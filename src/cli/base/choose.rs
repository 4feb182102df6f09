//! For which guests a change is: named as targets, or chosen by what they are; and how many of them at a time.

use clap::{Arg, ArgMatches, Command, value_parser};

use super::{
    get::targets_arg,
    list::{choice, selector_arg},
};
use crate::{
    cli::{
        cx::{Cx, flag, parse_duration, text, texts, wait_lock_arg},
        session::Session,
        verb::{Kind, switch, value},
    },
    model::{Error, Hint, Result},
    ops::{Choice, Resolved, RunOptions, Target, Together},
};

/// The flags that choose.
const CHOOSE: [&str; 5] = ["selector", "status", "node", "pool", "tag"];

/// The targets, and the flags that stand in their place.
pub(crate) fn chosen_args(command: Command) -> Command {
    chosen(command, |arg| arg.conflicts_with("targets"))
}

/// The same where the words may be something else than targets.
pub(super) fn chosen_beside(command: Command) -> Command {
    chosen(command, |arg| arg)
}

fn chosen(command: Command, beside: impl Fn(Arg) -> Arg) -> Command {
    let instead = |arg: Arg| beside(arg).help_heading("Which, and how many at a time");
    let args = [
        switch("all", "All of them; narrowed by the flags below"),
        selector_arg().help("Those with these labels: app=web, tier!=db, env in (a,b), app, !app"),
        value("status", "STATUS", "Those with this status"),
        value("node", "NODE", "Those on this node"),
        value("pool", "POOL", "Those in this pool"),
        value("tag", "TAG", "Those with this tag"),
    ];
    command.arg(targets_arg(false)).args(args.into_iter().map(instead)).args(pace_args()).arg(wait_lock_arg())
}

/// The flags that say how many at a time.
pub(crate) fn pace_args() -> Vec<Arg> {
    let number = || value_parser!(u32).range(1..);
    vec![
        value("parallel", "N", "So many at a time [default: 8]").value_parser(number()),
        value("batch", "N", "So many, then the next ones when the tasks of all of them ended well")
            .value_parser(number()),
        value("pause", "DURATION", "Between two batches").requires("batch"),
        value("max-failures", "N", "Begin nothing more when more than so many failed; 0 with --batch unless given")
            .value_parser(value_parser!(u32)),
    ]
    .into_iter()
    .map(|arg| arg.help_heading("Which, and how many at a time"))
    .collect()
}

/// What is meant by the targets and flags.
pub(crate) struct Meant {
    targets: Vec<Target>,
    /// In their place.
    choice: Option<Choice>,
    /// As it was typed.
    typed: String,
}

impl Meant {
    /// Whether the command line chooses guests, and names none.
    pub(super) fn is_chosen(matches: &ArgMatches) -> bool {
        flag(matches, "all") || CHOOSE.iter().any(|name| !texts(matches, name).is_empty())
    }

    /// Reads it from the command line. `none` is said where nobody is meant.
    pub(crate) fn read(matches: &ArgMatches, none: &str) -> Result<Self> {
        Self::of(&texts(matches, "targets"), matches, none)
    }

    /// The same with targets that come from somewhere else.
    pub(super) fn of(targets: &[String], matches: &ArgMatches, none: &str) -> Result<Self> {
        let typed = match targets {
            [] => typed(matches),
            targets => targets.join(","),
        };
        let targets = Target::parse_all(targets)?;
        let chooses = Self::is_chosen(matches);
        if targets.is_empty() && !chooses {
            return Err(
                Error::usage(none).with_hint(Hint::Text("a VMID or a name, --all, or --selector app=web".into()))
            );
        }
        let choice = if chooses { Some(choice(matches)?) } else { None };
        Ok(Self { targets, choice, typed })
    }

    /// Whether guests are chosen, and not named.
    pub(crate) fn is_choice(&self) -> bool {
        self.choice.is_some()
    }

    /// How it stands in the journal. `asks`: guests that nobody named were asked about.
    pub(crate) fn together(&self, asks: bool) -> Together {
        Together { target: self.typed.clone(), asks }
    }

    /// Leaves templates out of what is chosen.
    pub(crate) fn without_templates(mut self) -> Self {
        if let Some(choice) = &mut self.choice {
            choice.template = Some(false);
        }
        self
    }

    /// The guests. That nothing fits what is chosen is said, and no failure.
    pub(crate) async fn find(&self, cx: &Cx, session: &Session, kind: &Kind) -> Result<Vec<Resolved>> {
        let Some(choice) = &self.choice else { return session.ops.find(&self.targets, kind.guest()).await };
        let found = session.ops.choose(kind.guest(), choice).await?;
        if found.is_empty() {
            cx.ui.say(format_args!("no {} is so", kind.noun));
        }
        Ok(found)
    }

    /// Asks before a change of guests that nobody named; `false` is a no.
    pub(super) fn agrees(&self, cx: &Cx, kind: &Kind, act: &str, found: &[Resolved]) -> Result<bool> {
        if !self.is_choice() || found.is_empty() || cx.switches.confirm || cx.switches.dry_run {
            return Ok(true);
        }
        for Resolved { guest, .. } in found {
            let name = guest.name.as_deref().unwrap_or_default();
            cx.ui.say(format_args!("  {}/{} {name} on {}, {}", kind.noun, guest.vmid, guest.node, guest.status));
        }
        let what = if found.len() == 1 { kind.noun } else { kind.plural };
        let agreed = cx.ui.ask_yes(&format!("{act} {} {what}?", found.len()))?;
        if !agreed {
            cx.ui.say("nothing was done");
        }
        Ok(agreed)
    }
}

/// The flags that choose, as they were typed.
fn typed(matches: &ArgMatches) -> String {
    let all = flag(matches, "all").then(|| "--all".to_owned());
    let each =
        |name: &str| texts(matches, name).into_iter().map(|value| format!("--{name} {value}")).collect::<Vec<_>>();
    all.into_iter().chain(CHOOSE.iter().flat_map(|name| each(name))).collect::<Vec<_>>().join(" ")
}

/// How a run goes, with what is said of its pace.
pub(crate) fn paced(matches: &ArgMatches, options: RunOptions) -> Result<RunOptions> {
    let number = |name: &str| matches.get_one::<u32>(name).map(|number| *number as usize);
    let batch = number("batch");
    if batch.is_some() && !options.wait {
        return Err(Error::usage("--batch waits for tasks, and --no-wait does not"));
    }
    Ok(RunOptions {
        parallel: number("parallel").unwrap_or(options.parallel),
        batch,
        pause: text(matches, "pause").map(parse_duration).transpose()?.unwrap_or_default(),
        max_failures: number("max-failures").or(batch.map(|_| 0)),
        ..options
    })
}
