//! Answers that came whole: envelopes, refusals, foreign servers; and the requests that they answer.

use super::*;

#[tokio::test]
async fn the_envelope_is_opened() {
    let server = Server::start(|_, _| reply("200 OK", r#"{"data":[{"n":1}],"total":63,"changes":"x"}"#));
    let reply = server.client().send(&get("/nodes/pve1/tasks")).await.unwrap();
    assert_eq!(reply.data, serde_json::json!([{"n": 1}]));
    assert_eq!(reply.total, Some(63));
    assert_eq!(reply.server_time.unwrap().to_string(), "2026-11-20T12:00:00Z");
    let read: Vec<std::collections::BTreeMap<String, u8>> =
        server.client().read(&get("/nodes/pve1/tasks")).await.unwrap();
    assert_eq!(read[0]["n"], 1);
}

#[tokio::test]
async fn null_is_a_good_answer() {
    let server = Server::start(|_, _| ok("null"));
    let done = server.client().submit(&Call::new(Method::Put, "/nodes/pve1/qemu/100/config")).await.unwrap();
    assert_eq!(done, Submitted::Done(Value::Null));
}

#[tokio::test]
async fn a_guest_of_an_odd_form_hides_no_other() {
    let rows = r#"[{"vmid":100,"type":"qemu","node":"pve1"},{"vmid":101,"type":"openvz","node":"pve1"},
        {"vmid":102,"type":"qemu","node":"pve1","mem":{}},{"vmid":"103","type":"lxc","node":"pve1"}]"#;
    let server = Server::start(move |_, _| ok(rows));
    let guests = server.client().guests().await.unwrap();
    assert_eq!(guests.iter().map(|guest| guest.vmid.get()).collect::<Vec<_>>(), [100, 103]);
    // What is no list at all is said, in the words of the first reading.
    let server = Server::start(|_, _| ok(r#""odd""#));
    assert!(server.client().guests().await.unwrap_err().message().contains("unexpected form"));
}

#[tokio::test]
async fn a_file_is_a_text() {
    let file = |body: &'static [u8]| {
        Server::start(move |_, _| {
            let head = "Server: pve-api-daemon/3.0\r\nContent-Type: text/plain\r\nContent-Disposition: attachment";
            let head = format!("HTTP/1.1 200 OK\r\n{head}\r\nContent-Length: {}\r\n\r\n", body.len());
            Act::Send([head.as_bytes(), body].concat())
        })
    };
    for (body, text) in [(&b"starting\nTASK OK\n"[..], "starting\nTASK OK\n"), (b"", ""), (b"17", "17")] {
        assert_eq!(file(body).client().send(&get("/x/log")).await.unwrap().data, text);
    }
    let change = file(b"TASK OK").client().send(&post("/x/log")).await.unwrap_err();
    assert!(change.may_have_happened(), "{change}");
    let error = file(b"PK\xff\xfe").client().send(&get("/x/download")).await.unwrap_err();
    assert!(error.class() == Class::Failed && error.message().contains("a file that is no text"), "{error}");
}

#[tokio::test]
async fn requests_have_the_form_the_server_takes() {
    let server = Server::start(|_, _| ok("null"));
    let client = server.client();
    let params = Params::new().with("tags", "a;b").with("description", "x y");
    for method in [Method::Get, Method::Delete, Method::Post, Method::Put] {
        client.send(&Call::new(method, "/p").with_params(params.clone())).await.unwrap();
    }
    client.send(&post("/p")).await.unwrap();
    let seen = server.seen();
    let form = "tags=a%3Bb&description=x%20y";
    for (request, method) in seen.iter().zip(["GET", "DELETE"]) {
        assert_eq!(request.line, format!("{method} /api2/json/p?{form} HTTP/1.1"));
        assert!(request.header("content-length").is_none_or(|length| length == "0"), "{request:?}");
        assert_eq!(request.header("content-type"), None);
    }
    for (request, method) in seen[2..4].iter().zip(["POST", "PUT"]) {
        assert!(request.is(method, "/p"), "{request:?}");
        assert_eq!(request.body, form);
        assert_eq!(request.header("content-type"), Some("application/x-www-form-urlencoded"));
    }
    assert_eq!(seen[4].header("content-length"), Some("0"));
    for request in &seen {
        assert_eq!(request.header("transfer-encoding"), None);
        assert_eq!(request.header("authorization"), Some("PVEAPIToken=root@pam!ci=token-secret"));
        // Nothing goes over a network here.
        assert_eq!(request.header("accept-encoding"), Some("identity"));
        assert!(request.header("user-agent").unwrap().starts_with("pvectl/"));
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn gzip_is_read_even_where_it_was_not_asked_for() {
    let server = Server::start(|_, _| {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gzip.write_all(br#"{"data":"packed"}"#).unwrap();
        let body = gzip.finish().unwrap();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n", body.len());
        Act::Send([head.into_bytes(), body].concat())
    });
    assert_eq!(server.client().send(&get("/nodes/pve1/journal")).await.unwrap().data, "packed");
}

#[tokio::test]
async fn what_the_server_has_against_parameters_is_kept() {
    let server = Server::start(|_, _| {
        reply(
            "400 Parameter verification failed.",
            r#"{"data":null,"message":"Parameter verification failed.\n","errors":{"onboot":"type check ('boolean') failed - got 'yes'\n"}}"#,
        )
    });
    let error = server.client().send(&post("/nodes/pve1/qemu")).await.unwrap_err();
    assert_eq!((error.class(), error.status(), error.sent()), (Class::Rejected, Some(400), Some(Sent::Answered)));
    assert_eq!(error.message(), "Parameter verification failed.");
    assert_eq!(error.params()["onboot"], "type check ('boolean') failed - got 'yes'");
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn a_message_may_stand_in_the_reason_phrase_alone() {
    for (status, class, message) in [
        ("401 No ticket", Class::Unauthenticated, "No ticket"),
        ("500 VM is locked (backup)", Class::Conflict, "VM is locked (backup)"),
        ("500 Internal Server Error", Class::Failed, "Internal Server Error"),
        (
            "403 Permission check failed (/vms/100, VM.Audit)",
            Class::Forbidden,
            "Permission check failed (/vms/100, VM.Audit)",
        ),
    ] {
        let server = Server::start(move |_, _| {
            Act::SendAndClose(
                format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").into_bytes(),
            )
        });
        let error = server.client().send(&get("/x")).await.unwrap_err();
        assert_eq!((error.class(), error.message()), (class, message));
        // A token that was refused is refused again; asking twice costs three seconds more.
        assert_eq!(server.seen().len(), 1, "{status}");
    }
}

#[tokio::test]
async fn a_missing_node_is_named_and_says_whether_the_call_went_through() {
    for (status, sent) in [("595 No route to host", Sent::Answered), ("596 Connection timed out", Sent::Maybe)] {
        let server = Server::start(move |_, _| reply(status, ""));
        let error = server.client().send(&post("/nodes/pve2/qemu/100/status/start")).await.unwrap_err();
        assert_eq!((error.class(), error.sent()), (Class::Unreachable, Some(sent)), "{error}");
        assert!(error.hints().contains(&Hint::NodeUnreachable("pve2".to_owned())));
        assert!(error.message().contains("`pve2`") && error.message().contains(&status[4..]), "{error}");
        let calls = server.seen();
        let changes = calls.iter().filter(|seen| seen.line.starts_with("POST"));
        assert_eq!(changes.count(), 1, "what follows only asks how the node is");
    }
}

#[tokio::test]
async fn without_a_node_in_the_path_it_is_the_servers_own_daemon() {
    for (status, sent) in [("595 Connection refused", Sent::Answered), ("596 Connection timed out", Sent::Maybe)] {
        let server = Server::start(move |_, _| reply(status, ""));
        let error = server.client().send(&post("/pools")).await.unwrap_err();
        assert_eq!((error.class(), error.sent()), (Class::Unreachable, Some(sent)), "{error}");
        assert_eq!(error.hints(), [Hint::DaemonSilent]);
        assert!(error.message().contains("pvedaemon") && error.message().contains(&status[4..]), "{error}");
        assert_eq!(server.seen().len(), 1, "a change is sent once");
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    for status in ["301 Moved Permanently", "308 Permanent Redirect"] {
        let server = Server::start(move |_, _| {
            Act::Send(
                format!(
                    "HTTP/1.1 {status}\r\nLocation: https://pve1:8006/api2/json/version\r\nContent-Length: 0\r\n\r\n"
                )
                .into_bytes(),
            )
        });
        let error = server.client().send(&get("/version")).await.unwrap_err();
        assert_eq!((error.class(), error.sent()), (Class::Unreachable, Some(Sent::Answered)));
        assert!(error.message().contains("redirects"), "{error}");
        assert_eq!(error.hints(), [Hint::Text("use https://pve1:8006 as the endpoint".to_owned())]);
    }
}

#[tokio::test]
async fn a_web_page_is_not_taken_for_the_api() {
    for (status, class) in [("200 OK", Class::Unreachable), ("404 Not Found", Class::Failed)] {
        let server = Server::start(move |_, _| {
            let body = "<!DOCTYPE html><html>";
            Act::Send(
                format!("HTTP/1.1 {status}\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\r\n{body}", body.len())
                    .into_bytes(),
            )
        });
        let error = server.client().send(&post("/x")).await.unwrap_err();
        assert_eq!(error.class(), class, "{error}");
        assert!(error.message().contains("web page") && error.message().contains("Proxmox VE"), "{error}");
    }
}

#[tokio::test]
async fn data_of_another_form_is_an_error_that_quotes_nothing() {
    let server = Server::start(|_, _| ok(r#"{"ticket":"hunter2"}"#));
    let error = server.client().read::<std::collections::BTreeMap<String, u64>>(&get("/x")).await.unwrap_err();
    assert_eq!(error.class(), Class::Failed);
    assert!(error.message().contains("expected u64"), "{error}");
    assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn a_taken_vmid_is_an_answer() {
    let server = Server::start(|_, seen| match seen.line.contains("vmid=100") {
        true => reply(
            "400 Parameter verification failed.",
            r#"{"data":null,"message":"Parameter verification failed.\n","errors":{"vmid":"VM 100 already exists"}}"#,
        ),
        false => ok(r#""4711""#),
    });
    let client = server.client();
    let vmid = |number| crate::model::Vmid::new(number).unwrap();
    assert!(!client.vmid_is_free(vmid(100)).await.unwrap());
    assert!(client.vmid_is_free(vmid(4711)).await.unwrap());
    assert_eq!(client.next_vmid().await.unwrap(), vmid(4711));
}

#[tokio::test]
async fn the_log_of_an_unknown_task_is_not_found() {
    use crate::model::TaskSource;
    let server = Server::start(|number, _| match number {
        0 => reply("200 OK", r#"{"data":[{"n":1,"t":"unable to open file - No such file or directory"}],"total":1}"#),
        _ => reply("200 OK", r#"{"data":[{"n":3,"t":"a"},{"n":4,"t":"TASK OK"}],"total":4}"#),
    });
    let upid: crate::model::Upid = "UPID:pve1:000003EC:00041609:6B003243:qmstart:100:root@pam!ci:".parse().unwrap();
    let client = server.client();
    assert_eq!(client.task_log(&upid, 0, 50).await.unwrap_err().class(), Class::NotFound);
    let page = client.task_log(&upid, 2, 50).await.unwrap();
    assert_eq!((page.lines.len(), page.total), (2, 4));
    assert!(server.seen()[1].is("GET", &format!("/nodes/pve1/tasks/{upid}/log?start=2&limit=50")));
}
