//! Questions to a person on the terminal: yes or no, a line of text, a secret.
//!
//! Whether there is anybody to ask, and what to ask, is the caller's to know. Ctrl-C ends every question with
//! [`Class::Interrupted`] and leaves the terminal as it was.

use std::io::{self, Read as _, Write as _};

use dialoguer::console::Term;
use secrecy::SecretString;

use super::ui::Ui;
use crate::model::{Class, Error, Result};

impl Ui {
    /// Asks a question whose answer is no unless somebody says yes.
    pub(crate) fn ask_yes(&self, question: &str) -> Result<bool> {
        let confirm = dialoguer::Confirm::new().wait_for_newline(true).with_prompt(question).default(false);
        self.answer(self.bars().suspend(|| confirm.interact()).map_err(|dialoguer::Error::IO(error)| error))
    }

    /// Asks for a line of text.
    pub(crate) fn ask_text(&self, question: &str, default: &str) -> Result<String> {
        let input = dialoguer::Input::<String>::new().with_prompt(question).default(default.to_owned());
        self.answer(self.bars().suspend(|| input.interact_text()).map_err(|dialoguer::Error::IO(error)| error))
    }

    /// Asks for a name, for which nothing is offered.
    pub(crate) fn ask_name(&self, question: &str) -> Result<String> {
        let input = dialoguer::Input::<String>::new().with_prompt(question).allow_empty(true);
        self.answer(self.bars().suspend(|| input.interact_text()).map_err(|dialoguer::Error::IO(error)| error))
    }

    /// Asks for a line that is not shown.
    pub(crate) fn ask_secret(&self, question: &str) -> Result<SecretString> {
        let asked = self.bars().suspend(|| {
            let mut term = Term::stderr();
            write!(term, "{question}: ")?;
            let line = read_hidden();
            writeln!(term)?;
            line
        });
        self.answer(asked).map(SecretString::from)
    }

    fn answer<T>(&self, asked: io::Result<T>) -> Result<T> {
        asked.map_err(|error| {
            if error.kind() != io::ErrorKind::Interrupted {
                return Error::new(Class::Failed, "cannot ask").with_source(error);
            }
            // A question hides the cursor; that it cannot be shown again is no second failure.
            let _ = Term::stderr().show_cursor();
            self.err_line("");
            Error::new(Class::Interrupted, "interrupted")
        })
    }
}

/// Reads a line from the terminal without showing it.
fn read_hidden() -> io::Result<String> {
    use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, tcgetattr, tcsetattr};

    let stdin = io::stdin();
    let before = tcgetattr(&stdin)?;
    let interrupt = before.special_codes[SpecialCodeIndex::VINTR];
    let mut hidden = before.clone();
    // Ctrl-C ends the line instead of raising a signal, which nobody could handle while this blocks.
    hidden.local_modes.remove(LocalModes::ECHO | LocalModes::ISIG);
    hidden.special_codes[SpecialCodeIndex::VEOL] = interrupt;
    tcsetattr(&stdin, OptionalActions::Drain, &hidden)?;
    let line = read_until(&stdin, interrupt);
    tcsetattr(&stdin, OptionalActions::Drain, &before)?;
    line
}

fn read_until(stdin: &io::Stdin, interrupt: u8) -> io::Result<String> {
    let mut line = Vec::new();
    for byte in stdin.lock().bytes() {
        match byte? {
            b'\n' => break,
            byte if byte == interrupt => return Err(io::ErrorKind::Interrupted.into()),
            byte => line.push(byte),
        }
    }
    String::from_utf8(line).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "what was typed is no UTF-8"))
}
