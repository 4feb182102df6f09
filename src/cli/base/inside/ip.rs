//! `ip`: the addresses of guests, and who says so.

use async_trait::async_trait;
use clap::{ArgMatches, Command};
use serde::Serialize;

use super::super::get::targets_arg;
use crate::{
    cli::{
        cx::{Cx, flag, texts},
        error::report,
        print::{self, Column, Row},
        session::Access,
        verb::{Exit, Kind, Verb, switch},
    },
    model::{Class, NodeName, Result, Vmid},
    ops::{Address, Origin, Target, no_address},
};

#[derive(Serialize)]
struct AddressRow {
    vmid: Vmid,
    name: Option<String>,
    node: NodeName,
    #[serde(flatten)]
    of: Address,
    context: String,
}

impl Row for AddressRow {
    fn columns() -> &'static [Column<Self>] {
        const COLUMNS: &[Column<AddressRow>] = &[
            Column::new("VMID", "vmid", |row: &AddressRow| row.vmid.to_string()).right(),
            Column::new("NAME", "name", |row: &AddressRow| row.name.clone().unwrap_or_default()),
            Column::new("ADDRESS", "address", |row: &AddressRow| row.of.address.to_string()),
            Column::new("PREFIX", "prefix", |row: &AddressRow| {
                row.of.prefix.map_or(String::new(), |bits| bits.to_string())
            })
            .right(),
            Column::new("INTERFACE", "interface", |row: &AddressRow| row.of.interface.clone()),
            Column::new("FROM", "from", |row: &AddressRow| from(row.of.from).to_owned()),
            Column::new("NODE", "node", |row: &AddressRow| row.node.to_string()).wide(),
        ];
        COLUMNS
    }

    /// What a script wants to have.
    fn name(&self) -> String {
        self.of.address.to_string()
    }
}

/// Who says so, as the data has it.
pub(super) fn from(origin: Origin) -> &'static str {
    match origin {
        Origin::Agent => "agent",
        Origin::Container => "container",
        Origin::Config => "config",
    }
}

pub(super) struct Ip;

#[async_trait(?Send)]
impl Verb for Ip {
    fn name(&self) -> &'static str {
        "ip"
    }

    fn about(&self, kind: &Kind) -> String {
        format!(
            "List the addresses of {}: what they say themselves, else what their configuration gives them",
            kind.plural
        )
    }

    fn examples(&self, kind: &Kind) -> Vec<String> {
        let noun = kind.noun;
        vec![format!("pvectl {noun} ip 100"), format!("pvectl {noun} ip web-1 -o name | head -1")]
    }

    fn args(&self, command: Command, _: &Kind) -> Command {
        command.arg(targets_arg(true)).arg(switch("all", "Also those that only the guest itself can reach"))
    }

    async fn run(&self, cx: &Cx, kind: &Kind, matches: &ArgMatches) -> Result<Exit> {
        let all = flag(matches, "all");
        let session = cx.session(Access::Read).await?;
        let found = session.ops.find(&Target::parse_all(&texts(matches, "targets"))?, kind.guest()).await?;
        let (mut rows, mut lost) = (Vec::new(), Vec::new());
        for guest in found.iter().map(|found| &found.guest) {
            let known = match session.ops.addresses(guest).await {
                Ok(known) => known,
                Err(error) => {
                    lost.push(error.context(guest.reference()));
                    continue;
                }
            };
            let of: Vec<Address> = known.found.into_iter().filter(|found| all || found.is_reachable()).collect();
            match (of.is_empty(), &known.silent) {
                (true, _) => lost.push(no_address(guest, known.silent)),
                (false, Some(silent)) => cx
                    .ui
                    .say(format_args!("{}: {silent}; these are the addresses of its configuration", guest.reference())),
                (false, None) => {}
            }
            rows.extend(of.into_iter().map(|of| AddressRow {
                vmid: guest.vmid,
                name: guest.name.clone(),
                node: guest.node.clone(),
                of,
                context: session.ops.context().to_owned(),
            }));
        }
        if !(rows.is_empty() && session.style.format.is_table()) {
            print::list(&cx.ui, &session.style, &mut rows)?;
        }
        lost.iter().for_each(|error| report(&cx.ui, cx.error_format(), error));
        Ok(match lost.as_slice() {
            [] => 0,
            [one] if found.len() == 1 => one.class().exit_code(),
            _ => Class::Failed.exit_code(),
        })
    }
}
