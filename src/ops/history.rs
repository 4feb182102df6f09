//! Going back to a configuration that was kept: what can be set again, and what cannot.
//!
//! The change itself is an update like any other. Where kept configurations come from is the caller's affair.

use std::collections::BTreeSet;

use super::{
    Beyond, Ops, Plan, Resolved, UpdateRequest,
    plan::{Change, shown},
    request::same_value,
    verbs::CONFIG_ROLLBACK,
};
use crate::model::{
    Class, ConfigView, Error, GuestConfig, Hint, Meanwhile, Params, Result, is_disk_key, is_secret_key,
};

/// Keys that the server owns: they say how a guest is, or belong to its other keys, and are not set.
const OWNED: [&str; 13] = [
    "digest",
    "lock",
    "meta",
    "parent",
    "pending",
    "running-nets-host-mtu",
    "runningcpu",
    "runningmachine",
    "snapshots",
    "snapstate",
    "snaptime",
    "vmgenid",
    "vmstate",
];

/// Why a key is not set again, if it is not.
pub(super) fn kept_as_it_is(key: &str, disks: bool) -> Option<&'static str> {
    match key {
        "template" => Some("a template stays one"),
        _ if OWNED.contains(&key) || key.starts_with("unused") => Some("the server's own"),
        _ if is_disk_key(key) && !disks => Some("a volume: only with --disks"),
        _ => None,
    }
}

/// What differs between two configurations of a guest, by key; the server's own keys and secrets are left out.
pub fn config_changes(before: &GuestConfig, after: &GuestConfig) -> Vec<Change> {
    let mut keys: Vec<&String> = before.0.keys().chain(after.0.keys()).collect();
    keys.sort_unstable();
    keys.dedup();
    let differs = |key: &&String| match (before.text(key), after.text(key)) {
        (Some(before), Some(after)) => !same_value(key, &before, &after),
        (before, after) => before != after,
    };
    let told = |key: &&String| !OWNED.contains(&key.as_str()) && !is_secret_key(key);
    keys.into_iter()
        .filter(told)
        .filter(differs)
        .map(|key| Change {
            key: key.clone(),
            before: shown(key, before.text(key)),
            after: shown(key, after.text(key)),
        })
        .collect()
}

/// Whether a change was refused because the configuration is no longer the one that it was made from.
pub(super) fn is_outdated(error: &Error) -> bool {
    let texts = ["checksum mismatch (file change", "detected modified configuration"];
    error.class() == Class::Conflict && texts.iter().any(|text| error.message().contains(text))
}

impl Ops {
    /// Tells what somebody else changed since a plan was made, and what the plan would have made of it.
    pub(super) async fn tell_both(&self, error: Error, plan: &Plan) -> Error {
        let Some(read) = &plan.config_before else { return error };
        // It is only to be told: what cannot be read is left out.
        let Ok(now) = self.backend().guest_config(&plan.guest, ConfigView::Pending).await else { return error };
        let ours = |key: &str| plan.changes.iter().find(|change| change.key == key).map(|change| change.after.clone());
        let keys = config_changes(read, &now).into_iter().map(|Change { key, before, after }| Meanwhile {
            ours: ours(&key),
            key,
            read: before,
            now: after,
        });
        error.with_hint(Hint::ChangedMeanwhile(keys.collect()))
    }

    /// Plans to give a guest the configuration that it had. Disks go back to the volumes that they were only with `disks`;
    /// what cannot be set again is in the plan's notes, each with the reason.
    ///
    /// # Errors
    /// As [`plan_update`](Self::plan_update).
    pub async fn plan_config_rollback(&self, found: &Resolved, before: &GuestConfig, disks: bool) -> Result<Plan> {
        let now = self.backend().guest_config(&found.guest.reference(), ConfigView::Pending).await?;
        let (mut set, mut delete, mut left) = (Params::new(), Vec::new(), Vec::new());
        for Change { key, .. } in config_changes(&now, before) {
            match (kept_as_it_is(&key, disks), before.text(&key)) {
                (Some(why), _) => left.push(format!("{key} ({why})")),
                (None, Some(value)) => set.push(key, value),
                (None, None) => delete.push(key),
            }
        }
        let secret = now.0.keys().chain(before.0.keys()).filter(|key| is_secret_key(key)).collect::<BTreeSet<_>>();
        left.extend(secret.into_iter().map(|key| format!("{key} (secrets are not kept)")));
        // A digest in the change makes it one of this very configuration.
        let digest = now.digest().map(|digest| digest.0);
        if let (Some(digest), false) = (digest, set.is_empty() && delete.is_empty()) {
            set.push("digest", digest);
        }
        let request = UpdateRequest { set, delete, beyond: Beyond::default(), ..UpdateRequest::default() };
        let mut plan = self.plan_change(CONFIG_ROLLBACK, found, &request).await?;
        if !left.is_empty() {
            plan.notes.push(format!("stays as it is: {}", left.join(", ")));
        }
        Ok(plan)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn config(value: serde_json::Value) -> GuestConfig {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn what_differs_is_told_by_key() {
        let before = config(json!({
            "cores": 2, "name": "a", "net0": "virtio=AA,bridge=vmbr0", "digest": "x", "cipassword": "***", "onboot": 1,
        }));
        let after = config(json!({
            "cores": 4, "name": "a", "net0": "bridge=vmbr0,virtio=AA", "digest": "y", "memory": "512", "vmgenid": "z",
        }));
        let told: Vec<_> = config_changes(&before, &after)
            .into_iter()
            .map(|change| (change.key, change.before, change.after))
            .collect();
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(
            told,
            [
                ("cores".to_owned(), text("2"), text("4")),
                ("memory".to_owned(), None, text("512")),
                ("onboot".to_owned(), text("1"), None),
            ]
        );
    }

    #[test]
    fn some_keys_stay_as_they_are() {
        for (key, disks, stays) in [
            ("cores", false, false),
            ("scsi0", false, true),
            ("scsi0", true, false),
            ("rootfs", true, false),
            ("unused0", true, true),
            ("vmgenid", true, true),
            ("lock", true, true),
            ("template", true, true),
            ("net0", false, false),
        ] {
            assert_eq!(kept_as_it_is(key, disks).is_some(), stays, "{key} {disks}");
        }
    }
}
