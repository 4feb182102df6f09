//! `network`: the interfaces of a cluster's nodes; under the context of this host, what its VMs can be on.
//!
//! The words are the same; what is of a node is here, what is of this host in [`here`].

#[cfg(target_os = "linux")]
mod here;
mod pending;

use clap::{ArgMatches, Command};
use serde_json::Value;

use crate::{
    cli::{
        cx::{Cx, flag, texts},
        print::{
            Shape,
            fields::{Field, How, fields},
        },
        resource::{Create, Delete, Describe, Get, Update, View, late, params_of},
        session::{Access, Session},
        verb::{Entry, Exit, Kind, Of, Verb, switch, value},
    },
    config::Connection,
    model::{Error, Hint, Method, NodeName, Result},
    ops::resource,
};

pub(super) const KIND: Kind = Kind {
    noun: "network",
    plural: "networks",
    aliases: &["net"],
    about: "Networks of a cluster's nodes, or those of this host that local VMs are on",
    guest: None,
    paths: &["/nodes/{node}/network", "/nodes/{node}/network/{iface}"],
    of: Of::Backends,
    columns: || NETWORKS.headings(),
    verbs: || {
        vec![
            Box::new(LIST),
            Box::new(GET),
            Box::new(DESCRIBE),
            Box::new(CREATE),
            Box::new(Update(&NETWORKS)),
            Box::new(DELETE),
            Box::new(pending::PENDING),
            Box::new(pending::APPLY),
            Box::new(pending::REVERT),
        ]
    },
};

static NETWORKS: View = View {
    resource: resource("network"),
    columns: &[
        Field::text("NAME", "iface"),
        Field::text("NODE", "node"),
        Field::text("TYPE", "type"),
        Field::new("ACTIVE", "active", How::Flag),
        Field::new("AUTOSTART", "autostart", How::Flag),
        Field::text("CIDR", "cidr"),
        Field::text("GATEWAY", "gateway"),
        Field::text("PORTS", "bridge_ports"),
        Field::text("COMMENT", "comments"),
        Field::text("SLAVES", "slaves").wide(),
        Field::new("VLAN AWARE", "bridge_vlan_aware", How::Flag).wide(),
        Field::text("CIDR6", "cidr6").wide(),
        Field::text("GATEWAY6", "gateway6").wide(),
        Field::text("MTU", "mtu").wide(),
    ],
    example: "vmbr1",
    making: "--node pve1 --type bridge --bridge_ports eno2 --autostart",
    changing: "--node pve1 --comments 'for guests'",
    is_named_by_server: false,
    late: late!(NETWORKS),
};

/// Whether this host is meant.
fn is_here(cx: &Cx, matches: &ArgMatches) -> Result<bool> {
    if !matches!(cx.resolve()?.connection, Connection::Local) {
        return Ok(false);
    }
    match matches.try_get_one::<String>("owner-node").ok().flatten() {
        Some(_) => Err(Error::usage("this host is no node of a cluster: --node is for those")),
        None => Ok(true),
    }
}

#[cfg(not(target_os = "linux"))]
mod here {
    //! No VMs of this host without Linux.

    use clap::ArgMatches;

    use crate::{
        cli::{cx::Cx, verb::Exit},
        model::{Error, Result},
    };

    fn nothing() -> Result<Exit> {
        Err(Error::usage("VMs of this host need Linux"))
    }

    pub(super) async fn list(_: &Cx) -> Result<Exit> {
        nothing()
    }

    pub(super) async fn get(_: &Cx, _: &ArgMatches) -> Result<Exit> {
        nothing()
    }

    pub(super) async fn describe(_: &Cx, _: &ArgMatches) -> Result<Exit> {
        nothing()
    }

    pub(super) async fn create(_: &Cx, _: &ArgMatches) -> Result<Exit> {
        nothing()
    }

    pub(super) async fn delete(_: &Cx, _: &ArgMatches) -> Result<Exit> {
        nothing()
    }
}

const LIST: Entry = Entry {
    name: "list",
    about: "List networks: of all nodes of a cluster, or of this host",
    examples: &[
        "pvectl network list",
        "pvectl network list --node pve1",
        "pvectl --context local network list -o wide",
    ],
    args: |command| NETWORKS.owner_args(command, &KIND).arg(type_arg()),
    run: |cx, matches| {
        Box::pin(async move { if is_here(cx, matches)? { here::list(cx).await } else { list(cx, matches).await } })
    },
};

fn type_arg() -> clap::Arg {
    value("type", "TYPE", "Only of this type: bridge, bond, eth, vlan, …")
}

