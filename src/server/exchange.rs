//! One request from its head to its answer, in the order in which a real server looks at things.
//!
//! The order is part of the contract with clients: who is not logged in learns nothing, who lacks a privilege does not
//! learn whether the guest exists, and the node is looked up before parameters are checked.

use std::time::{Duration, Instant};

use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, Response, StatusCode, header, request::Parts},
};
use futures_util::{StreamExt, stream};
use hyper::upgrade::OnUpgrade;
use percent_encoding::percent_decode_str;
use serde_json::json;

use super::{
    Fault, Kit, Logged, Peer, Reply, Strike,
    auth::{self, Credentials},
    beside::{named, request_id},
    call::call,
    listen::Connection,
    request::{self, BodyKind, LARGEST_BODY},
    response::{Answer, Envelope},
    upload, websocket,
};
use crate::{
    contract::{self, APIDOC_PATH, Permissions},
    model::{Method, Params},
};

/// Where a server says whether it is well.
const HEALTH: &str = "/healthz";

/// What the API's root lists.
const ROOT_INDEX: [&str; 6] = ["version", "cluster", "nodes", "storage", "access", "pools"];

/// Answers that are compressed whatever the caller accepts.
const ALWAYS_GZIP: &str = "/nodes/{node}/journal";

/// Answers a request, faults included.
pub(super) async fn answer(kit: &Kit, request: axum::extract::Request) -> Response<Body> {
    let id = request_id(request.headers());
    let source = request.extensions().get::<Connection>().and_then(Connection::source);
    let turn = kit.guard().turn(source, tokio::time::Instant::now());
    if !turn.is_zero() {
        tokio::time::sleep(turn).await;
    }
    let path = request.uri().path();
    let response = match kit.options().beside.as_ref().filter(|beside| beside.has(path)) {
        Some(beside) => {
            let (method, path) = (request.method().clone(), path.to_owned());
            let mut note = Note::new(kit, method.as_str(), &path, &id);
            let response = beside.answer(kit, request, &id).await;
            if response.status() == StatusCode::UNAUTHORIZED && !kit.options().auth_delay.is_zero() {
                tokio::time::sleep(kit.options().auth_delay).await;
            }
            note.status = Some(response.status().as_u16());
            response
        }
        None => answer_api(kit, request, &id).await,
    };
    if kit.options().names_requests { named(response, &id) } else { response }
}

/// The same of the API of Proxmox VE.
async fn answer_api(kit: &Kit, request: axum::extract::Request, id: &str) -> Response<Body> {
    let (mut parts, body) = request.into_parts();
    let upgrade = parts.extensions.remove::<OnUpgrade>().filter(|_| websocket::is_wanted(&parts.headers));
    let connection = parts.extensions.get::<Connection>().cloned();
    let target = Target::of(parts.uri.path());
    let mut note = Note::new(kit, parts.method.as_str(), &target.path, id);
    let (mut strike, mut task_ends) = (None, None);
    for planned in kit.options().faults.iter().flat_map(|faults| faults.strike(parts.method.as_str(), &target.path)) {
        match planned {
            Strike::Delay(time) => tokio::time::sleep(time).await,
            Strike::TaskEnds(text) => task_ends = Some(text),
            other => strike = strike.or(Some(other)),
        }
    }
    let limit = kit.options().requests_per_connection;
    let last = connection.as_ref().is_some_and(|connection| connection.is_last(limit));
    let mut finish = |answer: Answer| {
        note.status = Some(answer.status);
        answer.into_response(&parts.headers, kit.now(), last)
    };
    match strike {
        Some(Strike::ResetBefore) => return cut(connection, note).await,
        Some(Strike::Status(code)) => {
            drain(body).await;
            return finish(Answer::bare(code));
        }
        Some(Strike::Die(text)) => {
            drain(body).await;
            return finish(Answer::api(Envelope::Json, Err(Fault::die(text))));
        }
        _ => {}
    }
    let (answer, peer) = work(kit, &parts, &target, body, (task_ends, id), upgrade.is_some()).await;
    if let (Some(peer), Some(upgrade), None) = (peer, upgrade, &strike)
        && let Some(opened) = websocket::open(&parts.headers, upgrade, peer)
    {
        note.status = Some(101);
        return opened;
    }
    if answer.status == 401 && !kit.options().auth_delay.is_zero() {
        tokio::time::sleep(kit.options().auth_delay).await;
    }
    match strike {
        Some(Strike::ResetAfter) => cut(connection, note).await,
        Some(Strike::StatusAfter(code)) => finish(Answer::bare(code)),
        Some(Strike::TruncateAfter) => truncated(finish(answer)).await,
        Some(Strike::DelayAfter(time)) => {
            tokio::time::sleep(time).await;
            finish(answer)
        }
        Some(Strike::DownAfter(time)) => {
            if let Some(connection) = &connection {
                connection.speak_last();
            }
            kit.leave(time).await;
            note.status = Some(answer.status);
            answer.into_response(&parts.headers, kit.now(), true)
        }
        _ => finish(answer),
    }
}

