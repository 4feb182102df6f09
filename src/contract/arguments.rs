//! Parameters as programs and files have them, JSON values by name, and how they become the texts that PVE takes.
//!
//! The form follows the declaration; whether a value is allowed is for `check` to say.

use std::fmt;

use serde_json::{Map, Number, Value};

use super::{Endpoint, Kind, Schema, check::truth};
use crate::model::{Error, Params, Result};

/// Parameters of a call, each a JSON value: `true`, `8`, `"virtio,bridge=vmbr0"`, `["a", "b"]`,
/// `{"model": "virtio", "bridge": "vmbr0"}`. `null` stands for a parameter that is not given. A name may repeat.
#[derive(Clone, Default, PartialEq)]
pub struct Arguments(Vec<(String, Value)>);

impl Arguments {
    /// The members of a JSON object; of `null`, none.
    ///
    /// # Errors
    /// [`Class::Usage`](crate::model::Class::Usage) for any other value.
    pub fn json(value: Value) -> Result<Self> {
        match value {
            Value::Null => Ok(Self::default()),
            Value::Object(map) => Ok(map.into()),
            other => Err(Error::usage(format!("parameters are an object of names and values, not {}", noun(&other)))),
        }
    }

    /// Adds one.
    pub fn push(&mut self, name: impl Into<String>, value: impl Into<Value>) {
        self.0.push((name.into(), value.into()));
    }

    /// Whether there is one of this name.
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(have, value)| have == name && !value.is_null())
    }

    /// Puts these in the place of those of the same names.
    pub fn replace(&mut self, others: Self) {
        self.0.retain(|(name, _)| others.0.iter().all(|(other, _)| other != name));
        self.0.extend(others.0);
    }

    /// Takes a name away where all that is given for it is this text, or the number that it is.
    pub(super) fn drop_equal(&mut self, name: &str, text: &str) {
        let is_equal = |value: &Value| match value {
            Value::String(given) => given == text,
            Value::Number(given) => given.to_string() == text,
            _ => false,
        };
        if self.0.iter().all(|(have, value)| have != name || is_equal(value)) {
            self.0.retain(|(have, _)| have != name);
        }
    }

    /// Takes a name away and gives its value as the text that stands in a path.
    ///
    /// # Errors
    /// For a value that is no text and no number, and for several.
    pub(super) fn take(&mut self, name: &str) -> Result<Option<String>> {
        if !self.has(name) {
            return Ok(None);
        }
        let (taken, rest) = std::mem::take(&mut self.0).into_iter().partition(|(have, _)| have == name);
        self.0 = rest;
        let taken: Vec<(String, Value)> = taken;
        match taken.as_slice() {
            [(_, Value::String(text))] => Ok(Some(text.clone())),
            [(_, Value::Number(number))] => Ok(Some(number.to_string())),
            _ => Err(Error::usage(format!("`{name}` stands in the path and takes one text"))),
        }
    }

    /// The texts that go over the wire.
    ///
    /// # Errors
    /// For a value whose form the declaration does not have: a list where one value is taken, and the like.
    pub(super) fn into_params(self, endpoint: &Endpoint) -> Result<Params> {
        let mut params = Params::new();
        for (name, value) in self.0 {
            let wire =
                wire(endpoint.parameters.get(&name), &value).map_err(|why| Error::usage(format!("`{name}`: {why}")))?;
            params.extend(wire.into_iter().map(|text| (name.clone(), text)));
        }
        Ok(params)
    }
}

impl From<Map<String, Value>> for Arguments {
    fn from(map: Map<String, Value>) -> Self {
        Self(map.into_iter().collect())
    }
}

impl From<Params> for Arguments {
    fn from(params: Params) -> Self {
        Self(params.iter().map(|(name, value)| (name.to_owned(), value.into())).collect())
    }
}

