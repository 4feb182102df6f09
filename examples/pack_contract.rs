//! Packs the API description of `fixtures/pve` into `src/contract/pve-9.2.bin`; run it after the fixtures changed.
//!
//! The text inside has one entry a line, sorted: `METHOD path<tab>JSON`, `format name<tab>JSON`, `task METHOD path<tab>JSON`.

use std::{error::Error, fs, io::Write, path::Path};

use flate2::{Compression, GzBuilder};
use serde_json::Value;

/// The text of the three files under `fixtures`.
pub fn text(fixtures: &Path) -> Result<String, Box<dyn Error>> {
    let read = |name: &str| -> Result<Value, Box<dyn Error>> {
        Ok(serde_json::from_str(&fs::read_to_string(fixtures.join(name))?)?)
    };
    let mut methods = Vec::new();
    for mut method in read("api-9.2.json")?.as_array().cloned().unwrap_or_default() {
        let entry = method.as_object_mut().ok_or("a method that is no object")?;
        let mut take = |key: &str| entry.shift_remove(key).and_then(|v| v.as_str().map(str::to_owned)).ok_or("no text");
        let (verb, path) = (take("method")?, take("path")?);
        methods.push(format!("{verb} {path}\t{method}\n"));
    }
    methods.sort();
    let (formats, tasks) = (read("formats-9.2.json")?, read("upid-methods.json")?);
    let named = |word: &str, map: &Value| {
        let mut lines: Vec<String> =
            map.as_object().into_iter().flatten().map(|(k, v)| format!("{word} {k}\t{v}\n")).collect();
        lines.sort();
        lines
    };
    Ok([methods, named("format", &formats), named("task", &tasks["upid"])].concat().concat())
}

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut packed = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
    packed.write_all(text(&root.join("fixtures/pve"))?.as_bytes())?;
    fs::write(root.join("src/contract/pve-9.2.bin"), packed.finish()?)?;
    Ok(())
}
