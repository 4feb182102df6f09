//! kubectl's JSONPath templates: text, expressions in braces, and loops.
//!
//! `{range .items[*]}{.vmid}{"\t"}{.name}{"\n"}{end}`, or one expression without braces. What the expressions mean is in
//! `jsonpath`.

use std::io::{self, Write};

use serde_json::Value;

use super::{compare::text, jsonpath::JsonPath, scan::Scanner};
use crate::model::{Error, Result};

/// A compiled template.
#[derive(Debug, Clone)]
pub struct Template(Vec<Node>);

#[derive(Debug, Clone)]
enum Node {
    Text(String),
    Values(JsonPath),
    Range(JsonPath, Vec<Self>),
}

/// How deep loops may stand in loops.
const DEPTH: usize = 16;

impl Template {
    /// Reads a template. A text without braces is one expression.
    ///
    /// # Errors
    /// With the place of what is wrong.
    pub fn compile(template: &str) -> Result<Self> {
        if template.trim().is_empty() {
            return Err(Error::usage("a JSONPath template is expected, such as {.items[*].name}"));
        }
        if !template.contains('{') {
            return Ok(Self(vec![Node::Values(JsonPath::compile(template)?)]));
        }
        let mut scanner = Scanner::new("a JSONPath template", template);
        let nodes = nodes(&mut scanner, None, 0)?;
        Ok(Self(nodes))
    }

    /// Writes what the template makes of data: several values of an expression with blanks between them, texts as they
    /// are, everything else as JSON.
    ///
    /// # Errors
    /// If it cannot be written; an error of this library, as the inner one, if an expression does not fit the data.
    pub fn write(&self, out: &mut dyn Write, data: &Value) -> io::Result<()> {
        write_nodes(out, &self.0, data, data)
    }
}

fn write_nodes(out: &mut dyn Write, nodes: &[Node], root: &Value, here: &Value) -> io::Result<()> {
    let select = |path: &JsonPath| {
        let from = if path.from_root { root } else { here };
        // Borrowed of what outlives the call, whichever it is.
        path.select(from).map(|values| values.into_iter().cloned().collect::<Vec<Value>>()).map_err(io::Error::other)
    };
    nodes.iter().try_for_each(|node| match node {
        Node::Text(text) => out.write_all(text.as_bytes()),
        Node::Values(path) => {
            let values: Vec<String> = select(path)?.iter().map(text).collect();
            out.write_all(values.join(" ").as_bytes())
        }
        Node::Range(path, body) => select(path)?.iter().try_for_each(|item| write_nodes(out, body, root, item)),
    })
}

/// Reads up to the end, or the `{end}` of a loop that was opened at a byte.
fn nodes(scanner: &mut Scanner, open: Option<usize>, depth: usize) -> Result<Vec<Node>> {
    let mut nodes = Vec::new();
    loop {
        let plain = scanner.take(|c| c != '{' && c != '}');
        if !plain.is_empty() {
            nodes.push(Node::Text(plain.to_owned()));
        }
        let begin = scanner.at();
        match (scanner.next(), open) {
            (None, None) => return Ok(nodes),
            (None, Some(at)) => return Err(scanner.wrong_at(at, "this loop has no {end}")),
            (Some('}'), _) => return Err(scanner.expected_at(begin, "a `{` before `}`")),
            _ => {}
        }
        scanner.blanks();
        let word = scanner.clone().take(char::is_alphabetic);
        match (word, scanner.peek()) {
            ("end", _) if open.is_none() => return Err(scanner.wrong_at(begin, "there is no loop to end")),
            ("end", _) => {
                scanner.eat("end");
                close(scanner)?;
                return Ok(nodes);
            }
            ("range", _) if depth == DEPTH => return Err(scanner.expected("no deeper nesting")),
            ("range", _) => {
                scanner.eat("range");
                scanner.blanks();
                let path = JsonPath::scan(scanner, true)?;
                close(scanner)?;
                nodes.push(Node::Range(path, self::nodes(scanner, Some(begin), depth + 1)?));
            }
            (_, Some(quote @ ('"' | '\''))) => {
                scanner.next();
                nodes.push(Node::Text(quoted(scanner, quote)?));
                close(scanner)?;
            }
            (_, Some('}')) => return Err(scanner.expected("an expression, such as .name")),
            _ => {
                nodes.push(Node::Values(JsonPath::scan(scanner, true)?));
                close(scanner)?;
            }
        }
    }
}

fn close(scanner: &mut Scanner) -> Result<()> {
    scanner.blanks();
    if scanner.eat("}") { Ok(()) } else { Err(scanner.expected("`}`")) }
}

/// A text in quotes; `\n`, `\t` and `\r` are what they are everywhere.
fn quoted(scanner: &mut Scanner, quote: char) -> Result<String> {
    let mut text = String::new();
    loop {
        match scanner.next() {
            None => return Err(scanner.expected(&format!("`{quote}`"))),
            Some(end) if end == quote => return Ok(text),
            Some('\\') => match scanner.next() {
                None => return Err(scanner.expected("a character behind `\\`")),
                Some('n') => text.push('\n'),
                Some('t') => text.push('\t'),
                Some('r') => text.push('\r'),
                Some(other) => text.push(other),
            },
            Some(plain) => text.push(plain),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn write(template: &str) -> String {
        let data = json!({"kind": "list", "items": [
            {"vmid": 100, "name": "web-1", "status": "running", "disks": [{"key": "scsi0"}, {"key": "scsi1"}]},
            {"vmid": 101, "name": "web-2", "status": "stopped", "disks": []},
        ]});
        let mut out = Vec::new();
        Template::compile(template).unwrap().write(&mut out, &data).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn kubectls_templates() {
        assert_eq!(write("{.items[*].name}"), "web-1 web-2");
        assert_eq!(write("$.items[0].name"), "web-1");
        assert_eq!(write("items[0].vmid"), "100");
        assert_eq!(write(r#"{range .items[*]}{.vmid}{"\t"}{.name}{"\n"}{end}"#), "100\tweb-1\n101\tweb-2\n");
        assert_eq!(write(r#"{.items[?(@.status=="running")].name}!"#), "web-1!");
        assert_eq!(
            write("{range .items[*]}{@.name}: {range .disks[*]}<{.key}>{end} of {$.kind}{'; '}{end}"),
            "web-1: <scsi0><scsi1> of list; web-2:  of list; "
        );
        assert_eq!(write("{.items[1].disks}{.none}{ .items[0].disks[0] }"), r#"[]{"key":"scsi0"}"#);
        assert_eq!(write(r#"{"{"}{'it\'s'}"#), "{it's");
    }

    #[test]
    fn errors_name_the_place() {
        let error = |template: &str| Template::compile(template).unwrap_err().to_string();
        assert_eq!(error(" "), "a JSONPath template is expected, such as {.items[*].name}");
        for (template, said) in [
            ("{.a", "at its end: `}` is expected"),
            ("a{range .b}{.c}", "at character 2: this loop has no {end}"),
            ("{.a}{end}", "at character 5: there is no loop to end"),
            ("{}", "at character 2: an expression, such as .name is expected"),
            ("{.a}}", "at character 5: a `{` before `}` is expected"),
            ("{\"a}", "at its end: `\"` is expected"),
            ("{.a b}", "at character 5: `}` is expected"),
            ("ü{.a[?(@.x==)]}", "at character 13: this is no part"),
        ] {
            let wanted = format!("`{template}` is not a JSONPath template, {said}");
            assert!(error(template).starts_with(&wanted), "{}\n{wanted}", error(template));
        }
    }
}
