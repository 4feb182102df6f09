//! Reading documents: the keys checked against the table, variables put in, each mistake with its place.

use std::{collections::BTreeMap, path::Path};

use super::{
    document::{API_VERSION, Document, Metadata, Place, Secret, Spec, kind_of_noun},
    fields::{Field, Shape, at, below},
    guest::{Reader, single},
    plain::Manifest,
    tree::{Entry, Node, Tree, read_nodes},
};
use crate::model::{Error, GuestKind, Hint, NodeName, Params, Result, closest};

/// How documents are read.
#[derive(Debug, Clone, Copy)]
pub struct Reading<'a> {
    /// The sorts of things that there may be beside guests: `pool`, `storage`, …
    pub nouns: &'a [&'static str],
    /// What `${NAME}` stands for; no other name may stand there.
    pub variables: &'a BTreeMap<String, String>,
}

/// What a file describes.
#[derive(Debug, Clone)]
pub enum Written {
    /// A document with an `apiVersion`.
    Document(Box<Document>),
    /// The configuration of a guest, without one.
    Plain(Manifest),
}

/// Reads everything that a file describes.
///
/// # Errors
/// [`Class::Usage`](crate::model::Class::Usage) with file, line and column of the first mistake.
pub fn read(text: &str, path: &Path, reading: &Reading<'_>) -> Result<Vec<Written>> {
    let one = |node: Node| match node.get("apiVersion") {
        None => Manifest::from_node(node, path).map(Written::Plain),
        Some(_) => document(node, path, reading).map(|document| Written::Document(Box::new(document))),
    };
    read_nodes(text, path)?.into_iter().map(one).collect()
}

/// What is wrong at a place.
fn wrong(path: &Path, node: &Node, what: impl std::fmt::Display) -> Error {
    Error::usage(format!("{}:{}:{}: {what}", path.display(), node.line, node.column))
}

fn document(mut node: Node, path: &Path, reading: &Reading<'_>) -> Result<Document> {
    put_in(&mut node, path, reading.variables)?;
    let text = |key: &str| node.get(key).and_then(Node::text);
    if text("apiVersion") != Some(API_VERSION) {
        let at = node.get("apiVersion").unwrap_or(&node);
        return Err(wrong(path, at, format_args!("`apiVersion` is not `{API_VERSION}`, the only form there is")));
    }
    let kind = text("kind").ok_or_else(|| wrong(path, &node, "`kind` is missing"))?;
    let guests = GuestKind::ALL.map(GuestKind::noun);
    let nouns = || guests.iter().chain(reading.nouns).copied();
    let Some(noun) = nouns().find(|noun| kind_of_noun(noun) == kind) else {
        let at = node.get("kind").unwrap_or(&node);
        let known: Vec<String> = nouns().map(kind_of_noun).collect();
        let close = closest(kind, known.iter().cloned());
        let error = wrong(path, at, format_args!("`kind`: there is no `{kind}`"));
        return Err(match close.is_empty() {
            true => error.with_hint(Hint::Text(format!("there are: {}", known.join(", ")))),
            false => error.did_you_mean(close),
        });
    };
    let guest = GuestKind::ALL.into_iter().find(|kind| kind.noun() == noun);
    let sort = guest.map_or("other", GuestKind::noun);
    check(&node, None, sort, path)?;
    let mut places = BTreeMap::new();
    let metadata = metadata(&node, path, &mut places)?;
    let empty = Node { line: node.line, column: node.column, tree: Tree::Map(Vec::new()) };
    let spec = node.get("spec").unwrap_or(&empty);
    let spec = match guest {
        Some(kind) => {
            let mut guest = Reader { kind, path, places: &mut places }.read(spec)?;
            guest.fields.insert(kind.name_key().to_owned(), metadata.name.clone());
            guest
                .fields
                .extend(metadata.labels.iter().map(|(label, value)| (format!("labels.{label}"), value.clone())));
            guest.fields.extend(metadata.pool.clone().map(|pool| ("pool".to_owned(), pool)));
            Spec::Guest(Box::new(guest))
        }
        None => {
            let (params, secrets) = things(spec, path, &mut places)?;
            Spec::Thing(params, secrets)
        }
    };
    let place = Place { file: path.to_owned(), line: node.line, column: node.column };
    Ok(Document { noun, metadata, spec, place, places })
}

