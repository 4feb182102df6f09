//! A server's own description: `/pve-docs/api-viewer/apidoc.js`, a tree of paths in a line of JavaScript.
//!
//! Reading and writing that file; fetching and keeping it is for others.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::Contract;
use crate::model::Method;

/// Where a server has it, beside `/api2`. No login is needed there.
pub const APIDOC_PATH: &str = "/pve-docs/api-viewer/apidoc.js";

/// What is no description of the API.
#[derive(Debug, thiserror::Error)]
pub enum NoDescription {
    /// The file has no such assignment: `const apiSchema = […]`.
    #[error("there is no list of methods in it")]
    NoList,
    /// The list is no JSON.
    #[error("its list of methods cannot be read")]
    Malformed(#[from] serde_json::Error),
    /// The list is there and has no method.
    #[error("its list of methods is empty")]
    Empty,
}

impl Contract {
    /// Reads a server's `apidoc.js`. It names some formats without saying what they are; those, and the types of
    /// tasks, are taken from `base`.
    ///
    /// # Errors
    /// When it is no such file.
    pub fn from_apidoc(script: &str, base: &Self) -> Result<Self, NoDescription> {
        // What follows the list is the program that shows it.
        let list = script.find('=').and_then(|at| script[at + 1..].trim_start().strip_prefix('[').map(|_| at + 1));
        let list = list.ok_or(NoDescription::NoList)?;
        let tree = serde_json::Deserializer::from_str(&script[list..]).into_iter::<Vec<Value>>().next();
        let mut lines = Vec::new();
        for node in tree.ok_or(NoDescription::NoList)?? {
            collect(node, &mut lines);
        }
        if lines.is_empty() {
            return Err(NoDescription::Empty);
        }
        lines.sort();
        lines.extend(base.text().lines().filter(|line| is_shared(line)).map(|line| format!("{line}\n")));
        Ok(Self::read(lines.concat()))
    }

    /// The same file from this description: what a server made of it serves.
    pub fn to_apidoc(&self) -> String {
        let mut root = Node::default();
        for line in self.text().lines().filter(|line| !is_shared(line)) {
            let Some((head, json)) = line.split_once('\t') else { continue };
            let (Some((method, path)), Ok(mut info)) = (head.split_once(' '), serde_json::from_str::<Value>(json))
            else {
                continue;
            };
            info["method"] = method.into();
            let place = path
                .split('/')
                .skip(1)
                .fold(&mut root, |node, segment| node.children.entry(segment.to_owned()).or_default());
            place.info.insert(method.to_owned(), info);
        }
        let tree: Vec<Value> = root.children.into_iter().map(|(text, node)| node.into_json("", &text)).collect();
        format!("const apiSchema = {}\n;\n", Value::Array(tree))
    }
}

/// Whether a line is about formats or tasks, which the file does not have.
fn is_shared(line: &str) -> bool {
    line.starts_with("format ") || line.starts_with("task ")
}

/// Takes the methods of a path and of those below it.
fn collect(mut node: Value, lines: &mut Vec<String>) {
    let path = node["path"].as_str().unwrap_or_default().to_owned();
    if let Some(Value::Object(methods)) = node.get_mut("info").map(Value::take) {
        for (word, mut info) in methods {
            let known = Method::ALL.iter().any(|method| method.as_str() == word);
            if let Some(info) = info.as_object_mut().filter(|_| known && path.starts_with('/')) {
                info.shift_remove("method");
                lines.push(format!("{word} {path}\t{}\n", Value::Object(std::mem::take(info))));
            }
        }
    }
    if let Some(Value::Array(children)) = node.get_mut("children").map(Value::take) {
        children.into_iter().for_each(|child| collect(child, lines));
    }
}

/// A path and what is below it.
#[derive(Default)]
struct Node {
    info: Map<String, Value>,
    children: BTreeMap<String, Self>,
}

impl Node {
    fn into_json(self, above: &str, text: &str) -> Value {
        let path = format!("{above}/{text}");
        let children: Vec<Value> =
            self.children.into_iter().map(|(text, child)| child.into_json(&path, &text)).collect();
        let mut node = json!({"leaf": u8::from(children.is_empty()), "path": path, "text": text});
        if !self.info.is_empty() {
            node["info"] = Value::Object(self.info);
        }
        if !children.is_empty() {
            node["children"] = Value::Array(children);
        }
        node
    }
}
