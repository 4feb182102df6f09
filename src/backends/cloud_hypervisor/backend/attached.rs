//! What others have to have ready before a VMM may use it: a virtiofsd that listens.
//!
//! A VMM that finds no virtiofsd waits for it and answers nobody meanwhile: so it is looked for before it is asked.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::FileTypeExt as _,
    path::{Path, PathBuf},
};

use crate::{
    backends::cloud_hypervisor::{mapping, state::Config},
    model::{Error, Hint, PropertyString, Result},
};

/// The sockets of shared directories, by their number.
///
/// # Errors
/// [`Class::NotFound`](crate::model::Class::NotFound) where nobody listens.
pub(super) fn shares(config: &Config) -> Result<BTreeMap<u16, PathBuf>> {
    let mut found = BTreeMap::new();
    for (key, value) in config {
        let Some(number) = key.strip_prefix("virtiofs").and_then(|number| number.parse::<u16>().ok()) else { continue };
        let Some(served) = config.get(&mapping::note(key)) else { continue };
        let Some(socket) = PropertyString::lenient(served).get("socket").map(PathBuf::from) else { continue };
        if !listens(&socket) {
            return Err(Error::not_found(format!("{key}: nobody listens on {}", socket.display())).with_hint(
                Hint::Text(format!(
                    "start the virtiofsd that serves {value}: `virtiofsd --socket-path={} --shared-dir=…`",
                    socket.display()
                )),
            ));
        }
        found.insert(number, socket);
    }
    Ok(found)
}

/// Whether a socket is listened on. It is not tried: a virtiofsd takes one connection and ends with it.
fn listens(path: &Path) -> bool {
    /// `__SO_ACCEPTCON` in the column of flags.
    const LISTENS: &str = "00010000";
    let is_socket = fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket());
    let table = fs::read_to_string("/proc/net/unix").unwrap_or_default();
    let name = path.to_string_lossy();
    is_socket
        && table.lines().skip(1).any(|line| {
            let mut columns = line.split_whitespace();
            columns.nth(3) == Some(LISTENS) && columns.nth(3) == Some(&*name)
        })
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn a_socket_counts_while_somebody_listens() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("share.sock");
        assert!(!listens(&path));
        let listener = UnixListener::bind(&path).unwrap();
        assert!(listens(&path));
        drop(listener);
        assert!(path.exists() && !listens(&path), "what is left lying is nobody");
        let config: Config = [("virtiofs2", "dirid=a"), ("x-virtiofs2", &format!("socket={}", path.display()))]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into();
        assert!(shares(&config).unwrap_err().message().contains("nobody listens"));
        let _listener = fs::remove_file(&path).and_then(|()| UnixListener::bind(&path)).unwrap();
        assert_eq!(shares(&config).unwrap(), [(2, path)].into());
    }
}
