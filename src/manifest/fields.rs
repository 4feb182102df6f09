//! The table of what stands in a manifest: from it come the check for unknown keys, `explain` and the JSON schema.
//!
//! Keys of PVE's API below `spec.options`, and parts of disks and cards, are the contract's and in no table here.

use serde::Serialize;

use crate::model::{Error, Result, closest};

/// What a value must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// A text.
    Text,
    /// A whole number.
    Number,
    /// A size with a unit: `8GiB`.
    Size,
    /// One of these words.
    Word(&'static [&'static str]),
    /// True or false.
    Truth,
    /// A mapping whose keys are in the table, or free where the table has a `*`.
    Map,
    /// A mapping of the keys of the table, and of others that PVE knows.
    Parts,
    /// A list of texts.
    List,
    /// `{ fromFile: PATH }`: what it says is read when it is needed, and shown and kept nowhere.
    Secret,
    /// Whatever the API takes: a text, a number, true or false, a list, or a mapping of the parts of a property string.
    Any,
}

/// A place in a manifest.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Field {
    /// Where: `spec.disks.*.size`; `*` is a name that is free.
    pub path: &'static str,
    /// What it must be.
    pub shape: Shape,
    /// For which sorts of document: `vm`, `container`, and `other` for all that is no guest.
    pub of: &'static [&'static str],
    /// Whether it must be there.
    pub required: bool,
    /// What it is, in a sentence.
    pub about: &'static str,
}

const ALL: &[&str] = &["vm", "container", "other"];
const GUESTS: &[&str] = &["vm", "container"];
const VM: &[&str] = &["vm"];
const CONTAINER: &[&str] = &["container"];
const OTHER: &[&str] = &["other"];

const fn field(path: &'static str, shape: Shape, of: &'static [&'static str], about: &'static str) -> Field {
    Field { path, shape, of, required: false, about }
}

const fn required(path: &'static str, shape: Shape, of: &'static [&'static str], about: &'static str) -> Field {
    Field { required: true, ..field(path, shape, of, about) }
}

/// Every place in a manifest, those above before those below.
pub const FIELDS: &[Field] = &[
    required("apiVersion", Shape::Word(&["pvectl/v1"]), ALL, "the form of the document"),
    required("kind", Shape::Text, ALL, "what it describes: VirtualMachine, Container, Pool, …"),
    required("metadata", Shape::Map, ALL, "what it is called, and where it belongs"),
    required("metadata.name", Shape::Text, ALL, "its name, by which it is found again"),
    field("metadata.labels", Shape::Map, ALL, "labels; those of a guest are PVE's tags, others are only remembered"),
    field("metadata.labels.*", Shape::Text, ALL, "the label's value; empty for one without"),
    field("metadata.pool", Shape::Text, GUESTS, "the pool it is in"),
    field("metadata.vmid", Shape::Number, GUESTS, "its VMID; the next free one if none is given"),
    field("metadata.node", Shape::Text, GUESTS, "the node it is made on; one with room if none is given"),
    field("spec", Shape::Any, OTHER, "its parameters, by the API's names"),
    field("spec", Shape::Map, GUESTS, "what it should be"),
    field(
        "spec.state",
        Shape::Word(&["running", "stopped", "template"]),
        GUESTS,
        "its power; left as it is if not given",
    ),
    field("spec.from", Shape::Map, GUESTS, "what it is made from; read once, when it is made"),
    field("spec.from.template", Shape::Text, GUESTS, "a VM template by name or VMID; for a container an OS template"),
    field("spec.from.image", Shape::Text, VM, "an image of this host, for its first disk (context local)"),
    field("spec.from.full", Shape::Truth, VM, "whether the template's disks are copied whole"),
    field("spec.cores", Shape::Number, GUESTS, "how many processor cores"),
    field("spec.memory", Shape::Size, GUESTS, "its memory: 8GiB; a plain number is MiB"),
    field("spec.disks", Shape::Map, GUESTS, "disks, by the key that PVE has for each: scsi0, virtio1, rootfs, mp0"),
    field("spec.disks.*", Shape::Parts, GUESTS, "a disk; beside these, every part that PVE knows: ssd, discard, mp, …"),
    field("spec.disks.*.storage", Shape::Text, GUESTS, "the storage a new one is made in"),
    field("spec.disks.*.size", Shape::Size, GUESTS, "how large: 32GiB; it grows, and never shrinks"),
    field("spec.disks.*.volume", Shape::Text, GUESTS, "a volume that exists, instead of storage and size; or none"),
    field("spec.disks.*.cloudInit", Shape::Truth, VM, "whether it is the cloud-init drive"),
    field("spec.nets", Shape::Map, GUESTS, "network cards, by key: net0"),
    field("spec.nets.*", Shape::Parts, GUESTS, "a card: bridge, tag, firewall, … as PVE calls them"),
    field("spec.nets.*.model", Shape::Text, VM, "the card's model; virtio for a new one unless given"),
    field("spec.nets.*.bridge", Shape::Text, GUESTS, "the bridge it is on"),
    field("spec.cloudInit", Shape::Map, VM, "what cloud-init sets up"),
    field("spec.cloudInit.user", Shape::Text, VM, "the user"),
    field("spec.cloudInit.password", Shape::Secret, VM, "the user's password"),
    field("spec.cloudInit.sshKeys", Shape::List, VM, "public keys that may log in"),
    field("spec.cloudInit.ip", Shape::Text, VM, "the first card's address: dhcp, or 192.0.2.7/24"),
    field("spec.cloudInit.gateway", Shape::Text, VM, "the gateway of that"),
    field("spec.cloudInit.ip6", Shape::Text, VM, "the same for IPv6: auto, dhcp, or an address"),
    field("spec.cloudInit.gateway6", Shape::Text, VM, "the gateway of that"),
    field("spec.cloudInit.nameserver", Shape::Text, VM, "the DNS server"),
    field("spec.cloudInit.searchDomain", Shape::Text, VM, "the DNS domain"),
    field("spec.password", Shape::Secret, CONTAINER, "root's password; read once, when it is made"),
    field("spec.sshKeys", Shape::List, CONTAINER, "public keys of root; read once, when it is made"),
    field("spec.options", Shape::Map, GUESTS, "any other key of the API"),
    field("spec.options.*", Shape::Any, GUESTS, "the key's value"),
];

impl Field {
    /// Whether it is the place of this path: `spec.disks.scsi0.size`.
    fn is_at(&self, path: &str) -> bool {
        let (mut own, mut other) = (self.path.split('.'), path.split('.'));
        loop {
            match (own.next(), other.next()) {
                (None, None) => return true,
                (Some(own), Some(other)) if own == "*" || own == other => {}
                _ => return false,
            }
        }
    }

    /// The key that it is, without those above.
    pub(super) fn key(&self) -> &'static str {
        self.path.rsplit('.').next().unwrap_or(self.path)
    }

    /// The places directly below.
    pub(super) fn below(&self, sort: &str) -> impl Iterator<Item = &'static Self> {
        below(Some(self.path), sort)
    }
}

