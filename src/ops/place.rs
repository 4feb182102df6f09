//! Where a new guest goes: a node that has the memory and the storages it asks for.
//!
//! Figures that the user may not see are not held against a node; the server has the last word.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;

use super::{
    Device, Ops,
    devices::{stored, want_storage},
};
use crate::model::{
    Class, Error, GuestKind, Hint, Node, NodeName, Params, PropertyString, Result, Size, Storage, is_disk_key,
    node_status,
};

/// What a storage must hold for disks of a guest.
pub(super) fn content_of(kind: GuestKind) -> &'static str {
    if kind == GuestKind::Qemu { "images" } else { "rootdir" }
}

/// The storage for disks of which nobody said where.
fn the_only(names: BTreeSet<String>, content: &str) -> Result<String> {
    let mut rest = names.iter();
    match (rest.next(), rest.next()) {
        (Some(only), None) => Ok(only.clone()),
        (None, _) => Err(Error::not_found(format!("no active storage holds `{content}`"))),
        (Some(one), _) => {
            let all: Vec<&str> = names.iter().map(String::as_str).collect();
            Err(Error::usage("a disk's size does not say where it is to be, and there are several storages")
                .with_hint(Hint::Text(format!("give STORAGE:SIZE, such as {one}:32G; there are {}", all.join(", ")))))
        }
    }
}

/// What a guest to be needs of its node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Needs {
    /// Memory in bytes.
    pub(super) memory: Option<Size>,
    /// The root disk goes where the server puts it, for nobody said where.
    pub(super) default_rootfs: bool,
    /// By storage: the content it must hold, and the bytes that are to be allocated.
    pub(super) storages: BTreeMap<String, (&'static str, Size)>,
}

impl Needs {
    /// Reads them from the parameters of a create.
    pub(super) fn of(kind: GuestKind, params: &Params) -> Self {
        let memory = params.get("memory").and_then(|memory| {
            let plain = memory.split(',').next()?.trim_start_matches("current=");
            plain.parse().ok().map(Size::mib)
        });
        let mut needs = Self { memory, ..Self::default() };
        let content = content_of(kind);
        for (key, value) in params.iter().filter(|(key, _)| is_disk_key(key)) {
            let Ok(disk) = value.parse::<PropertyString>() else { continue };
            let volume = disk.volume().unwrap_or_default();
            let Some((storage, size)) = volume.split_once(':') else { continue };
            // `storage:32` asks for 32 GiB; everything else names a volume that exists, or is tiny (`cloudinit`).
            let new = size.parse::<f64>().map_or(Size(0), |gib| Size((gib * Size::gib(1).0 as f64) as u64));
            let exists = new.0 == 0 && size != "cloudinit";
            if exists && key != "rootfs" {
                continue;
            }
            let entry = needs.storages.entry(storage.to_owned()).or_insert((content, Size(0)));
            entry.1 = Size(entry.1.0.saturating_add(new.0));
        }
        if kind == GuestKind::Lxc && params.get("rootfs").is_none() {
            let storage = params.get("storage").unwrap_or("local");
            needs.default_rootfs = params.get("storage").is_none();
            needs.storages.entry(storage.to_owned()).or_insert((content, Size(0)));
        }
        needs
    }

    /// A storage that no node has.
    fn unknown_storage(&self, storages: &[Vec<Storage>]) -> Option<&str> {
        let has = |name: &str| storages.iter().flatten().any(|storage| storage.storage == name);
        self.storages.keys().map(String::as_str).find(|name| !storages.is_empty() && !has(name))
    }

