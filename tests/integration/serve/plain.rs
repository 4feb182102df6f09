//! The plain routes, asked as `curl` would; each answer is held against the OpenAPI file.

use std::{fs, os::unix::fs::PermissionsExt as _, time::Duration};

use serde_json::{Value, json};

use super::Served;
use crate::{
    harness::Chance,
    local::{Host, stand_in},
};

/// Somebody who asks a served host by HTTP.
pub(super) struct Asker {
    url: String,
    pub(super) token: String,
    runtime: tokio::runtime::Runtime,
    client: reqwest::Client,
    described: Value,
}

/// What was answered.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) text: String,
    pub(super) id: String,
    pub(super) kind: String,
}

impl Answer {
    #[track_caller]
    pub(super) fn is(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// The error, with this status.
    #[track_caller]
    pub(super) fn error(self, status: u16) -> String {
        let body = self.is(status);
        assert_eq!(body.as_object().unwrap().len(), 1, "{body}");
        body["error"].as_str().unwrap().to_owned()
    }
}

impl Asker {
    pub(super) fn of(served: &Served) -> Self {
        let text = |key: &str| served.ready[key].as_str().unwrap().to_owned();
        // Before the server closes what is idle.
        let client = reqwest::Client::builder()
            .danger_accept_invalid_certs(true)
            .no_proxy()
            .pool_idle_timeout(Duration::from_secs(1))
            .build()
            .unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let described = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reference/openapi.json");
        let described = serde_json::from_str(&fs::read_to_string(described).unwrap()).unwrap();
        Self { url: text("url"), token: text("token"), runtime, client, described }
    }

    pub(super) fn raw(&self, method: &str, path: &str, headers: &[(&str, &str)], body: impl Into<String>) -> Answer {
        self.runtime.block_on(self.send(method, path, headers, body.into()))
    }

    fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: String,
    ) -> impl Future<Output = Answer> + use<> {
        let request = self.client.request(method.parse().unwrap(), format!("{}{path}", self.url)).body(body);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        async move {
            let answer = request.send().await.unwrap();
            let header = |name: &str| answer.headers().get(name).map_or("", |v| v.to_str().unwrap()).to_owned();
            let (id, kind) = (header("x-request-id"), header("content-type"));
            Answer { status: answer.status().as_u16(), id, kind, text: answer.text().await.unwrap() }
        }
    }

    /// Asks with the token.
    pub(super) fn ask(&self, method: &str, path: &str, body: Value) -> Answer {
        let bearer = format!("Bearer {}", self.token);
        let text = if body.is_null() { String::new() } else { body.to_string() };
        let answer = self.raw(method, path, &[("authorization", &bearer), ("content-type", "application/json")], text);
        self.hold(method, path, &answer);
        answer
    }

    /// The same of somebody who may be gone.
    pub(super) fn try_get(&self, path: &str) -> Option<Value> {
        let request = self.client.get(format!("{}{path}", self.url)).bearer_auth(&self.token);
        self.runtime.block_on(async { request.send().await.ok()?.json().await.ok() })
    }

    #[track_caller]
    pub(super) fn get(&self, path: &str) -> Value {
        self.ask("GET", path, Value::Null).is(200)
    }

    /// An answer is one that the file tells of.
    fn hold(&self, method: &str, path: &str, answer: &Answer) {
        let path = path.split('?').next().unwrap();
        let fits = |template: &str| {
            let (want, have): (Vec<&str>, Vec<&str>) = (template.split('/').collect(), path.split('/').collect());
            want.len() == have.len() && want.iter().zip(&have).all(|(w, h)| w.starts_with('{') || w == h)
        };
        let paths = self.described["paths"].as_object().unwrap();
        let Some((template, methods)) = paths.iter().find(|(template, _)| fits(template)) else {
            assert_eq!(answer.status, 404, "{path} is in no description");
            return;
        };
        let told = &methods[method.to_lowercase()]["responses"][answer.status.to_string()];
        assert!(
            told.is_object(),
            "{method} {template} answers {}, which is not described: {}",
            answer.status,
            answer.text
        );
        let schema = told["content"].as_object().unwrap().values().next().unwrap()["schema"]["$ref"].as_str().unwrap();
        let schema = &self.described["components"]["schemas"][schema.rsplit('/').next().unwrap()];
        if schema["type"] == "object" && schema["properties"].is_object() {
            let body: Value = serde_json::from_str(&answer.text).unwrap();
            let keys = |of: &Value| of.as_object().unwrap().keys().cloned().collect::<std::collections::BTreeSet<_>>();
            assert_eq!(keys(&body), keys(&schema["properties"]), "{method} {template}");
        }
    }
}

