//! The files of `-f`: one or several, directories of them, stdin; and the variables that may stand in them.

use std::{
    collections::BTreeMap,
    fs,
    io::Read as _,
    path::{Path, PathBuf},
};

use clap::{Arg, ArgAction, ArgMatches, ValueHint};

use crate::{
    cli::{
        cx::{flag, texts},
        verb::{switch, value},
    },
    config::Env,
    manifest::{Document, Manifest, Reading, Written, read},
    model::{Error, Hint, Result},
    ops::manifest_nouns,
};

/// The endings of files that are read in a directory.
const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];

/// The flags that name files.
pub(crate) fn file_args(help: &'static str) -> [Arg; 3] {
    [
        Arg::new("file")
            .short('f')
            .long("file")
            .value_name("FILE")
            .value_hint(ValueHint::AnyPath)
            .action(ArgAction::Append)
            .help(help),
        switch("recursive", "Of a directory also those in directories below").short('R').requires("file"),
        value("env", "NAME", "Let ${NAME} stand for this variable of the environment; repeatable")
            .action(ArgAction::Append)
            .requires("file"),
    ]
}

/// What the files describe, in their two forms.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    pub(crate) documents: Vec<Document>,
    pub(crate) plain: Vec<Manifest>,
    /// The files, as they were named.
    pub(crate) typed: String,
}

/// Reads what was named; nothing if nothing was.
pub(crate) fn load(matches: &ArgMatches) -> Result<Option<Loaded>> {
    let named = texts(matches, "file");
    if named.is_empty() {
        return Ok(None);
    }
    let mut variables = BTreeMap::new();
    for name in texts(matches, "env") {
        let text = Env::named(&name)
            .ok_or_else(|| Error::usage(format!("--env {name}: there is no such variable, or it is no text")))?;
        variables.insert(name, text);
    }
    let nouns = manifest_nouns();
    let reading = Reading { nouns: &nouns, variables: &variables };
    let mut loaded = Loaded { typed: named.join(","), ..Loaded::default() };
    for name in &named {
        for (path, text) in texts_of(name, flag(matches, "recursive"))? {
            for written in read(&text, &path, &reading)? {
                match written {
                    Written::Document(document) => loaded.documents.push(*document),
                    Written::Plain(plain) => loaded.plain.push(plain),
                }
            }
        }
    }
    Ok(Some(loaded))
}

/// The texts behind a name, each with its path.
fn texts_of(name: &str, recursive: bool) -> Result<Vec<(PathBuf, String)>> {
    if name == "-" {
        let mut text = String::new();
        let read = std::io::stdin().read_to_string(&mut text);
        read.map_err(|error| Error::usage("cannot read stdin").with_source(error))?;
        return Ok(vec![(PathBuf::from("stdin"), text)]);
    }
    let path = Path::new(name);
    let cannot = |path: &Path, error| Error::usage(format!("cannot read {}", path.display())).with_source(error);
    let mut files = Vec::new();
    if path.is_dir() {
        walk(path, recursive, &mut files).map_err(|error| cannot(path, error))?;
        if files.is_empty() {
            let error = Error::usage(format!("there is no .yaml, .yml or .json in {name}"));
            return Err(if recursive {
                error
            } else {
                error.with_hint(Hint::Text("-R looks in directories below too".into()))
            });
        }
    } else {
        files.push(path.to_owned());
    }
    let text = |file: PathBuf| fs::read_to_string(&file).map_err(|error| cannot(&file, error)).map(|text| (file, text));
    files.into_iter().map(text).collect()
}

/// The files of a directory, by name. Directories below come after the files beside them.
fn walk(directory: &Path, recursive: bool, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    let mut entries: Vec<PathBuf> =
        fs::read_dir(directory)?.map(|entry| entry.map(|entry| entry.path())).collect::<std::io::Result<_>>()?;
    entries.sort();
    let (below, here): (Vec<PathBuf>, Vec<PathBuf>) = entries.into_iter().partition(|path| path.is_dir());
    files.extend(here.into_iter().filter(|path| {
        path.extension().and_then(|ending| ending.to_str()).is_some_and(|ending| ENDINGS.contains(&ending))
    }));
    if recursive {
        below.iter().try_for_each(|path| walk(path, recursive, files))?;
    }
    Ok(())
}

/// Refuses plain configurations where manifests are meant.
pub(crate) fn documents_only(loaded: Loaded) -> Result<(Vec<Document>, String)> {
    match loaded.plain.is_empty() {
        true => Ok((loaded.documents, loaded.typed)),
        false => Err(Error::usage(format!(
            "{}: no `apiVersion: pvectl/v1`: this is the plain configuration of a guest",
            loaded.typed
        ))
        .with_hint(Hint::Text(
            "make it with `pvectl vm create -f FILE`, or write a manifest: `pvectl export vm NAME` prints one".into(),
        ))),
    }
}

/// The plain configurations, where nothing else is meant; `None` where documents are.
pub(crate) fn plain_only(loaded: &Loaded) -> Result<Option<&[Manifest]>> {
    match (loaded.documents.is_empty(), loaded.plain.is_empty()) {
        (true, _) => Ok(Some(&loaded.plain)),
        (false, true) => Ok(None),
        (false, false) => Err(Error::usage("some of these are manifests and some plain configurations")
            .with_hint(Hint::Text("give them one after the other".into()))),
    }
}
