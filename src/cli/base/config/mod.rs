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

use clap::Command;

pub(super) use file::{at_line, file_arg, read_file};
pub(super) use flags::config_args;
pub(crate) use flags::typed;
pub(crate) use secret::secret as value_of_secret;
pub(super) use typed::{Typed, swallowed};

/// The flag for keys that the contract does not have.
const FORCE_PARAM: &str = "force-param";

/// What to say of a flag that a command such as `pvectl vm create` does not have.
pub(crate) struct UnknownFlag {
    pub(crate) hint: String,
    /// Whether that names what is meant: then nobody has to guess.
    pub(crate) is_known: bool,
}

impl UnknownFlag {
    pub(crate) fn new(flag: &str, command: &Command) -> Option<Self> {
        let takes_any_key = command.get_arguments().any(|arg| arg.get_id() == FORCE_PARAM);
        let other = || overrides::instead_of(flag, command.get_bin_name().unwrap_or_default());
        let forced = "a key that only a newer server has is sent with --force-param KEY=VALUE";
        takes_any_key.then(|| match other() {
            Some(hint) => Self { hint, is_known: true },
            None => Self { hint: forced.to_owned(), is_known: false },
        })
    }
}

/// The two verbs that take a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    /// `create`.
    Create,
    /// `update`.
    Update,
}

impl Verb {
    /// `create`.
    const fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
        }
    }
}
