//! What the differences of a guest are, as a change of its configuration: keys to set and to unset, disks that grow, what
//! is refused.

use std::collections::BTreeMap;

use super::{
    Work,
    diff::{Difference, Fields},
    effect::{Effect, effect},
    fields::{self, by_key, parts},
    known::SECRET,
};
use crate::{
    manifest::GuestSpec,
    model::{Error, GuestConfig, GuestKind, Hint, Size, is_disk_key, is_numbered},
    ops::{LabelChange, UpdateRequest},
};

/// What is asked of a guest's configuration.
#[derive(Default)]
pub(super) struct Asked {
    pub(super) update: UpdateRequest,
    /// Disks that grow, by key.
    pub(super) grow: Vec<(String, Size)>,
    /// The pool it comes into; `Some(None)` for out of the one it is in.
    pub(super) pool: Option<Option<String>>,
    /// The volumes of disks that are detached.
    pub(super) detached: Vec<(String, String)>,
    pub(super) refusals: Vec<Error>,
}

/// Parts that a document may leave out again without anything being taken away.
const STAYING: [&str; 6] = ["storage", "size", "volume", "cloudInit", "model", "macaddr"];

/// Whether a difference is one: parts that the server fills in are not taken away when a document stops naming them.
pub(super) fn counts(one: &Difference, wanted: &Fields) -> bool {
    let Some((key, part)) = one.field.split_once('.') else { return true };
    let named =
        wanted.range(format!("{key}.")..).next().is_some_and(|(field, _)| field.starts_with(&format!("{key}.")));
    let device = is_disk_key(key) || is_numbered(key, "net");
    one.after.is_some() || !device || !named || !STAYING.contains(&part)
}

/// What the differences are, as a change of the configuration.
pub(super) fn ask(kind: GuestKind, found: &[Difference], live: &Fields, wanted: &Fields, spec: &GuestSpec) -> Asked {
    let mut asked = Asked::default();
    let (live, wanted) = (by_key(live), by_key(wanted));
    let mut keys: BTreeMap<&str, Vec<&Difference>> = BTreeMap::new();
    for one in found {
        keys.entry(one.field.split('.').next().unwrap_or_default()).or_default().push(one);
    }
    for (key, all) in keys {
        match key {
            "labels" => asked.update.labels.extend(all.iter().filter_map(|one| label(one))),
            "pool" => asked.pool = all.first().map(|one| one.after.clone()),
            "secret" => {
                // The file is read when the call is planned.
                for field in all.iter().filter(|one| one.after.is_some()) {
                    asked.update.set.set(&field.field[SECRET.len()..], "***");
                }
                let gone = all.iter().filter(|one| one.after.is_none()).map(|one| one.field[SECRET.len()..].to_owned());
                asked.update.delete.extend(gone.filter(|key| !spec.secrets.contains_key(key)));
            }
            _ if key.starts_with("x-") => match wanted.get(key).and_then(|said| said.get("")) {
                Some(value) => asked.update.beyond.forced.set(key, value),
                None => asked.update.delete.push(key.to_owned()),
            },
            _ => match (live.get(key), wanted.get(key)) {
                (_, None) => gone(key, live.get(key), &mut asked),
                (None, Some(_)) if effect(kind, key, None) == Effect::Never => {
                    asked.refusals.push(made_with(kind, key));
                }
                (None, Some(said)) => asked.update.set.set(key, fields::value(kind, key, said)),
                (Some(now), Some(_)) => changed(kind, key, &all, now, &mut asked),
            },
        }
    }
    asked
}

fn label(one: &Difference) -> Option<LabelChange> {
    let label = one.field.strip_prefix("labels.")?.to_owned();
    Some(match &one.after {
        Some(value) => LabelChange::Set(label, Some(value.clone()).filter(|value| !value.is_empty())),
        None => LabelChange::Remove(label),
    })
}

