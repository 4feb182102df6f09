//! What is said beside a result: each thing once, with all keys it is about.

/// Warnings and notes, in the order they came up.
#[derive(Debug, Clone, Default)]
pub(super) struct Warnings(Vec<Said>);

#[derive(Debug, Clone)]
struct Said {
    keys: Vec<String>,
    text: String,
    is_note: bool,
}

impl Warnings {
    /// Notes a sentence (without a full stop) about a key: what was asked for is not quite what is given.
    pub(super) fn say(&mut self, key: &str, text: impl Into<String>) {
        self.add(key, text.into(), false);
    }

    /// The same of something that is only good to know: nothing is wrong with what was asked for.
    pub(super) fn note(&mut self, key: &str, text: impl Into<String>) {
        self.add(key, text.into(), true);
    }

    fn add(&mut self, key: &str, text: String, is_note: bool) {
        match self.0.iter_mut().find(|said| said.text == text) {
            Some(said) if said.keys.iter().any(|have| have == key) => {}
            Some(said) => said.keys.push(key.to_owned()),
            None => self.0.push(Said { keys: vec![key.to_owned()], text, is_note }),
        }
    }

    /// As sentences, the warnings and the notes: `scsi0, scsi1: the guest sees …`.
    pub(super) fn sentences(self) -> (Vec<String>, Vec<String>) {
        let sentence = |said: &Said| format!("{}: {}", said.keys.join(", "), said.text);
        let (notes, warnings): (Vec<Said>, Vec<Said>) = self.0.into_iter().partition(|said| said.is_note);
        (warnings.iter().map(sentence).collect(), notes.iter().map(sentence).collect())
    }
}
