//! What the server said: the envelope, the error body, and whether it was a Proxmox VE at all.
//!
//! Reads bytes that are already here; how they came, and what becomes of a failure, is in [`super::transport`].

use std::collections::BTreeMap;

use hyper::ext::ReasonPhrase;
use jiff::{Timestamp, fmt::rfc2822::DateTimeParser};
use reqwest::header::{CONTENT_DISPOSITION, CONTENT_TYPE, DATE, HeaderMap, LOCATION, SERVER};
use serde::{Deserialize, de::DeserializeOwned};

use super::{Endpoint, path};
use crate::model::{Call, Class, Error, Hint, Method, Result, Secrets, Sent, tolerant};

/// The envelope of every success.
#[derive(Deserialize)]
pub(super) struct Envelope<T> {
    /// What was asked for.
    pub(super) data: T,
    /// How many rows there are altogether, where the answer is a page.
    #[serde(default, deserialize_with = "tolerant::u64::option")]
    pub(super) total: Option<u64>,
    /// What is changed and does not hold yet.
    #[serde(default)]
    pub(super) changes: Option<String>,
}

/// The body of an error, as far as there is one.
#[derive(Default, Deserialize)]
struct Complaint {
    #[serde(default)]
    message: Option<String>,
    #[serde(default)]
    errors: Option<BTreeMap<String, serde_json::Value>>,
}

