//! Groups of users and roles of one's own.
//!
//! Whom they are granted to is in [`access`](super::access).

use serde_json::{Map, Value, json};

use super::{Context, Reply, Route};
use crate::{
    model::Method::{Delete, Get, Post, Put},
    sandbox::world::access::Group,
    server::{
        Fault,
        roles::{ADMINISTRATOR, ROLES, role},
    },
};

pub(super) const TABLE: &[Route] = &[
    (Get, "/access/groups", groups),
    (Post, "/access/groups", create_group),
    (Get, "/access/groups/{groupid}", group),
    (Put, "/access/groups/{groupid}", update_group),
    (Delete, "/access/groups/{groupid}", remove_group),
    (Get, "/access/roles", roles),
    (Post, "/access/roles", create_role),
    (Get, "/access/roles/{roleid}", one_role),
    (Put, "/access/roles/{roleid}", update_role),
    (Delete, "/access/roles/{roleid}", remove_role),
];

fn members(context: &Context<'_>, name: &str) -> Vec<String> {
    let users = context.world.users.iter();
    users.filter(|(_, user)| user.groups.iter().any(|group| group == name)).map(|(user, _)| user.clone()).collect()
}

fn groups(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let rows = context.world.groups.iter().map(|(name, group)| {
        let mut row = json!({"groupid": name, "users": members(context, name).join(",")});
        if let Some(comment) = &group.comment {
            row["comment"] = comment.as_str().into();
        }
        row
    });
    Ok(Reply::data(rows.collect::<Vec<_>>()))
}

fn missing(act: &str, name: &str) -> Fault {
    Fault::die(format!("{act}group '{name}' does not exist"))
}

fn group(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let name = context.need("groupid")?;
    let group = context.world.groups.get(name).ok_or_else(|| missing("", name))?;
    let mut row = json!({"members": members(context, name)});
    if let Some(comment) = &group.comment {
        row["comment"] = comment.as_str().into();
    }
    Ok(Reply::data(row))
}

fn create_group(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let name = context.need("groupid")?;
    if context.world.groups.has(name) {
        return Err(Fault::die(format!("create group failed: group '{name}' already exists")));
    }
    let group = Group { comment: context.param("comment").map(str::to_owned) };
    context.world.groups.insert(name.to_owned(), group);
    Ok(Reply::null())
}

fn update_group(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let name = context.need("groupid")?;
    let comment = context.param("comment").map(str::to_owned);
    let group = context.world.groups.edit(name).ok_or_else(|| missing("update group failed: ", name))?;
    if comment.is_some() {
        group.comment = comment.filter(|comment| !comment.is_empty());
    }
    Ok(Reply::null())
}

fn remove_group(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let name = context.need("groupid")?;
    if context.world.groups.remove(name).is_none() {
        return Err(missing("delete group failed: ", name));
    }
    context.world.forget_grants(|grant| grant.kind == "group" && grant.who == name);
    for user in members(context, name) {
        if let Some(user) = context.world.users.edit(user.as_str()) {
            user.groups.retain(|group| group != name);
        }
    }
    Ok(Reply::null())
}

fn roles(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let row = |name: &str, privileges: &[&str], special: u8| json!({"roleid": name, "privs": privileges.join(","), "special": special});
    let built_in = ROLES.iter().map(|(name, privileges)| row(name, privileges, 1));
    let own = context.world.roles.keys().map(|name| row(name, &context.world.role(name).unwrap_or_default(), 0));
    Ok(Reply::data(built_in.chain(own).collect::<Vec<_>>()))
}

fn one_role(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let name = context.need("roleid")?;
    let privileges = context.world.role(name);
    let privileges = privileges.ok_or_else(|| Fault::die(format!("role '{name}' does not exist")))?;
    Ok(Reply::data(privileges.iter().map(|name| ((*name).to_owned(), 1.into())).collect::<Map<String, Value>>()))
}

/// The privileges in the request, each one that there is.
fn privileges(context: &Context<'_>, act: &str) -> Result<Vec<String>, Fault> {
    let known = role(ADMINISTRATOR).unwrap_or_default();
    let named = context.list("privs");
    let check = |name: &str| match known.contains(&name) {
        true => Ok(name.to_owned()),
        false => Err(Fault::die(format!("{act}: invalid privilege '{name}'"))),
    };
    named.map(check).collect()
}

fn create_role(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let name = context.need("roleid")?;
    if context.world.role(name).is_some() {
        return Err(Fault::die(format!("create role failed: role '{name}' already exists")));
    }
    let privileges = privileges(context, "create role failed")?;
    context.world.roles.insert(name.to_owned(), privileges);
    Ok(Reply::null())
}

/// The role in the path, which is one of one's own.
fn own_role(context: &Context<'_>, act: &str, what: &str) -> Result<String, Fault> {
    let name = context.need("roleid")?;
    match (context.world.roles.has(name), role(name)) {
        (true, _) => Ok(name.to_owned()),
        // Said before the file is looked at, so that nothing stands before it.
        (_, Some(_)) => Err(Fault::die(format!("auto-generated role '{name}' cannot be {what}"))),
        _ => Err(Fault::die(format!("{act}: role '{name}' does not exist"))),
    }
}

fn update_role(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let name = own_role(context, "update role failed", "modified")?;
    let given = privileges(context, "update role failed")?;
    let adds = context.flag("append");
    if let Some(role) = context.world.roles.edit(name.as_str()) {
        if !adds {
            role.clear();
        }
        role.extend(given);
        role.sort();
        role.dedup();
    }
    Ok(Reply::null())
}

fn remove_role(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let name = own_role(context, "delete role failed", "deleted")?;
    context.world.roles.remove(name.as_str());
    // A grant of a role that there is not is passed over, and gone with the next change.
    context.world.forget_grants(|grant| grant.role == name);
    Ok(Reply::null())
}
