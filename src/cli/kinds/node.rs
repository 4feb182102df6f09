//! `node`: the machines of a cluster.

mod certificate;
mod console;
mod evacuate;
mod look;
mod power;
mod settings;
mod smart;

use clap::Arg;
use serde::Serialize;

use crate::{
    cli::{
        base::targets_arg,
        cx::{Cx, texts},
        print::{
            self, Column, Row, headings,
            human::{percent, size, uptime},
            table::status_colour,
        },
        session::Access,
        verb::{Entry, Exit, Kind, Of},
    },
    model::{Node, Result},
};

pub(super) const KIND: Kind = Kind {
    noun: "node",
    plural: "nodes",
    aliases: &[],
    about: "Cluster nodes",
    guest: None,
    paths: &["/nodes", "/nodes/{node}"],
    of: Of::Backends,
    columns: headings::<NodeRow>,
    verbs: || {
        vec![
            Box::new(LIST),
            Box::new(GET),
            Box::new(look::DESCRIBE),
            Box::new(look::TASKS),
            Box::new(look::SYSLOG),
            Box::new(look::SERVICES),
            Box::new(look::CERTIFICATES),
            Box::new(certificate::CERTIFICATE_VERBS),
            Box::new(look::DISKS),
            Box::new(look::PCI),
            Box::new(look::USB),
            Box::new(smart::SMART),
            Box::new(settings::CONFIG_VERBS),
            Box::new(settings::DNS_VERBS),
            Box::new(settings::TIME_VERBS),
            Box::new(look::UPDATES),
            Box::new(power::REFRESH_UPDATES),
            Box::new(look::VERSIONS),
            Box::new(power::START_ALL),
            Box::new(power::STOP_ALL),
            Box::new(power::SUSPEND_ALL),
            Box::new(evacuate::EVACUATE),
            Box::new(evacuate::MIGRATE_ALL),
            Box::new(power::SERVICE),
            Box::new(power::WAKE),
            Box::new(power::SHUTDOWN),
            Box::new(power::REBOOT),
            Box::new(console::CONSOLE),
            Box::new(console::VNC),
            Box::new(console::SPICE),
        ]
    },
};

/// The node of a verb on one.
fn node_arg() -> Arg {
    Arg::new("node-name").value_name("NODE").required(true).help("The node's name")
}

#[derive(Serialize)]
struct NodeRow {
    #[serde(flatten)]
    node: Node,
    context: String,
}

impl Row for NodeRow {
    fn columns() -> &'static [Column<Self>] {
        const COLUMNS: &[Column<NodeRow>] = &[
            Column::new("NODE", "node", |row: &NodeRow| row.node.node.to_string()),
            Column::new("STATUS", "status", |row: &NodeRow| row.node.status.clone()).coloured(status_colour),
            Column::new("CPUS", "maxcpu", |row: &NodeRow| {
                row.node.maxcpu.map_or(String::new(), |cpus| cpus.to_string())
            })
            .right(),
            Column::new("CPU%", "cpu", |row: &NodeRow| percent(row.node.cpu)).right(),
            Column::new("MEM USED", "mem", |row: &NodeRow| size(row.node.mem)).right(),
            Column::new("MEMORY", "maxmem", |row: &NodeRow| size(row.node.maxmem)).right(),
            Column::new("UPTIME", "uptime", |row: &NodeRow| uptime(row.node.uptime.unwrap_or(0))).right(),
        ];
        COLUMNS
    }

    fn name(&self) -> String {
        format!("node/{}", self.node.node)
    }
}

const LIST: Entry = Entry {
    name: "list",
    about: "List nodes",
    examples: &["pvectl node list"],
    args: |command| command,
    run: |cx, _| Box::pin(show(cx, Vec::new())),
};

const GET: Entry = Entry {
    name: "get",
    about: "Show single nodes",
    examples: &["pvectl node get pve1 -o json"],
    args: |command| command.arg(targets_arg(false).value_name("NODE").help("A node's name; several may be given")),
    run: |cx, matches| Box::pin(show(cx, texts(matches, "targets"))),
};

async fn show(cx: &Cx, names: Vec<String>) -> Result<Exit> {
    let session = cx.session(Access::Read).await?;
    let context = session.ops.context();
    let mut nodes = session.ops.backend().nodes().await?;
    nodes.sort_by(|a, b| a.node.cmp(&b.node));
    names.iter().try_for_each(|name| Node::named(&nodes, name).map(drop))?;
    nodes.retain(|node| names.is_empty() || names.iter().any(|name| name == node.node.as_str()));
    let mut rows: Vec<NodeRow> = nodes.into_iter().map(|node| NodeRow { node, context: context.to_owned() }).collect();
    match (rows.as_slice(), names.as_slice()) {
        ([one], [_]) => print::one(&cx.ui, &session.style, one)?,
        _ => print::list(&cx.ui, &session.style, &mut rows)?,
    }
    Ok(0)
}
