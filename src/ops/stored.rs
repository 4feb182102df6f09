//! What lies in the storages of all nodes: backups, images, templates; and which storages take what.
//!
//! It reads. A storage that all nodes share is asked once; one that cannot be asked keeps back its own things alone.

use std::collections::BTreeSet;

use futures_util::future::join_all;

use super::{BACKUPS, Ops, ResourcePlan, closest};
use crate::model::{Away, Class, Error, Hint, Method, Node, NodeName, Params, Result, Storage, Volume, node_status};

/// A volume and where it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    /// The node that was asked; of a shared storage any has it.
    pub node: NodeName,
    /// The storage.
    pub storage: String,
    /// Whether all nodes see the same.
    pub shared: bool,
    /// The volume.
    pub volume: Volume,
}

/// One volume, in the contract.
pub const CONTENT: &str = "/nodes/{node}/storage/{storage}/content/{volume}";

impl Stored {
    /// What names it in the API.
    pub fn named(&self) -> Params {
        Params::new().with("node", &self.node).with("storage", &self.storage).with("volume", &self.volume.volid)
    }
}

/// A storage as a node sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Place {
    /// The node.
    pub node: NodeName,
    /// The storage.
    pub storage: Storage,
}

/// Where to look.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Within {
    /// In this storage only.
    pub storage: Option<String>,
    /// On this node only.
    pub node: Option<String>,
}

/// What was found, and what was not looked at.
#[derive(Debug, Default)]
pub struct Found {
    /// The volumes, by name and node.
    pub volumes: Vec<Stored>,
    /// The nodes that could not be asked.
    pub away: Away,
    /// Why storages could not be read, in words.
    pub unread: Vec<String>,
}

impl Ops {
    /// The storages that take one of these sorts of content (`backup`, `iso`, …), each once where the nodes share it.
    ///
    /// # Errors
    /// [`Class::NotFound`] for a node or a storage that is not there,
    /// [`Class::Usage`] for a storage that takes nothing of the kind, and on this host.
    pub async fn storage_places(&self, contents: &[&str], within: &Within) -> Result<(Vec<Place>, Away)> {
        self.require_server(&format!("storages for `{}`", contents.join("`, `")))?;
        let nodes = self.nodes().await?;
        let mut away = Away::of(&nodes);
        if let Some(name) = &within.node {
            Node::named(&nodes, name)?;
            away.narrow(name);
        }
        let wanted =
            |node: &&Node| node.is_online() && within.node.as_deref().is_none_or(|wanted| node.node.as_str() == wanted);
        let asked =
            nodes.iter().filter(wanted).map(async |node| (&node.node, self.backend().storages(&node.node).await));
        let mut all = Vec::new();
        for (node, asked) in join_all(asked).await {
            match asked {
                Ok(found) => all.extend(found.into_iter().map(|storage| Place { node: node.clone(), storage })),
                Err(error) if node_status(&error).is_some() => away.add(node, &error),
                Err(error) => return Err(error),
            }
        }
        if let Some(name) = &within.storage {
            let named: Vec<&Place> = all.iter().filter(|place| place.storage.storage == *name).collect();
            // Where a node is silent it may be the one that has it.
            if let (None, true) = (named.first(), away.is_empty()) {
                return Err(no_storage(name, &all));
            }
            if let Some(first) = named.first().filter(|place| !takes(&place.storage, contents)) {
                return Err(takes_none(&first.storage, contents, &all));
            }
        }
        let mut seen = BTreeSet::new();
        all.retain(|Place { node, storage }| {
            let is_wanted = within.storage.as_ref().is_none_or(|wanted| storage.storage == *wanted);
            let place = if storage.shared { None } else { Some(node.clone()) };
            is_wanted && takes(storage, contents) && seen.insert((storage.storage.clone(), place))
        });
        Ok((all, away))
    }

