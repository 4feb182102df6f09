//! Heartbeats: a served host tells somebody else now and then that it lives, signed with the key of its certificate.
//!
//! Whoever is told answers with a status and nothing else; nothing is taken from there.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use rustls::{
    SignatureScheme,
    crypto::aws_lc_rs::sign::any_supported_type,
    sign::{Signer, SigningKey},
};
use rustls_pki_types::{PrivateKeyDer, pem::PemObject};
use url::Url;

use super::plain::Desk;
use crate::model::{Class, Error, Heartbeat, Hint, Result, is_local};

/// The header with the signature of the body: its scheme, `=`, and its bytes in base64.
const SIGNATURE: &str = "x-pvectl-signature";

/// The header with the fingerprint of the certificate whose key signed.
const FINGERPRINT: &str = "x-pvectl-fingerprint";

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The longest pause after failures.
const LONGEST: Duration = Duration::from_secs(15 * 60);

/// The schemes that are used, the first one that a key has.
const SCHEMES: [SignatureScheme; 4] = [
    SignatureScheme::ECDSA_NISTP256_SHA256,
    SignatureScheme::ECDSA_NISTP384_SHA384,
    SignatureScheme::ED25519,
    SignatureScheme::RSA_PKCS1_SHA256,
];

/// Who is told, how often, and how it went.
pub struct Heart {
    url: Url,
    every: Duration,
    key: Arc<dyn SigningKey>,
    fingerprint: String,
    client: reqwest::Client,
    last: Mutex<Option<Heartbeat>>,
    count: AtomicU64,
}

impl Heart {
    /// Tells this address so often, signed with this key.
    ///
    /// # Errors
    /// [`Class::Usage`] for an address that is not `https` and not on this host, and for a key that cannot sign.
    pub fn new(url: &str, every: Duration, key: &str, fingerprint: &str) -> Result<Self> {
        let bad = |why: &str| Error::usage(format!("--report-to `{url}`: {why}"));
        let url: Url = url.parse().map_err(|_| bad("an address such as https://example.org/hosts is expected"))?;
        if url.scheme() != "https" && !(url.scheme() == "http" && is_local(&url)) {
            return Err(bad("only https goes to other hosts"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(bad("a heartbeat is signed, and takes no password"));
        }
        let unusable = || Error::usage("heartbeats cannot be signed with the key of the certificate");
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|_| unusable())?;
        let key = any_supported_type(&key).map_err(|error| unusable().with_source(error))?;
        key.choose_scheme(&SCHEMES).ok_or_else(unusable)?;
        let client = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("pvectl/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| {
                Error::new(Class::Failed, "cannot speak HTTP")
                    .with_source(error)
                    .with_hint(Hint::Text("does this host have root certificates?".to_owned()))
            })?;
        let (last, count) = (Mutex::default(), AtomicU64::default());
        Ok(Self { url, every, key, fingerprint: fingerprint.to_owned(), client, last, count })
    }

    /// Where they go.
    pub(super) fn url(&self) -> &str {
        self.url.as_str()
    }

    /// The last one that was sent.
    pub(super) fn last(&self) -> Option<Heartbeat> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sends one now.
    pub(super) async fn beat(&self, desk: &Desk) -> Heartbeat {
        let beat = match self.send(desk).await {
            Ok(status) => {
                self.sent(Some(status), (!(200..300).contains(&status)).then(|| format!("it answered {status}")))
            }
            Err(error) => self.sent(None, Some(error)),
        };
        if let Some(error) = &beat.error {
            tracing::warn!(error, "a heartbeat was not taken");
        }
        desk.host.metrics().heartbeat(beat.is_ok().then(|| Timestamp::now().as_second()));
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(beat.clone());
        beat
    }

    fn sent(&self, http_status: Option<u16>, error: Option<String>) -> Heartbeat {
        let status = if error.is_none() { "ok" } else { "failed" }.to_owned();
        Heartbeat { to: self.url.to_string(), time: Timestamp::now().to_string(), status, http_status, error }
    }

