//! One server address, with the fingerprint of the certificate that is expected there.
//!
//! Checks the form only; whether anybody answers is the client's business.

use serde::{Deserialize, Serialize};
use url::{Host, Url};

use crate::model::{Error, Hint, Result};

/// The port of the Proxmox VE API.
const PORT: u16 = 8006;

/// A server: `https://HOST:PORT` and, if pinned, its certificate's SHA-256 fingerprint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Raw")]
pub struct Endpoint {
    url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    fingerprint: Option<String>,
}

/// As written in the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    url: String,
    fingerprint: Option<String>,
}

impl TryFrom<Raw> for Endpoint {
    type Error = Error;

    fn try_from(raw: Raw) -> Result<Self> {
        let endpoint = Self::new(&raw.url)?;
        match raw.fingerprint {
            Some(fingerprint) => endpoint.pinned(&fingerprint),
            None => Ok(endpoint),
        }
    }
}

impl Endpoint {
    /// Takes `pve1`, `pve1:8006`, `[fd00::1]` or `https://pve1:8006/`; the port is 8006 unless said otherwise. Plain
    /// `http` is for this machine only.
    ///
    /// # Errors
    /// [`Class::Usage`](crate::model::Class::Usage) for anything else: another scheme, a path, and above all a
    /// password in the address, which the message does not repeat.
    pub fn new(text: &str) -> Result<Self> {
        let text = text.trim();
        // Before any message repeats the text.
        if text.contains('@') {
            return Err(Error::usage("a server address takes no user and no password").with_hint(Hint::Text(
                "put them into a context (`pvectl config add-context`) or use PVECTL_TOKEN_FILE".to_owned(),
            )));
        }
        let bad = |why: &str| Error::usage(format!("`{text}` is no server address: {why}"));
        let has_scheme = text.contains("://");
        let full = if has_scheme { text.to_owned() } else { format!("https://{text}") };
        let url = Url::parse(&full).map_err(|error| bad(&error.to_string()))?;
        let host = url.host().ok_or_else(|| bad("it names no host"))?;
        let here = match &host {
            Host::Domain(name) => *name == "localhost",
            Host::Ipv4(address) => address.is_loopback(),
            Host::Ipv6(address) => address.is_loopback(),
        };
        match url.scheme() {
            "https" => {}
            "http" if here => {}
            "http" => return Err(bad("it must begin with https://, or every password would be readable on the way")),
            _ => return Err(bad("it must begin with https://")),
        }
        if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
            return Err(bad("nothing may follow the port"));
        }
        // `Url` drops a port that is its scheme's default, and here `https://pve1:443` and `https://pve1` differ.
        let written = full.trim_end_matches('/').rsplit_once(':').and_then(|(_, port)| port.parse().ok());
        let port = url.port().or(written).unwrap_or(PORT);
        Ok(Self { url: format!("{}://{host}:{port}", url.scheme()), fingerprint: None })
    }

    /// The same with a pinned certificate: 32 bytes in hex, with or without colons, in either case.
    ///
    /// # Errors
    /// [`Class::Usage`](crate::model::Class::Usage) when it is no SHA-256 fingerprint.
    pub fn pinned(self, fingerprint: &str) -> Result<Self> {
        let text = fingerprint.trim();
        let hex: String = text.chars().filter(|c| *c != ':').map(|c| c.to_ascii_uppercase()).collect();
        if hex.len() != 64 || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(Error::usage(format!("`{text}` is no SHA-256 fingerprint: 32 bytes in hex are expected"))
                .with_hint(Hint::Text(
                    "on the node: `openssl x509 -noout -fingerprint -sha256 -in /etc/pve/local/pve-ssl.pem`".to_owned(),
                )));
        }
        let mut colons = String::with_capacity(95);
        for (index, digit) in hex.chars().enumerate() {
            if index > 0 && index % 2 == 0 {
                colons.push(':');
            }
            colons.push(digit);
        }
        Ok(Self { fingerprint: Some(colons), ..self })
    }

    /// `https://pve1:8006`, without a slash at the end, the port always there.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The pinned certificate's fingerprint: upper-case hex with colons.
    pub fn fingerprint(&self) -> Option<&str> {
        self.fingerprint.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Class;

    #[test]
    fn an_address_gets_scheme_and_port() {
        for (given, want) in [
            ("pve1", "https://pve1:8006"),
            ("pve1.example.org:443", "https://pve1.example.org:443"),
            ("https://pve1/", "https://pve1:8006"),
            ("https://pve1:8006/", "https://pve1:8006"),
            ("[fd00::1]", "https://[fd00::1]:8006"),
            ("https://[fd00::443]", "https://[fd00::443]:8006"),
            ("https://[fd00::1]:443", "https://[fd00::1]:443"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ] {
            assert_eq!(Endpoint::new(given).unwrap().url(), want, "{given}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for bad in ["", "https://", "ftp://pve1", "http://pve1", "pve1/api2/json", "pve1:99999", "pve 1"] {
            assert_eq!(Endpoint::new(bad).unwrap_err().class(), Class::Usage, "{bad:?}");
        }
    }

    #[test]
    fn a_password_in_an_address_is_not_repeated() {
        let error = Endpoint::new("https://root:hush@pve1:8006").unwrap_err();
        assert!(!format!("{error:?}").contains("hush"), "{error:?}");
    }

    #[test]
    fn fingerprints_have_one_form() {
        let plain = "ab".repeat(32);
        let pinned = Endpoint::new("pve1").unwrap().pinned(&plain).unwrap();
        assert_eq!(pinned.fingerprint(), Some(["AB"; 32].join(":").as_str()));
        assert_eq!(pinned.clone().pinned(pinned.fingerprint().unwrap()).unwrap(), pinned);
        for bad in ["", "AB:CD", &"zz".repeat(32), &"ab".repeat(20)] {
            assert!(Endpoint::new("pve1").unwrap().pinned(bad).is_err(), "{bad:?}");
        }
    }
}
