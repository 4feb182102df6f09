//! `node console`: a shell on a node, as its web interface has one.

use clap::ArgMatches;

use super::node_arg;
use crate::{
    cli::{
        base::{escape_arg, seat, sit_at},
        cx::{Cx, text},
        terminal::Escape,
        verb::{Entry, Exit},
    },
    model::{Error, Result},
};

pub(super) const CONSOLE: Entry = Entry {
    name: "console",
    about: "Sit at a shell of a node: root@pam's at once, others log in there",
    examples: &["pvectl node console pve1", "pvectl node console pve1 --escape ctrl-o"],
    args: |command| command.arg(node_arg()).arg(escape_arg()),
    run: |cx, matches| Box::pin(console(cx, matches)),
};

async fn console(cx: &Cx, matches: &ArgMatches) -> Result<Exit> {
    let escape = Escape::parse(text(matches, "escape").unwrap_or_default())?;
    let session = seat(cx).await?;
    session.ops.require_server("nodes with consoles")?;
    let node = session.ops.require_node(text(matches, "node-name").unwrap_or_default()).await?;
    if !node.is_online() {
        return Err(Error::conflict(format!("node {} is offline", node.node)));
    }
    let line = session.ops.node_console(&node.node).await?;
    sit_at(cx, &session, &format!("node {}", node.node), line, escape).await
}
