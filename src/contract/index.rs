//! The description as it lies in the executable: found by path, unpacked once, read method by method.
//!
//! Finding only; what a method says is in `endpoint`.

use std::{
    collections::HashMap,
    fmt,
    io::{self, Read, Write},
    ops::Range,
    sync::{Arc, OnceLock},
};

use flate2::{Compression, GzBuilder, read::GzDecoder};
use percent_encoding::percent_decode_str;

use super::{Endpoint, Keys};
use crate::model::{Method, Params};

/// Made by `examples/pack_contract.rs`.
const PACKED: &[u8] = include_bytes!("pve-9.2.bin");

/// A description of the API: its methods (661 in PVE 9.2) and the named formats of its property strings.
///
/// It keeps the text it was read from and reads a method when it is asked for, each once.
pub struct Contract {
    text: Box<str>,
    methods: Vec<Line>,
    formats: HashMap<String, Named>,
    tasks: HashMap<String, Range<usize>>,
}

/// A method that has not necessarily been read yet. Path and JSON are places in the contract's text.
#[derive(Debug)]
struct Line {
    method: Method,
    path: Range<usize>,
    json: Range<usize>,
    read: OnceLock<Option<Endpoint>>,
}

/// A named property-string format that has not necessarily been read yet.
#[derive(Debug)]
struct Named {
    json: Range<usize>,
    read: OnceLock<Option<Arc<Keys>>>,
}

/// A method that was found by a concrete path.
#[derive(Debug)]
pub struct Found<'a> {
    /// The method.
    pub endpoint: &'a Endpoint,
    /// What stands in the path for the names in braces, decoded.
    pub path_params: Params,
}

/// The description of PVE 9.2. The first call unpacks it, which takes a millisecond or two.
pub fn embedded() -> &'static Contract {
    static CONTRACT: OnceLock<Contract> = OnceLock::new();
    CONTRACT.get_or_init(|| Contract::read(unpacked()))
}

/// The text that is packed.
pub(super) fn unpacked() -> String {
    // What is built in can be read: a test compares it with its source.
    unpack(PACKED).unwrap_or_default()
}

fn unpack(packed: &[u8]) -> io::Result<String> {
    let mut text = String::new();
    GzDecoder::new(packed).read_to_string(&mut text)?;
    Ok(text)
}

impl fmt::Debug for Contract {
    /// Without what it says: that is a megabyte.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Contract({} methods)", self.methods.len())
    }
}

impl Contract {
    /// Takes a description that [`packed`](Self::packed) has made.
    ///
    /// # Errors
    /// When it is not whole.
    pub fn unpacked(packed: &[u8]) -> io::Result<Self> {
        unpack(packed).map(Self::read)
    }

    /// The whole description, compressed: some 60 KiB without prose, 250 KiB with it.
    pub fn packed(&self) -> Vec<u8> {
        let mut packed = GzBuilder::new().mtime(0).write(Vec::new(), Compression::default());
        // Writing into memory does not fail.
        let written = packed.write_all(self.text.as_bytes()).and_then(|()| packed.finish());
        written.unwrap_or_default()
    }

    /// Takes the text of a description, one entry a line: `METHOD path<tab>JSON`, `format name<tab>JSON`,
    /// `task METHOD path<tab>JSON`. Lines of another form are passed over.
    pub(super) fn read(text: String) -> Self {
        let mut contract =
            Self { text: text.into(), methods: Vec::new(), formats: HashMap::new(), tasks: HashMap::new() };
        let text = &*contract.text;
        let mut at = 0;
        for line in text.split_inclusive('\n') {
            let start = at;
            at += line.len();
            let Some((head, json)) = line.trim_end_matches('\n').split_once('\t') else { continue };
            let json = start + head.len() + 1..start + head.len() + 1 + json.len();
            match head.split_once(' ') {
                Some(("format", name)) => {
                    contract.formats.insert(name.to_owned(), Named { json, read: OnceLock::new() });
                }
                Some(("task", what)) => drop(contract.tasks.insert(what.to_owned(), json)),
                Some((word, path)) => {
                    let path = start + word.len() + 1..start + word.len() + 1 + path.len();
                    let method = Method::ALL.into_iter().find(|method| method.as_str() == word);
                    contract.methods.extend(method.map(|method| Line { method, path, json, read: OnceLock::new() }));
                }
                None => {}
            }
        }
        contract
    }

