//! Where an image comes from, and what its checksum should be: as people type it.
//!
//! Fetches nothing but lists of checksums.

use std::{fmt, fs, path::PathBuf};

use url::Url;

use super::fetch::fetch_text;
use crate::{
    backends::cloud_hypervisor::disk::failed,
    model::{Error, Result},
};

/// Where an image comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A server.
    Url(Url),
    /// A file of this host.
    File(PathBuf),
}

impl Source {
    /// What a person typed: an `http` or `https` address, or a path.
    ///
    /// # Errors
    /// [`Class::Usage`](crate::model::Class::Usage) for an address of another kind.
    pub fn parse(text: &str) -> Result<Self> {
        let Some((scheme, _)) = text.split_once("://") else { return Ok(Self::File(text.into())) };
        match Url::parse(text) {
            Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(Self::Url(url)),
            Ok(_) => Err(Error::usage(format!("`{scheme}` is no way to fetch an image; http and https are"))),
            Err(error) => Err(Error::usage(format!("`{text}` is no address: {error}"))),
        }
    }

    /// A name for the image: the last part without its endings.
    pub fn default_name(&self) -> String {
        let last = self.last();
        let stem = last.strip_suffix(".gz").unwrap_or(&last);
        let ending =
            |text: &str| [".qcow2", ".raw", ".img"].iter().find_map(|end| text.strip_suffix(end).map(str::to_owned));
        ending(stem).unwrap_or_else(|| stem.to_owned())
    }

    /// The name of the file itself.
    pub(super) fn last(&self) -> String {
        match self {
            Self::Url(url) => {
                url.path_segments().and_then(|mut parts| parts.next_back()).unwrap_or_default().to_owned()
            }
            Self::File(path) => path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        }
    }

    /// As it may be shown and kept: without user and password. What follows a `?` may be a secret too.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Url(url) => {
                let mut url = url.clone();
                // Only addresses that cannot have them refuse this.
                let _ = url.set_username("").and_then(|()| url.set_password(None));
                url.set_query(None);
                url.set_fragment(None);
                url.to_string()
            }
            Self::File(path) => path.display().to_string(),
        }
    }
}

impl fmt::Display for Source {
    /// Without what may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown())
    }
}

/// What the SHA-256 of what is fetched should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Checksum {
    /// This, in lower-case hex.
    Sha256(String),
    /// What a list such as `SHA256SUMS` says of the file.
    List(Source),
}

impl Checksum {
    /// What a person typed: 64 hex digits, or an address or a path of a list.
    ///
    /// # Errors
    /// [`Class::Usage`](crate::model::Class::Usage) for what can be neither.
    pub fn parse(text: &str) -> Result<Self> {
        let hex = text.strip_prefix("sha256:").unwrap_or(text);
        if hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Ok(Self::Sha256(hex.to_ascii_lowercase()));
        }
        if !text.contains(['/', '.']) && !text.contains("SUM") {
            return Err(Error::usage(format!("`{text}` is no SHA-256: 64 hex digits are expected, or a file of sums")));
        }
        Source::parse(text).map(Self::List)
    }
}

/// What the checksum should be.
pub(super) async fn expected(checksum: &Checksum, file: &str) -> Result<String> {
    let (list, shown) = match checksum {
        Checksum::Sha256(sum) => return Ok(sum.clone()),
        Checksum::List(source @ Source::Url(url)) => (fetch_text(url, &source.shown()).await?, source.shown()),
        Checksum::List(source @ Source::File(path)) => {
            let read = fs::read_to_string(path).map_err(|error| failed("read", path, error))?;
            (read, source.shown())
        }
    };
    find_sum(&list, file).ok_or_else(|| Error::usage(format!("`{shown}` has no SHA-256 of `{file}`")))
}

/// What a list says of a file: lines of `SUM  NAME`, `SUM *NAME`, or `SHA256 (NAME) = SUM`.
fn find_sum(list: &str, file: &str) -> Option<String> {
    let of_line = |line: &str| {
        let (sum, name) = match line.strip_prefix("SHA256 (").and_then(|rest| rest.rsplit_once(") = ")) {
            Some((name, sum)) => (sum, name),
            None => line.split_once([' ', '\t'])?,
        };
        let name = name.trim().trim_start_matches('*').trim_start_matches("./");
        let Ok(Checksum::Sha256(sum)) = Checksum::parse(sum) else { return None };
        (name == file).then_some(sum)
    };
    list.lines().find_map(|line| of_line(line.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Class;

    #[test]
    fn sums_are_found_in_both_shapes_of_lists() {
        let (a, b) = ("a".repeat(64), "b".repeat(64));
        let list = format!("# made by hand\n{a}  one.qcow2\n{b} *./two.img\nSHA256 (three (3).raw) = {a}\nshort one\n");
        assert_eq!(find_sum(&list, "one.qcow2"), Some(a.clone()));
        assert_eq!(find_sum(&list, "two.img"), Some(b));
        assert_eq!(find_sum(&list, "three (3).raw"), Some(a));
        assert_eq!(find_sum(&list, "four"), None);
    }

    #[test]
    fn sources_are_told_apart_and_give_names() {
        let name = |text: &str| Source::parse(text).unwrap().default_name();
        assert_eq!(name("https://a.example/x/debian-12-generic.qcow2?token=1"), "debian-12-generic");
        assert_eq!(name("images/alpine.raw.gz"), "alpine");
        assert_eq!(name("noble.img"), "noble");
        assert_eq!(Source::parse("ftp://a/b").unwrap_err().class(), Class::Usage);
        let secret = Source::parse("https://me:hunter2@a.example/x.img?sig=hunter2#hunter2").unwrap();
        assert_eq!(secret.shown(), "https://a.example/x.img");
        assert_eq!(Checksum::parse("abc").unwrap_err().class(), Class::Usage);
        assert!(matches!(Checksum::parse("https://a/SHA256SUMS").unwrap(), Checksum::List(Source::Url(_))));
        assert_eq!(Checksum::parse(&"A".repeat(64)).unwrap(), Checksum::Sha256("a".repeat(64)));
    }
}
