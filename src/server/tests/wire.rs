//! Connections, compression, TLS, faults.

use super::*;

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
    // What nobody wants to read is read nevertheless, so that the sender gets to see the answer.
    let unwanted = server.anonymous("PUT", "/nodes/pve1/qemu/1/config").body("x".repeat(2 * 1024 * 1024));
    assert_eq!(said(unwanted).await.reason, "No ticket");
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
    assert_eq!(said(version()).await, Said { status: 595, reason: "Connection refused".into(), body: Value::Null });
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
async fn a_server_that_is_away_has_answered_and_takes_nothing_more() {
    let rule = |text: &str| text.parse::<FaultRule>().unwrap();
    let script = Arc::new(FaultScript::new([
        rule("GET /version:die=something went wrong*1"),
        rule("GET /version:delay-after=1ms*1"),
        rule("GET /version:down-after=1000s"),
    ]));
    let server = Server::start(Options { faults: Some(script), ..quick() }).await;
    let version = || server.root("GET", "/version");
    let refused = said(version()).await;
    assert_eq!((refused.status, refused.reason.as_str()), (500, "something went wrong"));
    // Another connection, which has to end too.
    let (one, other) = tokio::join!(said(version()), said(server.anonymous("GET", "/access/ticket")));
    assert_eq!((one.status, other.status), (200, 200));
    assert_eq!(said(version()).await.status, 200, "the last thing that is said");
    assert!(version().send().await.unwrap_err().is_connect());
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let limits = Limits { body: Duration::from_millis(50), ..Limits::strict() };
    let server = Server::start(Options { limits, ..quick() }).await;
    let head = "POST /api2/json/access/ticket HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nusername=";
    let answer = server.raw(head).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
}
