//! `cluster`: what there is about the cluster as a whole.

use clap::{ArgMatches, value_parser};
use serde_json::{Value, json};

use crate::{
    cli::{
        cx::{Cx, text},
        print::{
            self, Heading, Shape,
            fields::{Field, How, fields, headings_of},
        },
        resource::{Update, View, late, people_page},
        session::{Access, Session},
        verb::{Entry, Exit, Kind, Of, value},
    },
    model::{Params, Result},
    ops::{plain, resource},
};

pub(super) const KIND: Kind = Kind {
    noun: "cluster",
    plural: "clusters",
    aliases: &[],
    about: "The cluster as a whole: members and quorum, resources, log, options",
    guest: None,
    paths: &["/cluster/status", "/cluster/resources", "/cluster/log", "/cluster/options", "/cluster/nextid"],
    of: Of::Cluster,
    columns: headings,
    verbs: || {
        vec![
            Box::new(STATUS),
            Box::new(RESOURCES),
            Box::new(LOG),
            Box::new(OPTIONS),
            Box::new(Update(&SETTINGS)),
            Box::new(NEXT_ID),
        ]
    },
};

/// What `options` shows, to be changed.
static SETTINGS: View = View {
    resource: resource("cluster"),
    columns: &[],
    example: "",
    making: "",
    changing: "--keyboard de",
    is_named_by_server: false,
    late: late!(SETTINGS),
};

fn headings() -> Vec<Heading> {
    headings_of(MEMBERS)
}

const MEMBERS: &[Field] = &[
    Field::text("NAME", "name"),
    Field::text("TYPE", "type"),
    Field::new("ONLINE", "online", How::Flag),
    Field::new("QUORATE", "quorate", How::Flag),
    Field::text("IP", "ip"),
    Field::new("NODE ID", "nodeid", How::Number),
    Field::new("NODES", "nodes", How::Number),
    Field::new("LOCAL", "local", How::Flag).wide(),
];

const STATUS: Entry = Entry {
    name: "status",
    about: "Show the members of the cluster, and whether they have quorum",
    examples: &["pvectl cluster status", "pvectl cluster status -o json"],
    args: |command| command,
    run: |cx, _| Box::pin(rows(cx, "/cluster/status", Params::new(), MEMBERS)),
};

const ALL: &[Field] = &[
    Field::text("ID", "id"),
    Field::text("TYPE", "type"),
    Field::text("NAME", "name"),
    Field::text("NODE", "node"),
    Field::new("STATUS", "status", How::Status),
    Field::new("MEM", "mem", How::Size),
    Field::new("MAX MEM", "maxmem", How::Size),
    Field::new("DISK", "disk", How::Size).wide(),
    Field::new("MAX DISK", "maxdisk", How::Size).wide(),
    Field::new("UPTIME", "uptime", How::Uptime).wide(),
];

const RESOURCES: Entry = Entry {
    name: "resources",
    about: "List all that the cluster has: guests, nodes, storages, pools, networks",
    examples: &["pvectl cluster resources", "pvectl cluster resources --type storage"],
    args: |command| {
        let kinds = ["vm", "storage", "node", "sdn"];
        command.arg(value("type", "TYPE", "Only guests (vm), storages, nodes or networks (sdn)").value_parser(kinds))
    },
    run: |cx, matches| {
        let params = Params::new().with_some("type", text(matches, "type"));
        Box::pin(rows(cx, "/cluster/resources", params, ALL))
    },
};

const LINES: &[Field] = &[
    Field::new("TIME", "time", How::When),
    Field::text("NODE", "node"),
    Field::text("USER", "user"),
    Field::text("TAG", "tag"),
    Field::text("MESSAGE", "msg"),
    Field::new("PRIORITY", "pri", How::Number).wide(),
    Field::new("PID", "pid", How::Number).wide(),
];

const LOG: Entry = Entry {
    name: "log",
    about: "Show the cluster's log, the newest first",
    examples: &["pvectl cluster log --limit 20"],
    args: |command| {
        command.arg(
            value("limit", "N", "At most so many lines")
                .value_parser(value_parser!(u64).range(1..))
                .default_value("50"),
        )
    },
    run: |cx, matches| Box::pin(log(cx, matches)),
};

async fn log(cx: &Cx, matches: &ArgMatches) -> Result<Exit> {
    let limit = matches.get_one::<u64>("limit").copied().unwrap_or(50);
    rows(cx, "/cluster/log", Params::new().with("max", limit), LINES).await
}

const OPTIONS: Entry = Entry {
    name: "options",
    about: "Show the options of the datacenter",
    examples: &["pvectl cluster options"],
    args: |command| command,
    run: |cx, _| Box::pin(options(cx)),
};

const NEXT_ID: Entry = Entry {
    name: "next-id",
    about: "Print the next free VMID",
    examples: &["pvectl cluster next-id"],
    args: |command| command,
    run: |cx, _| Box::pin(next_id(cx)),
};

async fn open(cx: &Cx) -> Result<Session> {
    let session = cx.session(Access::Read).await?;
    session.ops.require_server("clusters")?;
    Ok(session)
}

/// Reads rows and prints them, in the order in which the server gives them.
async fn rows(cx: &Cx, path: &str, params: Params, columns: &[Field]) -> Result<Exit> {
    let session = open(cx).await?;
    let mut rows = session.ops.rows_at(path, params).await?;
    for row in &mut rows {
        row.sort_all_objects();
        row["context"] = session.ops.context().into();
    }
    let name = |row: &Value| ["id", "upid", "name"].iter().find_map(|key| plain(&row[*key])).unwrap_or_default();
    fields(&cx.ui, &session.style, columns, (Shape::Several, rows), name)?;
    Ok(0)
}

async fn options(cx: &Cx) -> Result<Exit> {
    let session = open(cx).await?;
    let mut data = session.ops.read_at("/cluster/options", Params::new()).await?;
    data.sort_all_objects();
    print::data_or(&cx.ui, &session.style, &data, &[], |out| {
        people_page(out, &session.style, "options of the datacenter", &[], &data)
    })?;
    Ok(0)
}

async fn next_id(cx: &Cx) -> Result<Exit> {
    let session = open(cx).await?;
    let vmid = session.ops.backend().next_vmid().await?;
    let data = json!({"vmid": vmid, "context": session.ops.context()});
    print::data_or(&cx.ui, &session.style, &data, &[vmid.to_string()], |out| writeln!(out, "{vmid}"))?;
    Ok(0)
}
