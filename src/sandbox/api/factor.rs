//! Second factors, and the copy of a realm's users, of which there are none.
//!
//! A user has one second factor at most, the one that is asked for at the door.

use serde_json::{Value, json};

use super::{Context, FIRST_NODE, Reply, Route};
use crate::{
    model::Method::{Delete, Get, Post, Put},
    sandbox::world::{effect::Effect, seconds, task::Order},
    server::{Fault, access::Directory},
};

pub(super) const TABLE: &[Route] = &[
    (Get, "/access/tfa", all),
    (Get, "/access/tfa/{userid}", of_user),
    (Delete, "/access/tfa/{userid}/{id}", remove),
    (Put, "/access/users/{userid}/unlock-tfa", unlock),
    (Post, "/access/domains/{realm}/sync", sync),
];

/// What the one second factor is called.
const ONLY: &str = "totp-1";

fn no_user(name: &str) -> Fault {
    Fault::die(format!("no such user ('{name}')"))
}

fn entries(context: &Context<'_>, has: bool) -> Vec<Value> {
    let created = seconds(context.world.meta().booted);
    let entry = json!({"id": ONLY, "type": "totp", "description": "telephone", "enable": 1, "created": created});
    if has { vec![entry] } else { Vec::new() }
}

fn all(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let authid = context.authid();
    let own = authid.split('!').next().unwrap_or_default();
    let everybody = context.may("/access/groups", &["User.Modify", "Sys.Audit"]);
    let users = context
        .world
        .people
        .users
        .iter()
        .filter(|(name, user)| user.second_factor.is_some() && (everybody || name.as_str() == own));
    let rows = users.map(|(name, _)| json!({"userid": name, "entries": entries(context, true)}));
    Ok(Reply::data(rows.collect::<Vec<_>>()))
}

fn of_user(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let name = context.need("userid")?;
    let user = context.world.people.users.get(name).ok_or_else(|| no_user(name))?;
    Ok(Reply::data(entries(context, user.second_factor.is_some())))
}

fn remove(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let (name, id) = (context.need("userid")?, context.need("id")?);
    let user = context.world.people.users.edit(name).ok_or_else(|| no_user(name))?;
    if id != ONLY || user.second_factor.take().is_none() {
        return Err(Fault::die(format!("no such entry '{id}'")));
    }
    Ok(Reply::null())
}

fn unlock(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let name = context.need("userid")?;
    if !context.world.people.users.has(name) {
        return Err(no_user(name));
    }
    Ok(Reply::data(1))
}

fn sync(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let kind = if context.flag("dry-run") { "auth-realm-sync-test" } else { "auth-realm-sync" };
    let (id, authid) = (context.need("realm")?.to_owned(), context.authid());
    if !context.world.has_realm(&id) {
        return Err(Fault::die(format!("domain '{id}' does not exist")));
    }
    let node = FIRST_NODE.to_owned();
    let (holds, script) = (Vec::new(), Vec::new());
    Ok(context.begin(Order { node, kind, id, authid, takes: 300, holds, script, effect: Effect::Nothing }))
}
