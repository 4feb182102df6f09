//! What a cluster has beside guests, pools, storages, users and the like: reads them, and plans their changes.
//!
//! Each sort is an entry of [`RESOURCES`]; which parameters it takes and what is right about them is the contract's
//! knowledge. A change is one call, which is recorded and followed as every other.

mod change;
mod firewall;
mod lockout;
mod mentions;
mod network;
mod node;
mod outcome;
mod pool;
mod scope;
mod settings;
mod table;
mod uses;
mod value;
mod whole;

use serde_json::{Map, Value};

use super::{CallPlan, CallRequest, Ops};
use crate::{
    client::Reply,
    contract::{Endpoint, embedded},
    model::{Class, Error, Hint, Method, Node, Params, Result},
};

pub use change::{ResourcePlan, ResourceRequest};
pub use node::{NODE_VERBS, NodeVerb, SERVICE_VERBS};
pub use outcome::ResourceOutcome;
pub use pool::PoolMembers;
pub use scope::{Naming, Paths, Reach, Scope, Sort};
#[cfg(feature = "manifest")]
pub(in crate::ops) use table::resource_named;
pub use table::{RESOURCES, resource};
pub use uses::{Found as FoundUse, Tie};
pub use value::plain;
#[cfg(feature = "manifest")]
pub(in crate::ops) use value::{friendly, same};

/// One sort of thing on a server.
#[derive(Debug)]
pub struct Resource {
    /// `pool`.
    pub noun: &'static str,
    /// `pools`.
    pub plural: &'static str,
    /// Where they are listed, and with which parameters.
    pub list: (&'static str, &'static [(&'static str, &'static str)]),
    /// Where new ones are made.
    pub made: &'static str,
    /// Where one of them is read, changed and removed.
    pub one: &'static str,
    /// The parameters that are its name, in the path or beside it. Between two stands [`between`](Self::between).
    pub keys: &'static [&'static str],
    /// What stands between the parts of a name: `!` in `ann@pve!laptop`.
    pub between: char,
    /// The rows in the answer of the list.
    pub rows: fn(Value) -> Vec<Value>,
    /// What of an answer about one is the thing itself.
    pub shape: fn(Value) -> Value,
    /// What the one that makes it is always told.
    pub fixed: &'static [(&'static str, &'static str)],
    /// Parameters of a change that say how, and are nothing that the thing has.
    pub how: &'static [&'static str],
    /// Those of them that are a change by themselves.
    pub acts: &'static [&'static str],
    /// Parameters that verbs of its own send.
    pub ours: &'static [&'static str],
    /// What a change takes away that does not say it again: each the parameter, and others that say the same in parts.
    pub kept: &'static [&'static [&'static str]],
    /// What takes no `delete`, only its default.
    pub undeletable: &'static [&'static str],
    /// Switches that are off only where they are unset: the server takes any value for on, or does not listen.
    pub off_unset: &'static [&'static str],
    /// What is to be said where a removal only begins with the call.
    pub goes_later: Option<&'static str>,
    /// Who may use one, or be in it.
    pub uses: &'static [uses::Use],
    /// How one is told from its like.
    pub naming: Naming,
    /// Whose they are at the paths above.
    pub home: Reach,
    /// Where else they are, for other owners.
    pub elsewhere: &'static [(Reach, Paths)],
    /// What one is in beside its owner: the word for that, and the parameter.
    pub inside: Option<(&'static str, &'static str)>,
    /// Methods that verbs of its own call, for the list of what is covered.
    pub more: &'static [(Method, &'static str)],
}

impl Resource {
    /// A sort whose list is where new ones are made, without anything special.
    const fn new(
        noun: &'static str,
        plural: &'static str,
        list: &'static str,
        one: &'static str,
        keys: &'static [&'static str],
    ) -> Self {
        Self {
            noun,
            plural,
            list: (list, &[]),
            made: list,
            one,
            keys,
            between: '/',
            rows: value::array,
            shape: value::itself,
            fixed: &[],
            how: &[],
            acts: &[],
            ours: &[],
            kept: &[],
            undeletable: &[],
            off_unset: &[],
            goes_later: None,
            uses: &[],
            naming: Naming::Name,
            home: Reach::Cluster,
            elsewhere: &[],
            inside: None,
            more: &[],
        }
    }

    /// The declaration of a method on one, or of the one that makes it.
    pub fn endpoint(&self, method: Method) -> Option<&'static Endpoint> {
        embedded().endpoint(method, if method == Method::Post { self.made } else { self.one })
    }

    /// What one is called, by its row.
    pub fn name_of(&self, row: &Value) -> String {
        self.name_by(|key| row.get(key))
    }

    /// The same of one that was read.
    pub fn name_in(&self, thing: &Map<String, Value>) -> String {
        self.name_by(|key| thing.get(key))
    }

    fn name_by<'v>(&self, get: impl Fn(&str) -> Option<&'v Value>) -> String {
        let parts: Vec<String> = self.keys.iter().map(|key| get(key).and_then(plain).unwrap_or_default()).collect();
        parts.join(&self.between.to_string())
    }

    /// A name as the parameters that it is made of.
    ///
    /// # Errors
    /// [`Class::Usage`] for a name that has not all parts.
    pub fn named(&self, name: &str) -> Result<Params> {
        let parts: Vec<&str> = match self.keys.len() {
            0 => Vec::new(),
            1 => vec![name],
            count => name.splitn(count, self.between).collect(),
        };
        if parts.len() != self.keys.len() || parts.iter().any(|part| part.is_empty()) {
            let form = self.keys.iter().map(|key| key.to_uppercase()).collect::<Vec<_>>();
            let form = form.join(&self.between.to_string());
            return Err(Error::usage(format!("`{name}` is no name of a {}: {form} is expected", self.noun)));
        }
        Ok(self.keys.iter().copied().zip(parts).collect())
    }
}

