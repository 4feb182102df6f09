//! What two descriptions of the API say differently: methods and parameters that came, went or changed.
//!
//! It compares what matters to a call, not prose, answers or permissions.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{Contract, Endpoint, Format, Keys, Schema};
use crate::model::Method;

/// How something differs in the other description.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "change")]
pub enum Change {
    /// Only there.
    Added,
    /// Not there.
    Removed,
    /// One of its properties has another value there.
    Changed {
        /// Which: `type`, `maximum`, `enum`.
        what: &'static str,
        /// What it is here; `None` for nothing.
        here: Option<String>,
        /// What it is there.
        there: Option<String>,
    },
}

/// A parameter, or a key of its property string (`net[n].bridge`), that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ParameterDifference {
    /// Its name.
    pub name: String,
    /// How.
    #[serde(flatten)]
    pub change: Change,
}

/// A method that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MethodDifference {
    /// The method.
    pub method: Method,
    /// The path.
    pub path: String,
    /// Whether the method itself is only there, or not there; nothing when both have it.
    pub change: Option<Change>,
    /// The parameters that differ.
    pub parameters: Vec<ParameterDifference>,
}

impl Contract {
    /// What `there` says differently, by path and method.
    pub fn differences(&self, there: &Self) -> Vec<MethodDifference> {
        let methods = |contract: &Self| {
            let key = |(method, path): (Method, &str)| (path.to_owned(), method.as_str());
            contract.templates().map(|line| (key(line), line.0)).collect::<BTreeMap<_, _>>()
        };
        let (ours, theirs) = (methods(self), methods(there));
        let all: BTreeMap<_, Method> = ours.iter().chain(&theirs).map(|(key, method)| (key.clone(), *method)).collect();
        let compare = |((path, _), method): ((String, &str), Method)| {
            let (change, parameters) = match (self.endpoint(method, &path), there.endpoint(method, &path)) {
                (Some(here), Some(there)) => (None, here.differences(there)),
                (None, _) => (Some(Change::Added), Vec::new()),
                (_, None) => (Some(Change::Removed), Vec::new()),
            };
            let differs = change.is_some() || !parameters.is_empty();
            differs.then_some(MethodDifference { method, path, change, parameters })
        };
        all.into_iter().filter_map(compare).collect()
    }
}

impl Endpoint {
    /// What `there` says differently of this method's parameters.
    pub fn differences(&self, there: &Self) -> Vec<ParameterDifference> {
        let mut found = Vec::new();
        compare_keys("", &self.parameters.properties, &there.parameters.properties, &mut found);
        found
    }
}

fn compare_keys(above: &str, here: &Keys, there: &Keys, found: &mut Vec<ParameterDifference>) {
    let names: BTreeSet<&String> = here.keys().chain(there.keys()).collect();
    for name in names {
        let path = if above.is_empty() { name.clone() } else { format!("{above}.{name}") };
        match (here.get(name), there.get(name)) {
            (Some(here), Some(there)) => compare(&path, here, there, found),
            (None, _) => found.push(ParameterDifference { name: path, change: Change::Added }),
            (_, None) => found.push(ParameterDifference { name: path, change: Change::Removed }),
        }
    }
}

/// A property of a declaration that is compared: its word, and how it is shown.
type Property = (&'static str, fn(&Schema) -> Option<String>);

const PROPERTIES: &[Property] = &[
    ("type", |schema| Some(schema.kind.as_str().to_owned())),
    ("optional", |schema| Some(schema.optional.to_string())),
    ("default", Schema::default_text),
    ("minimum", |schema| schema.minimum.map(|number| number.to_string())),
    ("maximum", |schema| schema.maximum.map(|number| number.to_string())),
    ("minLength", |schema| schema.min_length.map(|number| number.to_string())),
    ("maxLength", |schema| schema.max_length.map(|number| number.to_string())),
    ("pattern", |schema| schema.pattern.clone()),
    ("enum", |schema| {
        // A server lists some of them in another order each time.
        let mut values = schema.values.clone();
        values.sort();
        (!values.is_empty()).then(|| values.join(", "))
    }),
    ("format", |schema| match &schema.format {
        Some(Format::Named(name)) => Some(name.clone()),
        Some(Format::Keys(_)) | None => None,
    }),
    ("requires", |schema| schema.requires.clone()),
];

fn compare(name: &str, here: &Schema, there: &Schema, found: &mut Vec<ParameterDifference>) {
    for (what, value) in PROPERTIES {
        let (here, there) = (value(here), value(there));
        if here != there {
            found.push(ParameterDifference { name: name.to_owned(), change: Change::Changed { what, here, there } });
        }
    }
    if let (Some(here), Some(there)) = (here.keys(), there.keys()) {
        compare_keys(name, here, there, found);
    }
}
