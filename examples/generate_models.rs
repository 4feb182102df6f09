//! Writes the typed configurations, `src/model/config/{qemu,lxc}*`, from the API description in `fixtures/pve`; run it
//! after the fixtures changed.
//!
//! What it writes are tables, expanded by the macros in `src/model/config/tables.rs`. Names that the description does
//! not give are in the tables at the top of this file.

use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error,
    fmt::Write as _,
    fs,
    path::Path,
};

use serde_json::{Map, Value};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Parameters of a change that are no configuration: where it goes and how it is done.
const NO_CONFIG: [&str; 7] = ["background_delay", "delete", "force", "node", "revert", "skiplock", "vmid"];

/// The one key that is no text: the raw lines of a container, read by hand in `config/mod.rs`.
const BY_HAND: [&str; 1] = ["lxc"];

/// The types of keys whose shape the description does not tell.
const TYPES: [(&str, &str); 4] = [("digest", "Digest"), ("hotplug", "List"), ("startup", "Startup"), ("tags", "Tags")];

/// Keys that would get a name that is taken.
const RENAMED: [(&str, &str); 1] = [("numa[n]", "numa_node")];

/// What a property string is called, by its key; several keys with one name share a type that has the keys of all.
const PROPERTIES: [(&str, &str); 34] = [
    ("agent", "Agent"),
    ("amd-sev", "AmdSev"),
    ("audio0", "Audio"),
    ("boot", "Boot"),
    ("cdrom", "Disk"),
    ("cicustom", "CiCustom"),
    ("cpu", "Cpu"),
    ("dev[n]", "Device"),
    ("efidisk0", "EfiDisk"),
    ("features", "Features"),
    ("hostpci[n]", "HostPci"),
    ("ide[n]", "Disk"),
    ("intel-tdx", "IntelTdx"),
    ("ipconfig[n]", "IpConfig"),
    ("ivshmem", "Ivshmem"),
    ("machine", "Machine"),
    ("meta", "Meta"),
    ("mp[n]", "MountPoint"),
    ("net[n]", "Net"),
    ("numa[n]", "NumaNode"),
    ("rng0", "Rng"),
    ("rootfs", "Rootfs"),
    ("runningmachine", "Machine"),
    ("sata[n]", "Disk"),
    ("scsi[n]", "Disk"),
    ("smbios1", "Smbios"),
    ("spice_enhancements", "SpiceEnhancements"),
    ("tpmstate0", "TpmState"),
    ("usb[n]", "Usb"),
    ("vga", "Vga"),
    ("virtio[n]", "Disk"),
    ("virtiofs[n]", "VirtioFs"),
    ("watchdog", "Watchdog"),
    ("unused[n]", "Unused"),
];

/// Types of the parent room.
const SHARED: [&str; 4] = ["Digest", "List", "Size", "Tags"];

/// A guest's kind: its word in paths, its type, what people call it.
const KINDS: [(&str, &str, &str); 2] =
    [("qemu", "QemuConfig", "a virtual machine"), ("lxc", "LxcConfig", "a container")];

/// Every file with its text, by the path below `src/model/config`.
pub fn files(fixtures: &Path) -> Result<BTreeMap<String, String>> {
    let read = |name: &str| -> Result<Value> { Ok(serde_json::from_str(&fs::read_to_string(fixtures.join(name))?)?) };
    let (api, formats) = (read("api-9.2.json")?, read("formats-9.2.json")?);
    let mut files = BTreeMap::new();
    for (kind, name, what) in KINDS {
        let kind = Kind::read(kind, name, what, &api, &formats)?;
        files.insert(format!("{}.rs", kind.kind), kind.keys());
        files.insert(format!("{}/properties.rs", kind.kind), kind.properties());
        files.insert(format!("{}/words.rs", kind.kind), kind.words());
    }
    Ok(files)
}

/// A configuration key, or a key inside a property string.
struct Key {
    /// As the server spells it, without `[n]`.
    key: String,
    rust: String,
    kind: String,
    /// The only key of a property string that carries nothing else.
    inner: Option<String>,
    doc: String,
}

/// A property string.
#[derive(Default)]
struct Property {
    owners: BTreeSet<String>,
    bare: String,
    aliases: BTreeMap<String, String>,
    keyed: BTreeMap<String, (String, String)>,
    /// The keys, and in which of the owners each is.
    keys: BTreeMap<String, (Value, BTreeSet<String>)>,
}

