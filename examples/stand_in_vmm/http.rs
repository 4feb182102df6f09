//! HTTP as micro-http speaks it: what it takes, what it refuses, and how it says so.

use std::{
    io::{Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use crate::machine::Machine;

const CONNECTIONS: usize = 10;
const LINE: usize = 1024;
const BODY: usize = 51_200;

/// An answer: status and body, which is JSON. Without a body there is none to announce, but with an empty one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
    /// The process ends when it has been sent.
    pub(crate) last: bool,
}

impl Answer {
    pub(crate) fn new(status: u16, body: impl Into<String>) -> Self {
        Self { status, body: body.into(), last: false }
    }

    fn bytes(&self, server: &str) -> Vec<u8> {
        let Self { status, body, .. } = self;
        let mut text = format!("HTTP/1.1 {status} \r\nServer: {server}\r\nConnection: keep-alive\r\n");
        if !matches!(status, 100 | 204) {
            text += &format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
        }
        (text + "\r\n" + body).into_bytes()
    }
}

/// What was read of a connection.
enum Parsed {
    Request { method: String, path: String, body: Vec<u8>, length: usize },
    Unfinished { continues: bool },
    Wrong(String),
}

pub(crate) fn serve(listener: &UnixListener, machine: &Arc<Mutex<Machine>>) {
    let open = Arc::new(AtomicUsize::new(0));
    for stream in listener.incoming() {
        let Ok(mut stream) = stream else { continue };
        if open.fetch_add(1, Ordering::SeqCst) >= CONNECTIONS {
            open.fetch_sub(1, Ordering::SeqCst);
            let body = r#"{ "error": "Too many open connections" }"#;
            let _ = write!(
                stream,
                "HTTP/1.1 503\r\nServer: Firecracker API\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            continue;
        }
        let (machine, open) = (Arc::clone(machine), Arc::clone(&open));
        thread::spawn(move || {
            converse(&mut stream, &machine);
            open.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

fn converse(stream: &mut UnixStream, machine: &Mutex<Machine>) {
    let mut read = Vec::new();
    let mut chunk = [0; 4096];
    let mut told_to_continue = false;
    loop {
        match parse(&read) {
            Parsed::Unfinished { continues } => {
                if continues && !told_to_continue {
                    told_to_continue = true;
                    let _ = stream.write_all(&Answer::new(100, "").bytes("Firecracker API"));
                }
                match stream.read(&mut chunk) {
                    Ok(0) | Err(_) => return,
                    Ok(count) => read.extend_from_slice(&chunk[..count]),
                }
            }
            Parsed::Wrong(why) => {
                read.clear();
                let body = format!("{{ \"error\": \"{why}\nAll previous unanswered requests will be dropped.\" }}");
                if stream.write_all(&Answer::new(400, body).bytes("Firecracker API")).is_err() {
                    return;
                }
            }
            Parsed::Request { method, path, body, length } => {
                read.drain(..length);
                told_to_continue = false;
                let answer = answer(machine, &method, &path, &body);
                let sent = stream.write_all(&answer.bytes("Cloud Hypervisor API"));
                if answer.last {
                    machine.lock().map(|mut machine| machine.end()).ok();
                }
                if sent.is_err() {
                    return;
                }
            }
        }
    }
}

fn answer(machine: &Mutex<Machine>, method: &str, path: &str, body: &[u8]) -> Answer {
    if method == "PATCH" {
        return Answer::new(400, "");
    }
    let Some(verb) = path.strip_prefix("/api/v1/") else { return Answer::new(404, r#"["Not Found"]"#) };
    match machine.lock() {
        Ok(mut machine) => machine.handle(method, verb, body),
        Err(_) => Answer::new(500, r#"["Internal Server Error"]"#),
    }
}

fn parse(read: &[u8]) -> Parsed {
    let wrong = |why: &str| Parsed::Wrong(why.to_owned());
    let mut lines = Vec::new();
    let mut at = 0;
    loop {
        let Some(length) = read[at..].windows(2).position(|pair| pair == b"\r\n") else {
            return match (read.len() - at > LINE, lines.is_empty()) {
                (false, _) => Parsed::Unfinished { continues: false },
                (true, true) => wrong("Invalid request."),
                (true, false) => too_long(&read[at..at + LINE]),
            };
        };
        let line = &read[at..at + length];
        match (length > LINE, lines.is_empty()) {
            (true, true) => return wrong("Invalid request."),
            (true, false) => return too_long(&line[..LINE]),
            (false, _) => {}
        }
        at += length + 2;
        if line.is_empty() {
            break;
        }
        lines.push(String::from_utf8_lossy(line).into_owned());
    }
    let Some(words) = lines.first().map(|line| line.split(' ').collect::<Vec<_>>()) else {
        return wrong("Invalid request.");
    };
    let [method, path, "HTTP/1.0" | "HTTP/1.1"] = words[..] else { return wrong("Invalid request.") };
    if !matches!(method, "GET" | "PUT" | "PATCH") {
        return wrong("Invalid HTTP Method: Unsupported HTTP method.");
    }
    let header = |name: &str| {
        lines[1..].iter().filter_map(|line| line.split_once(':')).find(|(key, _)| key.eq_ignore_ascii_case(name))
    };
    if header("Transfer-Encoding").is_some_and(|(_, value)| value.contains("chunked")) {
        return wrong("Invalid request.");
    }
    let Ok(length) = header("Content-Length").map_or(Ok(0), |(_, value)| value.trim().parse::<usize>()) else {
        return wrong("Invalid request.");
    };
    if length > BODY {
        return Parsed::Wrong(format!(
            "Request payload with size {length} is larger than the limit of {BODY} allowed by server."
        ));
    }
    if read.len() < at + length {
        let continues = header("Expect").is_some_and(|(_, value)| value.trim() == "100-continue");
        return Parsed::Unfinished { continues };
    }
    let path = path.strip_prefix("http://").map_or(path, |rest| rest.find('/').map_or("/", |slash| &rest[slash..]));
    Parsed::Request {
        method: method.to_owned(),
        path: path.to_owned(),
        body: read[at..at + length].to_vec(),
        length: at + length,
    }
}

fn too_long(line: &[u8]) -> Parsed {
    let line = String::from_utf8_lossy(line);
    Parsed::Wrong(format!("Invalid header. Reason: Invalid content length. Header: {line}"))
}
