//! `metrics`: what guests use at this moment, as a table or as numbers. The past is drawn by `plots`.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use clap::{ArgMatches, Command};
use serde::Serialize;

use super::{
    away::{Notice, incomplete},
    get::targets_arg,
    plots::{parse_since, plots},
    row::shared_text,
};
use crate::{
    cli::{
        cx::{Cx, parse_duration, text, texts},
        print::{
            self, Column, Row,
            human::{percent, size, uptime},
            table::status_colour,
        },
        session::Access,
        verb::{Exit, Kind, Verb, value},
    },
    model::{Guest, Result},
    ops,
};

/// How long is measured unless somebody says otherwise.
const INTERVAL: &str = "1s";

#[derive(Serialize)]
struct MetricsRow {
    #[serde(flatten)]
    of: ops::Metrics,
    #[serde(serialize_with = "shared_text")]
    context: Arc<str>,
}

fn rate(value: Option<f64>) -> String {
    size(value.map(|bytes| bytes as u64))
}

impl Row for MetricsRow {
    fn columns() -> &'static [Column<Self>] {
        const COLUMNS: &[Column<MetricsRow>] = &[
            Column::new("VMID", "vmid", |row: &MetricsRow| row.of.vmid.to_string()).right(),
            Column::new("NAME", "name", |row: &MetricsRow| row.of.name.clone().unwrap_or_default()),
            Column::new("STATUS", "status", |row: &MetricsRow| row.of.status.clone()).coloured(status_colour),
            Column::new("CPU%", "cpu", |row: &MetricsRow| percent(row.of.cpu)).right(),
            Column::new("MEM USED", "mem", |row: &MetricsRow| size(row.of.mem)).right(),
            Column::new("MEMORY", "maxmem", |row: &MetricsRow| size(row.of.maxmem)).right(),
            Column::new("NET IN", "netin", |row: &MetricsRow| size(row.of.netin)).right(),
            Column::new("NET OUT", "netout", |row: &MetricsRow| size(row.of.netout)).right(),
            Column::new("READ", "diskread", |row: &MetricsRow| size(row.of.diskread)).right(),
            Column::new("WRITTEN", "diskwrite", |row: &MetricsRow| size(row.of.diskwrite)).right(),
            Column::new("UPTIME", "uptime", |row: &MetricsRow| uptime(row.of.uptime.unwrap_or(0))).right(),
            Column::new("NODE", "node", |row: &MetricsRow| row.of.node.to_string()).wide(),
            Column::new("MEM HOST", "memhost", |row: &MetricsRow| size(row.of.memhost)).right().wide(),
            Column::new("NET IN/S", "netin_rate", |row: &MetricsRow| rate(row.of.netin_rate)).right().wide(),
            Column::new("NET OUT/S", "netout_rate", |row: &MetricsRow| rate(row.of.netout_rate)).right().wide(),
            Column::new("READ/S", "diskread_rate", |row: &MetricsRow| rate(row.of.diskread_rate)).right().wide(),
            Column::new("WRITTEN/S", "diskwrite_rate", |row: &MetricsRow| rate(row.of.diskwrite_rate)).right().wide(),
        ];
        COLUMNS
    }

    fn name(&self) -> String {
        format!("{}/{}", self.of.kind, self.of.vmid)
    }
}

pub(super) struct Metrics;

#[async_trait(?Send)]
impl Verb for Metrics {
    fn name(&self) -> &'static str {
        "metrics"
    }

    fn about(&self, kind: &Kind) -> String {
        format!("Show what {} use now: processors, memory, network, disks", kind.plural)
    }

    fn examples(&self, kind: &Kind) -> Vec<String> {
        vec![
            format!("pvectl {} metrics", kind.noun),
            format!("pvectl {} metrics 100 --interval 5s -o wide", kind.noun),
            format!("pvectl {} metrics 100 --interval 0 -o json", kind.noun),
            format!("pvectl {} metrics 100 --since 24h", kind.noun),
        ]
    }

    fn args(&self, command: Command, _: &Kind) -> Command {
        let help = "How long is measured: loads and rates are those of this time; 0 takes one look";
        command
            .arg(targets_arg(false).help("VMID, name, list, range or NODE/VMID; all that run if none is given"))
            .arg(value("interval", "DURATION", help).default_value(INTERVAL))
            .arg(
                value("since", "DURATION", "What they used in the past, drawn: 1h, 24h, 7d, 1mo, at most a year")
                    .requires("targets")
                    .conflicts_with("interval"),
            )
    }

    async fn run(&self, cx: &Cx, kind: &Kind, matches: &ArgMatches) -> Result<Exit> {
        let interval: Duration = parse_duration(text(matches, "interval").unwrap_or(INTERVAL))?;
        let since = text(matches, "since").map(parse_since).transpose()?;
        let targets = texts(matches, "targets");
        let session = cx.session(Access::Read).await?;
        let mut guests: Vec<Guest> = match targets.is_empty() {
            false => {
                let found = session.ops.find(&ops::Target::parse_all(&targets)?, kind.guest()).await?;
                found.into_iter().map(|found| found.guest).collect()
            }
            true => {
                let choice = ops::Choice { template: Some(false), ..ops::Choice::default() };
                let (found, away) = session.ops.survey(kind.guest(), &choice).await?;
                Notice::new("its guests are left out").tell(cx, &away);
                let guests = found.into_iter().map(|found| found.guest);
                guests.filter(|guest| guest.status != "stopped" && away.status(&guest.node).is_none()).collect()
            }
        };
        guests.sort_by_key(|guest| guest.vmid);
        if let Some(since) = since {
            return plots(cx, &session, &guests, since).await;
        }
        let context: Arc<str> = session.ops.context().into();
        let (measured, lost) = session.ops.metrics(&guests, interval).await?;
        let mut rows: Vec<MetricsRow> =
            measured.into_iter().map(|of| MetricsRow { of, context: context.clone() }).collect();
        match (rows.as_slice(), targets.as_slice()) {
            ([one], [_]) => print::one(&cx.ui, &session.style, one)?,
            _ => print::list(&cx.ui, &session.style, &mut rows)?,
        }
        Ok(incomplete(cx, &lost, guests.len()))
    }
}
