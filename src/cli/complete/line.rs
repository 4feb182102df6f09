//! A command line as a person types it into a shell: words, quotes, redirections, up to the cursor.
//!
//! It expands nothing and is never wrong: a quote may be open, a line may be half.

/// An open quote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Quote {
    Single,
    Double,
}

/// What was typed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Line {
    /// The words without their quotes; the last one is at the cursor and may be empty.
    pub(super) words: Vec<String>,
    /// The last word as it was typed.
    pub(super) raw: String,
    /// The quote that is open in it.
    pub(super) quote: Option<Quote>,
    /// Whether it follows a redirection.
    pub(super) file: bool,
}

/// Reads a line up to the cursor.
pub(super) fn read(text: &str) -> Line {
    let mut line = Line::default();
    let (mut begin, mut redirected) = (0, false);
    let mut scan = Scan::default();
    for (at, c) in text.char_indices() {
        let bare = scan.is_bare();
        scan.next(c);
        if !bare || !(c.is_whitespace() || c == '>' || c == '<') {
            continue;
        }
        let raw = &text[begin..at];
        begin = at + c.len_utf8();
        // In `2>file` and `&>file` the sign before belongs to the redirection.
        let sign = !c.is_whitespace() && raw.bytes().all(|byte| byte.is_ascii_digit() || byte == b'&');
        if !raw.is_empty() && !sign && !redirected {
            line.words.push(unquoted(raw).0);
        }
        redirected = !c.is_whitespace() || (redirected && raw.is_empty());
    }
    line.raw = text[begin..].to_owned();
    let (word, quote) = unquoted(&line.raw);
    line.words.push(word);
    line.quote = quote;
    line.file = redirected;
    line
}

/// A word without its quotes, and the one that is open at its end.
pub(super) fn unquoted(raw: &str) -> (String, Option<Quote>) {
    let mut scan = Scan::default();
    let word = raw.chars().filter_map(|c| scan.next(c)).collect();
    (word, scan.quote)
}

/// Text as it must stand in a line, inside of the quote that is open there.
pub(super) fn quoted(text: &str, quote: Option<Quote>) -> String {
    let plain = |c: char| c.is_alphanumeric() || "_./:=@%+,-".contains(c);
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match quote {
            Some(Quote::Single) if c == '\'' => out.push_str(r"'\'"),
            // A shell that looks for history there takes no backslash.
            Some(Quote::Double) if c == '!' => {
                out.push_str("\"\\!\"");
                continue;
            }
            Some(Quote::Double) if "\"\\$`".contains(c) => out.push('\\'),
            None if !plain(c) => out.push('\\'),
            _ => {}
        }
        out.push(c);
    }
    out
}

/// Reads signs one by one.
#[derive(Default)]
struct Scan {
    quote: Option<Quote>,
    escaped: bool,
}

impl Scan {
    /// Whether a blank here would end the word.
    fn is_bare(&self) -> bool {
        self.quote.is_none() && !self.escaped
    }

    /// The sign that this one means, if it means one.
    fn next(&mut self, c: char) -> Option<char> {
        if std::mem::take(&mut self.escaped) {
            return Some(c);
        }
        match (self.quote, c) {
            (None | Some(Quote::Double), '\\') => {
                self.escaped = true;
                None
            }
            (None, '\'') => self.turn(Some(Quote::Single)),
            (None, '"') => self.turn(Some(Quote::Double)),
            (Some(Quote::Single), '\'') | (Some(Quote::Double), '"') => self.turn(None),
            _ => Some(c),
        }
    }

    fn turn(&mut self, quote: Option<Quote>) -> Option<char> {
        self.quote = quote;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_quotes() {
        for (text, words, quote) in [
            ("", &[""][..], None),
            ("pvectl vm ", &["pvectl", "vm", ""], None),
            ("pvectl  'a b'\\ c \"d", &["pvectl", "a b c", "d"], Some(Quote::Double)),
            ("p it\\'s 'x", &["p", "it's", "x"], Some(Quote::Single)),
            ("p a\\", &["p", "a"], None),
        ] {
            let line = read(text);
            assert_eq!((line.words.as_slice(), line.quote), (words.map_strings().as_slice(), quote), "{text}");
        }
    }

    trait Strings {
        fn map_strings(&self) -> Vec<String>;
    }

    impl Strings for [&str] {
        fn map_strings(&self) -> Vec<String> {
            self.iter().map(|word| (*word).to_owned()).collect()
        }
    }

    #[test]
    fn redirections_are_no_words() {
        for (text, words, file) in [
            ("p vm list > ou", &["p", "vm", "list", "ou"][..], true),
            ("p vm list >ou", &["p", "vm", "list", "ou"], true),
            ("p 2>/dev/null vm ", &["p", "vm", ""], false),
            ("p vm < in >> out ", &["p", "vm", ""], false),
            ("p vm '>' ", &["p", "vm", ">", ""], false),
        ] {
            let line = read(text);
            assert_eq!((line.words, line.file), (words.map_strings(), file), "{text}");
        }
    }

    #[test]
    fn what_is_quoted_is_read_back() {
        for quote in [None, Some(Quote::Single), Some(Quote::Double)] {
            for text in ["plain", "a b", "it's", "a\"b\\c$d`e!f", "ü{}*?"] {
                let open = quote.map_or("", |quote| if quote == Quote::Single { "'" } else { "\"" });
                let (read, _) = unquoted(&format!("{open}{}", quoted(text, quote)));
                assert_eq!(read, text, "{quote:?}");
            }
        }
    }
}
