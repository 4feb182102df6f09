//! One parameter's (or answer's) declared shape, as PVE's dialect of JSON Schema has it.
//!
//! Plain data read from the description; what it means for a value is in `check`.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::model::tolerant;

/// A declared type.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `string`, which is also what is meant where nothing is said.
    #[default]
    String,
    /// `integer`.
    Integer,
    /// `number`.
    Number,
    /// `boolean`, on the wire `0` or `1`.
    Boolean,
    /// `array`, on the wire a repeated key.
    Array,
    /// `object`.
    Object,
    /// `null`.
    Null,
    /// `any`.
    Any,
}

impl Kind {
    /// The word in the schema.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::Array => "array",
            Self::Object => "object",
            Self::Null => "null",
            Self::Any => "any",
        }
    }
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match String::deserialize(deserializer)?.as_str() {
            "integer" => Self::Integer,
            "number" => Self::Number,
            "boolean" => Self::Boolean,
            "array" => Self::Array,
            "object" => Self::Object,
            "null" => Self::Null,
            "any" => Self::Any,
            // One schema says `ip` here; the server treats what it does not know as a string.
            _ => Self::String,
        })
    }
}

/// The keys of a property string, by name.
pub type Keys = BTreeMap<String, Schema>;

/// What a text must look like.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Format {
    /// The name of a plain text's look, or of a list's: `pve-vmid`, `pve-node-list`.
    Named(String),
    /// A property string, `key=value,…`, with these keys. The description has them in place or under a name; once a
    /// method is read there is no difference.
    #[serde(deserialize_with = "keys")]
    Keys(Arc<Keys>),
}

fn keys<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<Keys>, D::Error> {
    Keys::deserialize(deserializer).map(Arc::new)
}

/// A declared shape.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Schema {
    /// The type.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// Whether it may be absent.
    #[serde(deserialize_with = "tolerant::bool::deserialize")]
    pub optional: bool,
    /// What holds when it is absent.
    pub default: Option<Value>,
    /// The smallest number.
    #[serde(deserialize_with = "tolerant::f64::option")]
    pub minimum: Option<f64>,
    /// The largest number.
    #[serde(deserialize_with = "tolerant::f64::option")]
    pub maximum: Option<f64>,
    /// The fewest characters.
    #[serde(deserialize_with = "tolerant::u64::option")]
    pub min_length: Option<u64>,
    /// The most characters.
    #[serde(deserialize_with = "tolerant::u64::option")]
    pub max_length: Option<u64>,
    /// A Perl regular expression for the whole text.
    pub pattern: Option<String>,
    /// The allowed values.
    #[serde(rename = "enum", deserialize_with = "texts")]
    pub values: Vec<String>,
    /// What the text must look like.
    pub format: Option<Format>,
    /// The shape of an array's members.
    pub items: Option<Box<Self>>,
    /// The members of an object.
    pub properties: BTreeMap<String, Self>,
    /// Another parameter that must be there too.
    pub requires: Option<String>,
    /// In a property string: the key whose value may stand without it.
    #[serde(rename = "default_key", deserialize_with = "tolerant::bool::deserialize")]
    pub default_key: bool,
    /// In a property string: the key that this one is another name of.
    pub alias: Option<String>,
    /// In a property string: the key that takes this key's *name* as its value (`virtio=MAC` sets `model`).
    pub key_alias: Option<String>,
    /// The parameter that says which variant is meant, where a method has variants.
    #[serde(rename = "type-property")]
    pub type_property: Option<String>,
    /// The variants that have this parameter; empty for all.
    #[serde(rename = "instance-types")]
    pub instance_types: Vec<String>,
    /// What it is, in the server's words. Only a server's own description has prose.
    pub description: Option<String>,
    /// The same at greater length.
    #[serde(rename = "verbose_description")]
    pub verbose_description: Option<String>,
    /// What stands for the value: `bridge`, `seconds`.
    #[serde(rename = "format_description")]
    pub format_description: Option<String>,
}

impl Schema {
    /// The keys of the property string that this text is, if it is one.
    pub fn keys(&self) -> Option<&Keys> {
        match self.format.as_ref()? {
            Format::Keys(keys) => Some(keys),
            Format::Named(_) => None,
        }
    }

    /// Puts the keys of named property strings in place of their names, here and below.
    pub(super) fn resolve(&mut self, named: &dyn Fn(&str) -> Option<Arc<Keys>>) {
        match &mut self.format {
            Some(Format::Named(name)) => {
                if let Some(keys) = named(name) {
                    self.format = Some(Format::Keys(keys));
                }
            }
            Some(Format::Keys(keys)) => {
                if let Some(keys) = Arc::get_mut(keys) {
                    keys.values_mut().for_each(|schema| schema.resolve(named));
                }
            }
            None => {}
        }
        self.items.iter_mut().for_each(|schema| schema.resolve(named));
        self.properties.values_mut().for_each(|schema| schema.resolve(named));
    }

    /// The default as the text that a call would have.
    pub fn default_text(&self) -> Option<String> {
        match self.default.as_ref()? {
            Value::Null => None,
            Value::String(text) => Some(text.clone()),
            Value::Bool(set) => Some(u8::from(*set).to_string()),
            other => Some(other.to_string()),
        }
    }

    /// Whether the check takes a value.
    pub fn takes(&self, value: &str) -> bool {
        super::check::complaint(self, value, "value").is_none()
    }

    /// Whether the text is a list (`a,b;c d`) by its format's name.
    pub fn is_list(&self) -> bool {
        matches!(&self.format, Some(Format::Named(name)) if name.ends_with("-list") || name.ends_with("-alist"))
    }
}

/// An `enum`: strings, or numbers as their digits; `null` for none.
fn texts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let text = |value| match value {
        Value::String(text) => text,
        other => other.to_string(),
    };
    Ok(Option::<Vec<Value>>::deserialize(deserializer)?.unwrap_or_default().into_iter().map(text).collect())
}
