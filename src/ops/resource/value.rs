//! Values of things: as texts, as lists, and as people write them.

use jiff::{Span, Timestamp, civil::Date, tz::TimeZone};
use serde_json::Value;

use crate::{
    contract::{Endpoint, Format, Kind, Schema},
    model::{Error, List, Params, Result},
    ops::friendly_value,
};

/// A value as the server would print it; a list with commas.
pub fn plain(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::Bool(truth) => Some(u8::from(*truth).to_string()),
        Value::String(text) => Some(text.clone()),
        Value::Array(all) => Some(all.iter().filter_map(plain).collect::<Vec<_>>().join(",")),
        // A property string that the server took apart.
        Value::Object(parts) if parts.values().all(|part| !part.is_array() && !part.is_object()) => {
            let parts = parts.iter().filter_map(|(key, part)| Some(format!("{key}={}", plain(part)?)));
            Some(parts.collect::<Vec<_>>().join(","))
        }
        other => Some(other.to_string()),
    }
}

/// The rows of an answer that is a list of them.
pub(super) fn array(answer: Value) -> Vec<Value> {
    match answer {
        Value::Array(rows) => rows,
        _ => Vec::new(),
    }
}

/// An answer that is the thing.
pub(super) fn itself(answer: Value) -> Value {
    answer
}

/// What a person may write, as PVE takes it: `yes`, and for the end of an account or a token a date, `90d`, `never`.
pub(in crate::ops) fn friendly(key: &str, value: &str, schema: Option<&Schema>) -> Result<String> {
    match schema {
        Some(_) if key == "expire" => seconds(value, Timestamp::now()),
        // A switch that is a number to the server.
        Some(schema) if key == "enable" && schema.kind == Kind::Integer => Ok(match value {
            "yes" | "true" | "on" => "1".to_owned(),
            "no" | "false" | "off" => "0".to_owned(),
            other => other.to_owned(),
        }),
        Some(schema) => friendly_value(key, value, schema),
        None => Ok(value.to_owned()),
    }
}

/// The same of all that is given to a method.
pub(super) fn all_friendly(given: &Params, endpoint: Option<&Endpoint>) -> Result<Params> {
    let schema = |key: &str| endpoint.and_then(|endpoint| endpoint.parameters.get(key));
    let taken = |(key, value): (&str, &str)| Ok((key.to_owned(), friendly(key, value, schema(key))?));
    given.iter().map(taken).collect()
}

/// An end as seconds since 1970; 0 is never.
fn seconds(text: &str, now: Timestamp) -> Result<String> {
    if text == "never" {
        return Ok("0".to_owned());
    }
    let at = if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(text.to_owned());
    } else if let Ok(date) = text.parse::<Date>() {
        date.to_zoned(TimeZone::UTC).ok().map(|at| at.timestamp())
    } else if let Ok(at) = text.parse::<Timestamp>() {
        Some(at)
    } else {
        let later = |span: Span| now.to_zoned(TimeZone::UTC).checked_add(span).ok().map(|at| at.timestamp());
        text.parse::<Span>().ok().and_then(later)
    };
    let wanted = "a date (2027-12-31), a time from now (90d), seconds since 1970 or `never` is expected";
    at.map(|at| at.as_second().to_string()).ok_or_else(|| Error::usage(format!("`expire` `{text}`: {wanted}")))
}

/// Whether what is there and what is asked for are the same.
pub(in crate::ops) fn same(before: &str, after: &str, schema: Option<&Schema>) -> bool {
    // Comments of interfaces come back with the end of their line.
    if before.trim_end_matches('\n') == after.trim_end_matches('\n') {
        return true;
    }
    let members = |text: &str| {
        let mut all: Vec<String> = List::from(text).iter().map(str::to_owned).collect();
        all.sort();
        all.dedup();
        all
    };
    let is_property_string = |schema: &Schema| matches!(schema.format, Some(Format::Keys(_)));
    schema.is_some_and(|schema| schema.is_list() || is_property_string(schema)) && members(before) == members(after)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_a_date_a_while_or_never() {
        let now: Timestamp = "2026-11-30T12:00:00Z".parse().unwrap();
        for (text, wanted) in [
            ("never", "0"),
            ("0", "0"),
            ("1796040000", "1796040000"),
            ("1970-01-02", "86400"),
            ("1970-01-01T00:01:00Z", "60"),
            ("1d", &(now.as_second() + 86_400).to_string()),
        ] {
            assert_eq!(seconds(text, now).unwrap(), wanted, "{text}");
        }
        assert!(seconds("soon", now).unwrap_err().message().contains("`expire` `soon`"));
    }

    #[test]
    fn lists_are_the_same_in_any_order() {
        let list: Schema =
            serde_json::from_value(serde_json::json!({"type": "string", "format": "pve-node-list"})).unwrap();
        assert!(same("a,b", "b a", Some(&list)) && !same("a,b", "a", Some(&list)));
        assert!(!same("a,b", "b,a", None) && same("x", "x", None));
    }
}
