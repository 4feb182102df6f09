//! Secrets pushed through every part of a request and searched for in all that is told about it.

use std::io;

use tracing_subscriber::fmt::MakeWriter;

use super::*;

/// Collects what is written.
#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Captured {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Captured {
    fn listen(&self, level: tracing::Level) -> tracing::subscriber::DefaultGuard {
        let subscriber =
            tracing_subscriber::fmt().with_max_level(level).with_ansi(false).with_writer(self.clone()).finish();
        tracing::subscriber::set_default(subscriber)
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

/// Every secret of these tests has this in it.
const MARK: &str = "hunter2";

/// Sends secrets by all ways there are.
async fn push_secrets_through() -> Server {
    let server = Server::start(|number, seen| match number {
        0 => ok(&serde_json::json!({
            "ticket": format!("PVE:root@pam:6B002D54::{MARK}"), "CSRFPreventionToken": MARK, "username": "root@pam",
        })
        .to_string()),
        1 => Act::Send(
            format!(
                "HTTP/1.1 200 OK\r\nSet-Cookie: PVEAuthCookie={MARK}\r\nContent-Length: 15\r\n\r\n{{\"data\":\"fine\"}}"
            )
            .into_bytes(),
        ),
        2 => ok(&serde_json::json!({
            "full-tokenid": "a@pam!t", "value": MARK, "info": {"privsep": "1"}, "secret": MARK,
            "deep": [{"password": MARK, "seen": format!("PVEVNC:6B00::{MARK}")}],
        })
        .to_string()),
        3 => Act::SendAndClose(format!("HTTP/1.1 500 x\r\nContent-Length: 7\r\n\r\n{MARK}").into_bytes()),
        _ if seen.line.starts_with("GET") => Act::SendAndClose(Vec::new()),
        _ => ok("null"),
    });
    let auth = Auth::Password { user: "root@pam".into(), password: MARK.into(), second_factor: None };
    let client = Client::builder().endpoint(server.endpoint()).auth(auth).build().unwrap();
    let secret = Params::new().with("cipassword", MARK).with("cores", "4711");
    client.send(&get("/one")).await.unwrap();
    client.send(&post("/access/users/a@pam/token/t").with_params(secret.clone())).await.unwrap();
    let error = client.send(&Call::new(Method::Delete, "/three").with_params(secret.clone())).await.unwrap_err();
    assert!(!format!("{error} {error:?}").contains(MARK), "{error:?}");
    let error = client.send(&get("/four").with_params(secret)).await.unwrap_err();
    assert!(!format!("{error} {error:?}").contains(MARK), "{error:?}");
    let token = Auth::Token { id: "root@pam!ci".into(), secret: MARK.into() };
    let client = Client::builder().endpoint(server.endpoint()).auth(token).build().unwrap();
    // A secret only because of where it is.
    client.send(&post("/access/tfa/a@pam").with_params(Params::new().with("value", MARK))).await.unwrap();
    server
}

/// Runs the ignored tests below, each in a process of its own. Which places of the program are listened to is decided
/// once for all threads, when one of them first comes by: another test would decide it for somebody who hears nothing.
#[test]
fn what_is_told_of_requests() {
    for test in ["no_secret_is_told_at_any_level", "each_request_is_one_line_at_info"] {
        let name = std::thread::current().name().unwrap().replace("what_is_told_of_requests", test);
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        let output = command.args(["--exact", &name, "--ignored", "--nocapture"]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.contains("1 passed"), "{said}{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[tokio::test]
#[ignore = "run by what_is_told_of_requests"]
async fn no_secret_is_told_at_any_level() {
    let captured = Captured::default();
    {
        let _listening = captured.listen(tracing::Level::TRACE);
        let server = push_secrets_through().await;
        // They did go over the wire.
        assert!(server.seen().iter().filter(|seen| format!("{seen:?}").contains(MARK)).count() > 4);
    }
    let text = captured.text();
    assert!(!text.contains(MARK), "{text}");
    // What is not secret is told: parameters, headers, bodies.
    for told in
        ["cores", "4711", "cookie: ***", "csrfpreventiontoken: ***", "authorization: ***", "fine", "full-tokenid"]
    {
        assert!(text.contains(told), "{told} is missing in {text}");
    }
}

#[tokio::test]
#[ignore = "run by what_is_told_of_requests"]
async fn each_request_is_one_line_at_info() {
    let captured = Captured::default();
    {
        let _listening = captured.listen(tracing::Level::INFO);
        let server = Server::start(|_, _| ok("null"));
        server.client().send(&get("/version").with_params(Params::new().with("a", "b"))).await.unwrap();
        let client = Client::builder().endpoint(closed()).build().unwrap();
        client.send(&get("/nodes")).await.unwrap_err();
    }
    let text = captured.text();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 4, "{text}");
    for part in ["pvectl::http", "method=GET", r#"path="/version""#, "status=200", "ms="] {
        assert!(lines[0].contains(part), "{part} is missing in {}", lines[0]);
    }
    assert!(lines[3].contains("connection refused"), "{}", lines[3]);
}
