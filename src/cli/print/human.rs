//! Figures as people read them: sizes, shares, spans of time. Data for machines never passes through here.

use jiff::Timestamp;
use unicode_width::UnicodeWidthStr;

use crate::model::Size;

/// A word or a line with a capital at its beginning.
pub(crate) fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// `2.00 GiB`; nothing for what is not there or zero.
pub(crate) fn size(bytes: Option<u64>) -> String {
    bytes.filter(|bytes| *bytes > 0).map_or(String::new(), |bytes| Size(bytes).to_string())
}

/// A share of one as per cent, `12.5`; nothing for what is not there or zero.
pub(crate) fn percent(share: Option<f64>) -> String {
    share.filter(|share| *share > 0.0).map_or(String::new(), |share| format!("{:.1}", share * 100.0))
}

/// The two largest units: `3d 4h`, `5m 12s`.
pub(crate) fn uptime(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes, seconds % 60) {
        (0, 0, 0, 0) => String::new(),
        (0, 0, 0, s) => format!("{s}s"),
        (0, 0, m, s) => format!("{m}m {s}s"),
        (0, h, m, _) => format!("{h}h {m}m"),
        (d, h, ..) => format!("{d}d {h}h"),
    }
}

/// `12s ago`, `3h ago`, `5d ago`.
pub(crate) fn ago(then: Timestamp) -> String {
    let seconds = Timestamp::now().duration_since(then).as_secs().max(0);
    match seconds {
        0..60 => format!("{seconds}s ago"),
        60..3600 => format!("{}m ago", seconds / 60),
        3600..86_400 => format!("{}h ago", seconds / 3600),
        _ => format!("{}d ago", seconds / 86_400),
    }
}

/// Text in lines of at most this many columns, broken at blanks; its own line ends stay, and a line
/// that is short enough stays as it is. A longer word gets a line of
/// its own.
pub(crate) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for paragraph in text.lines().map(str::trim_end) {
        if paragraph.width() <= width {
            lines.push(paragraph.to_owned());
            continue;
        }
        let mut line = String::new();
        for word in paragraph.split_whitespace() {
            if !line.is_empty() && line.width() + 1 + word.width() > width {
                lines.push(std::mem::take(&mut line));
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        lines.push(line);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_broken_at_blanks() {
        assert_eq!(wrapped("one two three\n\nfour", 8), ["one two", "three", "", "four"]);
        assert_eq!(wrapped("unbreakable", 4), ["unbreakable"]);
    }

    #[test]
    fn spans_have_two_units_at_most() {
        let shown = [0, 5, 65, 3_700, 90_000].map(uptime);
        assert_eq!(shown, ["", "5s", "1m 5s", "1h 1m", "1d 1h"]);
    }
}
