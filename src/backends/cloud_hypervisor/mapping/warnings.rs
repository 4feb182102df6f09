//! What is said beside a result: each thing once, with all keys it is about.

/// Warnings, in the order they came up.
#[derive(Debug, Clone, Default)]
pub(super) struct Warnings(Vec<(Vec<String>, String)>);

impl Warnings {
    /// Notes a sentence (without a full stop) about a key.
    pub(super) fn say(&mut self, key: &str, text: impl Into<String>) {
        let text = text.into();
        match self.0.iter_mut().find(|(_, said)| *said == text) {
            Some((keys, _)) if keys.iter().any(|have| have == key) => {}
            Some((keys, _)) => keys.push(key.to_owned()),
            None => self.0.push((vec![key.to_owned()], text)),
        }
    }

    /// As sentences: `scsi0, scsi1: the guest sees …`.
    pub(super) fn sentences(self) -> Vec<String> {
        self.0.into_iter().map(|(keys, text)| format!("{}: {text}", keys.join(", "))).collect()
    }
}
