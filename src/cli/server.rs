//! A server as it is looked at by `check` and `status`: the way to it, who one is there, and what it says of itself.
//!
//! It finds out and judges nothing; what is good and what is not is decided by those two.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{
    cx::Cx,
    session::{certificate, client, endpoint_of, name_of, sandbox_client, trust},
};
use crate::{
    client::{Certificate, Client, ClientCertificate, Endpoint, Me, Trust, Version, path::segments},
    config::{Cache, Connection, File, Identity, Proxmox, Resolved, SecretSource},
    model::{Call, Method, Result, ServedHost, is_local},
    sandbox,
};

/// A server that can be looked at.
pub(super) struct Server<'a> {
    cx: &'a Cx,
    resolved: &'a Resolved,
    proxmox: Option<&'a Proxmox>,
    /// The simulated cluster, served as long as this lives.
    sandbox: Option<sandbox::Session>,
    /// What it is called here.
    pub(super) name: String,
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) trust: Trust,
    /// What is shown to it to be let in.
    pub(super) certificate: Option<ClientCertificate>,
}

impl<'a> Server<'a> {
    /// The server of a connection; this host is none.
    pub(super) async fn of(cx: &'a Cx, resolved: &'a Resolved) -> Result<Option<Self>> {
        let (proxmox, sandbox) = match &resolved.connection {
            Connection::Local => return Ok(None),
            Connection::Sandbox { .. } => (None, Some(sandbox::Session::start(&cx.paths()?.sandbox()).await?)),
            Connection::Proxmox(proxmox) => (Some(&**proxmox), None),
        };
        let (name, endpoints, trust) = match (proxmox, &sandbox) {
            (Some(proxmox), _) => {
                let endpoints = proxmox.endpoints.value.iter().map(endpoint_of).collect::<Result<_>>()?;
                (name_of(proxmox), endpoints, trust(proxmox)?)
            }
            (None, Some(served)) => ("sandbox".to_owned(), vec![Endpoint::parse(served.url())?], Trust::System),
            (None, None) => return Ok(None),
        };
        let certificate = proxmox.map(certificate).transpose()?.flatten();
        Ok(Some(Self { cx, resolved, proxmox, sandbox, name, endpoints, trust, certificate }))
    }

    /// The name of its context, if it has one.
    pub(super) fn context(&self) -> Option<&str> {
        match self.proxmox {
            Some(proxmox) => proxmox.context.as_ref().map(|context| context.value.as_str()),
            None => Some(&self.name),
        }
    }

    /// Where it is; the sandbox is nowhere.
    pub(super) fn urls(&self) -> Vec<String> {
        let all = self.endpoints.iter().filter(|_| self.sandbox.is_none());
        all.map(ToString::to_string).collect()
    }

    /// Somebody on it; a person may be asked for a password.
    pub(super) async fn client(&self) -> Result<Client> {
        match (self.proxmox, &self.sandbox) {
            (Some(proxmox), _) => client(self.cx, self.resolved, proxmox).await,
            (None, Some(served)) => sandbox_client(served),
            (None, None) => Client::builder().build(),
        }
    }

    /// Who one would be, as far as that is known without asking.
    pub(super) fn identity(&self) -> Option<&Identity> {
        Some(&self.proxmox?.identity.as_ref()?.value)
    }

