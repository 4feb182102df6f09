//! Those who come to a served host with anything but a good request: nonsense, and much of it, slowly.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use crate::{
    harness::{Chance, number},
    serve::Served,
};

/// Pieces of requests: some of them right where they stand, most not.
const METHODS: &[&str] = &["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "get", "TRACE", "X"];
const PATHS: &[&str] = &[
    "/api2/json/version",
    "/api2/json/nodes/localhost/qemu",
    "/api2/json/nodes/localhost/qemu/100/config",
    "/api2/json/nodes/no_node!/status",
    "/api2/json/nodes/localhost/tasks/UPID:x:/status",
    "/api2/json/nodes/localhost/storage/local/content/..%2f..%2fetc%2fpasswd",
    "/api2/json/nodes/localhost/storage/..%2f..%2f/content",
    "/api2/json/access/users",
    "/api2/json/access/acl",
    "/api2/json/access/users/root@pam/token/%00",
    "/api2/json/cluster/nextid",
    "/api2/json/../../../../etc/passwd",
    "/api2/json/%2e%2e/%2e%2e/etc/passwd",
    "/api2/xml/version",
    "/api2/extjs/nodes",
    "/api2/json/%ff%fe%zz",
    "/api2/json//nodes///",
    "/api2",
    "/etc/passwd",
    "/pve-docs/api-viewer/apidoc.js/../../../etc/passwd",
    "/api/vms",
    "/api/vms/",
    "/api/vms/web",
    "/api/vms/web/start",
    "/api/vms/web/rename",
    "/api/vms/..%2f..%2fetc/copy",
    "/api/vms/%ff%00",
    "/api/plans",
    "/api/plans/../../etc/passwd",
    "/api/exec/sh",
    "/api/host/heartbeat",
    "/api/metrics",
    "/api/openapi.json",
    "/api/nothing",
    "*",
    "//",
    "/",
];
const QUERIES: &[&str] =
    &["", "?vmid=1", "?vmid=99999999999999999999", "?a=1;b=%zz&&;=", "?limit=-1", "?type=%00", "?path=/../.."];
const HEADERS: &[&str] = &[
    "",
    "Content-Type: text/plain\r\n",
    "Content-Type: application/json\r\n",
    "Content-Type: multipart/form-data; boundary=x\r\n",
    "Content-Length: 18446744073709551616\r\n",
    "Content-Length: -1\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding: gzip, chunked\r\n",
    "Expect: 100-continue\r\n",
    "Upgrade: websocket\r\n",
    "X-Odd: \u{e4}\u{20ac}\r\n",
    "No colon at all\r\n",
    " folded: x\r\n",
    "CSRFPreventionToken: 0:0\r\n",
    "Accept-Encoding: gzip;q=0, br, *\r\n",
];
const BODIES: &[&str] =
    &["", "{", "{\"a\":[[]]}", "[]", "null", "vmid=0&vmid=1", "a;b;c=%", "\u{0}\u{1}", "--x\r\n\r\n--x--", "privsep=2"];

/// What a real server says to such requests, and what any HTTP server says to what is none. Beside its API nothing that a
/// stranger sends is the server's own fault.
const WORDS: &[u16] = &[200, 308, 400, 401, 403, 404, 408, 413, 414, 431, 500, 501, 505, 506];

/// A request, and whether it is one at all: whatever is cut off is only closed.
fn request(chance: &mut Chance, token: &str) -> (Vec<u8>, bool) {
    let (method, path, query) = (chance.pick(METHODS), chance.pick(PATHS), chance.pick(QUERIES));
    let version =
        if chance.below(20) == 0 { chance.pick(&["HTTP/0.9", "HTTP/2.0", "HTTQ/1.1", ""]) } else { "HTTP/1.1" };
    let mut text = format!("{method} {path}{query} {version}\r\nHost: x\r\nConnection: close\r\n");
    text += &format!("Authorization: PVEAPIToken={token}\r\n");
    for _ in 0..chance.below(3) {
        text += chance.pick(HEADERS);
    }
    if chance.below(50) == 0 {
        text += &format!("X-Long: {}\r\n", "y".repeat(100_000));
    }
    let body = chance.pick(BODIES);
    if !text.contains("Content-Length") && !text.contains("Transfer-Encoding") {
        text += &format!("Content-Length: {}\r\n", body.len());
    }
    text += "\r\n";
    text += body;
    // What it brings to be recognised by stays right: who is not is held up for three seconds.
    let line = text.find("\r\n").unwrap_or_default();
    // What is refused before it was read may take its answer with it.
    let is_whole = !text.contains("Transfer-Encoding") && !text.contains("X-Long");
    let mut bytes = text.into_bytes();
    match chance.below(8) {
        0 => {
            let at = chance.below(line as u32) as usize;
            bytes[at] = chance.below(256) as u8;
            (bytes, false)
        }
        1 => {
            bytes.truncate(chance.below(bytes.len() as u32) as usize);
            (bytes, false)
        }
        _ => (bytes, is_whole),
    }
}

/// The status of the answer; `None` where the connection was closed without one.
fn status(address: &str, request: &[u8], is_whole: bool) -> Option<u16> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    // Who is refused early does not take the rest.
    let _ = stream.write_all(request);
    // Of a request that is whole an answer is waited for; a server need not give one to whoever has hung up half-way.
    if !is_whole {
        let _ = stream.shutdown(std::net::Shutdown::Write);
    }
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let head = String::from_utf8_lossy(&answer);
    let head = head.trim_start_matches("HTTP/1.1 100 Continue\r\n\r\n");
    head.strip_prefix("HTTP/1.1 ").or_else(|| head.strip_prefix("HTTP/1.0 "))?.get(..3)?.parse().ok()
}

