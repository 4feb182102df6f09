//! The table of global options: how each is spelled as flag, variable and key, and what it is without any of them.
//!
//! Data only: the parser of the command line, `config view`, help and docs read it.

/// A global option.
#[derive(Debug)]
pub struct GlobalOption {
    /// Its name, also the long flag's without `--`.
    pub name: &'static str,
    /// The short flag.
    pub short: Option<char>,
    /// What stands for its value in help; `None` for a switch.
    pub value: Option<&'static str>,
    /// The environment variable.
    pub env: Option<&'static str>,
    /// The key of a context in the configuration file.
    pub key: Option<&'static str>,
    /// The value if nobody says anything.
    pub default: Option<&'static str>,
    /// What it does, one line.
    pub what: &'static str,
}

impl GlobalOption {
    const fn new(name: &'static str, value: &'static str, what: &'static str) -> Self {
        Self { name, short: None, value: Some(value), env: None, key: None, default: None, what }
    }

    const fn switch(name: &'static str, what: &'static str) -> Self {
        Self { name, short: None, value: None, env: None, key: None, default: None, what }
    }

    const fn short(self, short: char) -> Self {
        Self { short: Some(short), ..self }
    }

    const fn env(self, env: &'static str) -> Self {
        Self { env: Some(env), ..self }
    }

    const fn key(self, key: &'static str) -> Self {
        Self { key: Some(key), ..self }
    }

    const fn default(self, default: &'static str) -> Self {
        Self { default: Some(default), ..self }
    }

    /// The entry of this name.
    pub fn by_name(name: &str) -> Option<&'static Self> {
        TABLE.iter().find(|option| option.name == name)
    }
}

/// Every global option.
pub const TABLE: &[GlobalOption] = &[
    GlobalOption::new("context", "NAME", "context to use").env("PVECTL_CONTEXT"),
    GlobalOption::new("expect-context", "NAME", "refuse to do anything unless this context is in use (exit code 2)"),
    GlobalOption::new("host", "URL", "server to talk to, without or instead of a context's").env("PVECTL_ENDPOINT"),
    GlobalOption::new("output", "FORMAT", "table, wide, json, yaml, name, csv, jsonpath=…, custom-columns=…")
        .short('o')
        .env("PVECTL_OUTPUT")
        .key("output")
        .default("table"),
    GlobalOption::switch("json", "short for --output json"),
    GlobalOption::new("jq", "EXPRESSION", "print what a jq expression makes of the JSON, texts without quotes"),
    GlobalOption::switch("no-headers", "no header row in tables and CSV"),
    GlobalOption::new(
        "sort-by",
        "FIELDS",
        "order of a list by fields or columns, a - before those to go backwards: node,-mem",
    ),
    GlobalOption::new("field-selector", "SELECTOR", "only what has such fields: status=running,maxmem>=4G"),
    GlobalOption::switch("quiet", "nothing but errors on stderr").short('q'),
    GlobalOption::switch("verbose", "show requests; -vv headers too, -vvv bodies too (secrets left out)").short('v'),
    GlobalOption::new("color", "WHEN", "auto, always, never").default("auto"),
    GlobalOption::new("error-format", "FORMAT", "text or json").default("text"),
    GlobalOption::switch("dry-run", "print the plan and do nothing"),
    GlobalOption::switch(
        "no-checks",
        "leave it to the server to see that memory, room or something else stands in the way",
    ),
    GlobalOption::switch("confirm", "answer yes to questions").short('y'),
    GlobalOption::new("confirm-name", "NAMES", "names of guests, for rules that want them typed; by commas"),
    GlobalOption::switch("wait", "wait for the task's end; the default"),
    GlobalOption::switch("no-wait", "print the UPID and do not wait for the task"),
    GlobalOption::switch("fail-on-warnings", "a task that ended with warnings counts as failed (exit code 9)"),
    GlobalOption::switch("no-journal", "keep no record of this operation; for emergencies"),
    GlobalOption::new("timeout", "DURATION", "how long to wait for tasks; without it, to their end")
        .env("PVECTL_TIMEOUT")
        .key("timeout"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Context, ENV};

    #[test]
    fn every_variable_and_key_is_a_real_one() {
        let context = Context { output: Some("x".into()), timeout: Some("x".into()), ..Context::default() };
        for option in TABLE {
            if let Some(name) = option.env {
                assert!(ENV.iter().any(|var| var.name == name), "{name}");
            }
            if let Some(key) = option.key {
                assert_eq!(context.option(key), Some("x"), "{key}");
            }
        }
    }

    #[test]
    fn names_and_letters_are_unique() {
        for (index, option) in TABLE.iter().enumerate() {
            for other in &TABLE[..index] {
                assert_ne!(option.name, other.name);
                assert!(option.short.is_none() || option.short != other.short, "{}", option.name);
            }
        }
    }
}
