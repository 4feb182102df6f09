//! What a change of a configuration means for a machine that runs: what is done at once and by which calls, what waits
//! for the next start, what is refused.
//!
//! A plan; doing it, and waiting for the guest to let a device go, is the backend's.

use std::collections::BTreeSet;

use super::{
    super::vmm::config::{NetConfig, VmConfig},
    build::{Mapped, map},
    check::{is_servers, wrong},
    disks::drives,
    facts::Facts,
    keys::{self, Apply, number},
    live::{Live, LiveCall},
    memory::{STEP, may_hotplug, memory_size, vcpus},
};
use crate::model::{
    Class, Error, Hint, Result,
    config::{
        QemuConfig,
        qemu::{Disk, Net},
    },
};

/// A key that waits for the next start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// The key.
    pub key: String,
    /// Why, in words.
    pub why: &'static str,
}

/// What is to be done for a change. Each changed key is in exactly one of the three.
#[derive(Debug, Clone, PartialEq)]
pub struct Changes {
    /// Keys that are data of pvectl's own: they count once they are written.
    pub now: Vec<String>,
    /// Calls, in the order in which they have to go.
    pub live: Vec<Live>,
    /// What waits.
    pub pending: Vec<Waiting>,
    /// What the whole wished configuration becomes at the next start, with its warnings.
    pub wished: Mapped,
}

impl Changes {
    /// The configuration that runs once everything but what waits is done.
    #[must_use]
    pub fn active(&self, before: &QemuConfig, wished: &QemuConfig) -> QemuConfig {
        let mut active = before.as_ref().clone();
        for key in self.now.iter().chain(self.live.iter().flat_map(|live| &live.keys)) {
            match wished.as_ref().0.get(key) {
                Some(value) => drop(active.0.insert(key.clone(), value.clone())),
                None => drop(active.0.shift_remove(key)),
            }
        }
        active.into()
    }
}

const AT_START: &str = "the VMM takes it at start only";
const GATE_CPU: &str = "`hotplug` does not have cpu";
const GATE_MEMORY: &str = "`hotplug` does not have memory";
const GATE_DISK: &str = "`hotplug` does not have disk";
const GATE_NET: &str = "`hotplug` does not have network";

/// Plans a change. `before` is the configuration that runs; `running` is what the VMM was given of it with what was
/// [recorded](LiveCall::record) since (not the answer of `vm.info`, which has every default in it); `facts` are those of
/// the wished one.
///
/// # Errors
/// Whatever [`map`] has against the wished configuration; [`Class::Usage`] for a disk that would shrink;
/// [`Class::Conflict`] for a disk of a protected machine.
pub fn changes(before: &QemuConfig, running: &VmConfig, wished: &QemuConfig, facts: &Facts) -> Result<Changes> {
    let target = map(wished, facts)?;
    let mut plan = Plan::new(before, running, wished, &target.config, facts);
    let keys: BTreeSet<&String> = before.as_ref().0.keys().chain(wished.as_ref().0.keys()).collect();
    for key in keys {
        if !is_servers(key) && value(before, key) != value(wished, key) {
            plan.change(key)?;
        }
    }
    let Plan { now, mut live, pending, .. } = plan;
    live.sort_by_key(|live| live.call.order());
    Ok(Changes { now, live, pending, wished: target })
}

/// A key's value as text; `null` is none.
fn value(config: &QemuConfig, key: &str) -> Option<String> {
    config.as_ref().0.get(key).filter(|value| !value.is_null()).and_then(|_| config.as_ref().text(key))
}

struct Plan<'a> {
    before: &'a QemuConfig,
    running: &'a VmConfig,
    wished: &'a QemuConfig,
    target: &'a VmConfig,
    facts: &'a Facts,
    now: Vec<String>,
    live: Vec<Live>,
    pending: Vec<Waiting>,
}

impl<'a> Plan<'a> {
    fn new(
        before: &'a QemuConfig,
        running: &'a VmConfig,
        wished: &'a QemuConfig,
        target: &'a VmConfig,
        facts: &'a Facts,
    ) -> Self {
        let (now, live, pending) = (Vec::new(), Vec::new(), Vec::new());
        Self { before, running, wished, target, facts, now, live, pending }
    }

    fn live(&mut self, key: &str, call: LiveCall) {
        self.live.push(Live { keys: vec![key.to_owned()], call });
    }

    fn wait(&mut self, key: &str, why: &'static str) {
        self.pending.push(Waiting { key: key.to_owned(), why });
    }

