//! Verbs that look at a node: the page about it, its log, its services, its certificates.

use std::io::Write;

use clap::{ArgMatches, value_parser};
use futures_util::future::{try_join, try_join_all};
use serde_json::{Map, Value, json};

use super::node_arg;
use crate::{
    backends::TaskQuery,
    cli::{
        base::targets_arg,
        cx::{Cx, text, texts},
        print::{
            self, Shape,
            fields::{Field, How, fields, write_rows},
        },
        resource::lines_of,
        session::{Access, Session},
        ui::{style, styled},
        verb::{Entry, Exit, value},
    },
    model::{Class, Node, NodeName, Params, Result},
    ops::plain,
};

pub(super) const DESCRIBE: Entry = Entry {
    name: "describe",
    about: "Describe nodes for people: load, memory, system, guests, last tasks",
    examples: &["pvectl node describe pve1"],
    args: |command| command.arg(targets_arg(true).value_name("NODE").help("A node's name; several may be given")),
    run: |cx, matches| Box::pin(describe(cx, matches)),
};

pub(super) const TASKS: Entry = Entry {
    name: "tasks",
    about: "List the tasks of a node, the newest first",
    examples: &["pvectl node tasks pve1 --limit 5"],
    args: |command| command.arg(node_arg()).arg(limit_arg("50")),
    run: |cx, matches| Box::pin(tasks(cx, matches)),
};

pub(super) const SYSLOG: Entry = Entry {
    name: "syslog",
    about: "Print the last lines of a node's system log",
    examples: &["pvectl node syslog pve1 --limit 20", "pvectl node syslog pve1 --service pveproxy"],
    args: |command| {
        command
            .arg(node_arg())
            .arg(limit_arg("100"))
            .arg(value("since", "TIME", "Since then: 2026-11-30, or '2026-11-30 12:00'"))
            .arg(value("until", "TIME", "Until then"))
            .arg(value("service", "SERVICE", "Only of this service"))
    },
    run: |cx, matches| Box::pin(syslog(cx, matches)),
};

pub(super) const SERVICES: Entry = Entry {
    name: "services",
    about: "List the services of a node",
    examples: &["pvectl node services pve1"],
    args: |command| command.arg(node_arg()),
    run: |cx, matches| Box::pin(rows(cx, matches, "/nodes/{node}/services", SERVICE_FIELDS, "service")),
};

pub(super) const CERTIFICATES: Entry = Entry {
    name: "certificates",
    about: "List the certificates of a node",
    examples: &["pvectl node certificates pve1"],
    args: |command| command.arg(node_arg()),
    run: |cx, matches| Box::pin(rows(cx, matches, "/nodes/{node}/certificates/info", CERTIFICATE_FIELDS, "filename")),
};

pub(super) const DISKS: Entry = Entry {
    name: "disks",
    about: "List the disks of a node: size, health, and what is on them",
    examples: &["pvectl node disks pve1", "pvectl node disks pve1 -o wide"],
    args: |command| command.arg(node_arg()),
    run: |cx, matches| Box::pin(rows(cx, matches, "/nodes/{node}/disks/list", DISK_FIELDS, "devpath")),
};

pub(super) const PCI: Entry = Entry {
    name: "pci",
    about: "List the PCI devices of a node, which guests may be given",
    examples: &["pvectl node pci pve1"],
    args: |command| command.arg(node_arg()),
    run: |cx, matches| Box::pin(rows(cx, matches, "/nodes/{node}/hardware/pci", PCI_FIELDS, "id")),
};

pub(super) const USB: Entry = Entry {
    name: "usb",
    about: "List the USB devices of a node, which guests may be given",
    examples: &["pvectl node usb pve1"],
    args: |command| command.arg(node_arg()),
    run: |cx, matches| Box::pin(rows(cx, matches, "/nodes/{node}/hardware/usb", USB_FIELDS, "usbpath")),
};

pub(super) const UPDATES: Entry = Entry {
    name: "updates",
    about: "List the packages of a node of which there is a newer version, as it last looked",
    examples: &["pvectl node updates pve1"],
    args: |command| command.arg(node_arg()),
    run: |cx, matches| Box::pin(rows(cx, matches, "/nodes/{node}/apt/update", PACKAGE_FIELDS, "Package")),
};

pub(super) const VERSIONS: Entry = Entry {
    name: "versions",
    about: "List the versions of Proxmox VE's packages on a node",
    examples: &["pvectl node versions pve1"],
    args: |command| command.arg(node_arg()),
    run: |cx, matches| Box::pin(rows(cx, matches, "/nodes/{node}/apt/versions", VERSION_FIELDS, "Package")),
};

const DISK_FIELDS: &[Field] = &[
    Field::text("DISK", "devpath"),
    Field::text("TYPE", "type"),
    Field::new("SIZE", "size", How::Size),
    Field::text("USED", "used"),
    Field::text("HEALTH", "health"),
    Field::text("WEAROUT", "wearout"),
    Field::text("MODEL", "model"),
    Field::text("SERIAL", "serial"),
    Field::text("WWN", "wwn").wide(),
];

