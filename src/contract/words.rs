//! The contract's complaints in words for people: each wrong parameter, what is wrong, and what is expected.
//!
//! The complaints themselves are made in `check`, in the server's words.

use std::collections::BTreeMap;

use super::{
    Endpoint, Format, Kind, Schema,
    check::{MISSING, UNKNOWN},
};
use crate::model::{Error, Hint, Params, closest, is_secret_at};

/// Of more parts than this only the names are shown.
const MANY_PARTS: usize = 16;
/// Longer lists of allowed values are cut.
const SHOWN_VALUES: usize = 24;

impl Endpoint {
    /// One error for all that [`check`](Self::check) has against these parameters. `noun` is what they are called:
    /// `key` of a configuration, `parameter` of a call. Values of secrets do not appear in it.
    pub fn refusal(&self, noun: &str, params: &Params, errors: &BTreeMap<String, String>) -> Error {
        let mut lines = Vec::new();
        let mut hints = Vec::new();
        for (key, said) in errors {
            // `command[2]` is a member of `command`.
            let name = key.split_once('[').map_or(key.as_str(), |(name, _)| name);
            let Some(schema) = self.parameters.get(key).or_else(|| self.parameters.get(name)) else {
                lines.push(format!("unknown {noun} `{key}`"));
                let close = self.suggest(key);
                if !close.is_empty() {
                    hints.push(Hint::DidYouMean(close));
                }
                continue;
            };
            let line = match params.get(name) {
                _ if said == MISSING => format!("`{key}` is required"),
                _ if said == UNKNOWN => format!("`{key}` does not belong to this variant"),
                Some(value) if is_secret_at(&self.path, name) => {
                    let told = if said.contains(value) { "not of the right form" } else { said.trim() };
                    format!("`{key}`: {told}")
                }
                Some(value) if schema.kind != Kind::Array => format!("`{key}` `{value}`: {}", reason(key, said)),
                _ => format!("`{key}`: {}", reason(key, said)),
            };
            lines.push(line);
            if !is_secret_at(&self.path, name) {
                let meant = meant(key, said, schema);
                hints.extend((!meant.is_empty()).then_some(Hint::DidYouMean(meant)));
            }
            hints.extend(expectation(name, schema).map(Hint::Text));
        }
        hints.into_iter().fold(Error::usage(lines.join("; ")), Error::with_hint)
    }
}

/// How the server says that a property string has no such part.
const UNDEFINED: &str = "property is not defined in schema";

/// The server's words by the part of the property string that they are about; the part is empty for the whole value.
fn complaints<'s>(key: &str, said: &'s str) -> Vec<(&'s str, &'s str)> {
    let said = said.trim().trim_start_matches("invalid format - format error").trim();
    let split = |line: &'s str| match line.split_once(": ").map(|(at, text)| (at.strip_prefix(key), text)) {
        Some((Some(part), text)) => (part.trim_start_matches('.'), text),
        _ => ("", line),
    };
    said.lines().map(split).collect()
}

/// The server's words without their ceremony: `net0.bogus: property is not defined in …` → ``unknown part `bogus` ``.
fn reason(key: &str, said: &str) -> String {
    let reason = |(part, text): (&str, &str)| match (part, text.contains(UNDEFINED)) {
        ("", _) if text.ends_with("got ARRAY") => "given several times, and takes one value".to_owned(),
        ("", _) => text.to_owned(),
        (part, true) => format!("unknown part `{part}`"),
        (part, false) => format!("part `{part}`: {text}"),
    };
    complaints(key, said).into_iter().map(reason).collect::<Vec<_>>().join(", ")
}

/// What may have been meant by unknown parts, and by values that are none of those allowed.
fn meant(key: &str, said: &str, schema: &Schema) -> Vec<String> {
    let keys = schema.keys();
    let close = |(part, text): (&str, &str)| {
        if text.contains(UNDEFINED) {
            return closest(part, keys.iter().flat_map(|keys| keys.keys().cloned()));
        }
        let schema = if part.is_empty() { Some(schema) } else { keys.as_ref().and_then(|keys| keys.get(part)) };
        let value = text.strip_prefix("value '").and_then(|rest| rest.split_once("' does not have a value in"));
        match (schema, value) {
            (Some(schema), Some((value, _))) => closest(value, schema.values.iter().cloned()),
            _ => Vec::new(),
        }
    };
    complaints(key, said).into_iter().flat_map(close).collect()
}

/// What a key takes, in one line; nothing of a text about which nothing is declared.
fn expectation(key: &str, schema: &Schema) -> Option<String> {
    if let Some(keys) = schema.keys() {
        let shape = |(name, part): (&String, &Schema)| {
            if part.default_key { format!("[{name}=]{}", one(part)) } else { format!("{name}={}", one(part)) }
        };
        let (mut first, rest): (Vec<_>, Vec<_>) =
            keys.iter().filter(|(_, part)| part.alias.is_none()).partition(|(_, part)| part.default_key);
        first.extend(rest);
        // A disk has some forty parts: their names alone are long enough.
        let parts: Vec<String> = match first.len() {
            ..=MANY_PARTS => first.into_iter().map(shape).collect(),
            _ => first.into_iter().map(|(name, _)| name.clone()).collect(),
        };
        return Some(format!("`{key}` takes {}", cut(&parts, ",")));
    }
    let takes = one(schema);
    if takes != ANY {
        return Some(format!("`{key}` takes {takes}"));
    }
    let length = match (schema.min_length, schema.max_length) {
        (Some(fewest), Some(most)) => Some(format!("of {fewest} to {most} characters")),
        (Some(fewest), None) => Some(format!("of at least {fewest} characters")),
        (None, Some(most)) => Some(format!("of up to {most} characters")),
        (None, None) => None,
    };
    let format = match &schema.format {
        Some(Format::Named(name)) => Some(format!("of the form {name}")),
        _ => None,
    };
    let pattern = schema.pattern.as_ref().map(|pattern| format!("that matches {pattern}"));
    let known: Vec<String> = [length, format, pattern].into_iter().flatten().collect();
    (!known.is_empty()).then(|| format!("`{key}` takes {ANY} {}", known.join(", ")))
}

/// What is no number and has no fixed values.
const ANY: &str = "TEXT";

fn one(schema: &Schema) -> String {
    if !schema.values.is_empty() {
        return cut(&schema.values, "|");
    }
    let range = match (schema.minimum, schema.maximum) {
        (Some(low), Some(high)) => format!(" ({low} to {high})"),
        (Some(low), None) => format!(" ({low} or more)"),
        (None, Some(high)) => format!(" (up to {high})"),
        (None, None) => String::new(),
    };
    match schema.kind {
        Kind::Boolean => "0|1".to_owned(),
        Kind::Integer => format!("INTEGER{range}"),
        Kind::Number => format!("NUMBER{range}"),
        _ => ANY.to_owned(),
    }
}

fn cut(items: &[String], separator: &str) -> String {
    let shown = items.iter().take(SHOWN_VALUES).map(String::as_str).collect::<Vec<_>>().join(separator);
    if items.len() > SHOWN_VALUES { format!("{shown}{separator}…") } else { shown }
}
