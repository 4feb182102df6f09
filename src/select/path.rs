//! The way to a field in nested data: `node`, `config.net0`, `steps[0].verdict`. It selects one value, never several.

use std::{fmt, str::FromStr};

use serde_json::Value;

use super::scan::{Scanner, escape};
use crate::model::{Error, Result};

/// The way to a field, key by key; in an array a key is an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldPath(Vec<String>);

/// What ends a key.
const ENDS: &[char] = &['.', '[', ']', '=', '!', '<', '>', ','];

impl FieldPath {
    /// The way to a field that lies open.
    pub fn key(name: impl Into<String>) -> Self {
        Self(vec![name.into()])
    }

    /// The keys, of which there is at least one.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// The key in the data itself.
    pub fn first(&self) -> &str {
        self.0.first().map_or("", String::as_str)
    }

    /// The key of the value.
    pub fn last(&self) -> &str {
        self.0.last().map_or("", String::as_str)
    }

    /// Whether the field lies open in the data.
    pub fn is_open(&self) -> bool {
        self.0.len() == 1
    }

    /// The value it leads to; `None` where there is none, or `null`.
    pub fn get<'a>(&self, data: &'a Value) -> Option<&'a Value> {
        let found = self.0.iter().try_fold(data, |data, key| match data {
            Value::Array(items) => items.get(key.parse::<usize>().ok()?),
            other => other.get(key),
        });
        found.filter(|value| !value.is_null())
    }

    /// Reads a path up to what cannot be part of it.
    pub(super) fn scan(scanner: &mut Scanner) -> Result<Self> {
        scanner.blanks();
        let dotted = scanner.eat(".");
        let quoted = !dotted && scanner.peek() == Some('[');
        let mut keys = if quoted { Vec::new() } else { vec![name(scanner)?] };
        loop {
            if scanner.eat(".") {
                keys.push(name(scanner)?);
            } else if scanner.eat("[") {
                let quote = scanner.peek().filter(|c| matches!(c, '\'' | '"'));
                match quote {
                    Some(quote) => {
                        scanner.next();
                        keys.push(scanner.take(|c| c != quote).to_owned());
                        scanner.next().ok_or_else(|| scanner.expected(&format!("`{quote}`")))?;
                    }
                    None => match scanner.take(|c| c.is_ascii_digit()) {
                        "" => return Err(scanner.expected("an index or a quoted name")),
                        index => keys.push(index.to_owned()),
                    },
                }
                if !scanner.eat("]") {
                    return Err(scanner.expected("`]`"));
                }
            } else {
                scanner.blanks();
                return Ok(Self(keys));
            }
        }
    }
}

fn name(scanner: &mut Scanner) -> Result<String> {
    let before = scanner.clone();
    match scanner.escaped(ENDS)? {
        empty if empty.is_empty() => Err(before.expected("a field's name")),
        name => Ok(name),
    }
}

impl FromStr for FieldPath {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut scanner = Scanner::new("a path to a field", text);
        let path = Self::scan(&mut scanner)?;
        if scanner.is_done() { Ok(path) } else { Err(scanner.expected("`.` or the end")) }
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, key) in self.0.iter().enumerate() {
            match (at, key.is_empty()) {
                // Only possible in quotes.
                (_, true) => f.write_str("['']")?,
                (0, _) if key.starts_with('-') => write!(f, ".{}", escape(key, ENDS))?,
                (0, _) => f.write_str(&escape(key, ENDS))?,
                _ => write!(f, ".{}", escape(key, ENDS))?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn leads_into_objects_and_arrays() {
        let data = json!({"name": "web", "config": {"net0": "x", "a.b": 1}, "steps": [{"n": 1}, {"n": 2}], "no": null});
        let get = |path: &str| path.parse::<FieldPath>().unwrap().get(&data).cloned();
        assert_eq!(get("name"), Some(json!("web")));
        assert_eq!(get(".config.net0"), Some(json!("x")));
        assert_eq!(get(r"config.a\.b"), Some(json!(1)));
        assert_eq!(get("config['a.b']"), Some(json!(1)));
        assert_eq!(get("steps[1].n"), Some(json!(2)));
        assert_eq!(get("steps.0.n"), Some(json!(1)));
        assert_eq!((get("steps[2].n"), get("name.x"), get("no"), get("none")), (None, None, None, None));
    }

    #[test]
    fn errors_name_the_place() {
        let error = |path: &str| path.parse::<FieldPath>().unwrap_err().to_string();
        assert_eq!(error(""), "`` is not a path to a field, at its end: a field's name is expected");
        assert_eq!(error("a..b"), "`a..b` is not a path to a field, at character 3: a field's name is expected");
        assert_eq!(
            error("a[x]"),
            "`a[x]` is not a path to a field, at character 3: an index or a quoted name is expected"
        );
        assert_eq!(error("a[0"), "`a[0` is not a path to a field, at its end: `]` is expected");
        assert_eq!(error("a=b"), "`a=b` is not a path to a field, at character 2: `.` or the end is expected");
    }

    proptest! {
        #[test]
        fn reads_back_what_it_prints(keys in prop::collection::vec(".+", 1..4)) {
            let path = FieldPath(keys);
            prop_assert_eq!(path.to_string().parse::<FieldPath>().unwrap(), path);
        }
    }
}
