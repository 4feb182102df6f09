//! The description as plain data for people and programs: what a parameter takes, what a method needs.
//!
//! It says what is declared and nothing about a state. How it looks is for whoever prints it.

use serde::{Serialize, Serializer};

use super::{Contract, Endpoint, Format, Keys, Schema, indexed};
use crate::model::{Error, GuestKind, Hint, Method, Result, config_privilege, is_root_only_key};

/// What a parameter, a key of a property string or a field of an answer takes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explained {
    /// Its name: `memory`, `net[n]`, `bridge`.
    pub name: String,
    /// `string`, `integer`, `number`, `boolean`, `list`, `property string`, `array`, `object`, `null` or `any`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Whether it must be there.
    pub required: bool,
    /// What holds when it is absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
    /// The smallest number.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "number")]
    pub minimum: Option<f64>,
    /// The largest number.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "number")]
    pub maximum: Option<f64>,
    /// The fewest characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_length: Option<u64>,
    /// The most characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_length: Option<u64>,
    /// The allowed values; empty for no such list.
    #[serde(rename = "enum", skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
    /// What the text must look like, by Proxmox's name for it: `pve-node`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// A Perl regular expression for the whole text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// Another parameter that must be there too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requires: Option<String>,
    /// For a numbered name the largest number: 31 for `net[n]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_index: Option<u16>,
    /// In a property string: its value may stand without its name.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub default_key: bool,
    /// The variants of a method that have it; empty for all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub only_for: Vec<String>,
    /// What it is, in the server's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The keys of a property string, or the fields of an object.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<Self>,
    /// Short forms of a property string: `MODEL=MACADDR for model=MODEL,macaddr=MACADDR`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub short_forms: Vec<String>,
}

/// What a method takes, gives and needs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExplainedMethod {
    /// The method.
    pub method: Method,
    /// The path with its parameters in braces.
    pub path: String,
    /// Proxmox's own name of it.
    pub name: String,
    /// What it does, in the server's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Who may call it, in words.
    pub permissions: String,
    /// The same in the server's words, where it has some.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub permissions_description: Option<String>,
    /// Whether an API token may.
    pub allowtoken: bool,
    /// The types of the task it starts; `null` when it answers at once.
    pub tasks: Option<Vec<String>>,
    /// What it takes, what it must have first.
    pub parameters: Vec<Explained>,
    /// Whether it takes further parameters that are not declared.
    pub additional: bool,
    /// What it answers.
    pub returns: Explained,
}

/// A configuration key of a guest and the methods that set it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExplainedKey {
    /// VM or container.
    pub guest: GuestKind,
    /// As it was asked for: `net0`, `net0.bridge`.
    pub key: String,
    /// The privilege on `/vms/{vmid}` that a change of it needs; `root@pam` where nobody else may.
    pub privilege: &'static str,
    /// What it takes.
    #[serde(flatten)]
    pub parameter: Explained,
    /// The methods that take it.
    pub set_by: Vec<SetBy>,
}

/// A method that takes a key.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SetBy {
    /// The method.
    pub method: Method,
    /// The path.
    pub path: String,
    /// Who may call it, in words.
    pub permissions: String,
}

fn number<S: Serializer>(number: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
    match number {
        Some(whole) if whole.fract() == 0.0 => serializer.serialize_i64(*whole as i64),
        other => other.serialize(serializer),
    }
}

impl Explained {
    /// What a declaration says.
    pub fn new(name: &str, schema: &Schema) -> Self {
        let kind = match () {
            () if schema.keys().is_some() => "property string",
            () if schema.is_list() => "list",
            () => schema.kind.as_str(),
        };
        let below = match (schema.keys(), schema.items.as_deref()) {
            (Some(keys), _) => keys,
            (None, Some(items)) if schema.properties.is_empty() => &items.properties,
            (None, _) => &schema.properties,
        };
        let format = match &schema.format {
            Some(Format::Named(name)) => Some(name.clone()),
            Some(Format::Keys(_)) | None => None,
        };
        let text = schema.verbose_description.as_ref().or(schema.description.as_ref());
        Self {
            name: name.to_owned(),
            kind,
            required: !schema.optional,
            default: schema.default_text(),
            minimum: schema.minimum,
            maximum: schema.maximum,
            min_length: schema.min_length,
            max_length: schema.max_length,
            values: schema.values.clone(),
            format,
            pattern: schema.pattern.clone(),
            requires: schema.requires.clone(),
            last_index: name.strip_suffix("[n]").map(indexed::last_index),
            default_key: schema.default_key,
            only_for: schema.instance_types.clone(),
            description: text.map(|text| text.trim().to_owned()),
            keys: all(below),
            short_forms: short_forms(below),
        }
    }
}

/// What declarations say, what must be there first; other names of a key are left out.
fn all(declared: &Keys) -> Vec<Explained> {
    let real = declared.iter().filter(|(_, schema)| schema.alias.is_none());
    let mut all: Vec<Explained> = real.map(|(name, schema)| Explained::new(name, schema)).collect();
    all.sort_by_key(|one| (!one.default_key, !one.required));
    all
}

