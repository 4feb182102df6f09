//! The JSON schema of manifests, for editors: the table of fields, and the keys of the contract where these are free.

use serde_json::{Map, Value, json};

use super::{
    document::{API_VERSION, kind_of_noun},
    fields::{Field, Shape, below},
};
use crate::{
    contract::{Kind, Schema, embedded},
    model::GuestKind,
};

/// The schema of a document, for guests and for these sorts of other things.
pub fn schema(nouns: &[&str]) -> Value {
    let guests = GuestKind::ALL.iter().map(|kind| (kind.noun(), Some(*kind)));
    let others = nouns.iter().map(|noun| (*noun, None));
    let variants: Vec<Value> = guests.chain(others).map(|(noun, kind)| variant(noun, kind)).collect();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A manifest of pvectl",
        "oneOf": variants,
    })
}

fn variant(noun: &str, kind: Option<GuestKind>) -> Value {
    let mut whole = object(None, kind.map_or("other", GuestKind::noun), kind);
    whole["properties"]["apiVersion"] = json!({"const": API_VERSION});
    whole["properties"]["kind"] = json!({"const": kind_of_noun(noun)});
    whole
}

/// A mapping of what stands below a place.
fn object(field: Option<&Field>, sort: &str, kind: Option<GuestKind>) -> Value {
    let (mut properties, mut required, mut free) = (Map::new(), Vec::new(), json!(false));
    for below in below(field.map(|field| field.path), sort) {
        let value = value(below, sort, kind);
        if below.required {
            required.push(below.key());
        }
        match below.key() {
            "*" => free = value,
            key => drop(properties.insert(key.to_owned(), value)),
        }
    }
    if field.is_some_and(|field| field.shape == Shape::Parts) {
        free = json!({"type": ["string", "number", "boolean"]});
    }
    if let Some(kind) = kind.filter(|_| field.is_some_and(|field| field.path == "spec.options")) {
        properties.extend(options(kind));
    }
    let mut object = json!({"type": "object", "properties": properties, "additionalProperties": free});
    if !required.is_empty() {
        object["required"] = json!(required);
    }
    object
}

fn value(field: &Field, sort: &str, kind: Option<GuestKind>) -> Value {
    let mut value = match field.shape {
        Shape::Text => json!({"type": ["string", "number"]}),
        Shape::Number => json!({"type": "integer"}),
        Shape::Size => json!({"type": ["string", "integer"], "pattern": "^[0-9.]+ ?([KMGTPkmgtp](i?[Bb])?)?$"}),
        Shape::Word(words) => json!({"enum": words}),
        Shape::Truth => json!({"type": "boolean"}),
        Shape::Map | Shape::Parts => object(Some(field), sort, kind),
        Shape::List => json!({"type": "array", "items": {"type": "string"}}),
        Shape::Secret => json!({
            "type": "object", "properties": {"fromFile": {"type": "string"}},
            "required": ["fromFile"], "additionalProperties": false,
        }),
        Shape::Any => json!({}),
    };
    value["description"] = field.about.into();
    value
}

/// The keys of a guest's configuration, as far as their type goes.
fn options(kind: GuestKind) -> Map<String, Value> {
    let contract = embedded();
    let mut keys = Map::new();
    for endpoint in contract.configuring(kind) {
        for (key, schema) in &endpoint.parameters.properties {
            // A family is written with its numbers.
            if !key.contains("[n]") {
                keys.insert(key.clone(), option(schema));
            }
        }
    }
    keys.sort_keys();
    keys
}

fn option(schema: &Schema) -> Value {
    let parts = schema.keys().is_some();
    match schema.kind {
        Kind::Boolean => json!({"type": ["boolean", "integer"]}),
        Kind::Integer if schema.values.is_empty() => json!({"type": "integer"}),
        Kind::Number => json!({"type": "number"}),
        _ if !schema.values.is_empty() => json!({"enum": schema.values}),
        _ if parts => json!({"type": ["string", "object"]}),
        _ => json!({"type": ["string", "number", "array"]}),
    }
}
