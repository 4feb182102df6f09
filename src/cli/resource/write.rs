//! `create` and `update` of things: the flags are the parameters of the API's method.

use async_trait::async_trait;
use clap::{Arg, ArgAction, ArgMatches, Command};

use super::{
    Create, NAME, Update, carry_out,
    flags::{LAST, common_args, typed_params},
    name_arg,
};
use crate::{
    cli::{
        cx::{Cx, text, texts},
        session::Access,
        verb::{Exit, Kind, Verb},
    },
    model::{Error, Hint, Method, Result},
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
        let line = format!("pvectl {} create {} {}", self.0.words(kind), self.0.example, self.0.making);
        vec![line.clone(), format!("{line} --dry-run")]
    }

    fn args(&self, command: Command, _: &Kind) -> Command {
        common_args(command.arg(name_arg(!self.0.is_named_by_server))).defer(self.0.late.0)
    }

    async fn run(&self, cx: &Cx, _: &Kind, matches: &ArgMatches) -> Result<Exit> {
        let request = typed_params(cx, matches, self.0, Method::Post)?;
        let session = cx.session(Access::Write).await?;
        let plan = session.ops.plan_create_resource(self.0.resource, text(matches, NAME), &request).await?;
        carry_out(cx, &session, vec![plan]).await
    }
}

#[async_trait(?Send)]
impl Verb for Update {
    fn name(&self) -> &'static str {
        "update"
    }

    fn about(&self, _: &Kind) -> String {
        format!("Change a {}: only what differs is sent", self.0.resource.noun)
    }

    fn examples(&self, kind: &Kind) -> Vec<String> {
        let line = format!("pvectl {} update {} {}", self.0.words(kind), self.0.example, self.0.changing);
        vec![line.clone(), format!("{line} --dry-run")]
    }

    fn args(&self, command: Command, _: &Kind) -> Command {
        let unset = Arg::new("unset").long("unset").value_name("KEY").action(ArgAction::Append).display_order(LAST);
        common_args(command.arg(name_arg(true)))
            .arg(unset.help("Unset it: the default holds again. Repeatable"))
            .defer(self.0.late.1)
    }

    async fn run(&self, cx: &Cx, _: &Kind, matches: &ArgMatches) -> Result<Exit> {
        let name = text(matches, NAME).unwrap_or_default();
        let mut request = typed_params(cx, matches, self.0, Method::Put)?;
        request.unset = texts(matches, "unset").iter().flat_map(|keys| keys.split(',')).map(str::to_owned).collect();
        if request.set.is_empty() && request.unset.is_empty() && request.forced.is_empty() {
            let noun = self.0.resource.noun;
            return Err(Error::usage("nothing to change was given")
                .with_hint(Hint::Text(format!("what there is to change: pvectl help {noun} update"))));
        }
        let session = cx.session(Access::Write).await?;
        let plan = session.ops.plan_update_resource(self.0.resource, name, &request).await?;
        carry_out(cx, &session, vec![plan]).await
    }
}
