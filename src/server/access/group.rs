//! Groups of users and roles of one's own.
//!
//! Whom they are granted to is in `acl`.

use serde_json::{Map, Value, json};

use super::{Asked, Group, Route};
use crate::{
    model::Method::{Delete, Get, Post, Put},
    server::{
        Fault, Reply,
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

fn members(asked: &Asked<'_>, name: &str) -> Vec<String> {
    let users = asked.people().users.iter();
    users.filter(|(_, user)| user.groups.iter().any(|group| group == name)).map(|(user, _)| user.clone()).collect()
}

fn groups(asked: &mut Asked<'_>) -> Result<Reply, Fault> {
    let rows = asked.people().groups.iter().map(|(name, group)| {
        let mut row = json!({"groupid": name, "users": members(asked, name).join(",")});
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

fn group(asked: &mut Asked<'_>) -> Result<Reply, Fault> {
    let name = asked.need("groupid")?;
    let group = asked.people().groups.get(name).ok_or_else(|| missing("", name))?;
    let mut row = json!({"members": members(asked, name)});
    if let Some(comment) = &group.comment {
        row["comment"] = comment.as_str().into();
    }
    Ok(Reply::data(row))
}

fn create_group(asked: &mut Asked<'_>) -> Result<Reply, Fault> {
    let name = asked.need("groupid")?;
    if asked.people().groups.has(name) {
        return Err(Fault::die(format!("create group failed: group '{name}' already exists")));
    }
    let group = Group { comment: asked.param("comment").map(str::to_owned) };
    asked.people_mut().groups.insert(name.to_owned(), group);
    Ok(Reply::null())
}

fn update_group(asked: &mut Asked<'_>) -> Result<Reply, Fault> {
    let name = asked.need("groupid")?;
    let comment = asked.param("comment").map(str::to_owned);
    let group = asked.people_mut().groups.edit(name).ok_or_else(|| missing("update group failed: ", name))?;
    if comment.is_some() {
        group.comment = comment.filter(|comment| !comment.is_empty());
    }
    Ok(Reply::null())
}

fn remove_group(asked: &mut Asked<'_>) -> Result<Reply, Fault> {
    let name = asked.need("groupid")?;
    if asked.people_mut().groups.remove(name).is_none() {
        return Err(missing("delete group failed: ", name));
    }
    asked.people_mut().forget_grants(|grant| grant.kind == "group" && grant.who == name);
    for user in members(asked, name) {
        if let Some(user) = asked.people_mut().users.edit(user.as_str()) {
            user.groups.retain(|group| group != name);
        }
    }
    Ok(Reply::null())
}

fn roles(asked: &mut Asked<'_>) -> Result<Reply, Fault> {
    let row = |name: &str, privileges: &[&str], special: u8| json!({"roleid": name, "privs": privileges.join(","), "special": special});
    let built_in = ROLES.iter().map(|(name, privileges)| row(name, privileges, 1));
    let own = asked.people().roles.keys().map(|name| row(name, &asked.people().role(name).unwrap_or_default(), 0));
    Ok(Reply::data(built_in.chain(own).collect::<Vec<_>>()))
}

fn one_role(asked: &mut Asked<'_>) -> Result<Reply, Fault> {
    let name = asked.need("roleid")?;
    let privileges = asked.people().role(name);
    let privileges = privileges.ok_or_else(|| Fault::die(format!("role '{name}' does not exist")))?;
    Ok(Reply::data(privileges.iter().map(|name| ((*name).to_owned(), 1.into())).collect::<Map<String, Value>>()))
}

/// The privileges in the request, each one that there is.
fn privileges(asked: &Asked<'_>, act: &str) -> Result<Vec<String>, Fault> {
    let known = role(ADMINISTRATOR).unwrap_or_default();
    let named = asked.list("privs");
    let check = |name: &str| match known.contains(&name) {
        true => Ok(name.to_owned()),
        false => Err(Fault::die(format!("{act}: invalid privilege '{name}'"))),
    };
    named.map(check).collect()
}

fn create_role(asked: &mut Asked<'_>) -> Result<Reply, Fault> {
    let name = asked.need("roleid")?;
    if asked.people().role(name).is_some() {
        return Err(Fault::die(format!("create role failed: role '{name}' already exists")));
    }
    let privileges = privileges(asked, "create role failed")?;
    asked.people_mut().roles.insert(name.to_owned(), privileges);
    Ok(Reply::null())
}

/// The role in the path, which is one of one's own.
fn own_role(asked: &Asked<'_>, act: &str, what: &str) -> Result<String, Fault> {
    let name = asked.need("roleid")?;
    match (asked.people().roles.has(name), role(name)) {
        (true, _) => Ok(name.to_owned()),
        // Said before the file is looked at, so that nothing stands before it.
        (_, Some(_)) => Err(Fault::die(format!("auto-generated role '{name}' cannot be {what}"))),
        _ => Err(Fault::die(format!("{act}: role '{name}' does not exist"))),
    }
}

fn update_role(asked: &mut Asked<'_>) -> Result<Reply, Fault> {
    let name = own_role(asked, "update role failed", "modified")?;
    let given = privileges(asked, "update role failed")?;
    let adds = asked.flag("append");
    if let Some(role) = asked.people_mut().roles.edit(name.as_str()) {
        if !adds {
            role.clear();
        }
        role.extend(given);
        role.sort();
        role.dedup();
    }
    Ok(Reply::null())
}

fn remove_role(asked: &mut Asked<'_>) -> Result<Reply, Fault> {
    let name = own_role(asked, "delete role failed", "deleted")?;
    asked.people_mut().roles.remove(name.as_str());
    // A grant of a role that there is not is passed over, and gone with the next change.
    asked.people_mut().forget_grants(|grant| grant.role == name);
    Ok(Reply::null())
}
