//! The power verbs: one implementation over the table in `ops`.

use async_trait::async_trait;
use clap::{Arg, ArgAction, ArgMatches, Command};

use super::{get::targets_arg, mutate::mutate};
use crate::{
    cli::{
        cx::{Cx, flag, text, texts},
        session::Access,
        verb::{Exit, Kind, Verb},
    },
    model::{Params, Result},
    ops::{PowerVerb, Target},
};

/// Flags for what a verb does anyway, since scripts like to say it: the verb, the flag, what it contradicts, its help.
const SAID: &[(&str, &str, &[&str], &str)] = &[
    ("shutdown", "graceful", &["force"], "Leave it to the guest, however long it takes; the default"),
    ("suspend", "to-disk", &[], "Save the memory to disk; the default"),
];

pub(super) struct Power(pub(super) &'static PowerVerb);

#[async_trait(?Send)]
impl Verb for Power {
    fn name(&self) -> &'static str {
        self.0.words.name
    }

    fn about(&self, _: &Kind) -> String {
        self.0.about.to_owned()
    }

    fn examples(&self, kind: &Kind) -> Vec<String> {
        let name = self.name();
        vec![
            format!("pvectl {} {name} 100", kind.noun),
            format!("pvectl {} {name} 100,101 web-1 --timeout 2m", kind.noun),
            format!("pvectl {} {name} 100 --no-wait", kind.noun),
        ]
    }

    fn args(&self, command: Command, kind: &Kind) -> Command {
        let mut command = command.arg(targets_arg(true)).arg(
            Arg::new("strict")
                .long("strict")
                .action(ArgAction::SetTrue)
                .help("A guest that is there already is a conflict (exit code 6)"),
        );
        for (_, name, against, help) in SAID.iter().filter(|(verb, ..)| *verb == self.name()) {
            let arg = Arg::new(*name).long(*name).action(ArgAction::SetTrue).help(*help);
            command = command.arg(arg.conflicts_with_all(against.iter()));
        }
        for option in self.0.options.iter().filter(|option| option.kinds.contains(&kind.guest())) {
            let arg = Arg::new(option.flag).long(option.flag).help(option.about);
            command = command.arg(match option.value {
                Some(value) => arg.value_name(value),
                None => arg.action(ArgAction::SetTrue),
            });
        }
        command
    }

    async fn run(&self, cx: &Cx, kind: &Kind, matches: &ArgMatches) -> Result<Exit> {
        let targets = Target::parse_all(&texts(matches, "targets"))?;
        let mut params = Params::new();
        for option in self.0.options.iter().filter(|option| option.kinds.contains(&kind.guest())) {
            match option.value {
                Some(_) => params = params.with_some(option.param, text(matches, option.flag)),
                None => params = params.with_flag(option.param, flag(matches, option.flag)),
            }
        }
        let strict = flag(matches, "strict");
        let session = cx.session(Access::Write).await?;
        let found = session.ops.find(&targets, kind.guest()).await?;
        let plan = async |found: &_| session.ops.plan_power(self.0, found, &params, strict).await;
        mutate(cx, &session, self.0.words, &found, plan).await
    }
}
