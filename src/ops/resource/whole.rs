//! What a change says beside what changes, so that the server changes nothing else. Nothing is asked here.

use std::net::Ipv4Addr;

use serde_json::{Map, Value};

use super::plain;
use crate::{
    contract::{Endpoint, Kind, Schema},
    model::Params,
};

/// What a change must say although it does not change it: the digest, and what the method requires.
pub(super) fn complete(endpoint: &Endpoint, thing: &Map<String, Value>, params: &mut Params) {
    for (key, schema) in &endpoint.parameters.properties {
        let wanted = key == "digest" || !schema.optional;
        if let (true, None, Some(value)) = (wanted, params.get(key), thing.get(key)) {
            match value {
                Value::Array(all) if schema.kind == Kind::Array => {
                    params.extend(all.iter().filter_map(plain).map(|value| (key.clone(), value)));
                }
                value => params.extend(plain(value).map(|value| (key.clone(), value))),
            }
        }
    }
}

/// What a change would take away by not saying it: said again, as it is, unless that is what is asked for. A part of it
/// that is asked for has the other parts with it.
pub(super) fn keep(kept: &[&[&'static str]], thing: &Map<String, Value>, unset: &[&str], params: &mut Params) {
    let there = |key: &&'static str| Some((*key, thing.get(*key).and_then(plain).filter(|value| !value.is_empty())?));
    for keys in kept.iter().filter(|keys| !keys.iter().any(|key| unset.contains(key))) {
        let (whole, parts) = keys.split_at(1);
        if whole.iter().any(|key| params.get(key).is_some()) {
            continue;
        }
        let is_asked_in_parts = parts.iter().any(|key| params.get(key).is_some());
        let whole: Vec<_> = whole.iter().filter(|_| !is_asked_in_parts).filter_map(there).collect();
        let said = if whole.is_empty() { parts.iter().filter_map(there).collect() } else { whole };
        for (key, value) in said {
            if params.get(key).is_none() {
                params.push(key, value);
            }
        }
    }
}

/// A mask is told as a number of bits, and taken in four parts.
pub(super) fn dotted(params: &mut Params) {
    let bits = params.get("netmask").and_then(|mask| mask.parse::<u32>().ok()).filter(|bits| *bits <= 32);
    if let Some(bits) = bits {
        let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
        params.set("netmask", Ipv4Addr::from(mask));
    }
}

/// What a method is told that takes no list of what is to be unset: the default of what is no text.
pub(super) fn unset_value(schema: Option<&Schema>) -> String {
    let counts = schema.filter(|schema| matches!(schema.kind, Kind::Boolean | Kind::Integer | Kind::Number));
    // Some defaults are words for people: `same as user`.
    let default = |schema: &Schema| schema.default_text().filter(|default| schema.takes(default));
    counts.map_or_else(String::new, |schema| default(schema).unwrap_or_else(|| "0".to_owned()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ADDRESS: &[&[&str]] = &[&["cidr", "address", "netmask"], &["comment"]];

    fn kept(thing: Value, asked: &[(&str, &str)], unset: &[&str]) -> String {
        let mut params: Params = asked.iter().copied().collect();
        keep(ADDRESS, thing.as_object().unwrap(), unset, &mut params);
        params.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn what_is_not_changed_is_said_again() {
        let whole = json!({"cidr": "192.0.2.1/24", "address": "192.0.2.1", "netmask": "24", "comment": ""});
        assert_eq!(kept(whole.clone(), &[("mtu", "9000")], &[]), "mtu=9000 cidr=192.0.2.1/24");
        assert_eq!(kept(whole.clone(), &[("cidr", "192.0.2.2/24")], &[]), "cidr=192.0.2.2/24");
        assert_eq!(kept(whole.clone(), &[("address", "192.0.2.2")], &[]), "address=192.0.2.2 netmask=24");
        assert_eq!(kept(whole.clone(), &[], &["cidr"]), "");
        assert_eq!(kept(whole, &[], &["address"]), "");
        let parts = json!({"address": "192.0.2.1", "netmask": "24", "comment": "here"});
        assert_eq!(kept(parts, &[], &[]), "address=192.0.2.1 netmask=24 comment=here");
    }

    #[test]
    fn bits_are_a_mask() {
        for (bits, mask) in [("24", "255.255.255.0"), ("0", "0.0.0.0"), ("32", "255.255.255.255"), ("x", "x")] {
            let mut params = Params::new().with("netmask", bits);
            dotted(&mut params);
            assert_eq!(params.get("netmask"), Some(mask));
        }
    }

    #[test]
    fn what_counts_is_unset_by_its_default() {
        let schema = |value: Value| serde_json::from_value::<Schema>(value).unwrap();
        assert_eq!(unset_value(Some(&schema(json!({"type": "integer"})))), "0");
        assert_eq!(unset_value(Some(&schema(json!({"type": "boolean", "default": 1})))), "1");
        assert_eq!(unset_value(Some(&schema(json!({"type": "integer", "default": "same as user"})))), "0");
        assert_eq!(unset_value(Some(&schema(json!({"type": "string", "default": "x"})))), "");
    }
}
