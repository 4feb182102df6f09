//! PVE's patterns, which are Perl regular expressions, as Rust's.
//!
//! Only the spellings that occur in the description are translated; a pattern that cannot be lets everything pass.

use regex_lite::Regex;

/// How Perl writes compiled groups, the zero byte and open ranges, and how Rust does.
const SPELLINGS: &[(&str, &str)] =
    &[("(?^:", "(?:"), ("(?^u:", "(?:"), ("(?^i:", "(?i:"), ("\\0", "\\x00"), ("{,", "{0,")];

/// Whether the whole value matches.
pub(super) fn matches(pattern: &str, value: &str) -> bool {
    compiled(pattern).is_none_or(|regex| regex.is_match(value))
}

/// The pattern between anchors, without a group around it: that is how the server does it too, `|` included.
pub(super) fn compiled(pattern: &str) -> Option<Regex> {
    let translated = SPELLINGS.iter().fold(pattern.to_owned(), |text, (perl, rust)| text.replace(perl, rust));
    Regex::new(&format!("^{translated}$")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::{Schema, embedded};

    fn collect(schema: &'static Schema, into: &mut Vec<&'static str>) {
        into.extend(schema.pattern.as_deref());
        schema.keys().into_iter().flatten().for_each(|(_, inner)| collect(inner, into));
        schema.items.iter().for_each(|inner| collect(inner, into));
    }

    #[test]
    fn every_pattern_of_the_description_can_be_used() {
        let mut patterns = Vec::new();
        for endpoint in embedded().endpoints() {
            endpoint.parameters.properties.values().for_each(|schema| collect(schema, &mut patterns));
        }
        patterns.sort_unstable();
        patterns.dedup();
        assert!(patterns.len() > 60, "{}", patterns.len());
        let unusable: Vec<_> = patterns.into_iter().filter(|pattern| compiled(pattern).is_none()).collect();
        assert_eq!(unusable, Vec::<&str>::new());
    }

    #[test]
    fn perl_groups_and_flags_are_read() {
        let tags = r"(?^i:[a-z0-9_][a-z0-9_\-\+\.]*)(?:;(?^i:[a-z0-9_][a-z0-9_\-\+\.]*))*";
        assert!(matches(tags, "App.web;b") && !matches(tags, "a b"));
    }
}
