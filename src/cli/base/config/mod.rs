//! The configuration flags of `create` and `update`: one for every key of the contract, friendlier ones beside them,
//! `--set` and a file.
//!
//! Here they become what `ops` is asked for; whether the values are right is checked there.

mod file;
mod flags;
mod keys;
mod overrides;
mod secret;
#[cfg(test)]
mod tests;
mod typed;

pub(super) use file::{at_line, file_arg, read_file};
pub(super) use flags::config_args;
pub(super) use typed::{Typed, swallowed};

/// The flag for keys that the contract does not have.
pub(crate) const FORCE_PARAM: &str = "force-param";
/// What it is for.
pub(crate) const FORCE_PARAM_HINT: &str = "a key that only a newer server has is sent with --force-param KEY=VALUE";

/// The two verbs that take a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    /// `create`.
    Create,
    /// `update`.
    Update,
}
