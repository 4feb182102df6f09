//! One object of names and values from a file: the body of a call, JSON or YAML.
//!
//! What the names mean is not known here.

use std::path::Path;

use serde_json::{Map, Value};

use crate::model::{Error, Result};

/// Reads a text that begins with `{` as JSON, any other as YAML. An empty one has no names.
///
/// # Errors
/// [`Class::Usage`](crate::model::Class::Usage) with file, line and column. Values are not repeated: some are secrets.
pub fn read_object(text: &str, path: &Path) -> Result<Map<String, Value>> {
    let shown = path.display();
    let value = if text.trim_start().starts_with('{') {
        serde_json::from_str(text).map_err(|error| {
            // The parser's own words end with the place, and quote nothing.
            Error::usage(format!("{shown}:{}:{}: this is not JSON", error.line(), error.column()))
        })?
    } else {
        let options = serde_yaml::options! { strict_booleans: true, with_snippet: false };
        serde_yaml::from_str_with_options::<Value>(text, options).map_err(|error| {
            let place = error.location().map_or(String::new(), |at| format!(":{}:{}", at.line(), at.column()));
            Error::usage(format!("{shown}{place}: this is neither JSON nor YAML"))
        })?
    };
    match value {
        Value::Object(map) => Ok(map),
        Value::Null => Ok(Map::new()),
        _ => Err(Error::usage(format!("{shown}: an object of parameters and their values is expected"))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(text: &str) -> Result<Value> {
        read_object(text, Path::new("body")).map(Value::Object)
    }

    #[test]
    fn json_and_yaml_say_the_same() {
        let want = json!({"cores": 2, "onboot": true, "tags": ["a", "b"], "net0": {"model": "virtio"}, "x": null});
        assert_eq!(read(&want.to_string()).unwrap(), want);
        let yaml = "cores: 2\nonboot: true\ntags: [a, b]\nnet0:\n  model: virtio\nx: null\n";
        assert_eq!(read(yaml).unwrap(), want);
        assert_eq!(read("").unwrap(), json!({}));
    }

    #[test]
    fn what_is_no_object_is_named_with_its_place_and_without_its_values() {
        for (text, place) in
            [("{\"password\": hunter2}", "body:1:"), ("password: hunter2\n  b: [", "body"), ("[hunter2]", "body: ")]
        {
            let error = read(text).unwrap_err();
            let said = format!("{error} {error:?}");
            assert!(said.contains(place) && !said.contains("hunter2"), "{said}");
        }
    }
}