/// All about one kind of guest.
#[derive(Default)]
struct Kind {
    kind: String,
    name: String,
    what: String,
    single: Vec<Key>,
    numbered: Vec<Key>,
    read_only: Vec<String>,
    properties: BTreeMap<String, Property>,
    words: BTreeMap<String, (String, Vec<String>)>,
}

impl Kind {
    fn read(kind: &str, name: &str, what: &str, api: &Value, formats: &Value) -> Result<Self> {
        let path = format!("/nodes/{{node}}/{kind}/{{vmid}}/config");
        let of = |method: &str, part: &str| -> Result<Map<String, Value>> {
            let found = api.as_array().into_iter().flatten().find(|m| m["method"] == method && m["path"] == *path);
            Ok(found.and_then(|m| m[part]["properties"].as_object()).ok_or("no such method")?.clone())
        };
        let (answer, change) = (of("GET", "returns")?, of("PUT", "parameters")?);
        let mut all = Self { kind: kind.into(), name: name.into(), what: what.into(), ..Self::default() };
        let mut declared: BTreeMap<&String, Vec<&Value>> = BTreeMap::new();
        for (key, schema) in answer.iter().chain(change.iter().filter(|(key, _)| !NO_CONFIG.contains(&key.as_str()))) {
            declared.entry(key).or_default().push(schema);
        }
        for (key, schemas) in declared {
            if !change.contains_key(key) {
                all.read_only.push(key.clone());
            }
            if !BY_HAND.contains(&key.as_str()) {
                all.add(key, &schemas, formats)?;
            }
        }
        Ok(all)
    }

    fn add(&mut self, key: &str, schemas: &[&Value], formats: &Value) -> Result<()> {
        let (base, numbered) = key.strip_suffix("[n]").map_or((key, false), |base| (base, true));
        let rust =
            RENAMED.iter().find(|(k, _)| *k == key).map_or_else(|| rust_name(base), |(_, name)| (*name).to_owned());
        let schema = schemas[0];
        let inner_keys = |schema: &Value| match &schema["format"] {
            Value::Object(keys) => Some(keys.clone()),
            Value::String(format) => formats[format].as_object().cloned(),
            _ => None,
        };
        let mut inner = None;
        let mut doc = describe(schema, key);
        let kind = match inner_keys(schema) {
            None => {
                self.note(schema, &pascal(base), format!("Values of `{key}`."));
                scalar(schema, base, &pascal(base))
            }
            Some(keys) if only_number(&keys).is_some() => {
                inner = only_number(&keys);
                let schema = &keys[inner.as_deref().unwrap_or_default()];
                doc = describe(schema, key);
                scalar(schema, base, "")
            }
            Some(_) => {
                let name = PROPERTIES.iter().find(|(k, _)| *k == key).ok_or_else(|| format!("`{key}` has no name"))?.1;
                for keys in schemas.iter().filter_map(|schema| inner_keys(schema)) {
                    self.properties.entry(name.to_owned()).or_default().add(key, &keys);
                    for (inner, schema) in &keys {
                        self.note(
                            schema,
                            &words_name(name, inner),
                            format!("Values of `{inner}` in [`{name}`](super::{name})."),
                        );
                    }
                }
                doc = format!("`{key}`: see [`{name}`].");
                name.to_owned()
            }
        };
        let list = if numbered { &mut self.numbered } else { &mut self.single };
        list.push(Key { key: base.to_owned(), rust, kind, inner, doc });
        Ok(())
    }

    /// Keeps the words of an enumeration under its name.
    fn note(&mut self, schema: &Value, name: &str, doc: String) {
        for value in schema["enum"].as_array().into_iter().flatten().map(plain) {
            let (_, known) = self.words.entry(name.to_owned()).or_insert_with(|| (doc.clone(), Vec::new()));
            if !known.contains(&value) {
                known.push(value);
            }
        }
    }

    fn keys(&self) -> String {
        let mut out = self.head(&format!("The configuration of {}, key by key.", self.what));
        let kinds = || self.single.iter().chain(&self.numbered).map(|key| key.kind.as_str());
        out += "mod properties;\nmod words;\n\npub use properties::*;\npub use words::*;\n\n";
        out += &uses("super", &["Encoded", "Startup"], kinds(), Some("tables::config"));
        out += &(uses("crate::model", &SHARED, kinds(), None) + "\n");
        let _ = writeln!(
            out,
            "config! {{\n    /// The configuration of {}: typed access to the keys of a [`GuestConfig`](crate::model::GuestConfig).\n    {} {:?}",
            self.what, self.name, self.read_only
        );
        let row = |key: &Key, all: &str| {
            let inner = key.inner.as_ref().map(|inner| format!(" / {inner:?}")).unwrap_or_default();
            format!(
                "        /// {}\n        {} set_{}{all} {:?}{inner}: {};\n",
                key.doc, key.rust, key.rust, key.key, key.kind
            )
        };
        out += "    one {\n";
        out.extend(self.single.iter().map(|key| row(key, "")));
        out += "    }\n    many {\n";
        out.extend(self.numbered.iter().map(|key| {
            let all =
                if key.rust.ends_with(['s', 'd']) { format!("{}_all", key.rust) } else { format!("{}s", key.rust) };
            row(key, &format!(" {all}"))
        }));
        out + "    }\n}\n"
    }

