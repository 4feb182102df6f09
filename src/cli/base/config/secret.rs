//! Values that are not taken as they stand: secrets, and public keys out of files.
//!
//! A secret never stands on the command line, where every user of the machine can read it, nor in an error.

use std::{fs, path::PathBuf};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::ExposeSecret;

use crate::{
    cli::cx::Cx,
    model::{Class, Error, Hint, Result},
};

/// What JavaScript's `encodeURIComponent` encodes, which is what the server expects.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Reads a file, `~/` meaning the home directory.
fn read(cx: &Cx, what: &str, file: &str) -> Result<String> {
    let path = match (file.strip_prefix("~/"), cx.env.path("HOME")) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => PathBuf::from(file),
    };
    fs::read_to_string(&path).map_err(|error| Error::usage(format!("{what}: cannot read {file}")).with_source(error))
}

/// The value of a secret key: from a file, from stdin, or from a person.
pub(crate) fn secret(cx: &Cx, key: &str, typed: &str) -> Result<String> {
    let what = format!("`{key}`");
    let value = match typed.strip_prefix('@') {
        Some(file) => read(cx, &what, file)?,
        // On a terminal everybody could read along.
        None if typed == "-" && !cx.ui.can_ask() => {
            let mut line = String::new();
            std::io::stdin()
                .read_line(&mut line)
                .map_err(|error| Error::new(Class::Failed, format!("{what}: cannot read stdin")).with_source(error))?;
            line
        }
        None if matches!(typed, "" | "-") => ask(cx, key)?,
        None => {
            return Err(Error::usage(format!("{what} is a secret and is not taken from the command line")).with_hint(
                Hint::Text(format!("give --{key} @FILE, or - to read it from stdin; with --set, {key}=@FILE")),
            ));
        }
    };
    let value = value.trim_end_matches(['\r', '\n']);
    if value.is_empty() {
        return Err(Error::usage(format!("{what} is empty")));
    }
    Ok(value.to_owned())
}

fn ask(cx: &Cx, key: &str) -> Result<String> {
    if !cx.ui.can_ask() {
        return Err(Error::usage(format!("`{key}` is to be asked for, and there is no terminal to ask on"))
            .with_hint(Hint::Text("give @FILE, or - to read it from stdin".into())));
    }
    let (first, again) = (cx.ui.ask_secret(key)?, cx.ui.ask_secret(&format!("{key} again"))?);
    match first.expose_secret() == again.expose_secret() {
        true => Ok(first.expose_secret().to_owned()),
        false => Err(Error::usage(format!("`{key}`: the two are not the same"))),
    }
}

/// Public keys, one a line: each value is a key, or the name of a file of keys.
pub(super) fn public_keys(cx: &Cx, flag: &str, values: &[String]) -> Result<String> {
    let mut keys = Vec::new();
    for value in values {
        let text = match value.strip_prefix('@') {
            Some(file) => read(cx, flag, file)?,
            None => value.clone(),
        };
        let from = value.strip_prefix('@').map_or("what was given", |file| file);
        if text.contains("PRIVATE KEY") {
            return Err(Error::usage(format!("{flag}: {from} is a private key, which is to leave this machine never"))
                .with_hint(Hint::Text("the public one is in the file that ends with .pub".into())));
        }
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let before = keys.len();
        for line in lines {
            if line.split_whitespace().count() < 2 {
                return Err(Error::usage(format!("{flag}: `{line}` is no public key"))
                    .with_hint(Hint::Text("a file of keys is given as @FILE, such as @~/.ssh/id_ed25519.pub".into())));
            }
            keys.push(line.to_owned());
        }
        if keys.len() == before {
            return Err(Error::usage(format!("{flag}: {from} has no key in it")));
        }
    }
    Ok(keys.join("\n"))
}

/// As a VM's `sshkeys` has it.
pub(super) fn encoded(keys: &str) -> String {
    utf8_percent_encode(keys, ENCODED).to_string()
}
