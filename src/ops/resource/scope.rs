//! Whose a thing is, where its name alone does not say it: the cluster's, a node's, a guest's, a security group's.
//!
//! A sort of thing has its paths for each; which of them there are is the table's knowledge. Nothing is read here.

use serde_json::{Map, Value, json};

use super::{Resource, plain};
use crate::{
    contract::{Endpoint, embedded},
    model::{Error, Guest, GuestKind, Hint, Method, NodeName, Params, Result, closest},
};

/// The sort of owner that a thing has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reach {
    /// The cluster.
    #[default]
    Cluster,
    /// A node.
    Node,
    /// A virtual machine.
    Vm,
    /// A container.
    Container,
    /// A security group of the firewall.
    Group,
}

/// Where a sort is for one sort of owner.
#[derive(Debug, Clone, Copy)]
pub struct Paths {
    /// Where they are listed.
    pub list: &'static str,
    /// Where new ones are made.
    pub made: &'static str,
    /// Where one of them is read, changed and removed.
    pub one: &'static str,
}

/// How one is told from its like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Naming {
    /// It has a name.
    #[default]
    Name,
    /// Its position in a list, which moves when others come and go: the order is the server's, and who changes one says
    /// which list was seen.
    Position,
    /// There is one for each owner, always.
    Single,
}

/// The owner.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    reach: Reach,
    /// What the path needs.
    params: Params,
    /// The same as data of a row.
    data: Map<String, Value>,
    /// `vm/101`, as the beginning of a name.
    words: Vec<String>,
}

impl Scope {
    /// A node's.
    pub fn node(node: &NodeName) -> Self {
        Self::of(Reach::Node, Params::new().with("node", node), json!({"node": node}), node.as_str())
    }

    /// A guest's.
    pub fn guest(guest: &Guest) -> Self {
        let reach = if guest.kind == GuestKind::Qemu { Reach::Vm } else { Reach::Container };
        let params = Params::new().with("node", &guest.node).with("vmid", guest.vmid);
        Self::of(reach, params, json!({"node": guest.node, "vmid": guest.vmid}), &guest.reference().to_string())
    }

    /// A security group's.
    pub fn group(group: &str) -> Self {
        Self::of(Reach::Group, Params::new().with("group", group), json!({"group": group}), group)
    }

    fn of(reach: Reach, params: Params, data: Value, word: &str) -> Self {
        let data = if let Value::Object(data) = data { data } else { Map::new() };
        Self { reach, params, data, words: vec![word.to_owned()] }
    }

    /// What is in one of the owner's sets.
    #[must_use]
    pub fn inside(mut self, (word, key): (&'static str, &'static str), name: &str) -> Self {
        self.params.push(key, name);
        self.data.insert(word.to_owned(), name.into());
        self.words.push(name.to_owned());
        self
    }

    /// What sort of owner it is.
    pub fn reach(&self) -> Reach {
        self.reach
    }

    /// Adds whose it is to a row.
    pub(super) fn add_to(&self, row: &mut Map<String, Value>) {
        for (key, value) in &self.data {
            row.entry(key.clone()).or_insert_with(|| value.clone());
        }
    }
}

/// A sort of thing, and whose.
#[derive(Debug, Clone)]
pub struct Sort {
    /// The sort.
    pub of: &'static Resource,
    scope: Scope,
    paths: Paths,
}

impl From<&'static Resource> for Sort {
    fn from(of: &'static Resource) -> Self {
        Self { of, scope: Scope::default(), paths: of.paths() }
    }
}

impl From<&Self> for Sort {
    fn from(sort: &Self) -> Self {
        sort.clone()
    }
}

impl Sort {
    /// The sort as an owner has it.
    ///
    /// # Errors
    /// [`Class::Usage`](crate::model::Class::Usage) where such an owner has none.
    pub fn new(of: &'static Resource, scope: Scope) -> Result<Self> {
        let paths = of.reached().find(|(reach, _)| *reach == scope.reach).map(|(_, paths)| paths);
        let paths = paths.ok_or_else(|| {
            let whose = scope.words.first().map_or("the cluster", String::as_str);
            Error::usage(format!("{whose} has no {} of its own", of.plural))
        })?;
        Ok(Self { of, scope, paths })
    }

    /// Where it is.
    pub fn paths(&self) -> Paths {
        self.paths
    }

    /// The declaration of a method on one, or of the one that makes it.
    pub fn endpoint(&self, method: Method) -> Option<&'static Endpoint> {
        embedded().endpoint(method, if method == Method::Post { self.paths.made } else { self.paths.one })
    }

    /// The owner's parameters.
    pub fn scoped(&self) -> Params {
        self.scope.params.clone()
    }

    /// Whose it is.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// A name, and whose, as parameters.
    ///
    /// # Errors
    /// As [`Resource::named`].
    pub fn named(&self, name: &str) -> Result<Params> {
        let mut params = self.scoped();
        params.extend(self.of.named(name)?.iter());
        Ok(params)
    }

    /// `vm/101/0`: a name that says whose.
    pub fn full_name(&self, name: &str) -> String {
        let own = Some(name).filter(|name| !name.is_empty());
        self.scope.words.iter().map(String::as_str).chain(own).collect::<Vec<_>>().join("/")
    }

    /// The error for one that is not among those that there are.
    pub(super) fn missing(&self, name: &str, names: Vec<String>) -> Error {
        let whose = match self.full_name("") {
            whose if whose.is_empty() => whose,
            whose => format!(" of {whose}"),
        };
        let error = Error::not_found(format!("no such {}{whose}: `{name}`", self.of.noun));
        match (self.of.naming, names.len()) {
            (Naming::Position, 0) => error.with_hint(Hint::Text("there is none".into())),
            (Naming::Position, count) => error.with_hint(Hint::Text(format!("there are 0 to {}", count - 1))),
            _ => error.did_you_mean(closest(name, names.into_iter())),
        }
    }

    /// The full name of a row.
    pub fn full_name_of(&self, row: &Value) -> String {
        self.full_name(&self.of.name_of(row))
    }

    /// `firewall-rule vm/101/0`.
    pub fn label(&self, name: &str) -> String {
        format!("{} {}", self.of.noun, self.full_name(name)).trim_end().to_owned()
    }
}

impl Resource {
    /// Where it is for the owner that it has first.
    pub fn paths(&self) -> Paths {
        Paths { list: self.list.0, made: self.made, one: self.one }
    }

    /// The sorts of owners that have it, and where it is for each.
    pub fn reached(&self) -> impl Iterator<Item = (Reach, Paths)> {
        std::iter::once((self.home, self.paths())).chain(self.elsewhere.iter().copied())
    }

    /// Whether such an owner has it.
    pub fn is_of(&self, reach: Reach) -> bool {
        self.reached().any(|(have, _)| have == reach)
    }

    /// A position as a number, to put things in order.
    pub(super) fn position_of(row: &Value) -> u64 {
        row.get("pos").and_then(plain).and_then(|text| text.parse().ok()).unwrap_or(u64::MAX)
    }
}
