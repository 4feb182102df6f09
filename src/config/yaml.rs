//! YAML in and out: the one module of `config` that knows the parser.
//!
//! Strict: duplicate keys, unknown keys and `yes` for `true` are flaws.

use serde::{Serialize, de::DeserializeOwned};
use serde_yaml::{
    DuplicateKeyPolicy, Error as YamlError, MessageFormatter, UserMessageFormatter, from_str_with_options,
};

use super::close_names;
use crate::model::{Class, Error, Hint, Result};

/// What is wrong with a text, and where.
pub(super) struct Flaw {
    /// Line, counted from one; 0 if unknown.
    pub(super) line: u64,
    /// Column, counted from one; 0 if unknown.
    pub(super) column: u64,
    /// What is wrong. May repeat a value of the text: not to be shown for a file of secrets.
    pub(super) message: String,
    /// The key that is not known, and close ones that are.
    pub(super) unknown_key: Option<(String, Vec<String>)>,
}

/// Reads one document; an empty one is the default.
pub(super) fn parse<T: DeserializeOwned + Default>(text: &str) -> Result<T, Box<Flaw>> {
    let options = serde_yaml::options! {
        strict_booleans: true,
        duplicate_keys: DuplicateKeyPolicy::Error,
        with_snippet: false,
    };
    from_str_with_options::<Option<T>>(text, options).map(Option::unwrap_or_default).map_err(|error| flaw(&error))
}

fn flaw(error: &YamlError) -> Box<Flaw> {
    let error = error.without_snippet();
    let (line, column) = error.location().map_or((0, 0), |location| (location.line(), location.column()));
    let unknown_key = match error {
        YamlError::SerdeUnknownField { field, expected, .. } => {
            Some((field.clone(), close_names(field, expected.iter().copied())))
        }
        _ => None,
    };
    let message = match error {
        YamlError::SerdeUnknownField { field, .. } => format!("unknown key `{field}`"),
        YamlError::Unexpected { expected: "mapping start", .. } => "keys with values were expected here".to_owned(),
        YamlError::Unexpected { expected: "sequence start", .. } => "a list was expected here".to_owned(),
        _ => UserMessageFormatter.format_message(error).into_owned(),
    };
    Box::new(Flaw { line, column, message, unknown_key })
}

impl Flaw {
    /// As an error about this file, with the message.
    pub(super) fn in_file(self, path: &std::path::Path) -> Error {
        let error = Error::usage(format!("{}: {}", self.place(path), self.message));
        match self.unknown_key {
            Some((_, close)) if !close.is_empty() => error.with_hint(Hint::DidYouMean(close)),
            _ => error,
        }
    }

    /// `config.yaml`, line 3, column 7.
    pub(super) fn place(&self, path: &std::path::Path) -> String {
        match self.line {
            0 => format!("`{}`", path.display()),
            line => format!("`{}`, line {line}, column {}", path.display(), self.column),
        }
    }
}

/// Writes one document.
pub(super) fn print<T: Serialize>(value: &T) -> Result<String> {
    // No cause: it could repeat a value, and the value may be a secret.
    let options = serde_yaml::ser_options! { prefer_block_scalars: false };
    serde_yaml::to_string_with_options(value, options)
        .map_err(|_| Error::new(Class::Bug, "our own data cannot be written as YAML"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[derive(Debug, Default, serde::Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "kebab-case")]
    struct Point {
        left: Option<u32>,
        flipped: Option<bool>,
    }

    #[test]
    fn flaws_have_a_place() {
        let flaw = parse::<Point>("left: 1\nleff: 2\n").unwrap_err();
        assert_eq!((flaw.line, flaw.column), (2, 1));
        assert_eq!(flaw.unknown_key, Some(("leff".to_owned(), vec!["left".to_owned()])));
        let flaw = parse::<Point>("left: 1\n  : [x\n").unwrap_err();
        assert!(flaw.line > 0, "{}", flaw.message);
        assert_eq!(parse::<Point>("left: 1\nleft: 2\n").unwrap_err().line, 2);
        assert!(parse::<Point>("flipped: yes\n").is_err());
        assert_eq!(parse::<Point>("flipped: true\n").map_err(|flaw| flaw.message).unwrap().flipped, Some(true));
    }

    #[test]
    fn an_empty_document_is_the_default() {
        for text in ["", "\n", "# nothing yet\n", "---\n"] {
            assert!(parse::<Point>(text).is_ok_and(|point| point.left.is_none()), "{text:?}");
        }
    }

    #[test]
    fn awkward_texts_come_back() {
        let awkward =
            ["no", "0123", "1e3", "two\nlines\n", "a: b", "# x", "", " x ", "null", "root@pam!ci", "AB:CD", "ü"];
        let map: BTreeMap<String, String> = awkward.iter().map(|text| (format!("k{text}"), (*text).into())).collect();
        let text = print(&map).unwrap();
        assert_eq!(parse::<BTreeMap<String, String>>(&text).map_err(|flaw| flaw.message).unwrap(), map, "{text}");
    }
}
