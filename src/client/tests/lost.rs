//! Servers that cannot be reached, break off, or are too slow: what is sent again and what is not.

use super::*;

fn break_off(_: usize, _: &Seen) -> Act {
    Act::SendAndClose(Vec::new())
}

#[tokio::test]
async fn nobody_listens() {
    let endpoint = closed();
    let client = Client::builder().endpoint(endpoint.clone()).build().unwrap();
    for call in [get("/version"), post("/x")] {
        let error = client.send(&call).await.unwrap_err();
        assert_eq!((error.class(), error.sent()), (Class::Unreachable, Some(Sent::Never)));
        assert_eq!(error.message(), format!("cannot reach {endpoint}: connection refused"));
    }
}

#[tokio::test]
async fn a_name_that_nobody_knows() {
    let client = Client::builder().endpoint(Endpoint::parse("http://pve.invalid:8006").unwrap()).build().unwrap();
    let error = client.send(&post("/x")).await.unwrap_err();
    assert_eq!((error.class(), error.sent()), (Class::Unreachable, Some(Sent::Never)));
    assert!(error.message().contains("the name `pve.invalid` is not known"), "{error}");
}

#[tokio::test]
async fn a_change_that_was_sent_is_never_sent_again() {
    for method in [Method::Post, Method::Put, Method::Delete] {
        let (server, other) = (Server::start(break_off), Server::start(|_, _| ok("null")));
        let client = Client::builder().endpoint(server.endpoint()).endpoint(other.endpoint()).build().unwrap();
        let error = client.send(&Call::new(method, "/x")).await.unwrap_err();
        assert_eq!((error.class(), error.sent()), (Class::Unreachable, Some(Sent::Maybe)), "{error}");
        assert_eq!((server.seen().len(), other.seen().len()), (1, 0), "{method}");
    }
}

#[tokio::test]
async fn a_read_is_sent_again() {
    let server = Server::start(|number, seen| if number < 2 { break_off(number, seen) } else { ok("1") });
    assert_eq!(server.client().send(&get("/x")).await.unwrap().data, 1);
    assert_eq!(server.seen().len(), 3);

    let server = Server::start(break_off);
    let error = server.client().send(&get("/x")).await.unwrap_err();
    assert_eq!((error.class(), error.sent()), (Class::Unreachable, Some(Sent::Maybe)));
    assert_eq!(server.seen().len(), 3);
}

