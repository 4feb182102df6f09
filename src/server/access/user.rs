//! Users and their API tokens.
//!
//! What they may do is in `acl`.

use serde_json::{Map, Value, json};

use super::{Asked, ROOT, Route, Token, User};
use crate::{
    model::{
        List,
        Method::{Delete, Get, Post, Put},
    },
    server::{Fault, Reply},
};

pub(super) const TABLE: &[Route] = &[
    (Put, "/access/password", password),
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

fn tokens_of<'c>(asked: &'c Asked<'_>, user: &str) -> impl Iterator<Item = (&'c str, &'c Token)> + use<'c> {
    let prefix = format!("{user}!");
    asked.people().tokens.iter().filter_map(move |(id, token)| Some((id.strip_prefix(&prefix)?, token)))
}

fn list(asked: &mut Asked<'_>) -> Result<Reply, Fault> {
    let caller = asked.caller();
    let own = caller.user();
    let all = asked.may("/access/groups", &["User.Modify", "Sys.Audit"]);
    let enabled = asked.param("enabled").map(|enabled| enabled == "1");
    let seen = asked
        .people()
        .users
        .iter()
        .filter(|(name, user)| (all || *name == own) && enabled.is_none_or(|enabled| user.enable == enabled));
    let rows = seen.map(|(name, user)| {
        let mut row = about(user);
        row.insert("userid".into(), name.as_str().into());
        row.insert("realm-type".into(), name.rsplit('@').next().unwrap_or_default().into());
        if asked.flag("full") {
            row.insert("groups".into(), user.groups.join(",").into());
            let tokens = tokens_of(asked, name).map(|(id, token)| {
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
fn find<'c>(asked: &'c Asked<'_>) -> Result<(String, &'c User), Fault> {
    let name = asked.need("userid")?;
    let user = asked.people().users.get(name).ok_or_else(|| Fault::die(format!("no such user ('{name}')")))?;
    Ok((name.to_owned(), user))
}

fn one(asked: &mut Asked<'_>) -> Result<Reply, Fault> {
    let (name, user) = find(asked)?;
    let mut row = about(user);
    row.insert("groups".into(), user.groups.clone().into());
    let tokens: Map<String, Value> =
        tokens_of(asked, &name).map(|(id, token)| (id.to_owned(), about_token(token).into())).collect();
    row.insert("tokens".into(), if tokens.is_empty() { Value::Null } else { tokens.into() });
    Ok(Reply::data(Value::from(row)))
}

/// Takes over what the request says about a user.
fn take_over(asked: &Asked<'_>, user: &mut User) {
    for key in ABOUT {
        if let Some(value) = asked.param(key) {
            user.about.insert((*key).to_owned(), value.to_owned());
        }
    }
    if let Some(expire) = asked.number("expire") {
        user.expire = expire;
    }
    if let Some(enable) = asked.param("enable") {
        user.enable = enable == "1";
    }
    if let Some(groups) = asked.param("groups") {
        let groups = List::members(groups).map(str::to_owned);
        if !asked.flag("append") {
            user.groups.clear();
        }
        user.groups.extend(groups);
    }
}

/// Refuses a group that there is not.
fn require_groups(asked: &Asked<'_>, act: &str) -> Result<(), Fault> {
    let mut named = asked.list("groups");
    match named.find(|name| !asked.people().groups.has(*name)) {
        Some(unknown) => Err(Fault::die(format!("{act}: no such group '{unknown}'"))),
        None => Ok(()),
    }
}

fn create(asked: &mut Asked<'_>) -> Result<Reply, Fault> {
    let name = asked.need("userid")?;
    let realm = name.rsplit('@').next().unwrap_or_default();
    if !asked.directory.has_realm(realm) {
        return Err(Fault::die(format!("create user failed: domain '{realm}' does not exist")));
    }
    if asked.people().users.has(name) {
        return Err(Fault::die(format!("create user failed: user '{name}' already exists")));
    }
    require_groups(asked, "create user failed")?;
    let password = asked.param("password").map(|password| asked.directory.hash(password)).transpose()?;
    let mut user = User { password, enable: true, ..User::default() };
    take_over(asked, &mut user);
    asked.people_mut().users.insert(name.to_owned(), user);
    Ok(Reply::null())
}

fn update(asked: &mut Asked<'_>) -> Result<Reply, Fault> {
    require_groups(asked, "update user failed")?;
    let (name, user) = find(asked)?;
    let mut user = user.clone();
    take_over(asked, &mut user);
    asked.people_mut().users.insert(name, user);
    Ok(Reply::null())
}

/// Whoever is not root says who it is once more.
fn password(asked: &mut Asked<'_>) -> Result<Reply, Fault> {
    const AGAIN: &str = "confirmation-password";
    let name = find(asked)?.0;
    let own = asked.authid();
    if own != ROOT {
        let denied = Fault::denied();
        if name == ROOT {
            return Err(denied);
        }
        let again = asked.param(AGAIN);
        let again = again.ok_or_else(|| Fault::parameter(AGAIN, "password is required to modify user"))?;
        if !asked.directory.is_password(&own, again) {
            return Err(Fault { status: 401, ..Fault::die("authentication failure") });
        }
        if own != name && name.ends_with("@pam") {
            return Err(denied);
        }
    }
    let hash = asked.directory.hash(asked.need("password")?)?;
    if let Some(user) = asked.people_mut().users.edit(name.as_str()) {
        user.password = Some(hash);
    }
    Ok(Reply::null())
}

fn remove(asked: &mut Asked<'_>) -> Result<Reply, Fault> {
    let (name, _) = find(asked)?;
    let tokens: Vec<String> = tokens_of(asked, &name).map(|(id, _)| format!("{name}!{id}")).collect();
    for token in tokens {
        asked.people_mut().remove_token(&token);
    }
    asked.people_mut().forget_grants(|grant| grant.kind == "user" && grant.who == name);
    asked.people_mut().users.remove(name.as_str());
    Ok(Reply::null())
}

fn tokens(asked: &mut Asked<'_>) -> Result<Reply, Fault> {
    let (name, _) = find(asked)?;
    let rows = tokens_of(asked, &name).map(|(id, token)| {
        let mut row = about_token(token);
        row.insert("tokenid".into(), id.into());
        Value::from(row)
    });
    Ok(Reply::data(rows.collect::<Vec<_>>()))
}

/// The full id of the token in the path.
fn token_id(asked: &Asked<'_>) -> Result<String, Fault> {
    let (name, _) = find(asked)?;
    Ok(format!("{name}!{}", asked.need("tokenid")?))
}

fn token(asked: &mut Asked<'_>) -> Result<Reply, Fault> {
    let id = token_id(asked)?;
    let token = asked.people().tokens.get(id.as_str());
    let token = token.ok_or_else(|| {
        Fault::die(format!("no such token '{}' for user", asked.param("tokenid").unwrap_or_default()))
    })?;
    Ok(Reply::data(Value::from(about_token(token))))
}

fn create_token(asked: &mut Asked<'_>) -> Result<Reply, Fault> {
    let id = token_id(asked)?;
    if asked.people().tokens.has(id.as_str()) {
        return Err(Fault::parameter("tokenid", "Token already exists."));
    }
    let value = asked.directory.secret()?;
    let privsep = asked.param("privsep") != Some("0");
    let token = Token {
        secret: asked.directory.hash(&value)?,
        privsep,
        expire: asked.number("expire").unwrap_or(0),
        comment: asked.param("comment").map(str::to_owned),
    };
    // Here, and only here, the server gives `privsep` as text.
    let mut info = Map::from_iter([("privsep".to_owned(), if privsep { "1" } else { "0" }.into())]);
    if let Some(comment) = &token.comment {
        info.insert("comment".into(), comment.as_str().into());
    }
    asked.people_mut().tokens.insert(id.clone(), token);
    Ok(Reply::data(json!({"full-tokenid": id, "value": value, "info": info})))
}

fn update_token(asked: &mut Asked<'_>) -> Result<Reply, Fault> {
    let id = token_id(asked)?;
    let word = asked.need("tokenid")?;
    let token = asked.people().tokens.get(id.as_str());
    let mut token = token.ok_or_else(|| Fault::die(format!("no such token '{word}' for user")))?.clone();
    if let Some(privsep) = asked.param("privsep") {
        token.privsep = privsep == "1";
    }
    if let Some(expire) = asked.number("expire") {
        token.expire = expire;
    }
    if let Some(comment) = asked.param("comment") {
        token.comment = Some(comment.to_owned());
    }
    for gone in asked.list("delete") {
        match gone {
            "comment" => token.comment = None,
            other => return Err(Fault::parameter("delete", format!("unknown option '{other}'"))),
        }
    }
    let mut answer = about_token(&token);
    if asked.flag("regenerate") {
        let value = asked.directory.secret()?;
        token.secret = asked.directory.hash(&value)?;
        answer.insert("value".into(), value.into());
        answer.insert("full-tokenid".into(), id.as_str().into());
    }
    asked.people_mut().tokens.insert(id, token);
    Ok(Reply::data(Value::from(answer)))
}

fn remove_token(asked: &mut Asked<'_>) -> Result<Reply, Fault> {
    let id = token_id(asked)?;
    if asked.people_mut().remove_token(&id) {
        return Ok(Reply::null());
    }
    Err(Fault::die(format!("no such token '{}' for user", asked.need("tokenid")?)))
}