    async fn send(&self, desk: &Desk) -> std::result::Result<u16, String> {
        let mut body = desk.about().await.map_err(|trouble| trouble.message)?;
        let number = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        // What is signed says when, so that it is told from one that is sent again.
        body["time"] = Timestamp::now().to_string().into();
        body["number"] = number.into();
        body["fingerprint"] = self.fingerprint.as_str().into();
        let body = body.to_string();
        let (scheme, signature) = self.sign(body.as_bytes())?;
        let request = self
            .client
            .post(self.url.clone())
            .header("content-type", "application/json")
            .header(SIGNATURE, format!("{scheme}={}", STANDARD.encode(signature)))
            .header(FINGERPRINT, &self.fingerprint)
            .body(body);
        let answer = request.send().await.map_err(|error| chain(&error))?;
        Ok(answer.status().as_u16())
    }

    fn sign(&self, message: &[u8]) -> std::result::Result<(&'static str, Vec<u8>), String> {
        let signer: Box<dyn Signer> = self.key.choose_scheme(&SCHEMES).ok_or("the key signs no more")?;
        let scheme = match signer.scheme() {
            SignatureScheme::ECDSA_NISTP256_SHA256 => "ecdsa-p256-sha256",
            SignatureScheme::ECDSA_NISTP384_SHA384 => "ecdsa-p384-sha384",
            SignatureScheme::ED25519 => "ed25519",
            _ => "rsa-pkcs1-sha256",
        };
        Ok((scheme, signer.sign(message).map_err(|error| error.to_string())?))
    }
}

/// How long to wait after so many failures in a row: twice as long each time.
fn pause(every: Duration, failures: u32) -> Duration {
    every.saturating_mul(2_u32.saturating_pow(failures.min(16))).min(LONGEST.max(every))
}

/// Tells on and on, until it is dropped; does nothing where nobody is to be told.
pub async fn report(desk: Arc<Desk>) {
    let Some(heart) = &desk.heart else { return std::future::pending().await };
    let mut failures = 0;
    loop {
        failures = if heart.beat(&desk).await.is_ok() { 0 } else { failures + 1 };
        tokio::time::sleep(pause(heart.every, failures)).await;
    }
}

/// An error with all that caused it: of one of HTTP the cause is at the end.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

impl fmt::Debug for Heart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Heart").field("url", &self.url.as_str()).field("every", &self.every).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::Tls;

    #[test]
    fn who_does_not_answer_is_told_less_often() {
        let minute = Duration::from_secs(60);
        let pauses: Vec<u64> = (0..7).map(|failures| pause(minute, failures).as_secs()).collect();
        assert_eq!(pauses, [60, 120, 240, 480, 900, 900, 900]);
        assert_eq!(pause(Duration::from_secs(3600), 3), Duration::from_secs(3600));
    }

    #[test]
    fn only_https_leaves_the_host() {
        let (certificate, key) = Tls::generate(&["here".to_owned()]).unwrap();
        let fingerprint = Tls::from_pem(&certificate, &key).unwrap().fingerprint().to_owned();
        let heart = |url: &str| Heart::new(url, Duration::from_secs(60), &key, &fingerprint).map(drop);
        assert!(heart("https://example.org/hosts").is_ok());
        assert!(heart("http://127.0.0.1:1/hosts").is_ok());
        for bad in ["http://example.org/", "ftp://127.0.0.1/", "nonsense", "https://a:b@example.org/"] {
            assert_eq!(heart(bad).unwrap_err().class(), Class::Usage, "{bad}");
        }
    }

    #[test]
    fn what_is_signed_is_known_by_the_certificates_key() {
        let (certificate, key) = Tls::generate(&["here".to_owned()]).unwrap();
        let fingerprint = Tls::from_pem(&certificate, &key).unwrap().fingerprint().to_owned();
        let heart = Heart::new("https://example.org/", Duration::from_secs(60), &key, &fingerprint).unwrap();
        let (scheme, signature) = heart.sign(b"body").unwrap();
        assert_eq!(scheme, "ecdsa-p256-sha256");
        let public = rcgen::KeyPair::from_pem(&key).unwrap();
        let public = rcgen::PublicKeyData::der_bytes(&public).to_vec();
        let known = rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms;
        let is_right = |message: &[u8]| {
            let fitting = known.mapping.iter().find(|(s, _)| *s == SignatureScheme::ECDSA_NISTP256_SHA256).unwrap().1;
            fitting.iter().any(|algorithm| algorithm.verify_signature(&public, message, &signature).is_ok())
        };
        assert!(is_right(b"body"));
        assert!(!is_right(b"bodY"));
    }
}