    fn properties(&self) -> String {
        let mut out = self.head(&format!("The property strings in the configuration of {}.", self.what));
        let kinds: Vec<String> = self
            .properties
            .values()
            .flat_map(|property| &property.keys)
            .map(|(key, (schema, _))| scalar(schema, key, ""))
            .collect();
        let kinds = || kinds.iter().map(String::as_str);
        out += &uses("super::super", &["Encoded"], kinds(), Some("tables::properties"));
        out += "use super::words::*;\n";
        out += &(uses("crate::model", &SHARED, kinds(), None) + "\nproperties! {\n");
        for (name, property) in &self.properties {
            let owners: Vec<String> = property.owners.iter().map(|key| format!("`{key}`")).collect();
            let _ =
                write!(out, "    /// The property string of {}.\n    {name} {:?} {{", owners.join(", "), property.bare);
            out.extend(property.aliases.iter().map(|(alias, of)| format!(" {alias:?} => {of:?},")));
            out += " } {";
            out.extend(property.keyed.iter().map(|(alias, (key, of))| format!(" {alias:?} => {key:?} {of:?},")));
            out += " } {\n";
            for (key, (schema, owners)) in &property.keys {
                let kind = scalar(schema, key, &words_name(name, key));
                let rust = rust_name(key);
                let mut doc = describe(schema, key);
                if owners.len() < property.owners.len() {
                    let owners: Vec<String> = owners.iter().map(|owner| format!("`{owner}`")).collect();
                    let _ = write!(doc, " Only of {}.", owners.join(", "));
                }
                let _ = writeln!(out, "        /// {doc}\n        {rust} set_{rust} {key:?}: {kind};");
            }
            out += "    }\n";
        }
        out + "}\n"
    }

    fn words(&self) -> String {
        let mut out = self.head(&format!("The words that stand in the configuration of {}.", self.what));
        out += "use super::super::tables::words;\n\nwords! {\n";
        for (name, (doc, values)) in &self.words {
            let _ = writeln!(out, "    /// {doc}\n    {name} {{");
            let mut line = String::from("       ");
            for value in values {
                let entry = format!(" {} = {value:?},", variant(value));
                if line.len() + entry.len() > 120 {
                    let _ = writeln!(out, "{line}");
                    line = String::from("       ");
                }
                line += &entry;
            }
            let _ = writeln!(out, "{line}\n    }}");
        }
        out + "}\n"
    }

    fn head(&self, what: &str) -> String {
        format!(
            "//! {what}\n//!\n//! A table, and no code: what the rows become is in `config/tables.rs`.\n//!\n//! @generated by `cargo run --no-default-features --example generate_models` from `fixtures/pve`; do not edit.\n\n"
        )
    }
}

/// The type of a value that is no property string; enumerated ones have the name that is given.
fn scalar(schema: &Value, key: &str, name: &str) -> String {
    let text = |of: &str| schema[of].as_str().unwrap_or_default();
    let is_list =
        text("format").ends_with("-list") || ["(?:;", "(;", "_; "].iter().any(|sign| text("pattern").contains(sign));
    let kind = match (text("type"), text("format")) {
        _ if schema["enum"].is_array() => name,
        ("boolean", _) => "bool",
        ("number", _) => "f64",
        ("integer", _) if schema["minimum"].as_f64().is_some_and(|least| least >= 0.0) => "u64",
        ("integer", _) => "i64",
        (_, "disk-size") => "Size",
        (_, "urlencoded") => "Encoded",
        _ if is_list => "List",
        _ => "String",
    };
    TYPES.iter().find(|(of, _)| *of == key).map_or(kind, |(_, kind)| kind).to_owned()
}

