//! What a guest should be, as a document says it: a flat list of the API's keys and of the parts of some.
//!
//! `net0.bridge` is a part of `net0`, `labels.app` a label; all else is a key. Nothing is known here of a guest that is.

use std::{collections::BTreeMap, path::Path};

use super::{
    document::{Place, Secret},
    tree::{Node, Tree},
};
use crate::model::{Error, GuestKind, Hint, Result, Size, is_disk_key, is_numbered};

/// The power that is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// On.
    Running,
    /// Off.
    Stopped,
    /// A template, which has no power.
    Template,
}

impl State {
    /// The word in a document.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Stopped => "stopped",
            Self::Template => "template",
        }
    }
}

/// What a guest is made from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// A template.
    pub template: Option<String>,
    /// An image of this host.
    pub image: Option<String>,
    /// Whether the template's disks are copied whole.
    pub full: Option<bool>,
}

/// What a guest should be.
#[derive(Debug, Clone, Default)]
pub struct GuestSpec {
    /// Its power; left as it is if nothing is said.
    pub state: Option<State>,
    /// What it is made from.
    pub from: Origin,
    /// The API's keys, and parts of them.
    pub fields: BTreeMap<String, String>,
    /// Keys whose value is in a file.
    pub secrets: BTreeMap<String, Secret>,
    /// Keys that only the call takes that makes it.
    pub once: BTreeMap<String, String>,
}

/// Keys that have a place of their own in a document, each with it.
const ELSEWHERE: [(&str, &str); 13] = [
    ("name", "metadata.name"),
    ("hostname", "metadata.name"),
    ("tags", "metadata.labels"),
    ("pool", "metadata.pool"),
    ("vmid", "metadata.vmid"),
    ("cores", "spec.cores"),
    ("memory", "spec.memory"),
    ("ciuser", "spec.cloudInit.user"),
    ("cipassword", "spec.cloudInit.password"),
    ("sshkeys", "spec.cloudInit.sshKeys"),
    ("template", "spec.state"),
    ("password", "spec.password"),
    ("ssh-public-keys", "spec.sshKeys"),
];

/// Keys that are the server's own, or say how a change is made.
const NO_OPTIONS: [&str; 9] =
    ["digest", "lock", "parent", "meta", "vmgenid", "vmstate", "snaptime", "skiplock", "ostemplate"];

/// The words of `cloudInit` and the fields that they are.
pub const CLOUD_INIT: [(&str, &str); 7] = [
    ("user", "ciuser"),
    ("ip", "ipconfig0.ip"),
    ("gateway", "ipconfig0.gw"),
    ("ip6", "ipconfig0.ip6"),
    ("gateway6", "ipconfig0.gw6"),
    ("nameserver", "nameserver"),
    ("searchDomain", "searchdomain"),
];

/// Where a spec is being read.
pub(super) struct Reader<'a> {
    pub(super) kind: GuestKind,
    pub(super) path: &'a Path,
    /// Where the keys are.
    pub(super) places: &'a mut BTreeMap<String, Place>,
}

