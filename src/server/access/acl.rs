//! Grants, and who may do what.
//!
//! Users and tokens are in `user`, groups and roles in `group`; tickets are the kit's.

use serde_json::{Map, Value, json};

use super::{Asked, Grant, Route, is_acl_path};
use crate::{
    model::Method::{Get, Put},
    server::{Fault, Reply},
};

pub(super) const TABLE: &[Route] =
    &[(Get, "/access/acl", grants), (Put, "/access/acl", change_grants), (Get, "/access/permissions", permissions)];

fn grants(asked: &mut Asked<'_>) -> Result<Reply, Fault> {
    let all = asked.may("/access", &["Sys.Audit", "Permissions.Modify"]);
    let seen = asked.people().grants.values();
    let seen = seen.filter(|grant| all || asked.may(&grant.path, &["Permissions.Modify"]));
    let rows = seen.map(|grant| {
        json!({
            "path": grant.path, "type": grant.kind, "ugid": grant.who, "roleid": grant.role,
            "propagate": u8::from(grant.propagate),
        })
    });
    Ok(Reply::data(rows.collect::<Vec<_>>()))
}

fn change_grants(asked: &mut Asked<'_>) -> Result<Reply, Fault> {
    let path = asked.need("path")?;
    if !is_acl_path(path) {
        return Err(Fault::parameter("path", format!("invalid ACL path '{path}'")));
    }
    let list = |name: &str| asked.list(name);
    let failed = |text: String| Fault::die(format!("ACL update failed: {text}"));
    let propagate = asked.param("propagate") != Some("0");
    let mut changes = Vec::new();
    for name in list("roles") {
        if asked.people().role(name).is_none() {
            return Err(failed(format!("role '{name}' does not exist")));
        }
        pass_on(asked, path, name, propagate)?;
        for (kind, plural) in [("user", "users"), ("group", "groups"), ("token", "tokens")] {
            for who in list(plural) {
                let known = match kind {
                    "user" => asked.people().users.has(who),
                    "token" => asked.people().tokens.has(who),
                    _ => asked.people().groups.has(who),
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
        if asked.flag("delete") {
            asked.people_mut().grants.remove(grant.key().as_str());
        } else {
            asked.people_mut().grants.insert(grant.key(), grant);
        }
    }
    Ok(Reply::null())
}

/// Whoever may not change permissions there at large passes on no more than it has itself.
fn pass_on(asked: &Asked<'_>, path: &str, role: &str, propagate: bool) -> Result<(), Fault> {
    let own = asked.directory.privileges(&asked.authid(), path);
    if own.contains_key("Permissions.Modify") {
        return Ok(());
    }
    let verb = if asked.flag("delete") { "remove" } else { "add" };
    let refused = |how: &str, what: &str| {
        let text = format!("Cannot {verb} role '{role}'{how} - requires 'Permissions.Modify' or {what} of privileges.");
        Err(Fault::parameter("roles", text))
    };
    for privilege in asked.people().role(role).unwrap_or_default() {
        match own.get(privilege) {
            None => return refused("", "superset"),
            Some(false) if propagate => return refused(" with propagate", "propagated superset"),
            Some(_) => {}
        }
    }
    Ok(())
}

fn permissions(asked: &mut Asked<'_>) -> Result<Reply, Fault> {
    let own = asked.authid();
    let who = asked.param("userid").unwrap_or(&own);
    if who.split('!').next() != own.split('!').next() {
        asked.require("/access", &["Sys.Audit"])?;
    }
    let paths = match asked.param("path") {
        Some(path) => std::collections::BTreeSet::from([path.to_owned()]),
        None => asked.people().known_paths(),
    };
    let mut all = Map::new();
    for path in paths {
        let privileges = asked.directory.privileges(who, &path);
        if !privileges.is_empty() {
            let privileges = privileges.into_iter().map(|(name, below)| (name.to_owned(), u8::from(below).into()));
            all.insert(path, Value::from(privileges.collect::<Map<_, _>>()));
        }
    }
    Ok(Reply::data(Value::from(all)))
}