    /// The text as [`read`](Self::read) takes it.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    fn path(&self, line: &Line) -> &str {
        &self.text[line.path.clone()]
    }

    /// Finds the method for a path like `/nodes/pve1/qemu/150/config`. Doubled and trailing slashes do not count and
    /// the path is percent-decoded as a whole, as on a real server; only a volume or a network at the end may contain
    /// slashes.
    pub fn find(&self, method: Method, path: &str) -> Option<Found<'_>> {
        self.find_decoded(method, &percent_decode_str(path).decode_utf8_lossy())
    }

    /// The same for a path that has been percent-decoded.
    pub fn find_decoded(&self, method: Method, path: &str) -> Option<Found<'_>> {
        let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
        let line = self.best(&segments, |line| line.method == method)?;
        let endpoint = self.endpoint_of(line)?;
        let mut path_params = Params::new();
        for (at, wanted) in template_segments(self.path(line)).enumerate() {
            if let Some(name) = placeholder(wanted) {
                let value = if SLASHED.contains(&name) { segments[at..].join("/") } else { segments[at].to_owned() };
                path_params.push(name, value);
            }
        }
        Some(Found { endpoint, path_params })
    }

    /// The methods that a decoded path has.
    pub(super) fn methods_of(&self, segments: &[&str]) -> Vec<Method> {
        let path = self.best(segments, |_| true).map(|line| self.path(line));
        self.methods.iter().filter(|line| Some(self.path(line)) == path).map(|line| line.method).collect()
    }

    /// Whether the path has any method.
    pub fn knows_path(&self, path: &str) -> bool {
        let decoded = percent_decode_str(path).decode_utf8_lossy();
        let segments: Vec<&str> = decoded.split('/').filter(|segment| !segment.is_empty()).collect();
        self.best(&segments, |_| true).is_some()
    }

    /// The method with exactly this path template.
    pub fn endpoint(&self, method: Method, template: &str) -> Option<&Endpoint> {
        self.endpoint_of(self.methods.iter().find(|line| line.method == method && self.path(line) == template)?)
    }

    /// Every method, by method and path. Reads them all, so not for every day.
    pub fn endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        self.methods.iter().filter_map(|line| self.endpoint_of(line))
    }

    /// Every method's name and path template, without reading what they say.
    pub fn templates(&self) -> impl Iterator<Item = (Method, &str)> {
        self.methods.iter().map(|line| (line.method, self.path(line)))
    }

    /// The keys of a named property-string format; `None` for formats that are plain texts.
    pub fn format(&self, name: &str) -> Option<Arc<Keys>> {
        let named = self.formats.get(name)?;
        let read = || {
            let mut keys: Keys = serde_json::from_str(&self.text[named.json.clone()]).ok()?;
            keys.values_mut().for_each(|schema| schema.resolve(&|name| self.format(name)));
            Some(Arc::new(keys))
        };
        named.read.get_or_init(read).clone()
    }

    fn endpoint_of<'a>(&'a self, line: &'a Line) -> Option<&'a Endpoint> {
        let read = || {
            let path = self.path(line);
            let tasks = self.tasks.get(format!("{} {path}", line.method).as_str());
            let tasks = tasks.and_then(|json| serde_json::from_str(&self.text[json.clone()]).ok());
            let mut endpoint = Endpoint::read(line.method, path, &self.text[line.json.clone()], tasks).ok()?;
            endpoint.resolve(&|name| self.format(name));
            Some(endpoint)
        };
        line.read.get_or_init(read).as_ref()
    }

    /// The line that fits; where several do, the one that is literal earliest, as the server's router prefers.
    fn best(&self, segments: &[&str], wanted: impl Fn(&Line) -> bool) -> Option<&Line> {
        let fitting = self.methods.iter().filter(|line| wanted(line) && fits(self.path(line), segments));
        fitting.max_by_key(|line| {
            template_segments(self.path(line)).map(|segment| placeholder(segment).is_none()).collect::<Vec<_>>()
        })
    }
}

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
