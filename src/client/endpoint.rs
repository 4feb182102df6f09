//! Where a server is and why it is trusted: its address, a pinned certificate, the roots.
//!
//! Plain values; the handshake itself is in [`super::transport`].

use std::{fmt, net::Ipv6Addr, path::PathBuf, str::FromStr, sync::Arc};

use rustls::{crypto::aws_lc_rs, sign::CertifiedKey};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use url::Url;

use super::Certificate;
use crate::model::{Error, Result, is_local};

/// The port on which Proxmox VE serves its API.
pub(super) const DEFAULT_PORT: u16 = 8006;

/// One address of a cluster. Each node has a certificate of its own, so a pin belongs to the endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Scheme, host, port, and a path where a proxy puts the API below one: `https://pve1:8006`.
    pub url: Url,
    /// The certificate that is trusted here, whoever signed it, and none other.
    pub fingerprint: Option<Fingerprint>,
}

impl Endpoint {
    /// Reads `pve1`, `pve1:8443`, `10.0.0.1`, `2001:db8::1` or a URL. Without a scheme it is `https`, and the port is
    /// 8006 unless one is given; a URL is taken at its word.
    ///
    /// # Errors
    /// [`Class::Usage`](crate::model::Class::Usage) when it is no address, or carries a user, a query or a fragment.
    pub fn parse(text: &str) -> Result<Self> {
        let text = text.trim();
        let url = if text.contains("://") {
            Url::parse(text)
        } else if text.parse::<Ipv6Addr>().is_ok() {
            Url::parse(&format!("https://[{text}]:{DEFAULT_PORT}"))
        } else {
            Url::parse(&format!("https://{text}")).map(|mut url| {
                // `url` drops a port that is the scheme's own, so the text must say whether one was typed.
                let host = text.split('/').next().unwrap_or(text);
                let port_typed = host.rsplit(']').next().is_some_and(|rest| rest.contains(':'));
                if !port_typed {
                    // Only a URL without a host refuses a port, and `check` names that one.
                    let _ = url.set_port(Some(DEFAULT_PORT));
                }
                url
            })
        };
        let url = url.map_err(|error| Error::usage("the endpoint is not an address or a URL").with_source(error))?;
        let endpoint = Self { url, fingerprint: None };
        endpoint.check()?;
        Ok(endpoint)
    }

    /// The same with this certificate pinned.
    #[must_use]
    pub fn with_fingerprint(mut self, fingerprint: Fingerprint) -> Self {
        self.fingerprint = Some(fingerprint);
        self
    }

    /// Whether requests to it are encrypted.
    pub fn is_https(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// Whether it is on this machine, where no proxy has a place in between.
    pub(super) fn is_local(&self) -> bool {
        is_local(&self.url)
    }

    /// The field is public, so the rules are checked again when a client is built.
    pub(super) fn check(&self) -> Result<()> {
        let url = &self.url;
        // The text itself is not repeated: what is wrong with it may be the password in it.
        let wrong = match url {
            _ if !matches!(url.scheme(), "http" | "https") => "its scheme is neither https nor http",
            _ if url.host_str().is_none_or(str::is_empty) => "it has no host",
            _ if !url.username().is_empty() || url.password().is_some() => "credentials do not belong into it",
            _ if url.query().is_some() || url.fragment().is_some() => "it has a query or a fragment",
            _ => return Ok(()),
        };
        Err(Error::usage(format!("the endpoint cannot be used: {wrong}")))
    }
}

impl FromStr for Endpoint {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.url.as_str().trim_end_matches('/'))
    }
}

/// The SHA-256 of a certificate, as `pvenode cert info` and the web interface show it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// That of a certificate in DER.
    pub fn of_certificate(der: &[u8]) -> Self {
        Self(Sha256::digest(der).into())
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Compares in a time that does not depend on where the first difference is.
    pub(super) fn matches(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).fold(0, |differences, (a, b)| differences | (a ^ b)) == 0
    }
}

impl FromStr for Fingerprint {
    type Err = Error;

