//! Whom to believe: the system's roots, a CA of one's own, or one certificate by its fingerprint.
//!
//! The handshake is rustls's. There is no way to believe anybody.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
    sign::SingleCertAndKey,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject};

use super::{
    super::{ClientCertificate, Endpoint, Fingerprint, Trust},
    failure::{self, Phase},
};
use crate::model::{Call, Class, Error, Hint, Method, Result};

/// How long a look at a certificate may take.
const LOOK: Duration = Duration::from_secs(10);

/// Why a certificate was refused.
#[derive(Debug)]
pub(super) enum Distrust {
    /// Nobody we believe vouches for it.
    Unknown {
        /// The one the server showed.
        presented: Fingerprint,
        /// What is wrong with it.
        why: String,
    },
    /// Another one is pinned.
    Other {
        /// The one the server showed.
        presented: Fingerprint,
        /// The one that was expected.
        pinned: Fingerprint,
    },
}

impl Distrust {
    /// What is behind a TLS error, if it is ours.
    pub(super) fn of(error: &rustls::Error) -> Option<&Self> {
        match error {
            rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(inner))) => inner.downcast_ref(),
            _ => None,
        }
    }

    fn into_tls(self) -> rustls::Error {
        rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(self))))
    }
}

impl fmt::Display for Distrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { presented, why } => write!(f, "{why} (SHA-256 fingerprint {presented})"),
            Self::Other { presented, pinned } => {
                write!(f, "its certificate has the fingerprint {presented}, but {pinned} is pinned")
            }
        }
    }
}

impl std::error::Error for Distrust {}

/// What vouches for a certificate.
#[derive(Debug)]
enum Voucher {
    /// Its fingerprint.
    Pin(Fingerprint),
    /// A chain to known roots.
    Roots(Arc<dyn ServerCertVerifier>),
    /// Nothing, for this reason.
    Nothing(&'static str),
}

/// Checks a certificate and, if it is refused, notes which it was, so that a person can compare and pin it.
#[derive(Debug)]
struct Verifier {
    voucher: Voucher,
    provider: Arc<CryptoProvider>,
    seen: Option<Seen>,
}

/// Where the certificate is put that a server shows, whether it is believed or not.
pub(in crate::client) type Seen = Arc<Mutex<Option<CertificateDer<'static>>>>;

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let presented = Fingerprint::of_certificate(end_entity);
        if let Some(seen) = &self.seen {
            *seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(end_entity.clone().into_owned());
        }
        let why = match &self.voucher {
            Voucher::Pin(pinned) if pinned.matches(&presented) => return Ok(ServerCertVerified::assertion()),
            Voucher::Pin(pinned) => return Err(Distrust::Other { presented, pinned: *pinned }.into_tls()),
            Voucher::Nothing(why) => (*why).to_owned(),
            Voucher::Roots(roots) => {
                match roots.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
                    Ok(verified) => return Ok(verified),
                    Err(error) => refusal(&error).to_owned(),
                }
            }
        };
        Err(Distrust::Unknown { presented, why }.into_tls())
    }

    // Whoever shows a certificate must also prove to have its key, pinned or not.
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// The TLS side of an endpoint, with the certificate that is shown where one is asked for. For an endpoint without TLS it
/// reads no roots.
///
/// # Errors
/// [`Class::Usage`] when the CA file cannot be read or has no certificate in it.
pub(super) fn config(
    endpoint: &Endpoint,
    trust: &Trust,
    certificate: Option<&ClientCertificate>,
    seen: Option<Seen>,
) -> Result<ClientConfig> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let voucher = match (endpoint.fingerprint, trust) {
        _ if !endpoint.is_https() => Voucher::Nothing("it was not to be encrypted"),
        (Some(pinned), _) => Voucher::Pin(pinned),
        (None, Trust::System) => system_roots(&provider),
        (None, Trust::CaFile(path)) => {
            let pem = std::fs::read(path).map_err(|error| {
                Error::usage(format!("cannot read the CA file {}: {}", path.display(), error.kind())).with_source(error)
            })?;
            own_roots(&pem, &path.display().to_string(), &provider)?
        }
        (None, Trust::CaPem(pem)) => own_roots(pem, "the CA's PEM text", &provider)?,
    };
    with_voucher(voucher, provider, certificate, seen)
}

