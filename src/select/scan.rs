//! Reading of a text from left to right, with errors that say where and what was expected. It knows no grammar.

use crate::model::Error;

/// A place in a text.
#[derive(Clone)]
pub(super) struct Scanner<'a> {
    /// What the text should be, for errors: `a label selector`.
    what: &'static str,
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(what: &'static str, text: &'a str) -> Self {
        Self { what, text, at: 0 }
    }

    pub(super) fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    /// What was read since then.
    #[cfg(feature = "query")]
    pub(super) fn since(&self, at: usize) -> &'a str {
        &self.text[at..self.at]
    }

    /// How many bytes were read.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn is_done(&self) -> bool {
        self.at == self.text.len()
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    pub(super) fn next(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += next.len_utf8();
        Some(next)
    }

    /// Goes over a text if it comes next.
    pub(super) fn eat(&mut self, text: &str) -> bool {
        let comes = self.rest().starts_with(text);
        self.at += if comes { text.len() } else { 0 };
        comes
    }

    /// Goes over characters and gives them.
    pub(super) fn take(&mut self, wanted: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let taken = &rest[..rest.find(|c| !wanted(c)).unwrap_or(rest.len())];
        self.at += taken.len();
        taken
    }

    pub(super) fn blanks(&mut self) {
        self.take(char::is_whitespace);
    }

    /// What comes up to one of these characters, and what `\` stands before as it is; blanks around it are left out.
    ///
    /// # Errors
    /// Where nothing stands behind a `\`.
    pub(super) fn escaped(&mut self, until: &[char]) -> Result<String, Error> {
        self.blanks();
        let mut text = String::new();
        // So much of it may not be cut off as blank.
        let mut kept = 0;
        while let Some(next) = self.peek().filter(|next| !until.contains(next)) {
            self.next();
            if next == '\\' {
                text.push(self.next().ok_or_else(|| self.expected("a character behind `\\`"))?);
                kept = text.len();
            } else {
                text.push(next);
            }
        }
        let end = text.trim_end().len().max(kept);
        text.truncate(end);
        Ok(text)
    }

    /// The error that something else was expected here.
    pub(super) fn expected(&self, expected: &str) -> Error {
        self.expected_at(self.at, expected)
    }

    /// The error that something else was expected at a byte.
    pub(super) fn expected_at(&self, at: usize, expected: &str) -> Error {
        Error::usage(format!("{}: {expected} is expected", self.place(at)))
    }

    /// The error that something at a byte is wrong.
    pub(super) fn wrong_at(&self, at: usize, what: &str) -> Error {
        Error::usage(format!("{}: {what}", self.place(at)))
    }

    fn place(&self, at: usize) -> String {
        let character = self.text[..at].chars().count() + 1;
        let place = match at == self.text.len() {
            true => "at its end".to_owned(),
            false => format!("at character {character}"),
        };
        format!("`{}` is not {}, {place}", self.text, self.what)
    }
}

/// A text with a `\` before each of these characters, and before blanks, so that [`Scanner::escaped`] gives it back.
pub(super) fn escape(text: &str, special: &[char]) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        if c == '\\' || c.is_whitespace() || special.contains(&c) {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}
