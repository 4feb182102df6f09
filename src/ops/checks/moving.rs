//! What stands in the way of a guest that moves to another node: all of it at once, each with the way out.
//!
//! What the server says of the way came with the plan; the rest is read like any other fact.

use serde_json::Value;

use super::{
    super::{Moving, Plan, migrate::Held, place::content_of},
    Finding,
    facts::Facts,
    table::refuse,
};
use crate::model::{Guest, GuestKind, Size};

use Finding::{Note, Warning};

/// Storages that copy a disk with its snapshots.
const COPIES_SNAPSHOTS: [&str; 2] = ["zfspool", "btrfs"];

pub(super) fn judge(facts: &Facts, _: usize, plan: &Plan) -> Vec<Finding> {
    let Some(moving) = plan.moving.as_deref() else { return Vec::new() };
    let way = Way { facts, plan, moving };
    [Way::power, Way::resources, Way::disks, Way::storages, Way::bridges, Way::rules, Way::replication, Way::ha]
        .into_iter()
        .flat_map(|look| look(&way))
        .collect()
}

struct Way<'a> {
    facts: &'a Facts,
    plan: &'a Plan,
    moving: &'a Moving,
}

impl Way<'_> {
    fn noun(&self) -> &'static str {
        self.plan.guest.kind.noun()
    }

    fn on(&self, verb: &str) -> String {
        format!("pvectl {} {verb} {}", self.noun(), self.plan.guest.vmid)
    }

    fn is_vm(&self) -> bool {
        self.plan.guest.kind == GuestKind::Qemu
    }

    /// Whether HA does it, in its own way.
    fn by_ha(&self) -> bool {
        self.facts.guest(&self.plan.guest).is_some_and(Guest::is_under_ha)
    }

    /// The volumes that have to be copied.
    fn copied(&self) -> impl Iterator<Item = &Held> {
        let seen_by_all = |held: &&Held| {
            let row = held.storage().and_then(|storage| self.facts.storage(&self.moving.to, storage));
            row.is_some_and(|storage| storage.shared)
        };
        self.moving.volumes.iter().filter(move |held| !held.image && !seen_by_all(held))
    }

    fn power(&self) -> Vec<Finding> {
        match (self.is_vm(), self.moving.running, self.moving.restart) {
            (false, true, false) => refuse(
                "it runs, and no container moves while it runs".to_owned(),
                "give --restart: it is shut down, moved and started there",
            ),
            (false, true, true) => vec![Note("it runs: it is shut down, moved and started there".to_owned())],
            _ => Vec::new(),
        }
    }

    fn resources(&self) -> Vec<Finding> {
        let texts = |values: &[Value]| values.iter().filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>();
        let mapped = self.moving.said.get("mapped-resource-info").and_then(Value::as_object);
        let is_mapped = |key: &String| mapped.is_some_and(|mapped| mapped.contains_key(key));
        let (shared, own): (Vec<String>, Vec<String>) =
            texts(self.moving.told("local_resources")).into_iter().partition(is_mapped);
        let forced = !self.moving.running && self.plan.steps.iter().any(|step| step.params.get("force") == Some("1"));
        let mut findings = Vec::new();
        if !own.is_empty() && !forced {
            findings.extend(refuse(
                format!("it uses what only node {} has: {}", self.plan.guest.node, own.join(", ")),
                format!("take it away first, such as {} {}", self.on("remove"), own[0]),
            ));
        }
        if !shared.is_empty() && self.moving.running {
            findings.extend(refuse(
                format!("it runs with mapped devices, which cannot go along: {}", shared.join(", ")),
                format!("shut it down first: {}", self.on("shutdown")),
            ));
        }
        let missing = texts(self.moving.refused("unavailable-resources"));
        if !missing.is_empty() {
            findings.extend(refuse(
                format!("node {} has no device for the mapping of {}", self.moving.to, missing.join(", ")),
                "add the node to the mapping (pvectl mapping pci list), or take another node",
            ));
        }
        findings
    }

    fn disks(&self) -> Vec<Finding> {
        let (node, running) = (&self.plan.guest.node, self.moving.running);
        let mut findings = Vec::new();
        for held in self.moving.volumes.iter().filter(|held| held.image) {
            findings.extend(refuse(
                format!("{} shows {}, which is not copied", held.key, held.volume),
                format!("take the image out: {} --{} none,media=cdrom", self.on("update"), held.key),
            ));
        }
        for held in self.moving.volumes.iter().filter(|held| held.volume.starts_with('/')) {
            findings.extend(refuse(
                format!("{} is {} of node {node}", held.key, held.volume),
                "mark it as shared=1 if the other node has the same, or take it away",
            ));
        }
        let copied: Vec<&Held> = self.copied().filter(|held| held.storage().is_some()).collect();
        let named = |held: &&&Held| match held.size {
            Some(size) => format!("{} ({}, {})", held.key, held.volume, Size(size)),
            None => format!("{} ({})", held.key, held.volume),
        };
        let live: Vec<String> = copied.iter().filter(|held| held.attached).map(|held| named(&held)).collect();
        if self.is_vm() && running && !live.is_empty() && !self.moving.with_local_disks && !self.by_ha() {
            findings.extend(refuse(
                format!("it runs, and disks of it are only on node {node}: {}", live.join(", ")),
                "give --with-local-disks, which copies them while it runs",
            ));
        } else if !copied.is_empty() {
            let all: Vec<String> = copied.iter().map(|held| named(&held)).collect();
            findings.push(Note(format!("copied: {}", all.join(", "))));
        }
        for held in copied.iter().filter(|held| !held.snapshots.is_empty()) {
            let kind = held.storage().and_then(|storage| self.facts.storage(&self.moving.to, storage));
            let with_them =
                held.volume.ends_with(".qcow2") || kind.is_none_or(|row| COPIES_SNAPSHOTS.contains(&row.kind.as_str()));
            // What is replicated has them there already.
            let replicated = self.facts.replicas(&self.plan.guest).iter().any(|(_, to)| self.moving.to.as_str() == *to);
            let way_out = format!("delete the snapshots first: {} …", self.on("snapshot delete"));
            let names = held.snapshots.join(", ");
            if running && self.is_vm() && !replicated {
                let text = format!("it runs, and {} has snapshots, which do not go along then: {names}", held.key);
                let way_out = if with_them { format!("{way_out}; or shut it down") } else { way_out };
                findings.extend(refuse(text, way_out));
            } else if !with_them && !replicated {
                findings.extend(refuse(
                    format!("{} has snapshots, which its storage does not copy: {names}", held.key),
                    way_out,
                ));
            }
        }
        for held in copied.iter().filter(|held| is_linked(&held.volume)) {
            findings.extend(refuse(
                format!("{} is a linked clone: {}", held.key, held.volume),
                "make a full clone, and move that: pvectl vm clone --full",
            ));
        }
        findings
    }

    fn storages(&self) -> Vec<Finding> {
        let to = &self.moving.to;
        let mut missing: Vec<String> =
            self.moving.refused("unavailable_storages").iter().filter_map(Value::as_str).map(str::to_owned).collect();
        // Those of which the disks go elsewhere are none.
        let stays = |storage: &String| {
            let mut of_it = self.moving.volumes.iter().filter(|held| held.storage() == Some(storage)).peekable();
            of_it.peek().is_none() || of_it.any(|held| held.into.as_ref() == Some(storage))
        };
        missing.retain(stays);
        let mut findings = Vec::new();
        let content = content_of(self.plan.guest.kind);
        let mut seen: Vec<&str> = Vec::new();
        for into in self.moving.volumes.iter().filter(|held| !held.image).filter_map(|held| held.into.as_deref()) {
            if seen.contains(&into) || missing.iter().any(|name| name == into) || !self.facts.knows_storages(to) {
                continue;
            }
            seen.push(into);
            let out = "say where the disks go: --target-storage FROM=TO (pvectl storage list)";
            match self.facts.storage(to, into) {
                None => missing.push(into.to_owned()),
                Some(row) if !row.active => {
                    findings.extend(refuse(format!("storage `{into}` is not active on node {to}"), out));
                }
                Some(row) if !row.holds(content) => {
                    let text = format!("storage `{into}` does not hold `{content}`, only {}", row.content);
                    findings.extend(refuse(text, out));
                }
                Some(_) => {}
            }
        }
        if !missing.is_empty() {
            let text = format!("node {to} does not have the storage of its disks: {}", missing.join(", "));
            findings.extend(refuse(text, "say where the disks go: --target-storage FROM=TO (pvectl storage list)"));
        }
        findings
    }

    fn bridges(&self) -> Vec<Finding> {
        let to = &self.moving.to;
        let lacks = |(_, bridge): &&(String, String)| self.facts.lacks_bridge(to, bridge);
        let lacking = self.moving.bridges.iter().filter(lacks);
        let lacking: Vec<String> = lacking.map(|(key, bridge)| format!("{bridge} ({key})")).collect();
        let text = || format!("node {to} does not have the bridge {}", lacking.join(", "));
        match (lacking.is_empty(), self.moving.running) {
            (true, _) => Vec::new(),
            (false, true) => {
                refuse(text(), format!("make the bridge there, or change the card: {} --net0 …", self.on("update")))
            }
            (false, false) => vec![Warning(format!("{}: it does not start there until it has", text()))],
        }
    }

    fn rules(&self) -> Vec<Finding> {
        let blocking: Vec<String> = self
            .moving
            .refused("blocking-ha-resources")
            .iter()
            .filter_map(|row| Some(format!("{} ({})", row["sid"].as_str()?, row["cause"].as_str().unwrap_or("a rule"))))
            .collect();
        let mut findings = Vec::new();
        if !blocking.is_empty() {
            let text = format!("rules of HA keep it off node {}: {}", self.moving.to, blocking.join(", "));
            findings.extend(refuse(text, "take another node, or change the rule (pvectl ha rule list)"));
        }
        let along: Vec<&str> = self.moving.told("dependent-ha-resources").iter().filter_map(Value::as_str).collect();
        if !along.is_empty() {
            findings.push(Note(format!("by a rule of HA these go along: {}", along.join(", "))));
        }
        findings
    }

    fn replication(&self) -> Vec<Finding> {
        let to = self.moving.to.as_str();
        let replicas = self.facts.replicas(&self.plan.guest);
        let Some((first, elsewhere)) = replicas.first() else { return Vec::new() };
        if replicas.iter().any(|(_, target)| *target == to) {
            return vec![Note("it is replicated there: only what changed since is copied".to_owned())];
        }
        match self.moving.running && self.is_vm() {
            true => refuse(
                format!("it runs, and is replicated to {elsewhere} and not to {to}"),
                format!("move it to {elsewhere}, shut it down, or remove the job: pvectl replication delete {first}"),
            ),
            false => vec![Note(format!("its replication {first} goes on from {to}"))],
        }
    }

    fn ha(&self) -> Vec<Finding> {
        let state = self.facts.ha(&self.plan.guest);
        match state {
            None | Some("ignored") => Vec::new(),
            Some("error") => refuse(
                "HA has given it up (error), and moves it only when it was disabled in between".to_owned(),
                format!("pvectl ha resource update {} --state disabled", self.plan.guest.ha_sid()),
            ),
            Some(state) if self.moving.particular => refuse(
                format!("HA looks after it ({state}), and is told the node alone"),
                format!(
                    "leave the other flags out, or take it out of HA first: pvectl ha resource delete {}",
                    self.plan.guest.ha_sid()
                ),
            ),
            Some(_) => vec![Note("HA is told, and moves it when it next looks".to_owned())],
        }
    }
}

/// Whether a volume's name says that it stands on another: `base-100-disk-0/vm-101-disk-0`.
fn is_linked(volume: &str) -> bool {
    let name = volume.split_once(':').map_or("", |(_, name)| name);
    let mut parts: Vec<&str> = name.split('/').collect();
    parts.pop();
    parts.iter().any(|part| part.starts_with("base-"))
}

#[cfg(test)]
mod tests {
    use super::is_linked;

    #[test]
    fn a_linked_clone_has_its_base_before_its_name() {
        for (volume, linked) in [
            ("dir1:102/base-102-disk-0.qcow2/103/vm-103-disk-0.qcow2", true),
            ("pool:base-102-disk-0/vm-103-disk-0", true),
            ("pool:base-102-disk-0", false),
            ("dir1:102/base-102-disk-0.qcow2", false),
            ("local-lvm:vm-103-disk-0", false),
        ] {
            assert_eq!(is_linked(volume), linked, "{volume}");
        }
    }
}