impl Reader<'_> {
    /// Reads a spec whose keys are known to be those of the table.
    pub(super) fn read(&mut self, spec: &Node) -> Result<GuestSpec> {
        let mut guest = GuestSpec::default();
        let word = |key: &str| spec.get(key).and_then(Node::text);
        guest.state = word("state")
            .and_then(|word| [State::Running, State::Stopped, State::Template].into_iter().find(|s| s.word() == word));
        if let Some(from) = spec.get("from") {
            let text = |key: &str| from.get(key).and_then(Node::text).map(str::to_owned);
            guest.from =
                Origin { template: text("template"), image: text("image"), full: text("full").map(|full| full == "1") };
            if let (Some(_), Some(_)) = (&guest.from.template, &guest.from.image) {
                return Err(self.wrong(from, "from", "a template or an image is meant, not both"));
            }
        }
        if let Some(node) = spec.get("cores") {
            self.set(&mut guest, "cores", node, node.text().unwrap_or_default().to_owned());
        }
        if let Some(node) = spec.get("memory") {
            let mib = mebibytes(node.text().unwrap_or_default()).map_err(|why| self.wrong(node, "memory", &why))?;
            self.set(&mut guest, "memory", node, mib);
        }
        for (key, disk) in entries(spec.get("disks")) {
            self.disk(&mut guest, key, disk)?;
        }
        for (key, net) in entries(spec.get("nets")) {
            if !is_numbered(key, "net") {
                return Err(self.wrong(net, key, "a network card is net0, net1, …"));
            }
            self.parts(&mut guest, key, net, |_, _, text| Ok(Some(text)))?;
        }
        for (word, node) in entries(spec.get("cloudInit")) {
            if let Some((_, key)) = CLOUD_INIT.iter().find(|(own, _)| *own == word) {
                self.set(&mut guest, key, node, node.text().unwrap_or_default().to_owned());
            } else if word == "sshKeys" {
                self.set(&mut guest, "sshkeys", node, lines(node));
            } else {
                self.secret(&mut guest, "cipassword", node);
            }
        }
        if let Some(node) = spec.get("password") {
            self.secret(&mut guest, "password", node);
        }
        if let Some(node) = spec.get("sshKeys") {
            guest.once.insert("ssh-public-keys".to_owned(), lines(node));
        }
        for (key, node) in entries(spec.get("options")) {
            self.option(&mut guest, key, node)?;
        }
        Ok(guest)
    }

    fn wrong(&self, node: &Node, key: &str, why: &str) -> Error {
        Error::usage(format!("{}:{}:{}: `{key}`: {why}", self.path.display(), node.line, node.column))
    }

    fn note(&mut self, key: &str, node: &Node) {
        let place = Place { file: self.path.to_owned(), line: node.line, column: node.column };
        let whole = key.split('.').next().unwrap_or(key);
        self.places.entry(whole.to_owned()).or_insert(place);
    }

    fn set(&mut self, guest: &mut GuestSpec, key: &str, node: &Node, text: String) {
        self.note(key, node);
        guest.fields.insert(key.to_owned(), text);
    }

    fn secret(&mut self, guest: &mut GuestSpec, key: &str, node: &Node) {
        self.note(key, node);
        let named = node.get("fromFile").and_then(Node::text).unwrap_or_default();
        guest.secrets.insert(key.to_owned(), Secret::beside(self.path, named));
    }

    /// Reads a mapping of parts. `one` makes the value of each what the API has; nothing where it means none.
    fn parts(
        &mut self,
        guest: &mut GuestSpec,
        key: &str,
        node: &Node,
        one: impl Fn(&Self, &str, String) -> Result<Option<String>>,
    ) -> Result<()> {
        let Tree::Map(parts) = &node.tree else {
            return Err(self.wrong(node, key, "a mapping of its parts is expected"));
        };
        for entry in parts {
            let Some(text) = single(&entry.value) else {
                return Err(self.wrong(&entry.value, &entry.key, "a single value is expected"));
            };
            if let Some(text) = one(self, &entry.key, text)
                .map_err(|e| e.context(format_args!("{}:{}", self.path.display(), entry.line)))?
            {
                self.note(key, node);
                guest.fields.insert(format!("{key}.{}", entry.key), text);
            }
        }
        Ok(())
    }

    fn disk(&mut self, guest: &mut GuestSpec, key: &str, node: &Node) -> Result<()> {
        let fixed = key.starts_with("unused") || key == "vmstate";
        if !is_disk_key(key) || fixed {
            let like = if self.kind == GuestKind::Qemu { "scsi0, virtio0, sata0, ide2" } else { "rootfs, mp0" };
            return Err(self.wrong(node, key, &format!("this is no disk: {like} and the like are expected")));
        }
        self.parts(guest, key, node, |_, part, text| {
            let no = |why: &str| Err(Error::usage(format!("`{key}`: {why}")));
            match part {
                "size" => match text.parse::<Size>() {
                    Ok(size) if text.ends_with(|c: char| c.is_ascii_alphabetic()) => Ok(Some(size.to_config())),
                    _ => no(&format!("`{text}` is no size: 32GiB is expected")),
                },
                "cloudInit" => Ok((text == "1").then_some(text)),
                "file" | "volume" if text.is_empty() => no("an empty volume; `none` is expected for no medium"),
                "file" => no("write `volume`"),
                _ => Ok(Some(text)),
            }
        })?;
        let part = |part: &str| guest.fields.get(&format!("{key}.{part}"));
        let made = part("size").is_some() || part("cloudInit").is_some();
        match (part("storage"), part("volume")) {
            (Some(_), Some(_)) => {
                Err(self.wrong(node, key, "a storage for a new disk or a volume that exists, not both"))
            }
            (None, None) => Err(self.wrong(node, key, "a storage and a size are expected, or a volume")),
            (Some(_), None) if !made => Err(self.wrong(node, key, "a size is expected with a storage")),
            _ => Ok(()),
        }
    }

    fn option(&mut self, guest: &mut GuestSpec, key: &str, node: &Node) -> Result<()> {
        let elsewhere = ELSEWHERE.iter().find(|(own, _)| *own == key).map(|(_, place)| *place);
        let elsewhere = elsewhere.or_else(|| is_disk_key(key).then_some("spec.disks"));
        let elsewhere = elsewhere.or_else(|| is_numbered(key, "net").then_some("spec.nets"));
        if let Some(place) = elsewhere {
            return Err(self
                .wrong(node, key, "it has a place of its own")
                .with_hint(Hint::Text(format!("write {place}"))));
        }
        if NO_OPTIONS.contains(&key) {
            return Err(self.wrong(node, key, "this is nothing that a guest is told"));
        }
        match &node.tree {
            Tree::Map(_) => self.parts(guest, key, node, |_, _, text| Ok(Some(text))),
            _ => match single(node) {
                Some(text) => {
                    self.set(guest, key, node, text);
                    Ok(())
                }
                None => Err(self.wrong(node, key, "a value is expected; to have none, leave the key out")),
            },
        }
    }
}

/// The entries of a mapping, if it is there.
fn entries(node: Option<&Node>) -> impl Iterator<Item = (&str, &Node)> {
    let entries = match node.map(|node| &node.tree) {
        Some(Tree::Map(entries)) => entries.as_slice(),
        _ => &[],
    };
    entries.iter().map(|entry| (entry.key.as_str(), &entry.value))
}

/// A single value, or a list of them with commas.
pub(super) fn single(node: &Node) -> Option<String> {
    match &node.tree {
        Tree::List(items) => items.iter().map(Node::text).collect::<Option<Vec<_>>>().map(|all| all.join(",")),
        _ => node.text().map(str::to_owned),
    }
}

/// A list as lines.
fn lines(node: &Node) -> String {
    match &node.tree {
        Tree::List(items) => items.iter().filter_map(Node::text).map(str::trim).collect::<Vec<_>>().join("\n"),
        _ => String::new(),
    }
}

/// A size in whole MiB.
fn mebibytes(text: &str) -> Result<String, String> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(text.to_owned());
    }
    let size: Size = text.parse().map_err(|error| format!("{error}; a plain number is MiB"))?;
    match size.0 {
        0 => Err("it cannot be nothing".to_owned()),
        bytes if bytes.is_multiple_of(1 << 20) => Ok((bytes >> 20).to_string()),
        _ => Err(format!("`{text}` is no whole number of MiB")),
    }
}
