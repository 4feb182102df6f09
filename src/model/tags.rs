//! A guest's tags: a set of words that Proxmox keeps in one string.
//!
//! Labels are tags too: the label `app=web` is the tag `app.web`.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The tags in the order the server gave them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tags(Vec<String>);

impl Tags {
    /// Splits a tag string at `;`, `,` and spaces, as the server does; empty pieces vanish.
    pub fn parse(text: &str) -> Self {
        Self(text.split([';', ',', ' ']).filter(|tag| !tag.is_empty()).map(str::to_owned).collect())
    }

    /// Whether this very tag is there.
    pub fn contains(&self, tag: &str) -> bool {
        self.0.iter().any(|have| have == tag)
    }

    /// The tags one by one.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<&str> for Tags {
    fn from(text: &str) -> Self {
        Self::parse(text)
    }
}

impl fmt::Display for Tags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(";"))
    }
}

impl Serialize for Tags {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Tags {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::<String>::deserialize(deserializer)?.map_or_else(Self::default, |text| Self::parse(&text)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn survives_a_round_trip(tags in proptest::collection::vec("[a-z0-9_][a-z0-9_+.-]{0,8}", 0..6), between in "[;, ]{1,2}") {
            let read = Tags::parse(&tags.join(&between));
            prop_assert_eq!(read.iter().collect::<Vec<_>>(), tags);
            prop_assert_eq!(&Tags::parse(&read.to_string()), &read);
            prop_assert_eq!(&serde_json::from_value::<Tags>(serde_json::to_value(&read).unwrap()).unwrap(), &read);
        }
    }
}
