//! Grants, and who may do what.
//!
//! Users and tokens are in [`user`](super::user), groups and roles in [`group`](super::group); tickets are the kit's.

use serde_json::{Map, Value, json};

use super::{Context, Reply, Route};
use crate::{
    model::Method::{Get, Put},
    sandbox::world::access::{Grant, is_acl_path},
    server::Fault,
};

pub(super) const TABLE: &[Route] =
    &[(Get, "/access/acl", grants), (Put, "/access/acl", change_grants), (Get, "/access/permissions", permissions)];

fn grants(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let all = context.may("/access", &["Sys.Audit", "Permissions.Modify"]);
    let seen = context.world.grants.values();
    let seen = seen.filter(|grant| all || context.may(&grant.path, &["Permissions.Modify"]));
    let rows = seen.map(|grant| {
        json!({
            "path": grant.path, "type": grant.kind, "ugid": grant.who, "roleid": grant.role,
            "propagate": u8::from(grant.propagate),
        })
    });
    Ok(Reply::data(rows.collect::<Vec<_>>()))
}

fn change_grants(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let path = context.need("path")?;
    if !is_acl_path(path) {
        return Err(Fault::parameter("path", format!("invalid ACL path '{path}'")));
    }
    let list = |name: &str| context.list(name);
    let failed = |text: String| Fault::die(format!("ACL update failed: {text}"));
    let propagate = context.param("propagate") != Some("0");
    let mut changes = Vec::new();
    for name in list("roles") {
        if context.world.role(name).is_none() {
            return Err(failed(format!("role '{name}' does not exist")));
        }
        for (kind, plural) in [("user", "users"), ("group", "groups"), ("token", "tokens")] {
            for who in list(plural) {
                let known = match kind {
                    "user" => context.world.users.has(who),
                    "token" => context.world.tokens.has(who),
                    _ => context.world.groups.has(who),
                };
                if !known {
                    return Err(failed(format!("no such {kind} ('{who}')")));
                }
                let (path, kind, who) = (path.to_owned(), kind.to_owned(), who.to_owned());
                changes.push(Grant { path, kind, who, role: name.to_owned(), propagate });
            }
        }
    }
    for grant in changes {
        if context.flag("delete") {
            context.world.grants.remove(grant.key().as_str());
        } else {
            context.world.grants.insert(grant.key(), grant);
        }
    }
    Ok(Reply::null())
}

fn permissions(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let own = context.authid();
    let who = context.param("userid").unwrap_or(&own);
    if who.split('!').next() != own.split('!').next() {
        context.require("/access", &["Sys.Audit"])?;
    }
    let paths = match context.param("path") {
        Some(path) => std::collections::BTreeSet::from([path.to_owned()]),
        None => context.world.known_paths(),
    };
    let mut all = Map::new();
    for path in paths {
        let privileges = context.world.privileges(who, &path);
        if !privileges.is_empty() {
            let privileges = privileges.into_iter().map(|(name, below)| (name.to_owned(), u8::from(below).into()));
            all.insert(path, Value::from(privileges.collect::<Map<_, _>>()));
        }
    }
    Ok(Reply::data(Value::from(all)))
}