/// Checks the keys and the shapes of values against the table, at any depth.
fn check(node: &Node, above: Option<&str>, sort: &str, path: &Path) -> Result<()> {
    let Tree::Map(entries) = &node.tree else { return Ok(()) };
    let inside = |key: &str| above.map_or_else(|| key.to_owned(), |above| format!("{above}.{key}"));
    for Entry { key, line, column, value } in entries {
        // What PVE knows is the contract's to judge; a point in a key is no way further down.
        let Some(field) = at(&inside(key), sort).filter(|_| !key.contains('.')) else {
            if above.and_then(|above| at(above, sort)).is_some_and(|field| field.shape == Shape::Parts) {
                continue;
            }
            let whose = above.map_or_else(String::new, |above| format!(" in `{above}`"));
            let error = Error::usage(format!("{}:{line}:{column}: unknown key `{key}`{whose}", path.display()));
            let pattern = above.and_then(|above| at(above, sort)).map(|field| field.path);
            let known = below(pattern, sort).map(|field| field.key().to_owned()).filter(|key| key != "*");
            let known: Vec<String> = known.collect();
            let close = closest(key, known.iter().cloned());
            return Err(match close.is_empty() {
                true => error.with_hint(Hint::Text(format!("there are: {}", known.join(", ")))),
                false => error.did_you_mean(close),
            });
        };
        shape(field, key, value).map_err(|what| wrong(path, value, format_args!("`{key}`: {what}")))?;
        if matches!(field.shape, Shape::Map | Shape::Parts) {
            check(value, Some(&inside(key)), sort, path)?;
        }
    }
    let pattern = above.and_then(|above| at(above, sort)).map(|field| field.path);
    match below(pattern, sort).find(|field| field.required && node.get(field.key()).is_none()) {
        Some(field) => Err(wrong(path, node, format_args!("`{}` is missing", field.path))),
        None => Ok(()),
    }
}

/// What is wrong about a value's shape.
fn shape(field: &Field, key: &str, value: &Node) -> Result<(), String> {
    let text = value.text();
    let fits = match field.shape {
        Shape::Any => true,
        Shape::Text | Shape::Size => {
            if let Tree::Fraction(text) = &value.tree
                && text.ends_with(".0")
            {
                return Err("this number would be changed by reading; put it in quotes".to_owned());
            }
            // The value of a label may be nothing.
            text.is_some() || (field.path.ends_with("labels.*") && matches!(value.tree, Tree::Null))
        }
        Shape::Number => text.is_some_and(|text| text.bytes().all(|byte| byte.is_ascii_digit())),
        Shape::Truth => text.is_some_and(|text| ["0", "1"].contains(&text)),
        Shape::Word(words) => text.is_some_and(|text| words.contains(&text)),
        Shape::Map | Shape::Parts => matches!(value.tree, Tree::Map(_)),
        Shape::List => match &value.tree {
            Tree::List(items) => items.iter().all(|item| item.text().is_some()),
            _ => false,
        },
        Shape::Secret => value.get("fromFile").is_some_and(|file| file.text().is_some_and(|text| !text.is_empty())),
    };
    match field.shape {
        _ if fits => Ok(()),
        Shape::Text => Err("a text is expected".to_owned()),
        Shape::Number => Err("a whole number is expected".to_owned()),
        Shape::Size => Err("a size is expected, such as 8GiB".to_owned()),
        Shape::Word(words) => Err(format!("one of these is expected: {}", words.join(", "))),
        Shape::Truth => Err("true or false is expected".to_owned()),
        Shape::Map | Shape::Parts => Err("a mapping is expected".to_owned()),
        Shape::List => Err("a list of texts is expected".to_owned()),
        // What stands there may be the secret.
        Shape::Secret => Err(format!("a secret is never written here: `{key}: {{ fromFile: PATH }}` is expected")),
        Shape::Any => Ok(()),
    }
}

