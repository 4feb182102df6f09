//! The rules: what is kept of users, tokens, groups and grants, and the privileges that follow from it.
//!
//! Pure: no requests, no time of their own, no file. Which privileges a call wants is the contract's to say.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::Table;
use crate::server::roles::{ADMINISTRATOR, NO_ACCESS, role};

/// The user to whom nothing is forbidden.
pub const ROOT: &str = "root@pam";

/// The realms that every server has: name, type and comment.
pub const REALMS: &[(&str, &str, &str)] =
    &[("pam", "pam", "Linux PAM standard authentication"), ("pve", "pve", "Proxmox VE authentication server")];

/// Somebody who can log in.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct User {
    /// The salted hash of the password; nobody without one can log in.
    pub password: Option<String>,
    /// The answer to the second factor (`totp:123456`), hashed like the password.
    pub second_factor: Option<String>,
    /// Whether it may log in at all.
    pub enable: bool,
    /// Seconds since 1970; 0 is never.
    pub expire: i64,
    /// The groups that it is in.
    pub groups: Vec<String>,
    /// `comment`, `email`, `firstname`, `lastname`, `keys`.
    pub about: BTreeMap<String, String>,
}

/// Users to whom something can be granted at once.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Group {
    /// For people.
    pub comment: Option<String>,
}

/// An API token.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Token {
    /// The salted hash of the secret.
    pub secret: String,
    /// Whether it has privileges of its own, at most its user's.
    pub privsep: bool,
    /// Seconds since 1970; 0 is never.
    pub expire: i64,
    /// For people.
    pub comment: Option<String>,
}

/// A role for somebody on a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// `/vms/100`.
    pub path: String,
    /// `user`, `group` or `token`.
    pub kind: String,
    /// Who.
    pub who: String,
    /// Its name.
    pub role: String,
    /// Whether it holds below the path too.
    pub propagate: bool,
}

impl Grant {
    /// What it is found by.
    pub fn key(&self) -> String {
        format!("{} {} {} {}", self.path, self.kind, self.who, self.role)
    }
}

/// Privileges with whether they reach below the path.
pub type Privileges = BTreeMap<&'static str, bool>;

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

/// Everybody and everything that was granted.
#[derive(Debug, Default)]
pub struct People {
    /// By `user@realm`.
    pub users: Table<String, User>,
    /// By `user@realm!token`.
    pub tokens: Table<String, Token>,
    /// By [`Grant::key`].
    pub grants: Table<String, Grant>,
    /// By name.
    pub groups: Table<String, Group>,
    /// Privileges of roles of one's own, by name.
    pub roles: Table<String, Vec<String>>,
}

impl People {
    /// A user who may log in at this time, in seconds since 1970.
    pub fn active_user(&self, user: &str, now: i64) -> Option<&User> {
        self.users.get(user).filter(|user| user.enable && (user.expire == 0 || user.expire > now))
    }

    /// A token that is valid at this time.
    pub fn active_token(&self, user: &str, token: &str, now: i64) -> Option<&Token> {
        self.active_user(user, now)?;
        let token = self.tokens.get(format!("{user}!{token}").as_str())?;
        (token.expire == 0 || token.expire > now).then_some(token)
    }

