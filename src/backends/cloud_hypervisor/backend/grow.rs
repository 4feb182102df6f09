//! Disks that grow: by the VMM while the VM runs, in place while it is off. None ever shrinks.
//!
//! How large the disk is afterwards is what proves that it has grown, so a command that dies in between is mended by the
//! next one: the configuration follows the file.

use super::{
    Job, Local,
    aside::{DISK, aside},
    digest_of,
    look::SLOW,
    volumes::{drives, format_of},
};
use crate::{
    backends::{
        Step,
        cloud_hypervisor::{
            disk::{self, Format},
            failpoint::{Point, reach},
            mapping,
            state::{Draft, Grows, Outcome, Process, Settings, Settle, Verb, Vm, Work, reconcile::Sight},
            vmm::Vmm,
        },
    },
    model::{Class, Error, Hint, Params, PropertyString, Result, Size},
};

/// The granularity of a disk's size.
const SECTOR: u64 = 512;

/// A disk that is to grow.
struct Growing {
    key: String,
    /// What it is now.
    volume: mapping::Volume,
    format: Format,
    /// Bytes that it is to have.
    size: u64,
    /// Whether its VMM has it for reading alone.
    is_read_only: bool,
}

impl Growing {
    /// Why it does not grow while the VM runs, if that is so. Nobody but a VMM may grow what it has, and it does not grow
    /// what lies over another image or what it has for reading alone.
    fn only_while_off(&self, vm: &Vm) -> Option<Error> {
        let why = match (self.volume.backing, self.is_read_only) {
            (true, _) => "lies over another image",
            (_, true) => "is read-only (ro=1)",
            _ => return None,
        };
        let text = format!("{} {why} and does not grow while VM {} runs", self.key, vm.vmid);
        let hint = format!("shut it down first: pvectl vm shutdown {}", vm.vmid);
        Some(Error::conflict(text).with_hint(Hint::Text(hint)))
    }
}

impl Local {
    /// Makes a disk larger: `disk` is its key, `size` how large it is to be, or with a plus by how much it grows. The VM's
    /// lock is held. `before` are its settings as they were before anything was mended.
    ///
    /// # Errors
    /// In Proxmox's words.
    pub(super) async fn resize_disk(
        &self,
        vm: &Vm,
        before: &Settings,
        sight: Sight,
        params: &Params,
        job: &Job,
    ) -> Result<()> {
        let growing = self.growing(vm, params)?;
        let only_while_off = growing.only_while_off(vm);
        let Growing { key, volume, format, size, .. } = growing;
        let is_relative = params.get("size").is_some_and(|text| text.starts_with('+'));
        if is_relative && before.get(&key) != vm.settings.get(&key) {
            // Perhaps that was this very wish, and a disk never shrinks again.
            let text = format!("{key} has {} now: an earlier command has changed it", Size(volume.size).to_config());
            let hint = "ask again if it is to become larger still";
            return Err(Error::conflict(text).with_hint(Hint::Text(hint.to_owned())));
        }
        match sight {
            Sight::Stopped | Sight::Running | Sight::Paused => {}
            other => return Err(Error::conflict(format!("VM {} is {}", vm.vmid, other.qmpstatus()))),
        }
        if let Some(refused) = only_while_off.filter(|_| sight != Sight::Stopped) {
            return Err(refused);
        }
        let settings = with_size(&vm.settings, &key, size);
        let grows = Some(Grows { file: volume.path.clone(), format: format.to_string(), size });
        let work = Work { grows, settings: Some(settings), ..Work::default() };
        let intent = self.state().begin(vm.vmid, Draft::new(Verb::Resize).task(&job.upid).work(work))?;
        let grown = match sight {
            Sight::Stopped => {
                let (path, managed) = (volume.path.clone(), self.managed());
                aside(DISK, move || disk::grow(&path, format, size, &managed).map(drop)).await
            }
            _ => self.grow_running(vm, &key, size).await,
        };
        let grown = grown.and_then(|()| match self.measure(&volume.path, format)? {
            (now, _) if now >= size => Ok(()),
            (now, _) => Err(Error::new(Class::Failed, format!("{key} has {} still", Size(now)))),
        });
        match grown {
            Ok(()) => {
                self.state().settle(vm.vmid, &Settle::unchanged(vm).ending(intent.id, Outcome::Finished))?;
                job.line(&format!("{key}: {} is {} now", Size(volume.size), Size(size)))
            }
            Err(error) => {
                // Whether it has grown all the same shows at the file.
                let _ = self.mend(vm.vmid, job).await;
                Err(error)
            }
        }
    }

    /// Refuses what cannot grow, before anything happens.
    ///
    /// # Errors
    /// As [`resize_disk`](Self::resize_disk).
    pub(super) fn refuse_growth(&self, step: &Step) -> Result<()> {
        let vm = self.state().vm(step.guest.vmid)?;
        if self.is_left(vm.vmid)? {
            // What that changes is known once it is mended, and all of this is asked again then.
            return Ok(());
        }
        vm.settings.check_digest(digest_of(step).as_ref())?;
        let growing = self.growing(&vm, &step.params)?;
        let runs = vm.process.as_ref().is_some_and(Process::is_alive);
        growing.only_while_off(&vm).filter(|_| runs).map_or(Ok(()), Err)
    }

