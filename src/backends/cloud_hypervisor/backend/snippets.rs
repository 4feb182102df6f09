//! Texts of the user's own that a guest is to find in its seed (`cicustom`): files in the storage's folder of snippets.
//!
//! They are read when a VM starts. Nothing here writes, keeps or understands one.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{ErrorKind, Read as _},
    path::{Path, PathBuf},
};

use super::{Local, volumes::STORAGE};
use crate::model::{Class, Error, Hint, Result, Size, Volume, config::QemuConfig};

/// What stands before a snippet's name in the id of its volume.
const PREFIX: &str = "snippets/";
/// The parts of `cicustom`.
const PARTS: [&str; 4] = ["meta", "network", "user", "vendor"];
/// How large a text may be; a seed has no room for more.
const LARGEST: u64 = 8 << 20;

impl Local {
    /// Where they are.
    fn snippets(&self) -> PathBuf {
        self.storage_folder().join("snippets")
    }

    /// The texts that a configuration names, by their parts.
    ///
    /// # Errors
    /// Names the part: [`Class::NotFound`] for a file that is not there, [`Class::Usage`] for what is no snippet or no
    /// text.
    pub(super) fn custom_texts(&self, config: &QemuConfig) -> Result<BTreeMap<String, String>> {
        let Some(volumes) = config.cicustom()? else { return Ok(BTreeMap::new()) };
        let named = PARTS.iter().filter_map(|part| Some((*part, volumes.text(part)?)));
        let read = |(part, volume): (&str, &str)| {
            let text = self.snippet(volume).map_err(|error| error.context(format!("cicustom: {part}")))?;
            Ok((part.to_owned(), text))
        };
        named.map(read).collect()
    }

    fn snippet(&self, volume: &str) -> Result<String> {
        let name = volume.strip_prefix(STORAGE).and_then(|rest| rest.strip_prefix(':')?.strip_prefix(PREFIX));
        let plain = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.contains('\0');
        let Some(name) = name.filter(|name| name.split('/').all(plain)) else {
            let message = format!("{volume} is no snippet of this host: {STORAGE}:{PREFIX}NAME");
            return Err(Error::usage(message));
        };
        let path = self.snippets().join(name);
        let failed = |error: std::io::Error| match error.kind() {
            ErrorKind::NotFound => Error::not_found(format!("there is no file {}", path.display()))
                .with_hint(Hint::Text(format!("put the text into {}", self.snippets().display()))),
            ErrorKind::InvalidData => Error::usage(format!("{} is no text in UTF-8", path.display())),
            _ => Error::new(Class::Failed, format!("cannot read {}: {error}", path.display())).with_source(error),
        };
        let mut text = String::new();
        let read = File::open(&path).and_then(|file| file.take(LARGEST + 1).read_to_string(&mut text));
        if read.map_err(failed)? as u64 > LARGEST {
            return Err(Error::usage(format!("{} has more than {}", path.display(), Size(LARGEST))));
        }
        Ok(text)
    }

    /// All that are there, as volumes.
    pub(super) fn list_snippets(&self) -> Vec<Volume> {
        let entries = fs::read_dir(self.snippets()).into_iter().flatten().flatten();
        let row = |path: &Path, name: &str| {
            let found = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
            let volid = format!("{STORAGE}:{PREFIX}{name}");
            let row = serde_json::json!({
                "volid": volid, "content": "snippets", "format": "snippet", "size": found.len(),
                "used": found.len(), "path": path,
            });
            serde_json::from_value(row).ok()
        };
        let mut rows: Vec<Volume> = entries
            .filter(|entry| !entry.file_name().as_encoded_bytes().starts_with(b"."))
            .filter_map(|entry| row(&entry.path(), entry.file_name().to_str()?))
            .collect();
        rows.sort_by(|one, other| one.volid.cmp(&other.volid));
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::{super::asked::typed, *};
    use crate::backends::cloud_hypervisor::state::Config;

    fn text(local: &Local, volume: &str) -> Result<String> {
        let config = typed(&Config::from([("cicustom".to_owned(), format!("user={volume}"))]));
        Ok(local.custom_texts(&config)?.remove("user").unwrap())
    }

    #[test]
    fn a_snippet_is_a_file_of_the_folder() {
        let home = tempfile::tempdir().unwrap();
        let local = Local::bare(home.path());
        assert!(local.custom_texts(&QemuConfig::default()).unwrap().is_empty() && local.list_snippets().is_empty());
        let folder = local.snippets();
        fs::create_dir_all(folder.join("below")).unwrap();
        fs::write(folder.join("b.yaml"), "b").unwrap();
        fs::write(folder.join("a.yaml"), [0xff]).unwrap();
        fs::write(folder.join("below/c.yaml"), "c").unwrap();
        File::create(folder.join("large")).unwrap().set_len(LARGEST + 1).unwrap();
        assert_eq!(text(&local, "local:snippets/b.yaml").unwrap(), "b");
        assert_eq!(text(&local, "local:snippets/below/c.yaml").unwrap(), "c");
        for (volume, class, says) in [
            ("local:snippets/d.yaml", Class::NotFound, "cicustom: user: there is no file"),
            ("local:snippets/a.yaml", Class::Usage, "no text in UTF-8"),
            ("local:snippets/large", Class::Usage, "more than 8"),
            ("local:snippets/../b.yaml", Class::Usage, "no snippet of this host"),
            ("local:iso/b.yaml", Class::Usage, "no snippet of this host"),
            ("nfs:snippets/b.yaml", Class::Usage, "no snippet of this host"),
        ] {
            let error = text(&local, volume).unwrap_err();
            assert_eq!(error.class(), class, "{volume}");
            assert!(error.to_string().contains(says), "{volume}: {error}");
        }
        let rows = local.list_snippets();
        let named: Vec<_> = rows.iter().map(|row| row.volid.as_str()).collect();
        assert_eq!(named, ["local:snippets/a.yaml", "local:snippets/b.yaml", "local:snippets/large"]);
    }
}
