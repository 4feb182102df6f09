//! The networks of nodes, read, changed, applied and forgotten.

use serde_json::{Map, Value};

use super::{Context, Reply, Route};
use crate::{
    model::Method::{Delete, Get, Post, Put},
    sandbox::world::{effect::Effect, fresh::BRIDGE, network::Networks, task::Order},
    server::Fault,
};

pub(super) const TABLE: &[Route] = &[
    (Get, "/nodes/{node}/network", list),
    (Post, "/nodes/{node}/network", create),
    (Put, "/nodes/{node}/network", apply),
    (Delete, "/nodes/{node}/network", revert),
    (Get, "/nodes/{node}/network/{iface}", one),
    (Put, "/nodes/{node}/network/{iface}", update),
    (Delete, "/nodes/{node}/network/{iface}", remove),
];

/// Keys that are numbers on the wire.
const NUMBERS: [&str; 5] = ["autostart", "active", "exists", "bridge_vlan_aware", "priority"];
/// Parameters that are no keys of an interface.
const OTHER: [&str; 3] = ["node", "iface", "delete"];

/// The node in the path, and its networks.
fn find(context: &Context<'_>) -> Result<(String, Networks), Fault> {
    let name = context.node()?;
    let node = context.world.nodes.get(name.as_str());
    let node = node.ok_or_else(|| Fault::die(format!("no such cluster node '{name}'")))?;
    let networks = context.world.networks.get(name.as_str()).cloned().unwrap_or_else(|| Networks::of(node));
    Ok((name, networks))
}

fn row(networks: &Networks, iface: &str) -> Option<Map<String, Value>> {
    let keys = networks.wanted().get(iface)?;
    let mut row: Map<String, Value> = keys
        .iter()
        .map(|(key, value)| match value.parse::<u64>() {
            Ok(number) if NUMBERS.contains(&key.as_str()) => (key.clone(), number.into()),
            _ => (key.clone(), value.as_str().into()),
        })
        .collect();
    let place = networks.wanted().keys().position(|name| name == iface).unwrap_or_default();
    let six = keys.get("method6").filter(|method| *method == "static").map(|_| "inet6");
    row.insert("families".into(), std::iter::once("inet").chain(six).collect::<Vec<_>>().into());
    row.insert("priority".into(), (place + 3).into());
    // What does not hold yet is not up.
    if networks.holds.contains_key(iface) {
        row.insert("active".into(), 1.into());
    }
    Some(row)
}

fn list(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let (node, networks) = find(context)?;
    let audits = context.may(&format!("/nodes/{node}"), &["Sys.Audit"]);
    let may = |iface: &str| {
        audits || iface == BRIDGE && context.may(&format!("/sdn/zones/localnetwork/{iface}"), &["SDN.Audit", "SDN.Use"])
    };
    let wanted = |row: &Map<String, Value>| match context.param("type") {
        None => true,
        Some("any_bridge" | "any_local_bridge") => row["type"] == "bridge" || row["type"] == "OVSBridge",
        Some(kind) => row["type"] == kind,
    };
    let names = networks.wanted().keys().filter(|iface| may(iface));
    let rows = names.filter_map(|iface| {
        let mut row = row(&networks, iface)?;
        row.insert("iface".into(), iface.as_str().into());
        wanted(&row).then(|| Value::from(row))
    });
    let rows: Vec<Value> = rows.collect();
    let changes = if audits { networks.changes() } else { None };
    Ok(Reply { changes, ..Reply::data(rows) })
}

fn no_such() -> Fault {
    Fault::parameter("iface", "interface does not exist")
}

fn one(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let (_, networks) = find(context)?;
    row(&networks, context.need("iface")?).map(|row| Reply::data(Value::from(row))).ok_or_else(no_such)
}

/// Takes over what a request says. One that says nothing of an address declares that there is none, whatever is kept.
fn take_over(context: &Context<'_>, keys: &mut std::collections::BTreeMap<String, String>) {
    for gone in context.list("delete") {
        keys.remove(gone);
        if let Some(family) = gone.strip_prefix("cidr") {
            keys.remove(&format!("address{family}"));
            keys.remove(&format!("netmask{family}"));
        }
    }
    let given = context.request.params.iter().filter(|(key, _)| !OTHER.contains(key));
    keys.extend(given.map(|(key, value)| (key.to_owned(), value.to_owned())));
    for family in ["", "6"] {
        let [cidr, address, netmask, method] =
            ["cidr", "address", "netmask", "method"].map(|key| format!("{key}{family}"));
        if let Some((given, bits)) = context.param(&cidr).and_then(|cidr| cidr.split_once('/')) {
            keys.insert(address.clone(), given.to_owned());
            keys.insert(netmask.clone(), bits.to_owned());
        } else if let (Some(given), Some(mask)) = (context.param(&address), context.param(&netmask)) {
            let four = mask.parse::<std::net::Ipv4Addr>();
            let bits = four.map_or_else(|_| mask.to_owned(), |mask| u32::from(mask).count_ones().to_string());
            keys.insert(cidr.clone(), format!("{given}/{bits}"));
            keys.insert(netmask.clone(), bits);
        }
        let is_given = [&cidr, &address].into_iter().any(|key| context.param(key).is_some_and(|text| !text.is_empty()));
        keys.insert(method, if is_given { "static" } else { "manual" }.to_owned());
    }
}

fn create(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let (node, mut networks) = find(context)?;
    let iface = context.need("iface")?;
    let mut next = networks.wanted().clone();
    if next.contains_key(iface) {
        return Err(Fault::parameter("iface", "interface already exists"));
    }
    let mut keys = std::collections::BTreeMap::new();
    take_over(context, &mut keys);
    next.insert(iface.to_owned(), keys);
    networks.next = Some(next);
    context.world.networks.insert(node, networks);
    Ok(Reply::null())
}

fn update(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let (node, mut networks) = find(context)?;
    let mut next = networks.wanted().clone();
    let keys = next.get_mut(context.need("iface")?).ok_or_else(no_such)?;
    take_over(context, keys);
    networks.next = Some(next);
    context.world.networks.insert(node, networks);
    Ok(Reply::null())
}

fn remove(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let (node, mut networks) = find(context)?;
    let mut next = networks.wanted().clone();
    next.remove(context.need("iface")?).ok_or_else(no_such)?;
    networks.next = Some(next);
    context.world.networks.insert(node, networks);
    Ok(Reply::null())
}

fn apply(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let (node, mut networks) = find(context)?;
    if let Some(next) = networks.next.take() {
        networks.holds = next;
    }
    context.world.networks.insert(node.clone(), networks);
    let authid = context.authid();
    let id = "networking".to_owned();
    let (holds, script) = (Vec::new(), Vec::new());
    Ok(context.begin(Order { node, kind: "srvreload", id, authid, takes: 300, holds, script, effect: Effect::Nothing }))
}

fn revert(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let (node, mut networks) = find(context)?;
    networks.next = None;
    context.world.networks.insert(node, networks);
    Ok(Reply::null())
}
