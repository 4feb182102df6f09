//! What is asked of a configuration, made one set of keys: devices numbered, labels turned into tags.
//!
//! Checks what can be checked without a server, so that a wrong request costs none.

use super::{
    CreateRequest, Device, LabelChange, UpdateRequest,
    create::split_clone,
    devices::{number, stored},
    params::{Beyond, check_params, is_known},
};
use crate::{
    backends::Action,
    model::{Error, GuestConfig, GuestKind, Params, Result, Tags, Vmid, is_disk_key},
};

/// Parameters of an update that say how, and are no keys of the configuration.
pub(super) const HOW: [&str; 5] = ["background_delay", "digest", "force", "import-working-storage", "skiplock"];

/// The keys to set and those to unset.
pub(super) struct Settled {
    pub(super) set: Params,
    pub(super) delete: Vec<String>,
}

/// Numbers the devices beside what is set and what is there, and applies the labels to the tags.
pub(super) fn settle(
    kind: GuestKind,
    set: &Params,
    devices: &[Device],
    labels: &[LabelChange],
    there: &GuestConfig,
    leaving: &[String],
) -> Result<Settled> {
    // A number that becomes free by this very change is not taken by it: the server refuses both at once.
    let taken = |key: &str| there.text(key).or_else(|| leaving.iter().any(|leaving| leaving == key).then(String::new));
    let numbered = number(kind, devices, set, taken)?;
    let mut settled = Settled { set: set.clone(), delete: Vec::new() };
    settled.set.extend(numbered.iter());
    if !labels.is_empty() {
        let tags = set.get("tags").map(str::to_owned).or_else(|| there.text("tags")).unwrap_or_default();
        let tags = labels.iter().fold(Tags::parse(&tags), |tags, change| change.apply(&tags));
        match tags.is_empty() {
            false => settled.set.set("tags", tags),
            true => {
                settled.set.remove("tags");
                settled.delete.extend(there.0.contains_key("tags").then(|| "tags".to_owned()));
            }
        }
    }
    Ok(settled)
}

/// The call for a change: disks are made and copied in a task; everything else is answered at once, and with better
/// errors.
pub(super) fn update_action(kind: GuestKind, set: &Params) -> Action {
    let only_in_task =
        |key: &str| !is_known(kind, Action::Configure, key) && is_known(kind, Action::ConfigureInTask, key);
    let in_task = kind == GuestKind::Qemu && set.iter().any(|(key, _)| is_disk_key(key) || only_in_task(key));
    if in_task { Action::ConfigureInTask } else { Action::Configure }
}

/// Takes the place of a storage that is found later; only its presence matters to a check.
const SOME: &str = "local";

impl CreateRequest {
    /// Checks keys and values, before anything is asked of a server.
    ///
    /// # Errors
    /// [`Class::Usage`](crate::model::Class::Usage) that names every wrong key.
    pub fn check(&self) -> Result<()> {
        let settled =
            settle(self.kind, &self.params, &stored(&self.devices, SOME), &self.labels, &GuestConfig::default(), &[])?;
        if self.kind == GuestKind::Qemu && self.template.is_some() {
            let (clone, configure) = split_clone(&settled.set);
            check_params(self.kind, Action::Clone, clone.with("newid", Vmid::MIN), &Beyond::default())?;
            check_params(self.kind, Action::ConfigureInTask, configure, &self.beyond)?;
            return Ok(());
        }
        // Chosen later; only their presence matters to the check.
        let mut whole = settled.set.with("vmid", Vmid::MIN);
        if self.kind == GuestKind::Lxc && whole.get("ostemplate").is_none() {
            whole.push("ostemplate", self.template.as_deref().unwrap_or_default());
        }
        check_params(self.kind, Action::Create, whole, &self.beyond).map(drop)
    }
}

impl UpdateRequest {
    /// Whether it asks for nothing.
    pub fn is_empty(&self) -> bool {
        let Self { set, delete, devices, labels, beyond } = self;
        set.is_empty() && delete.is_empty() && devices.is_empty() && labels.is_empty() && beyond.forced.is_empty()
    }

    /// Checks keys and values, before anything is asked of a server.
    ///
    /// # Errors
    /// [`Class::Usage`](crate::model::Class::Usage) that names every wrong key.
    pub fn check(&self, kind: GuestKind) -> Result<()> {
        let there = GuestConfig::default();
        let settled = settle(kind, &self.set, &stored(&self.devices, SOME), &self.labels, &there, &self.delete)?;
        self.checked(kind, &settled.set).map(drop)
    }

    /// What is to be set, as the server takes it.
    pub(super) fn checked(&self, kind: GuestKind, set: &Params) -> Result<Params> {
        if let Some(both) = self.delete.iter().find(|key| set.get(key).is_some()) {
            return Err(Error::usage(format!("`{both}` is to be set and to be unset: give one of both")));
        }
        let mut whole = set.clone();
        if !self.delete.is_empty() {
            whole.push("delete", self.delete.join(","));
        }
        let mut checked = check_params(kind, update_action(kind, &whole), whole, &self.beyond)?;
        checked.remove("delete");
        Ok(checked)
    }
}

/// Whether two spellings mean the same: property strings may differ in the order of their parts, tags in separators.
pub(super) fn same_value(key: &str, before: &str, after: &str) -> bool {
    if before == after {
        return true;
    }
    let parts = |text: &str| {
        let separators: &[char] = if key == "tags" { &[';', ',', ' '] } else { &[','] };
        let mut parts: Vec<String> = text.split(separators).map(str::to_owned).collect();
        parts.sort();
        parts
    };
    let composite = key == "tags" || (before.contains('=') && before.contains(','));
    composite && parts(before) == parts(after)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_of_parts_is_no_difference() {
        assert!(same_value("net0", "virtio=AA,bridge=vmbr0", "bridge=vmbr0,virtio=AA"));
        assert!(same_value("tags", "a;b", "b,a"));
        assert!(!same_value("net0", "virtio=AA,bridge=vmbr0", "virtio=AA,bridge=vmbr1"));
        assert!(!same_value("description", "a,b", "b,a"));
    }
}
