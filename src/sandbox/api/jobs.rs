//! What the cluster does by schedule: backup jobs and replication. They are kept and listed, and nothing runs them.
//!
//! A definition is its keys as they were given.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{Context, Reply, Route};
use crate::{
    model::Method::{Delete, Get, Post},
    server::Fault,
};

pub(super) const TABLE: &[Route] = &[
    (Get, "/cluster/backup", backups),
    (Post, "/cluster/backup", add_backup),
    (Delete, "/cluster/backup/{id}", remove_backup),
    (Get, "/cluster/replication", replications),
    (Post, "/cluster/replication", add_replication),
    (Delete, "/cluster/replication/{id}", remove_replication),
];

/// Keys that are numbers on the wire.
const NUMBERS: [&str; 6] = ["enabled", "all", "guest", "jobnum", "disable", "next-run"];

type Keys = BTreeMap<String, String>;

fn row(id: &str, keys: &Keys) -> Value {
    let mut row = Map::from_iter([("id".to_owned(), id.into())]);
    for (key, value) in keys {
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
    keys.insert("type".into(), "vzdump".into());
    keys.entry("enabled".into()).or_insert_with(|| "1".into());
    context.world.backup_jobs.insert(id, keys);
    Ok(Reply::null())
}

fn remove_backup(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let id = context.need("id")?;
    let gone = context.world.backup_jobs.remove(id);
    gone.map(|_| Reply::null()).ok_or_else(|| Fault::parameter("id", format!("No such job '{id}'")))
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
    keys.insert("guest".into(), guest.to_owned());
    keys.insert("jobnum".into(), number.to_owned());
    context.world.replications.insert(id.to_owned(), keys);
    Ok(Reply::null())
}

fn remove_replication(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let id = context.need("id")?;
    let gone = context.world.replications.remove(id);
    gone.map(|_| Reply::null()).ok_or_else(|| Fault::die(format!("no such job '{id}'")))
}
