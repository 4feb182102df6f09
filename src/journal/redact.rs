//! The last line of defence for secrets: nothing passes here into the file with its value.
//!
//! It knows secrets by their keys only; a secret within a text has to be kept out by whoever makes the text.

use serde_json::Value;

use crate::model::is_secret_key;

/// What stands in a secret's place.
const HIDDEN: &str = "***";

/// Replaces the value of every key that is a secret's, at any depth.
pub(super) fn redact(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                if !is_secret_key(key) {
                    redact(value);
                } else if !value.is_null() {
                    *value = Value::from(HIDDEN);
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(redact),
        _ => {}
    }
}
