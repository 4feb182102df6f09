//! `node console`, `vnc` and `spice`: a shell on a node, as its web interface has one.

use clap::ArgMatches;

use super::node_arg;
use crate::{
    cli::{
        base::{Sight, escape_arg, listen, seat, show_spice, show_vnc, sit_at, spice_args, vnc_args},
        cx::{Cx, text},
        session::{Access, Session},
        terminal::Escape,
        verb::{Entry, Exit},
    },
    model::{Error, Node, Result},
};

pub(super) const CONSOLE: Entry = Entry {
    name: "console",
    about: "Sit at a shell of a node: root@pam's at once, others log in there",
    examples: &["pvectl node console pve1", "pvectl node console pve1 --escape ctrl-o"],
    args: |command| command.arg(node_arg()).arg(escape_arg()),
    run: |cx, matches| Box::pin(console(cx, matches)),
};

pub(super) const VNC: Entry = Entry {
    name: "vnc",
    about: "Bring a shell of a node to a port of this machine, for one VNC viewer",
    examples: &["pvectl node vnc pve1 --open"],
    args: |command| vnc_args(command.arg(node_arg())),
    run: |cx, matches| Box::pin(vnc(cx, matches)),
};

pub(super) const SPICE: Entry = Entry {
    name: "spice",
    about: "Write a file with which a SPICE viewer opens a shell of a node; it is good for half a minute",
    examples: &["pvectl node spice pve1 --open"],
    args: |command| spice_args(command.arg(node_arg())),
    run: |cx, matches| Box::pin(spice(cx, matches)),
};

async fn console(cx: &Cx, matches: &ArgMatches) -> Result<Exit> {
    let escape = Escape::parse(text(matches, "escape").unwrap_or_default())?;
    let session = seat(cx).await?;
    let node = online(&session, matches).await?;
    let line = session.ops.node_console(&node.node).await?;
    sit_at(cx, &session, &format!("node {}", node.node), line, escape).await
}

/// The node that is meant, which has to answer.
async fn online(session: &Session, matches: &ArgMatches) -> Result<Node> {
    session.ops.require_server("nodes with consoles")?;
    let node = session.ops.require_node(text(matches, "node-name").unwrap_or_default()).await?;
    match node.is_online() {
        true => Ok(node),
        false => Err(Error::conflict(format!("node {} is offline", node.node))),
    }
}

async fn sight(session: &Session, matches: &ArgMatches) -> Result<Sight> {
    let node = online(session, matches).await?.node;
    let title = format!("node {node}");
    Ok(Sight { node, guest: None, title })
}

async fn vnc(cx: &Cx, matches: &ArgMatches) -> Result<Exit> {
    listen(matches)?;
    let session = cx.session(Access::Write).await?;
    show_vnc(cx, &session, &sight(&session, matches).await?, matches).await
}

async fn spice(cx: &Cx, matches: &ArgMatches) -> Result<Exit> {
    let session = cx.session(Access::Write).await?;
    show_spice(cx, &session, &sight(&session, matches).await?, matches).await
}
