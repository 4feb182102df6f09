//! `storage`: where disks, images and backups are: definitions of the cluster, and how full they are on each node.

use std::collections::BTreeSet;

use clap::{Arg, ArgMatches};
use futures_util::future::try_join_all;
use serde_json::{Value, json};

use crate::{
    cli::{
        cx::{Cx, text},
        print::{
            Shape,
            fields::{Field, How, fields, headings_of},
        },
        resource::{View, late, verbs_beside_list},
        session::{Access, Session},
        verb::{Entry, Exit, Kind, Of, value},
    },
    model::{Error, NodeName, Params, Result, Vmid, closest},
    ops::{Resource, plain, resource},
};

pub(super) const KIND: Kind = Kind {
    noun: "storage",
    plural: "storages",
    aliases: &[],
    about: "Storages: where disks, images and backups are, and how full they are",
    guest: None,
    paths: &["/storage", "/storage/{storage}"],
    of: Of::Backends,
    columns: || headings_of(ON_NODES),
    verbs: || {
        let mut all: Vec<Box<dyn crate::cli::verb::Verb>> = vec![Box::new(LIST)];
        all.extend(verbs_beside_list(&VIEW));
        all.push(Box::new(CONTENT));
        all
    },
};

static STORAGE: &Resource = resource("storage");

/// The columns of the list: as each node has them.
const ON_NODES: &[Field] = &[
    Field::text("STORAGE", "storage"),
    Field::text("NODE", "node"),
    Field::text("TYPE", "type"),
    Field::new("STATUS", "status", How::Status),
    Field::new("USED", "disk", How::Size),
    Field::new("SIZE", "maxdisk", How::Size),
    Field::new("USE%", "used_fraction", How::Share),
    Field::text("CONTENT", "content"),
    Field::new("SHARED", "shared", How::Flag).wide(),
];

static VIEW: View = View {
    resource: STORAGE,
    columns: &[
        Field::text("STORAGE", "storage"),
        Field::text("TYPE", "type"),
        Field::text("CONTENT", "content"),
        Field::text("NODES", "nodes"),
        Field::new("SHARED", "shared", How::Flag),
        Field::new("DISABLED", "disable", How::Flag),
        Field::text("PATH", "path"),
    ],
    example: "local",
    making: "--type dir --path /srv/vms --content images,iso",
    changing: "--content images,iso,backup",
    is_named_by_server: false,
    late: late!(VIEW),
};

const LIST: Entry = Entry {
    name: "list",
    about: "List storages, once for each node that has them, with how full they are",
    examples: &["pvectl storage list", "pvectl storage list --node pve1 --sort-by -used"],
    args: |command| command.arg(value("node", "NODE", "Only on this node")),
    run: |cx, matches| Box::pin(list(cx, matches)),
};

async fn list(cx: &Cx, matches: &ArgMatches) -> Result<Exit> {
    let session = cx.session(Access::Read).await?;
    let mut rows = rows(&session).await?;
    if let Some(wanted) = text(matches, "node") {
        session.ops.require_node(wanted).await?;
        rows.retain(|row| row["node"] == wanted);
    }
    rows.iter_mut().for_each(|row| row["context"] = session.ops.context().into());
    let name = |row: &Value| VIEW.path_of(&STORAGE.name_of(row));
    fields(&cx.ui, &session.style, ON_NODES, (Shape::Several, rows), name)?;
    Ok(0)
}

/// A row for each storage on each node; a definition that no node has in use has one of its own.
async fn rows(session: &Session) -> Result<Vec<Value>> {
    let backend = session.ops.backend();
    if backend.capabilities().here {
        let nodes = backend.nodes().await?;
        let on_node = async |node: &NodeName| Ok::<_, Error>((node.clone(), backend.storages(node).await?));
        let mut rows = Vec::new();
        for (node, storages) in try_join_all(nodes.iter().map(|node| on_node(&node.node))).await? {
            for storage in storages {
                let used = storage.total.zip(storage.avail).map(|(total, free)| total.saturating_sub(free));
                let share = used.zip(storage.total).map(|(used, total)| used as f64 / total.max(1) as f64);
                rows.push(json!({
                    "storage": storage.storage, "node": node, "type": storage.kind, "status": "available",
                    "disk": used, "maxdisk": storage.total, "used_fraction": share,
                    "content": plain(&json!(storage.content)), "shared": 0,
                }));
            }
        }
        return Ok(rows);
    }
    let used = Params::new().with("type", "storage");
    let (mut rows, defined) =
        futures_util::future::try_join(session.ops.rows_at("/cluster/resources", used), session.ops.resources(STORAGE))
            .await?;
    rows.retain(|row| row["type"] == "storage");
    for row in &mut rows {
        row["type"] = row["plugintype"].take();
        let number = |key: &str| row[key].as_f64().filter(|number| *number > 0.0);
        if let (Some(used), Some(total)) = (number("disk"), number("maxdisk")) {
            row["used_fraction"] = json!(used / total);
        }
        if let Some(map) = row.as_object_mut() {
            map.remove("plugintype");
            map.remove("id");
        }
    }
    let seen: BTreeSet<String> = rows.iter().filter_map(|row| plain(&row["storage"])).collect();
    for mut row in defined.into_iter().filter(|row| plain(&row["storage"]).is_none_or(|name| !seen.contains(&name))) {
        row["status"] = if plain(&row["disable"]).as_deref() == Some("1") { "disabled" } else { "unknown" }.into();
        rows.push(row);
    }
    rows.sort_by_cached_key(|row| (plain(&row["storage"]), plain(&row["node"])));
    rows.iter_mut().for_each(Value::sort_all_objects);
    Ok(rows)
}