#[tokio::test]
async fn a_half_answer_is_none() {
    let half = |length: usize| {
        move |number: usize, seen: &Seen| match number {
            0 => Act::SendAndClose(
                format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{{\"data\":[1,").into_bytes(),
            ),
            _ if seen.line.starts_with("GET") => ok("[1,2]"),
            _ => ok("null"),
        }
    };
    // The connection ends too early; or the text does, in a body that has its full length.
    for length in [100, 11] {
        let server = Server::start(half(length));
        assert_eq!(server.client().read::<Vec<u8>>(&get("/x")).await.unwrap(), [1, 2]);
        assert_eq!(server.seen().len(), 2);

        let server = Server::start(half(length));
        let error = server.client().send(&post("/x")).await.unwrap_err();
        assert!(error.may_have_happened() && error.message().contains("cut off"), "{error}");
        assert_eq!(server.seen().len(), 1);
    }
}

#[tokio::test]
async fn a_gateway_that_stumbles_is_asked_again_for_reads_only() {
    for status in ["502 Bad Gateway", "503 Service Unavailable", "504 Gateway Time-out", "596 Connection timed out"] {
        let script = move |number, _: &Seen| if number == 0 { reply(status, "") } else { ok("1") };
        let server = Server::start(script);
        assert_eq!(server.client().send(&get("/x")).await.unwrap().data, 1, "{status}");
        let server = Server::start(script);
        assert!(server.client().send(&post("/x")).await.unwrap_err().may_have_happened(), "{status}");
        assert_eq!(server.seen().len(), 1);
    }
}

#[tokio::test]
async fn silence_ends_with_the_time_given() {
    for call in [get("/x"), post("/x")] {
        let server = Server::start(|_, _| Act::Hang);
        let client =
            Client::builder().endpoint(server.endpoint()).request_timeout(Duration::from_millis(200)).build().unwrap();
        let error = client.send(&call).await.unwrap_err();
        assert_eq!((error.class(), error.sent()), (Class::Unreachable, Some(Sent::Maybe)));
        assert!(error.message().contains("in time"), "{error}");
        assert_eq!(server.seen().len(), 1);
    }
}

#[tokio::test]
async fn a_read_leaves_time_to_another_endpoint() {
    let (silent, good) = (Server::start(|_, _| Act::Hang), Server::start(|_, _| ok("1")));
    let client = Client::builder()
        .endpoint(silent.endpoint())
        .endpoint(good.endpoint())
        .request_timeout(Duration::from_secs(2))
        .build()
        .unwrap();
    assert_eq!(client.send(&get("/x")).await.unwrap().data, 1);
}

#[tokio::test]
async fn an_attempt_that_could_not_even_connect_in_time_is_not_made() {
    // The waits between three attempts are longer than the time there is.
    let server = Server::start(|_, _| reply("502 Bad Gateway", ""));
    let client =
        Client::builder().endpoint(server.endpoint()).request_timeout(Duration::from_millis(350)).build().unwrap();
    let error = client.send(&get("/x")).await.unwrap_err();
    // What the server said is better news than that the time is over.
    assert_eq!(error.status(), Some(502), "{error}");
    assert!(server.seen().len() < 3);
}

#[tokio::test]
async fn the_next_endpoint_takes_over_and_is_remembered() {
    let (down, good) = (closed(), Server::start(|_, _| ok("null")));
    let client = Client::builder().endpoint(down).endpoint(good.endpoint()).build().unwrap();
    client.send(&post("/x")).await.unwrap();
    assert_eq!(client.0.transport.preferred().to_string(), good.url());
    client.send(&post("/y")).await.unwrap();
    assert_eq!(good.seen().len(), 2);
}

#[tokio::test]
async fn an_endpoint_that_refuses_is_a_good_one() {
    let server = Server::start(|_, _| reply("500 VM is locked (backup)", ""));
    let client = Client::builder().endpoint(closed()).endpoint(server.endpoint()).build().unwrap();
    assert_eq!(client.send(&post("/x")).await.unwrap_err().class(), Class::Conflict);
    assert_eq!(client.0.transport.preferred().to_string(), server.url());
}

#[tokio::test]
async fn all_endpoints_are_named_when_none_answers() {
    let (first, second) = (closed(), closed());
    let client = Client::builder().endpoint(first.clone()).endpoint(second.clone()).build().unwrap();
    let error = client.send(&post("/x")).await.unwrap_err();
    assert_eq!(error.sent(), Some(Sent::Never));
    assert!([first, second].iter().all(|one| error.message().contains(&one.to_string())), "{error}");
}

#[tokio::test]
async fn a_connection_that_the_server_closed_meanwhile_is_no_error() {
    // Closes after every answer without having said so, as a server does whose idle time is over.
    let server = Server::start(|_, _| match ok("1") {
        Act::Send(bytes) => Act::SendAndClose(bytes),
        other => other,
    });
    let client = server.client();
    for _ in 0..20 {
        client.send(&get("/x")).await.unwrap();
    }
    assert_eq!(server.connections(), server.seen().len());
}

#[tokio::test]
async fn something_that_is_not_http() {
    let server = Server::start(|_, _| Act::SendAndClose(b"\x15\x03\x01\x00\x02\x02\x46".to_vec()));
    let error = server.client().send(&get("/x")).await.unwrap_err();
    assert!(error.message().contains("not HTTP"), "{error}");
    assert!(error.hints().iter().any(|hint| matches!(hint, Hint::Text(text) if text.contains("https"))));
}