fn metadata(node: &Node, path: &Path, places: &mut BTreeMap<String, Place>) -> Result<Metadata> {
    let empty = Node { line: node.line, column: node.column, tree: Tree::Map(Vec::new()) };
    let metadata = node.get("metadata").unwrap_or(&empty);
    let mut read = Metadata::default();
    let Tree::Map(entries) = &metadata.tree else { return Ok(read) };
    for Entry { key, value, .. } in entries {
        let text = value.text().unwrap_or_default();
        let usage = |error: &dyn std::fmt::Display| wrong(path, value, format_args!("`{key}`: {error}"));
        let place = Place { file: path.to_owned(), line: value.line, column: value.column };
        places.insert(key.clone(), place);
        match key.as_str() {
            "name" if text.is_empty() => return Err(usage(&"a name is expected")),
            "name" => text.clone_into(&mut read.name),
            "pool" => read.pool = Some(text.to_owned()),
            "vmid" => read.vmid = Some(text.parse().map_err(|error| usage(&error))?),
            "node" => read.node = Some(NodeName::new(text).map_err(|error| usage(&error))?),
            _ => {
                let Tree::Map(labels) = &value.tree else { continue };
                for label in labels {
                    let text = label.value.text().unwrap_or_default();
                    let inside = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '+');
                    let good = label.key.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
                        && label.key.chars().all(inside)
                        && text.chars().all(|c| inside(c) || c == '.');
                    if !good {
                        let what = "a label and its value are letters, digits, - _ + and in the value points";
                        return Err(wrong(path, &label.value, format_args!("`{}`: {what}", label.key)));
                    }
                    read.labels.insert(label.key.clone(), text.to_owned());
                }
            }
        }
    }
    Ok(read)
}

/// The parameters of what is no guest.
fn things(
    spec: &Node,
    path: &Path,
    places: &mut BTreeMap<String, Place>,
) -> Result<(Params, BTreeMap<String, Secret>)> {
    let Tree::Map(entries) = &spec.tree else {
        return Err(wrong(path, spec, "`spec`: a mapping of parameters is expected"));
    };
    let (mut params, mut secrets) = (Params::new(), BTreeMap::new());
    for Entry { key, value, .. } in entries {
        places.insert(key.clone(), Place { file: path.to_owned(), line: value.line, column: value.column });
        if let Some(named) = value.get("fromFile").and_then(Node::text) {
            secrets.insert(key.clone(), Secret::beside(path, named));
            continue;
        }
        let parts = match &value.tree {
            Tree::Map(parts) => parts
                .iter()
                .map(|part| Some(format!("{}={}", part.key, single(&part.value)?)))
                .collect::<Option<Vec<_>>>(),
            _ => None,
        };
        let text = parts.map(|parts| parts.join(",")).or_else(|| single(value));
        let text = text.ok_or_else(|| wrong(path, value, format_args!("`{key}`: a value is expected")))?;
        params.push(key, text);
    }
    Ok((params, secrets))
}

/// Puts variables in, at any depth, in values alone.
fn put_in(node: &mut Node, path: &Path, variables: &BTreeMap<String, String>) -> Result<()> {
    match &mut node.tree {
        Tree::Null | Tree::Fraction(_) => Ok(()),
        Tree::List(items) => items.iter_mut().try_for_each(|item| put_in(item, path, variables)),
        Tree::Map(entries) => entries.iter_mut().try_for_each(|entry| put_in(&mut entry.value, path, variables)),
        Tree::Text(text) => {
            let filled = filled(text, variables).map_err(|name| {
                let error =
                    format!("{}:{}:{}: nothing is said of `${{{name}}}`", path.display(), node.line, node.column);
                let way = format!("give --env {name} to take it from the environment; $${{{name}}} is the text itself");
                Error::usage(error).with_hint(Hint::Text(way))
            })?;
            *text = filled;
            Ok(())
        }
    }
}

