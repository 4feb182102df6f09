//! Property strings: one value that carries several (`virtio=BC:24:…,bridge=vmbr0,tag=20`).
//!
//! Keeps order and spelling, so what is read is printed back unchanged. It knows no schema: which keys a `net0` may
//! have is in the contract.

use std::{fmt, str::FromStr};

/// A list of `key=value` parts; a part without a key is the default key's value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PropertyString {
    parts: Vec<(Option<String>, String)>,
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

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.parts.iter().find(|(k, _)| k.as_deref() == Some(key)).map(|(_, v)| v.as_str())
    }

    /// The value that stands without a key: a disk's volume, a CPU's model.
    pub fn bare(&self) -> Option<&str> {
        self.parts.iter().find(|(k, _)| k.is_none()).map(|(_, v)| v.as_str())
    }

    /// The value of a key, or else the bare one: for a schema's default key, which may be written either way.
    pub fn get_or_bare(&self, key: &str) -> Option<&str> {
        self.get(key).or_else(|| self.bare())
    }

    /// Replaces the value of a key where it stands, or adds it at the end.
    pub fn set(&mut self, key: &str, value: impl Into<String>) -> &mut Self {
        let value = value.into();
        match self.parts.iter_mut().find(|(k, _)| k.as_deref() == Some(key)) {
            Some(part) => part.1 = value,
            None => self.parts.push((Some(key.to_owned()), value)),
        }
        self
    }

    /// Replaces the bare value, or puts it first.
    pub fn set_bare(&mut self, value: impl Into<String>) -> &mut Self {
        let value = value.into();
        match self.parts.iter_mut().find(|(k, _)| k.is_none()) {
            Some(part) => part.1 = value,
            None => self.parts.insert(0, (None, value)),
        }
        self
    }

    /// Takes a key away and gives its value.
    pub fn remove(&mut self, key: &str) -> Option<String> {
        let at = self.parts.iter().position(|(k, _)| k.as_deref() == Some(key))?;
        Some(self.parts.remove(at).1)
    }

    /// The parts in order; a bare part has no key.
    pub fn iter(&self) -> impl Iterator<Item = (Option<&str>, &str)> {
        self.parts.iter().map(|(k, v)| (k.as_deref(), v.as_str()))
    }
}

impl FromStr for PropertyString {
    type Err = PropertyStringError;

    fn from_str(text: &str) -> Result<Self, PropertyStringError> {
        let mut parts: Vec<(Option<String>, String)> = Vec::new();
        for (index, part) in text.split(',').enumerate() {
            let part = part.trim();
            let (key, value) = match part.split_once('=') {
                Some((key, value)) => (Some(key.trim()), value.trim()),
                None => (None, part),
            };
            if key == Some("") || (key.is_none() && value.is_empty()) {
                return Err(PropertyStringError::EmptyPart { text: text.to_owned(), position: index + 1 });
            }
            if key.is_some() && parts.iter().any(|(have, _)| have.as_deref() == key) {
                let key = key.unwrap_or_default().to_owned();
                return Err(PropertyStringError::Duplicate { text: text.to_owned(), key });
            }
            parts.push((key.map(str::to_owned), value.to_owned()));
        }
        Ok(Self { parts })
    }
}

impl fmt::Display for PropertyString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (key, value)) in self.parts.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            match key {
                Some(key) => write!(f, "{comma}{key}={value}")?,
                None => write!(f, "{comma}{value}")?,
            }
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

    proptest! {
        #[test]
        fn what_is_read_is_printed_back(parts in proptest::collection::btree_map("[a-z][a-z0-9-]{0,8}", "[A-Za-z0-9:/._=-]{0,12}", 1..6)) {
            let text = parts.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join(",");
            let read: PropertyString = text.parse().unwrap();
            prop_assert_eq!(read.to_string(), text);
        }
    }
}
