//! Users, tokens, grants, and what one may see.

use super::*;

fn alice() -> Asker {
    let mut asker = Asker::new();
    asker.post("/access/users", &[("userid", "alice@pve"), ("password", "PASSWORD2")]);
    asker.who = Identity { user: "alice@pve".into(), token: None };
    asker
}

fn as_root(asker: &mut Asker, work: impl FnOnce(&Asker)) {
    let who = std::mem::replace(&mut asker.who, root());
    work(asker);
    asker.who = who;
}

fn grant(asker: &mut Asker, path: &str, role: &str) {
    as_root(asker, |asker| {
        let params = [("path", path), ("users", "alice@pve"), ("roles", role)];
        asker.ask(Method::Put, "/access/acl", &params).unwrap();
    });
}

#[test]
fn lists_show_only_what_one_may_see() {
    let mut asker = alice();
    let vms = |asker: &Asker| {
        asker.ask(Method::Get, "/cluster/resources", &[("type", "vm")]).unwrap().data.as_array().unwrap().len()
    };
    let everything = asker.get("/cluster/resources");
    let kinds: BTreeSet<&str> =
        everything.as_array().unwrap().iter().map(|row| row["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, BTreeSet::from(["node"]));
    assert_eq!(everything[0].get("mem"), None);
    grant(&mut asker, "/vms/100", "PVEVMUser");
    assert_eq!(vms(&asker), 1);
    grant(&mut asker, "/pool/prod", "PVEVMUser");
    assert_eq!(vms(&asker), 2);
    assert_eq!(asker.get("/nodes/pve1/qemu").as_array().unwrap().len(), 1);
    asker.run("/nodes/pve1/qemu/100/status/reset", &[]);
    as_root(&mut asker, |asker| drop(asker.run("/nodes/pve1/qemu/100/status/reset", &[])));
    assert_eq!(asker.get("/nodes/pve1/tasks").as_array().unwrap().len(), 1);
}

#[test]
fn keys_and_storages_need_privileges_of_their_own() {
    let mut asker = alice();
    let bare = asker.fault(Method::Post, "/nodes/pve1/qemu", &[("vmid", "150")]);
    assert_eq!((bare.status, bare.message.as_str()), (403, "Permission check failed"));
    grant(&mut asker, "/vms/100", "PVEVMUser");
    let put = |asker: &Asker, key, value| asker.fault(Method::Put, "/nodes/pve1/qemu/100/config", &[(key, value)]);
    let memory = put(&asker, "memory", "320");
    assert_eq!((memory.status, memory.message.as_str()), (403, "Permission check failed (/vms/100, VM.Config.Memory)"));
    grant(&mut asker, "/vms/100", "PVEVMAdmin");
    let disk = put(&asker, "scsi1", "local-lvm:1");
    assert_eq!(disk.message, "Permission check failed (/storage/local-lvm, Datastore.AllocateSpace)");
    let net = put(&asker, "net1", "virtio,bridge=vmbr0");
    assert_eq!(net.message, "Permission check failed (/sdn/zones/localnetwork/vmbr0, SDN.Use)");
}

#[test]
fn grants_are_checked_and_listed() {
    let mut asker = alice();
    let permissions = asker.get("/access/permissions");
    assert_eq!(permissions, serde_json::json!({}));
    as_root(&mut asker, |asker| {
        let put = |path, role| {
            asker.fault(Method::Put, "/access/acl", &[("path", path), ("users", "alice@pve"), ("roles", role)])
        };
        assert_eq!(put("/vms/100", "Nope").message, "ACL update failed: role 'Nope' does not exist");
        assert_eq!(put("/nosuch", "PVEVMUser").errors["path"], "invalid ACL path '/nosuch'");
    });
    grant(&mut asker, "/vms/100", "PVEVMUser");
    let permissions = asker.get("/access/permissions");
    assert_eq!(permissions["/vms/100"]["VM.PowerMgmt"], 1);
    assert_eq!(permissions.as_object().unwrap().len(), 1);
}

#[tokio::test]
async fn tokens_are_checked_against_their_secret() {
    use secrecy::ExposeSecret as _;

    let asker = alice();
    let (id, secret) = asker.sandbox.token();
    assert_eq!(id, "root@pam!pvectl");
    assert!(asker.sandbox.check_token("root@pam", "pvectl", secret.expose_secret()).await);
    assert!(!asker.sandbox.check_token("root@pam", "pvectl", "00000000-0000-0000-0000-000000000000").await);
    assert!(!asker.sandbox.check_token("root@pam", "nope", secret.expose_secret()).await);
    let made = asker.ask(Method::Post, "/access/users/alice@pve/token/t1", &[("comment", "hello")]).unwrap().data;
    assert_eq!(made["info"], serde_json::json!({"privsep": "1", "comment": "hello"}));
    assert!(asker.sandbox.check_token("alice@pve", "t1", made["value"].as_str().unwrap()).await);
    assert_eq!(asker.get("/access/users/alice@pve")["tokens"]["t1"]["privsep"], 1);
    asker.ask(Method::Delete, "/access/users/alice@pve/token/t1", &[]).unwrap();
    assert!(!asker.sandbox.check_token("alice@pve", "t1", made["value"].as_str().unwrap()).await);
}

#[tokio::test]
async fn passwords_and_second_factors() {
    let asker = alice();
    assert_eq!(asker.sandbox.check_password("root@pam", "sandbox").await, Some(vec![]));
    assert_eq!(asker.sandbox.check_password("root@pam", "wrong").await, None);
    assert_eq!(asker.sandbox.check_password("nobody@pve", "sandbox").await, None);
    assert_eq!(asker.sandbox.check_password("alice@pve", "PASSWORD2").await, Some(vec![]));
    assert_eq!(asker.sandbox.check_password("totp@pve", "sandbox").await, Some(vec!["totp"]));
    assert!(asker.sandbox.check_second_factor("totp@pve", "totp:123456").await);
    assert!(!asker.sandbox.check_second_factor("totp@pve", "totp:000000").await);
}

#[test]
fn what_root_and_the_auditor_may() {
    let asker = Asker::new();
    let privileges = |user: &str, token: Option<&str>, path: &str| {
        let who = Identity { user: user.into(), token: token.map(str::to_owned) };
        asker.sandbox.privileges(&who, path)
    };
    assert!(privileges("root@pam", Some("pvectl"), "/vms/100").contains("VM.Allocate"));
    assert!(privileges("audit@pve", None, "/vms/100").contains("VM.Audit"));
    assert!(!privileges("audit@pve", Some("readonly"), "/vms/100").contains("VM.PowerMgmt"));
    assert!(privileges("nobody@pve", None, "/").is_empty());
}
