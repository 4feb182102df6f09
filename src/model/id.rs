//! Identifiers with the server's own rules: VMID, node name, configuration digest.
//!
//! They are checked when they are made, so whoever holds one need not check again.

use std::{borrow::Borrow, fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use url::Url;

/// Why a text is not the identifier it was taken for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ParseIdError {
    message: String,
}

impl ParseIdError {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into() }
    }
}

/// The number of a guest, 100 to 999999999, unique in a cluster over VMs and containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Vmid(u32);

impl Vmid {
    /// The smallest number Proxmox gives to a guest.
    pub const MIN: u32 = 100;
    /// The largest one.
    pub const MAX: u32 = 999_999_999;

    /// Checks the range.
    ///
    /// # Errors
    /// When the number is outside 100..=999999999.
    pub fn new(number: u32) -> Result<Self, ParseIdError> {
        if (Self::MIN..=Self::MAX).contains(&number) {
            Ok(Self(number))
        } else {
            Err(ParseIdError::new(format!(
                "VMID {number} is out of range: it must be between {} and {}",
                Self::MIN,
                Self::MAX
            )))
        }
    }

    /// The bare number.
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl FromStr for Vmid {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        // The server refuses leading zeros, signs and spaces, so `u32::from_str` alone is too kind.
        let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
        if !plain {
            return Err(ParseIdError::new(format!(
                "`{text}` is not a VMID: a number from 100 to 999999999 is expected"
            )));
        }
        let number = text.parse::<u32>().unwrap_or(u32::MAX);
        Self::new(number).map_err(|_| {
            ParseIdError::new(format!(
                "VMID {text} is out of range: it must be between {} and {}",
                Self::MIN,
                Self::MAX
            ))
        })
    }
}

impl fmt::Display for Vmid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl Serialize for Vmid {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(self.0)
    }
}

impl<'de> Deserialize<'de> for Vmid {
    /// Accepts the number and the string of digits: the server uses both.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = super::tolerant::u64::deserialize(deserializer)?;
        let number = u32::try_from(number).map_err(serde::de::Error::custom)?;
        Self::new(number).map_err(serde::de::Error::custom)
    }
}

/// Whether a text is a label of a host name.
fn is_host_label(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// Whether an address is on this machine.
pub(crate) fn is_local(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// Whether a text is a host name: labels with dots between them.
#[cfg(any(feature = "serve", all(feature = "local", target_os = "linux")))]
pub(crate) fn is_host_name(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_host_label)
}

/// The name of a cluster node: a host name label, 1 to 63 letters, digits and inner hyphens.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct NodeName(String);

impl NodeName {
    /// Checks the label's form.
    ///
    /// # Errors
    /// When the text is no host name label, as in an FQDN such as `pve1.example.org`.
    pub fn new(name: impl Into<String>) -> Result<Self, ParseIdError> {
        let name = name.into();
        if is_host_label(&name) {
            return Ok(Self(name));
        }
        let hint = match name.split_once('.') {
            Some((first, _)) if !first.is_empty() => format!(" (a node's short name is expected, perhaps `{first}`)"),
            _ => String::new(),
        };
        Err(ParseIdError::new(format!("`{name}` is not a node name{hint}")))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for NodeName {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        Self::new(text)
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Borrow<str> for NodeName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for NodeName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// The SHA-1 of a configuration file, sent back so that a change made in between is noticed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Digest(pub String);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vmid_takes_only_plain_numbers_in_range() {
        assert_eq!("150".parse::<Vmid>().map(Vmid::get), Ok(150));
        for bad in ["", "0150", "+150", "99", "1000000000", "99999999999999999999", "1e3", " 150"] {
            assert!(bad.parse::<Vmid>().is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn node_name_refuses_an_fqdn_and_names_the_label() {
        let error = NodeName::new("pve1.example.org").expect_err("an FQDN");
        assert!(error.to_string().contains("`pve1`"), "{error}");
    }
}
