//! What VMs of this host can be on: its bridges, and networks of our own with address translation.
//!
//! The networks of a cluster's nodes are beside it.

use std::{
    io::{self, Write},
    net::Ipv4Addr,
};

use clap::ArgMatches;
use serde::Serialize;

use crate::{
    backends::cloud_hypervisor::{HostNetwork, Local, NetworkKind, NetworkRequest},
    cli::{
        base::require_somebody_to_confirm,
        cx::{Cx, flag, text, texts},
        local,
        print::{self, Column, Row, Shape, table::status_colour},
        session::Access,
        ui::{style, styled},
        verb::Exit,
    },
    model::{Class, Error, Result},
};

/// A network as a row.
#[derive(Serialize)]
struct NetworkRow {
    #[serde(flatten)]
    network: HostNetwork,
    context: &'static str,
}

impl Row for NetworkRow {
    fn columns() -> &'static [Column<Self>] {
        const COLUMNS: &[Column<NetworkRow>] = &[
            Column::new("NAME", "name", |row: &NetworkRow| row.network.name.clone()),
            Column::new("TYPE", "type", |row: &NetworkRow| row.network.kind.as_str().to_owned()),
            Column::new("STATUS", "status", |row: &NetworkRow| row.network.status.to_owned()).coloured(status_colour),
            Column::new("CIDR", "cidr", |row: &NetworkRow| row.network.cidr.clone().unwrap_or_default()),
            Column::new("GATEWAY", "gateway", |row: &NetworkRow| shown(row.network.gateway)),
            Column::new("VMS", "vms", |row: &NetworkRow| row.network.vms.len().to_string()).right(),
            Column::new("MTU", "mtu", |row: &NetworkRow| shown(row.network.mtu)).right().wide(),
        ];
        COLUMNS
    }

    fn name(&self) -> String {
        format!("network/{}", self.network.name)
    }
}