    /// What is in the storages that take these sorts of content.
    ///
    /// # Errors
    /// As [`storage_places`](Self::storage_places). A storage that cannot be read is among what was found.
    pub async fn stored(&self, contents: &[&str], within: &Within) -> Result<Found> {
        let (places, away) = self.storage_places(contents, within).await?;
        let mut found = Found { away, ..Found::default() };
        let looks = places.iter().flat_map(|place| {
            let kinds = contents.iter().copied().filter(|content| place.storage.holds(content));
            kinds.map(move |content| (place, content))
        });
        let looks = looks.map(async |(place, content)| {
            let Place { node, storage } = place;
            if !storage.active {
                return (place, Err(Error::conflict("it is not active")));
            }
            (place, self.backend().volumes(node, &storage.storage, Some(content)).await)
        });
        for (Place { node, storage }, read) in join_all(looks).await {
            let volumes = match read {
                Ok(volumes) => volumes,
                // The whole server is gone, and not a storage or a node.
                Err(error) if error.class() == Class::Unreachable && node_status(&error).is_none() => {
                    return Err(error);
                }
                Err(error) => {
                    found.unread.push(format!("storage `{}` of {node} was not read: {error}", storage.storage));
                    continue;
                }
            };
            let stored = |volume| Stored {
                node: node.clone(),
                storage: storage.storage.clone(),
                shared: storage.shared,
                volume,
            };
            found.volumes.extend(volumes.into_iter().map(stored));
        }
        found.unread.dedup();
        found.volumes.sort_by(|a, b| (&a.volume.volid, &a.node).cmp(&(&b.volume.volid, &b.node)));
        Ok(found)
    }

    /// One volume by its whole name, or by the name of its file.
    ///
    /// # Errors
    /// [`Class::NotFound`] with names that are like it,
    /// [`Class::Usage`] for a name that several have.
    pub async fn stored_one(&self, noun: &str, name: &str, contents: &[&str], within: &Within) -> Result<Stored> {
        let mut within = within.clone();
        if let (Some((storage, _)), None) = (name.split_once(':'), &within.storage) {
            within.storage = Some(storage.to_owned());
        }
        let found = self.stored(contents, &within).await?;
        let is_it = |stored: &&Stored| stored.volume.volid == name || file_of(&stored.volume.volid) == name;
        let mut hits = found.volumes.iter().filter(is_it);
        match (hits.next(), hits.next()) {
            (Some(one), None) => Ok(one.clone()),
            (Some(one), Some(_)) => {
                let places = found.volumes.iter().filter(is_it);
                let places: Vec<String> = places.map(|one| format!("{} on {}", one.volume.volid, one.node)).collect();
                Err(Error::usage(format!("there are several of `{name}`: {}", places.join(", ")))
                    .with_hint(Hint::Text(format!("say which: its whole name with --node {}, or --storage", one.node))))
            }
            (None, _) => {
                let names = found.volumes.iter().map(|stored| match name.contains(':') {
                    true => stored.volume.volid.clone(),
                    false => file_of(&stored.volume.volid).to_owned(),
                });
                let error = Error::not_found(format!("no such {noun}: `{name}`")).did_you_mean(closest(name, names));
                let error = match contents.contains(&BACKUPS) {
                    // A server leaves them out without a word.
                    true => error.with_hint(Hint::Text(
                        "what may not be seen is left out: a backup takes Datastore.AllocateSpace on its storage, and \
                         VM.Backup on its guest"
                            .into(),
                    )),
                    false => error,
                };
                let unread = found.unread.into_iter().chain(
                    found
                        .away
                        .iter()
                        .map(|(node, status)| format!("node {node} is {status}: what it has is not known")),
                );
                Err(unread.fold(error, |error, text| error.with_hint(Hint::Text(text))))
            }
        }
    }

