//! What the cluster does by schedule: backup jobs and replication. They are kept and listed, and nothing runs them
//! by itself.
//!
//! A definition is its keys as they were given.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{Context, Reply, Route};
use crate::{
    model::Method::{Delete, Get, Post, Put},
    sandbox::world::GONE,
    server::Fault,
};

pub(super) const TABLE: &[Route] = &[
    (Get, "/cluster/backup", backups),
    (Post, "/cluster/backup", add_backup),
    (Get, "/cluster/backup/{id}", backup),
    (Put, "/cluster/backup/{id}", update_backup),
    (Delete, "/cluster/backup/{id}", remove_backup),
    (Get, "/cluster/replication", replications),
    (Post, "/cluster/replication", add_replication),
    (Get, "/cluster/replication/{id}", replication),
    (Put, "/cluster/replication/{id}", update_replication),
    (Delete, "/cluster/replication/{id}", remove_replication),
    (Get, "/nodes/{node}/replication", replications_on),
    (Post, "/nodes/{node}/replication/{id}/schedule_now", run_replication),
];

/// Keys that are numbers on the wire.
const NUMBERS: [&str; 6] = ["enabled", "all", "guest", "jobnum", "disable", "next-run"];

/// How long it takes until a node has removed a job, milliseconds.
const LOOKS_EVERY: i64 = 60_000;

type Keys = BTreeMap<String, String>;

fn row(id: &str, keys: &Keys) -> Value {
    let mut row = Map::from_iter([("id".to_owned(), id.into())]);
    for (key, value) in keys.iter().filter(|(key, _)| *key != GONE) {
        let number = value.parse::<u64>().ok().filter(|_| NUMBERS.contains(&key.as_str()));
        row.insert(key.clone(), number.map_or_else(|| value.as_str().into(), Value::from));
    }
    row.into()
}