fn short_forms(declared: &Keys) -> Vec<String> {
    let form = |(name, schema): (&String, &Schema)| {
        let alias = schema.alias.as_ref()?;
        let value = alias.to_uppercase();
        Some(match &schema.key_alias {
            // Every model of a network card is such a name.
            Some(key) => format!("{0}={value} for {key}={0},{alias}={value}", key.to_uppercase()),
            None => format!("{name}={value} for {alias}={value}"),
        })
    };
    let mut forms: Vec<String> = declared.iter().filter_map(form).collect();
    forms.dedup();
    forms
}

impl Endpoint {
    /// What the method takes, gives and needs.
    pub fn explain(&self) -> ExplainedMethod {
        ExplainedMethod {
            method: self.method,
            path: self.path.clone(),
            name: self.name.clone(),
            description: self.description.as_ref().map(|text| text.trim().to_owned()),
            permissions: self.permissions.to_string(),
            permissions_description: self.permissions_description.as_ref().map(|text| text.trim().to_owned()),
            allowtoken: self.allowtoken,
            tasks: self.tasks.clone(),
            parameters: all(&self.parameters.properties),
            additional: self.parameters.additional,
            returns: Explained::new("returns", &self.returns),
        }
    }
}

/// The methods that set a guest's configuration: what follows `/nodes/{node}/qemu`.
const CONFIGURING: [(Method, &str); 3] =
    [(Method::Post, ""), (Method::Put, "/{vmid}/config"), (Method::Post, "/{vmid}/config")];

impl Contract {
    /// The methods that set the configuration of a kind of guest: create first.
    pub fn configuring(&self, guest: GuestKind) -> impl Iterator<Item = &Endpoint> {
        let base = format!("/nodes/{{node}}/{}", guest.api());
        CONFIGURING.iter().filter_map(move |(method, path)| self.endpoint(*method, &format!("{base}{path}")))
    }

    /// The names of all configuration keys of a kind of guest, as declared: `memory`, `net[n]`.
    pub fn guest_keys(&self, guest: GuestKind) -> Vec<&str> {
        let names = self.configuring(guest).flat_map(|endpoint| endpoint.parameters.properties.keys());
        let mut names: Vec<&str> = names.map(String::as_str).filter(|name| !matches!(*name, "node" | "vmid")).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// What a configuration key takes: `memory`, `net0`, `net`, or a part of it: `net0.bridge`.
    ///
    /// # Errors
    /// [`Class::Usage`](crate::model::Class::Usage) for a key or part that is not there, with close names.
    pub fn explain_key(&self, guest: GuestKind, wanted: &str) -> Result<ExplainedKey> {
        let (key, parts) = wanted.split_once('.').map_or((wanted, None), |(key, parts)| (key, Some(parts)));
        // `net` is what people call `net0`, `net1`, …
        let numbered = format!("{key}0");
        let has = |endpoint: &Endpoint, name: &str| endpoint.parameters.get(name).is_some();
        let name = match self.configuring(guest).find(|endpoint| has(endpoint, key) || has(endpoint, &numbered)) {
            Some(endpoint) if has(endpoint, key) => key,
            Some(_) => numbered.as_str(),
            None => {
                let error = Error::usage(format!("a {guest} has no configuration key `{key}`"));
                let close = self.configuring(guest).next().map(|create| create.suggest(key)).unwrap_or_default();
                return Err(error.did_you_mean(close));
            }
        };
        let takes = |endpoint: &Endpoint| {
            let (declared, schema) = endpoint.parameters.declared(name)?;
            let set_by = SetBy {
                method: endpoint.method,
                path: endpoint.path.clone(),
                permissions: endpoint.permissions.to_string(),
            };
            Some((declared.to_owned(), schema.clone(), set_by))
        };
        let found: Vec<_> = self.configuring(guest).filter_map(takes).collect();
        let set_by = found.iter().map(|(.., set_by)| set_by.clone()).collect();
        let Some((mut declared, mut schema, _)) = found.into_iter().next() else {
            return Err(Error::usage(format!("a {guest} has no configuration key `{key}`")));
        };
        for part in parts.into_iter().flat_map(|parts| parts.split('.')) {
            let Some(inner) = schema.keys().and_then(|keys| keys.get(part)).cloned() else {
                return Err(no_part(&declared, part, &schema));
            };
            (declared, schema) = (part.to_owned(), inner);
        }
        let privilege = if is_root_only_key(name) { "root@pam" } else { config_privilege(name, "") };
        let parameter = Explained::new(&declared, &schema);
        Ok(ExplainedKey { guest, key: wanted.to_owned(), privilege, parameter, set_by })
    }
}

fn no_part(key: &str, part: &str, schema: &Schema) -> Error {
    let error = Error::usage(format!("`{key}` has no part `{part}`"));
    match schema.keys() {
        None => error.with_hint(Hint::Text(format!("`{key}` is a plain {}", schema.kind.as_str()))),
        Some(keys) => {
            let real = keys.iter().filter(|(_, schema)| schema.alias.is_none()).map(|(name, _)| name.as_str());
            error.with_hint(Hint::Text(format!("it has {}", real.collect::<Vec<_>>().join(", "))))
        }
    }
}