/// A request that is noted when it is over, also where whoever sent it has gone before the answer.
struct Note<'a> {
    kit: &'a Kit,
    method: &'a str,
    path: &'a str,
    id: &'a str,
    begun: Instant,
    /// `None` once it is noted.
    status: Option<u16>,
}

impl<'a> Note<'a> {
    fn new(kit: &'a Kit, method: &'a str, path: &'a str, id: &'a str) -> Self {
        Self { kit, method, path, id, begun: Instant::now(), status: Some(0) }
    }
}

impl Drop for Note<'_> {
    fn drop(&mut self) {
        if let Some(status) = self.status.take() {
            let (method, path, id) = (self.method.to_owned(), self.path.to_owned(), self.id.to_owned());
            self.kit.note(Logged { method, path, status, id, time: self.begun.elapsed() });
        }
    }
}

/// Drops the connection. Without one of our own to drop, the next best thing is an answer that says so.
async fn cut(connection: Option<Connection>, note: Note<'_>) -> Response<Body> {
    // Before anybody can see it.
    drop(note);
    if let Some(connection) = connection {
        connection.hang_up();
        std::future::pending::<()>().await;
    }
    Answer::empty(500, "connection reset").into_response(&HeaderMap::new(), jiff::Timestamp::UNIX_EPOCH, true)
}

/// The same answer with half of its body. The head promises all of it; the failing stream ends the connection, but
/// only after what came before had a turn to be written.
async fn truncated(response: Response<Body>) -> Response<Body> {
    let (parts, body) = response.into_parts();
    let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
    let half = Ok(bytes.slice(..bytes.len() / 2));
    let end = stream::once(async {
        tokio::task::yield_now().await;
        Err::<Bytes, _>(std::io::Error::other("cut off by a fault"))
    });
    Response::from_parts(parts, Body::from_stream(stream::iter([half]).chain(end)))
}

/// Where a request goes: `/api2/{format}{path}`.
struct Target {
    /// The word after `/api2`; `None` for paths elsewhere.
    format: Option<String>,
    /// What follows it, or the whole path; decoded.
    path: String,
}

impl Target {
    fn of(raw: &str) -> Self {
        let whole = percent_decode_str(raw).decode_utf8_lossy().into_owned();
        let Some(below) = whole.strip_prefix("/api2/") else {
            return Self { format: None, path: whole };
        };
        let (format, path) = below.split_once('/').unwrap_or((below, ""));
        Self { format: Some(format.to_owned()), path: format!("/{path}") }
    }
}

/// Where the methods are that take a file.
const UPLOAD: &str = "/upload";

/// Everything between the head of a request and its answer.
async fn work(
    kit: &Kit,
    parts: &Parts,
    target: &Target,
    body: Body,
    (task_ends, id): (Option<String>, &str),
    upgrades: bool,
) -> (Answer, Option<Box<dyn Peer>>) {
    let mut peer = None;
    let answer = work_and(kit, parts, target, body, (task_ends, id, upgrades), &mut peer).await;
    (answer, peer)
}

