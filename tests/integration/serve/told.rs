//! What a served host tells of itself: metrics and heartbeats.

use std::{collections::BTreeSet, fs};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use wiremock::{Mock, MockServer, ResponseTemplate, matchers::method};

use super::{Served, plain::Asker};
use crate::{
    harness::eventually,
    local::{Host, stand_in},
};

/// The families in a text of metrics.
fn families(text: &str) -> BTreeSet<String> {
    let heads = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    heads.map(|head| head.split(' ').next().unwrap().to_owned()).collect()
}

#[test]
fn metrics_are_what_the_guide_and_the_dashboard_say() {
    let host = Host::new(&stand_in());
    let env = host.env.clone();
    let _ = env.run("serve --listen 127.0.0.1:0 --metrics-addr 0.0.0.0:0").exits(2).says(&["/api/metrics"]);
    let served = Served::of(host, &env, "--metrics-addr 127.0.0.1:0");
    let asker = Asker::of(&served);
    let _ = served.host.env.run("vm create --name web --cores 2 --memory 256 --kernel kernel").ok();
    let _ = asker.ask("POST", "/api/vms/web/start", Value::Null).is(200);
    // The end of an action is counted beside its answer.
    let text = eventually("the start is counted", || {
        let answer = asker.ask("GET", "/api/metrics", Value::Null);
        assert_eq!((answer.status, answer.kind.as_str()), (200, "text/plain; version=0.0.4; charset=utf-8"));
        Some(answer.text).filter(|text| text.contains("pvectl_actions_total{"))
    });
    for line in [
        "pvectl_vms{state=\"running\"} 1",
        "pvectl_vms{state=\"stopped\"} 0",
        "pvectl_vm_vcpus{vmid=\"100\",name=\"web\"} 2",
        "pvectl_vm_memory_bytes{vmid=\"100\",name=\"web\"} 268435456",
        "pvectl_actions_total{action=\"start\",result=\"ok\"} 1",
        "pvectl_action_duration_seconds_count{action=\"start\",result=\"ok\"} 1",
        "pvectl_requests_total{method=\"POST\",status=\"200\"} 1",
        "pvectl_queue_length 0",
        "pvectl_heartbeats_total{result=\"ok\"} 0",
    ] {
        assert!(text.lines().any(|have| have == line), "{line} is not in\n{text}");
    }
    // Every family has a head, and each is named in the guide; the dashboard asks for no other.
    let told = families(&text);
    let guide = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/guide/plain-routes.md")).unwrap();
    for family in &told {
        assert!(guide.contains(&format!("`{family}`")), "the guide does not name {family}");
    }
    for name in guide.split('`').filter(|word| word.starts_with("pvectl_")) {
        let known = told.contains(name) || name == "pvectl_heartbeat_last_success_timestamp_seconds";
        assert!(known, "there is no {name}");
    }
    let dashboard = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/grafana-dashboard.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&dashboard).unwrap();
    assert!(dashboard["panels"].as_array().unwrap().len() > 5);
    let text_of = dashboard.to_string();
    let word = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
    for name in text_of.split(word).filter(|word| word.starts_with("pvectl_")) {
        let family = name.trim_end_matches("_bucket").trim_end_matches("_count").trim_end_matches("_sum");
        assert!(told.contains(family), "the dashboard asks for {name}");
    }
    // The same without a token, where only this host comes.
    let url = served.ready["metrics"].as_str().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let there = runtime.block_on(async { reqwest::get(url).await.unwrap().text().await.unwrap() });
    assert_eq!(families(&there), told);
}

#[test]
fn a_heartbeat_is_signed_and_told_of() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let listener = runtime.block_on(MockServer::start());
    let taken = Mock::given(method("POST")).respond_with(ResponseTemplate::new(204));
    runtime.block_on(taken.mount(&listener));
    let host = Host::new(&stand_in());
    let env = host.env.clone();
    let _ = env.run("serve --listen 127.0.0.1:0 --report-to http://192.0.2.1/").exits(2).says(&["only https"]);
    let served = Served::of(host, &env, &format!("--report-to {}/hosts --report-every 1h", listener.uri()));
    let asker = Asker::of(&served);
    let first = || runtime.block_on(listener.received_requests()).unwrap().into_iter().next();
    let beat = eventually("a heartbeat comes", first);
    let body: Value = serde_json::from_slice(&beat.body).unwrap();
    assert_eq!((&body["number"], &body["version"]), (&json!(1), &json!(env!("CARGO_PKG_VERSION"))));
    assert_eq!(body["fingerprint"], served.ready["fingerprint"]);
    assert!(body["vms"].is_object() && body["storages"].is_array() && body["time"].is_string(), "{body}");
    let signature = beat.headers["x-pvectl-signature"].to_str().unwrap();
    let signature = STANDARD.decode(signature.strip_prefix("ecdsa-p256-sha256=").unwrap()).unwrap();
    assert!(signature.len() > 60);
    // `openssl` knows the signature by the certificate alone.
    fs::write(served.host.env.path("signature"), &signature).unwrap();
    fs::write(served.host.env.path("body"), &beat.body).unwrap();
    let certificate = served.host.state().join("serve/certificate.pem");
    let script = format!(
        "command -v openssl >/dev/null || exit 77; openssl x509 -in {} -pubkey -noout > public.pem && \
         openssl dgst -sha256 -verify public.pem -signature signature body",
        certificate.display()
    );
    let checked = served.host.env.shell(&script);
    match checked.status.code() {
        Some(77) => eprintln!("SKIPPED: no openssl to check a signature with"),
        code => assert_eq!(code, Some(0), "{checked:?}"),
    }
    let told =
        eventually("it is told of", || Some(asker.get("/api/host")["heartbeat"].clone()).filter(Value::is_object));
    assert_eq!((&told["status"], &told["http_status"]), (&json!("ok"), &json!(204)));
    // One more when somebody asks for it, and what happens when nobody is there.
    assert_eq!(asker.ask("POST", "/api/host/heartbeat", Value::Null).is(200)["status"], "ok");
    runtime.block_on(async {
        listener.reset().await;
        Mock::given(method("POST")).respond_with(ResponseTemplate::new(503)).mount(&listener).await;
    });
    let gone = asker.ask("POST", "/api/host/heartbeat", Value::Null).is(200);
    assert_eq!((&gone["status"], &gone["http_status"]), (&json!("failed"), &json!(503)), "{gone}");
    assert!(
        asker.ask("GET", "/api/metrics", Value::Null).text.contains("pvectl_heartbeats_total{result=\"failed\"} 1")
    );
}
