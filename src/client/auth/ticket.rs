//! Tickets: the login in one step or two, the renewal, the login again when all else failed.
//!
//! One login at a time, however many calls wait for it.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use tokio::sync::Mutex;

use super::{Credentials, SecondFactor, StoredTicket, TicketStore, secret_header};
use crate::{
    client::{path, request::Request, response::Answer, transport::Transport},
    model::{Call, Class, Error, Hint, Method, Params, Result, Secrets, Sent, tolerant},
};

/// From this age a ticket is renewed, while it is still good enough to ask for that.
const RENEW_AFTER: SignedDuration = SignedDuration::from_mins(90);

/// From this age it is not even tried: the server gives it two hours, and clocks differ by a little.
const DEAD_AFTER: SignedDuration = SignedDuration::from_mins(118);

/// A ticket as it goes into requests.
pub(in crate::client) struct Ticket {
    pub(super) cookie: HeaderValue,
    pub(super) csrf: HeaderValue,
    kept: StoredTicket,
}

impl Ticket {
    fn new(kept: StoredTicket) -> Result<Self> {
        let cookie = format!("PVEAuthCookie={}", path::cookie(kept.ticket.expose_secret()));
        Ok(Self {
            cookie: secret_header(&cookie, "the ticket")?,
            csrf: secret_header(kept.csrf.expose_secret(), "the CSRF prevention token")?,
            kept,
        })
    }

    pub(super) fn add_to(&self, secrets: &mut Secrets) {
        secrets.add(self.kept.ticket.expose_secret());
        secrets.add(self.kept.csrf.expose_secret());
    }

    fn age(&self) -> SignedDuration {
        Timestamp::now().duration_since(self.kept.issued)
    }
}

/// A user's session.
pub(in crate::client) struct Session {
    user: String,
    /// `None` for those who may only use a ticket that is there.
    password: Option<SecretString>,
    second_factor: Option<Arc<dyn SecondFactor>>,
    store: Option<Arc<dyn TicketStore>>,
    key: String,
    current: Mutex<Option<Arc<Ticket>>>,
}

impl Session {
    pub(super) fn new(
        user: String,
        password: Option<SecretString>,
        second_factor: Option<Arc<dyn SecondFactor>>,
        store: Option<Arc<dyn TicketStore>>,
        place: &str,
    ) -> Result<Self> {
        if !user.split_once('@').is_some_and(|(name, realm)| !name.is_empty() && !realm.is_empty()) {
            return Err(Error::usage(format!("`{user}` is not a user: user@realm is expected, such as root@pam")));
        }
        // A ticket is good for the whole cluster, and the first endpoint stands for it.
        let key = format!("{user} {place}");
        Ok(Self { user, password, second_factor, store, key, current: Mutex::new(None) })
    }

    /// A ticket that will do.
    pub(super) async fn ticket(&self, transport: &Transport) -> Result<Arc<Ticket>> {
        let mut current = self.current.lock().await;
        let have = current.clone().or_else(|| self.kept());
        let age = have.as_ref().map(|ticket| ticket.age());
        let ticket = match (have, age) {
            (Some(ticket), Some(age)) if !age.is_negative() && age < RENEW_AFTER => ticket,
            (Some(ticket), Some(age)) if !age.is_negative() && age < DEAD_AFTER && self.password.is_some() => {
                match self.renew(&ticket, transport).await {
                    Ok(renewed) => renewed,
                    Err(error) if error.class() == Class::Unauthenticated => self.log_in(transport).await?,
                    Err(error) => return Err(unsent(error, &self.user)),
                }
            }
            _ => self.log_in(transport).await?,
        };
        *current = Some(Arc::clone(&ticket));
        Ok(ticket)
    }

    /// A ticket in place of one that the server refused: somebody else's new one, or one from a new login.
    pub(super) async fn replace(&self, refused: &Arc<Ticket>, transport: &Transport) -> Result<Arc<Ticket>> {
        let mut current = self.current.lock().await;
        if let Some(newer) = current.as_ref().filter(|ticket| !Arc::ptr_eq(ticket, refused)) {
            return Ok(Arc::clone(newer));
        }
        *current = None;
        if self.password.is_none() {
            return Err(self.no_ticket());
        }
        if let Some(store) = &self.store {
            store.forget(&self.key);
        }
        let ticket = self.log_in(transport).await?;
        *current = Some(Arc::clone(&ticket));
        Ok(ticket)
    }

    fn kept(&self) -> Option<Arc<Ticket>> {
        let kept = self.store.as_ref()?.load(&self.key)?;
        Ticket::new(kept).ok().map(Arc::new)
    }

    /// A new ticket for an old one; no second factor is asked for.
    async fn renew(&self, old: &Ticket, transport: &Transport) -> Result<Arc<Ticket>> {
        let grant = self.ask(old.kept.ticket.expose_secret(), None, transport).await?;
        self.keep(grant)
    }

