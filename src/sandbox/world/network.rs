//! The networks of a node: what holds, and what was changed and does not hold yet.
//!
//! No packet goes anywhere here; the difference is told in the words of the file that a real node has.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{fresh::BRIDGE, node::Node};

/// Interfaces by name, each with its keys.
pub(crate) type Interfaces = BTreeMap<String, BTreeMap<String, String>>;

/// What a node has.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Networks {
    pub(crate) holds: Interfaces,
    /// What is to hold once it is applied.
    pub(crate) next: Option<Interfaces>,
}

impl Networks {
    /// Those of a node of which nothing was ever changed: one bridge with its address.
    pub(crate) fn of(node: &Node) -> Self {
        let keys = [
            ("type", "bridge"),
            ("method", "static"),
            ("method6", "manual"),
            ("autostart", "1"),
            ("bridge_fd", "0"),
            ("bridge_stp", "off"),
            ("bridge_ports", ""),
            ("address", &node.ip),
            ("netmask", "16"),
            ("cidr", &format!("{}/16", node.ip)),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()));
        Self { holds: BTreeMap::from([(BRIDGE.to_owned(), keys.into())]), next: None }
    }

    /// The interfaces as they are to be.
    pub(crate) fn wanted(&self) -> &Interfaces {
        self.next.as_ref().unwrap_or(&self.holds)
    }

    /// The difference between what holds and what is to, as text; nothing where there is none.
    pub(crate) fn changes(&self) -> Option<String> {
        let next = self.next.as_ref().filter(|next| **next != self.holds)?;
        let mut text = "--- /etc/network/interfaces\n+++ /etc/network/interfaces.new\n".to_owned();
        let names: std::collections::BTreeSet<&String> = self.holds.keys().chain(next.keys()).collect();
        for name in names.into_iter().filter(|name| self.holds.get(*name) != next.get(*name)) {
            let part = |all: &Interfaces| all.get(name).map(|keys| stanza(name, keys)).unwrap_or_default();
            let (old, new) = (part(&self.holds), part(next));
            text += "@@ @@\n";
            let kept = old.iter().map(|line| (if new.contains(line) { ' ' } else { '-' }, line));
            let added = new.iter().filter(|line| !old.contains(line)).map(|line| ('+', line));
            let lines: Vec<(char, &String)> = kept.chain(added).collect();
            // As `diff -u` does: of what stays only what is near.
            let is_near =
                |place: usize| lines.iter().enumerate().any(|(at, (mark, _))| *mark != ' ' && at.abs_diff(place) <= 3);
            let shown = lines.iter().enumerate().filter(|(place, _)| is_near(*place));
            shown.for_each(|(_, (mark, line))| text += &format!("{mark}{line}\n"));
        }
        Some(text)
    }
}

/// An interface as the file has it.
fn stanza(name: &str, keys: &BTreeMap<String, String>) -> Vec<String> {
    let get = |key: &str| keys.get(key).map(String::as_str);
    let mut lines = Vec::new();
    if get("autostart") == Some("1") {
        lines.push(format!("auto {name}"));
    }
    lines.push(format!("iface {name} inet {}", get("method").unwrap_or("manual")));
    const TOLD: [&str; 4] = ["method", "method6", "autostart", "type"];
    let others =
        keys.iter().filter(|(key, _)| !TOLD.contains(&key.as_str()) && !["address", "netmask"].contains(&key.as_str()));
    lines.extend(others.map(|(key, value)| match key.as_str() {
        "cidr" => format!("\taddress {value}"),
        "comments" => format!("#{value}"),
        key => format!("\t{} {value}", key.replace('_', "-")),
    }));
    lines
}
