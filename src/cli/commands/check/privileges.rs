//! What the usual verbs want, held against what somebody has.

use serde_json::json;

use crate::{
    client::Permissions,
    model::{Fact, FactStatus},
};

/// What the usual verbs want: a privilege, on what, for what, and the role that has it.
const USUAL: &[(&str, &str, &str, &str)] = &[
    ("VM.Audit", "/vms", "see guests", "PVEAuditor"),
    ("VM.PowerMgmt", "/vms", "start, stop", "PVEVMUser"),
    ("VM.Console", "/vms", "console", "PVEVMUser"),
    ("VM.Backup", "/vms", "backup", "PVEVMUser"),
    ("VM.Snapshot", "/vms", "snapshot", "PVEVMAdmin"),
    ("VM.Config.Options", "/vms", "update", "PVEVMAdmin"),
    ("VM.Config.Disk", "/vms", "add disk", "PVEVMAdmin"),
    ("VM.Clone", "/vms", "clone", "PVEVMAdmin"),
    ("VM.Migrate", "/vms", "migrate", "PVEVMAdmin"),
    ("VM.Allocate", "/vms", "create, delete", "PVEVMAdmin"),
    ("Datastore.Audit", "/storage", "see storages", "PVEAuditor"),
    ("Datastore.AllocateSpace", "/storage", "new disks", "PVEDatastoreUser"),
    ("SDN.Use", "/sdn", "network cards on a bridge", "PVESDNUser"),
    ("Sys.Audit", "/nodes", "see nodes and tasks of others", "PVEAuditor"),
];

/// The release from which on a network needs a privilege.
const SDN: (u32, u32) = (8, 0);

/// Holds what somebody has against what is usual on a server of this release.
pub(super) fn judge(user: &str, held: &Permissions, release: Option<(u32, u32)>) -> Fact {
    let everywhere = |path: &str, privilege: &str| {
        ["/", path].iter().any(|at| held.0.get(*at).and_then(|all| all.get(privilege)).is_some_and(|held| held.0))
    };
    let mut roles: Vec<&str> = Vec::new();
    let (mut lacks, mut partly, mut values) = (Vec::new(), Vec::new(), Vec::new());
    let has_sdn = release.is_none_or(|release| release >= SDN);
    for (privilege, path, used, role) in USUAL {
        if everywhere(path, privilege) || (*privilege == "SDN.Use" && !has_sdn) {
            continue;
        }
        let somewhere: Vec<&String> =
            held.0.iter().filter(|(_, all)| all.contains_key(*privilege)).map(|(path, _)| path).collect();
        values.push(json!({
            "privilege": privilege, "path": path, "for": used, "role": role, "only_on": somewhere,
        }));
        let words = format!("{privilege} ({used})");
        (if somewhere.is_empty() { &mut lacks } else { &mut partly }).push(words);
        if somewhere.is_empty() && !roles.contains(role) {
            roles.push(role);
        }
    }
    let whose = if user.contains('!') { "--token" } else { "--user" };
    let grants = |roles: &[&str]| {
        let all: Vec<String> =
            roles.iter().map(|role| format!("`pvectl acl add / {whose} '{user}' --role {role}`")).collect();
        format!(
            "Whoever may grants it: {}; a token with privilege separation needs it beside its user.",
            all.join(", ")
        )
    };
    let value = json!({"lacks": values});
    if held.0.values().all(std::collections::BTreeMap::is_empty) {
        let fact = Fact::new("privileges", FactStatus::Failed, format!("{user} may see and do nothing"));
        return fact.value(value).mend(grants(&["PVEVMAdmin", "PVEDatastoreUser", "PVESDNUser", "PVEAuditor"]));
    }
    let mut seen = Vec::new();
    if !lacks.is_empty() {
        seen.push(format!("lacks {}", lacks.join(", ")));
    }
    if !partly.is_empty() {
        seen.push(format!("has only on some paths {}", partly.join(", ")));
    }
    match (seen.is_empty(), roles.is_empty()) {
        (true, _) => Fact::ok("privileges", "all that the usual verbs want").value(value),
        (false, true) => Fact::ok("privileges", seen.join("; ")).value(value),
        (false, false) => Fact::warn("privileges", seen.join("; ")).value(value).mend(grants(&roles)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(permissions: serde_json::Value) -> Fact {
        judge("ann@pve", &serde_json::from_value(permissions).unwrap(), Some((9, 2)))
    }

    #[test]
    fn what_is_lacking_is_named_with_the_role_that_has_it() {
        let all: serde_json::Map<_, _> =
            USUAL.iter().map(|(privilege, ..)| ((*privilege).to_owned(), json!(1))).collect();
        assert_eq!(of(json!({"/": all})).status, FactStatus::Ok);
        let nothing = of(json!({"/": {}}));
        assert_eq!((nothing.status, nothing.seen.as_str()), (FactStatus::Failed, "ann@pve may see and do nothing"));
        let mut few = all;
        few.remove("VM.Allocate");
        few.insert("SDN.Use".to_owned(), json!(0));
        let some = of(json!({"/": few, "/vms/100": {"VM.Allocate": 1}}));
        assert_eq!(some.status, FactStatus::Ok, "{some:?}");
        assert_eq!(
            some.seen,
            "has only on some paths VM.Allocate (create, delete), SDN.Use (network cards on a bridge)"
        );
        let lacks = of(json!({"/vms": {"VM.Audit": 1, "VM.PowerMgmt": 1}}));
        assert_eq!(lacks.status, FactStatus::Warn);
        assert!(lacks.mend.unwrap().contains("`pvectl acl add / --user 'ann@pve' --role PVEVMAdmin`"));
        let old = judge("ann@pve", &Permissions::default(), Some((7, 4)));
        assert!(!old.value.to_string().contains("SDN.Use"));
    }
}
