//! Changes of the firewall that are no plain update: a rule moved, turned on or off; a group or a set renamed.

use clap::{Arg, ArgMatches, Command, value_parser};

use super::{GROUPS, IPSETS, KIND, RULES};
use crate::{
    cli::{
        cx::{Cx, text},
        resource::{View, carry_out},
        session::Access,
        verb::{Entry, Exit, value},
    },
    model::{Error, Params, Result},
    ops::ResourceRequest,
};

pub(super) const MOVE: Entry = Entry {
    name: "move",
    about: "Move a rule to another place in its list",
    examples: &["pvectl firewall rule move 3 0", "pvectl firewall rule move 0 2 --guest 101 --dry-run"],
    args: |command| {
        let to = Arg::new("to").value_name("TO").required(true).value_parser(value_parser!(usize));
        owned(&RULES, command).arg(position_arg()).arg(to.help("Where it is to stand afterwards; 0 is first"))
    },
    run: |cx, matches| Box::pin(shift(cx, matches)),
};

pub(super) const ENABLE: Entry = Entry {
    name: "enable",
    about: "Turn a rule on",
    examples: &["pvectl firewall rule enable 0 --guest 101"],
    args: |command| owned(&RULES, command).arg(position_arg()),
    run: |cx, matches| Box::pin(turn(cx, matches, true)),
};

pub(super) const DISABLE: Entry = Entry {
    name: "disable",
    about: "Turn a rule off, and keep it",
    examples: &["pvectl firewall rule disable 0 --guest 101"],
    args: |command| owned(&RULES, command).arg(position_arg()),
    run: |cx, matches| Box::pin(turn(cx, matches, false)),
};

pub(super) const UPDATE_GROUP: Entry = Entry {
    name: "update",
    about: "Rename a security group, or say something else of it",
    examples: &["pvectl firewall group update web --comment 'what all web servers need'"],
    args: |command| set_args(&GROUPS, command),
    run: |cx, matches| Box::pin(rename(cx, matches, &GROUPS)),
};

pub(super) const UPDATE_IPSET: Entry = Entry {
    name: "update",
    about: "Rename a set, or say something else of it; its addresses are `firewall entry`",
    examples: &["pvectl firewall ipset update office --comment 'where we all sit'"],
    args: |command| set_args(&IPSETS, command),
    run: |cx, matches| Box::pin(rename(cx, matches, &IPSETS)),
};

fn owned(view: &View, command: Command) -> Command {
    view.owner_args(command, &KIND)
}

fn position_arg() -> Arg {
    let at = Arg::new("targets").value_name("POSITION").required(true).value_parser(value_parser!(usize));
    at.help("Its position in the list")
}

fn set_args(view: &View, command: Command) -> Command {
    owned(view, command)
        .arg(Arg::new("targets").value_name("NAME").required(true).help("What it is called"))
        .arg(value("rename", "NAME", "What it is to be called"))
        .arg(value("comment", "TEXT", "What people should know of it"))
}

async fn shift(cx: &Cx, matches: &ArgMatches) -> Result<Exit> {
    let at = |id: &str| matches.get_one::<usize>(id).copied().unwrap_or_default();
    let session = cx.session(Access::Write).await?;
    let sort = RULES.sort(&session, matches).await?;
    let plan = session.ops.plan_move_rule(&sort, at("targets"), at("to")).await?;
    carry_out(cx, &session, vec![plan]).await
}

async fn turn(cx: &Cx, matches: &ArgMatches, on: bool) -> Result<Exit> {
    let at = matches.get_one::<usize>("targets").copied().unwrap_or_default().to_string();
    let session = cx.session(Access::Write).await?;
    let sort = RULES.sort(&session, matches).await?;
    let set = Params::new().with("enable", u8::from(on));
    let request = ResourceRequest { set, ..ResourceRequest::default() };
    let plan = session.ops.plan_update_resource(&sort, &at, &request).await?;
    carry_out(cx, &session, vec![plan.under(if on { "enable" } else { "disable" })]).await
}

async fn rename(cx: &Cx, matches: &ArgMatches, view: &View) -> Result<Exit> {
    let (new, comment) = (text(matches, "rename"), text(matches, "comment"));
    if new.is_none() && comment.is_none() {
        return Err(Error::usage("nothing to change was given: --rename or --comment"));
    }
    let session = cx.session(Access::Write).await?;
    let sort = view.sort(&session, matches).await?;
    let name = text(matches, "targets").unwrap_or_default();
    let plan = session.ops.plan_rename_set(&sort, name, (new, comment)).await?;
    carry_out(cx, &session, vec![plan]).await
}