const PCI_FIELDS: &[Field] = &[
    Field::text("ID", "id"),
    Field::text("VENDOR", "vendor_name"),
    Field::text("DEVICE", "device_name"),
    Field::new("IOMMU GROUP", "iommugroup", How::Number),
    Field::text("CLASS", "class").wide(),
    Field::text("VENDOR ID", "vendor").wide(),
    Field::text("DEVICE ID", "device").wide(),
];

const USB_FIELDS: &[Field] = &[
    Field::text("PATH", "usbpath"),
    Field::text("VENDOR ID", "vendid"),
    Field::text("PRODUCT ID", "prodid"),
    Field::text("MANUFACTURER", "manufacturer"),
    Field::text("PRODUCT", "product"),
];

const PACKAGE_FIELDS: &[Field] = &[
    Field::text("PACKAGE", "Package"),
    Field::text("INSTALLED", "OldVersion"),
    Field::text("NEW", "Version"),
    Field::text("ORIGIN", "Origin"),
    Field::text("TITLE", "Title").wide(),
];

const VERSION_FIELDS: &[Field] = &[
    Field::text("PACKAGE", "Package"),
    Field::text("INSTALLED", "OldVersion"),
    Field::text("CANDIDATE", "Version"),
    Field::text("STATE", "CurrentState"),
];

const SERVICE_FIELDS: &[Field] = &[
    Field::text("SERVICE", "service"),
    Field::new("STATE", "state", How::Status),
    Field::text("ACTIVE", "active-state"),
    Field::text("UNIT", "unit-state"),
    Field::text("DESCRIPTION", "desc"),
];

const CERTIFICATE_FIELDS: &[Field] = &[
    Field::text("FILE", "filename"),
    Field::text("SUBJECT", "subject"),
    Field::new("EXPIRES", "notafter", How::When),
    Field::text("ISSUER", "issuer").wide(),
    Field::text("FINGERPRINT", "fingerprint").wide(),
];

const TASK_FIELDS: &[Field] = &[
    Field::new("STARTED", "starttime", How::When),
    Field::text("TYPE", "type"),
    Field::text("ID", "id"),
    Field::text("USER", "user"),
    Field::text("STATUS", "status"),
    Field::text("UPID", "upid").wide(),
];

const GUEST_FIELDS: &[Field] = &[
    Field::new("VMID", "vmid", How::Number),
    Field::text("NAME", "name"),
    Field::text("TYPE", "type"),
    Field::new("STATUS", "status", How::Status),
    Field::new("MEMORY", "maxmem", How::Size),
];

fn limit_arg(default: &'static str) -> clap::Arg {
    value("limit", "N", "At most so many").value_parser(value_parser!(u64).range(1..)).default_value(default)
}

/// The node that was named, which is there.
pub(super) async fn named(session: &Session, matches: &ArgMatches) -> Result<NodeName> {
    let node = text(matches, "node-name").unwrap_or_default();
    session.ops.require_node(node).await.map(|node| node.node)
}

/// Rows of a list that a node has.
async fn rows(cx: &Cx, matches: &ArgMatches, path: &str, columns: &[Field], key: &'static str) -> Result<Exit> {
    let session = cx.session(Access::Read).await?;
    session.ops.require_server("what nodes tell of themselves")?;
    let node = named(&session, matches).await?;
    let mut rows = session.ops.rows_at(path, Params::new().with("node", &node)).await?;
    rows.sort_by_cached_key(|row| plain(&row[key]));
    for row in &mut rows {
        row.sort_all_objects();
        row["node"] = json!(node);
        row["context"] = session.ops.context().into();
    }
    fields(&cx.ui, &session.style, columns, (Shape::Several, rows), |row| plain(&row[key]).unwrap_or_default())?;
    Ok(0)
}

async fn tasks(cx: &Cx, matches: &ArgMatches) -> Result<Exit> {
    let session = cx.session(Access::Read).await?;
    let node = named(&session, matches).await?;
    let limit = matches.get_one::<u64>("limit").copied().unwrap_or(50);
    let query = TaskQuery { node: Some(node), limit, ..TaskQuery::default() };
    let entries = session.ops.backend().tasks(&query).await?;
    let mut rows = entries.iter().map(print::to_value).collect::<Result<Vec<_>>>()?;
    rows.iter_mut().for_each(|row| row["context"] = session.ops.context().into());
    fields(&cx.ui, &session.style, TASK_FIELDS, (Shape::Several, rows), |row| plain(&row["upid"]).unwrap_or_default())?;
    Ok(0)
}

