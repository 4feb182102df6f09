//! `-o csv`: a line of field names, then a line of data for each row; for spreadsheets and `cut`.
//!
//! Data, not cells: sizes are bytes, times are as in JSON. What is nested is written as JSON into its cell.

use std::io::{self, Write};

use serde_json::Value;

/// Writes rows. Without fields given they are those that the rows have, by the alphabet: rows may lack some, and a
/// column is to be in the same place tomorrow.
pub(super) fn write(out: &mut dyn Write, headers: bool, fields: &[&str], rows: &[Value]) -> io::Result<()> {
    let mut names: Vec<&str> = Vec::new();
    let keys = rows.iter().filter_map(Value::as_object).flat_map(|row| row.keys().map(String::as_str));
    for name in fields.iter().copied().chain(keys.filter(|_| fields.is_empty())) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    if fields.is_empty() {
        names.sort_unstable();
    }
    let mut csv = csv::Writer::from_writer(out);
    // Rows that are no objects have one value and no name for it.
    let bare = names.is_empty();
    if headers && (!bare || !rows.is_empty()) {
        csv.write_record(if bare { &["value"] } else { names.as_slice() })?;
    }
    for row in rows {
        match bare {
            true => csv.write_record([cell(Some(row))])?,
            false => csv.write_record(names.iter().map(|name| cell(row.get(name))))?,
        }
    }
    csv.flush()
}

fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn csv(headers: bool, fields: &[&str], rows: &[Value]) -> String {
        let mut out = Vec::new();
        write(&mut out, headers, fields, rows).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn data_with_quotes_where_they_are_needed() {
        let rows = [
            json!({"name": "a,b", "mem": 1, "on": true, "list": ["x", 1]}),
            json!({"name": "say \"hi\"\n", "mem": null, "extra": 1.5}),
        ];
        assert_eq!(csv(true, &["mem", "name", "mem"], &rows), "mem,name\n1,\"a,b\"\n,\"say \"\"hi\"\"\n\"\n");
        assert_eq!(csv(false, &["mem"], &rows), "1\n\"\"\n");
        assert_eq!(
            csv(true, &[], &rows),
            "extra,list,mem,name,on\n,\"[\"\"x\"\",1]\",1,\"a,b\",true\n1.5,,,\"say \"\"hi\"\"\n\",\n"
        );
        assert_eq!(csv(true, &[], &[json!("x"), json!(2)]), "value\nx\n2\n");
        assert_eq!((csv(true, &[], &[]), csv(true, &["a", "b"], &[])), (String::new(), "a,b\n".to_owned()));
    }
}
