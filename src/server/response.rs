//! Answers as they go over the wire: envelope, status line, headers, compression.
//!
//! What is answered is decided before; nothing here looks at the request beyond what coding it accepts.

use std::io::Write;

use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, HeaderValue, Response, StatusCode, header},
};
use flate2::{Compression, write::GzEncoder};
use hyper::ext::ReasonPhrase;
use jiff::{Timestamp, tz::TimeZone};
use serde_json::{Map, Value};

use super::{Fault, Reply};

/// Bodies up to this size are not compressed.
pub(super) const PLAIN: usize = 1024;
const SERVER: &str = "pve-api-daemon/3.0";
const JSON: &str = "application/json;charset=UTF-8";
const SCRIPT: &str = "application/javascript";

/// Statuses of the proxy in front of the API, which no standard knows.
const PROXY_REASONS: &[(u16, &str)] =
    &[(595, "Connection refused"), (596, "Connection timed out"), (597, "Broken pipe"), (599, "Too many redirections")];

/// How the caller wants the envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Envelope {
    /// `/api2/json`.
    Json,
    /// `/api2/extjs`: always status 200, success and status inside.
    ExtJs,
}

impl Envelope {
    /// By the word in the path.
    pub(super) fn of(word: &str) -> Option<Self> {
        match word {
            "json" => Some(Self::Json),
            "extjs" => Some(Self::ExtJs),
            _ => None,
        }
    }
}

/// An answer before it has headers.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) reason: String,
    pub(super) body: Bytes,
    /// The body as it is compressed, where it was before.
    pub(super) packed: Option<Bytes>,
    /// How old it is in seconds, where it was prepared.
    pub(super) age: Option<u64>,
    /// The `Content-Type`; what the layer below the API says comes without one.
    pub(super) content_type: Option<&'static str>,
    /// Whether it is compressed whatever the caller accepts.
    pub(super) always_gzip: bool,
}

impl Answer {
    /// Status, reason phrase and the same text as body: how the HTTP layer below the API answers.
    pub(super) fn text(status: u16, text: &str) -> Self {
        Self { body: Bytes::copy_from_slice(text.as_bytes()), ..Self::empty(status, text) }
    }

    /// Status and reason phrase alone.
    pub(super) fn empty(status: u16, reason: &str) -> Self {
        let reason = reason.to_owned();
        Self { status, reason, body: Bytes::new(), packed: None, age: None, content_type: None, always_gzip: false }
    }

    /// A file of JavaScript.
    pub(super) fn script(text: &str) -> Self {
        Self { body: Bytes::copy_from_slice(text.as_bytes()), content_type: Some(SCRIPT), ..Self::empty(200, "OK") }
    }

    /// A status without a body, with the reason that a proxy in front of a real server gives.
    pub(super) fn bare(status: u16) -> Self {
        let proxied = PROXY_REASONS.iter().find(|(code, _)| *code == status).map(|(_, reason)| *reason);
        let known = || StatusCode::from_u16(status).ok()?.canonical_reason();
        Self::empty(status, proxied.or_else(known).unwrap_or_default())
    }

    /// What the API has to say.
    pub(super) fn api(envelope: Envelope, outcome: Result<Reply, Fault>) -> Self {
        let mut body = Map::new();
        let mut age = None;
        let (status, reason) = match outcome {
            Ok(Reply { prepared: Some(prepared), .. }) if envelope == Envelope::Json => {
                let (body, packed, age) = (prepared.plain(), prepared.packed(), Some(prepared.age()));
                return Self { body, packed, age, content_type: Some(JSON), ..Self::empty(200, "OK") };
            }
            Ok(reply) => {
                age = reply.prepared.as_ref().map(|prepared| prepared.age());
                let data = reply.prepared.map_or(reply.data, |prepared| prepared.value().clone());
                body.insert("data".to_owned(), data);
                body.extend(reply.changes.map(|changes| ("changes".to_owned(), changes.into())));
                body.extend(reply.total.map(|total| ("total".to_owned(), total.into())));
                (200, "OK".to_owned())
            }
            // What a proxy in front of the API says about its backend has no body.
            Err(fault) if fault.status >= 595 => return Self::empty(fault.status, &fault.message),
            Err(fault) => {
                // The router says what it does not know without the line end that every `die` has.
                let end = if fault.status == 501 { "" } else { "\n" };
                body.insert("data".to_owned(), Value::Null);
                body.insert("message".to_owned(), format!("{}{end}", fault.message).into());
                if !fault.errors.is_empty() {
                    body.insert("errors".to_owned(), serde_json::json!(fault.errors));
                }
                let reason = fault.message.lines().next().unwrap_or_default().to_owned();
                (fault.status, reason)
            }
        };
        let mut answer = Self { content_type: Some(JSON), ..Self::empty(status, &reason) };
        if envelope == Envelope::ExtJs {
            body.insert("success".to_owned(), u8::from(status == 200).into());
            match status {
                200 => {}
                400 => drop(body.insert("status".to_owned(), "400".into())),
                other => drop(body.insert("status".to_owned(), other.into())),
            }
            answer = Self { content_type: Some(JSON), ..Self::empty(200, "OK") };
        }
        answer.body = Value::from(body).to_string().into();
        answer.age = age;
        answer
    }

    /// The bytes and headers. `last` closes the connection, as every status from 400 on does.
    pub(super) fn into_response(self, asked: &HeaderMap, now: Timestamp, last: bool) -> Response<Body> {
        let accepts = asked.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
        let accepts_gzip = accepts.flat_map(|list| list.split(',')).any(|coding| {
            coding.split(';').next().is_some_and(|name| name.trim() == "gzip") && !coding.ends_with("q=0")
        });
        let packs = self.always_gzip || (accepts_gzip && self.body.len() > PLAIN);
        let pack = || gzip(&self.body).map(Bytes::from);
        let packed = if packs { self.packed.or_else(pack) } else { None };
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        if let Some(reason) = reason_phrase(&self.reason) {
            response.extensions_mut().insert(reason);
        }
        let headers = response.headers_mut();
        headers.insert(header::SERVER, HeaderValue::from_static(SERVER));
        if let Ok(date) = HeaderValue::from_str(&http_date(now)) {
            headers.insert(header::DATE, date);
        }
        if let Some(kind) = self.content_type {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        }
        if let Some(age) = self.age {
            headers.insert(header::AGE, age.into());
        }
        if packed.is_some() {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        if last || self.status >= 400 {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        let body = packed.unwrap_or(self.body);
        headers.insert(header::CONTENT_LENGTH, body.len().into());
        *response.body_mut() = Body::from(body);
        response
    }
}

/// A status line cannot have control characters.
fn reason_phrase(text: &str) -> Option<ReasonPhrase> {
    let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    ReasonPhrase::try_from(clean).ok()
}

pub(super) fn gzip(body: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(body).ok()?;
    encoder.finish().ok()
}

/// `Fri, 20 Nov 2026 11:37:20 GMT`.
fn http_date(now: Timestamp) -> String {
    now.to_zoned(TimeZone::UTC).strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}
