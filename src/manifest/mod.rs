//! Guests as files: JSON or YAML with the same keys as PVE, read with the line of every key.
//!
//! Reads and names mistakes; what the keys mean is for `ops`. JSON is read as the YAML it also is, so that both have
//! the same errors.

mod object;

use std::{collections::BTreeMap, fmt, path::Path};

use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, SeqAccess, Visitor},
};
use serde_yaml::{Location, Spanned};

pub use self::object::read_object;

use crate::model::{Error, GuestKind, NodeName, Params, Result, Vmid};

/// A guest as a file describes it.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// VM or container, if the file says or shows it.
    pub kind: Option<GuestKind>,
    /// The guest's number.
    pub vmid: Option<Vmid>,
    /// The node.
    pub node: Option<NodeName>,
    /// The template to make it from.
    pub template: Option<String>,
    /// Whether to start it once it is made.
    pub start: Option<bool>,
    /// The configuration, by PVE's keys; values as text.
    pub params: Params,
    /// Keys whose value is null: to be unset.
    pub unset: Vec<String>,
    /// The line of each key.
    pub lines: BTreeMap<String, u64>,
}

/// Keys of ours in a file, beside PVE's.
const OWN_KEYS: [&str; 6] = ["kind", "type", "vmid", "node", "template", "start"];

/// What `get -o json` adds to a configuration and no configuration has: left out when such a file is read back.
const STATUS_OF_GET: &str = "config";

impl Manifest {
    /// Reads every guest of a file: one mapping, a list of mappings, or several YAML documents.
    ///
    /// # Errors
    /// [`Class::Usage`](crate::model::Class::Usage) with file, line and column.
    pub fn read(text: &str, path: &Path) -> Result<Vec<Self>> {
        let shown = path.display();
        let options = serde_yaml::options! { strict_booleans: true };
        let documents: Vec<Document> = serde_yaml::from_multiple_with_options(text, options).map_err(|error| {
            let said = error.to_string();
            let said = said.trim_start_matches("error: ");
            Error::usage(format!("{shown} is neither JSON nor YAML that describes a guest: {said}"))
        })?;
        let mappings = documents.into_iter().flat_map(|document| match document {
            Document::One(mapping) => vec![mapping],
            Document::List(mappings) => mappings,
        });
        let manifests = mappings.map(|mapping| Self::from_mapping(mapping, path)).collect::<Result<Vec<_>>>()?;
        if manifests.is_empty() {
            return Err(Error::usage(format!("{shown} describes no guest")));
        }
        Ok(manifests)
    }

    fn from_mapping(mut mapping: Mapping, path: &Path) -> Result<Self> {
        let mut manifest = Self {
            kind: None,
            vmid: None,
            node: None,
            template: None,
            start: None,
            params: Params::new(),
            unset: Vec::new(),
            lines: BTreeMap::new(),
        };
        // The answer of `get -o json`: status around a configuration.
        if let Some(at) =
            mapping.0.iter().position(|entry| matches!(&entry.value, Field::Mapping(_)) && entry.key == STATUS_OF_GET)
        {
            let Field::Mapping(inner) = mapping.0.remove(at).value else { return Ok(manifest) };
            mapping.0.retain(|entry| OWN_KEYS.contains(&entry.key.as_str()) && entry.key != "template");
            mapping.0.extend(inner.0);
        }
        for Entry { key, line, value } in mapping.0 {
            let wrong = |what: String| Error::usage(format!("{}:{line}: `{key}`: {what}", path.display()));
            let text = match value {
                Field::Null => {
                    manifest.lines.insert(key.clone(), line);
                    manifest.unset.push(key);
                    continue;
                }
                Field::Text(text) => text,
                Field::Mapping(_) => return Err(wrong("a single value is expected here, not a mapping".into())),
                Field::Fraction(text) if OWN_KEYS.contains(&key.as_str()) => text,
                Field::Fraction(text) if text.ends_with(".0") => {
                    return Err(wrong("this number would be changed by reading; put it in quotes".into()));
                }
                Field::Fraction(text) => text,
            };
            match key.as_str() {
                "vmid" => manifest.vmid = Some(text.parse().map_err(|e| wrong(format!("{e}")))?),
                "node" => manifest.node = Some(NodeName::new(text).map_err(|e| wrong(e.to_string()))?),
                "kind" | "type" => {
                    let kind = GuestKind::ALL
                        .into_iter()
                        .find(|kind| [kind.noun(), kind.api()].contains(&text.to_ascii_lowercase().as_str()));
                    manifest.kind = Some(kind.ok_or_else(|| wrong(format!("`{text}` is not one of vm, container")))?);
                }
                "start" => {
                    manifest.start = Some(truth(&text).ok_or_else(|| wrong("true or false is expected".into()))?);
                }
                // PVE's `template` is a boolean that a create cannot use; ours is the name of one.
                "template" => match truth(&text) {
                    Some(false) => {}
                    Some(true) => return Err(wrong("the name of a template is expected".into())),
                    None => manifest.template = Some(text),
                },
                _ => {
                    manifest.lines.insert(key.clone(), line);
                    manifest.params.push(key, text);
                }
            }
        }
        manifest.kind = manifest.kind.or_else(|| manifest.shown_kind());
        Ok(manifest)
    }

