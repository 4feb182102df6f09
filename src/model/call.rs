//! One call of the Proxmox API as a value: method, path, parameters.
//!
//! It can be printed, compared with the contract, kept in the journal and sent; it does none of that itself.

use std::{fmt, path::PathBuf};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Secrets;

/// The methods the API knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    /// Reads; may be repeated.
    Get,
    /// Makes something or starts work.
    Post,
    /// Changes something.
    Put,
    /// Removes something.
    Delete,
}

impl Method {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Get, Self::Post, Self::Put, Self::Delete];

    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Parameters whose values are secrets wherever they appear in the API.
const SECRET_KEYS: [&str; 17] = [
    "password",
    "cipassword",
    "new-password",
    "confirmation-password",
    "otp",
    "tfa-challenge",
    "ticket",
    "vncticket",
    "CSRFPreventionToken",
    "keyring",
    "encryption-key",
    "token",
    "totp",
    "secret",
    "client-key",
    "eab-hmac-key",
    "target-endpoint",
];

/// Parameters, and keys of answers, whose names mean a secret only in some places: part of a path, and the key.
const SECRET_PLACES: [(&str, &str); 14] = [
    ("/access/openid", "code"),
    ("/access/tfa", "challenge"),
    ("/access/tfa", "recovery"),
    ("/access/tfa", "value"),
    ("/access/users", "keys"),
    ("/access/users", "value"),
    ("/cluster/acme/plugins", "data"),
    ("/cluster/metrics/server", "otel-headers"),
    ("/cluster/sdn/dns", "key"),
    ("/certificates/", "key"),
    ("/agent/exec", "input-data"),
    ("/agent/file-write", "content"),
    // Somebody may type a password.
    ("/sendkey", "key"),
    ("/subscription", "key"),
];

/// Whether a parameter's value must never be shown, logged or stored.
pub fn is_secret_key(key: &str) -> bool {
    SECRET_KEYS.contains(&key)
}

/// The same for a call to this path, or its answer: some keys are secrets in one place and harmless in another.
pub fn is_secret_at(path: &str, key: &str) -> bool {
    is_secret_key(key) || SECRET_PLACES.iter().any(|(place, secret)| *secret == key && path.contains(place))
}

/// Parameters of a call in the order they were given, all as the text that goes over the wire: booleans `0`/`1`,
/// lists comma separated. A key may repeat.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Params(Vec<(String, String)>);

impl Params {
    /// None.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds one, builder style.
    #[must_use]
    pub fn with(mut self, key: impl Into<String>, value: impl ToString) -> Self {
        self.push(key, value);
        self
    }

    /// Adds one if there is a value.
    #[must_use]
    pub fn with_some(self, key: &str, value: Option<impl ToString>) -> Self {
        match value {
            Some(value) => self.with(key, value),
            None => self,
        }
    }

    /// Adds a flag as `1` if it is set, and nothing otherwise.
    #[must_use]
    pub fn with_flag(self, key: &str, set: bool) -> Self {
        if set { self.with(key, 1) } else { self }
    }

    /// Adds one.
    pub fn push(&mut self, key: impl Into<String>, value: impl ToString) {
        self.0.push((key.into(), value.to_string()));
    }

    /// Replaces a value where it stands, or adds it.
    pub fn set(&mut self, key: &str, value: impl ToString) {
        match self.0.iter_mut().find(|(have, _)| have == key) {
            Some(pair) => pair.1 = value.to_string(),
            None => self.push(key, value),
        }
    }

    /// The first value of a key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(have, _)| have == key).map(|(_, value)| value.as_str())
    }

    /// Takes a key away and gives its first value.
    pub fn remove(&mut self, key: &str) -> Option<String> {
        let at = self.0.iter().position(|(have, _)| have == key)?;
        let (_, value) = self.0.remove(at);
        self.0.retain(|(have, _)| have != key);
        Some(value)
    }

    /// Key and value, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The same with every secret's value replaced by `***`: what may be shown and stored.
    #[must_use]
    pub fn redacted(&self) -> Self {
        self.without(is_secret_key)
    }

    fn without(&self, secret: impl Fn(&str) -> bool) -> Self {
        let hide =
            |(key, value): &(String, String)| (key.clone(), if secret(key) { "***".to_owned() } else { value.clone() });
        Self(self.0.iter().map(hide).collect())
    }

    /// As a JSON object of strings, secrets replaced; a repeated key becomes an array.
    pub fn to_json(&self) -> Map<String, Value> {
        let mut map = Map::new();
        for (key, value) in self.redacted().0 {
            match map.get_mut(&key) {
                None => drop(map.insert(key, Value::String(value))),
                Some(Value::Array(values)) => values.push(Value::String(value)),
                Some(first) => *first = Value::Array(vec![first.take(), Value::String(value)]),
            }
        }
        map
    }
}

