//! Who may do what: users, tokens, grants of roles on paths, and the privileges that follow.
//!
//! Tickets and headers are the kit's business; the roles themselves are in the server kit's [`roles`](crate::server::roles).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Millis, World, hash, seconds};
use crate::server::roles::{ADMINISTRATOR, NO_ACCESS, role};

/// The user to whom nothing is forbidden.
pub(crate) const ROOT: &str = "root@pam";

/// The realms that every server has: name, type and comment.
pub(crate) const REALMS: &[(&str, &str, &str)] =
    &[("pam", "pam", "Linux PAM standard authentication"), ("pve", "pve", "Proxmox VE authentication server")];

/// Somebody who can log in.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct User {
    /// The salted hash of the password; nobody without one can log in.
    pub(crate) password: Option<String>,
    /// The answer to the second factor (`totp:123456`), hashed like the password.
    pub(crate) second_factor: Option<String>,
    pub(crate) enable: bool,
    /// Seconds since 1970; 0 is never.
    pub(crate) expire: i64,
    pub(crate) groups: Vec<String>,
    /// `comment`, `email`, `firstname`, `lastname`, `keys`.
    pub(crate) about: BTreeMap<String, String>,
}

/// Users to whom something can be granted at once.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Group {
    pub(crate) comment: Option<String>,
}

/// An API token.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Token {
    /// The salted hash of the secret.
    pub(crate) secret: String,
    /// Whether it has privileges of its own, at most its user's.
    pub(crate) privsep: bool,
    /// Seconds since 1970; 0 is never.
    pub(crate) expire: i64,
    pub(crate) comment: Option<String>,
}

/// A role for somebody on a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Grant {
    pub(crate) path: String,
    /// `user`, `group` or `token`.
    pub(crate) kind: String,
    /// Who.
    pub(crate) who: String,
    pub(crate) role: String,
    pub(crate) propagate: bool,
}

impl Grant {
    /// What it is found by.
    pub(crate) fn key(&self) -> String {
        format!("{} {} {} {}", self.path, self.kind, self.who, self.role)
    }
}

/// Privileges with whether they reach below the path.
pub(crate) type Privileges = BTreeMap<&'static str, bool>;

/// The paths from the root down to this one.
fn prefixes(path: &str) -> Vec<String> {
    let mut all = vec!["/".to_owned()];
    let mut so_far = String::new();
    for part in path.split('/').filter(|part| !part.is_empty()) {
        so_far = format!("{so_far}/{part}");
        all.push(so_far.clone());
    }
    all
}

impl World {
    /// The form in which passwords and secrets are kept.
    pub(crate) fn salted(&self, secret: &str) -> String {
        hash(&format!("{}/{secret}", self.meta().seed))
    }

    /// A user who may log in now.
    pub(crate) fn active_user(&self, user: &str, now: Millis) -> Option<&User> {
        self.users.get(user).filter(|user| user.enable && (user.expire == 0 || user.expire > seconds(now)))
    }

    /// A token that is valid now.
    pub(crate) fn active_token(&self, user: &str, token: &str, now: Millis) -> Option<&Token> {
        self.active_user(user, now)?;
        let token = self.tokens.get(format!("{user}!{token}").as_str())?;
        (token.expire == 0 || token.expire > seconds(now)).then_some(token)
    }

    /// The roles of a user or token on a path: what is granted deeper replaces what comes from above, what is granted
    /// to the user itself replaces what its groups have.
    fn roles(&self, kind: &str, who: &str, path: &str) -> BTreeMap<String, bool> {
        let groups = self.users.get(who).map(|user| user.groups.as_slice()).unwrap_or_default();
        let paths = prefixes(path);
        let mut roles = BTreeMap::new();
        for (depth, prefix) in paths.iter().enumerate() {
            let is_last = depth + 1 == paths.len();
            let here = || self.grants.values().filter(|g| g.path == *prefix && (is_last || g.propagate));
            let own = here().filter(|grant| grant.kind == kind && grant.who == who);
            let of_groups = here().filter(|grant| grant.kind == "group" && groups.contains(&grant.who));
            let granted = |grants: &mut dyn Iterator<Item = &Grant>| {
                grants.map(|grant| (grant.role.clone(), grant.propagate)).collect::<BTreeMap<_, _>>()
            };
            let mut found = granted(&mut own.into_iter());
            if found.is_empty() {
                found = granted(&mut of_groups.into_iter());
            }
            if !found.is_empty() {
                roles = found;
            }
        }
        roles
    }

