//! The file of `-f`: reading it, and finding the line of a mistake in it.

use std::{fs, io::Read as _, path::PathBuf};

use clap::{Arg, ArgMatches, ValueHint};

use crate::{
    cli::cx::text,
    manifest::Manifest,
    model::{Error, Result},
};

/// The flag that names a file.
pub(in crate::cli::base) fn file_arg(help: &'static str) -> Arg {
    Arg::new("file").short('f').long("file").value_name("FILE").value_hint(ValueHint::FilePath).help(help)
}

/// Reads the file of `-f`, if there is one; `-` is stdin.
pub(in crate::cli::base) fn read_file(matches: &ArgMatches) -> Result<Option<Vec<Manifest>>> {
    let Some(file) = text(matches, "file") else { return Ok(None) };
    let (path, content) = if file == "-" {
        let mut content = String::new();
        let read = std::io::stdin().read_to_string(&mut content);
        (PathBuf::from("stdin"), read.map(|_| content))
    } else {
        (PathBuf::from(file), fs::read_to_string(file))
    };
    let content =
        content.map_err(|error| Error::usage(format!("cannot read {}", path.display())).with_source(error))?;
    Manifest::read(&content, &path).map(Some)
}

/// An error about a key of a file gets the line it is about.
pub(in crate::cli::base) fn at_line(error: Error, file: Option<&Manifest>, path: Option<&str>) -> Error {
    let (Some(file), Some(path)) = (file, path) else { return error };
    let line = file.lines.iter().find(|(key, _)| error.message().contains(&format!("`{key}`")));
    match line {
        Some((_, line)) => error.context(format_args!("{path}:{line}")),
        None => error,
    }
}