impl<K: Into<String>, V: ToString> FromIterator<(K, V)> for Params {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        Self(pairs.into_iter().map(|(key, value)| (key.into(), value.to_string())).collect())
    }
}

impl<K: Into<String>, V: ToString> Extend<(K, V)> for Params {
    fn extend<I: IntoIterator<Item = (K, V)>>(&mut self, pairs: I) {
        self.0.extend(pairs.into_iter().map(|(key, value)| (key.into(), value.to_string())));
    }
}

impl fmt::Debug for Params {
    /// Secrets do not reach a log by way of `{:?}` either.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.redacted().0.iter().map(|(key, value)| (key, value))).finish()
    }
}

/// A call: what will be, or was, asked of the server.
#[derive(Clone, PartialEq, Eq)]
pub struct Call {
    /// The method.
    pub method: Method,
    /// The path below `/api2/json`, filled and encoded: `/nodes/pve1/qemu/150/status/start`.
    pub path: String,
    /// The parameters, without those in the path.
    pub params: Params,
    /// The file that goes with them, under the parameter `filename`: only an upload has one.
    pub file: Option<PathBuf>,
}

impl Call {
    /// A call without parameters.
    pub fn new(method: Method, path: impl Into<String>) -> Self {
        Self { method, path: path.into(), params: Params::new(), file: None }
    }

    /// The same with these parameters.
    #[must_use]
    pub fn with_params(mut self, params: Params) -> Self {
        self.params = params;
        self
    }

    /// The same with a file to upload.
    #[must_use]
    pub fn with_file(mut self, file: impl Into<PathBuf>) -> Self {
        self.file = Some(file.into());
        self
    }

    /// The parameters with every secret's value replaced by `***`, also of those that are secrets only at this path.
    #[must_use]
    pub fn redacted_params(&self) -> Params {
        self.params.without(|key| is_secret_at(&self.path, key))
    }

    /// The values of its secrets, to take them out of what others say about it.
    pub fn secrets(&self) -> Secrets {
        let mut secrets = Secrets::default();
        for (_, value) in self.params.iter().filter(|(key, _)| is_secret_at(&self.path, key)) {
            secrets.add(value);
            // What a line break ends, or a file's encoding hides, may be repeated without.
            secrets.add(value.trim());
            if self.params.get("encode") == Some("0")
                && let Ok(text) = STANDARD.decode(value).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            {
                secrets.add(text.trim());
            }
        }
        secrets
    }

    /// As JSON `{method, path, params}`, secrets replaced; an upload also has its `file`.
    pub fn to_json(&self) -> Value {
        let params = self.redacted_params().to_json();
        let mut call = serde_json::json!({"method": self.method, "path": self.path, "params": params});
        if let Some(file) = &self.file {
            call["file"] = file.to_string_lossy().into();
        }
        call
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let params = self.redacted_params();
        f.debug_struct("Call").field("method", &self.method).field("path", &self.path).field("params", &params).finish()
    }
}

impl fmt::Display for Call {
    /// One line for people: `POST /nodes/pve1/qemu/150/clone newid=151 name=app`, secrets replaced.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.path)?;
        for (key, value) in self.redacted_params().iter() {
            if value.is_empty() || value.contains(|c: char| c.is_whitespace() || c.is_control()) {
                write!(f, " {key}={value:?}")?;
            } else {
                write!(f, " {key}={value}")?;
            }
        }
        if let Some(file) = &self.file {
            write!(f, " < {}", file.display())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_never_show() {
        let call = Call::new(Method::Post, "/access/ticket")
            .with_params(Params::new().with("username", "root@pam").with("password", "hunter2"));
        for shown in [call.to_string(), format!("{call:?}"), call.to_json().to_string()] {
            assert!(shown.contains("***") && !shown.contains("hunter2"), "{shown}");
        }
    }

    #[test]
    fn a_key_may_be_a_secret_in_one_place_only() {
        let call = |path: &str| Call::new(Method::Post, path).with_params(Params::new().with("key", "hunter2"));
        let secret = call("/nodes/pve1/certificates/custom");
        for shown in [secret.to_string(), format!("{secret:?}"), secret.to_json().to_string()] {
            assert!(!shown.contains("hunter2"), "{shown}");
        }
        assert!(call("/nodes/pve1/qemu/100/config").to_string().contains("hunter2"));
    }
}