#[test]
fn ten_thousand_malformed_requests_are_refused_and_change_nothing() {
    let served = Served::start_with("--no-tls");
    let address = served.said("url").replace("http://", "");
    let token = served.said("token");
    let (requests, threads) = (number("PVECTL_TEST_REQUESTS").unwrap_or(10_000), 4);
    let people = served.remote.json("user list");
    std::thread::scope(|scope| {
        for seed in 1..=threads {
            let address = &address;
            scope.spawn(move || {
                let mut chance = Chance(0x9E37_79B9_7F4A_7C15 ^ seed);
                for _ in 0..requests / threads {
                    let (bytes, is_whole) = request(&mut chance, token);
                    let said = status(address, &bytes, is_whole);
                    let shown = || String::from_utf8_lossy(&bytes).into_owned();
                    let is_beside = bytes.windows(6).any(|part| part == b" /api/");
                    match said {
                        Some(500..) if is_whole && is_beside => panic!("{said:?} to {}", shown()),
                        Some(405 | 409) if is_beside => {}
                        Some(status) => assert!(WORDS.contains(&status), "{status} to {}", shown()),
                        None => assert!(!is_whole, "no answer to {}", shown()),
                    }
                }
            });
        }
    });
    assert_eq!(served.remote.json("user list"), people);
    assert_eq!(served.remote.json("vm list"), serde_json::json!([]));
    assert!(served.remote.run("api get /version").ok().stdout.contains("release"));
}

#[test]
fn slow_connections_keep_nobody_out() {
    let served = Served::start_with("--no-tls");
    let address = served.said("url").replace("http://", "");
    let login = "POST /api2/json/access/ticket HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nusername=";
    let mut slow = Vec::new();
    for number in 0..600 {
        let mut stream = TcpStream::connect(&address).unwrap();
        let begun = ["", "GET /api2/json/version HTTP/1.1\r\nHos", login][number % 3];
        let _ = stream.write_all(begun.as_bytes());
        slow.push(stream);
        if number % 150 == 149 {
            assert_eq!(served.remote.json("vm list"), serde_json::json!([]), "after {number}");
        }
    }
    // Nobody holds more than the share of one source, which is 250; the rest is what any process has open.
    assert!(served.open_files() < 320, "{}", served.open_files());
}
