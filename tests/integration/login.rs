//! Passwords, tickets, second factors and tokens, against the server kit's own checks.

use insta::assert_snapshot;
use pvectl::{
    client::{Auth, Client, Endpoint},
    model::{Call, Method, Params},
};

use crate::harness::{Env, Server};

/// An account whose context logs in as this user with this password.
pub(crate) fn with_password(server: &Server, user: &str, password: &str) -> Env {
    let env = Env::bare();
    env.write("password", password);
    let add =
        format!("config add-context lab --endpoint {} --user {user} --credential-command 'cat password'", server.url);
    let _ = env.run(&add).ok();
    env
}

#[test]
fn a_password_buys_a_ticket_that_is_kept() {
    let server = Env::new().serve("");
    let env = with_password(&server, "root@pam", "sandbox");
    assert_snapshot!(env.run("vm start 101"), @"
    exit 0
    --- stdout
    VMID  NAME   NODE  VERB   STATUS  CHANGED  EXIT STATUS
     101  web-2  pve2  start  ok      yes      OK
    --- stderr
    starting vm/101 (web-2)
      vm/101 (web-2): task UPID:pve2:…:qmstart:101:root@pam:
    ✓ vm/101 (web-2) started (0.0s)
    ");
    let traced = env.run("vm stop 101 -vvv").ok();
    assert!(traced.stderr.contains("/nodes/pve2/qemu/101/status/stop"), "{traced}");
    for secret in ["PVE:root@pam:", "password=sandbox"] {
        assert!(!traced.stderr.contains(secret), "`{secret}` is in the trace:\n{traced}");
    }
    assert_eq!(server.count("POST", "/access/ticket"), 1, "the second command has the first one's ticket");
    assert_eq!(env.json("operation list")[0]["user"], "root@pam");
}

#[test]
fn a_wrong_password_is_not_let_in() {
    let server = Env::new().serve("");
    assert_snapshot!(with_password(&server, "root@pam", "wrong").run("vm list"), @"
    exit 4
    --- stderr
    error: cannot log in as `root@pam`: authentication failure
    hint: check user, realm, password or token; a token looks like `user@realm!name=uuid`, and may have expired
    ");
    assert_snapshot!(with_password(&server, "nobody@pve", "sandbox").run("vm start 101"), @"
    exit 4
    --- stderr
    error: cannot log in as `nobody@pve`: authentication failure
    hint: check user, realm, password or token; a token looks like `user@realm!name=uuid`, and may have expired
    ");
    assert_snapshot!(with_password(&server, "root@nowhere", "sandbox").run("vm list"), @"
    exit 4
    --- stderr
    error: cannot log in as `root@nowhere`: authentication failure
    hint: check user, realm, password or token; a token looks like `user@realm!name=uuid`, and may have expired
    ");
}

#[test]
fn a_second_factor_needs_somebody_to_ask() {
    let server = Env::new().serve("");
    assert_snapshot!(with_password(&server, "totp@pve", "sandbox").run("vm list"), @"
    exit 4
    --- stderr
    error: cannot log in as `totp@pve`: the server wants a second factor, and there is no terminal to ask on
    hint: scripts use an API token
    ");
}

#[test]
fn a_password_needs_somebody_to_ask_or_a_command() {
    let server = Env::new().serve("");
    let env = Env::bare();
    let add = format!("config add-context lab --endpoint {}", server.url);
    assert_snapshot!(env.run(&format!("{add} --user root@pam")), @"
    exit 2
    --- stderr
    error: the password of root@pam is needed, and there is no terminal to ask on
    hint: give an API token: PVECTL_TOKEN_FILE, or `pvectl config add-context --token-file`
    ");
    assert_snapshot!(env.run(&add), @"
    exit 2
    --- stderr
    error: say how to log in: --token-file FILE, --user USER@REALM, --credential-command COMMAND or --client-certificate FILE
    ");
    assert_snapshot!(env.run("vm list --quiet -o name --tag app.db"), @"
    exit 0
    --- stdout
    vm/102
    ");
    let failing = format!("{add} --user root@pam --credential-command 'exit 3'");
    let _ = env.run(&failing).ok();
    assert_snapshot!(env.run("vm list"), @"
    exit 4
    --- stderr
    error: credential-command failed: exit status: 3
    ");
}

#[tokio::test]
async fn an_expired_token_is_not_let_in() {
    let server = Env::new().serve("");
    let root = Auth::Token { id: "root@pam!pvectl".to_owned(), secret: server.secret().to_owned().into() };
    let client = Client::builder().endpoint(Endpoint::parse(&server.url).unwrap()).auth(root).build().unwrap();
    let expired =
        Call::new(Method::Post, "/access/users/root@pam/token/old").with_params(Params::new().with("expire", 1));
    let made = client.send(&expired).await.unwrap().data;
    let token = format!("root@pam!old={}", made["value"].as_str().unwrap());
    assert_snapshot!(server.with("PVECTL_TOKEN", &token).run("vm list"), @"
    exit 4
    --- stderr
    error: Authentication failed!
    hint: check user, realm, password or token; a token looks like `user@realm!name=uuid`, and may have expired
    ");
}
