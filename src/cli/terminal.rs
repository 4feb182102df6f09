//! The terminal as a line to somewhere else: raw while it lasts, and as it was afterwards, however that comes.
//!
//! Knows nothing of what is at the other end.

use std::{
    io::{self, IsTerminal as _},
    panic,
    sync::{Mutex, Once, PoisonError},
};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::model::{Error, Hint, Result};

/// How the terminal was, while it is raw.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// A raw terminal. It is as it was when this is dropped, and when anything panics; only SIGKILL leaves it raw.
#[derive(Debug)]
pub(crate) struct Raw(());

impl Raw {
    /// Makes the terminal of stdin raw; `None` if stdin is none.
    ///
    /// # Errors
    /// If the terminal does not let itself be changed.
    pub(crate) fn begin() -> io::Result<Option<Self>> {
        static HOOK: Once = Once::new();
        if !io::stdin().is_terminal() {
            return Ok(None);
        }
        // Released programs do not unwind, so that the drop below would never come.
        HOOK.call_once(|| {
            let before = panic::take_hook();
            panic::set_hook(Box::new(move |info| {
                restore();
                before(info);
            }));
        });
        let was = tcgetattr(io::stdin())?;
        let mut raw = was.clone();
        raw.make_raw();
        *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = Some(was);
        let begun = Self(());
        tcsetattr(io::stdin(), OptionalActions::Now, &raw)?;
        Ok(Some(begun))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        restore();
    }
}

/// Puts the terminal back. The hook of a panic may come while somebody is here, so nothing is waited for.
fn restore() {
    let was = BEFORE.try_lock().ok().and_then(|mut before| before.take());
    if let Some(was) = was {
        // What is typed ahead for the other end is not meant for the shell.
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &was);
    }
}

/// The key that leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Escape(Option<u8>);

impl Escape {
    /// Reads `^]`, `ctrl-o`, or `none`.
    ///
    /// # Errors
    /// For any other text.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let lower = text.to_ascii_lowercase();
        if lower == "none" {
            return Ok(Self(None));
        }
        let key = ["^", "ctrl-", "ctrl+", "c-"].iter().find_map(|prefix| lower.strip_prefix(prefix));
        match key.map(str::as_bytes) {
            // Return, newline and tab are typed by other keys.
            Some([key @ (b'a'..=b'z' | b'[' | b'\\' | b']' | b'^' | b'_')]) if !b"ijm".contains(key) => {
                Ok(Self(Some(key.to_ascii_uppercase() & 0x1f)))
            }
            _ => Err(Error::usage(format!("--escape: `{text}` is no key to leave with")).with_hint(Hint::Text(
                "Ctrl with a letter or one of [ \\ ] ^ _, such as '^]' or ctrl-o; or none".into(),
            ))),
        }
    }

    /// Its name for people.
    pub(crate) fn name(self) -> Option<String> {
        self.0.map(|byte| format!("Ctrl-{}", char::from(byte | 0x40)))
    }

    /// What is to be sent of what was typed, and whether the key was among it.
    pub(crate) fn split(self, typed: &[u8]) -> (&[u8], bool) {
        match typed.iter().position(|byte| Some(*byte) == self.0) {
            Some(at) => (&typed[..at], true),
            None => (typed, false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_as_people_write_them() {
        for (text, byte) in [("^]", 0x1d), ("ctrl-]", 0x1d), ("^O", 0x0f), ("Ctrl-o", 0x0f), ("C-a", 1), ("^\\", 0x1c)]
        {
            assert_eq!(Escape::parse(text).unwrap(), Escape(Some(byte)), "{text}");
        }
        assert_eq!(Escape::parse("none").unwrap(), Escape(None));
        for text in ["", "]", "^", "^m", "^i", "ctrl-ab", "alt-x", "^ü", "^1"] {
            Escape::parse(text).unwrap_err();
        }
    }

    #[test]
    fn what_stands_before_the_key_is_sent() {
        let escape = Escape::parse("^]").unwrap();
        assert_eq!(escape.split(b"ls\r"), (&b"ls\r"[..], false));
        assert_eq!(escape.split(b"ls\x1dq"), (&b"ls"[..], true));
        assert_eq!(Escape::parse("none").unwrap().split(b"a\x1d"), (&b"a\x1d"[..], false));
        assert_eq!((escape.name().as_deref(), Escape(None).name()), (Some("Ctrl-]"), None));
    }
}
