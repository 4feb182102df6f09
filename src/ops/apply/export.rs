//! Documents of what there is: applied again, they change nothing.
//!
//! What only the server sets, and what identifies a guest beyond its number, is left out; so are secrets.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{
    existing::to_come,
    fields::{self, TOLD_ONLY, by_key},
};
use crate::{
    manifest::{API_VERSION, CLOUD_INIT, kind_of_noun},
    model::{Guest, GuestConfig, GuestKind, Method, Result, is_disk_key, is_numbered, is_secret_at, is_secret_key},
    ops::{Ops, Resource, history::kept_as_it_is, plain},
};

impl Ops {
    /// The document of a guest as it is, or will be at its next start.
    ///
    /// # Errors
    /// Whatever the backend says.
    pub async fn export_guest(&self, guest: &Guest) -> Result<Value> {
        let rows = self.backend().guest_pending(&guest.reference()).await?;
        Ok(document(guest, &to_come(rows).0))
    }

    /// The document of a thing that is no guest.
    ///
    /// # Errors
    /// As [`resource`](Self::resource).
    pub async fn export_thing(&self, of: &'static Resource, name: &str) -> Result<Value> {
        let thing = self.resource(of, name).await?;
        let takes = |key: &str| {
            [Method::Post, Method::Put]
                .into_iter()
                .filter_map(|method| of.endpoint(method))
                .any(|endpoint| endpoint.parameters.get(key).is_some())
        };
        let wanted = |key: &str| takes(key) && !of.keys.contains(&key) && key != "digest" && !is_secret_at(of.one, key);
        let spec: Map<String, Value> = thing
            .iter()
            .filter(|(key, value)| wanted(key) && !value.is_null())
            .map(|(key, value)| {
                (key.clone(), if value.is_array() || value.is_object() { plain(value).into() } else { value.clone() })
            })
            .collect();
        Ok(json!({
            "apiVersion": API_VERSION,
            "kind": kind_of_noun(of.noun),
            "metadata": {"name": of.name_in(&thing)},
            "spec": spec,
        }))
    }
}

fn document(guest: &Guest, config: &GuestConfig) -> Value {
    let kind = guest.kind;
    let mut fields = fields::live(kind, config, guest, &[]);
    let mut metadata = Map::new();
    let name = fields.remove(kind.name_key()).or_else(|| guest.name.clone());
    metadata.insert("name".into(), name.unwrap_or_else(|| guest.vmid.to_string()).into());
    let labels: Map<String, Value> = fields
        .iter()
        .filter_map(|(field, value)| Some((field.strip_prefix("labels.")?.to_owned(), value.as_str().into())))
        .collect();
    fields.retain(|field, _| !field.starts_with("labels."));
    if !labels.is_empty() {
        metadata.insert("labels".into(), labels.into());
    }
    metadata.extend(fields.remove("pool").map(|pool| ("pool".to_owned(), pool.into())));
    metadata.insert("vmid".into(), guest.vmid.get().into());
    metadata.insert("node".into(), guest.node.as_str().into());
    let state = match guest.status.as_str() {
        _ if guest.template => Some("template"),
        "running" => Some("running"),
        "stopped" => Some("stopped"),
        // Neither is what a document can say.
        _ => None,
    };
    let mut spec = Map::new();
    spec.extend(state.map(|state| ("state".to_owned(), state.into())));
    spec.extend(fields.remove("cores").map(|cores| ("cores".to_owned(), number(&cores))));
    spec.extend(fields.remove("memory").map(|memory| ("memory".to_owned(), memory_text(&memory))));
    let mut cloud = Map::new();
    for (word, field) in CLOUD_INIT.iter().filter(|_| kind == GuestKind::Qemu) {
        cloud.extend(fields.remove(*field).map(|value| ((*word).to_owned(), value.into())));
    }
    if let Some(keys) = fields.remove("sshkeys") {
        cloud.insert("sshKeys".into(), keys.lines().collect::<Vec<_>>().into());
    }
    let (mut disks, mut nets, mut options) = (Map::new(), Map::new(), Map::new());
    for (key, said) in by_key(&fields) {
        // What is the server's own, or another guest could not have.
        let own = kept_as_it_is(key, true).is_some() || ["lxc", "smbios1"].contains(&key);
        if own || is_secret_key(key) {
            continue;
        }
        if is_disk_key(key) {
            disks.insert(key.to_owned(), disk(&said));
        } else if is_numbered(key, "net") {
            nets.insert(key.to_owned(), object(&said));
        } else {
            let value = said.get("").map_or_else(|| object(&said), |whole| number(whole));
            options.insert(key.to_owned(), value);
        }
    }
    for (key, part) in [("disks", disks), ("nets", nets), ("cloudInit", cloud), ("options", options)] {
        if !part.is_empty() {
            spec.insert(key.to_owned(), part.into());
        }
    }
    json!({"apiVersion": API_VERSION, "kind": kind_of_noun(kind.noun()), "metadata": metadata, "spec": spec})
}

/// A disk: one of its own by where and how large it is, another by its volume.
fn disk(said: &BTreeMap<String, String>) -> Value {
    let mut parts = said.clone();
    let own = parts.contains_key("storage")
        && (parts.contains_key("cloudInit")
            || (parts.contains_key("size") && parts.get("media").map(String::as_str) != Some("cdrom")));
    if own {
        parts.remove("volume");
    } else {
        TOLD_ONLY.iter().for_each(|part| drop(parts.remove(*part)));
        parts.remove("size");
    }
    let mut object = Map::new();
    for (part, value) in &parts {
        let value = match part.as_str() {
            "cloudInit" => true.into(),
            "size" => format!("{value}iB").into(),
            _ => number(value),
        };
        object.insert(part.clone(), value);
    }
    object.into()
}

fn object(said: &BTreeMap<String, String>) -> Value {
    Value::Object(said.iter().map(|(part, value)| (part.clone(), number(value))).collect())
}

/// A number where it is one and would be read back as it is.
fn number(text: &str) -> Value {
    match text.parse::<i64>() {
        Ok(number) if number.to_string() == text => number.into(),
        _ => text.into(),
    }
}

/// MiB as a size.
fn memory_text(mib: &str) -> Value {
    match mib.parse::<u64>() {
        Ok(mib) if mib.is_multiple_of(1024) => format!("{}GiB", mib / 1024).into(),
        Ok(mib) => format!("{mib}MiB").into(),
        Err(_) => mib.into(),
    }
}
