//! How the parts of one property string are found and changed: default key, other names, names that are values.
//!
//! Of types it knows nothing but how to read and write them; which keys there are is in the generated tables.

use super::scalar::Scalar;
use crate::model::{Class, Error, PropertyString, Result};

/// What a property string's schema says of its keys, beside their types.
pub(super) struct Shape {
    /// The type's name, for errors.
    pub(super) name: &'static str,
    /// The key whose value may stand bare; empty for none.
    pub(super) bare: &'static str,
    /// Other names of keys: `volume` of `file`.
    pub(super) aliases: &'static [(&'static str, &'static str)],
    /// Names that are the value of one key and carry that of another: `virtio=MAC` is `model=virtio,macaddr=MAC`.
    pub(super) keyed: &'static [(&'static str, &'static str, &'static str)],
}

/// How a part says what a key is.
#[derive(Clone, Copy, PartialEq)]
enum Says {
    /// By its value.
    Value,
    /// By its name.
    Name,
    /// By its value, under a name that says something else too.
    Under,
}

impl Shape {
    fn says(&self, part: Option<&str>, key: &str) -> Option<Says> {
        let Some(name) = part else { return (self.bare == key).then_some(Says::Value) };
        if name == key || self.aliases.iter().any(|(alias, of)| *alias == name && *of == key) {
            return Some(Says::Value);
        }
        let (_, named, under) = self.keyed.iter().find(|(alias, ..)| *alias == name)?;
        match key {
            key if key == *named => Some(Says::Name),
            key if key == *under => Some(Says::Under),
            _ => None,
        }
    }

    /// The part that says what a key is.
    fn find(&self, string: &PropertyString, key: &str) -> Option<(usize, Says)> {
        let at = string.position(|name, _| self.says(name, key).is_some())?;
        Some((at, self.says(string.part(at).0, key)?))
    }

    pub(super) fn text<'a>(&self, string: &'a PropertyString, key: &str) -> Option<&'a str> {
        let (at, says) = self.find(string, key)?;
        let (name, value) = string.part(at);
        if says == Says::Name { name } else { Some(value) }
    }

    /// The value of a key.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    pub(super) fn read<T: Scalar>(&self, string: &PropertyString, key: &str) -> Result<Option<T>> {
        let read = |text| T::read(text).ok_or_else(|| unreadable::<T>(&format!("{} {key}", self.name), text));
        self.text(string, key).map(read).transpose()
    }

    /// Writes the value of a key where it stands and as it is spelled there, or else adds it.
    ///
    /// # Errors
    /// When the value cannot stand in a property string.
    pub(super) fn write<T: Scalar>(&self, string: &mut PropertyString, key: &str, value: &T) -> Result<()> {
        let value = value.write();
        let wrong = |why: &str| Err(Error::usage(format!("{} {key} cannot be `{value}`: {why}", self.name)));
        if value.contains(',') {
            return wrong("a comma would begin another part");
        }
        if value.trim().is_empty() {
            return wrong("a value is expected, or the key taken away");
        }
        // A bare value with a `=` in it would be taken for a key.
        let may_be_bare = !value.contains('=');
        match self.find(string, key) {
            None if key == self.bare && may_be_bare => drop(string.set_bare(&value)),
            None => drop(string.put(None, Some(key), &value)),
            Some((at, Says::Name)) => {
                let carried = string.part(at).1.to_owned();
                if self.keyed.iter().any(|(name, ..)| *name == value) {
                    string.put(Some(at), Some(&value), &carried);
                } else {
                    // A name that is not known would not be found again.
                    self.split(string, at);
                    string.set(key, &value);
                }
            }
            Some((at, _)) => {
                let name = match string.part(at).0 {
                    None => (!may_be_bare).then(|| self.bare.to_owned()),
                    name => name.map(str::to_owned),
                };
                string.put(Some(at), name.as_deref(), &value);
            }
        }
        Ok(())
    }

    /// Takes a key away, however it is spelled, and gives its value.
    pub(super) fn remove(&self, string: &mut PropertyString, key: &str) -> Option<String> {
        let (at, says) = self.find(string, key)?;
        let value = self.text(string, key)?.to_owned();
        match says {
            Says::Value => string.take(at),
            Says::Name | Says::Under => {
                self.split(string, at);
                string.remove(key);
            }
        }
        Some(value)
    }

    /// Writes a part that says two things as two parts: `virtio=MAC` as `macaddr=MAC` here and `model=virtio` before it.
    fn split(&self, string: &mut PropertyString, at: usize) {
        let (name, value) = string.part(at);
        let (name, value) = (name.unwrap_or_default().to_owned(), value.to_owned());
        let Some((_, named, under)) = self.keyed.iter().find(|(alias, ..)| *alias == name) else { return };
        string.put(Some(at), Some(under), &value);
        string.insert(at, named, &name);
    }
}

/// The error for a value that is there and cannot be read.
pub(super) fn unreadable<T: Scalar>(what: &str, text: &str) -> Error {
    Error::new(Class::Failed, format!("{what} is `{text}`, which is not {}", T::EXPECTED))
}
