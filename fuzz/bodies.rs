//! What the fuzz targets do with a text. The suite does the same with the seeds and with made-up texts
//! (`tests/integration/fuzz.rs`), so that a mistake shows without a fuzzer.
#![allow(dead_code, reason = "each target uses one of them")]

use std::io;

use pvectl::{
    model::{PropertyString, Tags, Upid},
    select::{FieldPath, FieldSelector, LabelSelector, SortKeys, Template},
};
use serde_json::{Value, json};

/// A property string that is read and printed is read as the same again.
pub(crate) fn property_string(text: &str) {
    let Ok(parsed) = text.parse::<PropertyString>() else { return };
    let printed = parsed.to_string();
    assert_eq!(printed.parse::<PropertyString>().as_ref(), Ok(&parsed), "{printed:?}");
    for (key, value) in parsed.iter() {
        assert!(key.map_or(parsed.bare(), |key| parsed.get(key)).is_some(), "{key:?} {value:?}");
    }
}

/// A UPID is printed as it was written, to the byte.
pub(crate) fn upid(text: &str) {
    let Ok(parsed) = text.parse::<Upid>() else { return };
    assert_eq!(parsed.to_string(), text);
}

/// A label selector that is read and printed is read as the same again, and works on any tags.
pub(crate) fn label_selector(text: &str) {
    // Whatever tags a server sends.
    let tags = Tags::parse(text);
    let Ok(parsed) = text.parse::<LabelSelector>() else { return };
    let printed = parsed.to_string();
    let again: LabelSelector = printed.parse().unwrap_or_else(|error| panic!("{printed:?}: {error}"));
    assert_eq!(again, parsed, "{printed:?}");
    for tags in [tags, Tags::default(), Tags::parse("app.web;a;a.;.a;..;a.b.c")] {
        let mut each = parsed.requirements().iter().map(|one| one.to_string().parse::<LabelSelector>());
        let all = each.all(|one| one.is_ok_and(|one| one.matches(&tags)));
        assert_eq!(parsed.matches(&tags), all, "{printed:?} on {tags}");
    }
}

/// Field selectors, sort keys and paths that are read and printed are read as the same again, and work on any data.
pub(crate) fn field_selector(text: &str) {
    let data = data(text);
    if let Ok(parsed) = text.parse::<FieldSelector>() {
        let printed = parsed.to_string();
        let again: FieldSelector = printed.parse().unwrap_or_else(|error| panic!("{printed:?}: {error}"));
        assert_eq!(again, parsed, "{printed:?}");
        assert_eq!(again.matches(&data).ok(), parsed.matches(&data).ok());
    }
    if let Ok(parsed) = text.parse::<SortKeys>() {
        let printed = parsed.to_string();
        let again: SortKeys = printed.parse().unwrap_or_else(|error| panic!("{printed:?}: {error}"));
        assert_eq!(again, parsed, "{printed:?}");
        let mut rows = vec![data.clone(), json!({"a": text}), json!({"a": 1}), json!(null), data.clone()];
        parsed.sort(&mut rows, |row| row);
        assert_eq!(rows.len(), 5);
    }
    if let Ok(parsed) = text.parse::<FieldPath>() {
        let printed = parsed.to_string();
        assert_eq!(printed.parse::<FieldPath>().ok().as_ref(), Some(&parsed), "{printed:?}");
        parsed.get(&data);
    }
}

/// A template is read or refused, and what is read works on any data.
pub(crate) fn jsonpath_template(text: &str) {
    let Ok(template) = Template::compile(text) else { return };
    // An expression may not fit the data; it must not fall over it.
    let _ = template.write(&mut io::sink(), &data(text));
    let _ = template.write(&mut io::sink(), &Value::Null);
}

/// Data in which texts like `a`, `a.b`, `items[0]` find something, and the text itself.
fn data(text: &str) -> Value {
    json!({
        "a": {"b": [1, {"c": text}, null], "d": "8192"},
        "items": [{"a": 1, "name": "x", "status": "running"}, {"a": -1.5, "name": text}],
        "node": "pve1", "maxmem": 4_294_967_296_u64, "template": 0, text: true,
    })
}
