//! What was changed of a node's networks and does not hold yet: shown, made to hold, or forgotten.

use clap::ArgMatches;
use serde_json::{Value, json};

use super::{KIND, NETWORKS, nodes};
use crate::{
    cli::{
        base::require_somebody_to_confirm,
        cx::Cx,
        print,
        resource::carry_out_asking,
        session::Access,
        ui::{style, styled},
        verb::{Entry, Exit},
    },
    model::{NodeName, Result},
};

pub(super) const PENDING: Entry = Entry {
    name: "pending",
    about: "Show what was changed of a node's networks and does not hold yet",
    examples: &["pvectl network pending", "pvectl network pending --node pve1"],
    args: |command| NETWORKS.owner_args(command, &KIND),
    run: |cx, matches| Box::pin(pending(cx, matches)),
};

pub(super) const APPLY: Entry = Entry {
    name: "apply",
    about: "Make what was changed of a node's networks hold, after showing it; asks",
    examples: &["pvectl network apply --node pve1 --dry-run"],
    args: |command| NETWORKS.owner_args(command, &KIND),
    run: |cx, matches| Box::pin(change(cx, matches, true)),
};

pub(super) const REVERT: Entry = Entry {
    name: "revert",
    about: "Forget what was changed of a node's networks and does not hold yet, after showing it; asks",
    examples: &["pvectl network revert --node pve1 --dry-run"],
    args: |command| NETWORKS.owner_args(command, &KIND),
    run: |cx, matches| Box::pin(change(cx, matches, false)),
};

async fn pending(cx: &Cx, matches: &ArgMatches) -> Result<Exit> {
    let session = cx.session(Access::Read).await?;
    session.ops.require_server("changes of a node's networks that are pending")?;
    let nodes = nodes(&session, matches).await?;
    let answers = futures_util::future::try_join_all(nodes.iter().map(|node| session.ops.networks_of(node))).await?;
    let changed: Vec<(&NodeName, String)> =
        nodes.iter().zip(answers).filter_map(|(node, (_, changes))| Some((node, changes?))).collect();
    let data: Vec<Value> = changed
        .iter()
        .map(|(node, changes)| json!({"node": node, "changes": changes, "context": session.ops.context()}))
        .collect();
    let names: Vec<String> = changed.iter().map(|(node, _)| format!("node/{node}")).collect();
    print::each(&cx.ui, &session.style, print::Shape::Several, &data, &names, |out, places| {
        for (node, changes) in places.iter().map(|place| &changed[*place]) {
            writeln!(out, "{}", styled(style::HEADER, format_args!("node {node}")))?;
            coloured(changes).try_for_each(|line| writeln!(out, "  {line}"))?;
        }
        Ok(())
    })?;
    if changed.is_empty() {
        cx.ui.say("nothing is changed that does not hold yet");
    }
    Ok(0)
}

/// The lines of a difference, what goes and what comes in colours.
fn coloured(changes: &str) -> impl Iterator<Item = String> {
    changes.lines().map(|line| match line.chars().next() {
        Some('+') => styled(style::GOOD, line),
        Some('-') => styled(style::BAD, line),
        _ => line.to_owned(),
    })
}

async fn change(cx: &Cx, matches: &ArgMatches, applies: bool) -> Result<Exit> {
    require_somebody_to_confirm(cx)?;
    let session = cx.session(Access::Write).await?;
    let sort = NETWORKS.sort(&session, matches).await?;
    let node = session.ops.require_node(&sort.full_name("")).await?.node;
    let (plan, changes) = session.ops.plan_networks(&node, applies).await?;
    let Some(changes) = changes else {
        return crate::cli::resource::carry_out(cx, &session, vec![plan]).await;
    };
    // What becomes of it is seen before it is asked about, and in a plan too.
    coloured(&changes).for_each(|line| cx.ui.say(format_args!("  {line}")));
    let question = match applies {
        true => format!("Apply this on {node}? Its networks are reloaded"),
        false => format!("Forget this on {node}? This cannot be undone"),
    };
    carry_out_asking(cx, &session, &question, vec![plan]).await
}