impl fmt::Debug for Arguments {
    /// Names only: which of the values are secrets depends on where they go.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

/// A value as the texts that go over the wire: none for `null`, several for an array. The error is what comes after
/// the parameter's name.
fn wire(schema: Option<&Schema>, value: &Value) -> Result<Vec<String>, String> {
    let Value::Array(members) = value else { return Ok(single(schema, value)?.into_iter().collect()) };
    let each = |schema: Option<&Schema>| -> Result<Vec<String>, String> {
        let texts = members.iter().map(|member| single(schema, member)).collect::<Result<Vec<_>, _>>()?;
        Ok(texts.into_iter().flatten().collect())
    };
    match schema {
        // Of what is not declared, only that it is a list is known.
        None => each(None),
        Some(schema) if schema.kind == Kind::Array => each(schema.items.as_deref()),
        Some(schema) if schema.is_list() => {
            let texts = each(None)?;
            match texts.iter().find(|text| text.contains([',', ';', ' '])) {
                Some(bad) => Err(format!("`{bad}` cannot be a member of a list: it has a separator in it")),
                None => Ok(vec![texts.join(",")]),
            }
        }
        Some(_) => Err("takes one value, not a list".to_owned()),
    }
}

/// A value that is no array, as one text; `None` for `null`.
fn single(schema: Option<&Schema>, value: &Value) -> Result<Option<String>, String> {
    Ok(Some(match value {
        Value::Null => return Ok(None),
        Value::Bool(set) => u8::from(*set).to_string(),
        Value::Number(number) => digits(number, schema),
        Value::String(text) if schema.is_some_and(|schema| schema.kind == Kind::Boolean) => {
            truth(text).unwrap_or(text).to_owned()
        }
        Value::String(text) => text.clone(),
        Value::Object(parts) if schema.is_none_or(|schema| schema.keys().is_some()) => property_string(parts)?,
        Value::Object(_) | Value::Array(_) => return Err(format!("takes one value, not {}", noun(value))),
    }))
}

/// `8.0` is a whole number to whoever wrote it.
fn digits(number: &Number, schema: Option<&Schema>) -> String {
    let whole = number.as_f64().filter(|number| number.fract() == 0.0 && number.abs() < 1e15);
    match (schema.map(|schema| schema.kind), whole) {
        (Some(Kind::Integer), Some(whole)) => format!("{whole:.0}"),
        _ => number.to_string(),
    }
}

/// `{"model": "virtio", "firewall": true}` → `model=virtio,firewall=1`.
fn property_string(parts: &Map<String, Value>) -> Result<String, String> {
    let mut written = Vec::new();
    for (key, value) in parts {
        let text = match value {
            Value::Array(members) => {
                let texts = members.iter().map(|member| single(None, member)).collect::<Result<Vec<_>, _>>()?;
                Some(texts.into_iter().flatten().collect::<Vec<_>>().join(";"))
            }
            Value::Object(_) => return Err(format!("part `{key}` takes one value, not an object")),
            other => single(None, other)?,
        };
        let Some(text) = text else { continue };
        if text.contains(',') {
            return Err(format!("part `{key}`: a comma cannot stand in a part's value"));
        }
        written.push(format!("{key}={text}"));
    }
    Ok(written.join(","))
}

fn noun(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        contract::embedded,
        model::{Class, Method},
    };

    fn params(method: Method, template: &str, value: Value) -> Result<String> {
        let endpoint = embedded().endpoint(method, template).unwrap();
        let params = Arguments::json(value)?.into_params(endpoint)?;
        Ok(params.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" "))
    }

    const CONFIG: &str = "/nodes/{node}/qemu/{vmid}/config";

    #[test]
    fn json_takes_the_form_that_is_declared() {
        for (value, want) in [
            (json!({"onboot": true, "protection": false}), "onboot=1 protection=0"),
            (json!({"onboot": "yes", "kvm": "Off", "name": "yes"}), "onboot=1 kvm=0 name=yes"),
            (json!({"cores": 4, "cpulimit": 1.5, "sockets": 2.0}), "cores=4 cpulimit=1.5 sockets=2"),
            (json!({"cores": null, "memory": 2048}), "memory=2048"),
            (json!({"tags": ["web", "prod"]}), "tags=web,prod"),
            (json!({"delete": ["cores"]}), "delete=cores"),
            (
                json!({"net0": {"model": "virtio", "bridge": "vmbr0", "firewall": true, "tag": 20, "mtu": null}}),
                "net0=model=virtio,bridge=vmbr0,firewall=1,tag=20",
            ),
            (json!({"boot": {"order": ["scsi0", "net0"]}}), "boot=order=scsi0;net0"),
        ] {
            assert_eq!(params(Method::Put, CONFIG, value).unwrap(), want);
        }
        let exec = "/nodes/{node}/qemu/{vmid}/agent/exec";
        let command = json!({"command": ["ls", "-l", "a b"]});
        assert_eq!(params(Method::Post, exec, command).unwrap(), "command=ls command=-l command=a b");
        let map = json!({"id": "gpu", "map": [{"node": "pve1", "path": "/srv"}, "node=pve2,path=/srv"]});
        let want = "id=gpu map=node=pve1,path=/srv map=node=pve2,path=/srv";
        assert_eq!(params(Method::Post, "/cluster/mapping/dir", map).unwrap(), want);
    }

    #[test]
    fn what_has_no_form_is_named() {
        for (value, want) in [
            (json!({"cores": [1, 2]}), "`cores`: takes one value, not a list"),
            (json!({"name": {"a": 1}}), "`name`: takes one value, not an object"),
            (json!({"tags": ["a,b"]}), "cannot be a member"),
            (json!({"net0": {"bridge": {"a": 1}}}), "part `bridge` takes one value"),
            (json!({"net0": {"bridge": "a,b"}}), "a comma cannot stand"),
            (json!([1]), "not a list"),
            (json!("x"), "not a text"),
        ] {
            let error = params(Method::Put, CONFIG, value).unwrap_err();
            assert_eq!(error.class(), Class::Usage);
            assert!(error.message().contains(want), "{error} is not `{want}`");
        }
    }
}
