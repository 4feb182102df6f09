//! Who is asking: the ticket's cookie, the API token's header, the CSRF token.
//!
//! Logging in is in `login`; what somebody may do is in `permit`.

use axum::http::{HeaderMap, header};

use super::{Identity, Kit, guard::Source, ticket};
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

/// Recognises who is asking.
///
/// # Errors
/// The reason phrase of the answer 401.
pub(super) async fn recognise(
    kit: &Kit,
    method: Method,
    headers: &HeaderMap,
    source: Option<Source>,
) -> Result<Identity, &'static str> {
    match Credentials::of(headers).ok_or(NO_TICKET)? {
        Credentials::Token(text) => by_token(kit, &text, source).await,
        Credentials::Ticket(text) => {
            let user = ticket::verify(kit, &text).filter(|user| kit.service().is_active(user)).ok_or(FAILED)?;
            if method != Method::Get {
                let token = headers.get(CSRF_HEADER).and_then(|value| value.to_str().ok()).unwrap_or_default();
                if !ticket::verify_csrf(kit, token, &user) {
                    return Err(BAD_CSRF);
                }
            }
            Ok(Identity { user, token: None })
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
    source: Option<Source>,
) -> Result<Identity, &'static str> {
    const HOW: &str = "an API token is needed: Authorization: Bearer USER@REALM!NAME=SECRET";
    if let Some(sent) = headers.get(header::AUTHORIZATION) {
        let text = sent.to_str().map_err(|_| FAILED)?.trim();
        if let Some((scheme, token)) = text.split_once(' ')
            && scheme.eq_ignore_ascii_case("bearer")
        {
            return by_token(kit, token.trim(), source).await;
        }
        if Credentials::of(headers).is_none() {
            return Err(FAILED);
        }
    }
    let found = recognise(kit, method, headers, source).await;
    found.map_err(|why| if why == NO_TICKET { HOW } else { why })
}

/// `user@realm!name=secret`.
async fn by_token(kit: &Kit, text: &str, source: Option<Source>) -> Result<Identity, &'static str> {
    let (authid, secret) = text.split_once('=').ok_or(FAILED)?;
    let (user, token) = authid.split_once('!').ok_or(FAILED)?;
    if !kit.service().knows_token(user, token, secret) {
        let check = async { kit.service().check_token(user, token, secret).await.then_some(()) };
        kit.guard().attempt(source, authid, || kit.now(), check, |()| true).await.ok_or(FAILED)?;
    }
    Ok(Identity { user: user.to_owned(), token: Some(token.to_owned()) })
}
