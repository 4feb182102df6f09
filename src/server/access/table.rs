//! A keyed set of things that remembers which of them were touched.
//!
//! It does not store them: the store asks for the changes and writes those only.

use std::{
    borrow::Borrow,
    collections::{BTreeMap, BTreeSet},
};

/// Rows by key, and the keys of those that changed since the last [`take_changed`](Self::take_changed).
#[derive(Debug)]
pub struct Table<K, T> {
    rows: BTreeMap<K, T>,
    changed: BTreeSet<K>,
}

impl<K, T> Default for Table<K, T> {
    fn default() -> Self {
        Self { rows: BTreeMap::new(), changed: BTreeSet::new() }
    }
}

impl<K: Ord + Clone, T> Table<K, T> {
    /// The row of a key.
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&T>
    where
        K: Borrow<Q>,
    {
        self.rows.get(key)
    }

    /// Whether there is such a row.
    pub fn has<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.rows.contains_key(key)
    }

    /// The row of a key, to be changed.
    pub fn edit<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut T>
    where
        K: Borrow<Q>,
    {
        let (have, _) = self.rows.get_key_value(key)?;
        self.changed.insert(have.clone());
        self.rows.get_mut(key)
    }

    /// Adds or replaces a row.
    pub fn insert(&mut self, key: K, row: T) {
        self.changed.insert(key.clone());
        self.rows.insert(key, row);
    }

    /// Takes a row away.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<T>
    where
        K: Borrow<Q>,
    {
        let (key, row) = self.rows.remove_entry(key)?;
        self.changed.insert(key);
        Some(row)
    }

    /// All rows, by key.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&K, &T)> {
        self.rows.iter()
    }

    /// The rows whose keys begin with this one, as far as `inside` says.
    pub fn from<'a>(&'a self, first: K, inside: impl Fn(&K) -> bool + 'a) -> impl Iterator<Item = &'a T> {
        self.rows.range(first..).take_while(move |(key, _)| inside(key)).map(|(_, row)| row)
    }

    /// All rows without their keys.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = &T> {
        self.rows.values()
    }

    /// All keys.
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &K> {
        self.rows.keys()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Puts in, or takes out, what the file says: no change of ours.
    pub fn load(&mut self, key: K, row: Option<T>) {
        match row {
            Some(row) => drop(self.rows.insert(key, row)),
            None => drop(self.rows.remove(&key)),
        }
    }

    /// The keys touched since the last time, each with its row or, if it is gone, nothing.
    pub fn take_changed(&mut self) -> Vec<(K, Option<&T>)> {
        let changed = std::mem::take(&mut self.changed);
        changed.into_iter().map(|key| (key.clone(), self.rows.get(&key))).collect()
    }
}
