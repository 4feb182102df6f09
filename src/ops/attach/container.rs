//! What only containers are given: a volume or a directory of their node at a path, and a device file.

use crate::model::{Error, Hint, Result};

/// A volume or a directory that a container is to have at a path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewMount {
    /// `STORAGE:GIB` or a size for a new volume, the id of one that is there, or a directory of the container's node.
    pub volume: String,
    /// Where it is in the container.
    pub path: String,
    /// Whether it can only be read there.
    pub readonly: bool,
    /// Whether backups have it; a directory never is in one.
    pub backup: bool,
}

impl NewMount {
    /// As the value of a key.
    pub(super) fn value(&self) -> Result<String> {
        let Self { volume, path, readonly, backup } = self;
        if !path.starts_with('/') || path == "/" {
            return Err(Error::usage(format!("`{path}` is no place for it in a container"))
                .with_hint(Hint::Text("a whole path is expected: /srv/data".into())));
        }
        if let Some(wrong) = [volume, path].into_iter().find(|text| text.contains(',') || text.is_empty()) {
            return Err(Error::usage(format!("`{wrong}`: it cannot be empty or have a comma in it")));
        }
        let (readonly, backup) = (if *readonly { ",ro=1" } else { "" }, if *backup { ",backup=1" } else { "" });
        Ok(format!("{volume},mp={path}{readonly}{backup}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_has_a_place() {
        let mount = |volume: &str, path: &str| NewMount {
            volume: volume.into(),
            path: path.into(),
            readonly: true,
            backup: false,
        };
        assert_eq!(mount("local-lvm:4", "/srv").value().unwrap(), "local-lvm:4,mp=/srv,ro=1");
        assert_eq!(mount("/mnt/data", "/srv/data").value().unwrap(), "/mnt/data,mp=/srv/data,ro=1");
        for (volume, path) in [("a:4", "srv"), ("a:4", "/"), ("a:4", "/a,ro=0"), ("a:4,ro=0", "/a"), ("", "/a")] {
            assert!(mount(volume, path).value().is_err(), "{volume} {path}");
        }
    }
}