/// A whole answer.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) reason: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Answer {
    /// Takes what is in the head; the body comes later.
    pub(super) fn begin(response: &reqwest::Response) -> Self {
        let status = response.status();
        // Servers before 8.3 said what went wrong in the reason phrase alone.
        let reason = match response.extensions().get::<ReasonPhrase>() {
            Some(reason) => String::from_utf8_lossy(reason.as_bytes()).into_owned(),
            None => status.canonical_reason().unwrap_or_default().to_owned(),
        };
        // A length that is announced is a good size to begin with, but not one to be believed.
        let expected = response.content_length().unwrap_or(0).min(16 << 20) as usize;
        Self {
            status: status.as_u16(),
            reason,
            headers: response.headers().clone(),
            body: Vec::with_capacity(expected),
        }
    }

    /// Takes secrets out of a refusal, which may repeat what was sent. In a success they may be what was asked for.
    pub(super) fn hide(&mut self, secrets: &Secrets) {
        if self.status < 400 || secrets.is_empty() {
            return;
        }
        self.reason = secrets.hide(&self.reason).into_owned();
        self.body = match serde_json::from_slice::<serde_json::Value>(&self.body) {
            Ok(mut body) => {
                secrets.hide_in(&mut body);
                body.to_string().into_bytes()
            }
            Err(_) => secrets.hide(&String::from_utf8_lossy(&self.body)).into_owned().into_bytes(),
        };
    }

    /// The server's clock.
    pub(super) fn server_time(&self) -> Option<Timestamp> {
        const PARSER: DateTimeParser = DateTimeParser::new();
        PARSER.parse_timestamp(self.headers.get(DATE)?.as_bytes()).ok()
    }

    /// Reads a success.
    ///
    /// # Errors
    /// What the server refused, in its own words; and everything that is no answer of a Proxmox VE, or only a part of
    /// one: then [`Sent::Maybe`], for it cannot be told what was done.
    pub(super) fn read<T: DeserializeOwned>(&self, call: &Call, endpoint: &Endpoint) -> Result<Envelope<T>> {
        match self.status {
            200..=299 => match serde_json::from_slice(&self.body) {
                Ok(envelope) => Ok(envelope),
                Err(_) if call.method == Method::Get && self.is_a_file() => self.file_in_envelope(call, endpoint),
                Err(error) => Err(self.unreadable(call, endpoint, error)),
            },
            300..=399 => Err(self.redirect(call, endpoint)),
            _ => Err(self.complaint(call, endpoint)),
        }
    }

    /// Reads a text file that lies beside the API.
    ///
    /// # Errors
    /// When there is none, or something else in its place.
    pub(super) fn file(&self, call: &Call, endpoint: &Endpoint) -> Result<String> {
        let what = || format!("{endpoint}{}", call.path);
        match (self.status, std::str::from_utf8(&self.body)) {
            (200..=299, Ok(text)) if self.foreign().is_none() => Ok(text.to_owned()),
            (300..=399, _) => Err(self.redirect(call, endpoint)),
            (status, _) => Err(Error::new(Class::NotFound, format!("there is no file {} (status {status})", what()))
                .with_sent(Sent::Answered)),
        }
    }

    /// Reads what a plain route says: JSON without an envelope, or `{"error": …}`.
    ///
    /// # Errors
    /// What was refused, in the host's own words; [`Class::Usage`] where no host of pvectl's answers so.
    pub(super) fn plain<T: DeserializeOwned>(&self, call: &Call, endpoint: &Endpoint) -> Result<T> {
        #[derive(Deserialize)]
        struct Refusal {
            error: String,
        }
        if (300..=399).contains(&self.status) {
            return Err(self.redirect(call, endpoint));
        }
        if (200..=299).contains(&self.status) && self.foreign().is_none() {
            return serde_json::from_slice(&self.body).map_err(|error| self.unreadable(call, endpoint, error));
        }
        match (self.status, serde_json::from_slice::<Refusal>(&self.body).ok()) {
            // Unlike Proxmox VE it says so where there is nothing of a name.
            (404, Some(Refusal { error })) => Err(Error::not_found(error).with_sent(Sent::Answered)),
            (_, Some(Refusal { error })) => Err(Error::from_answer(self.status, &error, BTreeMap::new())),
            (502..=504 | 595..=599, None) => Err(self.complaint(call, endpoint)),
            _ => Err(Error::usage(format!("{endpoint} is no host that `pvectl serve` serves"))
                .with_sent(Sent::Answered)
                .with_hint(Hint::Text(
                    "a Proxmox VE server has nothing at this path; see `pvectl serve --help`".into(),
                ))),
        }
    }

    /// Whether this is a file of the server's in the place of data, such as a task's log with `download=1`. Only reads
    /// are answered so: of a change it would not be known what was done.
    fn is_a_file(&self) -> bool {
        let header = |name| self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let from_pve = header(SERVER).starts_with("pve-api-daemon") || self.headers.contains_key(CONTENT_DISPOSITION);
        let kind = header(CONTENT_TYPE);
        from_pve && !kind.is_empty() && !kind.starts_with("application/json") && self.foreign().is_none()
    }

    /// A file as data: a text.
    fn file_in_envelope<T: DeserializeOwned>(&self, call: &Call, endpoint: &Endpoint) -> Result<Envelope<T>> {
        let Ok(text) = std::str::from_utf8(&self.body) else {
            let text = format!("{endpoint} answered `{} {}` with a file that is no text", call.method, call.path);
            let hint = "`pvectl api get … --dry-run` prints a line for curl, which can save it";
            return Err(Error::new(Class::Failed, text).with_sent(Sent::Answered).with_hint(Hint::Text(hint.into())));
        };
        let envelope = serde_json::json!({"data": text});
        serde_json::from_value(envelope).map_err(|error| self.unreadable(call, endpoint, error))
    }

    fn unreadable(&self, call: &Call, endpoint: &Endpoint, error: serde_json::Error) -> Error {
        let what = format!("`{} {}`", call.method, call.path);
        let broken = |text: String| Error::new(Class::Unreachable, text).with_sent(Sent::Maybe);
        if error.is_data() {
            // Well-formed, but of a shape we do not know. The cause may quote a value, and a secret in an answer must
            // not reach an error, so only its end is told: what was expected, and where.
            let cause = error.to_string();
            let told = cause.rfind("expected ").map_or_else(
                || format!("line {} column {}", error.line(), error.column()),
                |at| cause[at..].to_owned(),
            );
            let text = format!("{endpoint} answered {what} with data of an unexpected form: {told}");
            return Error::new(Class::Failed, text).with_sent(Sent::Answered);
        }
        if let Some(kind) = self.foreign() {
            return broken(format!("{endpoint} is not a Proxmox VE API: it answered {what} with {kind}"));
        }
        if error.is_eof() {
            return broken(format!("the answer of {endpoint} to {what} was cut off"));
        }
        broken(format!("{endpoint} is not a Proxmox VE API: its answer to {what} is not JSON"))
    }

    fn redirect(&self, call: &Call, endpoint: &Endpoint) -> Error {
        let there = self.headers.get(LOCATION).and_then(|to| to.to_str().ok()).and_then(|to| url::Url::parse(to).ok());
        let text = format!("{endpoint} redirects `{} {}` instead of answering it", call.method, call.path);
        let error = Error::new(Class::Unreachable, text).with_sent(Sent::Answered);
        match there.map(|there| there.origin().ascii_serialization()) {
            Some(origin) if origin != endpoint.url.origin().ascii_serialization() => {
                error.with_hint(Hint::Text(format!("use {origin} as the endpoint")))
            }
            _ => error,
        }
    }

    fn complaint(&self, call: &Call, endpoint: &Endpoint) -> Error {
        let body: Complaint = serde_json::from_slice(&self.body).unwrap_or_default();
        let params = body.errors.unwrap_or_default().into_iter().map(|(key, value)| match value {
            serde_json::Value::String(text) => (key, text.trim().to_owned()),
            other => (key, other.to_string()),
        });
        let message = body.message.filter(|message| !message.trim().is_empty()).unwrap_or_else(|| self.reason.clone());
        let error = Error::from_answer(self.status, &message, params.collect());
        match (self.status, path::node(&call.path)) {
            // The node that was asked could not ask the other one: 595 not at all, 596 and up in the middle of it.
            (595..=599, Some(node)) => error
                .context(format!("{endpoint} got no answer from node `{node}` (status {})", self.status))
                .with_hint(Hint::NodeUnreachable(node.to_owned())),
            // Nothing of another node's: the part of the server that takes connections could not ask the one that works.
            (595..=599, None) => error
                .context(format!("{endpoint} could not ask its own pvedaemon (status {})", self.status))
                .with_hint(Hint::DaemonSilent),
            (502..=504, _) => error.context(format!("{endpoint} (status {})", self.status)),
            _ => match self.foreign() {
                Some(kind) => error.context(format!(
                    "{endpoint} answered `{} {}` with {kind} (status {}), perhaps it is not a Proxmox VE API",
                    call.method, call.path, self.status
                )),
                None => error,
            },
        }
    }

    /// What the answer is, if it is something that Proxmox VE never sends from its API.
    fn foreign(&self) -> Option<&'static str> {
        let kind = self.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let page = kind.starts_with("text/html") || self.body.trim_ascii_start().starts_with(b"<");
        page.then_some("a web page")
    }
}
