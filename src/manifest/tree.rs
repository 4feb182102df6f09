//! A file as a tree of texts, each with its place: YAML, and JSON as the YAML it also is, so that both have the same errors.
//!
//! What the keys mean is not known here. Numbers and truth values are texts: who knows the key knows what it must be.

use std::{fmt, path::Path};

use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, SeqAccess, Visitor},
};
use serde_yaml::{Location, Spanned};

use crate::model::{Error, Result};

/// A value, and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Node {
    /// Of the value, or of the key before it; counted from one.
    pub(super) line: u64,
    pub(super) column: u64,
    pub(super) tree: Tree,
}

/// What a value is.
#[derive(Debug, Clone)]
pub(super) enum Tree {
    Null,
    Text(String),
    /// A number with a fraction, or one that YAML takes for such (`0123`).
    Fraction(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key and its value.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) line: u64,
    pub(super) column: u64,
    pub(super) value: Node,
}

impl Node {
    /// A single value's text.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.tree {
            Tree::Text(text) | Tree::Fraction(text) => Some(text),
            _ => None,
        }
    }

    /// The value of a key.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        match &self.tree {
            Tree::Map(entries) => entries.iter().find(|entry| entry.key == key).map(|entry| &entry.value),
            _ => None,
        }
    }
}

/// Every mapping of a file: one, a list of them, or several YAML documents.
///
/// # Errors
/// [`Class::Usage`](crate::model::Class::Usage) with file, line and column.
pub(super) fn read_nodes(text: &str, path: &Path) -> Result<Vec<Node>> {
    let shown = path.display();
    let options = serde_yaml::options! { strict_booleans: true };
    let documents: Vec<Root> = serde_yaml::from_multiple_with_options(text, options).map_err(|error| {
        let said = error.to_string();
        let said = said.trim_start_matches("error: ");
        Error::usage(format!("{shown} is neither JSON nor YAML that describes a guest: {said}"))
    })?;
    let nodes: Vec<Node> = documents.into_iter().flat_map(|root| root.0).collect();
    if nodes.is_empty() {
        return Err(Error::usage(format!("{shown} describes no guest")));
    }
    Ok(nodes)
}

/// A document: its mappings.
#[derive(Debug)]
struct Root(Vec<Node>);

impl<'de> Deserialize<'de> for Root {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = Root;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a mapping of configuration keys, or a list of them")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> std::result::Result<Root, A::Error> {
                let entries = read_mapping(map)?;
                let (line, column) = entries.first().map_or((1, 1), |entry| (entry.line, entry.column));
                Ok(Root(vec![Node { line, column, tree: Tree::Map(entries) }]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> std::result::Result<Root, A::Error> {
                let nodes = read_list(seq)?;
                if nodes.iter().any(|node| !matches!(node.tree, Tree::Map(_))) {
                    return Err(de::Error::custom("a mapping of configuration keys is expected"));
                }
                Ok(Root(nodes))
            }
        }

        deserializer.deserialize_any(Either)
    }
}

fn read_mapping<'de, A: MapAccess<'de>>(mut map: A) -> std::result::Result<Vec<Entry>, A::Error> {
    let mut entries = Vec::new();
    while let Some(key) = map.next_key::<Spanned<String>>()? {
        let (line, column) = (Location::line(&key.referenced), Location::column(&key.referenced));
        let value = Node { line, column, tree: map.next_value()? };
        entries.push(Entry { key: key.value, line, column, value });
    }
    Ok(entries)
}

fn read_list<'de, A: SeqAccess<'de>>(mut seq: A) -> std::result::Result<Vec<Node>, A::Error> {
    let mut nodes = Vec::new();
    while let Some(Spanned { value, referenced, .. }) = seq.next_element::<Spanned<Tree>>()? {
        nodes.push(Node { line: Location::line(&referenced), column: Location::column(&referenced), tree: value });
    }
    Ok(nodes)
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Any;

        impl<'de> Visitor<'de> for Any {
            type Value = Tree;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }

            fn visit_unit<E: de::Error>(self) -> std::result::Result<Tree, E> {
                Ok(Tree::Null)
            }

            fn visit_none<E: de::Error>(self) -> std::result::Result<Tree, E> {
                Ok(Tree::Null)
            }

            fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> std::result::Result<Tree, D::Error> {
                Tree::deserialize(deserializer)
            }

            fn visit_bool<E: de::Error>(self, value: bool) -> std::result::Result<Tree, E> {
                Ok(Tree::Text(u8::from(value).to_string()))
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> std::result::Result<Tree, E> {
                Ok(Tree::Text(value.to_string()))
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> std::result::Result<Tree, E> {
                Ok(Tree::Text(value.to_string()))
            }

            fn visit_f64<E: de::Error>(self, value: f64) -> std::result::Result<Tree, E> {
                Ok(Tree::Fraction(format!("{value:?}")))
            }

            fn visit_str<E: de::Error>(self, value: &str) -> std::result::Result<Tree, E> {
                Ok(Tree::Text(value.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> std::result::Result<Tree, A::Error> {
                read_list(seq).map(Tree::List)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> std::result::Result<Tree, A::Error> {
                read_mapping(map).map(Tree::Map)
            }
        }

        deserializer.deserialize_any(Any)
    }
}
