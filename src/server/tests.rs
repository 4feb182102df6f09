//! The kit over real sockets, compared with what a real server was recorded to say.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use hyper::ext::ReasonPhrase;
use jiff::{SignedDuration, Timestamp};
use reqwest::{Method as Verb, RequestBuilder};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::oneshot};

use super::*;
use crate::model::{Clock, NodeName};

const TOKEN: &str = "PVEAPIToken=root@pam!ci=11111111-2222-3333-4444-555555555555";

/// One node, three users, and an answer for everything.
struct Fake;

impl Service for Fake {
    fn local_node(&self) -> NodeName {
        "pve1".parse().unwrap()
    }

    fn has_node(&self, node: &str) -> bool {
        ["pve1", "pve2"].contains(&node)
    }

    fn check_password(&self, user: &str, password: &str) -> Option<Vec<&'static str>> {
        match (user, password) {
            ("root@pam", "rootpassword") | ("alice@pve", "alicepassword") => Some(vec![]),
            ("carol@pve", "carolpassword") => Some(vec!["totp"]),
            _ => None,
        }
    }

    fn check_second_factor(&self, user: &str, answer: &str) -> bool {
        (user, answer) == ("carol@pve", "totp:123456")
    }

    fn check_token(&self, user: &str, token: &str, secret: &str) -> bool {
        (user, token, secret) == ("root@pam", "ci", "11111111-2222-3333-4444-555555555555")
    }

    fn privileges(&self, who: &Identity, path: &str) -> BTreeSet<String> {
        let have: &[&str] = match (who.user.as_str(), path) {
            ("root@pam", _) => &[
                "VM.Audit",
                "VM.Allocate",
                "VM.Config.CPU",
                "Sys.Audit",
                "Sys.Modify",
                "Sys.Syslog",
                "User.Modify",
                "Realm.AllocateUser",
            ],
            ("alice@pve", "/vms/200") => &["VM.Audit", "VM.PowerMgmt", "VM.Clone"],
            _ => &[],
        };
        have.iter().map(|privilege| (*privilege).to_owned()).collect()
    }

    fn acl_paths(&self) -> Vec<String> {
        vec!["/vms/200".into()]
    }

    fn handle(&self, request: &Request) -> Result<Reply, Fault> {
        let vmid = request.params.get("vmid");
        match request.template {
            "/version" => Ok(Reply::data(json!({"release": "9.2", "version": "9.2.11", "repoid": "14a22df35955d97d"}))),
            "/nodes/{node}/qemu/{vmid}/config" if vmid == Some("999") => {
                Err(Fault::die("Configuration file 'nodes/pve1/qemu-server/999.conf' does not exist"))
            }
            "/cluster/nextid" => Err(Fault::parameter("vmid", "VM 100 already exists")),
            "/cluster/tasks" => Ok(Reply { data: json!(vec!["x".repeat(100); 40]), total: Some(40) }),
            _ => {
                let params: BTreeMap<_, _> = request.params.iter().collect();
                let who = request.identity.as_ref().map(Identity::authid);
                Ok(Reply::data(json!({"template": request.template, "params": params, "who": who})))
            }
        }
    }
}

/// A clock that stands still until it is moved.
struct Stopped(Mutex<Timestamp>);

impl Clock for Stopped {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

struct Server {
    address: SocketAddr,
    scheme: &'static str,
    client: reqwest::Client,
    kit: Kit,
    _stop: oneshot::Sender<()>,
}

impl Server {
    async fn start(options: Options) -> Self {
        Self::start_with(options, None).await
    }

    async fn start_with(options: Options, tls: Option<Tls>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let kit = Kit::new(Arc::new(Fake), options);
        let scheme = if tls.is_some() { "https" } else { "http" };
        tokio::spawn(listen(kit.clone(), listener, tls, async {
            let _ = stopped.await;
        }));
        let client = reqwest::Client::builder()
            .no_proxy()
            .tls_danger_accept_invalid_certs(true)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .unwrap();
        Self { address, scheme, client, kit, _stop: stop }
    }

    fn anonymous(&self, method: &str, path: &str) -> RequestBuilder {
        let path = if path.starts_with("/api2") { path.to_owned() } else { format!("/api2/json{path}") };
        let method = Verb::from_bytes(method.as_bytes()).unwrap();
        self.client.request(method, format!("{}://{}{path}", self.scheme, self.address))
    }

    fn root(&self, method: &str, path: &str) -> RequestBuilder {
        self.anonymous(method, path).header("Authorization", TOKEN)
    }