/// A text with its variables put in; the name of one of which nothing is said.
fn filled(text: &str, variables: &BTreeMap<String, String>) -> Result<String, String> {
    let (mut done, mut rest) = (String::new(), text);
    while let Some(at) = rest.find("${") {
        let Some(end) = rest[at..].find('}') else { break };
        let name = &rest[at + 2..at + end];
        if let Some(before) = rest[..at].strip_suffix('$') {
            done.push_str(before);
            done.push_str(&rest[at..=at + end]);
        } else {
            done.push_str(&rest[..at]);
            done.push_str(variables.get(name).ok_or_else(|| name.to_owned())?);
        }
        rest = &rest[at + end + 1..];
    }
    done.push_str(rest);
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Class;

    const WEB: &str = "\
apiVersion: pvectl/v1
kind: VirtualMachine
metadata: { name: web-1, labels: { app: web, spare: }, pool: prod, vmid: 150 }
spec:
  state: running
  from: { template: debian-12 }
  cores: 4
  memory: 8GiB
  disks: { scsi0: { storage: local-lvm, size: 32GiB, ssd: true } }
  nets: { net0: { model: virtio, bridge: vmbr0, tag: 20 } }
  cloudInit: { user: admin, password: { fromFile: secret }, sshKeys: [ssh-ed25519 AAAA a], ip: dhcp }
  options: { onboot: 1, agent: { enabled: 1 }, boot: [a, b] }
";

    fn one(text: &str) -> Result<Document> {
        let variables = BTreeMap::from([("HOST".to_owned(), "web-9".to_owned())]);
        let reading = Reading { nouns: &["pool", "backup-job"], variables: &variables };
        match read(text, Path::new("infra/web.yaml"), &reading)?.remove(0) {
            Written::Document(document) => Ok(*document),
            Written::Plain(_) => Err(Error::usage("plain")),
        }
    }

    #[test]
    fn a_guest_is_read_as_keys_and_parts() {
        let document = one(WEB).unwrap();
        let Spec::Guest(guest) = &document.spec else { panic!("a guest") };
        let fields: Vec<String> = guest.fields.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let want = "agent.enabled=1 boot=a,b ciuser=admin cores=4 ipconfig0.ip=dhcp labels.app=web labels.spare= \
                    memory=8192 name=web-1 net0.bridge=vmbr0 net0.model=virtio net0.tag=20 onboot=1 pool=prod \
                    scsi0.size=32G scsi0.ssd=1 scsi0.storage=local-lvm sshkeys=ssh-ed25519 AAAA a";
        assert_eq!(fields.join(" "), want);
        assert_eq!(guest.secrets["cipassword"].file, Path::new("infra/secret"));
        assert_eq!((document.place.line, document.places["net0"].line), (1, 10));
        assert_eq!(guest.from.template.as_deref(), Some("debian-12"));
    }

    #[test]
    fn mistakes_have_their_place_and_a_suggestion() {
        for (from, to, needle) in [
            ("cores", "coers", "infra/web.yaml:7:3: unknown key `coers` in `spec`"),
            ("8GiB", "lots", "infra/web.yaml:8:3: `memory`: `lots` is not a size"),
            ("running", "on", "`state`: one of these is expected: running, stopped, template"),
            ("VirtualMachine", "VirtualMachin", "infra/web.yaml:2:1: `kind`: there is no `VirtualMachin`"),
            ("pvectl/v1", "pvectl/v2", "`apiVersion` is not `pvectl/v1`"),
            ("{ fromFile: secret }", "hunter2", "`password`: a secret is never written here"),
            ("name: web-1, ", "", "`metadata.name` is missing"),
            ("onboot: 1", "cores: 1", "`cores`: it has a place of its own"),
            ("size: 32GiB", "size: 32", "`scsi0`: `32` is no size"),
            ("scsi0", "net1", "`net1`: this is no disk"),
            ("vmid: 150", "vmid: 99", "VMID 99 is out of range"),
            ("web-1", "'${NAME}'", "nothing is said of `${NAME}`"),
        ] {
            let error = one(&WEB.replace(from, to)).unwrap_err();
            assert_eq!(error.class(), Class::Usage);
            assert!(error.to_string().contains(needle), "{to}: {error}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
        let hints = format!("{:?}", one(&WEB.replace("cores", "coers")).unwrap_err().hints());
        assert!(hints.contains("cores"), "{hints}");
    }

    #[test]
    fn variables_are_those_that_were_named() {
        assert_eq!(one(&WEB.replace("web-1", "'${HOST}'")).unwrap().metadata.name, "web-9");
        let text = |text: &str| filled(text, &BTreeMap::from([("A".to_owned(), "${B}".to_owned())]));
        assert_eq!(text("x-${A}-$${A}-$A-${").unwrap(), "x-${B}-${A}-$A-${");
        assert_eq!(text("${C}"), Err("C".to_owned()));
    }

    #[test]
    fn things_are_parameters() {
        let text =
            "apiVersion: pvectl/v1\nkind: Pool\nmetadata: { name: prod }\nspec: { comment: yes, list: [a, b] }\n";
        let Spec::Thing(params, _) = one(text).unwrap().spec else { panic!("a thing") };
        assert_eq!(params, Params::new().with("comment", "yes").with("list", "a,b"));
    }
}
