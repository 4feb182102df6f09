//! The file of people: what holds, what no longer does, and what was in it before.

use rusqlite::{Connection, params};
use secrecy::ExposeSecret;

use super::{Access, access::VERSION_1, book};
use crate::{
    model::{Class, Method, Params},
    server::{
        Identity, Reply, Request,
        access::{ROOT, route},
    },
    sqlite,
};

fn may(access: &Access, authid: &str, privilege: &str) -> bool {
    access.privileges(authid, "/vms/100").contains(privilege)
}

fn request(method: Method, template: &'static str, params: &[(&str, &str)]) -> Request {
    let params: Params = params.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let identity = Some(Identity { user: ROOT.to_owned(), token: None });
    Request { method, template, params, identity, upload: None, task_ends: None, id: String::new() }
}

fn said(access: &Access, method: Method, template: &'static str, params: &[(&str, &str)]) -> Reply {
    let handler = route(method, template).unwrap();
    access.answer(handler, &request(method, template, params)).unwrap()
}

#[test]
fn a_token_holds_until_it_is_revoked_or_over() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("tokens.db");
    let access = Access::open(&path).unwrap();
    assert!(access.is_new());
    let issued = access.issue("one", None).unwrap();
    let secret = issued.secret.expose_secret();
    assert!(!access.is_new() && !access.knows("root@pam!one", secret));
    for _ in 0..2 {
        assert!(access.check("root@pam!one", secret) && access.knows("root@pam!one", secret));
        assert!(!access.check("root@pam!one", &format!("{secret}x")));
        assert!(!access.knows("root@pam!one", &format!("{secret}x")));
    }
    assert!(!access.check("root@pam!two", secret));
    assert!(may(&access, "root@pam!one", "VM.Allocate"));
    assert_eq!(access.issue("one", None).unwrap_err().class(), Class::Conflict);
    // Somebody else takes it away.
    let token = "/access/users/{userid}/token/{tokenid}";
    let named = [("userid", ROOT), ("tokenid", "one")];
    said(&Access::open(&path).unwrap(), Method::Delete, token, &named);
    assert!(!access.knows("root@pam!one", secret) && !access.check("root@pam!one", secret));
    assert!(!may(&access, "root@pam!one", "VM.Audit"));
    let over = said(&access, Method::Post, token, &[("userid", ROOT), ("tokenid", "over"), ("expire", "1")]);
    assert!(!access.check("root@pam!over", over.data["value"].as_str().unwrap()));
    assert!(!std::fs::read(&path).unwrap().windows(8).any(|bytes| bytes == &secret.as_bytes()[..8]));
}

#[test]
fn users_are_let_in_by_their_password_until_they_are_not() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("tokens.db");
    let access = Access::open(&path).unwrap();
    access.set_password(ROOT, "roots own").unwrap();
    assert!(access.is_password(ROOT, "roots own") && !access.is_password(ROOT, "roots owN"));
    assert_eq!(access.set_password("a@pve", "password").unwrap_err().class(), Class::NotFound);
    said(&access, Method::Post, "/access/users", &[("userid", "a@pve"), ("password", "password")]);
    assert!(access.is_active("a@pve") && access.is_password("a@pve", "password"));
    let acl = [("path", "/vms"), ("users", "a@pve"), ("roles", "PVEVMUser")];
    said(&access, Method::Put, "/access/acl", &acl);
    // Another process knows it at once, and the other way round.
    let other = Access::open(&path).unwrap();
    assert!(may(&other, "a@pve", "VM.PowerMgmt") && !may(&other, "a@pve", "VM.Allocate"));
    said(&other, Method::Put, "/access/users/{userid}", &[("userid", "a@pve"), ("enable", "0")]);
    assert!(!access.is_active("a@pve") && !access.is_password("a@pve", "password"));
    let text = std::fs::read(&path).unwrap();
    assert!(!text.windows(9).any(|bytes| bytes == b"roots own") && !text.windows(9).any(|b| b == b"\"password"));
}

#[test]
fn a_file_of_the_first_layout_keeps_its_tokens() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("tokens.db");
    sqlite::make(&path).unwrap();
    let file = Connection::open(&path).unwrap();
    file.execute_batch(VERSION_1).unwrap();
    let hash = book::hash("secret").unwrap();
    for (id, role) in [("root@pam!all", "Administrator"), ("root@pam!eyes", "PVEAuditor"), ("x@pve!y", "PVEAdmin")] {
        file.execute("INSERT INTO token VALUES (?1, ?2, ?3, 0, NULL, 1)", params![id, hash, role]).unwrap();
    }
    file.pragma_update(None, "user_version", 1).unwrap();
    let access = Access::open(&path).unwrap();
    assert!(!access.is_new() && access.is_active(ROOT));
    assert!(access.check("root@pam!all", "secret") && access.check("root@pam!eyes", "secret"));
    assert!(may(&access, "root@pam!all", "VM.Allocate"));
    assert!(may(&access, "root@pam!eyes", "VM.Audit") && !may(&access, "root@pam!eyes", "VM.Allocate"));
    assert!(!access.check("x@pve!y", "secret") && !may(&access, "x@pve!y", "VM.Audit"));
}
