//! Parameters held against their declaration, with the server's own words for what is wrong.
//!
//! It looks at one call only: whether a guest exists or a storage has room is not its business.

use std::collections::BTreeMap;

use super::{Endpoint, Format, Keys, Kind, Schema, formats, pattern};
use crate::model::Params;

pub(super) const MISSING: &str = "property is missing and it is not optional";
pub(super) const UNKNOWN: &str =
    "property is not defined in schema and the schema does not allow additional properties";

type Errors = BTreeMap<String, String>;

impl Endpoint {
    /// Checks the parameters of a call, those of the path among them.
    ///
    /// # Errors
    /// Per parameter what a real server answers under `errors`, with status 400.
    pub fn check(&self, params: &Params) -> Result<(), BTreeMap<String, String>> {
        let mut given: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (name, value) in params.iter() {
            given.entry(name).or_default().push(value);
        }
        let mut errors = Errors::new();
        // Where a method has variants, only those parameters count that the chosen one has.
        let in_variant = |schema: &Schema| {
            let chosen = schema.type_property.as_deref().and_then(|property| given.get(property)?.first().copied());
            schema.instance_types.is_empty()
                || chosen.map(|chosen| schema.instance_types.iter().any(|variant| variant == chosen)) == Some(true)
        };
        for (name, values) in &given {
            let Some(schema) = self.parameters.get(name) else {
                if !self.parameters.additional {
                    errors.insert((*name).to_owned(), UNKNOWN.to_owned());
                }
                continue;
            };
            if schema.type_property.as_deref().is_some_and(|property| given.contains_key(property))
                && !in_variant(schema)
            {
                errors.insert((*name).to_owned(), UNKNOWN.to_owned());
                continue;
            }
            check_values(schema, values, name, &mut errors);
            demand(schema, name, |wanted| given.contains_key(wanted), &mut errors);
        }
        for (name, schema) in &self.parameters.properties {
            if !schema.optional && !given.contains_key(name.as_str()) && in_variant(schema) {
                errors.insert(name.clone(), MISSING.to_owned());
            }
        }
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }
}

/// What a parameter requires beside it.
fn demand(schema: &Schema, name: &str, has: impl Fn(&str) -> bool, errors: &mut Errors) {
    if let Some(wanted) = schema.requires.as_deref().filter(|wanted| !has(wanted)) {
        errors.insert(wanted.to_owned(), format!("missing property - '{name}' requires this property"));
    }
}

/// Checks what was given for one name, which may have been given several times.
fn check_values(schema: &Schema, values: &[&str], name: &str, errors: &mut Errors) {
    if schema.kind == Kind::Array {
        for (at, value) in values.iter().enumerate() {
            if let Some(complaint) = schema.items.as_deref().and_then(|item| complaint(item, value, name)) {
                errors.insert(format!("{name}[{at}]"), complaint);
            }
        }
        return;
    }
    let wrong = match values {
        [value] => complaint(schema, value, name),
        several if schema.is_list() => several.iter().find_map(|value| complaint(schema, value, name)),
        _ => Some(format!("type check ('{}') failed - got ARRAY", schema.kind.as_str())),
    };
    errors.extend(wrong.map(|complaint| (name.to_owned(), complaint)));
}

/// What is wrong with one value. The order of the checks is the server's: type, format, pattern, length, range, enum.
pub(super) fn complaint(schema: &Schema, value: &str, name: &str) -> Option<String> {
    if !is_of(schema.kind, value) {
        return Some(format!("type check ('{}') failed - got '{value}'", schema.kind.as_str()));
    }
    let malformed = match &schema.format {
        Some(Format::Keys(keys)) => property_string(keys, value, name).err(),
        Some(Format::Named(format)) => formats::check(format, value).err(),
        None => None,
    };
    if let Some(why) = malformed {
        return Some(format!("invalid format - {why}"));
    }
    if schema.pattern.as_deref().is_some_and(|wanted| !pattern::matches(wanted, value)) {
        return Some("value does not match the regex pattern".to_owned());
    }
    let length = value.chars().count() as u64;
    if let Some(most) = schema.max_length.filter(|most| length > *most) {
        return Some(format!("value may only be {most} characters long"));
    }
    if let Some(fewest) = schema.min_length.filter(|fewest| length < *fewest) {
        return Some(format!("value must be at least {fewest} characters long"));
    }
    if let Ok(number) = value.parse::<f64>() {
        if let Some(most) = schema.maximum.filter(|most| number > *most) {
            return Some(format!("value must have a maximum value of {most}"));
        }
        if let Some(least) = schema.minimum.filter(|least| number < *least) {
            return Some(format!("value must have a minimum value of {least}"));
        }
    }
    if !schema.values.is_empty() && !schema.values.iter().any(|allowed| allowed == value) {
        let all = schema.values.join(", ");
        return Some(format!("value '{value}' does not have a value in the enumeration '{all}'"));
    }
    None
}