    fn change(&mut self, key: &str) -> Result<()> {
        // What was there before may be of a time when there was no such key.
        let apply = keys::key(key).map_or(Apply::Now, |row| row.apply);
        match apply {
            Apply::Now => self.now.push(key.to_owned()),
            Apply::Pending => self.wait(key, AT_START),
            Apply::Create => return Err(wrong(key, "it goes with the making of a machine, not with a change")),
            Apply::Vcpus => self.vcpus(key)?,
            Apply::Memory => self.memory(key)?,
            Apply::Balloon => self.balloon(key)?,
            Apply::Cgroup => {
                let (cpulimit, cpuunits) = (self.wished.cpulimit()?, self.wished.cpuunits()?);
                self.live(key, LiveCall::Cgroup { cpulimit: cpulimit.filter(|limit| *limit > 0.0), cpuunits });
            }
            Apply::Disk => self.disk(key)?,
            Apply::Net => self.net(key)?,
            Apply::Device => self.device(key),
            Apply::Fs => self.share(key),
        }
        Ok(())
    }

    fn vcpus(&mut self, key: &str) -> Result<()> {
        let (boot, max) = vcpus(self.wished, self.facts)?;
        if !may_hotplug(self.wished, "cpu")? {
            self.wait(key, GATE_CPU);
        } else if self.running.cpus.as_ref().map_or(1, |cpus| cpus.max_vcpus) != max {
            self.wait(key, "cores and sockets change with it, at the next start");
        } else {
            self.live(key, LiveCall::Vcpus(boot));
        }
        Ok(())
    }

    fn memory(&mut self, key: &str) -> Result<()> {
        let (_, size) = memory_size(self.wished)?;
        let running = self.running.memory.clone().unwrap_or_default();
        let most = running.hotplug_size.map_or(0, |more| running.size + more);
        if !may_hotplug(self.wished, "memory")? {
            self.wait(key, GATE_MEMORY);
        } else if most == 0 {
            self.wait(key, "the machine was started with memory that cannot change");
        } else if size < running.size {
            self.wait(key, "it cannot have less memory than it was started with");
        } else if size > most {
            self.wait(key, "the host has no room for so much");
        } else if !(size - running.size).is_multiple_of(STEP) {
            self.wait(key, "it grows in steps of 128 MiB");
        } else {
            self.live(key, LiveCall::Memory(size));
        }
        Ok(())
    }

    fn balloon(&mut self, key: &str) -> Result<()> {
        let least = self.wished.balloon()?;
        if least == Some(0) || self.running.balloon.is_none() {
            self.wait(key, "the balloon is a device that comes and goes at start only");
            return Ok(());
        }
        // Of the memory that it has, which a change of `memory` may leave for the next start. Keys come in the order
        // of the alphabet, so look whether it will.
        let has = |config: &QemuConfig| memory_size(config).map(|(_, size)| size);
        let mut trial = Self::new(self.before, self.running, self.wished, self.target, self.facts);
        if value(self.before, "memory") != value(self.wished, "memory") {
            trial.memory("memory")?;
        }
        let size = if trial.live.is_empty() { has(self.before)? } else { has(self.wished)? };
        let taken = least.map_or(0, |least| size.saturating_sub(least << 20));
        self.live(key, LiveCall::Balloon(taken));
        Ok(())
    }

