//! The environment: a table of every variable that is looked at, and a snapshot of their values.
//!
//! Not the place that decides what a value means; [`resolve`](super::resolve()) does. Everything takes an [`Env`], so
//! that a test never touches the process's own environment.

use std::{collections::BTreeMap, ffi::OsString, fmt, path::PathBuf};

use super::close_names;
use crate::model::{Error, Result};

/// An environment variable that pvectl looks at.
#[derive(Debug)]
pub struct EnvVar {
    /// Its name.
    pub name: &'static str,
    /// What it does, one line.
    pub what: &'static str,
    /// A value it may have; empty where any non-empty value means yes.
    pub example: &'static str,
    /// Whether the value is a secret and is never shown.
    pub secret: bool,
    /// Whether it says whom to talk to, or as whom: with one of these set, the sandbox is no longer the default.
    pub connection: bool,
}

impl EnvVar {
    const fn new(name: &'static str, what: &'static str, example: &'static str) -> Self {
        Self { name, what, example, secret: false, connection: false }
    }

    const fn connection(self) -> Self {
        Self { connection: true, ..self }
    }

    const fn secret(self) -> Self {
        Self { secret: true, ..self }
    }
}

/// Every variable, pvectl's own first.
pub const TABLE: &[EnvVar] = &[
    EnvVar::new("PVECTL_CONFIG", "configuration file to use instead of the usual one", "/etc/pvectl/config.yaml")
        .connection(),
    EnvVar::new("PVECTL_CONTEXT", "context to use, as --context", "prod").connection(),
    EnvVar::new(
        "PVECTL_ENDPOINT",
        "server to talk to without a context; several separated by commas",
        "https://pve1.example.org:8006,https://pve2.example.org:8006",
    )
    .connection(),
    EnvVar::new("PVECTL_TOKEN_FILE", "file holding an API token, `USER@REALM!NAME=SECRET`", "/run/secrets/pve")
        .connection(),
    EnvVar::new(
        "PVECTL_TOKEN",
        "the API token itself; other processes may see it, so prefer PVECTL_TOKEN_FILE",
        "ci@pve!deploy=SECRET",
    )
    .connection()
    .secret(),
    EnvVar::new("PVECTL_CA_FILE", "PEM file of the authority that signed the server's certificate", "/etc/pve-ca.pem")
        .connection(),
    EnvVar::new(
        "PVECTL_FINGERPRINT",
        "SHA-256 fingerprint of the server's certificate; with several endpoints one for all, or one each, by commas",
        "AB:CD:…",
    )
    .connection(),
    EnvVar::new(
        "PVECTL_CLIENT_CERTIFICATE",
        "PEM file of the certificate that is shown to the server; the login, unless there is a token",
        "/etc/pvectl/me.pem",
    )
    .connection(),
    EnvVar::new(
        "PVECTL_CLIENT_KEY",
        "PEM file of that certificate's key, where it is another file",
        "/etc/pvectl/me.key",
    )
    .connection(),
    EnvVar::new("PVECTL_OUTPUT", "output format, as --output", "json"),
    EnvVar::new("PVECTL_TIMEOUT", "how long to wait, as --timeout", "10m"),
    EnvVar::new("PVECTL_REQUEST_TIMEOUT", "how long to wait for the answer to one request, else 1m", "5m"),
    EnvVar::new("PVECTL_READ_ONLY", "refuse every change, whatever the context says; 0, false and no are no", "1"),
    EnvVar::new("PVECTL_RULES_FILE", "file of rules that hold beside those of the context", "/etc/pvectl/rules.yaml"),
    EnvVar::new("PVECTL_NO_PROGRESS", "no progress on stderr", "1"),
    EnvVar::new(
        "PVECTL_COMPLETE",
        "set by the completion scripts: the shell that wants to know what can be typed",
        "bash",
    ),
    EnvVar::new("PVECTL_COMPLETE_WAIT", "how long completion waits for the server at a key press, else 300ms", "1s"),
    EnvVar::new(
        "PVECTL_UNIT_DIR",
        "where the systemd unit of this host's VMs is put, else where systemd looks for it, if it runs",
        "/etc/systemd/system",
    ),
    EnvVar::new(
        "PVECTL_CGROUP_DIR",
        "directory of control groups (v2) below which local VMs get theirs, or `none`; else systemd's or root's",
        "/sys/fs/cgroup/pvectl",
    ),
    EnvVar::new("PVECTL_LOG", "what is logged to stderr, finer than --verbose", "pvectl=debug"),
    EnvVar::new("NO_COLOR", "no colours", "1"),
    EnvVar::new("CLICOLOR_FORCE", "colours also where no terminal is", "1"),
    EnvVar::new("TERM", "kind of terminal; `dumb` has neither colours nor progress", "xterm-256color"),
    EnvVar::new("COLUMNS", "width of the terminal", "120"),
    EnvVar::new("HOME", "home directory", "/home/me"),
    EnvVar::new("XDG_CONFIG_HOME", "where configuration lives, else ~/.config", "/home/me/.config"),
    EnvVar::new("XDG_STATE_HOME", "where the journal and tickets live, else ~/.local/state", "/home/me/.local/state"),
    EnvVar::new("XDG_CACHE_HOME", "where things live that may be deleted, else ~/.cache", "/home/me/.cache"),
    EnvVar::new("XDG_RUNTIME_DIR", "where the sockets of local VMs are, else /run for root", "/run/user/1000"),
    EnvVar::new("PATH", "where the programs are found that local VMs need", "/usr/local/bin:/usr/bin"),
    EnvVar::new(
        "NOTIFY_SOCKET",
        "where `serve` tells systemd that it is ready and lives; systemd sets it",
        "/run/systemd/notify",
    ),
    EnvVar::new("WATCHDOG_USEC", "how often it has to say so, in microseconds; systemd sets it", "60000000"),
    EnvVar::new("WATCHDOG_PID", "the process that has to; systemd sets it", "1234"),
    EnvVar::new("HTTPS_PROXY", "proxy for the connection to the server", "http://proxy.example.org:3128"),
    EnvVar::new("NO_PROXY", "hosts that are reached without the proxy", "localhost,.example.org"),
    EnvVar::new("SSL_CERT_FILE", "PEM file that replaces the system's certificate authorities", "/etc/ssl/cert.pem"),
];

