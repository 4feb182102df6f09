//! Why no answer came: the wire's errors in our words, with what is known about the request.
//!
//! Refusals that the server put in words are made in [`crate::client::response`].

use std::{error::Error as StdError, io};

use super::{
    super::endpoint::{DEFAULT_PORT, Endpoint},
    tls::Distrust,
    trace,
};
use crate::model::{Call, Class, Error, Hint, Sent};

/// An attempt that failed.
#[derive(Debug)]
pub(super) struct Failure {
    error: Error,
    lasting: bool,
}

impl Failure {
    /// One that may be over in a moment.
    pub(super) fn passing(error: Error) -> Self {
        Self { error, lasting: false }
    }

    /// One that another attempt at the same endpoint cannot cure.
    pub(super) fn lasting(error: Error) -> Self {
        Self { error, lasting: true }
    }

    pub(super) fn is_lasting(&self) -> bool {
        self.lasting
    }

    pub(super) fn came_from_the_server(&self) -> bool {
        self.error.status().is_some()
    }

    pub(super) fn error(&self) -> &Error {
        &self.error
    }

    pub(super) fn into_error(self) -> Error {
        self.error
    }
}

/// How far an attempt had come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Before the answer's head was there.
    Head,
    /// In the middle of its body.
    Body,
}

/// The time was up, wherever the attempt was.
pub(super) fn timed_out(call: &Call, endpoint: &Endpoint) -> Failure {
    let text = format!("{endpoint} gave no answer to `{} {}` in time", call.method, call.path);
    Failure::passing(Error::new(Class::Unreachable, text).with_sent(Sent::Maybe))
}

/// Puts an error of the HTTP client in our words.
pub(super) fn from_reqwest(phase: Phase, error: reqwest::Error, call: &Call, endpoint: &Endpoint) -> Failure {
    // The URL has the parameters of a GET in it.
    let error = error.without_url();
    trace::failure(&error);
    if phase == Phase::Head && error.is_connect() {
        return unconnected(&error, endpoint);
    }
    let (sent, text) = if phase == Phase::Head && find::<hyper::Error>(&error).is_some_and(hyper::Error::is_canceled) {
        (Sent::Never, format!("{endpoint} closed the connection before `{} {}` was sent", call.method, call.path))
    } else if phase == Phase::Body {
        (Sent::Maybe, format!("the answer of {endpoint} to `{} {}` was cut off", call.method, call.path))
    } else if find::<hyper::Error>(&error).is_some_and(hyper::Error::is_parse) {
        let text = format!("{endpoint} answered `{} {}` with something that is not HTTP", call.method, call.path);
        let wrong = Error::new(Class::Unreachable, text).with_sent(Sent::Maybe);
        let hint = Hint::Text("perhaps the server speaks TLS there: try https".to_owned());
        return Failure::lasting(if endpoint.is_https() { wrong } else { wrong.with_hint(hint) });
    } else {
        let cause = cause(&error);
        (Sent::Maybe, format!("{endpoint} gave no answer to `{} {}`: {cause}", call.method, call.path))
    };
    Failure::passing(Error::new(Class::Unreachable, text).with_sent(sent))
}

/// What to do where no server is found.
const ADDRESS: &str =
    "is the server up, and is that where it is? `pvectl config view --origin` tells where the address comes from";

/// No connection, so nothing was sent.
fn unconnected(error: &reqwest::Error, endpoint: &Endpoint) -> Failure {
    let never = |text: String| Error::new(Class::Unreachable, text).with_sent(Sent::Never);
    if let Some(distrust) = tls_error(error).and_then(Distrust::of) {
        let refused = never(format!("{endpoint} is not trusted: {distrust}"));
        return Failure::lasting(match distrust {
            Distrust::Unknown { presented, .. } => refused.with_hint(Hint::UnknownCertificate {
                endpoint: endpoint.to_string(),
                fingerprint: presented.to_string(),
            }),
            // Here somebody may be in between: no hint that makes it easy to believe him.
            Distrust::Other { .. } => refused,
        });
    }
    match tls_error(error) {
        Some(rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType)) => {
            let mut plain = endpoint.url.clone();
            let _ = plain.set_scheme("http");
            let hint = Hint::Text(format!("the endpoint may be meant as {}", plain.as_str().trim_end_matches('/')));
            Failure::lasting(never(format!("{endpoint} speaks plain HTTP, not TLS")).with_hint(hint))
        }
        Some(other) => Failure::passing(never(format!("no TLS connection to {endpoint}: {other}"))),
        None if error.is_dns() => {
            let host = endpoint.url.host_str().unwrap_or_default();
            let unknown = never(format!("cannot reach {endpoint}: the name `{host}` is not known"));
            Failure::passing(unknown.with_hint(Hint::Text(ADDRESS.to_owned())))
        }
        None => {
            let unreached = never(format!("cannot reach {endpoint}: {}", cause(error)));
            let port_given = endpoint.url.port().is_some() || !endpoint.is_https();
            let port = format!("Proxmox VE listens on port {DEFAULT_PORT}: {endpoint}:{DEFAULT_PORT}");
            Failure::passing(unreached.with_hint(Hint::Text(if port_given { ADDRESS.to_owned() } else { port })))
        }
    }
}

/// The innermost thing that went wrong, without numbers of the operating system.
fn cause(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "connection timed out".to_owned();
    }
    match find::<io::Error>(error) {
        Some(io) if io.kind() != io::ErrorKind::Other => io.kind().to_string(),
        _ => chain(error).last().map_or_else(|| error.to_string(), ToString::to_string),
    }
}

fn tls_error(error: &reqwest::Error) -> Option<&rustls::Error> {
    find(error)
}

fn find<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    // From the inside out: an I/O error may stand around another one.
    chain(error).filter_map(|link| link.downcast_ref()).last()
}

/// An error and everything below it. An I/O error that carries another passes over that one in `source`.
fn chain<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |link: &&'a (dyn StdError + 'static)| {
        let link: &'a (dyn StdError + 'static) = *link;
        match link.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner as &(dyn StdError + 'static)),
            None => link.source(),
        }
    })
}
