//! One JSONPath expression as kubectl writes it: `.items[*].name`, `$..size`, `.items[?(@.status=="running")].vmid`.
//!
//! A shim: names get their RFC 9535 spelling, the crate `jsonpath-rust` does the rest. Templates with text and loops are
//! in `template`.

use std::fmt;

use jsonpath_rust::{
    parser::{model::JpQuery, parse_json_path},
    query::js_path_process,
};
use serde_json::Value;

use super::scan::Scanner;
use crate::model::{Class, Error, Result};

/// How deep brackets may stand in brackets. The parser below tries every reading of each, so it must not be deep.
const DEPTH: usize = 8;

/// A compiled expression.
#[derive(Clone)]
pub struct JsonPath {
    query: JpQuery,
    /// As RFC 9535 spells it.
    text: String,
    /// Whether it begins with `$`: at the whole data, also where something else is at hand.
    pub(super) from_root: bool,
}

impl JsonPath {
    /// Reads an expression; `$`, `@` or nothing may stand at its beginning, and the first dot may be missing.
    ///
    /// # Errors
    /// With the place of what is wrong.
    pub fn compile(text: &str) -> Result<Self> {
        let mut scanner = Scanner::new("a JSONPath", text);
        scanner.blanks();
        let path = Self::scan(&mut scanner, true)?;
        if scanner.is_done() { Ok(path) } else { Err(scanner.expected("`.`, `[` or the end")) }
    }

    /// The values it selects, in order.
    ///
    /// # Errors
    /// If the expression makes a value that is not in the data.
    pub fn select<'a>(&self, data: &'a Value) -> Result<Vec<&'a Value>> {
        let found = js_path_process(&self.query, data).map_err(|error| {
            Error::new(Class::Failed, format!("`{}` selects nothing in the data", self.text)).with_source(error)
        })?;
        Ok(found.into_iter().map(|found| found.val).collect())
    }

    /// Reads an expression up to what cannot be part of it. `bare` allows the first dot to be missing.
    pub(super) fn scan(scanner: &mut Scanner, bare: bool) -> Result<Self> {
        let (begin, from_root) = (scanner.at(), scanner.eat("$"));
        if !from_root {
            scanner.eat("@");
        }
        let mut spelt = Spelt { text: "$".to_owned(), places: vec![(0, begin)], depth: 0 };
        if bare && scanner.at() == begin && !matches!(scanner.peek(), Some('.' | '[') | None) {
            spelt.name(scanner)?;
        } else if scanner.eat(".") {
            // `.` alone is everything.
            match scanner.peek() {
                None | Some('}' | '[') => {}
                _ => spelt.step(scanner)?,
            }
        }
        spelt.segments(scanner)?;
        scanner.blanks();
        let query = parse_json_path(&spelt.text).map_err(|error| {
            let at = spelt.place(&error.to_string()).unwrap_or(begin).min(scanner.at());
            scanner.wrong_at(at, "this is no part of a path, an index, a slice or a filter such as [?(@.a==1)]")
        })?;
        Ok(Self { query, text: spelt.text, from_root })
    }
}

impl fmt::Debug for JsonPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("JsonPath").field(&self.text).finish()
    }
}

/// An expression in the spelling of RFC 9535, while it is written.
struct Spelt {
    text: String,
    /// Where in the text a piece begins, and where it was in what people wrote.
    places: Vec<(usize, usize)>,
    depth: usize,
}

impl Spelt {
    fn push(&mut self, at: usize, text: &str) {
        self.places.push((self.text.len(), at));
        self.text.push_str(text);
    }

    /// The segments `.name`, `.*`, `..name`, `[…]`, as many as come.
    fn segments(&mut self, scanner: &mut Scanner) -> Result<()> {
        loop {
            if scanner.eat(".") {
                self.step(scanner)?;
            } else if scanner.peek() == Some('[') {
                self.brackets(scanner)?;
            } else {
                return Ok(());
            }
        }
    }

    /// What stands behind a dot.
    fn step(&mut self, scanner: &mut Scanner) -> Result<()> {
        let at = scanner.at();
        let deep = scanner.eat(".");
        if scanner.eat("*") {
            self.push(at, if deep { "..*" } else { ".*" });
            return Ok(());
        }
        if deep {
            self.push(at, "..");
            if scanner.peek() == Some('[') {
                return self.brackets(scanner);
            }
        }
        self.name(scanner)
    }

