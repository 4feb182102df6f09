//! A guest as a row: the columns people see, the data machines get.

use std::sync::Arc;

use serde::{Serialize, Serializer};

use crate::{
    cli::print::{
        Column, Row,
        human::{percent, size, uptime},
        table::status_colour,
    },
    model::Guest,
};

/// A guest of a list, with the context it is from.
#[derive(Serialize)]
pub(super) struct GuestRow {
    #[serde(flatten)]
    pub(super) guest: Guest,
    #[serde(serialize_with = "shared_text")]
    pub(super) context: Arc<str>,
    /// How its node is, if that is away.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) node_status: Option<String>,
}

pub(super) fn shared_text<S: Serializer>(text: &Arc<str>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(text)
}

impl Row for GuestRow {
    fn columns() -> &'static [Column<Self>] {
        const COLUMNS: &[Column<GuestRow>] = &[
            Column::new("VMID", "vmid", |row: &GuestRow| row.guest.vmid.to_string()).right(),
            Column::new("NAME", "name", |row: &GuestRow| row.guest.name.clone().unwrap_or_default()),
            Column::new("STATUS", "status", status).coloured(status_colour),
            Column::new("NODE", "node", |row: &GuestRow| row.guest.node.to_string()),
            Column::new("CPUS", "maxcpu", |row: &GuestRow| {
                row.guest.maxcpu.map_or(String::new(), |cpus| cpus.to_string())
            })
            .right(),
            Column::new("MEMORY", "maxmem", |row: &GuestRow| size(row.guest.maxmem)).right(),
            Column::new("UPTIME", "uptime", |row: &GuestRow| uptime(row.guest.uptime.unwrap_or(0))).right(),
            Column::new("TAGS", "tags", |row: &GuestRow| row.guest.tags.to_string()),
            Column::new("CPU%", "cpu", |row: &GuestRow| percent(row.guest.cpu)).right().wide(),
            Column::new("MEM USED", "mem", |row: &GuestRow| size(row.guest.mem)).right().wide(),
            Column::new("DISK", "maxdisk", |row: &GuestRow| size(row.guest.maxdisk)).right().wide(),
            Column::new("POOL", "pool", |row: &GuestRow| row.guest.pool.clone().unwrap_or_default()).wide(),
            Column::new("LOCK", "lock", |row: &GuestRow| row.guest.lock.clone().unwrap_or_default()).wide(),
            Column::new("TYPE", "type", |row: &GuestRow| row.guest.kind.api().to_owned()).wide(),
            Column::new("NODE STATUS", "node_status", |row: &GuestRow| row.node_status.clone().unwrap_or_default())
                .coloured(status_colour)
                .wide(),
        ];
        COLUMNS
    }

    fn name(&self) -> String {
        self.guest.reference().to_string()
    }
}

/// What a person wants to know first: that a template is one, and what else is with the rest.
fn status(row: &GuestRow) -> String {
    let qmp = row.guest.other.get("qmpstatus").and_then(serde_json::Value::as_str);
    match (row.guest.template, row.guest.lock.as_deref(), qmp) {
        (true, ..) => "template".to_owned(),
        (_, Some("suspended"), _) => "suspended".to_owned(),
        (_, _, Some(finer @ ("paused" | "prelaunch"))) => finer.to_owned(),
        _ => row.guest.status.clone(),
    }
}
