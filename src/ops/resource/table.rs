//! The table of what a cluster has beside guests and nodes.

use serde_json::{Map, Value};

use super::{
    Resource, firewall, network, settings,
    uses::{Tie, Use},
    value::plain,
};
use crate::model::{List, Method};

/// Every sort.
pub static RESOURCES: &[Resource] = &[
    Resource {
        how: &["allow-move"],
        // A pool in a pool has a slash in its name, which only a parameter can have.
        uses: &[Use {
            read: ("", &[]),
            tie: Tie::Holds,
            way_out: "take its members out first: pvectl pool remove {name} MEMBER…",
            find: |_, pool| rows_of(&pool["members"], member),
        }],
        ..Resource::new("pool", "pools", "/pools", "/pools", &["poolid"])
    },
    Resource {
        uses: &[
            Use {
                read: ("/storage", &[]),
                tie: Tie::Holds,
                way_out: "delete what stands on it first",
                find: |name, all| {
                    let is_on = |one: &Value| word(one, "base").split(':').next() == Some(name);
                    let all = all.as_array().into_iter().flatten().filter(|one| is_on(one));
                    all.map(|one| format!("storage {}, which is on a volume of it", word(one, "storage"))).collect()
                },
            },
            Use { read: ("/nodes/{node}/storage/{storage}/content", &[]), tie: Tie::Stays, way_out: "", find: volumes },
            Use {
                read: ("/cluster/backup", &[]),
                tie: Tie::Stays,
                way_out: "",
                find: |name, jobs| rows_with(jobs, "storage", name, |job| format!("backup-job {}", word(job, "id"))),
            },
        ],
        more: &[
            (Method::Get, "/cluster/resources"),
            (Method::Get, "/nodes/{node}/storage/{storage}/content"),
            (Method::Get, "/nodes/{node}/storage"),
        ],
        ..Resource::new("storage", "storages", "/storage", "/storage/{storage}", &["storage"])
    },
    Resource {
        list: ("/access/users", &[("full", "1")]),
        how: &["append"],
        uses: &[
            Use { read: ("", &[]), tie: Tie::Goes, way_out: "", find: of_user },
            Use {
                read: ("/access/acl", &[]),
                tie: Tie::Goes,
                way_out: "",
                find: |name, all| {
                    let own =
                        |who: &str| who == name || who.strip_prefix(name).is_some_and(|rest| rest.starts_with('!'));
                    grants(all, |grant| word(grant, "type") != "group" && own(&word(grant, "ugid")))
                },
            },
        ],
        more: &[
            (Method::Put, "/access/password"),
            (Method::Get, "/access/tfa"),
            (Method::Delete, "/access/tfa/{userid}/{id}"),
            (Method::Put, "/access/users/{userid}/unlock-tfa"),
        ],
        ..Resource::new("user", "users", "/access/users", "/access/users/{userid}", &["userid"])
    },
    Resource {
        uses: &[
            Use {
                read: ("", &[]),
                tie: Tie::Stays,
                way_out: "",
                find: |_, group| rows_of(&group["members"], |user| format!("user {}", plain(user).unwrap_or_default())),
            },
            Use {
                read: ("/access/acl", &[]),
                tie: Tie::Goes,
                way_out: "",
                find: |name, all| grants(all, |grant| word(grant, "type") == "group" && word(grant, "ugid") == name),
            },
        ],
        ..Resource::new("group", "groups", "/access/groups", "/access/groups/{groupid}", &["groupid"])
    },
    Resource {
        how: &["append"],
        shape: privileges,
        uses: &[Use {
            read: ("/access/acl", &[]),
            tie: Tie::Goes,
            way_out: "",
            find: |name, all| grants(all, |grant| word(grant, "roleid") == name),
        }],
        ..Resource::new("role", "roles", "/access/roles", "/access/roles/{roleid}", &["roleid"])
    },
    Resource {
        uses: &[Use {
            read: ("/access/users", &[]),
            tie: Tie::Stays,
            way_out: "",
            find: |name, users| {
                let realm = |user: &Value| word(user, "userid").rsplit('@').next() == Some(name);
                let users = users.as_array().into_iter().flatten().filter(|user| realm(user));
                users.map(|user| format!("user {}", word(user, "userid"))).collect()
            },
        }],
        more: &[(Method::Post, "/access/domains/{realm}/sync")],
        ..Resource::new("realm", "realms", "/access/domains", "/access/domains/{realm}", &["realm"])
    },
    Resource {
        list: ("/access/users", &[("full", "1")]),
        made: TOKEN,
        between: '!',
        rows: tokens,
        how: &["regenerate"],
        acts: &["regenerate"],
        undeletable: &["expire", "privsep"],
        uses: &[Use {
            read: ("/access/acl", &[]),
            tie: Tie::Goes,
            way_out: "",
            find: |name, all| grants(all, |grant| word(grant, "type") == "token" && word(grant, "ugid") == name),
        }],
        ..Resource::new("token", "tokens", "", TOKEN, &["userid", "tokenid"])
    },
    Resource {
        undeletable: &["enabled"],
        more: &[(Method::Post, "/nodes/{node}/vzdump")],
        ..Resource::new("backup-job", "backup jobs", "/cluster/backup", "/cluster/backup/{id}", &["id"])
    },
    Resource {
        fixed: &[("type", "local")],
        goes_later: Some(
            "its node removes the copies first, within minutes: until then it is listed, and its name taken",
        ),
        more: &[
            (Method::Get, "/nodes/{node}/replication"),
            (Method::Post, "/nodes/{node}/replication/{id}/schedule_now"),
        ],
        ..Resource::new("replication", "replication jobs", "/cluster/replication", "/cluster/replication/{id}", &["id"])
    },
    Resource {
        uses: &[
            Use { read: HA_RULES, tie: Tie::Goes, way_out: "", find: |name, all| rules_about(name, all, true) },
            Use { read: HA_RULES, tie: Tie::Stays, way_out: "", find: |name, all| rules_about(name, all, false) },
        ],
        ..Resource::new("ha-resource", "HA resources", "/cluster/ha/resources", "/cluster/ha/resources/{sid}", &["sid"])
    },
    Resource {
        off_unset: &["disable"],
        ..Resource::new("ha-rule", "HA rules", "/cluster/ha/rules", "/cluster/ha/rules/{rule}", &["rule"])
    },
    Resource::new("mapping-pci", "PCI mappings", "/cluster/mapping/pci", "/cluster/mapping/pci/{id}", &["id"]),
    Resource::new("mapping-usb", "USB mappings", "/cluster/mapping/usb", "/cluster/mapping/usb/{id}", &["id"]),
    Resource::new("mapping-dir", "directory mappings", "/cluster/mapping/dir", "/cluster/mapping/dir/{id}", &["id"]),
    settings::CLUSTER,
    settings::NODE_CONFIG,
    settings::NODE_DNS,
    settings::NODE_TIME,
    settings::METRIC,
    network::NETWORK,
    firewall::RULE,
    firewall::OPTIONS,
    firewall::GROUP,
    firewall::IPSET,
    firewall::ENTRY,
    firewall::ALIAS,
];