impl Ops {
    /// Refuses what only a server has.
    ///
    /// # Errors
    /// [`Class::Usage`] on this host.
    pub fn require_server(&self, plural: &str) -> Result<()> {
        if !self.backend().capabilities().here {
            return Ok(());
        }
        Err(Error::usage(format!("{plural} are on Proxmox VE clusters, and this host is none"))
            .with_hint(Hint::Text("choose a context of a cluster: --context NAME".into())))
    }

    /// Makes a call that reads, by a template of the API and its parameters.
    ///
    /// # Errors
    /// As [`CallRequest::new`] and [`read_call`](Self::read_call).
    pub async fn read_at(&self, template: &str, params: Params) -> Result<Value> {
        let plan = self.plan_read(template, params).await?;
        self.read_call(&plan).await
    }

    /// The same for a list; what is none has no rows.
    ///
    /// # Errors
    /// As [`read_at`](Self::read_at).
    pub async fn rows_at(&self, template: &str, params: Params) -> Result<Vec<Value>> {
        self.read_at(template, params).await.map(value::array)
    }

    /// The whole answer: also how long a list is of which it has a part, and what does not hold yet.
    ///
    /// # Errors
    /// As [`read_at`](Self::read_at).
    pub async fn read_whole(&self, template: &str, params: Params) -> Result<Reply> {
        let plan = self.plan_read(template, params).await?;
        self.backend().send(&plan.call).await
    }

    async fn plan_read(&self, template: &str, params: Params) -> Result<CallPlan> {
        let request = CallRequest::new(embedded(), Method::Get, template, params.into(), &Params::new(), None)?;
        self.plan_call(request).await
    }

    /// A node by its name.
    ///
    /// # Errors
    /// [`Class::NotFound`] for one that there is not, with names that are like it.
    pub async fn require_node(&self, name: &str) -> Result<Node> {
        Node::named(&self.backend().nodes().await?, name).cloned()
    }

    /// All of a sort that the user may see, by name; what is named by its position, in its order.
    ///
    /// # Errors
    /// Whatever the server says; [`Class::Usage`] where there is none.
    pub async fn resources(&self, sort: impl Into<Sort>) -> Result<Vec<Value>> {
        let sort = sort.into();
        let of = sort.of;
        self.require_server(of.plural)?;
        let mut params = sort.scoped();
        params.extend(of.list.1.iter().copied());
        let mut rows = (of.rows)(self.read_at(sort.paths().list, params).await?);
        rows.iter_mut().filter_map(Value::as_object_mut).for_each(|row| sort.scope().add_to(row));
        rows.iter_mut().for_each(Value::sort_all_objects);
        match of.naming {
            Naming::Position => rows.sort_by_key(Resource::position_of),
            Naming::Name | Naming::Single => rows.sort_by_cached_key(|row| of.name_of(row)),
        }
        Ok(rows)
    }

    /// One of a sort, with what names it.
    ///
    /// # Errors
    /// [`Class::NotFound`] with names that are like it; whatever else the server says.
    pub async fn resource(&self, sort: impl Into<Sort>, name: &str) -> Result<Map<String, Value>> {
        let sort = sort.into();
        let of = sort.of;
        self.require_server(of.plural)?;
        let named = sort.named(name)?;
        let plan = self.plan_read(sort.paths().one, named.clone()).await?;
        let answer = match self.read_call(&plan).await {
            Ok(answer) => answer,
            Err(error) => return Err(self.not_there(&sort, name, error).await),
        };
        // One that is asked for by a parameter of the list comes as a list.
        let answer = match answer {
            Value::Array(rows) if of.one == of.list.0 => rows.into_iter().next().unwrap_or_default(),
            other => other,
        };
        let Value::Object(mut thing) = (of.shape)(answer) else {
            let error = Error::not_found(format!("no such {}: `{name}`", of.noun));
            return Err(self.not_there(&sort, name, error).await);
        };
        for (key, value) in named.iter().filter(|(key, _)| of.keys.contains(key)) {
            thing.entry(key).or_insert_with(|| value.into());
        }
        sort.scope().add_to(&mut thing);
        thing.sort_keys();
        thing.values_mut().for_each(Value::sort_all_objects);
        Ok(thing)
    }

    /// The error for one that may not be there: the server's word for that differs from area to area.
    async fn not_there(&self, sort: &Sort, name: &str, error: Error) -> Error {
        let of = sort.of;
        let may_be = matches!(error.class(), Class::NotFound | Class::Rejected | Class::Failed);
        if !may_be || of.naming == Naming::Single {
            return error;
        }
        let Ok(rows) = self.resources(sort).await else { return error };
        let names: Vec<String> = rows.iter().map(|row| of.name_of(row)).collect();
        if names.iter().any(|have| have == name) {
            return error;
        }
        sort.missing(name, names)
    }
}
