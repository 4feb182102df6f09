//! Client certificates of a served host: getting one for a one-time token, renewing it, giving it back; and who one is there.
//!
//! These routes are `pvectl serve`'s own, beside the API of Proxmox VE. Where a certificate and its key are kept is the
//! caller's.

use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use super::{Client, request::Plain};
use crate::model::{Call, Method, Params, Result};

/// Who one is on a served host.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Me {
    /// `user@realm`.
    pub user: String,
    /// The name of the API token, where that is how one came in.
    pub token: Option<String>,
    /// How one came in: `token`, `ticket` or `certificate`.
    pub method: String,
    /// The serial number of the certificate in hex.
    pub serial: Option<String>,
    /// Until when that is good; `None` for ever.
    pub expires: Option<Timestamp>,
    /// Who answers.
    pub server: Served,
    /// Its clock.
    pub time: Timestamp,
}

/// A served host.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Served {
    /// Its node's name.
    pub name: String,
    /// The version of pvectl.
    pub version: String,
}

/// A client certificate that was just signed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Enrolled {
    /// Whose it is: `user@realm`.
    pub user: String,
    /// Its serial number in hex.
    pub serial: String,
    /// When it is over.
    pub expires: Timestamp,
    /// The certificate and that of its authority, as PEM.
    pub certificate: String,
    /// The SHA-256 fingerprint of the server's own certificate, as the server knows it.
    pub fingerprint: String,
}

impl Client {
    /// Who one is on a served host.
    ///
    /// # Errors
    /// [`Class::Usage`](crate::model::Class::Usage) where the server is none that `pvectl serve` runs; otherwise as
    /// [`send`](Self::send).
    pub async fn me(&self) -> Result<Me> {
        self.beside(Call::new(Method::Get, "/api/me")).await
    }

    /// Gets a client certificate for a one-time token and the key of a request (PKCS #10, PEM). The token is used up.
    ///
    /// # Errors
    /// As [`me`](Self::me). With [`Sent::Maybe`](crate::model::Sent::Maybe) the token may be used up.
    pub async fn enroll(&self, token: &SecretString, request: &str) -> Result<Enrolled> {
        let params = Params::new().with("token", token.expose_secret().trim()).with("csr", request);
        self.beside(Call::new(Method::Post, "/api/enroll").with_params(params)).await
    }

    /// Gets a new certificate, for another key, in place of the client's own. The old one holds until the new one is used, or
    /// it is over.
    ///
    /// # Errors
    /// As [`me`](Self::me).
    pub async fn renew(&self, request: &str) -> Result<Enrolled> {
        let params = Params::new().with("csr", request);
        self.beside(Call::new(Method::Post, "/api/renew").with_params(params)).await
    }

    /// Has the client's own certificate revoked.
    ///
    /// # Errors
    /// As [`me`](Self::me); [`Class::Unauthenticated`](crate::model::Class::Unauthenticated) where it does not hold any more.
    pub async fn unenroll(&self) -> Result<()> {
        self.beside::<Value>(Call::new(Method::Post, "/api/unenroll")).await.map(drop)
    }

    /// Asks a plain route, whose parameters go as JSON; as parameters of the call those that are secrets are known as such.
    async fn beside<T: DeserializeOwned>(&self, call: Call) -> Result<T> {
        let params: Map<String, Value> =
            call.params.iter().map(|(key, value)| (key.to_owned(), value.into())).collect();
        let body = Some(Value::Object(params)).filter(|_| !call.params.is_empty());
        self.plain(&call, body.as_ref(), Plain::default()).await
    }
}

#[cfg(feature = "enroll")]
mod key {
    use rcgen::{CertificateParams, DistinguishedName, KeyPair};

    use super::*;
    use crate::model::{Class, Error};

    /// A new key that a certificate is to be asked for.
    #[derive(Debug)]
    pub struct NewKey {
        key: SecretString,
        request: String,
    }

    impl NewKey {
        /// Draws one (ECDSA, P-256).
        ///
        /// # Errors
        /// On a machine without random numbers.
        pub fn draw() -> Result<Self> {
            let failed = |error: rcgen::Error| Error::new(Class::Failed, "a key cannot be made").with_source(error);
            let key = KeyPair::generate().map_err(failed)?;
            let mut params = CertificateParams::default();
            // Whose it is says the server.
            params.distinguished_name = DistinguishedName::new();
            let request = params.serialize_request(&key).and_then(|request| request.pem()).map_err(failed)?;
            Ok(Self { key: key.serialize_pem().into(), request })
        }

        /// The key, as PEM.
        pub fn key(&self) -> &SecretString {
            &self.key
        }

        /// The request for a certificate (PKCS #10), as PEM.
        pub fn request(&self) -> &str {
            &self.request
        }
    }
}

#[cfg(feature = "enroll")]
pub use key::NewKey;