    /// How one is let in: `token`, `password`, or nothing where that is not known yet.
    pub(super) fn method(&self, user: Option<&str>) -> Option<&'static str> {
        match (user, self.proxmox.map(|proxmox| &proxmox.secret.value)) {
            (_, Some(SecretSource::Certificate)) => Some("certificate"),
            (Some(user), _) => Some(if user.contains('!') { "token" } else { "password" }),
            (None, Some(SecretSource::Variable(_) | SecretSource::File(_))) => Some("token"),
            (None, _) => self.identity().map(|identity| match identity {
                Identity::User(_) => "password",
                Identity::Token(_) => "token",
            }),
        }
    }

    /// The certificate by which one is let in, where it was got by enrolling.
    pub(super) fn enrolled(&self) -> Option<Certificate> {
        let is_login = matches!(self.proxmox?.secret.value, SecretSource::Certificate);
        self.certificate.as_ref().filter(|_| is_login)?.read()
    }

    /// Until when the API token is good that was got by enrolling on a Proxmox server.
    fn token_ends(&self) -> Option<Timestamp> {
        let context = self.proxmox?.context.as_ref()?;
        File::open(&self.cx.paths().ok()?).ok()?.context(&context.value).ok()?.token_expires
    }

    /// Whether the login was got by enrolling.
    pub(super) fn is_enrolled(&self) -> bool {
        self.enrolled().is_some() || self.token_ends().is_some()
    }

    /// Why names and connections are nothing that this machine could look at by itself.
    pub(super) fn proxy(&self) -> Option<&'static str> {
        let is_far = self.endpoints.iter().any(|endpoint| !is_local(&endpoint.url));
        (self.cx.env.is_set("HTTPS_PROXY") && is_far).then_some("left to the proxy of HTTPS_PROXY")
    }

    /// Writes down that it was talked to just now.
    pub(super) fn note(&self) {
        // Only `status` would miss it.
        let _ = self.contacts().map(|contacts| contacts.note());
    }

    /// Whether changes are refused here.
    pub(super) fn is_read_only(&self) -> bool {
        self.resolved.read_only.check().is_err()
    }

    /// Where it is kept when this server was last talked to.
    pub(super) fn contacts(&self) -> Result<Contacts> {
        let urls = self.urls().join(",");
        Ok(Contacts(Cache::new(&self.cx.paths()?, &["contact", &self.name, &urls])))
    }
}

/// What a server says of itself.
pub(super) struct Told {
    pub(super) version: Version,
    /// How far its clock is ahead of this one's, to about a second; its answers say no more.
    pub(super) ahead: Option<SignedDuration>,
}

/// Asks it who it is, and how late.
pub(super) async fn greet(client: &Client) -> Result<Told> {
    // The first one may have logged in, and so taken longer.
    let version = client.version().await?;
    let begun = Timestamp::now();
    let reply = client.send(&Call::new(Method::Get, "/version")).await?;
    let took = Timestamp::now().duration_since(begun);
    let half_a_second = SignedDuration::from_millis(500);
    let ahead = reply.server_time.map(|told| (told + half_a_second).duration_since(begun + took / 2));
    Ok(Told { version, ahead })
}

/// Until when the token or the user is let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expiry {
    /// For ever.
    Never,
    At(Timestamp),
    /// The server does not tell this user.
    Untold,
}

impl Expiry {
    pub(super) fn at(self) -> Option<Timestamp> {
        match self {
            Self::At(at) => Some(at),
            Self::Never | Self::Untold => None,
        }
    }
}

/// Until when whoever this client is is let in.
pub(super) async fn expiry(server: &Server<'_>, client: &Client) -> Expiry {
    if let Some(certificate) = server.enrolled() {
        return Expiry::At(certificate.not_after);
    }
    let path = match client.user().split_once('!') {
        Some((user, token)) => segments(&["access", "users", user, "token", token]),
        None => segments(&["access", "users", client.user()]),
    };
    match client.send(&Call::new(Method::Get, path)).await {
        Ok(reply) => match reply.data.get("expire").and_then(Value::as_i64) {
            None | Some(0) => Expiry::Never,
            Some(at) => Timestamp::from_second(at).map_or(Expiry::Never, Expiry::At),
        },
        Err(_) => server.token_ends().map_or(Expiry::Untold, Expiry::At),
    }
}

/// Who one is on a host that pvectl serves, which everybody may ask, and how the host is, which not everybody may. Nothing
/// for other servers.
pub(super) async fn served(client: &Client) -> Option<(Me, Option<ServedHost>)> {
    let me = client.me().await.ok()?;
    Some((me, client.served_host().await.ok()))
}

/// Whole days from now on; below zero when it is over.
pub(super) fn days_until(then: Timestamp) -> i64 {
    then.duration_since(Timestamp::now()).as_secs().div_euclid(24 * 60 * 60)
}

/// When a server was last talked to.
pub(super) struct Contacts(Cache);

/// The question under which it is kept.
const LAST: &str = "last";

impl Contacts {
    /// Now.
    pub(super) fn note(&self) {
        self.0.save(LAST, &Value::Bool(true), Timestamp::now());
    }

    /// When it was.
    pub(super) fn last(&self) -> Option<Timestamp> {
        let now = Timestamp::now();
        let (_, age) = self.0.load(LAST, now)?;
        let age = SignedDuration::try_from(age.min(Duration::from_secs(u64::from(u32::MAX)))).ok()?;
        now.checked_sub(age).ok()
    }
}