fn is_of(kind: Kind, value: &str) -> bool {
    let unsigned = value.strip_prefix(['+', '-']).unwrap_or(value);
    match kind {
        Kind::Boolean => matches!(value, "0" | "1"),
        Kind::Integer => !unsigned.is_empty() && unsigned.bytes().all(|b| b.is_ascii_digit()),
        Kind::Number => unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.') && value.parse::<f64>().is_ok(),
        Kind::String | Kind::Array | Kind::Object | Kind::Null | Kind::Any => true,
    }
}

/// Checks `key=value,…` against its keys. The complaint is what follows `invalid format - `.
fn property_string(keys: &Keys, text: &str, name: &str) -> Result<(), String> {
    let mut given: BTreeMap<&str, &str> = BTreeMap::new();
    for part in text.split(',').filter(|part| !part.trim().is_empty()) {
        match part.split_once('=') {
            Some((key, value)) if !key.is_empty() && !value.is_empty() => {
                if given.contains_key(key) {
                    return Err(format!("duplicate key in comma-separated list property: {key}\n"));
                }
                let declared = keys.get(key);
                if let Some(other) = declared.and_then(|schema| schema.key_alias.as_deref())
                    && given.insert(other, key).is_some()
                {
                    return Err(format!("key alias '{other}' is already defined\n"));
                }
                given.insert(declared.and_then(|schema| schema.alias.as_deref()).unwrap_or(key), value);
            }
            Some(_) => return Err("missing key in comma-separated list property\n".to_owned()),
            None => {
                let Some((key, _)) = keys.iter().find(|(_, schema)| schema.default_key) else {
                    return Err("value without key, but schema does not define a default key\n".to_owned());
                };
                if given.insert(key, part).is_some() {
                    return Err(format!("duplicate key in comma-separated list property: {key}\n"));
                }
            }
        }
    }
    let mut errors = Errors::new();
    for (key, value) in &given {
        let Some(schema) = keys.get(*key) else {
            errors.insert((*key).to_owned(), UNKNOWN.to_owned());
            continue;
        };
        let value = if schema.kind == Kind::Boolean { truth(value).unwrap_or(value) } else { value };
        errors.extend(complaint(schema, value, &format!("{name}.{key}")).map(|why| ((*key).to_owned(), why)));
        demand(schema, key, |wanted| given.contains_key(wanted), &mut errors);
    }
    for (key, schema) in keys {
        if !schema.optional && schema.alias.is_none() && !given.contains_key(key.as_str()) {
            errors.insert(key.clone(), MISSING.to_owned());
        }
    }
    if errors.is_empty() {
        return Ok(());
    }
    let lines: String = errors.iter().map(|(key, why)| format!("{name}.{key}: {}\n", why.trim_end())).collect();
    Err(format!("format error\n{lines}"))
}

/// Inside a property string a boolean may be a word.
pub(super) fn truth(word: &str) -> Option<&'static str> {
    const WORDS: [(&str, &[&str]); 2] = [("1", &["1", "on", "yes", "true"]), ("0", &["0", "off", "no", "false"])];
    WORDS.iter().find(|(_, words)| words.iter().any(|known| word.eq_ignore_ascii_case(known))).map(|(digit, _)| *digit)
}
