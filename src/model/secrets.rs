//! Values that must not be shown, taken out of texts that others wrote.
//!
//! Keys that are secrets are known by their names, in [`call`](super::call); this is for the answer of a server that
//! repeats a value in its own words.

use std::borrow::Cow;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

/// What stands in a secret's place.
const HIDDEN: &str = "***";

/// What is shorter cannot be told from other text.
const SHORTEST: usize = 4;

/// What is longer nobody repeats: it is a file or a program's input.
const LONGEST: usize = 4096;

/// Values of secrets, in every form in which they may be repeated.
#[derive(Clone, Default)]
pub struct Secrets(Vec<String>);

impl Secrets {
    /// Adds one.
    pub fn add(&mut self, secret: &str) {
        if !(SHORTEST..=LONGEST).contains(&secret.len()) || self.0.iter().any(|have| have == secret) {
            return;
        }
        let json = Value::from(secret).to_string();
        let escaped = json.trim_start_matches('"').strip_suffix('"').unwrap_or_default();
        let encoded = utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string();
        self.0
            .extend([secret.to_owned(), escaped.to_owned(), encoded].into_iter().filter(|form| form.len() >= SHORTEST));
        // What is part of another would leave the rest of that.
        self.0.sort_by_key(|form| std::cmp::Reverse(form.len()));
        self.0.dedup();
    }

    /// Adds all of these.
    pub fn extend(&mut self, others: &Self) {
        others.0.iter().for_each(|secret| self.add(secret));
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A text without them.
    pub fn hide<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let found = self.0.iter().filter(|secret| text.contains(secret.as_str()));
        found.fold(Cow::Borrowed(text), |text, secret| Cow::Owned(text.replace(secret.as_str(), HIDDEN)))
    }

    /// Takes them out of every text in a value, at any depth.
    pub fn hide_in(&self, value: &mut Value) {
        match value {
            Value::String(text) => {
                if let Cow::Owned(hidden) = self.hide(text) {
                    *text = hidden;
                }
            }
            Value::Array(values) => values.iter_mut().for_each(|value| self.hide_in(value)),
            Value::Object(map) => map.values_mut().for_each(|value| self.hide_in(value)),
            _ => {}
        }
    }
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secrets")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_hidden_in_every_form() {
        let mut secrets = Secrets::default();
        secrets.add("hunter\"2 ä");
        secrets.add("hunter");
        secrets.add("x");
        let hide = |text: &str| secrets.hide(text).into_owned();
        assert_eq!(hide("value 'hunter\"2 ä' is too short"), "value '***' is too short");
        assert_eq!(hide(r#"{"a":"hunter\"2 ä"}"#), r#"{"a":"***"}"#);
        assert_eq!(hide("password=hunter%222%20%C3%A4&x=1"), "password=***&x=1");
        assert_eq!(hide("hunter and x"), "*** and x");
        let mut value = serde_json::json!({"a": ["hunter\"2 ä"], "b": 1});
        secrets.hide_in(&mut value);
        assert_eq!(value, serde_json::json!({"a": ["***"], "b": 1}));
    }
}
