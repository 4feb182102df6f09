//! Label selectors as kubectl has them: `app=web,tier!=db,env in (prod,test),!old`.
//!
//! Labels are tags: the label `app=web` is the tag `app.web`, split at the first dot; a tag without a dot is a label
//! without a value. A guest may have a label twice, with two values.

use std::{fmt, str::FromStr};

use super::scan::Scanner;
use crate::model::{Error, Hint, Result, Tags};

/// What a label must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LabelTest {
    /// `app=web`, `app==web`, `app in (web,db)`: one of these values.
    In(Vec<String>),
    /// `app!=web`, `app notin (web,db)`: none of these values; also where the label is absent.
    NotIn(Vec<String>),
    /// `app`: there, with whatever value.
    Exists,
    /// `!app`: absent.
    Absent,
}

/// A label and what it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    /// The label's name, without a dot.
    pub key: String,
    /// What it must be.
    pub test: LabelTest,
}

/// Requirements that must all be met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelSelector(Vec<Requirement>);

impl LabelSelector {
    /// The requirements, of which there is at least one.
    pub fn requirements(&self) -> &[Requirement] {
        &self.0
    }

    /// Whether a guest with these tags is meant.
    pub fn matches(&self, tags: &Tags) -> bool {
        self.0.iter().all(|requirement| requirement.is_met(tags))
    }
}

impl Requirement {
    fn is_met(&self, tags: &Tags) -> bool {
        let values = || tags.iter().map(split).filter(|(key, _)| *key == self.key).map(|(_, value)| value);
        let any_of = |wanted: &[String]| values().any(|value| wanted.iter().any(|wanted| wanted == value));
        match &self.test {
            LabelTest::In(wanted) => any_of(wanted),
            LabelTest::NotIn(unwanted) => !any_of(unwanted),
            LabelTest::Exists => values().next().is_some(),
            LabelTest::Absent => values().next().is_none(),
        }
    }
}

/// A tag as a label: its name, and its value or nothing.
fn split(tag: &str) -> (&str, &str) {
    tag.split_once('.').unwrap_or((tag, ""))
}

fn in_key(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '+')
}

fn in_value(c: char) -> bool {
    in_key(c) || c == '.'
}

/// Reads a label's name.
fn key(scanner: &mut Scanner) -> Result<String> {
    let before = scanner.clone();
    let word = scanner.take(in_value);
    match split(word) {
        ("", _) => Err(before.expected("a label's name")),
        (name, "") if name == word => Ok(word.to_owned()),
        (name, value) => {
            let error = before.wrong_at(before.at(), &format!("a label's name has no dot, and `{word}` has one"));
            Err(error.with_hint(Hint::Text(format!("the tag `{word}` is the label {name}={value}"))))
        }
    }
}

/// Reads what stands behind a name.
fn test(scanner: &mut Scanner) -> Result<LabelTest> {
    scanner.blanks();
    let negated = match scanner.peek() {
        None | Some(',') => return Ok(LabelTest::Exists),
        Some('=') => {
            scanner.next();
            scanner.eat("=");
            scanner.blanks();
            return Ok(LabelTest::In(vec![scanner.take(in_value).to_owned()]));
        }
        Some('!') => {
            scanner.next();
            if !scanner.eat("=") {
                return Err(scanner.expected("`=`"));
            }
            scanner.blanks();
            return Ok(LabelTest::NotIn(vec![scanner.take(in_value).to_owned()]));
        }
        Some(_) => {
            let before = scanner.clone();
            match scanner.take(in_key) {
                "in" => false,
                "notin" => true,
                _ => return Err(before.expected("one of =, ==, !=, in, notin, or a comma")),
            }
        }
    };
    scanner.blanks();
    if !scanner.eat("(") {
        return Err(scanner.expected("`(`"));
    }
    let mut values = Vec::new();
    loop {
        scanner.blanks();
        values.push(scanner.take(in_value).to_owned());
        scanner.blanks();
        if scanner.eat(")") {
            return Ok(if negated { LabelTest::NotIn(values) } else { LabelTest::In(values) });
        }
        if !scanner.eat(",") {
            return Err(scanner.expected("`,` or `)`"));
        }
    }
}

impl FromStr for LabelSelector {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut scanner = Scanner::new("a label selector", text);
        let mut requirements = Vec::new();
        loop {
            scanner.blanks();
            let absent = scanner.eat("!");
            scanner.blanks();
            let key = key(&mut scanner)?;
            let test = if absent { LabelTest::Absent } else { test(&mut scanner)? };
            requirements.push(Requirement { key, test });
            scanner.blanks();
            if scanner.is_done() {
                return Ok(Self(requirements));
            }
            if !scanner.eat(",") {
                return Err(scanner.expected("`,` or the end"));
            }
        }
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = &self.key;
        match &self.test {
            LabelTest::Exists => write!(f, "{key}"),
            LabelTest::Absent => write!(f, "!{key}"),
            LabelTest::In(values) => match values.as_slice() {
                [one] => write!(f, "{key}={one}"),
                several => write!(f, "{key} in ({})", several.join(",")),
            },
            LabelTest::NotIn(values) => match values.as_slice() {
                [one] => write!(f, "{key}!={one}"),
                several => write!(f, "{key} notin ({})", several.join(",")),
            },
        }
    }
}

impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, requirement) in self.0.iter().enumerate() {
            write!(f, "{}{requirement}", if at == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn labels_are_tags() {
        let tags = Tags::parse("app.web;tier.front;v.1.2;plain;app.two");
        let matches = |selector: &str| selector.parse::<LabelSelector>().unwrap().matches(&tags);
        for yes in [
            "app=web",
            "app==web",
            "app = two",
            "app",
            "plain",
            "plain=",
            "!none",
            "none!=x",
            "none notin (x,y)",
            "v=1.2",
            "app in (db, web)",
            "tier!=db,app=web, !old",
            "tier notin (db)",
            "in!=x",
            "plain in (,x)",
        ] {
            assert!(matches(yes), "{yes}");
        }
        for no in [
            "app=db",
            "app!=web",
            "app notin (two)",
            "!app",
            "none",
            "none=",
            "plain=x",
            "v=1",
            "app=web,none",
            "App=web",
        ] {
            assert!(!matches(no), "{no}");
        }
    }

    #[test]
    fn errors_name_the_place() {
        let error = |text: &str| text.parse::<LabelSelector>().unwrap_err();
        for (text, said) in [
            ("", "`` is not a label selector, at its end: a label's name is expected"),
            ("app=web,", "`app=web,` is not a label selector, at its end: a label's name is expected"),
            ("env in (a", "`env in (a` is not a label selector, at its end: `,` or `)` is expected"),
            ("env in a", "`env in a` is not a label selector, at character 8: `(` is expected"),
            ("app=ü", "`app=ü` is not a label selector, at character 5: `,` or the end is expected"),
            ("ü=a", "`ü=a` is not a label selector, at character 1: a label's name is expected"),
            (
                "app web",
                "`app web` is not a label selector, at character 5: one of =, ==, !=, in, notin, or a comma is expected",
            ),
            ("app!web", "`app!web` is not a label selector, at character 5: `=` is expected"),
            ("!app=web", "`!app=web` is not a label selector, at character 5: `,` or the end is expected"),
            (
                "a,app.web",
                "`a,app.web` is not a label selector, at character 3: a label's name has no dot, and `app.web` has one",
            ),
        ] {
            assert_eq!(error(text).to_string(), said);
        }
        assert_eq!(error("app.web").hints(), [Hint::Text("the tag `app.web` is the label app=web".into())]);
    }

    fn requirement() -> impl Strategy<Value = Requirement> {
        let values = prop::collection::vec("[ab.]{0,2}", 1..3);
        let test = prop_oneof![
            values.clone().prop_map(LabelTest::In),
            values.prop_map(LabelTest::NotIn),
            Just(LabelTest::Exists),
            Just(LabelTest::Absent),
        ];
        ("[xy]|in|notin", test).prop_map(|(key, test)| Requirement { key, test })
    }

    proptest! {
        #[test]
        fn reads_back_what_it_prints(requirements in prop::collection::vec(requirement(), 1..4)) {
            let selector = LabelSelector(requirements);
            prop_assert_eq!(selector.to_string().parse::<LabelSelector>().unwrap(), selector);
        }

        /// The naive model: all labels of all tags in a list, and each rule in one line.
        #[test]
        fn means_what_the_rules_say(
            requirements in prop::collection::vec(requirement(), 1..4),
            tags in prop::collection::vec("[xy](\\.[ab.]{0,2})?", 0..4),
        ) {
            let labels: Vec<(String, String)> = tags
                .iter()
                .map(|tag| match tag.find('.') {
                    Some(at) => (tag[..at].to_owned(), tag[at + 1..].to_owned()),
                    None => (tag.clone(), String::new()),
                })
                .collect();
            let has = |key: &str| labels.iter().any(|(have, _)| have == key);
            let is = |key: &str, value: &String| labels.contains(&(key.to_owned(), value.clone()));
            let wanted = requirements.iter().all(|Requirement { key, test }| match test {
                LabelTest::In(values) => values.iter().any(|value| is(key, value)),
                LabelTest::NotIn(values) => values.iter().all(|value| !is(key, value)),
                LabelTest::Exists => has(key),
                LabelTest::Absent => !has(key),
            });
            prop_assert_eq!(LabelSelector(requirements).matches(&Tags::parse(&tags.join(";"))), wanted);
        }
    }
}