#[test]
fn a_vm_lives_and_dies_by_its_name() {
    let served = Served::start();
    let asker = Asker::of(&served);
    assert_eq!(asker.get("/api/vms"), json!([]));
    let new =
        json!({"name": "web", "cpus": 2, "memory_mb": 256, "disk_gb": 1, "config": {"ipconfig0": "ip=10.9.8.7/24"}});
    let made = asker.ask("POST", "/api/vms", new).is(201);
    let want = json!({
        "name": "web", "status": "stopped", "ip": "10.9.8.7", "cpus": 2, "memory_mb": 256, "pid": null, "vmid": 100,
    });
    assert_eq!(made, want);
    let _ = served.host.env.run("vm update web --kernel kernel --cmdline console=ttyS0 --unset bios").ok();
    assert!(asker.ask("POST", "/api/vms", json!({"name": "web"})).error(400).contains("`web` is taken"));
    assert!(asker.ask("POST", "/api/vms", json!({"name": "we b"})).error(400).contains("no name for a VM"));
    assert!(
        asker.ask("POST", "/api/vms", json!({"name": "a", "config": {"nonsense": 1}})).error(400).contains("nonsense")
    );
    assert!(asker.ask("POST", "/api/vms", json!({"name": "a", "cpu": 1})).error(400).contains("unknown field `cpu`"));

    let answer = asker.ask("POST", "/api/vms/web/start", Value::Null);
    let request = answer.id.clone();
    let started = answer.is(200);
    assert_eq!(started["status"], "running");
    assert_eq!(started["pid"], served.host.processes()[0]);
    assert!(asker.ask("POST", "/api/vms/web/start", Value::Null).error(400).contains("is running"));
    assert!(asker.ask("DELETE", "/api/vms/web", Value::Null).error(400).contains("is running"));
    assert!(asker.ask("POST", "/api/vms/none/start", Value::Null).error(404).contains("`none`"));
    assert_eq!(asker.ask("POST", "/api/vms/web/pause", Value::Null).is(200)["status"], "paused");
    assert_eq!(asker.ask("POST", "/api/vms/web/resume", json!({})).is(200)["status"], "running");
    let again = asker.ask("POST", "/api/vms/web/restart", json!({"force": true})).is(200);
    assert_eq!(again["status"], "running");
    assert_ne!(again["pid"], started["pid"]);
    // Its guest does not listen to the power button.
    assert_eq!(asker.ask("POST", "/api/vms/web/restart", json!({"timeout": 1})).is(200)["status"], "running");

    let copy = asker.ask("POST", "/api/vms/web/copy", Value::Null).is(201);
    assert_eq!((&copy["name"], &copy["status"]), (&json!("web-copy"), &json!("running")));
    let copy = asker.ask("POST", "/api/vms/web/copy", json!({"start": false})).is(201);
    assert_eq!((&copy["name"], &copy["status"]), (&json!("web-copy-2"), &json!("stopped")));
    assert!(asker.ask("POST", "/api/vms/web/copy", json!({"name": "web-copy"})).error(400).contains("taken"));
    let told = asker.ask("POST", "/api/vms/web/rename", json!({"name": "production"})).is(200);
    assert!(told["message"].as_str().unwrap().contains("production"), "{told}");
    assert!(asker.ask("POST", "/api/vms/production/rename", json!({"name": "web-copy"})).error(400).contains("taken"));
    let names: Vec<Value> = asker.get("/api/vms").as_array().unwrap().iter().map(|vm| vm["name"].clone()).collect();
    assert_eq!(names, ["production", "web-copy", "web-copy-2"]);
    assert_eq!(asker.ask("POST", "/api/vms/production/stop", Value::Null).is(200)["pid"], Value::Null);
    assert!(asker.ask("POST", "/api/vms/production/stop", Value::Null).error(400).contains("stopped"));
    assert!(asker.ask("DELETE", "/api/vms/production", Value::Null).is(200)["message"].is_string());
    let _ = asker.ask("DELETE", "/api/vms/web-copy?force=true", Value::Null).is(200);
    let _ = asker.ask("GET", "/api/vms/production", Value::Null).error(404);

    // Each change is in the journal of this host, with its request.
    let rows = served.host.env.json("operation list");
    let rows = rows.as_array().unwrap();
    assert!(rows.iter().all(|row| row["status"] == "ok" || row["status"] == "running"), "{rows:?}");
    let row = rows.iter().rev().find(|row| row["verb"] == "start").unwrap();
    let row = served.host.env.json(&format!("operation show {}", row["id"]));
    assert_eq!(row["request"], request.as_str());
    assert_eq!((&row["user"], &row["name"]), (&json!("root@pam!pvectl"), &json!("web")));
    served.end();
}

