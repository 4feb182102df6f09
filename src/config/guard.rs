//! What may stand between a command and the server: that nothing may be changed, and that another context was meant.
//!
//! Pure, as [`resolve()`](super::resolve()) is; who asks is `cli`.

use std::path::{Path, PathBuf};

use super::{Context, Env, Origin, Resolved, Sourced};
use crate::model::{Class, Error, Hint, Result};

/// Whether every change is refused, and by whom. Nobody takes back what another one refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadOnly(Sourced<bool>);

impl ReadOnly {
    const VARIABLE: &str = "PVECTL_READ_ONLY";

    /// By the environment alone: for what is in no context.
    pub fn of(env: &Env) -> Self {
        Self::with(env, None)
    }

    pub(super) fn with(env: &Env, context: Option<&Context>) -> Self {
        Self(match context.filter(|context| context.read_only) {
            _ if env.says_yes(Self::VARIABLE) => Sourced::new(true, Origin::Env(Self::VARIABLE)),
            Some(context) => Sourced::new(true, Origin::Context(context.name.clone())),
            None => Sourced::new(false, Origin::Default),
        })
    }

    pub(super) fn sourced(&self) -> &Sourced<bool> {
        &self.0
    }

    /// Refuses a change where changes are refused.
    ///
    /// # Errors
    /// [`Class::Forbidden`], with the way out.
    pub fn check(&self) -> Result<()> {
        let Sourced { value: true, origin } = &self.0 else { return Ok(()) };
        let (who, out) = match origin {
            Origin::Context(name) => {
                (format!("{origin}: read-only"), format!("take `read-only: true` of `{name}` out of config.yaml"))
            }
            _ => (origin.to_string(), format!("unset {}", Self::VARIABLE)),
        };
        Err(Error::new(Class::Forbidden, format!("changes are switched off ({who})"))
            .with_hint(Hint::Text(format!("--dry-run shows what would be done; to allow changes, {out}"))))
    }
}

/// The files of rules for changes: the environment's and the context's, each of which holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RuleFiles(Vec<Sourced<PathBuf>>);

impl RuleFiles {
    const VARIABLE: &str = "PVECTL_RULES_FILE";

    /// `read` turns what a context says into a path.
    pub(super) fn with(env: &Env, context: Option<&Context>, read: impl Fn(&str) -> Option<PathBuf>) -> Self {
        let named = env.path(Self::VARIABLE).map(|path| Sourced::new(path, Origin::Env(Self::VARIABLE)));
        let own = context.and_then(|context| {
            let path = read(context.rules_file.as_deref()?)?;
            Some(Sourced::new(path, Origin::Context(context.name.clone())))
        });
        Self(named.into_iter().chain(own).collect())
    }

    /// Where they are.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.0.iter().map(|file| file.value.as_path())
    }

    pub(super) fn sourced(&self) -> &[Sourced<PathBuf>] {
        &self.0
    }
}

impl Resolved {
    /// Refuses where not exactly this context is in use, with its own servers.
    ///
    /// # Errors
    /// [`Class::Usage`], naming what is in use.
    pub fn expect(&self, context: &str) -> Result<()> {
        match (self.setting("context"), self.setting("host")) {
            (Some(used), None) => expect(context, &format!("`{used}`"), used == context),
            (Some(used), Some(host)) => expect(context, &format!("`{used}` with the server {host}"), false),
            (None, host) => expect(context, &format!("no context but {}", host.unwrap_or("none")), false),
        }
    }
}

/// Refuses what is not the context that is expected.
///
/// # Errors
/// [`Class::Usage`], naming what is in use.
pub fn expect(context: &str, used: &str, is_it: bool) -> Result<()> {
    if is_it {
        return Ok(());
    }
    Err(Error::usage(format!("context `{context}` is expected, and in use is {used}"))
        .with_hint(Hint::Text(format!("use it with --context {context}, or change --expect-context"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_and_the_context_each_refuse() {
        let env = |value: &str| Env::from_pairs([("PVECTL_READ_ONLY", value)]);
        let context = |read_only| Context { name: "prod".to_owned(), read_only, ..Context::default() };
        let refused = |value: &str, read_only| ReadOnly::with(&env(value), Some(&context(read_only))).check();
        assert!(refused("", false).is_ok() && refused("0", false).is_ok() && refused("no", false).is_ok());
        for (value, read_only, who) in [
            ("1", false, "(env PVECTL_READ_ONLY)"),
            ("nonsense", false, "(env PVECTL_READ_ONLY)"),
            ("1", true, "(env PVECTL_READ_ONLY)"),
            ("0", true, "(context prod: read-only)"),
        ] {
            let error = refused(value, read_only).unwrap_err();
            assert_eq!(error.class(), Class::Forbidden);
            assert!(error.message().contains(who), "{value} {read_only}: {error}");
        }
    }
}