    async fn login(&self, user: &str) -> (String, String) {
        let password = format!("{}password", user.split('@').next().unwrap());
        let form = [("username", user), ("password", &password)];
        let answer = said(self.anonymous("POST", "/access/ticket").form(&form)).await;
        let text = |key: &str| answer.body["data"][key].as_str().unwrap().to_owned();
        (text("ticket"), text("CSRFPreventionToken"))
    }

    async fn with_ticket(&self, user: &str, method: &str, path: &str) -> RequestBuilder {
        let (ticket, csrf) = self.login(user).await;
        self.anonymous(method, path)
            .header("Cookie", format!("PVEAuthCookie={ticket}"))
            .header("CSRFPreventionToken", csrf)
    }

    /// Sends text, and gives everything that comes back until the connection ends.
    async fn raw(&self, text: &str) -> String {
        let (address, text) = (self.address, text.to_owned());
        let talk = move || {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            stream.write_all(text.as_bytes()).unwrap();
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer);
            String::from_utf8_lossy(&answer).into_owned()
        };
        tokio::task::spawn_blocking(talk).await.unwrap()
    }
}

#[derive(Debug, PartialEq)]
struct Said {
    status: u16,
    reason: String,
    body: Value,
}

async fn said(request: RequestBuilder) -> Said {
    let response = request.send().await.unwrap();
    let status = response.status();
    let reason = response.extensions().get::<ReasonPhrase>().map(|reason| reason.as_bytes().to_vec());
    let reason = reason.map(|reason| String::from_utf8(reason).unwrap());
    let text = response.text().await.unwrap();
    let body = match text.as_str() {
        "" => Value::Null,
        text => serde_json::from_str(text).unwrap_or_else(|_| text.into()),
    };
    let usual = status.canonical_reason().unwrap_or_default().to_owned();
    Said { status: status.as_u16(), reason: reason.unwrap_or(usual), body }
}

fn recorded(title: &str) -> Said {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/pve/recordings/calls.json");
    let calls: Vec<Value> = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let call = calls.iter().find(|call| call["title"] == title).unwrap_or_else(|| panic!("{title} is not recorded"));
    let text = |key: &str| call[key].as_str().unwrap().to_owned();
    Said { status: call["status"].as_u64().unwrap() as u16, reason: text("reason"), body: call["body"].clone() }
}

fn quick() -> Options {
    Options::in_process()
}

