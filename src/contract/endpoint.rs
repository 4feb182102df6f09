//! One method of the API: its parameters, its answer, who may call it.
//!
//! Read from one line of the description; checking values against it is in `check`.

use std::{collections::BTreeMap, sync::Arc};

use serde::Deserialize;
use serde_json::Value;

use super::{Keys, Permissions, Schema, indexed};
use crate::model::{Method, tolerant};

/// A method of the API.
#[derive(Debug)]
pub struct Endpoint {
    /// The method.
    pub method: Method,
    /// The path with its parameters in braces: `/nodes/{node}/qemu/{vmid}/config`.
    pub path: String,
    /// Proxmox's own name of it: `update_vm`.
    pub name: String,
    /// What it does, in the server's words. Only a server's own description has prose.
    pub description: Option<String>,
    /// The parameters, those of the path too.
    pub parameters: Parameters,
    /// Who may call it.
    pub permissions: Permissions,
    /// The same in the server's words; only a server's own description has them.
    pub permissions_description: Option<String>,
    /// The declared answer; real answers have more keys and looser types.
    pub returns: Schema,
    /// Whether it runs with root's rights on the server.
    pub protected: bool,
    /// Whether an API token may call it.
    pub allowtoken: bool,
    /// The parameter that names the node it runs on.
    pub proxyto: Option<String>,
    /// The types of the task it starts, as they stand in the UPID; empty for unknown types. `None` when its answer is no
    /// UPID.
    pub tasks: Option<Vec<String>>,
}

/// The parameters of a method.
#[derive(Debug, Default)]
pub struct Parameters {
    /// By declared name: `memory`, `net[n]`.
    pub properties: BTreeMap<String, Schema>,
    /// Whether further ones are let through.
    pub additional: bool,
}

impl Parameters {
    /// The declaration of a parameter by the name a call uses: `memory`, `net0`.
    pub fn get(&self, concrete: &str) -> Option<&Schema> {
        self.declared(concrete).map(|(_, schema)| schema)
    }

    /// The same with the declared name: `net[n]` for `net0`.
    pub fn declared(&self, concrete: &str) -> Option<(&str, &Schema)> {
        let found = self.properties.get_key_value(concrete);
        let found = found.or_else(|| self.properties.get_key_value(&indexed::declared_name(concrete)?));
        found.map(|(name, schema)| (name.as_str(), schema))
    }

    /// Reads the declaration. Two methods put theirs together from parts with variants; their parts are united, and
    /// each parameter notes its variants.
    fn read(declared: &Value) -> Self {
        let mut all = Self { properties: BTreeMap::new(), additional: false };
        all.add(declared, None);
        all
    }

    fn add(&mut self, part: &Value, variant: Option<(&str, &str)>) {
        self.additional |= part["additionalProperties"] == 1;
        for (name, declared) in part["properties"].as_object().into_iter().flatten() {
            let Ok(mut schema) = Schema::deserialize(declared) else { continue };
            if let Some((property, value)) = variant {
                let earlier = self.properties.get(name).map(|known| known.instance_types.clone());
                schema.type_property = Some(property.to_owned());
                schema.instance_types = earlier.unwrap_or_default();
                schema.instance_types.push(value.to_owned());
            }
            self.properties.insert(name.clone(), schema);
        }
        for inner in part["allOf"].as_array().into_iter().flatten() {
            self.add(inner, None);
        }
        if let Some(property) = part["type-property"].as_str() {
            if let Ok(schema) = Schema::deserialize(&part["type-property-schema"]) {
                self.properties.insert(property.to_owned(), schema);
            }
            for inner in part["oneOf"].as_array().into_iter().flatten() {
                self.add(inner, Some((property, inner["instance-type"].as_str().unwrap_or_default())));
            }
        }
    }
}

#[derive(Deserialize)]
struct Declared {
    name: String,
    #[serde(default)]
    description: Option<String>,
    parameters: Value,
    #[serde(default)]
    permissions: Value,
    returns: Schema,
    #[serde(default, deserialize_with = "tolerant::bool::deserialize")]
    protected: bool,
    #[serde(default, deserialize_with = "tolerant::bool::deserialize")]
    allowtoken: bool,
    #[serde(default)]
    proxyto: Option<String>,
}

impl Endpoint {
    /// Reads one line of the description.
    pub(super) fn read(method: Method, path: &str, json: &str, tasks: Option<Vec<String>>) -> serde_json::Result<Self> {
        let declared: Declared = serde_json::from_str(json)?;
        Ok(Self {
            method,
            path: path.to_owned(),
            name: declared.name,
            description: declared.description,
            parameters: Parameters::read(&declared.parameters),
            permissions: Permissions::read(&declared.permissions),
            permissions_description: declared.permissions["description"].as_str().map(str::to_owned),
            returns: declared.returns,
            protected: declared.protected,
            allowtoken: declared.allowtoken,
            proxyto: declared.proxyto,
            tasks,
        })
    }

    /// Puts the keys of named property strings in place of their names.
    pub(super) fn resolve(&mut self, named: &dyn Fn(&str) -> Option<Arc<Keys>>) {
        self.parameters.properties.values_mut().for_each(|schema| schema.resolve(named));
        self.returns.resolve(named);
    }

    /// The names in the path: `node`, `vmid`.
    pub fn path_params(&self) -> impl Iterator<Item = &str> {
        self.path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
    }

    /// Parameters with a name close to an unknown one, closest first; a number at its end is kept (`nte0` → `net0`).
    /// What stands in the path is given already.
    pub fn suggest(&self, unknown: &str) -> Vec<String> {
        const CLOSE: f64 = 0.8;
        let base = unknown.trim_end_matches(|c: char| c.is_ascii_digit());
        let number = &unknown[base.len()..];
        let near = |name: &String| {
            let (name, typed) = match name.strip_suffix("[n]") {
                Some(stem) => (format!("{stem}{}", if number.is_empty() { "0" } else { number }), unknown),
                None => (name.clone(), unknown),
            };
            let score = strsim::jaro_winkler(&name, typed).max(strsim::normalized_damerau_levenshtein(&name, typed));
            (score >= CLOSE && self.parameters.get(&name).is_some()).then_some((score, name))
        };
        let others = self.parameters.properties.keys().filter(|name| self.path_params().all(|given| given != *name));
        let mut close: Vec<(f64, String)> = others.filter_map(near).collect();
        close.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
        close.into_iter().take(3).map(|(_, name)| name).collect()
    }
}
