//! Disks that grow, and guests that become templates: single calls, and what is refused before them.

use super::{
    Ops, Resolved, closest,
    params::{Beyond, check_params},
    plan::{Change, Plan, refuse_locked},
    verbs::{Power, RESIZE_DISK, TEMPLATE},
};
use crate::{
    backends::{Action, Step},
    model::{ConfigView, Error, GuestConfig, GuestKind, Params, PropertyString, Result, Size, is_disk_key},
};

/// How large a disk is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Growth {
    /// So much, in all.
    To(Size),
    /// So much more.
    By(Size),
}

impl Growth {
    /// Reads `50G`, or `+10G` for so much more.
    ///
    /// # Errors
    /// [`Class::Usage`](crate::model::Class::Usage) for what is no size.
    pub fn parse(text: &str) -> Result<Self> {
        let (plus, size) = text.strip_prefix('+').map_or((false, text), |size| (true, size));
        let unit = size.ends_with(|sign: char| sign.is_ascii_alphabetic());
        let size: Size = Some(size).filter(|_| unit).and_then(|size| size.parse().ok()).ok_or_else(|| {
            Error::usage(format!("`{text}` is no size for a disk: 50G is expected, or +10G for so much more"))
        })?;
        Ok(if plus { Self::By(size) } else { Self::To(size) })
    }

    /// What comes of a disk of this size.
    pub fn of(self, now: Size) -> Size {
        match self {
            Self::To(size) => size,
            Self::By(more) => Size(now.0.saturating_add(more.0)),
        }
    }

    /// As the API takes it.
    fn to_param(self) -> String {
        match self {
            Self::To(size) => size.to_config(),
            Self::By(size) => format!("+{}", size.to_config()),
        }
    }
}

impl Ops {
    /// Plans the growth of a disk, `scsi0`. A size that it has already needs nothing.
    ///
    /// # Errors
    /// [`Class::NotFound`](crate::model::Class::NotFound) for a disk that the guest does not have,
    /// [`Class::Usage`](crate::model::Class::Usage) for a smaller size,
    /// [`Class::Conflict`](crate::model::Class::Conflict) for a locked guest.
    pub async fn plan_resize_disk(&self, found: &Resolved, disk: &str, growth: Growth) -> Result<Plan> {
        let guest = found.guest.reference();
        self.backend().capabilities().require(guest.kind, Action::ResizeDisk)?;
        let mut plan = Plan::new(RESIZE_DISK, found.target.clone(), guest.clone(), found.guest.name.clone());
        let config = self.backend().guest_config(&guest, ConfigView::Current).await?;
        refuse_locked(&plan, &config)?;
        let drive = drive(&config, disk)?;
        if drive.get("media") == Some("cdrom") {
            return Err(Error::usage(format!("{disk}: you can't resize a cdrom")));
        }
        let mut params = Params::new().with("disk", disk).with("size", growth.to_param());
        if let Some(now) = drive.get("size").and_then(|size| size.parse::<Size>().ok()) {
            let then = growth.of(now);
            if then < now {
                let text = format!("shrinking disks is not supported: {disk} has {now}, and {then} were asked for");
                return Err(Error::usage(text));
            }
            if then == now {
                plan.notes.push(format!("{disk} has {now} already"));
                return Ok(plan);
            }
            let text = |size: Size| Some(format!("size={}", size.to_config()));
            plan.changes.push(Change { key: disk.to_owned(), before: text(now), after: text(then) });
            let volume = drive.volume().unwrap_or_default();
            let storage = volume.split_once(':').map(|(storage, _)| storage.to_owned());
            plan.claims.room.extend(storage.map(|storage| (storage, then.0 - now.0)));
        }
        if let Some(digest) = config.digest() {
            params.push("digest", digest.0);
        }
        let params = check_params(guest.kind, Action::ResizeDisk, params, &Beyond::default())?;
        plan.steps.push(Step::new(Action::ResizeDisk, guest).with_params(params));
        plan.config_before = Some(config);
        Ok(plan)
    }

    /// Plans a template of a guest: it never starts again, and others are made from it. One that is a template needs
    /// nothing.
    ///
    /// # Errors
    /// [`Class::Conflict`](crate::model::Class::Conflict) for one that runs, has snapshots or is locked.
    pub async fn plan_template(&self, found: &Resolved) -> Result<Plan> {
        let guest = found.guest.reference();
        self.backend().capabilities().require(guest.kind, Action::Template)?;
        let mut plan = Plan::new(TEMPLATE, found.target.clone(), guest.clone(), found.guest.name.clone());
        let config = self.backend().guest_config(&guest, ConfigView::Current).await?;
        if found.guest.template || config.text("template").as_deref() == Some("1") {
            plan.notes.push("already a template".to_owned());
            return Ok(plan);
        }
        refuse_locked(&plan, &config)?;
        let word = if guest.kind == GuestKind::Qemu { "VM" } else { "CT" };
        if Power::of(&self.backend().guest_status(&guest).await?) != Power::Stopped {
            let text = format!("you can't convert a {word} to template if {word} is running: {}", plan.label());
            return Err(Error::conflict(text)
                .with_hint(crate::model::Hint::Text(format!("pvectl {} shutdown {}", guest.kind, guest.vmid))));
        }
        if !self.backend().snapshots(&guest).await?.is_empty() {
            let text = format!("unable to create template, because {word} contains snapshots: {}", plan.label());
            return Err(Error::conflict(text));
        }
        if !self.backend().capabilities().here {
            plan.notes.push("there is no way back: it never starts again, and its disks are only read".to_owned());
        }
        plan.changes.push(Change { key: "template".to_owned(), before: None, after: Some("1".to_owned()) });
        plan.steps.push(Step::new(Action::Template, guest));
        plan.config_before = Some(config);
        Ok(plan)
    }
}

/// A guest's disk.
pub(super) fn drive(config: &GuestConfig, disk: &str) -> Result<PropertyString> {
    let disks = || config.0.keys().filter(|key| is_disk_key(key)).cloned();
    match config.text(disk).filter(|_| is_disk_key(disk)) {
        Some(text) => Ok(PropertyString::lenient(&text)),
        None => Err(Error::not_found(format!("disk '{disk}' does not exist")).did_you_mean(closest(disk, disks()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_read_and_written() {
        let gib = Size::gib;
        for (text, want, sent) in [
            ("50G", Growth::To(gib(50)), "50G"),
            ("+10G", Growth::By(gib(10)), "+10G"),
            ("+512M", Growth::By(Size::mib(512)), "+512M"),
            ("1T", Growth::To(gib(1024)), "1T"),
        ] {
            assert_eq!(Growth::parse(text).unwrap(), want);
            assert_eq!(want.to_param(), sent);
        }
        for text in ["", "+", "big", "-5G", "50", "++1G", "1X"] {
            assert!(Growth::parse(text).is_err(), "{text}");
        }
        assert_eq!(Growth::parse("+10G").unwrap().of(gib(32)), gib(42));
    }
}
