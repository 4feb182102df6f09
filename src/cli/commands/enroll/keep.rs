//! Where logins are kept here: a file with key and certificate for each context, beside the configuration.
//!
//! Nothing is sent from here.

use std::{
    fs,
    path::{Path, PathBuf},
};

use secrecy::{ExposeSecret as _, SecretString};

use crate::{
    cli::cx::Cx,
    client::Enrolled,
    config::{Credentials, File, Paths, Proxmox, lock_file, write_private},
    model::Result,
};

/// The directory, as a context names it.
const DIRECTORY: &str = "certificates";

/// Before the serial number in a file.
const SERIAL: &str = "# serial: ";

/// Keeps other commands that look after logins waiting, as long as it is there.
pub(super) fn lock(paths: &Paths) -> Result<fs::File> {
    lock_file(&paths.certificates().join(".lock"))
}

/// The file of a context, in the directory.
fn file(name: &str) -> String {
    format!("{name}.pem")
}

/// How a context names its file.
pub(super) fn written(name: &str) -> String {
    format!("{DIRECTORY}/{}", file(name))
}

/// Where the file of a context is.
pub(super) fn place(paths: &Paths, name: &str) -> PathBuf {
    paths.certificates().join(file(name))
}

/// Writes key and certificate, whole or not at all: whoever has the file has both.
pub(super) fn write(path: &Path, key: &SecretString, enrolled: &Enrolled) -> Result<()> {
    let Enrolled { user, serial, expires, certificate, .. } = enrolled;
    let key = key.expose_secret();
    write_private(path, &format!("# user: {user}\n{SERIAL}{serial}\n# expires: {expires}\n{key}{certificate}"))
}

/// The serial number that was written beside a certificate.
pub(super) fn serial(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    text.lines().find_map(|line| line.strip_prefix(SERIAL)).map(str::to_owned)
}

/// Removes a context and what belongs to it alone. Gives whether it was the current one.
pub(super) fn remove(cx: &Cx, paths: &Paths, name: &str, server: &Proxmox) -> Result<bool> {
    let mut file = File::open(paths)?;
    let mut credentials = Credentials::load(&paths.credentials)?;
    let was_current = file.remove_context(name, &mut credentials)?;
    // The context first: one without its login would be half a context.
    file.save()?;
    credentials.save()?;
    let files = [&server.client_certificate, &server.client_key];
    for path in files.into_iter().flatten().map(|file| &file.value) {
        if !path.starts_with(paths.certificates()) {
            cx.ui.say(format_args!("{} was not made by `pvectl enroll`, and stays", path.display()));
        } else if let Err(error) = fs::remove_file(path) {
            cx.ui.warn(format_args!("cannot remove {}: {error}", path.display()));
        }
    }
    Ok(was_current)
}