    /// Plans to remove a volume.
    ///
    /// # Errors
    /// As [`plan_resource_call`](Self::plan_resource_call).
    pub async fn plan_delete_stored(&self, noun: &'static str, stored: &Stored) -> Result<ResourcePlan> {
        let params = (stored.named(), &Params::new());
        self.plan_resource_call("delete", noun, &stored.volume.volid, (Method::Delete, CONTENT), params).await
    }

    /// The storage of a node for new things of a sort: the one that is named, or the only one there is.
    ///
    /// # Errors
    /// [`Class::Usage`] where there are several, or the one that is named takes nothing of the
    /// kind; [`Class::NotFound`] where there is none.
    pub async fn storage_for(&self, node: &NodeName, content: &str, named: Option<&str>) -> Result<Storage> {
        let storages = self.backend().storages(node).await?;
        choose(node, storages, content, named)
    }

    /// The same where no node is named: the first that has it.
    ///
    /// # Errors
    /// As [`storage_for`](Self::storage_for).
    pub async fn place_for(&self, content: &str, within: &Within) -> Result<Place> {
        let (mut places, away) = self.storage_places(&[content], within).await?;
        places.retain(|place| place.storage.active);
        let names: BTreeSet<&str> = places.iter().map(|place| place.storage.storage.as_str()).collect();
        if names.len() > 1 {
            return Err(several(&names.into_iter().map(str::to_owned).collect::<Vec<_>>(), content, None));
        }
        let mut nodes: Vec<NodeName> = places.iter().map(|place| place.node.clone()).collect();
        nodes.dedup();
        match places.into_iter().next() {
            // On each node it is another one of that name.
            Some(place) if nodes.len() > 1 => {
                let all: Vec<String> = nodes.iter().map(ToString::to_string).collect();
                let storage = &place.storage.storage;
                Err(Error::usage(format!("storage `{storage}` is another one on each of {}", all.join(", ")))
                    .with_hint(Hint::Text("say which: --node NODE".into())))
            }
            Some(place) => Ok(place),
            None if away.is_empty() || nodes.is_empty() => {
                Err(Error::not_found(format!("no active storage takes `{content}`")))
            }
            None => Err(Error::not_found(format!("no active storage of a node that answers takes `{content}`"))),
        }
    }
}

/// The name of a volume's file: what stands behind the last `/`; of a Backup Server's, where that is only the time, all
/// behind the storage.
pub fn file_of(volid: &str) -> &str {
    let name = volid.split_once(':').map_or(volid, |(_, name)| name);
    match name.starts_with("backup/vm/") || name.starts_with("backup/ct/") || name.starts_with("backup/host/") {
        true => name,
        false => name.rsplit('/').next().unwrap_or(name),
    }
}

fn takes(storage: &Storage, contents: &[&str]) -> bool {
    contents.iter().any(|content| storage.holds(content))
}

/// Of a node's storages the one for new things of a sort.
pub(super) fn choose(node: &NodeName, storages: Vec<Storage>, content: &str, named: Option<&str>) -> Result<Storage> {
    let place = |storage: &Storage| Place { node: node.clone(), storage: storage.clone() };
    if let Some(name) = named {
        let all: Vec<Place> = storages.iter().map(place).collect();
        return match storages.into_iter().find(|storage| storage.storage == name) {
            None => Err(no_storage(name, &all)),
            Some(storage) if !storage.holds(content) => Err(takes_none(&storage, &[content], &all)),
            Some(storage) if !storage.active => {
                Err(Error::conflict(format!("storage `{name}` of {node} is not active")))
            }
            Some(storage) => Ok(storage),
        };
    }
    let mut fitting: Vec<Storage> =
        storages.into_iter().filter(|storage| storage.active && storage.holds(content)).collect();
    match fitting.len() {
        0 => Err(Error::not_found(format!("node {node} has no active storage that takes `{content}`"))
            .with_hint(Hint::Text(format!("let one take it: pvectl storage update STORAGE --content …,{content}")))),
        1 => Ok(fitting.remove(0)),
        _ => {
            let names: Vec<String> = fitting.into_iter().map(|storage| storage.storage).collect();
            Err(several(&names, content, Some(node)))
        }
    }
}

