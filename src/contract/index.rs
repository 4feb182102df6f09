//! The description as it lies in the executable: found by path, unpacked once, read method by method.
//!
//! Finding only; what a method says is in `endpoint`.

use std::{
    collections::{BTreeMap, HashMap},
    io::Read,
    sync::OnceLock,
};

use flate2::read::GzDecoder;
use percent_encoding::percent_decode_str;

use super::{Endpoint, Schema};
use crate::model::{Method, Params};

/// Made by `examples/pack_contract.rs`.
const PACKED: &[u8] = include_bytes!("pve-9.2.bin");

/// The methods of the API, 661 of them.
#[derive(Debug)]
pub struct Contract {
    methods: Vec<Line>,
    formats: HashMap<&'static str, Named>,
    tasks: HashMap<&'static str, &'static str>,
}

/// A method that has not necessarily been read yet.
#[derive(Debug)]
struct Line {
    method: Method,
    path: &'static str,
    json: &'static str,
    read: OnceLock<Option<Endpoint>>,
}

/// A named property-string format that has not necessarily been read yet.
#[derive(Debug)]
struct Named {
    json: &'static str,
    read: OnceLock<Option<BTreeMap<String, Schema>>>,
}

/// A method that was found by a concrete path.
#[derive(Debug)]
pub struct Found {
    /// The method.
    pub endpoint: &'static Endpoint,
    /// What stands in the path for the names in braces, decoded.
    pub path_params: Params,
}

/// The description of PVE 9.2. The first call unpacks it, which takes a millisecond or two.
pub fn embedded() -> &'static Contract {
    static CONTRACT: OnceLock<Contract> = OnceLock::new();
    CONTRACT.get_or_init(|| Contract::read(unpacked().leak()))
}

/// The text that is packed.
pub(super) fn unpacked() -> String {
    let mut text = String::new();
    // What is built in can be read: a test compares it with its source.
    let _ = GzDecoder::new(PACKED).read_to_string(&mut text);
    text
}

impl Contract {
    fn read(text: &'static str) -> Self {
        let mut contract = Self { methods: Vec::new(), formats: HashMap::new(), tasks: HashMap::new() };
        for (head, json) in text.lines().filter_map(|line| line.split_once('\t')) {
            match head.split_once(' ') {
                Some(("format", name)) => drop(contract.formats.insert(name, Named { json, read: OnceLock::new() })),
                Some(("task", what)) => drop(contract.tasks.insert(what, json)),
                Some((word, path)) => {
                    let method = METHODS.iter().find(|method| method.as_str() == word);
                    contract.methods.extend(method.map(|&method| Line { method, path, json, read: OnceLock::new() }));
                }
                None => {}
            }
        }
        contract
    }

    /// Finds the method for a path like `/nodes/pve1/qemu/150/config`. Doubled and trailing slashes do not count and
    /// the path is percent-decoded as a whole, as on a real server; only a volume or a network at the end may contain slashes.
    pub fn find(&'static self, method: Method, path: &str) -> Option<Found> {
        self.find_decoded(method, &percent_decode_str(path).decode_utf8_lossy())
    }

    /// The same for a path that has been percent-decoded.
    pub fn find_decoded(&'static self, method: Method, path: &str) -> Option<Found> {
        let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
        let line = self.best(&segments, |line| line.method == method)?;
        let endpoint = self.endpoint_of(line)?;
        let mut path_params = Params::new();
        for (at, wanted) in template_segments(line.path).enumerate() {
            if let Some(name) = placeholder(wanted) {
                let value = if SLASHED.contains(&name) { segments[at..].join("/") } else { segments[at].to_owned() };
                path_params.push(name, value);
            }
        }
        Some(Found { endpoint, path_params })
    }

    /// The methods that a decoded path has.
    pub(super) fn methods_of(&self, segments: &[&str]) -> Vec<Method> {
        let path = self.best(segments, |_| true).map(|line| line.path);
        self.methods.iter().filter(|line| Some(line.path) == path).map(|line| line.method).collect()
    }

    /// Whether the path has any method.
    pub fn knows_path(&self, path: &str) -> bool {
        let decoded = percent_decode_str(path).decode_utf8_lossy();
        let segments: Vec<&str> = decoded.split('/').filter(|segment| !segment.is_empty()).collect();
        self.best(&segments, |_| true).is_some()
    }

    /// The method with exactly this path template.
    pub fn endpoint(&'static self, method: Method, template: &str) -> Option<&'static Endpoint> {
        self.endpoint_of(self.methods.iter().find(|line| line.method == method && line.path == template)?)
    }

    /// Every method, by method and path. Reads them all, so not for every day.
    pub fn endpoints(&'static self) -> impl Iterator<Item = &'static Endpoint> {
        self.methods.iter().filter_map(|line| self.endpoint_of(line))
    }

    /// Every method's name and path template, without reading what they say.
    pub fn templates(&self) -> impl Iterator<Item = (Method, &'static str)> {
        self.methods.iter().map(|line| (line.method, line.path))
    }

    /// The keys of a named property-string format; `None` for formats that are plain texts.
    pub fn format(&'static self, name: &str) -> Option<&'static BTreeMap<String, Schema>> {
        let named = self.formats.get(name)?;
        named.read.get_or_init(|| serde_json::from_str(named.json).ok()).as_ref()
    }

    fn endpoint_of(&'static self, line: &'static Line) -> Option<&'static Endpoint> {
        let read = || {
            let tasks = self.tasks.get(format!("{} {}", line.method, line.path).as_str());
            let tasks = tasks.and_then(|json| serde_json::from_str(json).ok());
            Endpoint::read(line.method, line.path, line.json, tasks).ok()
        };
        line.read.get_or_init(read).as_ref()
    }

    /// The line that fits; where several do, the one that is literal earliest, as the server's router prefers.
    fn best(&self, segments: &[&str], wanted: impl Fn(&Line) -> bool) -> Option<&Line> {
        let fitting = self.methods.iter().filter(|line| wanted(line) && fits(line.path, segments));
        fitting.max_by_key(|line| {
            template_segments(line.path).map(|segment| placeholder(segment).is_none()).collect::<Vec<_>>()
        })
    }
}

const METHODS: [Method; 4] = [Method::Get, Method::Post, Method::Put, Method::Delete];

/// The path parameters that may contain slashes: volumes, and networks in an IP set.
pub(super) const SLASHED: [&str; 2] = ["volume", "cidr"];

pub(super) fn template_segments(template: &str) -> impl Iterator<Item = &str> {
    template.split('/').filter(|segment| !segment.is_empty())
}

pub(super) fn placeholder(segment: &str) -> Option<&str> {
    segment.strip_prefix('{')?.strip_suffix('}')
}

fn fits(template: &str, segments: &[&str]) -> bool {
    let mut have = segments.iter();
    for wanted in template_segments(template) {
        match (placeholder(wanted), have.next()) {
            (_, None) => return false,
            (Some(name), Some(_)) if SLASHED.contains(&name) => return true,
            (Some(_), Some(_)) => {}
            (None, Some(segment)) if *segment == wanted => {}
            (None, Some(_)) => return false,
        }
    }
    have.next().is_none()
}