const CONTENT: Entry = Entry {
    name: "content",
    about: "List what is in a storage: disks, images, backups",
    examples: &["pvectl storage content local-lvm", "pvectl storage content local --node pve1 --content iso"],
    args: |command| {
        command
            .arg(Arg::new("storage").value_name("STORAGE").required(true).help("The storage"))
            .arg(value("node", "NODE", "As this node sees it; all nodes that have it if none is given"))
            .arg(value("content", "CONTENT", "Only of this sort").value_parser(SORTS))
            .arg(value("vmid", "VMID", "Only of this guest").value_parser(|text: &str| text.parse::<Vmid>()))
    },
    run: |cx, matches| Box::pin(content(cx, matches)),
};

/// What may be in a storage.
const SORTS: [&str; 7] = ["images", "rootdir", "iso", "vztmpl", "backup", "snippets", "import"];

const VOLUMES: &[Field] = &[
    Field::text("VOLUME", "volid"),
    Field::text("NODE", "node"),
    Field::text("CONTENT", "content"),
    Field::text("FORMAT", "format"),
    Field::new("SIZE", "size", How::Size),
    Field::text("VMID", "vmid"),
    Field::new("CREATED", "ctime", How::When),
    Field::new("USED", "used", How::Size).wide(),
    Field::text("PARENT", "parent").wide(),
    Field::text("NOTES", "notes").wide(),
    Field::new("PROTECTED", "protected", How::Flag).wide(),
];

async fn content(cx: &Cx, matches: &ArgMatches) -> Result<Exit> {
    let storage = text(matches, "storage").unwrap_or_default();
    let session = cx.session(Access::Read).await?;
    let rows = rows(&session).await?;
    let there: Vec<&Value> = rows.iter().filter(|row| row["storage"] == storage).collect();
    if there.is_empty() {
        let names: BTreeSet<String> = rows.iter().filter_map(|row| plain(&row["storage"])).collect();
        let error = Error::not_found(format!("no such storage: `{storage}`"));
        return Err(error.did_you_mean(closest(storage, names.into_iter())));
    }
    // Of a node that is away nothing can be read.
    let up = there.iter().filter(|row| row["status"] != "unknown");
    let mut nodes: Vec<NodeName> = up.filter_map(|row| NodeName::new(row["node"].as_str()?).ok()).collect();
    // What is shared is the same everywhere.
    if there.iter().any(|row| plain(&row["shared"]).as_deref() == Some("1")) {
        nodes.truncate(1);
    }
    if let Some(wanted) = text(matches, "node") {
        session.ops.require_node(wanted).await?;
        if !there.iter().any(|row| row["node"] == wanted) {
            return Err(Error::not_found(format!("node {wanted} has no storage `{storage}`")));
        }
        nodes = vec![NodeName::new(wanted).map_err(|error| Error::usage(error.to_string()))?];
    }
    let kind = text(matches, "content");
    let backend = session.ops.backend();
    let lists = nodes.iter().map(async |node| Ok::<_, Error>((node, backend.volumes(node, storage, kind).await?)));
    let mut volumes = Vec::new();
    for (node, list) in try_join_all(lists).await? {
        for volume in list {
            let mut row = crate::cli::print::to_value(&volume)?;
            row["node"] = json!(node);
            row["context"] = session.ops.context().into();
            volumes.push(row);
        }
    }
    if let Some(vmid) = matches.get_one::<Vmid>("vmid") {
        volumes.retain(|row| plain(&row["vmid"]) == Some(vmid.to_string()));
    }
    volumes.sort_by_cached_key(|row| (plain(&row["volid"]), plain(&row["node"])));
    let name = |row: &Value| plain(&row["volid"]).unwrap_or_default();
    fields(&cx.ui, &session.style, VOLUMES, (Shape::Several, volumes), name)?;
    Ok(0)
}