    fn growing(&self, vm: &Vm, params: &Params) -> Result<Growing> {
        vm.check_lock()?;
        let key = params.get("disk").unwrap_or_default().to_owned();
        let drive = drives(&vm.settings.config).remove(&key);
        let drive = drive.ok_or_else(|| Error::from_exit_status(&format!("disk '{key}' does not exist")))?;
        if drive.get("media") == Some("cdrom") {
            return Err(Error::usage("you can't resize a cdrom"));
        }
        if vm.settings.is_on("template") {
            let text = format!("{key} is a disk of a template, on which others may stand");
            return Err(Error::conflict(text).with_hint(Hint::Text("make a full clone and grow its disk".to_owned())));
        }
        let (volume, format) = (self.look_at(&drive)?, format_of(&drive)?);
        let size = wanted(params.get("size").unwrap_or_default(), volume.size)?;
        if size < volume.size {
            return Err(Error::usage("shrinking disks is not supported"));
        }
        if matches!(format, Format::Vhd | Format::Vhdx) {
            return Err(Error::usage(format!("{key} cannot be grown: its format does not grow"))
                .with_hint(Hint::Text("`qemu-img convert -O raw` makes a disk that does".to_owned())));
        }
        let is_read_only = drive.get("ro") == Some("1");
        Ok(Growing { key, volume, format, size, is_read_only })
    }

    async fn grow_running(&self, vm: &Vm, key: &str, size: u64) -> Result<()> {
        Vmm::connect(self.places(vm).api_socket())?.resize_disk(key, size, SLOW).await?;
        reach(Point::LiveDone);
        Ok(())
    }

    /// Whether a disk has become as large as it was to be.
    pub(super) fn has_grown(&self, grows: &Grows) -> bool {
        let format = grows.format.parse::<Format>();
        format.and_then(|format| self.measure(&grows.file, format)).is_ok_and(|(size, _)| size >= grows.size)
    }
}

/// The size that is asked for, in whole sectors: `50G`, or `+10G` beside what there is.
fn wanted(text: &str, now: u64) -> Result<u64> {
    let (more, number) = text.strip_prefix('+').map_or((0, text), |number| (now, number));
    let size = number.parse::<Size>().ok().and_then(|size| more.checked_add(size.0)?.checked_next_multiple_of(SECTOR));
    size.filter(|size| i64::try_from(*size).is_ok())
        .ok_or_else(|| Error::usage(format!("`{text}` is no size for a disk: 50G or +10G is expected")))
}

/// The settings once a disk has this size.
fn with_size(settings: &Settings, key: &str, size: u64) -> Settings {
    let mut settings = settings.clone();
    let resized = |text: &str| {
        let mut drive = PropertyString::lenient(text);
        drive.set("size", Size(size).to_config());
        drive.to_string()
    };
    let volume = |text: &str| super::volumes::volume_of(&PropertyString::lenient(text)).to_owned();
    let Some(now) = settings.config.get_mut(key) else { return settings };
    *now = resized(now);
    let its = volume(now);
    // What waits is about the same disk, unless it is exchanged.
    if let Some(Some(waiting)) = settings.pending.get_mut(key)
        && volume(waiting) == its
    {
        *waiting = resized(waiting);
    }
    settings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_whole_sectors() {
        assert_eq!(wanted("+1G", 1 << 30).unwrap(), 2 << 30);
        assert_eq!(wanted("50G", 1 << 30).unwrap(), 50 << 30);
        assert_eq!(wanted("1025", 0).unwrap(), 1536);
        for text in ["", "+", "x", "-1G", "+9999999999T"] {
            assert!(wanted(text, 0).is_err(), "{text}");
        }
    }

    #[test]
    fn what_waits_for_the_same_disk_keeps_up() {
        let mut settings = Settings::default();
        settings.config.insert("scsi0".into(), "local:100/a.raw,discard=on,size=1G".into());
        settings.config.insert("scsi1".into(), "local:100/b.raw,size=1G".into());
        settings.pending.insert("scsi0".into(), Some("local:100/a.raw,size=1G,ssd=1".into()));
        settings.pending.insert("scsi1".into(), Some("local:100/c.raw,size=1G".into()));
        let after = with_size(&with_size(&settings, "scsi0", 2 << 30), "scsi1", 2 << 30);
        assert_eq!(after.get("scsi0"), Some("local:100/a.raw,discard=on,size=2G"));
        assert_eq!(after.pending["scsi0"].as_deref(), Some("local:100/a.raw,size=2G,ssd=1"));
        assert_eq!(after.pending["scsi1"].as_deref(), Some("local:100/c.raw,size=1G"));
    }
}
