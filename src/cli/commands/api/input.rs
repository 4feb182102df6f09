//! The parameters of an `api` call: from a body, from `-p`, which goes before it, and from `--force-param`.
//!
//! Secrets never stand on the command line, where every user of the machine can read them.

use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
};

use clap::ArgMatches;
use secrecy::ExposeSecret;

use crate::{
    cli::cx::{Cx, text, texts},
    contract::{Arguments, plain_path},
    manifest::read_object,
    model::{Class, Error, Hint, Params, Result, is_secret_at},
};

/// What was given.
pub(super) struct Input {
    /// To be checked.
    pub(super) arguments: Arguments,
    /// To be sent unchecked.
    pub(super) forced: Params,
    /// To be uploaded.
    pub(super) file: Option<PathBuf>,
}

impl Input {
    /// Reads what the command line names; `path` as it was typed.
    pub(super) fn read(cx: &Cx, matches: &ArgMatches, path: &str) -> Result<Self> {
        // What is a secret depends on the path as the server reads it.
        let place = plain_path(path);
        refuse_secrets_in_query(&place, path)?;
        let mut stdin = Stdin { cx, taken: None, upload: place.ends_with(UPLOAD).then_some(None) };
        let mut arguments = match text(matches, "file") {
            None => Arguments::default(),
            Some("-") => read_object(&stdin.read("-f")?, Path::new("stdin"))?.into(),
            Some(file) => {
                let content = fs::read_to_string(file)
                    .map_err(|error| Error::usage(format!("cannot read {file}")).with_source(error))?;
                read_object(&content, Path::new(file))?.into()
            }
        };
        let mut read = |flag: &str, option: &str| -> Result<Params> {
            texts(matches, option).iter().map(|pair| stdin.pair(flag, pair, &place)).collect()
        };
        arguments.replace(read("-p", "param")?.into());
        let forced = read("--force-param", "force-param")?;
        Ok(Self { arguments, forced, file: stdin.upload.flatten() })
    }
}

/// Where the methods are that take a file; its name goes with it as a parameter.
const UPLOAD: &str = "/upload";

/// Stdin, which can be read once, and the file of an upload.
struct Stdin<'a> {
    cx: &'a Cx,
    taken: Option<String>,
    upload: Option<Option<PathBuf>>,
}

impl Stdin<'_> {
    fn read(&mut self, by: &str) -> Result<String> {
        if let Some(taken) = &self.taken {
            return Err(Error::usage(format!("stdin can be read once, and {taken} and {by} both ask for it")));
        }
        self.taken = Some(by.to_owned());
        let mut content = String::new();
        std::io::stdin()
            .read_to_string(&mut content)
            .map_err(|error| Error::new(Class::Failed, "cannot read stdin").with_source(error))?;
        Ok(content)
    }

    /// `KEY=VALUE`, `KEY=@FILE`, `KEY=-`, `KEY=@@TEXT`.
    fn pair(&mut self, flag: &str, pair: &str, place: &str) -> Result<(String, String)> {
        // What has no key may be a secret.
        let (key, value) = pair
            .split_once('=')
            .filter(|(key, _)| !key.is_empty())
            .ok_or_else(|| Error::usage(format!("`{flag}` takes KEY=VALUE")))?;
        if let (Some(upload), "filename", Some(file)) = (&mut self.upload, key, value.strip_prefix('@')) {
            let name = Path::new(file).file_name().map(|name| name.to_string_lossy().into_owned());
            *upload = Some(PathBuf::from(file));
            return name
                .map(|name| (key.to_owned(), name))
                .ok_or_else(|| Error::usage(format!("`{file}` names no file")));
        }
        let secret = is_secret_at(place, key);
        let read = match value.strip_prefix('@') {
            Some(text) if text.starts_with('@') && !secret => return Ok((key.into(), text.into())),
            Some(file) if !file.starts_with('@') => fs::read_to_string(file)
                .map_err(|error| Error::usage(format!("`{key}`: cannot read {file}")).with_source(error))?,
            None if value == "-" && secret && self.cx.ui.can_ask() => {
                self.cx.ui.ask_secret(key)?.expose_secret().to_owned()
            }
            None if value == "-" => self.read(&format!("{flag} {key}=-"))?,
            _ if secret => return Err(on_the_command_line(key, flag)),
            _ => return Ok((key.into(), value.into())),
        };
        Ok((key.into(), read.trim_end_matches(['\r', '\n']).into()))
    }
}

fn on_the_command_line(key: &str, flag: &str) -> Error {
    Error::usage(format!("`{key}` is a secret and is not taken from the command line")).with_hint(Hint::Text(format!(
        "give {flag} {key}=@FILE, {flag} {key}=- to read it from stdin, or a body with -f"
    )))
}

fn refuse_secrets_in_query(place: &str, path: &str) -> Result<()> {
    let query = path.split_once('?').map_or("", |(_, query)| query);
    let mut keys = query.split('&').map(|pair| pair.split('=').next().unwrap_or_default());
    keys.find(|key| is_secret_at(place, key)).map_or(Ok(()), |key| Err(on_the_command_line(key, "-p")))
}
