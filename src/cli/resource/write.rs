//! `create` and `update` of things: the flags are the parameters of the API's method.

use async_trait::async_trait;
use clap::{Arg, ArgAction, ArgMatches, Command};

use super::{
    Create, NAME, Update, carry_out,
    flags::{LAST, common_args, typed_params},
    name_arg, spaced,
};
use crate::{
    cli::{
        cx::{Cx, texts},
        session::Access,
        verb::{Exit, Kind, Verb},
    },
    model::{Error, Hint, Method, Result},
    ops::Naming,
};

#[async_trait(?Send)]
impl Verb for Create {
    fn name(&self) -> &'static str {
        "create"
    }

    fn about(&self, _: &Kind) -> String {
        format!("Create a {}", self.0.resource.noun)
    }

    fn examples(&self, kind: &Kind) -> Vec<String> {
        let name = if self.0.resource.naming == Naming::Name { self.0.example } else { "" };
        let line = spaced(&["pvectl", &self.0.words(kind), "create", name, self.0.making]);
        vec![line.clone(), format!("{line} --dry-run")]
    }

    fn args(&self, command: Command, kind: &Kind) -> Command {
        let name = (self.0.resource.naming == Naming::Name).then(|| name_arg(!self.0.is_named_by_server));
        common_args(self.0.owner_args(command, kind).args(name)).defer(self.0.late.0)
    }

    async fn run(&self, cx: &Cx, _: &Kind, matches: &ArgMatches) -> Result<Exit> {
        let request = typed_params(cx, matches, self.0, Method::Post)?;
        let session = cx.session(Access::Write).await?;
        let sort = self.0.sort(&session, matches).await?;
        let name = matches.try_get_one::<String>(NAME).ok().flatten();
        let name = name.map(|name| self.0.bare(name, &sort));
        let plan = session.ops.plan_create_resource(&sort, name, &request).await?;
        carry_out(cx, &session, vec![plan]).await
    }
}

/// What is to be unset, one by one or with commas.
pub(crate) fn unset_of(matches: &ArgMatches) -> Vec<String> {
    texts(matches, "unset").iter().flat_map(|keys| keys.split(',')).map(str::to_owned).collect()
}

#[async_trait(?Send)]
impl Verb for Update {
    fn name(&self) -> &'static str {
        "update"
    }

    fn about(&self, _: &Kind) -> String {
        match self.0.resource.naming {
            Naming::Single => format!("Change {}: only what differs is sent", self.0.resource.plural),
            _ => format!("Change a {}: only what differs is sent", self.0.resource.noun),
        }
    }

    fn examples(&self, kind: &Kind) -> Vec<String> {
        let line = spaced(&["pvectl", &self.0.words(kind), "update", self.0.example, self.0.changing]);
        vec![line.clone(), format!("{line} --dry-run")]
    }

    fn args(&self, command: Command, kind: &Kind) -> Command {
        let unset = Arg::new("unset").long("unset").value_name("KEY").action(ArgAction::Append).display_order(LAST);
        let name = match self.0.resource.naming {
            Naming::Name => Some(name_arg(true)),
            Naming::Position => Some(name_arg(true).value_name("POSITION").help("Its position in the list")),
            Naming::Single => None,
        };
        common_args(self.0.owner_args(command, kind).args(name))
            .arg(unset.help("Unset it: the default holds again. Repeatable"))
            .defer(self.0.late.1)
    }

    async fn run(&self, cx: &Cx, kind: &Kind, matches: &ArgMatches) -> Result<Exit> {
        let mut request = typed_params(cx, matches, self.0, Method::Put)?;
        request.unset = unset_of(matches);
        if request.set.is_empty() && request.unset.is_empty() && request.forced.is_empty() {
            let words = self.0.words(kind);
            return Err(Error::usage("nothing to change was given")
                .with_hint(Hint::Text(format!("what there is to change: pvectl help {words} update"))));
        }
        let session = cx.session(Access::Write).await?;
        let sort = self.0.sort(&session, matches).await?;
        let name = matches.try_get_one::<String>(NAME).ok().flatten().map_or("", |name| self.0.bare(name, &sort));
        let plan = session.ops.plan_update_resource(&sort, name, &request).await?;
        carry_out(cx, &session, vec![plan]).await
    }
}
