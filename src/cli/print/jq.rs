//! `--jq EXPRESSION`: what jq makes of the JSON; texts as they are, everything else as JSON.

use std::io::{self, Write};

use serde_json::Value;

use super::json;
use crate::{
    model::{Error, Hint},
    select::Jq,
};

pub(super) fn write(out: &mut dyn Write, jq: &Jq, data: &Value) -> io::Result<()> {
    let hinted = |error: Error| match data.is_array() {
        true => error.with_hint(Hint::Text("the data is an array: `.[]` goes through it".into())),
        false => error,
    };
    jq.run(data).try_for_each(|result| match result.map_err(|error| io::Error::other(hinted(error)))? {
        Value::String(text) => writeln!(out, "{text}"),
        other => json::write(out, &other),
    })
}