    /// The kind that only one sort of guest has such keys of.
    fn shown_kind(&self) -> Option<GuestKind> {
        let has = |keys: &[&str]| keys.iter().any(|key| self.params.get(key).is_some());
        match (
            has(&["hostname", "rootfs", "ostemplate", "unprivileged"]),
            has(&["name", "scsi0", "virtio0", "scsihw", "bios"]),
        ) {
            (true, false) => Some(GuestKind::Lxc),
            (false, true) => Some(GuestKind::Qemu),
            _ => None,
        }
    }
}

/// A YAML or JSON truth value as text.
fn truth(text: &str) -> Option<bool> {
    match text {
        "1" | "true" | "yes" | "on" => Some(true),
        "0" | "false" | "no" | "off" => Some(false),
        _ => None,
    }
}

#[derive(Debug)]
enum Document {
    One(Mapping),
    List(Vec<Mapping>),
}

#[derive(Debug)]
struct Mapping(Vec<Entry>);

#[derive(Debug)]
struct Entry {
    key: String,
    line: u64,
    value: Field,
}

/// A value as text; the schema decides later what it must be.
#[derive(Debug)]
enum Field {
    Null,
    Text(String),
    /// A number with a fraction, or one that YAML takes for such (`0123`).
    Fraction(String),
    Mapping(Mapping),
}

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = Document;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a mapping of configuration keys, or a list of them")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> std::result::Result<Document, A::Error> {
                read_mapping(map).map(Document::One)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> std::result::Result<Document, A::Error> {
                let mut mappings = Vec::new();
                while let Some(mapping) = seq.next_element()? {
                    mappings.push(mapping);
                }
                Ok(Document::List(mappings))
            }
        }

        deserializer.deserialize_any(Either)
    }
}

impl<'de> Deserialize<'de> for Mapping {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        match Field::deserialize(deserializer)? {
            Field::Mapping(mapping) => Ok(mapping),
            _ => Err(de::Error::custom("a mapping of configuration keys is expected")),
        }
    }
}

fn read_mapping<'de, A: MapAccess<'de>>(mut map: A) -> std::result::Result<Mapping, A::Error> {
    let mut entries = Vec::new();
    while let Some(key) = map.next_key::<Spanned<String>>()? {
        let line = Location::line(&key.referenced);
        entries.push(Entry { key: key.value, line, value: map.next_value()? });
    }
    Ok(Mapping(entries))
}

impl<'de> Deserialize<'de> for Field {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Any;

        impl<'de> Visitor<'de> for Any {
            type Value = Field;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }

            fn visit_unit<E: de::Error>(self) -> std::result::Result<Field, E> {
                Ok(Field::Null)
            }

            fn visit_none<E: de::Error>(self) -> std::result::Result<Field, E> {
                Ok(Field::Null)
            }

            fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> std::result::Result<Field, D::Error> {
                Field::deserialize(deserializer)
            }

            fn visit_bool<E: de::Error>(self, value: bool) -> std::result::Result<Field, E> {
                Ok(Field::Text(u8::from(value).to_string()))
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> std::result::Result<Field, E> {
                Ok(Field::Text(value.to_string()))
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> std::result::Result<Field, E> {
                Ok(Field::Text(value.to_string()))
            }

            fn visit_f64<E: de::Error>(self, value: f64) -> std::result::Result<Field, E> {
                Ok(Field::Fraction(format!("{value:?}")))
            }

            fn visit_str<E: de::Error>(self, value: &str) -> std::result::Result<Field, E> {
                Ok(Field::Text(value.to_owned()))
            }

            /// A list is what PVE writes with commas.
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> std::result::Result<Field, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    match item {
                        Field::Text(text) | Field::Fraction(text) => items.push(text),
                        _ => return Err(de::Error::custom("a list of single values is expected")),
                    }
                }
                Ok(Field::Text(items.join(",")))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> std::result::Result<Field, A::Error> {
                read_mapping(map).map(Field::Mapping)
            }
        }

        deserializer.deserialize_any(Any)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Class;

    fn read(text: &str) -> Result<Vec<Manifest>> {
        Manifest::read(text, Path::new("vm.yaml"))
    }

    #[test]
    fn json_and_yaml_are_read_alike() {
        let yaml = "vmid: 150\nname: web\ncores: 4\nonboot: true\nnet0: virtio,bridge=vmbr0\ncpulimit: 1.5\ndescription: ~\nstart: yes\n";
        let json = r#"{"vmid":150,"name":"web","cores":4,"onboot":true,"net0":"virtio,bridge=vmbr0","cpulimit":1.5,"description":null,"start":1}"#;
        let (yaml, json) = (read(yaml).unwrap().remove(0), read(json).unwrap().remove(0));
        assert_eq!(yaml.params, json.params);
        assert_eq!((yaml.vmid, yaml.start, &yaml.unset), (json.vmid, Some(true), &vec!["description".to_owned()]));
        assert_eq!(yaml.kind, Some(GuestKind::Qemu));
        assert_eq!(yaml.lines["net0"], 5);
        let params: Vec<_> = yaml.params.iter().collect();
        assert_eq!(
            params,
            [("name", "web"), ("cores", "4"), ("onboot", "1"), ("net0", "virtio,bridge=vmbr0"), ("cpulimit", "1.5")]
        );
    }

    #[test]
    fn several_guests_and_the_output_of_get_are_understood() {
        assert_eq!(read("- name: a\n- name: b\n").unwrap().len(), 2);
        assert_eq!(read("name: a\n---\nname: b\n").unwrap().len(), 2);
        let got = read(r#"{"vmid":150,"status":"running","maxmem":1,"template":0,"type":"qemu","config":{"cores":4,"digest":"x"}}"#).unwrap();
        assert_eq!(got[0].params, Params::new().with("cores", 4).with("digest", "x"));
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        for (bad, needle) in [
            ("a: 1\nvmid: 99\n", "vm.yaml:2: `vmid`: VMID 99 is out of range"),
            ("name: a\nkind: vmx\n", "vm.yaml:2: `kind`: `vmx` is not one of vm, container"),
            ("name: a\nnet0:\n  bridge: vmbr0\n", "vm.yaml:2: `net0`: a single value is expected"),
            ("name: a\nciuser: 0123\n", "vm.yaml:2: `ciuser`: this number would be changed"),
            ("{bad", "neither JSON nor YAML"),
            ("just text", "neither JSON nor YAML"),
            ("name: a\nname: b\n", "neither JSON nor YAML"),
            ("", "describes no guest"),
        ] {
            let error = read(bad).unwrap_err();
            assert_eq!(error.class(), Class::Usage);
            assert!(error.message().contains(needle), "{bad:?} gave: {error}");
        }
    }
}
