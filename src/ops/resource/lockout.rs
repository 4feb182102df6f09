//! What shuts people out: before the firewall of a cluster is turned on, or a rule goes that lets them in.
//!
//! Only the cluster's own rules, and those of the groups that they name, are looked at: where from somebody comes, and
//! what a node has beside, is not known.

use serde_json::{Map, Value};

use super::{Reach, Sort, plain};
use crate::{
    model::{Params, Result},
    ops::Ops,
};

/// What a cluster is managed by.
const DOORS: [(u64, &str, &str); 2] = [(8006, "", "8006 (API and web)"), (22, "SSH", "22 (SSH)")];

const OPTIONS: &str = "/cluster/firewall/options";
const RULES: &str = "/cluster/firewall/rules";

impl Ops {
    /// What a change of something of the firewall shuts, in words; of a removal, `after` is nothing.
    pub(super) async fn shut_by(
        &self,
        sort: &Sort,
        name: &str,
        thing: &Map<String, Value>,
        after: Option<&Params>,
    ) -> Vec<String> {
        if sort.scope().reach() != Reach::Cluster {
            return Vec::new();
        }
        let shut = match sort.of.noun {
            "firewall-options" => self.by_options(thing, after).await,
            "firewall-rule" => self.by_rule(name, after).await,
            _ => return Vec::new(),
        };
        match shut {
            Ok(shut) if shut.is_empty() => Vec::new(),
            Ok(shut) => vec![format!(
                "no rule of the cluster lets {} in: who is not in the nodes' own network is shut out",
                shut.join(" and ")
            )],
            Err(error) => vec![format!("whether somebody is shut out is not known: {error}")],
        }
    }

    async fn by_options(&self, before: &Map<String, Value>, after: Option<&Params>) -> Result<Vec<&'static str>> {
        let mut now = before.clone();
        for (key, value) in after.into_iter().flat_map(Params::iter) {
            match key {
                "delete" => value.split(',').for_each(|key| drop(now.remove(key))),
                _ => drop(now.insert(key.to_owned(), value.into())),
            }
        }
        if !filters(&now) || filters(before) {
            return Ok(Vec::new());
        }
        let rules = self.rows_at(RULES, Params::new()).await?;
        self.closed(&rules).await
    }

    async fn by_rule(&self, name: &str, after: Option<&Params>) -> Result<Vec<&'static str>> {
        let options = self.read_at(OPTIONS, Params::new()).await?;
        if !options.as_object().is_some_and(filters) {
            return Ok(Vec::new());
        }
        let before = self.rows_at(RULES, Params::new()).await?;
        let mut now = before.clone();
        let is_it = |row: &Value| row.get("pos").and_then(plain).as_deref() == Some(name);
        match after {
            None => now.retain(|row| !is_it(row)),
            Some(after) => {
                for row in now.iter_mut().filter(|row| is_it(row)) {
                    for (key, value) in after.iter().filter(|(key, _)| *key != "pos") {
                        match key {
                            "delete" => value.split(',').for_each(|key| row[key] = Value::Null),
                            _ => row[key] = value.into(),
                        }
                    }
                }
            }
        }
        let closed = self.closed(&before).await?;
        Ok(self.closed(&now).await?.into_iter().filter(|door| !closed.contains(door)).collect())
    }

    /// The doors that none of these rules opens. Who is in the set `management` is let in by the server itself.
    async fn closed(&self, rules: &[Value]) -> Result<Vec<&'static str>> {
        let sets = self.rows_at("/cluster/firewall/ipset", Params::new()).await?;
        if sets.iter().any(|set| set["name"] == "management") {
            return Ok(Vec::new());
        }
        let mut all = rules.to_vec();
        for rule in rules.iter().filter(|rule| rule["type"] == "group" && is_on(rule)) {
            let group = Params::new().with_some("group", plain(&rule["action"]));
            all.extend(self.rows_at("/cluster/firewall/groups/{group}", group).await?);
        }
        let closed = DOORS.iter().filter(|(port, name, _)| !all.iter().any(|rule| opens(rule, *port, name)));
        Ok(closed.map(|(.., what)| *what).collect())
    }
}

/// Whether a cluster with these options lets in only what its rules let in.
fn filters(options: &Map<String, Value>) -> bool {
    let get = |key: &str| options.get(key).and_then(plain);
    get("enable").is_some_and(|on| on != "0") && get("policy_in").is_none_or(|policy| policy != "ACCEPT")
}

fn is_on(rule: &Value) -> bool {
    plain(&rule["enable"]).is_some_and(|on| on != "0")
}

/// Whether a rule lets a port of TCP in, wherever from.
fn opens(rule: &Value, port: u64, name: &str) -> bool {
    let get = |key: &str| plain(&rule[key]).filter(|text| !text.is_empty());
    if !is_on(rule) || rule["type"] != "in" || rule["action"] != "ACCEPT" {
        return false;
    }
    if let Some(named) = get("macro") {
        return !name.is_empty() && named == name;
    }
    let is_tcp = get("proto").is_none_or(|proto| proto == "tcp" || proto == "6");
    let Some(ports) = get("dport") else { return is_tcp };
    let has = |part: &str| match part.split_once(':') {
        Some((first, last)) => {
            first.parse::<u64>().is_ok_and(|first| first <= port) && last.parse::<u64>().is_ok_and(|last| port <= last)
        }
        None => part.parse() == Ok(port) || !name.is_empty() && part.eq_ignore_ascii_case(name),
    };
    is_tcp && ports.split(',').any(|part| has(part.trim()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_door_is_open_where_a_rule_that_is_on_lets_it_in() {
        for (rule, ssh, web) in [
            (json!({"type": "in", "action": "ACCEPT", "enable": 1}), true, true),
            (json!({"type": "in", "action": "ACCEPT", "enable": 0}), false, false),
            (json!({"type": "out", "action": "ACCEPT", "enable": 1}), false, false),
            (json!({"type": "in", "action": "DROP", "enable": 1}), false, false),
            (json!({"type": "in", "action": "ACCEPT", "enable": 1, "macro": "SSH"}), true, false),
            (json!({"type": "in", "action": "ACCEPT", "enable": 1, "macro": "Ping"}), false, false),
            (json!({"type": "in", "action": "ACCEPT", "enable": 1, "proto": "tcp", "dport": "22,8006"}), true, true),
            (json!({"type": "in", "action": "ACCEPT", "enable": 1, "proto": "tcp", "dport": "8000:8100"}), false, true),
            (json!({"type": "in", "action": "ACCEPT", "enable": 1, "proto": "udp", "dport": "22"}), false, false),
            (json!({"type": "in", "action": "ACCEPT", "enable": 1, "proto": "tcp", "dport": "ssh"}), true, false),
        ] {
            assert_eq!((opens(&rule, 22, "SSH"), opens(&rule, 8006, "")), (ssh, web), "{rule}");
        }
    }

    #[test]
    fn a_firewall_filters_when_it_is_on_and_lets_in_nothing_by_itself() {
        let map = |value: Value| value.as_object().cloned().unwrap();
        assert!(filters(&map(json!({"enable": 1}))) && filters(&map(json!({"enable": "1", "policy_in": "REJECT"}))));
        assert!(!filters(&map(json!({}))) && !filters(&map(json!({"enable": 0}))));
        assert!(!filters(&map(json!({"enable": 1, "policy_in": "ACCEPT"}))));
    }
}
