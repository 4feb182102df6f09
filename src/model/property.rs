//! Property strings: one value that carries several (`virtio=BC:24:…,bridge=vmbr0,tag=20`).
//!
//! Keeps order and spelling, so what is read is printed back unchanged. It knows no schema: which keys a `net0` may
//! have is in the contract.

use std::{fmt, str::FromStr};

/// A list of `key=value` parts; a part without a key is the default key's value. Parts are kept as they were written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PropertyString {
    parts: Vec<String>,
}

/// Why a text is not a property string.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PropertyStringError {
    /// Nothing stands between two commas, or before the `=`.
    #[error(
        "part {position} of `{text}` is empty: parts of the form key=value, with commas between them, are expected"
    )]
    EmptyPart {
        /// The whole text.
        text: String,
        /// Which part, counted from one.
        position: usize,
    },
    /// A key stands twice.
    #[error("`{key}` stands twice in `{text}`")]
    Duplicate {
        /// The whole text.
        text: String,
        /// The key.
        key: String,
    },
}

impl PropertyString {
    /// An empty one, to be filled with [`set`](Self::set).
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads what a server has stored, to the byte. Nothing is refused: what is no part says nothing, and of a key that
    /// stands twice the first counts. What a person typed is better [parsed](str::parse), which is strict.
    pub fn lenient(text: &str) -> Self {
        let parts = if text.is_empty() { Vec::new() } else { text.split(',').map(str::to_owned).collect() };
        Self { parts }
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.iter().find(|(have, _)| *have == Some(key)).map(|(_, value)| value)
    }

    /// The value that stands without a key: a disk's volume, a CPU's model.
    pub fn bare(&self) -> Option<&str> {
        self.iter().find(|(key, _)| key.is_none()).map(|(_, value)| value)
    }

    /// The value of a key, or else the bare one: for a schema's default key, which may be written either way.
    pub fn get_or_bare(&self, key: &str) -> Option<&str> {
        self.get(key).or_else(|| self.bare())
    }

    /// The volume that a disk of a guest names: `file`, which may stand bare, or `volume`.
    pub fn volume(&self) -> Option<&str> {
        self.get_or_bare("file").or_else(|| self.get("volume"))
    }

    /// Replaces the value of a key where it stands, or adds it at the end.
    pub fn set(&mut self, key: &str, value: impl AsRef<str>) -> &mut Self {
        let at = self.position(|have, _| have == Some(key));
        self.put(at, Some(key), value.as_ref())
    }

    /// Replaces the bare value, or puts it first.
    pub fn set_bare(&mut self, value: impl AsRef<str>) -> &mut Self {
        match self.position(|key, _| key.is_none()) {
            None => self.parts.insert(0, value.as_ref().to_owned()),
            at => drop(self.put(at, None, value.as_ref())),
        }
        self
    }

    /// Takes a key away and gives its value.
    pub fn remove(&mut self, key: &str) -> Option<String> {
        let at = self.position(|have, _| have == Some(key))?;
        let part = self.parts.remove(at);
        Some(split(&part).1.to_owned())
    }

    /// The parts in order; a bare part has no key. Empty parts are passed over.
    pub fn iter(&self) -> impl Iterator<Item = (Option<&str>, &str)> {
        self.parts.iter().map(|part| split(part)).filter(|(key, value)| key.is_some() || !value.is_empty())
    }

    /// Where the first part stands that is wanted, empty ones not counted in.
    pub(super) fn position(&self, wanted: impl Fn(Option<&str>, &str) -> bool) -> Option<usize> {
        self.parts.iter().position(|part| {
            let (key, value) = split(part);
            (key.is_some() || !value.is_empty()) && wanted(key, value)
        })
    }

    /// The part at a [`position`](Self::position).
    pub(super) fn part(&self, at: usize) -> (Option<&str>, &str) {
        self.parts.get(at).map_or((None, ""), |part| split(part))
    }

    /// Writes a part over the one at a position, or at the end.
    pub(super) fn put(&mut self, at: Option<usize>, key: Option<&str>, value: &str) -> &mut Self {
        let part = match key {
            Some(key) => format!("{key}={value}"),
            None => value.to_owned(),
        };
        match at.and_then(|at| self.parts.get_mut(at)) {
            Some(old) => *old = part,
            None => self.parts.push(part),
        }
        self
    }

    /// Writes a part before the one at a position.
    pub(super) fn insert(&mut self, at: usize, key: &str, value: &str) {
        self.parts.insert(at, format!("{key}={value}"));
    }

