//! Parameters as they come over the wire: query, form, JSON.
//!
//! Decoding only; the contract judges them.

use percent_encoding::percent_decode;
use serde_json::Value;

use crate::model::Params;

/// The largest body a real server takes.
pub(super) const LARGEST_BODY: u64 = 512 * 1024;

/// How a body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyKind {
    Form,
    Json,
}

impl BodyKind {
    /// By the `Content-Type`; nothing said is a form.
    pub(super) fn of(content_type: Option<&str>) -> Option<Self> {
        match content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim() {
            "" | "application/x-www-form-urlencoded" => Some(Self::Form),
            "application/json" => Some(Self::Json),
            _ => None,
        }
    }
}

/// Query and body together. What the query says replaces what the body says, and `_dc`, which browsers add against
/// caches, is dropped.
///
/// # Errors
/// What a JSON parser has against the body.
pub(super) fn params(query: &str, body: &[u8], kind: BodyKind) -> Result<Params, String> {
    let query = form(query.as_bytes());
    let body = match kind {
        _ if body.is_empty() => Vec::new(),
        BodyKind::Form => form(body),
        BodyKind::Json => json(body)?,
    };
    let only_body = body.into_iter().filter(|(key, _)| query.iter().all(|(other, _)| other != key)).collect::<Vec<_>>();
    Ok(only_body.into_iter().chain(query).filter(|(key, _)| key != "_dc").collect())
}

/// Pairs separated by `&` or by `;`, which is why a `;` inside a value has to be encoded.
fn form(text: &[u8]) -> Vec<(String, String)> {
    let decode = |text: &[u8]| {
        let spaced: Vec<u8> = text.iter().map(|&byte| if byte == b'+' { b' ' } else { byte }).collect();
        percent_decode(&spaced).decode_utf8_lossy().into_owned()
    };
    let pairs = text.split(|byte| matches!(byte, b'&' | b';')).filter(|pair| !pair.is_empty());
    let split = |pair: &[u8]| match pair.iter().position(|&byte| byte == b'=') {
        Some(at) => (decode(&pair[..at]), decode(&pair[at + 1..])),
        None => (decode(pair), String::new()),
    };
    pairs.map(split).collect()
}

fn json(text: &[u8]) -> Result<Vec<(String, String)>, String> {
    let malformed = |error: serde_json::Error| {
        format!("malformed JSON string, at character offset {} ({error})", error.column().saturating_sub(1))
    };
    let Value::Object(members) = serde_json::from_slice(text).map_err(malformed)? else {
        return Err("malformed JSON string, an object is expected".to_owned());
    };
    let mut pairs = Vec::new();
    for (key, value) in members {
        match value {
            Value::Array(values) => pairs.extend(values.into_iter().filter_map(word).map(|word| (key.clone(), word))),
            single => pairs.extend(word(single).map(|word| (key, word))),
        }
    }
    Ok(pairs)
}

/// A value as it would stand in a form; `null` is as good as absent.
fn word(value: Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::Bool(set) => Some(u8::from(set).to_string()),
        Value::String(text) => Some(text),
        // Perl prints 3.0 as 3, and so does this.
        Value::Number(number) if number.is_f64() => number.as_f64().map(|number| number.to_string()),
        other => Some(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str, body: &str, kind: BodyKind) -> Vec<String> {
        params(query, body.as_bytes(), kind).unwrap().iter().map(|(k, v)| format!("{k}={v}")).collect()
    }

    #[test]
    fn forms_are_split_at_semicolons_too() {
        let read = |body| read("", body, BodyKind::Form);
        assert_eq!(read("a=1&b=x+y%20z%3B&_dc=1&c"), ["a=1", "b=x y z;", "c="]);
        assert_eq!(read("tags=a;b"), ["tags=a", "b="]);
        assert_eq!(read("delete=a&delete=b"), ["delete=a", "delete=b"]);
        assert_eq!(read("description=%C3%A4%E2%82%AC"), ["description=ä€"]);
    }

    #[test]
    fn json_becomes_what_a_form_would_say() {
        let body = r#"{"cores":3.0,"memory":2048,"cpulimit":1.5,"onboot":true,"kvm":false,"name":"a","x":null,"delete":["a","b"]}"#;
        let want = ["cores=3", "memory=2048", "cpulimit=1.5", "onboot=1", "kvm=0", "name=a", "delete=a", "delete=b"];
        assert_eq!(read("", body, BodyKind::Json), want);
        assert!(params("", b"{bad", BodyKind::Json).unwrap_err().contains("offset 1"));
    }

    #[test]
    fn the_query_wins() {
        assert_eq!(read("cores=1", "cores=2&name=b", BodyKind::Form), ["name=b", "cores=1"]);
    }

    proptest::proptest! {
        /// Nothing that anybody sends falls over, and what is said to be wrong is said in words.
        #[test]
        fn whatever_comes_is_read_or_refused(query in ".{0,80}", body in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            for kind in [BodyKind::Form, BodyKind::Json] {
                match params(&query, &body, kind) {
                    Ok(params) => proptest::prop_assert!(params.iter().all(|(key, _)| key != "_dc")),
                    Err(why) => proptest::prop_assert!(why.starts_with("malformed JSON string")),
                }
            }
        }
    }

    #[test]
    fn content_types() {
        assert_eq!(BodyKind::of(None), Some(BodyKind::Form));
        assert_eq!(BodyKind::of(Some("application/json; charset=utf-8")), Some(BodyKind::Json));
        assert_eq!(BodyKind::of(Some("text/plain")), None);
    }
}
