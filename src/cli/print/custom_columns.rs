//! `-o custom-columns=NAME:.path,VM:.vmid`: a table of what people ask for, as kubectl has it.
//!
//! Values are data, not the cells of other tables; what is absent is `<none>`.

use std::{
    io::{self, Write},
    str::FromStr,
};

use serde_json::Value;

use super::{Style, table};
use crate::{
    model::{Error, Hint, Result},
    select::JsonPath,
};

/// Columns with the paths of their values.
#[derive(Debug)]
pub(crate) struct CustomColumns {
    titles: Vec<String>,
    paths: Vec<JsonPath>,
}

impl FromStr for CustomColumns {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut columns = Self { titles: Vec::new(), paths: Vec::new() };
        for column in split(text) {
            let (title, path) =
                column.split_once(':').map_or((column, ""), |(title, path)| (title.trim(), path.trim()));
            if title.is_empty() || path.is_empty() {
                let error = Error::usage(format!("`{column}` is not a column: NAME:PATH is expected"));
                return Err(error.with_hint(Hint::Text("such as -o custom-columns=VM:.vmid,NAME:.name".into())));
            }
            let bare = path.strip_prefix('{').and_then(|path| path.strip_suffix('}')).unwrap_or(path);
            columns.titles.push(title.to_owned());
            columns.paths.push(JsonPath::compile(bare).map_err(|error| error.context(format_args!("column {title}")))?);
        }
        Ok(columns)
    }
}

/// Splits at commas that stand in no brackets and no quotes.
fn split(text: &str) -> Vec<&str> {
    let (mut pieces, mut begin, mut depth, mut quote) = (Vec::new(), 0, 0_usize, None);
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(open), _) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') if depth > 0 => quote = Some(c),
            (None, '[' | '(') => depth += 1,
            (None, ']' | ')') => depth = depth.saturating_sub(1),
            (None, ',') if depth == 0 => {
                pieces.push(&text[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
    }
    pieces.push(&text[begin..]);
    pieces
}

pub(super) fn write(out: &mut dyn Write, style: &Style, columns: &CustomColumns, rows: &[Value]) -> io::Result<()> {
    let cell = |path: &JsonPath, row: &Value| {
        let values: Vec<String> = path.select(row)?.into_iter().filter_map(text).collect();
        Ok(if values.is_empty() { "<none>".to_owned() } else { values.join(",") })
    };
    let row = |row: &Value| columns.paths.iter().map(|path| cell(path, row)).collect::<Result<Vec<_>>>();
    let rows = rows.iter().map(row).collect::<Result<Vec<_>>>().map_err(io::Error::other)?;
    table::write_cells(out, columns.titles.clone(), rows, style)
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::print::{Arrange, Format};

    #[test]
    fn as_kubectl_has_it() {
        let columns: CustomColumns =
            "VM:.vmid,NAME:{.name}, ON:disks[?(@.a=='x,y' || @.b)]['a','b'],D:.disks[*].a".parse().unwrap();
        let rows = [
            json!({"vmid": 100, "name": "web", "disks": [{"a": "x,y"}, {"a": "z", "b": 1}]}),
            json!({"vmid": 9, "name": null}),
        ];
        let mut out = Vec::new();
        let style = Style { format: Format::Table, headers: true, colours: false, arrange: Arrange::default() };
        write(&mut out, &style, &columns, &rows).unwrap();
        let wanted = "VM   NAME    ON         D\n100  web     x,y,z,1    x,y,z\n9    <none>  <none>     <none>\n";
        let squeeze = |text: &str| text.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
        let printed = String::from_utf8(out).unwrap();
        // Styles are taken out further down.
        let printed = printed.replace("\u{1b}[1m", "").replace("\u{1b}[0m", "");
        assert_eq!(squeeze(&printed), squeeze(wanted));
    }

    #[test]
    fn mistakes() {
        let error = |text: &str| text.parse::<CustomColumns>().unwrap_err().to_string();
        assert_eq!(error("NAME"), "`NAME` is not a column: NAME:PATH is expected");
        assert_eq!(error("A:.a,"), "`` is not a column: NAME:PATH is expected");
        assert_eq!(error(":.a"), "`:.a` is not a column: NAME:PATH is expected");
        assert_eq!(
            error("A:.a,B:.b["),
            "column B: `.b[` is not a JSONPath, at its end: `]` for the `[` at character 3 is expected"
        );
    }
}
