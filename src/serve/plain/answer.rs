//! What the plain routes answer: JSON with a status, and for what went wrong `{"error": …}`.

use std::collections::BTreeMap;

use axum::{
    body::Body,
    http::{HeaderValue, Response, StatusCode, header},
};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    model::{Class, Error, ExitStatus, classify, classify_text},
    server::Fault,
};

/// A good answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Content,
}

/// What it says.
#[derive(Debug)]
pub(super) enum Content {
    Json(Value),
    Text(String, &'static str),
}

impl Answer {
    /// In JSON.
    pub(super) fn of(status: u16, data: &impl Serialize) -> Result<Self, Trouble> {
        let data = serde_json::to_value(data).map_err(|error| Trouble::new(500, error.to_string()))?;
        Ok(Self { status, body: Content::Json(data) })
    }

    /// `{"message": …}`.
    pub(super) fn message(text: impl Into<String>) -> Self {
        Self { status: 200, body: Content::Json(json!({"message": text.into()})) }
    }

    pub(super) fn response(self) -> Response<Body> {
        let (text, kind) = match self.body {
            Content::Json(data) => (format!("{data}\n"), "application/json"),
            Content::Text(text, kind) => (text, kind),
        };
        let mut response = Response::new(Body::from(text));
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        response
    }
}

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::serve) struct Trouble {
    pub(in crate::serve) status: u16,
    pub(in crate::serve) message: String,
}

impl Trouble {
    pub(in crate::serve) fn new(status: u16, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    /// The request makes no sense, or not now.
    pub(in crate::serve) fn bad(message: impl Into<String>) -> Self {
        Self::new(400, message)
    }

    /// A task that was not done.
    pub(in crate::serve) fn of_end(end: &ExitStatus) -> Self {
        let text = end.to_string();
        Self::new(classify_text(&text).map_or(500, status), text)
    }

    /// The same with what was tried before it.
    #[must_use]
    pub(super) fn after(self, what: impl std::fmt::Display) -> Self {
        Self { message: format!("{what}: {}", self.message), ..self }
    }

    pub(super) fn response(self) -> Response<Body> {
        let body = Content::Json(json!({"error": self.message}));
        let mut response = Answer { status: self.status, body }.response();
        if self.status == 401 {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// The status for a class of error: what stands in the way is the caller's to mend, and so 400.
fn status(class: Class) -> u16 {
    match class {
        Class::Usage | Class::Conflict | Class::Rejected => 400,
        Class::Unauthenticated => 401,
        Class::Forbidden => 403,
        Class::NotFound => 404,
        _ => 500,
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::new(status(error.class()), error.to_string())
    }
}

impl From<Fault> for Trouble {
    fn from(fault: Fault) -> Self {
        let Fault { status: code, message, errors } = fault;
        // What is not served is a wish that cannot be met.
        let code = if code == 501 { 400 } else { status(classify(code, &message, &errors)) };
        Self::new(code, worded(&message, &errors))
    }
}

fn worded(message: &str, errors: &BTreeMap<String, String>) -> String {
    if errors.is_empty() {
        return message.trim().to_owned();
    }
    let each: Vec<String> = errors.iter().map(|(name, text)| format!("{name}: {}", text.trim())).collect();
    each.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_says_whose_it_is_to_mend() {
        let of = |fault: Fault| Trouble::from(fault).status;
        assert_eq!(of(Fault::parameter("name", "invalid format")), 400);
        assert_eq!(of(Fault::forbidden("/vms/100", "VM.Audit")), 403);
        assert_eq!(of(Fault::die("Configuration file 'nodes/a/qemu-server/100.conf' does not exist")), 404);
        assert_eq!(of(Fault::die("VM is locked (backup)")), 400);
        assert_eq!(of(Fault::die("the VMM did not answer")), 500);
        assert_eq!(of(Fault { status: 501, ..Fault::die("not implemented") }), 400);
        assert_eq!(Trouble::from(Fault::parameter("name", "bad\n")).message, "name: bad");
    }
}