    fn granted(&self, kind: &str, who: &str, path: &str) -> Privileges {
        let mut privileges = Privileges::new();
        if who == ROOT {
            privileges.extend(role(ADMINISTRATOR).unwrap_or_default().iter().map(|privilege| (*privilege, true)));
            return privileges;
        }
        let mut roles = self.roles(kind, who, path);
        if let Some(pool) = self.pool_of(path) {
            let inherited = self.roles(kind, who, &format!("/pool/{pool}"));
            roles.extend(inherited.into_keys().map(|role| (role, false)));
        }
        if roles.contains_key(NO_ACCESS) {
            return privileges;
        }
        for (name, propagate) in roles {
            for privilege in self.role(&name).unwrap_or_default() {
                *privileges.entry(privilege).or_default() |= propagate;
            }
        }
        privileges
    }

    /// The privileges of a role, built in or one's own, if there is such a role.
    pub(crate) fn role(&self, name: &str) -> Option<Vec<&'static str>> {
        let known = role(ADMINISTRATOR).unwrap_or_default();
        let own = |names: &Vec<String>| {
            known.iter().copied().filter(|known| names.iter().any(|name| name == known)).collect::<Vec<_>>()
        };
        role(name).map(<[_]>::to_vec).or_else(|| self.roles.get(name).map(own))
    }

    /// Whether there is a realm of this name.
    pub(crate) fn has_realm(&self, name: &str) -> bool {
        REALMS.iter().any(|(have, ..)| *have == name) || self.things.has(format!("/access/domains {name}").as_str())
    }

    fn pool_of(&self, path: &str) -> Option<&str> {
        let vmid: u32 = path.strip_prefix("/vms/")?.parse().ok()?;
        self.guests.get(&vmid)?.pool.as_deref()
    }

    /// The privileges of `user@realm` or `user@realm!token` on a path.
    pub(crate) fn privileges(&self, authid: &str, path: &str) -> Privileges {
        let Some((user, _)) = authid.split_once('!') else { return self.granted("user", authid, path) };
        let of_user = self.granted("user", user, path);
        match self.tokens.get(authid) {
            None => Privileges::new(),
            Some(token) if !token.privsep => of_user,
            Some(_) => {
                let own = self.granted("token", authid, path);
                own.into_iter().filter(|(privilege, _)| of_user.contains_key(privilege)).collect()
            }
        }
    }

    /// Whether somebody has one of these privileges on a path.
    pub(crate) fn may(&self, authid: &str, path: &str, any: &[&str]) -> bool {
        if self.is_almighty(authid) {
            return true;
        }
        let privileges = self.privileges(authid, path);
        any.iter().any(|privilege| privileges.contains_key(privilege))
    }

    /// Whether no look at the grants is needed: root, and its tokens without privilege separation.
    pub(crate) fn is_almighty(&self, authid: &str) -> bool {
        let is_token = || authid.split('!').next() == Some(ROOT) && self.tokens.get(authid).is_some_and(|t| !t.privsep);
        authid == ROOT || is_token()
    }

    /// The paths that `GET /access/permissions` looks at.
    pub(crate) fn known_paths(&self) -> BTreeSet<String> {
        const FIXED: [&str; 8] = ["/", "/access", "/access/groups", "/nodes", "/pool", "/sdn", "/storage", "/vms"];
        let fixed = FIXED.into_iter().map(str::to_owned);
        fixed.chain(self.grants.values().map(|grant| grant.path.clone())).collect()
    }

    /// Takes away every grant that is meant.
    pub(crate) fn forget_grants(&mut self, is_meant: impl Fn(&Grant) -> bool) {
        let keys: Vec<String> =
            self.grants.iter().filter(|(_, grant)| is_meant(grant)).map(|(key, _)| key.clone()).collect();
        for key in keys {
            self.grants.remove(key.as_str());
        }
    }

    /// Takes away a token and what was granted to it; says whether there was one.
    pub(crate) fn remove_token(&mut self, authid: &str) -> bool {
        self.forget_grants(|grant| grant.kind == "token" && grant.who == authid);
        self.tokens.remove(authid).is_some()
    }
}

