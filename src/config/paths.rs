//! Where files live: the XDG directories, on every system, taken from an [`Env`].
//!
//! Makes no directories; whoever writes does.

use std::path::PathBuf;

use super::Env;
use crate::model::{Error, Hint, Result};

/// The places of pvectl's files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// `$XDG_CONFIG_HOME/pvectl/config.yaml`, or what `PVECTL_CONFIG` names.
    pub config: PathBuf,
    /// Whether `PVECTL_CONFIG` named the configuration: then it must be there.
    pub named: bool,
    /// `credentials.yaml` beside the configuration.
    pub credentials: PathBuf,
    /// `$XDG_STATE_HOME/pvectl`: what should outlive a command.
    pub state: PathBuf,
    /// `$XDG_CACHE_HOME/pvectl`: what may be deleted at any time.
    pub cache: PathBuf,
    /// `$XDG_RUNTIME_DIR/pvectl`, if the variable is set: what lasts until the host goes down.
    pub runtime: Option<PathBuf>,
    /// The home directory, if known.
    pub home: Option<PathBuf>,
}

impl Paths {
    /// Works the places out. As the XDG specification asks, a relative `XDG_…` is ignored.
    ///
    /// # Errors
    /// [`Class::Usage`](crate::model::Class::Usage) when neither the variable nor a home directory is there.
    pub fn new(env: &Env) -> Result<Self> {
        let home = env.path("HOME").filter(|path| path.is_absolute());
        let place = |variable: &str, below_home: &str| {
            env.path(variable)
                .filter(|path| path.is_absolute())
                .or_else(|| home.as_ref().map(|home| home.join(below_home)))
                .map(|base| base.join("pvectl"))
                .ok_or_else(|| {
                    Error::usage("no home directory is known")
                        .with_hint(Hint::Text(format!("set HOME or {variable} to an absolute path")))
                })
        };
        let (config, named) = match env.path("PVECTL_CONFIG") {
            Some(path) => (path, true),
            None => (place("XDG_CONFIG_HOME", ".config")?.join("config.yaml"), false),
        };
        Ok(Self {
            credentials: config.with_file_name("credentials.yaml"),
            config,
            named,
            state: place("XDG_STATE_HOME", ".local/state")?,
            cache: place("XDG_CACHE_HOME", ".cache")?,
            runtime: env.path("XDG_RUNTIME_DIR").filter(|path| path.is_absolute()).map(|base| base.join("pvectl")),
            home,
        })
    }

    /// The directory of client certificates with their keys, beside the configuration.
    pub fn certificates(&self) -> PathBuf {
        self.config.with_file_name("certificates")
    }

    /// The database of operations.
    pub fn journal(&self) -> PathBuf {
        self.state.join("journal.db")
    }

    /// The simulated cluster's database.
    pub fn sandbox(&self) -> PathBuf {
        self.state.join("sandbox.db")
    }

    /// The directory of the VMs on this host.
    pub fn local(&self) -> PathBuf {
        self.state.join("local")
    }

    /// The directory of their sockets, whose paths must be short: where no `XDG_RUNTIME_DIR` is, `/run/pvectl` for root
    /// and a place below the state for others. Root's is there in any case if the variable names a session's directory,
    /// which goes with the last session, while VMs stay.
    pub fn run(&self, is_root: bool) -> PathBuf {
        match self.runtime.as_ref().filter(|runtime| !(is_root && runtime.starts_with("/run/user"))) {
            Some(runtime) => runtime.clone(),
            None if is_root => PathBuf::from("/run/pvectl"),
            None => self.local().join("run"),
        }
    }

    /// The directory of this host's disk images.
    pub fn images(&self) -> PathBuf {
        self.state.join("local").join("images")
    }

    /// The directory of what completion saw last.
    pub fn completions(&self) -> PathBuf {
        self.cache.join("complete")
    }

    /// The directory of login tickets.
    pub fn tickets(&self) -> PathBuf {
        self.state.join("tickets")
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::model::Class;

    #[test]
    fn xdg_variables_win_over_home_unless_relative() {
        let env = Env::from_pairs([("HOME", "/h"), ("XDG_CONFIG_HOME", "/c"), ("XDG_STATE_HOME", "relative")]);
        let paths = Paths::new(&env).unwrap();
        assert_eq!(paths.config, Path::new("/c/pvectl/config.yaml"));
        assert_eq!(paths.credentials, Path::new("/c/pvectl/credentials.yaml"));
        assert_eq!(paths.journal(), Path::new("/h/.local/state/pvectl/journal.db"));
        assert_eq!(paths.cache, Path::new("/h/.cache/pvectl"));
        assert!(!paths.named);
    }

    #[test]
    fn sockets_lie_where_paths_are_short() {
        let paths = |pairs: &[(&'static str, &'static str)]| Paths::new(&Env::from_pairs(pairs.to_vec())).unwrap();
        let session = paths(&[("HOME", "/h"), ("XDG_RUNTIME_DIR", "/run/user/7")]);
        assert_eq!(session.run(false), Path::new("/run/user/7/pvectl"));
        assert_eq!(session.run(true), Path::new("/run/pvectl"), "a session's directory goes with it");
        let none = paths(&[("HOME", "/h"), ("XDG_RUNTIME_DIR", "relative")]);
        assert_eq!(none.run(true), Path::new("/run/pvectl"));
        assert_eq!(none.run(false), Path::new("/h/.local/state/pvectl/local/run"));
    }

    #[test]
    fn credentials_lie_beside_a_named_configuration() {
        let env = Env::from_pairs([("HOME", "/h"), ("PVECTL_CONFIG", "/work/site.yaml")]);
        let paths = Paths::new(&env).unwrap();
        assert_eq!(paths.config, Path::new("/work/site.yaml"));
        assert_eq!(paths.credentials, Path::new("/work/credentials.yaml"));
        assert!(paths.named);
    }

    #[test]
    fn without_any_home_the_way_out_is_named() {
        let error = Paths::new(&Env::default()).unwrap_err();
        assert_eq!(error.class(), Class::Usage);
        assert!(matches!(error.hints(), [Hint::Text(text)] if text.contains("HOME")), "{error:?}");
    }
}
