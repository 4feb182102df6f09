//! The networks of a node: their entry of the table, what is changed and does not hold yet, and what hangs on one.

use futures_util::{StreamExt, stream};
use serde_json::{Map, Value};

use super::{
    Reach, Resource, ResourcePlan, Sort, plain,
    table::word,
    uses::{Found, Tie},
};
use crate::{
    model::{Guest, Method, NodeName, Params, Result, is_numbered},
    ops::Ops,
};

const LIST: &str = "/nodes/{node}/network";

pub(super) const NETWORK: Resource = Resource {
    home: Reach::Node,
    more: &[(Method::Put, LIST), (Method::Delete, LIST)],
    ..Resource::new("network", "networks", LIST, "/nodes/{node}/network/{iface}", &["iface"])
};

/// Keys whose change moves a machine's address, or takes what it is reached by.
const REACHED_BY: &[&str] = &[
    "address",
    "netmask",
    "cidr",
    "gateway",
    "address6",
    "netmask6",
    "cidr6",
    "gateway6",
    "type",
    "bridge_ports",
    "slaves",
    "bridge_vlan_aware",
    "vlan-id",
    "vlan-raw-device",
    "autostart",
    "ovs_bridge",
    "ovs_ports",
    "ovs_tag",
];

/// How many configurations are read at a time.
const ABREAST: usize = 8;

impl Ops {
    /// The networks of a node, and what of them is changed and does not hold yet.
    ///
    /// # Errors
    /// Whatever the server says.
    pub async fn networks_of(&self, node: &NodeName) -> Result<(Vec<Value>, Option<String>)> {
        let reply = self.read_whole(LIST, Params::new().with("node", node)).await?;
        let mut rows = super::value::array(reply.data);
        for row in &mut rows {
            row["node"] = node.to_string().into();
            row.sort_all_objects();
        }
        rows.sort_by_cached_key(|row| word(row, "iface"));
        Ok((rows, reply.changes.filter(|changes| !changes.trim().is_empty())))
    }

    /// Plans that what was changed is to hold, or is to be forgotten. Without changes there is nothing to do.
    ///
    /// # Errors
    /// Whatever the server says.
    pub async fn plan_networks(&self, node: &NodeName, apply: bool) -> Result<(ResourcePlan, Option<String>)> {
        let (rows, changes) = self.networks_of(node).await?;
        let (verb, method) = if apply { ("apply", Method::Put) } else { ("revert", Method::Delete) };
        let params = Params::new().with("node", node);
        let mut plan =
            self.plan_resource_call(verb, "network", node.as_str(), (method, LIST), (params, &Params::new())).await?;
        let Some(changes) = changes else {
            plan.call = None;
            plan.notes.push("nothing is changed that does not hold yet".into());
            return Ok((plan, None));
        };
        let own = rows.iter().map(|row| word(row, "iface"));
        let own: Vec<String> = own.filter(|iface| changes.lines().any(|line| is_about(line, iface))).collect();
        if apply {
            let doors = self.doors(node, &rows).await;
            plan.risks.extend(own.iter().filter(|iface| doors.iter().any(|(door, _)| door == *iface)).map(|iface| {
                let address = doors.iter().find(|(door, _)| door == iface).map_or("", |(_, address)| address.as_str());
                format!(
                    "{node} is reached at {address} by {iface}, which changes: if it is wrong, only its console is left"
                )
            }));
        }
        Ok((plan, Some(changes)))
    }

    /// What a node is reached by: the interface that has its address, and what that stands on.
    async fn doors(&self, node: &NodeName, rows: &[Value]) -> Vec<(String, String)> {
        let status = self.rows_at("/cluster/status", Params::new()).await.unwrap_or_default();
        let ours = status.iter().find(|row| row["type"] == "node" && row["name"] == node.as_str());
        let Some(address) = ours.and_then(|row| plain(&row["ip"])) else { return Vec::new() };
        let bare = |row: &Value, key: &str| word(row, key).split('/').next().unwrap_or_default().to_owned();
        let has = |row: &&Value| ["address", "cidr", "address6", "cidr6"].iter().any(|key| bare(row, key) == address);
        let mut found: Vec<String> = rows.iter().filter(has).map(|row| word(row, "iface")).collect();
        let mut at = 0;
        // What it stands on, and what that stands on.
        while at < found.len() {
            let below = rows.iter().filter(|row| word(row, "iface") == found[at]).flat_map(stands_on);
            let new: Vec<String> = below.filter(|iface| !found.contains(iface)).collect();
            found.extend(new);
            at += 1;
        }
        found.into_iter().map(|iface| (iface, address.clone())).collect()
    }