    fn no_ticket(&self) -> Error {
        Error::new(Class::Unauthenticated, format!("no good ticket of `{}` is kept", self.user)).with_sent(Sent::Never)
    }

    async fn log_in(&self, transport: &Transport) -> Result<Arc<Ticket>> {
        self.try_log_in(transport).await.map_err(|error| unsent(error, &self.user))
    }

    async fn try_log_in(&self, transport: &Transport) -> Result<Arc<Ticket>> {
        let password = self.password.as_ref().ok_or_else(|| self.no_ticket())?;
        let grant = self.ask(password.expose_secret(), None, transport).await?;
        if !grant.need_tfa {
            return self.keep(grant);
        }
        let challenge = grant.ticket.unwrap_or_default();
        let kinds = challenge_kinds(&challenge);
        let Some(second_factor) = self.second_factor.clone() else {
            let text = format!("a second factor is needed ({})", kinds.join(", "));
            return Err(Error::new(Class::Unauthenticated, text).with_hint(Hint::Credentials));
        };
        // A person may be typing; meanwhile other work goes on.
        let answer = tokio::task::spawn_blocking(move || second_factor.answer(&kinds))
            .await
            .map_err(|error| Error::new(Class::Bug, "the second factor was not answered").with_source(error))??;
        let answer = answer.expose_secret().trim();
        // Six digits are what an authenticator shows.
        let answer = if answer.contains(':') { answer.to_owned() } else { format!("totp:{answer}") };
        let grant = self.ask(&answer, Some(&challenge), transport).await?;
        self.keep(grant)
    }

    async fn ask(&self, password: &str, challenge: Option<&str>, transport: &Transport) -> Result<Grant> {
        let params =
            Params::new().with("username", &self.user).with("password", password).with_some("tfa-challenge", challenge);
        let call = Call::new(Method::Post, "/access/ticket").with_params(params);
        let (envelope, _) = transport.send(&Request::new(&call)?, &Credentials::None, Answer::read::<Grant>).await?;
        Ok(envelope.data)
    }

    fn keep(&self, grant: Grant) -> Result<Arc<Ticket>> {
        let (Some(ticket), Some(csrf), false) = (grant.ticket, grant.csrf, grant.need_tfa) else {
            return Err(Error::new(Class::Failed, "the server answered the login without a ticket"));
        };
        let kept = StoredTicket { ticket: ticket.into(), csrf: csrf.into(), issued: Timestamp::now() };
        if let Some(store) = &self.store {
            store.save(&self.key, &kept);
        }
        Ok(Arc::new(Ticket::new(kept)?))
    }
}

/// The answer to a login.
#[derive(Deserialize)]
struct Grant {
    ticket: Option<String>,
    #[serde(rename = "CSRFPreventionToken")]
    csrf: Option<String>,
    #[serde(default, rename = "NeedTFA", deserialize_with = "tolerant::bool::deserialize")]
    need_tfa: bool,
}

/// The kinds of second factor in a challenge: `PVE:!tfa!{"totp"%3Atrue}:6B003241::…` has `totp`.
fn challenge_kinds(challenge: &str) -> Vec<String> {
    let read = || {
        let encoded = challenge.split_once("!tfa!")?.1.split(':').next()?;
        let json = percent_encoding::percent_decode_str(encoded).decode_utf8().ok()?;
        let kinds: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&json).ok()?;
        let usable = |value: &serde_json::Value| match value {
            serde_json::Value::Null | serde_json::Value::Bool(false) => false,
            serde_json::Value::Array(left) => !left.is_empty(),
            _ => true,
        };
        Some(kinds.into_iter().filter(|(_, value)| usable(value)).map(|(kind, _)| kind).collect())
    };
    // Before 7.0 there was one kind, and nothing in the challenge to tell it.
    read().filter(|kinds: &Vec<String>| !kinds.is_empty()).unwrap_or_else(|| vec!["totp".to_owned()])
}

/// A failed login means that the call it was for never left, whatever became of the login.
fn unsent(error: Error, user: &str) -> Error {
    error.context(format_args!("cannot log in as `{user}`")).with_sent(Sent::Never)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_tells_its_kinds() {
        for (challenge, kinds) in [
            (r#"PVE:!tfa!{"recovery"%3A[0,1,2]}:6B003241::sig=="#, vec!["recovery"]),
            (r#"PVE:!tfa!{"totp"%3Atrue,"recovery"%3A[],"webauthn"%3Anull}:6B003241::sig"#, vec!["totp"]),
            (r#"PVE:!tfa!%7B%22totp%22%3Atrue%2C%22recovery%22%3A%5B1%5D%7D:6B003241::sig"#, vec!["totp", "recovery"]),
            ("PVE:tfa!root@pam:6B003241::sig", vec!["totp"]),
            ("", vec!["totp"]),
        ] {
            assert_eq!(challenge_kinds(challenge), kinds, "{challenge}");
        }
    }
}