fn shown(value: Option<impl ToString>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

fn row(network: HostNetwork) -> NetworkRow {
    NetworkRow { network, context: "local" }
}

/// This host, and how output looks.
fn host(cx: &Cx, access: Access) -> Result<(Local, print::Style)> {
    let style = local::style_here(cx, access, || Error::usage("these are networks of this host: --context local"))?;
    Ok((local::backend(cx)?, style))
}

pub(super) async fn list(cx: &Cx) -> Result<Exit> {
    let (host, style) = host(cx, Access::Read)?;
    let mut rows: Vec<NetworkRow> = host.networks().await?.into_iter().map(row).collect();
    print::list(&cx.ui, &style, &mut rows)?;
    Ok(0)
}

/// The names that were typed, each once.
fn names(matches: &ArgMatches) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for typed in texts(matches, "targets") {
        // As the list prints it with `-o name`.
        let name = typed.strip_prefix("network/").unwrap_or(&typed).to_owned();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

pub(super) async fn get(cx: &Cx, matches: &ArgMatches) -> Result<Exit> {
    let (host, style) = host(cx, Access::Read)?;
    let mut rows: Vec<NetworkRow> = host.networks_named(&names(matches)).await?.into_iter().map(row).collect();
    match rows.as_slice() {
        [one] => print::one(&cx.ui, &style, one)?,
        _ => print::list(&cx.ui, &style, &mut rows)?,
    }
    Ok(0)
}

pub(super) async fn describe(cx: &Cx, matches: &ArgMatches) -> Result<Exit> {
    let (host, style) = host(cx, Access::Read)?;
    let rows: Vec<NetworkRow> = host.networks_named(&names(matches)).await?.into_iter().map(row).collect();
    let names: Vec<String> = rows.iter().map(Row::name).collect();
    let people = |out: &mut dyn Write, places: &[usize]| {
        for (at, place) in places.iter().enumerate() {
            if at > 0 {
                writeln!(out)?;
            }
            write(out, &rows[*place].network)?;
        }
        Ok(())
    };
    print::each(&cx.ui, &style, Shape::of(rows.len()), &rows, &names, people)?;
    Ok(0)
}

fn write(out: &mut dyn Write, network: &HostNetwork) -> io::Result<()> {
    writeln!(out, "{}", styled(style::HEADER, format_args!("network {}", network.name)))?;
    let what = match network.kind {
        NetworkKind::Nat => "with address translation: guests reach the world under the host's address",
        NetworkKind::Isolated => "without a way out: guests reach the host and each other",
        NetworkKind::Bridge => "a bridge that is not pvectl's: guests are on it as it is",
    };
    let facts = [
        ("Type", format!("{} ({what})", network.kind.as_str())),
        ("Status", network.status.to_owned()),
        ("CIDR", network.cidr.clone().unwrap_or_default()),
        ("Gateway", shown(network.gateway)),
        ("MTU", shown(network.mtu)),
    ];
    for (key, value) in facts.into_iter().filter(|(_, value)| !value.is_empty()) {
        writeln!(out, "  {key:9}{value}")?;
    }
    if !network.vms.is_empty() {
        writeln!(out, "{}", styled(style::HEADER, "VMs"))?;
    }
    for vm in &network.vms {
        let address = vm.address.map_or_else(|| "-".to_owned(), |address| address.to_string());
        writeln!(out, "  {} {}  {}  {address}", vm.vmid, vm.name, vm.card)?;
    }
    Ok(())
}

fn cidr(text: &str) -> Result<(Ipv4Addr, u8)> {
    let read = || {
        let (address, prefix) = text.split_once('/')?;
        Some((address.parse().ok()?, prefix.parse().ok()?))
    };
    read().ok_or_else(|| {
        Error::usage(format!("--cidr: `{text}` is no network of IPv4: an address and its bits, such as 10.20.0.0/24"))
    })
}

pub(super) async fn create(cx: &Cx, matches: &ArgMatches) -> Result<Exit> {
    let request = NetworkRequest {
        name: text(matches, "resource-name").unwrap_or_default().to_owned(),
        cidr: text(matches, "cidr").map(cidr).transpose()?,
        nat: !flag(matches, "no-nat"),
    };
    let (host, style) = host(cx, Access::Write)?;
    if cx.switches.dry_run {
        host.check_network(&request).await?;
        cx.ui.say(format_args!("would make network/{}", request.name));
        cx.ui.say("nothing was made (--dry-run)");
        return Ok(0);
    }
    let made = host.create_network(&request).await?;
    cx.ui.say(format_args!("{} network/{} created", styled(style::GOOD, "✓"), made.name));
    print::one(&cx.ui, &style, &row(made))?;
    Ok(0)
}

pub(super) async fn delete(cx: &Cx, matches: &ArgMatches) -> Result<Exit> {
    require_somebody_to_confirm(cx)?;
    let (host, style) = host(cx, Access::Write)?;
    // Whatever is wrong with one of them is said before any of them goes.
    let found = host.networks_named(&names(matches)).await?;
    for network in &found {
        host.check_unused(&network.name).await?;
        cx.ui.say(format_args!("network/{}  {}", network.name, network.cidr.as_deref().unwrap_or_default()));
    }
    if cx.switches.dry_run {
        cx.ui.say("nothing was deleted (--dry-run)");
        return Ok(0);
    }
    if !cx.switches.confirm {
        let what = if found.len() == 1 { "this network" } else { "these networks" };
        if !cx.ui.ask_yes(&format!("Delete {what}?"))? {
            cx.ui.say("nothing was done");
            return Ok(Class::Failed.exit_code());
        }
    }
    let mut rows = Vec::new();
    for network in found {
        host.delete_network(&network.name).await?;
        cx.ui.say(format_args!("{} network/{} deleted", styled(style::GOOD, "✓"), network.name));
        rows.push(row(network));
    }
    let names: Vec<String> = rows.iter().map(Row::name).collect();
    let people = |_: &mut dyn Write, _: &[usize]| Ok(());
    print::each(&cx.ui, &style.arranged(), Shape::of(rows.len()), &rows, &names, people)?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cidr_is_an_address_and_its_bits() {
        assert_eq!(cidr("10.20.0.0/24").unwrap(), (Ipv4Addr::new(10, 20, 0, 0), 24));
        for bad in ["10.20.0.0", "10.20.0.0/", "10.20.0/24", "fd00::/64", "10.20.0.0/300", ""] {
            assert!(cidr(bad).unwrap_err().message().contains("such as 10.20.0.0/24"), "{bad}");
        }
    }
}
