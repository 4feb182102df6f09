//! `ha`: guests that the cluster keeps up, the rules for where, and how all of it is.

use serde_json::Value;

use crate::{
    cli::{
        cx::Cx,
        print::{
            self, Heading,
            fields::{Field, How, section},
        },
        resource::{Create, Delete, Describe, Get, List, Update, View, late},
        session::Access,
        ui::{style, styled},
        verb::{Entry, Exit, Group, Kind, Of},
    },
    model::{Params, Result},
    ops::{plain, resource},
};

pub(super) const KIND: Kind = Kind {
    noun: "ha",
    plural: "ha-resources",
    aliases: &[],
    about: "High availability: guests that the cluster keeps up, and the rules for where",
    guest: None,
    paths: &["/cluster/ha/resources", "/cluster/ha/rules", "/cluster/ha/status/current"],
    of: Of::Cluster,
    columns: headings,
    verbs: || vec![Box::new(RESOURCE_VERBS), Box::new(RULE_VERBS), Box::new(STATUS)],
};

fn headings() -> Vec<Heading> {
    RESOURCES.headings()
}

static RESOURCES: View = View {
    resource: resource("ha-resource"),
    columns: &[
        Field::text("RESOURCE", "sid"),
        Field::text("STATE", "state"),
        Field::new("RESTARTS", "max_restart", How::Number),
        Field::new("RELOCATES", "max_relocate", How::Number),
        Field::new("FAILBACK", "failback", How::FlagOn),
        Field::text("COMMENT", "comment"),
        Field::text("GROUP", "group").wide(),
    ],
    example: "vm:100",
    making: "--state started --max_relocate 2",
    changing: "--state stopped",
    is_named_by_server: false,
    late: late!(RESOURCES),
};

static RULES: View = View {
    resource: resource("ha-rule"),
    columns: &[
        Field::text("RULE", "rule"),
        Field::text("TYPE", "type"),
        Field::text("RESOURCES", "resources"),
        Field::text("NODES", "nodes"),
        Field::text("AFFINITY", "affinity"),
        Field::new("STRICT", "strict", How::Flag),
        Field::new("DISABLED", "disable", How::Flag),
        Field::text("COMMENT", "comment").wide(),
    ],
    example: "web-on-pve1",
    making: "--type node-affinity --resources vm:100 --nodes pve1:2,pve2",
    changing: "--type node-affinity --nodes pve1",
    is_named_by_server: false,
    late: late!(RULES),
};

const RESOURCE_VERBS: Group = Group {
    name: "resource",
    about: "Guests that the cluster keeps up",
    verbs: &[
        &List(&RESOURCES),
        &Get(&RESOURCES),
        &Describe(&RESOURCES),
        &Create(&RESOURCES),
        &Update(&RESOURCES),
        &Delete(&RESOURCES),
    ],
};

const RULE_VERBS: Group = Group {
    name: "rule",
    about: "Where guests are kept up, and which of them together or apart",
    verbs: &[&List(&RULES), &Get(&RULES), &Describe(&RULES), &Create(&RULES), &Update(&RULES), &Delete(&RULES)],
};

const STATUS: Entry = Entry {
    name: "status",
    about: "Show how high availability is: quorum, who is in charge, and each guest",
    examples: &["pvectl ha status"],
    args: |command| command,
    run: |cx, _| Box::pin(status(cx)),
};

async fn status(cx: &Cx) -> Result<Exit> {
    let session = cx.session(Access::Read).await?;
    session.ops.require_server("HA resources")?;
    let mut rows = session.ops.rows_at("/cluster/ha/status/current", Params::new()).await?;
    rows.iter_mut().for_each(Value::sort_all_objects);
    let names: Vec<String> = rows.iter().filter_map(|row| plain(&row["id"])).collect();
    let data = Value::Array(rows.clone());
    print::data_or(&cx.ui, &session.style, &data, &names, |out| {
        writeln!(out, "{}", styled(style::HEADER, "high availability"))?;
        let of = |kinds: &[&str]| {
            let of_kind = |row: &&Value| row["type"].as_str().is_some_and(|kind| kinds.contains(&kind));
            rows.iter()
                .filter(of_kind)
                .map(|row| {
                    let key = ["sid", "type"].iter().find_map(|key| plain(&row[*key])).unwrap_or_default();
                    let node = plain(&row["node"]).map_or(String::new(), |node| format!("{node}: "));
                    (key, format!("{node}{}", plain(&row["status"]).unwrap_or_default()))
                })
                .collect::<Vec<_>>()
        };
        section(out, "Cluster", of(&["quorum", "fencing", "master", "lrm"]))?;
        section(out, "Guests", of(&["service"]))
    })?;
    Ok(0)
}
