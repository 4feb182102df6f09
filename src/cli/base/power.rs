//! The power verbs: one implementation over the table in `ops`.

use async_trait::async_trait;
use clap::{Arg, ArgAction, ArgMatches, Command};

use super::{
    choose::{Meant, chosen_args, paced},
    mutate::{mutate, require_somebody_to_confirm},
};
use crate::{
    backends::Action,
    cli::{
        cx::{Cx, flag, text},
        print::human::capital,
        session::Access,
        verb::{Exit, Kind, Verb},
    },
    model::{Class, Params, Result},
    ops::PowerVerb,
};

/// Flags for what a verb does anyway, since scripts like to say it: the verb, the flag, what it contradicts, its help.
const SAID: &[(&str, &str, &[&str], &str)] = &[
    ("shutdown", "graceful", &["force"], "Leave it to the guest, however long it takes; the default"),
    ("suspend", "to-disk", &[], "Save the memory to disk; the default"),
];

/// What takes a guest's power or its work away: over guests that nobody named it asks.
const TAKES_POWER: [Action; 5] = [Action::Stop, Action::Shutdown, Action::Reboot, Action::Reset, Action::Suspend];

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
            format!("pvectl {} {name} --selector app=web --batch 2 --pause 10s --dry-run", kind.noun),
        ]
    }

    fn args(&self, command: Command, kind: &Kind) -> Command {
        let mut command = chosen_args(command).arg(
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
        let meant = Meant::read(matches, &format!("say which {} to {}", kind.noun, self.name()))?.without_templates();
        let asks = meant.is_choice() && TAKES_POWER.contains(&self.0.action);
        if asks {
            require_somebody_to_confirm(cx)?;
        }
        let mut params = Params::new();
        for option in self.0.options.iter().filter(|option| option.kinds.contains(&kind.guest())) {
            match option.value {
                Some(_) => params = params.with_some(option.param, text(matches, option.flag)),
                None => params = params.with_flag(option.param, flag(matches, option.flag)),
            }
        }
        let strict = flag(matches, "strict");
        let mut session = cx.session(Access::Write).await?;
        session.options = paced(matches, session.options)?;
        session.together = meant.together(asks);
        let mut found = meant.find(cx, &session, kind).await?;
        if asks {
            // Those that are off already lose nothing.
            found.retain(|found| found.guest.status != "stopped");
            let act = capital(self.name());
            if !meant.agrees(cx, kind, &act, &found)? {
                return Ok(Class::Failed.exit_code());
            }
        }
        let plan = async |found: &_| session.ops.plan_power(self.0, found, &params, strict).await;
        mutate(cx, &session, self.0.words, &found, plan).await
    }
}