/// The entry of a variable.
fn entry(name: &str) -> Option<&'static EnvVar> {
    TABLE.iter().find(|var| var.name == name)
}

/// The values of the variables in [`TABLE`], and of unknown ones that begin with `PVECTL_`.
///
/// A variable that is empty counts as not set. `Debug` shows no secrets.
#[derive(Clone, Default)]
pub struct Env(BTreeMap<String, OsString>);

impl Env {
    /// Takes the snapshot of this process's environment: the only place that reads it. Where `HOME` is not set, the
    /// home directory is asked of the system.
    pub fn from_process() -> Self {
        let mut env =
            Self::from_pairs(std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value))));
        if !env.is_set("HOME")
            && let Some(home) = std::env::home_dir()
        {
            env.0.insert("HOME".to_owned(), home.into());
        }
        env
    }

    /// Takes the given values; names that pvectl does not look at are left out.
    pub fn from_pairs<N: Into<String>, V: Into<OsString>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        let pairs = pairs.into_iter().map(|(name, value)| (name.into(), value.into()));
        Self(pairs.filter(|(name, value)| !value.is_empty() && (ours(name) || entry(name).is_some())).collect())
    }

    /// Whether the variable is there and not empty.
    pub fn is_set(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// The value as text; `None` when it is not set or no UTF-8 (which [`warnings`](Self::warnings) tells).
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.to_str()
    }

    /// The value as text, for a variable that must not be passed over in silence.
    ///
    /// # Errors
    /// [`Class::Usage`](crate::model::Class::Usage) when it is no UTF-8.
    pub fn text(&self, name: &str) -> Result<Option<&str>> {
        let Some(value) = self.0.get(name) else { return Ok(None) };
        value.to_str().map(Some).ok_or_else(|| Error::usage(format!("the value of {name} is no UTF-8")))
    }

    /// The value as a path.
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        self.0.get(name).map(PathBuf::from)
    }

    /// Whether the variable says yes: anything but `0`, `false` and `no`.
    pub fn says_yes(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|value| !["0", "false", "no"].iter().any(|no| value == no))
    }

    /// The connection variables that are set, in the table's order.
    pub fn connection(&self) -> impl Iterator<Item = &'static str> {
        TABLE.iter().filter(|var| var.connection && self.is_set(var.name)).map(|var| var.name)
    }

    /// What is odd about the variables, one sentence each, for stderr.
    pub fn warnings(&self) -> Vec<String> {
        let known: Vec<&str> = TABLE.iter().map(|var| var.name).filter(|name| ours(name)).collect();
        let mut warnings = Vec::new();
        for (name, value) in self.0.iter().filter(|(name, _)| ours(name)) {
            if entry(name).is_none() {
                let close = close_names(name, known.iter().copied());
                let hint = close.first().map(|close| format!(" (did you mean `{close}`?)")).unwrap_or_default();
                warnings.push(format!("unknown environment variable `{name}` is ignored{hint}"));
            } else if value.to_str().is_none() {
                warnings.push(format!("the value of `{name}` is no UTF-8"));
            }
        }
        warnings
    }
}

