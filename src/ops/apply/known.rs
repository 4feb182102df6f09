//! What is remembered of a document: what it said when it was made so last, and what is being tried.

use serde_json::{Value, json};

use super::{diff::Fields, fields::spelt};
use crate::{
    manifest::{Document, Spec},
    model::{Applied, Result, Vmid},
    ops::Ops,
};

/// How the field begins that stands for a secret; its value is the name of the file.
pub(super) const SECRET: &str = "secret.";

/// What is remembered, and what will be.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    /// What was applied, the newest last.
    pub(super) said: Vec<Fields>,
    /// Volumes that left the document.
    pub(super) left: Vec<String>,
    /// What is wanted now.
    pub(super) wanted: Fields,
    /// What was remembered as done.
    done: Option<Value>,
    /// Whether something was remembered as being tried.
    tried: bool,
}

impl Known {
    /// Of a document, and of what is remembered of it.
    pub(super) fn of(document: &Document, applied: Option<&Applied>) -> Self {
        Self { wanted: wanted(document), ..Self::from_kept(applied) }
    }

    /// Of what is remembered alone.
    pub(super) fn from_kept(applied: Option<&Applied>) -> Self {
        let Some(applied) = applied else { return Self::default() };
        // Of what was never done, any of it may be there or not.
        let nothing = json!({ "fields": {} });
        let kept = [Some(applied.done.as_ref().unwrap_or(&nothing)), applied.trying.as_ref()].into_iter().flatten();
        let strings = |kept: &Value| serde_json::from_value(kept["left"].clone()).unwrap_or_default();
        Self {
            said: kept.clone().filter_map(|kept| serde_json::from_value(kept["fields"].clone()).ok()).collect(),
            left: kept.flat_map(|kept| -> Vec<String> { strings(kept) }).collect(),
            wanted: Fields::new(),
            done: applied.done.clone(),
            tried: applied.trying.is_some(),
        }
    }

    /// What was applied.
    pub(super) fn said(&self) -> Vec<&Fields> {
        self.said.iter().collect()
    }

    /// What is wanted, with the volumes that left the document.
    pub(super) fn now(&self, left: &[String]) -> Value {
        let mut now = json!({ "fields": self.wanted });
        if !left.is_empty() {
            now["left"] = json!(left);
        }
        now
    }
}

/// Everything that a document says, as fields.
fn wanted(document: &Document) -> Fields {
    let secret = |key: &String, named: &str| (format!("{SECRET}{key}"), named.to_owned());
    match (&document.spec, document.guest()) {
        (Spec::Guest(guest), Some(kind)) => {
            let mut fields = spelt(kind, &guest.fields).unwrap_or_else(|_| guest.fields.clone());
            fields.extend(guest.state.map(|state| ("state".to_owned(), state.word().to_owned())));
            fields.extend(guest.secrets.iter().map(|(key, at)| secret(key, &at.named)));
            fields
        }
        (Spec::Thing(params, secrets), _) => {
            let own = params.iter().map(|(key, value)| (key.to_owned(), value.to_owned()));
            let labels = document.metadata.labels.iter().map(|(key, value)| (format!("labels.{key}"), value.clone()));
            own.chain(secrets.iter().map(|(key, at)| secret(key, &at.named))).chain(labels).collect()
        }
        (Spec::Guest(guest), None) => guest.fields.clone(),
    }
}

impl Ops {
    /// What is remembered in this context, by sort and name.
    pub(super) fn known_here(&self) -> Result<std::collections::HashMap<(String, String), Applied>> {
        let all = self.recorder.applied(&self.context)?;
        Ok(all.into_iter().map(|known| ((known.kind.clone(), known.name.clone()), known)).collect())
    }

    fn applied(&self, noun: &str, name: &str, vmid: Option<u32>) -> Applied {
        let (kind, name) = (noun.to_owned(), name.to_owned());
        Applied { context: self.context.clone(), kind, name, vmid, done: None, trying: None }
    }

    /// Remembers what is about to be tried: whatever comes about of it is known as ours.
    pub(super) fn note_trying(&self, work: &super::Work) -> Result<()> {
        let left: Vec<String> = work.left.iter().chain(&work.doomed).cloned().collect();
        let (done, trying) = (work.known.done.clone(), Some(work.known.now(&left)));
        let applied = self.applied(work.noun, &work.name, work.vmid.map(Vmid::get));
        self.recorder.remember(&Applied { done, trying, ..applied })
    }

    /// Remembers that it is so, unless that is what is remembered.
    pub(super) fn note_done(&self, work: &super::Work, vmid: Option<Vmid>) -> Result<()> {
        let now = work.known.now(&work.left);
        if work.known.done.as_ref() == Some(&now) && !work.known.tried && work.stages.is_empty() {
            return Ok(());
        }
        let applied = self.applied(work.noun, &work.name, vmid.map(Vmid::get));
        self.recorder.remember(&Applied { done: Some(now), ..applied })
    }

    /// Forgets what is gone.
    pub(super) fn note_gone(&self, work: &super::Work) -> Result<()> {
        self.recorder.forget(&self.context, work.noun, &work.name)
    }
}