    /// What a node lacks of them, one line each.
    fn lacking(&self, node: &Node, storages: &[Storage]) -> Vec<String> {
        let mut lacking = Vec::new();
        if let (Some(memory), Some(all), Some(used)) = (self.memory, node.maxmem, node.mem) {
            let free = Size(all.saturating_sub(used));
            if memory > free {
                lacking.push(format!("{memory} of memory wanted, {free} free"));
            }
        }
        for (name, (content, size)) in &self.storages {
            match storages.iter().find(|storage| storage.storage == *name) {
                None => lacking.push(format!("no storage `{name}`")),
                Some(storage) if !storage.active => lacking.push(format!("storage `{name}` is not active")),
                Some(storage) if !storage.holds(content) => {
                    lacking.push(format!("storage `{name}` does not hold `{content}`, only {}", storage.content));
                }
                Some(storage) => match storage.avail {
                    Some(free) if size.0 > free => {
                        lacking.push(format!("{size} wanted on storage `{name}`, {} free", Size(free)));
                    }
                    _ => {}
                },
            }
        }
        lacking
    }
}

impl Ops {
    /// Puts disks of which only the size is said into the one storage that there is for them, on this node or on all.
    ///
    /// # Errors
    /// [`Class::Usage`](crate::model::Class::Usage) where there are several, naming them.
    pub(super) async fn with_storage(
        &self,
        kind: GuestKind,
        devices: &[Device],
        node: Option<&NodeName>,
    ) -> Result<Vec<Device>> {
        if !want_storage(devices) {
            return Ok(devices.to_vec());
        }
        let nodes = match node {
            Some(node) => vec![node.clone()],
            None => self.backend().nodes().await?.into_iter().filter(Node::is_online).map(|node| node.node).collect(),
        };
        let asked = join_all(nodes.iter().map(|storage| self.backend().storages(storage))).await;
        let mut rows = Vec::new();
        for asked in asked {
            match asked {
                Err(error) if node.is_some() || node_status(&error).is_none() => return Err(error),
                // The new guest goes to another node then.
                asked => rows.extend(asked.unwrap_or_default()),
            }
        }
        let content = content_of(kind);
        let fit = rows.into_iter().filter(|storage| storage.active && storage.holds(content));
        let names: BTreeSet<String> = fit.map(|storage| storage.storage).collect();
        Ok(stored(devices, &the_only(names, content)?))
    }

    /// The node for a guest to be: the one named, checked, or of those with room the one with the most free memory.
    /// `eligible` leaves out nodes that will not do for other reasons.
    pub(super) async fn place(
        &self,
        needs: &Needs,
        wanted: Option<&NodeName>,
        eligible: &[NodeName],
        check: bool,
    ) -> Result<NodeName> {
        let nodes = self.backend().nodes().await?;
        if let Some(wanted) = wanted {
            let node = Node::named(&nodes, wanted.as_str()).map_err(|error| {
                let names: Vec<&str> = nodes.iter().map(|node| node.node.as_str()).collect();
                error.with_hint(Hint::Text(format!("nodes here: {}", names.join(", "))))
            })?;
            if !node.is_online() {
                let why = format!("node {wanted} is {}", node.status);
                return Err(Error::new(Class::Unreachable, why).with_hint(Hint::NodeAway(wanted.to_string())));
            }
        }
        let mut candidates: Vec<Node> = nodes
            .into_iter()
            .filter(|node| node.is_online() && wanted.is_none_or(|wanted| node.node == *wanted))
            .filter(|node| eligible.is_empty() || eligible.contains(&node.node))
            .collect();
        let free = |node: &Node| node.maxmem.unwrap_or(0).saturating_sub(node.mem.unwrap_or(0));
        candidates.sort_by_key(|node| std::cmp::Reverse(free(node)));
        if !check {
            return candidates.into_iter().next().map(|node| node.node).ok_or_else(no_node);
        }
        let mut missing = Vec::new();
        let mut storages = vec![Vec::new(); candidates.len()];
        if !needs.storages.is_empty() {
            let asked = join_all(candidates.iter().map(|node| self.backend().storages(&node.node))).await;
            let nodes = std::mem::take(&mut candidates);
            storages.clear();
            for (node, asked) in nodes.into_iter().zip(asked) {
                match asked {
                    Ok(found) => {
                        candidates.push(node);
                        storages.push(found);
                    }
                    // There are others.
                    Err(error) => match node_status(&error) {
                        Some(status) if wanted.is_none() => missing.push(format!("{}: it is {status}", node.node)),
                        _ => return Err(error),
                    },
                }
            }
        }
        if let Some(unknown) = needs.unknown_storage(&storages) {
            let known = storages.iter().flatten().map(|storage| storage.storage.clone());
            let close = super::closest(unknown, known);
            let error = Error::not_found(format!("no such storage: `{unknown}`"));
            let error = error.did_you_mean(close);
            return Err(error.with_hint(Hint::Text(format!("storages here: {}", names(&storages)))));
        }
        for (node, storages) in candidates.into_iter().zip(storages) {
            let lacking = needs.lacking(&node, &storages);
            if lacking.is_empty() {
                return Ok(node.node);
            }
            missing.extend(lacking.into_iter().map(|what| format!("{}: {what}", node.node)));
        }
        match missing.len() {
            0 => Err(no_node()),
            _ => {
                let hint = if needs.default_rootfs {
                    "say where the root disk goes, such as --rootfs local-lvm:8"
                } else {
                    "ask for less, make room, or give --no-checks to leave it to the server"
                };
                Err(Error::conflict(format!("no node has room for it: {}", missing.join("; ")))
                    .with_hint(Hint::Text(hint.into())))
            }
        }
    }
}

