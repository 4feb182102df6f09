//! The way to a server, step by step: its name, a connection, its certificate. For whoever wants to know where it ends.
//!
//! Calls go their way by themselves; nothing here is needed for one, and nobody is logged in.

use std::{fmt::Display, net::SocketAddr, sync::PoisonError, time::Duration};

use jiff::Timestamp;
use tokio::{net, time::timeout};
use x509_parser::{certificate::X509Certificate, prelude::FromDer as _, time::ASN1Time};

use super::{
    ClientCertificate, Endpoint, Fingerprint, Trust,
    transport::{self, tls::Seen},
};
use crate::model::{Class, Error, Hint, Result, Sent};

/// How long each step may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// A certificate that a server showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Its SHA-256.
    pub fingerprint: Fingerprint,
    /// Whose it is.
    pub subject: String,
    /// Who signed it.
    pub issuer: String,
    /// From when on it is good.
    pub not_before: Timestamp,
    /// And until when.
    pub not_after: Timestamp,
}

impl Certificate {
    /// Reads one in DER.
    ///
    /// # Errors
    /// [`Class::Failed`] when it is none.
    pub fn parse(der: &[u8]) -> Result<Self> {
        let unreadable =
            |why: &dyn Display| Error::new(Class::Failed, format!("the certificate cannot be read: {why}"));
        let (_, parsed) = X509Certificate::from_der(der).map_err(|error| unreadable(&error))?;
        let time = |time: ASN1Time| Timestamp::from_second(time.timestamp()).map_err(|error| unreadable(&error));
        Ok(Self {
            fingerprint: Fingerprint::of_certificate(der),
            subject: parsed.subject().to_string(),
            issuer: parsed.issuer().to_string(),
            not_before: time(parsed.validity().not_before)?,
            not_after: time(parsed.validity().not_after)?,
        })
    }
}

/// The addresses of an endpoint, as this machine finds them.
///
/// # Errors
/// [`Class::Unreachable`] when its name is not known.
pub async fn addresses(endpoint: &Endpoint) -> Result<Vec<SocketAddr>> {
    let host = endpoint.url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let port = endpoint.url.port_or_known_default().unwrap_or_default();
    let unknown = |why: &dyn Display| {
        Error::new(Class::Unreachable, format!("the name `{host}` is not known: {why}"))
            .with_sent(Sent::Never)
            .with_hint(Hint::Text(format!("is it spelt so? `getent hosts {host}` asks the same; an address works too")))
    };
    let found = match timeout(PATIENCE, net::lookup_host((host, port))).await {
        Ok(Ok(found)) => found.collect::<Vec<_>>(),
        Ok(Err(error)) => return Err(unknown(&error)),
        Err(_) => return Err(unknown(&"the name server does not answer in time")),
    };
    if found.is_empty() { Err(unknown(&"it has no address")) } else { Ok(found) }
}

/// Connects to the first of these addresses that takes a connection, and closes it again.
///
/// # Errors
/// [`Class::Unreachable`] when none does, with what the first one said.
pub async fn connect(addresses: &[SocketAddr]) -> Result<SocketAddr> {
    let mut first = None;
    for address in addresses {
        let why = match timeout(PATIENCE, net::TcpStream::connect(address)).await {
            Ok(Ok(_)) => return Ok(*address),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer in time".to_owned(),
        };
        first.get_or_insert(format!("{address} takes no connection: {why}"));
    }
    let hint = "is the server up, does it listen on that port, and does a firewall let you through?";
    Err(Error::new(Class::Unreachable, first.unwrap_or_else(|| "there is no address".to_owned()))
        .with_sent(Sent::Never)
        .with_hint(Hint::Text(hint.to_owned())))
}

/// Shakes hands with a server: the certificate that it showed, and whether it is trusted and something answers there.
/// One request that everybody may make is sent, if it is, and a certificate of one's own is shown.
///
/// # Errors
/// The second part: [`Class::Unreachable`] when it is not, as for every call; [`Class::Usage`] for a CA that cannot be
/// read.
pub async fn handshake(
    endpoint: &Endpoint,
    trust: &Trust,
    certificate: Option<&ClientCertificate>,
) -> (Option<Certificate>, Result<()>) {
    let seen: Seen = Seen::default();
    let answered = transport::knock(endpoint, trust, certificate, seen.clone(), PATIENCE).await;
    let shown = seen.lock().unwrap_or_else(PoisonError::into_inner).take();
    (shown.and_then(|der| Certificate::parse(&der).ok()), answered)
}
