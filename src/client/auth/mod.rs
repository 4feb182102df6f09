//! Who the client is to the server: an API token, or a user's password and the ticket bought with it.
//!
//! Where secrets are kept between runs is for a [`TicketStore`] and its owner to say.

mod store;
mod ticket;
mod token;

use std::{fmt, sync::Arc};

use reqwest::header::{COOKIE, HeaderMap, HeaderName, HeaderValue};
pub use secrecy::SecretString;

pub use self::store::{StoredTicket, TicketStore};
use super::transport::Transport;
use crate::model::{Class, Error, Method, Result, Secrets};

/// How to authenticate.
#[derive(Debug, Clone, Default)]
pub enum Auth {
    /// An API token.
    Token {
        /// `user@realm!name`.
        id: String,
        /// The token's UUID.
        secret: SecretString,
    },
    /// A user. The ticket is bought with the first call and renewed before its two hours are over.
    Password {
        /// `user@realm`.
        user: String,
        /// The password.
        password: SecretString,
        /// Who answers when the server asks for a second factor.
        second_factor: Option<Arc<dyn SecondFactor>>,
    },
    /// A user without a password: the ticket that a [`TicketStore`] keeps from an earlier login, as long as it is good.
    /// Nothing is sent to get another one.
    Kept {
        /// `user@realm`.
        user: String,
    },
    /// Whoever the certificate of [`ClientBuilder::client_certificate`](super::ClientBuilder::client_certificate) is of.
    Certificate {
        /// `user@realm`, for the record; empty where it is not known.
        user: String,
    },
    /// Not at all: for the few calls that need nobody, such as the list of realms.
    #[default]
    None,
}

impl Auth {
    /// Who this is: `user@realm`, `user@realm!token`, or nobody.
    pub fn user(&self) -> &str {
        match self {
            Self::Token { id, .. } => id,
            Self::Password { user, .. } | Self::Kept { user } | Self::Certificate { user } => user,
            Self::None => "",
        }
    }
}

/// Answers a server's question for a second factor.
pub trait SecondFactor: Send + Sync {
    /// One of the server's `kinds` (`totp`, `recovery`, `yubico`) and the code, as in `totp:123456`. May block, for a
    /// person may have to type it.
    ///
    /// # Errors
    /// When there is no answer.
    fn answer(&self, kinds: &[String]) -> Result<SecretString>;
}

impl fmt::Debug for dyn SecondFactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecondFactor")
    }
}

/// Someone to be, checked and ready.
pub(super) enum Session {
    Nobody,
    Token(HeaderValue),
    Ticket(ticket::Session),
}

impl Session {
    /// Checks what can be checked without asking the server.
    ///
    /// # Errors
    /// [`Class::Usage`] for a user without a realm, or a token that cannot be one.
    pub(super) fn new(auth: Auth, store: Option<Arc<dyn TicketStore>>, place: &str) -> Result<Self> {
        Ok(match auth {
            // The connection says it already.
            Auth::None | Auth::Certificate { .. } => Self::Nobody,
            Auth::Token { id, secret } => Self::Token(token::header(&id, &secret)?),
            Auth::Password { user, password, second_factor } => {
                Self::Ticket(ticket::Session::new(user, Some(password), second_factor, store, place)?)
            }
            Auth::Kept { user } => Self::Ticket(ticket::Session::new(user, None, None, store, place)?),
        })
    }

    /// What to put into a request. Asks the server for a ticket if there is none that will do.
    ///
    /// # Errors
    /// As the login; for the caller's own request these mean that it was never sent.
    pub(super) async fn credentials(&self, transport: &Transport) -> Result<Credentials> {
        Ok(match self {
            Self::Nobody => Credentials::None,
            Self::Token(header) => Credentials::Token(header.clone()),
            Self::Ticket(session) => Credentials::Ticket(session.ticket(transport).await?),
        })
    }

    /// Others in place of those that the server refused with 401, if there can be any.
    ///
    /// # Errors
    /// As the login.
    pub(super) async fn instead_of(&self, refused: &Credentials, transport: &Transport) -> Result<Option<Credentials>> {
        match (self, refused) {
            (Self::Ticket(session), Credentials::Ticket(refused)) => {
                session.replace(refused, transport).await.map(Credentials::Ticket).map(Some)
            }
            _ => Ok(None),
        }
    }
}

/// What goes into a request's headers.
#[derive(Clone)]
pub(super) enum Credentials {
    None,
    Token(HeaderValue),
    Ticket(Arc<ticket::Ticket>),
}

impl Credentials {
    /// Adds what in them is secret.
    pub(super) fn add_to(&self, secrets: &mut Secrets) {
        match self {
            Self::None => {}
            Self::Token(header) => {
                // The id has no `=` in it.
                let token = header.to_str().ok().and_then(|text| text.splitn(3, '=').nth(2));
                token.into_iter().for_each(|secret| secrets.add(secret));
            }
            Self::Ticket(ticket) => ticket.add_to(secrets),
        }
    }

    /// Never cookie and token together: the server would look at the cookie alone.
    pub(super) fn put_into(&self, headers: &mut HeaderMap, method: Method) {
        match self {
            Self::None => {}
            Self::Token(header) => drop(headers.insert(reqwest::header::AUTHORIZATION, header.clone())),
            Self::Ticket(ticket) => {
                headers.insert(COOKIE, ticket.cookie.clone());
                if method != Method::Get {
                    headers.insert(HeaderName::from_static("csrfpreventiontoken"), ticket.csrf.clone());
                }
            }
        }
    }
}

/// A header that no log shows.
fn secret_header(text: &str, what: &str) -> Result<HeaderValue> {
    let mut header = HeaderValue::from_str(text)
        .map_err(|_| Error::new(Class::Usage, format!("{what} has characters that no header can carry")))?;
    header.set_sensitive(true);
    Ok(header)
}