async fn syslog(cx: &Cx, matches: &ArgMatches) -> Result<Exit> {
    let session = cx.session(Access::Read).await?;
    session.ops.require_server("logs of nodes")?;
    let node = named(&session, matches).await?;
    let limit = matches.get_one::<u64>("limit").copied().unwrap_or(100);
    let base = Params::new()
        .with_some("since", text(matches, "since"))
        .with_some("until", text(matches, "until"))
        .with_some("service", text(matches, "service"));
    lines_of(cx, &session, "/nodes/{node}/syslog", base.with("node", &node), limit).await
}

async fn describe(cx: &Cx, matches: &ArgMatches) -> Result<Exit> {
    let session = cx.session(Access::Read).await?;
    let names = texts(matches, "targets");
    let nodes = session.ops.backend().nodes().await?;
    let wanted = names.iter().map(|name| Node::named(&nodes, name)).collect::<Result<Vec<_>>>()?;
    let data = try_join_all(wanted.into_iter().map(|node| read(&session, node))).await?;
    let paths: Vec<String> = names.iter().map(|name| format!("node/{name}")).collect();
    print::each(&cx.ui, &session.style, Shape::of(data.len()), &data, &paths, |out, places| {
        for (at, place) in places.iter().enumerate() {
            if at > 0 {
                writeln!(out)?;
            }
            write(out, &session.style, &data[*place])?;
        }
        Ok(())
    })?;
    Ok(0)
}

/// All that is said about a node. Of one that is off only the cluster's row is.
async fn read(session: &Session, node: &Node) -> Result<Value> {
    let backend = session.ops.backend();
    let mut data = match print::to_value(node)? {
        Value::Object(map) => map,
        _ => Map::new(),
    };
    let query = TaskQuery { node: Some(node.node.clone()), limit: 5, ..TaskQuery::default() };
    let recent = async { if node.is_online() { backend.tasks(&query).await } else { Ok(Vec::new()) } };
    let (guests, tasks) = try_join(backend.guests(), recent).await?;
    if node.is_online() && !backend.capabilities().here {
        let status = session.ops.read_at("/nodes/{node}/status", Params::new().with("node", &node.node)).await;
        match status {
            Ok(status) => drop(data.insert("details".into(), status)),
            // Who may not audit it sees the rest.
            Err(error) if error.class() == Class::Forbidden => {}
            Err(error) => return Err(error),
        }
    }
    let own: Vec<Value> =
        guests.iter().filter(|guest| guest.node == node.node).map(print::to_value).collect::<Result<_>>()?;
    data.insert("guests".into(), own.into());
    data.insert("tasks".into(), tasks.iter().map(print::to_value).collect::<Result<Vec<_>>>()?.into());
    data.insert("context".into(), session.ops.context().into());
    let mut data = Value::Object(data);
    data.sort_all_objects();
    Ok(data)
}

fn write(out: &mut dyn Write, page: &print::Style, data: &Value) -> std::io::Result<()> {
    writeln!(out, "{}", styled(style::HEADER, format_args!("node {}", data["node"].as_str().unwrap_or_default())))?;
    let of = |used: Option<&Value>, all: Option<&Value>| match (How::Size.show(used), How::Size.show(all)) {
        (used, all) if !used.is_empty() && !all.is_empty() => format!("{used} of {all}"),
        (_, all) => all,
    };
    let at = |pointer: &str| data.pointer(pointer);
    let load = at("/details/loadavg").and_then(plain).unwrap_or_default().replace(',', "  ");
    let facts = [
        ("Status", How::Text.show(at("/status"))),
        ("Uptime", How::Uptime.show(at("/uptime"))),
        ("CPUs", How::Text.show(at("/maxcpu"))),
        ("CPU%", How::Share.show(at("/cpu"))),
        ("Load", load),
        ("Memory", of(at("/mem"), at("/maxmem"))),
        ("Swap", of(at("/details/swap/used"), at("/details/swap/total"))),
        ("Root disk", of(at("/details/rootfs/used"), at("/details/rootfs/total"))),
        ("Processor", How::Text.show(at("/details/cpuinfo/model"))),
        ("Kernel", How::Text.show(at("/details/current-kernel/release"))),
        ("Version", How::Text.show(at("/details/pveversion"))),
        ("Context", How::Text.show(at("/context"))),
    ];
    let facts: Vec<_> = facts.into_iter().filter(|(_, value)| !value.is_empty()).collect();
    let width = facts.iter().map(|(key, _)| key.len()).max().unwrap_or(0);
    facts.iter().try_for_each(|(key, value)| writeln!(out, "  {key:width$}  {value}"))?;
    for (title, key, columns) in [("Guests", "guests", GUEST_FIELDS), ("Last tasks", "tasks", TASK_FIELDS)] {
        let rows = data[key].as_array().map(Vec::as_slice).unwrap_or_default();
        if !rows.is_empty() {
            writeln!(out, "{}", styled(style::HEADER, title))?;
            write_rows(out, page, columns, rows)?;
        }
    }
    Ok(())
}
