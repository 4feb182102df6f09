//! Users and their API tokens.
//!
//! What they may do is in [`access`](super::access).

use serde_json::{Map, Value, json};

use super::{Context, Reply, Route};
use crate::{
    model::{
        List,
        Method::{Delete, Get, Post, Put},
    },
    sandbox::world::access::{Token, User},
    server::Fault,
};

pub(super) const TABLE: &[Route] = &[
    (Get, "/access/users", list),
    (Post, "/access/users", create),
    (Get, "/access/users/{userid}", one),
    (Put, "/access/users/{userid}", update),
    (Delete, "/access/users/{userid}", remove),
    (Get, "/access/users/{userid}/token", tokens),
    (Get, "/access/users/{userid}/token/{tokenid}", token),
    (Post, "/access/users/{userid}/token/{tokenid}", create_token),
    (Put, "/access/users/{userid}/token/{tokenid}", update_token),
    (Delete, "/access/users/{userid}/token/{tokenid}", remove_token),
];

/// What is said about a user and means nothing to the server.
const ABOUT: &[&str] = &["comment", "email", "firstname", "lastname", "keys"];

fn about(user: &User) -> Map<String, Value> {
    let mut row = Map::from_iter([
        ("enable".to_owned(), u8::from(user.enable).into()),
        ("expire".to_owned(), user.expire.into()),
    ]);
    row.extend(user.about.iter().map(|(key, value)| (key.clone(), value.as_str().into())));
    row
}

fn about_token(token: &Token) -> Map<String, Value> {
    let mut row = Map::from_iter([
        ("privsep".to_owned(), u8::from(token.privsep).into()),
        ("expire".to_owned(), token.expire.into()),
    ]);
    if let Some(comment) = &token.comment {
        row.insert("comment".into(), comment.as_str().into());
    }
    row
}

fn tokens_of<'c>(context: &'c Context<'_>, user: &str) -> impl Iterator<Item = (&'c str, &'c Token)> + use<'c> {
    let prefix = format!("{user}!");
    context.world.tokens.iter().filter_map(move |(id, token)| Some((id.strip_prefix(&prefix)?, token)))
}

fn list(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let authid = context.authid();
    let own = authid.split('!').next().unwrap_or_default();
    let all = context.may("/access/groups", &["User.Modify", "Sys.Audit"]);
    let enabled = context.param("enabled").map(|enabled| enabled == "1");
    let seen = context
        .world
        .users
        .iter()
        .filter(|(name, user)| (all || *name == own) && enabled.is_none_or(|enabled| user.enable == enabled));
    let rows = seen.map(|(name, user)| {
        let mut row = about(user);
        row.insert("userid".into(), name.as_str().into());
        row.insert("realm-type".into(), name.rsplit('@').next().unwrap_or_default().into());
        if context.flag("full") {
            row.insert("groups".into(), user.groups.join(",").into());
            let tokens = tokens_of(context, name).map(|(id, token)| {
                let mut row = about_token(token);
                row.insert("tokenid".into(), id.into());
                Value::from(row)
            });
            row.insert("tokens".into(), tokens.collect::<Vec<_>>().into());
        }
        Value::from(row)
    });
    Ok(Reply::data(rows.collect::<Vec<_>>()))
}

/// The user in the path, with its name.
fn find<'c>(context: &'c Context<'_>) -> Result<(String, &'c User), Fault> {
    let name = context.need("userid")?;
    let user = context.world.users.get(name).ok_or_else(|| Fault::die(format!("no such user ('{name}')")))?;
    Ok((name.to_owned(), user))
}

fn one(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let (name, user) = find(context)?;
    let mut row = about(user);
    row.insert("groups".into(), user.groups.clone().into());
    let tokens: Map<String, Value> =
        tokens_of(context, &name).map(|(id, token)| (id.to_owned(), about_token(token).into())).collect();
    row.insert("tokens".into(), if tokens.is_empty() { Value::Null } else { tokens.into() });
    Ok(Reply::data(Value::from(row)))
}

/// Takes over what the request says about a user.
fn take_over(context: &Context<'_>, user: &mut User) {
    for key in ABOUT {
        if let Some(value) = context.param(key) {
            user.about.insert((*key).to_owned(), value.to_owned());
        }
    }
    if let Some(expire) = context.number("expire") {
        user.expire = expire;
    }
    if let Some(enable) = context.param("enable") {
        user.enable = enable == "1";
    }
    if let Some(groups) = context.param("groups") {
        let groups = List::members(groups).map(str::to_owned);
        if !context.flag("append") {
            user.groups.clear();
        }
        user.groups.extend(groups);
    }
}