    /// Takes the part at a position away.
    pub(super) fn take(&mut self, at: usize) {
        drop(self.parts.remove(at));
    }
}

/// Key and value of a part, without the spaces around them.
fn split(part: &str) -> (Option<&str>, &str) {
    match part.split_once('=') {
        Some((key, value)) => (Some(key.trim()), value.trim()),
        None => (None, part.trim()),
    }
}

impl FromStr for PropertyString {
    type Err = PropertyStringError;

    fn from_str(text: &str) -> Result<Self, PropertyStringError> {
        let parts: Vec<String> = text.split(',').map(str::to_owned).collect();
        for (index, part) in parts.iter().enumerate() {
            let (key, value) = split(part);
            if key == Some("") || (key.is_none() && value.is_empty()) {
                return Err(PropertyStringError::EmptyPart { text: text.to_owned(), position: index + 1 });
            }
            if let Some(key) = key.filter(|key| parts[..index].iter().any(|have| split(have).0 == Some(*key))) {
                return Err(PropertyStringError::Duplicate { text: text.to_owned(), key: key.to_owned() });
            }
        }
        Ok(Self { parts })
    }
}

impl fmt::Display for PropertyString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, part) in self.parts.iter().enumerate() {
            write!(f, "{}{part}", if index == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_a_disk_and_prints_it_back() {
        let text = "local-lvm:vm-100-disk-0,discard=on,size=32G";
        let mut disk: PropertyString = text.parse().unwrap();
        assert_eq!(disk.bare(), Some("local-lvm:vm-100-disk-0"));
        assert_eq!(disk.get("size"), Some("32G"));
        assert_eq!(disk.get_or_bare("file"), Some("local-lvm:vm-100-disk-0"));
        assert_eq!(disk.to_string(), text);
        disk.set("size", "64G");
        assert_eq!(disk.remove("discard").as_deref(), Some("on"));
        assert_eq!(disk.to_string(), "local-lvm:vm-100-disk-0,size=64G");
    }

    #[test]
    fn names_the_part_that_is_wrong() {
        let error = |text: &str| text.parse::<PropertyString>().unwrap_err().to_string();
        assert!(error("a=1,,b=2").contains("part 2"));
        assert!(error("=1").contains("part 1"));
        assert!(error("").contains("part 1"));
        assert!(error("a=1,a=2").contains("`a` stands twice"));
    }

    #[test]
    fn what_a_server_stored_is_printed_back_to_the_byte() {
        for text in [" ", "", "a=1, b = 2 ,", ",,", "virtio,virtio", "a=1,a=2", "x==,=y"] {
            assert_eq!(PropertyString::lenient(text).to_string(), text);
        }
        let mut loose = PropertyString::lenient("a=1, b = 2 ,");
        assert_eq!(loose.iter().collect::<Vec<_>>(), [(Some("a"), "1"), (Some("b"), "2")]);
        assert_eq!(loose.set("b", "3").set("c", "4").to_string(), "a=1,b=3,,c=4");
    }

    proptest! {
        #[test]
        fn what_is_read_is_printed_back(text in "[a-z]{1,3}=?[ A-Za-z0-9:/._=-]{0,12}(,[ a-z0-9-]{1,4}=[A-Za-z0-9:/._ =-]{0,12}){0,5}") {
            prop_assert_eq!(PropertyString::lenient(&text).to_string(), &*text);
            if let Ok(read) = text.parse::<PropertyString>() {
                prop_assert_eq!(read.to_string(), text);
            }
        }

        #[test]
        fn a_change_touches_one_part(parts in proptest::collection::btree_map("[a-z][a-z0-9-]{0,8}", "[A-Za-z0-9:/._=-]{0,12}", 1..6), pick: proptest::sample::Index, value in "[a-z0-9]{1,6}") {
            let print = |parts: &std::collections::BTreeMap<String, String>| {
                parts.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join(",")
            };
            let mut read: PropertyString = print(&parts).parse().unwrap();
            let key = parts.keys().nth(pick.index(parts.len())).unwrap().clone();
            let mut want = parts;
            want.insert(key.clone(), value.clone());
            prop_assert_eq!(read.set(&key, &value).to_string(), print(&want));
            want.remove(&key);
            prop_assert_eq!(read.remove(&key), Some(value));
            prop_assert_eq!(read.to_string(), print(&want));
        }
    }
}