#[tokio::test]
async fn it_says_what_a_real_server_was_recorded_to_say() {
    let server = Server::start(quick()).await;
    let form = |body: &'static str| {
        move |request: RequestBuilder| request.header("Content-Type", "application/x-www-form-urlencoded").body(body)
    };
    let token = |value: &'static str| server.anonymous("GET", "/version").header("Authorization", value);
    let put = |body: &'static str| form(body)(server.root("PUT", "/nodes/pve1/qemu/151/config"));
    let cases = [
        ("no auth", server.anonymous("GET", "/version")),
        ("no auth, unknown path", server.anonymous("GET", "/nosuch")),
        ("Bearer", token("Bearer xyz")),
        ("bad token secret", token("PVEAPIToken=root@pam!ci=00000000-0000-0000-0000-000000000000")),
        ("unknown token id", token("PVEAPIToken=root@pam!nope=00000000-0000-0000-0000-000000000000")),
        ("malformed token", token("PVEAPIToken=garbage")),
        (
            "bad ticket",
            server.anonymous("GET", "/version").header("Cookie", "PVEAuthCookie=PVE:root@pam:00000000::AAAA"),
        ),
        ("bad login", form("username=root%40pam&password=wrong")(server.anonymous("POST", "/access/ticket"))),
        ("login bad realm", form("username=root%40nope&password=x")(server.anonymous("POST", "/access/ticket"))),
        ("login missing param", form("username=root%40pam")(server.anonymous("POST", "/access/ticket"))),
        ("GET /access/ticket unauth", server.anonymous("GET", "/access/ticket")),
        ("unknown path (501)", server.root("GET", "/nosuch/path")),
        ("wrong method (501)", server.root("POST", "/version")),
        ("PATCH", server.root("PATCH", "/version")),
        ("HEAD", server.root("HEAD", "/version")),
        ("OPTIONS", server.root("OPTIONS", "/version")),
        ("param verify: missing", server.root("POST", "/nodes/pve1/qemu")),
        ("param verify: unknown+bad", form("vmid=5&bogus=1&memory=abc")(server.root("POST", "/nodes/pve1/qemu"))),
        (
            "param verify: bad format nested",
            form("vmid=150&net0=virtio%2Cbogus%3D1")(server.root("POST", "/nodes/pve1/qemu")),
        ),
        ("param_exc (raise_param_exc)", server.root("GET", "/cluster/nextid?vmid=100")),
        ("vm missing config", server.root("GET", "/nodes/pve1/qemu/999/config")),
        ("unknown node", server.root("GET", "/nodes/nonode/status")),
        ("unknown node qemu", server.root("GET", "/nodes/nonode/qemu")),
        ("invalid node name", server.root("GET", "/nodes/no_node!/status")),
        (
            "text/plain body",
            server.root("PUT", "/nodes/pve1/qemu/151/config").header("Content-Type", "text/plain").body("a=b"),
        ),
        ("bool yes", put("onboot=yes")),
        ("body on GET", form("limit=1")(server.root("GET", "/nodes/pve1/tasks"))),
        ("unknown format", server.root("GET", "/api2/xml/version")),
        ("no format path /api2", server.root("GET", "/api2/version")),
        ("extjs format error", server.root("GET", "/api2/extjs/nodes/pve1/qemu/999/config")),
        ("extjs format param error", server.root("POST", "/api2/extjs/nodes/pve1/qemu")),
        ("extjs ok", server.root("GET", "/api2/extjs/version")),
        ("trailing slash", server.root("GET", "/version/")),
        ("double slash", server.root("GET", "//version")),
        ("index", server.root("GET", "/")),
        ("short password", form("userid=bob%40pve&password=abc")(server.root("POST", "/access/users"))),
        ("bad enum", server.root("GET", "/cluster/resources?type=foo")),
        ("execute batch", form("commands=%5B%5D")(server.root("POST", "/nodes/pve1/execute"))),
        ("alice: vm config 403", server.with_ticket("alice@pve", "GET", "/nodes/pve1/qemu/100/config").await),
        ("alice: node status 403", server.with_ticket("alice@pve", "GET", "/nodes/pve1/status").await),
        (
            "alice: foreign vmid 403 vs missing",
            server.with_ticket("alice@pve", "GET", "/nodes/pve1/qemu/999/config").await,
        ),
        ("cookie ok GET", server.with_ticket("alice@pve", "GET", "/version").await),
    ];
    for (title, request) in cases {
        assert_eq!(said(request).await, recorded(title), "{title}");
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
async fn parameters_come_from_path_query_and_body() {
    let server = Server::start(quick()).await;
    let config = "/nodes/localhost/qemu/151/config";
    let body = json!({"cores": 3.0, "onboot": true, "delete": ["tags", "name"], "description": null, "vmid": 151});
    let got = said(server.root("PUT", &format!("{config}?memory=512&_dc=1")).json(&body)).await;
    let want = json!({
        "node": "pve1", "vmid": "151", "cores": "3", "onboot": "1", "delete": "tags,name", "memory": "512",
    });
    assert_eq!(got.body["data"]["params"], want);
    assert_eq!(got.body["data"]["who"], "root@pam!ci");
    let conflict = said(server.root("PUT", config).form(&[("vmid", "152")])).await;
    assert_eq!(conflict.status, 400);
    assert_eq!(
        conflict.body["errors"],
        json!({"vmid": "duplicate parameter (already defined in URI) with conflicting values!"})
    );
    let semicolon = server.root("PUT", config).header("Content-Type", "application/x-www-form-urlencoded");
    assert!(said(semicolon.body("tags=a;b")).await.body["errors"]["b"].is_string());
    let invalid = server.root("PUT", config).header("Content-Type", "application/json").body("{bad");
    let invalid = said(invalid).await;
    assert_eq!(invalid.status, 500);
    assert_eq!(invalid.body, invalid.reason);
    let typed = server.root("PUT", config).header("Content-Type", "application/json; charset=utf-8");
    assert_eq!(said(typed.body(r#"{"name":"x"}"#)).await.body["data"]["params"]["name"], "x");
    let large = server.root("PUT", config).form(&[("description", "x".repeat(600 * 1024))]);
    assert_eq!(said(large).await.reason, "for data too large");
}

#[tokio::test]
async fn large_answers_are_compressed_and_lists_have_their_total() {
    let server = Server::start(quick()).await;
    let request = |path: &str, accept: &str| {
        format!(
            "GET /api2/json{path} HTTP/1.1\r\nHost: x\r\nAuthorization: {TOKEN}\r\n{accept}Connection: close\r\n\r\n"
        )
    };
    let gzip = "Accept-Encoding: deflate, gzip\r\n";
    let packed = server.raw(&request("/cluster/tasks", gzip)).await;
    assert!(packed.contains("Content-Encoding: gzip") && !packed.contains("xxxxx"), "{packed}");
    let plain = server.raw(&request("/cluster/tasks", "")).await;
    assert!(!plain.contains("gzip") && plain.contains("\"total\":40"), "{plain}");
    assert!(plain.contains("Content-Type: application/json;charset=UTF-8\r\n"), "{plain}");
    assert!(plain.contains("Server: pve-api-daemon/3.0\r\n") && plain.contains("Date: "), "{plain}");
    assert!(!server.raw(&request("/version", gzip)).await.contains("gzip"));
    assert!(server.raw(&request("/nodes/pve1/journal", "")).await.contains("Content-Encoding: gzip"));
    let data = said(server.root("GET", "/cluster/tasks")).await.body;
    assert_eq!(data["data"].as_array().unwrap().len(), 40);
}

#[tokio::test]
async fn connections_end_where_a_real_server_ends_them() {
    let server =
        Server::start(Options { requests_per_connection: 3, idle: Duration::from_millis(200), ..quick() }).await;
    let get = |path: &str| format!("GET /api2/json{path} HTTP/1.1\r\nHost: x\r\nAuthorization: {TOKEN}\r\n\r\n");
    let statuses = |text: &str| text.matches("HTTP/1.1 ").count();
    // The third is the last, the fourth is not read any more.
    let four = server.raw(&get("/version").repeat(4)).await;
    assert_eq!((statuses(&four), four.matches("Connection: close").count()), (3, 1), "{four}");
    // An error ends it at once.
    let two = server.raw(&(get("/nosuch") + &get("/version"))).await;
    assert_eq!((statuses(&two), two.matches("Connection: close").count()), (1, 1), "{two}");
    // Idling ends it too: `raw` would not come back otherwise.
    assert_eq!(statuses(&server.raw(&get("/version")).await), 1);
    let chunked = "PUT /api2/json/nodes/pve1/qemu/1/config HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\na=b\r\n0\r\n\r\n";
    let chunked = server.raw(chunked).await;
    assert!(chunked.starts_with("HTTP/1.1 501 chunked transfer encoding not supported\r\n"), "{chunked}");
    let denied = server.raw("GET /api2/json/version HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(denied.starts_with("HTTP/1.1 401 No ticket\r\n") && !denied.contains("Content-Type"), "{denied}");
}

#[tokio::test]
async fn it_speaks_tls_and_sends_plain_speakers_there() {
    let tls = Tls::self_signed(&["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    assert_eq!(tls.fingerprint().split(':').filter(|byte| byte.len() == 2).count(), 32);
    let server = Server::start_with(quick(), Some(tls.clone())).await;
    let trusted = reqwest::Certificate::from_pem(tls.certificate().as_bytes()).unwrap();
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([trusted]).build().unwrap();
    let url = format!("https://{}/api2/json/version", server.address);
    let answer = client.get(url).header("Authorization", TOKEN).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let plain = |method: &str| {
        format!("{method} /api2/json/version?x=1 HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", server.address)
    };
    let moved = server.raw(&plain("GET")).await;
    assert!(moved.starts_with("HTTP/1.1 301 Moved Permanently\r\n"), "{moved}");
    let location = format!("Location: https://{}/api2/json/version?x=1\r\n", server.address);
    assert!(moved.contains(&location) && moved.ends_with("\r\n\r\nMoved Permanently"), "{moved}");
    assert!(server.raw(&plain("POST")).await.starts_with("HTTP/1.1 308 "));
    assert!(Tls::from_pem("nonsense", "nonsense").is_err());
}

#[tokio::test]
async fn faults_strike_and_requests_are_logged() {
    let rule = |text: &str| text.parse::<FaultRule>().unwrap();
    let script = Arc::new(FaultScript::new([
        rule("GET /version:reset-before*1"),
        rule("GET /version:status=595*1"),
        rule("GET /cluster/tasks:truncate-after*1"),
        rule("GET /access/ticket:delay=1ms"),
    ]));
    let server = Server::start(Options { faults: Some(script.clone()), ..quick() }).await;
    let version = || server.root("GET", "/version");
    assert!(version().send().await.unwrap_err().is_request());
    assert_eq!(said(version()).await, Said { status: 595, reason: String::new(), body: Value::Null });
    assert_eq!(said(version()).await.status, 200);
    let cut = server.root("GET", "/cluster/tasks").header("Accept-Encoding", "identity").send().await.unwrap();
    assert_eq!(cut.status(), 200);
    assert!(cut.bytes().await.is_err());
    assert_eq!(said(server.anonymous("GET", "/access/ticket")).await.status, 200);
    script.add(rule("GET /version:reset-after*1"));
    assert!(version().send().await.is_err());
    let seen: Vec<_> = server.kit.requests().into_iter().map(|logged| (logged.path, logged.status)).collect();
    let want = [
        ("/version", 0),
        ("/version", 595),
        ("/version", 200),
        ("/cluster/tasks", 200),
        ("/access/ticket", 200),
        ("/version", 0),
    ];
    assert_eq!(seen, want.map(|(path, status)| (path.to_owned(), status)));
    assert_eq!(server.kit.request_count(), 6);
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