/// Refuses a group that there is not.
fn require_groups(context: &Context<'_>, act: &str) -> Result<(), Fault> {
    let mut named = context.list("groups");
    match named.find(|name| !context.world.groups.has(*name)) {
        Some(unknown) => Err(Fault::die(format!("{act}: no such group '{unknown}'"))),
        None => Ok(()),
    }
}

fn create(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let name = context.need("userid")?;
    let realm = name.rsplit('@').next().unwrap_or_default();
    if !context.world.has_realm(realm) {
        return Err(Fault::die(format!("create user failed: domain '{realm}' does not exist")));
    }
    if context.world.users.has(name) {
        return Err(Fault::die(format!("create user failed: user '{name}' already exists")));
    }
    require_groups(context, "create user failed")?;
    let password = context.param("password").map(|password| context.world.salted(password));
    let mut user = User { password, enable: true, ..User::default() };
    take_over(context, &mut user);
    context.world.users.insert(name.to_owned(), user);
    Ok(Reply::null())
}

fn update(context: &mut Context<'_>) -> Result<Reply, Fault> {
    require_groups(context, "update user failed")?;
    let (name, user) = find(context)?;
    let mut user = user.clone();
    take_over(context, &mut user);
    context.world.users.insert(name, user);
    Ok(Reply::null())
}

fn remove(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let (name, _) = find(context)?;
    let tokens: Vec<String> = tokens_of(context, &name).map(|(id, _)| format!("{name}!{id}")).collect();
    for token in tokens {
        context.world.remove_token(&token);
    }
    context.world.forget_grants(|grant| grant.kind == "user" && grant.who == name);
    context.world.users.remove(name.as_str());
    Ok(Reply::null())
}

fn tokens(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let (name, _) = find(context)?;
    let rows = tokens_of(context, &name).map(|(id, token)| {
        let mut row = about_token(token);
        row.insert("tokenid".into(), id.into());
        Value::from(row)
    });
    Ok(Reply::data(rows.collect::<Vec<_>>()))
}

/// The full id of the token in the path.
fn token_id(context: &Context<'_>) -> Result<String, Fault> {
    let (name, _) = find(context)?;
    Ok(format!("{name}!{}", context.need("tokenid")?))
}

fn token(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let id = token_id(context)?;
    let token = context.world.tokens.get(id.as_str());
    let token = token.ok_or_else(|| {
        Fault::die(format!("no such token '{}' for user", context.param("tokenid").unwrap_or_default()))
    })?;
    Ok(Reply::data(Value::from(about_token(token))))
}

fn create_token(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let id = token_id(context)?;
    if context.world.tokens.has(id.as_str()) {
        return Err(Fault::parameter("tokenid", "Token already exists."));
    }
    let value = context.world.draw_uuid();
    let privsep = context.param("privsep") != Some("0");
    let token = Token {
        secret: context.world.salted(&value),
        privsep,
        expire: context.number("expire").unwrap_or(0),
        comment: context.param("comment").map(str::to_owned),
    };
    // Here, and only here, the server gives `privsep` as text.
    let mut info = Map::from_iter([("privsep".to_owned(), if privsep { "1" } else { "0" }.into())]);
    if let Some(comment) = &token.comment {
        info.insert("comment".into(), comment.as_str().into());
    }
    context.world.tokens.insert(id.clone(), token);
    Ok(Reply::data(json!({"full-tokenid": id, "value": value, "info": info})))
}

fn update_token(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let id = token_id(context)?;
    let word = context.need("tokenid")?;
    let token = context.world.tokens.get(id.as_str());
    let mut token = token.ok_or_else(|| Fault::die(format!("no such token '{word}' for user")))?.clone();
    if let Some(privsep) = context.param("privsep") {
        token.privsep = privsep == "1";
    }
    if let Some(expire) = context.number("expire") {
        token.expire = expire;
    }
    if let Some(comment) = context.param("comment") {
        token.comment = Some(comment.to_owned());
    }
    for gone in context.list("delete") {
        match gone {
            "comment" => token.comment = None,
            other => return Err(Fault::parameter("delete", format!("unknown option '{other}'"))),
        }
    }
    let mut answer = about_token(&token);
    if context.flag("regenerate") {
        let value = context.world.draw_uuid();
        token.secret = context.world.salted(&value);
        answer.insert("value".into(), value.into());
        answer.insert("full-tokenid".into(), id.as_str().into());
    }
    context.world.tokens.insert(id, token);
    Ok(Reply::data(Value::from(answer)))
}

fn remove_token(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let id = token_id(context)?;
    if context.world.remove_token(&id) {
        return Ok(Reply::null());
    }
    Err(Fault::die(format!("no such token '{}' for user", context.need("tokenid")?)))
}
