//! `node smart`: what a disk of a node says of its own health.

use clap::{Arg, ArgMatches};
use serde_json::Value;

use super::{look::named, node_arg};
use crate::{
    cli::{
        cx::{Cx, text},
        print::{
            self,
            fields::{Field, How, write_pairs, write_rows},
        },
        session::Access,
        ui::{style, styled},
        verb::{Entry, Exit},
    },
    model::{Params, Result},
    ops::plain,
};

pub(super) const SMART: Entry = Entry {
    name: "smart",
    about: "Show what a disk of a node says of its own health (SMART)",
    examples: &["pvectl node smart pve1 /dev/nvme0n1"],
    args: |command| {
        let disk = Arg::new("disk").value_name("DISK").required(true);
        command.arg(node_arg()).arg(disk.help("Its device, as `node disks` lists it: /dev/sda"))
    },
    run: |cx, matches| Box::pin(smart(cx, matches)),
};

const ATTRIBUTES: &[Field] = &[
    Field::text("ID", "id"),
    Field::text("ATTRIBUTE", "name"),
    Field::new("VALUE", "normalized", How::Number),
    Field::new("WORST", "worst", How::Number),
    Field::new("THRESHOLD", "threshold", How::Number),
    Field::text("FAILED", "fail"),
    Field::text("RAW", "raw"),
];

async fn smart(cx: &Cx, matches: &ArgMatches) -> Result<Exit> {
    let disk = text(matches, "disk").unwrap_or_default();
    let session = cx.session(Access::Read).await?;
    session.ops.require_server("disks of nodes")?;
    let node = named(&session, matches).await?;
    let params = Params::new().with("node", &node).with("disk", disk);
    let mut data = session.ops.read_at("/nodes/{node}/disks/smart", params).await?;
    if let Some(map) = data.as_object_mut() {
        map.insert("disk".into(), disk.into());
        map.insert("node".into(), node.to_string().into());
        map.insert("context".into(), session.ops.context().into());
    }
    data.sort_all_objects();
    print::data_or(&cx.ui, &session.style, &data, &[disk.to_owned()], |out| {
        writeln!(out, "{}", styled(style::HEADER, format_args!("disk {disk} of {node}")))?;
        let health = ("Health".to_owned(), plain(&data["health"]).unwrap_or_default());
        write_pairs(out, std::iter::once(health))?;
        let rows = data["attributes"].as_array().map(Vec::as_slice).unwrap_or_default();
        if !rows.is_empty() {
            write_rows(out, &session.style, ATTRIBUTES, rows)?;
        }
        let said = data.get("text").and_then(Value::as_str).unwrap_or_default();
        said.trim().lines().try_for_each(|line| writeln!(out, "  {line}"))
    })?;
    Ok(0)
}