const HA_RULES: (&str, &[(&str, &str)]) = ("/cluster/ha/rules", &[]);

const TOKEN: &str = "/access/users/{userid}/token/{tokenid}";

/// The entry of a sort, by its noun.
///
/// # Panics
/// For a word that is none: only for tables made at build time.
pub const fn resource(noun: &str) -> &'static Resource {
    let mut at = 0;
    while at < RESOURCES.len() {
        if is_same(RESOURCES[at].noun.as_bytes(), noun.as_bytes()) {
            return &RESOURCES[at];
        }
        at += 1;
    }
    panic!("no such resource")
}

/// The same for a word that may be none.
#[cfg(feature = "manifest")]
pub(in crate::ops) fn resource_named(noun: &str) -> Option<&'static Resource> {
    RESOURCES.iter().find(|of| of.noun == noun)
}

const fn is_same(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    let mut at = 0;
    while at < one.len() {
        if one[at] != other[at] {
            return false;
        }
        at += 1;
    }
    true
}

pub(super) fn word(row: &Value, key: &str) -> String {
    row.get(key).and_then(plain).unwrap_or_default()
}

pub(super) fn rows_of(rows: &Value, say: fn(&Value) -> String) -> Vec<String> {
    rows.as_array().into_iter().flatten().map(say).collect()
}

fn rows_with(rows: &Value, key: &str, value: &str, say: fn(&Value) -> String) -> Vec<String> {
    rows.as_array().into_iter().flatten().filter(|row| word(row, key) == value).map(say).collect()
}

/// A guest or a storage in a pool.
fn member(row: &Value) -> String {
    let name = word(row, "name");
    let name = if name.is_empty() { name } else { format!(" ({name})") };
    match word(row, "type").as_str() {
        "qemu" => format!("vm/{}{name}", word(row, "vmid")),
        "lxc" => format!("container/{}{name}", word(row, "vmid")),
        "storage" => format!("storage/{}", word(row, "storage")),
        other => format!("{other} {}", word(row, "id")),
    }
}