/// The same; `peer` is who answers on the websocket that is asked for.
async fn work_and(
    kit: &Kit,
    parts: &Parts,
    target: &Target,
    body: Body,
    (task_ends, id, upgrades): (Option<String>, &str, bool),
    peer: &mut Option<Box<dyn Peer>>,
) -> Answer {
    let connection = parts.extensions.get::<Connection>();
    let source = connection.and_then(Connection::source);
    let word = parts.method.as_str();
    let Some(method) = Method::ALL.into_iter().find(|method| method.as_str() == word) else {
        return Answer::empty(501, &format!("method '{word}' not available"));
    };
    if parts.headers.contains_key(header::TRANSFER_ENCODING) {
        drain(body).await;
        return Answer::text(501, "chunked transfer encoding not supported");
    }
    let Some(format) = &target.format else {
        if target.path == APIDOC_PATH && method == Method::Get {
            return Answer::script(kit.description());
        }
        return match kit.service().health().filter(|_| target.path == HEALTH && method == Method::Get) {
            Some(Ok(text)) => Answer::text(200, &text),
            Some(Err(text)) => Answer::text(503, &text),
            None => Answer::text(404, &format!("no such file '{}'", target.path)),
        };
    };
    let found = contract::embedded().find_decoded(method, &target.path);
    let is_open = found.as_ref().is_some_and(|found| found.endpoint.permissions == Permissions::World);
    let identity = if is_open {
        None
    } else {
        match auth::recognise(kit, method, &parts.headers, connection).await {
            Ok(recognised) => Some(recognised.who),
            Err(reason) => {
                drain(body).await;
                return Answer::empty(401, &reason);
            }
        }
    };
    let Some(envelope) = Envelope::of(format) else {
        return Answer::text(501, &format!("no formatter for uri {}, {format}", target.path));
    };
    let takes_file = found.as_ref().is_some_and(|found| found.endpoint.path.ends_with(UPLOAD));
    let patience = kit.guard().limits().body;
    let read = match upload::boundary(parts).filter(|_| takes_file) {
        Some(boundary) => upload::read(parts, &boundary, body).await.map(|(params, upload)| (params, Some(upload))),
        None => match tokio::time::timeout(patience, read(method, parts, body)).await {
            Ok(read) => read.map(|params| (params, None)),
            Err(_) => Err(Answer::empty(408, "Request Timeout")),
        },
    };
    let (params, upload) = match read {
        Ok(read) => read,
        Err(answer) => return answer,
    };
    let always_gzip = found.as_ref().is_some_and(|found| found.endpoint.path == ALWAYS_GZIP);
    let has_token = matches!(Credentials::of(&parts.headers), Some(Credentials::Token(_)));
    let outcome = match found {
        Some(found) => {
            // From now on it is no longer the other side that one waits for.
            let _answering = connection.map(Connection::answering);
            let rest = (task_ends, id, upgrades.then_some(peer), source);
            call(kit, found, (params, upload), (identity, has_token), rest).await
        }
        None if method == Method::Get && target.path.trim_matches('/').is_empty() => {
            Ok(Reply::data(ROOT_INDEX.iter().map(|name| json!({"subdir": name})).collect::<Vec<_>>()))
        }
        None => {
            let message = format!("Method '{method} {}' not implemented", normal(&target.path));
            Err(Fault { status: 501, ..Fault::die(message) })
        }
    };
    Answer { always_gzip, ..Answer::api(envelope, outcome) }
}

/// The path with single slashes.
fn normal(path: &str) -> String {
    path.split('/').filter(|segment| !segment.is_empty()).map(|segment| format!("/{segment}")).collect()
}

/// Parameters of query and body.
async fn read(method: Method, parts: &Parts, body: Body) -> Result<Params, Answer> {
    let header = |name| parts.headers.get(name).and_then(|value| value.to_str().ok());
    let length: u64 = header(header::CONTENT_LENGTH).and_then(|text| text.parse().ok()).unwrap_or(0);
    let refuse = async |body, answer| {
        drain(body).await;
        Err(answer)
    };
    if length > 0 && matches!(method, Method::Get | Method::Delete) {
        return refuse(body, Answer::text(501, &format!("Unexpected content for method '{method}'"))).await;
    }
    if length > LARGEST_BODY {
        return refuse(body, Answer::text(501, "for data too large")).await;
    }
    let content_type = header(header::CONTENT_TYPE);
    let Some(kind) = BodyKind::of(content_type.filter(|_| length > 0)) else {
        let named = content_type.unwrap_or_default();
        return refuse(body, Answer::text(506, &format!("upload 'Content-Type '{named}' not implemented"))).await;
    };
    let bytes = axum::body::to_bytes(body, LARGEST_BODY as usize).await;
    let bytes = bytes.map_err(|_| Answer::text(501, "for data too large"))?;
    request::params(parts.uri.query().unwrap_or_default(), &bytes, kind).map_err(|why| Answer::text(500, &why))
}

/// Reads a body that is not wanted, so that its sender gets to read the answer; within reason.
async fn drain(body: Body) {
    const ENOUGH: usize = 64 * 1024 * 1024;
    const PATIENCE: Duration = Duration::from_secs(10);
    let mut chunks = body.into_data_stream();
    let read = async {
        let mut seen = 0;
        while let Some(Ok(chunk)) = chunks.next().await {
            seen += chunk.len();
            if seen > ENOUGH {
                return;
            }
        }
    };
    // Who takes longer gets no answer to read.
    let _ = tokio::time::timeout(PATIENCE, read).await;
}