/// The places directly below one, or at the top.
pub(super) fn below(path: Option<&str>, sort: &str) -> impl Iterator<Item = &'static Field> {
    let of_sort = FIELDS.iter().filter(move |field| field.of.contains(&sort));
    of_sort.filter(move |field| match path {
        None => !field.path.contains('.'),
        Some(path) => field.path.rsplit_once('.').is_some_and(|(above, _)| above == path),
    })
}

/// The place of a path in a sort of document.
pub(super) fn at(path: &str, sort: &str) -> Option<&'static Field> {
    FIELDS.iter().find(|field| field.of.contains(&sort) && field.is_at(path))
}

/// A place and those directly below it, for a path such as `vm.spec.disks`; `vm` alone is the top.
///
/// # Errors
/// [`Class::Usage`](crate::model::Class::Usage) for a path that there is not, with those that are like it.
pub fn explain(path: &str) -> Result<(Option<&'static Field>, Vec<&'static Field>)> {
    let (sort, rest) = path.split_once('.').map_or((path, None), |(sort, rest)| (sort, Some(rest)));
    if !ALL.contains(&sort) {
        let error = Error::usage(format!("`{sort}` is no sort of manifest: vm, container or other is expected"));
        return Err(error.did_you_mean(closest(sort, ALL.iter().map(|sort| (*sort).to_owned()))));
    }
    let Some(rest) = rest else { return Ok((None, below(None, sort).collect())) };
    let Some(field) = at(rest, sort) else {
        let known = FIELDS.iter().filter(|field| field.of.contains(&sort)).map(|field| field.path.to_owned());
        let error = Error::usage(format!("a manifest of a {sort} has no `{rest}`"));
        return Err(error.did_you_mean(closest(rest, known)));
    };
    Ok((Some(field), field.below(sort).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_stands_below_one_that_is_there() {
        for field in FIELDS {
            let Some((above, _)) = field.path.rsplit_once('.') else { continue };
            for sort in field.of {
                let above = at(above, sort);
                assert!(above.is_some_and(|above| matches!(above.shape, Shape::Map | Shape::Parts)), "{}", field.path);
            }
        }
    }

    #[test]
    fn paths_are_explained() {
        let (field, below) = explain("vm.spec.disks.scsi0").unwrap();
        assert_eq!(field.unwrap().path, "spec.disks.*");
        assert_eq!(
            below.iter().map(|field| field.key()).collect::<Vec<_>>(),
            ["storage", "size", "volume", "cloudInit"]
        );
        assert!(explain("vm.spec.disk").unwrap_err().message().contains("has no `spec.disk`"));
        assert!(explain("vx").is_err() && explain("container.spec.cloudInit").is_err());
    }
}