fn given(context: &Context<'_>) -> Keys {
    let given = context.request.params.iter().filter(|(key, _)| *key != "id");
    given.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

fn backups(context: &mut Context<'_>) -> Result<Reply, Fault> {
    Ok(Reply::data(context.world.backup_jobs.iter().map(|(id, keys)| row(id, keys)).collect::<Vec<_>>()))
}

fn add_backup(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let id = match context.param("id") {
        Some(id) => id.to_owned(),
        None => format!("backup-{}-{}", &context.world.draw()[..8], &context.world.draw()[..4]),
    };
    if context.world.backup_jobs.has(&id) {
        return Err(Fault::die(format!("Job '{id}' already exists")));
    }
    let mut keys = given(context);
    if !keys.contains_key("schedule") && !keys.contains_key("starttime") {
        return Err(Fault::parameter("schedule", "neither 'starttime' nor 'schedule' were set"));
    }
    exclusive(&keys)?;
    if !["vmid", "all", "pool", "exclude"].iter().any(|key| keys.contains_key(*key)) {
        return Err(Fault::parameter("vmid", "property is missing"));
    }
    keys.insert("type".into(), "vzdump".into());
    keys.entry("enabled".into()).or_insert_with(|| "1".into());
    context.world.backup_jobs.insert(id, keys);
    Ok(Reply::null())
}

fn remove_backup(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let id = context.need("id")?;
    let gone = context.world.backup_jobs.remove(id);
    gone.map(|_| Reply::null()).ok_or_else(|| no_backup(id))
}

fn replications(context: &mut Context<'_>) -> Result<Reply, Fault> {
    Ok(Reply::data(context.world.replications.iter().map(|(id, keys)| row(id, keys)).collect::<Vec<_>>()))
}

fn add_replication(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let id = context.need("id")?;
    if context.world.replications.has(id) {
        return Err(Fault::die(format!("replication job '{id}' already exists")));
    }
    let mut keys = given(context);
    let Some((guest, number)) = id.split_once('-') else {
        return Err(Fault::parameter("id", format!("invalid format - invalid replication job id '{id}'\n")));
    };
    may_replicate(context, guest)?;
    let source = guest.parse::<u32>().ok().and_then(|vmid| context.world.guests.get(&vmid));
    let Some(source) = source.map(|guest| guest.node.clone()) else {
        return Err(Fault::die(format!("Guest '{guest}' does not exist.")));
    };
    let target = context.need("target")?;
    if !context.world.nodes.has(target) {
        return Err(Fault::die(format!("Target '{target}' does not exist.")));
    }
    if target == source {
        return Err(Fault::die("Source and target must not be identical"));
    }
    keys.insert("source".into(), source);
    keys.insert("guest".into(), guest.to_owned());
    keys.insert("jobnum".into(), number.to_owned());
    context.world.replications.insert(id.to_owned(), keys);
    Ok(Reply::null())
}

fn remove_replication(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let id = context.need("id")?;
    may_replicate(context, guest_of(id))?;
    let (force, keep) = (context.flag("force"), context.flag("keep"));
    if force && keep {
        return Err(Fault::parameter("keep", "conflicts with parameter 'force'"));
    }
    let mut keys = job(context, id)?.clone();
    if force {
        context.world.replications.remove(id);
        return Ok(Reply::null());
    }
    // Its node does the rest, when it next looks.
    keys.insert("remove_job".into(), if keep { "local" } else { "full" }.to_owned());
    keys.insert(GONE.into(), (context.now + LOOKS_EVERY).to_string());
    context.world.replications.insert(id.to_owned(), keys);
    Ok(Reply::null())
}

fn no_backup(id: &str) -> Fault {
    Fault::parameter("id", format!("No such job '{id}'"))
}

fn backup(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let id = context.need("id")?;
    let keys = context.world.backup_jobs.get(id).ok_or_else(|| no_backup(id))?;
    Ok(Reply::data(row(id, keys)))
}

/// Refuses several ways at once of saying which guests are meant.
fn exclusive(keys: &Keys) -> Result<(), Fault> {
    let is_set = |key: &str| keys.get(key).is_some_and(|value| !["", "0"].contains(&value.as_str()));
    match ["all", "exclude", "pool"].into_iter().find(|key| is_set(key) && is_set("vmid")) {
        Some(key) => Err(Fault::parameter(key, "option conflicts with option 'vmid'")),
        None => Ok(()),
    }
}

/// Takes over what a request says.
fn take_over(context: &Context<'_>, keys: &mut Keys) {
    let given = given(context).into_iter().filter(|(key, _)| !["delete", "digest"].contains(&key.as_str()));
    keys.extend(given);
    for gone in context.list("delete") {
        keys.remove(gone);
    }
}

fn update_backup(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let id = context.need("id")?;
    let mut keys = context.world.backup_jobs.get(id).ok_or_else(|| no_backup(id))?.clone();
    if let Some(unknown) = context.list("delete").find(|key| ["enabled", "schedule", "id", "type"].contains(key)) {
        return Err(Fault::parameter("delete", format!("unknown option '{unknown}'")));
    }
    exclusive(&given(context))?;
    take_over(context, &mut keys);
    // What says which guests are meant takes the place of what said it before.
    let gone: &[&str] = if context.param("vmid").is_some() {
        &["all", "exclude", "pool"]
    } else if context.flag("all") {
        &["vmid", "pool"]
    } else if keys.contains_key("pool") {
        &["vmid", "all", "exclude"]
    } else {
        &[]
    };
    keys.retain(|key, _| !gone.contains(&key.as_str()));
    context.world.backup_jobs.insert(id.to_owned(), keys);
    Ok(Reply::null())
}

/// The guest that a job is about: `100` of `100-0`.
fn guest_of(id: &str) -> &str {
    id.split('-').next().unwrap_or_default()
}

/// The contract lets everybody ask; the server looks at the guest.
fn may_replicate(context: &Context<'_>, guest: &str) -> Result<(), Fault> {
    context.require(&format!("/vms/{guest}"), &["VM.Replicate"])
}

fn job<'c>(context: &'c Context<'_>, id: &str) -> Result<&'c Keys, Fault> {
    context.world.replications.get(id).ok_or_else(|| Fault::die(format!("no such job '{id}'")))
}

fn replication(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let id = context.need("id")?;
    let keys = job(context, id)?;
    Ok(Reply::data(row(id, keys)))
}

fn update_replication(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let id = context.need("id")?;
    may_replicate(context, guest_of(id))?;
    let mut keys = job(context, id)?.clone();
    take_over(context, &mut keys);
    context.world.replications.insert(id.to_owned(), keys);
    Ok(Reply::null())
}

/// The jobs whose guest is on a node.
fn replications_on(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let node = context.node()?;
    let is_here = |keys: &Keys| {
        let vmid = keys.get("guest").and_then(|guest| guest.parse::<u32>().ok());
        vmid.and_then(|vmid| context.world.guests.get(&vmid)).is_some_and(|guest| guest.node == node)
    };
    let here = context.world.replications.iter().filter(|(_, keys)| is_here(keys));
    Ok(Reply::data(here.map(|(id, keys)| row(id, keys)).collect::<Vec<_>>()))
}

/// It is noted; the node's own loop does it, a minute later at most, and not as a task.
fn run_replication(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let id = context.need("id")?;
    may_replicate(context, guest_of(id))?;
    job(context, id)?;
    Ok(Reply::data("OK"))
}