#[test]
fn what_makes_no_sense_is_refused_as_the_callers() {
    let served = Served::start();
    let asker = Asker::of(&served);
    let bearer = format!("Bearer {}", asker.token);
    let json_of = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let status = |method: &str, path: &str, headers: &[(&str, &str)], body: &str| {
        asker.raw(method, path, headers, body.to_owned()).status
    };
    for (method, path, body, want) in [
        ("GET", "/api", "", 404),
        ("GET", "/api/nothing", "", 404),
        ("GET", "/api/vms/%ff", "", 400),
        ("GET", "/api/vms/..%2f..%2fetc", "", 400),
        ("GET", "/api/vms?nonsense=1", "", 400),
        ("PUT", "/api/vms", "{}", 405),
        ("BREW", "/api/vms", "", 405),
        ("POST", "/api/vms", "", 400),
        ("POST", "/api/vms", "{", 400),
        ("POST", "/api/vms", "[]", 400),
        ("POST", "/api/vms", "{\"name\": 5}", 400),
        ("POST", "/api/vms", "{\"name\": \"a\", \"memory_mb\": -1}", 400),
        ("POST", "/api/vms/web/start", "{\"nonsense\": 1}", 400),
        ("DELETE", "/api/vms/web?force=perhaps", "", 400),
        ("GET", "/api/plans/one", "", 400),
        ("GET", "/api/plans/7", "", 404),
        ("POST", "/api/exec/sh", "{}", 404),
        ("POST", "/api/host/heartbeat", "", 400),
    ] {
        assert_eq!(status(method, path, &json_of, body), want, "{method} {path} {body}");
    }
    let large = format!("{{\"name\": \"{}\"}}", "a".repeat(600_000));
    assert_eq!(status("POST", "/api/vms", &json_of, &large), 413);
    assert_eq!(status("POST", "/api/vms", &[json_of[0], ("content-type", "text/plain")], "{}"), 415);
    // A token in the spelling of Proxmox is one too.
    let pve = format!("PVEAPIToken={}", asker.token);
    assert_eq!(status("GET", "/api/vms", &[("authorization", &pve)], ""), 200);
    // Each waits three seconds for its answer, so they wait together.
    let strangers = ["", "Bearer", "Bearer root@pam!pvectl=wrong", "Basic cm9vdDpyb290"];
    let asked = strangers
        .map(|authorization| asker.send("GET", "/api/nothing", &[("authorization", authorization)], String::new()));
    for answer in asker.runtime.block_on(futures_util::future::join_all(asked)) {
        assert!(!answer.error(401).is_empty());
    }
    // A request keeps the name that it has, unless it could not stand in a log.
    let named = |id: &str| asker.raw("GET", "/api/vms", &[json_of[0], ("x-request-id", id)], "").id;
    assert_eq!(named("ci-17:4"), "ci-17:4");
    assert_eq!(named("a b").len(), 32);
    assert_eq!(asker.raw("GET", "/api2/json/version", &[("authorization", &pve)], "").id.len(), 32);
    // The description is for everybody.
    let described = asker.raw("GET", "/api/openapi.json", &[], "").is(200);
    assert_eq!(described, asker.described);
}