    /// The roles of a user or token on a path: what is granted deeper replaces what comes from above, what is granted
    /// to the user itself replaces what its groups have.
    fn roles_on(&self, kind: &str, who: &str, path: &str) -> BTreeMap<String, bool> {
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

    fn granted(&self, kind: &str, who: &str, path: &str, pool: Option<&str>) -> Privileges {
        let mut privileges = Privileges::new();
        if who == ROOT {
            privileges.extend(role(ADMINISTRATOR).unwrap_or_default().iter().map(|privilege| (*privilege, true)));
            return privileges;
        }
        let mut roles = self.roles_on(kind, who, path);
        if let Some(pool) = pool {
            let inherited = self.roles_on(kind, who, &format!("/pool/{pool}"));
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
    pub fn role(&self, name: &str) -> Option<Vec<&'static str>> {
        let known = role(ADMINISTRATOR).unwrap_or_default();
        let own = |names: &Vec<String>| {
            known.iter().copied().filter(|known| names.iter().any(|name| name == known)).collect::<Vec<_>>()
        };
        role(name).map(<[_]>::to_vec).or_else(|| self.roles.get(name).map(own))
    }

    /// The privileges of `user@realm` or `user@realm!token` on a path; `pool` is that of the guest that the path names.
    pub fn privileges(&self, authid: &str, path: &str, pool: Option<&str>) -> Privileges {
        let Some((user, _)) = authid.split_once('!') else { return self.granted("user", authid, path, pool) };
        let of_user = self.granted("user", user, path, pool);
        match self.tokens.get(authid) {
            None => Privileges::new(),
            Some(token) if !token.privsep => of_user,
            Some(_) => {
                let own = self.granted("token", authid, path, pool);
                own.into_iter().filter(|(privilege, _)| of_user.contains_key(privilege)).collect()
            }
        }
    }

    /// Whether no look at the grants is needed: root, and its tokens without privilege separation.
    pub fn is_almighty(&self, authid: &str) -> bool {
        let is_token = || authid.split('!').next() == Some(ROOT) && self.tokens.get(authid).is_some_and(|t| !t.privsep);
        authid == ROOT || is_token()
    }

    /// The paths that `GET /access/permissions` looks at.
    pub fn known_paths(&self) -> BTreeSet<String> {
        const FIXED: [&str; 8] = ["/", "/access", "/access/groups", "/nodes", "/pool", "/sdn", "/storage", "/vms"];
        let fixed = FIXED.into_iter().map(str::to_owned);
        fixed.chain(self.grants.values().map(|grant| grant.path.clone())).collect()
    }

    /// Takes away every grant that is meant.
    pub fn forget_grants(&mut self, is_meant: impl Fn(&Grant) -> bool) {
        let keys: Vec<String> =
            self.grants.iter().filter(|(_, grant)| is_meant(grant)).map(|(key, _)| key.clone()).collect();
        for key in keys {
            self.grants.remove(key.as_str());
        }
    }

    /// Takes away a token and what was granted to it; says whether there was one.
    pub fn remove_token(&mut self, authid: &str) -> bool {
        self.forget_grants(|grant| grant.kind == "token" && grant.who == authid);
        self.tokens.remove(authid).is_some()
    }
}

/// Whether a path is one that grants may name.
pub(super) fn is_acl_path(path: &str) -> bool {
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

    fn grant(people: &mut People, path: &str, kind: &str, who: &str, role: &str, propagate: bool) {
        let (path, kind, who, role) = (path.into(), kind.into(), who.into(), role.into());
        let grant = Grant { path, kind, who, role, propagate };
        people.grants.insert(grant.key(), grant);
    }

    fn people() -> People {
        let mut people = People::default();
        people.users.insert("alice@pve".into(), User { enable: true, ..User::default() });
        people
    }

    fn may(people: &People, who: &str, path: &str, privilege: &str) -> bool {
        people.privileges(who, path, Some("prod").filter(|_| path == "/vms/100")).contains_key(privilege)
    }

    #[test]
    fn what_is_granted_deeper_replaces_what_comes_from_above() {
        let mut people = people();
        grant(&mut people, "/", "user", "alice@pve", "PVEVMAdmin", true);
        grant(&mut people, "/vms/103", "user", "alice@pve", "PVEAuditor", true);
        assert!(may(&people, "alice@pve", "/vms/101", "VM.PowerMgmt"));
        assert!(!may(&people, "alice@pve", "/vms/103", "VM.PowerMgmt"));
        assert!(may(&people, "alice@pve", "/vms/103", "VM.Audit"));
        grant(&mut people, "/vms/101", "user", "alice@pve", "NoAccess", true);
        assert!(!may(&people, "alice@pve", "/vms/101", "VM.Audit"));
    }

    #[test]
    fn a_pools_guests_have_its_roles() {
        let mut people = people();
        grant(&mut people, "/pool/prod", "user", "alice@pve", "PVEVMUser", true);
        assert!(may(&people, "alice@pve", "/vms/100", "VM.PowerMgmt"));
        assert!(!may(&people, "alice@pve", "/vms/101", "VM.PowerMgmt"));
    }

    #[test]
    fn a_grant_that_does_not_propagate_stays_on_its_path() {
        let mut people = people();
        grant(&mut people, "/vms", "user", "alice@pve", "PVEVMUser", false);
        assert!(may(&people, "alice@pve", "/vms", "VM.Audit"));
        assert!(!may(&people, "alice@pve", "/vms/100", "VM.Audit"));
    }

    #[test]
    fn a_separated_token_has_what_both_have() {
        let mut people = people();
        grant(&mut people, "/vms", "user", "alice@pve", "PVEVMUser", true);
        let token = Token { secret: String::new(), privsep: true, expire: 0, comment: None };
        people.tokens.insert("alice@pve!t".into(), token);
        assert!(!may(&people, "alice@pve!t", "/vms/100", "VM.Audit"));
        grant(&mut people, "/vms/100", "token", "alice@pve!t", "PVEVMAdmin", true);
        assert!(may(&people, "alice@pve!t", "/vms/100", "VM.PowerMgmt"));
        assert!(!may(&people, "alice@pve!t", "/vms/100", "VM.Allocate"));
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
