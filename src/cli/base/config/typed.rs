//! What stands on the command line, as `ops` is asked for it.

use clap::ArgMatches;

use super::{
    FORCE_PARAM, Verb,
    flags::{ENV, is_family},
    keys::{Key, groups},
    secret::{encoded, public_keys, secret},
};
use crate::{
    cli::cx::{Cx, flag, text, texts},
    contract::last_index,
    manifest::Manifest,
    model::{Error, GuestKind, Hint, Params, Result, is_secret_key},
    ops::{Device, LabelChange},
};

/// A configuration as it was typed.
#[derive(Debug, Default)]
pub(in crate::cli::base) struct Typed {
    params: Params,
    pub(in crate::cli::base) devices: Vec<Device>,
    pub(in crate::cli::base) labels: Vec<LabelChange>,
    pub(in crate::cli::base) forced: Params,
}

impl Typed {
    /// Reads the flags. Secrets are fetched from where they are.
    ///
    /// # Errors
    /// For what is no KEY=VALUE, no label or no key, and for secrets that cannot be had.
    pub(in crate::cli::base) fn read(cx: &Cx, matches: &ArgMatches, kind: GuestKind, verb: Verb) -> Result<Self> {
        let mut typed = Self::default();
        refuse(matches, kind, verb)?;
        for key in groups(kind, verb).flat_map(|(_, keys)| keys) {
            typed.read_key(cx, matches, key, kind, verb)?;
        }
        if flag(matches, "overwrite") {
            typed.params.set("force", 1);
        }
        let keys = texts(matches, "ssh-key");
        if !keys.is_empty() {
            let keys = public_keys(cx, "--ssh-key", &keys)?;
            match kind {
                GuestKind::Qemu => typed.params.set("sshkeys", encoded(&keys)),
                GuestKind::Lxc => typed.params.set("ssh-public-keys", keys),
            }
        }
        for (key, value) in pairs(matches, "set")? {
            let value = value_of(cx, &key, value)?;
            // Which of the two is meant cannot be known; what they say may be a secret.
            if typed.params.get(&key).is_some_and(|before| before != value) {
                return Err(Error::usage(format!("`{key}` is given twice, with two values"))
                    .with_hint(Hint::Text(format!("give --set {key}=VALUE once, and no flag for it"))));
            }
            typed.params.set(&key, value);
        }
        for (key, value) in pairs(matches, FORCE_PARAM)? {
            let value = if is_secret_key(&key) { secret(cx, &key, &value)? } else { value };
            typed.forced.set(&key, value);
        }
        for label in texts(matches, "label") {
            typed.labels.push(label.parse()?);
        }
        Ok(typed)
    }

    fn read_key(&mut self, cx: &Cx, matches: &ArgMatches, key: &Key, kind: GuestKind, verb: Verb) -> Result<()> {
        let Some(base) = key.name.strip_suffix("[n]") else {
            if key.name == ENV {
                let all = texts(matches, ENV);
                self.params.extend((!all.is_empty()).then(|| (ENV, all.join("\0"))));
            } else if let Some(value) = text(matches, key.name) {
                self.params.set(key.name, value_of(cx, key.name, value.to_owned())?);
            }
            return Ok(());
        };
        for name in (0..=last_index(base)).map(|index| format!("{base}{index}")) {
            if let Some(value) = text(matches, &name) {
                self.params.set(&name, value);
            }
        }
        if is_family(base, kind, verb) {
            // `--disk` is the family of disks that people mean who do not say which.
            let disks = if base == "scsi" { texts(matches, "disk") } else { Vec::new() };
            let values = disks.into_iter().chain(texts(matches, base));
            self.devices.extend(values.map(|value| Device { family: base.to_owned(), value }));
        }
        Ok(())
    }

    /// The keys, over those of a file.
    pub(in crate::cli::base) fn over(&self, file: Option<&Manifest>) -> Params {
        let mut params = file.map(|file| file.params.clone()).unwrap_or_default();
        for (key, value) in self.params.iter() {
            params.set(key, value);
        }
        params
    }
}

/// Flags that are there to say why not.
fn refuse(matches: &ArgMatches, kind: GuestKind, verb: Verb) -> Result<()> {
    if kind != GuestKind::Lxc {
        return Ok(());
    }
    if !texts(matches, "disk").is_empty() {
        let hint = "--rootfs STORAGE:SIZE for its root disk, --mp STORAGE:SIZE,mp=/path for further ones";
        return Err(Error::usage("a container has no --disk").with_hint(Hint::Text(hint.into())));
    }
    if verb == Verb::Update && !texts(matches, "ssh-key").is_empty() {
        let hint = "add it to /root/.ssh/authorized_keys inside the container";
        return Err(Error::usage("Proxmox VE takes a container's SSH keys only when it is made")
            .with_hint(Hint::Text(hint.into())));
    }
    Ok(())
}

/// A value as it is meant.
fn value_of(cx: &Cx, key: &str, value: String) -> Result<String> {
    match key {
        _ if is_secret_key(key) => secret(cx, key, &value),
        // Neither a key nor what is percent-encoded begins so.
        "sshkeys" if value.starts_with('@') => Ok(encoded(&public_keys(cx, key, &[value])?)),
        "ssh-public-keys" => public_keys(cx, key, &[value]),
        _ => Ok(value),
    }
}

fn pairs(matches: &ArgMatches, flag: &str) -> Result<Vec<(String, String)>> {
    let split = |pair: String| match pair.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        // What has no key may be a secret, so it is not repeated.
        _ => Err(Error::usage(format!("`--{flag}` takes KEY=VALUE"))),
    };
    texts(matches, flag).into_iter().map(split).collect()
}

/// A boolean flag whose value is none: it took what was meant for a target.
pub(in crate::cli::base) fn swallowed(matches: &ArgMatches, kind: GuestKind, verb: Verb) -> Option<Hint> {
    const WORDS: [&str; 8] = ["1", "0", "yes", "no", "on", "off", "true", "false"];
    let declared = super::flags::declared(kind, verb);
    let mut booleans = declared.iter().filter(|(_, schema)| schema.kind == crate::contract::Kind::Boolean);
    booleans.find_map(|(key, _)| {
        let value = text(matches, key).filter(|value| !WORDS.contains(&value.to_ascii_lowercase().as_str()))?;
        Some(Hint::Text(format!("--{key} took `{value}` for its value: put targets first, or write --{key}=yes")))
    })
}