#[test]
fn a_token_may_do_over_these_routes_what_it_may_do_over_the_others() {
    let served = Served::start();
    let mut asker = Asker::of(&served);
    let _ = asker.ask("POST", "/api/vms", json!({"name": "web", "memory_mb": 256})).is(201);
    let made = served.remote.run("token create root@pam audit -o json").ok().json();
    let _ = served.remote.run("acl add / --token root@pam!audit --role PVEAuditor").ok();
    asker.token = format!("root@pam!audit={}", made["value"].as_str().unwrap());
    assert_eq!(asker.get("/api/vms/web")["status"], "stopped");
    assert!(asker.ask("POST", "/api/vms/web/start", Value::Null).error(403).contains("VM.PowerMgmt"));
    // The API's description leaves this one to the method.
    let _ = asker.ask("POST", "/api/vms", json!({"name": "other", "memory_mb": 256})).error(403);
    let plan = json!({"actions": [{"action": "START", "name": "web"}]});
    let id = asker.ask("POST", "/api/plans", plan).is(201)["id"].clone();
    let plan = super::plans::ended(&asker, &id);
    assert_eq!(plan["status"], "failed");
    assert!(plan["actions"][0]["error"].as_str().unwrap().contains("VM.PowerMgmt"), "{plan}");
}

#[test]
fn only_what_the_owner_lists_is_run() {
    let host = Host::new(&stand_in());
    let script = host.env.write("say.sh", "#!/bin/sh\necho \"$1 and $HOME\"; echo no >&2; exit ${2:-0}\n");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let env = host.env.clone();
    let _ = env.run("serve --listen 127.0.0.1:0 --allow-exec say=say.sh").exits(2).says(&["has to begin with /"]);
    let served = Served::of(host, &env, &format!("--allow-exec say={}", script.display()));
    let asker = Asker::of(&served);
    let ran = asker.ask("POST", "/api/exec/say", json!({"args": ["$(id) a b"]})).is(200);
    assert_eq!((&ran["exit_code"], &ran["stdout"]), (&json!(0), &json!("$(id) a b and \n")));
    assert_eq!((&ran["stderr"], &ran["timed_out"]), (&json!("no\n"), &json!(false)));
    assert_eq!(asker.ask("POST", "/api/exec/say", json!({"args": ["x", "3"]})).is(200)["exit_code"], 3);
    assert!(asker.ask("POST", "/api/exec/sh", json!({})).error(404).contains("there are say"));
    assert_eq!(asker.get("/api/host")["commands"], json!(["say"]));
    let rows = served.host.env.json("operation list");
    let told: Vec<_> = rows
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (row["verb"].clone(), row["target"].clone(), row["status"].clone()))
        .collect();
    assert!(told.contains(&(json!("exec"), json!("say"), json!("ok"))), "{told:?}");
    assert!(told.contains(&(json!("exec"), json!("say"), json!("failed"))), "{told:?}");
}

#[test]
fn whatever_is_sent_is_the_callers_to_mend() {
    const METHODS: &[&str] = &["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"];
    const PATHS: &[&str] = &[
        "vms",
        "plans",
        "exec",
        "host",
        "heartbeat",
        "metrics",
        "openapi.json",
        "web",
        "start",
        "copy",
        "rename",
        "1",
        "-1",
        "99999999999999999999",
        "%00",
        "%ff",
        "a%20b",
        "",
        "%F0%9F%92%A9",
    ];
    const BODIES: &[&str] = &[
        "",
        "{",
        "}",
        "[",
        "]",
        "null",
        "1e999",
        "\"name\"",
        ":",
        ",",
        "{\"name\":\"a\"}",
        "\"actions\"",
        "{\"action\":\"START\"}",
        "{\"name\":null}",
        "\u{0}",
        "\\ud800",
        "{\"actions\":[{}]}",
        "{\"config\":{\"a\":{}}}",
        "-0",
        "true",
        "💩",
    ];
    let served = Served::start();
    let asker = Asker::of(&served);
    let bearer = format!("Bearer {}", asker.token);
    let mut chance = Chance(0x5eed);
    for _ in 0..2000 {
        let depth = 1 + chance.below(3);
        let method = chance.pick(METHODS);
        let path: String = (0..depth).map(|_| format!("/{}", chance.pick(PATHS))).collect();
        let body: String = (0..4).map(|_| chance.pick(BODIES)).collect();
        let kind = chance.pick(&["application/json", "text/plain", "", "application/json; charset=latin1"]);
        let query = chance.pick(&["", "?", "?force=1", "?=", "?%ff", "?a=b&c"]);
        let path = format!("/api{path}{query}");
        let headers = [("authorization", bearer.as_str()), ("content-type", kind)];
        let answer = asker.raw(method, &path, &headers, body.clone());
        assert!(answer.status < 500, "{method} {path} {body}: {} {}", answer.status, answer.text);
    }
    assert!(asker.get("/api/vms").is_array());
}
