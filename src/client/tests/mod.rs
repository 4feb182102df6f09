//! The client against servers that answer, refuse, lie and break off: bytes on a socket, no HTTP library.
//!
//! A scripted server says what to do with the n-th request; the tests look at what it received.

mod answers;
mod calls;
mod login;
mod lost;
mod recordings;
#[cfg(feature = "cli")]
mod trace;
#[cfg(feature = "server")]
mod trust;

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use super::*;

/// A request as it came.
#[derive(Debug, Clone)]
struct Seen {
    /// `GET /api2/json/version HTTP/1.1`.
    line: String,
    /// Names in lower case.
    headers: Vec<(String, String)>,
    body: String,
}

impl Seen {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(have, _)| have == name).map(|(_, value)| value.as_str())
    }

    fn is(&self, method: &str, path: &str) -> bool {
        self.line.starts_with(&format!("{method} /api2/json{path} "))
    }
}

/// What the server does with a request.
enum Act {
    /// Sends this and waits for the next request.
    Send(Vec<u8>),
    /// Sends this and closes the connection.
    SendAndClose(Vec<u8>),
    /// Answers nothing and keeps the connection.
    Hang,
}

/// An answer as Proxmox VE sends it.
fn reply(status: &str, body: &str) -> Act {
    let head = format!(
        "HTTP/1.1 {status}\r\nServer: pve-api-daemon/3.0\r\nDate: Fri, 20 Nov 2026 12:00:00 GMT\r\n\
         Content-Type: application/json;charset=UTF-8\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    Act::Send(head.into_bytes())
}

fn ok(data: &str) -> Act {
    reply("200 OK", &format!(r#"{{"data":{data}}}"#))
}

type Script = dyn Fn(usize, &Seen) -> Act + Send + Sync;

/// A server that follows a script.
struct Server {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    connections: Arc<AtomicUsize>,
}

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

impl Server {
    fn start(script: impl Fn(usize, &Seen) -> Act + Send + Sync + 'static) -> Self {
        Self::wrapped(|stream| Box::new(stream), script)
    }

    /// With something between the socket and the script, such as TLS.
    fn wrapped(
        wrap: impl Fn(std::net::TcpStream) -> Box<dyn Stream> + Send + 'static,
        script: impl Fn(usize, &Seen) -> Act + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server =
            Self { address: listener.local_addr().unwrap(), seen: Arc::default(), connections: Arc::default() };
        let (seen, connections) = (Arc::clone(&server.seen), Arc::clone(&server.connections));
        let script: Arc<Script> = Arc::new(script);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                connections.fetch_add(1, Ordering::SeqCst);
                let stream = wrap(stream);
                let (script, seen) = (Arc::clone(&script), Arc::clone(&seen));
                std::thread::spawn(move || serve(stream, &*script, &seen));
            }
        });
        server
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn endpoint(&self) -> Endpoint {
        Endpoint::parse(&self.url()).unwrap()
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    fn client(&self) -> Client {
        Client::builder().endpoint(self.endpoint()).auth(token()).build().unwrap()
    }
}

/// Serves one connection.
fn serve(stream: Box<dyn Stream>, script: &Script, seen: &Mutex<Vec<Seen>>) {
    let mut stream = BufReader::new(stream);
    while let Some(request) = read_request(&mut stream) {
        let number = {
            let mut seen = seen.lock().unwrap();
            seen.push(request.clone());
            seen.len() - 1
        };
        let (bytes, close) = match script(number, &request) {
            Act::Send(bytes) => (bytes, false),
            Act::SendAndClose(bytes) => (bytes, true),
            Act::Hang => (Vec::new(), false),
        };
        if stream.get_mut().write_all(&bytes).and_then(|()| stream.get_mut().flush()).is_err() || close {
            return;
        }
    }
}

fn read_request(stream: &mut BufReader<Box<dyn Stream>>) -> Option<Seen> {
    let mut line = String::new();
    let mut next = |line: &mut String| {
        line.clear();
        (stream.read_line(line).ok()? > 0).then(|| line.trim_end().to_owned())
    };
    let first = next(&mut line)?;
    let mut headers = Vec::new();
    while let Some((name, value)) = next(&mut line)?.split_once(": ") {
        headers.push((name.to_ascii_lowercase(), value.to_owned()));
    }
    let mut seen = Seen { line: first, headers, body: String::new() };
    let length = seen.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    seen.body = String::from_utf8(body).ok()?;
    Some(seen)
}

fn token() -> Auth {
    Auth::Token { id: "root@pam!ci".to_owned(), secret: "token-secret".into() }
}

/// An address where nobody listens.
fn closed() -> Endpoint {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    Endpoint::parse(&format!("http://{address}")).unwrap()
}

fn get(path: &str) -> Call {
    Call::new(Method::Get, path)
}

fn post(path: &str) -> Call {
    Call::new(Method::Post, path)
}

use crate::model::{Class, Hint, Sent};

#[test]
fn a_client_goes_anywhere_and_shows_no_secret() {
    fn check<T: Clone + Send + Sync + 'static>(_: &T) {}
    let auth = token();
    assert!(!format!("{auth:?}").contains("token-secret"));
    let client = Client::builder().endpoint(closed()).auth(auth).build().unwrap();
    check(&client);
    assert!(!format!("{client:?}").contains("token-secret"));
}

#[tokio::test]
async fn a_path_that_is_none_is_refused_before_anybody_logs_in() {
    let server = Server::start(|_, _| ok("null"));
    let auth = Auth::Password { user: "root@pam".into(), password: "x".into(), second_factor: None };
    let client = Client::builder().endpoint(server.endpoint()).auth(auth).build().unwrap();
    assert_eq!(client.send(&post("/nodes/../access")).await.unwrap_err().class(), Class::Usage);
    assert!(server.seen().is_empty());
}

#[test]
fn what_cannot_work_is_refused_before_anything_is_sent() {
    let user = |user: &str| Auth::Password { user: user.to_owned(), password: "x".into(), second_factor: None };
    assert_eq!(Client::builder().build().unwrap_err().class(), Class::Usage);
    for auth in [user("root"), user("@pam"), Auth::Token { id: "root@pam".into(), secret: "x".into() }] {
        assert_eq!(Client::builder().endpoint(closed()).auth(auth).build().unwrap_err().class(), Class::Usage);
    }
}
