//! Pools: list them, see who is in one, make, change and remove them.
//!
//! Membership is noted on the guest.

use serde_json::{Map, Value};

use super::{
    Context, Reply, Route,
    cluster::{storages, visible},
    figures, vmid,
};
use crate::{
    model::Method::{Delete, Get, Post, Put},
    sandbox::world::node::Pool,
    server::Fault,
};

pub(super) const TABLE: &[Route] = &[
    (Get, "/pools", list),
    (Post, "/pools", create),
    (Put, "/pools", update),
    (Delete, "/pools", remove),
    (Get, "/pools/{poolid}", |context| one(context).map(Reply::data)),
    (Put, "/pools/{poolid}", update),
    (Delete, "/pools/{poolid}", remove),
];

fn described(name: &str, pool: &Pool) -> Map<String, Value> {
    let mut row = Map::from_iter([("poolid".to_owned(), name.into())]);
    if let Some(comment) = &pool.comment {
        row.insert("comment".into(), comment.as_str().into());
    }
    row
}

fn list(context: &mut Context<'_>) -> Result<Reply, Fault> {
    if context.param("poolid").is_some() {
        return one(context).map(|pool| Reply::data(vec![pool]));
    }
    let seen = |name: &String| context.may(&format!("/pool/{name}"), &["Pool.Audit"]);
    let rows = context.world.pools.iter().filter(|(name, _)| seen(name));
    Ok(Reply::data(rows.map(|(name, pool)| Value::from(described(name, pool))).collect::<Vec<_>>()))
}

fn one(context: &mut Context<'_>) -> Result<Value, Fault> {
    let name = context.need("poolid")?;
    context.require(&format!("/pool/{name}"), &["Pool.Audit"])?;
    let pool = context.world.pools.get(name).ok_or_else(|| Fault::die(format!("pool '{name}' does not exist")))?;
    let mut row = described(name, pool);
    let members = visible(context).filter(|guest| guest.pool.as_deref() == Some(name));
    let members = members.filter(|guest| context.param("type").is_none_or(|kind| kind == guest.kind.api()));
    let members = members.map(|guest| figures::resource(context.world, guest, context.now));
    let mut members: Vec<Value> = members.collect();
    if context.param("type").is_none_or(|kind| kind == "storage") {
        let mut rows = Vec::new();
        storages(context, &mut rows);
        rows.retain(|row| row["storage"].as_str().is_some_and(|name| pool.storages.iter().any(|have| have == name)));
        members.extend(rows);
    }
    row.insert("members".into(), members.into());
    Ok(row.into())
}

fn create(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let name = context.need("poolid")?;
    if context.world.pools.has(name) {
        return Err(Fault::die(format!("create pool failed: pool '{name}' already exists")));
    }
    let leaf = name.rsplit_once('/').map(|(parent, leaf)| (Some(parent), leaf)).unwrap_or((None, name));
    if let Some(parent) = leaf.0.filter(|parent| !context.world.pools.has(*parent)) {
        return Err(Fault::die(format!("create pool failed: parent '{parent}' of pool '{name}' does not exist")));
    }
    if !leaf.1.starts_with(|first: char| first.is_ascii_alphabetic()) {
        return Err(Fault::die("create pool failed: pool name must start with a letter"));
    }
    let pool = Pool { comment: context.param("comment").map(str::to_owned), storages: Vec::new() };
    context.world.pools.insert(name.to_owned(), pool);
    Ok(Reply::null())
}

fn failed(what: &str) -> Fault {
    Fault::die(format!("update pools failed: {what}"))
}

fn update(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let name = context.need("poolid")?;
    let comment = context.param("comment").map(str::to_owned);
    let pool = context.world.pools.edit(name);
    let pool = pool.ok_or_else(|| failed(&format!("pool '{name}' does not exist")))?;
    if comment.is_some() {
        pool.comment = comment;
    }
    for storage in context.request.list("storage") {
        let has = pool.storages.iter().any(|have| have == storage);
        let wrong = match (context.request.flag("delete"), has) {
            (true, false) => Some(format!("Storage '{storage}' is not a pool member")),
            (false, true) => Some(format!("Storage '{storage}' is already a pool member")),
            _ => None,
        };
        if let Some(wrong) = wrong {
            return Err(failed(&wrong));
        }
        match has {
            true => pool.storages.retain(|have| have != storage),
            false => pool.storages.push(storage.to_owned()),
        }
    }
    for text in context.list("vms") {
        let number = vmid("vms", text)?;
        let delete = context.flag("delete");
        let Some(guest) = context.world.guests.edit(&number) else {
            return Err(failed(&format!("VM {number} does not exist")));
        };
        match (delete, guest.pool.as_deref()) {
            (true, Some(have)) if have == name => guest.pool = None,
            (true, _) => return Err(failed(&format!("VM {number} is not a pool member"))),
            (false, Some(have)) if have == name => {
                return Err(failed(&format!("VM {number} is already a pool member")));
            }
            (false, Some(have)) if !context.request.flag("allow-move") => {
                let what = format!("VM {number} belongs already to pool '{have}' and 'allow-move' is not set");
                return Err(failed(&what));
            }
            (false, _) => guest.pool = Some(name.to_owned()),
        }
    }
    Ok(Reply::null())
}

fn remove(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let name = context.need("poolid")?;
    if !context.world.pools.has(name) {
        return Err(Fault::die(format!("delete pool failed: pool '{name}' does not exist")));
    }
    let below = format!("{name}/");
    if let Some(inner) = context.world.pools.keys().find(|pool| pool.starts_with(&below)) {
        return Err(Fault::die(format!("delete pool failed: pool '{name}' is not empty (contains pool '{inner}')")));
    }
    if let Some(member) = context.world.guests.values().find(|guest| guest.pool.as_deref() == Some(name)) {
        let (word, vmid) = (member.word(), member.vmid);
        return Err(Fault::die(format!("delete pool failed: pool '{name}' is not empty (contains {word} {vmid})")));
    }
    if let Some(storage) = context.world.pools.get(name).and_then(|pool| pool.storages.first()) {
        let contains = format!("(contains storage '{storage}')");
        return Err(Fault::die(format!("delete pool failed: pool '{name}' is not empty {contains}")));
    }
    context.world.pools.remove(name);
    Ok(Reply::null())
}