    /// A name, which may have any character that means nothing here, and others behind `\`.
    fn name(&mut self, scanner: &mut Scanner) -> Result<()> {
        let (at, mut name) = (scanner.at(), String::new());
        loop {
            let plain = scanner.take(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '/' | '%'));
            name.push_str(plain);
            if !scanner.eat("\\") {
                break;
            }
            name.push(scanner.next().ok_or_else(|| scanner.expected("a character behind `\\`"))?);
        }
        if name.is_empty() {
            return Err(scanner.expected("a name"));
        }
        // JSON's spelling of a text is one that the RFC takes, too.
        self.push(at, &format!("[{}]", Value::String(name)));
        Ok(())
    }

    /// `[…]`, in which names get their spelling behind every `@` and `$`.
    fn brackets(&mut self, scanner: &mut Scanner) -> Result<()> {
        let begin = scanner.at();
        self.depth += 1;
        if self.depth > DEPTH {
            return Err(scanner.expected("no deeper nesting"));
        }
        let mut open = Vec::new();
        loop {
            let at = scanner.at();
            let Some(next) = scanner.next() else {
                return Err(scanner.expected(&format!("`]` for the `[` at character {}", begin + 1)));
            };
            let mut written = [0; 4];
            self.push(at, next.encode_utf8(&mut written));
            match next {
                '[' | '(' => open.push(if next == '[' { ']' } else { ')' }),
                ']' | ')' if open.pop() != Some(next) => return Err(scanner.expected_at(at, "another bracket")),
                '"' | '\'' => self.quoted(scanner, next)?,
                '@' | '$' => self.segments(scanner)?,
                _ => {}
            }
            if open.is_empty() {
                self.depth -= 1;
                return Ok(());
            }
            if self.depth + open.len() > DEPTH {
                return Err(scanner.expected_at(at, "no deeper nesting"));
            }
        }
    }

    /// The rest of a text in quotes, as it is.
    fn quoted(&mut self, scanner: &mut Scanner, quote: char) -> Result<()> {
        let begin = scanner.at();
        loop {
            scanner.take(|c| c != quote && c != '\\');
            match scanner.next() {
                Some('\\') => drop(scanner.next()),
                Some(_) => break,
                None => return Err(scanner.expected(&format!("`{quote}`"))),
            }
        }
        let text = scanner.since(begin);
        self.push(begin, text);
        Ok(())
    }

    /// Where in what people wrote the parser found something wrong: its message begins with ` --> LINE:COLUMN`.
    fn place(&self, message: &str) -> Option<usize> {
        let column: usize = message.split("--> 1:").nth(1)?.split_whitespace().next()?.parse().ok()?;
        let at = self.text.char_indices().nth(column.checked_sub(1)?).map_or(self.text.len(), |(at, _)| at);
        self.places.iter().rev().find(|(begin, _)| *begin <= at).map(|(_, place)| *place)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn select(path: &str) -> Vec<Value> {
        let data = json!({"items": [
            {"vmid": 100, "name": "web-1", "status": "running", "exit-status": "a", "config": {"net0": "x", "a.b": 1}},
            {"vmid": 101, "name": "web-2", "status": "stopped", "tags": "it's"},
        ]});
        JsonPath::compile(path).unwrap().select(&data).unwrap().into_iter().cloned().collect()
    }

    #[test]
    fn kubectls_ways_of_writing() {
        for names in
            [".items[*].name", "items[*].name", "$.items[*].name", "@.items[*].name", " ..name ", "$..['name']"]
        {
            assert_eq!(select(names), ["web-1", "web-2"], "{names}");
        }
        assert_eq!(select(".items[0].exit-status"), ["a"]);
        assert_eq!(select(r".items[0].config.a\.b"), [1]);
        assert_eq!(select(".items[*]['vmid','name']"), [json!(100), json!(101), json!("web-1"), json!("web-2")]);
        assert_eq!(select(".items[-1].vmid"), [101]);
        assert_eq!(select(".items[0:1].vmid"), [100]);
        assert_eq!(select("items[?(@.status==\"running\")].vmid"), [100]);
        assert_eq!(select("items[?(@.exit-status=='a')].vmid"), [100]);
        assert_eq!(select("items[?(@.vmid>100 && @.tags)].vmid"), [101]);
        assert_eq!(select(r"items[?(@.tags=='it\'s')].vmid"), [101]);
        assert_eq!(select(".items[0].config.*"), [json!("x"), json!(1)]);
        assert_eq!(select(".")[0]["items"][0]["vmid"], 100);
        assert_eq!(select("nothing.at.all"), [Value::Null; 0]);
    }

    #[test]
    fn errors_name_the_place() {
        let error = |path: &str| JsonPath::compile(path).unwrap_err().to_string();
        assert_eq!(
            error(".items[*"),
            "`.items[*` is not a JSONPath, at its end: `]` for the `[` at character 7 is expected"
        );
        assert_eq!(error(".items[*)"), "`.items[*)` is not a JSONPath, at character 9: another bracket is expected");
        assert_eq!(error(".items.."), "`.items..` is not a JSONPath, at its end: a name is expected");
        assert_eq!(error(".a b"), "`.a b` is not a JSONPath, at character 4: `.`, `[` or the end is expected");
        let wrong = "this is no part of a path, an index, a slice or a filter such as [?(@.a==1)]";
        assert_eq!(error(".items[x].name"), format!("`.items[x].name` is not a JSONPath, at character 8: {wrong}"));
        assert_eq!(
            error(".items[?(@.a-b=)]"),
            format!("`.items[?(@.a-b=)]` is not a JSONPath, at character 15: {wrong}")
        );
        assert!(error(&format!(".a{}", "[".repeat(200))).contains("no deeper nesting"));
    }
}
