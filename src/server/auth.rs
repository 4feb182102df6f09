//! Who is asking: the ticket's cookie, the API token's header, the CSRF token, the client certificate.
//!
//! Logging in is in `login`; what somebody may do is in `permit`.

use std::borrow::Cow;

use axum::http::{HeaderMap, header};
use jiff::Timestamp;

use super::{Identity, Kit, listen::Connection, ticket, tls::Shown};
use crate::model::Method;

/// Why nobody was recognised: reason phrases of status 401.
const NO_TICKET: &str = "No ticket";
const FAILED: &str = "Authentication failed!";
const BAD_CSRF: &str = "Permission denied - invalid csrf token";

const COOKIE: &str = "PVEAuthCookie";
const TOKEN: &str = "PVEAPIToken";
const CSRF_HEADER: &str = "CSRFPreventionToken";

/// What a request brings to be recognised by.
pub(super) enum Credentials {
    /// A ticket, from the cookie or from the `Authorization` header.
    Ticket(String),
    /// `user@realm!name=secret`.
    Token(String),
}

impl Credentials {
    /// Those of a request. A cookie wins over a token's header, even a bad one over a good one.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let mut pairs = cookies.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
        if let Some((_, value)) = pairs.find(|(name, _)| *name == COOKIE) {
            return Some(Self::Ticket(ticket::decoded(value)));
        }
        let authorization = headers.get(header::AUTHORIZATION)?.to_str().ok()?.trim();
        // Case counts in the scheme; after it stands `=` or a space.
        let after = |scheme| {
            let rest = authorization.strip_prefix(scheme)?;
            rest.strip_prefix(['=', ' ']).map(ticket::decoded)
        };
        after(TOKEN).map(Self::Token).or_else(|| after(COOKIE).map(Self::Ticket))
    }
}

/// How somebody was recognised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Means {
    /// By an API token.
    Token,
    /// By a login's ticket.
    Ticket {
        /// When it is over; `None` where that cannot be told.
        expires: Option<Timestamp>,
    },
    /// By a client certificate.
    Certificate(Certified),
}

/// A client certificate that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certified {
    /// Whose it is: `user@realm`.
    pub user: String,
    /// Its serial number in hex.
    pub serial: String,
    /// When it is over.
    pub expires: Timestamp,
}

/// Somebody who was recognised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recognised {
    /// Who it is.
    pub who: Identity,
    /// By what.
    pub by: Means,
}

/// Why nobody was recognised: a reason phrase of status 401.
pub(super) type Refusal = Cow<'static, str>;

/// Recognises who is asking: by what the request brings, or, where it brings nothing, by the certificate of its connection.
///
/// # Errors
/// The reason phrase of the answer 401.
pub(super) async fn recognise(
    kit: &Kit,
    method: Method,
    headers: &HeaderMap,
    connection: Option<&Connection>,
) -> Result<Recognised, Refusal> {
    match Credentials::of(headers) {
        None => by_certificate(kit, method, headers, connection).ok_or(NO_TICKET)?,
        Some(Credentials::Token(text)) => by_token(kit, &text, connection).await,
        Some(Credentials::Ticket(text)) => {
            let known = ticket::verify(kit, &text).filter(|(user, _)| kit.service().is_active(user));
            let (user, end) = known.ok_or(FAILED)?;
            if method != Method::Get {
                let token = headers.get(CSRF_HEADER).and_then(|value| value.to_str().ok()).unwrap_or_default();
                if !ticket::verify_csrf(kit, token, &user) {
                    return Err(BAD_CSRF.into());
                }
            }
            let by = Means::Ticket { expires: Some(end) };
            Ok(Recognised { who: Identity { user, token: None }, by })
        }
    }
}

/// Recognises who is asking beside the API of Proxmox VE: by a token as `Bearer`, or as there.
///
/// # Errors
/// Why not.
pub(super) async fn recognise_beside(
    kit: &Kit,
    method: Method,
    headers: &HeaderMap,
    connection: Option<&Connection>,
) -> Result<Recognised, Refusal> {
    const HOW: &str = "an API token is needed: Authorization: Bearer USER@REALM!NAME=SECRET";
    if let Some(sent) = headers.get(header::AUTHORIZATION) {
        let text = sent.to_str().map_err(|_| FAILED)?.trim();
        if let Some((scheme, token)) = text.split_once(' ')
            && scheme.eq_ignore_ascii_case("bearer")
        {
            return by_token(kit, token.trim(), connection).await;
        }
        if Credentials::of(headers).is_none() {
            return Err(FAILED.into());
        }
    }
    let found = recognise(kit, method, headers, connection).await;
    found.map_err(|why| if why == NO_TICKET { HOW.into() } else { why })
}

/// By the certificate that the connection showed; `None` where it showed none.
fn by_certificate(
    kit: &Kit,
    method: Method,
    headers: &HeaderMap,
    connection: Option<&Connection>,
) -> Option<Result<Recognised, Refusal>> {
    let fingerprint = match connection?.shown()? {
        Shown::Certificate(fingerprint) => fingerprint,
        Shown::Foreign => return Some(Err("the client certificate is none of this host's".into())),
    };
    // A browser shows the certificate by itself, and says so where a page of somebody else has it change something.
    if method != Method::Get && headers.contains_key(header::ORIGIN) {
        return Some(Err(BAD_CSRF.into()));
    }
    let certified = kit.service().certified(fingerprint, kit.now()).map_err(Refusal::from);
    Some(certified.map(|certified| {
        let who = Identity { user: certified.user.clone(), token: None };
        Recognised { who, by: Means::Certificate(certified) }
    }))
}

/// `user@realm!name=secret`.
async fn by_token(kit: &Kit, text: &str, connection: Option<&Connection>) -> Result<Recognised, Refusal> {
    let (authid, secret) = text.split_once('=').ok_or(FAILED)?;
    let (user, token) = authid.split_once('!').ok_or(FAILED)?;
    if !kit.service().knows_token(user, token, secret) {
        let source = connection.and_then(Connection::source);
        let check = async { kit.service().check_token(user, token, secret).await.then_some(()) };
        kit.guard().attempt(source, authid, || kit.now(), check, |()| true).await.ok_or(FAILED)?;
    }
    Ok(Recognised { who: Identity { user: user.to_owned(), token: Some(token.to_owned()) }, by: Means::Token })
}