/// The names of storages, each once.
fn names(storages: &[Vec<Storage>]) -> String {
    let names: BTreeSet<&str> = storages.iter().flatten().map(|storage| storage.storage.as_str()).collect();
    names.into_iter().collect::<Vec<_>>().join(", ")
}

fn no_node() -> Error {
    Error::conflict("no node is online")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_alone_goes_to_the_only_storage_there_is() {
        let of = |names: &[&str]| the_only(names.iter().map(|name| (*name).to_owned()).collect(), "images");
        assert_eq!(of(&["fast"]).unwrap(), "fast");
        assert!(of(&[]).unwrap_err().message().contains("no active storage"));
        let several = of(&["fast", "slow"]).unwrap_err();
        assert!(
            several
                .hints()
                .iter()
                .any(|hint| matches!(hint, Hint::Text(text) if text.contains("fast:32G; there are fast, slow"))),
            "{several}"
        );
    }

    #[test]
    fn needs_are_read_from_disks_and_memory() {
        let params = Params::new()
            .with("memory", 4096)
            .with("scsi0", "local-lvm:32,discard=on")
            .with("scsi1", "local-lvm:8")
            .with("ide2", "local:iso/debian.iso,media=cdrom")
            .with("efidisk0", "file=fast:1");
        let needs = Needs::of(GuestKind::Qemu, &params);
        assert_eq!(needs.memory, Some(Size::gib(4)));
        assert_eq!(
            needs.storages,
            BTreeMap::from([
                ("fast".into(), ("images", Size::gib(1))),
                ("local-lvm".into(), ("images", Size::gib(40)))
            ])
        );
    }

    #[test]
    fn what_is_missing_is_said() {
        let node = |json: &str| serde_json::from_str::<Node>(json).unwrap();
        let storage = serde_json::from_str::<Storage>(
            r#"{"storage":"local-lvm","type":"lvmthin","content":"images,rootdir","active":1,"avail":1073741824}"#,
        )
        .unwrap();
        let needs = Needs {
            memory: Some(Size::gib(8)),
            default_rootfs: false,
            storages: BTreeMap::from([
                ("local-lvm".into(), ("images", Size::gib(4))),
                ("nope".into(), ("images", Size(0))),
            ]),
        };
        let small = node(r#"{"node":"pve1","status":"online","mem":1073741824,"maxmem":4294967296}"#);
        assert_eq!(
            needs.lacking(&small, std::slice::from_ref(&storage)),
            [
                "8.00 GiB of memory wanted, 3.00 GiB free",
                "4.00 GiB wanted on storage `local-lvm`, 1.00 GiB free",
                "no storage `nope`"
            ]
        );
        // Without the right to see figures there is nothing to hold against a node.
        let hidden = node(r#"{"node":"pve1","status":"online"}"#);
        assert_eq!(
            Needs { memory: Some(Size::gib(8)), ..Needs::default() }.lacking(&hidden, &[]),
            Vec::<String>::new()
        );
    }
}
