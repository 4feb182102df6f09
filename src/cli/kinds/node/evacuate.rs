//! `evacuate` and `migrate-all`: the guests of a node that go to others.

use std::collections::HashMap;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use super::node_arg;
use crate::{
    cli::{
        base::{MOVES_AT_ONCE, mutate, pace_args, paced, require_somebody_to_confirm},
        cx::{Cx, flag, text, texts, wait_lock_arg},
        session::Access,
        verb::{Entry, Exit, switch, value},
    },
    model::{Class, Error, NodeName, Params, Result, Size},
    ops::{Evacuation, MIGRATE, Plan, Resolved, RunOptions, StorageMap, Together},
};

pub(super) const EVACUATE: Entry = Entry {
    name: "evacuate",
    about: "Move all guests of a node to others, each where the most memory is left; shows where first, and asks",
    examples: &[
        "pvectl node evacuate pve1 --with-local-disks --restart --dry-run",
        "pvectl node evacuate pve1 --to pve2,pve3 --running --parallel 1",
    ],
    args: |command| {
        let to = value("to", "NODE", "Only to these nodes; else to all that are online");
        how_args(command.arg(node_arg()).arg(to.value_delimiter(',').action(ArgAction::Append)))
    },
    run: |cx, matches| Box::pin(evacuate(cx, matches, texts(matches, "to"))),
};

pub(super) const MIGRATE_ALL: Entry = Entry {
    name: "migrate-all",
    about: "Move all guests of a node to one other; asks",
    examples: &["pvectl node migrate-all pve1 pve2 --with-local-disks --restart --dry-run"],
    args: |command| {
        let to = Arg::new("to").value_name("TARGET").required(true).help("The node that they go to");
        how_args(command.arg(node_arg()).arg(to))
    },
    run: |cx, matches| Box::pin(evacuate(cx, matches, texts(matches, "to"))),
};

fn how_args(command: Command) -> Command {
    let storages = "Where disks go that only their node has; one storage alone is for all";
    command
        .arg(switch("running", "Only those that run; the others stay"))
        .arg(switch("overcommit", "Though a node would promise more memory than it has"))
        .arg(switch("with-local-disks", "Copy disks that only the node has, while their VMs run"))
        .arg(switch("restart", "Shut running containers down, move them, and start them there"))
        .arg(value("target-storage", "FROM=TO", storages))
        .arg(value("bwlimit", "KIB", "Each no faster than so many KiB a second").value_parser(value_parser!(u64)))
        .args(pace_args())
        .mut_arg("parallel", |arg| arg.help(format!("So many at a time [default: {MOVES_AT_ONCE}]")))
        .arg(wait_lock_arg())
}

fn node(name: &str) -> Result<NodeName> {
    NodeName::new(name).map_err(|error| Error::usage(format!("`{name}` is no node: {error}")))
}

async fn evacuate(cx: &Cx, matches: &ArgMatches, to: Vec<String>) -> Result<Exit> {
    require_somebody_to_confirm(cx)?;
    let name = text(matches, "node-name").unwrap_or_default();
    let request = Evacuation {
        node: node(name)?,
        to: to.iter().map(|name| node(name)).collect::<Result<_>>()?,
        running: flag(matches, "running"),
        overcommit: flag(matches, "overcommit"),
        storages: text(matches, "target-storage").map(StorageMap::parse).transpose()?.unwrap_or_default(),
        with_local_disks: flag(matches, "with-local-disks"),
        restart: flag(matches, "restart"),
        more: Params::new().with_some("bwlimit", matches.get_one::<u64>("bwlimit")),
    };
    if request.to.contains(&request.node) {
        return Err(Error::usage(format!("the guests of {name} are on {name} already")));
    }
    let mut session = cx.session(Access::Write).await?;
    session.ops.require_server("evacuations")?;
    session.options = paced(matches, RunOptions { parallel: MOVES_AT_ONCE, ..session.options })?;
    session.together = Together { target: format!("node/{name}"), asks: true };
    let settled = session.ops.plan_evacuation(&request).await?;
    if settled.is_empty() {
        cx.ui.say(format_args!("no guest leaves {name}"));
        return Ok(0);
    }
    let go = show(cx, &settled);
    if go > 0 && !cx.switches.confirm && !cx.switches.dry_run {
        let what = if go == 1 { "guest" } else { "guests" };
        if !cx.ui.ask_yes(&format!("Move {go} {what} away from {name}?"))? {
            cx.ui.say("nothing was done");
            return Ok(Class::Failed.exit_code());
        }
    }
    let (found, plans): (Vec<Resolved>, Vec<Result<Plan>>) = settled.into_iter().unzip();
    let plans = plans.into_iter().zip(&found).map(|(plan, found)| (found.guest.vmid, plan));
    let plans = std::cell::RefCell::new(plans.collect::<HashMap<_, _>>());
    let plan = async |found: &Resolved| {
        let plan = plans.borrow_mut().remove(&found.guest.vmid);
        plan.unwrap_or_else(|| Err(Error::new(Class::Bug, "a guest was planned for twice")))
    };
    mutate(cx, &session, MIGRATE, &found, plan).await
}

/// Tells where each goes; gives how many go.
fn show(cx: &Cx, settled: &[(Resolved, Result<Plan>)]) -> usize {
    let mut go = 0;
    for (found, plan) in settled {
        let guest = &found.guest;
        let memory =
            guest.maxmem.filter(|_| guest.is_powered()).map_or("off".to_owned(), |memory| Size(memory).to_string());
        let whither = match plan {
            Ok(plan) => {
                go += 1;
                format!("→ {}", plan.place())
            }
            Err(_) => "stays".to_owned(),
        };
        cx.ui.say(format_args!("  {} ({}), {memory}: {whither}", guest.reference(), guest.label()));
    }
    go
}
