//! `delete` of things: says what uses them, and asks.

use async_trait::async_trait;
use clap::{ArgMatches, Command};

use super::{
    Delete,
    change::carry_out_asking,
    flags::{flags_of, typed_params},
    names_arg,
};
use crate::{
    cli::{
        base::require_somebody_to_confirm,
        cx::Cx,
        session::Access,
        verb::{Exit, Kind, Verb},
    },
    model::{Method, Result},
};

#[async_trait(?Send)]
impl Verb for Delete {
    fn name(&self) -> &'static str {
        "delete"
    }

    fn about(&self, _: &Kind) -> String {
        format!("Delete {}, after showing what uses them", self.0.resource.plural)
    }

    fn examples(&self, kind: &Kind) -> Vec<String> {
        vec![
            format!("pvectl {} delete {} --dry-run", self.0.words(kind), self.0.example),
            format!("pvectl {} delete {} --confirm", self.0.words(kind), self.0.example),
        ]
    }

    fn args(&self, command: Command, kind: &Kind) -> Command {
        flags_of(self.0.owner_args(command, kind).args(names_arg(self.0, true)), self.0, Method::Delete)
    }

    async fn run(&self, cx: &Cx, _: &Kind, matches: &ArgMatches) -> Result<Exit> {
        require_somebody_to_confirm(cx)?;
        let of = self.0.resource;
        let params = typed_params(cx, matches, self.0, Method::Delete)?.set;
        let session = cx.session(Access::Write).await?;
        let sort = self.0.sort(&session, matches).await?;
        let names = self.0.names(matches, &sort);
        let mut plans = Vec::new();
        // All of them are looked at before anything is sent.
        for name in &names {
            plans.push(session.ops.plan_delete_resource(&sort, name, &params).await?);
        }
        let what =
            if names.len() == 1 { sort.label(&names[0]) } else { format!("these {} {}", names.len(), of.plural) };
        carry_out_asking(cx, &session, &format!("Delete {what}? This cannot be undone"), plans).await
    }
}
