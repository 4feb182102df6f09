//! `pool`: named sets of guests and storages, with who is in them.

use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::{
    cli::{
        cx::{Cx, flag, text, texts},
        print::fields::{Field, How},
        resource::{View, carry_out, late, verbs},
        session::Access,
        verb::{Entry, Exit, Kind, Of, switch},
    },
    model::{Error, Result},
    ops::{PoolMembers, Target, resolve_either, resource},
};

pub(super) const KIND: Kind = Kind {
    noun: "pool",
    plural: "pools",
    aliases: &[],
    about: "Pools: sets of guests and storages that privileges can be given on",
    guest: None,
    paths: &["/pools", "/pools/{poolid}"],
    of: Of::Cluster,
    columns: || VIEW.headings(),
    verbs: || {
        let mut all = verbs(&VIEW);
        all.push(Box::new(ADD));
        all.push(Box::new(REMOVE));
        all
    },
};

static VIEW: View = View {
    resource: resource("pool"),
    columns: &[
        Field::text("POOL", "poolid"),
        Field::text("COMMENT", "comment"),
        Field::new("MEMBERS", "members", How::Count).wide(),
    ],
    example: "prod",
    making: "--comment 'what customers see'",
    changing: "--comment 'what customers need'",
    is_named_by_server: false,
    late: late!(VIEW),
};

const ADD: Entry = Entry {
    name: "add",
    about: "Put guests and storages into a pool",
    examples: &["pvectl pool add prod web-2 103", "pvectl pool add prod 103 --storage local-lvm --dry-run"],
    args: |command| member_args(command).arg(switch("allow-move", "Take guests out of the pool that they are in")),
    run: |cx, matches| Box::pin(change(cx, matches, true)),
};

const REMOVE: Entry = Entry {
    name: "remove",
    about: "Take guests and storages out of a pool",
    examples: &["pvectl pool remove prod 102"],
    args: member_args,
    run: |cx, matches| Box::pin(change(cx, matches, false)),
};

fn member_args(command: Command) -> Command {
    let storage = Arg::new("storage").long("storage").value_name("STORAGE").action(ArgAction::Append);
    command
        .arg(Arg::new("pool").value_name("POOL").required(true).help("The pool"))
        .arg(Arg::new("guests").value_name("GUEST").num_args(0..).help("VMID or name; several may be given"))
        .arg(storage.help("A storage. Repeatable"))
}

async fn change(cx: &Cx, matches: &ArgMatches, adds: bool) -> Result<Exit> {
    let pool = text(matches, "pool").unwrap_or_default();
    let (typed, storages) = (texts(matches, "guests"), texts(matches, "storage"));
    if typed.is_empty() && storages.is_empty() {
        return Err(Error::usage("name guests, or storages with --storage"));
    }
    let session = cx.session(Access::Write).await?;
    let guests = if typed.is_empty() { Vec::new() } else { session.ops.backend().guests().await? };
    let mut members =
        PoolMembers { storages, adds, moves: adds && flag(matches, "allow-move"), ..PoolMembers::default() };
    for target in Target::parse_all(&typed)? {
        // A member is a guest of either kind.
        members.guests.extend(resolve_either(&target, &guests)?.into_iter().map(|found| found.guest));
    }
    let plan = session.ops.plan_pool_members(pool, &members).await?;
    carry_out(cx, &session, vec![plan]).await
}