    /// What a change or a removal of a network of a node may cut off, in words.
    pub(super) async fn cut_by(&self, sort: &Sort, name: &str, after: Option<&Params>) -> Vec<String> {
        let Some(node) = sort.scoped().get("node").and_then(|node| NodeName::new(node).ok()) else { return Vec::new() };
        let touches = |params: &Params| {
            let gone = params.get("delete").unwrap_or_default();
            params.iter().map(|(key, _)| key).chain(gone.split(',')).any(|key| REACHED_BY.contains(&key))
        };
        if sort.of.noun != "network" || after.is_some_and(|after| !touches(after)) {
            return Vec::new();
        }
        let Ok((rows, _)) = self.networks_of(&node).await else { return Vec::new() };
        let doors = self.doors(&node, &rows).await;
        let door = doors.iter().find(|(iface, _)| iface == name);
        door.map(|(iface, address)| format!("{node} is reached at {address} by {iface}")).into_iter().collect()
    }

    /// What stands on a network of a node: other interfaces, and the cards of guests there.
    pub(super) async fn stand_on(&self, sort: &Sort, name: &str) -> (Vec<Found>, Vec<String>) {
        let Some(node) = sort.scoped().get("node").and_then(|node| NodeName::new(node).ok()) else {
            return (Vec::new(), Vec::new());
        };
        let mut notes = Vec::new();
        let mut what = Vec::new();
        match self.networks_of(&node).await {
            Ok((rows, _)) => {
                let others = rows.iter().filter(|row| stands_on(row).iter().any(|iface| iface == name));
                what.extend(others.map(|row| format!("network {}", word(row, "iface"))));
            }
            Err(error) => notes.push(format!("what stands on it is not fully known: {error}")),
        }
        let guests = self.backend().guests().await.unwrap_or_default();
        let here: Vec<&Guest> = guests.iter().filter(|guest| guest.node == node).collect();
        let read = async |guest: &Guest| {
            let path = format!("/nodes/{{node}}/{}/{{vmid}}/config", guest.kind.api());
            let params = Params::new().with("node", &guest.node).with("vmid", guest.vmid);
            (self.read_at(&path, params).await, guest.reference(), guest.label())
        };
        let answers: Vec<_> = stream::iter(here).map(read).buffered(ABREAST).collect().await;
        for (answer, reference, label) in answers {
            match answer {
                Ok(config) => what.extend(
                    cards_on(config.as_object().unwrap_or(&Map::new()), name)
                        .map(|card| format!("{card} of {reference} ({label})")),
                ),
                Err(error) => notes.push(format!("what stands on it is not fully known: {error}")),
            }
        }
        notes.dedup();
        (what.into_iter().map(|what| Found { what, tie: Tie::Stays, way_out: "" }).collect(), notes)
    }
}

/// The interfaces that one is made of: ports, slaves, the one that a VLAN is on.
fn stands_on(row: &Value) -> Vec<String> {
    let mut all: Vec<String> = ["bridge_ports", "slaves", "ovs_ports", "ovs_bonds", "vlan-raw-device"]
        .iter()
        .flat_map(|key| word(row, key).split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    // `eno1.5` is on `eno1`.
    let name = word(row, "iface");
    all.extend(name.split_once('.').map(|(base, _)| base.to_owned()));
    all
}

/// The network cards in a configuration that are on a bridge.
fn cards_on<'c>(config: &'c Map<String, Value>, bridge: &'c str) -> impl Iterator<Item = &'c str> {
    let is_on = move |value: &Value| {
        plain(value).is_some_and(|text| text.split(',').any(|part| part.strip_prefix("bridge=") == Some(bridge)))
    };
    config.iter().filter(move |(key, value)| is_numbered(key, "net") && is_on(value)).map(|(key, _)| key.as_str())
}

/// Whether a line of a difference is about an interface: one that is in it, or in whose part it stands cannot be told.
fn is_about(line: &str, iface: &str) -> bool {
    line.split_whitespace().any(|word| word.trim_start_matches(['+', '-', '@']) == iface)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_interface_stands_on_its_ports_and_a_vlan_on_its_device() {
        let on = |row: Value| stands_on(&row);
        assert_eq!(on(json!({"iface": "vmbr0", "bridge_ports": "eno1 eno2"})), ["eno1", "eno2"]);
        assert_eq!(on(json!({"iface": "bond0", "slaves": "eno1"})), ["eno1"]);
        assert_eq!(on(json!({"iface": "eno1.5"})), ["eno1"]);
        assert_eq!(on(json!({"iface": "vlan5", "vlan-raw-device": "bond0"})), ["bond0"]);
    }

    #[test]
    fn cards_are_on_the_bridge_that_they_name() {
        let config = json!({
            "net0": "virtio=BC:24:11:00:00:01,bridge=vmbr0", "net1": "virtio,bridge=vmbr01", "netx": "bridge=vmbr0",
            "net2": "name=eth0,bridge=vmbr0,ip=dhcp",
        });
        assert_eq!(cards_on(config.as_object().unwrap(), "vmbr0").collect::<Vec<_>>(), ["net0", "net2"]);
    }
}
