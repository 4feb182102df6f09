//! What is told about requests: one line each at `info`, headers at `debug`, bodies at `trace`; secrets never.
//!
//! Events have the target [`TARGET`]; whoever listens decides where they go.

use std::error::Error as _;

use reqwest::header::{AUTHORIZATION, COOKIE, HeaderMap, PROXY_AUTHORIZATION, SET_COOKIE};
use serde_json::Value;
use tokio::time::Instant;
use tracing::{Level, debug, enabled, info, trace};

use super::super::{Endpoint, response::Answer};
use crate::model::{Call, Error, Secrets, is_secret_at, is_secret_key};

/// The target of all events about HTTP.
pub(super) const TARGET: &str = "pvectl::http";

const HIDDEN: &str = "***";

/// Headers whose values are secrets, besides those that are named like a secret parameter.
const SECRET_HEADERS: [reqwest::header::HeaderName; 4] = [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION, SET_COOKIE];

/// One request and its answer.
pub(super) struct Exchange<'a> {
    call: &'a Call,
    endpoint: &'a Endpoint,
    secrets: &'a Secrets,
    began: Instant,
}

impl<'a> Exchange<'a> {
    /// Tells what goes out.
    pub(super) fn begin(
        call: &'a Call,
        endpoint: &'a Endpoint,
        request: &reqwest::Request,
        secrets: &'a Secrets,
    ) -> Self {
        if enabled!(target: TARGET, Level::DEBUG) {
            debug!(target: TARGET, method = %call.method, path = call.path, %endpoint, headers = headers(request.headers()), "request");
        }
        if enabled!(target: TARGET, Level::TRACE) && !call.params.is_empty() {
            let params = Value::Object(call.redacted_params().to_json());
            trace!(target: TARGET, method = %call.method, path = call.path, %params, "request parameters");
        }
        Self { call, endpoint, secrets, began: Instant::now() }
    }

    /// Tells what came back.
    pub(super) fn answered(&self, answer: &Answer) {
        let Self { call, endpoint, secrets, .. } = self;
        let ms = self.milliseconds();
        info!(target: TARGET, method = %call.method, path = call.path, status = answer.status, ms, "answer");
        if enabled!(target: TARGET, Level::DEBUG) {
            let (reason, headers) = (secrets.hide(&answer.reason), headers(&answer.headers));
            debug!(target: TARGET, %endpoint, reason = &*reason, headers = &*secrets.hide(&headers), "answer headers");
        }
        if enabled!(target: TARGET, Level::TRACE) {
            trace!(target: TARGET, body = body(&call.path, &answer.body, secrets), "answer body");
        }
    }

    /// Tells that nothing came back.
    pub(super) fn failed(&self, error: &Error) {
        let Self { call, .. } = self;
        let ms = self.milliseconds();
        info!(target: TARGET, method = %call.method, path = call.path, ms, %error, "no answer");
    }

    fn milliseconds(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// Headers on one line, secrets hidden.
fn headers(headers: &HeaderMap) -> String {
    let one = |(name, value): (&reqwest::header::HeaderName, &reqwest::header::HeaderValue)| {
        let secret = value.is_sensitive()
            || SECRET_HEADERS.contains(name)
            || is_secret_key(name.as_str())
            || name.as_str().eq_ignore_ascii_case("CSRFPreventionToken");
        let value = if secret { HIDDEN.into() } else { String::from_utf8_lossy(value.as_bytes()) };
        format!("{name}: {value}")
    };
    headers.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// Why the wire failed, with all that stands behind it: more than an error should say.
pub(super) fn failure(error: &reqwest::Error) {
    if enabled!(target: TARGET, Level::DEBUG) {
        let mut chain = Vec::new();
        let mut link = error.source();
        while let Some(error) = link {
            chain.push(error.to_string());
            link = error.source();
        }
        debug!(target: TARGET, cause = chain.join(": "), "failure");
    }
}

/// A body with its secrets hidden. Of one that is not JSON only the length is told: nobody knows what is in it.
fn body(path: &str, bytes: &[u8], secrets: &Secrets) -> String {
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(mut envelope)) => {
            envelope.values_mut().for_each(|value| hide(path, value));
            let mut envelope = Value::Object(envelope);
            secrets.hide_in(&mut envelope);
            envelope.to_string()
        }
        _ => format!("{} bytes that are not an envelope", bytes.len()),
    }
}

fn hide(path: &str, value: &mut Value) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(|value| hide(path, value)),
        Value::Object(map) => {
            for (key, value) in map.iter_mut() {
                if is_secret_at(path, key) && !value.is_null() {
                    *value = Value::from(HIDDEN);
                } else {
                    hide(path, value);
                }
            }
        }
        Value::String(text) if is_ticket(text) => *value = Value::from(HIDDEN),
        _ => {}
    }
}

/// Whether a text is a ticket, under whatever key: `PVE:user@realm:6B002D54::signature`, `…:PVEVNC:…`.
fn is_ticket(text: &str) -> bool {
    text.starts_with("PVE:") || text.contains("PVEVNC:")
}