    fn disk(&mut self, key: &str) -> Result<()> {
        let id = if key == "cdrom" { "ide2" } else { key };
        let find = |config: &QemuConfig| -> Result<Option<_>> {
            Ok(drives(config)?.into_iter().find(|drive| drive.key == id).map(|drive| drive.disk))
        };
        let (old, new) = (find(self.before)?, find(self.wished)?);
        let same_volume = match (&old, &new) {
            (Some(old), Some(new)) => old.text("file") == new.text("file"),
            _ => false,
        };
        if old.is_some() && !same_volume && self.before.protection()?.unwrap_or(false) {
            return Err(Error::new(Class::Conflict, format!("{key} cannot be taken away: protection mode enabled"))
                .with_hint(Hint::Text("set protection=0 first".to_owned())));
        }
        let has = self.running.disks.iter().find(|disk| disk.id.as_deref() == Some(id));
        let wanted = self.target.disks.iter().find(|disk| disk.id.as_deref() == Some(id));
        if same_volume {
            let size = |disk: &Option<Disk>| disk.as_ref().map(|disk| disk.size()).transpose().map(Option::flatten);
            let (before, after) = (size(&old)?, size(&new)?);
            if let (Some(before), Some(after)) = (before, after)
                && after < before
            {
                return Err(wrong(key, format!("shrinking disks is not supported: {before} to {after}"))
                    .with_hint(Hint::Text("make a smaller disk and copy inside the guest".to_owned())));
            }
            let grown = after.filter(|after| before.is_some_and(|before| *after > before));
            let unlike = match (has, wanted) {
                // The image of a linked clone that was flattened stays the same disk.
                (Some(has), Some(wanted)) => {
                    let mut wanted = wanted.clone();
                    wanted.backing_files = has.backing_files;
                    wanted.pci_device_id = has.pci_device_id;
                    wanted != *has
                }
                _ => true,
            };
            match grown {
                _ if unlike => self.wait(key, "a disk's options count from the next start"),
                Some(_) if has.is_some_and(|disk| disk.backing_files == Some(true)) => {
                    self.wait(key, "a disk that stands on another grows at the next start");
                }
                Some(size) => self.live(key, LiveCall::GrowDisk { id: id.to_owned(), size: size.0 }),
                None => self.now.push(key.to_owned()),
            }
            return Ok(());
        }
        let plugs = id.starts_with("scsi") || id.starts_with("virtio");
        if has.is_none() && wanted.is_none() {
            // A drive without a disc, here or there.
            self.now.push(key.to_owned());
        } else if !plugs {
            self.wait(key, "only disks on the buses scsi and virtio come and go while it runs");
        } else if !may_hotplug(self.wished, "disk")? {
            self.wait(key, GATE_DISK);
        } else {
            if has.is_some() {
                self.live(key, LiveCall::Remove(id.to_owned()));
            }
            if let Some(wanted) = wanted.cloned() {
                self.live(key, LiveCall::AddDisk(wanted));
            }
        }
        Ok(())
    }

    fn net(&mut self, key: &str) -> Result<()> {
        let n = number(key, "net").unwrap_or_default();
        let has = self.running.net.iter().find(|net| net.id.as_deref() == Some(key));
        let wanted = self.target.net.iter().find(|net| net.id.as_deref() == Some(key));
        let down = |net: Option<Net>| net.map(|net| net.link_down()).transpose().map(|down| down.flatten());
        let link_down = down(self.wished.net(n)?)?.unwrap_or(false);
        match (has, wanted) {
            (Some(has), Some(wanted)) if NetConfig { pci_device_id: has.pci_device_id, ..wanted.clone() } == *has => {
                self.live(key, LiveCall::Tap { n, link_down });
            }
            _ if !may_hotplug(self.wished, "network")? => self.wait(key, GATE_NET),
            (has, wanted) => {
                if has.is_some() {
                    self.live(key, LiveCall::Remove(key.to_owned()));
                }
                if let Some(wanted) = wanted.cloned() {
                    self.live(key, LiveCall::AddNet(wanted));
                }
            }
        }
        Ok(())
    }

    fn device(&mut self, key: &str) {
        let mine = |id: &Option<String>| id.as_deref().is_some_and(|id| id.split('.').next() == Some(key));
        let of =
            |config: &VmConfig| config.devices.iter().filter(|device| mine(&device.id)).cloned().collect::<Vec<_>>();
        let (has, wanted) = (of(self.running), of(self.target));
        if has == wanted {
            return self.now.push(key.to_owned());
        }
        for gone in has {
            self.live(key, LiveCall::Remove(gone.id.unwrap_or_default()));
        }
        for new in wanted {
            self.live(key, LiveCall::AddDevice(new));
        }
    }

    fn share(&mut self, key: &str) {
        let of = |config: &'a VmConfig| config.fs.iter().find(|fs| fs.id.as_deref() == Some(key));
        let (has, wanted) = (of(self.running), of(self.target));
        let memory = self.running.memory.as_ref();
        let shared = memory.is_some_and(|memory| {
            memory.shared == Some(true) || memory.zones.iter().any(|zone| zone.shared == Some(true))
        });
        if wanted.is_some() && !shared {
            return self.wait(key, "the machine was started with memory that cannot be shared");
        }
        if has.is_some() {
            self.live(key, LiveCall::Remove(key.to_owned()));
        }
        match wanted.cloned() {
            Some(wanted) => self.live(key, LiveCall::AddFs(wanted)),
            None if has.is_none() => self.now.push(key.to_owned()),
            None => {}
        }
    }
}
