//! Reading and writing single keys of a configuration's map, and what of it a create or an update takes.
//!
//! The same for both kinds of guest; which keys there are is in the generated tables.

use std::borrow::Cow;

use serde_json::Value;

use super::{scalar::Scalar, shape::unreadable};
use crate::model::{Class, Error, GuestConfig, Params, PropertyString, Result, is_secret_key};

/// Keys that have a parameter but are the server's business: what holds the guest, and what was read.
const NOT_SENT: [&str; 2] = ["digest", "lock"];

/// A plain value as it goes over the wire; `None` for an object, a list, or nothing.
fn text(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(text.into()),
        Value::Bool(truth) => Some(if *truth { "1" } else { "0" }.into()),
        Value::Number(number) => Some(number.to_string().into()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// A key's value, or the one inside it where it is a property string with a single key.
pub(super) fn read<T: Scalar>(config: &GuestConfig, key: &str, inner: Option<&str>) -> Result<Option<T>> {
    let Some(value) = config.0.get(key).filter(|value| !value.is_null()) else { return Ok(None) };
    let odd = || {
        let what = if value.is_array() { "a list" } else { "an object" };
        Error::new(Class::Failed, format!("{key} is {what}, which is not {}", T::EXPECTED))
    };
    let whole = text(value).ok_or_else(odd)?;
    match inner {
        None => T::read(&whole),
        Some(inner) => T::read(PropertyString::lenient(&whole).get_or_bare(inner).unwrap_or(&whole)),
    }
    .map(Some)
    .ok_or_else(|| unreadable::<T>(key, &whole))
}

/// Writes a key's value; one inside a property string as text, for so the server has it.
pub(super) fn write<T: Scalar>(config: &mut GuestConfig, key: String, inner: Option<&str>, value: &T) {
    let value = match inner {
        None => value.json(),
        Some(inner) => {
            let before = config.0.get(&key).and_then(text).unwrap_or_default();
            let mut parts = PropertyString::lenient(&before);
            match parts.get(inner) {
                Some(_) => parts.set(inner, value.write()),
                None => parts.set_bare(value.write()),
            };
            Value::String(parts.to_string())
        }
    };
    config.0.insert(key, value);
}

/// The numbers in keys such as `net0`, `net12`; not `net`, `net01` or `netx0`.
fn number(key: &str, base: &str) -> Option<u16> {
    let digits = key.strip_prefix(base)?;
    let plain = digits.bytes().all(|b| b.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'));
    if plain { digits.parse().ok() } else { None }
}

/// Every value of a numbered key, by number.
pub(super) fn numbered<T: Scalar>(config: &GuestConfig, base: &str) -> std::vec::IntoIter<Result<(u16, T)>> {
    let mut found: Vec<(u16, &String)> = config
        .0
        .iter()
        .filter(|(_, value)| !value.is_null())
        .filter_map(|(key, _)| Some((number(key, base)?, key)))
        .collect();
    found.sort_unstable();
    let read =
        |(n, key): (u16, &String)| read(config, key, None).map(|value| value.map(|value| (n, value))).transpose();
    found.into_iter().filter_map(read).collect::<Vec<_>>().into_iter()
}

/// Whether a key may be sent at all.
fn may_be_sent(key: &str, read_only: &[&str]) -> bool {
    !NOT_SENT.contains(&key) && !read_only.contains(&key)
}

/// Whether a key may be sent with this value. What the server masked, such as a password, is not what it has.
fn is_sent(key: &str, value: &Value, read_only: &[&str]) -> bool {
    let masked = || is_secret_key(key) && value.as_str().is_some_and(|text| text.bytes().all(|b| b == b'*'));
    may_be_sent(key, read_only) && !masked()
}

/// All that a create takes.
pub(super) fn to_params(config: &GuestConfig, read_only: &[&str]) -> Params {
    let mine = config.0.iter().filter(|(key, value)| is_sent(key, value, read_only));
    mine.filter_map(|(key, value)| Some((key.clone(), text(value)?))).collect()
}

/// What an update needs to make one of the other: changed keys, `delete` for those that are gone, and the other's digest.
pub(super) fn changes(config: &GuestConfig, before: &GuestConfig, read_only: &[&str]) -> Params {
    let mut params = Params::new();
    for (key, value) in config.0.iter().filter(|(key, value)| is_sent(key, value, read_only)) {
        match text(value) {
            Some(new) if before.0.get(key).and_then(text).as_ref() != Some(&new) => params.push(key, new),
            _ => {}
        }
    }
    let is_gone = |key: &str| config.0.get(key).is_none_or(Value::is_null);
    let there = before.0.iter().filter(|(key, value)| !value.is_null() && may_be_sent(key, read_only));
    let gone: Vec<&str> = there.map(|(key, _)| key.as_str()).filter(|key| is_gone(key)).collect();
    if !gone.is_empty() {
        params.push("delete", gone.join(","));
    }
    if params.is_empty() { params } else { params.with_some("digest", before.digest()) }
}
