//! Files behind an `@`, where a value is taken out of a file: `--cipassword @…`, `-p content=@…`.
//!
//! Only there: plain files are completed by the shells, which know nothing of the `@`.

use std::{fs, path::PathBuf};

use super::{Candidate, Request};

/// What is in the directory that was typed, if the word begins with an `@`.
pub(super) async fn behind_at(request: &Request, word: &str) -> Option<Vec<Candidate>> {
    let typed = word.strip_prefix('@')?.to_owned();
    let (before, start) = typed.split_at(typed.rfind('/').map_or(0, |at| at + 1));
    let directory = match (before.strip_prefix("~/"), &request.live.paths().home) {
        (Some(rest), Some(home)) => home.join(rest),
        _ if before.is_empty() => PathBuf::from("."),
        _ => PathBuf::from(before),
    };
    // As in a shell, what begins with a dot is hidden until that was typed.
    let hidden = start.starts_with('.');
    let found = request.live.blocking(move || {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        let entry = |entry: fs::DirEntry| Some((entry.file_name().into_string().ok()?, entry.path().is_dir()));
        entries.filter_map(entry).filter(|(name, _)| hidden || !name.starts_with('.')).collect::<Vec<_>>()
    });
    let mut found = found.await.unwrap_or_default();
    found.sort();
    let candidate = |(name, is_directory): (String, bool)| match is_directory {
        true => Candidate::open(format!("@{before}{name}/"), ""),
        false => Candidate::new(format!("@{before}{name}"), ""),
    };
    Some(found.into_iter().map(candidate).collect())
}
