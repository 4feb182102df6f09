//! Walks a configuration against the tables: unknown keys and parts, refusals, warnings.

use super::{
    facts::Facts,
    keys::{self, KEYS, OWN, PROPERTIES, Rule},
    warnings::Warnings,
};
use crate::model::{Error, Hint, PropertyString, Result, closest, config::QemuConfig};

/// A refusal: the key, the reason, the way out.
pub(super) fn refuse(key: &str, why: impl AsRef<str>, instead: impl Into<String>) -> Error {
    Error::usage(format!("{key} is not possible under Cloud Hypervisor: {}", why.as_ref()))
        .with_hint(Hint::Text(instead.into()))
}

/// A value that makes no sense here.
pub(super) fn wrong(key: &str, why: impl AsRef<str>) -> Error {
    Error::usage(format!("{key}: {}", why.as_ref()))
}

/// Whether a value is this word; booleans in any spelling.
fn same(value: &str, word: &str) -> bool {
    let value = value.to_ascii_lowercase();
    match word {
        "0" => matches!(value.as_str(), "0" | "off" | "no" | "false"),
        "1" => matches!(value.as_str(), "1" | "on" | "yes" | "true"),
        word => value == word,
    }
}

/// Applies a rule to a value; `what` names it: `scsi0 aio`.
fn apply(rule: Rule, key: &str, part: Option<&str>, value: &str, warnings: &mut Warnings) -> Result<()> {
    let what = part.map_or_else(|| key.to_owned(), |part| format!("{key} {part}"));
    match rule {
        Rule::Taken => Ok(()),
        Rule::Ignored { unless, why } => {
            if !unless.iter().any(|word| same(value, word)) {
                let text =
                    part.map_or_else(|| format!("no effect, {why}"), |part| format!("no effect of {part}, {why}"));
                warnings.say(key, text);
            }
            Ok(())
        }
        Rule::Refused { unless, why, instead } => {
            if unless.iter().any(|word| same(value, word)) {
                return Ok(());
            }
            // Where some values are good, the value is what is wrong.
            let what = if unless.is_empty() { what } else { format!("{what}={value}") };
            Err(refuse(&what, why, instead))
        }
    }
}

/// Whether a key is the server's own, about the configuration and not of it.
pub(super) fn is_servers(key: &str) -> bool {
    key == "digest" || QemuConfig::READ_ONLY.contains(&key)
}

/// Looks at every key and part.
///
/// # Errors
/// For the first that is refused or unknown.
pub(super) fn check(config: &QemuConfig, facts: &Facts, warnings: &mut Warnings) -> Result<()> {
    for (key, value) in &config.as_ref().0 {
        if is_servers(key) || value.is_null() {
            continue;
        }
        let Some(row) = keys::key(key) else { return Err(unknown(key)) };
        let text = config.as_ref().text(key).unwrap_or_default();
        apply(row.rule, key, None, &text, warnings)?;
        let Some(property) = PROPERTIES.iter().find(|property| property.keys.contains(&row.name)) else { continue };
        for (part, value) in PropertyString::lenient(&text).iter() {
            let name = part.unwrap_or(property.bare);
            let Some(known) = property.parts.iter().find(|known| known.name == name) else {
                let names = property.parts.iter().map(|part| part.name.to_owned());
                return Err(wrong(key, format!("there is no `{name}` in it")).did_you_mean(closest(name, names)));
            };
            apply(known.rule, key, Some(name), value, warnings)?;
        }
    }
    if let Some(arch) = config.arch()?.filter(|arch| arch.as_str() != facts.arch) {
        return Err(refuse(
            &format!("arch={arch}"),
            format!("this host is {}, and KVM runs its own kind only", facts.arch),
            "leave arch out",
        ));
    }
    let limited = match (config.cpulimit()?, config.cpuunits()?) {
        (Some(limit), _) if limit > 0.0 => Some("cpulimit"),
        (_, Some(_)) => Some("cpuunits"),
        _ => None,
    };
    if let (Some(key), Some(why)) = (limited, &facts.no_cgroup) {
        let instead = "run pvectl where it may make a control group (`pvectl check` says where), or use affinity";
        return Err(refuse(key, why, instead));
    }
    Ok(())
}

/// A key that nobody knows.
fn unknown(key: &str) -> Error {
    let names = KEYS.iter().chain(OWN).map(|row| row.name.trim_end_matches("[n]").to_owned());
    wrong(key, "there is no such key").did_you_mean(closest(key, names))
}
