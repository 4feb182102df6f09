//! Logging in, tickets, tokens, permissions.

use std::{collections::BTreeSet, sync::Mutex};

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::*;
use crate::model::Clock;

/// A clock that stands still until it is moved.
struct Stopped(Mutex<Timestamp>);

impl Clock for Stopped {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

#[tokio::test]
async fn a_ticket_is_given_renewed_and_grows_old() {
    let clock = Arc::new(Stopped(Mutex::new("2026-11-20T12:00:00Z".parse().unwrap())));
    let server = Server::start(Options { clock: clock.clone(), ..quick() }).await;
    let (ticket, csrf) = server.login("alice@pve").await;
    assert!(ticket.starts_with("PVE:alice@pve:6B00"), "{ticket}");
    let version = |ticket: &str| {
        let encoded: String = url::form_urlencoded::byte_serialize(ticket.as_bytes()).collect();
        server.anonymous("GET", "/version").header("Authorization", format!("PVEAuthCookie={encoded}"))
    };
    assert_eq!(said(version(&ticket)).await.status, 200);
    // A cookie wins over a token, good or bad.
    let both = server.root("GET", "/version").header("Cookie", "PVEAuthCookie=PVE:root@pam:00000000::AAAA");
    assert_eq!(said(both).await.status, 401);

    let write = |csrf: &str| {
        let request = server.anonymous("POST", "/nodes/pve1/qemu/200/status/start");
        request.header("Cookie", format!("PVEAuthCookie={ticket}")).header("CSRFPreventionToken", csrf)
    };
    assert_eq!(said(write("wrong")).await, recorded("cookie POST wrong CSRF"));
    assert_eq!(said(write(&csrf)).await.body["data"]["who"], "alice@pve");

    *clock.0.lock().unwrap() += SignedDuration::from_mins(119);
    let form = [("username", "alice@pve"), ("password", &ticket)];
    let renewed = said(server.anonymous("POST", "/access/ticket").form(&form)).await;
    let cap = &renewed.body["data"]["cap"];
    assert_eq!(cap["vms"], json!({"VM.Audit": 1, "VM.Clone": 1, "VM.PowerMgmt": 1}));
    let groups: BTreeSet<_> = cap.as_object().unwrap().keys().cloned().collect();
    let want = recorded("renew ticket: password=ticket");
    assert_eq!(groups, want.body["data"]["cap"].as_object().unwrap().keys().cloned().collect());

    *clock.0.lock().unwrap() += SignedDuration::from_mins(2);
    assert_eq!(said(version(&ticket)).await.reason, "Authentication failed!");
    assert_eq!(said(version(renewed.body["data"]["ticket"].as_str().unwrap())).await.status, 200);
    let other = Server::start(Options { clock, ..quick() }).await;
    let foreign = other.anonymous("GET", "/version").header("Cookie", format!("PVEAuthCookie={ticket}"));
    assert_eq!(said(foreign).await.status, 401);
}

#[tokio::test]
async fn a_second_factor_is_asked_for() {
    let server = Server::start(quick()).await;
    let log_in = |form: Vec<(&'static str, String)>| said(server.anonymous("POST", "/access/ticket").form(&form));
    let first = log_in(vec![("username", "carol@pve".into()), ("password", "carolpassword".into())]).await;
    let data = &first.body["data"];
    assert_eq!((data["NeedTFA"].as_u64(), data.get("cap")), (Some(1), None));
    let challenge = data["ticket"].as_str().unwrap().to_owned();
    assert!(challenge.starts_with("PVE:!tfa!{\"totp\"%3Atrue}:"), "{challenge}");
    let cookie = server.anonymous("GET", "/version").header("Cookie", format!("PVEAuthCookie={challenge}"));
    assert_eq!(said(cookie).await.status, 401);
    let answer = |user: &str, code: &str| {
        let (user, code) = (user.to_owned(), code.to_owned());
        vec![("username", user), ("password", code), ("tfa-challenge", challenge.clone())]
    };
    assert_eq!(log_in(answer("carol@pve", "totp:000000")).await.status, 401);
    assert_eq!(log_in(answer("root@pam", "totp:123456")).await.status, 401);
    let second = log_in(answer("carol@pve", "totp:123456")).await;
    assert!(second.body["data"]["ticket"].as_str().unwrap().starts_with("PVE:carol@pve:"));
    // The challenge is no password.
    assert_eq!(log_in(vec![("username", "carol@pve".into()), ("password", challenge.clone())]).await.status, 401);
}

#[tokio::test]
async fn tokens_are_not_their_users() {
    let server = Server::start(quick()).await;
    let refused =
        said(server.root("PUT", "/access/password").form(&[("userid", "root@pam"), ("password", "12345678")]));
    let refused = refused.await;
    assert_eq!(refused.status, 403);
    assert_eq!(
        refused.reason,
        "Permission check failed (URI '/access/password' not available with API token, need proper ticket."
    );
    let login = server.root("POST", "/access/ticket").form(&[("username", "root@pam"), ("password", "rootpassword")]);
    assert_eq!(said(login).await.status, 403);
    let own = server.with_ticket("alice@pve", "GET", "/access/users/alice@pve/token").await;
    assert_eq!(said(own).await.status, 200);
    let others = server.with_ticket("alice@pve", "GET", "/access/users/root@pam/token").await;
    assert_eq!(said(others).await.reason, "Permission check failed");
    let root = server.with_ticket("root@pam", "POST", "/nodes/pve1/execute").await;
    assert_eq!(said(root.form(&[("commands", "[]")])).await.status, 200);
    // Both halves of an `and`: cloning needs a right on the source and one on the new guest or its pool.
    let clone = server.with_ticket("alice@pve", "POST", "/nodes/pve1/qemu/200/clone").await;
    assert_eq!(said(clone.form(&[("newid", "201")])).await.reason, "Permission check failed");
    let clone = server.with_ticket("alice@pve", "POST", "/nodes/pve1/qemu/100/clone").await;
    assert_eq!(said(clone.form(&[("newid", "201")])).await.reason, "Permission check failed (/vms/100, VM.Clone)");
}

#[tokio::test]
async fn a_refusal_is_held_back() {
    assert_eq!(Options::default().auth_delay, Duration::from_secs(3));
    let delay = Duration::from_millis(30);
    let server = Server::start(Options { auth_delay: delay, ..quick() }).await;
    let began = std::time::Instant::now();
    assert_eq!(said(server.anonymous("GET", "/version")).await.status, 401);
    assert!(began.elapsed() >= delay);
}

#[tokio::test]
async fn who_fails_often_is_refused_for_a_while_and_who_is_in_stays() {
    let clock = Arc::new(Stopped(Mutex::new("2026-11-20T12:00:00Z".parse().unwrap())));
    let server = Server::start(Options { clock: clock.clone(), limits: Limits::strict(), ..quick() }).await;
    let (ticket, _) = server.login("alice@pve").await;
    let attempt = async |user: &str, password: &str| {
        let form = [("username", user), ("password", password)];
        said(server.anonymous("POST", "/access/ticket").form(&form)).await
    };
    for _ in 0..5 {
        assert_eq!(attempt("root@pam", "wrong").await, recorded("bad login"));
    }
    assert_eq!(attempt("root@pam", "rootpassword").await, recorded("bad login"), "in the same words");
    assert_eq!(attempt("alice@pve", "alicepassword").await.status, 401, "it is the source that waits");
    assert_eq!(attempt("alice@pve", &ticket).await.status, 200, "a ticket is no attempt");
    let version = server.anonymous("GET", "/version").header("Cookie", format!("PVEAuthCookie={ticket}"));
    assert_eq!(said(version).await.status, 200);
    *clock.0.lock().unwrap() += SignedDuration::from_secs(2);
    assert_eq!(attempt("root@pam", "rootpassword").await.status, 200);
}
