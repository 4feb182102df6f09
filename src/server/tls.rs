//! The server's certificate and key.
//!
//! It does no I/O: PEM comes and goes as text.

use std::{fmt, sync::Arc, time::Duration};

use jiff::Timestamp;
use rcgen::{CertificateParams, DnType, KeyPair};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::aws_lc_rs,
    server::{
        WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject};
use sha2::{Digest, Sha256};
use tokio_rustls::TlsAcceptor;

use crate::model::{Class, Error, Result};

/// How a listener speaks TLS.
#[derive(Clone)]
pub struct Tls {
    config: Arc<ServerConfig>,
    fingerprint: String,
    certificate: String,
    /// Whose certificates clients may show.
    clients: Option<Arc<dyn ClientCertVerifier>>,
}

/// What the other side of a connection showed of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Shown {
    /// A certificate that the authority of clients signed for clients, whose key it has; its SHA-256 as [`Tls::fingerprint`].
    /// Whether it holds is asked with each request.
    Certificate(String),
    /// One of somebody else.
    Foreign,
}

impl Tls {
    /// With a new key and a certificate that it signs itself, for these names and addresses.
    ///
    /// # Errors
    /// When a name cannot stand in a certificate.
    pub fn self_signed(names: &[String]) -> Result<Self> {
        let (certificate, key) = Self::generate(names)?;
        Self::from_pem(&certificate, &key)
    }

    /// Such a certificate and its key, as PEM.
    ///
    /// # Errors
    /// When a name cannot stand in a certificate.
    pub fn generate(names: &[String]) -> Result<(String, String)> {
        let failed = |error: rcgen::Error| Error::new(Class::Failed, "cannot make a certificate").with_source(error);
        let mut params = CertificateParams::new(names).map_err(failed)?;
        if let Some(name) = names.first() {
            params.distinguished_name.push(DnType::CommonName, name.as_str());
        }
        let key = KeyPair::generate().map_err(failed)?;
        let certificate = params.self_signed(&key).map_err(failed)?;
        Ok((certificate.pem(), key.serialize_pem()))
    }

    /// With a certificate chain and its key.
    ///
    /// # Errors
    /// When either is not PEM, or they do not belong together.
    pub fn from_pem(certificates: &str, key: &str) -> Result<Self> {
        let unreadable = |what: &str| Error::usage(format!("the {what} is not valid PEM"));
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(certificates.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|error| unreadable("certificate").with_source(error))?;
        let first = chain.first().ok_or_else(|| unreadable("certificate"))?;
        let fingerprint = fingerprint(first);
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|_| unreadable("private key"))?;
        let unusable =
            |error: rustls::Error| Error::usage("the certificate and its key cannot be used").with_source(error);
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(unusable)?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(unusable)?;
        Ok(Self { config: Arc::new(config), fingerprint, certificate: certificates.to_owned(), clients: None })
    }

    /// The same for clients that may show a certificate of this authority (PEM). None is wanted: who shows none, or another
    /// one, needs something else to be recognised by.
    ///
    /// # Errors
    /// When there is no certificate in the text.
    pub fn with_clients_of(self, authority: &str) -> Result<Self> {
        let unusable = |error: Box<dyn std::error::Error + Send + Sync>| {
            Error::usage("the authority of clients cannot be used").with_source(error)
        };
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(authority.as_bytes()) {
            let certificate = certificate.map_err(|error| unusable(error.into()))?;
            roots.add(certificate).map_err(|error| unusable(error.into()))?;
        }
        let strict = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
        let clients = strict.build().map_err(|error| unusable(error.into()))?;
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable(error.into()))?
            .with_client_cert_verifier(Arc::new(Asking(clients.clone())))
            .with_cert_resolver(self.config.cert_resolver.clone());
        Ok(Self { config: Arc::new(config), clients: Some(clients), ..self })
    }

    /// What to think of the certificates that a client showed, its own first.
    pub(super) fn judge(&self, chain: Option<&[CertificateDer<'static>]>, now: Timestamp) -> Option<Shown> {
        let (own, others) = chain?.split_first()?;
        let now = Duration::from_secs(u64::try_from(now.as_second()).unwrap_or_default());
        let verified = self.clients.as_ref()?.verify_client_cert(own, others, UnixTime::since_unix_epoch(now));
        Some(match verified {
            Ok(_) => Shown::Certificate(fingerprint(own)),
            // It is told when that was, by whoever has it in his book.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. },
            )) => Shown::Certificate(fingerprint(own)),
            Err(error) => {
                tracing::debug!(%error, "a client certificate is not one of this host's");
                Shown::Foreign
            }
        })
    }

    /// The SHA-256 fingerprint of the certificate: `AA:BB:…`.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The certificate, as PEM: what a client needs to trust it.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.config))
    }
}

/// Asks for a certificate and lets everybody through who has its key: what a handshake refuses is told in no words that a
/// person could use, and what to think of the certificate is seen afterwards. The rest is as the strict one has it.
#[derive(Debug)]
struct Asking(Arc<dyn ClientCertVerifier>);

impl ClientCertVerifier for Asking {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// The SHA-256 of a certificate in DER: `AA:BB:…`.
pub(crate) fn fingerprint(certificate: &[u8]) -> String {
    let bytes: Vec<String> = Sha256::digest(certificate).iter().map(|byte| format!("{byte:02X}")).collect();
    bytes.join(":")
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("fingerprint", &self.fingerprint).finish_non_exhaustive()
    }
}