/// The guests that have volumes in a storage.
fn volumes(_: &str, content: &Value) -> Vec<String> {
    let mut guests: std::collections::BTreeMap<u64, usize> = std::collections::BTreeMap::new();
    for volume in content.as_array().into_iter().flatten() {
        let of_guest = ["images", "rootdir"].contains(&word(volume, "content").as_str());
        if let Some(vmid) = word(volume, "vmid").parse().ok().filter(|_| of_guest) {
            *guests.entry(vmid).or_default() += 1;
        }
    }
    guests
        .iter()
        .map(|(vmid, count)| format!("guest {vmid} ({count} disk{})", if *count == 1 { "" } else { "s" }))
        .collect()
}

/// The rules of HA that are about a resource: those about it alone go with it, the others go on without it.
fn rules_about(name: &str, rules: &Value, alone: bool) -> Vec<String> {
    let about = |rule: &Value| {
        let named = word(rule, "resources");
        let named = List::from(named.as_str());
        named.contains(name) && (named.iter().count() == 1) == alone
    };
    let rules = rules.as_array().into_iter().flatten().filter(|rule| about(rule));
    rules.map(|rule| format!("ha-rule {}", word(rule, "rule"))).collect()
}

/// What goes with a user: its tokens, and its place in groups.
fn of_user(name: &str, user: &Value) -> Vec<String> {
    let tokens = user["tokens"].as_object().into_iter().flatten().map(|(id, _)| format!("token {name}!{id}"));
    let groups = word(user, "groups");
    let groups: Vec<String> =
        List::from(groups.as_str()).iter().map(|group| format!("its place in group {group}")).collect();
    tokens.chain(groups).collect()
}

/// The grants that are meant, in words.
fn grants(all: &Value, is_meant: impl Fn(&Value) -> bool) -> Vec<String> {
    let meant = all.as_array().into_iter().flatten().filter(|grant| is_meant(grant));
    let say = |grant: &Value| {
        let [path, role, kind, who] = ["path", "roleid", "type", "ugid"].map(|key| word(grant, key));
        format!("{role} on {path} for {kind} {who}")
    };
    meant.map(say).collect()
}

/// The answer about a role is an object of its privileges.
fn privileges(answer: Value) -> Value {
    let Value::Object(map) = answer else { return Value::Null };
    let mut names: Vec<String> =
        map.into_iter().filter(|(_, has)| plain(has).as_deref() == Some("1")).map(|(name, _)| name).collect();
    names.sort();
    Value::Object(Map::from_iter([("privs".to_owned(), names.join(",").into())]))
}

/// The tokens in a list of users.
fn tokens(answer: Value) -> Vec<Value> {
    let of = |user: &Value| {
        let name = user["userid"].clone();
        let tokens = user["tokens"].as_array().cloned().unwrap_or_default();
        tokens.into_iter().map(move |mut token| {
            token["userid"] = name.clone();
            token
        })
    };
    answer.as_array().into_iter().flatten().flat_map(of).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::{contract::embedded, ops::Naming};

    #[test]
    fn every_entry_speaks_of_methods_that_there_are() {
        let mut nouns = BTreeSet::new();
        for of in RESOURCES {
            assert!(nouns.insert(of.noun), "{} twice", of.noun);
            let has = |method, path: &str| embedded().endpoint(method, path).is_some();
            for (_, paths) in of.reached() {
                assert!(has(Method::Get, paths.list) && has(Method::Get, paths.one), "{}", of.noun);
                let wanted = match of.naming {
                    Naming::Single => has(Method::Put, paths.one),
                    _ => has(Method::Post, paths.made) && has(Method::Delete, paths.one),
                };
                assert!(wanted, "{}: {paths:?}", of.noun);
            }
            for (method, path) in of.more {
                assert!(has(*method, path), "{}: {method} {path}", of.noun);
            }
            for place in of.uses.iter().map(|place| place.read.0).filter(|path| !path.is_empty()) {
                assert!(has(Method::Get, place), "{}: {place}", of.noun);
            }
            let endpoint = of.endpoint(Method::Get).unwrap();
            for key in of.keys {
                assert!(endpoint.parameters.get(key).is_some(), "{}: {key}", of.noun);
            }
        }
    }

    #[test]
    fn names_come_apart_and_together() {
        let token = resource("token");
        let row = serde_json::json!({"userid": "ann@pve", "tokenid": "t1"});
        assert_eq!(token.name_of(&row), "ann@pve!t1");
        let named = token.named("ann@pve!t1").unwrap();
        assert_eq!((named.get("userid"), named.get("tokenid")), (Some("ann@pve"), Some("t1")));
        assert_eq!(
            token.named("ann@pve").unwrap_err().message(),
            "`ann@pve` is no name of a token: USERID!TOKENID is expected"
        );
        assert_eq!(resource("pool").named("a/b").unwrap().get("poolid"), Some("a/b"));
    }
}