/// Whether a path is one that grants may name.
pub(crate) fn is_acl_path(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    match parts.as_slice() {
        [""] | ["access" | "nodes" | "pool" | "sdn" | "storage" | "vms" | "mapping"] => path.starts_with('/'),
        ["access", "groups" | "realm"] => true,
        ["access", "groups" | "realm", name] | ["nodes" | "pool" | "storage", name] => !name.is_empty(),
        ["vms", vmid] => vmid.parse::<u32>().is_ok_and(|vmid| vmid >= 100),
        ["sdn", "zones", rest @ ..] => rest.len() <= 3,
        ["mapping", "dir" | "pci" | "usb", rest @ ..] => rest.len() <= 1,
        ["pool", _, _] | ["pool", _, _, _] => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::{Shape, world::fresh};

    fn grant(world: &mut World, path: &str, kind: &str, who: &str, role: &str, propagate: bool) {
        let (path, kind, who, role) = (path.into(), kind.into(), who.into(), role.into());
        let grant = Grant { path, kind, who, role, propagate };
        world.grants.insert(grant.key(), grant);
    }

    fn world() -> World {
        let mut world = fresh::world(&Shape::default(), "seed", 0);
        world.users.insert("alice@pve".into(), User { enable: true, ..User::default() });
        world
    }

    #[test]
    fn what_is_granted_deeper_replaces_what_comes_from_above() {
        let mut world = world();
        grant(&mut world, "/", "user", "alice@pve", "PVEVMAdmin", true);
        grant(&mut world, "/vms/103", "user", "alice@pve", "PVEAuditor", true);
        assert!(world.may("alice@pve", "/vms/101", &["VM.PowerMgmt"]));
        assert!(!world.may("alice@pve", "/vms/103", &["VM.PowerMgmt"]));
        assert!(world.may("alice@pve", "/vms/103", &["VM.Audit"]));
        grant(&mut world, "/vms/101", "user", "alice@pve", "NoAccess", true);
        assert!(!world.may("alice@pve", "/vms/101", &["VM.Audit"]));
    }

    #[test]
    fn a_pools_guests_have_its_roles() {
        let mut world = world();
        grant(&mut world, "/pool/prod", "user", "alice@pve", "PVEVMUser", true);
        assert!(world.may("alice@pve", "/vms/100", &["VM.PowerMgmt"]));
        assert!(!world.may("alice@pve", "/vms/101", &["VM.PowerMgmt"]));
    }

    #[test]
    fn a_grant_that_does_not_propagate_stays_on_its_path() {
        let mut world = world();
        grant(&mut world, "/vms", "user", "alice@pve", "PVEVMUser", false);
        assert!(world.may("alice@pve", "/vms", &["VM.Audit"]));
        assert!(!world.may("alice@pve", "/vms/100", &["VM.Audit"]));
    }

    #[test]
    fn a_separated_token_has_what_both_have() {
        let mut world = world();
        grant(&mut world, "/vms", "user", "alice@pve", "PVEVMUser", true);
        let token = Token { secret: String::new(), privsep: true, expire: 0, comment: None };
        world.tokens.insert("alice@pve!t".into(), token);
        assert!(!world.may("alice@pve!t", "/vms/100", &["VM.Audit"]));
        grant(&mut world, "/vms/100", "token", "alice@pve!t", "PVEVMAdmin", true);
        assert!(world.may("alice@pve!t", "/vms/100", &["VM.PowerMgmt"]));
        assert!(!world.may("alice@pve!t", "/vms/100", &["VM.Allocate"]));
    }

    #[test]
    fn knows_acl_paths() {
        for good in
            ["/", "/vms", "/vms/100", "/storage/local", "/access/groups/admins", "/sdn/zones/localnetwork/vmbr0"]
        {
            assert!(is_acl_path(good), "{good}");
        }
        for bad in ["/nosuch", "/vms/abc", "vms/100", "/vms/100/x", ""] {
            assert!(!is_acl_path(bad), "{bad}");
        }
    }
}