impl Property {
    fn add(&mut self, owner: &str, keys: &Map<String, Value>) {
        self.owners.insert(owner.to_owned());
        for (key, schema) in keys {
            match (schema["alias"].as_str(), schema["keyAlias"].as_str()) {
                (Some(of), Some(named)) => drop(self.keyed.insert(key.clone(), (named.to_owned(), of.to_owned()))),
                (Some(of), None) => drop(self.aliases.insert(key.clone(), of.to_owned())),
                _ => {
                    if schema["default_key"] == 1 {
                        self.bare.clone_from(key);
                    }
                    self.keys
                        .entry(key.clone())
                        .or_insert_with(|| (schema.clone(), BTreeSet::new()))
                        .1
                        .insert(owner.into());
                }
            }
        }
    }
}

/// The key of a property string that has one only, a number that may stand bare: such a string is a number.
fn only_number(keys: &Map<String, Value>) -> Option<String> {
    let (key, schema) = keys.iter().next()?;
    (keys.len() == 1 && schema["default_key"] == 1 && schema["type"] == "integer").then(|| key.clone())
}

/// One line on a value: name, type, limits, default.
fn describe(schema: &Value, key: &str) -> String {
    let text = |of: &str| schema[of].as_str().unwrap_or_default();
    let mut said = match (text("type"), text("format")) {
        ("boolean", _) => "a boolean".to_owned(),
        ("integer", _) => "a whole number".to_owned(),
        ("number", _) => "a number".to_owned(),
        _ if schema["enum"].is_array() => "a word".to_owned(),
        (_, "disk-size") => "a size".to_owned(),
        (_, "urlencoded") => "text, percent-encoded on the wire".to_owned(),
        (_, "") => "text".to_owned(),
        (_, format) => format!("text of the form `{format}`"),
    };
    let number = |of: &str| schema.get(of).filter(|value| !value.is_null()).map(plain);
    match (number("minimum"), number("maximum")) {
        (Some(least), Some(most)) => said += &format!(", {least} to {most}"),
        (Some(least), None) => said += &format!(", at least {least}"),
        (None, Some(most)) => said += &format!(", at most {most}"),
        (None, None) => {}
    }
    if let Some(most) = number("maxLength") {
        said += &format!(", at most {most} characters");
    }
    let pattern = text("pattern");
    if !pattern.is_empty() && pattern.len() <= 60 && !pattern.contains("(?") && !pattern.contains('`') {
        said += &format!(", like `{pattern}`");
    }
    if let Some(needed) = schema["requires"].as_str() {
        said += &format!(", only with `{needed}`");
    }
    if let Some(default) = number("default") {
        said += &format!("; `{default}` when absent");
    }
    format!("`{key}`: {said}.")
}

/// A `use` of those of the names that are needed, and of what always is.
fn uses<'a>(
    of: &str,
    names: &[&'a str],
    needed: impl Iterator<Item = &'a str> + Clone,
    always: Option<&'a str>,
) -> String {
    let mut all: Vec<&str> = names.iter().copied().filter(|name| needed.clone().any(|kind| kind == *name)).collect();
    all.extend(always);
    match all[..] {
        [] => String::new(),
        [one] => format!("use {of}::{one};\n"),
        _ => format!("use {of}::{{{}}};\n", all.join(", ")),
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn rust_name(key: &str) -> String {
    match key {
        "type" => "kind".to_owned(),
        key => key.replace('-', "_"),
    }
}

fn words_name(property: &str, key: &str) -> String {
    format!("{property}{}", pascal(if key == "type" { "kind" } else { key }))
}

/// `virtio-scsi-single` → `VirtioScsiSingle`. Capitals inside a word are lowered, so that `EPYC` is `Epyc`.
fn pascal(text: &str) -> String {
    let mut name = String::new();
    for word in text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()) {
        if name.ends_with(|c: char| c.is_ascii_digit()) && word.starts_with(|c: char| c.is_ascii_digit()) {
            name.push('_');
        }
        name.extend(word.chars().take(1).map(|c| c.to_ascii_uppercase()));
        name.extend(word.chars().skip(1).map(|c| c.to_ascii_lowercase()));
    }
    name
}

fn variant(value: &str) -> String {
    match pascal(value) {
        name if name == "Other" => "OtherSystem".to_owned(),
        name if name.starts_with(|c: char| c.is_ascii_digit()) => format!("V{name}"),
        name => name,
    }
}

#[allow(dead_code, reason = "a test mounts this file for `files` alone")]
fn main() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (name, text) in files(&root.join("fixtures/pve"))? {
        fs::write(root.join("src/model/config").join(name), text)?;
    }
    Ok(())
}