fn with_voucher(
    voucher: Voucher,
    provider: Arc<CryptoProvider>,
    certificate: Option<&ClientCertificate>,
    seen: Option<Seen>,
) -> Result<ClientConfig> {
    let verifier = Arc::new(Verifier { voucher, provider: Arc::clone(&provider), seen });
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::new(Class::Failed, "cannot prepare TLS").with_source(error))?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match certificate {
        Some(own) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(own.certified()))),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn system_roots(provider: &Arc<CryptoProvider>) -> Voucher {
    match rustls_platform_verifier::Verifier::new(Arc::clone(provider)) {
        Ok(verifier) => Voucher::Roots(Arc::new(verifier)),
        // A small image has none. Then the certificate is shown and can be pinned, as any other that is not trusted.
        Err(_) => Voucher::Nothing("this system has no certificates of authorities to check it with"),
    }
}

fn own_roots(pem: &[u8], name: &str, provider: &Arc<CryptoProvider>) -> Result<Voucher> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        certificate
            .map_err(|error| Error::usage(format!("{name} is not proper PEM: {error}")))
            .and_then(|der| roots.add(der).map_err(|error| Error::usage(format!("{name} cannot be used: {error}"))))?;
    }
    if roots.is_empty() {
        return Err(Error::usage(format!("{name} has no certificate in it")));
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .build()
        .map_err(|error| Error::usage(format!("{name} cannot be used: {error}")))?;
    Ok(Voucher::Roots(verifier))
}

/// The fingerprint of the certificate that a server shows, for a person to compare and to pin. Nothing is sent to it.
///
/// # Errors
/// [`Class::Usage`] for an endpoint without TLS, [`Class::Unreachable`] when no certificate could be had.
pub async fn presented_fingerprint(endpoint: &Endpoint) -> Result<Fingerprint> {
    if !endpoint.is_https() {
        return Err(Error::usage(format!("{endpoint} is not encrypted, so it shows no certificate")));
    }
    let nobody = Voucher::Nothing("it was only looked at");
    let config = with_voucher(nobody, Arc::new(aws_lc_rs::default_provider()), None, None)?;
    let mut builder = reqwest::Client::builder().tls_backend_preconfigured(config).timeout(LOOK).connect_timeout(LOOK);
    if endpoint.is_local() {
        builder = builder.no_proxy();
    }
    let failed = |error: reqwest::Error| {
        let call = Call::new(Method::Get, "/");
        failure::from_reqwest(Phase::Head, error, &call, endpoint).into_error()
    };
    let error = match builder.build().map_err(failed)?.get(endpoint.url.clone()).send().await {
        Ok(_) => return Err(Error::new(Class::Bug, format!("{endpoint} was trusted without a reason"))),
        Err(error) => failed(error),
    };
    let presented = error.hints().iter().find_map(|hint| match hint {
        Hint::UnknownCertificate { fingerprint, .. } => fingerprint.parse().ok(),
        _ => None,
    });
    presented.ok_or(error)
}
/// Why a certificate is refused, in words for people: what rustls calls it is for programmers.
fn refusal(error: &rustls::Error) -> &'static str {
    let rustls::Error::InvalidCertificate(error) = error else { return "its certificate cannot be checked" };
    match error {
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "its certificate is for another name"
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "its certificate has expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet (is this machine's clock right?)"
        }
        CertificateError::Revoked => "its certificate was revoked",
        CertificateError::BadEncoding => "its certificate cannot be read",
        // Among the rest: a self-signed one whose name is also that of some authority, and so signed by nobody.
        _ => "its certificate is not signed by an authority that is trusted here",
    }
}