fn several(names: &[String], content: &str, node: Option<&NodeName>) -> Error {
    let place = node.map_or(String::new(), |node| format!(" on {node}"));
    Error::usage(format!("several storages{place} take `{content}`: {}", names.join(", ")))
        .with_hint(Hint::Text(format!("say which: --storage {}", names.first().map_or("STORAGE", String::as_str))))
}

fn no_storage(name: &str, all: &[Place]) -> Error {
    let known: BTreeSet<&str> = all.iter().map(|place| place.storage.storage.as_str()).collect();
    let close = closest(name, known.iter().map(|name| (*name).to_owned()));
    let error = Error::not_found(format!("no such storage: `{name}`"));
    match close.is_empty() {
        true => {
            let known = known.into_iter().collect::<Vec<_>>().join(", ");
            error.with_hint(Hint::Text(format!("storages here: {known}")))
        }
        false => error.did_you_mean(close),
    }
}

fn takes_none(storage: &Storage, contents: &[&str], all: &[Place]) -> Error {
    let name = &storage.storage;
    let words = contents.join("` or `");
    let fitting: BTreeSet<&str> = all
        .iter()
        .filter(|place| takes(&place.storage, contents))
        .map(|place| place.storage.storage.as_str())
        .collect();
    let error = Error::usage(format!("storage `{name}` does not take `{words}`, only {}", storage.content));
    let hint = match fitting.is_empty() {
        true => format!("let it: pvectl storage update {name} --content {},{}", storage.content, contents[0]),
        false => format!("these do: {}", fitting.into_iter().collect::<Vec<_>>().join(", ")),
    };
    error.with_hint(Hint::Text(hint))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Class;

    fn storage(name: &str, content: &str, active: u8) -> Storage {
        let row = serde_json::json!({"storage": name, "type": "dir", "content": content, "active": active});
        serde_json::from_value(row).unwrap()
    }

    #[test]
    fn the_only_storage_that_takes_it_is_meant() {
        let node = NodeName::new("pve1").unwrap();
        let all = || vec![storage("local", "iso,backup", 1), storage("fast", "images", 1), storage("off", "backup", 0)];
        let chosen = |named: Option<&str>| choose(&node, all(), "backup", named);
        assert_eq!(chosen(None).unwrap().storage, "local");
        for (named, class, says) in [
            ("fast", Class::Usage, "storage `fast` does not take `backup`, only images"),
            ("off", Class::Conflict, "storage `off` of pve1 is not active"),
            ("locl", Class::NotFound, "no such storage: `locl`"),
        ] {
            let error = chosen(Some(named)).unwrap_err();
            assert_eq!((error.class(), error.message()), (class, says));
        }
        let mut more = all();
        more.push(storage("nas", "backup", 1));
        let error = choose(&node, more, "backup", None).unwrap_err();
        assert_eq!(error.message(), "several storages on pve1 take `backup`: local, nas");
        let none = choose(&node, vec![storage("fast", "images", 1)], "backup", None).unwrap_err();
        assert_eq!(none.class(), Class::NotFound);
    }

    #[test]
    fn files_are_called_by_what_tells_them_apart() {
        for (volid, file) in [
            ("local:iso/debian.iso", "debian.iso"),
            ("local:backup/vzdump-qemu-100-x.vma.zst", "vzdump-qemu-100-x.vma.zst"),
            ("pbs:backup/vm/100/2026-11-20T11:37:01Z", "backup/vm/100/2026-11-20T11:37:01Z"),
            ("local-lvm:vm-100-disk-0", "vm-100-disk-0"),
        ] {
            assert_eq!(file_of(volid), file);
        }
    }
}
