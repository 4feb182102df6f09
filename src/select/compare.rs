//! How two values compare: as numbers where they are numbers, else as text. It knows no fields and no operators.

use std::cmp::Ordering;

use serde_json::Value;

/// The order of two values.
pub(super) fn compare(a: &Value, b: &Value) -> Ordering {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a.total_cmp(&b),
        // Numbers before everything else, so that the order is one.
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => text(a).to_lowercase().cmp(&text(b).to_lowercase()),
    }
}

/// A value as text: a text as it is, everything else as JSON.
pub(super) fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