    /// Reads 32 bytes in hex of either case, with or without colons.
    fn from_str(text: &str) -> Result<Self> {
        let error = || {
            Error::usage(format!(
                "`{text}` is not a certificate's SHA-256 fingerprint: 32 pairs of hex digits with colons between them \
                 are expected"
            ))
        };
        let digits: String = text.trim().split(':').collect();
        if digits.len() != 64 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(error());
        }
        let mut bytes = [0; 32];
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&digits[2 * index..2 * index + 2], 16).map_err(|_| error())?;
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            let colon = if index == 0 { "" } else { ":" };
            write!(f, "{colon}{byte:02X}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A certificate of one's own and its key, shown to servers that ask for one (mutual TLS).
#[derive(Clone)]
pub struct ClientCertificate(Arc<CertifiedKey>);

impl ClientCertificate {
    /// Takes the chain, one's own certificate first, and the key of that one, both as PEM. They may be one text.
    ///
    /// # Errors
    /// [`Class::Usage`](crate::model::Class::Usage) when one of them cannot be read or is missing, or when the key is another
    /// certificate's. The key is not repeated.
    pub fn from_pem(chain: &str, key: &SecretString) -> Result<Self> {
        let chain = CertificateDer::pem_slice_iter(chain.as_bytes()).collect::<Result<Vec<_>, _>>();
        let chain =
            chain.map_err(|error| Error::usage("the client certificate is not proper PEM").with_source(error))?;
        if chain.is_empty() {
            return Err(Error::usage("there is no client certificate in the PEM text"));
        }
        // What was read of a key is in no error.
        let key = PrivateKeyDer::from_pem_slice(key.expose_secret().as_bytes())
            .map_err(|_| Error::usage("the client certificate's key is no key as PEM"))?;
        let certified = CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider());
        let unusable = |error| Error::usage("the client certificate cannot be used with its key").with_source(error);
        Ok(Self(Arc::new(certified.map_err(unusable)?)))
    }

    pub(super) fn certified(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.0)
    }

    /// What it says of itself; nothing where it is none that can be read.
    pub fn read(&self) -> Option<Certificate> {
        Certificate::parse(self.0.cert.first()?).ok()
    }

    /// What somebody else may know of it: the SHA-256 of the certificate.
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        self.0.cert.first().map(|der| Fingerprint::of_certificate(der))
    }
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ClientCertificate").field(&self.fingerprint()).finish()
    }
}

/// Who may vouch for a server's certificate; a pinned one on the [`Endpoint`] needs nobody.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Trust {
    /// The system's roots.
    #[default]
    System,
    /// The certificates in this PEM file, and nobody else. Read when the first connection is made.
    CaFile(PathBuf),
    /// The certificates in this PEM text, and nobody else.
    CaPem(Vec<u8>),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_becomes_https_on_the_port_of_the_api() {
        for (text, want) in [
            ("pve1", "https://pve1:8006"),
            ("pve1:8443", "https://pve1:8443"),
            ("pve1:443", "https://pve1"),
            ("10.0.0.1", "https://10.0.0.1:8006"),
            ("2001:db8::1", "https://[2001:db8::1]:8006"),
            ("[2001:db8::1]", "https://[2001:db8::1]:8006"),
            ("[2001:db8::1]:443", "https://[2001:db8::1]"),
            ("https://pve1:8006/", "https://pve1:8006"),
            ("https://pve.example.org/cluster-a/", "https://pve.example.org/cluster-a"),
            ("http://127.0.0.1:8006", "http://127.0.0.1:8006"),
        ] {
            assert_eq!(Endpoint::parse(text).unwrap().to_string(), want, "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_endpoint_and_does_not_repeat_a_password() {
        for bad in ["", "ftp://pve1", "https://root:hunter2@pve1", "https://pve1/?x=1", "https://pve1#x", "a b"] {
            let error = Endpoint::parse(bad).expect_err(bad);
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
        }
    }

    #[test]
    fn a_fingerprint_is_read_in_any_case_and_printed_in_one() {
        let text = "B6:4D:1D:BE:67:5D:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99";
        for written in [text.to_owned(), text.to_lowercase(), text.replace(':', "")] {
            assert_eq!(written.parse::<Fingerprint>().unwrap().to_string(), text);
        }
        for bad in ["", "B6:4D", &text[3..], &text.replace("B6", "G6"), &format!("{text}:00")] {
            assert!(bad.parse::<Fingerprint>().is_err(), "{bad} was taken");
        }
    }
}