const GET: Entry = Entry {
    name: "get",
    about: "Show single networks",
    examples: &["pvectl network get vmbr0 --node pve1 -o yaml", "pvectl --context local network get lan -o yaml"],
    args: |command| Get(&NETWORKS).args(command, &KIND),
    run: |cx, matches| {
        Box::pin(async move {
            match is_here(cx, matches)? {
                true => here::get(cx, matches).await,
                false if texts(matches, "targets").is_empty() => list(cx, matches).await,
                false => Get(&NETWORKS).run(cx, &KIND, matches).await,
            }
        })
    },
};

const DESCRIBE: Entry = Entry {
    name: "describe",
    about: "Describe networks for people: addresses, and who is on them",
    examples: &["pvectl network describe vmbr0 --node pve1", "pvectl --context local network describe lan"],
    args: |command| Describe(&NETWORKS).args(command, &KIND),
    run: |cx, matches| {
        Box::pin(async move {
            match is_here(cx, matches)? {
                true => here::describe(cx, matches).await,
                false => Describe(&NETWORKS).run(cx, &KIND, matches).await,
            }
        })
    },
};

const CREATE: Entry = Entry {
    name: "create",
    about: "Make a network: of a node, once it is applied; or for VMs of this host, with address translation",
    examples: &[
        "pvectl network create vmbr1 --node pve1 --type bridge --bridge_ports eno2 --autostart",
        "pvectl --context local network create lan --cidr 10.20.0.0/24",
        "pvectl --context local network create island --no-nat",
    ],
    args: |command| {
        let command: Command = Create(&NETWORKS).args(command, &KIND);
        command
            .arg(switch("no-nat", "Of this host: no way out, guests reach the host and each other").display_order(901))
    },
    run: |cx, matches| {
        Box::pin(async move {
            if !is_here(cx, matches)? {
                if flag(matches, "no-nat") {
                    return Err(Error::usage(
                        "--no-nat is for networks of this host: a node's have no address translation",
                    ));
                }
                return Create(&NETWORKS).run(cx, &KIND, matches).await;
            }
            let request = params_of(cx, matches, &NETWORKS, Method::Post)?;
            let given = request.set.iter().chain(request.forced.iter()).map(|(key, _)| key);
            if let Some(key) = given.into_iter().find(|key| *key != "cidr") {
                return Err(Error::usage(format!("`{key}` is of the networks of a cluster's nodes"))
                    .with_hint(Hint::Text("a network of this host takes --cidr and --no-nat".into())));
            }
            here::create(cx, matches).await
        })
    },
};

const DELETE: Entry = Entry {
    name: "delete",
    about: "Delete networks, after showing what stands on them; asks",
    examples: &[
        "pvectl network delete vmbr1 --node pve1 --dry-run",
        "pvectl --context local network delete lan --confirm",
    ],
    args: |command| Delete(&NETWORKS).args(command, &KIND),
    run: |cx, matches| {
        Box::pin(async move {
            match is_here(cx, matches)? {
                true => here::delete(cx, matches).await,
                false => Delete(&NETWORKS).run(cx, &KIND, matches).await,
            }
        })
    },
};

/// The nodes that are meant: the one that was named, or all that answer.
async fn nodes(session: &Session, matches: &ArgMatches) -> Result<Vec<NodeName>> {
    if let Some(name) = matches.try_get_one::<String>("owner-node").ok().flatten() {
        return Ok(vec![session.ops.require_node(name).await?.node]);
    }
    let nodes = session.ops.backend().nodes().await?;
    Ok(nodes.into_iter().filter(crate::model::Node::is_online).map(|node| node.node).collect())
}

async fn list(cx: &Cx, matches: &ArgMatches) -> Result<Exit> {
    let session = cx.session(Access::Read).await?;
    let nodes = nodes(&session, matches).await?;
    let answers = futures_util::future::try_join_all(nodes.iter().map(|node| session.ops.networks_of(node))).await?;
    let mut rows: Vec<Value> = Vec::new();
    for (node, (its, changes)) in nodes.iter().zip(answers) {
        if changes.is_some() {
            cx.ui.say(format_args!("{node}: what was changed does not hold yet: pvectl network pending --node {node}"));
        }
        rows.extend(its);
    }
    if let Some(kind) = matches.try_get_one::<String>("type").ok().flatten() {
        rows.retain(|row| row["type"] == kind.as_str());
    }
    rows.iter_mut().for_each(|row| row["context"] = session.ops.context().into());
    let name = |row: &Value| {
        let [node, iface] = ["node", "iface"].map(|key| row[key].as_str().unwrap_or_default());
        format!("network/{node}/{iface}")
    };
    fields(&cx.ui, &session.style, NETWORKS.columns, (Shape::Several, rows), name)?;
    Ok(0)
}
