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
    // Whatever is changed, an interface of whose address nothing is said is declared to have none.
    kept: &[&["cidr", "address", "netmask"], &["cidr6", "address6", "netmask6"]],
    off_unset: &["bridge_vlan_aware"],
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
        if let (true, Some(address)) = (apply, self.address_of(node).await) {
            let doors = doors(&address, &rows);
            let touched = touched(&changes);
            let is_touched = |door: &&String| touched.iter().any(|one| one.as_ref().is_none_or(|one| one == *door));
            let only = "if it is wrong, only its console is left";
            if let Some(door) = doors.iter().find(is_touched) {
                plan.risks.push(format!("{node} is reached at {address} by {door}, which changes: {only}"));
            } else if doors.is_empty() && loses(&changes, &address) {
                plan.risks.push(format!("{node} is reached at {address}, which no interface has then: {only}"));
            }
        }
        Ok((plan, Some(changes)))
    }

    /// The address at which the cluster knows a node.
    async fn address_of(&self, node: &NodeName) -> Option<String> {
        let status = self.rows_at("/cluster/status", Params::new()).await.unwrap_or_default();
        let ours = status.iter().find(|row| row["type"] == "node" && row["name"] == node.as_str());
        ours.and_then(|row| plain(&row["ip"]))
    }

    /// What a change or a removal of a network of a node may cut off, in words.
    pub(super) async fn cut_by(
        &self,
        sort: &Sort,
        name: &str,
        thing: &Map<String, Value>,
        after: Option<&Params>,
    ) -> Vec<String> {
        let Some(node) = sort.scoped().get("node").and_then(|node| NodeName::new(node).ok()) else { return Vec::new() };
        let touches = |params: &Params| {
            let gone = params.get("delete").unwrap_or_default();
            params.iter().map(|(key, _)| key).chain(gone.split(',')).any(|key| REACHED_BY.contains(&key))
        };
        if sort.of.noun != "network" {
            return Vec::new();
        }
        let mut risks = after.map(|after| learns(thing, after)).unwrap_or_default();
        if after.is_some_and(|after| !touches(after)) {
            return risks;
        }
        let Ok((rows, _)) = self.networks_of(&node).await else { return risks };
        let Some(address) = self.address_of(&node).await else { return risks };
        let door = doors(&address, &rows).into_iter().find(|iface| iface == name);
        risks.extend(door.map(|iface| format!("{node} is reached at {address} by {iface}")));
        risks
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

/// What a node is reached by: the interface that has its address, and what that stands on.
fn doors(address: &str, rows: &[Value]) -> Vec<String> {
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
    found
}

/// An interface that is told its address by others is declared to have none by any change: the API has no word for it.
fn learns(thing: &Map<String, Value>, after: &Params) -> Vec<String> {
    let family = |method: &str, keys: [&str; 2]| {
        let how =
            thing.get(method).and_then(plain).filter(|how| !["static", "manual", "loopback"].contains(&how.as_str()));
        let is_given = keys.iter().any(|key| after.get(key).is_some());
        how.filter(|_| !is_given).map(|how| format!("it gets its address by `{how}`, which no change by the API keeps"))
    };
    let families = [("method", ["cidr", "address"]), ("method6", ["cidr6", "address6"])];
    families.into_iter().filter_map(|(method, keys)| family(method, keys)).collect()
}

/// The interfaces whose parts of the file a difference changes; none where a line is changed in whose part it stands
/// cannot be told.
fn touched(changes: &str) -> Vec<Option<String>> {
    let mut found = Vec::new();
    let mut of = None;
    for line in changes.lines().filter(|line| !line.starts_with("---") && !line.starts_with("+++")) {
        if line.starts_with("@@") {
            of = None;
            continue;
        }
        let is_changed = line.starts_with(['+', '-']);
        let mut words = line.get(1..).unwrap_or_default().split_whitespace();
        if let (Some("auto" | "iface" | "allow-hotplug" | "allow-ovs"), Some(iface)) = (words.next(), words.next()) {
            of = Some(iface.to_owned());
        }
        if is_changed && !found.contains(&of) {
            found.push(of.clone());
        }
    }
    found
}

/// Whether a difference takes an address away.
fn loses(changes: &str, address: &str) -> bool {
    let has = |line: &str| line.split_whitespace().any(|word| word.split('/').next() == Some(address));
    changes.lines().any(|line| line.starts_with('-') && has(&line[1..]))
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

    #[test]
    fn a_difference_is_about_interfaces_or_nobody_can_tell() {
        let about = |text: &str| touched(&format!("--- a\n+++ b\n@@ -1,4 +1,5 @@\n{text}"));
        assert_eq!(about(" auto vmbr0\n iface vmbr0 inet manual\n+\tmtu 9000\n"), [Some("vmbr0".to_owned())]);
        assert_eq!(about(" \tbridge-stp off\n+\tmtu 9000\n"), [None]);
        assert_eq!(about(" auto vmbr0\n iface vmbr0 inet manual\n \n+auto vmbr1\n"), [Some("vmbr1".to_owned())]);
        assert!(loses("-\taddress 192.0.2.1/24", "192.0.2.1") && !loses("-\taddress 192.0.2.10/24", "192.0.2.1"));
        assert!(!loses(" \taddress 192.0.2.1/24", "192.0.2.1"));
    }

    #[test]
    fn what_an_interface_learns_from_others_no_change_keeps() {
        let thing = |method: &str| json!({"method": method}).as_object().cloned().unwrap();
        let comments = Params::new().with("comments", "x");
        assert_eq!(learns(&thing("dhcp"), &comments).len(), 1);
        assert!(learns(&thing("dhcp"), &Params::new().with("cidr", "192.0.2.1/24")).is_empty());
        assert!(learns(&thing("static"), &comments).is_empty() && learns(&thing("manual"), &comments).is_empty());
    }
}