fn ours(name: &str) -> bool {
    name.starts_with("PVECTL_")
}

impl fmt::Debug for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.0.iter().map(|(name, value)| match entry(name) {
            Some(var) if !var.secret => (name, value.to_string_lossy()),
            _ => (name, "***".into()),
        });
        f.debug_map().entries(shown).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_variable_is_not_set() {
        let env = Env::from_pairs([("PVECTL_CONTEXT", ""), ("PVECTL_OUTPUT", "json"), ("EDITOR", "vi")]);
        assert!(!env.is_set("PVECTL_CONTEXT"));
        assert_eq!(env.get("PVECTL_OUTPUT"), Some("json"));
        assert!(!env.is_set("EDITOR"), "not ours");
        assert_eq!(env.connection().count(), 0, "the output format says nothing about a server");
    }

    #[test]
    fn a_misspelled_variable_is_named_with_the_right_one() {
        let env = Env::from_pairs([("PVECTL_TOKENFILE", "/x"), ("PVECTL_TOKEN", "y")]);
        let warnings = env.warnings();
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].contains("`PVECTL_TOKENFILE`"), "{warnings:?}");
        assert!(warnings[0].contains("`PVECTL_TOKEN_FILE`"), "{warnings:?}");
    }

    #[test]
    fn debug_shows_neither_a_secret_nor_a_value_it_does_not_know() {
        let env = Env::from_pairs([("PVECTL_TOKEN", "hush"), ("PVECTL_TOKKEN", "hush"), ("PVECTL_CONTEXT", "prod")]);
        let shown = format!("{env:?}");
        assert!(!shown.contains("hush"), "{shown}");
        assert!(shown.contains("prod"), "{shown}");
    }

    #[cfg(unix)]
    #[test]
    fn a_value_that_is_no_text_is_told_and_still_counts_as_set() {
        use std::os::unix::ffi::OsStringExt;
        let env = Env::from_pairs([("PVECTL_CONTEXT", OsString::from_vec(vec![0xff]))]);
        assert_eq!(env.get("PVECTL_CONTEXT"), None);
        assert!(env.text("PVECTL_CONTEXT").is_err());
        assert_eq!(env.connection().collect::<Vec<_>>(), ["PVECTL_CONTEXT"]);
        assert_eq!(env.warnings().len(), 1);
    }

    #[test]
    fn every_variable_is_listed_once() {
        let names: std::collections::BTreeSet<_> = TABLE.iter().map(|var| var.name).collect();
        assert_eq!(names.len(), TABLE.len());
    }
}
