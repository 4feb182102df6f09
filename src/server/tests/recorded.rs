//! What the API says, against the recordings of a real server.

use serde_json::json;

use super::*;

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
