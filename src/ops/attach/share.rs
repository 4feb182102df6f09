//! A shared directory that is to be added: what of it Proxmox has no part of a value for.

use crate::model::{Error, Result};

/// A shared directory to be added.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewShare {
    /// The name by which the guest mounts it; on Proxmox that of the directory mapping.
    pub tag: String,
    /// The directory, on a host without mappings: it gets a virtiofsd of its own.
    pub source: Option<String>,
    /// The socket on which a virtiofsd serves it, on a host without mappings: somebody else's, unless there is a `source`.
    pub socket: Option<String>,
    /// Whether the guest can only read; for a `source`.
    pub readonly: bool,
    /// How virtiofsd shuts itself in; for a `source`.
    pub sandbox: Option<String>,
    /// What the guest may keep in its memory: `auto`, `always`, `metadata`, `never`.
    pub cache: Option<String>,
}

impl NewShare {
    /// What is noted beside the key.
    ///
    /// # Errors
    /// [`Class::Usage`](crate::model::Class::Usage) for what a note cannot hold, or what is not for us to say.
    pub(super) fn notes(&self) -> Result<Vec<String>> {
        let mut noted = Vec::new();
        for (what, value) in [("source", &self.source), ("socket", &self.socket), ("sandbox", &self.sandbox)] {
            match value {
                Some(value) if value.contains(',') => {
                    return Err(Error::usage(format!("the {what} `{value}` cannot have a comma in it")));
                }
                Some(value) => noted.push(format!("{what}={value}")),
                None => {}
            }
        }
        if self.readonly {
            noted.push("readonly=1".to_owned());
        }
        if self.source.is_none() && (self.readonly || self.sandbox.is_some()) {
            return Err(Error::usage("how a directory is served is for the one who serves it to say"));
        }
        Ok(noted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_proxmox_has_no_key_for_is_noted() {
        let share = NewShare { tag: "a".into(), source: Some("/srv".into()), readonly: true, ..NewShare::default() };
        assert_eq!(share.notes().unwrap(), ["source=/srv", "readonly=1"]);
        let moved = NewShare { socket: Some("/run/a".into()), readonly: false, ..share.clone() };
        assert_eq!(moved.notes().unwrap(), ["source=/srv", "socket=/run/a"]);
        assert!(NewShare { source: Some("/srv/a,readonly=0".into()), ..share.clone() }.notes().is_err());
        assert!(NewShare { source: None, ..share }.notes().is_err());
    }
}