/// The refusal of a key that only the call takes that makes a guest.
fn made_with(kind: GuestKind, key: &str) -> Error {
    Error::usage(format!("`{key}` is what a {kind} is made with, and stays as it is"))
}

/// A key that is wanted no longer.
fn gone(key: &str, now: Option<&BTreeMap<String, String>>, asked: &mut Asked) {
    if key == "rootfs" {
        let error = Error::usage("`rootfs` cannot be taken from a container, which cannot be without it");
        return asked.refusals.push(error);
    }
    if let Some(volume) = now.and_then(|now| now.get("volume")).filter(|_| is_disk_key(key)) {
        let is_disk = now.is_some_and(|now| now.get("media").map(String::as_str) != Some("cdrom"));
        if is_disk && volume.contains(':') {
            asked.detached.push((key.to_owned(), volume.clone()));
        }
    }
    asked.update.delete.push(key.to_owned());
}

/// A key of which something else is wanted.
fn changed(kind: GuestKind, key: &str, all: &[&Difference], now: &BTreeMap<String, String>, asked: &mut Asked) {
    let mut parts = now.clone();
    let mut other = false;
    let is_cdrom = now.get("media").map(String::as_str) == Some("cdrom");
    for one in all {
        let part = one.field.split_once('.').map_or("", |(_, part)| part);
        match (part, &one.after) {
            ("storage", Some(storage)) if is_disk_key(key) => {
                let from = one.before.as_deref().unwrap_or_default();
                asked.refusals.push(
                    Error::usage(format!("`{key}` is in {from}, and is not moved to {storage} by a document"))
                        .with_hint(Hint::Text(format!("move it first: pvectl {kind} move-disk GUEST {key} {storage}"))),
                );
            }
            ("volume", Some(volume)) if is_disk_key(key) && !is_cdrom => {
                let text = format!("`{key}` is another disk, which is not replaced by {volume}");
                asked
                    .refusals
                    .push(Error::usage(text).with_hint(Hint::Text("detach it first, or use another key".into())));
            }
            ("size", Some(size)) if is_disk_key(key) => {
                match (size.parse::<Size>(), one.before.as_ref().and_then(|s| s.parse::<Size>().ok())) {
                    (Ok(size), Some(before)) if size < before => {
                        let text = format!("`{key}` has {before}, and is not made smaller: {size} were asked for");
                        asked.refusals.push(Error::usage(text));
                    }
                    (Ok(size), _) => asked.grow.push((key.to_owned(), size)),
                    (Err(error), _) => asked.refusals.push(Error::usage(format!("`{key}`: {error}"))),
                }
            }
            _ if effect(kind, &one.field, None) == Effect::Never => {
                asked.refusals.push(made_with(kind, key));
            }
            (_, Some(value)) => {
                parts.insert(part.to_owned(), value.clone());
                other = true;
            }
            (_, None) => {
                parts.remove(part);
                other = true;
            }
        }
    }
    if other {
        asked.update.set.set(key, fields::value(kind, key, &parts));
    }
}

/// Disks that left the document. Those that are unused are destroyed with this change where that is wished, those that
/// are detached by it with the next; else it is remembered that they left.
pub(super) fn dispose(config: &GuestConfig, prune: bool, asked: &mut Asked, work: &mut Work) {
    let mut unused = Vec::new();
    for key in config.0.keys().filter(|key| key.starts_with("unused")) {
        let text = config.text(key).unwrap_or_default();
        unused.extend(parts(GuestKind::Qemu, key, &text).remove("volume").map(|volume| (key.clone(), volume)));
    }
    unused.retain(|(_, volume)| work.known.left.contains(volume));
    let detached = asked.detached.iter().map(|(_, volume)| volume.clone());
    if !prune {
        work.left = unused.into_iter().map(|(_, volume)| volume).chain(detached).collect();
        return;
    }
    work.doomed.extend(detached);
    work.again |= !asked.detached.is_empty();
    for (key, volume) in unused {
        asked.update.delete.push(key);
        work.doomed.push(volume);
    }
}
