//! Guests as plain files: one mapping with the keys of PVE's API, as `create -f` and `update -f` take them.
//!
//! What the keys mean is for `ops`. Manifests with an `apiVersion` are in `document`.

use std::{collections::BTreeMap, path::Path};

use super::tree::{Entry, Node, Tree, read_nodes};
use crate::model::{Error, GuestKind, Hint, NodeName, Params, Result, Vmid};

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
        read_nodes(text, path)?.into_iter().map(|node| Self::from_node(node, path)).collect()
    }

    /// The guest that a mapping describes.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub(super) fn from_node(node: Node, path: &Path) -> Result<Self> {
        let line = node.line;
        let Tree::Map(mut entries) = node.tree else {
            return Err(Error::usage(format!(
                "{}:{line}: a mapping of configuration keys is expected",
                path.display()
            )));
        };
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
            entries.iter().position(|entry| matches!(entry.value.tree, Tree::Map(_)) && entry.key == STATUS_OF_GET)
        {
            let Tree::Map(inner) = entries.remove(at).value.tree else { return Ok(manifest) };
            entries.retain(|entry| OWN_KEYS.contains(&entry.key.as_str()) && entry.key != "template");
            entries.extend(inner);
        }
        if let Some(entry) = entries.iter().find(|entry| entry.key == "apiVersion") {
            let text =
                format!("{}:{}: this is a manifest, and not the configuration of a guest", path.display(), entry.line);
            return Err(Error::usage(text).with_hint(Hint::Text("give it to `pvectl apply -f`".into())));
        }
        for Entry { key, line, value, .. } in entries {
            let wrong = |what: String| Error::usage(format!("{}:{line}: `{key}`: {what}", path.display()));
            let text = match value.tree {
                Tree::Null => {
                    manifest.lines.insert(key.clone(), line);
                    manifest.unset.push(key);
                    continue;
                }
                Tree::Map(_) => return Err(wrong("a single value is expected here, not a mapping".into())),
                Tree::Fraction(text) if text.ends_with(".0") && !OWN_KEYS.contains(&key.as_str()) => {
                    return Err(wrong("this number would be changed by reading; put it in quotes".into()));
                }
                Tree::Text(text) | Tree::Fraction(text) => text,
                // A list is what PVE writes with commas.
                Tree::List(items) => {
                    let texts = items.iter().map(Node::text).collect::<Option<Vec<&str>>>();
                    texts.ok_or_else(|| wrong("a list of single values is expected".into()))?.join(",")
                }
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
