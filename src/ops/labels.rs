//! Changes of single labels, which Proxmox keeps as tags: `app=web` is the tag `app.web`, `app` the tag `app`.
//!
//! Which guests have a label is asked elsewhere.

use std::str::FromStr;

use crate::model::{Error, Hint, Result, Tags};

/// A label to be set or taken away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LabelChange {
    /// `app=web`, or `app` for a label without a value.
    Set(String, Option<String>),
    /// `app-`: whatever its value.
    Remove(String),
}

impl LabelChange {
    /// Tags with the change made, the others left as they are.
    pub(super) fn apply(&self, tags: &Tags) -> Tags {
        let (Self::Set(label, _) | Self::Remove(label)) = self;
        let is_it = |tag: &str| tag == label || tag.strip_prefix(label).is_some_and(|rest| rest.starts_with('.'));
        let wanted = match self {
            Self::Set(label, Some(value)) => Some(format!("{label}.{value}")),
            Self::Set(label, None) => Some(label.clone()),
            Self::Remove(_) => None,
        };
        // A label that only changes its value stays in its place.
        let mut wanted = wanted;
        let mut kept: Vec<String> = Vec::new();
        for tag in tags.iter() {
            if is_it(tag) { kept.extend(wanted.take()) } else { kept.push(tag.to_owned()) }
        }
        kept.extend(wanted);
        Tags::parse(&kept.join(";"))
    }
}

impl FromStr for LabelChange {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = |why: &str| {
            Err(Error::usage(format!("`{text}` is no label: {why}")).with_hint(Hint::Text(
                "a label is NAME=VALUE or NAME, and NAME- takes it away; letters, digits, - _ + stand in both".into(),
            )))
        };
        let (label, value) = text.split_once('=').map_or((text, None), |(label, value)| (label, Some(value)));
        let inside = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '+');
        let is_word = |word: &str| word.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
        let removed = value.is_none().then(|| label.strip_suffix('-')).flatten();
        let label = removed.unwrap_or(label);
        if label.contains('.') {
            return wrong("the point stands between name and value in Proxmox's tags, so a name has none");
        }
        if !is_word(label) || !label.chars().all(inside) {
            return wrong("its name does not fit into a tag");
        }
        match value {
            None if removed.is_some() => Ok(Self::Remove(label.to_owned())),
            None => Ok(Self::Set(label.to_owned(), None)),
            Some("") => wrong("its value is empty"),
            Some(value) if value.chars().all(|c| inside(c) || c == '.') => {
                Ok(Self::Set(label.to_owned(), Some(value.to_owned())))
            }
            Some(_) => wrong("its value does not fit into a tag"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_label_changes_and_the_others_stay() {
        for (tags, change, want) in [
            ("", "app=web", "app.web"),
            ("a;app.db;z", "app=web", "a;app.web;z"),
            ("app;app.db;application", "app=web", "app.web;application"),
            ("app.web;b", "app-", "b"),
            ("app;b", "app-", "b"),
            ("b", "app", "b;app"),
            ("b;app.web", "app", "b;app"),
            ("b", "app-", "b"),
            ("b", "version=1.2", "b;version.1.2"),
        ] {
            let change: LabelChange = change.parse().unwrap();
            assert_eq!(change.apply(&Tags::parse(tags)).to_string(), want, "{tags} {change:?}");
        }
        for bad in ["", "=", "=web", "app=", "a b=c", "app=a;b", "a.b=c", "-", "äpp=x"] {
            assert!(bad.parse::<LabelChange>().is_err(), "{bad}");
        }
    }
}
