//! Everything that is not kind × verb: kubectl's word order, configuration, the sandbox, help.

mod config;
mod help;
mod sandbox;
mod verb_first;
mod version;

use clap::{ArgMatches, Command};
use futures_util::future::LocalBoxFuture;

use super::{cx::Cx, verb::Exit};
use crate::model::Result;

/// A command.
pub(crate) struct Entry {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    /// Adds arguments and subcommands.
    pub(crate) args: fn(Command) -> Command,
    /// Does it.
    pub(crate) run: for<'a> fn(&'a Cx, &'a ArgMatches) -> LocalBoxFuture<'a, Result<Exit>>,
}

/// Every command.
pub(crate) const COMMANDS: &[Entry] = &[
    verb_first::GET,
    verb_first::DESCRIBE,
    verb_first::DELETE,
    config::ENTRY,
    sandbox::ENTRY,
    version::ENTRY,
    help::ENTRY,
];
