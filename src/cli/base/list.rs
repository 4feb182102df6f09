//! `list`: the guests of a kind, filtered.

use std::sync::Arc;

use async_trait::async_trait;
use clap::{Arg, ArgAction, ArgMatches, Command, builder::PossibleValuesParser};

use super::{
    away::Notice,
    row::GuestRow,
    watch::{Watched, watch, watch_arg},
};
use crate::{
    cli::{
        cx::{Cx, flag, text, texts},
        print,
        session::Access,
        verb::{Exit, Kind, Verb, value},
    },
    model::Result,
    ops::{Choice, Resolved},
};

pub(super) struct List;

/// What a guest uses moves all the time; what it is and has does not.
const WATCHED: Watched = Watched {
    moving: &["uptime", "cpu", "mem", "disk", "memhost", "netin", "netout", "diskread", "diskwrite"],
    goes: true,
};

#[async_trait(?Send)]
impl Verb for List {
    fn name(&self) -> &'static str {
        "list"
    }

    fn about(&self, kind: &Kind) -> String {
        format!("List {}", kind.plural)
    }

    fn examples(&self, kind: &Kind) -> Vec<String> {
        vec![
            format!("pvectl {} list", kind.noun),
            format!("pvectl {} list --status running --node pve1 -o wide", kind.noun),
            format!("pvectl {} list --watch", kind.noun),
            format!("pvectl {} list -l 'app=web,tier!=db' --sort-by node,-mem", kind.noun),
            format!("pvectl {} list --field-selector 'maxmem>=4G' -o csv", kind.noun),
            format!("pvectl {} list --jq '.[] | select(.template == 0) | .name'", kind.noun),
            format!("pvectl {} list -o custom-columns=VM:.vmid,NAME:.name,TAGS:.tags", kind.noun),
        ]
    }

    fn args(&self, command: Command, _: &Kind) -> Command {
        command.args(filter_args())
    }

    async fn run(&self, cx: &Cx, kind: &Kind, matches: &ArgMatches) -> Result<Exit> {
        list_guests(cx, kind, matches).await
    }
}

/// The flags by which a list is narrowed.
pub(crate) fn filter_args() -> Vec<Arg> {
    vec![
        value("status", "STATUS", "Only those with this status: running, stopped, paused, …"),
        value("node", "NODE", "Only those on this node"),
        value("pool", "POOL", "Only those in this pool"),
        value("tag", "TAG", "Only those with this tag"),
        selector_arg().help(
            "Only those with these labels: app=web, tier!=db, env in (a,b), env notin (a,b), app, !app; the label \
             app=web is the tag app.web",
        ),
        value("template", "BOOL", "Only templates, or everything but templates")
            .value_parser(PossibleValuesParser::new(["true", "false"])),
        watch_arg(),
    ]
}

/// The flag of label selectors.
pub(crate) fn selector_arg() -> Arg {
    Arg::new("selector").short('l').long("selector").value_name("SELECTOR").action(ArgAction::Append)
}

/// What is chosen by the flags that lists and changes have in common.
pub(super) fn choice(matches: &ArgMatches) -> Result<Choice> {
    let owned = |name| text(matches, name).map(str::to_owned);
    Ok(Choice {
        status: owned("status"),
        node: owned("node"),
        pool: owned("pool"),
        tag: owned("tag"),
        template: None,
        labels: texts(matches, "selector").iter().map(|text| text.parse()).collect::<Result<_>>()?,
    })
}

pub(super) async fn list_guests(cx: &Cx, kind: &Kind, matches: &ArgMatches) -> Result<Exit> {
    let template = text(matches, "template").map(|template| template == "true");
    let choice = Choice { template, ..choice(matches)? };
    let session = cx.session(Access::Read).await?;
    let context: Arc<str> = session.ops.context().into();
    let notice = Notice::new("how its guests are is not known");
    let look = async || {
        let (found, away) = session.ops.survey(kind.guest(), &choice).await?;
        notice.tell(cx, &away);
        let row = |found: Resolved| GuestRow {
            node_status: away.status(&found.guest.node).map(str::to_owned),
            guest: found.guest,
            context: context.clone(),
        };
        Ok(found.into_iter().map(row).collect::<Vec<_>>())
    };
    if flag(matches, "watch") {
        return watch(cx, &session, &WATCHED, look).await;
    }
    let mut rows = look().await?;
    print::list(&cx.ui, &session.style, &mut rows)?;
    Ok(0)
}
