//! The kit over real sockets: a small service, a server of it, and a client.

mod credentials;
mod recorded;
mod wire;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    sync::Arc,
    time::Duration,
};

use hyper::ext::ReasonPhrase;
use reqwest::{Method as Verb, RequestBuilder};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::oneshot};

use super::*;
use crate::model::NodeName;

const TOKEN: &str = "PVEAPIToken=root@pam!ci=11111111-2222-3333-4444-555555555555";

/// One node, three users, and an answer for everything.
struct Fake;

#[async_trait::async_trait]
impl Service for Fake {
    fn local_node(&self) -> NodeName {
        "pve1".parse().unwrap()
    }

    fn has_node(&self, node: &str) -> bool {
        ["pve1", "pve2"].contains(&node)
    }

    async fn check_password(&self, user: &str, password: &str) -> Option<Vec<&'static str>> {
        match (user, password) {
            ("root@pam", "rootpassword") | ("alice@pve", "alicepassword") => Some(vec![]),
            ("carol@pve", "carolpassword") => Some(vec!["totp"]),
            _ => None,
        }
    }

    async fn check_second_factor(&self, user: &str, answer: &str) -> bool {
        (user, answer) == ("carol@pve", "totp:123456")
    }

    async fn check_token(&self, user: &str, token: &str, secret: &str) -> bool {
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

    async fn handle(&self, request: &Request) -> Result<Reply, Fault> {
        let vmid = request.params.get("vmid");
        match request.template {
            "/version" => Ok(Reply::data(json!({"release": "9.2", "version": "9.2.11", "repoid": "14a22df35955d97d"}))),
            "/nodes/{node}/qemu/{vmid}/config" if vmid == Some("999") => {
                Err(Fault::die("Configuration file 'nodes/pve1/qemu-server/999.conf' does not exist"))
            }
            "/cluster/nextid" => Err(Fault::parameter("vmid", "VM 100 already exists")),
            "/cluster/tasks" => Ok(Reply { total: Some(40), ..Reply::data(json!(vec!["x".repeat(100); 40])) }),
            _ => {
                let params: BTreeMap<_, _> = request.params.iter().collect();
                let who = request.identity.as_ref().map(Identity::authid);
                Ok(Reply::data(json!({"template": request.template, "params": params, "who": who})))
            }
        }
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
