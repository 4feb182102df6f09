//! The server's certificate and key.
//!
//! It does no I/O: PEM comes and goes as text.

use std::{fmt, sync::Arc};

use rcgen::{CertificateParams, DnType, KeyPair};
use rustls::{ServerConfig, crypto::aws_lc_rs};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use sha2::{Digest, Sha256};
use tokio_rustls::TlsAcceptor;

use crate::model::{Class, Error, Result};

/// How a listener speaks TLS.
#[derive(Clone)]
pub struct Tls {
    config: Arc<ServerConfig>,
    fingerprint: String,
    certificate: String,
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
        Ok(Self { config: Arc::new(config), fingerprint, certificate: certificates.to_owned() })
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

fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    let bytes: Vec<String> = Sha256::digest(certificate).iter().map(|byte| format!("{byte:02X}")).collect();
    bytes.join(":")
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("fingerprint", &self.fingerprint).finish_non_exhaustive()
    }
}
