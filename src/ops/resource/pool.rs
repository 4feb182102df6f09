//! Who comes into a pool and who goes out, told from who is in it: the server refuses to put in what is there already.

use serde_json::Value;

use super::{
    ResourcePlan,
    table::{resource, word},
};
use crate::{
    model::{Error, Guest, Hint, Method, Params, Result},
    ops::{Change, Ops, Sort},
};

/// Guests and storages that are to be in a pool, or out of it.
#[derive(Debug, Clone, Default)]
pub struct PoolMembers {
    /// The guests.
    pub guests: Vec<Guest>,
    /// The storages.
    pub storages: Vec<String>,
    /// Whether they come or go.
    pub adds: bool,
    /// Whether guests leave the pool that they are in.
    pub moves: bool,
}

impl Ops {
    /// Plans to put members into a pool, or to take them out. Those that are where they are to be are left out.
    ///
    /// # Errors
    /// [`Class::NotFound`](crate::model::Class::NotFound) for a pool or a storage that there is not,
    /// [`Class::Conflict`](crate::model::Class::Conflict) for guests of another pool.
    pub async fn plan_pool_members(&self, pool: &str, members: &PoolMembers) -> Result<ResourcePlan> {
        let of = resource("pool");
        let thing = self.resource(of, pool).await?;
        let adds = members.adds;
        if adds && !members.storages.is_empty() {
            let sort = Sort::from(resource("storage"));
            let names: Vec<String> = self.resources(&sort).await?.iter().map(|row| sort.of.name_of(row)).collect();
            if let Some(unknown) = members.storages.iter().find(|name| !names.contains(name)) {
                return Err(sort.missing(unknown, names));
            }
        }
        let there = thing.get("members").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let has = |key: &str, name: &str| there.iter().any(|row| word(row, key) == name);
        let (mut notes, mut changes) = (Vec::new(), Vec::new());
        let mut goes = |what: String, before: Option<&str>, is_in: bool| {
            if is_in == adds {
                notes.push(format!("{what} is {}", if adds { "in it already" } else { "not in it" }));
                return false;
            }
            let (before, after) = if adds { (before, Some(pool)) } else { (Some(pool), None) };
            changes.push(Change { key: what, before: before.map(str::to_owned), after: after.map(str::to_owned) });
            true
        };
        let mut vms = Vec::new();
        for guest in &members.guests {
            let what = format!("{} ({})", guest.reference(), guest.label());
            let other = guest.pool.as_deref().filter(|other| *other != pool && !other.is_empty());
            if let (true, false, Some(other)) = (adds, members.moves, other) {
                let hint = Hint::Text("it is taken out there with --allow-move".into());
                return Err(Error::conflict(format!("{what} is in pool `{other}`")).with_hint(hint));
            }
            let vmid = guest.vmid.to_string();
            let is_in = guest.pool.as_deref() == Some(pool) || has("vmid", &vmid);
            if goes(what, other, is_in) {
                vms.push(vmid);
            }
        }
        let storage = |name: &&String| goes(format!("storage/{name}"), None, has("storage", name));
        let storages: Vec<&str> = members.storages.iter().filter(storage).map(String::as_str).collect();
        let params = of
            .named(pool)?
            .with_some("vms", (!vms.is_empty()).then(|| vms.join(",")))
            .with_some("storage", (!storages.is_empty()).then(|| storages.join(",")))
            .with_flag("delete", !adds)
            .with_flag("allow-move", members.moves);
        let verb = if adds { "add" } else { "remove" };
        let target = (Method::Put, of.one);
        let mut plan = self.plan_resource_call(verb, of.noun, pool, target, (params, &Params::new())).await?;
        if changes.is_empty() {
            plan.call = None;
        }
        plan.changes = changes;
        plan.notes = notes;
        Ok(plan)
    }
}
