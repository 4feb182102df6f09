//! A document of the form `pvectl/v1`: what it describes, what that is called, and what it should be.

use std::{
    collections::BTreeMap,
    fmt, fs,
    path::{Path, PathBuf},
};

use super::guest::GuestSpec;
use crate::model::{Error, GuestKind, NodeName, Params, Result, Vmid};

/// The form of documents.
pub const API_VERSION: &str = "pvectl/v1";

/// Where something stands in a file.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file.
    pub file: PathBuf,
    /// The line, counted from one.
    pub line: u64,
    /// The column, counted from one.
    pub column: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file.display(), self.line, self.column)
    }
}

/// What something is called, and where it belongs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metadata {
    /// Its name.
    pub name: String,
    /// Its labels; an empty value for one without.
    pub labels: BTreeMap<String, String>,
    /// A guest's pool.
    pub pool: Option<String>,
    /// A guest's number.
    pub vmid: Option<Vmid>,
    /// The node a guest is made on.
    pub node: Option<NodeName>,
}

/// What something should be.
#[derive(Debug, Clone)]
pub enum Spec {
    /// A guest.
    Guest(Box<GuestSpec>),
    /// Another thing: its parameters, by the API's names, and those whose value is in a file.
    Thing(Params, BTreeMap<String, Secret>),
}

/// One document.
#[derive(Debug, Clone)]
pub struct Document {
    /// What it describes: `vm`, `container`, `pool`, …
    pub noun: &'static str,
    /// What that is called.
    pub metadata: Metadata,
    /// What it should be.
    pub spec: Spec,
    /// Where it begins.
    pub place: Place,
    /// Where its keys are, by the API's names.
    pub places: BTreeMap<String, Place>,
}

impl Document {
    /// The kind of guest, if it is one.
    pub fn guest(&self) -> Option<GuestKind> {
        GuestKind::ALL.into_iter().find(|kind| kind.noun() == self.noun)
    }

    /// `vm web-1`.
    pub fn label(&self) -> String {
        format!("{} {}", self.noun, self.metadata.name)
    }

    /// An error about the document, with the place of the key that it names.
    pub fn locate(&self, error: Error) -> Error {
        let named = self.places.iter().find(|(key, _)| error.message().contains(&format!("`{key}`")));
        error.context(named.map_or(&self.place, |(_, place)| place))
    }
}

/// `VirtualMachine` of `vm`, `BackupJob` of `backup-job`.
pub fn kind_of_noun(noun: &str) -> String {
    if noun == GuestKind::Qemu.noun() {
        return "VirtualMachine".to_owned();
    }
    let capital = |word: &str| {
        let mut letters = word.chars();
        letters.next().map_or_else(String::new, |first| first.to_ascii_uppercase().to_string() + letters.as_str())
    };
    noun.split('-').map(capital).collect()
}

/// A secret that is in a file of its own. What it says is read when it is needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secret {
    /// The file, as the manifest names it.
    pub named: String,
    /// The same, as it is found from here.
    pub file: PathBuf,
}

impl Secret {
    /// One in a file that stands beside this one, unless its path is absolute.
    pub(super) fn beside(manifest: &Path, named: &str) -> Self {
        let folder = manifest.parent().unwrap_or(Path::new(""));
        Self { named: named.to_owned(), file: folder.join(named) }
    }

    /// What it says, without the end of its last line.
    ///
    /// # Errors
    /// [`Class::Usage`](crate::model::Class::Usage) for a file that cannot be read, or is empty.
    pub fn read(&self) -> Result<String> {
        let text = fs::read_to_string(&self.file)
            .map_err(|error| Error::usage(format!("cannot read {}", self.file.display())).with_source(error))?;
        match text.trim_end_matches(['\r', '\n']) {
            "" => Err(Error::usage(format!("{} is empty", self.file.display()))),
            secret => Ok(secret.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_written_as_kubectl_does() {
        for (noun, kind) in
            [("vm", "VirtualMachine"), ("container", "Container"), ("backup-job", "BackupJob"), ("pool", "Pool")]
        {
            assert_eq!(kind_of_noun(noun), kind);
        }
    }
}
