//! Random people and grants, and what they may do: laws that hold whatever was granted to whom.

use std::collections::BTreeSet;

use proptest::{collection::vec, prelude::*, sample::select};

use super::*;
use crate::server::roles::{NO_ACCESS, role};

const PATHS: &[&str] = &["/", "/vms", "/vms/100", "/vms/101", "/storage", "/storage/local", "/nodes", "/nodes/here"];
const USERS: &[&str] = &["alice@pve", "bob@pve", "root@pam"];
const ROLES: &[&str] = &["Administrator", "PVEVMUser", "PVEVMAdmin", "PVEAuditor", "PVEDatastoreUser", "NoAccess"];

fn grants() -> impl Strategy<Value = Vec<Grant>> {
    let who = prop_oneof![
        select(USERS).prop_map(|user| ("user", user.to_owned())),
        select(USERS).prop_map(|user| ("token", format!("{user}!t"))),
        select(&["staff", "guests"][..]).prop_map(|group| ("group", group.to_owned())),
    ];
    let one = (select(PATHS), who, select(ROLES), any::<bool>()).prop_map(|(path, (kind, who), role, propagate)| {
        Grant { path: path.to_owned(), kind: kind.to_owned(), who, role: role.to_owned(), propagate }
    });
    vec(one, 0..12)
}

fn people() -> impl Strategy<Value = People> {
    let groups = vec(vec(select(&["staff", "guests"][..]), 0..2), USERS.len());
    (grants(), groups, any::<bool>()).prop_map(|(grants, groups, privsep)| {
        let mut people = People::default();
        for (user, groups) in USERS.iter().zip(groups) {
            let groups = groups.into_iter().map(str::to_owned).collect();
            people.users.insert((*user).to_owned(), User { enable: true, groups, ..User::default() });
            let token = Token { secret: String::new(), privsep, expire: 0, comment: None };
            people.tokens.insert(format!("{user}!t"), token);
        }
        for grant in grants {
            people.grants.insert(grant.key(), grant);
        }
        people
    })
}

fn names(privileges: &Privileges) -> BTreeSet<&'static str> {
    privileges.keys().copied().collect()
}

/// The rules once more, as the documentation tells them: the deepest path that says anything about somebody counts, there
/// its own roles before those of its groups, and `NoAccess` among them takes everything.
fn told(people: &People, kind: &str, who: &str, path: &str) -> BTreeSet<&'static str> {
    if who == ROOT {
        return role("Administrator").unwrap().iter().copied().collect();
    }
    let mut at = path.to_owned();
    loop {
        let here: Vec<&Grant> =
            people.grants.values().filter(|grant| grant.path == at && (grant.propagate || at == path)).collect();
        let own: Vec<&str> =
            here.iter().filter(|g| g.kind == kind && g.who == who).map(|grant| grant.role.as_str()).collect();
        let in_group = |g: &&&Grant| {
            let groups = people.users.get(who).map(|user| user.groups.clone()).unwrap_or_default();
            g.kind == "group" && groups.contains(&g.who)
        };
        let shared: Vec<&str> = here.iter().filter(in_group).map(|grant| grant.role.as_str()).collect();
        let counts = if own.is_empty() { shared } else { own };
        if counts.contains(&NO_ACCESS) {
            return BTreeSet::new();
        }
        if !counts.is_empty() {
            return counts.iter().flat_map(|name| role(name).unwrap()).copied().collect();
        }
        if at == "/" {
            return BTreeSet::new();
        }
        at.truncate(at.rfind('/').unwrap_or(0));
        if at.is_empty() {
            at.push('/');
        }
    }
}

proptest! {
    #[test]
    fn privileges_are_what_the_documentation_tells(people in people(), user in select(USERS), path in select(PATHS)) {
        let of_user = names(&people.privileges(user, path, None));
        prop_assert_eq!(&of_user, &told(&people, "user", user, path));
        let token = format!("{user}!t");
        let of_token = names(&people.privileges(&token, path, None));
        let privsep = people.tokens.get(token.as_str()).unwrap().privsep;
        let want = match privsep {
            false => of_user.clone(),
            true => told(&people, "token", &token, path).intersection(&of_user).copied().collect(),
        };
        prop_assert_eq!(&of_token, &want);
        prop_assert!(of_token.is_subset(&of_user));
    }

    #[test]
    fn what_is_taken_away_is_gone_at_once(mut people in people(), user in select(&USERS[..2]), path in select(PATHS)) {
        let token = format!("{user}!t");
        people.remove_token(&token);
        prop_assert!(people.privileges(&token, path, None).is_empty());
        prop_assert!(people.grants.values().all(|grant| grant.who != token));
        people.forget_grants(|grant| grant.who == user || grant.kind == "group");
        prop_assert!(people.privileges(user, path, None).is_empty());
    }

    #[test]
    fn who_is_not_known_may_nothing(people in people(), path in select(PATHS)) {
        for nobody in ["", "nobody@pve", "nobody@pve!t", "root@pam!other", "alice@pve!other", "root@pam!t!t"] {
            prop_assert!(people.privileges(nobody, path, None).is_empty(), "{nobody}");
            prop_assert!(!people.is_almighty(nobody), "{nobody}");
        }
    }
}
